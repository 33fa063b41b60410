"""Breaking: equations cut into rows that fit on a sheet of A4, before a sign or between factors.

Neither LaTeX nor MathML breaks a formula. Widths are estimates, in em of the formula's font.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chainrule.equations.formulas import Add, Call, Cases, Div, Expr, Mul, Name, Neg, Num, Pow
from chainrule.equations.numbers import format_number
from chainrule.explain.notation import Notation
from chainrule.explain.symbols import (
    Differentiate,
    Factor,
    Function,
    Grid,
    Hadamard,
    LossSymbol,
    Partial,
    Quantity,
    Shape,
    Sum,
    Transpose,
    Word,
)  # fmt: skip
from chainrule.explain.terms import Equation
from chainrule.explain.writer import Writer, starts_below_zero

WIDEST = 40.0  # em; 17 cm of a page in 10 pt hold 48
_SIGN = 1.5  # the equals sign with its gaps
_LETTER, _SMALL = 0.52, 0.42  # of a line, of a subscript
_PARENTHESES = 0.9


@dataclass(frozen=True)
class Row:
    """A row of an equation, as written: what stands left of the sign, the sign, and the rest."""

    left: str
    sign: str
    right: str


def rows(writer: Writer, equation: Equation, widest: float = WIDEST) -> list[Row]:
    """Return an equation as rows, one for each side from the second on, or more if it is too wide.

    A row without a sign goes on with the one before. A left side that leaves too little room for
    the others has a row of its own.
    """
    first, *rest = equation.sides
    notation = writer.notation
    left, start = width(first, notation), writer.write(first)
    wide = max((width(side, notation) for side in rest), default=0.0)
    made: list[Row] = []
    if left + _SIGN + wide > widest and left > widest / 3:
        made = [Row("", "", part) for part in parts(writer, first, widest)]
        left, start = 0.0, ""
    for i, side in enumerate(rest):
        sign = writer.operator("=" if i else equation.relation)
        for n, part in enumerate(parts(writer, side, widest - left - 2 * _SIGN)):
            made.append(Row(start, "" if n else sign, part))
            start = ""
    return made or [Row(start, "", "")]


def parts(writer: Writer, expr: Expr, room: float) -> list[str]:
    """Write an expression in as few rows as fit into the room, cut between its items."""
    notation = writer.notation
    if width(expr, notation) <= room:
        return [writer.write(expr)]
    match expr:
        case Neg(Mul() as product):
            first, *more = parts(writer, product, room - 1)
            return [writer.row([writer.sign("−"), first]), *more]
        case Mul(items):
            return _product(writer, _chunks(items, room, notation, 0.2))
        case Add(items):
            return _sum(writer, _chunks(items, room, notation, 1.4), room)
        case Differentiate(by, Add(items)):
            room -= 1.8 + width(by, notation)
            first, *more = _sum(writer, _chunks(items, room, notation, 1.4), room)
            start, end = writer.plain("("), writer.plain(")")
            made = [writer.row([writer.partial("", writer.write(by)), start, first]), *more]
            return [*made[:-1], writer.row([made[-1], end])]
    return [writer.write(expr)]


def _product(writer: Writer, chunks: Sequence[Sequence[Expr]]) -> list[str]:
    made: list[str] = []
    for first, *more in chunks:
        start = first
        if made and (isinstance(first, Neg) or (isinstance(first, Num) and first.value < 0)):
            start = Factor(first, result=True)  # in parentheses
        written = writer.write(Mul((start, *more)))
        if made and not isinstance(start, Factor):
            written = writer.row([writer.operator("·"), written])
        made.append(written)
    return made


def _sum(writer: Writer, chunks: Sequence[Sequence[Expr]], room: float) -> list[str]:
    made: list[str] = []
    for first, *more in chunks:
        start, minus = _unsigned(first) if made else (first, False)
        sign = [writer.operator("−" if minus else "+")] if made else []
        if more:
            written = [writer.write(Add((start, *more)))]
        else:
            written = parts(writer, start, room - _SIGN)
        made += [writer.row([*sign, written[0]]), *written[1:]]
    return made


def _unsigned(item: Expr) -> tuple[Expr, bool]:
    """Return an item of a sum without the minus sign that it begins with, and whether it had it."""
    match item:
        case Neg(inner) if not isinstance(inner, Add | Cases) and not starts_below_zero(inner):
            return inner, True
        case Neg(inner):
            return Factor(inner, result=True), True  # in parentheses
        case Num(value) if value < 0:
            return Num(-value), True
        case Mul((Num(value), *rest)) if value < 0:
            return Mul((Num(-value), *rest)), True
    return item, False


def _chunks(
    items: Sequence[Expr], room: float, notation: Notation, between: float
) -> list[list[Expr]]:
    """Return the items in groups that fit into the room, or hold one item."""
    chunks: list[list[Expr]] = []
    used = 0.0
    for item in items:
        wide = width(item, notation) + between + _dressed(item)
        if not chunks or used + wide > room:
            chunks.append([])
            used = 0.0
        chunks[-1].append(item)
        used += wide
    return chunks


def width(expr: Expr, notation: Notation) -> float:
    """Return the estimated width of an expression, in em."""
    layer_mark = 2.7 if notation.layer_names == "relative" else 1.3  # (L-1), (1)

    def of(node: Expr) -> float:
        match node:
            case Num(value):
                mantissa, e, exponent = format_number(value, notation.digits).partition("e")
                return _LETTER * len(mantissa) + (2.2 + _SMALL * len(exponent) if e else 0.0)
            case Name():
                return 0.6
            case Word(text):
                return 0.5 * len(text) + 0.6
            case Quantity(_, layer, units):
                below = _SMALL * sum(len(str(u)) if isinstance(u, int) else 1 for u in units)
                return 0.65 + max(below, 0.0 if layer is None else layer_mark)
            case LossSymbol():
                return 1.2
            case Partial(inner, by):
                return max(of(inner), of(by)) + 0.8
            case Differentiate(by, body):
                return of(by) + 1.8 + of(body) + _PARENTHESES
            case Function(_, argument):
                return 2.4 + of(argument)
            case Div(upper, lower):
                return max(of(upper), of(lower)) + 0.3
            case Factor(body):
                return of(body) + _PARENTHESES
            case Sum(_, _, _, body):
                return 1.8 + of(body) + (_PARENTHESES if isinstance(body, Add) else 0.0)
            case Pow(base, exponent):
                bare = isinstance(base, Name)
                return of(base) + 0.7 * of(exponent) + (0.0 if bare else _PARENTHESES)
            case Call(function, arguments):
                return 0.5 * len(function) + _PARENTHESES + sum(map(of, arguments))
            case Cases(condition, then, otherwise):
                sides = of(condition.left) + of(condition.right)
                return 1.0 + max(of(then), of(otherwise)) + 2.5 + sides + 1.0
            case Add(items):
                return sum(of(item) + 1.4 for item in items) - 1.4
            case Mul(items):
                return sum(of(item) + _dressed(item) for item in items)
            case Neg(item):
                return 0.8 + of(item) + _dressed(item)
            case Transpose(matrix):
                return of(matrix) + 0.7
            case Hadamard(items):
                return sum(of(item) + 1.4 for item in items) - 1.4
            case Grid(lines):
                columns = (max(map(of, column)) for column in zip(*lines, strict=True))
                return sum(wide + 0.9 for wide in columns) + 0.6
            case Shape(lines, columns):
                return _LETTER * len(f"{lines}{columns}") + 1.5
        return 1.0 + sum(of(child) + 0.9 for child in node.children())

    return of(expr)


def _dressed(item: Expr) -> float:
    """Return the width of the gap, or of the parentheses, around an item of a product."""
    return _PARENTHESES if isinstance(item, Add | Neg | Num) else 0.2
