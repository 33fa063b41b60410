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

    Attributes:
        sides: The expressions.
        lead: The words before them.
        is_result: Whether the derivation of a term ends with this equation.
        relation: The sign between the first two sides.
        tag: The number of the result, such as "(1)", in a notation that numbers results.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([1, 1], output="tanh", seed=0)
        >>> term = net.explain("w[1][0,0]", [[2.0]], [0.0]).terms[1]
        >>> term.derivation[-1].is_result
        True
    """

    sides: tuple[Expr, ...]
    lead: str = ""
    is_result: bool = False
    relation: str = "="
    tag: str = ""


@dataclass(frozen=True, eq=False)
class Term:
    """A factor of a product: ∂C/∂a, ∂a/∂z, ∂z/∂w, a sample weight, or the part of the penalty.

    Attributes:
        symbol: The term, as an expression.
        formula: The result of its derivation.
        values: Its value for every sample, (n,).
        focus: The sample whose value is `value`.
        derivation: The equations from the definition to the result.
        numbers: The formula with the numbers of the sample in focus.
        contributions: One part for each unit if the term is a sum over units, else None.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([1, 2, 1], hidden="tanh", seed=0)
        >>> first, *_ = net.explain("w[1][0,0]", [[2.0]], [0.0]).terms
        >>> len(first.contributions)
        1
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
        """Return the value for the sample in focus."""
        return float(self.values[self.focus])


class Contribution:
    """The part of a term that goes through one unit: a product of terms again.

    Args:
        unit: The unit, from 0.
        symbol: The contribution, as an expression.
        values: Its value for every sample, (n,).
        focus: The sample whose value is `value`.
        make: Makes the terms when they are first asked for.

    Attributes:
        unit: The unit, from 0.
        values: Its value for every sample, (n,).

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([1, 2, 2, 1], hidden="tanh", seed=0)
        >>> part = net.explain("w[1][0,0]", [[2.0]], [0.0]).terms[0].contributions[1]
        >>> part.unit, len(part.terms)
        (1, 3)
    """

    def __init__(
        self, unit: int, symbol: Expr, values: Array, focus: int, make: Callable[[], list[Term]]
    ) -> None:
        self.unit, self.symbol, self.values, self.focus = unit, symbol, values, focus
        self._make = make

    @property
    def value(self) -> float:
        """Return the value for the sample in focus."""
        return float(self.values[self.focus])

    @cached_property
    def terms(self) -> tuple[Term, ...]:
        """Return the factors, which have contributions of their own, down to the loss."""
        return tuple(self._make())

    def __repr__(self) -> str:
        return f"Contribution(unit={self.unit}, value={self.value:.6g})"


class Contributions(Sequence[Contribution]):
    """The contributions of all units to a term, each made when it is first asked for.

    Args:
        values: The contribution of each unit for each sample, (n, units); the sum of a row is the
            term.
        focus: The sample whose numbers are shown.
        make: Makes the contribution of a unit.

    Attributes:
        values: The contribution of each unit for each sample, (n, units).

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([1, 2, 5, 1], hidden="tanh", seed=0)
        >>> parts = net.explain("w[1][0,0]", [[2.0]], [0.0]).terms[0].contributions
        >>> len(parts)
        5
        >>> largest, rest = parts.largest(2)
        >>> bool(abs(sum(part.value for part in largest) + rest - parts.values.sum()) < 1e-12)
        True
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
            raise IndexError(f"contribution {unit} does not exist; expected 0 to {len(self) - 1}")
        unit %= len(self)
        if unit not in self._made:
            self._made[unit] = self._make(unit)
        return self._made[unit]

    def __len__(self) -> int:
        return int(self.values.shape[1])

    def largest(self, count: int) -> tuple[list[Contribution], float]:
        """Return the contributions largest in size, in that order, and the sum of all others.

        Args:
            count: How many to return.
        """
        values = self.values[self.focus]
        order = np.argsort(-np.abs(values), kind="stable")
        chosen = order if len(values) <= count else order[:count]
        rest = math.fsum(values[order[len(chosen) :]])
        return [self[int(unit)] for unit in chosen], rest
