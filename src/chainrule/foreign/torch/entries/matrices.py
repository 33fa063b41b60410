"""Entries of calls that multiply by a matrix or a kernel, and of the embedding."""

from __future__ import annotations

from chainrule.foreign.entries import ONE, ZERO, Found, Index, spread
from chainrule.foreign.torch import closed
from chainrule.foreign.torch.entries.entry import Bound, Entry, number


def _linear(b: Bound, which: str, i: Index, o: Index) -> Found:
    *s, j = o
    if which == "bias":
        return ONE if i == (j,) else ZERO
    if which == "weight":
        return ("x", {"x": number(b.data("input"), (*s, i[1]))}) if i[0] == j else ZERO
    if i[:-1] != tuple(s):
        return ZERO
    return "w", {"w": number(b.data("weight"), (j, i[-1]))}


def _matmul(b: Bound, which: str, i: Index, o: Index) -> Found:
    x, y = b.data("input"), b.data("other")
    if x.dim() < 2 or y.dim() < 2:
        return _matmul_of_vector(b, which, i, o)
    *s, row, column = o
    if which == "input":
        if i[-2] != row or i[:-2] != spread(tuple(s), x.shape[:-2]):
            return ZERO
        return "y", {"y": number(y, (*spread(tuple(s), y.shape[:-2]), i[-1], column))}
    if i[-1] != column or i[:-2] != spread(tuple(s), y.shape[:-2]):
        return ZERO
    return "x", {"x": number(x, (*spread(tuple(s), x.shape[:-2]), row, i[-2]))}


def _matmul_of_vector(b: Bound, which: str, i: Index, o: Index) -> Found:
    x, y = b.data("input"), b.data("other")
    if y.dim() == 1:  # x y: out[s] = Σ_k x[s, k] y[k]
        if which == "input":
            return ("y", {"y": number(y, i[-1:])}) if i[:-1] == o else ZERO
        return "x", {"x": number(x, (*o, i[0]))}
    if y.dim() != 2:
        return "", {}
    if which == "input":
        return "y", {"y": number(y, (i[0], o[0]))}
    return ("x", {"x": number(x, i[:1])}) if i[1] == o[0] else ZERO


def _addmm(b: Bound, which: str, i: Index, o: Index) -> Found:
    beta, alpha = float(b.option("beta", 1)), float(b.option("alpha", 1))
    if which == "bias":
        return ("s", {"s": beta}) if spread(o, b.data("bias").shape) == i else ZERO
    formula, names = _matmul(b, which, i, o)
    if alpha == 1 or not names:
        return formula, names
    return f"s * {formula}", {**names, "s": alpha}


def _einsum(b: Bound, which: str, i: Index, o: Index) -> Found:
    """out = Σ Π of the operands: the derivative is the sum over the free letters of the others."""
    text = str(b.given["equation"]).replace(" ", "")
    operands = list(b.rest)
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = list(operands[0])
    if "." in text or "->" not in text or len(operands) != 2:
        return "", {}
    left, result = text.split("->")
    letters = left.split(",")
    place = next(k for k, each in enumerate(operands) if each is b.asked)
    fixed: dict[str, int] = {}
    for letter, position in (*zip(letters[place], i, strict=True), *zip(result, o, strict=True)):
        if fixed.setdefault(letter, position) != position:
            return ZERO
    other, rest = operands[1 - place].data, letters[1 - place]
    if any(letter not in fixed for letter in rest) or len(set(rest)) != len(rest):
        return "", {}
    return "y", {"y": number(other, tuple(fixed[letter] for letter in rest))}


def _convolution(b: Bound, which: str, i: Index, o: Index) -> Found:
    found = closed.options(b.call)
    if found is None:
        return "", {}
    stride, padding, dilation, groups = found
    x, w = b.data("input"), b.data("weight")
    if x.dim() != w.dim():
        return "", {}
    n, channel, *y = o
    if which == "bias":
        return ONE if i == (channel,) else ZERO
    group = channel // (w.shape[0] // groups)
    if which == "weight":
        if i[0] != channel:
            return ZERO
        steps = zip(y, stride, i[2:], dilation, padding, strict=True)
        at = [p * s + u * d - q for p, s, u, d, q in steps]
        if not all(0 <= p < size for p, size in zip(at, x.shape[2:], strict=True)):
            return ZERO  # the weight stands on the padding
        return "x", {"x": number(x, (n, group * w.shape[1] + i[1], *at))}
    within = i[1] - group * w.shape[1]
    if i[0] != n or not 0 <= within < w.shape[1]:
        return ZERO
    taps = []
    for p, s, u, d, q, size in zip(i[2:], stride, y, dilation, padding, w.shape[2:], strict=True):
        tap, left = divmod(p + q - u * s, d)
        if left or not 0 <= tap < size:
            return ZERO
        taps.append(tap)
    return "w", {"w": number(w, (channel, within, *taps))}


def _embedding(b: Bound, which: str, i: Index, o: Index) -> Found:
    *s, k = o
    if which != "weight":
        return "", {}
    row = int(b.data("input")[tuple(s)])
    padding = b.option("padding_idx", None)
    if i != (row, k) or (padding is not None and padding % len(b.data("weight")) == row):
        return ZERO
    if b.option("scale_grad_by_freq", False):
        return "1 / n", {"n": float((b.data("input") == row).sum())}
    return ONE


_CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_PRODUCT = "out[s,j] = Σ_k x[s,k] y[k,j]"
_ROW = "row s of the first argument and column j of the second"

ENTRIES = (
    Entry(("linear",), ("input", "weight", "bias"), "out[s,j] = Σ_k x[s,k] w[j,k] + b[j]",
          "row j of the weight, element j of the bias, and the input at the same place s", _linear),
    Entry(("matmul", "__matmul__", "mm", "bmm", "mv", "dot"), ("input", "other"), _PRODUCT, _ROW,
          _matmul),
    Entry(("__rmatmul__",), ("other", "input"), _PRODUCT, _ROW, _matmul),
    Entry(("addmm", "baddbmm"), ("bias", "input", "other"),
          "out[s,j] = β b[s,j] + α Σ_k x[s,k] y[k,j]", f"{_ROW}, and the bias at the same place",
          _addmm),
    Entry(("conv1d", "conv2d", "conv3d"), _CONVOLUTION,
          "out[n,o,y] = Σ_c,u x[n,c,s y + d u - p] w[o,c,u] + b[o]",
          "kernel o, element o of the bias, and the window of the input at y", _convolution),
    Entry(("embedding",), ("input", "weight", "padding_idx", "max_norm", "norm_type",
                           "scale_grad_by_freq"), "out[s,k] = w[t[s],k]",
          "the row of the weight that the index names", _embedding),
    Entry(("einsum",), ("equation",), "out = Σ x y over the letters that the result lacks",
          "the elements of both operands with its letters", _einsum),
)  # fmt: skip
