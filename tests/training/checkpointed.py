"""A run with checkpoints, for the tests of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chainrule.network import Network
from chainrule.training.history import History

X = np.random.default_rng(0).normal(size=(60, 4))
Y = (X[:, 0] * X[:, 1] > 0).astype(int)
VALIDATION = (X[:20] + 0.1, Y[:20])


def net(seed: int | None = 3, **options: Any) -> Network:
    given: dict[str, Any] = {
        "sizes": [4, 8, 2], "output": "softmax", "loss": "cross_entropy", "dropout": 0.1,
        "dtype": "float32", "seed": seed,
    }  # fmt: skip
    return Network(**given | options)


def fit(network: Network, epochs: int = 6, **options: Any) -> History:
    given: dict[str, Any] = {
        "X": X, "y": Y, "batch_size": 16, "validation_data": VALIDATION, "verbose": 0,
    }  # fmt: skip
    return network.fit(epochs=epochs, **given | options)


def same_history(one: History, two: History) -> bool:
    """All but the time that it took; NaN is like NaN."""
    names = [name for name in one if name != "seconds"]
    return (
        list(one) == list(two)
        and all(np.array_equal(one[name], two[name], equal_nan=True) for name in names)
        and (one.stop_reason, one.best_epoch) == (two.stop_reason, two.best_epoch)
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def names_of(*epochs: int) -> list[str]:
    return ["best.safetensors", *(f"epoch-{epoch:06d}.safetensors" for epoch in epochs)]
