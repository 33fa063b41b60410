"""Packing: nested values with tensors as safetensors files, and back, without a pickle."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch.utils._pytree import tree_map

from chainrule.diagnose.folder import rename_over
from chainrule.diagnose.spares import Spares
from chainrule.foreign.torch.calls import tensors as tensors_of

_ALIGNED = 64  # bytes of the widest vectors, and of what PyTorch allocates
_FORM = "form"  # the key under which a file's header holds what stands around the tensors
OVER = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0)  # what is there is not cut off first
_TYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint64: "U64", torch.uint32: "U32", torch.uint16: "U16", torch.uint8: "U8",
    torch.bool: "BOOL", torch.complex64: "C64",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2",
}  # fmt: skip

_OF_NUMPY = {torch.float64, torch.float32, torch.int64, torch.int32, torch.uint8, torch.bool}


def pack(value: Any, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    """Return the form of a value as JSON; its tensors are added to ``tensors`` by name.

    Raises TypeError for what is neither a tensor nor a plain value nor made of such.
    """
    if isinstance(value, torch.Tensor):
        tensors[name] = value
        return {"tensor": name, **({} if value.is_contiguous() else {"stride": value.stride()})}
    if isinstance(value, np.ndarray):
        tensors[name] = torch.from_numpy(np.ascontiguousarray(value))
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


def kind_of(value: Any, arrays: list[torch.Tensor | np.ndarray[Any, Any]]) -> Any:
    """Return what tells values apart for which `pack` has other forms, or tensors of other shapes.

    Their tensors and arrays are appended to ``arrays``, in the order of `pack`. It takes a tenth of
    the time of that.
    """
    if isinstance(value, torch.Tensor):
        arrays.append(value)
        return value.shape, value.dtype, value.stride()
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return value.shape, value.dtype
    if isinstance(value, dict | Mapping):
        return tuple([(key, kind_of(each, arrays)) for key, each in value.items()])
    if isinstance(value, tuple | list):
        return type(value), tuple([kind_of(each, arrays) for each in value])
    return type(value), repr(value)


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


def check(value: Any, name: str) -> None:
    """Raise TypeError for what `pack` cannot pack."""
    if isinstance(value, torch.Tensor):
        return
    pack(value, name, {})


def copied(value: Any, into: Any = None) -> Any:
    """Copy the tensors and arrays of a value, so that what changes later is not seen.

    Tensors go into those of ``into``, an earlier copy that is needed no more, where they fit.
    """
    if isinstance(value, torch.Tensor):
        if isinstance(into, torch.Tensor) and _fits(value, into):
            return into.copy_(value.detach())
        return value.detach().clone()
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, Mapping):
        old = into if isinstance(into, Mapping) else {}
        return {key: copied(each, old.get(key)) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(map(copied, value)) if type(value) in (tuple, list) else tuple(value)
    return value


def _fits(value: torch.Tensor, into: torch.Tensor) -> bool:
    return (
        value.shape == into.shape
        and value.dtype == into.dtype
        and value.device == into.device
        and value.stride() == into.stride()
    )


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


def save(path: Path, value: Any, spares: Spares | None = None) -> None:
    """Write a value to a safetensors file, over a spare one if there is any."""
    tensors: dict[str, torch.Tensor] = {}
    form = json.dumps(pack(value, "", tensors), separators=(",", ":"))
    held = {(name or "value"): t for name, t in tensors.items()}

    def write(file: str) -> None:
        write_over(file, held, form, None if spares is None else partial(spares.take, path))

    rename_over(path, write)


def write_over(
    path: str,
    tensors: Mapping[str, torch.Tensor],
    form: str,
    take: Callable[[int, str], None] | None = None,
) -> None:
    """Write a safetensors file from the memory of its tensors, over a file that ``take`` brings.

    safetensors itself would cut the old file off first, which costs ten times the time (`Spares`).
    """
    kinds = {name: (t.dtype, list(t.shape)) for name, t in tensors.items()}
    header, starts, size = header_of(kinds, form)
    if take is not None:
        take(size, path)
    descriptor = os.open(path, OVER, 0o666)
    try:
        write_at(descriptor, header, 0)
        for name, t in tensors.items():
            write_at(descriptor, bytes_of(t), starts[name])
        os.ftruncate(descriptor, size)
    finally:
        os.close(descriptor)


def header_of(
    kinds: Mapping[str, tuple[torch.dtype, list[int]]], form: str
) -> tuple[bytes, dict[str, int], int]:
    """Return the header of a safetensors file, where each tensor starts, and the file's length.

    The format is 8 bytes with the length of a JSON text, the text, and the numbers.
    """
    header: dict[str, Any] = {"__metadata__": {_FORM: form}}
    end, starts = 0, {}
    for name, (dtype, shape) in sorted(kinds.items(), key=lambda each: -each[1][0].itemsize):
        if dtype not in _TYPES:
            raise TypeError(f"{name} holds {dtype}, for which safetensors files have no type")
        starts[name], end = end, end + math.prod(shape) * dtype.itemsize
        header[name] = {
            "dtype": _TYPES[dtype], "shape": shape, "data_offsets": [starts[name], end]
        }  # fmt: skip
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    first = 8 + len(text)
    starts = {name: first + start for name, start in starts.items()}
    return len(text).to_bytes(8, "little") + text, starts, first + end


def bytes_of(t: torch.Tensor | np.ndarray[Any, Any]) -> memoryview:
    """Return the numbers of a tensor as bytes, in its own memory where they lie in order there."""
    if isinstance(t, torch.Tensor):
        t = t.detach().cpu().contiguous()
        if t.dtype not in _OF_NUMPY or not t.numel():
            t = t.reshape(-1).view(torch.uint8)
        t = t.numpy()
    return np.ascontiguousarray(t).data.cast("B") if t.size else memoryview(b"")


def write_at(descriptor: int, data: bytes | memoryview, start: int) -> None:
    """Write all bytes at a place of a file."""
    left = memoryview(data)
    while len(left):
        if hasattr(os, "pwrite"):
            done = os.pwrite(descriptor, left, start)
        else:  # on Windows
            os.lseek(descriptor, start, os.SEEK_SET)
            done = os.write(descriptor, left)
        left, start = left[done:], start + done


def load(path: Path, part: Callable[[Any, str], torch.Tensor] | None = None) -> Any:
    """Read what `save` wrote, or of each tensor what ``part`` returns of the open file.

    Raises FileNotFoundError if the run gave the file up in the meantime: it may write over it.
    """
    there = os.stat(path)
    with safe_open(path, framework="pt") as file:
        names = [name for name in file.keys() if part is None or name.startswith(".")]  # noqa: SIM118
        read = file.get_tensor if part is None else partial(part, file)
        tensors = {("" if name == "value" else name): read(name) for name in names}
        found = unpack(json.loads(file.metadata()[_FORM]), tensors)
    if not os.path.samestat(there, os.stat(path)):
        raise FileNotFoundError(f"{path} was replaced while it was read")
    return found
