"""Fitting: what the training rows teach about the columns, batch by batch.

Means and variances are those of scikit-learn's `StandardScaler`. Where numbers are far from 0
beside their range, they come from a second pass over differences.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chainrule.equations.checks import listed
from chainrule.tables import cells, encoding
from chainrule.tables.cells import Floats
from chainrule.tables.moments import Moments
from chainrule.tables.notes import brief
from chainrule.tables.preprocessing import numeric_parts
from chainrule.tables.profile import Finding
from chainrule.tables.schema import DATE_PARTS, SMALLEST, Column, LeftOut
from chainrule.tables.source import NothingToLearnError, Source

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_RARES = 200  # rare categories that are remembered, to tell them from unknown ones
_FAR = 1e6  # numbers that are larger than their range by this much need a second pass
_EXTREME = 10  # standard deviations from the mean that are worth a word


class Fitting:
    """What the training rows teach about the columns, batch by batch."""

    def __init__(
        self,
        source: Source,
        findings: Sequence[Finding],
        missing: Sequence[str],
        pieces: int = 0,
    ) -> None:
        self.pieces = pieces  # of the encoding of each number; 0: none, and nothing is squeezed
        self.sample = encoding.Sample()
        self.source, self.missing, self.n = source, tuple(missing), 0
        self.findings = list(findings)
        self.numeric = [f for f in findings if f.kind in ("number", "date")]
        self.categorical = [f for f in findings if f.kind == "category"]
        self.moments = Moments()
        widths = [1 if f.kind == "number" else len(DATE_PARTS) for f in self.numeric]
        self.starts = np.cumsum([0, *widths])
        self.start_of = {f.name: int(i) for f, i in zip(self.numeric, self.starts, strict=False)}
        self.low = np.full(self.starts[-1], np.inf)
        self.high = np.full(self.starts[-1], -np.inf)
        self.none: Counter[str] = Counter()
        self.none_texts: dict[str, Counter[str]] = {f.name: Counter() for f in findings}
        self.counts: dict[str, Counter[str]] = {f.name: Counter() for f in self.categorical}
        self._shifted: dict[str, Moments] = {}

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
            self.moments.see(X)
            if self.pieces:
                self.sample.see(X[:, self.starts[:-1]])
            self.low = np.fmin(self.low, np.fmin.reduce(X, axis=0))
            self.high = np.fmax(self.high, np.fmax.reduce(X, axis=0))
            for finding, first in zip(self.numeric, self.starts, strict=False):
                self.none[finding.name] += int(np.isnan(X[:, first]).sum())
        mask = pa.array(chosen)
        for finding in (*self.numeric, *self.categorical):
            column = batch.column(finding.name).filter(mask)
            self.none_texts[finding.name] += cells.missing_texts(column, self.missing)
        for finding in self.categorical:
            strings = cells.texts(batch.column(finding.name), self.missing).filter(mask)
            self.none[finding.name] += strings.null_count
            counted = pc.value_counts(strings.drop_null())
            counts = self.counts[finding.name]
            for value, count in zip(
                counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True
            ):
                counts[value] += count

    def fresh(self) -> Fitting:
        """Return one that has seen nothing, for a file of the table, which becomes its source.

        It knows the least and the largest numbers, for `see_again` takes off those of all files.
        """
        made = Fitting(self.source, self.findings, self.missing, self.pieces)
        made.low, made.high = self.low, self.high
        del made.source
        return made

    def join(self, later: Fitting) -> None:
        """Take in what the next file has taught."""
        self.n += later.n
        self.moments.join(later.moments)
        self.sample.join(later.sample)
        self.low, self.high = np.fmin(self.low, later.low), np.fmax(self.high, later.high)
        self.none += later.none
        for own, others in ((self.none_texts, later.none_texts), (self.counts, later.counts)):
            for name, counts in others.items():
                own[name] += counts
        for name, shifted in later._shifted.items():
            self._shifted.setdefault(name, Moments()).join(shifted)

    @property
    def far_from_0(self) -> list[Finding]:
        """The columns whose numbers differ by little beside their size, such as 1e15 and 1e15 + 1.

        Sums of such numbers lose the digits in which they differ, so that they need `see_again`.
        """
        return [
            finding for finding, first in zip(self.numeric, self.starts, strict=False)
            if np.isfinite(self.low[first]) and 0 < self.high[first] - self.low[first]
            < max(-self.low[first], self.high[first]) / _FAR
        ]  # fmt: skip

    def see_again(self, batch: pa.Table, start: int, chosen: NDArray[np.bool_]) -> None:
        """Take means and variances of `far_from_0` again, of differences from the least number."""
        for finding in self.far_from_0:
            first = self.start_of[finding.name]
            values = numeric_parts(batch, self.source, start, finding, self.missing)[0][chosen]
            shifted = self._shifted.setdefault(finding.name, Moments())
            if len(values):
                shifted.see((values - self.low[first])[:, None])

    def _settle(self) -> None:
        """Put what `see_again` has found in the place of what `see` found."""
        self.mean, self.variance = self.moments.mean, self.moments.variance
        self.scale = self.moments.scale
        for name, shifted in self._shifted.items():
            first = self.start_of[name]
            self.mean[first] = self.low[first] + shifted.mean[0]
            self.variance[first], self.scale[first] = shifted.variance[0], shifted.scale[0]

    def finish(self, most: int | None) -> tuple[list[Column], list[LeftOut]]:
        """Return the columns, with at most ``most`` categories each, and those left out.

        If that is None, the number of rows decides; see `most_categories`.
        """
        self._settle()
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
            raise NothingToLearnError(f"no column is left to learn from ({reasons})")
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
            value = brief(float(self.low[first]), finding)
            return LeftOut(name, f"it is {value} in every training row")
        kept = varied or places[:1]
        if (smallest := min(self.scale[i] for i in kept)) < SMALLEST:
            return LeftOut(name, f"its numbers vary too little (standard deviation {smallest:.3g})")
        low, high = float(self.low[first]), float(self.high[first])
        digits = (6, 4) if name not in self._shifted else (17, 17)
        words = f"{brief(low, finding, digits[0])} to {brief(high, finding, digits[0])}"
        if finding.kind == "number":
            mean, deviation = float(self.mean[first]), float(self.scale[first])
            words += f", mean {brief(mean, finding, digits[1])}, std {deviation:.4g}"
            words += _extreme((low - mean) / deviation, (high - mean) / deviation)
        words += f"; {finding.words}" if finding.words else ""
        column = Column(
            name, "date" if finding.kind == "date" else "number", missing=n_none > 0,
            parts=tuple(names[i - first] for i in kept),
            mean=tuple(float(self.mean[i]) for i in kept),
            variance=tuple(float(self.variance[i]) for i in kept),
            scale=tuple(float(self.scale[i]) for i in kept),
            form=finding.form, words=words + self._none_words(name), low=(low,), high=(high,),
        )  # fmt: skip
        return self._encoded(column) if self.pieces and kept[0] == first else column

    def _encoded(self, column: Column) -> Column:
        """Return a column whose number is squeezed and cut into pieces."""
        values = self.sample.rows[:, [f.name for f in self.numeric].index(column.name)]
        values = values[~np.isnan(values)]
        if not len(values):
            return column
        middle, scale = encoding.scaling(values, *mean_and_deviation(values))
        if scale < SMALLEST:
            return column
        return replace(
            column, mean=(middle, *column.mean[1:]), scale=(scale, *column.scale[1:]),
            clip=encoding.CLIP, bins=encoding.edges(values, self.pieces),
        )  # fmt: skip

    def _category(self, finding: Finding, most: int | None) -> Column | LeftOut:
        name, n_none, counts = finding.name, self.none[finding.name], self.counts[finding.name]
        if n_none == self.n:
            return LeftOut(name, "it has no value in any training row")
        fewest = min(5, max(1, self.n // 100))
        common = sorted((v for v in counts if counts[v] >= fewest), key=lambda v: (-counts[v], v))
        kept = sorted(common[: most_categories(self.n) if most is None else most])
        rares = sorted(counts.keys() - set(kept))
        rare = len(rares) > 0
        if len(kept) + rare + (n_none > 0) < 2:
            why = f"it is {kept[0]!r}" if kept else f"each category has fewer than {fewest} rows"
            return LeftOut(name, f"{why} in every training row" if kept else why)
        words = f"{len(kept)} categories" if len(kept) != 1 else "1 category"
        words += f": {', '.join(kept[:6])}" + (", ..." if len(kept) > 6 else "") if kept else ""
        words += f"; {len(rares):,} other{'s' * (len(rares) != 1)}, counted as rare" if rare else ""
        words += f"; {finding.words}" if finding.words else ""
        return Column(
            name, "category", missing=n_none > 0, categories=tuple(kept), rare=rare,
            rares=tuple(rares) if len(rares) <= _MOST_RARES else (),
            words=words + self._none_words(name),
        )  # fmt: skip

    def _none_words(self, name: str) -> str:
        if not (n_none := self.none[name]):
            return ""
        texts = [text for text, _ in self.none_texts[name].most_common()]
        which = f" ({listed(texts, 3)})" if texts else ""
        return f"; {_percent(n_none / self.n)} missing{which}"


def mean_and_deviation(values: Floats) -> tuple[float, float]:
    """Return the mean and the standard deviation of numbers, however far from 0."""
    low = float(values.min())
    far = max(-low, float(values.max())) > _FAR * np.ptp(values)
    shift = low if far else 0.0
    return shift + float((values - shift).mean()), float((values - shift).std())


def most_categories(n: int) -> int:
    """Return how many categories of a column have an input each, by the number of training rows.

    These are 1,000, fewer if their inputs would take more than 256 MB, but 50 or more.
    """
    return max(50, min(1000, (1 << 28) // (4 * n)))


def _extreme(low: float, high: float) -> str:
    """Return what to know about numbers that lie many deviations from the mean."""
    far = max(-low, high)
    return f"; the farthest lies {far:.3g} std from the mean" if far > _EXTREME else ""


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.0005 else "under 0.1 %"
