"""Certificate: a derivative of PyTorch beside numbers that were found in other ways."""

from __future__ import annotations

import math
from typing import Any

import torch

from chainrule.foreign.certificate import REVERSE, STEP, CallCertificate, central, verdict_of
from chainrule.foreign.torch import custom
from chainrule.foreign.torch.calls import Value
from chainrule.foreign.torch.replay import replay
from chainrule.foreign.torch.run import Index, Run


def certify(
    run: Run, value: Value, index: Index, number: float, parts: list[float], hooked: bool
) -> CallCertificate:
    """Prove a derivative."""
    total = math.fsum(parts)
    size = math.fsum(map(abs, parts)) + abs(number)
    last_place = torch.finfo(_coarsest(run, value)).eps
    differenced = any(call.custom is not None for call in value.users)
    allowed = REVERSE * (last_place + 1e-10 * differenced) * size
    notes = [_of_gap(gap) for gap in _gaps(run)]
    if hooked:
        notes.append("a hook on the parameter changes its gradient after the reverse mode")
    step = STEP * max(1.0, abs(float(value.data[index])))
    found = central(lambda h: replay(run, value, index, h), step)
    of_loss = 64 * torch.finfo(torch.float64).eps * abs(run.loss) / step
    verdict = verdict_of(number, abs(total - number), allowed, found, of_loss, last_place, size)
    if verdict == "kink":
        notes.append("a piece of the loss has a kink at this point; this is PyTorch's choice there")
    elif verdict == "not resolved":
        notes.append("the differences have no digits of this value")
    elif verdict == "fail":
        notes += [fault.words for fault in custom.faults(run)]
    quotient, own_error, _ = found
    return CallCertificate(number, total, quotient, own_error, allowed, verdict, tuple(notes))


def _coarsest(run: Run, value: Value) -> torch.dtype:
    """Return the dtype that rounds most on the way, autocast included."""
    kinds = [value.data.dtype]
    for call in run.calls:
        if call.autocast is not None:
            kinds.append(call.autocast[1])
        kinds += [o.data.dtype for o in call.outs if o.grad is not None]
    real = [k for k in kinds if k.is_floating_point]
    return max(real, key=lambda kind: torch.finfo(kind).eps, default=torch.float64)


def _gaps(run: Run) -> list[Any]:
    return run.tape.gaps[:3]


def _of_gap(gap: Any) -> str:
    shape = "×".join(map(str, gap.shape)) or "one number"
    where = gap.module or "the model itself"
    return f"a tensor ({shape}) in {where} comes from {gap.node}, which was not recorded"
