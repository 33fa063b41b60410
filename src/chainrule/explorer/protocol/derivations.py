"""The replies that derive something: numbers, whole arrays, and whole worked examples."""

from __future__ import annotations

from typing import Literal, TypedDict

from chainrule.equations.numbers import Value
from chainrule.explain.document import Phase
from chainrule.explain.scribe import EquationView

Row = list[Value]


class DrawnView(TypedDict):
    """A drawing as SVG, and its words."""

    title: str
    words: str
    svg: str


class ContributionView(TypedDict):
    """The part of a term that goes through one unit."""

    unit: int
    value: Value
    symbol: str


class ContributionsView(TypedDict):
    """The largest contributions to a term, and the sum of all others."""

    count: int
    rest: Value
    largest: list[ContributionView]


class SectionView(TypedDict):
    """A section of a derivation; formulas are MathML."""

    title: str
    symbol: str
    equations: list[EquationView]
    tags: list[str]
    contributions: ContributionsView | None
    has_samples: bool


class TermView(TypedDict):
    """A term of a contribution in numbers."""

    numbers: str
    contributions: ContributionsView | None


class ExplanationView(TypedDict):
    """A derivation; a row of ``samples`` has the index, the terms and their product."""

    kind: Literal["explanation"]
    version: int
    target: str
    words: str
    headline: str
    value: Value
    old: Value
    editable: bool
    sections: list[SectionView]
    heads: list[str]
    samples: list[list[Value]]
    n_samples: int
    focus: int


class TermsView(TypedDict):
    """The terms of a contribution."""

    kind: Literal["terms"]
    target: str
    units: list[int]
    terms: list[TermView]


class ArrayView(TypedDict):
    """The derivation of the gradient of a whole array; ``text`` is its headline in plain signs."""

    kind: Literal["array"]
    version: int
    target: str
    words: str
    headline: str
    text: str
    sections: list[SectionView]


class PassageView(TypedDict):
    """A passage of a worked example, and what it lights in the drawing."""

    title: str
    symbol: str  # MathML of the number that it computes, or ""
    name: str  # the same as text
    target: str  # what its derivation is opened by, or ""
    phase: Phase
    layer: int
    step: int
    light: list[str]
    equations: list[EquationView]
    tags: list[str]
    matrix: int  # the place of its matrix form in the list of them, or -1


class MatrixView(TypedDict):
    """The matrix form of a layer, and the arrays whose derivations say more."""

    layer: int
    equations: list[EquationView]
    arrays: list[str]


class WorkedView(TypedDict):
    """A whole worked example; ``losses`` are those before each step and after the last one."""

    kind: Literal["worked"]
    version: int
    setting: str
    losses: Row
    steps: int
    freeze_biases: bool
    biases: bool  # whether the network has biases
    drawn: DrawnView  # the network with its numbers; without an SVG where they would overlap
    passages: list[PassageView]
    matrices: list[MatrixView]
    language: str
    words: dict[str, str]  # what the page says around it
