"""Entries of calls that work element by element: activations and arithmetic."""

from __future__ import annotations

import math
from typing import Any

from chainrule.foreign.entries import ONE, PLAIN, TWO, ZERO, Found, Index, spread
from chainrule.foreign.torch.entries.entry import Bound, Entry, number

_ALIASES = {
    "relu": ("relu_",), "sigmoid": ("sigmoid_",), "tanh": ("tanh_",),
    "neg": ("__neg__", "negative"), "abs": ("absolute", "__abs__"), "silu": ("silu_",),
}  # fmt: skip


def _plain(name: str) -> Entry:
    result, derivative = PLAIN[name]

    def local(b: Bound, which: str, i: Index, o: Index) -> Found:
        if which != "input":
            return "", {}
        if i != o:
            return ZERO
        x = number(b.data("input"), i)
        names = {"x": x, "a": number(b.out, o), "p": math.pi}
        if name == "mish":
            names["t"] = math.tanh(math.log1p(math.exp(x)) if x < 30 else x)
        return derivative, names

    calls = (name, *_ALIASES.get(name, ()))
    return Entry(calls, ("input",), f"a = {result}", "the element at the same place", local)


def _leaky(b: Bound, which: str, i: Index, o: Index) -> Found:
    x = number(b.data("input"), i)
    return "1 if x > 0 else s", {"x": x, "s": float(b.option("negative_slope", 0.01))}


def _elu(b: Bound, which: str, i: Index, o: Index) -> Found:
    x = number(b.data("input"), i)
    return "1 if x > 0 else s * exp(x)", {"x": x, "s": float(b.option("alpha", 1.0))}


def _celu(b: Bound, which: str, i: Index, o: Index) -> Found:
    x = number(b.data("input"), i)
    return "1 if x > 0 else exp(x / s)", {"x": x, "s": float(b.option("alpha", 1.0))}


def _gelu(b: Bound, which: str, i: Index, o: Index) -> Found:
    x = number(b.data("input"), i)
    if b.option("approximate", "none") == "none":
        return "Phi(x) + x * phi(x)", {"x": x}
    c, d = math.sqrt(2 / math.pi), 0.044715
    t = math.tanh(c * (x + d * x**3))
    formula = "(1 + t) / 2 + x * (1 - t**2) * c * (1 + 3 * d * x**2) / 2"
    return formula, {"x": x, "t": t, "c": c, "d": d}


def _softplus(b: Bound, which: str, i: Index, o: Index) -> Found:
    x, s = number(b.data("input"), i), float(b.option("beta", 1.0))
    if x * s > float(b.option("threshold", 20.0)):
        return ONE
    return "sigma(s * x)", {"x": x, "s": s}


def _clamped(lower: str, upper: str) -> Any:
    def local(b: Bound, which: str, i: Index, o: Index) -> Found:
        x, low, high = number(b.data("input"), i), b.option(lower, None), b.option(upper, None)
        if isinstance(b.given.get(lower), type(b.given["input"])):
            return "", {}
        if lower == "min_val":
            low, high = (-1.0 if low is None else low), (1.0 if high is None else high)
            inside = low < x < high
        else:
            inside = (low is None or low <= x) and (high is None or x <= high)
        return ONE if inside else ZERO

    return local


def _same_place(local: Any) -> Any:
    """Return a local that is 0 between different places, and for other arguments unknown."""

    def at_place(b: Bound, which: str, i: Index, o: Index) -> Found:
        if which != "input":
            return "", {}
        return local(b, which, i, o) if i == o else ZERO

    return at_place


def _entry(calls: str, parameters: str, says: str, local: Any) -> Entry:
    where = "the element at the same place"
    return Entry(tuple(calls.split()), tuple(parameters.split()), says, where, _same_place(local))


def _prelu(b: Bound, which: str, i: Index, o: Index) -> Found:
    x = b.data("input")
    if which == "weight":
        channel = o[1] if b.data("weight").numel() > 1 else 0
        if i != (channel,):
            return ZERO
        return "0 if x > 0 else x", {"x": number(x, o)}
    channel = o[1] if b.data("weight").numel() > 1 else 0
    if i != o:
        return ZERO
    return "1 if x > 0 else s", {"x": number(x, i), "s": number(b.data("weight"), (channel,))}


# --- two arguments ------------------------------------------------------------------------------


def _operand(b: Bound, name: str, o: Index) -> float:
    t = b.tensor(name)
    return float(b.given[name]) if t is None else number(t, spread(o, t.shape))


def _two(derivatives: dict[str, str]) -> Any:
    def local(b: Bound, which: str, i: Index, o: Index) -> Found:
        if spread(o, b.data(which).shape) != i:
            return ZERO
        names = {"x": _operand(b, "input", o), "y": _operand(b, "other", o)}
        names["a"], names["s"] = number(b.out, o), float(b.option("alpha", 1.0))
        if b.option("rounding_mode", None):
            return ZERO
        formula = derivatives[which]
        if which == "other" and b.option("alpha", 1) == 1:
            formula = formula.replace("s", "1") if formula in ("s", "-s") else formula
        return formula, names

    return local


def _power(b: Bound, which: str, i: Index, o: Index) -> Found:
    if spread(o, b.data(which).shape) != i:
        return ZERO
    x, y = _operand(b, "input", o), _operand(b, "other", o)
    return TWO["pow"][1 if which == "input" else 2], {"x": x, "y": y}


def _arithmetic(calls: str, says: str, x: str, y: str, *, swapped: bool = False) -> Entry:
    parameters = ("other", "input") if swapped else ("input", "other")
    where = "the elements of both arguments at its place"
    return Entry(tuple(calls.split()), parameters, says, where, _two({"input": x, "other": y}))


def _extreme(larger: bool) -> Any:
    def local(b: Bound, which: str, i: Index, o: Index) -> Found:
        if spread(o, b.data(which).shape) != i:
            return ZERO
        x, y = _operand(b, "input", o), _operand(b, "other", o)
        if x == y:
            return "1 / 2", {}
        first = (x > y) == larger
        return ONE if first == (which == "input") else ZERO

    return local


def _addcmul(b: Bound, which: str, i: Index, o: Index) -> Found:
    if spread(o, b.data(which).shape) != i:
        return ZERO
    s = float(b.option("value", 1.0))
    if which == "input":
        return ONE
    other = "y" if which == "x" else "x"
    return "s * t", {"s": s, "t": _operand(b, other, o)}


def _lerp(b: Bound, which: str, i: Index, o: Index) -> Found:
    if spread(o, b.data(which).shape) != i:
        return ZERO
    names = {
        "x": _operand(b, "input", o),
        "y": _operand(b, "end", o),
        "w": _operand(b, "weight", o),
    }
    return {"input": "1 - w", "end": "w", "weight": "y - x"}[which], names


ENTRIES: tuple[Entry, ...] = (
    *(_plain(name) for name in PLAIN),
    _entry("leaky_relu leaky_relu_", "input negative_slope", "a = x if x > 0, else s x", _leaky),
    _entry("elu elu_", "input alpha", "a = x if x > 0, else s (exp(x) - 1)", _elu),
    _entry("celu", "input alpha", "a = x if x > 0, else s (exp(x / s) - 1)", _celu),
    _entry("gelu", "input", "a = x Φ(x)", _gelu),
    _entry("softplus", "input beta threshold", "a = ln(1 + exp(s x)) / s", _softplus),
    _entry("hardtanh", "input min_val max_val", "a = min(max(low, x), high)",
           _clamped("min_val", "max_val")),
    _entry("clamp clamp_ clip", "input min max", "a = min(max(low, x), high)",
           _clamped("min", "max")),
    Entry(("prelu",), ("input", "weight"), "a = x if x > 0, else s x",
          "the element at the same place, and the slope of its channel", _prelu),
    _arithmetic("add add_ __add__ __iadd__ __radd__", "a = x + y", "1", "s"),
    _arithmetic("sub sub_ __sub__ __isub__ subtract", "a = x - y", "1", "-s"),
    _arithmetic("rsub __rsub__", "a = x - y", "1", "-s", swapped=True),
    _arithmetic("mul mul_ __mul__ __imul__ __rmul__ multiply", *TWO["mul"]),
    _arithmetic("div div_ __truediv__ __itruediv__ true_divide divide __div__", *TWO["div"]),
    _arithmetic("__rtruediv__ __rdiv__", *TWO["div"], swapped=True),
    Entry(("pow", "__pow__", "pow_"), ("input", "other"), "a = x to the power of y",
          "the elements of both arguments at its place", _power),
    Entry(("__rpow__",), ("other", "input"), "a = x to the power of y",
          "the elements of both arguments at its place", _power),
    Entry(("maximum",), ("input", "other"), "a = max(x, y)", "the larger of both", _extreme(True)),
    Entry(("minimum",), ("input", "other"), "a = min(x, y)", "the smaller of both",
          _extreme(False)),
    Entry(("addcmul",), ("input", "x", "y"), "a = z + s x y", "the elements at its place",
          _addcmul),
    Entry(("lerp",), ("input", "end", "weight"), "a = x + w (y - x)", "the elements at its place",
          _lerp),
)  # fmt: skip
