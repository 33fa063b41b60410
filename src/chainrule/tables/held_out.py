"""Held out: what the test rows tell about how far the predictions can be trusted.

They are those that measured the model, before it learned from all rows.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.tables import calibration, intervals, measures
from chainrule.tables.calibration import Calibration
from chainrule.tables.cells import Floats
from chainrule.tables.intervals import Intervals
from chainrule.tables.measures import NAMES, Measured, Weight
from chainrule.tables.schema import Schema, Target, finite


@dataclass(frozen=True)
class OfTarget:
    """One of several targets: the measures of the model and of the baseline, and intervals."""

    model: Measured
    baseline: Measured
    intervals: Intervals

    @classmethod
    def from_dict(cls, about: Any) -> OfTarget:
        """Return what `HeldOut.to_dict` holds of a target; raise ValueError for anything else."""
        if not isinstance(about, dict) or about.keys() != {"model", "baseline", "intervals"}:
            raise ValueError("what it holds of a target lacks model, baseline or intervals")
        for name, value in (*_items(about["model"]), *_items(about["baseline"])):
            if name not in NAMES or (value is not None and finite(value, name) is None):
                raise ValueError(f"a measure of a target is {name!r}: {value!r}")
        return cls(about["model"], about["baseline"], Intervals.from_dict(about["intervals"]))


def _items(about: Any) -> list[tuple[Any, Any]]:
    if not isinstance(about, dict):
        raise ValueError(f"the measures of a target are {about!r}; expected names and numbers")
    return list(about.items())


@dataclass(frozen=True)
class HeldOut:
    """The calibration of classes, or the intervals of a number; both None without test rows.

    ``several`` holds what there is of each of several targets, by its name.
    """

    calibration: Calibration | None = None
    intervals: Intervals | None = None
    several: dict[str, OfTarget] = field(default_factory=dict)

    def need_intervals(self, schema: Schema, level: float, j: int = 0) -> Intervals:
        """Return the intervals of target j; raise ValueError if there are none of such a level."""
        intervals.check_level(level)
        target = schema.target
        if target.task == "classify":
            raise ValueError(
                f"the target {target.name!r} has classes, whose probabilities stand beside the "
                "predictions; intervals are for numbers"
            )
        found = self.intervals
        if schema.more and (of := self.several.get(schema.targets[j].name)) is not None:
            found = of.intervals
        if found is None:
            raise ValueError(
                "the model has no intervals, because no rows were held out when it was trained, or "
                "an older chainrule trained it. Train it again, with --test above 0."
            )
        found.width(level)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON, without what is not there."""
        both = {"calibration": self.calibration, "intervals": self.intervals}
        told = {name: each.to_dict() for name, each in both.items() if each is not None}
        if self.several:
            told["several"] = {name: asdict(of) for name, of in self.several.items()}
        return told

    def summary(self) -> dict[str, Any]:
        """Return plain data for people: of the intervals, how far those of usual levels reach."""
        told = self.to_dict()
        for where, found in (
            (told, self.intervals),
            *((told["several"][name], of.intervals) for name, of in self.several.items()),
        ):
            if found is not None:
                where["intervals"] = {"rows": found.rows, "width": found.summary()}
        return told

    @classmethod
    def from_dict(cls, about: Any) -> HeldOut:
        """Return what `to_dict` returned; raise ValueError for anything else."""
        if not isinstance(about, dict) or about.keys() - {"calibration", "intervals", "several"}:
            raise ValueError(
                f"what it holds of the test rows is {str(about)[:60]!r}; expected calibration or "
                "intervals"
            )
        return cls(
            Calibration.from_dict(about["calibration"]) if "calibration" in about else None,
            Intervals.from_dict(about["intervals"]) if "intervals" in about else None,
            {str(name): OfTarget.from_dict(of) for name, of in _items(about.get("several", {}))},
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
