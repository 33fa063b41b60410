"""Writers: from expression trees to marks on a page, in one notation.

The base class decides what is written: letters, indices, parentheses, order. A subclass decides
how: as Unicode text, LaTeX or MathML. Writers never compute.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache

from chainrule.equations.formulas import Add, Call, Cases, Div, Expr, Mul, Name, Neg, Num, Pow
from chainrule.equations.numbers import format_number
from chainrule.explain.notation import Notation
from chainrule.explain.symbols import (
    Differentiate,
    Dots,
    Factor,
    Function,
    Grid,
    Hadamard,
    Index,
    Iverson,
    LossSymbol,
    Partial,
    Quantity,
    Shape,
    Sum,
    Transpose,
    Word,
)  # fmt: skip

_ROLES = {
    "to": "to_index",
    "from": "from_index",
    "next": "next_index",
    "other": "other_index",
    "sample": "sample_index",
}


class Writer(ABC):
    """A writer of expressions, for a network of these sizes, in one notation.

    The samples of expressions are counted from 0; the writer counts them from ``first_sample``, the
    place of the first one in the whole data.
    """

    def __init__(
        self, notation: Notation, sizes: Sequence[int], n_samples: int = 1, first_sample: int = 0
    ) -> None:
        self.notation, self.sizes, self.n_samples = notation, tuple(sizes), n_samples
        self.first_sample = first_sample
        self._known = lru_cache(maxsize=4096)(self._quantity)
        single = all(units == 1 for units in self.sizes)
        self._hide_units = single and notation.single_units == "hide"

    def write(self, expr: Expr) -> str:
        """Write an expression."""
        match expr:
            case Num(value):
                return self.number(value)
            case Name(name):
                return self.letter(name)
            case Word(text):
                return self.word(text)
            case Dots():
                return self.dots()
            case Quantity():
                return self._known(expr)
            case Transpose(Quantity() as matrix):
                return self._quantity(matrix, "⊤")
            case Transpose(matrix):
                return self.power(self.write(matrix), self.plain("⊤"))
            case Hadamard(items):
                return self._hadamard(items)
            case Grid(rows):
                return self.grid([[self.write(cell) for cell in row] for row in rows])
            case Shape(rows, columns):
                size = [self.plain(str(rows)), self.operator("×"), self.plain(str(columns))]
                return self.group("(", self.row(size), ")")
            case LossSymbol(sample, letter):
                return self._loss(sample, letter)
            case Partial(of, by):
                return self.partial(self.write(of), self.write(by))
            case Differentiate(by, body):
                bare = isinstance(body, Mul | Quantity)
                written = self.write(body) if bare else self.group("(", self.write(body), ")")
                return self.row([self.partial("", self.write(by)), written])
            case Function(layer, argument, prime):
                name = self.function(self._layer_mark(layer), prime)
                return self.row([name, self.group("(", self.write(argument), ")")])
            case Add(items):
                return self._add(items)
            case Neg(item):
                written = self._enclosed(item, Add, Cases)
                if starts_below_zero(item):
                    written = self.group("(", written, ")")
                return self.row([self.sign("−"), written])
            case Mul(items):
                return self._mul(items)
            case Div(numerator, denominator):
                return self._fraction(numerator, denominator)
            case Pow(base, exponent):
                return self._power(base, exponent)
            case Call(function, arguments):
                return self._call(function, arguments)
            case Cases(condition, then, otherwise):
                written = self.row([
                    self.write(condition.left), self.operator(condition.relation),
                    self.write(condition.right),
                ])  # fmt: skip
                return self.cases(self.write(then), written, self.write(otherwise))
            case Sum():
                return self._sum(expr)
            case Factor(body, result):
                return self._factor(body, result, first=False)
            case Iverson(left, right):
                inside = [
                    self.plain(self._index(left)),
                    self.operator("="),
                    self.plain(self._index(right)),
                ]
                return self.group("[", self.row(inside), "]")
        raise TypeError(f"there is no rule to write an expression of type {type(expr).__name__}")

    def write_equation(self, sides: Sequence[Expr], relation: str = "=") -> str:
        """Write the sides in a row, the first two joined by ``relation``, the others by =."""
        parts = [self.write(sides[0])]
        for i, side in enumerate(sides[1:]):
            parts += [self.operator("=" if i else relation), self.write(side)]
        return self.row(parts)

    # --- what is written ------------------------------------------------------------------------

    def _quantity(self, q: Quantity, mark: str = "") -> str:
        letter, layer, units = q.letter, q.layer, q.units
        if letter == "a":
            letter = self.notation.activation
            if layer == 0 and self.notation.input is not None:
                letter, layer = self.notation.input, None
        if self._hide_units and letter != "s":
            return self.symbol(letter, "" if layer is None else self._layer(layer), mark)
        if letter == "s":
            units = tuple(map(self._of_data, units))
        labels = [self._index(unit) for unit in units]
        between = "" if all(len(label) == 1 for label in labels) else ","
        return self.symbol(letter, between.join(labels), self._layer_mark(layer) + mark)

    def _hadamard(self, items: Sequence[Expr]) -> str:
        parts: list[str] = []
        for item in items:
            written = self._enclosed(item, Add, Neg, Mul)
            parts += [self.operator("⊙"), written] if parts else [written]
        return self.row(parts)

    def _loss(self, sample: Index | None, letter: str) -> str:
        if letter == "R":
            return self.symbol("R", "", "")
        if sample is None or (not self.notation.name_sample and self.n_samples == 1):
            return self.symbol(self.notation.loss, "", "")
        return self.symbol(self.notation.loss, self._index(self._of_data(sample)), "")

    def _of_data(self, sample: Index) -> Index:
        """Return a sample of the batch as one of the whole data."""
        return sample + self.first_sample if isinstance(sample, int) else sample

    def _layer(self, layer: int | str) -> str:
        if isinstance(layer, str) or self.notation.layer_names == "number":
            return str(layer)
        below = len(self.sizes) - 1 - layer
        return f"L-{below}" if below else "L"

    def _layer_mark(self, layer: int | str | None) -> str:
        if layer is None:
            return ""
        if self._hide_units:
            return ""
        name = self._layer(layer)
        return f"({name})" if self.notation.layer_above == "(l)" else name

    def _index(self, unit: Index) -> str:
        if isinstance(unit, int):
            return str(unit + self.notation.first_index)
        return str(getattr(self.notation, _ROLES[unit]))

    def _add(self, items: Sequence[Expr]) -> str:
        parts = [self.write(items[0])]
        for item in items[1:]:
            if isinstance(item, Neg):
                written = self._enclosed(item.item, Add, Cases)
                if starts_below_zero(item.item):
                    written = self.group("(", written, ")")
                parts += [self.operator("−"), written]
            elif isinstance(item, Num) and item.value < 0:
                parts += [self.operator("−"), self.number(-item.value)]
            elif (
                isinstance(item, Mul) and isinstance(item.items[0], Num) and item.items[0].value < 0
            ):
                first = Num(-item.items[0].value)
                parts += [self.operator("−"), self.write(Mul((first, *item.items[1:])))]
            else:
                parts += [self.operator("+"), self._enclosed(item, Cases)]
        return self.row(parts)

    def _mul(self, items: Sequence[Expr]) -> str:
        parts: list[str] = []
        for i, item in enumerate(items):
            if isinstance(item, Factor):
                written = self._factor(item.body, item.result, first=i == 0)
            elif (_below_zero(item) and i > 0) or (isinstance(item, Sum) and i < len(items) - 1):
                written = self.group("(", self.write(item), ")")
            else:
                written = self._enclosed(item, Add, Cases, *([Neg] if i else []))
            if i and self._needs_dot(items[i - 1], item):
                parts.append(self.operator("·"))
            elif i:
                parts.append(self.gap(self._is_closed(items[i - 1]), self._is_closed(item)))
            parts.append(written)
        return self.row(parts)

    @staticmethod
    def _needs_dot(before: Expr, item: Expr) -> bool:
        numeric = isinstance(item, Num) and item.value >= 0
        return numeric or (isinstance(before, Num) and isinstance(item, Pow | Div))

    def _is_closed(self, item: Expr) -> bool:
        """Return whether an item has parentheses, and so needs no gap beside it."""
        if isinstance(item, Factor):
            bare = self.notation.factors == "" and not isinstance(item.body, Num)
            return item.result or not bare
        return isinstance(item, Add | Num | Neg | Grid | Shape)

    def _factor(self, body: Expr, result: bool, first: bool) -> str:
        if not result:
            written = self.write(body)
            plain = self.notation.factors == "" and not isinstance(body, Num)
            return written if plain else self.group("(", written, ")")
        if self.notation.results == "[ ]":
            return self.group("[", self.write(body), "]")
        if first and isinstance(body, Mul) and isinstance(body.items[0], Num):
            return self.write(body)
        return self.group("(", self.write(body), ")")

    def _fraction(self, numerator: Expr, denominator: Expr) -> str:
        return self.fraction(
            self.write(numerator), self.write(denominator),
            not self._is_atom(numerator), not self._is_atom(denominator),
        )  # fmt: skip

    def _power(self, base: Expr, exponent: Expr) -> str:
        if isinstance(base, Call) and base.function in ("tanh", "sin", "cos", "sinh", "cosh"):
            name = self.power(self.function_name(base.function), self.write(exponent))
            return self.row([name, self.group("(", self.write(base.arguments[0]), ")")])
        written = self.write(base)
        if not (isinstance(base, Name) or self._is_plain_number(base)):
            written = self.group("(", written, ")")
        return self.power(written, self.write(exponent))

    def _call(self, function: str, arguments: Sequence[Expr]) -> str:
        written = [self.write(argument) for argument in arguments]
        if function == "abs":
            return self.group("|", written[0], "|")
        if function == "exp":
            return self.exponential(written[0])
        if function == "sqrt":
            return self.root(written[0])
        inside = written[0]
        for more in written[1:]:
            inside = self.row([inside, self.comma(), more])
        return self.row([self.function_name(function), self.group("(", inside, ")")])

    def _sum(self, node: Sum) -> str:
        in_letters = "n-1" if self.notation.first_index == 0 else "n"
        shift = self.first_sample if node.layer is None else 0
        first = self.notation.first_index + shift
        in_numbers = self.notation.counts == "number" or bool(shift)
        upper = in_letters
        if node.count is not None and in_numbers:
            upper = str(node.count - 1 + first)
        body = self._enclosed(node.body, Add)
        return self.big_sum(self._index(node.index), str(first), upper, body)

    def _enclosed(self, expr: Expr, *kinds: type[Expr]) -> str:
        written = self.write(expr)
        return self.group("(", written, ")") if isinstance(expr, kinds) else written

    def _is_plain_number(self, expr: Expr) -> bool:
        """Return whether an expression is a number without a sign or a power of ten."""
        if not isinstance(expr, Num):
            return False
        return expr.value >= 0 and "e" not in format_number(expr.value, self.notation.digits)

    @staticmethod
    def _is_atom(expr: Expr) -> bool:
        return isinstance(expr, Name | Quantity | LossSymbol | Call | Function) or (
            isinstance(expr, Num) and expr.value >= 0
        )

    # --- how it is written ----------------------------------------------------------------------

    @abstractmethod
    def number(self, value: float) -> str:
        """Write a number with the significant digits of the notation."""

    @abstractmethod
    def plain(self, index: str) -> str:
        """Write an index letter or number as it is."""

    @abstractmethod
    def letter(self, name: str) -> str:
        """Write a letter, or one of the names "lambda", "eta", "mean_s", "sum_w2"."""

    @abstractmethod
    def word(self, text: str) -> str:
        """Write a text inside a formula."""

    @abstractmethod
    def dots(self) -> str:
        """Write the dots for items left out."""

    @abstractmethod
    def comma(self) -> str:
        """Write the comma between arguments."""

    @abstractmethod
    def symbol(self, letter: str, below: str, above: str) -> str:
        """Write a letter with a subscript and a superscript."""

    @abstractmethod
    def function(self, above: str, prime: bool) -> str:
        """Write g or g' with a superscript."""

    @abstractmethod
    def function_name(self, name: str) -> str:
        """Write the name of a function of `formulas`."""

    @abstractmethod
    def partial(self, of: str, by: str) -> str:
        """Write ∂of/∂by, or the operator ∂/∂by if ``of`` is empty."""

    @abstractmethod
    def fraction(self, upper: str, lower: str, long_upper: bool, long_lower: bool) -> str:
        """Write a fraction; a long part is more than one symbol."""

    @abstractmethod
    def power(self, base: str, exponent: str) -> str:
        """Write a power."""

    @abstractmethod
    def exponential(self, exponent: str) -> str:
        """Write e to the power of something."""

    @abstractmethod
    def root(self, inside: str) -> str:
        """Write a square root."""

    @abstractmethod
    def group(self, left: str, inside: str, right: str) -> str:
        """Write something between a pair of parentheses, brackets or bars."""

    @abstractmethod
    def cases(self, then: str, condition: str, otherwise: str) -> str:
        """Write a choice between two expressions by a condition."""

    @abstractmethod
    def big_sum(self, index: str, first: str, last: str, body: str) -> str:
        """Write Σ with its bounds and body."""

    @abstractmethod
    def grid(self, rows: Sequence[Sequence[str]]) -> str:
        """Write a matrix whose cells are written already."""

    @abstractmethod
    def operator(self, mark: str) -> str:
        """Write an operator between two operands."""

    @abstractmethod
    def sign(self, mark: str) -> str:
        """Write a sign before an operand."""

    @abstractmethod
    def gap(self, closed_before: bool, closed_after: bool) -> str:
        """Write the space between two factors, each with or without parentheses."""

    @abstractmethod
    def row(self, parts: Sequence[str]) -> str:
        """Write parts one after the other."""


def starts_below_zero(expr: Expr) -> bool:
    """Return whether an expression starts with a negative number."""
    return _below_zero(expr.items[0] if isinstance(expr, Mul) else expr)


def _below_zero(expr: Expr) -> bool:
    return isinstance(expr, Num) and expr.value < 0
