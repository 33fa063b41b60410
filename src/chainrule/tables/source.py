"""Sources: tables in files, read in batches of rows, whatever their format and size."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

T = TypeVar("T")
BATCH = 1 << 16  # rows in a batch

# What stands for "no value" in a text file: the marks of pandas, R and SQL, and a question mark.
MISSING = (
    "", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "-nan", "NULL", "null", "None", "<NA>", "?",
)  # fmt: skip


def missing_texts(said: Sequence[str], known: Sequence[str] = MISSING) -> tuple[str, ...]:
    """Return the texts that stand for no value: those that are known, and what a user says.

    An empty text says that no other text does, except those that are said with it.
    """
    return tuple(dict.fromkeys(("", *said) if "" in said else (*known, *said)))


@dataclass(frozen=True)
class Reading:
    """How to read a text file: what a user says, or None to find it out."""

    header: bool | None = None
    delimiter: str | None = None
    encoding: str = "utf-8"
    decimal: str = "."  # or a comma, as in 2,5


class TableError(ValueError):
    """An error in a table: what is wrong, and where."""


class NothingToLearnError(TableError):
    """An error of a table whose rows are too few, or too alike, to learn from."""


def counted(n: int, noun: str) -> str:
    """Return a number with its noun: 1 column, 2 columns."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def no_rows(path: str) -> TableError:
    """Return the error for a table without rows."""
    return TableError(f"{path} has a header and no rows; expected at least one row")


class Source(ABC):
    """A table in a file: the names of its columns, and its rows, in batches of `BATCH`.

    Every pass over the rows raises TableError, with the place, if the file is damaged, or is no
    longer the file that was opened. ``path`` is what the file is called in
    messages, ``name`` if there is one.
    """

    def __init__(self, file: str, name: str | None = None) -> None:
        self._file, self.path = file, name or file
        self._state = _state_of(file)
        self.names: list[str] = []
        self.unnamed: str | None = None  # the name of the first column, if the file has none for it
        self.counts: list[int] = []  # the rows of each file, once they have been counted

    @abstractmethod
    def _read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield batches of some columns, of any length."""

    @abstractmethod
    def place(self, row: int, column: str) -> str:
        """Return where a cell is: the file, its line or row, and the column. Rows count from 0."""

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield all rows in batches of `BATCH`, whatever the format; the last may be shorter."""
        import pyarrow as pa

        chosen = list(self.names if columns is None else columns)
        held: list[Any] = []
        rows = 0
        with self._unchanged():
            for batch in self._read(chosen):
                held.append(batch)
                rows += batch.num_rows
                while rows >= BATCH:
                    table = pa.Table.from_batches(held)
                    yield table.slice(0, BATCH)
                    held, rows = table.slice(BATCH).to_batches(), rows - BATCH
            if rows:
                yield pa.Table.from_batches(held)

    def each(
        self, task: Callable[[Source, Any], T], cut: NDArray[Any] | None = None
    ) -> Iterator[T]:
        """Yield what a task returns for each file of the table, in order; see `Files`.

        It is called with the file and, of something that is given for each row, what belongs to it.
        """
        yield task(self, cut)

    @contextmanager
    def _unchanged(self) -> Iterator[None]:
        """Raise TableError if the file has changed by the end, whatever else went wrong."""
        try:
            yield
        except (TableError, OSError):
            self._check_state()
            raise
        self._check_state()

    def _check_state(self) -> None:
        if _state_of(self._file) != self._state:
            raise TableError(
                f"{self.path} changed while it was being read. Start again when nothing writes to "
                "it."
            )


def _state_of(path: str) -> tuple[int, ...]:
    """Return what changes when a program writes to a file."""
    now = os.stat(path)
    return now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns
