"""Folds: predictions of rows by networks that have not learned from them.

The model that is saved has learned from all rows of its table, so that its own errors on these say
little. A network like it is trained on all folds but one, and predicts the rows of that one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.equations.optimizers import Adam
from chainrule.equations.schedules import Cosine
from chainrule.network import Network
from chainrule.training.many import fit_many

FOLDS = 5
FEWEST = 10  # rows in a fold


@dataclass(frozen=True)
class OutOfFold:
    """The outputs for each row, of the network that has not learned from it.

    Attributes:
        outputs: (n, units_L).
        networks: One for each fold.
        fold: The fold of each row, (n,).
    """

    outputs: NDArray[np.float64]
    networks: list[Network]
    fold: NDArray[np.int64]


def deal(
    y: NDArray[Any], folds: int, seed: int, group: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Return the fold of each row: classes, or numbers, are spread evenly over the folds.

    With ``group``, all rows of a group are in the same fold; the largest are dealt first, each to
    the fold that has the fewest rows.
    """
    rng = np.random.default_rng(seed)
    if group is None:
        order = rng.permutation(len(y))
        order = order[np.argsort(y[order], kind="stable")]
        dealt = np.arange(len(y)) % folds
        if y.dtype.kind == "f":  # neighbours among numbers get the folds in a random order
            rounds = -(-len(y) // folds)
            dealt = np.argsort(rng.random((rounds, folds)), axis=1).ravel()[: len(y)]
        fold = np.empty(len(y), dtype=np.int64)
        fold[order] = dealt
        return fold
    sizes = np.bincount(group)
    of_group, held = np.zeros(len(sizes), dtype=np.int64), np.zeros(folds, dtype=np.int64)
    drawn = rng.permutation(len(sizes))
    for each in drawn[np.argsort(-sizes[drawn], kind="stable")]:
        of_group[each] = held.argmin()
        held[held.argmin()] += sizes[each]
    return of_group[group]


def out_of_fold(
    network: Network,
    training: Mapping[str, Any],
    X: NDArray[np.float32],
    y: NDArray[Any],
    fold: NDArray[np.int64],
    weight: NDArray[np.float64] | None = None,
) -> OutOfFold:
    """Train networks like one on all rows but those of a fold, and predict these.

    They have the sizes, functions, penalty and dropout of the network, and learn for as many epochs
    as it did, with Adam, whose rate falls along a cosine. ``y`` holds the targets as it takes them.
    """
    n = int(fold.max()) + 1
    epochs = _epochs(training)
    rate = float(training.get("learning_rate") or 0.003)
    networks = [_like(network, training, seed) for seed in range(n)]
    rows = [np.flatnonzero(fold != i) for i in range(n)]
    fit_many(
        networks, X, y, rows=rows, optimizer=Adam(Cosine(rate, epochs)), epochs=epochs,
        batch_size=int(training.get("batch_size") or 32), sample_weight=weight,
        class_weight="balanced" if training.get("balanced") else None, metrics=[], verbose=0,
    )  # fmt: skip
    outputs = np.empty((len(X), network.sizes[-1]))
    for i, each in enumerate(networks):
        here = fold == i
        outputs[here] = each.predict(X[here])
    return OutOfFold(outputs, networks, fold)


def _epochs(training: Mapping[str, Any]) -> int:
    """Return how many epochs a training took to its best one; of several networks, in the mean."""
    said = training.get("best_epoch") or training.get("epochs") or 50
    each = [int(text) for text in re.findall(r"\d+", str(said))]
    return max(1, round(float(np.mean(each)))) if each else 50


def _like(network: Network, training: Mapping[str, Any], seed: int) -> Network:
    """Return a network like one; of several that the recipe has put together, like one of them."""
    layers, sizes, l2 = list(network.layers), list(network.sizes), network.l2
    if training.get("recipe") == "tuned":
        members = int(training.get("members") or 1)
        sizes[1:-1] = [max(1, units // members) for units in sizes[1:-1]]
        l2 = float(training.get("l2") or 0.0)
    return Network(
        sizes, hidden=[layer.activation for layer in layers[1:-1]],
        output=layers[-1].activation, loss=network.loss, biases=network.biases,
        dtype="float64" if network.dtype == np.float64 else "float32", seed=seed,
        dropout=[layer.dropout for layer in layers[1:-1]],
        l2=l2,
    )  # fmt: skip
