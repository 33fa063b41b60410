"""Derivations for the page: sections in MathML, and contributions that open further."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from chainrule.equations.numbers import Value
from chainrule.equations.targets import Bias, UnitOutput, Weight
from chainrule.explain import Explanation
from chainrule.explain.scribe import EquationView, Scribe, math, scribe_for
from chainrule.explain.terms import Term
from chainrule.explain.words import headline, setting
from chainrule.explorer.protocol.derivations import (
    ContributionsView,
    ExplanationView,
    SectionView,
    TermView,
)
from chainrule.explorer.view import number

_ROWS = 100  # samples in the table
# What is written of terms and contributions, which explanations of one gradient share.
_sections: WeakKeyDictionary[Term, Any] = WeakKeyDictionary()
_numbers: WeakKeyDictionary[Term, EquationView] = WeakKeyDictionary()
_terms: WeakKeyDictionary[Term, TermView] = WeakKeyDictionary()


def explanation(why: Explanation, version: int) -> ExplanationView:
    """Return a derivation, with its first level of contributions."""
    scribe = _scribe(why)
    sections: list[SectionView] = []
    numbers = {id(term.numbers.sides): term for term in why.terms}
    for section in why.sections():
        term = section.term
        written = None if term is None else _sections.get(term)
        if written is None:
            parts = term.contributions if term is not None else None
            view = scribe.letters if section.in_letters else scribe.view
            written = {
                "symbol": "" if section.symbol is None else scribe.mathml(section.symbol),
                "equations": [
                    view(e)
                    if id(e.sides) not in numbers
                    else {**_numbers_of(numbers[id(e.sides)], scribe), "lead": e.lead}
                    for e in section.equations
                ],
                "tags": [e.tag for e in section.equations],
                "contributions": None if parts is None else _contributions(why, term, scribe),
            }
            if term is not None:
                _sections[term] = written
        sections.append(
            {
                "title": section.title,
                "symbol": written["symbol"],
                "equations": written["equations"],
                "tags": written["tags"],
                "contributions": written["contributions"],
                "has_samples": section.has_samples,
            }
        )
    chosen = list(range(min(why.n_samples, _ROWS)))
    if why.focus >= _ROWS:
        chosen[-1] = why.focus
    t = why.target
    given = isinstance(t, UnitOutput) and t.layer == 0 and why.symbol not in why.names.origins
    return {
        "kind": "explanation",
        "version": version,
        "target": str(why.target),
        "words": setting(why),
        "headline": math(headline(why, scribe.writer)),
        "value": number(why.value),
        "old": number(why.target_value),
        "editable": isinstance(why.target, Weight | Bias) or given,
        "sections": sections,
        "heads": [scribe.mathml(term.symbol) for term in why.terms],
        "samples": [
            [why.first_sample + i, *_sample(why, i)] for i in (chosen if why.n_samples > 1 else [])
        ],
        "n_samples": why.n_samples,
        "focus": why.first_sample + why.focus,
    }


def _sample(why: Explanation, i: int) -> list[Value]:
    """Return the values of the terms for a sample, and their product."""
    return [*(number(float(t.values[i])) for t in why.terms), number(float(why.products[i]))]


def terms(why: Explanation, chosen: Sequence[Term]) -> list[TermView]:
    """Return the terms of a contribution in numbers."""
    scribe = _scribe(why)
    for term in chosen:
        if term not in _terms:
            parts = term.contributions
            _terms[term] = {
                "numbers": _numbers_of(term, scribe)["mathml"],
                "contributions": None if parts is None else _contributions(why, term, scribe),
            }
    return [_terms[term] for term in chosen]


def _scribe(why: Explanation) -> Scribe:
    return scribe_for(why.notation, why.network.sizes, why.n_samples, why.first_sample)


def _numbers_of(term: Term, scribe: Scribe) -> EquationView:
    """Return the numbers of a term, without words before them."""
    if term not in _numbers:
        _numbers[term] = scribe.view(term.numbers, lead="")
    return _numbers[term]


def _contributions(why: Explanation, term: Term | None, scribe: Scribe) -> ContributionsView:
    assert term is not None
    assert term.contributions is not None
    shown, rest = term.contributions.largest(why.notation.max_terms)
    return {
        "count": len(term.contributions),
        "rest": number(rest),
        "largest": [
            {"unit": p.unit, "value": number(p.value), "symbol": scribe.mathml(p.symbol)}
            for p in shown
        ],
    }
