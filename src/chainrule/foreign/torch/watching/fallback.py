"""Fallback: the gradients of samples where there is no formula for a module: one by one."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from chainrule.foreign.torch.calls import tensors
from chainrule.foreign.torch.watching.parts import Part, Use


def one_by_one(uses: list[Use], n: int, known: set[int]) -> tuple[list[Part], set[int]]:
    """Run modules again sample by sample, and differentiate; return what cannot be, too.

    A copy without hooks runs, so that nothing of the model's is called or changed. A parameter
    inside of such a module that no run of a module of its own accounts for belongs to it.
    """
    found: list[Part] = []
    unknown: set[int] = set()
    for use in sorted(uses, key=lambda each: sum(1 for _ in each.module.modules())):
        own = {id(p) for p in use.module.parameters(recurse=False)}
        inside = {
            id(p)
            for p in use.module.parameters()
            if p.grad is not None and id(p) not in known and p.requires_grad
        }
        wanted = [p for p in use.module.parameters() if id(p) in own | inside and p.requires_grad]
        gradients = _gradients(use, wanted, n)
        if gradients is None:
            unknown |= {id(p) for p in wanted}
            continue
        known = known | {id(p) for p in wanted}
        for p, g in zip(wanted, gradients, strict=True):
            found.append(Part(p, whole=g))
    return found, unknown


def _gradients(use: Use, wanted: list[nn.Parameter], n: int) -> list[torch.Tensor] | None:
    """Return the gradient of each sample, (n, ...) for each parameter, or None if it cannot be."""
    axis = 0
    if getattr(use.module, "batch_first", True) is False:
        axis = 1
    given, spec = tree_flatten((use.args, use.kwargs))
    split = [isinstance(t, torch.Tensor) and t.dim() > axis and t.shape[axis] == n for t in given]
    deltas = [d for d in use.deltas if d is not None]
    if not any(split) or (len(deltas) != len(use.deltas) and len(use.deltas) == 1):
        return None
    try:
        memo: dict[int, Any] = {}
        module = copy.deepcopy(use.module, memo)
    except Exception:  # a module that cannot be copied
        return None
    for each in module.modules():
        for table in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks"):
            getattr(each, table).clear()
    copies = [memo[id(p)] for p in wanted]
    state = torch.get_rng_state()
    rows: list[list[torch.Tensor]] = [[] for _ in copies]
    try:
        with torch.enable_grad():
            for i in range(n):
                parts = [
                    t.narrow(axis, i, 1) if cut else t for t, cut in zip(given, split, strict=True)
                ]
                args, kwargs = tree_unflatten(parts, spec)
                made = [t for t in tensors(module(*args, **kwargs)) if t.requires_grad]
                heads, seeds = [], []
                for t, d in zip(made, use.deltas, strict=True):
                    if d is None:
                        continue
                    at = next(
                        (k for k in _axes(axis) if k < d.dim() and d.shape[k] == n
                         and t.shape[k] == 1), None,
                    )  # fmt: skip
                    if at is None:
                        return None
                    heads.append(t)
                    seeds.append(d.narrow(at, i, 1))
                grads = torch.autograd.grad(heads, copies, seeds, allow_unused=True)
                for row, p, g in zip(rows, copies, grads, strict=True):
                    row.append(torch.zeros_like(p) if g is None else g.detach())
    except Exception:  # a module that needs more than one sample
        return None
    finally:
        drawn = not torch.equal(state, torch.get_rng_state())
        torch.set_rng_state(state)
    return None if drawn else [torch.stack(row) for row in rows]


def _axes(axis: int) -> tuple[int, int]:
    return (axis, 1 - axis)
