"""Rules on arrays, for networks of any library: columns of the input, outputs, losses by sample."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.diagnose.thresholds import (
    BURIED,
    BURIED_SHARE,
    CONSTANT,
    CROWD,
    DEAD_SHARE,
    DOUBTED,
    EXPLAINED,
    FAR,
    OUTLIER,
    RIGHT,
    SURE,
    UNSCALED,
)

Array = NDArray[Any]
_NORMAL = 1.4826  # the standard deviation of normal numbers over their median absolute deviation


def is_fault_of_dead(z: Array, units: list[int]) -> bool:
    """Return whether dead units are a fault, given all z, (observations, units)."""
    if not units:
        return False
    z = np.asarray(z, dtype=np.float64)
    count, own = z.shape[1], z[:, units]
    spread = _NORMAL * float(np.median(np.abs(z - np.median(z))))  # of most units of the layer
    buried = int((own.max(axis=0) < -BURIED * spread).sum())
    return len(units) >= DEAD_SHARE * count or buried >= BURIED_SHARE * count


def unscaled(X: Array) -> list[tuple[int, float]]:
    """Return the columns, (n, columns), that are far from standardised, with their size."""
    sizes = np.sqrt(np.square(np.asarray(X, dtype=np.float64)).mean(axis=0))
    return [(j, float(sizes[j])) for j in np.flatnonzero(sizes > UNSCALED).tolist()]


def is_constant(outputs: Array, X: Array | None) -> bool:
    """Return whether all samples have the same output, (n, ...), though their inputs differ."""
    flat = np.asarray(outputs, dtype=np.float64).reshape(len(outputs), -1)
    if len(flat) < 2 or not np.isfinite(flat).all():
        return False
    if X is not None and (np.asarray(X) == np.asarray(X)[:1]).all():
        return False
    size = float(np.sqrt(np.square(flat).mean()))
    return float(np.abs(flat - flat[:1]).max()) <= CONSTANT * size


def suspect_classes(probabilities: Array, labels: Array) -> list[tuple[int, int, float, float]]:
    """Return the samples whose label a good model contradicts: (sample, class, its p, label's p).

    ``probabilities`` is (n, classes), ``labels`` (n,).
    """
    n = len(labels)
    if n < CROWD:
        return []
    best = probabilities.argmax(axis=1)
    if (best == labels).mean() < RIGHT:
        return []
    chosen = probabilities[np.arange(n), best]
    given = probabilities[np.arange(n), labels]
    at = np.flatnonzero((best != labels) & (chosen >= SURE) & (given <= DOUBTED))
    found = [(int(i), int(best[i]), float(chosen[i]), float(given[i])) for i in at]
    return sorted(found, key=lambda each: each[3])


def _falls_short(outputs: Array, targets: Array) -> Array:
    """Return where a target is not an outlier among targets, and the output lies on its side, (n,).

    A model that has not learned all stays too near the middle where targets are far from it.
    """
    middle = float(np.median(targets))
    aside = targets - middle
    spread = _NORMAL * float(np.median(np.abs(aside)))
    own = (outputs - middle) * np.sign(aside)
    return (np.abs(aside) <= OUTLIER * spread) & (own >= 0) & (own <= np.abs(aside))


def suspect_numbers(outputs: Array, targets: Array) -> list[tuple[int, float, float]]:
    """Return the samples far from a good fit: (sample, output, target); arrays are (n,)."""
    n = len(targets)
    residual = targets - outputs
    middle = float(np.median(residual))
    spread = _NORMAL * float(np.median(np.abs(residual - middle)))
    if n < CROWD or not spread:
        return []
    distance = np.abs(residual - middle)
    far = distance > OUTLIER * spread
    rest = ~far
    variance = float(np.var(targets[rest])) if rest.sum() >= CROWD else 0.0
    if not variance or float(np.square(residual[rest]).mean()) > (1 - EXPLAINED) * variance:
        return []
    far &= distance > FAR * variance**0.5
    far &= ~_falls_short(outputs, targets)
    order = sorted(np.flatnonzero(far).tolist(), key=lambda i: -distance[i])
    return [(i, float(outputs[i]), float(targets[i])) for i in order]
