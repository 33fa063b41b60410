"""chainrule: the epoch that `Network.fit` runs, and `Network.predict`."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

import chainrule as cr
from benchmarks.peers import Subject, Task, Ways
from chainrule import engines
from chainrule.equations.data import Samples
from chainrule.equations.optimizers import Optimizer


def network(task: Task, engine: str = "auto") -> cr.Network:
    """Give the network of a case with its initial weights."""
    case, numbers = task.case, task.problem
    loss = "cross_entropy" if case.output == "softmax" else "half_squared_error"
    return cr.Network(
        case.sizes, hidden=case.activation, output=case.output, loss=loss, dtype="float32", seed=0,
        W=numbers.W, b=numbers.b, engine=engine,
    )  # fmt: skip


def optimizer(task: Task) -> Optimizer:
    """Give the optimiser of a task."""
    if task.optimizer == "adam":
        return cr.Adam(learning_rate=task.rate)
    return cr.GradientDescent(learning_rate=task.rate)


class Epoch(Subject):
    """`Engine.run_epoch`, as `fit` calls it without shuffling."""

    def __init__(self, task: Task) -> None:
        self.net = network(task)
        self.units = task.case.steps
        self.start = self.net.parameters.copy()
        self.samples = Samples(task.problem.X, task.problem.y)
        self.plan = engines.Plan(optimizer(task), task.case.batch)
        self.engine = engines.choose("auto", self.net, self.plan)
        rates = np.full(task.case.steps, task.rate)
        self.epoch = engines.Epoch(self.samples, self.plan, rates)
        self.reset()

    def reset(self) -> None:
        self.net.parameters[...] = self.start
        self.state = engines.State(slots=self.plan.optimizer.start(self.net.parameters))

    def once(self) -> float:
        result = self.engine.run_epoch(self.net, self.epoch, self.state)
        if result.failure is not None:
            raise FloatingPointError(str(result.failure))
        return result.loss


class Predict(Subject):
    """`Network.predict`, checks included."""

    def __init__(self, task: Task) -> None:
        self.net = network(task)
        self.X = task.problem.X[: task.rows].copy()

    def once(self) -> NDArray[np.float32]:
        return self.net.predict(self.X)

    def proof(self) -> NDArray[np.float32]:
        return self.once()


def trainers(task: Task) -> Ways:
    return {f"engine {network(task).engine}": partial(Epoch, task)}


def predictors(task: Task) -> Ways:
    return {f"engine {network(task).engine}": partial(Predict, task)}
