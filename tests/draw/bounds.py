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
local error gets the whole jump; with kinks in two layers a sample is not resolved. What is not
resolved, or may overflow, is counted and not compared.

**Extended precision** has errors, too: u is that of the engine plus that of `Real`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .exact import Exact, Problem
from .functions import Array
from .local import (
    LENGTHS,
    Arithmetic,
    at_output,
    curvature,
    near_kink,
    resolves,
    slope_error,
    value_error,
)


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
    kinks = np.zeros(n, int)  # layers with a unit that may stand on either side of one

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
        kinks += near_kink(name, z, e[l])
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
    if p.functions[-1] != "softmax":
        kinks += near_kink(p.functions[-1], x.z[-1], e[-1])
    if p.loss == "absolute_error":
        kinks += ((np.abs(x.output.a - p.y) <= e_out) & (e_out > 0)).any(-1)
    resolved &= kinks < 2
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

    growth = (1 + 2 / LENGTHS) ** (2 * L)
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
