"""Per sample: sizes and angles of the samples' gradients, from δ and a alone.

The gradient of C_i with respect to W^(l) is the outer product δ_i a_iᵀ, so that

    ‖∂C_i/∂W^(l)‖ = ‖δ_i‖ ‖a_i‖        <∂C_i/∂W^(l), ∂C_m/∂W^(l)> = (δ_i · δ_m)(a_i · a_m)

and a bias counts as one more input that is 1. No gradient of a sample is formed (Goodfellow,
"Efficient per-example gradient computations", arXiv:1510.01799).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
# Many narrow rows are squared and added up together; `vecdot` spends its time from row to row.
_NARROW, _MANY = 32, 1000
_LEAST, _MOST = 1e-180, 1e280  # sums of squares that keep all their digits


def norms(delta: Sequence[Array], a: Sequence[Array], biases: bool) -> Array:
    """Return the norm of the gradient of each C_i over all parameters, (n,)."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        total = _product(delta[0], a[0], biases)
        for delta_l, a_l in zip(delta[1:], a[1:], strict=True):
            total += _product(delta_l, a_l, biases)
        found: Array = np.sqrt(total)
        # the methods min and max of an array take twice the time of a small one
        if np.minimum.reduce(total) > _LEAST and np.maximum.reduce(total) < _MOST:
            return found
        rows = ~((total > _LEAST) & (total < _MOST))
        found[rows] = _scaled([d[rows] for d in delta], [b[rows] for b in a], biases)
    return found


def _product(delta_l: Array, a_l: Array, biases: bool) -> Array:
    """Return ‖δ_i‖² ‖a_i‖² of each sample, (n,), with the 1 of the bias."""
    found = _squares(a_l)
    if biases:
        found += 1
    found *= _squares(delta_l)
    return found


def _squares(rows: Array) -> Array:
    """Return the sum of the squares of each row, (n,)."""
    n, width = rows.shape
    if width == 1:
        return np.square(rows[:, 0])
    if width < _NARROW and n > _MANY:
        found: Array = np.square(rows) @ np.ones(width, dtype=rows.dtype)
        return found
    return np.asarray(np.vecdot(rows, rows))


def _scaled(delta: Sequence[Array], a: Sequence[Array], biases: bool) -> Array:
    """Return the same where a square leaves the range of float64: each row by its largest."""
    total: Array = np.zeros(len(delta[0]))
    for delta_l, a_l in zip(delta, a, strict=True):
        inputs = row_norms(a_l)
        if biases:
            inputs = np.hypot(inputs, 1)
        total = np.hypot(total, row_norms(delta_l) * inputs)
    return total


def row_norms(rows: Array) -> Array:
    """Return the Euclidean norm of each row, (n,), also where squares leave float64's range."""
    size = np.abs(rows).max(axis=1)
    scale = np.where((size > 0) & np.isfinite(size), size, 1)
    with np.errstate(under="ignore"):
        found: Array = np.sqrt(_squares(rows / scale[:, None])) * scale
    return found


def gram(delta: Sequence[Array], a: Sequence[Array], biases: bool) -> Array:
    """Return the inner products of the samples' gradients over all parameters, (n, n)."""
    n = len(delta[0])
    total = np.zeros((n, n))
    for delta_l, a_l in zip(delta, a, strict=True):
        inputs = a_l @ a_l.T
        if biases:
            inputs += 1
        total += (delta_l @ delta_l.T) * inputs
    return total
