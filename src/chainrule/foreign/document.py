"""The document: an explanation of a recorded run as sections with equations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from chainrule.equations.formulas import Expr, Name, Num, mul
from chainrule.explain.counts import sum_of_others
from chainrule.explain.document import Section
from chainrule.explain.symbols import Factor, LossSymbol, Partial, Word
from chainrule.explain.terms import Equation
from chainrule.foreign.terms import CallContribution, CallTerm

if TYPE_CHECKING:
    from chainrule.explain.notation import Notation


class Sample(Protocol):
    """What one sample contributes."""

    @property
    def index(self) -> int:
        """Return the sample, from 0."""

    @property
    def value(self) -> float:
        """Return the sum of all contributions through it."""


class Told(Protocol):
    """What an explanation is made of; see `CallExplanation`."""

    library: ClassVar[str]
    target: str
    value: float
    number: float
    notation: Notation

    @property
    def loss(self) -> float:
        """Return the loss of the run."""

    @property
    def n_samples(self) -> int:
        """Return the number of samples."""

    @property
    def reason(self) -> str:
        """Return why there is no gradient, or why it is 0."""

    @property
    def kind(self) -> str:
        """Return the kind of the reason."""

    @property
    def terms(self) -> tuple[CallTerm, ...]:
        """Return one term for each call."""

    @property
    def samples(self) -> Sequence[Sample]:
        """Return what each sample contributes."""


_CALLS = 3  # that are shown with their contributions; of the others the sums


def headline(why: Any) -> tuple[Expr, ...]:
    """Return the derivative and its value."""
    return Partial(LossSymbol(), Word(why.target)), Num(why.value)


def setting(why: Told, made_of: str) -> str:
    """Return the number, what computed the loss, the loss and the samples, in words."""
    samples = "1 sample" if why.n_samples == 1 else f"{why.n_samples} samples"
    said = f"{why.target} is {why.number:.6g}; {made_of} = {why.loss:.6g}, {samples}"
    return f"{said}\nNote: {why.reason}" if why.reason else said


def sections(why: Told, depth: int) -> list[Section]:
    """Return the chain rule, its calls, the samples and the positions."""
    if not why.terms:
        return []
    made = _sum(why.target, why.terms, why.value)
    made += _calls(why, why.target, why.terms)
    made += _samples(why)
    for term in why.terms[:_CALLS]:
        made += _positions(why, term)
    part = _largest(why.terms)
    for _ in range(depth - 1):
        if part is None or not part.terms:
            break
        opened = _sum(part.element, part.terms, part.adjoint, "Opened: ")
        made += opened + _calls(why, part.element, part.terms)
        part = _largest(part.terms)
    return made


def _largest(terms: Sequence[CallTerm]) -> CallContribution | None:
    found = [term.contributions.largest(1)[0] for term in terms]
    parts = [part[0] for part in found if part]
    return max(parts, key=lambda part: abs(part.value), default=None)


def _sum(name: str, terms: Sequence[CallTerm], value: float, before: str = "") -> list[Section]:
    """Return ∂C/∂w = Σ (∂C/∂e)(∂e/∂w), and the calls that it is a sum over."""
    symbol, e = Word(name), Name("e")
    rule = mul(Word("Σ"), Factor(Partial(LossSymbol(), e)), Factor(Partial(e, symbol)))
    count = sum(len(term.contributions) for term in terms)
    if len(terms) == 1:
        read = f"{name} is read by {place(terms[0])}, of whose result {_elements(count)} with it"
    else:
        read = f"{name} is read by {len(terms)} calls, of whose results {_elements(count)} with it"
    equations = [Equation((Partial(LossSymbol(), symbol), rule, Num(value)), f"{read}:")]
    if len(terms) > 1:
        order = sorted(terms, key=lambda term: -abs(term.value))
        shown = order[:8]
        for i, term in enumerate(shown):
            lead = "The sum of each call:" if not i else ""
            equations.append(Equation((Word(f"{place(term)} → {term.result}"), Num(term.value)),
                                      lead))  # fmt: skip
        if left := order[8:]:
            rest = math.fsum(term.value for term in left)
            equations.append(Equation((Word(sum_of_others(len(left))), Num(rest))))
    return [Section(f"{before}the chain rule" if before else "The chain rule", equations)]


def _elements(count: int) -> str:
    return "1 element moves" if count == 1 else f"{count} elements move"


def place(term: CallTerm) -> str:
    """Return a call and where it stands, in words."""
    return f"{term.call} in {term.module}" if term.module else term.call


def _calls(why: Told, name: str, terms: Sequence[CallTerm]) -> list[Section]:
    order = sorted(terms, key=lambda term: -abs(term.value))
    return [Section(f"The call {place(t)}", _call(why, name, t)) for t in order[:_CALLS]]


def _call(why: Told, name: str, term: CallTerm) -> list[Equation]:
    equations: list[Equation] = []
    largest, rest = term.contributions.largest(why.notation.max_terms)
    if term.definition:
        left, _, right = term.definition.partition(" = ")
        lead = f"Its result, which depends on {term.depends}:"
        equations.append(Equation((Word(left), Word(right)), lead))
    else:
        lead = f"This call has no formula here; its numbers are {_whose(why)}:"
        equations.append(Equation((Word("∂e/∂in"), Word(term.way)), lead))
    if largest and largest[0].formula is not None:
        found = largest[0].formula
        sides = (Partial(Word(largest[0].element), Word(name)), *found.sides(), Num(found.value))
        equations.append(Equation(sides, "The derivative of the element that moves the loss most:"))
    count, shown = len(term.contributions), len(largest)
    lead = f"The {shown} largest of {count} contributions" if shown < count else "The contributions"
    for i, part in enumerate(largest):
        factors = mul(Factor(Num(part.adjoint)), Factor(Num(part.local)))
        words = f"{lead}, each (∂C/∂e)(∂e/∂{name}):" if not i else ""
        equations.append(Equation((Word(f"through {part.element}"), factors, Num(part.value)),
                                  words))  # fmt: skip
    if shown < count:
        equations.append(Equation((Word(sum_of_others(count - shown)), Num(rest))))
    return equations


def _whose(why: Told) -> str:
    return f"{why.library}'" if why.library.endswith("s") else f"{why.library}'s"


def _samples(why: Told) -> list[Section]:
    if why.n_samples < 2 or not why.samples:
        return []
    first = why.notation.first_index
    order = sorted(why.samples, key=lambda row: -abs(row.value))
    shown, left = order[: why.notation.max_terms], order[why.notation.max_terms :]
    rows = [Equation((Word(f"sample {row.index + first}"), Num(row.value))) for row in shown]
    if left:
        rest = math.fsum(row.value for row in left)
        rows.append(Equation((Word(sum_of_others(len(left))), Num(rest))))
    return [Section(f"The {why.n_samples} samples", rows)]


def _positions(why: Told, term: CallTerm) -> list[Section]:
    sums = term.by_position()
    if term.sample_axis is None or len(sums) < 2 or len(sums) == len(term.contributions):
        return []
    shown, left = sums[: why.notation.max_terms], sums[why.notation.max_terms :]
    rows = [
        Equation((Word(f"{term.result}[{_starred(where, term)}]"), Num(value)))
        for where, value in shown
    ]
    if left:
        rest = math.fsum(value for _, value in left)
        rows.append(Equation((Word(sum_of_others(len(left))), Num(rest))))
    return [Section(f"The {len(sums)} positions of {place(term)}, over all samples", rows)]


def _starred(where: Sequence[int], term: CallTerm) -> str:
    labels = [*map(str, where)]
    if term.sample_axis is not None and len(labels) < term.indices.shape[1]:
        labels.insert(term.sample_axis, ":")
    return ",".join(labels)
