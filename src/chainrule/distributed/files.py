"""Files: a dataset in Parquet and Arrow files, of which each worker reads its own rows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule._exports import exported
from chainrule.equations import data
from chainrule.equations.checks import guess, listed, whole
from chainrule.equations.data import Samples
from chainrule.equations.feedforward import FeedForward
from chainrule.storage import addresses

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[Any]

_NUMBERS = 1 << 20  # numbers that are decoded at a time
_BUFFER = 1 << 20  # bytes of a column that are read from a Parquet file at a time
PARQUET, ARROW = "Parquet", "Arrow"


@exported("chainrule.distributed")
class Files:
    """A dataset in Parquet or Arrow files, for `fit`: each worker reads only its own rows.

    Files of a pattern are taken in the order of their names, those of a list as they stand. Their
    rows, one after another, are the rows of one table; only its numbers are learned from.

    Args:
        files: A path, a pattern such as "data/*.parquet", or a list of them, on a file system that
            all workers share, or at addresses of fsspec such as "s3://bucket/data/*.parquet".
        y: The column of the target, integer classes or numbers, or as many columns as there are
            outputs.
        x: The columns of the inputs, in the order of the network's; None takes all others, as the
            first file has them.
        weight: A column with the weight of each row.
        memory: How many bytes of its rows a worker may hold in memory. The rest stays on the disk,
            in its folder of temporary files, until the training ends.

    Raises:
        TypeError: A name is not a text.
        ValueError: A column is named twice, or no file fits.
        FileNotFoundError: There is no such file.

    Examples:
        >>> from chainrule import distributed
        >>> distributed.Files("data/*.parquet", y="price")  # doctest: +SKIP
    """

    def __init__(
        self,
        files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        y: str | Sequence[str],
        x: Sequence[str] | None = None,
        weight: str | None = None,
        memory: int = 1 << 30,
    ) -> None:
        given = [files] if isinstance(files, str | os.PathLike) else list(files)
        self.files = addresses.found([os.fspath(file) for file in given])
        self.y = _names([y] if isinstance(y, str) else y, "y")
        self.x = None if x is None else _names(x, "x")
        self.weight = None if weight is None else _names([weight], "weight")[0]
        self.memory = whole(memory, "memory")
        named = [*self.y, *(self.x or ()), *([] if weight is None else [weight])]
        if twice := [name for name in named if named.count(name) > 1]:
            raise ValueError(
                f"the column {twice[0]!r} is named twice; name it once, in x, y or weight"
            )

    def __repr__(self) -> str:
        files = self.files[0] if len(self.files) == 1 else f"{self.files[0]}, …: {len(self.files)}"
        return f"Files({files!r}, y={self.y!r})"

    def described(self, network: FeedForward) -> Table:
        """Return what workers need to read the rows, found from the ends of the files.

        Args:
            network: Whose inputs and outputs the columns are.

        Raises:
            ValueError: Columns are missing, not numeric, or differ from file to file or from the
                network; it names the file.
            OSError: A file can't be read.
            ImportError: PyArrow is not installed.
        """
        parts, first = [], dict[str, str]()
        x = self.x
        for file in self.files:
            with _opened(file) as reader:
                schema = {field.name: field.type for field in reader.schema}
                if x is None:
                    others = {*self.y, self.weight}
                    x = [name for name in schema if name not in others]
                kinds = _kinds(file, schema, [*x, *self.y, *filter(None, [self.weight])])
                first = first or kinds
                if different := [name for name, kind in kinds.items() if first[name] != kind]:
                    name = different[0]
                    raise ValueError(
                        f"{file}: column {name!r} is of type {kinds[name]}; in {self.files[0]} it "
                        f"is {first[name]}. Write all files with one schema"
                    )
                parts.append(Part(file, tuple(reader.rows)))
        assert x is not None
        _check_counts(network, x, self.y, first)
        classes = len(self.y) == 1 < network.sizes[-1]
        table = Table(parts, tuple(x), tuple(self.y), self.weight, classes, self.memory, network)
        if not table.n:
            raise ValueError(f"{_some(self.files)} zero rows; expected one or more")
        return table


@dataclass(frozen=True)
class Part:
    """A file, and the number of rows of each of its row groups or record batches."""

    file: str
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Table:
    """Files as workers see them; see `chainrule.distributed.dataset.Dataset`."""

    parts: Sequence[Part]
    x: tuple[str, ...]
    y: tuple[str, ...]
    weight: str | None
    classes: bool
    memory: int
    network: FeedForward = field(repr=False)

    @property
    def n(self) -> int:
        """The number of rows."""
        return sum(sum(part.rows) for part in self.parts)

    @property
    def weighted(self) -> bool:
        """Whether rows have weights."""
        return self.weight is not None

    def read(self, rows: range) -> Iterator[Samples]:
        """Read some rows, numbered over all files; see `Dataset`."""
        start = 0
        for part in self.parts:
            count = sum(part.rows)
            own = range(max(rows.start - start, 0), min(rows.stop - start, count))
            if len(own):
                yield from self._of_file(part, own)
            start += count

    def _of_file(self, part: Part, rows: range) -> Iterator[Samples]:
        names = [*self.x, *self.y, *filter(None, [self.weight])]
        with _opened(part.file) as reader:
            if tuple(reader.rows) != part.rows:
                raise ValueError(f"{part.file} changed since the training began. Start again")
            _kinds(part.file, {field.name: field.type for field in reader.schema}, names)
            groups, first = _groups(part.rows, rows)
            for batch in reader.batches(groups, names):
                low, high = max(rows.start - first, 0), min(rows.stop - first, batch.num_rows)
                if low < high:
                    yield self._samples(part.file, batch.slice(low, high - low), first + low)
                first += batch.num_rows

    def _samples(self, file: str, batch: pa.RecordBatch, first: int) -> Samples:
        """Return the rows of a batch, which begins at this row of its file."""
        dtype = np.dtype(self.network.dtype)
        X = _matrix(file, batch, self.x, first, dtype)
        y = _matrix(file, batch, self.y, first, np.dtype(np.int64) if self.classes else dtype)
        targets = y[:, 0] if self.classes else y
        self._check(file, targets, first)
        weights = None
        if self.weight is not None:
            weights = _matrix(file, batch, [self.weight], first, np.dtype(np.float64))[:, 0]
            if (weights < 0).any():
                i = int(np.argmax(weights < 0))
                where = _place(file, first + i, self.weight)
                raise ValueError(f"{where} is {weights[i]:.6g}; weights are 0 or more")
        return Samples(X, targets, weights)

    def _check(self, file: str, y: Array, first: int) -> None:
        """Raise ValueError, with the row, for targets that the network can't learn."""
        units, loss = self.network.sizes[-1], self.network.loss
        name = listed(self.y, 3)
        try:
            data.targets(y, len(y), units, loss, y.dtype, name)
        except ValueError:
            for i in range(len(y)):
                try:
                    data.targets(y[i : i + 1], 1, units, loss, y.dtype, name)
                except ValueError as error:
                    said = str(error).replace(f"{name}[0]", name)
                    raise ValueError(f"{file}, row {first + i}: {said}") from None
            raise


def _names(names: object, what: str) -> list[str]:
    if isinstance(names, str) or not isinstance(names, Sequence) or not names:
        raise TypeError(f"{what} must be a list of columns, got {names!r}")
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"{what} must name columns, got {name!r}")
    return list(names)


def _some(files: Sequence[str]) -> str:
    return f"{files[0]} has" if len(files) == 1 else f"the {len(files)} files have"


def _kinds(file: str, schema: dict[str, pa.DataType], names: Sequence[str]) -> dict[str, str]:
    """Return the types of columns; raise ValueError for those that are missing or no numbers."""
    import pyarrow as pa

    for name in names:
        if name not in schema:
            known = list(schema)
            raise ValueError(
                f"{file} has no column {name!r}{guess(name, known)}; it has {listed(known, 20)}"
            )
        kind = schema[name]
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or kind == pa.bool_()):
            raise ValueError(
                f"{file}: column {name!r} is of type {kind}; expected numbers. Encode it, or train "
                "with `chainrule train`, which does"
            )
    return {name: str(schema[name]) for name in names}


def _check_counts(
    network: FeedForward, x: Sequence[str], y: Sequence[str], kinds: dict[str, str]
) -> None:
    units = network.sizes[-1]
    if len(x) != network.sizes[0]:
        raise ValueError(
            f"x has {len(x)} columns ({listed(x, 5)}); the network has {network.sizes[0]} inputs"
        )
    if len(y) not in (1, units):
        raise ValueError(f"y has {len(y)} columns; the network has {units} outputs")
    if len(y) == 1 < units and not kinds[y[0]].startswith(("int", "uint", "bool")):
        raise ValueError(
            f"y is the column {y[0]!r} of type {kinds[y[0]]}; a network of {units} outputs expects "
            f"integer classes, or {units} columns"
        )


def _groups(counts: Sequence[int], rows: range) -> tuple[list[int], int]:
    """Return which groups hold some rows, and the number of the first row of the first of them."""
    ends = np.cumsum(counts)
    first, last = (int(i) for i in np.searchsorted(ends, [rows.start, rows.stop - 1], "right"))
    return list(range(first, last + 1)), int(ends[first]) - counts[first]


def _matrix(
    file: str, batch: pa.RecordBatch, names: Sequence[str], first: int, dtype: np.dtype[Any]
) -> Array:
    """Return columns of a batch as rows; raise ValueError, with the place, for NaN and the like."""
    made = np.empty((batch.num_rows, len(names)), dtype)
    for j, name in enumerate(names):
        column = batch.column(name)
        if column.null_count:
            i = int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
            raise ValueError(
                f"{_place(file, first + i, name)} is empty; every number must be there. Fill it "
                "in, or leave the row out"
            )
        with np.errstate(over="ignore"):
            made[:, j] = column.to_numpy(zero_copy_only=False)
    if made.dtype.kind == "f" and not (fine := np.isfinite(made)).all():
        i, j = (int(at[0]) for at in np.nonzero(~fine))
        value = batch.column(names[j])[i].as_py()
        large = f"too large for {dtype}" if np.isfinite(value) else "every number must be finite"
        raise ValueError(f"{_place(file, first + i, names[j])} is {value:.6g}; {large}")
    return made


def _place(file: str, row: int, column: str) -> str:
    return f"{file}, row {row}, column {column!r}"


# --- formats --------------------------------------------------------------------------------------


class _Parquet:
    def __init__(self, source: Any) -> None:
        import pyarrow.parquet as pq

        self._file = pq.ParquetFile(source, buffer_size=_BUFFER)
        about = self._file.metadata
        self.schema = self._file.schema_arrow
        self.rows = [about.row_group(i).num_rows for i in range(about.num_row_groups)]

    def batches(self, groups: list[int], names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        size = max(1, _NUMBERS // len(names))
        for batch in self._file.iter_batches(size, row_groups=groups, columns=list(names)):
            yield batch.select(list(names))  # not nested fields, which a dot also names


class _Arrow:
    def __init__(self, source: Any) -> None:
        import pyarrow as pa

        self._source = source
        whole = pa.ipc.open_file(source)
        self.schema = whole.schema
        # The number of rows stands beside the data of a batch: one column is read for it.
        widths = [getattr(field.type, "bit_width", 1 << 30) if pa.types.is_primitive(field.type)
                  else 1 << 30 for field in whole.schema]  # fmt: skip
        narrow = self._reader([int(np.argmin(widths))] if widths else [])
        self.rows = [narrow.get_batch(i).num_rows for i in range(narrow.num_record_batches)]

    def _reader(self, fields: list[int]) -> Any:
        import pyarrow as pa

        return pa.ipc.open_file(self._source, options=pa.ipc.IpcReadOptions(included_fields=fields))

    def batches(self, groups: list[int], names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        reader = self._reader([self.schema.get_field_index(name) for name in names])
        size = max(1, _NUMBERS // len(names))
        for i in groups:
            batch = reader.get_batch(i).select(list(names))
            for start in range(0, batch.num_rows, size):
                yield batch.slice(start, size)


@contextmanager
def _opened(file: str) -> Iterator[_Parquet | _Arrow]:
    """Open a file, here or at an address; what is wrong with it is a ValueError naming it."""
    try:
        import pyarrow as pa
    except ImportError as error:
        raise ImportError(f"{file} needs PyArrow: pip install 'chainrule[tables]'") from error
    with ExitStack() as closing:
        stream = closing.enter_context(addresses.opened(file))
        mark = stream.read(6)
        stream.seek(0)
        if not mark.startswith((b"PAR1", b"ARROW1")):
            raise ValueError(
                f"{file} is neither Parquet nor Arrow (Feather); expected one of these. Convert "
                "it, or train with `chainrule train`, which reads more"
            )
        try:
            remote = addresses.is_remote(file)
            if mark.startswith(b"PAR1"):
                yield _Parquet(stream if remote else file)
            else:  # not mapped: pages that were read would count as memory of the process
                yield _Arrow(
                    closing.enter_context(pa.PythonFile(stream, "r") if remote else pa.OSFile(file))
                )
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            if isinstance(error, pa.ArrowNotImplementedError):
                raise ValueError(f"{file}: {error}") from None
            detail = " ".join(str(error).split())[:200]
            raise ValueError(
                f"{file} is damaged or cut short ({detail}). Write or copy the file again"
            ) from None
