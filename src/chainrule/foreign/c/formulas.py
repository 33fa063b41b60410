"""Formulas of custom activations, in C."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.equations import normal
from chainrule.equations.activations import ACTIVATIONS, Activation
from chainrule.equations.formulas import (
    Add,
    Call,
    Cases,
    Compare,
    Div,
    Expr,
    Mul,
    Name,
    Neg,
    Num,
    Pow,
    evaluate,
    parse,
)

# What a formula calls: of this file's own functions, or of the C library.
_OWN = {"sigma": "sigmoid", "tanh": "tanh", "Phi": "normal"}
_LIBRARY = {
    "exp": "exp", "ln": "log", "sqrt": "sqrt", "abs": "fabs", "sin": "sin", "cos": "cos",
    "sinh": "sinh", "cosh": "cosh", "atan": "atan",
}  # fmt: skip
_PAIRS = {
    "max": "static inline real larger(real a, real b)\n{\n    return b > a ? b : a;\n}\n",
    "min": "static inline real smaller(real a, real b)\n{\n    return b < a ? b : a;\n}\n",
}
_SIGN = (
    "static inline real sign_of(real z)\n{\n"
    "    return z > R(0.0) ? R(1.0) : z < R(0.0) ? R(-1.0) : z;\n}\n"
)


@dataclass(frozen=True)
class Translated:
    """A formula as an expression in z, what it calls, and whether it needs the C library."""

    expression: str
    units: tuple[str, ...]
    helpers: tuple[str, ...]
    library: bool


def translate(g: Activation, real: str) -> Translated:
    """Return the formula of a custom activation in C.

    Raises ValueError if the formula is not what ``value`` computes, or has no C.
    """
    tree = parse(g.formula)[0]
    _check(g, tree)
    suffix = "f" if real == "float32" else ""
    units: dict[str, None] = {}
    helpers: dict[str, None] = {}
    library = False

    def number(value: float) -> str:
        if not abs(value) <= float(np.finfo(real).max):
            raise ValueError(f"activation {g.name!r}: {value!r} in its formula exceeds {real}")
        return f"R({float(value)!r})"

    def call(function: str, arguments: list[str]) -> str:
        nonlocal library
        if function in _PAIRS:
            helpers[_PAIRS[function]] = None
            name = "larger" if function == "max" else "smaller"
            text = arguments[0]
            for other in arguments[1:]:
                text = f"{name}({text}, {other})"
            return text
        if len(arguments) != 1:
            raise ValueError(f"activation {g.name!r}: {function} takes one argument")
        if function == "sign":
            helpers[_SIGN] = None
            return f"sign_of({arguments[0]})"
        if function in _OWN:
            name = _OWN[function]
            units[name] = None
            return (
                f"{name}({arguments[0]}, R(1.0))"
                if name == "normal"
                else f"{name}_unit({arguments[0]})"
            )
        library = True
        if function == "phi":
            halved = f"R(-0.5) * ({arguments[0]}) * ({arguments[0]})"
            return f"(R(0.39894228040143267794) * exp{suffix}({halved}))"
        return f"{_LIBRARY[function]}{suffix}({arguments[0]})"

    def of(node: Expr) -> str:
        nonlocal library
        match node:
            case Num(value):
                return number(value)
            case Name():
                return "z"
            case Add(items):
                first, *rest = items
                text = of(first)
                for item in rest:
                    text += f" - {of(item.item)}" if isinstance(item, Neg) else f" + {of(item)}"
                return f"({text})"
            case Neg(item):
                return f"(-{of(item)})"
            case Mul(items):
                return f"({' * '.join(map(of, items))})"
            case Div(numerator, denominator):
                return f"({of(numerator)} / {of(denominator)})"
            case Pow(base, exponent):
                library = True
                return f"pow{suffix}({of(base)}, {of(exponent)})"
            case Call(function, arguments):
                return call(function, [of(argument) for argument in arguments])
            case Cases(Compare(left, relation, right), then, otherwise):
                return f"({of(left)} {relation} {of(right)} ? {of(then)} : {of(otherwise)})"
        raise TypeError(f"{type(node).__name__} has no C")

    expression = of(tree)
    return Translated(expression, tuple(units), tuple(helpers), library)


def _check(g: Activation, tree: Expr) -> None:
    """Raise ValueError unless ``value`` computes the formula: the file holds the formula alone."""
    z = np.concatenate([np.linspace(-8, 8, 65), [-1e-3, 1e-3]])
    functions: dict[str, Any] = {
        "exp": np.exp, "ln": np.log, "sqrt": np.sqrt, "abs": np.abs, "sign": np.sign,
        "sin": np.sin, "cos": np.cos, "tanh": np.tanh, "sinh": np.sinh, "cosh": np.cosh,
        "atan": np.arctan, "sigma": ACTIVATIONS["sigmoid"].value, "Phi": normal.cdf,
        "phi": normal.density, "where": np.where,
        "max": lambda *a: np.maximum.reduce(np.broadcast_arrays(*a)),
        "min": lambda *a: np.minimum.reduce(np.broadcast_arrays(*a)),
    }  # fmt: skip
    with np.errstate(all="ignore"):
        stated = np.broadcast_to(evaluate(tree, {"z": z}, functions), z.shape)
        computed = np.broadcast_to(np.asarray(g.value(z), dtype=np.float64), z.shape)
    wrong = ~np.isclose(stated, computed, rtol=1e-9, atol=1e-12, equal_nan=True)
    if wrong.any():
        i = int(np.argmax(wrong))
        raise ValueError(
            f"activation {g.name!r} cannot be exported: at z = {z[i]:g} its formula "
            f"{g.formula!r} is {stated[i]:g}, but value returns {computed[i]:g}. The exported file "
            "would compute the formula; correct one of the two."
        )
    if not math.isfinite(float(np.sum(stated))):
        i = int(np.argmax(~np.isfinite(stated)))
        raise ValueError(
            f"activation {g.name!r} cannot be exported: its formula is {stated[i]} at z = {z[i]:g}"
        )
