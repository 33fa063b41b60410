"""Entries of losses: the derivative of the loss with respect to one output of the model."""

from __future__ import annotations

import math
from typing import Any

import torch

from chainrule.foreign.entries import ZERO, Found, Index
from chainrule.foreign.torch.entries.entry import Bound, Entry, number


def _count(b: Bound, o: Index) -> float:
    """Return what the sum over all elements is divided by."""
    reduction = b.option("reduction", "mean")
    if b.option("size_average", None) is not None or b.option("reduce", None) is not None:
        raise LookupError("reduction")
    return float(b.data("input").numel()) if reduction == "mean" else 1.0


def _elementwise(derivative: Any) -> Any:
    def local(b: Bound, which: str, i: Index, o: Index) -> Found:
        if b.data("input").shape != b.data("target").shape or b.given.get("weight") is not None:
            return "", {}
        if b.option("reduction", "mean") == "none" and i != o:
            return ZERO
        x, y = number(b.data("input"), i), number(b.data("target"), i)
        formula, names = derivative(b, x, y, which)
        n = _count(b, o)
        if not formula or n == 1 or formula == "0":
            return formula, names
        return f"({formula}) / n", {**names, "n": n}

    return local


def _mse(b: Bound, x: float, y: float, which: str) -> Found:
    sign = "" if which == "input" else "-"
    return f"{sign}2 * (x - y)", {"x": x, "y": y}


def _l1(b: Bound, x: float, y: float, which: str) -> Found:
    sign = "" if which == "input" else "-"
    return f"{sign}sign(x - y)", {"x": x, "y": y}


def _smooth(b: Bound, x: float, y: float, which: str) -> Found:
    if which != "input":
        return "", {}
    d = float(b.option("beta", 1.0))
    if abs(x - y) < d:
        return "(x - y) / d", {"x": x, "y": y, "d": d}
    return "sign(x - y)", {"x": x, "y": y}


def _huber(b: Bound, x: float, y: float, which: str) -> Found:
    if which != "input":
        return "", {}
    d = float(b.option("delta", 1.0))
    if abs(x - y) <= d:
        return "x - y", {"x": x, "y": y}
    return "d * sign(x - y)", {"x": x, "y": y, "d": d}


def _binary(b: Bound, x: float, y: float, which: str) -> Found:
    return ("(x - y) / (x * (1 - x))", {"x": x, "y": y}) if which == "input" else ("", {})


def _binary_logits(b: Bound, x: float, y: float, which: str) -> Found:
    if which != "input" or b.given.get("pos_weight") is not None:
        return "", {}
    return "sigma(x) - y", {"x": x, "y": y}


def _classes(b: Bound, i: Index) -> tuple[int, Index]:
    """Return the dimension of classes, and the place of a sample among the targets."""
    d = 1 if b.data("input").dim() > 1 else 0
    return d, (*i[:d], *i[d + 1 :])


def _scaled(b: Bound, formula: str, names: dict[str, float], o: Index, place: Index) -> Found:
    """Divide by the number of samples that count, if the loss is their mean."""
    if b.given.get("weight") is not None:
        return "", {}
    reduction, t = b.option("reduction", "mean"), b.data("target")
    if reduction == "none":
        return (formula, names) if place == o else ZERO
    if reduction == "sum":
        return formula, names
    if t.is_floating_point():
        n = t.numel() / t.shape[_classes(b, (0,) * t.dim())[0]]
    else:
        n = float((t != int(b.option("ignore_index", -100))).sum())
    return f"({formula}) / n", {**names, "n": float(n)}


def _cross_entropy(b: Bound, which: str, i: Index, o: Index) -> Found:
    if which != "input":
        return "", {}
    d, place = _classes(b, i)
    x, t = b.data("input").double(), b.data("target")
    line = x[(*i[:d], slice(None), *i[d + 1 :])]
    a = float(torch.softmax(line, 0)[i[d]])
    smoothing, classes = float(b.option("label_smoothing", 0.0)), x.shape[d]
    if t.is_floating_point():
        y, mass = number(t, i), float(t[(*i[:d], slice(None), *i[d + 1 :])].sum())
        if abs(mass - 1) > 1e-6:
            return "", {}
    else:
        label = int(t[place])
        if label == int(b.option("ignore_index", -100)):
            return ZERO
        y = float(label == i[d])
    if smoothing:
        y = y * (1 - smoothing) + smoothing / classes
    return _scaled(b, "a - y", {"a": a, "y": y}, o, place)


def _nll(b: Bound, which: str, i: Index, o: Index) -> Found:
    if which != "input":
        return "", {}
    d, place = _classes(b, i)
    label = int(b.data("target")[place])
    if label != i[d] or label == int(b.option("ignore_index", -100)):
        return ZERO
    return _scaled(b, "-1", {}, o, place)


def _kl(b: Bound, x: float, y: float, which: str) -> Found:
    if which != "input" or b.option("reduction", "mean") not in ("mean", "sum", "none"):
        return "", {}
    if b.option("log_target", False):
        return "-y", {"y": math.exp(y)}
    return "-y", {"y": y}


_PAIR = ("input", "target", "size_average", "reduce", "reduction")
_CLASSES = ("input", "target", "weight", "size_average", "ignore_index", "reduce", "reduction",
            "label_smoothing")  # fmt: skip
_EACH = "all outputs of the model, and the targets"
ENTRIES = (
    Entry(("cross_entropy", "cross_entropy_loss"), _CLASSES,
          "C = (1/n) Σ_i -ln softmax(x_i) at the class of sample i", _EACH, _cross_entropy),
    Entry(("nll_loss",), _CLASSES[:7], "C = (1/n) Σ_i -x_i at the class of sample i", _EACH, _nll),
    Entry(("mse_loss",), _PAIR, "C = (1/n) Σ (x - y)²", _EACH, _elementwise(_mse)),
    Entry(("l1_loss",), _PAIR, "C = (1/n) Σ |x - y|", _EACH, _elementwise(_l1)),
    Entry(("smooth_l1_loss",), (*_PAIR, "beta"), "C = (1/n) Σ (x - y)² / (2 d) if |x - y| < d, "
          "else |x - y| - d/2", _EACH, _elementwise(_smooth)),
    Entry(("huber_loss",), ("input", "target", "reduction", "delta"),
          "C = (1/n) Σ (x - y)²/2 if |x - y| ≤ d, else d (|x - y| - d/2)", _EACH,
          _elementwise(_huber)),
    Entry(("binary_cross_entropy",), ("input", "target", "weight", *_PAIR[2:]),
          "C = (1/n) Σ -y ln x - (1 - y) ln(1 - x)", _EACH, _elementwise(_binary)),
    Entry(("binary_cross_entropy_with_logits",),
          ("input", "target", "weight", *_PAIR[2:], "pos_weight"),
          "C = (1/n) Σ -y ln σ(x) - (1 - y) ln(1 - σ(x))", _EACH, _elementwise(_binary_logits)),
    Entry(("kl_div",), (*_PAIR, "log_target"), "C = (1/n) Σ y (ln y - x)", _EACH,
          _elementwise(_kl)),
)  # fmt: skip
