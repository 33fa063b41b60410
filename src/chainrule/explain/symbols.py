"""Symbols: the quantities of a network as nodes of a formula.

A symbol holds its meaning (weight, layer 2, from unit 2 to unit 1), not how it is printed:
letters, the first index and the place of indices belong to the notation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
)

Index = int | str  # a unit, counted from 0, or a role: "to", "from", "next", "other", "sample"


@dataclass(frozen=True)
class Quantity(Expr):
    """w, b, z, a, y, m (dropout mask) or s (sample weight), of a layer and units.

    ``layer`` is None for a quantity without one (y, s), and a letter where any layer is meant.
    """

    letter: str
    layer: int | str | None
    units: tuple[Index, ...]


@dataclass(frozen=True)
class LossSymbol(Expr):
    """C (sample None), the loss C_i of one sample, or R, the penalty."""

    sample: Index | None = None
    letter: str = "C"


@dataclass(frozen=True)
class Partial(Expr):
    """∂of/∂by."""

    of: Expr
    by: Expr


@dataclass(frozen=True)
class Differentiate(Expr):
    """∂/∂by in front of an expression."""

    by: Expr
    body: Expr


@dataclass(frozen=True)
class Function(Expr):
    """g^(l)(z), or its derivative g'^(l)(z)."""

    layer: int | str
    argument: Expr
    prime: bool = False


@dataclass(frozen=True)
class Sum(Expr):
    """Σ over the ``count`` units of a layer, or over the samples if ``layer`` is None.

    ``count`` is None where it differs from layer to layer.
    """

    index: Index
    layer: int | None
    count: int | None
    body: Expr


@dataclass(frozen=True)
class Factor(Expr):
    """A term of the chain rule, in parentheses beside the next: (∂C/∂a)(∂a/∂z)."""

    body: Expr
    result: bool = False  # the result of a term, where the terms are combined


@dataclass(frozen=True)
class Iverson(Expr):
    """[m = j]: 1 where the two units are the same, else 0."""

    left: Index
    right: Index


@dataclass(frozen=True)
class Transpose(Expr):
    """The transpose of a matrix or row, which is a `Quantity` or its numbers."""

    matrix: Expr


@dataclass(frozen=True)
class Hadamard(Expr):
    """The product of matrices of one shape, element by element."""

    items: tuple[Expr, ...]


@dataclass(frozen=True)
class Grid(Expr):
    """A matrix, row by row; its cells are numbers, or dots for what is left out."""

    rows: tuple[tuple[Expr, ...], ...]


@dataclass(frozen=True)
class Shape(Expr):
    """The shape of a matrix: rows × columns."""

    rows: int
    columns: int


@dataclass(frozen=True)
class Dots(Expr):
    """The dots for items left out of a sum."""


@dataclass(frozen=True)
class Word(Expr):
    """Words inside a formula, such as "the other 504"."""

    text: str


def quantity(letter: str, layer: int | str | None, *units: Index) -> Quantity:
    """Return the quantity of this letter, layer and units."""
    return Quantity(letter, layer, units)


def fill(formula: Expr, names: dict[str, Expr]) -> Expr:
    """Replace the letters of a formula by expressions."""
    return formula.replace(lambda node: names.get(node.name) if isinstance(node, Name) else None)


def put_numbers(expr: Expr, value_of: Callable[[Quantity], float]) -> Expr:
    """Replace the quantities of an expression by their values."""
    return expr.replace(lambda n: Num(value_of(n)) if isinstance(n, Quantity) else None)


def turn_residual(expr: Expr) -> Expr:
    """Replace a - y by y - a, and collect the signs."""
    match expr:
        case Add((Quantity("a") as a, Neg(Quantity("y") as y))):
            return Neg(Add((y, Neg(a))))
        case Neg(item):
            return negative(turn_residual(item))
        case Mul(items):
            return _signed_product([turn_residual(item) for item in items])
        case Pow(base, Num(exponent)):
            turned = turn_residual(base)
            if isinstance(turned, Neg) and exponent % 2 == 0:
                turned = turned.item
            return Pow(turned, Num(exponent))
        case Call("abs", (argument,)):
            turned = turn_residual(argument)
            return Call("abs", (turned.item if isinstance(turned, Neg) else turned,))
        case Call("sign", (argument,)):
            turned = turn_residual(argument)
            if isinstance(turned, Neg):
                return Neg(Call("sign", (turned.item,)))
            return Call("sign", (turned,))
        case Add(items):
            return Add(tuple(turn_residual(item) for item in items))
        case Div(numerator, denominator):
            upper, lower = turn_residual(numerator), turn_residual(denominator)
            return Neg(Div(upper.item, lower)) if isinstance(upper, Neg) else Div(upper, lower)
        case Cases(Compare(left, relation, right), then, otherwise):
            condition = Compare(turn_residual(left), relation, turn_residual(right))
            return Cases(condition, turn_residual(then), turn_residual(otherwise))
    return expr


def negative(expr: Expr) -> Expr:
    """Return -expr; two minus signs cancel."""
    return expr.item if isinstance(expr, Neg) else Neg(expr)


def _signed_product(items: list[Expr]) -> Expr:
    minus = sum(isinstance(item, Neg) for item in items) % 2
    product = Mul(tuple(item.item if isinstance(item, Neg) else item for item in items))
    return Neg(product) if minus else product
