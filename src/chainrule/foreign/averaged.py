"""Losses that average over the outputs, as those of PyTorch and Keras do."""

from __future__ import annotations

from typing import Any

from chainrule.equations import losses
from chainrule.equations.losses import Loss


def averaged(name: str, units: int) -> Loss:
    """Return a loss that averages over the outputs, as PyTorch's do."""
    whole = losses.get(name)

    class Averaged(Loss):
        kinks = whole.kinks
        formula = f"({whole.formula}) / {units}"
        derivative_formula = f"({whole.derivative_formula}) / {units}"

        def value(self, a: Any, y: Any) -> Any:
            return whole.value(a, y) / units

        def derivative(self, a: Any, y: Any) -> Any:
            return whole.derivative(a, y) / units

    Averaged.name = f"mean_{name}_of_{units}"
    return Averaged()
