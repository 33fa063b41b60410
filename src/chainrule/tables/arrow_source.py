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

    def __init__(self, path: str) -> None:
        import pyarrow.parquet as pq

        super().__init__(path)
        with self._understood(), pq.ParquetFile(path) as file:
            self.names = [str(name) for name in file.schema_arrow.names]

    def _read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        import pyarrow.parquet as pq

        with self._understood(), pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(BATCH, columns=list(columns)):
                yield batch.select(list(columns))  # not nested fields, which a dot also names


class Arrow(BinarySource):
    """An Arrow file (Feather)."""

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


class ArrowStream(BinarySource):
    """An Arrow stream."""

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
