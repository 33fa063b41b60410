"""chainrule as a user calls it: `Network.fit`, with its checks, its history and its bookkeeping."""

from __future__ import annotations

from functools import partial

from benchmarks.peers import Subject, Task, Ways
from benchmarks.peers.ours import network, optimizer


class Fit(Subject):
    """One call of `fit` over several epochs."""

    def __init__(self, task: Task, epochs: int) -> None:
        self.task, self.net, self.epochs = task, network(task), epochs
        self.units = task.case.steps * self.epochs
        self.start = self.net.parameters.copy()

    def reset(self) -> None:
        self.net.parameters[...] = self.start

    def once(self) -> list[float]:
        task = self.task
        history = self.net.fit(
            task.problem.X, task.problem.y, optimizer=optimizer(task), epochs=self.epochs,
            batch_size=task.case.batch, shuffle=False, metrics=[], verbose=0,
        )  # fmt: skip
        return history["loss"]

    def proof(self) -> list[float]:
        self.reset()
        return self.once()[:2]


def trainers(task: Task) -> Ways:
    epochs = 10 if task.case.step_flops * task.case.steps < 10e9 else 2
    return {f"{epochs} epochs a call": partial(Fit, task, epochs)}
