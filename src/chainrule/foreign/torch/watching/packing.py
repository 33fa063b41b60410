"""Packing: nested values with tensors as safetensors files, and back, without a pickle."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.utils._pytree import tree_map

from chainrule.diagnose.folder import rename_over
from chainrule.foreign.torch.calls import tensors as tensors_of

_ALIGNED = 64  # bytes of the widest vectors, and of what PyTorch allocates
_FORM = "form"  # the key under which a file's header holds what stands around the tensors


def pack(value: Any, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    """Return the form of a value as JSON; its tensors are added to ``tensors`` by name.

    Raises TypeError for what is neither a tensor nor a plain value nor made of such.
    """
    if isinstance(value, torch.Tensor):
        tensors[name] = value
        return {"tensor": name, **({} if value.is_contiguous() else {"stride": value.stride()})}
    if isinstance(value, np.ndarray):
        tensors[name] = torch.from_numpy(np.ascontiguousarray(value).copy())
        return {"array": name, "dtype": value.dtype.str}
    if isinstance(value, Mapping):
        pairs = [[key, pack(each, f"{name}.{key}", tensors)] for key, each in value.items()]
        return {"dict": pairs}
    if isinstance(value, tuple | list):
        if all(type(each) is int for each in value):
            found: Any = list(value)
        else:
            found = [pack(each, f"{name}.{i}", tensors) for i, each in enumerate(value)]
        plain = bool(found) and type(found[0]) is int
        return {("tuple" if isinstance(value, tuple) else "list"): found, "plain": plain}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    raise TypeError(
        f"{name} holds a {type(value).__name__}; expected tensors, arrays, numbers and texts, or "
        "lists, tuples and dictionaries of them"
    )


def unpack(form: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    """Return the value that `pack` packed."""
    match form:
        case {"tensor": name, "stride": stride}:
            value = tensors[name]
            return torch.empty_strided(value.shape, stride, dtype=value.dtype).copy_(value)
        case {"tensor": name}:
            return tensors[name].clone()  # what is read may begin at any address
        case {"array": name, "dtype": dtype}:
            return tensors[name].numpy().astype(dtype)
        case {"dict": pairs}:
            return {key: unpack(each, tensors) for key, each in pairs}
        case {"tuple": parts, "plain": plain}:
            return tuple(parts) if plain else tuple(unpack(each, tensors) for each in parts)
        case {"list": parts, "plain": plain}:
            return list(parts) if plain else [unpack(each, tensors) for each in parts]
        case {"float": text}:
            return float(text)
        case {"value": value}:
            return value
    raise ValueError(f"an unknown form: {form!r}")


def copied(value: Any) -> Any:
    """Copy the tensors and arrays of a value, so that what changes later is not seen."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, Mapping):
        return {key: copied(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(map(copied, value)) if type(value) in (tuple, list) else tuple(value)
    return value


def addresses(value: Any) -> list[int]:
    """Return where the tensors of a value begin, modulo the width of vectors.

    Sums of products have other last bits where that differs.
    """
    return [int(t.data_ptr()) % _ALIGNED for t in tensors_of(value)]


def placed(value: Any, starts: Iterable[int]) -> Any:
    """Return a value whose tensors begin where those of `addresses` did."""
    left = iter(starts)

    def place(t: Any) -> Any:
        if not isinstance(t, torch.Tensor):
            return t
        start, item = next(left), t.element_size()
        if start % item or not t.numel() or t.data_ptr() % _ALIGNED == start:
            return t
        span = 1 + sum((n - 1) * step for n, step in zip(t.shape, t.stride(), strict=True))
        room = torch.empty(span + _ALIGNED // item, dtype=t.dtype)
        shift = (start - room.data_ptr()) % _ALIGNED // item
        return room.as_strided(t.shape, t.stride(), shift).copy_(t)

    return tree_map(place, value)


def save(path: Path, value: Any) -> None:
    """Write a value to a safetensors file."""
    tensors: dict[str, torch.Tensor] = {}
    form = pack(value, "", tensors)
    held = {(name or "value"): t.cpu().contiguous() for name, t in tensors.items()}
    rename_over(path, lambda file: save_file(held, file, {_FORM: json.dumps(form)}))


def load(path: Path) -> Any:
    """Read what `save` wrote."""
    with safe_open(path, framework="pt") as file:
        tensors = {("" if name == "value" else name): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return unpack(json.loads(file.metadata()[_FORM]), tensors)
