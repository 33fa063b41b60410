"""The replies of a `Session`: one class for each. Views that other rooms make are theirs."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

from chainrule.diagnose.health import HealthView
from chainrule.equations.numbers import Value
from chainrule.explain.scribe import EquationView
from chainrule.explain.steps import StepView
from chainrule.teach.exercises import QuestionView, VerdictView
from chainrule.teach.lessons import StopView

Row = list[Value]


class LayerView(TypedDict):
    """A layer: ``shown`` are the units that are drawn; the other lists have all units."""

    units: int
    activation: str | None
    shown: list[int]
    z: Row
    a: Row
    delta: Row
    dC_da: Row
    b: Row
    db: Row
    marks: list[str]  # of the units in `shown`: "", "dead" or "saturated"


class WeightsView(TypedDict):
    """Weights between the shown units of layer l-1 and those of layer l, and their gradient."""

    w: list[Row]
    dw: list[Row]


class SampleView(TypedDict):
    """The sample that is carried through the network."""

    index: int
    count: int
    x: Row
    y: Row
    loss: Value
    width: int  # of the image that the inputs are, or 0
    predicted: str
    expected: str


class TrainingView(TypedDict):
    """Where training stands; the curve has (step, loss, validation loss); empty: as it was."""

    step: int
    epoch: Value
    loss: Value
    val_loss: Value | None
    metric: str
    curve: list[list[Value | None]]
    records: list[int]  # the step of each record
    record: int  # the one that is shown
    message: str  # why it stopped, if it did by itself
    steps_per_second: Value


class SettingsView(TypedDict):
    """How it trains and how it is written."""

    learning_rate: float
    optimizer: str
    batch_size: int
    scope: str
    notation: str
    digits: int
    first_index: int
    letters: dict[str, str]
    layers: list[str]  # what names each layer in a symbol: "(2)", "(L-1)", "2"; "": nothing does
    bare: bool  # the layer stands below, in the place of units: w_2


class NetworkView(TypedDict):
    """The network, in words."""

    sizes: list[int]
    activations: list[str]
    loss: str
    parameters: int
    biases: bool
    engine: str
    seed: int


class DataView(TypedDict):
    """The data, in words; ``version`` changes with them."""

    name: str
    version: int
    train: int
    validation: int
    kind: str  # "surface", "fit", "confusion" or "none": what `Results` gives
    columns: list[str]  # the names of the inputs, if they have some
    labels: list[str]  # those of the classes
    scaled: bool  # whether the inputs were scaled to mean 0 and deviation 1


class Choices(TypedDict):
    """What can be chosen."""

    datasets: list[str]
    activations: list[str]
    outputs: list[str]
    losses: list[str]
    notations: list[str]
    optimizers: list[str]


class Frame(TypedDict):
    """All that is drawn."""

    kind: Literal["frame"]
    version: int
    network: NetworkView
    layers: list[LayerView]
    weights: list[WeightsView]
    sample: SampleView
    training: TrainingView
    settings: SettingsView
    data: DataView
    choices: Choices
    undo: str  # what would be taken back, or ""
    redo: str
    results: NotRequired[ResultsView]


class ResultsView(TypedDict):
    """What the network makes of the data.

    surface: ``grid`` is (rows × columns) over ``box`` (x0, x1, y0, y1). fit: ``points`` are (true,
    predicted). confusion: ``matrix[true][predicted]``, and samples as (index, true, predicted).
    """

    kind: Literal["results"]
    type: Literal["surface", "fit", "confusion", "none"]
    box: list[float]
    grid: list[Row]
    points: list[Row]
    validation: list[Row]
    matrix: list[list[int]]
    samples: list[list[int]]
    images: list[Row]
    accuracy: float | None
    levels: list[float]  # the outputs' span: lowest, boundary, highest


class StepsView(TypedDict):
    """The steps, in order."""

    kind: Literal["steps"]
    version: int
    steps: list[StepView]


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
    """A part of a derivation; formulas are MathML."""

    title: str
    symbol: str
    equations: list[EquationView]
    tags: list[str]
    contributions: ContributionsView | None
    has_samples: bool


class TermView(TypedDict):
    """A term of a contribution, in numbers."""

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


class LatexView(TypedDict):
    """A derivation as LaTeX (amsmath)."""

    kind: Literal["latex"]
    target: str
    latex: str


class CertificateView(TypedDict):
    """A certificate: `Certificate.to_dict`."""

    kind: Literal["certificate"]
    target: str
    certificate: dict[str, Any]
    text: str


class TourView(TypedDict):
    """A lesson, set up."""

    kind: Literal["tour"]
    lesson: str
    title: str
    stops: list[StopView]
    frame: Frame


class ShareView(TypedDict):
    """The state as a text for a URL, or "" if the network is too large for it; Python code."""

    kind: Literal["share"]
    state: str
    why_not: str
    python: str


class Opened(TypedDict):
    """A new session of the web host."""

    kind: Literal["opened"]
    session: str
    frame: Frame


class Error(TypedDict):
    """A request that was refused; nothing was changed."""

    kind: Literal["error"]
    message: str


REPLIES: dict[str, Any] = {
    "explain": ExplanationView,
    "open": TermsView,
    "latex": LatexView,
    "prove": CertificateView,
    "steps": StepsView,
    "results": ResultsView,
    "health": HealthView,
    "ask": QuestionView,
    "answer": VerdictView,
    "tour": TourView,
    "share": ShareView,
}


def reply_of(kind: str) -> Any:
    """Return the class of the reply to a request; what changes something is answered by a `Frame`."""
    return REPLIES.get(kind, Frame)
