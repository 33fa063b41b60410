"""What is explored: networks that suit data, and data that fit a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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
    """Raise ValueError where a network is larger than the page makes."""
    count = count_parameters(sizes)
    if count > MAX_PARAMETERS:
        raise ValueError(
            f"{'-'.join(map(str, sizes))} has {count:,} parameters; the page makes networks of up "
            f"to {MAX_PARAMETERS:,}"
        )


def suited(sizes: Sequence[int], hidden: Any, classes: int, seed: int, kind: type[N]) -> N:
    """Make a network whose output and loss suit targets of that many classes (0: numbers)."""
    output, loss = "identity", "half_squared_error"
    if classes and sizes[-1] == 1:
        output, loss = "sigmoid", "binary_cross_entropy"
    elif classes:
        output, loss = "softmax", "cross_entropy"
    return kind(sizes, hidden=hidden, output=output, loss=loss, seed=seed)


def suits(network: FeedForward, dataset: Dataset) -> bool:
    """Return whether output and loss can take these targets."""
    output = network.weighted_layers[-1].activation.name
    if not dataset.classes and output in ("softmax", "sigmoid", "tanh"):
        return False
    try:
        data_room.targets(dataset.y, len(dataset.y), network.sizes[-1], network.loss)
    except ValueError:
        return False
    return True


def as_dataset(
    network: FeedForward, X: Any, y: Any, validation_data: tuple[Any, ...] | None, name: str
) -> Dataset:
    """Check samples for a network, with targets as rows."""
    units = network.sizes[-1]

    def rows(X: Any, y: Any) -> tuple[Array, Array]:
        samples = data_room.samples(X, y, network.sizes, network.loss, None)
        return (
            np.array(samples.X, dtype=np.float64),
            np.array(data_room.one_hot(samples.y, units, np.float64)),
        )

    X, y = rows(X, y)
    dataset = datasets.from_arrays(X, y, name)
    if validation_data is not None:
        X_val, y_val = rows(*validation_data[:2])
        dataset = replace(dataset, X_val=X_val, y_val=y_val)
    return dataset


def random_data(network: FeedForward) -> Dataset:
    """Make a few samples for a network that came without any."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, network.sizes[0]))
    outputs = network.sizes[-1]
    if outputs > 1:
        y = np.eye(outputs)[rng.integers(outputs, size=20)]
    else:
        y = rng.integers(2, size=(20, 1)).astype(np.float64)
    return datasets.from_arrays(X, y, "random samples", width=None)
