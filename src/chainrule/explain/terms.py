"""Terms: the factors of a chain rule, with their derivations, numbers and contributions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from chainrule._forks import cached_property
from chainrule.equations.formulas import Expr

Array = NDArray[Any]


@dataclass(frozen=True)
class Equation:
    """Expressions that are equal, with the words that lead to them.

    ``relation`` stands between the first two sides. ``is_result`` marks the end of a term's
    derivation; ``tag`` is its number, (1), (2), ..., in a notation that numbers results.
    """

    sides: tuple[Expr, ...]
    lead: str = ""
    is_result: bool = False
    relation: str = "="
    tag: str = ""


@dataclass(frozen=True, eq=False)
class Term:
    """A factor of a product: ∂C/∂a, ∂a/∂z, ∂z/∂w, a weight of a sample, or the penalty's part.

    ``symbol`` names it, ``formula`` is what is left of it, ``derivation`` leads from the definition
    to the result, ``numbers`` puts the numbers of the sample in focus into the formula. ``values``
    are those of every sample, (n,); ``value`` is that of the sample in focus. ``contributions`` are
    there where the term is a sum over units: one product for each.
    """

    symbol: Expr
    formula: Expr
    values: Array
    focus: int
    derivation: tuple[Equation, ...]
    numbers: Equation
    contributions: Contributions | None = None

    @property
    def value(self) -> float:
        """The number of the sample in focus."""
        return float(self.values[self.focus])


class Contribution:
    """The part of a term that goes through one unit: again a product of terms."""

    def __init__(
        self, unit: int, symbol: Expr, values: Array, focus: int, make: Callable[[], list[Term]]
    ) -> None:
        self.unit, self.symbol, self.values, self.focus = unit, symbol, values, focus
        self._make = make

    @property
    def value(self) -> float:
        """The number of the sample in focus."""
        return float(self.values[self.focus])

    @cached_property
    def terms(self) -> tuple[Term, ...]:
        """The factors, which open further, down to the loss."""
        return tuple(self._make())

    def __repr__(self) -> str:
        return f"Contribution(unit={self.unit}, value={self.value:.6g})"


class Contributions(Sequence[Contribution]):
    """The contributions of all units to a term, made when they are looked at.

    ``values`` is (n, units): contribution of each unit for each sample; a row sums to the term.
    """

    def __init__(self, values: Array, focus: int, make: Callable[[int], Contribution]) -> None:
        self.values, self.focus, self._make = values, focus, make
        self._made: dict[int, Contribution] = {}

    @overload
    def __getitem__(self, unit: int) -> Contribution: ...
    @overload
    def __getitem__(self, unit: slice) -> Sequence[Contribution]: ...
    def __getitem__(self, unit: int | slice) -> Contribution | Sequence[Contribution]:
        if isinstance(unit, slice):
            return [self[i] for i in range(*unit.indices(len(self)))]
        if not -len(self) <= unit < len(self):
            raise IndexError(f"contribution {unit}: there are {len(self)}")
        unit %= len(self)
        if unit not in self._made:
            self._made[unit] = self._make(unit)
        return self._made[unit]

    def __len__(self) -> int:
        return int(self.values.shape[1])

    def largest(self, count: int) -> tuple[list[Contribution], float]:
        """Give the largest contributions in size, largest first, and the sum of all others."""
        values = self.values[self.focus]
        order = np.argsort(-np.abs(values), kind="stable")
        chosen = order if len(values) <= count else order[:count]
        rest = math.fsum(values[order[len(chosen) :]])
        return [self[int(unit)] for unit in chosen], rest
