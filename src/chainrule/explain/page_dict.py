"""An explanation as plain data, for JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
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
    from numpy.typing import NDArray

    from chainrule.equations.feedforward import FeedForward
    from chainrule.explain.derivative import Derivative
    from chainrule.explain.document import Section
    from chainrule.explain.notation import Notation
    from chainrule.explain.sheet import Sheet
    from chainrule.explain.worked import Worked


def as_dict(why: Derivative, depth: int) -> dict[str, Any]:
    """Return the explanation as dictionaries, lists, texts and numbers."""
    return _Page(why).whole(depth)


def worked(example: Worked) -> dict[str, Any]:
    """Return a worked example as dictionaries, lists, texts and numbers."""
    return {
        "setting": example.setting(),
        "notation": dataclasses.asdict(example.notation),
        "learning_rate": example.learning_rate,
        "freeze_biases": example.freeze_biases,
        "losses": [plain(loss) for loss in example.losses],
        "steps": [
            {
                "loss": plain(float(step.gradient.loss)),
                "loss_after": plain(step.loss_after),
                "outputs": [plain(float(a)) for a in step.gradient.forward.a[-1][example.focus]],
                "parameters": _layers(step.network),
                "gradient": [
                    {"W": step.gradient.dW[l].tolist(), "b": _listed(step.gradient.db[l])}
                    for l in range(1, len(step.network.sizes))
                ],
            }
            for step in example.steps
        ],
        "updated": _layers(example.updated),
        "sections": written(example.sheet())["sections"],
    }


def written(sheet: Sheet) -> dict[str, Any]:
    """Return a sheet as dictionaries, lists, texts and numbers."""
    formats = _Formats(sheet.notation, sheet.sizes, sheet.n_samples, sheet.first_sample)
    return {
        "setting": sheet.setting,
        "notation": dataclasses.asdict(sheet.notation),
        "n_samples": sheet.n_samples,
        "sections": formats.sections(sheet.sections),
    }


def _layers(network: FeedForward) -> list[dict[str, Any]]:
    return [{"W": layer.W.tolist(), "b": _listed(layer.b)} for layer in network.weighted_layers]


def _listed(b: NDArray[Any] | None) -> list[float] | None:
    return None if b is None else b.tolist()


class _Formats:
    """Formulas in every format."""

    def __init__(
        self, notation: Notation, sizes: Sequence[int], n_samples: int, first_sample: int = 0
    ) -> None:
        given = (notation, sizes, n_samples, first_sample)
        self.writers = {
            "text": TextWriter(*given),
            "latex": LatexWriter(*given),
            "mathml": MathmlWriter(*given),
        }

    def sections(self, made: Sequence[Section]) -> list[dict[str, Any]]:
        return [
            {
                "title": section.title,
                "symbol": None if section.symbol is None else self.formula(section.symbol),
                "equations": [self.equation(equation) for equation in section.equations],
            }
            for section in made
        ]

    def equation(self, equation: Equation) -> dict[str, Any]:
        formats = {
            name: writer.write_equation(equation.sides, equation.relation)
            for name, writer in self.writers.items()
        }
        return {"lead": equation.lead, "tag": equation.tag, **formats}

    def formula(self, expr: Expr) -> dict[str, str]:
        return {name: writer.write(expr) for name, writer in self.writers.items()}


class _Page(_Formats):
    def __init__(self, why: Derivative) -> None:
        super().__init__(why.notation, why.network.sizes, why.n_samples, why.first_sample)
        self.why = why

    def whole(self, depth: int) -> dict[str, Any]:
        why = self.why
        return {
            "target": str(why.target),
            "value": plain(why.value),
            "setting": setting(why),
            "notation": dataclasses.asdict(why.notation),
            "n_samples": why.n_samples,
            "focus": why.focus,
            "first_sample": why.first_sample,
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
            "sections": self.sections(sections(why)),
            "certificate": why.certificate.to_dict(),
        }

    def _term(self, term: Term, depth: int) -> dict[str, Any]:
        return {
            "symbol": self.formula(term.symbol),
            "formula": self.formula(term.formula),
            "value": plain(term.value),
            "derivation": [self.equation(equation) for equation in term.derivation],
            "numbers": self.equation(term.numbers),
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
            "symbol": self.formula(part.symbol),
            "terms": terms,
        }
