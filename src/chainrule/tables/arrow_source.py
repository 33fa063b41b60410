"""Parquet and Arrow files, read by PyArrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from chainrule.tables.source import BATCH, Source, TableError

if TYPE_CHECKING:
    import pyarrow as pa


class BinarySource(Source):
    """Parquet and Arrow: types are known, and rows have numbers but no lines."""

    def place(self, row: int, column: str) -> str:
        """Return where a cell is, by its row; see `Source`."""
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
            raise TableError(
                f"{self.path} is damaged or cut short ({detail}). Write or copy the file again."
            ) from None


class Parquet(BinarySource):
    """A Parquet file."""

    def __init__(self, file: str, name: str | None = None) -> None:
        import pyarrow.parquet as pq

        super().__init__(file, name)
        with self._understood(), pq.ParquetFile(self._file) as opened:
            self.names = [str(name) for name in opened.schema_arrow.names]

    def _read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        import pyarrow.parquet as pq

        with self._understood(), pq.ParquetFile(self._file) as file:
            for batch in file.iter_batches(BATCH, columns=list(columns)):
                yield batch.select(list(columns))  # not nested fields, which a dot also names


class RowGroups(Parquet):
    """Some row groups of a Parquet file; rows count from the first of them, places from the file.

    ``first`` and ``last`` are the numbers of the first and of the one after the last.
    """

    def __init__(self, file: str, first: int, last: int) -> None:
        import pyarrow.parquet as pq

        super().__init__(file)
        self._groups = range(first, last)
        with self._understood(), pq.ParquetFile(file) as opened:
            about = opened.metadata
            self._before = sum(about.row_group(i).num_rows for i in range(first))

    def place(self, row: int, column: str) -> str:
        """Return where a cell is in the file; see `Source`."""
        return super().place(self._before + row, column)

    def _read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        import pyarrow.parquet as pq

        groups = list(self._groups)
        with self._understood(), pq.ParquetFile(self._file) as file:
            for batch in file.iter_batches(BATCH, row_groups=groups, columns=list(columns)):
                yield batch.select(list(columns))


def large_parts(file: str, bytes_each: int) -> list[tuple[int, int]]:
    """Return ranges of row groups of so many bytes as columns, for a Parquet file of several.

    There are none for another file, and for one that is smaller.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open(file, "rb") as opened:
        if opened.read(4) != b"PAR1":
            return []
    try:
        with pq.ParquetFile(file) as parquet:
            about = parquet.metadata
            sizes = [about.row_group(i).total_byte_size for i in range(about.num_row_groups)]
    except (pa.ArrowException, OSError):
        return []  # whoever reads it says what is wrong
    parts, first, size = [], 0, 0
    for i, own in enumerate(sizes):
        if size and size + own > bytes_each:
            parts.append((first, i))
            first, size = i, 0
        size += own
    return [*parts, (first, len(sizes))] if parts else []


class Arrow(BinarySource):
    """An Arrow file (Feather)."""

    def __init__(self, file: str, name: str | None = None) -> None:
        import pyarrow as pa

        super().__init__(file, name)
        with self._understood(), pa.memory_map(file) as opened, pa.ipc.open_file(opened) as reader:
            self.names = [str(name) for name in reader.schema.names]

    def _read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        with self._understood(), pa.memory_map(self._file) as file:
            reader = pa.ipc.open_file(file)
            for i in range(reader.num_record_batches):
                yield reader.get_batch(i).select(list(columns))


class ArrowStream(BinarySource):
    """An Arrow stream."""

    def __init__(self, file: str, name: str | None = None) -> None:
        import pyarrow as pa

        super().__init__(file, name)
        with self._understood(), pa.OSFile(file) as opened, pa.ipc.open_stream(opened) as reader:
            self.names = [str(name) for name in reader.schema.names]

    def _read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        with self._understood(), pa.OSFile(self._file) as file, pa.ipc.open_stream(file) as reader:
            for batch in reader:
                yield batch.select(list(columns))
