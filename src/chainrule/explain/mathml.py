"""MathML: formulas that browsers draw without a script (MathML Core)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from html import escape

from chainrule.equations.numbers import format_number
from chainrule.explain.writer import Writer

_LETTERS = {
    "lambda": "<mi>λ</mi>",
    "eta": "<mi>η</mi>",
    "mean_s": '<mover accent="true"><mi>s</mi><mo stretchy="false">¯</mo></mover>',
    "sum_w2": "<mo>∑</mo><msup><mi>w</mi><mn>2</mn></msup>",
}
_NAMES = {"sigma": "σ", "Phi": "Φ", "phi": "φ"}
_SPACE = "\u00a0"  # browsers drop other spaces at the ends of mtext
_OPERATORS = {"<=": "≤", ">=": "≥"}


class MathmlWriter(Writer):
    """A writer of MathML Core, without the outer ``<math>``."""

    def number(self, value: float) -> str:
        text = format_number(value, self.notation.digits)
        sign = '<mo form="prefix">−</mo>' if text.startswith("-") else ""
        text = text.lstrip("-").replace("inf", "∞")
        mantissa, e, exponent = text.partition("e")
        if not e:
            return f"{sign}<mn>{text}</mn>"
        power = (
            f'<mo form="prefix">−</mo><mn>{-int(exponent)}</mn>'
            if int(exponent) < 0
            else f"<mn>{int(exponent)}</mn>"
        )
        ten = f"<msup><mn>10</mn><mrow>{power}</mrow></msup>"
        return f"<mrow>{sign}<mn>{mantissa}</mn><mo>×</mo>{ten}</mrow>"

    def plain(self, index: str) -> str:
        return _marks(index)

    def letter(self, name: str) -> str:
        return _LETTERS.get(name, f"<mi>{escape(name)}</mi>")

    def word(self, text: str) -> str:
        return f"<mtext>{_SPACE}{escape(text)}</mtext>"

    def dots(self) -> str:
        return "<mo>⋯</mo>"

    def comma(self) -> str:
        return '<mo separator="true">,</mo>'

    def symbol(self, letter: str, below: str, above: str) -> str:
        return _scripts(f"<mi>{escape(letter)}</mi>", below, above)

    def function(self, above: str, prime: bool) -> str:
        name = '<mrow><mi>g</mi><mo form="postfix">′</mo></mrow>' if prime else "<mi>g</mi>"
        return _scripts(name, "", above)

    def function_name(self, name: str) -> str:
        return f"<mi>{_NAMES.get(name, name)}</mi>"

    def partial(self, of: str, by: str) -> str:
        return f"<mfrac><mrow><mo>∂</mo>{of}</mrow><mrow><mo>∂</mo>{by}</mrow></mfrac>"

    def fraction(self, upper: str, lower: str, long_upper: bool, long_lower: bool) -> str:
        return f"<mfrac><mrow>{upper}</mrow><mrow>{lower}</mrow></mfrac>"

    def power(self, base: str, exponent: str) -> str:
        return f"<msup><mrow>{base}</mrow><mrow>{exponent}</mrow></msup>"

    def exponential(self, exponent: str) -> str:
        return f"<msup><mi>e</mi><mrow>{exponent}</mrow></msup>"

    def root(self, inside: str) -> str:
        return f"<msqrt>{inside}</msqrt>"

    def group(self, left: str, inside: str, right: str) -> str:
        return f'<mrow><mo form="prefix">{left}</mo>{inside}<mo form="postfix">{right}</mo></mrow>'

    def cases(self, then: str, condition: str, otherwise: str) -> str:
        rows = (
            f"<mtr><mtd>{then}</mtd><mtd><mtext>if{_SPACE}</mtext>{condition}</mtd></mtr>"
            f"<mtr><mtd>{otherwise}</mtd><mtd><mtext>else</mtext></mtd></mtr>"
        )
        return f'<mrow><mo form="prefix">{{</mo><mtable>{rows}</mtable></mrow>'

    def big_sum(self, index: str, first: str, last: str, body: str) -> str:
        under = f"<mrow><mi>{escape(index)}</mi><mo>=</mo>{_marks(first)}</mrow>"
        over = f"<mrow>{_marks(last)}</mrow>"
        return f"<mrow><munderover><mo>∑</mo>{under}{over}</munderover>{body}</mrow>"

    def grid(self, rows: Sequence[Sequence[str]]) -> str:
        inside = "".join(
            "<mtr>" + "".join(f"<mtd>{cell}</mtd>" for cell in row) + "</mtr>" for row in rows
        )
        return self.group("(", f"<mtable>{inside}</mtable>", ")")

    def operator(self, mark: str) -> str:
        return f"<mo>{escape(_OPERATORS.get(mark, mark))}</mo>"

    def sign(self, mark: str) -> str:
        return f'<mo form="prefix">{mark}</mo>'

    def gap(self, closed_before: bool, closed_after: bool) -> str:
        return "" if closed_before and closed_after else '<mspace width="0.17em"/>'

    def row(self, parts: Sequence[str]) -> str:
        return "<mrow>" + "".join(parts) + "</mrow>"


def _scripts(base: str, below: str, above: str) -> str:
    lower, upper = f"<mrow>{_marks(below)}</mrow>", f"<mrow>{_marks(above)}</mrow>"
    if below and above:
        return f"<msubsup>{base}{lower}{upper}</msubsup>"
    if below:
        return f"<msub>{base}{lower}</msub>"
    return f"<msup>{base}{upper}</msup>" if above else base


@lru_cache(maxsize=4096)
def _marks(text: str) -> str:
    """Return an index as MathML numbers, letters and operators."""
    marks, number = "", ""
    for c in text + " ":
        if c.isdigit():
            number += c
            continue
        if number:
            marks, number = marks + f"<mn>{number}</mn>", ""
        if c.isalpha():
            marks += f"<mi>{c}</mi>"
        elif c != " ":
            fence = ' stretchy="false"' if c in "()" else ""
            marks += f"<mo{fence}>{escape('−' if c == '-' else c)}</mo>"
    return marks
