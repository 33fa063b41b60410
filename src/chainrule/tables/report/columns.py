"""Columns of a report: what their cells are, here and in the training rows."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from chainrule.tables import cells
from chainrule.tables.memory import Memory
from chainrule.tables.notes import brief
from chainrule.tables.preprocessing import numeric_parts
from chainrule.tables.report.plots import histogram
from chainrule.tables.report.sample import Sample
from chainrule.tables.schema import Column, Schema
from chainrule.tables.sensitivity import PER

if TYPE_CHECKING:
    import pyarrow as pa

    from chainrule.tables.model import TableModel

_BINS, _COMMON = 24, 3


def facts(model: TableModel, sample: Sample) -> list[tuple[str, ...]]:
    """Return for each column its name, kind, words, missing share, and a picture, as HTML."""
    made: list[tuple[str, ...]] = []
    for column in model.schema.columns:
        missing, shown = _here(column, model.schema, sample)
        share = f"{100 * missing:.1f} %" if missing else "none"
        made.append((escape(column.name), column.kind, escape(column.words), share, shown))
    return made


def _here(column: Column, schema: Schema, sample: Sample) -> tuple[float, str]:
    """Return the share of missing cells, and a histogram or the commonest categories."""
    if column.kind == "category":
        texts = cells.texts(sample.batch.column(column.name), schema.missing)
        n = len(texts)
        counted = texts.drop_null().value_counts().to_pylist()
        common = sorted(counted, key=lambda each: -each["counts"])[:_COMMON]
        shares = [f"{each['values'][:24]} {100 * each['counts'] / n:.0f} %" for each in common]
        return texts.null_count / n, escape(", ".join(shares))
    values = numeric_parts(sample.batch, Memory(sample.batch), 0, column, schema.missing)[0]
    here = values[~np.isnan(values)]
    if not len(here):
        return 1.0, ""
    low, high = np.quantile(here, (0.0, 1.0))
    counts, _ = np.histogram(here, _BINS, (low, high) if low < high else None)
    words = f"{brief(float(low), column, 4)} to {brief(float(high), column, 4)}"
    return float(np.isnan(values).mean()), histogram(counts.tolist(), f"{column.name}: {words}")


def cells_of(sample: Sample, names: list[str], place: int) -> list[str]:
    """Return some cells of a row as texts."""
    row = sample.batch.slice(place, 1)
    return [cells.stripped(row.column(name), ("",))[0].as_py() or "" for name in names]


def largest(
    schema: Schema, table: pa.Table, whose: str, most: int
) -> list[tuple[str, str | None, str, float]]:
    """Return the changes that move one prediction most: column, value, change, move.

    Derivatives are compared by what one standard deviation of the column brings.
    """
    scale = {column.name: column.scale[0] for column in schema.numeric}
    lines = list(
        zip(*(table.column(n).to_pylist() for n in ("column", "value", "change", whose)),
            strict=True)
    )  # fmt: skip

    def size(line: tuple[str, str | None, str, float]) -> float:
        return abs(line[3]) * (scale[line[0]] if line[2] == PER else 1.0)

    return sorted(lines, key=size, reverse=True)[:most]
