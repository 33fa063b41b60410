"""Evidence for one derivative, and the certificate that it adds up to."""

from __future__ import annotations

import math
import textwrap
from dataclasses import asdict, dataclass
from typing import Any, Literal

from chainrule.targets import Target

Verdict = Literal["pass", "fail", "kink", "not resolved"]


@dataclass(frozen=True)
class Evidence:
    """One way in which the derivative was found.

    ``value`` is the number found (None: it could not be found, ``note`` says why), ``digits`` its
    decimal digits. ``compared`` is the analytic number that it stands beside, over the same
    samples; ``absolute_error`` and ``relative_error`` are those of ``compared`` against ``value``.
    ``own_error`` is how far ``value`` itself may be off, ``allowed`` the largest absolute error
    that this and rounding explain. ``agrees`` says whether the error is within it (None where that
    does not count), ``proves`` whether ``compared`` is right to 7 digits even if ``value`` is off
    by its own error. ``left`` and ``right`` are set where a unit stands on a kink; ``partial``
    evidence is that of some samples.
    """

    method: str
    value: float | None
    compared: float
    absolute_error: float | None = None
    relative_error: float | None = None
    own_error: float | None = None
    allowed: float | None = None
    agrees: bool | None = None
    proves: bool = False
    digits: str = ""
    note: str = ""
    left: float | None = None
    right: float | None = None
    partial: bool = False


@dataclass(frozen=True)
class Certificate:
    """The evidence for one derivative, and what it comes to.

    ``analytic`` is the value under proof. ``verdict`` is

    - "pass" if evidence over all samples proves it to 7 digits, and none speaks against it;
    - "fail" if some evidence differs by more than its own error and rounding explain;
    - "not resolved" if neither holds: the evidence, or float64, has not digits enough, and
      ``advice`` says what to try;
    - "kink" instead of "pass" if the derivative does not exist, because some unit stands where its
      g' (or that of the loss) jumps, and ``analytic`` is the one that follows the slope which
      chainrule and PyTorch take there; ``left`` and ``right`` are then the derivatives from both
      sides.

    ``passed`` is true for "pass" and "kink".
    """

    target: Target
    n_samples: int
    analytic: float
    central_difference: Evidence
    high_precision: Evidence
    autodiff: Evidence
    verdict: Verdict
    left: float | None = None
    right: float | None = None
    advice: str = ""

    @property
    def passed(self) -> bool:
        """Whether the analytic value is proven, and nothing speaks against it."""
        return self.verdict in ("pass", "kink")

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """The evidence, in the order in which it is printed."""
        return self.central_difference, self.high_precision, self.autodiff

    def text(self, width: int = 100) -> str:
        """Give a table that fits into a width from 61 columns; a narrow one has fewer errors."""
        samples = "1 sample" if self.n_samples == 1 else f"{self.n_samples:,} samples"
        lines = [f"∂C/∂{self.target} on {samples}: {self.verdict}", ""]
        heads = ["abs. error", "allowed", "rel. error"]
        fit = min(max((width - 58) // 13, 0), 3)
        shown = {3: [0, 1, 2], 2: [0, 1], 1: [2], 0: []}[fit]  # which errors there is room for
        columns = "{:<18}  {:<38}" + "  {:>11}" * fit
        lines.append(columns.format("", "value", *(heads[i] for i in shown)).rstrip())
        lines.append(columns.format("analytic", repr(self.analytic), *[""] * fit).rstrip())
        for e in self.evidence:
            if e.value is None:
                continue
            errors = (e.absolute_error, e.allowed, e.relative_error)
            numbers = ["" if x is None else f"{x:.1e}" for x in errors]
            lines.append(columns.format(e.method, e.digits, *(numbers[i] for i in shown)).rstrip())
        lines.append("")
        if self.left is not None and self.right is not None:
            sides = f"the derivative from the left is {self.left!r}, from the right {self.right!r}"
            lines += _wrapped("kink", sides, width)
        if self.advice:
            lines += _wrapped("not resolved", self.advice, width)
        for e in self.evidence:
            if e.note:
                lines += _wrapped(e.method, e.note, width)
        return "\n".join(lines).rstrip()

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain data for JSON; numbers that are not finite as texts."""
        return {
            "target": str(self.target),
            "samples": self.n_samples,
            "verdict": self.verdict,
            "passed": self.passed,
            "analytic": plain(self.analytic),
            "left": plain(self.left),
            "right": plain(self.right),
            "advice": self.advice,
            "evidence": [{k: plain(v) for k, v in asdict(e).items()} for e in self.evidence],
        }

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"Certificate({self.target}: {self.analytic!r}, {self.verdict})"


def _wrapped(label: str, note: str, width: int) -> list[str]:
    return textwrap.wrap(f"{label}: {note}", width, subsequent_indent="  ")


def plain(value: Any) -> Any:
    """Give a number as JSON holds it: one that is not finite as a text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    return value
