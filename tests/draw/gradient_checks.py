"""The gradient: layer by layer, as a whole, and by PyTorch; and what `explain` makes of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import by_torch
from .bounds import Bounds, bounds
from .cases import Built
from .exact import Exact, Problem, solve
from .exact import at_output as exact_output
from .functions import FUNCTIONS, Array, Real
from .local import Arithmetic, at_output, slope_error, value_error
from .package import called
from .record import Record

_FLOAT64 = Arithmetic.of("float64")
_TORCH = Arithmetic.of("float64", autodiff=True)
_FEWER_DIGITS = 100  # PyTorch's rounding is the larger where its bound is this many times ours


def check_gradient(record: Record, built: Built) -> None:
    """Hold `gradient`, its forward pass and `loss_value` to the oracle."""
    X, y, weights = built.numbers
    step = built.case.seed % 7 if any(built.case.dropout) else None
    p = built.problem(X, y, weights, dtype="float64", dropout_step=step)
    x = solve(p)
    b = bounds(p, x, _FLOAT64)
    record.counts["gradients"] += 1
    if b.overflows:
        record.counts["gradients that may overflow"] += 1
        return
    with called():
        g = built.network.gradient(built.X, built.y, sample_weight=built.weights, dropout_step=step)
    _by_layer(record, p, g)
    if not b.resolved.all():
        record.counts["gradients not resolved"] += 1
        return
    _whole(record, built, p, x, b, g, dropout=step is not None)
    if by_torch.available():
        _by_torch(record, p, x, b)


def _by_layer(record: Record, p: Problem, g: Any) -> None:
    """Hold every array to the exact function of the arrays that it was computed from.

    No error is carried from one layer to the next, so that the bounds are as narrow as they get.
    """
    t, L, kind = _FLOAT64, p.L, "gradient: layer by layer"
    a = [np.asarray(part).astype(Real) for part in g.forward.a]
    z = [np.asarray(part).astype(Real) for part in g.forward.z]
    delta = [np.asarray(part).astype(Real) for part in g.delta]
    record.same(kind, "a[0]", a[0], p.X)
    for l in range(L):
        size = np.abs(a[l]) @ np.abs(p.W[l]).T
        exact = a[l] @ p.W[l].T
        bias = p.b[l]
        if bias is not None:
            exact, size = exact + bias, size + np.abs(bias)
        room = t.of_sum(p.W[l].shape[1] + 2, size)
        record.compare(kind, f"z[{l + 1}]", g.forward.z[l + 1], exact, room)
        if l == L - 1:
            break
        name, mask = p.functions[l], p.mask(l)
        value, slope = FUNCTIONS[name].value(z[l]), FUNCTIONS[name].slope(z[l])
        r_a, r_slope = value_error(t, name, z[l]), slope_error(t, name, z[l])
        if mask is not None:
            m = mask.astype(float)
            value, slope = mask * value, mask * slope
            r_a = m * r_a + 3 * t.u * np.abs(value).astype(float)
            r_slope = m * r_slope + 3 * t.u * np.abs(slope).astype(float)
        record.compare(kind, f"a[{l + 1}]", g.forward.a[l + 1], value, r_a)
        v = delta[l + 1] @ p.W[l + 1]
        r_v = t.of_sum(len(p.W[l + 1]) + 1, np.abs(delta[l + 1]) @ np.abs(p.W[l + 1]))
        room = np.abs(slope).astype(float) * r_v + (np.abs(v).astype(float) + r_v) * r_slope
        room = room + 3 * t.u * np.abs(v * slope).astype(float) + np.where(slope * v != 0, t.eta, 0)
        record.compare(kind, f"delta[{l + 1}]", g.delta[l + 1], v * slope, room)
    output = exact_output(p.functions[-1], p.loss, z[-1], p.y)
    beside = Exact(z, a, [], [], delta, output, [], [], 0.0, 0.0)
    r_C, r_delta, r_a, _, _ = at_output(t, p, beside, np.zeros(z[-1].shape))
    record.compare(kind, f"a[{L}]", g.forward.a[L], output.a, r_a)
    record.compare(kind, f"delta[{L}]", g.delta[L], output.delta, r_delta)
    record.compare(kind, "sample_losses", g.sample_losses, output.C, r_C)
    share, n = p.shares, len(p.X)
    for l in range(L):
        weighted = share[:, None] * delta[l]
        size = np.abs(weighted).T @ np.abs(a[l])
        penalty = Real(p.l2) * p.W[l]
        room = t.of_sum(n + 8, size) + 4 * t.u * np.abs(penalty).astype(float)
        record.compare(
            kind,
            f"dW[{l + 1}]",
            g.dW[l + 1],
            weighted.T @ a[l] + penalty,
            room + t.eta * (n + 1) * (1 + np.abs(a[l]).max(0).astype(float)),
        )
        if p.b[l] is not None:
            room = t.of_sum(n + 8, np.abs(weighted).sum(0))
            record.compare(
                kind, f"db[{l + 1}]", g.db[l + 1], weighted.sum(0), room + t.eta * (n + 1)
            )


def _whole(
    record: Record, built: Built, p: Problem, x: Exact, b: Bounds, g: Any, *, dropout: bool
) -> None:
    kind = "gradient: as a whole"
    for l in range(p.L):
        record.compare(kind, f"dW[{l + 1}]", g.dW[l + 1], x.dW[l], b.dW[l])
        if p.b[l] is not None:
            record.compare(kind, f"db[{l + 1}]", g.db[l + 1], x.db[l], b.db[l])
    record.compare(kind, "loss", g.loss, x.loss, b.loss)
    record.compare(kind, "penalty", g.penalty, x.penalty, b.penalty)
    if not dropout:
        with called():
            got = built.network.loss_value(built.X, built.y, sample_weight=built.weights)
        record.compare("loss_value", "loss_value", got, x.loss, b.loss)


def _by_torch(record: Record, p: Problem, x: Exact, b: Bounds) -> None:
    """Hold the oracle to PyTorch, which knows nothing of it, within PyTorch's own rounding."""
    theirs = by_torch.gradient(p)
    room = bounds(p, x, _TORCH)
    record.counts["gradients by PyTorch"] += 1
    finite = all(np.isfinite(part).all() for part in [*theirs.dW, *theirs.db])
    if not finite or not room.resolved.all():
        record.counts["gradients by PyTorch that are not finite"] += not finite
        return
    for l in range(p.L):
        record.compare("oracle: PyTorch", f"dW[{l + 1}]", theirs.dW[l], x.dW[l], room.dW[l])
        if p.b[l] is not None:
            record.compare("oracle: PyTorch", f"db[{l + 1}]", theirs.db[l], x.db[l], room.db[l])
    record.compare("oracle: PyTorch", "loss", theirs.loss, x.loss, room.loss)
    wider = max(float(np.max(ours_theirs)) for ours_theirs in _ratios(room, b))
    record.counts["gradients where PyTorch has fewer digits"] += wider > _FEWER_DIGITS


def _ratios(room: Bounds, b: Bounds) -> list[Array]:
    return [theirs / ours for theirs, ours in zip(room.dW, b.dW, strict=True)]
