"""PyTorch eager: functional layers, autograd, fused or foreach updates; inference mode."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812

from benchmarks.peers import Subject, Task, UnsupportedError, Ways, thread_words, threads

FUNCTIONS: dict[str, Any] = {"tanh": torch.tanh, "relu": torch.relu}


def forward(g: Any, theta: list[Any], a: Any) -> Any:
    """Give z of the last layer; theta is [W, b, W, b, ...]."""
    for k in range(0, len(theta) - 2, 2):
        a = g(F.linear(a, theta[k], theta[k + 1]))
    return F.linear(a, theta[-2], theta[-1])


def parameters(task: Task) -> list[Any]:
    """Give copies of the initial [W, b, W, b, ...]."""
    pairs = zip(task.problem.W, task.problem.b, strict=True)
    return [torch.from_numpy(array).clone() for pair in pairs for array in pair]


def batches(task: Task) -> list[Any]:
    """Give (x, y) of every step, as views."""
    X, y = torch.from_numpy(task.problem.X), torch.from_numpy(task.problem.y)
    return list(zip(X.split(task.case.batch), y.split(task.case.batch), strict=True))


def function(task: Task) -> Any:
    """Give the hidden activation; raise UnsupportedError for one that is measured elsewhere."""
    if task.case.activation not in FUNCTIONS or task.case.output != "identity":
        raise UnsupportedError(f"{task.case.name} is not measured with PyTorch")
    return FUNCTIONS[task.case.activation]


class Epoch(Subject):
    """The training loop; ``fused`` takes torch.optim's fused rule, else foreach operations."""

    def __init__(self, task: Task, count: int, fused: bool) -> None:
        self.g = function(task)
        self.task, self.count, self.fused, self.units = task, count, fused, task.case.steps
        self.batches = batches(task)
        self.theta = [p.requires_grad_() for p in parameters(task)]
        self.reset()

    def reset(self) -> None:
        with torch.no_grad():
            for p, start in zip(self.theta, parameters(self.task), strict=True):
                p.copy_(start)
                p.grad = None
        which = {"fused": True} if self.fused else {"foreach": True}
        rule = torch.optim.Adam if self.task.optimizer == "adam" else torch.optim.SGD
        self.optimizer = rule(self.theta, lr=self.task.rate, **which)

    def once(self) -> float:
        torch.set_num_threads(self.count)
        theta, g, optimizer = self.theta, self.g, self.optimizer
        scale = 0.5 / self.task.case.batch
        plain = self.task.optimizer == "gd" and not self.fused
        total = torch.zeros(())
        for x, y in self.batches:
            loss = F.mse_loss(forward(g, theta, x), y, reduction="sum") * scale
            if plain:  # what SGD(foreach=True) does, without its bookkeeping
                grads = torch.autograd.grad(loss, theta)
                with torch.no_grad():
                    torch._foreach_add_(theta, grads, alpha=-self.task.rate)
            else:
                loss.backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            total += loss.detach()
        return float(total) / len(self.batches)


class Predict(Subject):
    """The forward pass in inference mode."""

    def __init__(self, task: Task, count: int) -> None:
        self.g, self.count = function(task), count
        self.X, self.theta = torch.from_numpy(task.problem.X[: task.rows]), parameters(task)

    def reset(self) -> None:
        torch.set_num_threads(self.count)

    def once(self) -> Any:
        with torch.inference_mode():
            return forward(self.g, self.theta, self.X)

    def proof(self) -> Any:
        self.reset()
        return self.once().numpy()


def trainers(task: Task) -> Ways:
    return {
        f"{words}, {thread_words(count)}": partial(Epoch, task, count, fused)
        for count in threads(task.case.step_flops)
        for words, fused in (("fused", True), ("foreach", False))
    }


def predictors(task: Task) -> Ways:
    counts = threads(task.forward_flops)
    return {thread_words(count): partial(Predict, task, count) for count in counts}
