"""Replay: the loss again from the recorded calls, in float64, with one number moved.

The model's own code, its hooks and its buffers have no part in it, so a replay changes nothing.
Masks of dropout are those of the run.
"""

from __future__ import annotations

from typing import Any

import torch

from chainrule.foreign.torch.calls import Call, Value
from chainrule.foreign.torch.columns import again, outputs, widened
from chainrule.foreign.torch.run import Index, Run

_NARROW = (torch.float32, torch.float16, torch.bfloat16)
_CASTS = frozenset(("float", "half", "bfloat16"))


def replay(run: Run, value: Value, index: Index, step: float) -> float:
    """Return the loss after ``step`` was added to one element of a value."""
    start = widened(value.data)
    start[index] += step
    moved: dict[int, torch.Tensor] = {id(value): start}
    with torch.no_grad():
        for call in run.calls:
            if any(id(v) in moved for v in call.reads()):
                for out, t in zip(call.outs, _run(call, moved), strict=True):
                    moved[id(out)] = t
    loss = moved.get(id(run.loss_value))
    return run.loss if loss is None else float(loss)


def _run(call: Call, moved: dict[int, torch.Tensor]) -> list[torch.Tensor]:
    def change(v: Value) -> torch.Tensor:
        t = moved.get(id(v))
        if t is None:
            return widened(v.data)
        return t.clone() if call.writes else t

    wide = Call(
        call.name, torch.Tensor.double if call.name in _CASTS else call.func, call.module,
        [_wide(arg) for arg in call.args], call.spec, writes=call.writes, outs=call.outs,
        random=call.random,
    )  # fmt: skip
    with again(wide):
        return outputs(wide, wide.run(change))


def _wide(arg: Any) -> Any:
    return torch.float64 if isinstance(arg, torch.dtype) and arg in _NARROW else arg
