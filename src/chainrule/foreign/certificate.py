"""Certificate: a derivative of a recorded run beside numbers that were found in other ways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from chainrule._exports import exported
from chainrule.equations.numbers import plain

Verdict = Literal["pass", "fail", "kink", "not resolved", "no gradient"]

STEP = 2e-5  # relative; rounding of float64 then leaves 10 digits, curvature less
_EPS = float(np.finfo(np.float64).eps)
# In units of the last place of the sum of the sizes of all contributions. A derivative comes
# through many calls, each of which rounds; a wrong formula is off by far more.
REVERSE = 256
_CENTRAL = 4096


@exported("chainrule")
@dataclass(frozen=True)
class CallCertificate:
    """Hold the evidence for one derivative of a recorded run.

    Attributes:
        value: The number of the library's reverse mode, which is under proof.
        forward_sum: The sum of all contributions: the reverse mode behind each call, times the
            forward mode of that call.
        central_difference: A difference quotient of the recorded calls in float64, or None.
        own_error: How far the difference quotient may be off.
        allowed: What rounding in the model's dtype may carry the value by.
        verdict: "pass" if both agree; "fail" if one does not; "kink" if the derivative jumps at
            this point, and the value is the one that the library takes; "not resolved" if the
            differences have no digits of a value this small; "no gradient" where there is
            none.
        library: The library that computed the value.
        notes: What is to say: a wrong backward of a custom Function, a hook, a tape with a gap.

    Examples:
        >>> import chainrule as cr  # doctest: +SKIP
        >>> why = cr.explain_torch(model, loss_fn, x, y, "fc1.weight[3,7]")  # doctest: +SKIP
        >>> why.certificate.verdict  # doctest: +SKIP
        'pass'
    """

    value: float
    forward_sum: float
    central_difference: float | None
    own_error: float
    allowed: float
    verdict: Verdict
    notes: tuple[str, ...] = field(default=())
    library: str = "PyTorch"

    @property
    def passed(self) -> bool:
        """Return whether nothing speaks against the value."""
        return self.verdict in ("pass", "kink", "no gradient")

    def text(self) -> str:
        """Return the certificate as lines of text."""
        if self.verdict == "no gradient":
            return "\n".join(["Certificate: no gradient, nothing to prove", *self.notes]) + "\n"
        off = abs(self.forward_sum - self.value)
        lines = [
            f"Certificate: {self.verdict}",
            f"  {f'reverse mode ({self.library})':<29} {self.value:.12g}",
            f"  forward mode, call by call    {self.forward_sum:.12g}  (off by {off:.1e})",
        ]
        if self.central_difference is not None:
            error = abs(self.central_difference - self.value)
            lines.append(
                f"  central difference, float64   {self.central_difference:.12g}"
                f"  (off by {error:.1e})"
            )
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)]) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data for JSON."""
        return {
            "verdict": self.verdict,
            "value": plain(self.value),
            "forward_sum": plain(self.forward_sum),
            "central_difference": (
                None if self.central_difference is None else plain(self.central_difference)
            ),
            "own_error": plain(self.own_error),
            "allowed": plain(self.allowed),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        return self.text()


def central(
    loss: Callable[[float], float], step: float, last_place: float = _EPS
) -> tuple[float, float, bool]:
    """Return a difference quotient of a shift, its own error, and whether 0 is a kink.

    Args:
        loss: The loss as a function of the shift.
        step: The larger shift of two.
        last_place: The relative spacing of the numbers in which the loss is computed.
    """
    middle = loss(0.0)
    slopes: list[tuple[float, float]] = []
    for h in (step, step / 2):
        right = (loss(h) - middle) / h
        left = (middle - loss(-h)) / h
        slopes.append((left, right))
    wide, narrow = (sum(pair) / 2 for pair in slopes)
    gaps = [abs(right - left) for left, right in slopes]
    noise = 64 * last_place * abs(middle) / step
    kink = gaps[1] > 0.75 * gaps[0] and gaps[1] > 16 * noise + 1e-4 * abs(narrow)
    own = abs(wide - narrow) + noise
    return (4 * narrow - wide) / 3, own, kink


def verdict_of(
    number: float,
    off: float,
    allowed: float,
    found: tuple[float, float, bool],
    of_loss: float,
    last_place: float,
    size: float,
) -> Verdict:
    """Return what a value is beside the sum of its parts (``off``) and a difference quotient."""
    quotient, own_error, kink = found
    slack = 4 * own_error + of_loss + _CENTRAL * last_place * size
    if not off <= allowed or number != number:
        return "fail"
    if kink:
        return "kink"
    if abs(quotient - number) > slack:
        return "fail"
    if size and slack > max(abs(number), 1e-3 * size) * 0.5:
        return "not resolved"
    return "pass"
