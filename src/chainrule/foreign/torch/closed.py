"""Closed forms: columns that need no run of the call, for the calls that weights stand in most.

Only the elements that can move are touched: of ``linear`` one unit, of a convolution one channel or
one window, of a call element by element the element itself.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd import forward_ad

from chainrule.foreign.torch.calls import Call, Value

Found = tuple[torch.Tensor, torch.Tensor]  # flat indices of the output, derivatives

# Each output element depends on the element at the same place of its only tensor.
ELEMENTWISE = frozenset((
    "relu", "relu_", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish",
    "sigmoid", "tanh", "softplus", "softsign", "logsigmoid", "hardtanh", "hardswish",
    "hardsigmoid", "exp", "log", "sqrt", "rsqrt", "abs", "neg", "__neg__", "square", "reciprocal",
    "sin", "cos", "erf", "log1p", "expm1", "log2", "log10", "clamp", "clamp_", "sigmoid_",
    "tanh_", "tanhshrink", "float", "double", "half",
))  # fmt: skip


def column(call: Call, value: Value, index: tuple[int, ...]) -> Found | None:
    """Return the column of a call with one output, or None where there is no closed form."""
    if len(call.outs) != 1 or call.autocast is not None:
        return None
    places = [i for i, arg in enumerate(call.args) if arg is value]
    if len(places) != 1:  # read twice by one call: x + x
        return None
    if _by_keyword(call) <= max(places[0], 1):
        return None
    if call.name == "linear" and places[0] < 3:
        return _linear(call, places[0], index)
    if call.name in ("conv1d", "conv2d", "conv3d") and places[0] < 3:
        return _convolution(call, places[0], index)
    if call.name == "embedding" and places[0] == 1:
        return _embedding(call, index)
    if call.name in ELEMENTWISE:
        return _elementwise(call, value, index)
    return None


def _by_keyword(call: Call) -> int:
    """Return from which argument on the arguments were given by name."""
    return call.spec[0] if isinstance(call.spec, tuple) else len(call.spec.child(0).children())


def _rows(shape: torch.Size) -> int:
    rows = 1
    for size in shape[:-1]:
        rows *= size
    return rows


def _linear(call: Call, place: int, index: tuple[int, ...]) -> Found | None:
    """z[s, j] = Σ_k x[s, k] w[j, k] + b[j]."""
    if not all(isinstance(arg, Value) for arg in call.args[:2]):
        return None
    x, w = call.args[0].data, call.args[1].data
    shape = call.outs[0].data.shape
    if not shape or w.dim() != 2 or not (x.dtype == w.dtype == call.outs[0].data.dtype):
        return None
    units, rows = shape[-1], _rows(shape)
    if place == 0:
        *where, k = index
        row = _flat(tuple(where), x.shape[:-1])
        return row * units + torch.arange(units, device=x.device), w[:, k]
    at = torch.arange(rows, device=x.device) * units + index[0]
    if place == 1:
        return at, x[..., index[1]].reshape(-1)
    return at, torch.ones(rows, dtype=x.dtype, device=x.device)


def _flat(index: tuple[int, ...], shape: Any) -> int:
    flat = 0
    for i, size in zip(index, shape, strict=True):
        flat = flat * size + i
    return flat


def _elementwise(call: Call, value: Value, index: tuple[int, ...]) -> Found | None:
    """Differentiate the call on that one element alone, by forward mode."""
    if value.data.shape != call.outs[0].data.shape:
        return None
    if any(isinstance(arg, Value) and arg is not value for arg in call.args):
        return None
    with torch.no_grad(), forward_ad.dual_level():
        one = value.data[index].reshape(1).clone()
        dual = forward_ad.make_dual(one, torch.ones_like(one))
        tangent = forward_ad.unpack_dual(call.run(lambda v: dual)).tangent
        local = torch.zeros_like(one) if tangent is None else tangent.clone()
    at = torch.tensor([_flat(index, value.data.shape)], device=one.device)
    return (at, local) if float(local) != 0 else (at[:0], local[:0])


def _embedding(call: Call, index: tuple[int, ...]) -> Found:
    """out[s, k] = w[t[s], k]; the row of padding stands still, as PyTorch has it."""
    given = _bound(call, ("input", "weight", "padding_idx", "max_norm", "norm_type",
                          "scale_grad_by_freq"))  # fmt: skip
    (t, w), (row, k) = (given["input"].data, given["weight"].data), index
    padding = given.get("padding_idx")
    if padding is not None and padding % len(w) == row:
        return t.new_zeros(0), w.new_zeros(0)
    (at,) = torch.nonzero(t.reshape(-1) == row, as_tuple=True)
    size = 1 / len(at) if given.get("scale_grad_by_freq") and len(at) else 1.0
    return at * w.shape[1] + k, w.new_full((len(at),), size)


def options(call: Call) -> tuple[list[int], list[int], list[int], int] | None:
    """Return stride, padding, dilation and groups of a convolution, or None for "same"."""
    dims = call.outs[0].data.dim() - 2
    given = _bound(call, ("input", "weight", "bias", "stride", "padding", "dilation", "groups"))

    def each(name: str, default: int) -> list[int] | None:
        setting = given.get(name, default)
        if isinstance(setting, str):
            return [0] * dims if setting == "valid" else None
        found = [setting] * dims if isinstance(setting, int) else [int(s) for s in setting]
        return found * dims if len(found) == 1 else found

    stride, padding, dilation = each("stride", 1), each("padding", 0), each("dilation", 1)
    if stride is None or padding is None or dilation is None:
        return None
    return stride, padding, dilation, int(given.get("groups", 1))


def _bound(call: Call, names: tuple[str, ...]) -> dict[str, Any]:
    from chainrule.foreign.torch.calls import unflatten

    args, kwargs = unflatten(call.args, call.spec)
    return {**dict(zip(names, args, strict=False)), **kwargs}


def _convolution(call: Call, place: int, index: tuple[int, ...]) -> Found | None:
    """z[n, o, y] = Σ_c,u x[n, c, y·s + u·d - p] w[o, c, u] + b[o], c inside the group of o."""
    found = options(call)
    out = call.outs[0].data
    x, w = call.args[0].data, call.args[1].data
    if found is None or x.dim() != out.dim() or x.dtype != out.dtype or w.dtype != out.dtype:
        return None
    stride, padding, dilation, groups = found
    places = torch.arange(out.numel(), device=x.device).view(out.shape)
    if place == 2:
        at = places[:, index[0]].reshape(-1)
        return at, torch.ones(len(at), dtype=out.dtype, device=x.device)
    if place == 1:
        o, c, *u = index
        channel = o // (w.shape[0] // groups) * w.shape[1] + c
        window: list[slice] = []
        source: list[slice] = []
        for d, offset in enumerate(u):
            start = offset * dilation[d] - padding[d]  # where output 0 reads
            first = max(0, -(start // stride[d]))  # the first output that reads inside
            last = min(out.shape[2 + d] - 1, (x.shape[2 + d] - 1 - start) // stride[d])
            if last < first:
                return places.new_zeros(0), x.new_zeros(0)
            window.append(slice(first, last + 1))
            begin = start + first * stride[d]
            source.append(slice(begin, start + last * stride[d] + 1, stride[d]))
        at = places[(slice(None), o, *window)].reshape(-1)
        return at, x[(slice(None), channel, *source)].reshape(-1)
    n, channel, *y = index
    of_group = w.shape[0] // groups
    group, c = divmod(channel, w.shape[1])
    outputs = torch.arange(group * of_group, (group + 1) * of_group, device=x.device)
    rows: list[torch.Tensor] = []
    taps: list[torch.Tensor] = []
    for d, position in enumerate(y):
        tap = torch.arange(w.shape[2 + d], device=x.device)
        shifted = position + padding[d] - tap * dilation[d]
        target = torch.div(shifted, stride[d], rounding_mode="floor")
        fits = (shifted % stride[d] == 0) & (target >= 0) & (target < out.shape[2 + d])
        rows.append(target[fits])
        taps.append(tap[fits])
    at = places[n][torch.meshgrid(outputs, *rows, indexing="ij")].reshape(-1)
    local = w[(slice(None), c)][torch.meshgrid(outputs, *taps, indexing="ij")].reshape(-1)
    return at, local
