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
NAMES = {
    "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "log_loss": "log loss",
    "roc_auc": "ROC AUC", "r2": "R²", "mae": "MAE", "rmse": "RMSE",
}  # fmt: skip


def of_classes(y: NDArray[np.int64], a: NDArray[Any], n_classes: int) -> Measured:
    """Measure probabilities (n, classes) against true classes (n,)."""
    from sklearn import metrics

    a = np.asarray(a, dtype=np.float64)
    a = a / a.sum(axis=1, keepdims=True)
    predicted = a.argmax(axis=1)
    recalls = [float((predicted[y == c] == c).mean()) for c in np.unique(y)]
    measured: Measured = {
        "accuracy": float(metrics.accuracy_score(y, predicted)),
        "balanced_accuracy": float(np.mean(recalls)),
        "log_loss": float(metrics.log_loss(y, a, labels=range(n_classes))),
    }
    if n_classes == 2:
        both = len(np.unique(y)) == 2
        measured["roc_auc"] = float(metrics.roc_auc_score(y, a[:, 1])) if both else None
    return measured


def of_numbers(y: NDArray[np.float64], predicted: NDArray[np.float64]) -> Measured:
    """Measure predicted numbers (n,) against true ones (n,), in the target's own units."""
    errors = predicted - y
    spread = float(np.square(y - y.mean()).sum())
    return {
        "r2": 1 - float(np.square(errors).sum()) / spread if spread else None,
        "mae": float(np.abs(errors).mean()),
        "rmse": math.sqrt(float(np.square(errors).mean())),
    }


def baseline(target: Target, y_train: NDArray[Any], y: NDArray[Any]) -> Measured:
    """Measure the baseline of the training rows on other rows."""
    if target.task == "regress":
        return of_numbers(y, np.full(len(y), y_train.mean()))
    k = len(target.classes)
    shares = np.bincount(y_train, minlength=k) / len(y_train)
    return of_classes(y, np.tile(shares, (len(y), 1)), k)


def measure(target: Target, y: NDArray[Any], outputs: NDArray[Any]) -> Measured:
    """Measure the outputs of a network on rows whose targets are known."""
    if target.task == "regress":
        return of_numbers(y, predicted_numbers(target, outputs))
    return of_classes(y, outputs, len(target.classes))


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
