"""Results: what a network makes of its data, as numbers to draw."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from chainrule import engines
from chainrule.equations.feedforward import FeedForward
from chainrule.explorer.protocol.replies import ResultsView
from chainrule.explorer.view import number, row
from chainrule.teach import inputs
from chainrule.teach.datasets import Dataset

Array = NDArray[Any]
Kind = Literal["surface", "fit", "confusion", "none"]
_SIDE = 50  # cells of a decision surface, on each side
_POINTS = 400  # samples drawn
_JUDGED = 2000  # samples whose classes are predicted and compared
_IMAGES = 40  # samples shown below the confusion matrix


def kind_of(network: FeedForward, dataset: Dataset) -> Kind:
    """Return the kind of picture that suits: "surface", "fit", "confusion" or "none"."""
    if dataset.given == 2 and (network.sizes[-1] == 1 or dataset.classes == 2):
        return "surface"
    if dataset.classes > 1:
        return "confusion"
    return "fit" if network.sizes[-1] == 1 else "none"


def results(network: FeedForward, dataset: Dataset, points: bool) -> ResultsView:
    """Return the numbers of the picture that suits; the samples too if ``points``."""
    kind = kind_of(network, dataset)
    outputs = engines.predict(network, dataset.X[:_JUDGED]) if kind == "confusion" else None
    view: ResultsView = {
        "kind": "results", "type": kind, "box": [], "grid": [], "points": [],
        "validation": [], "matrix": [], "samples": [], "images": [],
        "accuracy": accuracy(network, dataset, outputs), "levels": levels(network, dataset),
    }  # fmt: skip
    if kind == "surface":
        _surface(view, network, dataset, points)
    elif kind == "fit":
        view["points"] = _pairs(network, dataset.X[:_POINTS], dataset.y[:_POINTS])
    elif outputs is not None:
        _confusion(view, outputs, dataset, points)
    return view


def accuracy(network: FeedForward, dataset: Dataset, outputs: Array | None = None) -> float | None:
    """Return the share of samples with the right class: for validation, if there are some.

    ``outputs`` are those of the training samples, if they are known.
    """
    if not dataset.classes:
        return None
    X, y = dataset.X, dataset.y
    if len(dataset.X_val):
        X, y, outputs = dataset.X_val, dataset.y_val, None
    if outputs is None:
        outputs = engines.predict(network, X[:_JUDGED])
    return float((classes(outputs) == classes(y[:_JUDGED])).mean())


def classes(y: Array) -> Array:
    """Return the class of each target or prediction."""
    if y.shape[1] == 1:
        return (y[:, 0] >= 0.5).astype(int)
    return np.argmax(y, axis=1)


def levels(network: FeedForward, dataset: Dataset) -> list[float]:
    """Return the output drawn as the lowest, the boundary between classes, and the highest."""
    if dataset.classes:
        return [0.0, 0.5, 1.0]
    low, high = float(dataset.y.min()), float(dataset.y.max())
    return [low, (low + high) / 2, high]


def _surface(view: ResultsView, network: FeedForward, dataset: Dataset, points: bool) -> None:
    (x0, x1, y0, y1), over = plane(dataset, _SIDE)
    grid = _height(engines.predict(network, over))
    view["box"] = [x0, x1, y0, y1]
    rounded: Any = np.round(grid.astype(np.float64), 5).reshape(_SIDE, _SIDE)
    whole = bool(np.isfinite(rounded).all())
    view["grid"] = rounded.tolist() if whole else [row(line) for line in rounded]
    if points:
        view["points"] = _placed(dataset.X[:, :2], dataset.y[:, -1:])
        view["validation"] = _placed(dataset.X_val[:, :2], dataset.y_val[:, -1:])


def _height(outputs: Array) -> Array:
    """Return the one output; of two classes the second's, above 0.5 where it is the larger."""
    if outputs.shape[1] == 1:
        return outputs[:, 0]
    return 0.5 + (outputs[:, 1] - outputs[:, 0]) / 2  # after softmax a_1 itself


def plane(dataset: Dataset, side: int) -> tuple[tuple[float, float, float, float], Array]:
    """Return the box around samples of two inputs, and the middles of side² cells in it.

    The box is (x0, x1, y0, y1); the cells are row by row from the top, with the derived inputs,
    (side², units_0).
    """
    X = dataset.X[:, :2]
    low, high = X.min(axis=0), X.max(axis=0)
    margin = 0.15 * np.maximum(high - low, 1e-3)
    (x0, y0), (x1, y1) = (low - margin).tolist(), (high + margin).tolist()
    cells = (np.arange(side) + 0.5) / side
    across, down = np.meshgrid(x0 + cells * (x1 - x0), y1 + cells * (y0 - y1))
    middles = np.stack([across.ravel(), down.ravel()], axis=1)
    return (x0, x1, y0, y1), inputs.expand(middles, dataset.derived)


def _placed(X: Array, y: Array) -> list[Any]:
    """Return (x0, x1, y) of each sample."""
    return [row(r) for r in np.concatenate([X, y], axis=1)[:_POINTS]]


def _pairs(network: FeedForward, X: Array, y: Array) -> list[Any]:
    """Return (true, predicted) of each sample."""
    return [
        [number(t), number(p)]
        for t, p in zip(y[:, 0], engines.predict(network, X)[:, 0], strict=True)
    ]


def _confusion(view: ResultsView, outputs: Array, dataset: Dataset, points: bool) -> None:
    true = classes(dataset.y[:_JUDGED])
    predicted = classes(outputs)
    matrix = np.zeros((dataset.classes, dataset.classes), dtype=int)
    np.add.at(matrix, (true, predicted), 1)
    view["matrix"] = matrix.tolist()
    wrong = np.flatnonzero(true != predicted)[: _IMAGES // 2]
    chosen = np.concatenate([wrong, np.setdiff1d(np.arange(len(true)), wrong)])[:_IMAGES]
    view["samples"] = [[int(i), int(true[i]), int(predicted[i])] for i in chosen]
    if dataset.width and points:
        view["images"] = [np.round(dataset.X[i], 2).tolist() for i in chosen]
