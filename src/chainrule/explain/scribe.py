"""Scribe: equations as MathML and text, for the page of the explorer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TypedDict

from chainrule.equations.formulas import Expr
from chainrule.explain import notation as notations
from chainrule.explain.mathml import MathmlWriter
from chainrule.explain.notation import Notation
from chainrule.explain.terms import Equation
from chainrule.explain.text import TextWriter

_LASTING = 4096  # equations kept in writing
_MATH = "http://www.w3.org/1998/Math/MathML"


class EquationView(TypedDict):
    """An equation, the words before it, and the target that a click on it opens."""

    lead: str
    mathml: str
    text: str
    target: str


class Scribe:
    """A writer of a network's equations, as MathML and as text."""

    def __init__(
        self, notation: Notation, sizes: Sequence[int], n_samples: int = 1, first_sample: int = 0
    ) -> None:
        self.notation = notation
        self.writer = MathmlWriter(notation, sizes, n_samples, first_sample)
        self._text = TextWriter(notation, sizes, n_samples, first_sample)
        self._lasting: dict[Equation, EquationView] = {}

    def letters(self, equation: Equation) -> EquationView:
        """Return an equation without measured numbers, written once for all steps of training."""
        if equation not in self._lasting:
            if len(self._lasting) >= _LASTING:
                self._lasting.clear()
            self._lasting[equation] = self.view(equation)
        return self._lasting[equation]

    def view(self, equation: Equation, target: str = "", lead: str | None = None) -> EquationView:
        """Return an equation; a click on it opens ``target``."""
        return {
            "lead": equation.lead if lead is None else lead,
            "mathml": self.only_mathml(equation),
            "text": self._text.write_equation(equation.sides, equation.relation),
            "target": target,
        }

    def only_mathml(self, equation: Equation) -> str:
        """Write an equation as MathML alone."""
        return math(self.writer.write_equation(equation.sides, equation.relation))

    def equation(self, *sides: Expr, lead: str = "", target: str = "") -> EquationView:
        """Return the equation between these sides."""
        return self.view(Equation(sides, lead), target)

    def text(self, expr: Expr) -> str:
        """Write an expression as text."""
        return self._text.write(expr)

    def mathml(self, expr: Expr) -> str:
        """Write an expression as MathML."""
        return math(self.writer.write(expr))


@lru_cache(maxsize=4)
def scribe_for(
    notation: Notation, sizes: tuple[int, ...], n_samples: int, first_sample: int
) -> Scribe:
    """Return the one scribe of such a network, which keeps what it has written."""
    return Scribe(notation, sizes, n_samples, first_sample)


def math(inside: str) -> str:
    """Return MathML in a ``math`` element."""
    return f'<math xmlns="{_MATH}" displaystyle="true">{inside}</math>'


def notation(name: str, digits: int) -> Notation:
    """Return the notation of that name, with so many significant digits."""
    from dataclasses import replace

    return replace(notations.get(name), digits=digits)


def is_bare(notation: Notation, sizes: Sequence[int]) -> bool:
    """Return whether symbols name only their layer, as w_2 does, as every layer has one unit."""
    return notation.single_units == "hide" and all(units == 1 for units in sizes)


def marks_of_layers(notation: Notation, sizes: Sequence[int]) -> list[str]:
    """Return the mark of each layer in a symbol: "" for inputs that have their own letter."""
    last = len(sizes) - 1
    names = [str(l) for l in range(last + 1)]
    if notation.layer_names == "relative":
        names = [*(f"L-{last - l}" for l in range(last)), "L"]
    if notation.layer_above == "(l)" and not is_bare(notation, sizes):
        names = [f"({name})" for name in names]
    return ["" if notation.input is not None else names[0], *names[1:]]
