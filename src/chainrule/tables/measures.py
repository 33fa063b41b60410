"""Measures: how good a model is on rows that it has not seen, beside a baseline without inputs.

For classes, the baseline predicts the largest class of the training rows, with the shares of the
classes as probabilities; for a number, it predicts the mean of the training rows.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.tables.schema import Target

Measured = dict[str, float | None]
Weight = NDArray[np.float64] | None  # of each row
NAMES = {
    "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "log_loss": "log loss",
    "roc_auc": "ROC AUC", "r2": "R²", "mae": "MAE", "rmse": "RMSE",
}  # fmt: skip


def of_classes(
    y: NDArray[np.int64], a: NDArray[Any], n_classes: int, weight: Weight = None
) -> Measured:
    """Measure probabilities (n, classes) against true classes (n,), with the weights of rows."""
    a = np.asarray(a, dtype=np.float64)
    a = a / a.sum(axis=1, keepdims=True)
    predicted = a.argmax(axis=1)
    counted = np.ones(len(y)) if weight is None else weight
    found = [c for c in np.unique(y) if counted[y == c].any()]
    recalls = [float(np.average(predicted[y == c] == c, weights=counted[y == c])) for c in found]
    measured: Measured = {
        "accuracy": float(np.average(predicted == y, weights=counted)),
        "balanced_accuracy": float(np.mean(recalls)),
        "log_loss": _log_loss(y, a, counted),
    }
    if n_classes == 2:
        measured["roc_auc"] = None
        if len(found) == 2:
            measured["roc_auc"] = _roc_auc(y, a[:, 1], counted)
    return measured


def _log_loss(y: NDArray[np.int64], a: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    """Return the mean of -ln of the probability of the true class, kept off 0 as rounding is."""
    tiny = np.finfo(np.float64).eps
    of_class = np.clip(a[np.arange(len(y)), y], tiny, 1 - tiny)
    return float(np.average(-np.log(of_class), weights=weight))


def _roc_auc(y: NDArray[np.int64], a: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    """Return the share of pairs of a row of class 1 and one of class 0 in which the first is above.

    Ties count half (Hanley and McNeil, 1982).
    """
    _, place = np.unique(a, return_inverse=True)
    ones, zeros = (np.bincount(place, weight * (y == c)) for c in (1, 0))
    below = np.cumsum(zeros) - zeros / 2
    return float((ones * below).sum() / (ones.sum() * zeros.sum()))


def of_numbers(
    y: NDArray[np.float64], predicted: NDArray[np.float64], weight: Weight = None
) -> Measured:
    """Measure predicted numbers (n,) against true ones (n,), in the target's own units."""
    errors = predicted - y
    spread = float(np.average(np.square(y - np.average(y, weights=weight)), weights=weight))
    squared = float(np.average(np.square(errors), weights=weight))
    return {
        "r2": 1 - squared / spread if spread else None,
        "mae": float(np.average(np.abs(errors), weights=weight)),
        "rmse": math.sqrt(squared),
    }


def baseline(
    target: Target,
    y_train: NDArray[Any],
    y: NDArray[Any],
    weight_train: Weight = None,
    weight: Weight = None,
) -> Measured:
    """Measure the baseline of the training rows on other rows."""
    if target.task == "regress":
        mean = np.average(y_train, weights=weight_train)
        return of_numbers(y, np.full(len(y), mean), weight)
    k = len(target.classes)
    shares = np.bincount(y_train, weight_train, minlength=k)
    return of_classes(y, np.tile(shares / shares.sum(), (len(y), 1)), k, weight)


def measure(
    target: Target, y: NDArray[Any], outputs: NDArray[Any], weight: Weight = None
) -> Measured:
    """Measure the outputs of a network on rows whose targets, and perhaps weights, are known."""
    if target.task == "regress":
        return of_numbers(y, predicted_numbers(target, outputs), weight)
    return of_classes(y, outputs, len(target.classes), weight)


def predicted_numbers(target: Target, outputs: NDArray[Any]) -> NDArray[np.float64]:
    """Return the network's standardised outputs, (n, 1), in the target's own units, (n,)."""
    return np.asarray(outputs[:, 0], dtype=np.float64) * target.scale + target.mean


def lines(measured: Measured, beside: Measured, whose: str) -> list[str]:
    """Return the measures of a model and of the baseline, side by side, as lines of text."""
    rows = [("", "model", whose)]
    rows += [(NAMES[name], text(value), text(beside.get(name))) for name, value in measured.items()]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return [
        f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}".rstrip()
        for row in rows
    ]


def text(value: float | None) -> str:
    """Return a measure with four decimals, or a large one with six digits."""
    return "-" if value is None else f"{value:.4f}" if abs(value) < 100 else f"{value:,.6g}"
