"""Data: what a user hands in, turned into arrays, or into one clear error.

Accepted: NumPy arrays and memory maps, anything that NumPy can make an array of, and dataframes
and series of pandas, Polars and PyArrow (through narwhals).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.equations.checks import not_negative
from chainrule.equations.losses import Loss

Array = NDArray[Any]
_CHUNK = 1 << 22  # numbers looked at in one go, so that a memory map is never loaded whole


@dataclass(frozen=True)
class Samples:
    """Checked samples: ``X`` (n, units_0), ``y`` (n, units_L) or integer classes (n,), weights."""

    X: Array
    y: Array
    weights: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return int(self.X.shape[0])

    def rows(self, index: Any, units: int, dtype: Any) -> tuple[Array, Array, Array | None]:
        """Give X, y (classes as one-hot rows) and weights of some samples in a dtype."""
        X = np.asarray(self.X[index], dtype=dtype)
        y = one_hot(self.y[index], units, dtype)
        weights = None if self.weights is None else self.weights[index].astype(dtype)
        return X, y, weights


def in_dtype(array: Array, dtype: np.dtype[Any], name: str = "X") -> Array:
    """Give an array in C order and a dtype: as it is where it is so already, else one copy.

    A memory map, which may be larger than the memory, stays as it is; `Samples.rows` converts it.
    Raises ValueError for a number that is too large for the dtype.
    """
    if is_mapped(array):
        return array
    with np.errstate(over="ignore"):
        converted = np.ascontiguousarray(array, dtype=dtype)
    if array.dtype.kind == "f" and array.dtype.itemsize > dtype.itemsize:
        finite = np.isfinite(converted)
        if not finite.all():
            place = np.unravel_index(int(np.argmin(finite)), array.shape)
            index = ", ".join(str(int(i)) for i in place)
            raise ValueError(f"{name}[{index}] is {array[place]:.6g}, too large for {dtype}")
    return converted


def one_hot(y: Array, units: int, dtype: Any) -> Array:
    """Give targets as rows (n, units): integer classes (n,) as one-hot, rows as they are."""
    if y.ndim == 2:
        return np.asarray(y, dtype=dtype)
    rows = np.zeros((len(y), units), dtype=dtype)
    rows[np.arange(len(y)), y] = 1
    return rows


def inputs(X: ArrayLike, units: int, name: str = "X") -> Array:
    """Give the inputs as an array (n, units); a 1-D x of that many numbers is one sample.

    Raises ValueError for another shape, no samples, NaN or infinity; TypeError for what is not
    numeric.
    """
    array = _numeric(X, name)
    if array.ndim == 1:
        if array.shape[0] != units:
            raise ValueError(
                f"{name} is 1-D with {array.shape[0]} numbers; one sample of this network has "
                f"{units}" + (f" (for many samples: {name}.reshape(-1, 1))" if units == 1 else "")
            )
        array = array[None, :]
    if array.ndim != 2:
        raise ValueError(f"{name} has shape {array.shape}; expected (samples, {units})")
    if array.shape[0] == 0:
        raise ValueError(f"{name} has zero samples")
    if array.shape[1] != units:
        raise ValueError(f"{name} has {array.shape[1]} columns, the network expects {units}")
    _check_finite(array, name)
    return array


def targets(y: ArrayLike, n_samples: int, units: int, loss: Loss, name: str = "y") -> Array:
    """Give the targets as float rows (n, units), or integer classes (n,) where y was that.

    Raises ValueError for another shape or length, classes out of range, or numbers that the loss
    can't take; TypeError for what is not numeric.
    """
    array = _numeric(y, name, "; np.unique(y, return_inverse=True) gives classes of words")
    if array.ndim == 0:
        array = array[None]
    if array.ndim == 1 and n_samples == 1 and len(array) == units and units > 1:
        array = array[None, :]  # the target of one sample
    if array.shape[0] != n_samples:
        raise ValueError(f"{name} has {array.shape[0]} samples, X has {n_samples}")
    if array.ndim == 1 and units == 1:
        array = array[:, None]
    if array.ndim == 1:
        return _classes(array, units, name)
    if array.ndim != 2 or array.shape[1] != units:
        raise ValueError(
            f"{name} has shape {array.shape}; expected ({n_samples}, {units})"
            + (", or integer classes of shape (samples,)" if units > 1 else "")
        )
    _check_finite(array, name)
    for rows in _chunks(array):
        loss.check_targets(np.asarray(array[rows], dtype=np.float64))
    return array


def weights(sample_weight: ArrayLike | None, n_samples: int) -> NDArray[np.float64] | None:
    """Give the sample weights as float64 (n,), or None.

    Raises ValueError for another shape, a negative weight, NaN, infinity, or a sum of 0.
    """
    if sample_weight is None:
        return None
    array = np.array(_numeric(sample_weight, "sample_weight"), dtype=np.float64)
    if array.shape != (n_samples,):
        raise ValueError(f"sample_weight has shape {array.shape}; expected ({n_samples},)")
    _check_finite(array, "sample_weight")
    if (array < 0).any():
        i = int(np.argmax(array < 0))
        raise ValueError(f"sample_weight[{i}] is {array[i]:.6g}; weights are 0 or more")
    if not array.any():
        raise ValueError("sample_weight is 0 for every sample; at least one must count")
    return array


def classes(y: Array, units: int) -> NDArray[np.int64] | None:
    """Give the class of each sample, (n,), or None where checked targets are no classes.

    Classes are integers (n,), one-hot rows, or 0 and 1 for a single output.
    """
    if y.ndim == 1:
        return y
    found = np.empty(len(y), dtype=np.int64)
    for rows in _chunks(y):
        part = np.asarray(y[rows])
        if not ((part == 0) | (part == 1)).all():
            return None
        if units > 1 and (np.count_nonzero(part, axis=1) != 1).any():
            return None
        found[rows] = part[:, 0] if units == 1 else part.argmax(axis=1)
    return found


def class_weights(
    class_weight: Mapping[int, float] | Literal["balanced"], y: Array, units: int
) -> NDArray[np.float64]:
    """Give each sample the weight of its class, (n,).

    A dict gives the weights, 1 for classes that it does not name; "balanced" weighs each class by
    n / (number of classes in y · samples of the class), so that all count the same.

    Raises ValueError where y are no classes, for a class that the network does not have, and for
    weights below 0; TypeError for anything that is neither a dict nor "balanced".
    """
    balanced = isinstance(class_weight, str) and class_weight == "balanced"
    if not balanced and not isinstance(class_weight, Mapping):
        raise TypeError(f"class_weight must be a dict or 'balanced', got {class_weight!r}")
    of_sample = classes(y, units)
    if of_sample is None:
        need = "integer or one-hot classes" if units > 1 else "the classes 0 and 1"
        raise ValueError(f"class_weight needs {need} as y; y has other numbers")
    count = max(units, 2)  # a single output has classes 0 and 1
    weight = np.ones(count)
    if isinstance(class_weight, Mapping):
        for key, value in class_weight.items():
            if not _is_class(key):
                raise TypeError(f"class_weight: classes are integers, got {key!r}")
            if not 0 <= key < count:
                raise ValueError(
                    f"class_weight names class {key}; the network has classes 0 to {count - 1}"
                )
            not_negative(value, f"class_weight[{key}]")
            weight[key] = value
    else:
        members = np.bincount(of_sample, minlength=count)
        weight = len(y) / (np.count_nonzero(members) * np.maximum(members, 1))
    return weight[of_sample]


def samples(
    X: ArrayLike,
    y: ArrayLike,
    sizes: tuple[int, ...],
    loss: Loss,
    sample_weight: ArrayLike | None = None,
) -> Samples:
    """Check X, y and weights against a network's sizes and loss; see `inputs`, `targets`."""
    X = inputs(X, sizes[0])
    n = X.shape[0]
    return Samples(X, targets(y, n, sizes[-1], loss), weights(sample_weight, n))


def _classes(array: Array, units: int, name: str) -> Array:
    if array.dtype.kind not in "iub":
        raise ValueError(
            f"{name} has shape {array.shape} and dtype {array.dtype}; a network of {units} outputs "
            f"expects integer classes ({name}.astype(int)), or rows of shape (samples, {units})"
        )
    wrong = (array < 0) | (array >= units)
    if wrong.any():
        i = int(np.argmax(wrong))
        raise ValueError(
            f"{name}[{i}] is class {array[i]}; {units} outputs have classes 0 to {units - 1}"
        )
    return np.ascontiguousarray(array, dtype=np.int64)


def _numeric(values: ArrayLike, name: str, of_words: str = "") -> Array:
    if isinstance(values, np.ndarray):
        array = values
    elif isinstance(values, list | tuple | int | float | np.generic):
        try:
            array = np.array(values)
        except ValueError as error:
            raise ValueError(f"{name} is not rectangular: {error}") from None
    else:
        array = _from_frame(values, name)
    if array.dtype.kind not in "fiub":
        hint = of_words if array.dtype.kind in "UST" else ""
        raise TypeError(f"{name} has dtype {array.dtype}; expected numbers{hint}")
    return array


def _from_frame(values: Any, name: str) -> Array:
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
        return np.asarray(values)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} is a {type(values).__name__}; no array: {error}") from None


def _is_class(key: object) -> bool:
    return isinstance(key, int | np.integer) and not isinstance(key, bool)


def is_mapped(array: Any) -> bool:
    """Tell whether an array reads from a memory-mapped file; ``base`` leads back to it."""
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, mmap.mmap)


def _chunks(array: Array) -> Iterator[slice]:
    rows = max(1, _CHUNK // max(1, array[0].size))
    for start in range(0, len(array), rows):
        yield slice(start, start + rows)


def _check_finite(array: Array, name: str) -> None:
    if array.dtype.kind != "f":
        return
    for rows in _chunks(array):
        part = array[rows]
        finite = np.isfinite(part)
        if not finite.all():
            place = np.unravel_index(int(np.argmin(finite)), part.shape)
            index = ", ".join(str(int(i)) for i in (place[0] + rows.start, *place[1:]))
            raise ValueError(f"{name}[{index}] is {part[place]}; every number must be finite")
