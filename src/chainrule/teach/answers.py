"""Answers: what a student types, read as arithmetic of a small grammar and never executed.

The grammar is that of numbers, names, ``+ - * / ^``, parentheses and g'(z). Length, depth and
exponents are bounded, so that no answer costs more than a moment.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chainrule.equations.formulas import Call, Div, Expr, Name, Neg, Num, Pow, add, evaluate, mul

LONGEST = 200  # characters
_MOST_NODES = 120
_DEEPEST = 25
_LARGEST_EXPONENT = 8
_PLAIN = str.maketrans({
    "−": "-", "–": "-", "·": "*", "×": "*", "⋅": "*", "÷": "/", "′": "'", "’": "'", "ʹ": "'",
    "[": "(", "]": ")", "{": "(", "}": ")", "²": "^2", "³": "^3", "½": "(1/2)", "\u00a0": " ",
})  # fmt: skip
_BRACKETS = re.compile(r"\b([a-z])\[(\d+)\](?:\[(\d+)(?:\s*,\s*(\d+))?\])?", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"(?<=\d),(?=\d)")
_FUNCTIONS = {
    "exp": "exp", "ln": "ln", "log": "ln", "sqrt": "sqrt", "abs": "abs", "sign": "sign",
    "tanh": "tanh", "sigma": "sigma", "sigmoid": "sigma", "σ": "sigma", "g": "g", "g_prime": "g'",
}  # fmt: skip
_LARGEST = 1e5  # of an argument of exp; what is beyond has no value that matters here


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right, the fault if it is not, and words about it.

    ``fault`` is "" for a right answer, "empty" for none, "unreadable", "other", or a mistake.
    """

    right: bool
    fault: str
    words: str


def functions(m: Any) -> dict[str, Callable[..., Any]]:
    """Return the functions of formulas in the arithmetic of ``math`` or of an mpmath context."""
    root2 = m.sqrt(2)

    def exp(x: Any) -> Any:
        if x > _LARGEST:
            raise OverflowError(f"exp({float(x):.3g}) is too large")
        return m.exp(x)

    return {
        "exp": exp, "ln": m.log, "sqrt": m.sqrt, "abs": abs, "sin": m.sin, "cos": m.cos,
        "tanh": m.tanh, "sinh": m.sinh, "cosh": m.cosh, "atan": m.atan, "max": max, "min": min,
        "sign": lambda x: (x > 0) - (x < 0), "sigma": lambda z: (1 + m.tanh(z / 2)) / 2,
        "Phi": lambda z: (1 + m.erf(z / root2)) / 2,
        "phi": lambda z: m.exp(-z * z / 2) / m.sqrt(2 * m.pi),
    }  # fmt: skip


def number(text: str) -> float:
    """Return the number that a student typed: -0.25, 0,25, 1/3, 0.5*0.2 or tanh(0.4).

    Raises ValueError where it is not arithmetic, or not a finite number.
    """
    expr = expression(_DECIMAL_COMMA.sub(".", text))
    try:
        value = float(evaluate(expr, {}, functions(math)))
    except KeyError as error:
        raise ValueError(
            f"{text.strip()!r} holds {error.args[0]}; expected numbers alone"
        ) from None
    except (ArithmeticError, ValueError, TypeError):
        raise ValueError(f"{text.strip()!r} has no value; expected a finite number") from None
    if not math.isfinite(value):
        raise ValueError(f"{text.strip()!r} is too large; expected a finite number")
    return value


def expression(text: str, names: Mapping[str, Expr] | None = None) -> Expr:
    """Read arithmetic such as 2*(a1-y1)*g'(z1)*a2.

    Args:
        text: What was typed. ``^`` and ``**`` are powers; w[2][0,1] is the same as w2_01.
        names: The letters that may occur, and what they mean; None takes any.

    Raises:
        ValueError: The text is too long, is not of the grammar, or holds an unknown name.
    """
    if len(text) > LONGEST:
        raise ValueError(f"the answer has {len(text)} characters; expected at most {LONGEST}")
    plain = _BRACKETS.sub(_bracketed, text).translate(_PLAIN).replace("^", "**").strip()
    plain = plain.replace("g'", "g_prime")
    if not plain:
        raise ValueError("the answer is empty; expected a number or a formula")
    try:
        tree = ast.parse(plain, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(
            f"{text.strip()!r} is not a formula; write it like 2*(a1 - y)*0.5, with * for times"
        ) from None
    if sum(1 for _ in ast.walk(tree)) > 4 * _MOST_NODES:
        raise ValueError("the answer is too long; expected a product of a few factors")
    return _read(tree, names, 0)


def _bracketed(match: re.Match[str]) -> str:
    letter, *indices = match.groups()
    first, *units = [index for index in indices if index is not None]
    between = "" if all(len(unit) == 1 for unit in units) else "_"
    return f"{letter}{first}" + (f"_{between.join(units)}" if units else "")


def _read(node: ast.expr, names: Mapping[str, Expr] | None, depth: int) -> Expr:
    if depth > _DEEPEST:
        raise ValueError("the answer is nested too deeply")

    def read(inner: ast.expr) -> Expr:
        return _read(inner, names, depth + 1)

    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            if not abs(value) < 1e12:
                raise ValueError(f"the number {value:.6g} is too large for an answer")
            return Num(value)
        case ast.Name(id=name):
            if names is None:
                return Name(name)
            if name not in names:
                raise ValueError(f"{name!r} is unknown here; known: {', '.join(names)}")
            return names[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return Neg(read(operand))
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return read(operand)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return add(read(left), read(right))
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return add(read(left), Neg(read(right)))
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return mul(read(left), read(right))
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return Div(read(left), read(right))
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return Pow(read(left), Num(_exponent(right)))
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in _FUNCTIONS:
            return Call(_FUNCTIONS[name], (read(argument),))
        case ast.Call(func=ast.Name(id=name)):
            raise ValueError(f"{name}(...) is not a function that is known here; write * for times")
        case ast.Call():
            raise ValueError("two factors stand side by side; write * between them")
    raise ValueError("only numbers, letters, + - * / ^ and parentheses are known")


def _exponent(node: ast.expr) -> float:
    sign = 1
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        sign, node = -1, node.operand
    value = node.value if isinstance(node, ast.Constant) else None
    fits = isinstance(value, int) and not isinstance(value, bool) and value <= _LARGEST_EXPONENT
    if not fits:
        raise ValueError(f"an exponent must be a whole number up to {_LARGEST_EXPONENT}")
    assert isinstance(value, int)
    return sign * value
