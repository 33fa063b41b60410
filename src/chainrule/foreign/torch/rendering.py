"""Renderings of an explanation of PyTorch: text, LaTeX, HTML and plain data."""

from __future__ import annotations

import dataclasses
from html import escape
from typing import TYPE_CHECKING, Any, Protocol

from chainrule.equations.numbers import plain
from chainrule.explain import page_dict, page_html, page_latex, page_text
from chainrule.explain.latex import LatexWriter
from chainrule.explain.mathml import MathmlWriter
from chainrule.explain.scribe import math
from chainrule.explain.text import TextWriter
from chainrule.explain.writer import Writer
from chainrule.foreign.torch.document import Told, headline

if TYPE_CHECKING:
    from chainrule.explain.document import Section
    from chainrule.explain.notation import Notation
    from chainrule.foreign.torch.certificate import TorchCertificate


class Explained(Protocol):
    """What is written down here: a title, a setting, sections, and perhaps a certificate."""

    target: str
    value: float
    notation: Notation

    @property
    def n_samples(self) -> int:
        """Return the number of samples."""

    @property
    def certificate(self) -> TorchCertificate | None:
        """Return the proof, or None."""

    def setting(self) -> str:
        """Return what is explained, in words."""

    def sections(self, depth: int) -> list[Section]:
        """Return the sections to a depth."""


_SIZES = (1,)  # of no network: the names of quantities are words


def _head(why: Explained, writer: Writer) -> str:
    return writer.write_equation(headline(why))


def text(why: Explained, width: int, depth: int) -> str:
    """Return the whole explanation as text, with no line longer than ``width`` (at least 40)."""
    width = max(width, 40)
    writer = TextWriter(why.notation, _SIZES, why.n_samples)
    lines = [_head(why, writer)]
    lines += page_text.written(writer, why.setting(), why.sections(depth), width)
    return "\n".join([*lines, *_proof(why)]) + "\n"


def _proof(why: Explained) -> list[str]:
    return [] if why.certificate is None else ["", why.certificate.text().rstrip()]


def latex(why: Explained, standalone: bool, depth: int) -> str:
    """Return the whole explanation as LaTeX."""
    writer = LatexWriter(why.notation, _SIZES, why.n_samples)
    parts = [rf"\[ {_head(why, writer)} \]"]
    parts += page_latex.written(writer, why.setting(), why.sections(depth))
    if why.certificate is not None:
        parts += page_latex.verbatim("Certificate", why.certificate.text())
    return page_latex.whole("\n".join(parts) + "\n", standalone)


def html(why: Explained, depth: int) -> str:
    """Return the whole explanation as a page."""
    return page_html.whole(f"chainrule: {why.target}", fragment(why, depth))


def fragment(why: Explained, depth: int) -> str:
    """Return the whole explanation as one element."""
    writer = MathmlWriter(why.notation, _SIZES, why.n_samples)
    heading = math(_head(why, writer))
    lines = list(page_html.written(writer, heading, why.setting(), why.sections(depth)))
    if why.certificate is not None:
        lines.append(f'<h2>Certificate</h2>\n<pre class="wide">{escape(why.certificate.text())}')
        lines.append("</pre>")
    return "\n".join([*lines, "</div>"])


class Whole(Told, Explained, Protocol):
    """An explanation with its parts and its renderings."""


def as_dict(why: Whole, depth: int) -> dict[str, Any]:
    """Return everything as plain data for JSON."""
    formats = page_dict.Formats(why.notation, _SIZES, why.n_samples)
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
        "sections": formats.sections(why.sections(depth)),
        "certificate": None if why.certificate is None else why.certificate.to_dict(),
    }
