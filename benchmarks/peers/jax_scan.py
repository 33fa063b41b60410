"""JAX: one jitted call for a whole epoch, `lax.scan` over its batches, parameters donated."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.cases import BETA1, BETA2, EPSILON
from benchmarks.peers import Subject, Task, Ways

_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "identity": lambda z: z,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "gelu": partial(jax.nn.gelu, approximate=False),
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
}


def _forward(g: Callable[[Any], Any], theta: Any, a: Any) -> Any:
    for W, b in theta[:-1]:
        a = g(a @ W + b)
    W, b = theta[-1]
    return a @ W + b


class Epoch(Subject):
    """The state is (parameters, first and second moments, step), all on the device."""

    def __init__(self, task: Task, unroll: int) -> None:
        case = task.case
        self.task, self.units = task, case.steps
        shape = (case.steps, case.batch, -1)
        self.X = jax.device_put(task.problem.X.reshape(shape))
        self.y = jax.device_put(task.problem.y.reshape(shape))
        g, rate, adam = _FUNCTIONS[case.activation], task.rate, task.optimizer == "adam"

        def loss(theta: Any, x: Any, y: Any) -> Any:
            z = _forward(g, theta, x)
            if case.output == "softmax":
                return -jnp.sum(y * jax.nn.log_softmax(z)) / case.batch
            return 0.5 * jnp.sum((z - y) ** 2) / case.batch

        def step(state: Any, batch: Any) -> Any:
            theta, m, v, t = state
            C, grad = jax.value_and_grad(loss)(theta, *batch)
            if not adam:
                return (jax.tree.map(lambda p, d: p - rate * d, theta, grad), m, v, t), C
            t = t + 1
            m = jax.tree.map(lambda s, d: BETA1 * s + (1 - BETA1) * d, m, grad)
            v = jax.tree.map(lambda s, d: BETA2 * s + (1 - BETA2) * d * d, v, grad)
            eta, root = rate / (1 - BETA1**t), lax.rsqrt(1 - BETA2**t)
            theta = jax.tree.map(
                lambda p, s, q: p - eta * s / (jnp.sqrt(q) * root + EPSILON), theta, m, v
            )
            return (theta, m, v, t), C

        def epoch(state: Any, X: Any, y: Any) -> Any:
            state, losses = lax.scan(step, state, (X, y), unroll=unroll)
            return state, losses.mean()

        self.run = jax.jit(epoch, donate_argnums=0)
        self.reset()

    def reset(self) -> None:
        numbers = self.task.problem
        theta = [(jnp.array(W.T), jnp.array(b)) for W, b in zip(numbers.W, numbers.b, strict=True)]
        if self.task.optimizer == "adam":
            m, v = jax.tree.map(jnp.zeros_like, theta), jax.tree.map(jnp.zeros_like, theta)
            self.state = theta, m, v, jnp.float32(0)
        else:
            self.state = theta, None, None, None
        jax.block_until_ready(self.state)

    def once(self) -> float:
        self.state, loss = self.run(self.state, self.X, self.y)
        jax.block_until_ready(self.state)
        return float(loss)


class Predict(Subject):
    """A jitted forward pass, of an input that is on the device."""

    def __init__(self, task: Task) -> None:
        numbers = task.problem
        self.X = jax.device_put(numbers.X[: task.rows])
        self.theta = [
            (jax.device_put(np.ascontiguousarray(W.T)), jax.device_put(b))
            for W, b in zip(numbers.W, numbers.b, strict=True)
        ]
        self.run = jax.jit(partial(_forward, _FUNCTIONS[task.case.activation]))

    def once(self) -> Any:
        return self.run(self.theta, self.X).block_until_ready()

    def proof(self) -> Any:
        return np.asarray(self.once())


def trainers(task: Task) -> Ways:
    """Give the plain loop and, where a step is short, one unrolled eightfold."""
    unrolls = (1, 8) if task.case.step_flops < 100e6 else (1,)
    return {f"scan, unroll {unroll}": partial(Epoch, task, unroll) for unroll in unrolls}


def predictors(task: Task) -> Ways:
    return {"jit": partial(Predict, task)}
