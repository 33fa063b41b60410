"""Parts: what each sample of a batch adds to the gradient of a parameter, and its square norm.

It needs only what came into a module (a) and the derivative of the loss with respect to what came
out (δ). For a linear layer the square norm is ‖δ‖² (‖a‖² + 1) with the bias (Goodfellow,
arXiv:1510.01799); where positions add up, ‖Σ δ_t a_tᵀ‖² is Σ_st (a_s·a_t)(δ_s·δ_t) ("ghost norms",
Li et al., arXiv:2110.05679; Bu et al., arXiv:2205.10683), or the sum itself, whichever is cheaper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional, grad

_AT_ONCE = 1 << 22  # numbers of the gradients of samples that are in memory together


@dataclass(eq=False)
class Use:
    """One run of a module: what came in, and the derivative of what came out."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    deltas: list[torch.Tensor | None] = field(default_factory=list)
    outputs: Any = None  # the shape of what came out


@dataclass(eq=False)
class Part:
    """What each sample adds to a parameter's gradient, in the form in which it came.

    ``pair`` holds (a, δ), (n, T, in) and (n, T, out), whose product over T is the gradient (out,
    in) of a sample, or (n, in) and (n, out) of one position; ``rows`` holds (indices, δ), (n, T)
    and (n, T, out), of an embedding; ``make`` returns the gradients of some samples; ``whole`` is
    the gradient itself, (n, ...).
    """

    parameter: nn.Parameter
    pair: tuple[torch.Tensor, torch.Tensor] | None = None
    rows: tuple[torch.Tensor, torch.Tensor] | None = None
    make: Callable[[slice], torch.Tensor] | None = None
    whole: torch.Tensor | None = None

    def materialized(self, samples: slice) -> torch.Tensor:
        """Return the gradients of some samples, (m, number of elements)."""
        if self.whole is not None:
            return self.whole[samples].flatten(1)
        if self.make is not None:
            return self.make(samples)
        if self.pair is not None:
            a, delta = (_positions(t)[samples] for t in self.pair)
            return torch.einsum("sti,stj->sji", a, delta).flatten(1)
        assert self.rows is not None
        index, delta = (t[samples] for t in self.rows)
        found = delta.new_zeros(len(index), *self.parameter.shape)
        at = index[..., None].expand(-1, -1, delta.shape[-1])
        return found.scatter_add_(1, at, delta).flatten(1)


def square_of(parts: list[Part], n: int, known: dict[int, torch.Tensor]) -> torch.Tensor:
    """Return the square norm of each sample's gradient of one parameter, (n,), float64.

    ``known`` keeps those of δ, which a weight and its bias have in common, by ``id``.
    """
    one = parts[0]
    if len(parts) == 1 and one.whole is not None:
        return _squares_once(one.whole, known)
    if len(parts) == 1 and one.pair is not None and one.pair[0].dim() == 2:
        return _squares(one.pair[0]) * _squares_once(one.pair[1], known)
    if all(p.pair is not None for p in parts):
        pairs = [
            (_positions(p.pair[0]), _positions(p.pair[1])) for p in parts if p.pair is not None
        ]
        a = pairs[0][0] if len(pairs) == 1 else torch.cat([p[0] for p in pairs], 1)
        delta = pairs[0][1] if len(pairs) == 1 else torch.cat([p[1] for p in pairs], 1)
        positions, before, after = a.shape[1], a.shape[2], delta.shape[2]
        if positions == 1:
            return _squares(a) * _squares(delta)
        if positions * (before + after) <= before * after:
            return _products(a, delta)
        parts = [Part(parts[0].parameter, pair=(a, delta))]
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
        found[-1] = _squares(found[-1])
    return found[0] if len(found) == 1 else torch.cat(found)


def _squares_once(t: torch.Tensor, known: dict[int, torch.Tensor]) -> torch.Tensor:
    if id(t) not in known:
        known[id(t)] = _squares(t)
    return known[id(t)]


def _positions(t: torch.Tensor) -> torch.Tensor:
    """Return (n, T, units) also of what has one position, (n, units)."""
    return t if t.dim() == 3 else t[:, None]


def _squares(t: torch.Tensor) -> torch.Tensor:
    """Return the square norm of each row, (n,), float64."""
    wide = torch.float32 if t.dtype in (torch.float16, torch.bfloat16) else None
    return torch.linalg.vector_norm(t.flatten(1), dim=1, dtype=wide).double().square_()


def _products(a: torch.Tensor, delta: torch.Tensor) -> torch.Tensor:
    """Return Σ_st (a_s·a_t)(δ_s·δ_t) of each sample, in pieces that fit into memory."""
    step = max(_AT_ONCE // a.shape[1] ** 2, 1)
    found = [
        ((x @ x.mT) * (d @ d.mT)).sum((1, 2)).double().clamp_min(0)
        for x, d in zip(a.split(step), delta.split(step), strict=True)
    ]
    return torch.cat(found)


def parts_of(use: Use, n: int) -> list[Part] | None:
    """Return the parts that a run of a module makes, or None where there is no formula for it."""
    kind = next((k for k in type(use.module).__mro__ if k in _KINDS), None)
    if (
        kind is None
        or getattr(type(use.module), "forward", None) is not getattr(kind, "forward", None)
        or len(use.args) != 1
    ):
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


def _runs_as(module: nn.Module, kind: Any) -> bool:
    own: Any = type(module)
    return own.forward is kind.forward


def _linear(module: Any, a: torch.Tensor, delta: torch.Tensor) -> Iterable[Part] | None:
    if a.dim() < 2:
        return None
    if a.dim() == 2:
        return [Part(module.weight, pair=(a.to(delta.dtype), delta)), *_bias(module, delta)]
    n, delta = len(a), delta.reshape(len(a), -1, delta.shape[-1])
    a = a.reshape(n, -1, a.shape[-1]).to(delta.dtype)
    return [Part(module.weight, pair=(a, delta)), *_bias(module, delta.sum(1))]


def _bias(module: Any, whole: torch.Tensor) -> list[Part]:
    return [] if module.bias is None else [Part(module.bias, whole=whole)]


def _convolution(module: Any, a: torch.Tensor, delta: torch.Tensor) -> Iterable[Part] | None:
    """Return a convolution as a linear layer of its patches where that is cheaper.

    Otherwise the gradients of samples are those of one convolution in which each sample is a group
    (Rochette et al., arXiv:1912.06015).
    """
    dims = len(module.kernel_size)
    if module.padding_mode != "zeros" or isinstance(module.padding, str) or a.dim() != dims + 2:
        return None
    a, d = a.to(delta.dtype), delta.flatten(2)
    bias = _bias(module, d.sum(2))
    after, before, positions = module.out_channels, module.weight[0].numel(), d.shape[2]
    if module.groups == 1 and dims == 2 and positions * (before + after) <= before * after:
        patches = functional.unfold(
            a, module.kernel_size, module.dilation, module.padding, module.stride
        )
        return [Part(module.weight, pair=(patches.mT, d.mT)), *bias]
    gradient: Any = (grad.conv1d_weight, grad.conv2d_weight, grad.conv3d_weight)[dims - 1]

    def make(samples: slice) -> torch.Tensor:
        x, y = a[samples], delta[samples]
        m, shape = len(x), module.weight.shape
        found: torch.Tensor = gradient(
            x.reshape(1, -1, *x.shape[2:]), (m * shape[0], *shape[1:]),
            y.reshape(1, -1, *y.shape[2:]), module.stride, module.padding, module.dilation,
            m * module.groups,
        )  # fmt: skip
        return found.reshape(m, -1)

    return [Part(module.weight, make=make), *bias]


def _embedding(module: Any, a: torch.Tensor, delta: torch.Tensor) -> Iterable[Part] | None:
    if module.scale_grad_by_freq or module.sparse:
        return None
    n = len(a)
    index, delta = a.reshape(n, -1), delta.reshape(n, -1, delta.shape[-1])
    if module.padding_idx is not None:
        delta = delta * (index != module.padding_idx)[..., None]
    return [Part(module.weight, rows=(index, delta))]


def _layer_norm(module: Any, a: torch.Tensor, delta: torch.Tensor) -> Iterable[Part] | None:
    shape = module.normalized_shape
    if a.dim() <= len(shape):
        return None
    normed = (
        functional.rms_norm(a, shape, None, module.eps)
        if hasattr(nn, "RMSNorm") and isinstance(module, nn.RMSNorm)
        else functional.layer_norm(a, shape, None, None, module.eps)
    )
    return _scaled(module, normed, delta, list(range(1, a.dim() - len(shape))))


def _group_norm(module: Any, a: torch.Tensor, delta: torch.Tensor) -> Iterable[Part] | None:
    normed = functional.group_norm(a, module.num_groups, None, None, module.eps)
    return _scaled(module, normed, delta, list(range(2, a.dim())))


def _batch_norm(module: Any, a: torch.Tensor, delta: torch.Tensor) -> Iterable[Part] | None:
    if module.training or module.running_mean is None:
        normed = functional.batch_norm(a, None, None, training=True, eps=module.eps)
    else:
        normed = functional.batch_norm(a, module.running_mean, module.running_var, eps=module.eps)
    return _scaled(module, normed, delta, list(range(2, a.dim())))


def _scaled(
    module: Any, normed: torch.Tensor, delta: torch.Tensor, summed: list[int]
) -> list[Part]:
    weight, bias = module.weight, getattr(module, "bias", None)
    product = delta * normed.to(delta.dtype)
    found = []
    if weight is not None:
        found.append(Part(weight, whole=product.sum(summed) if summed else product))
    if bias is not None:
        found.append(Part(bias, whole=delta.sum(summed) if summed else delta))
    return found


_KINDS: dict[type, Callable[[Any, torch.Tensor, torch.Tensor], Iterable[Part] | None]] = {
    nn.Linear: _linear,
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.Conv3d: _convolution,
    nn.Embedding: _embedding,
    nn.LayerNorm: _layer_norm,
    nn.GroupNorm: _group_norm,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.BatchNorm3d: _batch_norm,
}
if hasattr(nn, "RMSNorm"):
    _KINDS[nn.RMSNorm] = _layer_norm
