"""Intervals: how far a predicted number may be off, from rows that the model had not seen.

Split conformal prediction (Papadopoulos et al., 2002; Lei et al., 2018): the errors of the model on
n held-out rows are put in order, and the interval of a level reaches as far as the error in place
⌈(n + 1) · level⌉. A new row from the same source is inside with at least that probability, whatever
the model and the distribution are. Where several networks answer, each error is divided by their
spread in its row, so that the interval is wider where they disagree.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from chainrule.tables.cells import Floats
from chainrule.tables.measures import Weight, text
from chainrule.tables.schema import finite

_EVENLY, _FARTHEST = 400, 100  # of many errors, those that are kept
SHOWN = (0.5, 0.8, 0.9, 0.95, 0.99)  # levels in descriptions


@dataclass(frozen=True)
class Intervals:
    """The errors on held-out rows, in order, and the level that each is enough for.

    Attributes:
        rows: The number of held-out rows.
        levels: The levels, growing.
        errors: The errors in the target's units, growing; or, with ``floor``, in units of the
            spread plus the floor.
        floor: What is added to the spread of the networks, so that no row has none; or None.
        least: The least value that the target can have, or None.
    """

    rows: int
    levels: tuple[float, ...]
    errors: tuple[float, ...]
    floor: float | None = None
    least: float | None = None

    def width(self, level: float) -> float:
        """Return the error that the intervals of a level reach to.

        Raises ValueError for a level outside of 0 to 1, or one that needs more rows.
        """
        check_level(level)
        place = int(np.searchsorted(self.levels, level))
        if place == len(self.levels):
            most = self.levels[-1] if self.levels else 0.0
            needed = math.ceil(level / (1 - level) - 1e-9)
            enough = f"enough for {math.floor(most * 1000) / 1000:g}" if most else "not enough"
            raise ValueError(
                f"intervals of {level:g} need {needed:,} held-out rows or more; this model has "
                f"{self.rows:,}, {enough}. Ask for a lower level, or train with a larger --test."
            )
        return self.errors[place]

    def around(
        self, predicted: Floats, level: float, spread: Floats | None = None
    ) -> tuple[Floats, Floats]:
        """Return the lower and the upper ends for predicted numbers (n,) in the target's units.

        ``spread`` (n,) is that of the networks, in the same units; it is needed with a floor.
        """
        width: float | Floats = self.width(level)
        if self.floor is not None:
            if spread is None:
                raise ValueError("these intervals need the spread of the networks; pass spread=")
            width = width * (spread + self.floor)
        low = predicted - width
        return low if self.least is None else np.maximum(low, self.least), predicted + width

    def summary(self) -> dict[str, float]:
        """Return how far the intervals of usual levels reach, as far as the rows are enough."""
        most = self.levels[-1] if self.levels else 0.0
        return {f"{level:g}": self.width(level) for level in SHOWN if level <= most}

    def words(self) -> str:
        """Return how far the intervals of usual levels reach, in one line."""
        unit = "" if self.floor is None else " times the spread"
        found = self.summary().items()
        widths = [f"{100 * float(level):g} % within ± {text(x)}{unit}" for level, x in found]
        return ", ".join(widths) or "too few rows were held out"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, about: Any) -> Intervals:
        """Return the intervals of what `to_dict` returned; raise ValueError for anything else."""
        try:
            rows, floor, least = about["rows"], about["floor"], about["least"]
            levels, errors = (
                tuple(finite(value, key) for value in about[key]) for key in ("levels", "errors")
            )
            grows = all((np.diff(each) >= 0).all() for each in (levels, errors))
            if (
                type(rows) is not int or not 0 <= rows < 2**63 or len(levels) != len(errors)
                or not grows or any(not 0 < level < 1 for level in levels)
                or any(error < 0 for error in errors)
            ):  # fmt: skip
                raise ValueError(rows)
            floor, least = (None if x is None else finite(x, "floor") for x in (floor, least))
            if floor is not None and floor < 0:
                raise ValueError(floor)
            return cls(rows, levels, errors, floor, least)
        except (TypeError, KeyError, ValueError):
            raise ValueError(
                "its intervals are malformed; expected rows, levels, errors, floor and least"
            ) from None


def of_rows(
    y: Floats,
    predicted: Floats,
    weight: Weight = None,
    *,
    spread: Floats | None = None,
    least: float | None = None,
) -> Intervals:
    """Return the intervals of predicted numbers (n,) beside true ones (n,), in the same units.

    Weights count as so many rows; a new row counts as much as they do in the mean (Tibshirani et
    al., 2019).
    """
    errors, floor = np.abs(y - predicted), None
    if spread is not None:
        floor = float(spread.mean())
        errors = errors / (spread + floor) if floor else errors
        floor = floor or None
    w = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=np.float64)
    order = np.argsort(errors, kind="stable")
    order = order[w[order] > 0]
    errors, w = errors[order], w[order]
    n = len(errors)
    if not n:
        return Intervals(0, (), (), floor, least)
    levels = np.cumsum(w) / (w.sum() + w.mean())
    if weight is None:
        levels = np.arange(1, n + 1) / (n + 1)
    kept = np.arange(n)
    if n > _EVENLY + _FARTHEST:
        evenly = np.linspace(0, n - 1, _EVENLY).round().astype(np.int64)
        kept = np.union1d(evenly, np.arange(n - _FARTHEST, n))
    return Intervals(n, tuple(levels[kept].tolist()), tuple(errors[kept].tolist()), floor, least)


def check_level(level: Any) -> None:
    """Raise TypeError or ValueError unless a level of intervals is a number between 0 and 1."""
    if isinstance(level, bool) or not isinstance(level, int | float | np.floating):
        kind = type(level).__name__
        raise TypeError(f"intervals is a {kind}; expected a level between 0 and 1, such as 0.9")
    if not 0 < level < 1:
        raise ValueError(f"intervals is {level:g}; expected a level between 0 and 1, such as 0.9")
