"""Norms: the gradient norm of each sample of a batch, from the backward pass that the loop runs.

A parameter's gradient is a sum over samples, and the part of a sample needs only what came into
its module (a) and the derivative of the loss with respect to what came out (δ). For a linear layer
its square norm is ‖δ‖² (‖a‖² + 1) with the bias (Goodfellow, arXiv:1510.01799); where positions add
up, ‖Σ δ_t a_tᵀ‖² is Σ_st (a_s·a_t)(δ_s·δ_t) ("ghost norms", Li et al., arXiv:2110.05679; Bu et al.,
arXiv:2205.10683), or the sum itself, whichever is cheaper.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._pytree import tree_flatten, tree_map

from chainrule.foreign.torch.calls import tensors

_AT_ONCE = 1 << 24  # numbers of the gradients of samples that are in memory together


@dataclass(eq=False)
class Use:
    """One run of a module: what came in, and the derivative of what came out."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    deltas: list[torch.Tensor | None] = field(default_factory=list)
    outputs: Any = None  # the shape of what came out


class Capture:
    """Hold what each module with parameters of its own reads, and the derivative of its output.

    Args:
        model: The model.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.uses: list[Use] = []
        self._handles: list[Any] = []
        self._modules = [
            m for m in model.modules() if any(p.requires_grad for p in m.parameters(recurse=False))
        ]

    def start(self) -> None:
        """Hang hooks on the modules."""
        for module in self._modules:
            self._handles.append(module.register_forward_hook(self._ran, with_kwargs=True))

    def stop(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _ran(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if not torch.is_grad_enabled():
            return
        made = [t for t in tensors(output) if t.requires_grad]
        if not made:
            return
        use = Use(module, tree_map(_apart, args), tree_map(_apart, kwargs), [None] * len(made))
        self.uses.append(use)
        for i, t in enumerate(made):
            self._handles.append(t.register_hook(_keeper(use, i)))


def _apart(t: Any) -> Any:
    return t.detach() if isinstance(t, torch.Tensor) else t


def _keeper(use: Use, i: int) -> Callable[[torch.Tensor], None]:
    def keep(grad: torch.Tensor) -> None:
        old = use.deltas[i]
        use.deltas[i] = grad if old is None else old + grad

    return keep


@dataclass(frozen=True)
class Norms:
    """Norms by sample.

    Attributes:
        squares: The square norm of each sample's part of the gradient, (n,), float64, or None where
            no part of it is known.
        missing: The names of parameters whose gradient is not split by sample.
    """

    squares: torch.Tensor | None
    missing: tuple[str, ...]


def norms(capture: Capture, n: int) -> Norms:
    """Return the square norms of the parts of the gradient that each of n samples makes."""
    names = {id(p): name for name, p in capture.model.named_parameters()}
    parts: dict[int, list[_Part]] = {}
    odd: list[Use] = []
    for use in capture.uses:
        if all(d is None for d in use.deltas):
            continue
        found = _parts(use, n)
        if found is None:
            odd.append(use)
            continue
        for part in found:
            parts.setdefault(id(part.parameter), []).append(part)
    known, unknown = _fallback(odd, n, set(parts)) if odd else ([], set[int]())
    for part in known:
        parts.setdefault(id(part.parameter), []).append(part)
    total: torch.Tensor | None = None
    for key, found in parts.items():
        if key in unknown:
            continue
        square = _square(found, n)
        total = square if total is None else total + square
    used = {id(p) for p in capture.model.parameters() if p.grad is not None and p.requires_grad}
    missing = tuple(names[key] for key in names if key in (used - set(parts)) | unknown)
    return Norms(total, missing)


# --- parts ----------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Part:
    """What each sample adds to a parameter's gradient, in the form in which it came.

    ``pair`` holds (a, δ), (n, T, in) and (n, T, out), whose product over T is the gradient (out,
    in) of a sample; ``rows`` holds (indices, δ), (n, T) and (n, T, out), of an embedding; ``whole``
    is the gradient itself, (n, ...).
    """

    parameter: nn.Parameter
    pair: tuple[torch.Tensor, torch.Tensor] | None = None
    rows: tuple[torch.Tensor, torch.Tensor] | None = None
    whole: torch.Tensor | None = None
    groups: int = 1

    def materialized(self, samples: slice) -> torch.Tensor:
        """Return the gradients of some samples, (m, number of elements)."""
        if self.whole is not None:
            return self.whole[samples].flatten(1)
        if self.pair is not None:
            a, delta = (t[samples] for t in self.pair)
            return torch.einsum("nti,nto->noi", a, delta).flatten(1)
        assert self.rows is not None
        index, delta = (t[samples] for t in self.rows)
        found = delta.new_zeros(len(index), *self.parameter.shape)
        at = index[..., None].expand(-1, -1, delta.shape[-1])
        return found.scatter_add_(1, at, delta).flatten(1)


def _square(parts: list[_Part], n: int) -> torch.Tensor:
    """Return the square norm of each sample's gradient of one parameter, (n,), float64."""
    if all(p.pair is not None for p in parts):
        pairs = [p.pair for p in parts if p.pair is not None]
        a = pairs[0][0] if len(pairs) == 1 else torch.cat([p[0] for p in pairs], 1)
        delta = pairs[0][1] if len(pairs) == 1 else torch.cat([p[1] for p in pairs], 1)
        positions, before, after = a.shape[1], a.shape[2], delta.shape[2]
        if positions == 1:
            return a.square().sum((1, 2)).double() * delta.square().sum((1, 2)).double()
        if positions * (before + after) <= before * after:
            return _products(a, delta)
        parts = [_Part(parts[0].parameter, pair=(a, delta))]
    elif all(p.rows is not None for p in parts):
        rows = [p.rows for p in parts if p.rows is not None]
        index = torch.cat([r[0] for r in rows], 1)
        delta = torch.cat([r[1] for r in rows], 1)
        same = (index[:, :, None] == index[:, None, :]).to(delta.dtype)
        return (same * (delta @ delta.mT)).sum((1, 2)).double().clamp_min(0)
    size = parts[0].parameter.numel()
    step = max(_AT_ONCE // max(size, 1), 1)
    found = []
    for start in range(0, n, step):
        rows_of = [p.materialized(slice(start, start + step)) for p in parts]
        found.append(torch.stack(rows_of).sum(0) if len(rows_of) > 1 else rows_of[0])
        found[-1] = found[-1].square().sum(1).double()
    return torch.cat(found)


def _products(a: torch.Tensor, delta: torch.Tensor) -> torch.Tensor:
    """Return Σ_st (a_s·a_t)(δ_s·δ_t) of each sample, in pieces that fit into memory."""
    step = max(_AT_ONCE // a.shape[1] ** 2, 1)
    found = [
        ((x @ x.mT) * (d @ d.mT)).sum((1, 2)).double().clamp_min(0)
        for x, d in zip(a.split(step), delta.split(step), strict=True)
    ]
    return torch.cat(found)


def _parts(use: Use, n: int) -> list[_Part] | None:
    """Return the parts that a run of a module makes, or None where there is no formula for it."""
    kind = next((k for k in type(use.module).__mro__ if k in _KINDS), None)
    if kind is None or type(use.module).forward is not kind.forward or len(use.args) != 1:
        return None
    a, delta, module = use.args[0], use.deltas[0], use.module
    if use.kwargs or len(use.deltas) != 1 or delta is None or getattr(a, "is_sparse", True):
        return None
    if a.dim() < 1 or len(a) != n or len(delta) != n or delta.is_sparse:
        return None
    wanted = {id(p) for p in module.parameters(recurse=False) if p.requires_grad}
    if nn.utils.parametrize.is_parametrized(module) or hasattr(module, "weight_g"):
        return None
    found = _KINDS[kind](module, a, delta)
    return None if found is None else [p for p in found if id(p.parameter) in wanted]


def _linear(module: Any, a: torch.Tensor, delta: torch.Tensor) -> Iterable[_Part] | None:
    if a.dim() < 2:
        return None
    n, delta = len(a), delta.reshape(len(a), -1, delta.shape[-1])
    a = a.reshape(n, -1, a.shape[-1]).to(delta.dtype)
    return [_Part(module.weight, pair=(a, delta)), *_bias(module, delta.sum(1))]


def _bias(module: Any, whole: torch.Tensor) -> list[_Part]:
    return [] if module.bias is None else [_Part(module.bias, whole=whole)]


def _convolution(module: Any, a: torch.Tensor, delta: torch.Tensor) -> Iterable[_Part] | None:
    """Return a convolution as a linear layer of its patches, (n, positions, patch)."""
    dims = len(module.kernel_size)
    if module.padding_mode != "zeros" or isinstance(module.padding, str) or dims > 2:
        return None
    if a.dim() != dims + 2:
        return None
    n, groups = len(a), module.groups
    flat = (1,) * (2 - dims)
    if dims == 1:
        a, delta_4 = a[:, :, None], delta[:, :, None]
    else:
        delta_4 = delta
    patches = F.unfold(
        a.to(delta.dtype),
        (*flat, *module.kernel_size),
        (*flat, *module.dilation),
        (*((0,) * (2 - dims)), *module.padding),
        (*flat, *module.stride),
    )
    d = delta_4.flatten(2)
    bias = _bias(module, d.sum(2))
    if groups == 1:
        return [_Part(module.weight, pair=(patches.mT, d.mT)), *bias]
    of_group = patches.reshape(n, groups, -1, patches.shape[2])
    whole = d.reshape(n, groups, -1, d.shape[2]) @ of_group.mT
    return [_Part(module.weight, whole=whole.flatten(1)), *bias]


def _embedding(module: Any, a: torch.Tensor, delta: torch.Tensor) -> Iterable[_Part] | None:
    if module.scale_grad_by_freq or module.sparse:
        return None
    n = len(a)
    index, delta = a.reshape(n, -1), delta.reshape(n, -1, delta.shape[-1])
    if module.padding_idx is not None:
        delta = delta * (index != module.padding_idx)[..., None]
    return [_Part(module.weight, rows=(index, delta))]


def _layer_norm(module: Any, a: torch.Tensor, delta: torch.Tensor) -> Iterable[_Part] | None:
    shape = module.normalized_shape
    if a.dim() <= len(shape):
        return None
    normed = (
        F.rms_norm(a, shape, None, module.eps)
        if hasattr(nn, "RMSNorm") and isinstance(module, nn.RMSNorm)
        else F.layer_norm(a, shape, None, None, module.eps)
    )
    return _scaled(module, normed, delta, list(range(1, a.dim() - len(shape))))


def _group_norm(module: Any, a: torch.Tensor, delta: torch.Tensor) -> Iterable[_Part] | None:
    normed = F.group_norm(a, module.num_groups, None, None, module.eps)
    return _scaled(module, normed, delta, list(range(2, a.dim())))


def _batch_norm(module: Any, a: torch.Tensor, delta: torch.Tensor) -> Iterable[_Part] | None:
    if module.training or module.running_mean is None:
        normed = F.batch_norm(a, None, None, training=True, eps=module.eps)
    else:
        normed = F.batch_norm(a, module.running_mean, module.running_var, eps=module.eps)
    return _scaled(module, normed, delta, list(range(2, a.dim())))


def _scaled(
    module: Any, normed: torch.Tensor, delta: torch.Tensor, summed: list[int]
) -> list[_Part]:
    weight, bias = module.weight, getattr(module, "bias", None)
    product = delta * normed.to(delta.dtype)
    found = []
    if weight is not None:
        found.append(_Part(weight, whole=product.sum(summed) if summed else product))
    if bias is not None:
        found.append(_Part(bias, whole=delta.sum(summed) if summed else delta))
    return found


_KINDS: dict[type, Callable[[Any, torch.Tensor, torch.Tensor], Iterable[_Part] | None]] = {
    nn.Linear: _linear,
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.Embedding: _embedding,
    nn.LayerNorm: _layer_norm,
    nn.GroupNorm: _group_norm,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.BatchNorm3d: _batch_norm,
}
if hasattr(nn, "RMSNorm"):
    _KINDS[nn.RMSNorm] = _layer_norm


# --- modules without a formula --------------------------------------------------------------------


def _fallback(uses: list[Use], n: int, known: set[int]) -> tuple[list[_Part], set[int]]:
    """Run modules again sample by sample, and differentiate; return what cannot be, too.

    A copy without hooks runs, so that nothing of the model's is called or changed. A parameter
    inside of such a module that no run of a module of its own accounts for belongs to it.
    """
    found: list[_Part] = []
    unknown: set[int] = set()
    for use in sorted(uses, key=lambda each: sum(1 for _ in each.module.modules())):
        own = {id(p) for p in use.module.parameters(recurse=False)}
        inside = {
            id(p)
            for p in use.module.parameters()
            if p.grad is not None and id(p) not in known and p.requires_grad
        }
        wanted = [p for p in use.module.parameters() if id(p) in own | inside and p.requires_grad]
        gradients = _one_by_one(use, wanted, n)
        if gradients is None:
            unknown |= {id(p) for p in wanted}
            continue
        known = known | {id(p) for p in wanted}
        for p, g in zip(wanted, gradients, strict=True):
            found.append(_Part(p, whole=g))
    return found, unknown


def _one_by_one(use: Use, wanted: list[nn.Parameter], n: int) -> list[torch.Tensor] | None:
    """Return the gradient of each sample, (n, ...) for each parameter, or None if it cannot be."""
    axis = 0
    if getattr(use.module, "batch_first", True) is False:
        axis = 1
    given, spec = tree_flatten((use.args, use.kwargs))
    split = [isinstance(t, torch.Tensor) and t.dim() > axis and t.shape[axis] == n for t in given]
    deltas = [d for d in use.deltas if d is not None]
    if not any(split) or len(deltas) != len(use.deltas) and len(use.deltas) == 1:
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
                args, kwargs = torch.utils._pytree.tree_unflatten(parts, spec)
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
