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
from chainrule.tables import measures, several
from chainrule.tables import target as targets
from chainrule.tables.cells import Floats
from chainrule.tables.measures import Measured
from chainrule.tables.notes import Notes
from chainrule.tables.source import Source, TableError, no_rows
from chainrule.tables.trust import spread_of

if TYPE_CHECKING:
    import pyarrow as pa

    from chainrule.tables.model import TableModel
    from chainrule.tables.schema import Target

FORMATS = (".csv", ".tsv", ".jsonl", ".parquet", ".arrow", ".feather")
OUTSIDE = "outside_training_range"
LOWER, UPPER = "lower", "upper"  # the ends of intervals


class Prediction:
    """The predictions of a model for a table, in batches, with notes and a score.

    ``kept`` names columns of the table to copy. With ``spread``, one more column for each output is
    the standard deviation over the networks of the model. With ``level``, two more columns hold the
    ends of the intervals of this level. With ``mark_far``, one more column, `OUTSIDE`, lists the
    columns whose value is far outside the training rows. After the last batch, ``notes`` holds what
    the model did not know, and `score` returns how good the predictions are, if the table has the
    target.
    """

    def __init__(
        self, model: TableModel, source: Source, kept: Sequence[str] = (), mark_far: bool = False,
        spread: bool = False, level: float | None = None,
    ) -> None:  # fmt: skip
        if spread and not model.others:
            raise TableError(
                "the model has one network, and the spread is over several. Train it with "
                "--members 8 or the like"
            )
        for j in range(len(model.schema.targets)) if level is not None else ():
            model.held_out.need_intervals(model.schema, level or 0.0, j)
        self.targets = model.schema.targets
        self._begin(model, model.schema.target, source, kept, mark_far, spread, level)

    def _begin(
        self, model: Any, target: Target, source: Source, kept: Sequence[str], mark_far: bool,
        spread: bool, level: float | None,
    ) -> None:  # fmt: skip
        self.mark_far, self.spread, self.target, self.level = mark_far, spread, target, level
        self.model, self.source, self.kept = model, source, list(kept)
        self.unknown = model.check_columns(source)
        self.notes, self.n_rows = Notes(), 0
        self._own = [each.name for each in self.targets]
        if target.task == "classify":
            self._own += [f"probability_{name}" for name in target.classes]
        self._own += self._spreads() if spread else []
        if level is not None:
            made = [name for pair in self._ends() for name in pair]
            if taken := [name for name in made if name in self._own]:
                raise TableError(
                    f"a target is named {taken[0]!r}, as an end of the intervals is. Rename it in "
                    "the table, and train again."
                )
            self._own += made
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
        self._has_target = all(each.name in source.names for each in self.targets)
        self._scored: list[tuple[NDArray[Any], NDArray[Any]]] = []
        self.inside = np.zeros(len(self.targets), np.int64)  # known targets inside their intervals
        self.others: Counter[str] = Counter()  # targets that are not a class, or a number

    def batches(self) -> Iterator[pa.Table]:
        """Yield the predictions of all rows in order."""
        names = dict.fromkeys([*self._columns(), *self.kept])
        if self._has_target:
            names |= dict.fromkeys(each.name for each in self.targets)
        for batch in self.source.batches(list(names)):
            predicted = self._predict(batch)
            self.n_rows += batch.num_rows
            yield predicted
        if not self.n_rows:
            raise no_rows(self.source.path)

    def _columns(self) -> list[str]:
        """Return the columns that the model reads."""
        return [column.name for column in self.model.schema.columns]

    def _predict(self, batch: pa.Table) -> pa.Table:
        """Return the predictions of the next rows."""
        import pyarrow as pa

        model, target = self.model, self.target
        X = model.preprocessing.transform(batch, self.source, self.n_rows, self.notes)
        each = model.ensemble.outputs(X)  # once, for the mean and the spread
        outputs = each[0] if len(each) == 1 else each.mean(axis=0)
        columns: dict[str, Any] = {name: batch.column(name) for name in self.kept}
        for j, own in enumerate(self.targets):
            columns[own.name] = labels(own, outputs[:, [j]] if len(self.targets) > 1 else outputs)
        if target.task == "classify":
            for j, name in enumerate(target.classes):
                of_class = pa.array(np.ascontiguousarray(outputs[:, j]))
                columns[f"probability_{name}"] = of_class
        within = []
        for j, (lower, upper) in enumerate(self._ends() if self.level is not None else ()):
            within.append(ends(model, each, self.level or 0.0, j))
            columns |= {lower: pa.array(within[-1][0]), upper: pa.array(within[-1][1])}
        if self.spread:
            scale = [own.scale for own in self.targets] if target.task == "regress" else 1.0
            deviations = each.std(axis=0, dtype=np.float64) * scale
            for j, name in enumerate(self._spreads()):
                columns[name] = pa.array(np.ascontiguousarray(deviations[:, j], np.float32))
        if self.mark_far:
            far = self._outside(self.notes, self.n_rows, len(X))
            columns[OUTSIDE] = pa.array(far, pa.list_(pa.string()))
        self._score(batch, outputs, within)
        return pa.table(columns)

    def _spreads(self) -> list[str]:
        """Return the names of the columns of the spread."""
        if len(self.targets) > 1:
            return [f"spread_{own.name}" for own in self.targets]
        return spreads(self.target)

    def _ends(self) -> list[tuple[str, str]]:
        """Return the names of the columns for the ends of the intervals of each target."""
        if len(self.targets) > 1:
            return [(f"{LOWER}_{own.name}", f"{UPPER}_{own.name}") for own in self.targets]
        return [(LOWER, UPPER)]

    def words(self) -> list[str]:
        """Return what the model did not know."""
        return self.notes.words(self.model.schema, self.source)

    @staticmethod
    def _outside(notes: Notes, start: int, n: int) -> list[list[str]]:
        """Return the columns of each row of the last batch whose value is far outside."""
        found: list[list[str]] = [[] for _ in range(n)]
        for name, far in notes.far.items():
            for row in far.rows:
                found[row - start].append(name)
        return found

    def _score(
        self, batch: pa.Table, outputs: NDArray[Any], ends: Sequence[tuple[Floats, Floats]]
    ) -> None:
        if not self._has_target:
            return
        y = self._truth(batch)
        if self.target.task == "classify":
            known = y >= 0
        else:
            known = ~np.isnan(y.reshape(len(y), len(self.targets))).any(axis=1)
        self._scored.append((y[known], outputs[known]))
        if ends:
            low, high = (np.column_stack([pair[i] for pair in ends]) for i in (0, 1))
            y = y.reshape(low.shape)
            self.inside += ((low <= y) & (y <= high))[known].sum(axis=0)

    def _truth(self, batch: pa.Table) -> NDArray[Any]:
        """Return the targets of some rows, (n,), or (n, targets) of several."""
        missing = self.model.schema.missing
        each = [
            targets.encode(own, batch.column(own.name), missing, self.others)
            for own in self.targets
        ]
        return each[0] if len(each) == 1 else np.column_stack(each)

    def _measure(self, y: NDArray[Any], outputs: NDArray[Any]) -> Measured:
        if len(self.targets) > 1:
            return several.measure(self.model.schema, y, outputs)
        return measures.measure(self.target, y, outputs)

    def score(self) -> tuple[int, Measured]:
        """Return how many rows had a known target, and how good the predictions are there."""
        if not self._scored:
            return 0, {}
        y = np.concatenate([part for part, _ in self._scored])
        outputs = np.concatenate([part for _, part in self._scored])
        if not len(y):
            return 0, {}
        return len(y), self._measure(y, outputs)


def ends(model: TableModel, each: NDArray[Any], level: float, j: int = 0) -> tuple[Floats, Floats]:
    """Return the ends of the intervals around the mean of the outputs of networks, (M, n, k).

    They are those of target j.
    """
    target = model.schema.targets[j]
    intervals = model.held_out.need_intervals(model.schema, level, j)
    outputs = each.mean(axis=0) if len(each) > 1 else each[0]
    predicted = measures.predicted_numbers(target, outputs[:, [j]])
    low, high = intervals.around(predicted, level, spread_of(each, target, j))
    return _rounded(target, low), _rounded(target, high)


def spreads(target: Target) -> list[str]:
    """Return the names of the columns of the spread."""
    return [f"spread_{name}" for name in target.classes] or ["spread"]


def labels(target: Target, outputs: NDArray[Any]) -> pa.Array:
    """Return the predicted labels, with the type of the target."""
    import pyarrow as pa

    if target.task == "regress":
        return pa.array(_rounded(target, measures.predicted_numbers(target, outputs)))
    types = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64()}
    read = {"text": str, "integer": int, "number": float}[target.kind]
    classes = pa.array([read(name) for name in target.classes], types[target.kind])
    return classes.take(pa.array(outputs.argmax(axis=1)))


def _rounded(target: Target, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return numbers of a target without the digits that are rounding of float32."""
    return np.round(values, 7 - math.floor(math.log10(target.scale)))


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
