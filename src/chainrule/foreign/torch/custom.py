"""Custom autograd Functions: whether the backward is the derivative of the forward."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from chainrule.foreign.torch.calls import Call, Value, tensors
from chainrule.foreign.torch.columns import columns
from chainrule.foreign.torch.run import Index, Run

_MOST = 64  # elements that are looked at of each input
_ALLOWED = 1e-4  # relative; a wrong factor is off by more


@dataclass(frozen=True)
class Checked:
    """One input of a call: what its backward returned, and what its forward says, by element."""

    call: Call
    place: int
    at: list[Index]
    shape: tuple[int, ...]
    theirs: torch.Tensor
    right: torch.Tensor


@dataclass(frozen=True)
class Fault:
    """A wrong backward, in a sentence, with its numbers."""

    call: Call
    words: str
    found: float
    right: float


def faults(run: Run) -> list[Fault]:
    """Return the custom Functions of a run whose backward is wrong."""
    return [fault for call in run.calls if call.custom for fault in _faults(call)]


def _faults(call: Call) -> Iterator[Fault]:
    for checked in _check(call):
        size = checked.right.abs().max().clamp(min=1e-300)
        off = (checked.theirs - checked.right).abs()
        if float(off.max() / size) <= _ALLOWED:
            continue
        worst = int(off.argmax())
        place = ",".join(map(str, checked.at[worst]))
        where = f" in {call.module}" if call.module else ""
        found, right = float(checked.theirs[worst]), float(checked.right[worst])
        words = (
            f"{call.name}.backward{where} is wrong: at element [{place}] of its input "
            f"{checked.place} it returns {found:.6g}, the derivative is {right:.6g}; likely "
            f"{kind(checked)}"
        )
        yield Fault(call, words, found, right)


def _check(call: Call) -> Iterator[Checked]:
    adjoints = [o.grad for o in call.outs]
    if all(grad is None for grad in adjoints):
        return
    for value in call.reads():
        theirs = _backward(call, value, adjoints)
        count = value.data.numel()
        step = max(1, count // _MOST)
        flat = list(range(0, count, step))[:_MOST]
        at = [_unraveled(i, value.data.shape) for i in flat]
        right = torch.stack([_derivative(call, value, index) for index in at])
        place = next(i for i, arg in enumerate(call.args) if arg is value)
        chosen = theirs.reshape(-1)[flat].double()
        yield Checked(call, place, at, tuple(value.data.shape), chosen, right)


def _backward(call: Call, value: Value, adjoints: list[torch.Tensor | None]) -> torch.Tensor:
    """Return what the backward makes of the adjoints for one input."""
    with torch.enable_grad():
        leaves = {id(v): v.data.clone().requires_grad_() for v in call.reads()}
        out = call.run(lambda v: leaves[id(v)].clone() if id(v) in leaves else v.data)
        made = [t for t in tensors(out) if t.requires_grad][: len(call.outs)]
        pairs = [(t, g) for t, g in zip(made, adjoints, strict=True) if g is not None]
        leaf = leaves[id(value)]
        (found,) = torch.autograd.grad(
            [t for t, _ in pairs], leaf, [g for _, g in pairs], allow_unused=True
        )
    return torch.zeros_like(leaf) if found is None else found.detach()


def _derivative(call: Call, value: Value, index: Index) -> torch.Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for column in columns(call, value, index):
        if column.out.grad is not None:
            total = total + (column.out.grad.reshape(-1)[column.at].double() * column.local).sum()
    return total


def kind(checked: Checked) -> str:
    """Return the likely kind of a fault."""
    theirs, right = checked.theirs, checked.right
    if not theirs.any():
        return "a backward that returns 0, or None"
    clear = right.abs() > 1e-6 * right.abs().max()
    ratios = theirs[clear] / right[clear]
    ratio = float(ratios.median())
    if bool(((ratios - ratio).abs() < 1e-3 * abs(ratio)).all()) and ratio:
        if abs(ratio + 1) < 1e-3:
            return "a forgotten minus sign"
        # a factor of 2 is more often forgotten than a mean over 2
        sizes = {*checked.shape, int(torch.tensor(checked.shape).prod())} - {1, 2}
        for size in sizes:
            if abs(ratio - size) < 1e-3 * size:
                return f"a sum for a mean over {size} (a forgotten factor 1/{size})"
            if abs(ratio * size - 1) < 1e-3:
                return f"a mean for a sum over {size} (a factor 1/{size} too much)"
        return f"a forgotten factor: its result is {ratio:.4g} times the derivative"
    shape = checked.shape
    if len(shape) == 2 and shape[0] == shape[1] and len(theirs) == shape[0] ** 2:
        turned = right.view(shape).T.reshape(-1)
        if bool(((theirs - turned).abs() < 1e-3 * right.abs().max()).all()):
            return "a transposed matrix"
    if bool((theirs.sign() * right.sign() < 0).any()):
        return "a wrong term, as even the sign differs at some elements"
    return "a wrong formula: the ratio differs from element to element"


def _unraveled(flat: int, shape: torch.Size) -> Index:
    index = []
    for size in reversed(shape):
        flat, i = divmod(flat, size)
        index.append(i)
    return tuple(reversed(index))
