"""Checks of what a network is made with: one setting, or one for each layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainrule.equations import activations
from chainrule.equations.activations import Activation
from chainrule.equations.checks import integer, not_negative
from chainrule.equations.losses import Loss, LossFromZ


def per_layer(value: Any, count: int, name: str) -> list[Any]:
    """Return a setting for each layer: the list that was given, or one value for all."""
    if isinstance(value, str | int | float | Activation) or not isinstance(value, Sequence):
        return [value] * count
    if len(value) != count:
        layers = "hidden layers" if name != "init" else "layers with weights"
        raise ValueError(f"{name} has {len(value)} entries; the network has {count} {layers}")
    return list(value)


def check_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """Return the units of layers 0 to L; raise TypeError or ValueError for anything else."""
    try:
        checked = tuple(sizes)
    except TypeError:
        raise TypeError(f"sizes must be a list of integers, got {sizes!r}") from None
    if len(checked) < 2:
        raise ValueError(f"sizes {list(checked)} needs an input and at least one layer")
    units = tuple(integer(units, "sizes must be integers") for units in checked)
    if min(units) < 1:
        raise ValueError(f"sizes must be at least 1, got {min(units)}")
    return units


def check_loss_after(loss: Loss, output: Activation) -> None:
    """Raise ValueError unless the loss can follow the output activation."""
    if isinstance(loss, LossFromZ) and loss.output and output.name != loss.output:
        raise ValueError(f"loss {loss.name!r} needs output={loss.output!r}, got {output.name!r}")
    if loss.needs_positive_output and not output.positive:
        known = ", ".join(g.name for g in activations.ACTIVATIONS.values() if g.positive)
        raise ValueError(
            f"loss {loss.name!r} takes the logarithm of the output, which {output.name!r} does not "
            f"keep above 0; use {known}"
        )


def check_rate(value: float) -> float:
    """Return a dropout rate; raise ValueError unless it is from 0 to below 1."""
    not_negative(value, "dropout")
    if value >= 1:
        raise ValueError(f"dropout must be below 1, got {value}")
    return float(value)


def check_seed(seed: int) -> int:
    """Return a seed; raise TypeError or ValueError unless it is from 0 to 2**63 - 1."""
    seed = integer(seed, "seed must be an integer")
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed must be from 0 to 2**63 - 1, got {seed}")
    return seed
