"""Losses with a weight for each output: Σ_j u_j c(a_j, y_j)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.equations.activations import Activation, Softmax
from chainrule.equations.losses import Loss, LossFromZ

Array = NDArray[Any]


class WeightedOutputs(Loss):
    """Σ_j u_j c(a_j, y_j): another loss with a weight u_j for each output."""

    def __init__(self, loss: Loss, weights: Array) -> None:
        self.loss, self.weights = loss, weights
        # The language of formulas has no letter for u_j; `explain` refuses such a loss.
        self.name = f"weighted {loss.name}"  # type: ignore[misc]
        self.formula, self.derivative_formula = loss.formula, loss.derivative_formula  # type: ignore[misc]
        self.kinks, self.output = loss.kinks, loss.output  # type: ignore[misc]
        self.needs_positive_output = loss.needs_positive_output  # type: ignore[misc]

    def value(self, a: Array, y: Array) -> Array:
        """See `Loss.value`."""
        return self.weights * self.loss.value(a, y)

    def derivative(self, a: Array, y: Array) -> Array:
        """See `Loss.derivative`."""
        return self.weights.astype(a.dtype) * self.loss.derivative(a, y)


class WeightedFromZ(WeightedOutputs, LossFromZ):
    """`WeightedOutputs` for a loss that is computed from z."""

    loss: LossFromZ

    def value_from_z(self, g: Activation, z: Array, y: Array) -> Array:
        """See `LossFromZ.value_from_z`."""
        if self.output == "softmax":  # linear in y, and the outputs depend on each other
            return self.loss.value_from_z(g, z, self.weights * y)
        if isinstance(g, Softmax):
            return np.asarray(self.value(g.value(z), y).sum(axis=-1))
        total = np.zeros(len(z), z.dtype)
        for j, u in enumerate(self.weights):
            total += u * self.loss.value_from_z(g, z[:, [j]], y[:, [j]])
        return total

    def delta(self, g: Activation, z: Array, a: Array, y: Array) -> Array:
        """See `LossFromZ.delta`."""
        u = self.weights.astype(a.dtype)
        if self.output == "softmax":
            return self.loss.delta(g, z, a, u * y)
        if isinstance(g, Softmax):
            return g.pull_back(self.derivative(a, y), z, a)
        return np.asarray(u * self.loss.delta(g, z, a, y))


def weighted(loss: Loss, weights: Array | None) -> Loss:
    """Return the loss with a weight for each output, or unchanged if all are 1."""
    if weights is None or (weights == 1).all():
        return loss
    return (WeightedFromZ if isinstance(loss, LossFromZ) else WeightedOutputs)(loss, weights)
