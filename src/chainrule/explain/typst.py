"""Typst: formulas for the typesetter that writes PDF."""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.equations.numbers import format_number
from chainrule.explain.writer import Writer

_LETTERS = {"lambda": "lambda", "eta": "eta", "mean_s": "macron(s)", "sum_w2": "sum w^2"}
_NAMES = {
    "sigma": "sigma", "Phi": "Phi", "phi": "phi.alt", "ln": "ln", "sin": "sin", "cos": "cos",
    "tanh": "tanh", "sinh": "sinh", "cosh": "cosh", "atan": "arctan", "max": "max", "min": "min",
    "sign": 'op("sign")',
}  # fmt: skip
_OPERATORS = {"−": "-", "·": "dot", "<=": "<=", ">=": ">=", "←": "<-", ">": ">", "<": "<",
              "×": "times"}  # fmt: skip


class TypstWriter(Writer):
    """A writer of Typst's math, without the dollar signs."""

    def number(self, value: float) -> str:
        text = format_number(value, self.notation.digits)
        if "inf" in text:
            return text.replace("inf", "infinity")
        mantissa, e, exponent = text.partition("e")
        return f"{mantissa} times 10^({int(exponent)})" if e else text

    def plain(self, index: str) -> str:
        return _marks(index)

    def letter(self, name: str) -> str:
        return _LETTERS.get(name) or _marks(name)

    def word(self, text: str) -> str:
        return f" {quoted(text)} "

    def dots(self) -> str:
        return "dots.c"

    def comma(self) -> str:
        return ", "

    def symbol(self, letter: str, below: str, above: str) -> str:
        lower = f"_({_marks(below)})" if below else ""
        upper = f"^({_marks(above)})" if above else ""
        return f"{_marks(letter)}{lower}{upper}"

    def function(self, above: str, prime: bool) -> str:
        name = "g'" if prime else "g"
        return f"{name}^({_marks(above)})" if above else name

    def function_name(self, name: str) -> str:
        return _NAMES.get(name) or f"op({quoted(name)})"

    def partial(self, of: str, by: str) -> str:
        return f"(partial {of})/(partial {by})" if of else f"partial/(partial {by})"

    def fraction(self, upper: str, lower: str, long_upper: bool, long_lower: bool) -> str:
        return f"({upper})/({lower})"

    def power(self, base: str, exponent: str) -> str:
        return f"{base}^({exponent})"

    def exponential(self, exponent: str) -> str:
        return f"e^({exponent})"

    def root(self, inside: str) -> str:
        return f"sqrt({inside})"

    def group(self, left: str, inside: str, right: str) -> str:
        if left == "|":
            return f"abs({inside})"
        return f"lr({left} {inside} {right})"

    def cases(self, then: str, condition: str, otherwise: str) -> str:
        return f'cases({then} & "if " {condition}, {otherwise} & "else")'

    def big_sum(self, index: str, first: str, last: str, body: str) -> str:
        return f"sum_({_marks(index)} = {_marks(first)})^({_marks(last)}) {body}"

    def grid(self, rows: Sequence[Sequence[str]]) -> str:
        return f"mat({'; '.join(', '.join(row) for row in rows)})"

    def operator(self, mark: str) -> str:
        return f" {_OPERATORS.get(mark, mark)} "

    def sign(self, mark: str) -> str:
        return "-"

    def gap(self, closed_before: bool, closed_after: bool) -> str:
        return " "

    def row(self, parts: Sequence[str]) -> str:
        return " ".join(parts)


def quoted(text: str) -> str:
    """Return a text as a Typst string, in which nothing is a command."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _marks(text: str) -> str:
    """Return an index or a letter with spaces between, so that no two make a name."""
    if text.isdigit() or (len(text) == 1 and text.isalpha()):
        return text
    parts: list[str] = []
    for c in text:
        if parts and c.isdigit() and parts[-1].isdigit():
            parts[-1] += c
        else:
            parts.append("," if c == "," else c)
    if text.startswith("(") and text.endswith(")"):  # Typst drops one pair of a script
        return f"lr({' '.join(parts)})"
    return " ".join(parts)
