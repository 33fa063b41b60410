"""The messages between a page and its `Session`: one class for each request, one for each reply.

A message is a JSON object. A request names itself in ``kind``; its other fields are those of the
class here. `parse` checks one; `schema` gives the JSON Schema of all of them. The web host, the
notebook host and the offline file carry the same messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, NotRequired

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

MAX_LAYERS = 16  # with weights, of a network made on the page
MAX_UNITS = 1024
MAX_PARAMETERS = 1_000_000
MAX_CSV = 4 * 2**20  # bytes of an upload
MAX_STATE = 64 * 2**10  # characters of a state in a URL


def _whole(value: object) -> object:
    """Take 3.0 for 3, as JSON does."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


JSON = BeforeValidator(_whole)
Whole = Annotated[int, Field(strict=True), JSON]
Real = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Flag = Annotated[bool, Field(strict=True)]
Index = Annotated[int, Field(strict=True, ge=0, le=10**7), JSON]
Name = Annotated[str, Field(max_length=40)]
Path = Annotated[str, Field(max_length=60)]  # of a quantity: w[2][1,2]
Number = Real
Dataset = Literal["circles", "xor", "gaussians", "spiral", "moons", "xor table", "plane", "digits"]
OptimizerName = Literal["gradient descent", "momentum", "adam"]
Scope = Literal["sample", "all"]
NotationName = Literal["default", "C-a-L", "L-h"]

_STRICT = ConfigDict(extra="forbid")


# --- requests -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Look:
    """Give the frame: all that is drawn."""

    __pydantic_config__ = _STRICT
    refocus: Flag = False  # choose anew which units of wide layers are drawn


@dataclass(frozen=True, kw_only=True)
class Build:
    """Make a new network; what is left out stays as it is."""

    __pydantic_config__ = _STRICT
    hidden_sizes: Annotated[list[Whole], Field(max_length=MAX_LAYERS - 1)] | None = None
    hidden: Annotated[list[Name], Field(max_length=MAX_LAYERS - 1)] | None = None
    output: Name | None = None
    loss: Name | None = None
    seed: Annotated[int, Field(strict=True, ge=0, le=2**53), JSON] | None = None


@dataclass(frozen=True, kw_only=True)
class Data:
    """Take one of the classic data sets."""

    __pydantic_config__ = _STRICT
    name: Dataset
    noise: Annotated[float, Field(strict=True, ge=0, le=0.5)] = 0.1
    seed: Annotated[int, Field(strict=True, ge=0, le=2**53), JSON] = 0


@dataclass(frozen=True, kw_only=True)
class Upload:
    """Take samples from the text of a CSV file: inputs, then the class or the targets."""

    __pydantic_config__ = _STRICT
    text: Annotated[str, Field(max_length=MAX_CSV)]
    name: Name = "your file"


@dataclass(frozen=True, kw_only=True)
class Select:
    """Choose the sample that is carried through the network."""

    __pydantic_config__ = _STRICT
    sample: Index


@dataclass(frozen=True, kw_only=True)
class Show:
    """Draw out a unit of a wide layer."""

    __pydantic_config__ = _STRICT
    layer: Index
    unit: Index


@dataclass(frozen=True, kw_only=True)
class Edit:
    """Set a weight, a bias, an input or a target (``y[0]``) of the sample."""

    __pydantic_config__ = _STRICT
    target: Path
    value: Number


@dataclass(frozen=True, kw_only=True)
class Configure:
    """Change how it trains and how it is written; what is left out stays as it is."""

    __pydantic_config__ = _STRICT
    learning_rate: (
        Annotated[float, Field(strict=True, gt=0, le=1000, allow_inf_nan=False)] | None
    ) = None
    optimizer: OptimizerName | None = None
    batch_size: Annotated[int, Field(strict=True, ge=1, le=10**7), JSON] | None = None
    scope: Scope | None = None
    notation: NotationName | None = None
    digits: Annotated[int, Field(strict=True, ge=2, le=12), JSON] | None = None


@dataclass(frozen=True, kw_only=True)
class Update:
    """Make the update that is explained: every parameter moves by η times its gradient."""

    __pydantic_config__ = _STRICT


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train some steps or epochs; it ends early after ``seconds``."""

    __pydantic_config__ = _STRICT
    steps: Annotated[int, Field(strict=True, ge=1, le=10**6), JSON] | None = None
    epochs: Annotated[int, Field(strict=True, ge=1, le=10**6), JSON] | None = None
    seconds: Annotated[float, Field(strict=True, gt=0, le=5)] = 2.0
    again: Flag = False  # part of a run that goes on, which is undone as one
    results: Flag = False  # give the results in the frame, too
    pace: Annotated[int, Field(strict=True, ge=1, le=10**6), JSON] | None = (
        None  # most steps at once
    )


@dataclass(frozen=True, kw_only=True)
class Seek:
    """Go to a recorded step of training."""

    __pydantic_config__ = _STRICT
    record: Index


@dataclass(frozen=True, kw_only=True)
class Undo:
    """Take the last change back."""

    __pydantic_config__ = _STRICT


@dataclass(frozen=True, kw_only=True)
class Redo:
    """Make the change again that was taken back."""

    __pydantic_config__ = _STRICT


@dataclass(frozen=True, kw_only=True)
class Explain:
    """Give the derivation of ∂C/∂target."""

    __pydantic_config__ = _STRICT
    target: Path


@dataclass(frozen=True, kw_only=True)
class Open:
    """Give the terms of a contribution: at each level, the term and the unit that it goes through.

    At the levels below the first, the term is the one that is a sum (∂C/∂a, or ∂C/∂z).
    """

    __pydantic_config__ = _STRICT
    target: Path
    units: Annotated[list[Index], Field(min_length=1, max_length=MAX_LAYERS)]


@dataclass(frozen=True, kw_only=True)
class Latex:
    """Give the derivation of ∂C/∂target as LaTeX."""

    __pydantic_config__ = _STRICT
    target: Path


@dataclass(frozen=True, kw_only=True)
class Prove:
    """Give the certificate of ∂C/∂target."""

    __pydantic_config__ = _STRICT
    target: Path


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Give the steps of the forward pass, the backward pass and the update, in numbers."""

    __pydantic_config__ = _STRICT


@dataclass(frozen=True, kw_only=True)
class Results:
    """Give what the network makes of the data: surface, predicted against true, or confusion."""

    __pydantic_config__ = _STRICT
    points: Flag = True  # the samples, too, which change only with the data


@dataclass(frozen=True, kw_only=True)
class Health:
    """Say how large the gradients are, layer by layer, and which units have stopped learning."""

    __pydantic_config__ = _STRICT


@dataclass(frozen=True, kw_only=True)
class Ask:
    """Ask for an exercise."""

    __pydantic_config__ = _STRICT
    about: Literal["any", "term", "gradient", "update"] = "any"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Answer the exercise that was asked last."""

    __pydantic_config__ = _STRICT
    value: Number


@dataclass(frozen=True, kw_only=True)
class Tour:
    """Set up a lesson, and give its stops."""

    __pydantic_config__ = _STRICT
    lesson: Literal["output weight", "tanh chain"]


@dataclass(frozen=True, kw_only=True)
class Share:
    """Give the state as a text for a URL (small networks), and the Python code."""

    __pydantic_config__ = _STRICT


@dataclass(frozen=True, kw_only=True)
class Restore:
    """Take over a state that `Share` gave."""

    __pydantic_config__ = _STRICT
    state: Annotated[str, Field(max_length=MAX_STATE)]


REQUESTS: dict[str, type[Any]] = {
    cls.__name__.lower(): cls
    for cls in (
        Look, Build, Data, Upload, Select, Show, Edit, Configure, Update, Train, Seek, Undo, Redo,
        Explain, Open, Latex, Prove, Steps, Results, Health, Ask, Answer, Tour, Share, Restore,
    )
}  # fmt: skip


# --- replies --------------------------------------------------------------------------------------

Value = float | Literal["nan", "inf", "-inf"]  # what is not finite, JSON has no number for
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


class StepView(TypedDict):
    """One step of the passes: what is computed, from what, and the equations in numbers."""

    phase: Literal["input", "forward", "loss", "backward", "gradient", "update"]
    layer: int
    title: str
    words: str
    equations: list[EquationView]


class EquationView(TypedDict):
    """An equation, the words before it, and what opens when it is clicked."""

    lead: str
    mathml: str
    text: str
    target: str


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


class LayerHealth(TypedDict):
    """The health of a layer."""

    layer: int
    gradient: Value
    share: Value  # of the largest gradient of all layers, 0 to 1
    slope: Value  # the mean of |g'|
    arriving: Value  # the mean of |∂C/∂a|
    marked: list[list[Any]]  # (unit, "dead" or "saturated")
    words: str


class HealthView(TypedDict):
    """The health of all layers."""

    kind: Literal["health"]
    words: str
    layers: list[LayerHealth]


class QuestionView(TypedDict):
    """An exercise."""

    kind: Literal["question"]
    words: str
    mathml: str
    target: str
    given: list[EquationView]
    hint: str


class VerdictView(TypedDict):
    """What is said about an answer."""

    kind: Literal["verdict"]
    right: bool
    fault: str  # "", "sign", "slope", "transposed", "sum", "after", "input", "units" or "other"
    words: str
    solution: str
    target: str


class StopView(TypedDict):
    """A stop of a tour."""

    title: str
    words: str
    equations: list[EquationView]
    target: str
    phase: str
    layer: int
    act: str  # what the page offers to do: "", "update", "prove"


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
    """Give the class of the reply to a request; what changes something is answered by a `Frame`."""
    return REPLIES.get(kind, Frame)


# --- checks ---------------------------------------------------------------------------------------


def parse(message: object) -> Any:
    """Give the request that a JSON object is; ValueError says what is wrong with it."""
    if not isinstance(message, Mapping):
        raise ValueError(f"a message must be an object, got {type(message).__name__}")
    kind = message.get("kind")
    if not isinstance(kind, str) or kind not in REQUESTS:
        raise ValueError(f"unknown kind of message {kind!r}; known: {', '.join(REQUESTS)}")
    fields = {name: value for name, value in message.items() if name != "kind"}
    try:
        return _adapter(kind).validate_python(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the message"
        raise ValueError(f"{kind}: {place}: {first['msg']}") from None


@cache
def _adapter(kind: str) -> Any:
    return TypeAdapter(REQUESTS[kind])


def schema() -> dict[str, Any]:
    """Give the JSON Schema of every request and of its reply."""
    return {
        kind: {
            "request": _adapter(kind).json_schema(),
            "reply": TypeAdapter(reply_of(kind)).json_schema(),
        }
        for kind in REQUESTS
    }
