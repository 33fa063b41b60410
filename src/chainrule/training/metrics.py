"""Metrics: what is measured beside the loss.

A metric is a name, or a function of yours ``(y_true, y_pred) -> float``: ``y_pred`` are the outputs
a^(L), (n, units_L), ``y_true`` the targets as they were given, integer classes (n,) or rows
(n, units_L). The named ones honour sample weights, as weighted means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.equations import data
from chainrule.equations.losses import BinaryCrossEntropy, CrossEntropy

if TYPE_CHECKING:
    from chainrule.equations.data import Samples
    from chainrule.equations.feedforward import FeedForward

Array = NDArray[Any]
Weights = NDArray[np.float64] | None
Metric = Callable[[Array, Array], float]
Measure = Callable[[Array, Array, Weights], float]  # (y, a, sample weights)

_COLUMNS = {"epoch", "loss", "val_loss", "learning_rate", "seconds"}


def accuracy(y: Array, a: Array, weights: Weights = None) -> float:
    """Return the share of samples whose class is right.

    The class is that of the largest output, or 1 where a >= ½ for a single output.
    """
    if a.shape[1] == 1:
        return label_accuracy(y, a, weights)
    right = a.argmax(axis=1) == (y if y.ndim == 1 else np.asarray(y).argmax(axis=1))
    return float(np.average(right, weights=weights))


def label_accuracy(y: Array, a: Array, weights: Weights = None) -> float:
    """Return the share of outputs on the right side of ½, each output being a label of its own."""
    right = (a >= 0.5) == (np.asarray(y) >= 0.5)
    return float(np.average(right.mean(axis=1), weights=weights))


def mean_squared_error(y: Array, a: Array, weights: Weights = None) -> float:
    """Return the mean of (a - y)² over samples and outputs."""
    return float(np.average(np.square(_errors(y, a)).mean(axis=1), weights=weights))


def mean_absolute_error(y: Array, a: Array, weights: Weights = None) -> float:
    """Return the mean of |a - y| over samples and outputs."""
    return float(np.average(np.abs(_errors(y, a)).mean(axis=1), weights=weights))


def r2(y: Array, a: Array, weights: Weights = None) -> float:
    """Return R² = 1 - Σ(a - y)² / Σ(y - ȳ)², averaged over outputs.

    Where y does not vary R² is 1 if a is exactly y, else 0.
    """
    errors = _errors(y, a)
    y = data.one_hot(y, a.shape[1], np.float64)
    left = np.average(np.square(errors), axis=0, weights=weights)
    from_mean = y - np.average(y, axis=0, weights=weights)
    spread = np.average(np.square(from_mean), axis=0, weights=weights)
    explained = 1 - left / np.where(spread > 0, spread, 1)
    return float(np.where(spread > 0, explained, left == 0).mean())


_MEASURES: dict[str, Measure] = {
    f.__name__: f for f in (accuracy, mean_squared_error, mean_absolute_error, r2)
}
HIGHER_IS_BETTER = {name: name in ("accuracy", "r2") for name in _MEASURES}


def choose(
    metrics: Sequence[str | Metric] | None, network: FeedForward, samples: Sequence[Samples]
) -> dict[str, Measure]:
    """Return what to measure, by column name; None means accuracy for cross-entropies.

    Raises ValueError for an unknown or doubled name, or for accuracy where y does not hold classes,
    TypeError for what is neither a name nor a function.
    """
    entropies = (CrossEntropy, BinaryCrossEntropy)
    if metrics is None:
        if not isinstance(network.loss, entropies):
            return {}
        metrics = ["accuracy"]
    if isinstance(metrics, str) or not isinstance(metrics, Sequence):
        raise TypeError(f"metrics must be a list such as ['accuracy'], got {metrics!r}")
    chosen: dict[str, Measure] = {}
    for metric in metrics:
        name, measure = _one(metric)
        if name in chosen or name in _COLUMNS:
            raise ValueError(f"metrics: the name {name!r} is taken; each needs one of its own")
        chosen[name] = measure
    if chosen.get("accuracy") is accuracy:
        if isinstance(network.loss, BinaryCrossEntropy) and samples[0].y.ndim == 2:
            chosen["accuracy"] = label_accuracy
        elif not isinstance(network.loss, entropies):
            for part in samples:
                if data.classes(part.y, network.sizes[-1]) is None:
                    raise ValueError(
                        f"metrics: accuracy after the loss {network.loss.name!r} needs integer or "
                        "one-hot classes, or 0 and 1 for one output; y has other numbers"
                    )
    return chosen


def _one(metric: object) -> tuple[str, Measure]:
    if isinstance(metric, str):
        if metric not in _MEASURES:
            known = ", ".join(_MEASURES)
            raise ValueError(f"unknown metric {metric!r}; known: {known}; or give a function")
        return metric, _MEASURES[metric]
    if not callable(metric) or isinstance(metric, type):
        raise TypeError(
            f"a metric is a name or a function (y_true, y_pred) -> float, got {metric!r}"
        )
    name = str(getattr(metric, "__name__", type(metric).__name__))

    def measure(y: Array, a: Array, weights: Weights) -> float:
        value = metric(y, a)
        try:
            return float(value)
        except (TypeError, ValueError):
            raise TypeError(f"metric {name!r} returned {value!r}; expected a number") from None

    return name, measure


def _errors(y: Array, a: Array) -> Array:
    return np.asarray(a, dtype=np.float64) - data.one_hot(y, a.shape[1], np.float64)
