"""The schema of a model: its columns and target, as plain data in the model file."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from chainrule.tables import notation

Task = Literal["classify", "regress"]
Labels = Literal["text", "integer", "number"]

# The parts of a date: days since 1970; and the day of the year, the day of the week and the time of
# the day, each as the sine and cosine of a circle.
DATE_PARTS = (
    "days", "year sin", "year cos", "week sin", "week cos", "day sin", "day cos",
)  # fmt: skip
LARGEST = 1e150  # beyond it, numbers have no variance in float64
SMALLEST = 1e-100  # below it, dividing by a deviation overflows
RARE, NONE = "(rare)", "(missing)"  # the inputs of rare and of missing categories
STANDARDISED, SCALED = ", standardised", ", scaled"  # how a number has become an input
BASES = ("value", "days")  # the parts that have no bounds of their own


_WHOLE = re.compile(r"-?\d{1,18}", re.ASCII)
_NUMBER = re.compile(r"-?\d{1,30}(\.\d{1,30})?(e[+-]?\d{1,3})?", re.ASCII)


@dataclass(frozen=True)
class Column:
    """A column that the model takes, and its inputs.

    A number has one part, a date some of `DATE_PARTS`; each part has a mean and a scale, of the
    training rows. A category has ``categories``, each with an input; with ``rare``, all others
    share one input, and ``rares`` lists them (it is empty if there are too many to keep). With
    ``missing``, one more input marks a missing value. ``words`` describe the column. ``low`` and
    ``high`` hold the least and the largest number, or day of a date, of the training rows, unless
    an older version wrote the file.

    With a ``clip`` above 0, the number, or the days of a date, are squeezed between its negative
    and itself after scaling. ``bins`` are the ends of pieces, each with an input (see `encoding`).
    """

    name: str
    kind: Literal["number", "date", "category"]
    missing: bool = False
    parts: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    variance: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    form: str = ""  # of a date in text, as of strptime, empty for ISO 8601; see also `notation`
    categories: tuple[str, ...] = ()
    rare: bool = False
    rares: tuple[str, ...] = ()
    words: str = ""
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    clip: float = 0.0
    bins: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind == "category":
            if not self.categories and not self.rare:
                raise ValueError(f"column {self.name!r} has no categories; expected one or more")
            if len(set(self.categories)) < len(self.categories):
                raise ValueError(f"column {self.name!r} has a category twice")
            if any(category.startswith("\0") for category in self.categories):
                raise ValueError(f"column {self.name!r} has a category that begins with NUL")
            if self.clip or self.bins:
                raise ValueError(f"column {self.name!r} has categories, and pieces of numbers")
        else:
            known = ("value",) if self.kind == "number" else DATE_PARTS
            if not self.parts or any(
                part not in known or self.parts.count(part) > 1 for part in self.parts
            ):
                raise ValueError(
                    f"column {self.name!r} has parts {self.parts}; expected some of {known}, each "
                    "once"
                )
            if not len(self.parts) == len(self.mean) == len(self.variance) == len(self.scale):
                raise ValueError(f"column {self.name!r} lacks a mean or scale")
            notation.check_form(self.form, self.kind)
            if not len(self.low) == len(self.high) <= 1 or self.low > self.high:
                raise ValueError(f"column {self.name!r} has a range that is malformed")
            for mean, scale in zip(self.mean, self.scale, strict=True):
                _check_scale(f"column {self.name!r}", mean, scale)
            self._check_encoding()

    def _check_encoding(self) -> None:
        if self.clip and not 0.01 <= self.clip <= 1e6:
            raise ValueError(
                f"column {self.name!r} is squeezed at {self.clip:.6g}; expected 0.01 to 1e6"
            )
        steps = [b - a for a, b in itertools.pairwise(self.bins)]
        far = any(abs(end) > LARGEST for end in self.bins)
        if len(self.bins) == 1 or far or not all(step >= SMALLEST for step in steps):
            raise ValueError(
                f"column {self.name!r} has pieces that are malformed; expected ends that rise"
            )

    def squeezed(self, part: str) -> bool:
        """Return whether a part is bounded smoothly."""
        return self.clip > 0 and part in BASES


@dataclass(frozen=True)
class LeftOut:
    """A column that the model does not take, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class Target:
    """The quantity to predict: classes, or a number with the mean and scale of the training rows.

    ``kind`` is the kind of the labels: text, whole numbers, or other numbers. ``form`` is that of
    numbers in text (see `notation`).
    """

    name: str
    task: Task
    kind: Labels
    classes: tuple[str, ...] = ()
    mean: float = 0.0
    scale: float = 1.0
    form: str = ""

    def __post_init__(self) -> None:
        if self.task == "classify" and len(self.classes) < 2:
            raise ValueError(
                f"the target {self.name!r} has {len(self.classes)} classes; expected 2 or more"
            )
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"the target {self.name!r} has a class twice")
        if self.kind != "text":
            form = _WHOLE if self.kind == "integer" else _NUMBER
            for label in self.classes:
                if not form.fullmatch(label):
                    raise ValueError(
                        f"the target {self.name!r} has the class {label!r}; its kind is {self.kind}"
                    )
        notation.check_form(self.form, "number")
        _check_scale(f"the target {self.name!r}", self.mean, self.scale)


@dataclass(frozen=True)
class Schema:
    """The columns, in the order of the training file, and the target."""

    columns: tuple[Column, ...]
    left_out: tuple[LeftOut, ...]
    target: Target
    missing: tuple[str, ...]  # the texts that stand for "no value"
    more: tuple[Target, ...] = ()  # targets beside the first; all are numbers then

    def __post_init__(self) -> None:
        if self.more and any(target.task == "classify" for target in self.targets):
            raise ValueError("one of several targets has classes; expected numbers")
        names = [c.name for c in self.columns] + [c.name for c in self.left_out]
        names += [target.name for target in self.targets]
        if len(set(names)) < len(names):
            raise ValueError("two columns have the same name")
        if not self.columns:
            raise ValueError("no column is left to learn from")

    @property
    def targets(self) -> tuple[Target, ...]:
        """All targets, in the order of the outputs; one alone may have an output for each class."""
        return (self.target, *self.more)

    @property
    def numeric(self) -> list[Column]:
        """The numbers and dates, whose parts are the first inputs."""
        return [column for column in self.columns if column.kind != "category"]

    @property
    def categorical(self) -> list[Column]:
        """The categories, whose inputs come after those of numbers."""
        return [column for column in self.columns if column.kind == "category"]

    @property
    def inputs(self) -> list[str]:
        """The name of each input of the network."""
        names = []
        for column in self.numeric:
            for part in column.parts:
                of = "" if part == "value" else f" ({part})"
                how = SCALED if column.squeezed(part) else STANDARDISED
                names.append(f"{column.name}{of}{how}")
        names += [f"{column.name} is missing" for column in self.numeric if column.missing]
        for column in self.categorical:
            names += [f"{column.name}={category}" for category in levels(column)]
        for column in self.numeric:
            for low, high in itertools.pairwise(column.bins):
                names.append(f"{column.name} from {low:.12g} to {high:.12g}")
        return names

    @property
    def outputs(self) -> list[str]:
        """The name of each output of the network."""
        if self.target.task == "regress":
            return [f"{target.name}{STANDARDISED}" for target in self.targets]
        return [f"{self.target.name}={name}" for name in self.target.classes]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        about = asdict(self)
        for column in about["columns"]:  # older versions read those that need nothing new
            for name in ("clip", "bins"):
                if not column[name]:
                    del column[name]
        if not self.more:
            del about["more"]
        return about

    @property
    def is_encoded(self) -> bool:
        """Whether a number is squeezed, or has pieces."""
        return any(column.clip or column.bins for column in self.columns)

    @classmethod
    def from_dict(cls, about: Any) -> Schema:
        """Return the schema of what `to_dict` returned; raise ValueError for anything else."""
        about = _checked(cls, about)
        return cls(
            tuple(_read(Column, item) for item in _items(about["columns"], "columns")),
            tuple(_read(LeftOut, item) for item in _items(about["left_out"], "left_out")),
            _read(Target, about["target"]),
            tuple(_text(item, "missing") for item in _items(about["missing"], "missing")),
            tuple(_read(Target, item) for item in _items(about["more"], "more")),
        )


def _check_scale(whose: str, mean: float, scale: float) -> None:
    if not SMALLEST <= scale <= LARGEST:
        what = "not above 0" if not scale > 0 else "too small" if scale < 1 else "too large"
        raise ValueError(f"{whose} has a scale that is {what}: {scale:.6g}")
    if not abs(mean) <= LARGEST:
        raise ValueError(f"{whose} has a mean that is too large: {mean:.6g}")


def levels(column: Column) -> list[str]:
    """Return the name of each input of a category."""
    names = list(column.categories)
    names += [RARE] if column.rare else []
    return names + ([NONE] if column.missing else [])


_KINDS: Mapping[str, tuple[str, ...]] = {
    "Column": ("number", "date", "category"),
    "Target": ("text", "integer", "number"),
}


_LATER: Mapping[str, dict[str, Any]] = {  # what files of versions 1 and 2 lack
    "Column": {"low": (), "high": (), "clip": 0.0, "bins": ()},
    "Target": {"form": ""},
    "Schema": {"more": ()},
}


def _read(kind: type[Any], about: Any) -> Any:
    """Return a dataclass from plain data, with the type of each value checked."""
    values = {}
    about = _checked(kind, about)
    for field in fields(kind):
        value = about[field.name]
        expected = str(field.type)
        if expected == "tuple[float, ...]":
            value = tuple(finite(item, field.name) for item in _items(value, field.name))
        elif expected == "tuple[str, ...]":
            value = tuple(_text(item, field.name) for item in _items(value, field.name))
        elif expected == "float":
            value = finite(value, field.name)
        elif expected == "bool":
            if not isinstance(value, bool):
                raise ValueError(f"its {field.name} is {value!r}; expected true or false")
        else:
            value = _text(value, field.name)
        values[field.name] = value
    if (known := _KINDS.get(kind.__name__)) and values["kind"] not in known:
        raise ValueError(f"its kind is {values['kind']!r}; expected one of {', '.join(known)}")
    if kind is Target and values["task"] not in ("classify", "regress"):
        raise ValueError(f"its task is {values['task']!r}; expected classify or regress")
    return kind(**values)


def _checked(kind: type[Any], about: Any) -> Any:
    names = {field.name for field in fields(kind)}
    if isinstance(about, dict):
        about = {**_LATER.get(kind.__name__, {}), **about}
    if not isinstance(about, dict) or about.keys() != names:
        raise ValueError(
            f"its {kind.__name__.lower()} is malformed; expected the keys "
            f"{', '.join(sorted(names))}"
        )
    return about


def _items(value: Any, name: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"its {name} is {value!r}; expected a list")
    return value


def finite(value: Any, name: str) -> float:
    """Return a finite number of JSON; raise ValueError, with its name, for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 2**1000 else math.inf
    if not isinstance(value, float) or not math.isfinite(value):
        raise ValueError(f"its {name} has {value!r}; expected a finite number")
    return value


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"its {name} has {value!r}; expected text")
    if any("\ud800" <= c <= "\udfff" for c in value):
        raise ValueError(f"its {name} has {value!r}; expected valid Unicode")
    return value
