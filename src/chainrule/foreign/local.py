"""Local: the derivative of one element of a call's result by one of an argument, in symbols."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from chainrule.equations.formulas import Expr, Name, Num, evaluate, parse

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": math.exp, "ln": math.log, "sqrt": math.sqrt, "abs": abs,
    "sign": lambda x: float((x > 0) - (x < 0)), "sin": math.sin, "cos": math.cos,
    "tanh": math.tanh, "sinh": math.sinh, "cosh": math.cosh, "atan": math.atan,
    "sigma": lambda x: 1 / (1 + math.exp(-x)) if x > -700 else 0.0,
    "Phi": lambda x: math.erfc(-x / math.sqrt(2)) / 2,
    "phi": lambda x: math.exp(-x * x / 2) / math.sqrt(2 * math.pi),
    "max": max, "min": min,
}  # fmt: skip


@dataclass(frozen=True)
class Local:
    """∂element/∂quantity as a formula with its numbers.

    Attributes:
        formula: The formula in the language of `formulas`; " = " joins equal forms.
        names: The number that each letter stands for.
    """

    formula: str
    names: dict[str, float] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """Return the number that the formula comes to."""
        return float(evaluate(parse(self.formula)[-1], self.names, _FUNCTIONS))

    def sides(self) -> list[Expr]:
        """Return the equal forms, and the last one with its numbers."""
        forms: list[Expr] = list(parse(self.formula))
        last = forms[-1]
        if isinstance(last, Num):
            return []
        if isinstance(last, Name):
            return forms
        return [*forms, last.replace(self._number)]

    def _number(self, node: Expr) -> Expr | None:
        return Num(self.names[node.name]) if isinstance(node, Name) else None
