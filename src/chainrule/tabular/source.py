"""Sources: tables in files, read in batches of rows, whatever their format and size."""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 1 << 16  # rows in a batch

# What stands for "no value" in a text file: the marks of pandas, R and SQL, and a question mark.
MISSING = (
    "", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "-nan", "NULL", "null", "None", "<NA>", "?",
)  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """How a text file is to be read: what a user says, or None and False to find it out."""

    header: bool | None = None
    delimiter: str | None = None
    encoding: str = "utf-8"
    decimal: str = "."  # or a comma, as in 2,5


class TableError(ValueError):
    """What is wrong with a table, and where."""


class Source(ABC):
    """A table in a file: the names of its columns, and its rows, in batches of `BATCH`.

    Every pass over the rows raises TableError, with the place, where the file is damaged, and
    where it is no longer the file that it was when it was opened.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._state = _state_of(path)
        self.names: list[str] = []
        self.unnamed: str | None = None  # what the first column is called, if its name is empty

    @abstractmethod
    def _read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Give batches of some columns, of any length."""

    @abstractmethod
    def place(self, row: int, column: str) -> str:
        """Say where a cell stands: the file, its line or row, the column. Rows count from 0."""

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Give all rows in batches of `BATCH`, the last one shorter; a file of any format alike."""
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

    @contextmanager
    def _unchanged(self) -> Iterator[None]:
        """Raise TableError if the file is another one by the end, whatever else went wrong."""
        try:
            yield
        except (TableError, OSError):
            self._check_state()
            raise
        self._check_state()

    def _check_state(self) -> None:
        if _state_of(self.path) != self._state:
            raise TableError(
                f"{self.path} has changed while it was being read; start again when nothing writes "
                "to it any more"
            )


def open_table(path: str | os.PathLike[str], reading: Reading | None = None) -> Source:
    """Open a table: Parquet and Arrow files are known by their first bytes; all else is text.

    Raises TableError for a file that is no table, OSError where it can't be read, ImportError
    without PyArrow.
    """
    need_packages()
    name = os.fspath(path)
    reading = reading or Reading()
    if not stat.S_ISREG(mode := os.stat(name).st_mode) and not stat.S_ISDIR(mode):
        raise TableError(f"{name} is no regular file; a table is read more than once")
    with open(name, "rb") as file:
        start = file.read(8)
    if not start:
        raise TableError(f"{name} is empty")
    if start.startswith(b"PAR1"):
        source: Source = _Parquet(name)
    elif start.startswith(b"ARROW1"):
        source = _Arrow(name)
    elif start.startswith(b"\xff\xff\xff\xff"):
        source = _ArrowStream(name)
    else:
        for magic, what in _FOREIGN:
            if start.startswith(magic):
                raise TableError(f"{name} is {what}; expected CSV, TSV, Parquet or Arrow")
        from chainrule.tabular.csv_source import TextSource

        source = TextSource(name, reading)
    _check_names(source)
    return source


def need_packages() -> None:
    """Raise ImportError, with what to do, where PyArrow or scikit-learn is not installed."""
    from importlib.util import find_spec

    missing = [
        name for name, module in (("PyArrow", "pyarrow"), ("scikit-learn", "sklearn"))
        if find_spec(module) is None
    ]  # fmt: skip
    if missing:
        raise ImportError(f"tables need {' and '.join(missing)}: pip install 'chainrule[tables]'")


_FOREIGN = (
    (b"PK\x03\x04", "a zip archive (a spreadsheet, perhaps: save it as CSV)"),
    (b"\xd0\xcf\x11\xe0", "an old spreadsheet (save it as CSV)"),
    (b"\x1f\x8b", "compressed by gzip (unpack it first)"),
    (b"\x93NUMPY", "a NumPy array without names for its columns"),
    (b"\x89HDF", "an HDF5 file"),
    (b"SQLite f", "an SQLite database"),
    (b"\x80", "a Python pickle, which could run code and is never read"),
)


def _state_of(path: str) -> tuple[int, ...]:
    """Give what changes when somebody writes to a file."""
    now = os.stat(path)
    return now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns


def _check_names(source: Source) -> None:
    seen: dict[str, int] = {}
    for i, name in enumerate(source.names, start=1):
        if name in seen:
            raise TableError(
                f"{source.path}: columns {seen[name]} and {i} are both called {name!r}; every "
                "column needs a name of its own"
            )
        seen[name] = i


class _Binary(Source):
    """Parquet and Arrow: types are known, and rows have numbers but no lines."""

    def place(self, row: int, column: str) -> str:
        """Say where a cell stands, by its row; see `Source`."""
        return f"{self.path}, row {row}, column {self.names.index(column) + 1} ({column})"

    @contextmanager
    def _understood(self) -> Iterator[None]:
        import pyarrow as pa

        try:
            yield
        except (pa.ArrowException, OSError) as error:
            self._check_state()
            if isinstance(error, OSError) and error.errno is not None:
                raise
            detail = " ".join(str(error).split())[:200]
            raise TableError(f"{self.path} is damaged or cut short ({detail})") from None


class _Parquet(_Binary):
    def __init__(self, path: str) -> None:
        import pyarrow.parquet as pq

        super().__init__(path)
        with self._understood(), pq.ParquetFile(path) as file:
            self.names = [str(name) for name in file.schema_arrow.names]

    def _read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        import pyarrow.parquet as pq

        with self._understood(), pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(BATCH, columns=list(columns)):
                yield batch.select(list(columns))  # and no part of another with a point in its name


class _Arrow(_Binary):
    def __init__(self, path: str) -> None:
        import pyarrow as pa

        super().__init__(path)
        with self._understood(), pa.memory_map(path) as file, pa.ipc.open_file(file) as reader:
            self.names = [str(name) for name in reader.schema.names]

    def _read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        with self._understood(), pa.memory_map(self.path) as file:
            reader = pa.ipc.open_file(file)
            for i in range(reader.num_record_batches):
                yield reader.get_batch(i).select(list(columns))


class _ArrowStream(_Binary):
    def __init__(self, path: str) -> None:
        import pyarrow as pa

        super().__init__(path)
        with self._understood(), pa.OSFile(path) as file, pa.ipc.open_stream(file) as reader:
            self.names = [str(name) for name in reader.schema.names]

    def _read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        with self._understood(), pa.OSFile(self.path) as file, pa.ipc.open_stream(file) as reader:
            for batch in reader:
                yield batch.select(list(columns))
