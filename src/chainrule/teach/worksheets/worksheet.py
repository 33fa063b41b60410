"""Worksheets: a variant for each student, drawn from one seed, with proven keys."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from chainrule._exports import exported
from chainrule.equations.feedforward import FeedForward
from chainrule.teach.worksheets.deck import Deck

if TYPE_CHECKING:
    from chainrule.explain import Notation

__all__ = ["Worksheet", "worksheet"]


@exported("chainrule")
@dataclass(frozen=True, eq=False)
class Worksheet(Deck):
    """Exercises with keys for a class, which `worksheet` makes.

    Args:
        variants: One `Variant` for each student.
        seed: The seed: the same one makes the same sheets.
        level: "easy", "middle" or "hard".
        notation: The notation.
        learning_rate: η of the updates.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([2, 2, 1], hidden="tanh", seed=0)
        >>> sheet = cr.worksheet(net, exercises=3, variants=2, seed=7)
        >>> [len(variant.questions) for variant in sheet.variants]
        [3, 3]
    """

    def save(self, folder: str | os.PathLike[str], format: str = "html") -> list[str]:
        """Write sheets, keys, the teacher's overview and the file that `check` reads.

        Args:
            folder: The folder, which is made if it does not exist.
            format: "html", "pdf", "latex", "moodle", "qti" or "nbgrader".

        Returns:
            The paths of the files.

        Raises:
            ImportError: PDF needs Typst, of ``chainrule[worksheets]``.
            ValueError: ``format`` is unknown.
            OSError: A file cannot be written.
        """
        from chainrule.teach.worksheets import saving

        return saving.save(self, folder, format)


def worksheet(
    network: FeedForward,
    X: ArrayLike | None = None,
    y: ArrayLike | None = None,
    *,
    exercises: int = 10,
    variants: int = 1,
    seed: int = 0,
    level: str = "middle",
    kinds: Sequence[str] | None = None,
    draw_weights: bool = False,
    learning_rate: float = 0.5,
    notation: Notation | str = "default",
) -> Worksheet:
    """Set exercises about a network, a variant for each student, with keys that are proven.

    Weights, inputs and targets are rounded to 2 decimals, so that the sheet holds them exactly.
    Everything else is printed with 4 significant digits. A student who rounds every number on the
    way to 4 digits arrives within 0.5 % of the exact answer; within 1 % an answer is right. No
    exercise is set within 0.02 of a kink, or where a common mistake leads to the right answer.

    Args:
        network: The network, of at most 8 units in a layer.
        X: Samples, (n, units_0). Without X and y, each variant has samples of its own.
        y: The targets, as for `Network.fit`.
        exercises: The number of exercises on a sheet, 1 to 50.
        variants: The number of sheets, 1 to 500.
        seed: The same seed makes the same sheets, to the byte.
        level: "easy" (the forward pass, the output layer), "middle" or "hard" (hidden layers).
        kinds: The kinds of exercise: "z", "a", "loss", "term", "gradient", "update", "step",
            "chain", "mistake", "moves" or "vanishes". None takes those of the level.
        draw_weights: Draw short weights for each variant instead of those of the network.
        learning_rate: η of the updates.
        notation: A `Notation`, or the name of one that ships.

    Returns:
        The sheets.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument has an impossible value, the network is too large for a hand, or
            allows no such exercise.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([1, 1], output="tanh", W=[[[0.5]]], b=[[0.0]])
        >>> sheet = cr.worksheet(net, [[2.0]], [0.0], exercises=1, kinds=["gradient"])
        >>> round(sheet.variants[0].questions[0].value, 4)
        0.6397
    """
    from chainrule.teach.worksheets import setting  # only who sets exercises pays for it

    return setting.deck(
        Worksheet, network, X, y, exercises=exercises, variants=variants, seed=seed, level=level,
        kinds=kinds, draw_weights=draw_weights, learning_rate=learning_rate, notation=notation,
    )  # fmt: skip
