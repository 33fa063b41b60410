"""An explanation as Unicode text, for terminals and for `print`."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from chainrule.equations.numbers import format_number
from chainrule.explain.counts import more_samples, sum_of_others
from chainrule.explain.document import is_itself, opened, sections, title_of
from chainrule.explain.terms import Contributions, Equation
from chainrule.explain.text import TextWriter
from chainrule.explain.words import column, headline, setting, shown_samples

if TYPE_CHECKING:
    from chainrule.explain.derivative import Derivative
    from chainrule.explain.document import Section
    from chainrule.explain.worked import Worked

_ROWS = 10
_BREAKS = re.compile(r"(?<=\))(?=[(\[])|(?<=\])(?=\[)|(?<= )(?=[+−·=] )|(?<= )(?=∂[^/]|else )")


def page(why: Derivative, width: int, depth: int) -> str:
    """Return the whole explanation, with no line longer than ``width`` (at least 40)."""
    return "\n".join(_Page(why, max(width, 40), depth).lines()) + "\n"


def worked(example: Worked, width: int) -> str:
    """Return a worked example, with no line longer than ``width`` (at least 40)."""
    writer = TextWriter(example.notation, example.network.sizes, 1)
    lines = written(writer, example.setting(), example.sections(), max(width, 40))
    return "\n".join(lines) + "\n"


def written(writer: TextWriter, setting: str, made: Sequence[Section], width: int) -> Iterator[str]:
    """Return the lines of a setting in words and of sections of equations."""
    layout = _Layout(writer, width)
    yield from layout.fold(setting, 0)
    for section in made:
        yield from ("", section.title)
        for equation in section.equations:
            yield from layout.equation(equation)


class _Layout:
    """Lines of text and equations, none longer than ``width``."""

    def __init__(self, writer: TextWriter, width: int) -> None:
        self.writer, self.width = writer, width

    def equation(self, equation: Equation) -> list[str]:
        lines = self.fold(equation.lead, 2) if equation.lead else []
        sides = [self.writer.write(side) for side in equation.sides]
        signs = ["", f" {equation.relation} ", *[" = "] * len(sides)]
        tag = f"   {equation.tag}" if equation.tag else ""
        whole = (
            "    " + "".join(sign + side for sign, side in zip(signs, sides, strict=False)) + tag
        )
        if len(whole) <= self.width:
            return [*lines, whole]
        start = "    " + sides[0]
        if len(start) > self.width // 3:
            lines += self._wrapped("    ", sides[0])
            start = "     "
        for sign, side in zip(signs[1:], sides[1:], strict=False):
            lines += self._wrapped(start + sign, side)
            start = " " * len(start)
        if len(lines[-1] + tag) <= self.width:
            lines[-1] += tag
        else:
            lines.append(start + tag.strip())
        return lines

    def _wrapped(self, start: str, formula: str) -> list[str]:
        """Break a formula before a sign or between factors, as far outside as possible."""
        indent = " " * (len(start) + 2)
        pieces = [formula]
        for depth in range(5):
            pieces = _split(formula, depth)
            if max(map(len, pieces)) + len(indent) <= self.width:
                break
        lines, line = [], start
        for piece in pieces:
            if (
                len(line) + len(piece.rstrip()) > self.width
                and line.strip()
                and line not in (start, indent)
            ):
                lines.append(line.rstrip())
                line = indent
            line += piece
        return [*lines, line.rstrip()]

    def fold(self, text: str, indent: int) -> list[str]:
        lines: list[str] = []
        for line in text.splitlines():
            start = " " * (indent + len(line) - len(line.lstrip()))
            lines += (
                textwrap.wrap(
                    line.strip(), self.width, initial_indent=start, subsequent_indent=start
                )
                if len(start + line.strip()) > self.width
                else [start + line.strip()]
            )
        return lines


class _Page(_Layout):
    def __init__(self, why: Derivative, width: int, depth: int) -> None:
        super().__init__(TextWriter(why.notation, why.network.sizes, why.n_samples), width)
        self.why, self.depth = why, depth

    def lines(self) -> list[str]:
        why = self.why
        lines = [*self.fold(headline(why, self.writer), 0), *self.fold(setting(why), 0)]
        for section in sections(why):
            symbol = f": {self.writer.write(section.symbol)}" if section.symbol else ""
            lines += ["", section.title + symbol]
            for equation in section.equations:
                lines += self.equation(equation)
            parts = section.term and opened(section.term)
            if parts:
                lines += self._contributions(parts, "  ", self.depth)
            if section.has_samples:
                lines += self._table()
        return [*lines, "", *self.fold(why.certificate.text(self.width).rstrip(), 0)]

    def _contributions(self, parts: Contributions, indent: str, depth: int) -> list[str]:
        if depth < 1:
            return []
        shown, rest = parts.largest(self.why.notation.max_terms)
        many = len(shown) < len(parts)
        lines = [f"{indent}{title_of(parts, len(shown))}"]
        first = self.why.notation.first_index
        for part in shown:
            start = f"{indent}  through unit {part.unit + first:<4} "
            lines += self._wrapped(start, self._product([t.value for t in part.terms], part.value))
            for term in part.terms:
                below = opened(term)
                if below is not None and depth > 1:
                    symbol = self.writer.write(term.symbol)
                    lines.append(f"{indent}      where {symbol} is itself {is_itself(term)}:")
                    lines += self._contributions(below, indent + "      ", depth - 1)
        if many:
            left = len(parts) - len(shown)
            lines.append(f"{indent}  {sum_of_others(left)}: {self.writer.number(rest)}")
        return lines

    def _product(self, factors: Sequence[float], product: float) -> str:
        number = self.writer.number
        return "".join(f"({number(factor)})" for factor in factors) + f" = {number(product)}"

    def _table(self) -> list[str]:
        """Return the numbers of the samples in columns, or as products if these are too wide."""
        why, digits = self.why, self.why.notation.digits
        symbols = [self.writer.write(column(why, term)) for term in why.terms]
        shown = shown_samples(why, _ROWS)
        average = float(why.products.mean())
        left = why.n_samples - len(shown)
        more = [f"    ... {more_samples(left)}"] if left else []
        labels = [str(row.index + why.notation.first_index) for row in shown]

        heads = ["sample", *symbols, "product"]
        rows = [
            [label, *(format_number(number, digits) for number in (*row.terms, row.product))]
            for label, row in zip(labels, shown, strict=True)
        ]
        mean = ["mean", *[""] * len(symbols), format_number(average, digits)]
        widths = [max(map(len, cells)) for cells in zip(heads, *rows, mean, strict=True)]
        if sum(widths) + 2 * len(widths) + 2 <= self.width:
            heads, *rows, mean = (
                ["    " + "  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True))]
                for row in (heads, *rows, mean)
            )
            return [line for row in (heads, *rows, more, mean) for line in row]

        lines = self._wrapped("    sample  ", "".join(f"({s})" for s in symbols) + " = product")
        for label, row in zip(labels, shown, strict=True):
            lines += self._wrapped(f"    {label:>6}  ", self._product(row.terms, row.product))
        return [*lines, *more, f"      mean  {self.writer.number(average)}"]


def _split(formula: str, depth: int) -> list[str]:
    """Cut a formula where it may be broken, inside at most ``depth`` parentheses."""
    pieces, last = [], 0
    for match in _BREAKS.finditer(formula):
        before = formula[: match.start()]
        inside = sum(before.count(c) for c in "([{") - sum(before.count(c) for c in ")]}")
        if inside <= depth:
            pieces.append(formula[last : match.start()])
            last = match.start()
    return [*pieces, formula[last:]]
