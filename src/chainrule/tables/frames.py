"""Frames: models of tables in Python, on dataframes and on rows that are dictionaries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Any
from warnings import warn

from chainrule._exports import exported
from chainrule.equations.checks import listed
from chainrule.tables import model as models
from chainrule.tables import notation
from chainrule.tables.cells import family
from chainrule.tables.naming import by_index, names
from chainrule.tables.prediction import Prediction
from chainrule.tables.source import BATCH, Source, TableError

if TYPE_CHECKING:
    import pyarrow as pa

    from chainrule.explain import Explanation


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


def typical(model: models.TableModel) -> list[dict[str, Any]]:
    """Return a row that the model takes: means, the first category, the days of the year 2000."""
    row: dict[str, Any] = {}
    for column in model.schema.columns:
        if column.kind == "number":
            row[column.name] = notation.example(column.form) if column.form else column.mean[0]
        elif column.kind == "date":
            day = datetime(2000, 1, 1, 12, 30)
            is_time = column.form == notation.TIME
            row[column.name] = (
                "12:30" if is_time else day.strftime(column.form) if column.form else day
            )
        else:
            row[column.name] = column.categories[0] if column.categories else "other"
    return [row]


def _alike(result: pa.Table, data: Any) -> Any:
    import narwhals as nw
    import pyarrow as pa

    if isinstance(data, pa.Table):
        return result
    if isinstance(data, list | tuple | Mapping):
        return result.to_pylist()
    frame = nw.from_native(data, eager_only=True)
    if frame.implementation.is_pandas():
        return result.to_pandas().set_index(data.index)
    made = nw.from_dict(
        {name: result[name].to_pylist() for name in result.column_names},
        backend=frame.implementation,
    )
    return made.to_native()


@exported("chainrule")
class TableModel(models.TableModel):
    """The model of a table: a network, its columns and their preprocessing; see `load_table`.

    Attributes:
        network: The `Network`, whose inputs the columns become.
        others: More networks, after ``chainrule train --members``; the mean of all is what the
            model predicts.
        schema: The columns, the target, and what stands for no value.
        training: The settings and facts of its training.
        measures: The measures of the model and of the baseline on the rows held out for the test.

    Examples:
        >>> import chainrule as cr
        >>> model = cr.load_table("flats.model")  # doctest: +SKIP
        >>> model.predict(frame)  # doctest: +SKIP
    """

    def predict(self, data: Any, *, spread: bool = False) -> Any:
        """Return the prediction for each row, in a table of the same kind as the data.

        Args:
            data: A dataframe of pandas, Polars or PyArrow; or a list of dictionaries, one for each
                row. Columns are found by their names. A value that is missing is None or NaN.
            spread: Whether to add the standard deviation over the networks of the model: a column
                ``spread``, or for classes ``spread_CLASS``, of its probability.

        Returns:
            The predicted target, and for classes a column ``probability_CLASS`` for each. A
            dataframe of pandas keeps its index. After a list, a list of dictionaries.

        Warns:
            UserWarning: The data has what the training rows had not: other columns, new categories,
                values far outside, or missing values.

        Raises:
            TypeError: ``data`` is another object.
            ValueError: A column is missing, there are no rows, or a cell does not fit its column;
                the message names the row and the column. Or ``spread`` is asked of a model with one
                network.
        """
        import pyarrow as pa

        source = memory(data, [column.name for column in self.schema.columns])
        prediction = Prediction(self, source, spread=spread)
        result = pa.concat_tables(prediction.batches())
        if unknown := prediction.unknown:
            warn(
                f"columns that the model does not know are ignored: {listed(unknown)}", stacklevel=2
            )
        for line in prediction.notes.words(self.schema, source):
            warn(line, stacklevel=2)
        return _alike(result, data)

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, tuple(getattr(self, field.name) for field in fields(self))

    def explain(
        self,
        target: str,
        data: Any,
        *,
        label: str | None = None,
        member: int | None = None,
        **options: Any,
    ) -> Explanation:
        """Explain the derivative of the loss with respect to one quantity, by the names of columns.

        Args:
            target: The quantity to differentiate with respect to, as for `Network.explain`. A
                column may name an input, "x[age]" or "w[1][2,colour=red]", and a class a unit of
                the last layer.
            data: The rows, as for `TableModel.predict`, with a column of the target unless
                ``label`` says it.
            label: The target of all rows, if the data has none.
            member: Which network to explain, from 0, if the model has several.
            **options: The options of `Network.explain`.

        Returns:
            The explanation.

        Raises:
            TypeError: ``data`` is another object.
            ValueError: The model has no such quantity or network, or the data do not fit.
        """
        network = self.member(member).network
        needed = [column.name for column in self.schema.columns]
        needed += [] if label is not None else [self.schema.target.name]
        source = memory(data, needed)
        n = sum(batch.num_rows for batch in source.batches(source.names[:1]))
        X, y, batch, _ = self.samples(source, slice(0, n), label)
        options.setdefault("names", names(self.schema, source, batch, 0))
        target = by_index(target, self.schema, len(network.sizes) - 1)
        return network.explain(target, X, y, **options)


def _made(*of: Any) -> TableModel:
    """Return the model of its fields, for pickle: the class is not found by its public name."""
    return TableModel(*of)
