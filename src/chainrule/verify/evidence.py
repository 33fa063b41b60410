"""Evidence for one derivative, and the certificate that it adds up to."""

from __future__ import annotations

import math
import textwrap
from dataclasses import asdict, dataclass
from typing import Any, Literal

from chainrule._exports import exported
from chainrule.equations.targets import Target

Verdict = Literal["pass", "fail", "kink", "not resolved"]


@exported("chainrule.verify")
@dataclass(frozen=True)
class Evidence:
    """Hold one number that was found for the derivative, and how it compares.

    Attributes:
        method: How it was found.
        value: The number, or None if it could not be found; ``note`` then says why.
        compared: The analytic number that it stands beside, over the same samples.
        absolute_error: The absolute error of ``compared`` against ``value``.
        relative_error: The relative error.
        own_error: How far ``value`` itself may be off.
        allowed: The largest absolute error that this and rounding explain.
        agrees: Whether the error is within it, or None where that does not count.
        proves: Whether ``compared`` is right to 7 digits even if ``value`` is off by its own error.
        partial: Whether this is evidence of some of the samples only.
        digits: The number in decimal digits.
        note: What else is to say.
        left: The derivative from the left, where a unit stands on a kink.
        right: The derivative from the right.

    Examples:
        >>> import chainrule as cr
        >>> from chainrule.verify import certify
        >>> net = cr.Network([1, 1], output="tanh", W=[[[0.5]]], b=[[0.0]])
        >>> evidence = certify(net, "w[1][0,0]", [[2.0]], [0.0], autodiff="off").high_precision
        >>> evidence.agrees, evidence.digits[:12]
        (True, '0.6397000084')
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


@exported("chainrule.verify")
@dataclass(frozen=True)
class Certificate:
    """Hold the evidence for one derivative, and the verdict that it comes to.

    Attributes:
        target: The quantity that the derivative is taken with respect to.
        n_samples: The number of samples.
        analytic: The value under proof.
        central_difference: A difference quotient in float64.
        high_precision: A number good to 30 digits, from a second forward pass without derivatives.
        autodiff: The number of PyTorch or JAX, if installed.
        verdict: "pass" if evidence over all samples proves the value to 7 digits, and none speaks
            against it; "fail" if some evidence differs by more than its own error and rounding
            explain; "not resolved" if neither holds: the evidence, or float64, does not have
            enough digits. "kink" instead of "pass" if the derivative does not exist, because a
            unit stands where a derivative jumps, and the value is the one along the slope that
            chainrule and PyTorch take there.
        advice: What to try where the verdict is "not resolved".
        left: The derivative from the left, at a kink.
        right: The derivative from the right, at a kink.

    Examples:
        >>> import chainrule as cr
        >>> from chainrule.verify import certify
        >>> net = cr.Network([1, 1], output="tanh", W=[[[0.5]]], b=[[0.0]])
        >>> certify(net, "w[1][0,0]", [[2.0]], [0.0], autodiff="off").verdict
        'pass'
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
        """Return whether the value is proven, and nothing speaks against it."""
        return self.verdict in ("pass", "kink")

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """Return the evidence, in the order in which it is printed."""
        return self.central_difference, self.high_precision, self.autodiff

    def text(self, width: int = 100) -> str:
        """Return the certificate as a table.

        Args:
            width: How many columns it may have, 61 or more. A narrow table has fewer errors.
        """
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
        """Return everything as plain data for JSON; numbers that are not finite become texts."""
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
    """Return a number as JSON holds it: one that is not finite as a text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    return value
