"""The loss as scikit-learn reports it.

The gradient is chainrule's; the loss differs from that of `Network` in three places. The squared
error is averaged over the outputs (while the gradient is that of the sum); the logarithms of the
log loss take probabilities no closer to 0 and 1 than the dtype's ε; and the Poisson loss holds the
terms y ln y - y, which no parameter moves. Losses of batches are averaged by their rows, also where
samples have weights.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.equations.losses import Loss

if TYPE_CHECKING:
    from chainrule.sklearn.part import Part

Array = NDArray[Any]


class Report:
    """How a loss is reported; ``kind`` is its name in scikit-learn, or None for chainrule's."""

    def __init__(self, kind: str | None, loss: Loss, units: int, output_weight: Any = 1) -> None:
        self.kind, self.loss, self.units, self._u = kind, loss, units, output_weight
        self.binary = loss.output == "sigmoid"

    @property
    def needs_outputs(self) -> bool:
        """Whether the loss of training passes needs their outputs."""
        return self.kind == "log_loss" and self.binary

    def largest_loss(self, dtype: np.dtype[Any]) -> float:
        """Return the largest loss of a sample that has one true class."""
        clipped = self.kind == "log_loss" and not self.binary
        return -math.log(np.finfo(dtype).eps) if clipped else math.inf

    def total(
        self, losses: Array, counts: Array, part: Part, order: Array | None, a: Array | None
    ) -> float:
        """Return Σ rows · loss over an epoch's batches.

        ``losses`` are the engine's, (batches, 2): mean of the data, and penalty; ``counts`` are the
        batches' rows, ``order`` that of the rows of ``part``, ``a`` its outputs where needed.
        """
        data = losses[:, 0]
        if self.kind == "squared_error":
            data = data / self.units
        elif self.kind == "poisson":
            data = data + _means(self._constant(part.y), counts, part.weights, order)
        elif a is not None and self._clips(part, a):
            data = _means(self._log_loss(part.y, a), counts, part.weights, order)
        return float(counts @ (data + losses[:, 1]))

    def data_loss(self, y: Array, a: Array, weights: Array | None) -> float:
        """Return the mean loss of rows, without penalty, from y and a, (n, units_L)."""
        if self.kind == "log_loss":
            rows = self._log_loss(y, a)
        else:
            rows = self.loss.value(a, y).sum(axis=1)
            if self.kind == "squared_error":
                rows = rows / self.units
            elif self.kind == "poisson":
                rows = rows + self._constant(y)
        return float(_means(rows, np.array([len(rows)]), weights, None)[0])

    def _clips(self, part: Part, a: Array) -> bool:
        """Return whether the logarithm of a probability is clipped, or 1 - a rounds to 0."""
        return bool(np.abs(a - ~part.y).min() < max(float(np.finfo(a.dtype).eps), 1e-8))

    def _log_loss(self, y: Array, a: Array) -> Array:
        eps = np.finfo(a.dtype).eps
        p = np.clip(a, eps, 1 - eps)
        wrong = np.log(1 - p) if self.binary else 0
        return -np.where(y, np.log(p), wrong).sum(axis=1)

    def _constant(self, y: Array) -> Array:
        """Return Σ_j y_j ln y_j - y_j of every row: the terms of the Poisson deviance without a."""
        from scipy.special import xlogy

        result: Array = ((xlogy(y, y) - y) * self._u).sum(axis=1)
        return result


def _means(rows: Array, counts: Array, weights: Array | None, order: Array | None) -> Array:
    """Return the (weighted) mean of each batch, in float64; 0 where all its weights are 0."""
    starts = np.cumsum(counts) - counts
    rows = rows.astype(np.float64)
    weights = np.ones(len(rows)) if weights is None else weights.astype(np.float64)
    rows = weights * rows
    if order is not None:
        rows, weights = rows[order], weights[order]
    totals = np.add.reduceat(weights, starts)
    means: Array = np.add.reduceat(rows, starts) / np.where(totals == 0, 1, totals)
    return means
