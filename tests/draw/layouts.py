"""Layouts: the same numbers in memory in every way that NumPy knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .functions import Array


class Own(np.ndarray[Any, Any]):
    """A sub-class that adds nothing."""


def _spread(array: Array, axis: int) -> Array:
    return np.repeat(array, 2, axis=axis)[(slice(None),) * axis + (slice(None, None, 2),)]


def _reversed(array: Array) -> Array:
    there = tuple(slice(None, None, -1) for _ in array.shape)
    return np.ascontiguousarray(array[there])[there]


def _unaligned(array: Array) -> Array:
    raw = np.zeros(array.nbytes + 3, np.uint8)
    raw[3:] = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
    return raw[3:].view(array.dtype).reshape(array.shape)


def _record(array: Array) -> Array:
    """The field of a packed record, behind one byte."""
    packed = np.zeros(array.shape, dtype=[("mark", "u1"), ("value", array.dtype)])
    packed["value"] = array
    return packed["value"]


def _read_only(array: Array) -> Array:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def _broadcast(array: Array) -> Array:
    """All rows are the first one, in memory once: other numbers, for all who read them."""
    return np.broadcast_to(array[:1], array.shape)


def _offset(array: Array) -> Array:
    """A block inside a larger array."""
    outer = np.zeros([size + 3 for size in array.shape], array.dtype)
    inside = tuple(slice(1, 1 + size) for size in array.shape)
    outer[inside] = array
    return outer[inside]


def _as(dtype: str, limit: float) -> Callable[[Array], Array]:
    """Another dtype; numbers are brought into its range, and rounded to what it holds."""
    return lambda array: np.clip(np.nan_to_num(array), -limit, limit).astype(dtype)


LAYOUTS: dict[str, Callable[[Array], Any]] = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "every second row": lambda array: _spread(array, 0),
    "every second column": lambda array: _spread(array, array.ndim - 1),
    "reversed": _reversed,
    "unaligned": _unaligned,
    "record": _record,
    "byte-swapped": lambda array: array.astype(array.dtype.newbyteorder()),
    "read-only": _read_only,
    "broadcast": _broadcast,
    "inside another": _offset,
    "sub-class": lambda array: array.view(Own),
    "list": lambda array: array.tolist(),
    "float32": _as("float32", 3e38),
    "float16": _as("float16", 6e4),
    "longdouble": lambda array: array.astype(np.longdouble),
    "int64": _as("int64", 2.0**53),
    "int8": _as("int8", 127),
    "bool": lambda array: np.asarray(array > 0),
}
OF_WEIGHTS = tuple(
    name
    for name in LAYOUTS
    if name not in ("longdouble", "bool", "int8", "int64", "float16", "float32")
)
OF_CLASSES = (
    "C",
    "every second row",
    "reversed",
    "unaligned",
    "record",
    "byte-swapped",
    "read-only",
    "list",
    "int8",
)


def lay_out(array: Array, layout: str) -> Any:
    """Return the array in a layout."""
    with np.errstate(all="ignore"):
        return LAYOUTS[layout](array)


def plain(given: Any) -> Array:
    """Return the numbers of an array in any layout, as float64 in C order."""
    return np.array(np.asarray(given).tolist(), dtype=np.float64).reshape(np.shape(given))
