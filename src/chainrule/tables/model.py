"""The model of a table: a network, its columns, and how it was trained, in one file.

The file is that of the network (see `chainrule.storage.models`), so that `chainrule.load` reads it;
the key ``table`` of its description holds the rest as plain data.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from chainrule._forks import cached_property
from chainrule._version import __version__
from chainrule.equations.checks import listed
from chainrule.storage import models
from chainrule.storage.atomic import write_atomically
from chainrule.storage.container import harmless, opened
from chainrule.tables import target as targets
from chainrule.tables.cells import CellError
from chainrule.tables.measures import NAMES
from chainrule.tables.notes import Notes
from chainrule.tables.preprocessing import Preprocessing
from chainrule.tables.rows import slice_of
from chainrule.tables.schema import Schema
from chainrule.tables.source import Source, TableError, missing_texts

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from chainrule.network import Network

VERSION = 3  # increased when an older program would misread the description


@dataclass(frozen=True)
class TableModel:
    """A network with the schema of its table.

    ``training`` holds the settings and facts of its training, ``measures`` the measures of the
    model and of the baseline on the held-out rows. Both are plain data, for people to read.
    """

    network: Network
    schema: Schema
    training: dict[str, Any] = field(default_factory=dict)
    measures: dict[str, Any] = field(default_factory=dict)
    version: str = __version__

    def __post_init__(self) -> None:
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
        about = {
            "version": VERSION,
            "chainrule": self.version,
            "schema": self.schema.to_dict(),
            "training": self.training,
            "measures": self.measures,
        }
        self.network.check_parameters()
        content = models.content(self.network, self.network.parameters, {models.TABLE: about})
        write_atomically(path, content)

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
        """Write the model, with its preprocessing, as C99; see `chainrule.tables.c.export`."""
        from chainrule.tables.c.export import to_c

        return to_c(
            self.network, self.schema, path, name=name, dtype=dtype, arithmetic=arithmetic,
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
        known = {*needed, self.schema.target.name, *(c.name for c in self.schema.left_out)}
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
        target = self.schema.target
        names = [column.name for column in self.schema.columns]
        if label is None:
            if target.name not in source.names:
                raise TableError(
                    f"{source.path} has no column {target.name!r}, the target, which the loss "
                    "needs. Name its value with --label."
                )
            names.append(target.name)
        batch, n = slice_of(source, names, rows.start, rows.stop)
        if batch is None:
            raise TableError(f"no row is in {rows.start}:{rows.stop}; {source.path} has {n:,} rows")
        column = batch.column(target.name) if label is None else pa.array([label] * len(batch))
        notes = Notes()
        X = self.preprocessing.transform(batch, source, rows.start, notes)
        try:
            y = targets.encode(target, column, self.schema.missing)
            bad = y < 0 if target.task == "classify" else y != y
            if bad.any() and not leave_out:
                raise CellError(int(bad.argmax()), "")
        except CellError as error:
            where = (
                source.place(rows.start + error.row, target.name) if label is None else "--label"
            )
            missing = "the target is missing; fill it in, or choose other rows"
            words = targets.no_class(target, error.text) if error.text else missing
            raise TableError(f"{where}: {words}") from None
        if bad.any():
            if bad.all():
                raise TableError(
                    f"{source.path} has no target in rows {rows.start}:{rows.stop}; choose other "
                    "rows"
                )
            X, y, batch = X[~bad], y[~bad], batch.filter(pa.array(~bad))
        if target.task == "regress":
            y = ((y - target.mean) / target.scale)[:, None]
        return X, y, batch, notes


def load(path: str | os.PathLike[str]) -> TableModel | None:
    """Read the model of a table from a file; return None for a network without columns.

    Raises ValueError if the file is damaged or from a newer version, OSError if it cannot be read.
    """
    with opened(path) as file:
        about = models.check(file)[0].get(models.TABLE)
    if about is None:
        return None
    from chainrule.loading import load as load_network

    network = load_network(path)
    try:
        return read(about, network)
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {harmless(str(error))}") from None


def read(about: Any, network: Network) -> TableModel:
    """Return the model of a description; raise ValueError if that is incomplete, or newer."""
    check(about)
    schema = Schema.from_dict(about["schema"])
    return TableModel(network, schema, about["training"], about["measures"], about["chainrule"])


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
    _check_measures(about["measures"])


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


def _check_measures(of: dict[str, Any]) -> None:
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
