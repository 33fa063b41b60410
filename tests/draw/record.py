"""Records: what a draw found wrong, how much was compared, and how close it came to the bounds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .functions import Array, Real


@dataclass(frozen=True)
class Finding:
    """Something that does not hold; ``kind`` names the check, ``text`` has the numbers."""

    kind: str
    text: str
    part: str = ""  # of `draws.PARTS`


@dataclass
class Record:
    """What the checks of draws say. ``worst`` holds the largest error beside its bound."""

    findings: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    worst: dict[str, float] = field(default_factory=dict)

    def fault(self, kind: str, text: str) -> None:
        self.findings.append(Finding(kind, text))

    def compare(self, kind: str, what: str, got: Any, exact: Array, allowed: Any) -> bool:
        """Hold numbers to |got - exact| <= allowed; say where that fails the most."""
        got, exact = np.asarray(got), np.asarray(exact)
        self.counts["numbers"] += got.size
        self.counts[f"{kind}: numbers"] += got.size
        if got.shape != exact.shape:
            self.fault(kind, f"{what} has shape {got.shape}, not {exact.shape}")
            return False
        with np.errstate(all="ignore"):
            error = np.abs(got.astype(Real) - exact)
            room = np.broadcast_to(np.asarray(allowed, float), exact.shape).astype(Real)
            error = np.where(got.astype(Real) == exact, 0, error)  # infinities, too
            ratio = np.where(error == 0, 0, error / np.where(room > 0, room, np.finfo(Real).tiny))
        ratio = np.where(np.isfinite(ratio), ratio, np.inf)
        largest = float(ratio.max()) if ratio.size else 0.0
        if largest > 1:
            at = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
            index = f"[{', '.join(map(str, map(int, at)))}]" if at else ""
            self.fault(
                kind,
                f"{what}{index} is {got[at]!s}, exactly {float(exact[at])!r}: off by "
                f"{float(error[at]):.2g}, allowed {float(room[at]):.2g} "
                f"({int((ratio > 1).sum())} of {ratio.size} are off by too much)",
            )
            return False
        self.worst[kind] = max(self.worst.get(kind, 0.0), largest)
        return True

    def same(self, kind: str, what: str, got: Any, expected: Any) -> bool:
        """Hold numbers to be equal to the bit; NaN is equal to NaN."""
        got, expected = np.asarray(got), np.asarray(expected)
        self.counts["numbers"] += got.size
        self.counts[f"{kind}: numbers"] += got.size
        if got.shape != expected.shape or got.dtype != expected.dtype:
            shapes = f"{got.dtype} {got.shape}, not {expected.dtype} {expected.shape}"
            self.fault(kind, f"{what} is {shapes}")
            return False
        apart = ~((got == expected) | ((got != got) & (expected != expected)))
        if apart.any():
            at = np.unravel_index(int(np.argmax(apart)), apart.shape)
            index = f"[{', '.join(map(str, map(int, at)))}]" if at else ""
            self.fault(
                kind,
                f"{what}{index} is {got[at]!r}, must be {expected[at]!r} to the bit "
                f"({int(apart.sum())} of {apart.size} are not)",
            )
            return False
        return True

    def add(self, other: Record) -> None:
        self.findings += other.findings
        self.counts.update(other.counts)
        for kind, ratio in other.worst.items():
            self.worst[kind] = max(self.worst.get(kind, 0.0), ratio)
