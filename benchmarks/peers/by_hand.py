"""NumPy by hand: every array allocated once, every operation into its place, one flat update."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from threadpoolctl import ThreadpoolController

from benchmarks.cases import BETA1, BETA2, EPSILON
from benchmarks.peers import Subject, Task, Ways, thread_words, threads

Array = NDArray[np.float32]
# value(z): z becomes a in place, and what the derivative needs besides a is given back;
# pull(delta, a, kept): delta is multiplied by g'(z) in place.
Value = Callable[[Array], Any]
Pull = Callable[[Array, Array, Any], Any]


def _sigmoid(z: Array) -> None:
    np.negative(z, out=z)
    np.exp(z, out=z)
    z += 1
    np.reciprocal(z, out=z)


def _leaky(z: Array) -> None:
    np.maximum(z, z * np.float32(0.01), out=z)


def _elu(z: Array) -> None:
    below = np.minimum(z, 0)
    np.expm1(below, out=below)
    np.maximum(z, 0, out=z)
    z += below


def _gelu(z: Array) -> Array:
    cdf = ndtr(z)
    slope: Array = np.exp(z * z * np.float32(-0.5))
    slope *= np.float32(0.3989422804014327)
    slope *= z
    slope += cdf
    z *= cdf
    return slope


def _silu(z: Array) -> Array:
    s = z.copy()
    _sigmoid(s)
    z *= s
    return s


def _softplus(z: Array) -> None:
    np.logaddexp(z, 0, out=z)


def _pull_tanh(delta: Array, a: Array, kept: Any) -> None:
    slope = a * a
    np.subtract(1, slope, out=slope)
    delta *= slope


_FUNCTIONS: dict[str, tuple[Value, Pull]] = {
    "identity": (lambda z: None, lambda delta, a, kept: None),
    "sigmoid": (_sigmoid, lambda delta, a, kept: np.multiply(delta, a * (1 - a), out=delta)),
    "tanh": (lambda z: np.tanh(z, out=z) is None, _pull_tanh),
    "relu": (
        lambda z: np.maximum(z, 0, out=z) is None,
        lambda delta, a, kept: np.multiply(delta, a > 0, out=delta),
    ),
    "leaky_relu": (
        _leaky,
        lambda delta, a, kept: np.multiply(
            delta, np.where(a > 0, np.float32(1), np.float32(0.01)), out=delta
        ),
    ),
    "elu": (_elu, lambda delta, a, kept: np.multiply(delta, np.minimum(a, 0) + 1, out=delta)),
    "gelu": (_gelu, lambda delta, a, kept: np.multiply(delta, kept, out=delta)),
    "silu": (_silu, lambda delta, a, kept: np.multiply(delta, kept + a * (1 - kept), out=delta)),
    "softplus": (_softplus, lambda delta, a, kept: np.multiply(delta, -np.expm1(-a), out=delta)),
}


class Epoch(Subject):
    """The whole loop; weights stand as (fan-in, units), as x @ W reads them."""

    def __init__(self, task: Task, limit: int) -> None:
        case = task.case
        self.task, self.limit, self.units = task, limit, case.steps
        self.value, self.pull = _FUNCTIONS[case.activation]
        pairs = list(zip(task.problem.W, task.problem.b, strict=True))
        count = sum(W.size + b.size for W, b in pairs)
        self.theta, self.g = np.empty(count, np.float32), np.empty(count, np.float32)
        self.m, self.v, self.spare = (np.zeros(count, np.float32) for _ in range(3))
        self.W, self.b = self.views_of(self.theta)
        self.dW, self.db = self.views_of(self.g)
        self.a = [np.empty((case.batch, u), np.float32) for u in case.sizes[1:]]
        self.delta = [np.empty_like(a) for a in self.a]
        self.ones = np.ones(case.batch, np.float32)
        self.batches = [
            (task.problem.X[i : i + case.batch], task.problem.y[i : i + case.batch])
            for i in range(0, len(task.problem.X), case.batch)
        ]
        # Plain gradient descent takes its learning rate into delta: η g costs no pass of its own.
        self.scale = np.float32((task.rate if task.optimizer == "gd" else 1.0) / case.batch)
        self.controller = ThreadpoolController()
        self.reset()

    def views_of(self, flat: Array) -> tuple[list[Array], list[Array]]:
        W, b, at = [], [], 0
        for like in self.task.problem.W:
            units, fan_in = like.shape
            W.append(flat[at : at + units * fan_in].reshape(fan_in, units))
            at += units * fan_in
            b.append(flat[at : at + units])
            at += units
        return W, b

    def reset(self) -> None:
        self.controller.limit(limits=self.limit, user_api="blas")  # stays until it is set again
        self.t = 0
        self.m.fill(0)
        self.v.fill(0)
        for l, (W, b) in enumerate(zip(self.task.problem.W, self.task.problem.b, strict=True)):
            self.W[l][...] = W.T
            self.b[l][...] = b

    def once(self) -> float:
        total, last = 0.0, len(self.W) - 1
        kept: list[Any] = [None] * len(self.W)
        for x, y in self.batches:
            below = x
            for l, (W, b, a) in enumerate(zip(self.W, self.b, self.a, strict=True)):
                np.matmul(below, W, out=a)
                a += b
                if l < last:
                    kept[l] = self.value(a)
                below = a
            total += self._delta(y)
            for l in range(last, -1, -1):
                delta = self.delta[l]
                np.matmul((self.a[l - 1] if l else x).T, delta, out=self.dW[l])
                np.dot(self.ones, delta, out=self.db[l])
                if l:
                    np.matmul(delta, self.W[l].T, out=self.delta[l - 1])
                    self.pull(self.delta[l - 1], self.a[l - 1], kept[l - 1])
            self._update()
        return total / (len(self.batches) * self.task.case.batch)

    def _delta(self, y: Array) -> float:
        """Put the scaled ∂C/∂z of the last layer in its place; give the batch's summed loss."""
        a, delta = self.a[-1], self.delta[-1]
        if self.task.case.output == "softmax":
            a -= a.max(axis=1, keepdims=True)
            np.exp(a, out=delta)
            sums = delta.sum(axis=1, keepdims=True)
            loss = float(np.log(sums).sum() - np.vdot(a, y))
            delta /= sums
            delta -= y
        else:
            np.subtract(a, y, out=delta)
            loss = 0.5 * float(np.vdot(delta, delta))
        delta *= self.scale
        return loss

    def _update(self) -> None:
        if self.task.optimizer == "gd":
            self.theta -= self.g
            return
        g, m, v, spare = self.g, self.m, self.v, self.spare
        self.t += 1
        np.multiply(g, np.float32(1 - BETA1), out=spare)
        m *= np.float32(BETA1)
        m += spare
        g *= g
        g *= np.float32(1 - BETA2)
        v *= np.float32(BETA2)
        v += g
        np.sqrt(v, out=spare)
        spare *= np.float32((1 - BETA2**self.t) ** -0.5)
        spare += np.float32(EPSILON)
        np.divide(m, spare, out=spare)
        spare *= np.float32(self.task.rate / (1 - BETA1**self.t))
        self.theta -= spare


class Predict(Subject):
    """The forward pass into arrays that are kept."""

    def __init__(self, task: Task, limit: int) -> None:
        case = task.case
        self.X = task.problem.X[: task.rows].copy()
        self.value, _ = _FUNCTIONS[case.activation]
        self.W = [np.ascontiguousarray(W.T) for W in task.problem.W]
        self.b = task.problem.b
        self.a = [np.empty((task.rows, u), np.float32) for u in case.sizes[1:]]
        self.controller, self.limit = ThreadpoolController(), limit

    def reset(self) -> None:
        self.controller.limit(limits=self.limit, user_api="blas")

    def once(self) -> Array:
        below, last = self.X, len(self.W) - 1
        for l, (W, b, a) in enumerate(zip(self.W, self.b, self.a, strict=True)):
            np.matmul(below, W, out=a)
            a += b
            if l < last:
                self.value(a)
            below = a
        return below

    def proof(self) -> Array:
        return self.once().copy()


def trainers(task: Task) -> Ways:
    counts = threads(task.case.step_flops)
    return {thread_words(count): partial(Epoch, task, count) for count in counts}


def predictors(task: Task) -> Ways:
    counts = threads(task.forward_flops)
    return {thread_words(count): partial(Predict, task, count) for count in counts}
