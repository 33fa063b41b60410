"""Encoded: rows of a table in many files, which whoever trains with them reads and encodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.equations.data import Samples
from chainrule.storage.mapped import Rows
from chainrule.tables import many_files, roles, target
from chainrule.tables.preprocessing import Preprocessing
from chainrule.tables.rows import check_count
from chainrule.tables.schema import Schema
from chainrule.tables.source import Reading, Source
from chainrule.tables.split import TEST, TRAIN, VALIDATION


@dataclass(frozen=True)
class Encoded:
    """Rows of some parts of a table, as `chainrule.distributed.fit` takes a dataset.

    ``parts`` has the part of each row of the table; the rows of ``which`` follow one another part
    by part. ``counts`` are the rows of each file, and ``memory`` the bytes of them that a process
    may hold.
    """

    files: tuple[str, ...]
    counts: tuple[int, ...]
    reading: Reading
    names: tuple[str, ...]
    schema: Schema
    weight: str | None
    parts: NDArray[np.int8]
    which: tuple[int, ...] = (TRAIN,)
    memory: int = 1 << 30

    @property
    def n(self) -> int:
        """The number of rows."""
        return int(np.isin(self.parts, self.which).sum())

    @property
    def classes(self) -> bool:
        """Whether targets are classes."""
        return self.schema.target.task == "classify"

    @property
    def weighted(self) -> bool:
        """Whether rows have weights."""
        return self.weight is not None

    def read(self, rows: range) -> Iterator[Samples]:
        """Read and encode some rows; see `chainrule.distributed.dataset.Dataset`."""
        numbers = np.concatenate([np.flatnonzero(self.parts == part) for part in self.which])
        numbers = numbers[rows.start : rows.stop]
        ends = np.cumsum([0, *self.counts])
        for run in np.split(numbers, np.flatnonzero(np.diff(numbers) < 0) + 1):  # one for a part
            places = np.searchsorted(run, ends)
            for i, file in enumerate(self.files):
                own = run[places[i] : places[i + 1]] - ends[i]
                if len(own):
                    yield from self._of_file(file, own)

    def _of_file(self, file: str, rows: NDArray[np.int64]) -> Iterator[Samples]:
        """Read rows of a file up to the last one that is wanted."""
        schema, start = self.schema, 0
        preprocessing = Preprocessing(schema)
        source = many_files.open_one(file, self.reading, self.names)
        columns = [*(column.name for column in schema.columns), *(t.name for t in schema.targets)]
        columns = list(dict.fromkeys([*columns, *filter(None, [self.weight])]))
        for batch in source.batches(columns):
            first, last = np.searchsorted(rows, [start, start + batch.num_rows])
            chosen = rows[first:last] - start
            if len(chosen):
                X = preprocessing.transform(batch, source, start)[chosen]
                each = [
                    target.encode(t, batch.column(t.name), schema.missing) for t in schema.targets
                ]
                y = np.column_stack(each) if schema.more else each[0]
                weights = None
                if self.weight is not None:
                    weights = roles.weights(batch.column(self.weight), schema.missing)[chosen]
                yield Samples(X, target.standardised(schema, y[chosen]), weights)
            start += batch.num_rows
            if start > rows[-1]:
                return


def held_back(
    source: many_files.Files, preprocessing: Preprocessing, parts: NDArray[np.int8]
) -> dict[int, NDArray[Any]]:
    """Return the inputs of the rows for validation and test, encoded file by file on its workers.

    Those of the training rows are without numbers.
    """
    units = preprocessing.units
    made = {part: Rows(units) for part in (VALIDATION, TEST)}
    for of_file in source.each(_Held(preprocessing), parts):
        for part, X in of_file.items():
            made[part].append(X)
    n_train = int((parts == TRAIN).sum())
    nothing = np.broadcast_to(np.float32(0), (n_train, units))
    return {TRAIN: nothing, **{part: rows.finish() for part, rows in made.items()}}


@dataclass(frozen=True)
class _Held:
    """Encodes the rows of a file that are not trained with."""

    preprocessing: Preprocessing

    def __call__(self, source: Source, parts: NDArray[np.int8]) -> dict[int, NDArray[Any]]:
        names = [column.name for column in self.preprocessing.schema.columns]
        found: dict[int, list[NDArray[Any]]] = {VALIDATION: [], TEST: []}
        start = 0
        for batch in source.batches(names):
            X = self.preprocessing.transform(batch, source, start)
            of_rows = parts[start : start + batch.num_rows]
            for part, each in found.items():
                each.append(X[of_rows == part])
            start += batch.num_rows
        check_count(source, start, len(parts))
        units = self.preprocessing.units
        return {part: np.concatenate([np.empty((0, units), np.float32), *each])
                for part, each in found.items()}  # fmt: skip
