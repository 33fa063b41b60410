"""An explanation as plain data, for JSON."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from chainrule.equations.formulas import Expr
from chainrule.equations.numbers import plain
from chainrule.explain.document import sections
from chainrule.explain.latex import LatexWriter
from chainrule.explain.mathml import MathmlWriter
from chainrule.explain.terms import Contribution, Equation, Term
from chainrule.explain.text import TextWriter
from chainrule.explain.words import setting

if TYPE_CHECKING:
    from chainrule.explain.derivative import Derivative


def as_dict(why: Derivative, depth: int) -> dict[str, Any]:
    """Return the explanation as dictionaries, lists, texts and numbers."""
    return _Page(why).whole(depth)


class _Page:
    def __init__(self, why: Derivative) -> None:
        self.why = why
        given = (why.notation, why.network.sizes, why.n_samples)
        self.writers = {
            "text": TextWriter(*given),
            "latex": LatexWriter(*given),
            "mathml": MathmlWriter(*given),
        }

    def whole(self, depth: int) -> dict[str, Any]:
        why = self.why
        return {
            "target": str(why.target),
            "value": plain(why.value),
            "setting": setting(why),
            "notation": dataclasses.asdict(why.notation),
            "n_samples": why.n_samples,
            "focus": why.focus,
            "terms": [self._term(term, depth) for term in why.terms],
            "penalty": None if why.penalty is None else self._term(why.penalty, depth),
            "samples": [
                {
                    "index": row.index,
                    "terms": [plain(float(x)) for x in row.terms],
                    "product": plain(float(row.product)),
                }
                for row in why.samples
            ],
            "sections": [
                {
                    "title": section.title,
                    "symbol": None if section.symbol is None else self._formula(section.symbol),
                    "equations": [self._equation(equation) for equation in section.equations],
                }
                for section in sections(why)
            ],
            "certificate": why.certificate.to_dict(),
        }

    def _term(self, term: Term, depth: int) -> dict[str, Any]:
        return {
            "symbol": self._formula(term.symbol),
            "formula": self._formula(term.formula),
            "value": plain(term.value),
            "derivation": [self._equation(equation) for equation in term.derivation],
            "numbers": self._equation(term.numbers),
            "contributions": self._contributions(term, depth),
        }

    def _contributions(self, term: Term, depth: int) -> dict[str, Any] | None:
        if term.contributions is None:
            return None
        shown, rest = term.contributions.largest(self.why.notation.max_terms)
        return {
            "count": len(term.contributions),
            "rest": plain(rest),
            "largest": [self._contribution(part, depth) for part in shown],
        }

    def _contribution(self, part: Contribution, depth: int) -> dict[str, Any]:
        terms = [self._term(term, depth - 1) for term in part.terms] if depth > 0 else None
        return {
            "unit": part.unit,
            "value": plain(part.value),
            "symbol": self._formula(part.symbol),
            "terms": terms,
        }

    def _equation(self, equation: Equation) -> dict[str, Any]:
        formats = {
            name: writer.write_equation(equation.sides, equation.relation)
            for name, writer in self.writers.items()
        }
        return {"lead": equation.lead, "tag": equation.tag, **formats}

    def _formula(self, expr: Expr) -> dict[str, str]:
        return {name: writer.write(expr) for name, writer in self.writers.items()}
