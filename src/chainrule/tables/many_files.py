"""Files: one table in many files, whose statistics are taken file by file, perhaps on workers.

A file is the unit: what is found in each is joined in the order of the files, so that numbers are
the same to the bit however many workers there are, and whatever files each of them reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from chainrule.equations.checks import listed
from chainrule.places import Place
from chainrule.places.here import Here
from chainrule.tables.opening import open_address
from chainrule.tables.source import Reading, Source, T, TableError, counted

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


class Files(Source):
    """A table in several files with the same columns, one after another."""

    def __init__(self, files: Sequence[str], reading: Reading) -> None:
        first = open_address(files[0], reading)
        more = len(files) - 1
        self.path = f"{files[0]} and {counted(more, 'more file')}" if more else files[0]
        self.names, self.unnamed = first.names, first.unnamed
        self.files, self.reading = tuple(files), reading
        self._place: Place = Here()
        self.counts = [0] * len(files)

    @contextmanager
    def on(self, place: Place) -> Iterator[None]:
        """Take statistics on the workers of a place in this block."""
        before, self._place = self._place, place
        try:
            yield
        finally:
            self._place = before

    def place(self, row: int, column: str) -> str:
        """Return where a cell is, in its file; see `Source`."""
        last = len(self.files) - 1
        for i, count in enumerate(self.counts):
            if row < count or i == last or not count:
                return open_one(self.files[i], self.reading, self.names).place(row, column)
            row -= count
        raise AssertionError

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield the rows of each file in batches; see `Source`."""
        for i, file in enumerate(self.files):
            count = 0
            source = open_one(file, self.reading, self.names)
            for batch in source.batches(self.names if columns is None else columns):
                self.counts[i] = max(self.counts[i], count + batch.num_rows)
                yield batch
                count += batch.num_rows

    def each(
        self, task: Callable[[Source, Any], T], cut: NDArray[Any] | None = None
    ) -> Iterator[T]:
        """Yield what a task returns for each file, in their order, from the workers."""
        ends = [0]
        for count in self.counts:
            ends.append(ends[-1] + count)
        items = [
            (file, None if cut is None else cut[ends[i] : ends[i + 1]])
            for i, file in enumerate(self.files)
        ]
        held: dict[int, T] = {}
        faults: dict[int, str] = {}
        following = 0
        shared = task, self.reading, self.names

        def failed() -> bool:
            return following in faults

        with closing(self._place.run(_of_file, shared, items, stop=failed)) as outcomes:
            for outcome in outcomes:
                fault = outcome.error or outcome.result[1]
                if fault is not None:
                    faults[outcome.index] = fault
                else:
                    held[outcome.index] = outcome.result[0]
                while following in held:
                    yield held.pop(following)
                    following += 1
                if failed():  # the first file that does, whichever worker was the fastest
                    raise TableError(faults[following])

    def _read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        raise AssertionError("each file has batches of its own")


def _of_file(
    shared: tuple[Callable[[Source, Any], Any], Reading, list[str]],
    item: tuple[str, Any],
    threads: int | None,
) -> tuple[Any, str | None]:
    """Run a task on one file; return its result, or what is wrong with the file."""
    (task, reading, names), (file, cut) = shared, item
    try:
        return task(open_one(file, reading, names), cut), None
    except OSError as error:
        named = error.filename is not None and error.strerror
        return None, f"{error.filename}: {error.strerror}" if named else f"{file}: {error}"
    except (TableError, ImportError) as error:
        return None, str(error)


def open_one(file: str, reading: Reading, names: Sequence[str]) -> Source:
    """Open a file of a table; raise TableError unless it has the columns of the first."""
    source = open_address(file, reading)
    if set(source.names) != set(names):
        lacks = [name for name in names if name not in source.names]
        more = [name for name in source.names if name not in names]
        what = f"lacks {listed(lacks)}" if lacks else f"has more columns, {listed(more)}"
        raise TableError(f"{file} {what}; the first file has {listed(names)}")
    return source
