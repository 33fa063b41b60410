"""Rule about NaN and infinity: the first number that is not finite, forward or backward."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch

from chainrule.diagnose.finding import Finding
from chainrule.foreign.torch.calls import Call, Value
from chainrule.foreign.torch.findings.trial import Trial, place
from chainrule.foreign.torch.run import named_inputs

Index = tuple[int, ...]
_ADVICE = {
    "log": "Use the loss that works on logits, or clamp the argument above 0 before the logarithm.",
    "sqrt": "Add a small number under the root: its derivative at 0 is infinite.",
    "norm": "Add a small number under the root: the derivative of a norm at 0 does not exist.",
    "div": "Add a small number to the denominator, or clamp it away from 0.",
    "exp": "Subtract the largest element first, or clamp the argument.",
    "pow": "Clamp the base above 0: its derivative at 0 is infinite for exponents below 1.",
    "softmax": "Leave at least one element of each row unmasked.",
}
_ALIKE = {
    "truediv": "div", "__truediv__": "div", "rtruediv": "div", "__rtruediv__": "div",
    "true_divide": "div", "log2": "log", "log10": "log", "log1p": "log", "rsqrt": "sqrt",
    "linalg_norm": "norm", "vector_norm": "norm", "linalg_vector_norm": "norm", "__pow__": "pow",
    "log_softmax": "softmax",
    "scaled_dot_product_attention": "softmax", "expm1": "exp", "binary_cross_entropy": "log",
}  # fmt: skip


def origin(trial: Trial) -> Iterator[Finding]:
    """Find where the first NaN or infinity arises, if the loss or a gradient is not finite."""
    run = trial.run
    spoiled = not math.isfinite(run.loss)
    gradients = [v.grad for v in run.named.values() if v is not None and v.grad is not None]
    if not spoiled and all(_finite(g) for g in gradients):
        return  # an infinity on the way, such as a mask, does no harm
    yield from _given(trial)
    if _bad_data(trial):
        return
    found = _forward(trial) if spoiled else _backward(trial)
    if found is not None:
        yield found


def _finite(t: torch.Tensor) -> bool:
    return not (t.is_floating_point() or t.is_complex()) or bool(torch.isfinite(t).all())


def _data(trial: Trial) -> Iterator[tuple[str, torch.Tensor]]:
    yield from named_inputs(trial.x)
    if isinstance(trial.y, torch.Tensor):
        yield "target", trial.y


def _bad_data(trial: Trial) -> bool:
    """Return whether an input, target or parameter is not finite, which explains the rest."""
    parameters = trial.run.parameters.values()
    return any(not _finite(t) for _, t in _data(trial)) or any(
        not _finite(p.detach()) for p in parameters
    )


def _given(trial: Trial) -> Iterator[Finding]:
    for name, t in _data(trial):
        if not _finite(t):
            bad = (~torch.isfinite(t)).nonzero()
            at = tuple(bad[0].tolist())
            rows = sorted({row[0] for row in bad.tolist()}) if trial.has_rows(t) else []
            yield Finding(
                "nan-origin", "error", name,
                f"{name} holds {float(t[at])} at {trial.element(t, at)}, "
                + (f"and {len(bad) - 1:,} more numbers that are not finite." if len(bad) > 1 else
                   "its only number that is not finite."),
                "a of layer 0: every product with it is NaN.",
                "Remove or fill these rows before training.",
                {"value": float(t[at]), "count": len(bad)}, rows=trial.rows(rows),
            )  # fmt: skip
    for name, parameter in trial.run.parameters.items():
        if not _finite(parameter.detach()):
            bad = ~torch.isfinite(parameter.detach())
            at = tuple(bad.nonzero()[0].tolist())
            yield Finding(
                "nan-origin", "error", name,
                f"{name} already holds {float(parameter.detach()[at])} at "
                f"[{','.join(map(str, at))}], {int(bad.sum()):,} of {bad.numel():,} numbers: an "
                "earlier step wrote them.",
                "w: every product with it is NaN.",
                "Load the last finite parameters, and diagnose the batch before that step.",
                {"count": int(bad.sum())},
            )  # fmt: skip


def _forward(trial: Trial) -> Finding | None:
    run = trial.run
    nan = math.isnan(run.loss)
    spoils = torch.isnan if nan else torch.isinf
    call = _first(run.loss_value, spoils)
    if call is None:
        return None
    out = next(v for v in call.outs if bool(spoils(v.data).any()))
    at = _at(spoils(out.data))
    if nan:  # inf − inf, 0 · inf: the infinity is what went wrong
        masked = _ALIKE.get(call.name, call.name) == "softmax"  # −inf stands for what is left out
        for value in (v for v in call.args if isinstance(v, Value)):
            if masked and not bool(torch.isposinf(value.data).any()):
                continue
            if value.maker is not None and bool(torch.isinf(value.data).any()):
                earlier = _first(value, torch.isinf)
                if earlier is not None and earlier.name not in ("masked_fill", "masked_fill_"):
                    call = earlier
                    out = next(v for v in call.outs if bool(torch.isinf(v.data).any()))
                    at = _at(torch.isinf(out.data))
                    break
    number = float(out.data[at])
    read = _read(call, out, at)
    said = "" if read is None else f" of {read:.6g}"
    kind = _ALIKE.get(call.name, call.name)
    of_loss = "" if number == run.loss or (nan and math.isnan(number)) else (
        f", which makes the loss {run.loss}"
    )  # fmt: skip
    rows = trial.rows([at[0]]) if at and trial.has_rows(out.data) else ()
    where, largest = f" at element {trial.element(out.data, at)}" if at else "", ""
    if not at:
        largest, rows = _largest(trial, call)
    small = math.isinf(number) and out.data.dtype == torch.float16
    if small:
        largest = f" float16 ends at 65,504.{largest}"
    return Finding(
        "nan-origin", "error", place(call),
        f"{place(call)}{said} is {number}{where}: the first "
        f"number of the forward pass that is not finite{of_loss}.{largest}",
        f"the value of {call.name} itself: everything after it is NaN or infinite.",
        "Compute this call in float32, use bfloat16, or make the numbers that it reads smaller."
        if small else
        _ADVICE.get(kind, "Look at the numbers that this call reads: they are too large."),
        {"value": number} | ({} if read is None else {"argument": read}), rows=rows,
    )  # fmt: skip


def _largest(trial: Trial, call: Call) -> tuple[str, tuple[Any, ...]]:
    """Return a sentence about the largest number that a call read, and its row."""
    read = [v.data for v in call.args if isinstance(v, Value) and v.data.is_floating_point()]
    read = [t for t in read if t.dim() and t.numel() and _finite(t)]
    if not read:
        return "", ()
    t = max(read, key=lambda each: float(each.abs().max()))
    at = tuple(int(i) for i in torch.unravel_index(t.abs().argmax(), t.shape))
    rows = trial.rows([at[0]]) if trial.has_rows(t) else ()
    return f" It reads {float(t[at]):.4g} at {trial.element(t, at)}.", rows


def _first(value: Value, spoils: Any) -> Call | None:
    """Return the call, back from a value, that made such a number of arguments without any."""
    todo, seen = [value], set()
    while todo:
        each = todo.pop()
        if id(each) in seen or each.maker is None:
            continue
        seen.add(id(each))
        bad = [
            v
            for v in each.maker.args
            if isinstance(v, Value) and v.data.is_floating_point() and bool(spoils(v.data).any())
        ]
        if not bad:
            return each.maker
        made = [v for v in bad if v.maker is not None]
        if not made:
            return each.maker  # a constant holds it
        todo += made
    return None


def _at(bad: torch.Tensor) -> Index:
    return tuple(int(i) for i in bad.nonzero()[0]) if bad.dim() else ()


def _read(call: Call, out: Value, at: Index) -> float | None:
    """Return what an elementwise call read at a place, of its last argument for a division."""
    given = [v for v in call.args if isinstance(v, Value) and v.data.shape == out.data.shape]
    if not given:
        return None
    chosen = given[-1] if _ALIKE.get(call.name, call.name) == "div" else given[0]
    return float(chosen.data[at])


def _backward(trial: Trial) -> Finding | None:
    """Return the call whose backward pass makes NaN or infinity of a finite adjoint."""
    values = [v for v in trial.run.values if v.grad is not None]
    for value in values:
        assert value.grad is not None
        if _finite(value.grad):
            continue
        users = [c for c in value.users if any(o.grad is not None for o in c.outs)]
        if any(o.grad is not None and not _finite(o.grad) for c in users for o in c.outs):
            continue  # it came from further on
        bad = ~torch.isfinite(value.grad)
        at = _at(bad)
        call = next((c for c in users if _ALIKE.get(c.name, c.name) in _ADVICE), None)
        call = call or (users[0] if users else None)
        if call is None:
            continue
        number, read = float(value.grad[at]), float(value.data[at])
        kind = _ALIKE.get(call.name, call.name)
        rows = trial.rows([at[0]]) if at and trial.has_rows(value.data) else ()
        return Finding(
            "nan-origin", "error", place(call),
            f"The loss is finite, but the backward pass of {place(call)} makes {number} at element "
            f"{trial.element(value.data, at)}, where it read {read:.6g}.",
            f"the derivative of {call.name} at {read:.6g}, which is not finite.",
            _ADVICE.get(kind, "Keep the argument of this call away from that number."),
            {"value": number, "argument": read, "count": int(bad.sum())}, rows=rows,
        )  # fmt: skip
    return None
