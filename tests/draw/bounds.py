"""How far rounding can carry every number of a step: the only source of tolerances.

**Arithmetic.** Every operation of an engine gives fl(x op y) = (x op y)(1 + ε) + η' with |ε| <= u,
the unit roundoff, and |η'| <= η where the result is subnormal; η is the smallest normal number, so
that flushing to 0 is allowed. A sum of k products, in any order, with or without fused operations,
is off by at most γ_k Σ|x_i y_i| with γ_k = k u / (1 - k u) (Higham, *Accuracy and Stability of
Numerical Algorithms*, 2nd ed., chapter 3). A sum of products of integers is exact as long as
their sizes add up to less than 1/u. An activation function and its derivative are exact to
`functions.ULPS` u each, with the few exceptions that are stated there.

**From operations to results.** These are local errors: r_z of each z, r_a of each a, r_δ of each δ,
each computed from the exact numbers beside it. To first order, an error r_z of z^(m) moves what
comes after it by the derivative of that by z^(m), which is known: with D = m g'(z),

    ∂z^(l)/∂z^(m) = J = W^(l) D^(l-1) J                       for l > m,
    ∂δ^(l)/∂z^(m) = H = D^(l) W^(l+1)ᵀ H + (m g'' ∂C/∂a) J     from G = ∂δ^(L)/∂z^(L) downwards,
    ∂δ^(l)/∂δ^(m) = (∂z^(m)/∂z^(l))ᵀ                           for m > l,
    ∂C_i/∂z^(m)   = δ^(m),

so that |error of z^(l)| <= Σ_m |J| r^(m), |error of δ^(l)| <= Σ_m |H| r^(m) + Σ_m |Jᵀ| r_δ^(m),
|error of C_i| <= Σ_m |δ^(m)| r^(m). The absolute values are taken of whole paths, after the sum
over the units between: a product of the |W| of all layers, which is what plain running error
analysis gives, would forgive anything in a deep network. The gradient's entries follow by the
product rule, and γ_n for the sum over n samples.

**Beyond the first order.** Where z moves by e and g' by its curvature, r_a and the error of g' get
|g''| e² and sup|g'''| e²/2 more. All this holds as long as every e is small beside the length over
which g' changes (1 for most functions): a sample counts as *resolved* if e is at most 1/64 of it in
every unit, but for those so far out that g' is flat. The result is then multiplied by
(1 + 1/32)^2L for what is left. At a kink that lies within e, g' may be that of either side, and the
local error gets the whole jump. What is not resolved, or may overflow, is counted and not compared.

**Extended precision** has errors, too: u is that of the engine plus that of `Real`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .exact import Exact, Problem, elementwise, jacobian, others
from .functions import FUNCTIONS, ULPS, Array, Real, sigma

_REAL_U = float(np.finfo(Real).eps) / 2
_LENGTHS = 64  # an error this many times smaller than the length of g' keeps to the first order
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


@dataclass(frozen=True)
class Bounds:
    """Largest errors; ``resolved``, (n,), says for which samples they hold."""

    a: Array  # of the outputs, (n, units_L)
    C: Array
    delta: list[Array]
    dW: list[Array]
    db: list[Array]
    loss: float
    penalty: float
    resolved: Array
    overflows: bool


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


def resolves(t: Arithmetic, name: str, z: Array, e: Array) -> Array:
    """Whether a move by e is small beside the length over which g' changes, or g' is flat."""
    size = np.abs(z).astype(float)
    small = e <= FUNCTIONS[name].length(z).astype(float) / _LENGTHS
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
    resolved = np.isfinite(e).all(-1) & ((e.max(-1) <= 1 / _LENGTHS) | alone)
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


# --- both passes ----------------------------------------------------------------------------------


@np.errstate(all="ignore")
def bounds(p: Problem, x: Exact, t: Arithmetic) -> Bounds:
    """Bound the error of every number that a step computes."""
    L, n = p.L, len(p.X)
    W = [w.astype(float) for w in p.W]
    size_W = [np.abs(w) for w in W]
    share = p.shares.astype(float)
    high = t.largest / 8
    overflows = False
    resolved = np.ones(n, bool)

    # Forward: r[l] of each z, J[l][m] = ∂z^(l)/∂z^(m) for m < l
    r: list[Array] = []
    J: list[list[Array]] = []
    e_a = [np.zeros(p.X.shape)]  # the error of what is fed to W[l]
    below = np.zeros(p.X.shape)  # the local error of that
    bends: list[Array] = []
    r_slope: list[Array] = []
    e: list[Array] = []
    for l in range(L):
        size = np.abs(x.a[l]) @ np.abs(p.W[l]).T
        if p.b[l] is not None:
            size = size + np.abs(p.b[l])
        overflows |= bool((size > high).any())
        known = _whole(x.a[l]).all(-1) & _whole(p.W[l]).all() & (below == 0).all(-1)
        known = known[:, None] & (size < 1 / t.u)
        if p.b[l] is not None:
            known = known & _whole(p.b[l])
        r_z = np.where(known, 0.0, t.of_sum(W[l].shape[1] + 2, size))
        r.append(r_z + below @ size_W[l].T)
        paths = []
        if l:
            through = W[l][None] * x.slope[l - 1].astype(float)[:, None, :]
            paths = [through @ J_m for J_m in J[-1]] + [through]
        J.append(paths)
        e.append(_along(paths, r[:l], r[l]))
        if l == L - 1:
            break
        name, mask, z = p.functions[l], p.mask(l), x.z[l]
        bend, more_a, more_slope = curvature(name, z, e[l])
        below = value_error(t, name, z) + more_a
        slope = slope_error(t, name, z) + more_slope
        good = resolves(t, name, z, e[l])
        if mask is not None:
            m = mask.astype(float)
            below = m * below + 3 * t.u * np.abs(x.a[l + 1]).astype(float)
            slope = m * slope + 3 * t.u * np.abs(x.slope[l]).astype(float)
            bend, good = m * bend, good | (m == 0)
        resolved &= good.all(-1)
        bends.append(bend)
        r_slope.append(slope)
        e_a.append(np.abs(x.slope[l]).astype(float) * e[l] + below)

    # The output
    r_C, r_delta_L, r_out, by_z, good = at_output(t, p, x, e[-1])
    resolved &= good
    e_out = r_out + (_of(by_z, e[-1]) if by_z.ndim == 3 else by_z * e[-1])
    G = x.output.G
    first = [np.abs(x.delta[m]).astype(float) for m in range(L)]
    e_C = r_C + sum((first[m] * r[m]).sum(-1) for m in range(L))
    e_C = e_C + (_of(np.abs(G), e[-1]) * e[-1]).sum(-1)
    overflows |= bool((np.abs(x.output.C) > high).any() or (e_C > high).any())

    # Backward: H[m] = ∂δ^(l)/∂z^(m), r_delta[m] the local error of δ^(m)
    scale = np.where(share > 0, t.eta / np.where(share > 0, share, 1), 0.0)[:, None]
    r_delta: list[Array] = [np.empty(0)] * L
    e_delta: list[Array] = [np.empty(0)] * L
    H: list[Array] = []
    for l in range(L - 1, -1, -1):
        if l == L - 1:
            H = [G @ path for path in J[l]] + [G]
            r_delta[l] = r_delta_L + scale
        else:
            slope, v = np.asarray(x.slope[l], float), np.asarray(x.v[l], float)
            size_v = np.abs(x.delta[l + 1]) @ np.abs(p.W[l + 1])
            overflows |= bool((size_v > high).any())
            back = slope[:, :, None] * W[l + 1].T[None]
            H = [back @ H_m for H_m in H]
            turned = (bends[l] * v)[:, :, None]
            H = [h + turned * path for h, path in zip(H, J[l], strict=False)] + H[len(J[l]) :]
            index = np.arange(slope.shape[1])
            H[l][:, index, index] += turned[:, :, 0]
            r_v = t.of_sum(W[l + 1].shape[0] + 1, size_v)
            local = np.abs(slope) * r_v + (np.abs(v) + r_v) * r_slope[l]
            r_delta[l] = local + 3 * t.u * first[l] + scale * (W[l + 1].shape[0] + 2)
        back_paths = [J[m][l].swapaxes(1, 2) for m in range(l + 1, L)]
        e_delta[l] = _along(back_paths, r_delta[l + 1 :], _along(H, r, r_delta[l]))

    growth = (1 + 2 / _LENGTHS) ** (2 * L)
    dW, db = [], []
    for l in range(L):
        size_a, e_l = np.abs(x.a[l]).astype(float), e_delta[l]
        weighted = share[:, None] * first[l]
        error = (share[:, None] * e_l).T @ (size_a + e_a[l]) + weighted.T @ e_a[l]
        size = weighted.T @ size_a
        rounding = t.gamma(n + 8) * size + t.eta * (n + 1) * (1 + size_a.max(0))
        dW.append(growth * (error + rounding) + 4 * t.u * p.l2 * size_W[l] + t.eta)
        error_b = (share[:, None] * e_l).sum(0) + t.gamma(n + 8) * weighted.sum(0)
        db.append(growth * error_b + t.eta * (n + 1))
        overflows |= bool((first[l].T @ size_a > high).any())
        if p.l2:
            overflows |= bool((size_W[l] > np.sqrt(high) / W[l].size).any())
    terms = sum(w.size for w in W)
    penalty = (t.gamma(terms + 4) * float(x.penalty) + t.eta * terms) if p.l2 else 0.0
    loss = growth * float(share @ (e_C + t.gamma(n + 8) * np.abs(x.output.C).astype(float)))
    loss += penalty + t.eta * (n + 1) + 2 * t.u * abs(float(x.loss))
    resolved &= np.isfinite(e_C) & np.isfinite(e_out).all(-1)
    for error in e_delta:
        resolved &= np.isfinite(error).all(-1)
    return Bounds(
        growth * e_out, growth * e_C, [growth * d for d in e_delta], dW, db, loss, penalty,
        resolved, overflows,
    )  # fmt: skip


def _whole(values: Array) -> Array:
    return np.asarray(values == np.round(values))


def _along(paths: list[Array], errors: list[Array], own: Array) -> Array:
    """Add up what errors become along paths, and an error of its own."""
    total = own
    for path, error in zip(paths, errors, strict=True):
        total = total + _of(np.abs(path), error)
    return total


def _of(matrices: Array, vectors: Array) -> Array:
    """Matrix times vector for every sample."""
    return np.asarray((matrices @ vectors[:, :, None])[:, :, 0])


__all__ = ["Arithmetic", "Bounds", "at_output", "bounds", "slope_error", "value_error"]
