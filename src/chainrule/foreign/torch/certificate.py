"""Certificate: a derivative of PyTorch beside numbers that were found in other ways."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from chainrule._exports import exported
from chainrule.equations.numbers import plain
from chainrule.foreign.torch import custom
from chainrule.foreign.torch.calls import Value
from chainrule.foreign.torch.replay import replay
from chainrule.foreign.torch.run import Index, Run

Verdict = Literal["pass", "fail", "kink", "not resolved", "no gradient"]

# In units of the last place of the sum of the sizes of all contributions. A derivative comes
# through many calls, each of which rounds; a wrong formula is off by far more.
_REVERSE = 256
_CENTRAL = 4096
_STEP = 2e-5  # relative; rounding of float64 then leaves 10 digits, curvature less


@exported("chainrule")
@dataclass(frozen=True)
class TorchCertificate:
    """Hold the evidence for one derivative of PyTorch.

    Attributes:
        value: The number of PyTorch's reverse mode, which is under proof.
        forward_sum: The sum of all contributions: the reverse mode behind each call, times the
            forward mode of that call.
        central_difference: A difference quotient of the recorded calls in float64, or None.
        own_error: How far the difference quotient may be off.
        allowed: What rounding in the model's dtype may carry the value by.
        verdict: "pass" if both agree; "fail" if one does not; "kink" if the derivative jumps at
            this point, and the value is the one that PyTorch takes; "not resolved" if the
            differences have no digits of a value this small; "no gradient" where PyTorch computes
            none.
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
            f"  reverse mode (PyTorch)        {self.value:.12g}",
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


def certify(
    run: Run, value: Value, index: Index, number: float, parts: list[float], hooked: bool
) -> TorchCertificate:
    """Prove a derivative."""
    total = math.fsum(parts)
    size = math.fsum(map(abs, parts)) + abs(number)
    last_place = torch.finfo(_coarsest(run, value)).eps
    differenced = any(call.custom is not None for call in value.users)
    allowed = _REVERSE * (last_place + 1e-10 * differenced) * size
    notes = [_of_gap(gap) for gap in _gaps(run)]
    if hooked:
        notes.append("a hook on the parameter changes its gradient after the reverse mode")
    agrees = abs(total - number) <= allowed
    step = _STEP * max(1.0, abs(float(value.data[index])))
    central, own_error, kink = _central(run, value, index, step)
    of_loss = 64 * torch.finfo(torch.float64).eps * abs(run.loss) / step
    slack = 4 * own_error + of_loss + _CENTRAL * last_place * size
    verdict: Verdict = "pass"
    if not agrees or math.isnan(number):
        verdict = "fail"
    elif kink:
        verdict = "kink"
        notes.append("a piece of the loss has a kink at this point; this is PyTorch's choice there")
    elif abs(central - number) > slack:
        verdict = "fail"
    elif size and slack > max(abs(number), 1e-3 * size) * 0.5:
        verdict = "not resolved"
        notes.append("the differences have no digits of this value")
    if verdict == "fail":
        notes += custom.faults(run)
    return TorchCertificate(number, total, central, own_error, allowed, verdict, tuple(notes))


def _coarsest(run: Run, value: Value) -> torch.dtype:
    """Return the dtype that rounds most on the way, autocast included."""
    kinds = [value.data.dtype]
    for call in run.calls:
        if call.autocast is not None:
            kinds.append(call.autocast[1])
        kinds += [o.data.dtype for o in call.outs if o.grad is not None]
    real = [k for k in kinds if k.is_floating_point]
    return max(real, key=lambda kind: torch.finfo(kind).eps, default=torch.float64)


def _central(run: Run, value: Value, index: Index, step: float) -> tuple[float, float, bool]:
    """Return a difference quotient, its own error, and whether the point is a kink."""
    middle = replay(run, value, index, 0.0)
    slopes: list[tuple[float, float]] = []
    for h in (step, step / 2):
        right = (replay(run, value, index, h) - middle) / h
        left = (middle - replay(run, value, index, -h)) / h
        slopes.append((left, right))
    wide, narrow = (sum(pair) / 2 for pair in slopes)
    gaps = [abs(right - left) for left, right in slopes]
    noise = 64 * torch.finfo(torch.float64).eps * abs(middle) / step
    kink = gaps[1] > 0.75 * gaps[0] and gaps[1] > 16 * noise + 1e-4 * abs(narrow)
    own = abs(wide - narrow) + noise
    return (4 * narrow - wide) / 3, own, kink


def _gaps(run: Run) -> list[Any]:
    return run.tape.gaps[:3]


def _of_gap(gap: Any) -> str:
    shape = "×".join(map(str, gap.shape)) or "one number"
    where = gap.module or "the model itself"
    return f"a tensor ({shape}) in {where} comes from {gap.node}, which was not recorded"
