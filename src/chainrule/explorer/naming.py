"""Naming: what the derived inputs of the data are, as formulas and in words."""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.explain.names import Names
from chainrule.explain.notation import Notation
from chainrule.explain.scribe import Scribe
from chainrule.explain.symbols import quantity
from chainrule.explorer.protocol.replies import DerivedView
from chainrule.teach import inputs
from chainrule.teach.datasets import Dataset

_U, _V = quantity("a", 0, 0), quantity("a", 0, 1)


def formulas(d: Dataset, notation: Notation, sizes: Sequence[int]) -> list[str]:
    """Return for each input "", or how it is computed."""
    scribe = Scribe(notation, sizes)
    return [""] * d.given + [scribe.text(inputs.expression(f, _U, _V)) for f in d.derived]


def derivable(d: Dataset, notation: Notation, sizes: Sequence[int]) -> list[DerivedView]:
    """Return the inputs that can be derived from those of the data."""
    if inputs.why_not(d):
        return []
    scribe = Scribe(notation, sizes)
    return [
        {
            "name": name,
            "formula": scribe.text(inputs.expression(name, _U, _V)),
            "words": inputs.words(name, notation.first_index),
        }
        for name in inputs.FORMULAS
    ]


def names(d: Dataset, first: int) -> Names | None:
    """Return the names of the derived inputs, for derivations, or None if there are none."""
    if not d.derived:
        return None
    return Names(
        inputs=[*[""] * d.given, *(inputs.words(name, first) for name in d.derived)],
        origins={
            quantity("a", 0, d.given + i): inputs.expression(name, _U, _V)
            for i, name in enumerate(d.derived)
        },
    )
