"""An exercise: the question, its answer, and what went wrong in a wrong answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypedDict

from chainrule.equations.formulas import Expr
from chainrule.explain import Equation, Explanation
from chainrule.explain.scribe import EquationView
from chainrule.teach import answers
from chainrule.teach.formulas import FormulaKey

NEAR = 0.01  # relative error up to which an answer is right, or a mistake recognised


class QuestionView(TypedDict):
    """An exercise."""

    kind: Literal["question"]
    words: str
    mathml: str
    target: str
    given: list[EquationView]
    hint: str
    hints: list[EquationView]  # the factors in symbols, each a step further
    names: list[str]  # of the quantities, if the answer is a formula


class SolutionView(TypedDict):
    """The answer to an exercise, and the way to it as MathML."""

    kind: Literal["solution"]
    value: float
    formula: str  # "" if the answer is a number
    solution: str
    target: str


class VerdictView(TypedDict):
    """The verdict on an answer."""

    kind: Literal["verdict"]
    right: bool
    fault: str  # "" if it is right, "unreadable", "other", or the name of a mistake
    words: str
    solution: str
    target: str


@dataclass(frozen=True)
class Mistake:
    """A mistake: its name, the number that it leads to, and the words about it."""

    fault: str
    value: float
    words: str


@dataclass(frozen=True)
class Exercise:
    """A question with its answer and the mistakes that it recognises."""

    view: QuestionView
    value: float
    mistakes: tuple[Mistake, ...]
    solution: str
    why: Explanation
    symbol: Expr
    given: tuple[Equation, ...]
    key: FormulaKey | None = None

    def read(self, text: str) -> VerdictView:
        """Judge what a student typed; what can't be read is "unreadable"."""
        if self.key is not None:
            verdict = self.key.judge(text)
            return self._verdict(verdict.right, verdict.fault, verdict.words)
        try:
            answer = answers.number(text)
        except ValueError as error:
            return self._verdict(False, "unreadable", f"This is not a number: {error}.")
        return self.judge(answer)

    def judge(self, answer: float) -> VerdictView:
        """Return whether an answer is right and, if not, what went wrong."""
        if near(answer, self.value):
            return self._verdict(True, "", "Right.")
        found = [m for m in self.mistakes if near(answer, m.value)]
        if found:
            nearest = min(found, key=lambda m: abs(m.value - answer))
            return self._verdict(False, nearest.fault, nearest.words)
        if near(abs(answer), abs(self.value), 0.1) and answer * self.value > 0:
            words = "Close, but not within 1 %. Calculate with more digits."
            return self._verdict(False, "digits", words)
        words = (
            "Not right, and not one of the common mistakes. Write the chain rule down factor by "
            "factor; the hint names the factors."
        )
        return self._verdict(False, "other", words)

    def solve(self) -> SolutionView:
        """Return the answer and the way to it."""
        return {
            "kind": "solution", "value": self.value,
            "formula": "" if self.key is None else self.key.right, "solution": self.solution,
            "target": self.view["target"],
        }  # fmt: skip

    def _verdict(self, right: bool, fault: str, words: str) -> VerdictView:
        return {
            "kind": "verdict", "right": right, "fault": fault, "words": words,
            "solution": self.solution if right else "", "target": self.view["target"],
        }  # fmt: skip


def near(value: float, other: float, share: float = NEAR) -> bool:
    """Return whether two numbers are the same within a share of them."""
    return math.isclose(value, other, rel_tol=share, abs_tol=1e-9)
