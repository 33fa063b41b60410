"""Preprocessing: turn columns into the inputs of a network, with scikit-learn's transformers.

Numbers and the parts of dates are standardised (`StandardScaler`). A missing one then becomes 0,
the mean (`SimpleImputer`), and another input marks it (`MissingIndicator`). Categories are one-hot
(`OneHotEncoder`). All of this is fitted on the training rows alone (`fitting`). The schema
keeps it as plain numbers and texts, from which the same objects are built again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.tables import cells, notation
from chainrule.tables.cells import CellError, Floats
from chainrule.tables.notation import TIME
from chainrule.tables.notes import Far, Notes
from chainrule.tables.profile import Finding
from chainrule.tables.schema import DATE_PARTS, LARGEST, Column, Schema
from chainrule.tables.source import Source, TableError

if TYPE_CHECKING:
    import pyarrow as pa
    from sklearn.impute import MissingIndicator, SimpleImputer
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

_RARE, _NONE = "\0rare", "\0missing"  # as the encoder knows them; no text of a file is like these
_DAY, _YEAR = 86400.0, 365.2425


def numeric_parts(
    batch: pa.Table, source: Source, start: int, column: Column | Finding, missing: Sequence[str]
) -> list[Floats]:
    """Return the numbers of a column: its values, or all `DATE_PARTS`; NaN where there is none.

    Raises TableError, with the place, for a cell that is not a number or date. ``start`` is the row
    with which the batch begins.
    """
    cell = batch.column(column.name)
    try:
        if column.kind == "number":
            values = cells.numbers(cell, missing, column.form)
            large = np.abs(values) > LARGEST
            if large.any():
                row = int(np.argmax(large))
                raise CellError(row, f"{values[row]:.6g}")
            return [values]
        return date_parts(cells.dates(cell, missing, column.form))
    except CellError as error:
        place = source.place(start + error.row, column.name)
        if column.kind == "number":
            such = f"one such as {notation.example(column.form)!r}, " if column.form else "one "
            expected = f"number; expected {such}from {-LARGEST:g} to {LARGEST:g}"
        elif column.form == TIME:
            expected = f"time of day; expected one such as {notation.example(TIME)}"
        else:
            expected = f"date; expected {column.form or 'ISO 8601'}"
        raise TableError(f"{place}: {error.text!r} is not a usable {expected}") from None


def date_parts(seconds: Floats) -> list[Floats]:
    """Return the `DATE_PARTS` of seconds since 1970."""
    days = seconds / _DAY
    here = ~np.isnan(seconds)
    whole = np.full(len(seconds), "NaT", dtype="datetime64[D]")
    whole[here] = np.floor(days[here]).astype(np.int64).astype("datetime64[D]")
    first = whole.astype("datetime64[Y]").astype("datetime64[D]")
    of_year = np.where(here, (whole - first).astype(np.float64), np.nan)
    circles = [of_year / _YEAR, (np.floor(days) + 3) / 7 % 1, days % 1]  # 1970 began on a Thursday
    parts = [days]
    for turn in circles:
        parts += [np.sin(2 * np.pi * turn), np.cos(2 * np.pi * turn)]
    return parts


class Preprocessing:
    """The transform of a schema: batches of a table to inputs, (n, units_0), in float32."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.scaler, self.imputer, self.indicator = _for_numbers(schema.numeric)
        self.encoder = _for_categories(schema.categorical)
        self.units = len(schema.inputs)

    def transform(
        self, batch: pa.Table, source: Source, start: int, notes: Notes | None = None
    ) -> NDArray[np.float32]:
        """Return the inputs of a batch that begins at row ``start``; add what is new to ``notes``.

        Raises TableError, with the place, for a cell that does not fit its column.
        """
        blocks: list[Any] = []
        missing, numeric = self.schema.missing, self.schema.numeric
        if numeric:
            parts, bases = [], []
            for column in numeric:
                values = numeric_parts(batch, source, start, column, missing)
                bases.append(values[0])
                every = ("value",) if column.kind == "number" else DATE_PARTS
                parts += [values[every.index(part)] for part in column.parts]
                n_none = int(np.isnan(values[0]).sum())
                if notes is not None and column.low:
                    notes.far.setdefault(column.name, Far()).see(values[0], column, start)
                if notes is not None and n_none and not column.missing:
                    notes.none[column.name] += n_none
            scaled = self.scaler.transform(np.column_stack(parts))
            self._check_range(scaled, source, start)
            blocks.append(self.imputer.transform(scaled))
            blocks.append(self.indicator.transform(np.column_stack(bases)))
        if self.encoder is not None:
            columns = [self._known(batch, column, notes) for column in self.schema.categorical]
            blocks.append(self.encoder.transform(np.column_stack(columns)))
        X = np.empty((batch.num_rows, self.units), dtype=np.float32)
        end = 0
        for block in blocks:
            X[:, end : end + block.shape[1]] = block
            end += block.shape[1]
        return X

    def _check_range(self, scaled: Floats, source: Source, start: int) -> None:
        """Raise TableError for the first input that is infinite in float32."""
        far = np.abs(scaled) > np.finfo(np.float32).max
        if far.any():
            row, unit = np.argwhere(far)[0].tolist()
            name = [column.name for column in self.schema.numeric for _ in column.parts][unit]
            raise TableError(
                f"{source.place(start + row, name)}: the value is {abs(scaled[row, unit]):.3g} "
                "standard deviations from the mean of the training rows, too far for float32. "
                "Correct it."
            )

    def _known(self, batch: pa.Table, column: Column, notes: Notes | None) -> NDArray[Any]:
        """Return the categories of a batch as the encoder knows them."""
        import pyarrow as pa
        import pyarrow.compute as pc

        strings = cells.texts(batch.column(column.name), self.schema.missing)
        known = pc.is_in(strings, value_set=pa.array(column.categories, pa.string()))
        if notes is not None and not (column.rare and not column.rares):
            seen = pc.is_in(strings, value_set=pa.array(column.rares, pa.string()))
            unseen = pc.and_(pc.invert(known), pc.invert(seen))
            unknown = strings.filter(pc.and_(unseen, strings.is_valid()))
            if len(unknown):
                notes.unknown.setdefault(column.name, Counter()).update(unknown.to_pylist())
        if notes is not None and strings.null_count and not column.missing:
            notes.none[column.name] += strings.null_count
        values = pc.if_else(known, strings, _RARE)
        values = pc.if_else(strings.is_valid(), values, _NONE if column.missing else _RARE)
        return np.asarray(values.to_numpy(zero_copy_only=False), dtype=object)


def _for_numbers(
    columns: Sequence[Column],
) -> tuple[StandardScaler, SimpleImputer, MissingIndicator]:
    """Build the scaler, imputer and indicator of columns from the schema."""
    from sklearn.impute import MissingIndicator, SimpleImputer
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler()
    scaler.mean_ = np.array([x for column in columns for x in column.mean], dtype=np.float64)
    scaler.var_ = np.array([x for column in columns for x in column.variance], dtype=np.float64)
    scaler.scale_ = np.array([x for column in columns for x in column.scale], dtype=np.float64)
    scaler.n_features_in_ = len(scaler.mean_)
    imputer = SimpleImputer(strategy="constant", fill_value=0.0, keep_empty_features=True)
    indicator = MissingIndicator(features="missing-only", error_on_new=False)
    if columns:  # these two learn which columns have missing values
        imputer.fit(np.zeros((1, len(scaler.mean_))))
        indicator.fit(np.array([[np.nan if column.missing else 0.0 for column in columns]]))
    return scaler, imputer, indicator


def _for_categories(columns: Sequence[Column]) -> OneHotEncoder | None:
    """Build the encoder of columns; an unknown category is 0 in all inputs."""
    from sklearn.preprocessing import OneHotEncoder

    if not columns:
        return None
    every = []
    for column in columns:
        values = [*column.categories]
        values += [_RARE] if column.rare else []
        values += [_NONE] if column.missing else []
        every.append(np.array(values, dtype=object))
    encoder = OneHotEncoder(
        categories=every, handle_unknown="ignore", sparse_output=False, dtype=np.float32
    )
    return encoder.fit(np.array([[values[0] for values in every]], dtype=object))
