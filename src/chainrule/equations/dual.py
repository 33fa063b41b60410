"""Dual numbers: the derivative of any formula of `formulas`, exact to rounding.

A dual number is a value with its slope, v + v' ε with ε² = 0; each operation carries both
(Clifford, 1873; forward-mode automatic differentiation).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.equations import normal
from chainrule.equations.activations import Sigmoid
from chainrule.equations.formulas import evaluate, parse

Array = NDArray[Any]


@dataclass(frozen=True)
class Dual:
    """A value with its slope, arrays of one shape or numbers."""

    value: Any
    slope: Any = 0.0

    def __add__(self, other: Any) -> Dual:
        o = _dual(other)
        return Dual(self.value + o.value, self.slope + o.slope)

    def __sub__(self, other: Any) -> Dual:
        o = _dual(other)
        return Dual(self.value - o.value, self.slope - o.slope)

    def __mul__(self, other: Any) -> Dual:
        o = _dual(other)
        return Dual(self.value * o.value, self.slope * o.value + self.value * o.slope)

    def __truediv__(self, other: Any) -> Dual:
        o = _dual(other)
        quotient = self.value / o.value
        return Dual(quotient, (self.slope - quotient * o.slope) / o.value)

    def __pow__(self, other: Any) -> Dual:
        o = _dual(other)
        power = self.value**o.value
        if np.any(o.slope):
            by_base = o.value * self.value ** (o.value - 1) * self.slope
            return Dual(power, by_base + power * np.log(self.value) * o.slope)
        if np.ndim(o.value) == 0 and o.value == 0:
            return Dual(power)
        return Dual(power, o.value * self.value ** (o.value - 1) * self.slope)

    def __neg__(self) -> Dual:
        return Dual(-self.value, -self.slope)

    def __lt__(self, other: Any) -> Any:
        return self.value < _dual(other).value

    def __le__(self, other: Any) -> Any:
        return self.value <= _dual(other).value

    def __gt__(self, other: Any) -> Any:
        return self.value > _dual(other).value

    def __ge__(self, other: Any) -> Any:
        return self.value >= _dual(other).value


def _dual(value: Any) -> Dual:
    return value if isinstance(value, Dual) else Dual(value)


def _lifted(
    function: Callable[[Any], Any], derivative: Callable[[Any], Any]
) -> Callable[[Any], Dual]:
    def lifted(x: Any) -> Dual:
        x = _dual(x)
        return Dual(function(x.value), derivative(x.value) * x.slope)

    return lifted


def _where(holds: Any, then: Any, otherwise: Any) -> Dual:
    t, o = _dual(then), _dual(otherwise)
    return Dual(np.where(holds, t.value, o.value), np.where(holds, t.slope, o.slope))


_sigma = Sigmoid().value
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "number": lambda x: Dual(float(x)),
    "exp": _lifted(np.exp, np.exp),
    "ln": _lifted(np.log, lambda x: 1 / x),
    "sqrt": _lifted(np.sqrt, lambda x: 0.5 / np.sqrt(x)),
    "abs": _lifted(np.abs, np.sign),
    "sign": _lifted(np.sign, np.zeros_like),
    "sin": _lifted(np.sin, np.cos),
    "cos": _lifted(np.cos, lambda x: -np.sin(x)),
    "tanh": _lifted(np.tanh, lambda x: 1 / np.cosh(x) ** 2),
    "sinh": _lifted(np.sinh, np.cosh),
    "cosh": _lifted(np.cosh, np.sinh),
    "atan": _lifted(np.arctan, lambda x: 1 / (1 + x * x)),
    "sigma": _lifted(lambda x: _sigma(np.asarray(x)), lambda x: _sigma(x) * _sigma(-x)),
    "Phi": _lifted(lambda x: normal.cdf(np.asarray(x)), lambda x: normal.density(np.asarray(x))),
    "phi": _lifted(
        lambda x: normal.density(np.asarray(x)), lambda x: -x * normal.density(np.asarray(x))
    ),
    "max": lambda x, y: _where(_dual(x) >= y, x, y),
    "min": lambda x, y: _where(_dual(x) <= y, x, y),
    "where": _where,
}


def slope(formula: str, letter: str, names: Mapping[str, Array]) -> Array:
    """Return the derivative of a formula with respect to one letter, shaped as its array."""
    at = names[letter]
    duals = {name: Dual(value, float(name == letter)) for name, value in names.items()}
    with np.errstate(all="ignore"):
        found = _dual(evaluate(parse(formula)[0], duals, _FUNCTIONS)).slope
    return np.broadcast_to(np.asarray(found, dtype=np.float64), at.shape)
