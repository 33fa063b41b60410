"""Reasons: why a derivative is 0, or why there is none."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import torch

from chainrule.foreign.torch.calls import Call, Cut, Value, said_of_cuts
from chainrule.foreign.torch.run import Index, Run

Kind = Literal["", "frozen", "not used", "cut off", "not on the way", "zero", "cancels"]

_DEPTH = 40  # calls that the search for the end of a path goes through
_WIDTH = 256  # elements that it follows
_CANCELS = 1e-9  # of the sum of the sizes: what is left of parts that cancel is rounding


def of_missing(run: Run, name: str, value: Value | None) -> tuple[Kind, str]:
    """Return why a parameter or another value has no gradient in a run."""
    start = {id(run.parameters[name])} if name in run.parameters else set()
    if value is not None:
        start.add(id(value))
    reached, ends = _downstream(value)
    cut = _cuts(run, start | reached)
    if cut:
        return (
            "cut off",
            f"{name} is reached only through {said_of_cuts(cut)}: no gradient comes back",
        )
    if value is None or not value.users:
        return "not used", f"{name} is not used: no call of this run reads it"
    where = ", ".join(sorted({_place(call) for call in ends})[:3])
    return "not on the way", (
        f"{name} is used, but the loss does not depend on what comes of it; it ends at {where}"
    )


def _downstream(value: Value | None) -> tuple[set[int], list[Call]]:
    """Return the ids of all values that depend on one, and the calls whose results nobody reads."""
    seen: set[int] = set()
    ends: list[Call] = []
    todo = [value] if value is not None else []
    while todo:
        each = todo.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        for call in each.users:
            if not any(out.users for out in call.outs):
                ends.append(call)
            todo += call.outs
    return seen, ends


def _cuts(run: Run, reached: set[int]) -> list[Cut]:
    """Return the first calls that cut off what depends on some values."""
    first = [cut for cut in run.tape.cuts if not reached.isdisjoint(cut.reads)]
    return first[:3]


def of_zero(run: Run, value: Value, index: Index, parts: torch.Tensor) -> tuple[Kind, str]:
    """Return why a derivative is 0, or is what rounding left of parts that cancel."""
    size = float(parts.abs().sum())
    number = run.value_at(value, index)
    if size and abs(number) <= _CANCELS * size:
        return "cancels", (
            f"the contributions cancel: their sizes add up to {size:.4g}, and what is left is "
            "rounding" + _by_norm(run, value)
        )
    if number != 0 or size:
        return "", ""
    ends = _ends(run, value, index)
    if not ends:
        return "zero", "zero because no output of a call moves with it"
    shares = ends.most_common(3)
    return "zero", "zero because " + "; ".join(_end(call, count) for call, count in shares)


def _by_norm(run: Run, value: Value) -> str:
    todo, seen = [value], set()
    for _ in range(_DEPTH):
        if not todo:
            break
        each = todo.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        for call in each.users:
            if "norm" in call.name:
                return f". {_place(call)} subtracts the mean, and a shift of all has no effect"
            todo += call.outs
    return ""


def _ends(run: Run, value: Value, index: Index) -> Counter[Call]:
    """Return the calls at which the paths from an element end, with how many end there."""
    ends: Counter[Call] = Counter()
    level: list[tuple[Value, Index]] = [(value, index)]
    seen: set[tuple[int, Index]] = set()
    for _ in range(_DEPTH):
        following: list[tuple[Value, Index]] = []
        for each, at in level:
            for use in run.uses(each, at):
                moves = use.column.at[use.column.local != 0]
                if not len(moves):
                    ends[use.call] += 1
                out = use.column.out
                for flat in moves[:_WIDTH].tolist():
                    place = tuple(
                        int(i) for i in torch.unravel_index(torch.tensor(flat), out.data.shape)
                    )
                    if (id(out), place) not in seen:
                        seen.add((id(out), place))
                        following.append((out, place))
        level = following[:_WIDTH]
        if not level:
            break
    return ends


def _end(call: Call, count: int) -> str:
    times = "" if count == 1 else f" ({count} elements)"
    if call.name in ("relu", "relu_", "relu6", "hardtanh", "clamp", "threshold"):
        return f"{_place(call)} is flat at its input{times}"
    if call.name == "linear":
        return f"{_place(call)} multiplies it by 0{times}"
    if "dropout" in call.name:
        return f"{_place(call)} dropped it{times}"
    if "max" in call.name:
        return f"{_place(call)} chose another element{times}"
    return f"{_place(call)} does not move with it{times}"


def _place(call: Call) -> str:
    return f"{call.name} in {call.module}" if call.module else call.name
