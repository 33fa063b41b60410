"""Columns: how the results of one call move with one element of one of its arguments.

A column holds the derivative of every element of an output with respect to that element. Linear
calls, convolutions and calls that work element by element have it in closed form; all others are
run once more by PyTorch's forward mode, on this call alone. Where PyTorch has no forward mode, the
derivative of the reverse mode takes its place; a custom autograd Function, whose backward is under
test, is differenced.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from chainrule.foreign.torch import closed
from chainrule.foreign.torch.calls import Call, Value, tensors

Way = Literal["closed form", "forward mode", "double reverse mode", "difference"]


@dataclass(frozen=True, eq=False)
class Column:
    """The elements of one output that move, and how much.

    Attributes:
        out: The output.
        at: The flat index of each element that moves, (m,).
        local: Its derivative, float64, (m,).
        way: How it was found.
    """

    out: Value
    at: torch.Tensor
    local: torch.Tensor
    way: Way


def columns(call: Call, value: Value, index: tuple[int, ...]) -> list[Column]:
    """Return a column for each output of a call, with respect to one element of an argument."""
    quick = closed.column(call, value, index)
    if quick is not None:
        at, local = quick
        return [Column(call.outs[0], at, local.double(), "closed form")]
    return dense(call, value, index)


def dense(call: Call, value: Value, index: tuple[int, ...]) -> list[Column]:
    """Return the same as `columns`, always by running the call once more."""
    tangents, way = _tangents(call, value, index)
    made = []
    for out, tangent in zip(call.outs, tangents, strict=True):
        flat = torch.zeros(0, dtype=torch.float64) if tangent is None else tangent.reshape(-1)
        (at,) = torch.nonzero(flat, as_tuple=True)
        made.append(Column(out, at, flat[at].double(), way))
    return made


def _tangents(
    call: Call, value: Value, index: tuple[int, ...]
) -> tuple[list[torch.Tensor | None], Way]:
    if call.custom is not None:
        return list(_by_difference(call, value, index)), "difference"
    try:
        with again(call):
            return _forward(call, value, index), "forward mode"
    except (NotImplementedError, RuntimeError) as error:
        if not _is_missing(error):
            raise
    try:
        with again(call):
            return _double_reverse(call, value, index), "double reverse mode"
    except (NotImplementedError, RuntimeError):
        return list(_by_difference(call, value, index)), "difference"


def _is_missing(error: Exception) -> bool:
    text = str(error)
    return isinstance(error, NotImplementedError) or any(
        words in text
        for words in ("forward AD", "forward mode", "jvp", "Trying to use", "not implemented")
    )


@contextlib.contextmanager
def again(call: Call) -> Iterator[None]:
    """Run a call as it ran: with its random numbers and autocast, and with plain attention."""
    devices: list[int] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # the call warned when it was recorded
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))  # the others lack forward mode
        if call.random is not None:
            stack.enter_context(torch.random.fork_rng(devices=devices))
            torch.set_rng_state(call.random)
        if call.autocast is not None:
            kind, dtype = call.autocast
            stack.enter_context(torch.autocast(kind, dtype=dtype, cache_enabled=False))
        yield


def outputs(call: Call, made: Any) -> list[torch.Tensor]:
    """Return those tensors of a result that the call's outputs stand for."""
    found = [t for t in tensors(made) if t.is_floating_point() or t.is_complex()]
    return found[: len(call.outs)]


def _forward(call: Call, value: Value, index: tuple[int, ...]) -> list[torch.Tensor | None]:
    with torch.no_grad(), forward_ad.dual_level():

        def change(v: Value) -> torch.Tensor:
            if v is not value:
                return v.data.clone() if call.writes or v.edge is None else v.data
            tangent = torch.zeros_like(v.data)
            tangent[index] = 1
            return forward_ad.make_dual(v.data.clone(), tangent)

        found = outputs(call, call.run(change))
        return [
            None if t is None else t.detach().clone()
            for t in (forward_ad.unpack_dual(o).tangent for o in found)
        ]


def _double_reverse(call: Call, value: Value, index: tuple[int, ...]) -> list[torch.Tensor | None]:
    """Return J v as the derivative of u -> Jᵀ u, which is linear, along v."""
    with torch.enable_grad():
        leaf = value.data.clone().requires_grad_()
        moved = leaf * 1  # a call may write into it
        found = outputs(call, call.run(lambda v: moved if v is value else v.data.clone()))
        weights = [torch.zeros_like(o, requires_grad=True) for o in found]
        (back,) = torch.autograd.grad(found, leaf, weights, create_graph=True)
        if not back.requires_grad:
            return [None] * len(found)
        return list(torch.autograd.grad(back[index], weights, allow_unused=True))


_STEP = 6e-6  # cube root of float64's precision: rounding and curvature are then alike


def _by_difference(call: Call, value: Value, index: tuple[int, ...]) -> Iterator[torch.Tensor]:
    """Return central differences in float64, of all outputs."""
    step = _STEP * max(1.0, abs(float(value.data[index])))
    ends = []
    for sign in (1, -1):
        with torch.no_grad(), again(call):

            def change(v: Value, sign: int = sign) -> torch.Tensor:
                t = widened(v.data)
                if v is value:
                    t[index] += sign * step
                return t

            ends.append([o.detach().double() for o in outputs(call, call.run(change))])
    for upper, lower in zip(*ends, strict=True):
        yield (upper - lower) / (2 * step)


def widened(t: torch.Tensor) -> torch.Tensor:
    """Return a copy of a tensor, in float64 if it holds real numbers."""
    return t.detach().double().clone() if t.is_floating_point() else t.detach().clone()
