"""What the tables of settings share: which functions go together, and targets for each loss."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.equations.activations import ACTIVATIONS
from chainrule.equations.losses import LOSSES

DTYPES = ["float32", "float64"]
HIDDEN = tuple(name for name in ACTIVATIONS if name != "softmax")
POSITIVE = ("softplus", "sigmoid", "softmax")  # outputs of which a loss may take the logarithm


def outputs_for(loss: str) -> tuple[str, ...]:
    """The output activations that a loss may follow."""
    needed = LOSSES[loss].output
    if needed is not None:
        return (needed,)
    return POSITIVE if LOSSES[loss].needs_positive_output else tuple(ACTIVATIONS)


def targets_for(loss: str, rng: np.random.Generator, n: int, units: int) -> Any:
    """Targets that are possible for a loss, (n, units)."""
    if loss == "cross_entropy":
        return rng.dirichlet(np.ones(units), size=n)
    if loss == "binary_cross_entropy":
        return rng.uniform(size=(n, units)).round(1)
    if loss == "poisson":
        return rng.poisson(2, size=(n, units)).astype(float)
    return rng.normal(size=(n, units))
