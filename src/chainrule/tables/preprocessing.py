"""Preprocessing: turn columns into the inputs of a network, as scikit-learn's transformers do.

Numbers and the parts of dates are standardised (`StandardScaler`). A missing one then becomes 0,
the mean (`SimpleImputer`), and another input marks it (`MissingIndicator`). Categories are one-hot
(`OneHotEncoder`). What the recipe adds to numbers is in `encoding`. All of this is fitted on the
training rows alone (`fitting`), and kept in the schema as plain numbers and texts. The inputs are
those of scikit-learn to the bit, without it: importing it takes longer than predicting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chainrule.tables import cells, encoding, notation
from chainrule.tables.cells import CellError, Floats
from chainrule.tables.notation import TIME
from chainrule.tables.notes import Far, Notes
from chainrule.tables.profile import Finding
from chainrule.tables.schema import DATE_PARTS, LARGEST, Column, Schema, levels
from chainrule.tables.source import Source, TableError

if TYPE_CHECKING:
    import pyarrow as pa

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
        self.mean = np.array([x for column in schema.numeric for x in column.mean])
        self.scale = np.array([x for column in schema.numeric for x in column.scale])
        clips = [c.clip * c.squeezed(part) for c in schema.numeric for part in c.parts]
        self.squeezed = np.flatnonzero(clips)
        self.clip = np.array(clips)[self.squeezed]
        self.units = len(schema.inputs)

    def transform(
        self, batch: pa.Table, source: Source, start: int, notes: Notes | None = None
    ) -> NDArray[np.float32]:
        """Return the inputs of a batch that begins at row ``start``; add what is new to ``notes``.

        Raises TableError, with the place, for a cell that does not fit its column.
        """
        X = np.zeros((batch.num_rows, self.units), dtype=np.float32)
        missing, numeric = self.schema.missing, self.schema.numeric
        end = len(self.mean)
        bases: list[Floats] = []  # the numbers, or the days
        if numeric:
            parts = []
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
            scaled = (np.column_stack(parts) - self.mean) / self.scale
            self._check_range(scaled, source, start)
            if len(self.squeezed):
                scaled[:, self.squeezed] = encoding.squeeze(scaled[:, self.squeezed], self.clip)
            X[:, :end] = np.where(np.isnan(scaled), 0.0, scaled)
            for column, values_ in zip(numeric, bases, strict=True):
                if column.missing:
                    X[:, end] = np.isnan(values_)
                    end += 1
        rows = np.arange(len(X))
        for column in self.schema.categorical:
            place = self._known(batch, column, notes)
            here = place >= 0
            X[rows[here], end + place[here]] = 1
            end += len(levels(column))
        for column, values_ in zip(numeric, bases, strict=True):
            if column.bins:
                pieces = encoding.piecewise(values_, column.bins)
                X[:, end : end + pieces.shape[1]] = pieces
                end += pieces.shape[1]
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

    def _known(self, batch: pa.Table, column: Column, notes: Notes | None) -> NDArray[np.int64]:
        """Return the level of the category in each row; -1 where all inputs are 0."""
        import pyarrow as pa
        import pyarrow.compute as pc

        strings = cells.texts(batch.column(column.name), self.schema.missing)
        place = pc.index_in(strings, value_set=pa.array(column.categories, pa.string()))
        known = place.is_valid()
        if notes is not None and not (column.rare and not column.rares):
            seen = pc.is_in(strings, value_set=pa.array(column.rares, pa.string()))
            unseen = pc.and_(pc.invert(known), pc.invert(seen))
            unknown = strings.filter(pc.and_(unseen, strings.is_valid()))
            if len(unknown):
                notes.unknown.setdefault(column.name, Counter()).update(unknown.to_pylist())
        if notes is not None and strings.null_count and not column.missing:
            notes.none[column.name] += strings.null_count
        k = len(column.categories)
        other = k if column.rare else -1
        none = k + column.rare if column.missing else other
        place = pc.if_else(strings.is_valid(), pc.fill_null(place, other), none)
        return np.asarray(place.to_numpy(zero_copy_only=False), dtype=np.int64)
