"""Data: what a user hands in, checked against a network, or one clear error.

What is accepted as an array, `chainrule.equations.arrays` says.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.equations.arrays import (
    check_finite,
    chunks,
    contiguous,
    finite_in,
    numeric,
)
from chainrule.equations.checks import not_negative
from chainrule.equations.losses import Loss

Array = NDArray[Any]
_PIECE = 1024  # samples whose activations stay in the cache of a core
_RANGE = 1e300  # by which the largest weight may exceed the smallest


@dataclass(frozen=True)
class Samples:
    """Checked samples: ``X`` (n, units_0), ``y`` (n, units_L) or integer classes (n,), weights.

    Only the ratios of weights count; see `ratios`.
    """

    X: Array
    y: Array
    weights: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return int(self.X.shape[0])

    @property
    def weight(self) -> float:
        """The sum of the weights, or the number of samples without them."""
        return float(len(self) if self.weights is None else self.weights.sum())

    def some(self, index: Any) -> Samples:
        """Return some of the samples, as they are."""
        weights = None if self.weights is None else self.weights[index]
        return Samples(self.X[index], self.y[index], weights)

    def at(self, places: NDArray[np.int64]) -> tuple[Samples, NDArray[np.int64]]:
        """Return samples that have those at some places, and the places there: these themselves."""
        return self, places

    def rows(self, index: Any, units: int, dtype: Any) -> tuple[Array, Array, Array | None]:
        """Return X and y (classes as one-hot rows) of some samples, and their weights."""
        X = contiguous(self.X[index], dtype)
        y = one_hot(self.y[index], units, dtype)
        return X, y, None if self.weights is None else self.weights[index]


def pieces(n: int) -> Iterator[slice]:
    """Cut n samples into the pieces that are carried through the layers in one go."""
    return (slice(start, start + _PIECE) for start in range(0, n, _PIECE))


def one_hot(y: Array, units: int, dtype: Any) -> Array:
    """Return targets as rows (n, units): integer classes (n,) as one-hot, rows as they are."""
    if y.ndim == 2:
        return contiguous(y, dtype)
    rows = np.zeros((len(y), units), dtype=dtype)
    rows[np.arange(len(y)), y] = 1
    return rows


def inputs(
    X: ArrayLike, units: int, dtype: Any = np.float64, name: str = "X", converted: bool = False
) -> Array:
    """Return the inputs as an array (n, units); a 1-D x of that many numbers is one sample.

    It keeps its dtype, or is ``converted``; a memory map keeps it in any case.

    Raises ValueError for another shape, no samples, masked values, NaN, infinity, or a number too
    large for the dtype that it will be computed in; TypeError for what is not numeric.
    """
    array = numeric(X, name)
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
    if converted:
        return finite_in(array, name, dtype)
    check_finite(array, name, dtype)
    return array


def targets(
    y: ArrayLike,
    n_samples: int,
    units: int,
    loss: Loss,
    dtype: Any = np.float64,
    name: str = "y",
    converted: bool = False,
) -> Array:
    """Return the targets as float rows (n, units), or integer classes (n,) where y was that.

    Rows keep their dtype, or are ``converted``; a memory map keeps it in any case.

    Raises ValueError for another shape or length, classes out of range, masked values, or numbers
    that the loss or the dtype can't take; TypeError for what is not numeric.
    """
    array = numeric(y, name, "; np.unique(y, return_inverse=True) gives classes of words")
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
    found = finite_in(array, name, dtype) if converted else array
    if not converted:
        check_finite(array, name, dtype)
    if type(loss).check_targets is not Loss.check_targets:
        for rows in chunks(array):
            loss.check_targets(np.asarray(array[rows], dtype=np.float64))
    return found


def weights(sample_weight: ArrayLike | None, n_samples: int) -> NDArray[np.float64] | None:
    """Return the sample weights as float64 (n,), or None; of what they are, the ratios (`ratios`).

    Raises ValueError for another shape, a negative weight, NaN, infinity, a sum of 0, or weights
    that are further apart than floating-point numbers can be weighed against each other.
    """
    if sample_weight is None:
        return None
    array = numeric(sample_weight, "sample_weight")
    if array.shape != (n_samples,):
        raise ValueError(f"sample_weight has shape {array.shape}; expected ({n_samples},)")
    check_finite(array, "sample_weight")
    if (array < 0).any():
        i = int(np.argmax(array < 0))
        raise ValueError(f"sample_weight[{i}] is {array[i]:.6g}; weights are 0 or more")
    if not array.any():
        raise ValueError("sample_weight is 0 for every sample; at least one must count")
    return ratios(array, "sample_weight")[0]


def ratios(weights: Array, name: str) -> tuple[NDArray[np.float64], float]:
    """Return weights w as w / u, and u: the power of 2 that brings the largest into [1, 2).

    A mean takes no more than their ratios, which stay what they are, to the bit; and neither the
    sum of weights nor their product with a loss can overflow or lose digits any more.
    Raises ValueError where weights differ by more than a factor of 1e300.
    """
    weights = weights.astype(np.result_type(weights, np.float64))
    size = np.abs(weights)
    largest = size.max()
    if largest == 0 or not np.isfinite(largest):
        return weights.astype(np.float64), 1.0
    exponent = int(np.frexp(largest)[1]) - 1
    scaled = np.ldexp(weights, -exponent).astype(np.float64)
    lost = (size > 0) & (np.abs(scaled) < 1 / _RANGE)
    if lost.any():
        small, large = int(np.argmax(lost)), int(np.argmax(size))
        raise ValueError(
            f"{name}[{small}] is {weights[small]:.6g}, {name}[{large}] is {weights[large]:.6g}; "
            f"weights may differ by a factor of up to {_RANGE:g} (0 leaves a sample out)"
        )
    return scaled, math.ldexp(1.0, exponent)


def multiplied(
    a: NDArray[np.float64] | None, b: NDArray[np.float64], name: str
) -> tuple[NDArray[np.float64], float]:
    """Return the products of two weights of each sample, either of which may be missing."""
    b, unit = ratios(b, name)
    if a is None:
        return b, unit
    a, other = ratios(a, name)
    product = a * b
    lost = (product == 0) & (a != 0) & (b != 0)
    if lost.any():
        i = int(np.argmax(lost))
        raise ValueError(
            f"{name}[{i}] is {a[i]:.6g} · {b[i]:.6g} of the largest, which is too small to count; "
            "make it 0"
        )
    found, own = ratios(product, name)
    return found, unit * other * own


def classes(y: Array, units: int) -> NDArray[np.int64] | None:
    """Return the class of each sample, (n,), or None where checked targets are numbers.

    Classes are integers (n,), one-hot rows, or 0 and 1 for a single output.
    """
    if y.ndim == 1:
        return y
    found = np.empty(len(y), dtype=np.int64)
    for rows in chunks(y):
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
    """Assign each sample the weight of its class, (n,).

    A dict gives the weights, 1 for classes that it does not name; "balanced" weighs each class by
    n / (number of classes in y · samples of the class), so that all count the same.

    Raises ValueError where y does not hold classes, for a class that the network lacks, and for
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
    dtype: Any = np.float64,
    converted: bool = False,
) -> Samples:
    """Check X, y and weights against a network's sizes and loss; see `inputs`, `targets`."""
    X = inputs(X, sizes[0], dtype, converted=converted)
    n = X.shape[0]
    y = targets(y, n, sizes[-1], loss, dtype, converted=converted)
    return Samples(X, y, weights(sample_weight, n))


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
    return contiguous(array, np.int64)


def _is_class(key: object) -> bool:
    return isinstance(key, int | np.integer) and not isinstance(key, bool)
