"""Questions: what stands on a sheet, and its key."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from chainrule.equations.formulas import Expr
from chainrule.explain import Equation
from chainrule.teach.exercise import Mistake
from chainrule.teach.formulas import FormulaKey

Form = Literal["number", "choice", "formula"]


@dataclass(frozen=True)
class Part:
    """A heading with equations of a derivation."""

    title: str
    equations: tuple[Equation, ...]


@dataclass(frozen=True)
class Choice:
    """One of several answers, and what it says about a student who takes it."""

    equation: Equation
    words: str


@dataclass(frozen=True)
class Question:
    """A question with its answer, its derivation and its proof.

    Attributes:
        kind: The kind of exercise, one of `KINDS`.
        words: The question.
        symbol: What is asked for, or None.
        given: The numbers that a student needs.
        form: How it is answered.
        value: The answer, of form "number".
        correct: The index of the right choice, of form "choice".
        key: The answer, of form "formula".
        choices: What there is to choose from.
        mistakes: The numbers that common mistakes lead to.
        hint: A hint.
        derivation: The whole way to the answer.
        proof: What proves the answer, in a sentence.
        target: The weight that it is about.
        n_samples: The number of samples that it is about.
    """

    kind: str
    words: str
    symbol: Expr | None
    given: tuple[Equation, ...]
    form: Form
    hint: str
    derivation: tuple[Part, ...]
    proof: str
    target: str
    value: float = math.nan
    correct: int = -1
    key: FormulaKey | None = None
    choices: tuple[Choice, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    n_samples: int = 1
