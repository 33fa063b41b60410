"""The model of a table: its network or networks, columns, and how it was trained, in one file.

The file is that of the network (see `chainrule.storage.models`), so that `chainrule.load` reads it;
the key ``table`` of its description holds the rest as plain data. Of several networks, the members
of an ensemble, the first is that network; ``table.members.1`` and so on are the parameters of the
others, one vector each, and ``members`` in the description the seeds of all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule._forks import cached_property
from chainrule._version import __version__
from chainrule.equations.checks import listed
from chainrule.storage import models
from chainrule.storage.atomic import write_atomically
from chainrule.storage.container import OpenFile, harmless, opened
from chainrule.tables import target as targets
from chainrule.tables.cells import CellError
from chainrule.tables.held_out import HeldOut
from chainrule.tables.measures import NAMES
from chainrule.tables.notes import Notes
from chainrule.tables.preprocessing import Preprocessing
from chainrule.tables.rows import slice_of
from chainrule.tables.schema import Schema, Target
from chainrule.tables.source import Source, TableError, missing_texts

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from chainrule.ensemble import Ensemble
    from chainrule.network import Network

VERSION = 4  # increased when an older program would misread the description
_ENCODED = 3  # the version of one with members, or with pieces of numbers
_OF_ONE = 2  # the version of a model with one network, and numbers that are standardised
_MEMBER = f"{models.TABLE}.members."  # and a number from 1: the name of a tensor


@dataclass(frozen=True)
class TableModel:
    """A network, or several whose mean is the prediction, with the schema of their table.

    ``network`` is the first of them, and ``others`` are the rest: networks of the same shape.
    ``training`` holds the settings and facts of its training, ``measures`` the measures of the
    model and of the baseline on the held-out rows. Both are plain data, for people to read.
    ``held_out`` is what these rows tell about how far the predictions can be trusted.
    """

    network: Network
    schema: Schema
    training: dict[str, Any] = field(default_factory=dict)
    measures: dict[str, Any] = field(default_factory=dict)
    version: str = __version__
    others: tuple[Network, ...] = ()
    held_out: HeldOut = field(default_factory=HeldOut)

    def __post_init__(self) -> None:
        for i, other in enumerate(self.others, start=1):
            if _shape(other) != _shape(self.network):
                raise ValueError(
                    f"its network {i} is {other!r}, and its network 0 {self.network!r}; expected "
                    "networks that differ in their parameters and seeds alone"
                )
        inputs, outputs = len(self.schema.inputs), len(self.schema.outputs)
        if (inputs, outputs) != (self.network.sizes[0], self.network.sizes[-1]):
            raise ValueError(
                f"its columns make {inputs} inputs and {outputs} outputs; its network has "
                f"{self.network.sizes[0]} and {self.network.sizes[-1]}"
            )
        made = self.network.weighted_layers[-1].activation.name, self.network.loss.name
        if self.schema.target.task == "classify" and made != ("softmax", "cross_entropy"):
            raise ValueError(
                f"its target has classes, but its network ends in {' and '.join(made)}; expected "
                "softmax and cross_entropy"
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one file, atomically.

        Args:
            path: The file. One that exists is replaced.

        Raises:
            OSError: The file cannot be written.
            ValueError: A parameter of the network is not finite.
        """
        write_atomically(path, self.content())

    @property
    def _format(self) -> int:
        """The version of the description: older programs read what has nothing new."""
        if self.schema.more:
            return VERSION
        return _ENCODED if self.others or self.schema.is_encoded else _OF_ONE

    def content(self) -> bytes:
        """Return the bytes of the model's file."""
        about = {
            "version": self._format,
            "chainrule": self.version,
            "schema": self.schema.to_dict(),
            "training": self.training,
            "measures": self.measures,
        }
        if told := self.held_out.to_dict():
            about["held_out"] = told
        if self.others:
            about["members"] = [network.seed for network in self.networks]
        for network in self.networks:
            network.check_parameters()
        tensors = {f"{_MEMBER}{i}": net.parameters for i, net in enumerate(self.others, start=1)}
        more = {models.TABLE: about}
        return models.content(self.network, self.network.parameters, more, tensors)

    # --- its networks ---------------------------------------------------------------------------

    @property
    def networks(self) -> tuple[Network, ...]:
        """All networks of the model: the members of its ensemble."""
        return (self.network, *self.others)

    @cached_property
    def ensemble(self) -> Ensemble:
        """The networks as an ensemble, whose mean is the prediction and whose spread is on hand."""
        from chainrule.ensemble import Ensemble

        return Ensemble(self.networks)

    def member(self, index: int | None = None) -> TableModel:
        """Return the model with one of its networks, which may be unsaid if there is only one.

        Raises ValueError if there are several and none is named, or if there is no such network.
        """
        count = len(self.networks)
        if count == 1 and not index:
            return self
        which = "only network 0" if count == 1 else f"networks 0 to {count - 1}"
        if index is None:
            raise ValueError(
                f"the model has {which}, whose mean is its prediction; choose one of them with "
                "member (--member N)"
            )
        if not 0 <= index < count:
            raise ValueError(f"the model has no network {index}; it has {which}")
        return replace(self, network=self.networks[index], others=())

    def to_c(
        self,
        path: str | os.PathLike[str],
        *,
        name: str | None = None,
        dtype: str | None = None,
        arithmetic: str | None = None,
        quantize: str | None = None,
        main: bool = False,
    ) -> Network:
        """Write the model, with its preprocessing, as C99; see `chainrule.tables.c.export`.

        Raises ValueError for a model with several networks: `member` returns one with one.
        """
        from chainrule.tables.c.export import to_c

        return to_c(
            self.member().network, self.schema, path, name=name, dtype=dtype, arithmetic=arithmetic,
            quantize=quantize, main=main,
        )  # fmt: skip

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing, built again from the schema."""
        return Preprocessing(self.schema)

    def with_missing(self, texts: Sequence[str]) -> TableModel:
        """Return the model for data in which more texts stand for no value; see `missing_texts`."""
        missing = missing_texts(texts, self.schema.missing)
        return replace(self, schema=replace(self.schema, missing=missing))

    # --- new data -------------------------------------------------------------------------------

    def check_columns(self, source: Source) -> list[str]:
        """Return the names of the columns that the model does not know.

        Raises TableError if a column that the model needs is missing.
        """
        needed = [column.name for column in self.schema.columns]
        there = set(source.names)
        if missing := [name for name in needed if name not in there]:
            raise TableError(
                f"{source.path} lacks {'column' if len(missing) == 1 else 'columns'} "
                f"{listed(missing)}, which the model needs; it has {listed(source.names)}"
            )
        of_targets = (target.name for target in self.schema.targets)
        known = {*needed, *of_targets, *(c.name for c in self.schema.left_out)}
        return [name for name in source.names if name not in known]

    def samples(
        self, source: Source, rows: slice, label: str | None = None, leave_out: bool = False
    ) -> tuple[NDArray[np.float32], NDArray[Any], pa.Table, Notes]:
        """Return the inputs and targets of some rows for the network, and the rows themselves.

        ``label`` replaces the target of all rows, for a file without it. A row without a target is
        an error, or left out with ``leave_out``. The notes say what the training rows did not have.
        Raises TableError, with the place, for what does not fit, and if no row is in the range.
        """
        import pyarrow as pa

        self.check_columns(source)
        names = [column.name for column in self.schema.columns]
        said = None if label is None else self._said(label)
        for target in self.schema.targets if said is None else ():
            if target.name not in source.names:
                raise TableError(
                    f"{source.path} has no column {target.name!r}, the target, which the loss "
                    "needs. Name its value with --label."
                )
            names.append(target.name)
        batch, n = slice_of(source, names, rows.start, rows.stop)
        if batch is None:
            raise TableError(f"no row is in {rows.start}:{rows.stop}; {source.path} has {n:,} rows")
        notes = Notes()
        X = self.preprocessing.transform(batch, source, rows.start, notes)
        each = []
        for j, target in enumerate(self.schema.targets):
            column = batch.column(target.name) if said is None else pa.array([said[j]] * len(batch))
            place = partial(source.place, column=target.name) if said is None else None
            each.append(self._encoded(target, column, place, rows.start, leave_out))
        bad = np.any([y < 0 if t.task == "classify" else y != y
                      for t, y in zip(self.schema.targets, each, strict=True)], axis=0)  # fmt: skip
        y = np.column_stack(each) if self.schema.more else each[0]
        if bad.any():
            if bad.all():
                raise TableError(
                    f"{source.path} has no target in rows {rows.start}:{rows.stop}; choose other "
                    "rows"
                )
            X, y, batch = X[~bad], y[~bad], batch.filter(pa.array(~bad))
        if self.schema.target.task == "regress":
            mean, scale = np.array([(t.mean, t.scale) for t in self.schema.targets]).T
            y = (y.reshape(len(y), len(self.schema.targets)) - mean) / scale
        return X, y, batch, notes

    def _said(self, label: str) -> list[str]:
        return targets.labels_of(self.schema, label) if self.schema.more else [label]

    def _encoded(
        self, target: Target, column: Any, place: Callable[[int], str] | None, start: int,
        leave_out: bool,
    ) -> NDArray[Any]:  # fmt: skip
        """Return cells of a target; raise TableError for one that does not fit, or is missing."""
        try:
            y = targets.encode(target, column, self.schema.missing)
            bad = y < 0 if target.task == "classify" else y != y
            if bad.any() and not leave_out:
                raise CellError(int(bad.argmax()), "")
        except CellError as error:
            where = "--label" if place is None else place(start + error.row)
            missing = "the target is missing; fill it in, or choose other rows"
            words = targets.no_class(target, error.text) if error.text else missing
            raise TableError(f"{where}: {words}") from None
        return y


def load(path: str | os.PathLike[str]) -> TableModel | None:
    """Read the model of a table from a file; return None for a network without columns.

    Raises ValueError if the file is damaged or from a newer version, OSError if it cannot be read.
    """
    with opened(path) as file:
        about, _ = models.check(file)
        if models.TABLE not in about:
            return None
        from chainrule.network import Network

        table = about[models.TABLE]
        check(table)
        network = models.build(file, about, {}, Network)
        others = _members(file, table, network)
    try:
        return read(table, network, others)
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {harmless(str(error))}") from None


def read(about: Any, network: Network, others: tuple[Network, ...] = ()) -> TableModel:
    """Return the model of a description; raise ValueError if that is incomplete, or newer."""
    check(about)
    schema = Schema.from_dict(about["schema"])
    facts = about["training"], about["measures"], about["chainrule"]
    held_out = HeldOut.from_dict(about.get("held_out", {}))
    return TableModel(network, schema, *facts, others, held_out)


def _members(file: OpenFile, about: dict[str, Any], first: Network) -> tuple[Network, ...]:
    """Return the other networks of a file, with its tensors checked before anything is built."""
    seeds = about.get("members", [first.seed])
    if (
        not isinstance(seeds, list)
        or not all(type(seed) is int and 0 <= seed < 2**63 for seed in seeds)
        or seeds[:1] != [first.seed]
    ):
        raise ValueError(
            f"its members are {seeds!r}; expected the seeds of its networks, {first.seed} first"
        )
    names = [f"{_MEMBER}{i}" for i in range(1, len(seeds))]
    there = {name for name in file.keys() if name.startswith(f"{models.TABLE}.")}  # noqa: SIM118
    if wrong := sorted(there.symmetric_difference(names)):
        what = "has a tensor" if wrong[0] in there else "lacks the tensor"
        raise ValueError(f"it {what} {wrong[0]!r}; its description has {len(seeds)} members")
    others = []
    for name, seed in zip(names, seeds[1:], strict=True):
        numbers = file.get_tensor(name)
        if numbers.shape != first.parameters.shape or numbers.dtype != first.dtype:
            raise ValueError(
                f"tensor {name!r} has shape {list(numbers.shape)} and dtype {numbers.dtype}; "
                f"expected {list(first.parameters.shape)} and {first.dtype}"
            )
        other = first.copy()
        other.parameters[...], other.seed = numbers, seed
        other.check_parameters()
        others.append(other)
    return tuple(others)


def _shape(network: Network) -> tuple[Any, ...]:
    about = models.describe(network)
    return tuple(value for name, value in about.items() if name != "seed")


def check(about: Any) -> None:
    """Raise ValueError if a description of a table is malformed, or in a newer format."""
    if not isinstance(about, dict) or type(about.get("version")) is not int:
        raise ValueError("its description of the table has no version; expected a whole number")
    if about["version"] > VERSION:
        raise ValueError(
            f"its table was written by a newer chainrule, in format {about['version']}; this "
            f"version reads format {VERSION}. Update chainrule."
        )
    kinds: Sequence[tuple[str, type]] = (
        ("schema", dict), ("training", dict), ("measures", dict), ("chainrule", str),
    )  # fmt: skip
    for key, kind in kinds:
        if not isinstance(about.get(key), kind):
            raise ValueError(f"its description of the table lacks {key!r}, of type {kind.__name__}")
    _check_training(about["training"])
    check_measures(about["measures"])


def _check_training(training: dict[str, Any]) -> None:
    for name, value in training.items():
        if name == "rows":
            counts = value.values() if isinstance(value, dict) else [None]
            if any(type(count) is not int or not 0 <= count < 2**63 for count in counts):
                raise ValueError(
                    f"in its training, {name!r} is {value!r}; expected the number of rows in each "
                    "part"
                )
        elif not isinstance(value, str | int | float | None):
            raise ValueError(f"in its training, {name!r} is {value!r}; expected a number or text")


def check_measures(of: dict[str, Any]) -> None:
    """Raise ValueError unless these are measures of a model and of a baseline."""
    for whose, measured in of.items():
        if whose not in ("model", "baseline") or not isinstance(measured, dict):
            raise ValueError(
                f"in its measures, {whose!r} is {measured!r}; expected the measures of 'model' and "
                "'baseline'"
            )
        for name, value in measured.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if name not in NAMES or not (value is None or (number and _fits_float(value))):
                raise ValueError(
                    f"in its measures of {whose}, {name!r} is {value!r}; expected numbers for "
                    f"{', '.join(NAMES)}"
                )


def _fits_float(value: float) -> bool:
    return isinstance(value, float) or abs(value) < 2**1000
