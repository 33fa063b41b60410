"""Paths: the products of which a derivative is the sum, one for each way to the loss.

A path leads from a quantity through one unit of every layer to ∂C_i/∂z of an output. Its value is
the product of the factors on the way, w and g′(z), and the derivative is the sum over all paths.
The largest are found by dynamic programming: a largest path through a unit goes on with one of the
largest from there, so that only as many are kept for each unit as are asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from chainrule.diagnose.curvature import slopes
from chainrule.equations.backprop import Gradient
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.targets import Bias, PreActivation, Target, UnitOutput, Weight

Array = NDArray[Any]
_NUMBERS = 1 << 21  # candidates that are compared at once


@dataclass(frozen=True)
class Link:
    """A factor of a path: ∂C/∂z ("delta"), w, g′(z) ("slope") or a, of a layer and its units."""

    letter: Literal["delta", "w", "slope", "a"]
    layer: int
    units: tuple[int, ...]
    values: Array  # (n,)


@dataclass(frozen=True, eq=False)
class Path:
    """One way from a quantity to the loss, with its product. `Paths` holds the largest.

    Attributes:
        first_layer: The layer of the first unit.
        units: The unit in each layer from there to the output layer.
        links: The factors, from the loss down to the quantity.
        values: The product for each sample, (n,), with the weight of the sample.
        focus: The sample whose product is `value`.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([1, 2, 1], hidden="tanh", seed=0)
        >>> path = net.explain("x[0]", [[2.0]], [0.0]).paths(1).paths[0]
        >>> path.first_layer, len(path.units)
        (1, 2)
    """

    first_layer: int
    units: tuple[int, ...]
    links: tuple[Link, ...]
    values: Array
    focus: int

    @property
    def value(self) -> float:
        """Return the product for the sample in focus."""
        return float(self.values[self.focus])


@dataclass(frozen=True, eq=False)
class Through:
    """The paths through each unit of a layer, added up: (∂C/∂z_m)(∂z_m/∂target), (n, units)."""

    layer: int
    adjoint: Array
    tangent: Array
    values: Array

    def largest(self, count: int, focus: int) -> tuple[list[int], float]:
        """Return the units of the largest sums in size, in order, and the sum of the others."""
        values = self.values[focus]
        order = np.argsort(-np.abs(values), kind="stable")
        return [int(unit) for unit in order[:count]], math.fsum(values[order[count:]])


class Ways:
    """All ways from a target to the loss, on one set of samples."""

    def __init__(
        self, network: FeedForward, gradient: Gradient, target: Target, factor: Array | None
    ) -> None:
        """``factor`` multiplies the product of each sample, (n,)."""
        self.network, self.g, self.target = network, gradient, target
        n = len(gradient.sample_losses)
        self._factor = np.ones(n) if factor is None else factor
        self.L = len(network.sizes) - 1
        self.first = target.layer + isinstance(target, UnitOutput)  # the first layer of units
        self._slopes = {
            l: slopes(network, gradient.forward, l) for l in range(self.first, self.L)
        }  # fmt: skip

    @property
    def starts(self) -> list[int]:
        """The units of the first layer that a path may begin with."""
        if isinstance(self.target, UnitOutput):
            return list(range(self.network.sizes[self.first]))
        return [self.target.j]

    @property
    def count(self) -> int:
        """The number of paths."""
        return len(self.starts) * math.prod(self.network.sizes[self.first + 1 :])

    @property
    def hidden_layers(self) -> int:
        """The number of hidden layers on the way."""
        return self.L - self.first

    def _W(self, l: int) -> Array:
        return np.asarray(self.network.layers[l].W, dtype=np.float64)

    def _head(self) -> tuple[Array, list[Link]]:
        """Return ∂z/∂target of the units of the first layer, (n, units), for those that start."""
        n = len(self._factor)
        head = np.zeros((n, self.network.sizes[self.first]))
        match self.target:
            case Weight(l, j, k):
                a = self.g.forward.a[l - 1][:, k]
                head[:, j] = a
                return head, [Link("a", l - 1, (k,), a)]
            case Bias(_, j) | PreActivation(_, j):
                head[:, j] = 1
            case UnitOutput(l, j):
                head[:] = self._W(l + 1)[:, j]
        return head, []

    def largest(self, count: int, focus: int) -> list[Path]:
        """Return the ``count`` largest paths in size of one sample, the largest first."""
        best = self.g.delta[self.L][focus][:, None]  # of each unit, the largest from there on
        went: list[Array] = []  # of each layer, unit and rank: which unit and rank come next
        for l in range(self.L - 1, self.first - 1, -1):
            factors = self._slopes[l][focus][:, None] * self._W(l + 1).T  # (units_l, units_{l+1})
            rows = range(len(factors)) if l > self.first else self.starts
            best, after = _best(factors, best, rows, count)
            went.append(after)
        head, _ = self._head()
        candidates = head[focus][self.starts][:, None] * best[self.starts]
        order = np.argsort(-np.abs(candidates), axis=None, kind="stable")[:count]
        found = []
        for at in order:
            start, rank = divmod(int(at), best.shape[1])
            units = [self.starts[start]]
            for after in reversed(went):
                unit, rank = after[units[-1], rank]
                units.append(int(unit))
            found.append(self._path(tuple(units), focus))
        return found

    def _path(self, units: tuple[int, ...], focus: int) -> Path:
        links = [Link("delta", self.L, units[-1:], self.g.delta[self.L][:, units[-1]])]
        n = len(self._factor)
        for l in range(self.L - 1, self.first - 1, -1):
            j, m = units[l + 1 - self.first], units[l - self.first]
            links.append(Link("w", l + 1, (j, m), np.full(n, self._W(l + 1)[j, m])))
            links.append(Link("slope", l, (m,), self._slopes[l][:, m]))
        if isinstance(self.target, UnitOutput):
            w = self._W(self.first)[units[0], self.target.j]
            links.append(Link("w", self.first, (units[0], self.target.j), np.full(n, w)))
        links += self._head()[1]
        values = self._factor.copy()
        for link in links:
            values = values * link.values
        return Path(self.first, units, tuple(links), values, focus)

    def size(self, focus: int) -> float:
        """Return Σ |path| over all paths of one sample."""
        total = np.abs(self.g.delta[self.L][focus])
        for l in range(self.L - 1, self.first - 1, -1):
            total = np.abs(self._slopes[l][focus]) * (np.abs(self._W(l + 1)).T @ total)
        head = np.abs(self._head()[0][focus]) * abs(self._factor[focus])
        return float(head @ total)

    def through(self) -> list[Through]:
        """Return, layer by layer, the paths through each unit added up."""
        tangent = self._head()[0]
        found = []
        for l in range(self.first, self.L + 1):
            if l > self.first:
                tangent = (tangent * self._slopes[l - 1]) @ self._W(l).T
            if l > self.first or len(self.starts) > 1 or self.first == self.L:
                adjoint = self.g.delta[l]
                values = self._factor[:, None] * adjoint * tangent
                found.append(Through(l, adjoint, tangent, values))
        return found


def _best(
    factors: Array, best: Array, rows: range | list[int], count: int
) -> tuple[Array, NDArray[np.intp]]:
    """Return, for some units, the largest paths from there on, and how each goes on.

    ``factors`` is (units, next units), ``best`` is (next units, ranks).
    """
    ranks = best.shape[1]
    kept = min(count, best.size)
    largest = np.zeros((len(factors), kept))
    after = np.zeros((len(factors), kept, 2), dtype=np.intp)
    step = max(1, _NUMBERS // best.size)
    for start in range(0, len(rows), step):
        some = list(rows[start : start + step])
        candidates = (factors[some][:, :, None] * best).reshape(len(some), -1)
        order = np.argsort(-np.abs(candidates), axis=1, kind="stable")[:, :kept]
        largest[some] = np.take_along_axis(candidates, order, axis=1)
        after[some] = np.stack(np.divmod(order, ranks), axis=-1)
    return largest, after


def at_kinks(network: FeedForward, gradient: Gradient, first: int, focus: int) -> list[str]:
    """Return a sentence for each layer from ``first`` on with units at a kink, for one sample."""
    said = []
    for l in range(first, len(network.sizes)):
        g, z = network.layers[l].activation, gradient.forward.z[l][focus]
        units = np.flatnonzero(np.isin(z, g.kinks)) if g.kinks else np.zeros(0, dtype=int)
        if len(units):
            slope = float(g.derivative(z[units[:1]], gradient.forward.a[l][focus, units[:1]])[0])
            count = "1 unit is" if len(units) == 1 else f"{len(units)} units are"
            said.append(
                f"In layer {l}, {count} at a kink of {g.name}, where g′(z) = {slope:g} is taken."
            )
    return said
