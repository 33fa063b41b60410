"""Passages: the parts of a worked example, each with what it speaks of in the network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from chainrule.equations.feedforward import FeedForward
from chainrule.equations.formulas import Expr
from chainrule.equations.targets import Bias, Target, UnitOutput, Weight
from chainrule.explain.document import Section
from chainrule.explain.terms import Equation

Phase = Literal["input", "forward", "loss", "backward", "update"]
Names = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Passage:
    """Equations that belong together: of a unit, a derivative, or a layer.

    Attributes:
        title: The title of the section that it belongs to.
        equations: The equations in order.
        phase: The part of the step.
        layer: The layer, or 0.
        symbol: What it computes, where that is one number.
        target: The quantity whose derivation says more, or "".
        light: What it reads and computes: "w[1][0,1]", "a[1][0]", "x[0]", "y[0]" or "loss".
        is_matrix: Whether it is the matrix form of the passages of its phase and layer.
        step: The step, from 0.
    """

    title: str
    equations: Sequence[Equation]
    phase: Phase
    layer: int = 0
    symbol: Expr | None = None
    target: str = ""
    light: Names = ()
    is_matrix: bool = False
    step: int = 0


def as_matrices(title: str, equations: Iterable[Equation], phase: Phase, layer: int) -> Passage:
    """Return the matrix form of a layer."""
    return Passage(title, list(equations), phase, layer, is_matrix=True)


def sections(passages: Iterable[Passage]) -> list[Section]:
    """Return the passages as sections: those in a row with one title make one."""
    return [
        Section(title, [equation for passage in group for equation in passage.equations])
        for title, group in groupby(passages, key=lambda passage: passage.title)
    ]


# --- what a passage speaks of -------------------------------------------------------------------


def given(network: FeedForward) -> Names:
    """Return the inputs and the targets."""
    return (*_units(network, 0), *_targets(network))


def of_unit(network: FeedForward, l: int, j: int) -> Names:
    """Return what the forward pass of a unit reads, and the unit."""
    weights = (str(Weight(l, j, k)) for k in range(network.sizes[l - 1]))
    bias = (str(Bias(l, j)),) if network.biases else ()
    return (*_units(network, l - 1), *weights, *bias, str(UnitOutput(l, j)))


def of_loss(network: FeedForward) -> Names:
    """Return the outputs, the targets and the loss."""
    return (*_units(network, len(network.sizes) - 1), *_targets(network), "loss")


def of_target(network: FeedForward, target: Target) -> Names:
    """Return a weight or bias, and every path from it to the loss."""
    l, j = target.layer, target.j
    before = (str(UnitOutput(l - 1, target.k)),) if isinstance(target, Weight) else ()
    found = [*before, str(target), str(UnitOutput(l, j))]
    starts: Sequence[int] = [j]
    for m in range(l + 1, len(network.sizes)):
        units = range(network.sizes[m])
        found += [str(Weight(m, to, start)) for to in units for start in starts]
        found += _units(network, m)
        starts = units
    return (*found, "loss")


def of_layer(network: FeedForward, l: int, biases: bool) -> Names:
    """Return the weights of a layer, and its biases if they are asked for."""
    units, before = range(network.sizes[l]), range(network.sizes[l - 1])
    weights = (str(Weight(l, j, k)) for j in units for k in before)
    return (*weights, *((str(Bias(l, j)) for j in units) if network.biases and biases else ()))


def _units(network: FeedForward, l: int) -> Iterator[str]:
    return (str(UnitOutput(l, j)) for j in range(network.sizes[l]))


def _targets(network: FeedForward) -> Iterator[str]:
    return (f"y[{j}]" for j in range(network.sizes[-1]))
