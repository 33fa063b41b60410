"""The report of a check of a whole gradient: each parameter, and what they come to."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from typing import Any, Literal

from chainrule._exports import exported
from chainrule.equations.targets import Target
from chainrule.verify.evidence import plain

TOLERANCE = 1e-6  # of a derivative, or of its array's norm: 6 digits
_LISTED = 10


@exported("chainrule.verify")
@dataclass(frozen=True)
class Compared:
    """Hold one parameter: its derivative beside the one that was found without backpropagation.

    Attributes:
        parameter: The `Weight` or `Bias`.
        analytic: The derivative of backpropagation.
        numeric: The difference quotient or, where that has too few digits, the derivative of high
            precision. At a kink it follows the slope that is taken there.
        error: How far ``numeric`` itself may be off.
        resolved: Whether ``numeric`` proves the analytic value to 6 digits.
        relative_error: The error relative to the larger of the two; where the parameter is not
            resolved, relative to what the errors of both explain, so that it stays below the
            tolerance.
        left: The derivative from the left, at a kink.
        right: The derivative from the right, at a kink.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([1, 1], W=[[[2.0]]], b=[[0.0]])
        >>> worst = net.check_gradient([[1.0]], [1.0]).worst
        >>> worst.relative_error < 1e-6
        True
    """

    parameter: Target
    analytic: float
    numeric: float
    relative_error: float
    left: float | None = None
    right: float | None = None
    error: float = 0.0
    resolved: bool = True

    @property
    def bound(self) -> float:
        """The most by which the analytic value may be wrong."""
        bound = abs(self.analytic - self.numeric) + self.error
        return math.inf if math.isnan(bound) else bound


@exported("chainrule.verify")
@dataclass(frozen=True)
class GradientReport:
    """Hold what the check of a gradient came to. It is true if the check passed.

    Attributes:
        verdict: "fail" if a parameter differs by more than ``tolerance`` and by more than its
            errors explain; "pass" if all are proven to 6 digits, of their own or, where they vanish
            beside the rest of their W or b, of its norm; else "not resolved".
        advice: What to try where the verdict is "not resolved".
        worst: The parameter with the largest relative error, or None if none is resolved that
            stands on no kink.
        failures: The parameters beyond the tolerance, the worst first.
        unresolved: Those of which neither differences nor high precision have 6 digits.
        kinks: The parameters at a kink whose derivative follows the slope that is taken there.
        checked: How many parameters were checked.
        total: How many there are.
        n_samples: The number of samples.
        seconds: How long it took.
        tolerance: The relative error that is allowed.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([2, 3, 1], hidden="tanh", seed=0)
        >>> report = net.check_gradient([[0.5, -1.0]], [1.0])
        >>> bool(report), report.checked, report.failures
        (True, 13, ())
    """

    worst: Compared | None
    failures: tuple[Compared, ...]
    kinks: tuple[Compared, ...]
    checked: int
    total: int
    n_samples: int
    seconds: float
    tolerance: float = TOLERANCE
    unresolved: tuple[Compared, ...] = ()
    advice: str = ""

    @property
    def verdict(self) -> Literal["pass", "fail", "not resolved"]:
        """What the check came to."""
        if self.failures:
            return "fail"
        return "not resolved" if self.advice else "pass"

    @property
    def passed(self) -> bool:
        """Return whether the gradient is proven, and no parameter is beyond the tolerance."""
        return self.verdict == "pass"

    @property
    def worst_relative_error(self) -> float:
        """Return the largest relative error; 0 if no parameter is resolved off the kinks."""
        return 0.0 if self.worst is None else self.worst.relative_error

    def __bool__(self) -> bool:
        return self.passed

    def text(self) -> str:
        """Return the report in lines of at most 100 columns."""
        checked = f"all {self.total:,} parameters"
        if self.checked < self.total:
            checked = f"{self.checked:,} of {self.total:,} parameters, drawn at random,"
        samples = "1 sample" if self.n_samples == 1 else f"{self.n_samples:,} samples"
        verdict = "pass" if self.passed else self.verdict.upper()
        lines = [f"gradient: {verdict}; {checked} checked on {samples}"]
        if self.worst is not None:
            w = self.worst
            lines.append(
                f"worst relative error {w.relative_error:.1e} at {w.parameter}: "
                f"analytic {w.analytic:.10g}, difference {w.numeric:.10g}"
            )
        if self.failures:
            count = len(self.failures)
            lines.append(f"wrong (relative error above {self.tolerance:.0e}): {count:,}")
            lines += _table(self.failures, "analytic", "difference", "rel. error")
        if self.unresolved:
            lines += self._unresolved()
        if self.kinks:
            count = len(self.kinks)
            lines.append(f"at a kink, where only derivatives from one side exist: {count:,}")
            lines += _table(self.kinks, "analytic", "from the left", "from the right")
        return "\n".join(lines)

    def _unresolved(self) -> list[str]:
        count = len(self.unresolved)
        if self.passed:
            largest = max(c.bound for c in self.unresolved)
            words = f"too small beside the others to be resolved: {count:,}"
            return [f"{words}, right to within {largest:.1e} each"]
        lines = [f"not resolved to 6 digits: {count:,}"]
        lines += _table(self.unresolved, "analytic", "difference", "may be off by")
        return lines + textwrap.wrap(self.advice, 100)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data for JSON; numbers that are not finite become texts."""
        return {
            "verdict": self.verdict,
            "passed": self.passed,
            "advice": self.advice,
            "worst": None if self.worst is None else _plain(self.worst),
            "failures": [_plain(c) for c in self.failures],
            "unresolved": [_plain(c) for c in self.unresolved],
            "kinks": [_plain(c) for c in self.kinks],
            "checked": self.checked,
            "total": self.total,
            "samples": self.n_samples,
            "seconds": self.seconds,
            "tolerance": self.tolerance,
        }

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        verdict = {
            "pass": "passed",
            "fail": f"FAILED for {len(self.failures):,}",
            "not resolved": f"NOT RESOLVED for {len(self.unresolved):,}",
        }[self.verdict]
        at = "" if self.worst is None else f" at {self.worst.parameter}"
        return (
            f"GradientReport({verdict}: {self.checked:,} of {self.total:,} parameters, "
            f"worst relative error {self.worst_relative_error:.1e}{at}, "
            f"{len(self.kinks):,} at kinks)"
        )


def _table(rows: tuple[Compared, ...], *names: str) -> list[str]:
    lines = ["  {:<24}{:>20}{:>20}{:>20}".format("", *names)]
    for c in rows[:_LISTED]:
        middle, last = c.numeric, f"{c.relative_error:.1e}"
        if names[-1] == "from the right":
            assert c.left is not None
            middle, last = c.left, f"{c.right:.10g}"
        elif names[-1] == "may be off by":
            last = f"{c.bound:.1e}"
        lines.append(f"  {c.parameter!s:<24}{c.analytic:>20.10g}{middle:>20.10g}{last:>20}")
    if len(rows) > _LISTED:
        lines.append(f"  and {len(rows) - _LISTED:,} more")
    return lines


def _plain(c: Compared) -> dict[str, Any]:
    return {
        "parameter": str(c.parameter),
        "analytic": plain(c.analytic),
        "numeric": plain(c.numeric),
        "relative_error": plain(c.relative_error),
        "error": plain(c.error),
        "resolved": c.resolved,
        "left": plain(c.left),
        "right": plain(c.right),
    }
