"""Subjects: networks that suit data, and data that suit a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from chainrule.equations import data as data_room
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.parameters import count_parameters
from chainrule.explorer.protocol.requests import MAX_PARAMETERS
from chainrule.teach import datasets
from chainrule.teach.datasets import Dataset

Array = NDArray[Any]
N = TypeVar("N", bound=FeedForward)


def check_size(sizes: list[int]) -> None:
    """Raise ValueError if a network is larger than those that the page builds."""
    count = count_parameters(sizes)
    if count > MAX_PARAMETERS:
        raise ValueError(
            f"{'-'.join(map(str, sizes))} has {count:,} parameters; expected at most "
            f"{MAX_PARAMETERS:,}. Choose smaller or fewer layers."
        )


def suited(
    sizes: Sequence[int],
    hidden: Any,
    classes: int,
    seed: int,
    kind: type[N],
    engine: str = "auto",
) -> N:
    """Return a network whose output and loss suit targets of so many classes (0: numbers)."""
    output, loss = "identity", "half_squared_error"
    if classes and sizes[-1] == 1:
        output, loss = "sigmoid", "binary_cross_entropy"
    elif classes:
        output, loss = "softmax", "cross_entropy"
    return kind(sizes, hidden=hidden, output=output, loss=loss, seed=seed, engine=engine)


def suits(network: FeedForward, dataset: Dataset) -> bool:
    """Return whether the output and loss suit these targets."""
    output = network.weighted_layers[-1].activation.name
    if not dataset.classes and output in ("softmax", "sigmoid", "tanh"):
        return False
    try:
        data_room.targets(dataset.y, len(dataset.y), network.sizes[-1], network.loss)
    except ValueError:
        return False
    return True


def telling_sample(X: Array) -> int:
    """Return the sample to begin with: 0, or a fuller one if all inputs of sample 0 are 0.

    With inputs of 0, every gradient of the first layer's weights is 0.
    """
    return 0 if X[0].any() else int(np.argmax(np.count_nonzero(X, axis=1)))


def random_data(network: FeedForward) -> Dataset:
    """Return a few random samples, for a network without data."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, network.sizes[0]))
    outputs = network.sizes[-1]
    if outputs > 1:
        y = np.eye(outputs)[rng.integers(outputs, size=20)]
    else:
        y = rng.integers(2, size=(20, 1)).astype(np.float64)
    return datasets.from_arrays(X, y, "random samples", width=None)
