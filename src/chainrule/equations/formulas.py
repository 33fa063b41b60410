"""Formulas: expressions as trees, and the small language in which g and C_i state themselves.

An activation says ``formula = "tanh(z)"`` and a loss ``formula = "(a - y)**2"``. The same text is
printed by every renderer and evaluated with 30 digits by the certificate, so that what a reader
sees is what was proven. The language is Python's arithmetic: numbers, names, ``+ - * / **``,
calls of the functions below, and ``A if z > 0 else B``. ``" = "`` joins equal forms of one thing:
``"1 - tanh(z)**2 = 1 - a**2"``.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

FUNCTIONS = {
    "exp": "e to the power of",
    "ln": "natural logarithm",
    "sqrt": "square root",
    "abs": "absolute value",
    "sign": "-1, 0 or 1",
    "sin": "sine",
    "cos": "cosine",
    "tanh": "hyperbolic tangent",
    "sinh": "hyperbolic sine",
    "cosh": "hyperbolic cosine",
    "atan": "arc tangent",
    "sigma": "logistic function 1 / (1 + exp(-z))",
    "Phi": "distribution function of the standard normal",
    "phi": "density of the standard normal",
    "max": "largest of its arguments",
    "min": "smallest of its arguments",
}


@dataclass(frozen=True)
class Expr:
    """A node of an expression tree."""

    def children(self) -> Iterator[Expr]:
        """Return the nodes directly below this one, from left to right."""
        for name in self.__dataclass_fields__:  # `fields` is slow
            value = getattr(self, name)
            if isinstance(value, Expr):
                yield value
            elif isinstance(value, tuple):
                yield from (item for item in value if isinstance(item, Expr))

    def replace(self, change: Callable[[Expr], Expr | None]) -> Expr:
        """Return this tree with every node replaced for which ``change`` returns a node."""
        new = change(self)
        if new is not None:
            return new
        values: dict[str, Any] = {}
        for name in self.__dataclass_fields__:  # `fields` is slow
            value = getattr(self, name)
            if isinstance(value, Expr):
                value = value.replace(change)
            elif isinstance(value, tuple):
                value = tuple([v.replace(change) if isinstance(v, Expr) else v for v in value])
            values[name] = value
        return type(self)(**values)


@dataclass(frozen=True)
class Num(Expr):
    """A number; an integer is printed exactly, a float with the notation's digits."""

    value: float


@dataclass(frozen=True)
class Name(Expr):
    """A letter: z, a, y, or one that a user's formula brings along."""

    name: str


@dataclass(frozen=True)
class Add(Expr):
    """A sum; a subtracted item is a `Neg`."""

    items: tuple[Expr, ...]


@dataclass(frozen=True)
class Neg(Expr):
    """The negative of an item."""

    item: Expr


@dataclass(frozen=True)
class Mul(Expr):
    """A product."""

    items: tuple[Expr, ...]


@dataclass(frozen=True)
class Div(Expr):
    """A fraction."""

    numerator: Expr
    denominator: Expr


@dataclass(frozen=True)
class Pow(Expr):
    """A power."""

    base: Expr
    exponent: Expr


@dataclass(frozen=True)
class Call(Expr):
    """A function of one or more arguments."""

    function: str
    arguments: tuple[Expr, ...]


@dataclass(frozen=True)
class Compare(Expr):
    """A condition such as z > 0."""

    left: Expr
    relation: str
    right: Expr


@dataclass(frozen=True)
class Cases(Expr):
    """``then`` where the condition holds, else ``otherwise``."""

    condition: Compare
    then: Expr
    otherwise: Expr


_RELATIONS: dict[type[ast.cmpop], str] = {
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Lt: "<",
    ast.LtE: "<=",
}
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


@lru_cache(maxsize=256)  # an explanation asks for the same few again and again
def parse(text: str) -> tuple[Expr, ...]:
    """Read a formula; its equal forms in order.

    Raises ValueError where the text is not of this module's language.
    """
    return tuple(_parse_one(form.strip()) for form in text.split(" = "))


def _parse_one(text: str) -> Expr:
    try:
        return _from_ast(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"formula {text!r}: {error}") from None


def _from_ast(node: ast.expr) -> Expr:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return Num(value)
        case ast.Name(id=name):
            return Name(name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return Neg(_from_ast(operand))
        case ast.BinOp(left=left, op=op, right=right):
            return _binary(op, _from_ast(left), _from_ast(right))
        case ast.Call(func=ast.Name(id=name), args=[_, *_] as args, keywords=[]):
            if name not in FUNCTIONS:
                raise ValueError(f"unknown function {name!r}; known: {', '.join(FUNCTIONS)}")
            return Call(name, tuple(_from_ast(arg) for arg in args))
        case ast.IfExp(test=ast.Compare(left=left, ops=[op], comparators=[right])) if (
            type(op) in _RELATIONS
        ):
            condition = Compare(_from_ast(left), _RELATIONS[type(op)], _from_ast(right))
            return Cases(condition, _from_ast(node.body), _from_ast(node.orelse))
    raise ValueError(f"{ast.unparse(node)!r} is not arithmetic of this language")


def _binary(op: ast.operator, left: Expr, right: Expr) -> Expr:
    match op:
        case ast.Add():
            return add(left, right)
        case ast.Sub():
            return add(left, Neg(right))
        case ast.Mult() if isinstance(left, Neg):
            return Neg(mul(left.item, right))  # -2 z is read as -(2 z)
        case ast.Mult():
            return mul(left, right)
        case ast.Div() if isinstance(left, Neg):
            return Neg(Div(left.item, right))
        case ast.Div():
            return Div(left, right)
        case ast.Pow():
            return Pow(left, right)
    raise ValueError("only + - * / ** are known")


def add(*items: Expr) -> Expr:
    """Return the sum of the items, with nested sums opened."""
    flat: list[Expr] = []
    for item in items:
        flat.extend(item.items if isinstance(item, Add) else (item,))
    return flat[0] if len(flat) == 1 else Add(tuple(flat))


def mul(*items: Expr) -> Expr:
    """Return the product of the items, with nested products opened."""
    flat: list[Expr] = []
    for item in items:
        flat.extend(item.items if isinstance(item, Mul) else (item,))
    return flat[0] if len(flat) == 1 else Mul(tuple(flat))


def evaluate(
    expr: Expr, names: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]]
) -> Any:
    """Compute an expression in the arithmetic of ``functions``.

    ``functions`` maps the names of `FUNCTIONS`, and "where" (condition, then, otherwise) for
    arithmetics on arrays; without "where" only the branch that holds is computed. "number", if
    given, turns a literal into a number of that arithmetic.
    """

    def value(node: Expr) -> Any:
        match node:
            case Num(number):
                return functions["number"](number) if "number" in functions else number
            case Name(name):
                return names[name]
            case Add(items):
                total = value(items[0])
                for item in items[1:]:
                    total = (
                        total - value(item.item) if isinstance(item, Neg) else total + value(item)
                    )
                return total
            case Neg(item):
                return -value(item)
            case Mul(items):
                product = value(items[0])
                for item in items[1:]:
                    product = product * value(item)
                return product
            case Div(numerator, denominator):
                return value(numerator) / value(denominator)
            case Pow(base, Num(exponent)):
                return value(base) ** exponent
            case Pow(base, exponent):
                return value(base) ** value(exponent)
            case Call(function, arguments):
                return functions[function](*(value(argument) for argument in arguments))
            case Cases(Compare(left, relation, right), then, otherwise):
                holds = _COMPARE[relation](value(left), value(right))
                if "where" in functions:
                    return functions["where"](holds, value(then), value(otherwise))
                return value(then) if holds else value(otherwise)
        raise TypeError(f"{type(node).__name__} can't be evaluated")

    return value(expr)


def names_in(expr: Expr) -> set[str]:
    """Return the letters that occur in an expression."""
    found = {expr.name} if isinstance(expr, Name) else set()
    for child in expr.children():
        found |= names_in(child)
    return found


def check_formulas(own: Any, first: set[str], later: set[str]) -> None:
    """Raise ValueError unless a user's class states a name and formulas in the letters allowed."""
    kind = type(own).__name__
    stated = ["name", "formula", "derivative_formula"]
    if getattr(own, "log_derivative_formula", None) is not None:
        stated.append("log_derivative_formula")
    for attribute in stated:
        text = getattr(own, attribute, None)
        if not isinstance(text, str) or not text:
            raise ValueError(f"{kind}.{attribute} must be a text, got {text!r}")
        if attribute == "name":
            continue
        for i, form in enumerate(parse(text)):
            letters = first if i == 0 else later
            if strange := names_in(form) - letters:
                raise ValueError(
                    f"{kind}.{attribute} = {text!r}: unknown letter {sorted(strange)[0]!r}; "
                    f"form {i + 1} may use {', '.join(sorted(letters))}"
                )
