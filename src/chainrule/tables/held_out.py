"""Held out: what the test rows tell about how far the predictions can be trusted.

They are those that measured the model, before it learned from all rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.tables import calibration, intervals, measures
from chainrule.tables.calibration import Calibration
from chainrule.tables.cells import Floats
from chainrule.tables.intervals import Intervals
from chainrule.tables.measures import Weight
from chainrule.tables.schema import Schema, Target


@dataclass(frozen=True)
class HeldOut:
    """The calibration of classes, or the intervals of a number; both None without test rows."""

    calibration: Calibration | None = None
    intervals: Intervals | None = None

    def need_intervals(self, schema: Schema, level: float) -> Intervals:
        """Return the intervals; raise ValueError if there are none, or none of such a level."""
        intervals.check_level(level)
        target = schema.target
        if target.task == "classify":
            raise ValueError(
                f"the target {target.name!r} has classes, whose probabilities stand beside the "
                "predictions; intervals are for numbers"
            )
        if self.intervals is None:
            raise ValueError(
                "the model has no intervals, because no rows were held out when it was trained, or "
                "an older chainrule trained it. Train it again, with --test above 0."
            )
        self.intervals.width(level)
        return self.intervals

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON, without what is not there."""
        both = {"calibration": self.calibration, "intervals": self.intervals}
        return {name: each.to_dict() for name, each in both.items() if each is not None}

    def summary(self) -> dict[str, Any]:
        """Return plain data for people: of the intervals, how far those of usual levels reach."""
        told = self.to_dict()
        if self.intervals is not None:
            told["intervals"] = {"rows": self.intervals.rows, "width": self.intervals.summary()}
        return told

    @classmethod
    def from_dict(cls, about: Any) -> HeldOut:
        """Return what `to_dict` returned; raise ValueError for anything else."""
        if not isinstance(about, dict) or about.keys() - {"calibration", "intervals"}:
            raise ValueError(
                f"what it holds of the test rows is {str(about)[:60]!r}; expected calibration or "
                "intervals"
            )
        return cls(
            Calibration.from_dict(about["calibration"]) if "calibration" in about else None,
            Intervals.from_dict(about["intervals"]) if "intervals" in about else None,
        )


def of_rows(
    target: Target, y: NDArray[Any], outputs: NDArray[Any], weight: Weight, least: float | None,
    spread: Floats | None = None,
) -> HeldOut:  # fmt: skip
    """Return what rows tell about a network that has not learned from them.

    ``y`` holds classes, or numbers in their own units, of which ``least`` is the least possible,
    and ``spread`` that of the networks in each row, if they are several.
    """
    if not len(y):
        return HeldOut()
    if target.task == "classify":
        return HeldOut(calibration.of_rows(y, outputs, target.classes, weight))
    predicted = measures.predicted_numbers(target, outputs)
    y = np.asarray(y, dtype=np.float64)
    return HeldOut(None, intervals.of_rows(y, predicted, weight, spread=spread, least=least))
