"""The replies of a `Session`, one class for each; other rooms define the views that they make."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

from chainrule.diagnose.health import HealthView
from chainrule.equations.numbers import Value
from chainrule.explain.steps import StepView
from chainrule.explorer.protocol.derivations import (
    ArrayView,
    DrawnView,
    ExplanationView,
    Row,
    TermsView,
    WorkedView,
)
from chainrule.teach.exercise import QuestionView, SolutionView, VerdictView
from chainrule.teach.lessons.stops import ResponseView, StopView


class LayerView(TypedDict):
    """A layer; ``shown`` has the units that are drawn, the other lists have all units."""

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
    """The weights from the shown units of layer l-1 to those of layer l, and their gradient."""

    w: list[Row]
    dw: list[Row]


class SampleView(TypedDict):
    """The current sample."""

    index: int
    count: int
    block: int  # samples in the mean that the scope "all" explains
    x: Row
    y: Row
    loss: Value
    width: int  # of the image that the inputs form, or 0
    predicted: str
    expected: str


class TrainingView(TypedDict):
    """The state of training; a curve of (step, loss, validation loss), empty if unchanged."""

    step: int
    epoch: Value
    loss: Value
    val_loss: Value | None
    metric: str
    curve: list[list[Value | None]]
    records: list[int]  # the step of each record
    record: int  # the current one
    message: str  # why training stopped by itself, or ""
    steps_per_second: Value


class SettingsView(TypedDict):
    """How the network trains, and how formulas and numbers are written."""

    learning_rate: float
    optimizer: str
    batch_size: int
    scope: str
    notation: str
    digits: int
    first_index: int
    letters: dict[str, str]
    layers: list[str]  # the mark of each layer in a symbol: "(2)", "(L-1)", "2" or ""
    bare: bool  # symbols have the layer as their index, in place of units: w_2


class NetworkView(TypedDict):
    """The network: its sizes, functions and settings."""

    sizes: list[int]
    activations: list[str]
    loss: str
    parameters: int
    biases: bool
    l2: float
    engine: str
    seed: int


class OutputsView(TypedDict):
    """How many outputs the targets of the data allow, and why no others, or ""."""

    least: int
    most: int
    why: str


class DerivedView(TypedDict):
    """An input that can be computed from the two of the data."""

    name: str  # in a request
    formula: str
    words: str


class DataView(TypedDict):
    """The data: their name, counts and names; ``version`` changes with them."""

    name: str
    version: int
    train: int
    validation: int
    kind: str  # of the picture that `Results` has: "surface", "fit", "confusion" or "none"
    columns: list[str]  # the names of the inputs, or empty
    labels: list[str]  # the names of the classes, or empty
    scaled: bool  # whether the inputs were scaled to mean 0 and standard deviation 1
    share: float  # of all samples, held out for validation
    noise: float
    seed: int
    derived: list[str]  # the names of the last inputs, which are computed from the first two
    formulas: list[str]  # of the inputs: "", and of those that are computed, how
    why_not_derived: str  # why no input can be computed from others, or ""
    outputs: OutputsView


class Choices(TypedDict):
    """The choices that the page offers."""

    datasets: list[str]
    activations: list[str]
    outputs: list[str]
    losses: list[str]
    notations: list[str]
    optimizers: list[str]
    derived: list[DerivedView]


class LimitsView(TypedDict):
    """The limits of requests that the page keeps to."""

    units: int  # of a layer
    steps: int  # of one request to train
    file: int  # characters of an upload
    name: int  # characters of its name


class Frame(TypedDict):
    """Everything that the page draws."""

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
    limits: LimitsView
    undo: str  # the change that undo takes back, or ""
    redo: str
    results: NotRequired[ResultsView]


class ResultsView(TypedDict):
    """The predictions of the network for the data.

    surface: ``grid`` has the outputs over ``box`` (x0, x1, y0, y1), row by row from the top. fit:
    ``points`` are (true, predicted). confusion: ``matrix[true][predicted]``, and ``samples`` are
    (index, true, predicted).
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
    levels: list[float]  # outputs: the lowest, the boundary between classes, the highest


class StepsView(TypedDict):
    """The steps of the forward pass, the backward pass and the update."""

    kind: Literal["steps"]
    version: int
    steps: list[StepView]


class LatexView(TypedDict):
    """A derivation as LaTeX (amsmath)."""

    kind: Literal["latex"]
    target: str
    latex: str


class ChangeView(TypedDict):
    """How far a quantity moves; ``symbol`` is MathML."""

    symbol: str
    predicted: Value
    measured: Value


class PictureView(TypedDict):
    """Pictures of a derivative, and a nudge of the target by ``size`` carried forward."""

    kind: Literal["picture"]
    target: str
    drawn: list[DrawnView]
    lead: str
    symbol: str
    size: Value
    heads: list[str]
    changes: list[ChangeView]


class UnitMapView(TypedDict):
    """The activation of a unit over the two inputs, row by row from the top."""

    unit: int
    grid: list[Row]


class UnitsView(TypedDict):
    """Activations over ``box`` (x0, x1, y0, y1), layer by layer from layer 1 on."""

    kind: Literal["units"]
    box: list[float]
    layers: list[list[UnitMapView]]


class CertificateView(TypedDict):
    """A certificate, as `Certificate.to_dict` returns it."""

    kind: Literal["certificate"]
    target: str
    certificate: dict[str, Any]
    text: str


class LessonView(TypedDict):
    """A lesson to choose."""

    name: str
    title: str
    summary: str


class LessonsView(TypedDict):
    """The lessons; ``start`` names the one that the page begins with, or is empty."""

    kind: Literal["lessons"]
    language: str
    languages: dict[str, str]  # code: name
    lessons: list[LessonView]
    start: str
    words: dict[str, str]  # what the page says around lessons


class TourView(TypedDict):
    """A lesson, ready to begin."""

    kind: Literal["tour"]
    lesson: str
    title: str
    language: str
    titles: list[str]  # of the stops
    frame: Frame


class ShareView(TypedDict):
    """The state as text for a URL, or why there is none, and Python code."""

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
    """A refused request, which changed nothing."""

    kind: Literal["error"]
    message: str


REPLIES: dict[str, Any] = {
    "explain": ExplanationView,
    "array": ArrayView,
    "worked": WorkedView,
    "open": TermsView,
    "latex": LatexView,
    "prove": CertificateView,
    "picture": PictureView,
    "units": UnitsView,
    "steps": StepsView,
    "results": ResultsView,
    "health": HealthView,
    "ask": QuestionView,
    "answer": VerdictView,
    "solve": SolutionView,
    "lessons": LessonsView,
    "tour": TourView,
    "stop": StopView,
    "respond": ResponseView,
    "share": ShareView,
}


def reply_of(kind: str) -> Any:
    """Return the class of the reply to a request: a `Frame` for every request that changes."""
    return REPLIES.get(kind, Frame)
