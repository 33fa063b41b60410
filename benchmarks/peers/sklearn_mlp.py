"""scikit-learn: `MLPRegressor.partial_fit`, one call an epoch, its own overhead included."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from sklearn.neural_network import MLPRegressor
from threadpoolctl import ThreadpoolController

from benchmarks.cases import BETA1, BETA2, EPSILON
from benchmarks.peers import Subject, Task, UnsupportedError, Ways, thread_words, threads

_NAMES = {"identity": "identity", "sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}


class Epoch(Subject):
    """One epoch of stochastic gradient descent or Adam, without penalty or momentum."""

    def __init__(self, task: Task, limit: int) -> None:
        case = task.case
        if case.activation not in _NAMES or case.output != "identity":
            raise UnsupportedError(f"{case.name} is not measured with scikit-learn")
        self.task, self.limit, self.units = task, limit, case.steps
        self.X, self.y = task.problem.X, task.problem.y
        if self.y.shape[1] == 1:
            self.y = self.y.ravel()
        self.mlp: Any = MLPRegressor(
            hidden_layer_sizes=case.sizes[1:-1], activation=_NAMES[case.activation],
            alpha=0.0, shuffle=False,
            solver="adam" if task.optimizer == "adam" else "sgd", learning_rate_init=task.rate,
            momentum=0.0, nesterovs_momentum=False, batch_size=case.batch,
            beta_1=BETA1, beta_2=BETA2, epsilon=EPSILON, random_state=0,
        )  # fmt: skip
        self.mlp.partial_fit(self.X[: case.batch], self.y[: case.batch])  # allocates
        self.controller = ThreadpoolController()
        self.reset()

    def reset(self) -> None:
        self.controller.limit(limits=self.limit, user_api="blas")  # stays until it is set again
        for mine, W in zip(self.mlp.coefs_, self.task.problem.W, strict=True):
            mine[...] = W.T
        for mine, b in zip(self.mlp.intercepts_, self.task.problem.b, strict=True):
            mine[...] = b
        if hasattr(self.mlp, "_optimizer"):
            del self.mlp._optimizer  # the next call begins with a fresh one
        self.mlp.t_ = 0

    def once(self) -> float:
        self.mlp.partial_fit(self.X, self.y)
        # Its gradient is that of the sum over outputs, but it reports the mean over them.
        return float(self.mlp.loss_) * self.task.case.sizes[-1]

    def proof(self) -> list[float]:
        losses: list[float] = super().proof()
        if self.mlp.coefs_[0].dtype != np.float32:
            raise UnsupportedError("computes in float64")
        return losses


def trainers(task: Task) -> Ways:
    counts = threads(task.case.step_flops)
    return {thread_words(count): partial(Epoch, task, count) for count in counts}
