"""Spikes: when a loss is far above those before it."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from statistics import median

# Losses that a new one is held against. Fewer say too little of how far losses lie apart.
WINDOW, FEWEST = 64, 16
# How many median deviations above the median is a spike. Losses of batches have longer tails than a
# normal distribution, in which 8 (5.4 standard deviations) is passed once in 30 million steps.
DEVIATIONS = 8.0
# A spike is at least this part of the median above it: where losses hardly differ, a deviation is
# so small that any change would be one.
SHARE = 0.5
# Steps without one after which the next is a new spike: what follows from the first says little.
QUIET = 16


class Spikes:
    """Tell, loss by loss, which are spikes."""

    def __init__(self) -> None:
        self._losses: deque[float] = deque()
        self._sorted: list[float] = []
        self._broken = False
        self._quiet = QUIET

    def see(self, loss: float) -> str | None:
        """Return why a loss is a spike, in words, or None; of several in a row the first is one.

        Args:
            loss: The loss of the next step.
        """
        if not math.isfinite(loss):
            first, self._broken = not self._broken, True
            return f"the loss is {loss}" if first else None
        self._broken = False
        found, new = None, self._quiet >= QUIET
        self._quiet += 1
        if len(self._losses) >= FEWEST:
            middle = _middle(self._sorted)
            if loss - middle > SHARE * abs(middle) and loss - middle > DEVIATIONS * median(
                abs(each - middle) for each in self._losses
            ):
                self._quiet = 0
                found = (
                    f"the loss is {loss:.4g}, where the median of {len(self._losses)} steps before "
                    f"is {middle:.4g}"
                )
        self._losses.append(loss)
        insort(self._sorted, loss)
        if len(self._losses) > WINDOW:
            del self._sorted[bisect_left(self._sorted, self._losses.popleft())]
        return found if new else None


def _middle(found: list[float]) -> float:
    """Return the median of sorted numbers."""
    half = len(found) // 2
    return found[half] if len(found) % 2 else (found[half - 1] + found[half]) / 2
