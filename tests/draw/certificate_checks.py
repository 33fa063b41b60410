"""Certificates: a right value is never called wrong, a wrong one never passes."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np

from chainrule.verify import certify

from .bounds import Bounds, bounds
from .cases import Built
from .exact import Exact, Problem, solve
from .explain_checks import targets
from .functions import Real
from .local import Arithmetic
from .package import called
from .record import Record

_COST = 800  # weights times samples, above which high precision takes too long for a draw
_FAR = 100.0  # a planted value is off by this many bounds, so that it is wrong for sure
_SEEN = 1e-6  # and by this part of the value


def wanted(built: Built) -> bool:
    """Whether a certificate is cheap here."""
    sizes = built.case.sizes
    weights = sum(a * b for a, b in pairwise(sizes))
    return weights * built.case.n <= _COST


def exact_derivative(p: Problem, x: Exact, b: Bounds, target: str) -> tuple[float, float, float]:
    """The derivative by the target, its bound, and the size of what is added up for it."""
    kind, place = target[0], target[target.rindex("[") + 1 : -1]
    index = tuple(map(int, place.split(",")))
    l = 0 if kind == "x" else int(target[2])
    share = p.shares
    if kind == "w":
        sizes = (share[:, None] * np.abs(x.delta[l - 1])).T @ np.abs(x.a[l - 1])
        return float(x.dW[l - 1][index]), float(b.dW[l - 1][index]), float(sizes[index])
    j = index[0]
    if kind in "bz":
        size = float((share * np.abs(x.delta[l - 1][:, j])).sum())
        return float(x.db[l - 1][j]), float(b.db[l - 1][j]), size
    if l == p.L:
        return math.nan, math.inf, math.inf
    t = Arithmetic.of("float64")
    W = p.W[l][:, j]
    value = share @ (x.delta[l] @ W)
    size = float(share @ (np.abs(x.delta[l]) @ np.abs(W)))
    error = float(share @ (b.delta[l] @ np.abs(W).astype(float)))
    return float(value), error + t.gamma(p.L + len(W) + len(share) + 8) * size + t.eta, size


def check_certificates(record: Record, built: Built) -> None:
    """Certify the package's own value, and two that are wrong."""
    case = built.case
    if not wanted(built):
        return
    step = case.seed % 7 if any(case.dropout) else None
    X, y, weights = built.numbers
    p = built.problem(X, y, weights, dtype="float64", dropout_step=step)
    x = solve(p)
    b = bounds(p, x, Arithmetic.of("float64"))
    if b.overflows:
        return
    (target,) = targets(built, 1)
    options: dict[str, Any] = {
        "sample_weight": built.weights, "dropout_step": step,
        "autodiff": "auto" if case.seed % 3 == 0 else "off",
    }  # fmt: skip
    with called():
        own = certify(built.network, target, built.X, built.y, **options)
    record.counts["certificates"] += 1
    record.counts[f"certificates: {own.verdict}"] += 1
    exact, error, size = exact_derivative(p, x, b, target)
    if not b.resolved.all() or not math.isfinite(error):
        return
    if own.verdict == "fail" and abs(Real(own.analytic) - Real(exact)) <= error:
        record.fault(
            "certificate: right value fails",
            f"{target} is {own.analytic!r}, exactly {exact!r}:\n{own}",
        )
    for wrong in _wrong_values(case.seed, exact, size):
        if not abs(wrong - exact) > max(_FAR * error, _SEEN * abs(exact)):
            continue
        with called():
            verdict = certify(built.network, target, built.X, built.y, analytic=wrong, **options)
        record.counts["certificates of wrong values"] += 1
        record.counts[f"certificates of wrong values: {verdict.verdict}"] += 1
        if verdict.passed:
            record.fault(
                "certificate: wrong value passes",
                f"{target} = {wrong!r}, exactly {exact!r}:\n{verdict}",
            )


def _wrong_values(seed: int, exact: float, size: float) -> list[float]:
    """Two of: twice, none, the other sign, a little more, and off by what is added up."""
    values = [2 * exact, 0.0, -exact, exact * (1 + 1e-4), exact + (size or 1.0), exact * 0.5]
    return [values[seed % len(values)], values[(seed // 7 + 1) % len(values)]]
