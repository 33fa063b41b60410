"""Preprocessing: turn columns into the inputs of a network, with scikit-learn's transformers.

Numbers and the parts of dates are standardised (`StandardScaler`). A missing one then becomes 0,
the mean (`SimpleImputer`), and another input marks it (`MissingIndicator`). Categories are one-hot
(`OneHotEncoder`). All of this is fitted on the training rows alone, batch by batch. The schema
keeps it as plain numbers and texts, from which the same objects are built again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.equations.checks import listed
from chainrule.tables import cells
from chainrule.tables.cells import CellError, Floats
from chainrule.tables.profile import Finding
from chainrule.tables.schema import DATE_PARTS, LARGEST, SMALLEST, Column, LeftOut, Schema
from chainrule.tables.source import Source, TableError, counted

if TYPE_CHECKING:
    import pyarrow as pa
    from sklearn.impute import MissingIndicator, SimpleImputer
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

_RARE, _NONE = "\0rare", "\0missing"  # as the encoder knows them; no text of a file is like these
_DAY, _YEAR = 86400.0, 365.2425
_MOST_RARES = 200  # rare categories that are remembered, to tell them from unknown ones


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
            values = cells.numbers(cell, missing)
            large = np.abs(values) > LARGEST
            if large.any():
                row = int(np.argmax(large))
                raise CellError(row, f"{values[row]:.6g}")
            return [values]
        return date_parts(cells.dates(cell, missing, column.form))
    except CellError as error:
        place = source.place(start + error.row, column.name)
        if column.kind == "number":
            expected = f"number; expected one from {-LARGEST:g} to {LARGEST:g}"
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


class Fitting:
    """What the training rows teach about the columns, batch by batch."""

    def __init__(self, source: Source, findings: Sequence[Finding], missing: Sequence[str]) -> None:
        from sklearn.preprocessing import StandardScaler

        self.source, self.missing, self.n = source, tuple(missing), 0
        self.findings = list(findings)
        self.numeric = [f for f in findings if f.kind in ("number", "date")]
        self.categorical = [f for f in findings if f.kind == "category"]
        self.scaler = StandardScaler()
        widths = [1 if f.kind == "number" else len(DATE_PARTS) for f in self.numeric]
        self.starts = np.cumsum([0, *widths])
        self.start_of = {f.name: int(i) for f, i in zip(self.numeric, self.starts, strict=False)}
        self.low = np.full(self.starts[-1], np.inf)
        self.high = np.full(self.starts[-1], -np.inf)
        self.none: Counter[str] = Counter()
        self.counts: dict[str, Counter[str]] = {f.name: Counter() for f in self.categorical}

    def see(self, batch: pa.Table, start: int, chosen: NDArray[np.bool_]) -> None:
        """Learn from the chosen rows of a batch, which begins at row ``start``."""
        import pyarrow as pa
        import pyarrow.compute as pc

        n = int(chosen.sum())
        if not n:
            return
        self.n += n
        if self.numeric:
            parts = [
                part for finding in self.numeric
                for part in numeric_parts(batch, self.source, start, finding, self.missing)
            ]  # fmt: skip
            X = np.column_stack(parts)[chosen]
            _learn(self.scaler, X)
            self.low = np.fmin(self.low, np.fmin.reduce(X, axis=0))
            self.high = np.fmax(self.high, np.fmax.reduce(X, axis=0))
            for finding, first in zip(self.numeric, self.starts, strict=False):
                self.none[finding.name] += int(np.isnan(X[:, first]).sum())
        mask = pa.array(chosen)
        for finding in self.categorical:
            strings = cells.texts(batch.column(finding.name), self.missing).filter(mask)
            self.none[finding.name] += strings.null_count
            counted = pc.value_counts(strings.drop_null())
            counts = self.counts[finding.name]
            for value, count in zip(
                counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True
            ):
                counts[value] += count

    def finish(self, most: int) -> tuple[list[Column], list[LeftOut]]:
        """Return the columns, with at most ``most`` categories each, and those left out."""
        columns: list[Column] = []
        left_out: list[LeftOut] = []
        for finding in self.findings:
            if finding.kind == "left out":
                made: Column | LeftOut = LeftOut(finding.name, finding.words)
            elif finding.kind == "category":
                made = self._category(finding, most)
            else:
                made = self._numeric(finding)
            if isinstance(made, Column):
                columns.append(made)
            else:
                left_out.append(made)
        if not columns:
            reasons = "; ".join(f"{c.name!r}: {c.why}" for c in left_out[:5])
            raise TableError(f"no column is left to learn from ({reasons})")
        return columns, left_out

    def _numeric(self, finding: Finding) -> Column | LeftOut:
        name, n_none = finding.name, self.none[finding.name]
        first = self.start_of[name]
        if n_none == self.n:
            return LeftOut(name, "it has no value in any training row")
        names = ("value",) if finding.kind == "number" else DATE_PARTS
        places = [first + i for i in range(len(names))]
        varied = [i for i in places if self.low[i] < self.high[i]]
        if not varied and not n_none:
            value = _brief(float(self.low[first]), finding.kind)
            return LeftOut(name, f"it is {value} in every training row")
        kept = varied or places[:1]
        if (smallest := min(self.scaler.scale_[i] for i in kept)) < SMALLEST:
            return LeftOut(name, f"its numbers vary too little (standard deviation {smallest:.3g})")
        low, high = (_brief(float(x[first]), finding.kind) for x in (self.low, self.high))
        words = f"{low} to {high}"
        if finding.kind == "number":
            mean, deviation = self.scaler.mean_[first], self.scaler.scale_[first]
            words += f", mean {mean:.4g}, standard deviation {deviation:.4g}"
        return Column(
            name, "date" if finding.kind == "date" else "number", missing=n_none > 0,
            parts=tuple(names[i - first] for i in kept),
            mean=tuple(float(self.scaler.mean_[i]) for i in kept),
            variance=tuple(float(self.scaler.var_[i]) for i in kept),
            scale=tuple(float(self.scaler.scale_[i]) for i in kept),
            form=finding.form, words=words + self._none_words(n_none),
        )  # fmt: skip

    def _category(self, finding: Finding, most: int) -> Column | LeftOut:
        name, n_none, counts = finding.name, self.none[finding.name], self.counts[finding.name]
        if n_none == self.n:
            return LeftOut(name, "it has no value in any training row")
        fewest = min(5, max(1, self.n // 100))
        common = sorted((v for v in counts if counts[v] >= fewest), key=lambda v: (-counts[v], v))
        kept = sorted(common[:most])
        rares = sorted(counts.keys() - set(kept))
        rare = len(rares) > 0
        if len(kept) + rare + (n_none > 0) < 2:
            why = f"it is {kept[0]!r}" if kept else f"each category has fewer than {fewest} rows"
            return LeftOut(name, f"{why} in every training row" if kept else why)
        words = f"{len(kept)} categories" if len(kept) != 1 else "1 category"
        words += f": {', '.join(kept[:6])}" + (", ..." if len(kept) > 6 else "") if kept else ""
        words += f"; {len(rares):,} other{'s' * (len(rares) != 1)}, counted as rare" if rare else ""
        return Column(
            name, "category", missing=n_none > 0, categories=tuple(kept), rare=rare,
            rares=tuple(rares) if len(rares) <= _MOST_RARES else (),
            words=words + self._none_words(n_none),
        )  # fmt: skip

    def _none_words(self, n_none: int) -> str:
        return f"; {_percent(n_none / self.n)} missing" if n_none else ""


def _learn(scaler: StandardScaler, X: Floats) -> None:
    """Update a scaler; a column of nothing but NaN leaves it unchanged."""
    with np.errstate(invalid="ignore", divide="ignore"):
        scaler.partial_fit(X)
    unseen = np.broadcast_to(np.asarray(scaler.n_samples_seen_) == 0, scaler.mean_.shape)
    scaler.mean_[unseen] = scaler.var_[unseen] = 0.0  # otherwise the mean would stay NaN


@dataclass
class Notes:
    """What new data has and the training rows had not: categories, and missing values."""

    unknown: dict[str, Counter[str]] = field(default_factory=dict)
    none: Counter[str] = field(default_factory=Counter)

    def words(self, schema: Schema) -> list[str]:
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
            if count := self.none[column.name]:
                if column.kind != "category":
                    as_what = "the mean"
                lines.append(
                    f"column {column.name!r} has no value in {counted(count, 'row')}, but had one "
                    f"in every training row; treated as {as_what}"
                )
        return lines


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


def _brief(value: float, kind: str) -> str:
    if kind == "date":
        day = np.datetime64(int(np.floor(value)), "D") if abs(value) < 1e7 else value
        return str(day)
    return f"{value:.6g}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.0005 else "under 0.1 %"
