"""The requests of a page to its `Session`: one class for each, with the limits of its fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from chainrule.explorer.protocol.checks import Limits

# The limits keep an answer to a few milliseconds, and the memory of a session small.
MAX_LAYERS = 16  # with weights, of a network built on the page
MAX_UNITS = 1024  # of a layer, and inputs of an upload
MAX_PARAMETERS = 1_000_000  # of a network built on the page
MAX_STEPS = 10**6  # of one request to train
MAX_CSV = 4 * 2**20  # characters of an upload
MAX_ANSWER = 200  # characters of an answer to an exercise
MAX_STATE = 64 * 2**10  # characters of a state in a URL
MAX_LESSON = 64 * 2**10  # characters of a lesson
MAX_NAME = 40  # characters of the name of a file, column or class, which fit on the page
MAX_WORKED = 5  # steps of a worked example
MAX_OUTPUTS = 8  # for which a file has numbers as targets
MAX_SEED = 2**53  # the largest integer up to which JavaScript holds every one

Index = Annotated[int, Limits(least=0, most=10**7)]
Count = Annotated[int, Limits(least=1, most=MAX_STEPS)]
Seed = Annotated[int, Limits(least=0, most=MAX_SEED)]
Name = Annotated[str, Limits(longest=MAX_NAME)]
Path = Annotated[str, Limits(longest=60)]  # of a quantity: w[2][1,2]
Dataset = Literal["circles", "xor", "gaussians", "spiral", "moons", "xor table", "plane", "digits"]
Derived = Literal["u**2", "v**2", "u*v", "sin(u)", "sin(v)"]  # in the two inputs u and v
OptimizerName = Literal["gradient descent", "momentum", "adam"]
Scope = Literal["sample", "all"]
Language = Literal["en", "de"]
NotationName = Literal["default", "C-a-L", "L-h"]


@dataclass(frozen=True, kw_only=True)
class Look:
    """Return the frame: everything that the page draws."""

    refocus: bool = False  # choose again which units of wide layers are drawn


@dataclass(frozen=True, kw_only=True)
class Build:
    """Build a new network; fields left out stay the same."""

    hidden_sizes: Annotated[list[int], Limits(longest=MAX_LAYERS - 1)] | None = None
    hidden: Annotated[list[Name], Limits(longest=MAX_LAYERS - 1)] | None = None
    output: Name | None = None
    loss: Name | None = None
    l2: Annotated[float, Limits(least=0, most=1000)] | None = None
    seed: Seed | None = None


@dataclass(frozen=True, kw_only=True)
class Data:
    """Use one of the classic data sets."""

    name: Dataset
    noise: Annotated[float, Limits(least=0, most=0.5)] = 0.1
    seed: Seed = 0


@dataclass(frozen=True, kw_only=True)
class Upload:
    """Use the samples of a CSV file: the inputs, then one column with the target."""

    text: Annotated[str, Limits(longest=MAX_CSV)]
    name: Name = "your file"


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Choose the inputs that are computed from the two of the data, in place of those before."""

    derived: Annotated[list[Derived], Limits(longest=5)]


@dataclass(frozen=True, kw_only=True)
class Split:
    """Hold out a share of all samples for validation, in place of the share before."""

    share: Annotated[float, Limits(least=0, most=0.9)]


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Change the number of outputs, as far as the targets of the data allow."""

    units: Annotated[int, Limits(least=1, most=MAX_UNITS)]


@dataclass(frozen=True, kw_only=True)
class Select:
    """Choose the current sample."""

    sample: Index


@dataclass(frozen=True, kw_only=True)
class Show:
    """Add a unit of a wide layer to the drawing."""

    layer: Index
    unit: Index


@dataclass(frozen=True, kw_only=True)
class Edit:
    """Set a weight, a bias, an input or a target (``y[0]``) of the sample."""

    target: Path
    value: float


@dataclass(frozen=True, kw_only=True)
class Configure:
    """Change the settings of training and notation; fields left out stay the same."""

    learning_rate: Annotated[float, Limits(above=0, most=1000)] | None = None
    optimizer: OptimizerName | None = None
    batch_size: Annotated[int, Limits(least=1, most=10**7)] | None = None
    scope: Scope | None = None
    notation: NotationName | None = None
    digits: Annotated[int, Limits(least=2, most=12)] | None = None


@dataclass(frozen=True, kw_only=True)
class Update:
    """Make the update that is explained: move every parameter against its gradient, times η."""


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train for some steps or epochs, and at most ``seconds``."""

    steps: Count | None = None
    epochs: Count | None = None
    seconds: Annotated[float, Limits(above=0, most=5)] = 2.0
    again: bool = False  # continue a run, which undo takes back as one change
    results: bool = False  # include the results in the frame
    pace: Count | None = None  # the most steps to take in this request


@dataclass(frozen=True, kw_only=True)
class Seek:
    """Go to a recorded step of training."""

    record: Index


@dataclass(frozen=True, kw_only=True)
class Undo:
    """Undo the last change."""


@dataclass(frozen=True, kw_only=True)
class Redo:
    """Redo the change that was undone last."""


@dataclass(frozen=True, kw_only=True)
class Explain:
    """Return the derivation of ∂C/∂target."""

    target: Path


@dataclass(frozen=True, kw_only=True)
class Open:
    """Return the terms of a contribution, given by the unit that it goes through at each level.

    At each level it is a contribution to the term that is a sum (∂C/∂a or ∂C/∂z).
    """

    target: Path
    units: Annotated[list[Index], Limits(shortest=1, longest=MAX_LAYERS)]


@dataclass(frozen=True, kw_only=True)
class Array:
    """Return the derivation of the gradient of a whole array: W[2] or b[1]."""

    target: Path


@dataclass(frozen=True, kw_only=True)
class Worked:
    """Return the whole worked example: forward, loss, every gradient and update, loss again."""

    steps: Annotated[int, Limits(least=1, most=MAX_WORKED)] = 1
    freeze_biases: bool = False
    language: Language = "en"


@dataclass(frozen=True, kw_only=True)
class Latex:
    """Return the derivation of ∂C/∂target as LaTeX; of a whole array, too."""

    target: Path


@dataclass(frozen=True, kw_only=True)
class Prove:
    """Return the certificate of ∂C/∂target; of a whole array, too."""

    target: Path


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Return C as a function of the target, drawn, and a nudge of it carried forward."""

    target: Path


@dataclass(frozen=True, kw_only=True)
class Units:
    """Return the activation of each drawn unit over the two inputs."""


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Return the steps of the forward pass, the backward pass and the update, in numbers."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """Return the predictions: a decision surface, predicted against true, or a confusion matrix."""

    points: bool = True  # include the samples, which change only with the data


@dataclass(frozen=True, kw_only=True)
class Health:
    """Return the size of each layer's gradient, and the units that have stopped learning."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """Return an exercise."""

    about: Literal["any", "term", "gradient", "update", "formula"] = "any"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Return the verdict on an answer to the last exercise: -0.25, 0.5*0.2 or a formula."""

    text: Annotated[str, Limits(longest=MAX_ANSWER)]


@dataclass(frozen=True, kw_only=True)
class Solve:
    """Return the answer to the last exercise, and the way to it."""


@dataclass(frozen=True, kw_only=True)
class Lessons:
    """Return the lessons, and what the page says around them."""

    language: Language = "en"


@dataclass(frozen=True, kw_only=True)
class Tour:
    """Begin a lesson: one that `Lessons` names, or that of a text, and return its titles."""

    lesson: Name = ""
    text: Annotated[str, Limits(longest=MAX_LESSON)] = ""
    language: Language = "en"


@dataclass(frozen=True, kw_only=True)
class Stop:
    """Return a stop of the lesson, with the numbers of the network as it is."""

    at: Index


@dataclass(frozen=True, kw_only=True)
class Respond:
    """Return whether an answer to the question of a stop is right: a number, or a choice."""

    at: Index
    value: float | None = None
    choice: Index | None = None


@dataclass(frozen=True, kw_only=True)
class Share:
    """Return the state of a small network as text for a URL, and Python code."""


@dataclass(frozen=True, kw_only=True)
class Restore:
    """Restore a state that `Share` returned."""

    state: Annotated[str, Limits(longest=MAX_STATE)]


REQUESTS: dict[str, type[Any]] = {
    cls.__name__.lower(): cls
    for cls in (
        Look, Build, Data, Upload, Inputs, Split, Outputs, Select, Show, Edit, Configure, Update,
        Train, Seek, Undo, Redo, Explain, Open, Array, Worked, Latex, Prove, Picture, Units,
        Steps, Results, Health, Ask, Answer, Solve, Lessons, Tour, Stop, Respond, Share, Restore,
    )
}  # fmt: skip
