"""Explanations: the value is the gradient's, terms multiply, samples average, parts add up.

Each identity is held within the rounding of the float64 operations between its two sides: a product
of k factors is off by k u of its size, a sum of n numbers by γ_n of the sum of their sizes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .bounds import bounds
from .cases import Built
from .exact import at_output, solve
from .functions import FUNCTIONS, ULPS, Array, Real, sigma
from .local import Arithmetic
from .package import called
from .record import Record

_T = Arithmetic.of("float64")
_EXPLAINED = 2  # derivatives of a draw


def targets(built: Built, count: int) -> list[str]:
    """Draw what is explained: weights, biases, z, a and x, of any layer and unit."""
    case = built.case
    rng = np.random.default_rng(case.seed + 1)
    kinds = ["w", "z", "a", "w", "b", "x"] if case.biases else ["w", "z", "a", "w", "x"]
    chosen = []
    for i in range(count):
        kind = kinds[(case.seed + i) % len(kinds)]
        l = int(rng.integers(1, len(case.sizes)))
        j = int(rng.integers(case.sizes[l]))
        k = int(rng.integers(case.sizes[l - 1]))
        last = case.loss in ("cross_entropy", "binary_cross_entropy") or case.output == "softmax"
        if kind == "a" and l == len(case.sizes) - 1 and last:
            kind = "z"  # ∂C/∂a is y/a there, which no one needs
        x = int(rng.integers(case.sizes[0]))
        chosen.append({"w": f"w[{l}][{j},{k}]", "x": f"x[{x}]"}.get(kind, f"{kind}[{l}][{j}]"))
    return chosen


def check_explanations(record: Record, built: Built) -> None:
    """Explain some derivatives and hold each explanation to what it says of itself."""
    step = built.case.seed % 7 if any(built.case.dropout) else None
    if may_overflow(built, step):
        return
    options: dict[str, Any] = {"sample_weight": built.weights, "dropout_step": step}
    with called():
        g = built.network.gradient(built.X, built.y, **options)
    for target in targets(built, _EXPLAINED):
        with called():
            why = built.network.explain(target, built.X, built.y, **options)
            assert why.samples
        record.counts["explanations"] += 1
        _value(record, built, why, g, target)
        _samples(record, built, why, target)
        summands = _summands(built, g)
        for term in why.terms:
            _parts(record, term, target, summands, depth=2)


def may_overflow(built: Built, step: int | None) -> bool:
    """Whether a number of either pass may leave float64."""
    p = built.problem(*built.numbers, dtype="float64", dropout_step=step)
    return bounds(p, solve(p), _T).overflows


def _value(record: Record, built: Built, why: Any, g: Any, target: str) -> None:
    """For w and b the very number in the gradient; else the weighted mean of its δ."""
    kind, l, place = target[0], int(target[2]), target[target.rindex("[") + 1 : -1]
    index = tuple(map(int, place.split(",")))
    if kind == "w":
        record.same("explain: value", target, np.float64(why.value), g.dW[l][index])
    elif kind == "b":
        record.same("explain: value", target, np.float64(why.value), g.db[l][index])
    n = len(g.shares)
    share = g.shares.astype(Real)
    products = np.array([row.product for row in why.samples]).astype(Real)
    penalty = Real(why.penalty.value) if why.penalty is not None else Real(0)
    exact = products.mean() + penalty
    size = float(np.abs(products).mean())
    room = (
        _products_error(why, n)
        + _T.gamma(n + 8) * size
        + _T.eta * (n + 1)
        + 4 * _T.u * abs(float(penalty))
    )
    record.compare("explain: samples average", target, why.value, exact, room)
    if kind == "z":
        exact = (share * np.asarray(g.delta[l])[:, index[0]].astype(Real)).sum()
        record.compare("explain: value", target, why.value, exact, room + _T.u * size)


def _products_error(why: Any, n: int) -> float:
    """How far the mean of the products may be from the gradient's: ∂C/∂a is summed anew."""
    total = 0.0
    for i, term in enumerate(why.terms):
        if term.contributions is None:
            continue
        units = len(term.contributions)
        others = np.ones(n)
        for j, other in enumerate(why.terms):
            if j != i:
                others = others * np.abs(other.values)
        total += _T.gamma(2 * units + 8) * float(
            (np.abs(term.contributions.values).sum(1) * others).mean()
        )
    return total


def _samples(record: Record, built: Built, why: Any, target: str) -> None:
    """The terms of a row multiply to its product."""
    for row in why.samples:
        terms = np.array(row.terms).astype(Real)
        exact = terms.prod()
        room = _T.gamma(len(terms) + 1) * abs(float(exact)) + _T.eta * float(
            np.maximum(1, np.abs(terms)).prod()
        )
        record.compare(
            "explain: terms multiply", f"{target}, sample {row.index}", row.product, exact, room
        )
    focus = tuple(term.value for term in why.terms)
    record.same(
        "explain: terms multiply",
        f"{target}, terms in focus",
        np.array(focus),
        np.array(why.samples[why.focus].terms),
    )


def _summands(built: Built, g: Any) -> Array | None:
    """The size of what ∂C/∂a · ∂a/∂z adds up, which is reduced to one term; None where it is not.

    Two parts for the binary cross-entropy, (1 - y) a and y (1 - a), and for the Poisson loss, g'
    and y g'/g.
    """
    case, y, z = built.case, built.numbers[1], np.asarray(g.forward.z[-1]).astype(Real)
    if case.loss == "binary_cross_entropy":
        return np.asarray((1 - y) * sigma(z) + y * sigma(-z))
    if case.loss == "poisson" and case.output != "softmax":
        slope = FUNCTIONS[case.output].slope(z)
        return np.asarray(slope + np.abs(at_output(case.output, "poisson", z, y).delta - slope))
    return None


def _parts(
    record: Record, term: Any, target: str, summands: Array | None, depth: int
) -> None:  # fmt: skip
    """The contributions of a term add up to it; each is the product of its own terms."""
    parts = term.contributions
    if parts is None or depth == 0:
        return
    values = parts.values.astype(Real)
    size = np.abs(values).sum(axis=1).astype(float)
    room = _T.gamma(parts.values.shape[1] + 8) * size + _T.eta * (1 + parts.values.shape[1])
    record.compare(
        "explain: contributions add up",
        f"{target}: {term.symbol}",
        term.values,
        values.sum(axis=1),
        room,
    )
    largest, _ = parts.largest(2)
    for part in largest:
        product = np.prod([Real(inner.value) for inner in part.terms])
        sizes: Array = np.array([abs(inner.value) for inner in part.terms])
        room_of_part = _T.gamma(len(part.terms) + 4) * abs(float(product)) + _inner(part)
        if summands is not None and part.terms[0].contributions is None and len(part.terms) == 2:
            room_of_part += ULPS * _T.u * float(summands[part.focus, part.unit])
        room_of_part += _T.eta * float(np.maximum(1, sizes).prod())
        record.compare(
            "explain: contributions multiply",
            f"{target}: {part}",
            part.value,
            product,
            room_of_part,
        )
        for inner in part.terms:
            _parts(record, inner, target, summands, depth - 1)


def _inner(part: Any) -> float:
    """The error of a factor that is itself a sum, taken times the others."""
    total = 0.0
    for i, inner in enumerate(part.terms):
        if inner.contributions is None:
            continue
        focus = inner.focus
        others = np.prod([abs(other.value) for j, other in enumerate(part.terms) if j != i])
        size = np.abs(inner.contributions.values[focus]).sum()
        total += _T.gamma(2 * len(inner.contributions) + 8) * float(size * others)
    return total
