"""Terms: a derivative as a sum over the calls that read a number, and over what they make of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from chainrule._exports import exported
from chainrule._forks import cached_property
from chainrule.foreign.local import Local

Array = NDArray[np.float64]


@exported("chainrule")
class CallContribution:
    """The part of a derivative that goes through one element of a call's output.

    Attributes:
        element: The element, such as "fc1:output[17,3]".
        sample: The sample that it belongs to, or None.
        adjoint: ∂C/∂element.
        local: ∂element/∂quantity.
        value: Their product.

    Examples:
        >>> import chainrule as cr  # doctest: +SKIP
        >>> why = cr.explain_torch(model, loss_fn, x, y, "fc1.weight[3,7]")  # doctest: +SKIP
        >>> largest, rest = why.terms[0].contributions.largest(1)  # doctest: +SKIP
        >>> largest[0].element  # doctest: +SKIP
        'fc1:output[17,3]'

    Examples:
        >>> import chainrule as cr  # doctest: +SKIP
        >>> why = cr.explain_torch(model, loss_fn, x, y, "fc1.weight[3,7]")  # doctest: +SKIP
        >>> largest, rest = why.terms[0].contributions.largest(1)  # doctest: +SKIP
        >>> largest[0].element  # doctest: +SKIP
        'fc1:output[17,3]'
    """

    def __init__(
        self,
        element: str,
        sample: int | None,
        adjoint: float,
        local: float,
        make: Callable[[], tuple[CallTerm, ...]],
        formula: Callable[[], Local | None],
    ) -> None:
        self.element, self.sample = element, sample
        self.adjoint, self.local, self.value = adjoint, local, adjoint * local
        self._make, self._formula = make, formula

    @cached_property
    def formula(self) -> Local | None:
        """Return ∂element/∂quantity in symbols with its numbers, or None without an entry."""
        return self._formula()

    @cached_property
    def terms(self) -> tuple[CallTerm, ...]:
        """Return what the adjoint is a sum of, down to the loss."""
        return self._make()

    def __repr__(self) -> str:
        return f"CallContribution({self.element}, value={self.value:.6g})"


@exported("chainrule")
class CallContributions(Sequence[CallContribution]):
    """The contributions of one call, each made when it is first asked for.

    Attributes:
        values: The contribution of each element that moves, (m,).

    Examples:
        >>> import chainrule as cr  # doctest: +SKIP
        >>> why = cr.explain_torch(model, loss_fn, x, y, "fc1.weight[3,7]")  # doctest: +SKIP
        >>> largest, rest = why.terms[0].contributions.largest(3)  # doctest: +SKIP
        >>> left = why.terms[0].value - sum(part.value for part in largest)  # doctest: +SKIP
        >>> abs(left - rest) < 1e-12  # doctest: +SKIP
        True

    Examples:
        >>> import chainrule as cr  # doctest: +SKIP
        >>> why = cr.explain_torch(model, loss_fn, x, y, "fc1.weight[3,7]")  # doctest: +SKIP
        >>> largest, rest = why.terms[0].contributions.largest(3)  # doctest: +SKIP
        >>> left = why.terms[0].value - sum(part.value for part in largest)  # doctest: +SKIP
        >>> abs(left - rest) < 1e-12  # doctest: +SKIP
        True
    """

    def __init__(self, values: Array, make: Callable[[int], CallContribution]) -> None:
        self.values, self._make = values, make

    @overload
    def __getitem__(self, i: int) -> CallContribution: ...
    @overload
    def __getitem__(self, i: slice) -> Sequence[CallContribution]: ...
    def __getitem__(self, i: int | slice) -> CallContribution | Sequence[CallContribution]:
        if isinstance(i, slice):
            return [self[k] for k in range(*i.indices(len(self)))]
        if not -len(self) <= i < len(self):
            raise IndexError(f"contribution {i} does not exist; expected 0 to {len(self) - 1}")
        return self._make(i % len(self))

    def __len__(self) -> int:
        return len(self.values)

    def largest(self, count: int) -> tuple[list[CallContribution], float]:
        """Return the contributions largest in size, in that order, and the sum of all others.

        Args:
            count: How many to return.
        """
        order = np.argsort(-np.abs(self.values), kind="stable")
        return [self[int(i)] for i in order[:count]], math.fsum(self.values[order[count:]])


@exported("chainrule")
class CallTerm:
    """What one call makes of a number: a part of its derivative.

    Attributes:
        call: The function, such as "linear".
        module: The module in whose forward pass it stands.
        result: The name of what it made.
        definition: What an element of the result is, or "" where the call has no entry.
        depends: What it depends on, in words.
        way: How ∂result/∂quantity was found: "closed form", "forward mode" and others.
        contributions: One for each element of the result that moves.
        indices: The index of each of these elements, (m, dimensions).
        sample_axis: The dimension of the result that counts samples, or None.

    Examples:
        >>> import chainrule as cr  # doctest: +SKIP
        >>> why = cr.explain_torch(model, loss_fn, x, y, "fc1.weight[3,7]")  # doctest: +SKIP
        >>> [term.call for term in why.terms]  # doctest: +SKIP
        ['linear']

    Examples:
        >>> import chainrule as cr  # doctest: +SKIP
        >>> why = cr.explain_torch(model, loss_fn, x, y, "fc1.weight[3,7]")  # doctest: +SKIP
        >>> [term.call for term in why.terms]  # doctest: +SKIP
        ['linear']
    """

    def __init__(
        self,
        call: str,
        module: str,
        result: str,
        definition: str,
        depends: str,
        way: str,
        contributions: CallContributions,
        indices: NDArray[np.int64],
        samples: NDArray[np.int64] | None,
        sample_axis: int | None,
        rows: int = 1,
    ) -> None:
        self.call, self.module, self.result = call, module, result
        self.definition, self.depends, self.way = definition, depends, way
        self.contributions, self.indices = contributions, indices
        self.of_samples, self.sample_axis, self._rows = samples, sample_axis, rows

    @property
    def value(self) -> float:
        """Return the sum of its contributions."""
        return math.fsum(self.contributions.values)

    def by_position(self) -> list[tuple[tuple[int, ...], float]]:
        """Return the sum over the samples at each position of the result, the largest first."""
        if not len(self.indices):
            return []
        where = self.indices
        if self.sample_axis is not None:
            if self._rows > 1:  # samples and positions in one dimension
                where = where.copy()
                where[:, self.sample_axis] %= self._rows
            else:
                where = np.delete(where, self.sample_axis, axis=1)
        places, group = np.unique(where, axis=0, return_inverse=True)
        sums = np.bincount(group.reshape(-1), self.contributions.values, len(places))
        order = np.argsort(-np.abs(sums), kind="stable")
        return [(tuple(map(int, places[i])), float(sums[i])) for i in order]

    def __repr__(self) -> str:
        where = f" in {self.module}" if self.module else ""
        return f"CallTerm({self.call}{where}, value={self.value:.6g})"


def sample_axis(shape: Sequence[int], n: int) -> tuple[int | None, int]:
    """Return the dimension of a result that counts samples, and how many rows each sample has.

    A first dimension of n, or a multiple of it (samples and positions in one), or a second of n.
    """
    if not shape or n < 1:
        return None, 1
    if shape[0] == n:
        return 0, 1
    if len(shape) > 1 and shape[1] == n:
        return 1, 1
    if n > 1 and shape[0] > n and shape[0] % n == 0:
        return 0, shape[0] // n
    return None, 1


def samples_of(indices: NDArray[Any], shape: Sequence[int], n: int) -> NDArray[np.int64] | None:
    """Return the sample of each element, or None where no dimension counts samples."""
    axis, rows = sample_axis(shape, n)
    return None if axis is None else indices[:, axis] // rows


@dataclass(frozen=True)
class CallSample:
    """What one sample contributes to a derivative.

    Attributes:
        index: The sample, from 0.
        value: The sum of all contributions through it.
    """

    index: int
    value: float
