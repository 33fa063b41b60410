"""The loss as scikit-learn reports it, from the outputs of a batch.

The gradient is ours; the number beside it differs from `Network`'s in three places. The squared
error is averaged over the outputs (while the gradient is that of the sum); the logarithms of the
log loss take probabilities no closer to 0 and 1 than the dtype's ε; and the Poisson loss holds the
terms y ln y - y, which no parameter moves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.losses import Loss

Array = NDArray[Any]


class Report:
    """How a loss is reported; ``kind`` is scikit-learn's name of it, or None for ours."""

    def __init__(self, kind: str | None, loss: Loss, units: int, output_weight: Any = 1) -> None:
        self.kind, self.loss, self.units, self._u = kind, loss, units, output_weight
        self.binary = loss.output == "sigmoid"

    @property
    def may_clip(self) -> bool:
        """Whether the loss can differ from one that is computed from z."""
        return self.kind == "log_loss"

    @property
    def needs_outputs(self) -> bool:
        """Whether the outputs of the training passes are needed beside the engine's loss."""
        return self.may_clip or (self.kind == "squared_error" and self.units > 1)

    def data_loss(self, y: Array, a: Array, weights: Array | None) -> float:
        """Give the mean loss of rows, without penalty, from y and a, (n, units_L)."""
        match self.kind:
            case "squared_error":
                rows = self.loss.value(a, y).sum(axis=1) / self.units
            case "log_loss":
                rows = self._log_loss(y, a)
            case "poisson":
                rows = self.loss.value(a, y).sum(axis=1) + self._constant(y)
            case _:
                rows = self.loss.value(a, y).sum(axis=1)
        return mean(rows, weights)

    def clips(self, y: Array, a: Array) -> bool:
        """Tell whether the log loss of these outputs differs from one that is computed from z."""
        eps = float(np.finfo(a.dtype).eps)
        if not self.binary:
            return bool(a[y].min(initial=1.0) < eps)
        # beyond ε, the rounding of 1 - a counts too
        return bool(np.where(y, a, 1 - a).min() < max(eps, 1e-8))

    def adjust(self, loss: float, y: Array, a: Array, weights: Array | None) -> float:
        """Give the reported loss from the engine's mean over rows, penalty included, unclipped."""
        if self.kind == "squared_error" and self.units > 1:
            data = mean(self.loss.value(a, y).sum(axis=1), weights)
            return loss - data + data / self.units
        if self.kind == "poisson":
            return loss + mean(self._constant(y), weights)
        return loss

    def _log_loss(self, y: Array, a: Array) -> Array:
        eps = np.finfo(a.dtype).eps
        p = np.clip(a, eps, 1 - eps)
        if not self.binary:
            return -np.where(y, np.log(p), 0).sum(axis=1)
        return -np.where(y, np.log(p), np.log(1 - p)).sum(axis=1)

    def _constant(self, y: Array) -> Array:
        """Give Σ_j y_j ln y_j - y_j of every row: the terms of the Poisson deviance without a."""
        from scipy.special import xlogy

        result: Array = ((xlogy(y, y) - y) * self._u).sum(axis=1)
        return result


def mean(rows: Array, weights: Array | None) -> float:
    """Give the (weighted) mean in float64; 0 where all weights are 0."""
    if weights is None:
        return float(rows.mean(dtype=np.float64))
    total = float(weights.sum())
    return float(np.vdot(weights, rows)) / total if total else 0.0
