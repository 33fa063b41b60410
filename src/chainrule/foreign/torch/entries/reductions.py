"""Entries of sums, means and other reductions."""

from __future__ import annotations

from typing import Any

from chainrule.foreign.entries import ONE, ZERO, Found, Index
from chainrule.foreign.torch.entries.entry import Bound, Entry, number


def _dims(b: Bound, dims: int, name: str = "dim") -> list[int]:
    """Return the dimensions that a call reduces, from the front; all if none are named."""
    given = b.option(name, None)
    if given is None:
        return list(range(dims))
    return sorted(d % dims for d in ([given] if isinstance(given, int) else given)) or list(
        range(dims)
    )


def _place(b: Bound, i: Index, dims: list[int]) -> Index:
    """Return the element of the result that an element of the argument goes into."""
    if b.out.dim() == len(i) and b.option("keepdim", False):
        return tuple(0 if d in dims else p for d, p in enumerate(i))
    return tuple(p for d, p in enumerate(i) if d not in dims)


def _reduced(b: Bound, i: Index, dims: list[int]) -> Any:
    """Return the elements of the argument that share a result with one of them."""
    x = b.data("input").double()
    return x[tuple(slice(None) if d in dims else p for d, p in enumerate(i))]


def _over(derivative: Any) -> Any:
    def local(b: Bound, which: str, i: Index, o: Index) -> Found:
        if which != "input":
            return "", {}
        dims = _dims(b, len(i))
        if _place(b, i, dims) != o:
            return ZERO
        return derivative(b, number(b.data("input"), i), number(b.out, o), _reduced(b, i, dims))

    return local


def _mean(b: Bound, x: float, a: float, group: Any) -> Found:
    return "1 / n", {"n": float(group.numel())}


def _free(b: Bound) -> float:
    """Return by how much the divisor of a variance falls short of the count."""
    given = b.option("correction", None)
    if given is None:
        given = b.option("unbiased", True)
    return float(given)


def _variance(b: Bound, x: float, a: float, group: Any) -> Found:
    names = {"x": x, "m": float(group.mean()), "n": group.numel() - _free(b)}
    return "2 * (x - m) / n", names


def _deviation(b: Bound, x: float, a: float, group: Any) -> Found:
    names = {"x": x, "m": float(group.mean()), "n": group.numel() - _free(b), "a": a}
    return "(x - m) / (n * a)", names


def _extreme(b: Bound, x: float, a: float, group: Any) -> Found:
    count = int((group == a).sum())
    if count > 1:  # amax shares among equal ones, max chooses one
        return "", {}
    return ONE if x == a else ZERO


def _norm(b: Bound, x: float, a: float, group: Any) -> Found:
    order = b.option("p", b.option("ord", 2))
    if order in ("fro", None):
        order = 2
    if order == 2:
        return "x / a", {"x": x, "a": a}
    return ("sign(x)", {"x": x}) if order == 1 else ("", {})


def _cumsum(b: Bound, which: str, i: Index, o: Index) -> Found:
    d = int(b.given["dim"]) % len(i)
    line = i[:d] == o[:d] and i[d + 1 :] == o[d + 1 :]
    return ONE if line and i[d] <= o[d] else ZERO


_ALL = "all elements that it is taken over"
_DIM = ("input", "dim", "keepdim")
ENTRIES = (
    Entry(("sum",), _DIM, "out = Σ x", _ALL, _over(lambda b, x, a, group: ONE)),
    Entry(("mean",), _DIM, "out = (1/n) Σ x", _ALL, _over(_mean)),
    Entry(("var",), _DIM, "out = Σ (x - μ)² / n", _ALL, _over(_variance)),
    Entry(("std",), _DIM, "out = √(Σ (x - μ)² / n)", _ALL, _over(_deviation)),
    Entry(("prod",), _DIM, "out = Π x", _ALL,
          _over(lambda b, x, a, group: ("a / x", {"a": a, "x": x}) if x else ("", {}))),
    Entry(("logsumexp",), _DIM, "out = ln Σ exp(x)", _ALL,
          _over(lambda b, x, a, group: ("exp(x - a)", {"x": x, "a": a}))),
    Entry(("max", "amax"), _DIM, "out = max x", _ALL, _over(_extreme)),
    Entry(("min", "amin"), _DIM, "out = min x", _ALL, _over(_extreme)),
    Entry(("norm",), ("input", "p", "dim", "keepdim"), "out = √(Σ x²)", _ALL, _over(_norm)),
    Entry(("linalg_norm", "linalg_vector_norm", "vector_norm"), ("input", "ord", "dim", "keepdim"),
          "out = √(Σ x²)", _ALL, _over(_norm)),
    Entry(("cumsum",), ("input", "dim"), "out[k] = x[0] + … + x[k]",
          "the elements before it in its line", _cumsum),
)  # fmt: skip
