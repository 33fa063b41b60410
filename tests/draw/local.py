"""Local errors: how far an engine's functions and outputs may be off at exact numbers beside them.

`bounds` says how these are put together, and where they come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .exact import Exact, Problem, elementwise, jacobian, others
from .functions import FUNCTIONS, ULPS, Array, Real, sigma

LENGTHS = 64  # an error this many times smaller than the length of g' keeps to the first order
_REAL_U = float(np.finfo(Real).eps) / 2
_AUTODIFF = ("sigmoid", "tanh", "gelu", "silu")  # whose g' it takes from a, as in 1 - a²


@dataclass(frozen=True)
class Arithmetic:
    """A floating-point format. ``flat`` is the z beyond which e^-z is below η and all else."""

    u: float
    eta: float
    largest: float
    flat: float
    autodiff: bool = False

    @classmethod
    def of(cls, dtype: Any, *, autodiff: bool = False) -> Arithmetic:
        info = np.finfo(dtype)
        u, eta = float(info.eps) / 2 + _REAL_U, float(info.smallest_normal)
        return cls(u, eta, float(info.max), -2 * np.log(eta), autodiff)

    def gamma(self, k: int) -> float:
        return k * self.u / (1 - k * self.u)

    def of_sum(self, terms: int, size: Array) -> Array:
        """The error of a sum of products whose absolute values add up to ``size``, in `Real`."""
        error = np.where(size > 0, self.gamma(terms) * size + terms * self.eta, 0)
        return np.asarray(error.astype(float))


def value_error(t: Arithmetic, name: str, z: Array) -> Array:
    """r_a: how far g(z) may be off at an exact z."""
    error = FUNCTIONS[name].value_error(z)
    if t.autodiff and name == "gelu":
        error = np.maximum(error, ULPS * np.abs(z))  # 1 + erf loses the lower tail
    return np.where(error > 0, t.u * error + t.eta, 0).astype(float)


def slope_error(t: Arithmetic, name: str, z: Array) -> Array:
    """How far g'(z) may be off at an exact z."""
    error = FUNCTIONS[name].slope_error(z)
    if t.autodiff and name in _AUTODIFF:
        error = ULPS * (1 + np.abs(z))
    return np.where(error > 0, t.u * error + t.eta, 0).astype(float)


def curvature(name: str, z: Array, e: Array) -> tuple[Array, Array, Array]:
    """g'' at z, and what a move by e adds to the errors of g and g' beyond the first order."""
    g = FUNCTIONS[name]
    near = np.abs(z) <= e
    bend = g.bend(z).astype(float)
    if g.bend_jump:
        bend = np.where(near & (e > 0), g.bend_jump, bend)
    jump = np.where(near & (e > 0), g.jump, 0.0)
    return bend, np.abs(bend) * e * e + jump * e, g.rest(z).astype(float) * e * e + jump


def near_kink(name: str, z: Array, e: Array) -> Array:
    """Whether a unit of a sample, (n,), may stand on either side of a kink."""
    if not FUNCTIONS[name].jump:
        return np.zeros(len(z), bool)
    return np.asarray(((np.abs(z) <= e) & (e > 0)).any(-1))


def resolves(t: Arithmetic, name: str, z: Array, e: Array) -> Array:
    """Whether a move by e is small beside the length over which g' changes, or g' is flat."""
    size = np.abs(z).astype(float)
    small = e <= FUNCTIONS[name].length(z).astype(float) / LENGTHS
    return np.isfinite(e) & (small | (size - e >= t.flat))


# --- the output -----------------------------------------------------------------------------------


def at_output(
    t: Arithmetic, p: Problem, x: Exact, e: Array
) -> tuple[Array, Array, Array, Array, Array]:
    """The errors of C_i, δ, a and ∂a/∂z at the output where z is off by e; which are resolved.

    e takes part where it goes beyond the first order, and at kinks. Gives (r_C, r_δ, r_a, |∂a/∂z|,
    resolved).
    """
    z, y, name = x.z[-1], p.y, p.functions[-1]
    units, o = z.shape[1], x.output
    a, delta = np.abs(o.a).astype(float), np.abs(o.delta).astype(float)
    size_y = np.abs(y).astype(float)
    if name == "softmax":
        return _at_softmax(t, p, x, e)

    bend, more_a, more_slope = curvature(name, z, e)
    g = FUNCTIONS[name]
    slope = np.abs(g.slope(z)).astype(float)
    r_a = value_error(t, name, z)
    r_slope = slope_error(t, name, z) + more_slope
    resolved = resolves(t, name, z, e).all(-1)
    if p.loss == "binary_cross_entropy":
        terms = size_y * FUNCTIONS["softplus"].value(-z) + np.abs(1 - y) * FUNCTIONS[
            "softplus"
        ].value(z)
        r_C = (t.u * (ULPS + units + 4) * terms + 2 * t.eta).astype(float).sum(-1)
        parts = a * np.abs(1 - y) + size_y * sigma(-z)  # (1 - y) σ(z) - y σ(-z)
        r_delta = ((ULPS + 4) * t.u * parts + t.eta).astype(float) + more_a
        if t.autodiff:  # as a - y
            r_delta = r_delta + ULPS * t.u * (a + size_y)
    elif p.loss == "poisson":
        log_a = np.abs((o.a - _log_terms(p, x)) / np.where(y == 0, 1, y)).astype(float)
        r_C = (t.u * (ULPS + units + 4) * (a + size_y * (1 + log_a)) + 2 * t.eta).sum(-1)
        from_y = np.abs(o.delta - g.slope(z)).astype(float)  # y (ln g)'
        r_delta = 3 * ULPS * t.u * (slope + from_y) + t.eta * (1 + size_y)
        r_delta = r_delta + more_slope + size_y * e * e
        if t.autodiff:  # as (1 - y/a) g'
            r_delta = r_delta + r_slope * (1 + size_y / a)
    else:
        c, v, v_slope = (np.abs(part).astype(float) for part in elementwise(p.loss, o.a, y))
        d = np.abs(o.a - y).astype(float)
        moved = slope * e + r_a + more_a
        if p.loss == "absolute_error":
            r_v = np.where((d <= moved + t.u * d) & (moved > 0), 2.0, 0.0)
        else:
            v_slope = np.where(d <= 1 + moved, 2.0 if p.loss == "squared_error" else 1.0, v_slope)
            r_v = v_slope * (r_a + more_a) + 3 * t.u * v
        r_C = (v * r_a + t.u * (units + 8) * (c + (d + 1) * (p.loss == "huber")) + 2 * t.eta).sum(
            -1
        )
        r_delta = slope * r_v + v * r_slope + r_v * r_slope + 2 * t.u * delta + t.eta * (1 + v)
        r_delta = r_delta + 3 * v_slope * slope * np.abs(bend) * e * e
    return np.asarray(r_C), np.asarray(r_delta), r_a + more_a, slope, np.asarray(resolved)


def _log_terms(p: Problem, x: Exact) -> Array:
    """a_j - y_j ln a_j of the Poisson loss, taken apart: C_i is their sum."""
    z, y = x.z[-1], p.y
    if p.functions[-1] == "sigmoid":
        log_a = -FUNCTIONS["softplus"].value(-z)
    else:
        low = z < -40
        log_a = np.where(low, z, np.log(np.where(low, 1, x.output.a)))
    return x.output.a - y * log_a


def _at_softmax(
    t: Arithmetic, p: Problem, x: Exact, e: Array
) -> tuple[Array, Array, Array, Array, Array]:
    z, y, o = x.z[-1], p.y, x.output
    units = z.shape[1]
    a = np.abs(o.a).astype(float)
    below = (z.max(-1, keepdims=True) - z).astype(float)
    mean_below = (a * below).sum(-1, keepdims=True)
    # Flat where every other unit is far below the largest, whatever e is.
    far = (below == 0) | (below - e - e.max(-1, keepdims=True) >= t.flat)
    alone = far.all(-1) & ((below == 0).sum(-1) == 1)
    resolved = np.isfinite(e).all(-1) & ((e.max(-1) <= 1 / LENGTHS) | alone)
    largest_e = np.where(alone, 0.0, e.max(-1))[:, None]
    # e^(z - max) from a rounded z - max is off by |z - max| u more; what e moves twice
    r_a = t.u * a * (2 * ULPS + units + below + mean_below) + t.eta
    more_a = 4 * a * largest_e * largest_e
    size_y = np.abs(y).astype(float)
    if p.loss in ("cross_entropy", "poisson"):
        log_sum = np.log(np.exp(-below).sum(-1, keepdims=True))
        terms = size_y * (log_sum + below + 1)
        r_C = (t.u * (ULPS + units + 8) * terms + 2 * t.eta).sum(-1)
        if p.loss == "poisson":
            r_C = r_C + t.u * (units + 8)
        # a_j Σ_{m≠j} y_m - y_j Σ_{m≠j} a_m; the first sum may be found as Σ y - y_j
        total = size_y.sum(-1, keepdims=True)
        rest_y, moved = others(size_y), r_a + more_a
        r_delta = (rest_y + t.eta) * moved + size_y * others(moved)
        r_delta = r_delta + t.gamma(units + 4) * (a * rest_y + size_y * others(a))
        several = (size_y > 0).sum(-1, keepdims=True) > 1
        r_delta = r_delta + np.where(several, t.gamma(units) * a * total, 0.0)
        if p.loss == "poisson" or t.autodiff:  # as a Σ y - y
            r_delta = r_delta + ULPS * t.u * (a * (1 + total) + size_y) + t.eta * (1 + size_y)
    else:
        c, v, v_slope = (np.abs(part).astype(float) for part in elementwise(p.loss, o.a, y))
        moved = r_a + more_a + a * 2 * largest_e
        d = np.abs(o.a - y).astype(float)
        if p.loss == "absolute_error":
            r_v = np.where(d <= moved + t.u * d, 2.0, 0.0)
        else:
            r_v = v_slope * r_a + 3 * t.u * v
        r_C = (v * r_a + t.u * (units + 8) * (c + (d + 1) * (p.loss == "huber")) + 2 * t.eta).sum(
            -1
        )
        mean = (a * v).sum(-1, keepdims=True)
        r_mean = (a * r_v + v * r_a).sum(-1, keepdims=True)
        r_delta = a * (r_v + r_mean) + r_a * (v + mean) + t.gamma(units + 4) * a * (v + mean)
        r_delta = r_delta + t.eta * (1 + v + mean)
        steepest = v_slope.max(-1, keepdims=True)
        r_delta = r_delta + 4 * a * largest_e**2 * (v + mean + 3 * steepest)
    return r_C, r_delta, r_a + more_a, np.abs(jacobian(o.a)), resolved
