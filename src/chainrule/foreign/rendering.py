"""Renderings of an explanation of a recorded run: text, LaTeX, HTML and plain data."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Protocol

from chainrule.equations.numbers import plain
from chainrule.explain import page_dict, page_html, page_latex, page_text
from chainrule.explain.sheet import Sheet
from chainrule.explain.terms import Equation
from chainrule.foreign.document import Told, headline

if TYPE_CHECKING:
    from chainrule.explain.document import Section
    from chainrule.explain.notation import Notation
    from chainrule.foreign.certificate import CallCertificate


class Explained(Protocol):
    """What is written down here: a title, a setting, sections, and perhaps a certificate."""

    target: str
    value: float
    notation: Notation

    @property
    def n_samples(self) -> int:
        """Return the number of samples."""

    @property
    def certificate(self) -> CallCertificate | None:
        """Return the proof, or None."""

    def setting(self) -> str:
        """Return what is explained, in words."""

    def sections(self, depth: int) -> list[Section]:
        """Return the sections to a depth."""


_SIZES = (1,)  # of no network: the names of quantities are words


def _sheet(why: Explained, depth: int, proof: bool = True) -> Sheet:
    certificate = why.certificate.text() if proof and why.certificate is not None else ""
    return Sheet(
        why.target, why.setting(), why.sections(depth), why.notation, _SIZES, why.n_samples,
        headline=Equation(headline(why)), certificate=certificate,
    )  # fmt: skip


def text(why: Explained, width: int, depth: int) -> str:
    """Return the whole explanation as text, with no line longer than ``width`` (at least 40)."""
    return page_text.written(_sheet(why, depth), width)


def latex(why: Explained, standalone: bool, depth: int) -> str:
    """Return the whole explanation as LaTeX."""
    return page_latex.written(_sheet(why, depth), standalone)


def html(why: Explained, depth: int) -> str:
    """Return the whole explanation as a page."""
    return page_html.written(_sheet(why, depth))


def fragment(why: Explained, depth: int, proof: bool = True) -> str:
    """Return the whole explanation as one element, with the certificate if ``proof``."""
    return page_html.written_fragment(_sheet(why, depth, proof))


class Whole(Told, Explained, Protocol):
    """An explanation with its parts and its renderings."""


def as_dict(why: Whole, depth: int) -> dict[str, Any]:
    """Return everything as plain data for JSON."""
    most = why.notation.max_terms
    terms = []
    for term in why.terms:
        largest, rest = term.contributions.largest(most)
        terms.append({
            "call": term.call, "module": term.module, "result": term.result,
            "definition": term.definition, "way": term.way, "value": plain(term.value),
            "count": len(term.contributions), "rest": plain(rest),
            "largest": [
                {
                    "element": part.element, "sample": part.sample,
                    "adjoint": plain(part.adjoint), "local": plain(part.local),
                    "value": plain(part.value),
                }
                for part in largest
            ],
        })  # fmt: skip
    return {
        "target": why.target,
        "value": plain(why.value),
        "number": plain(why.number),
        "loss": plain(why.loss),
        "kind": why.kind,
        "reason": why.reason,
        "setting": why.setting(),
        "notation": dataclasses.asdict(why.notation),
        "n_samples": why.n_samples,
        "terms": terms,
        "samples": [{"index": s.index, "value": plain(s.value)} for s in why.samples],
        "sections": page_dict.written(_sheet(why, depth))["sections"],
        "certificate": None if why.certificate is None else why.certificate.to_dict(),
    }
