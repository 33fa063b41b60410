"""Activation functions in extended precision: g, g' and g'', and how exactly an engine has them.

Written from the formulas, apart from the package: each function in the form that keeps its digits
where it is small. z and all results are arrays of `Real`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Real = np.longdouble  # 64 bits of mantissa on x86-64; where it has no more than float64, see bounds
Array = NDArray[Any]

ROOT_HALF = 1 / np.sqrt(Real(2))
ROOT_PI = np.sqrt(Real("3.14159265358979323846264338327950288"))
ULPS = 16  # a function of an engine is exact to 16 u, which is 8 units in the last place


@dataclass(frozen=True)
class Function:
    """An activation function that acts on each element alone.

    ``value``, ``slope`` and ``bend`` are g, g' and g''. ``value_error`` and ``slope_error`` say in
    units of u how far an engine's g(z) and g'(z) may be off at a given z. ``length`` is how far z
    may move until g' has changed by about a factor e, and ``rest`` bounds half of |g'''| there.
    ``jump`` and ``bend_jump`` are how far g' and g'' jump at z = 0.
    """

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    bend: Callable[[Array], Array]
    value_error: Callable[[Array], Array]
    slope_error: Callable[[Array], Array]
    length: Callable[[Array], Array]
    rest: Callable[[Array], Array]
    jump: float = 0.0
    bend_jump: float = 0.0


# --- parts ----------------------------------------------------------------------------------------


def sigma(z: Array) -> Array:
    """1 / (1 + e^-z)."""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, Real(1), e) / (1 + e)


def sigma_slope(z: Array) -> Array:
    e = np.exp(-np.abs(z))
    return e / (1 + e) ** 2


def softplus(z: Array) -> Array:
    """ln(1 + e^z)."""
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def erfc(x: Array) -> Array:
    """1 - erf x for x >= 0, exact to a few units in the last place.

    Below 1.5 by the series erf x = 2/√π e^(-x²) Σ 2ⁿ x²ⁿ⁺¹ / (2n+1)!!, whose terms are all
    positive; above by the continued fraction of Laplace (Abramowitz and Stegun, 7.1.6 and 7.1.14).
    """
    result = np.empty_like(x)
    near = x < 1.5
    small, large = x[near], x[~near]
    term = small.copy()
    total = small.copy()
    for n in range(1, 60):
        term = term * (2 * small * small) / (2 * n + 1)
        total = total + term
    result[near] = 1 - 2 / ROOT_PI * np.exp(-small * small) * total
    tail = large.copy()
    for n in range(150, 0, -1):
        tail = large + n / (2 * tail)
    result[~near] = np.exp(-large * large) / (ROOT_PI * tail)
    return result


def normal(z: Array) -> Array:
    """Φ(z), the normal distribution."""
    upper = erfc(np.abs(z) * ROOT_HALF) / 2
    return np.where(z < 0, upper, 1 - upper)


def density(z: Array) -> Array:
    """φ(z), the density of the normal distribution."""
    return np.exp(-z * z / 2) * ROOT_HALF / ROOT_PI


def constant(number: float) -> Callable[[Array], Array]:
    return lambda z: np.full_like(z, number)


def steps(below: Any, above: Any) -> Callable[[Array], Array]:
    """One number for z <= 0 and another for z > 0."""
    return lambda z: np.where(z > 0, Real(above), Real(below))


def ulps_of(function: Callable[[Array], Array], count: float = ULPS) -> Callable[[Array], Array]:
    """So many u of a function; above 0 everywhere, because it may underflow."""
    return lambda z: count * np.abs(function(z)) + np.finfo(Real).tiny


# --- the functions --------------------------------------------------------------------------------


def _elu(z: Array) -> Array:
    return np.where(z > 0, z, np.expm1(np.minimum(z, 0)))


def _elu_slope(z: Array) -> Array:
    return np.exp(np.minimum(z, 0))


def _tanh_slope(z: Array) -> Array:
    return 4 * sigma_slope(2 * z)


def _gelu_slope(z: Array) -> Array:
    return normal(z) + z * density(z)


def _silu_slope(z: Array) -> Array:
    return sigma(z) + z * sigma_slope(z)


def _silu_bend(z: Array) -> Array:
    return sigma_slope(z) * (2 - z * np.tanh(z / 2))


_hundredth = Real(1) / 100
_nowhere = constant(0.0)
_everywhere = constant(np.inf)

FUNCTIONS: dict[str, Function] = {
    "identity": Function(
        lambda z: z, constant(1.0), _nowhere, _nowhere, _nowhere, _everywhere, _nowhere
    ),
    "relu": Function(
        lambda z: np.maximum(z, 0), steps(0, 1), _nowhere, _nowhere, _nowhere, _everywhere,
        _nowhere, jump=1.0,
    ),
    "leaky_relu": Function(
        lambda z: np.where(z > 0, z, z * _hundredth), steps(_hundredth, 1), _nowhere,
        ulps_of(lambda z: np.minimum(z, 0) * _hundredth, 4), steps(4 * _hundredth, 0),
        _everywhere, _nowhere, jump=0.99,
    ),
    "sigmoid": Function(
        sigma, sigma_slope, lambda z: -sigma_slope(z) * np.tanh(z / 2),
        ulps_of(sigma), ulps_of(sigma_slope), constant(1.0), sigma_slope,
    ),
    "tanh": Function(
        np.tanh, _tanh_slope, lambda z: -2 * np.tanh(z) * _tanh_slope(z),
        ulps_of(np.tanh), ulps_of(_tanh_slope), constant(0.5), lambda z: 4 * _tanh_slope(z),
    ),
    "elu": Function(
        _elu, _elu_slope, lambda z: np.where(z > 0, 0, _elu_slope(z)),
        ulps_of(lambda z: np.minimum(_elu(z), 0)),
        ulps_of(lambda z: np.where(z > 0, 0, _elu_slope(z))),
        constant(1.0), _elu_slope, bend_jump=1.0,
    ),
    # e^(-x²) from x = z/√2 with three roundings in x² is off by at most 5 x² u = 2.5 z² u more
    "gelu": Function(
        lambda z: z * normal(z), _gelu_slope, lambda z: density(z) * (2 - z * z),
        ulps_of(lambda z: (ULPS + 2.5 * z * z) * z * normal(z), 1),
        ulps_of(lambda z: (ULPS + 2.5 * z * z) * (normal(z) + np.abs(z) * density(z)), 1),
        lambda z: 1 / (1 + np.abs(z)),
        lambda z: density(z) * (1 + 4 * np.abs(z) + np.abs(z) ** 3),
    ),
    "silu": Function(
        lambda z: z * sigma(z), _silu_slope, _silu_bend,
        ulps_of(lambda z: z * sigma(z)),
        ulps_of(lambda z: sigma(z) + np.abs(z) * sigma_slope(z)),
        constant(1.0), lambda z: sigma_slope(z) * (3 + np.abs(z)),
    ),
    "softplus": Function(
        softplus, sigma, sigma_slope, ulps_of(softplus), ulps_of(sigma), constant(1.0),
        sigma_slope,
    ),
}  # fmt: skip
