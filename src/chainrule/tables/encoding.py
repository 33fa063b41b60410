"""Encoding: a number as a bounded value, and as its place between quantiles.

A network learns from one standardised input what is nearly straight in a number; steps and bends,
which trees find at once, take it many epochs. So the recipe scales a number such that a few wild
values do not count, squeezes what is far out smoothly (Holzmüller et al., arXiv:2407.04491), and
adds an input for each piece between two quantiles, which rises from 0 to 1 along the piece
(Gorishniy et al., arXiv:2203.05556).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chainrule.tables.cells import Floats
from chainrule.tables.schema import SMALLEST

CLIP = 6.0  # no squeezed value is beyond it
PIECES = 24  # of each number, between quantiles
WILD = 3.0  # times the deviation of the quartiles: a larger one is due to few values
_NORMAL = 1.3489795003921634  # between the quartiles of a standard normal distribution
_ROWS, _CELLS = 50_000, 1 << 25  # at most so many are kept for the quantiles


class Sample:
    """Rows drawn evenly from all that are seen, the same however these come in batches."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self._priorities = np.empty(0)
        self.rows, self.n = np.empty((0, 0)), 0

    def see(self, X: Floats) -> None:
        """Draw from some more rows, (n, columns)."""
        self._add(X, self._rng.random(len(X)))
        self.n += len(X)

    def join(self, later: Sample) -> None:
        """Take in the rows of the next file: if it has dropped none, to the bit as `see` does."""
        if not later.n:
            return
        if later.n == len(later.rows):
            self.see(later.rows)
        else:
            self._add(later.rows, later._priorities)
            self.n += later.n

    def _add(self, X: Floats, priorities: Floats) -> None:
        if not len(self._priorities):
            self.rows = X[:0]
        self.rows = np.concatenate([self.rows, X])
        self._priorities = np.concatenate([self._priorities, priorities])
        most = max(1000, min(_ROWS, _CELLS // max(1, X.shape[1])))
        if len(self.rows) > most:
            kept = np.sort(np.argpartition(self._priorities, most)[:most])
            self.rows, self._priorities = self.rows[kept], self._priorities[kept]


def robust(values: Floats) -> tuple[float, float]:
    """Return the median, and the deviation of a normal distribution with these quartiles.

    Where the quartiles are equal, it is that of a uniform one of this range; 1 where all are equal.
    """
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    if low < high:
        return middle, (high - low) / _NORMAL
    spread = float(np.ptp(values))
    return middle, spread / np.sqrt(12).item() if spread else 1.0


def scaling(values: Floats, mean: float, deviation: float) -> tuple[float, float]:
    """Return what to subtract from a number and to divide it by: its mean and deviation.

    Where few values far out make the deviation more than `WILD` times that of the quartiles, it is
    this many times that, and the median in place of the mean.
    """
    middle, scale = robust(values)
    return (middle, WILD * scale) if deviation > WILD * scale else (mean, deviation)


def squeeze(z: Floats, clip: Floats | float) -> Floats:
    """Return z / √(1 + (z/clip)²): nearly z about 0, never beyond ± clip."""
    return z / np.sqrt(1 + np.square(z / clip))


def edges(values: Floats, pieces: int) -> tuple[float, ...]:
    """Return the ends of pieces between quantiles; none for values that need fewer than two pieces.

    Quantiles that are equal are one.
    """
    found = np.unique(np.quantile(values, np.linspace(0, 1, pieces + 1), method="inverted_cdf"))
    apart = len(found) > 2 and np.diff(found).min() >= SMALLEST
    return tuple(found.tolist()) if apart else ()


def piecewise(values: Floats, ends: tuple[float, ...]) -> NDArray[np.float64]:
    """Return for each piece how much of it lies below a value, 0 to 1, (n, pieces); 0 for NaN."""
    low, high = np.array(ends[:-1]), np.array(ends[1:])
    places = (values[:, None] - low) / (high - low)
    return np.where(np.isnan(places), 0.0, np.clip(places, 0.0, 1.0))
