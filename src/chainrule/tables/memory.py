"""Memory: tables in memory as sources: dataframes, and rows that are dictionaries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chainrule.equations.checks import listed
from chainrule.tables.cells import family
from chainrule.tables.source import BATCH, Source, TableError

if TYPE_CHECKING:
    import pyarrow as pa


class Memory(Source):
    """A table in memory."""

    def __init__(self, table: pa.Table) -> None:
        self.path, self.table = "the data", table
        self.names = list(table.column_names)
        self.unnamed = None

    def place(self, row: int, column: str) -> str:
        """Return where a cell is; see `Source`."""
        return f"row {row}, column {column!r}"

    def _read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        yield from self.table.select(list(columns)).to_batches(max_chunksize=BATCH)

    def _check_state(self) -> None:
        """A table in memory does not change."""


def memory(data: Any, needed: Sequence[str]) -> Memory:
    """Return a dataframe, or rows that are dictionaries, as a source.

    Raises TypeError for another object; TableError for no rows, a row that lacks a column that is
    needed, or a column that holds several kinds of values.
    """
    import narwhals as nw
    import pyarrow as pa

    if isinstance(data, Mapping):
        data = [data]
    if isinstance(data, list | tuple):
        table = _of_rows(data, needed)
    elif isinstance(data, pa.Table):
        table = data
    else:
        try:
            frame = nw.from_native(data, eager_only=True)
        except TypeError:
            raise TypeError(
                f"data is a {type(data).__name__}; expected a dataframe of pandas, Polars or "
                "PyArrow, or a list of dictionaries, one for each row"
            ) from None
        named = dict(zip(map(str, frame.columns), frame.columns, strict=True))
        table = pa.table({
            name: _column(name, frame.get_column(column).to_list())
            if str(frame.schema[column]) == "Object"
            else frame.get_column(column).to_arrow()
            for name, column in named.items()
        })  # fmt: skip
    if not table.num_rows:
        raise TableError("the data has no rows; expected at least one")
    for field in table.schema:
        if field.name in needed and family(field.type) == "other":
            raise TableError(
                f"column {field.name!r} holds values of type {field.type}; expected numbers, texts "
                "or dates"
            )
    return Memory(table)


def _of_rows(rows: Sequence[Any], needed: Sequence[str]) -> pa.Table:
    import pyarrow as pa

    for i, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise TypeError(
                f"row {i} of data is a {type(row).__name__}; expected a dictionary with a value "
                "for each column"
            )
        if missing := [name for name in needed if name not in row]:
            raise TableError(
                f"row {i} lacks {'column' if len(missing) == 1 else 'columns'} {listed(missing)}, "
                f"which the model needs; it has {listed(list(row))}. Use None for no value"
            )
    every = dict.fromkeys(str(name) for row in rows for name in row)
    return pa.table({name: _column(name, [row.get(name) for row in rows]) for name in every})


def _column(name: str, values: list[Any]) -> pa.Array:
    import pyarrow as pa

    there = [value is not None and value == value for value in values]  # NaN is not
    kinds = {type(value) for value, is_there in zip(values, there, strict=True) if is_there}
    try:
        if bool in kinds and len(kinds) > 1:  # which PyArrow takes for 0 and 1
            raise TypeError
        return pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        first = values[there.index(True)]
        number = isinstance(first, int | float) and not isinstance(first, bool)
        for i, value in enumerate(values):
            alike = type(value) in (int, float) if number else isinstance(value, type(first))
            if there[i] and not alike:
                raise TableError(
                    f"row {i}, column {name!r}: the value is {str(value)[:60]!r}, a "
                    f"{type(value).__name__}; other rows have a {type(first).__name__}"
                ) from None
        raise TableError(
            f"column {name!r} holds a {type(first).__name__} such as {str(first)[:60]!r}; expected "
            "numbers, texts or dates"
        ) from None


def alike(result: pa.Table, data: Any, new_rows: bool = False) -> Any:
    """Return a table of the same kind as data; with ``new_rows``, it has rows of its own."""
    import narwhals as nw
    import pyarrow as pa

    if isinstance(data, pa.Table):
        return result
    if isinstance(data, list | tuple | Mapping):
        return result.to_pylist()
    frame = nw.from_native(data, eager_only=True)
    if frame.implementation.is_pandas():
        frame_of_pandas = result.to_pandas()
        return frame_of_pandas if new_rows else frame_of_pandas.set_index(data.index)
    made = nw.from_dict(
        {name: result[name].to_pylist() for name in result.column_names},
        backend=frame.implementation,
    )
    return made.to_native()
