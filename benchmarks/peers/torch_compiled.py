"""PyTorch compiled: loss, gradient and update of a step as one graph, by Inductor in C++."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import torch
import torch._inductor.config
import torch.nn.functional as F  # noqa: N812

from benchmarks.cases import BETA1, BETA2, EPSILON
from benchmarks.peers import Subject, Task, UnsupportedError, Ways, thread_words, threads
from benchmarks.peers.torch_eager import batches, forward, function, parameters


class Graph:
    """A function and its compiled form for a number of threads, which the generated code holds.

    Only one graph is alive at a time: others would be compared with every call's arguments.
    """

    alive: ClassVar[Graph | None] = None

    def __init__(self, function: Any, count: int) -> None:
        self.function, self.count = function, count

    def wake(self) -> bool:
        """Make this graph the one that is alive; tell whether it will be compiled by a call."""
        torch.set_num_threads(self.count)
        if Graph.alive is self:
            return False
        Graph.alive = self
        torch._dynamo.reset()
        config = torch._inductor.config
        config.cpp_wrapper, config.freezing = True, True  # freezing acts in inference only
        config.cpp.threads = self.count
        self.run = torch.compile(self.function, fullgraph=True, dynamic=False)
        return True


class Epoch(Subject):
    """Calls the compiled step for every batch; parameters are changed in place."""

    def __init__(self, task: Task, count: int) -> None:
        self.task, self.units = task, task.case.steps
        self.batches, self.theta = batches(task), parameters(task)
        self.m, self.v = ([torch.zeros_like(p) for p in self.theta] for _ in range(2))
        self.t = torch.zeros(())
        g, rate, adam = function(task), task.rate, task.optimizer == "adam"
        scale = 0.5 / task.case.batch

        def loss(theta: list[Any], x: Any, y: Any) -> Any:
            return F.mse_loss(forward(g, theta, x), y, reduction="sum") * scale

        gradient = torch.func.grad_and_value(loss)

        def step(theta: Any, m: Any, v: Any, t: Any, total: Any, x: Any, y: Any) -> None:
            grads, C = gradient(theta, x, y)
            total.add_(C)
            if not adam:
                for p, d in zip(theta, grads, strict=True):
                    p.sub_(d, alpha=rate)
                return
            t.add_(1)
            eta, root = rate / (1 - BETA1**t), (1 - BETA2**t).rsqrt()
            for p, s, q, d in zip(theta, m, v, grads, strict=True):
                s.lerp_(d, 1 - BETA1)
                q.mul_(BETA2).addcmul_(d, d, value=1 - BETA2)
                p.sub_(eta * s / (q.sqrt() * root + EPSILON))

        self.graph = Graph(step, count)

    def reset(self) -> None:
        if self.graph.wake():
            _or_unsupported(self.once)
        for p, start in zip(self.theta, parameters(self.task), strict=True):
            p.copy_(start)
        for p in (*self.m, *self.v, self.t):
            p.zero_()

    def once(self) -> float:
        step, theta, m, v, t = self.graph.run, self.theta, self.m, self.v, self.t
        total = torch.zeros(())
        with torch.no_grad():
            for x, y in self.batches:
                step(theta, m, v, t, total, x, y)
        return float(total) / len(self.batches)


class Predict(Subject):
    """The compiled forward pass, weights frozen into it."""

    def __init__(self, task: Task, count: int) -> None:
        self.X = torch.from_numpy(task.problem.X[: task.rows])
        g = function(task)
        layers: list[Any] = []
        for W, b in zip(task.problem.W, task.problem.b, strict=True):
            linear = torch.nn.Linear(W.shape[1], W.shape[0])
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(W))
                linear.bias.copy_(torch.from_numpy(b))
            layers += [linear, torch.nn.Tanh() if g is torch.tanh else torch.nn.ReLU()]
        self.graph = Graph(torch.nn.Sequential(*layers[:-1]).eval(), count)

    def reset(self) -> None:
        if self.graph.wake():
            _or_unsupported(self.once)

    def once(self) -> Any:
        with torch.inference_mode():
            return self.graph.run(self.X)

    def proof(self) -> Any:
        self.reset()
        return self.once().numpy()


def _or_unsupported(function: Any) -> Any:
    """Call; where PyTorch can't compile, that is a result and no accident."""
    try:
        return function()
    except Exception as error:
        if type(error).__module__.startswith(("torch", "subprocess")):
            first = str(error).strip().split("\n")[0]
            raise UnsupportedError(f"could not be compiled: {first[:120]}") from error
        raise


def trainers(task: Task) -> Ways:
    counts = threads(task.case.step_flops)
    return {f"one graph, {thread_words(count)}": partial(Epoch, task, count) for count in counts}


def predictors(task: Task) -> Ways:
    counts = threads(task.forward_flops)
    return {f"frozen, {thread_words(count)}": partial(Predict, task, count) for count in counts}
