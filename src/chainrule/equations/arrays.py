"""Arrays: what a user hands in as numbers, turned into one plain NumPy array or one clear error.

Any layout is taken (strides of any sign or 0, unaligned, byte-swapped, read-only, a sub-class, a
memory map), and so are tensors of PyTorch on any device, with or without a gradient, dataframes and
series (through narwhals), and whatever NumPy can make an array of. Masked values are refused:
nothing here can leave them out.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
Reader = Callable[[Array, Array | None, np.dtype[Any]], bool | None]
_CHUNK = 1 << 22  # numbers looked at in one go, so that a memory map is never loaded whole
_MANY = 1 << 12  # numbers from which a reader pays; below, NumPy does not start its own threads
_reader: Reader | None = None


def read_by(reader: Reader) -> None:
    """Have arrays read by a function that is faster than NumPy.

    It puts the numbers of an array in a dtype into another one, if there is one, and returns
    whether all are finite in that dtype, or None where it does not read such an array.
    """
    global _reader
    _reader = reader


def numeric(values: ArrayLike, name: str, of_words: str = "") -> Array:
    """Return the numbers as an array of NumPy's own class, without a copy where they are one.

    Raises ValueError for lists that are not rectangular and for masked values, TypeError for what
    is not numeric; ``of_words`` ends the message where texts were given.
    """
    array = _as_array(values, name)
    if array.dtype.kind not in "fiub":
        hint = of_words if array.dtype.kind in "UST" else ""
        raise TypeError(f"{name} has dtype {array.dtype}; expected numbers{hint}")
    return array


def contiguous(array: Array, dtype: Any) -> Array:
    """Return an array in C order, aligned and of a dtype: itself where it is so already.

    Products of matrices differ in the last bit with the layout of what goes into them: numbers that
    have to be equal come from arrays that went through here.
    """
    converted = np.ascontiguousarray(array, dtype=dtype)
    return converted if converted.flags.aligned else converted.copy()


def refuse_masked(values: object, name: str) -> None:
    """Raise ValueError for a masked array with masked values."""
    if not isinstance(values, np.ma.MaskedArray) or values.dtype.names is not None:
        return
    mask = np.ma.getmaskarray(values)
    count = int(np.count_nonzero(mask))
    if count:
        are = "1 masked value" if count == 1 else f"{count:,} masked values, the first"
        at = f"{are} at {name}[{_place(mask)}]" if mask.ndim else "a masked value"
        kept = f"~{name}.mask" + (".any(axis=1)" if mask.ndim == 2 else "")
        raise ValueError(
            f"{name} has {at}; a network has no use for missing values: fill them in, for example "
            f"with {name}.filled(0), or leave their samples out of every array with [{kept}]"
        )


def taken(values: Any, name: str) -> Any:
    """Return what NumPy can make an array of: tensors as arrays, anything else as it is.

    For scikit-learn, which takes the numbers under a mask, and no tensor with a gradient.
    Raises ValueError for masked values, TypeError for a tensor that can't be read.
    """
    refuse_masked(values, name)
    if isinstance(values, list | tuple) and _unusual(values):
        return _of_list(values, name)
    return _of_tensor(values, name) if _is_tensor(type(values)) else values


def all_finite(array: Array) -> bool:
    """Return whether every number of a contiguous float array is finite."""
    if array.size > _MANY and _reader is not None:
        read = _reader(array, None, array.dtype)
        if read is not None:
            return read
    # A finite sum of squares is the quick answer; one that overflows proves nothing.
    return math.isfinite(np.vdot(array, array)) or bool(np.isfinite(array).all())


def check_finite(array: Array, name: str, dtype: Any = np.float64) -> None:
    """Raise ValueError, with its place, for NaN, infinity, or a number too large for a dtype."""
    if array.dtype.kind != "f":
        return
    dtype = np.dtype(dtype)
    fits = array.dtype.itemsize <= dtype.itemsize
    if fits and array.size <= _MANY and array.flags.c_contiguous and all_finite(array):
        return
    for rows in chunks(array):
        part = array[rows]
        if _reader is not None and part.size > _MANY and _reader(part, None, dtype):
            continue
        if fits and part.flags.c_contiguous and all_finite(part):
            continue
        with np.errstate(over="ignore"):
            wrong = ~np.isfinite(part if fits else part.astype(dtype))
        if wrong.any():
            value = part.ravel()[np.argmax(wrong)]
            start, *rest = (int(i) for i in np.unravel_index(int(np.argmax(wrong)), part.shape))
            at = ", ".join(map(str, (start + rows.start, *rest)))
            if np.isfinite(value):
                shown = str(value) if part.itemsize > 8 else f"{value:.6g}"  # by way of float64
                raise ValueError(f"{name}[{at}] is {shown}, too large for {dtype}")
            raise ValueError(f"{name}[{at}] is {value}; every number must be finite")


def finite_in(array: Array, name: str, dtype: np.dtype[Any]) -> Array:
    """Return an array in C order and a dtype, as `contiguous` does, checked as by `check_finite`.

    A memory map, which may be larger than the memory, stays as it is.
    """
    as_it_is = array.dtype == dtype and array.flags.c_contiguous and array.flags.aligned
    if _reader is not None and not as_it_is and array.size > _MANY and not is_mapped(array):
        converted = np.empty(array.shape, dtype)
        if _reader(array, converted, dtype):  # both in one pass
            return converted
    check_finite(array, name, dtype)
    return array if as_it_is or is_mapped(array) else contiguous(array, dtype)


def is_mapped(array: Any) -> bool:
    """Return whether an array reads from a memory-mapped file; ``base`` leads back to it."""
    while isinstance(array, np.ndarray):
        array = array.base
    if array is None:
        return False
    from mmap import mmap  # seldom needed: most arrays own their numbers

    return isinstance(array, mmap)


def chunks(array: Array) -> Iterator[slice]:
    """Yield slices of rows that together are all of an array, none of them large."""
    rows = max(1, _CHUNK // max(1, array[0].size))
    for start in range(0, len(array), rows):
        yield slice(start, start + rows)


def _place(wrong: NDArray[np.bool_]) -> str:
    place = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
    return ", ".join(str(int(i)) for i in place)


def _as_array(values: Any, name: str) -> Array:
    if isinstance(values, np.ndarray):
        refuse_masked(values, name)
        return np.asarray(values)  # a sub-class, such as np.matrix, as the numbers that it holds
    if isinstance(values, int | float | np.generic):
        return np.asarray(values)
    if isinstance(values, list | tuple):
        return _of_list(values, name)
    if _is_tensor(type(values)):
        return _of_tensor(values, name)
    return _of_frame(values, name)


def _of_list(values: list[Any] | tuple[Any, ...], name: str) -> Array:
    if unusual := _unusual(values):
        values = [
            _as_array(item, f"{name}[{i}]") if type(item) in unusual else item
            for i, item in enumerate(values)
        ]
    try:
        return np.array(values)
    except ValueError as error:
        raise ValueError(f"{name} is not rectangular: {error}") from None
    except Exception as error:  # of an object in the list, as it is turned into a number
        raise _unreadable(values, name, error) from None


def _unusual(values: list[Any] | tuple[Any, ...]) -> set[type]:
    """Return the classes of items that may not be what NumPy takes them for."""
    return {t for t in set(map(type, values)) if issubclass(t, np.ndarray) or _is_tensor(t)}


def _is_tensor(kind: type) -> bool:
    """Return whether a class is PyTorch's; without importing it, for no tensor exists before."""
    torch = sys.modules.get("torch")
    return torch is not None and issubclass(kind, getattr(torch, "Tensor", ()))


def _of_tensor(tensor: Any, name: str) -> Array:
    """Return the numbers of a tensor, from whichever device, cut off from its gradient."""
    try:
        tensor = tensor.detach()
        if tensor.is_floating_point() and tensor.itemsize < 4:  # NumPy does not have bfloat16
            tensor = tensor.float()
        return np.asarray(tensor.numpy(force=True))
    except Exception as error:  # sparse, on the device "meta", inside torch.func
        raise _unreadable(tensor, name, error) from None


def _of_frame(values: Any, name: str) -> Array:
    import narwhals as nw  # only for those who bring a dataframe

    frame = nw.from_native(values, eager_only=True, allow_series=True, pass_through=True)
    if isinstance(frame, nw.DataFrame):
        for column, dtype in frame.schema.items():
            if not (dtype.is_numeric() or dtype == nw.Boolean):
                raise TypeError(f"{name} column {column!r} has type {dtype}; expected numbers")
        return np.asarray(frame.to_numpy())
    if isinstance(frame, nw.Series):
        return np.asarray(frame.to_numpy())
    try:
        array = np.asanyarray(values)
    except Exception as error:
        raise _unreadable(values, name, error) from None
    return _as_array(array, name)


def _unreadable(values: object, name: str, error: Exception) -> Exception:
    if isinstance(error, MemoryError):
        return error
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return TypeError(
        f"{name} is a {type(values).__name__} that cannot be turned into an array: {reason}"
    )
