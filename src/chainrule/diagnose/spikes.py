"""Spikes: when a loss is far above those before it."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

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
            rise = loss - middle
            if rise > SHARE * abs(middle) and rise > DEVIATIONS * self._apart(middle):
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

    def _apart(self, middle: float) -> float:
        return _middle(sorted(abs(each - middle) for each in self._losses))

    def state(self) -> dict[str, Any]:
        """Return what it remembers, as plain values."""
        return {"losses": list(self._losses), "broken": self._broken, "quiet": self._quiet}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self._losses, self._sorted = deque(state["losses"]), sorted(state["losses"])
        self._broken, self._quiet = state["broken"], state["quiet"]


def _middle(values: Sequence[float]) -> float:
    """Return the median of sorted numbers."""
    half = len(values) // 2
    return values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2
