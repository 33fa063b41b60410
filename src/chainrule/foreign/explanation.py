"""The explanation of one number of a recorded run, whichever library ran it: its renderings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from chainrule._forks import cached_property
from chainrule.explain.document import Section
from chainrule.explain.notation import Notation
from chainrule.foreign import document, rendering
from chainrule.foreign.certificate import CallCertificate
from chainrule.foreign.terms import CallSample, CallTerm


class CallExplanation(ABC):
    """The derivative of the loss C with respect to one number, as a sum over the calls of a run.

    Attributes:
        library: The library that ran the calls.
        target: The number.
        value: Its derivative.
        number: The number itself.
        notation: The notation.
    """

    library: ClassVar[str]
    target: str
    value: float
    number: float
    notation: Notation

    @property
    @abstractmethod
    def n_samples(self) -> int:
        """Return the number of samples."""

    @property
    @abstractmethod
    def loss(self) -> float:
        """Return the loss of the run."""

    @property
    @abstractmethod
    def terms(self) -> tuple[CallTerm, ...]:
        """Return one term for each call that reads the number; their sum is `value`."""

    @property
    @abstractmethod
    def reason(self) -> str:
        """Return why the derivative is 0; "" where there is nothing to say."""

    @property
    @abstractmethod
    def kind(self) -> Any:
        """Return the kind of `reason`."""

    @property
    @abstractmethod
    def certificate(self) -> CallCertificate:
        """Return the value beside numbers that were found in other ways."""

    @abstractmethod
    def setting(self) -> str:
        """Return the number, the model, the loss and the samples, in words."""

    @cached_property
    def samples(self) -> Sequence[CallSample]:
        """Return what each sample contributes; their sum is `value`.

        It is empty where the results that the number moves have no dimension of samples, as after a
        mean over them.
        """
        sums = np.zeros(self.n_samples)
        for term in self.terms:
            if term.of_samples is None:
                return ()
            sums += np.bincount(term.of_samples, term.contributions.values, self.n_samples)
        return [CallSample(i, float(x)) for i, x in enumerate(sums)] if self.terms else ()

    def sections(self, depth: int = 1) -> list[Section]:
        """Return the chain rule, its calls with their contributions, the samples, the positions.

        Args:
            depth: How many levels to open; from 2 on the largest contribution is opened, too.
        """
        return document.sections(self, depth)

    def text(self, width: int = 100, depth: int = 1) -> str:
        """Return the explanation as Unicode text.

        Args:
            width: The most characters in a line; at least 40.
            depth: How many levels to open, each through the largest contribution.
        """
        return rendering.text(self, width, depth)

    def latex(self, standalone: bool = False, depth: int = 1) -> str:
        """Return the explanation as LaTeX, which needs the package amsmath.

        Args:
            standalone: Return a whole document, not only its body.
            depth: How many levels to open.
        """
        return rendering.latex(self, standalone, depth)

    def html(self, depth: int = 3) -> str:
        """Return an HTML page that needs no other file, script or network.

        Args:
            depth: How many levels to open.
        """
        return rendering.html(self, depth)

    def to_dict(self, depth: int = 1) -> dict[str, Any]:
        """Return everything as plain data for JSON, each formula as text, LaTeX and MathML.

        Args:
            depth: How many levels to open.
        """
        return rendering.as_dict(self, depth)

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return rendering.fragment(self, depth=3)
