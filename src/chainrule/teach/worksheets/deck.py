"""Decks: the sheets of a class as data, which formats and keys are written from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chainrule._exports import exported

if TYPE_CHECKING:
    from chainrule.equations.feedforward import FeedForward
    from chainrule.explain import Notation
    from chainrule.teach.worksheets.questions import Question


@exported("chainrule")
@dataclass(frozen=True, eq=False)
class Variant:
    """The questions of one student.

    Args:
        number: The variant, from 1.
        network: The network of its questions.
        questions: The questions in order, each with `words`, `given`, `value` and its derivation.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([2, 2, 1], hidden="tanh", seed=0)
        >>> cr.worksheet(net, exercises=2, kinds=["z"]).variants[0].questions[0].kind
        'z'
    """

    number: int
    network: FeedForward
    questions: tuple[Question, ...]


@dataclass(frozen=True, eq=False)
class Deck:
    """The sheets of a class: the fields of a `Worksheet`."""

    variants: tuple[Variant, ...]
    seed: int
    level: str
    notation: Notation
    learning_rate: float
