"""Sheets: titled sections of equations, apart from any rendering."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chainrule.explain.document import Section
from chainrule.explain.notation import Notation
from chainrule.explain.terms import Equation

if TYPE_CHECKING:
    from chainrule.explain.picture import Picture


@dataclass(frozen=True, eq=False)
class Sheet:
    """What a worked example or the explanation of a whole array shows.

    Attributes:
        title: The title of a page.
        setting: The network, the loss and the samples, in words.
        sections: The sections in order.
        notation: The notation of the equations.
        sizes: The sizes of the layers.
        n_samples: The number of samples.
        headline: The result, at the top, or None.
        certificate: Its certificate as text, or "".
        first_sample: The place of the first sample in the whole data.
        picture: The network with its numbers, a sentence why there is none, or None.
    """

    title: str
    setting: str
    sections: Sequence[Section]
    notation: Notation
    sizes: tuple[int, ...]
    n_samples: int
    headline: Equation | None = None
    certificate: str = ""
    first_sample: int = 0
    picture: Picture | str | None = None
