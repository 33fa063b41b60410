"""Explanation: the chain rule behind any derivative, as terms, formulas and numbers."""

from chainrule.explain.explanation import Explanation, SampleRow, explain
from chainrule.explain.notation import NOTATIONS, Notation
from chainrule.explain.terms import Contribution, Contributions, Equation, Term
from chainrule.explain.worked_example import WorkedExample, worked_example

__all__ = [
    "NOTATIONS",
    "Contribution",
    "Contributions",
    "Equation",
    "Explanation",
    "Notation",
    "SampleRow",
    "Term",
    "WorkedExample",
    "explain",
    "worked_example",
]
