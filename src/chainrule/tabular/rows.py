"""Rows: the inputs of a whole table, kept on disk, and read from there as memory allows."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.tabular.preprocessing import Fitting, Preprocessing
from chainrule.tabular.source import Source, TableError
from chainrule.tabular.split import TRAIN


@dataclass
class Rows:
    """The inputs of some rows, (n, units), as a memory map of a file that has no name.

    The file is gone when the process ends, in whichever way.
    """

    units: int
    n: int = 0
    _file: IO[bytes] = field(default_factory=tempfile.TemporaryFile)

    def append(self, X: NDArray[np.float32]) -> None:
        """Add rows; OSError where the disk is full."""
        self._file.write(np.ascontiguousarray(X).data)
        self.n += len(X)

    def finish(self) -> NDArray[np.float32]:
        """Give the rows that were added; none can be added any more."""
        with self._file as file:  # the map keeps the file open
            file.flush()
            if not self.n:
                return np.empty((0, self.units), dtype=np.float32)
            return np.memmap(file, dtype=np.float32, mode="r", shape=(self.n, self.units))


def fit(source: Source, fitting: Fitting, parts: NDArray[np.int8]) -> None:
    """Show a fitting the training rows of a table."""
    start = 0
    for batch in source.batches():
        fitting.see(batch, start, parts[start : start + batch.num_rows] == TRAIN)
        start += batch.num_rows
    _check(source, start, len(parts))


def transform(
    source: Source, preprocessing: Preprocessing, parts: NDArray[np.int8]
) -> dict[int, NDArray[np.float32]]:
    """Give the inputs of the rows of each part, in the order of the table."""
    made = {part: Rows(preprocessing.units) for part in (0, 1, 2)}
    names = [column.name for column in preprocessing.schema.columns]
    start = 0
    for batch in source.batches(names):
        X = preprocessing.transform(batch, source, start)
        of_rows = parts[start : start + batch.num_rows]
        for part, rows in made.items():
            rows.append(X[of_rows == part])
        start += batch.num_rows
    _check(source, start, len(parts))
    return {part: rows.finish() for part, rows in made.items()}


def _check(source: Source, rows: int, expected: int) -> None:
    if rows != expected:  # the file system may not have noticed
        raise TableError(f"{source.path} has changed while it was being read: other rows")


def slice_of(source: Source, names: list[str], start: int, stop: int) -> tuple[Any, int]:
    """Give some rows of a table as one, and how many there are before them in all."""
    import pyarrow as pa

    found: list[Any] = []
    at = 0
    for batch in source.batches(names):
        first, last = max(start - at, 0), min(stop - at, batch.num_rows)
        if first < last:
            found.append(batch.slice(first, last - first))
        at += batch.num_rows
    return (pa.concat_tables(found) if found else None), at
