"""Entries of pooling and dropout."""

from __future__ import annotations

import itertools
from typing import Any

import torch

from chainrule.foreign.entries import ONE, ZERO, Found, Index
from chainrule.foreign.torch.columns import again
from chainrule.foreign.torch.entries.entry import Bound, Entry, number


def _each(setting: Any, dims: int) -> list[int]:
    found = [setting] * dims if isinstance(setting, int) else [int(s) for s in setting]
    return found * dims if len(found) == 1 else found


def _window(b: Bound, o: Index, dims: int) -> list[range]:
    """Return the range of the input, padding included, that a window covers."""
    size = _each(b.given["kernel_size"], dims)
    given = b.option("stride", None)
    stride = size if given in (None, (), []) else _each(given, dims)
    padding, dilation = _each(b.option("padding", 0), dims), _each(b.option("dilation", 1), dims)
    return [
        range(y * s - p, y * s - p + (k - 1) * d + 1, d)
        for y, s, p, k, d in zip(o[-dims:], stride, padding, size, dilation, strict=True)
    ]


def _dims(b: Bound) -> int:
    return int(b.call.name.rstrip("_")[-2])


def _average(b: Bound, which: str, i: Index, o: Index) -> Found:
    dims = _dims(b)
    window, shape = _window(b, o, dims), b.data("input").shape[-dims:]
    if i[:-dims] != o[:-dims] or any(p not in r for p, r in zip(i[-dims:], window, strict=True)):
        return ZERO
    if b.option("ceil_mode", False):
        return "", {}
    n = 1
    for r, size in zip(window, shape, strict=True):
        inside = [p for p in r if 0 <= p < size]
        n *= len(r) if b.option("count_include_pad", True) else len(inside)
    if b.option("divisor_override", None):
        n = int(b.given["divisor_override"])
    return "1 / n", {"n": float(n)}


def _adaptive(b: Bound, which: str, i: Index, o: Index) -> Found:
    dims, n = _dims(b), 1
    if i[:-dims] != o[:-dims]:
        return ZERO
    shape, made = b.data("input").shape[-dims:], b.out.shape[-dims:]
    for p, q, size, count in zip(i[-dims:], o[-dims:], shape, made, strict=True):
        first, last = q * size // count, -(-(q + 1) * size // count)
        if not first <= p < last:
            return ZERO
        n *= last - first
    return "1 / n", {"n": float(n)}


def _largest(b: Bound, which: str, i: Index, o: Index) -> Found:
    dims = _dims(b)
    if i[:-dims] != o[:-dims]:
        return ZERO
    x = b.data("input")
    ranges = [
        [p for p in r if 0 <= p < size]
        for r, size in zip(_window(b, o, dims), x.shape[-dims:], strict=True)
    ]
    for place in itertools.product(*ranges):  # the first of equal ones is chosen
        if number(x, (*o[:-dims], *place)) == number(b.out, o):
            return ONE if place == i[-dims:] else ZERO
    return "", {}


def _dropout(b: Bound, which: str, i: Index, o: Index) -> Found:
    if i != o:
        return ZERO
    if not b.option("training", True):
        return ONE
    x = b.data("input")
    with torch.no_grad(), again(b.call):
        kept = b.call.run(lambda v: torch.ones_like(x))
    return "m", {"m": number(kept, o)}


_AVERAGE = ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad",
            "divisor_override")  # fmt: skip
_LARGEST = ("input", "kernel_size", "stride", "padding", "dilation")
_INSIDE = "the elements of its channel inside the window"
ENTRIES = (
    Entry(("avg_pool1d", "avg_pool2d", "avg_pool3d"), _AVERAGE, "out = (1/n) Σ x over the window",
          _INSIDE, _average),
    Entry(("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"), ("input",),
          "out = (1/n) Σ x over the window", _INSIDE, _adaptive),
    Entry(("max_pool1d", "max_pool2d", "max_pool3d"), _LARGEST, "out = max x over the window",
          _INSIDE, _largest),
    Entry(("dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout", "dropout_"),
          ("input", "p", "training"), "out = m x with m = 0 or 1/(1-p), drawn for this run",
          "the element at the same place", _dropout),
)  # fmt: skip
