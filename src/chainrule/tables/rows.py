"""Rows: the inputs of a whole table, kept on disk and read back as memory allows."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.storage.mapped import Rows, released
from chainrule.tables.fitting import Fitting
from chainrule.tables.preprocessing import Preprocessing
from chainrule.tables.source import Source, TableError
from chainrule.tables.split import PARTS, TRAIN

Array = NDArray[np.float32]


class ShuffledRows:
    """Rows in a random order, also for more of them than memory holds.

    They are dealt into files that are small enough to be shuffled in memory, which are then joined.
    """

    def __init__(self, units: int, n: int, seed: int) -> None:
        count = min(-(-n * units * 4 // _DEALT), _MOST_FILES)
        rng = np.random.default_rng(seed)
        self._of_row = rng.integers(0, count, n, dtype=np.int32)
        self._rng, self._start = rng, 0
        self._dealt = [Rows(units) for _ in range(count)]
        self.order = np.empty(0, dtype=np.int64)  # the row at each place, once finished

    def append(self, X: Array) -> None:
        """Add rows; raise OSError if the disk is full."""
        to = self._of_row[self._start : self._start + len(X)]
        self._start += len(X)
        for i, rows in enumerate(self._dealt):
            rows.append(X[to == i])

    def finish(self) -> Array:
        """Return the rows that were added, in the order of ``order``."""
        whole, orders = Rows(self._dealt[0].units), []
        with whole:
            for i, rows in enumerate(self._dealt):
                order = self._rng.permutation(rows.n)
                whole.append(rows.finish()[order])
                orders.append(np.flatnonzero(self._of_row == i)[order])
            self.order = np.concatenate(orders)
            return whole.finish()

    def __exit__(self, *error: object) -> None:
        for rows in self._dealt:
            rows.__exit__()

    def __enter__(self) -> ShuffledRows:
        return self


_DEALT = 1 << 26  # bytes that are shuffled in memory at a time, unless that takes too many files
_MOST_FILES = 200
_LARGE = 1 << 28  # bytes of rows; more are shuffled once, and read from the disk in that order
_AT_ONCE = 1 << 16  # rows that are copied at a time


def fit(source: Source, fitting: Fitting, parts: NDArray[np.int8]) -> None:
    """Fit the preprocessing to the training rows of a table."""
    chosen = parts == TRAIN
    for of_file in source.each(partial(_fitted, fitting=fitting.fresh(), again=None), chosen):
        fitting.join(of_file)
    if far := fitting.far_from_0:
        again = [finding.name for finding in far]
        for of_file in source.each(partial(_fitted, fitting=fitting.fresh(), again=again), chosen):
            fitting.join(of_file)


def _fitted(
    source: Source, chosen: NDArray[np.bool_], fitting: Fitting, again: list[str] | None
) -> Fitting:
    """Return what the chosen rows of a file teach, in the first pass or in that for some again."""
    fitting = copy.deepcopy(fitting)  # in a cluster of threads others use it, too
    fitting.source = source
    see = fitting.see if again is None else fitting.see_again
    start = 0
    for batch in source.batches(again):
        see(batch, start, chosen[start : start + batch.num_rows])
        start += batch.num_rows
    check_count(source, start, len(chosen))
    del fitting.source  # which stays where the file is
    return fitting


def transform(
    source: Source, preprocessing: Preprocessing, parts: NDArray[np.int8], seed: int = 0
) -> tuple[dict[int, Array], NDArray[np.int64] | None]:
    """Return the inputs of the rows of each part, in the order of the table.

    Large training rows come in a random order instead, which is returned as well.
    """
    units = preprocessing.units
    n_train = int((parts == TRAIN).sum())
    large = n_train * units * 4 > _LARGE
    made: dict[int, Rows | ShuffledRows] = {
        part: ShuffledRows(units, n_train, seed) if large and part == TRAIN else Rows(units)
        for part in PARTS.values()
    }
    names = [column.name for column in preprocessing.schema.columns]
    start = 0
    with ExitStack() as files:
        for rows in made.values():
            files.enter_context(rows)
        for batch in source.batches(names):
            X = preprocessing.transform(batch, source, start)
            of_rows = parts[start : start + batch.num_rows]
            for part, rows in made.items():
                rows.append(X[of_rows == part])
            start += batch.num_rows
        check_count(source, start, len(parts))
        finished = {part: rows.finish() for part, rows in made.items()}
    return finished, getattr(made[TRAIN], "order", None)


def joined(parts: Sequence[Array], seed: int) -> tuple[Array, NDArray[np.int64] | None]:
    """Return the inputs of all parts, one after another; see `transform` for the order of many."""
    units, n = parts[0].shape[1], sum(map(len, parts))
    large = n * units * 4 > _LARGE
    with released(parts), ShuffledRows(units, n, seed) if large else Rows(units) as whole:
        for X in parts:
            for start in range(0, len(X), _AT_ONCE):
                whole.append(X[start : start + _AT_ONCE])
        return whole.finish(), getattr(whole, "order", None)


def check_count(source: Source, rows: int, expected: int) -> None:
    """Raise TableError where a table does not have the number of rows that it had."""
    if rows != expected:  # the file system may not have noticed
        raise TableError(
            f"{source.path} changed while it was being read: from {expected:,} rows to {rows:,}. "
            "Start again when nothing writes to it."
        )


def slice_of(source: Source, names: list[str], start: int, stop: int) -> tuple[Any, int]:
    """Return some rows as one table, None if there are none, and the number of all rows."""
    import pyarrow as pa

    found: list[Any] = []
    at = 0
    for batch in source.batches(names):
        first, last = max(start - at, 0), min(stop - at, batch.num_rows)
        if first < last:
            found.append(batch.slice(first, last - first))
        at += batch.num_rows
    return (pa.concat_tables(found) if found else None), at
