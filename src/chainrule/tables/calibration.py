"""Calibration: whether predicted probabilities are the shares that are seen, on held-out rows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.tables.measures import Weight, text
from chainrule.tables.schema import finite

BINS = 10  # of equal width from 0 to 1


@dataclass(frozen=True)
class Bin:
    """A bin of probabilities: its rows, their share of the weight, and the two means.

    ``predicted`` is the mean probability of the rows, ``observed`` the share that are right.
    """

    rows: int
    share: float
    predicted: float
    observed: float


@dataclass(frozen=True)
class Calibration:
    """How far probabilities are from the shares that are seen.

    Of two classes, ``of`` names the second, whose probability is looked at; of more it is empty,
    and the probability is that of the class predicted in each row.

    Attributes:
        rows: The number of held-out rows.
        of: The class, or "".
        error: The expected calibration error: the mean over the rows of the distance between the
            two means of their bin (Naeini, Cooper and Hauskrecht, 2015; Guo et al., 2017).
        chance: The error that exact probabilities would have on so many rows, by chance.
        brier: The Brier score: the mean square of the distance between the probabilities and the
            class, summed over the classes; half of that for two classes (Brier, 1950).
        bins: The bins that hold rows, from low to high.
    """

    rows: int
    of: str
    error: float
    chance: float
    brier: float
    bins: tuple[Bin, ...]

    def words(self) -> str:
        """Return the measures in one line."""
        return (
            f"expected calibration error {text(self.error)} (by chance alone {text(self.chance)}), "
            f"Brier score {text(self.brier)}"
        )

    def lines(self) -> Iterator[str]:
        """Yield the reliability curve as lines of text."""
        whose = f"predicted probability of {self.of}" if self.of else "predicted probability"
        yield f"{whose}  observed share  rows"
        for each in self.bins:
            yield (f"{each.predicted:>{len(whose)}.3f}  {each.observed:>14.3f}  {each.rows:>4,}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, about: Any) -> Calibration:
        """Return the calibration of what `to_dict` returned; raise ValueError for anything else."""
        try:
            bins = tuple(
                Bin(_whole(each["rows"]), *(_share(each[key]) for key in _OF_A_BIN))
                for each in about["bins"]
            )
            if not isinstance(about["of"], str):
                raise ValueError(about["of"])
            error, chance, brier = (finite(about[k], k) for k in ("error", "chance", "brier"))
            return cls(_whole(about["rows"]), about["of"], error, chance, brier, bins)
        except (TypeError, KeyError, ValueError):
            raise ValueError(
                "its calibration is malformed; expected rows, of, error, chance, brier and bins"
            ) from None


_OF_A_BIN = ("share", "predicted", "observed")


def of_rows(
    y: NDArray[np.int64], outputs: NDArray[Any], classes: tuple[str, ...], weight: Weight = None
) -> Calibration:
    """Return the calibration of probabilities (n, classes) for true classes (n,), n above 0."""
    p = np.asarray(outputs, dtype=np.float64)
    p = p / p.sum(axis=1, keepdims=True)
    counted = np.ones(len(y)) if weight is None else weight
    total = counted.sum()
    truth = np.zeros_like(p)
    truth[np.arange(len(y)), y] = 1
    squares = np.square(p - truth).sum(axis=1)
    two = len(classes) == 2
    brier = float(np.average(squares / 2 if two else squares, weights=counted))
    if two:
        said, right = p[:, 1], y == 1
    else:
        best = p.argmax(axis=1)
        said, right = p[np.arange(len(y)), best], best == y
    place = np.minimum((said * BINS).astype(np.int64), BINS - 1)
    bins, error, chance = [], 0.0, 0.0
    for i in range(BINS):
        here = (place == i) & (counted > 0)
        if not here.any():
            continue
        w, share = counted[here], float(counted[here].sum() / total)
        predicted, observed = (float(np.average(v[here], weights=w)) for v in (said, right))
        bins.append(Bin(int(here.sum()), share, predicted, observed))
        error += share * abs(predicted - observed)
        # the mean size of a sum of deviations, which are nearly normal
        variance = float((w * w * said[here] * (1 - said[here])).sum())
        chance += math.sqrt(2 / math.pi * variance) / total
    return Calibration(
        int((counted > 0).sum()), classes[1] if two else "", error, float(chance), brier,
        tuple(bins),
    )  # fmt: skip


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(value)
    return value


def _share(value: Any) -> float:
    if not 0 <= (share := finite(value, "share")) <= 1 + 1e-9:
        raise ValueError(value)
    return share
