"""Rows: the losses of each row of the data over a run, in arrays that grow with the rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

VISITS = 16  # of a row whose losses are kept one by one, the last ones; the sum is of all
MOST_ROWS = 20_000_000  # rows that are followed: 1.6 GB


class RowLosses:
    """Add up the losses of each row, and keep the last ones.

    Attributes:
        sums: The sum of the losses of each row, (rows,).
        counts: How often each row was seen, (rows,).
        last: The last losses, (rows, VISITS); visit k stands in column k % VISITS.
    """

    def __init__(self) -> None:
        self.sums = np.zeros(0)
        self.counts = np.zeros(0, dtype=np.int32)
        self.last = np.zeros((0, VISITS), dtype=np.float32)
        self._length = 0

    def add(self, rows: NDArray[np.int64], losses: NDArray[Any]) -> None:
        """Add the losses of rows; those that are not finite count as none."""
        finite = np.isfinite(losses)
        if not finite.all():
            rows, losses = rows[finite], losses[finite]
        if not len(rows):
            return
        self._reach(int(rows.max()) + 1)
        rising = (rows[1:] > rows[:-1]).all()
        if not rising and len(np.unique(rows)) < len(rows):  # a row twice in a batch
            for row, loss in zip(rows.tolist(), losses.tolist(), strict=True):
                self._add(np.array([row]), np.array([loss]))
        else:
            self._add(rows, losses)

    def _add(self, rows: NDArray[np.int64], losses: NDArray[Any]) -> None:
        self.last[rows, self.counts[rows] % VISITS] = losses
        self.sums[rows] += losses
        self.counts[rows] += 1

    def _reach(self, length: int) -> None:
        self._length = max(self._length, length)
        if length > len(self.sums):
            more = max(length, min(2 * len(self.sums), MOST_ROWS)) - len(self.sums)
            self.sums = np.concatenate([self.sums, np.zeros(more)])
            self.counts = np.concatenate([self.counts, np.zeros(more, dtype=np.int32)])
            self.last = np.concatenate([self.last, np.zeros((more, VISITS), dtype=np.float32)])

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `arrays` returned."""
        self.sums, self.counts = arrays["sums"].copy(), arrays["counts"].copy()
        self.last, self._length = arrays["last"].copy(), len(arrays["sums"])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return copies of the arrays, without the room for more rows."""
        n = self._length
        return {
            "sums": self.sums[:n].copy(),
            "counts": self.counts[:n].copy(),
            "last": self.last[:n].copy(),
        }


def history(last: NDArray[Any], count: int) -> list[float]:
    """Return the last losses of a row in the order in which they came."""
    if count <= VISITS:
        return [float(loss) for loss in last[:count]]
    return [float(last[k % VISITS]) for k in range(count - VISITS, count)]


def checked(rows: Any, n: int) -> NDArray[np.int64]:
    """Return the row numbers of a batch of n samples.

    Raises TypeError for what are not whole numbers, ValueError where they do not fit.
    """
    found = np.asarray(rows)
    if found.dtype.kind not in "iu":
        raise TypeError(
            f"rows holds {found.dtype}; expected the number of each sample's row, from 0"
        )
    if found.shape != (n,):
        raise ValueError(f"rows has shape {found.shape}; expected ({n},), one for each sample")
    if n and (found.min() < 0 or found.max() >= MOST_ROWS):
        wrong = int(found.min() if found.min() < 0 else found.max())
        raise ValueError(
            f"rows holds {wrong}; expected row numbers from 0 to {MOST_ROWS - 1:,}. Number the "
            "rows of the data from 0"
        )
    return found.astype(np.int64)
