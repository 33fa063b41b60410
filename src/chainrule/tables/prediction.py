"""Prediction: apply a model to a table of any size, batch by batch, and write the results."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from chainrule.equations.checks import listed
from chainrule.equations.numbers import plain
from chainrule.storage.container import as_json
from chainrule.tables import measures
from chainrule.tables import target as targets
from chainrule.tables.measures import Measured
from chainrule.tables.notes import Notes
from chainrule.tables.source import Source, TableError, no_rows

if TYPE_CHECKING:
    import pyarrow as pa

    from chainrule.tables.model import TableModel
    from chainrule.tables.schema import Target

FORMATS = (".csv", ".tsv", ".jsonl", ".parquet", ".arrow", ".feather")
OUTSIDE = "outside_training_range"


class Prediction:
    """The predictions of a model for a table, in batches, with notes and a score.

    ``kept`` names columns of the table to copy. With ``spread``, one more column for each output is
    the standard deviation over the networks of the model. With ``mark_far``, one more column,
    `OUTSIDE`, lists the columns whose value is far outside the training rows. After the last batch,
    ``notes`` holds what the model did not know, and `score` returns how good the predictions are,
    if the table has the target.
    """

    def __init__(
        self, model: TableModel, source: Source, kept: Sequence[str] = (), mark_far: bool = False,
        spread: bool = False,
    ) -> None:  # fmt: skip
        if spread and not model.others:
            raise TableError(
                "the model has one network, and the spread is over several. Train it with "
                "--members 8 or the like"
            )
        self.mark_far, self.spread = mark_far, spread
        self.model, self.source, self.kept = model, source, list(kept)
        self.unknown = model.check_columns(source)
        self.notes, self.n_rows = Notes(), 0
        target = model.schema.target
        self._own = [target.name]
        if target.task == "classify":
            self._own += [f"probability_{name}" for name in target.classes]
        self._own += _spreads(target) if spread else []
        self._own += [OUTSIDE] if mark_far else []
        for name in self.kept:
            if name not in source.names:
                raise TableError(
                    f"there is no column {name!r} to keep; {source.path} has {listed(source.names)}"
                )
            if name in self._own:
                raise TableError(
                    f"column {name!r} cannot be kept, because the predictions have a column of "
                    "this name. Rename it in the table."
                )
        self._has_target = target.name in source.names
        self._scored: list[tuple[NDArray[Any], NDArray[Any]]] = []
        self.others: Counter[str] = Counter()  # targets that are not a class, or a number

    def batches(self) -> Iterator[pa.Table]:
        """Yield the predictions of all rows in order."""
        import pyarrow as pa

        model, target = self.model, self.model.schema.target
        names = dict.fromkeys([*(column.name for column in model.schema.columns), *self.kept])
        if self._has_target:
            names[target.name] = None
        for batch in self.source.batches(list(names)):
            X = model.preprocessing.transform(batch, self.source, self.n_rows, self.notes)
            each = model.ensemble.outputs(X)  # once, for the mean and the spread
            outputs = each[0] if len(each) == 1 else each.mean(axis=0)
            columns: dict[str, Any] = {name: batch.column(name) for name in self.kept}
            columns[target.name] = _labels(target, outputs)
            if target.task == "classify":
                for j, name in enumerate(target.classes):
                    of_class = pa.array(np.ascontiguousarray(outputs[:, j]))
                    columns[f"probability_{name}"] = of_class
            if self.spread:
                scale = target.scale if target.task == "regress" else 1.0
                deviations = each.std(axis=0, dtype=np.float64) * scale
                for j, name in enumerate(_spreads(target)):
                    columns[name] = pa.array(np.ascontiguousarray(deviations[:, j], np.float32))
            if self.mark_far:
                columns[OUTSIDE] = pa.array(self._outside(len(X)), pa.list_(pa.string()))
            self._score(batch, outputs)
            self.n_rows += len(X)
            yield pa.table(columns)
        if not self.n_rows:
            raise no_rows(self.source.path)

    def _outside(self, n: int) -> list[list[str]]:
        """Return the columns of each row of the last batch whose value is far outside."""
        found: list[list[str]] = [[] for _ in range(n)]
        for name, far in self.notes.far.items():
            for row in far.rows:
                found[row - self.n_rows].append(name)
        return found

    def _score(self, batch: pa.Table, outputs: NDArray[Any]) -> None:
        if not self._has_target:
            return
        schema = self.model.schema
        column = batch.column(schema.target.name)
        y = targets.encode(schema.target, column, schema.missing, self.others)
        known = y >= 0 if schema.target.task == "classify" else ~np.isnan(y)
        self._scored.append((y[known], outputs[known]))

    def score(self) -> tuple[int, Measured]:
        """Return how many rows had a known target, and how good the predictions are there."""
        if not self._scored:
            return 0, {}
        y = np.concatenate([part for part, _ in self._scored])
        outputs = np.concatenate([part for _, part in self._scored])
        if not len(y):
            return 0, {}
        return len(y), measures.measure(self.model.schema.target, y, outputs)


def _spreads(target: Target) -> list[str]:
    """Return the names of the columns of the spread."""
    return [f"spread_{name}" for name in target.classes] or ["spread"]


def _labels(target: Target, outputs: NDArray[Any]) -> pa.Array:
    """Return the predicted labels, with the type of the target."""
    import pyarrow as pa

    if target.task == "regress":
        digits = 7 - math.floor(math.log10(target.scale))  # the rest is rounding of float32
        return pa.array(np.round(measures.predicted_numbers(target, outputs), digits))
    types = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64()}
    read = {"text": str, "integer": int, "number": float}[target.kind]
    classes = pa.array([read(name) for name in target.classes], types[target.kind])
    return classes.take(pa.array(outputs.argmax(axis=1)))


class _Writer(Protocol):
    def write_table(self, table: pa.Table) -> None:
        """Write some rows."""
        ...


@contextmanager
def writer(file: IO[bytes], form: str, schema: pa.Schema) -> Iterator[_Writer]:
    """Open a writer of batches into a file in one of `FORMATS`."""
    import pyarrow as pa

    if form == ".jsonl":
        yield _JsonLines(file)
        return
    sink = pa.PythonFile(_Open(file), mode="w")
    if form in (".csv", ".tsv"):
        from pyarrow import csv

        options = csv.WriteOptions(
            delimiter="\t" if form == ".tsv" else ",", quoting_style="needed"
        )
        made: Any = csv.CSVWriter(sink, schema, write_options=options)
    elif form == ".parquet":
        import pyarrow.parquet as pq

        made = pq.ParquetWriter(sink, schema)
    else:
        made = pa.ipc.new_file(sink, schema)
    with made as opened:
        yield opened


class _JsonLines:
    """Writes each row as a JSON object in a line of its own."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write_table(self, table: pa.Table) -> None:
        """Write some rows."""
        columns = [_values(column) for column in table.columns]
        for row in zip(*columns, strict=True):
            line = as_json(dict(zip(table.column_names, row, strict=True)))
            self._file.write(f"{line}\n".encode())


def _values(column: pa.ChunkedArray) -> list[Any]:
    """Return values as JSON has them: numbers with the digits of CSV, the rest as texts."""
    values = column.to_pylist()
    if str(column.type) == "float":  # in float64 it would have digits that nobody computed
        values = [None if v is None else float(str(np.float32(v))) for v in values]
    known = bool | int | float | str | None
    return [plain(v) if isinstance(v, known | list) else str(v) for v in values]


class _Open:
    """A file that stays open after a writer has finished."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self.write, self.flush = file.write, file.flush
        self.tell, self.writable = file.tell, file.writable

    def close(self) -> None:
        """Do nothing."""
