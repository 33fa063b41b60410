"""Notes: what new data has and the training rows had not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from chainrule.equations.checks import listed
from chainrule.tables import notation
from chainrule.tables.cells import Floats
from chainrule.tables.profile import Finding
from chainrule.tables.schema import Column, Schema
from chainrule.tables.source import Source, counted


@dataclass
class Far:
    """Cells of a column that are far outside the training rows: their number and the farthest."""

    count: int = 0
    distance: float = 0.0
    row: int = 0
    value: float = 0.0
    rows: list[int] = field(default_factory=list)  # of the last batch

    def see(self, values: Floats, column: Column, start: int) -> None:
        """Examine the numbers of a batch, which begins at row ``start``."""
        low, high = column.low[0], column.high[0]
        distances = np.fmax(np.fmax(low - values, values - high), 0.0)
        far = distances > (high - low or abs(high) / 1e6)
        self.rows = (start + np.flatnonzero(far)).tolist()
        if not self.rows:
            return
        self.count += len(self.rows)
        row = int(np.argmax(np.where(far, distances, 0.0)))
        if distances[row] > self.distance:
            self.row, self.distance, self.value = start + row, distances[row], values[row]


@dataclass
class Notes:
    """What new data has and the training rows had not: categories, missing and far values."""

    unknown: dict[str, Counter[str]] = field(default_factory=dict)
    none: Counter[str] = field(default_factory=Counter)
    far: dict[str, Far] = field(default_factory=dict)

    def words(self, schema: Schema, source: Source) -> list[str]:
        """Return a sentence for each column with something new."""
        lines = []
        for column in schema.columns:
            as_what = "rare" if column.rare else "none of the known categories"
            if counts := self.unknown.get(column.name):
                found = [value for value, _ in counts.most_common()]
                lines.append(
                    f"column {column.name!r} has new categories, treated as {as_what}: "
                    f"{listed(found, 5)} ({counted(sum(counts.values()), 'row')})"
                )
            if (far := self.far.get(column.name)) and far.count:
                low, high = (brief(x[0], column) for x in (column.low, column.high))
                if low == high:
                    low, high = (brief(x[0], column, 17) for x in (column.low, column.high))
                many = f"{counted(far.count, 'value')} far outside"
                lines.append(
                    f"column {column.name!r} has {many} the training rows, which hold {low} to "
                    f"{high}; do not trust these predictions. The farthest is "
                    f"{brief(far.value, column)} ({source.place(far.row, column.name)})"
                )
            if count := self.none[column.name]:
                if column.kind != "category":
                    as_what = "the mean"
                lines.append(
                    f"column {column.name!r} has no value in {counted(count, 'row')}, but had one "
                    f"in every training row; treated as {as_what}"
                )
        return lines


def brief(value: float, of: Finding | Column, digits: int = 6) -> str:
    """Return a number of a column as people write it."""
    if of.form == notation.TIME:
        return notation.duration(np.round(value * 86400, 6))
    if of.form == notation.DURATION:
        return f"{value:.{digits}g} s"
    if of.kind == "date":
        return str(np.datetime64(int(np.floor(value)), "D")) if abs(value) < 1e7 else str(value)
    return f"{value:.{digits}g}"
