"""The requests of a page to its `Session`: one class for each, with the limits of its fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from chainrule.explorer.protocol.checks import Limits

MAX_LAYERS = 16  # with weights, of a network made on the page
MAX_UNITS = 1024
MAX_PARAMETERS = 1_000_000
MAX_CSV = 4 * 2**20  # bytes of an upload
MAX_STATE = 64 * 2**10  # characters of a state in a URL


Index = Annotated[int, Limits(least=0, most=10**7)]
Count = Annotated[int, Limits(least=1, most=10**6)]
Seed = Annotated[int, Limits(least=0, most=2**53)]  # a whole number of JSON's
Name = Annotated[str, Limits(longest=40)]
Path = Annotated[str, Limits(longest=60)]  # of a quantity: w[2][1,2]
Dataset = Literal["circles", "xor", "gaussians", "spiral", "moons", "xor table", "plane", "digits"]
OptimizerName = Literal["gradient descent", "momentum", "adam"]
Scope = Literal["sample", "all"]
NotationName = Literal["default", "C-a-L", "L-h"]


@dataclass(frozen=True, kw_only=True)
class Look:
    """Return the frame: all that is drawn."""

    refocus: bool = False  # choose anew which units of wide layers are drawn


@dataclass(frozen=True, kw_only=True)
class Build:
    """Make a new network; what is left out stays as it is."""

    hidden_sizes: Annotated[list[int], Limits(longest=MAX_LAYERS - 1)] | None = None
    hidden: Annotated[list[Name], Limits(longest=MAX_LAYERS - 1)] | None = None
    output: Name | None = None
    loss: Name | None = None
    seed: Seed | None = None


@dataclass(frozen=True, kw_only=True)
class Data:
    """Take one of the classic data sets."""

    name: Dataset
    noise: Annotated[float, Limits(least=0, most=0.5)] = 0.1
    seed: Seed = 0


@dataclass(frozen=True, kw_only=True)
class Upload:
    """Take samples from the text of a CSV file: inputs, then the class or the targets."""

    text: Annotated[str, Limits(longest=MAX_CSV)]
    name: Name = "your file"


@dataclass(frozen=True, kw_only=True)
class Select:
    """Choose the sample that is carried through the network."""

    sample: Index


@dataclass(frozen=True, kw_only=True)
class Show:
    """Draw out a unit of a wide layer."""

    layer: Index
    unit: Index


@dataclass(frozen=True, kw_only=True)
class Edit:
    """Set a weight, a bias, an input or a target (``y[0]``) of the sample."""

    target: Path
    value: float


@dataclass(frozen=True, kw_only=True)
class Configure:
    """Change how it trains and how it is written; what is left out stays as it is."""

    learning_rate: Annotated[float, Limits(above=0, most=1000)] | None = None
    optimizer: OptimizerName | None = None
    batch_size: Annotated[int, Limits(least=1, most=10**7)] | None = None
    scope: Scope | None = None
    notation: NotationName | None = None
    digits: Annotated[int, Limits(least=2, most=12)] | None = None


@dataclass(frozen=True, kw_only=True)
class Update:
    """Make the update that is explained: every parameter moves by η times its gradient."""


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train some steps or epochs; it ends early after ``seconds``."""

    steps: Count | None = None
    epochs: Count | None = None
    seconds: Annotated[float, Limits(above=0, most=5)] = 2.0
    again: bool = False  # part of a run that goes on, which is undone as one
    results: bool = False  # give the results in the frame, too
    pace: Count | None = None  # most steps at once


@dataclass(frozen=True, kw_only=True)
class Seek:
    """Go to a recorded step of training."""

    record: Index


@dataclass(frozen=True, kw_only=True)
class Undo:
    """Take the last change back."""


@dataclass(frozen=True, kw_only=True)
class Redo:
    """Make the change again that was taken back."""


@dataclass(frozen=True, kw_only=True)
class Explain:
    """Return the derivation of ∂C/∂target."""

    target: Path


@dataclass(frozen=True, kw_only=True)
class Open:
    """Return the terms of a contribution: at each level, the term and the unit that it goes through.

    At the levels below the first, the term is the one that is a sum (∂C/∂a, or ∂C/∂z).
    """

    target: Path
    units: Annotated[list[Index], Limits(shortest=1, longest=MAX_LAYERS)]


@dataclass(frozen=True, kw_only=True)
class Latex:
    """Return the derivation of ∂C/∂target as LaTeX."""

    target: Path


@dataclass(frozen=True, kw_only=True)
class Prove:
    """Return the certificate of ∂C/∂target."""

    target: Path


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Return the steps of the forward pass, the backward pass and the update, in numbers."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """Return what the network makes of the data: surface, predicted against true, or confusion."""

    points: bool = True  # the samples, too, which change only with the data


@dataclass(frozen=True, kw_only=True)
class Health:
    """Say how large the gradients are, layer by layer, and which units have stopped learning."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """Ask for an exercise."""

    about: Literal["any", "term", "gradient", "update"] = "any"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Answer the exercise that was asked last."""

    value: float


@dataclass(frozen=True, kw_only=True)
class Tour:
    """Set up a lesson, and give its stops."""

    lesson: Literal["output weight", "tanh chain"]


@dataclass(frozen=True, kw_only=True)
class Share:
    """Return the state as a text for a URL (small networks), and the Python code."""


@dataclass(frozen=True, kw_only=True)
class Restore:
    """Take over a state that `Share` gave."""

    state: Annotated[str, Limits(longest=MAX_STATE)]


REQUESTS: dict[str, type[Any]] = {
    cls.__name__.lower(): cls
    for cls in (
        Look, Build, Data, Upload, Select, Show, Edit, Configure, Update, Train, Seek, Undo, Redo,
        Explain, Open, Latex, Prove, Steps, Results, Health, Ask, Answer, Tour, Share, Restore,
    )
}  # fmt: skip
