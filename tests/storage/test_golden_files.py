"""Model files of earlier releases, in `tests/data`: every later one reads them, to the bit."""

from __future__ import annotations

import math
import runpy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.equations.optimizers import Adam
from chainrule.equations.schedules import ReduceOnPlateau
from chainrule.network import Network
from chainrule.training import checkpoints
from chainrule.training.callbacks import EarlyStopping

DATA = Path(__file__).parents[1] / "data"


def numbers(count: int) -> np.ndarray:
    """What the parameters were set to."""
    return np.array([((7 * i) % 13 - 6) / 8 for i in range(count)])


def settings(network: Network) -> tuple[Any, ...]:
    functions = [layer.activation.name for layer in network.weighted_layers]
    dropout = [layer.dropout for layer in network.layers[1:-1]]
    return (
        list(network.sizes), functions, network.loss.name, network.biases, network.dtype.name,
        network.seed, dropout, network.l2,
    )  # fmt: skip


def test_a_classifier_of_format_1() -> None:
    network = cr.load(DATA / "classifier-1.safetensors")
    assert settings(network) == (
        [4, 5, 3, 3], ["tanh", "relu", "softmax"], "cross_entropy", True, "float32", 2**63 - 1,
        [0.5, 0.0], 0.001,
    )  # fmt: skip
    assert (network.parameters == numbers(25 + 18 + 12).astype(np.float32)).all()
    # by hand: the layers one after the other, in Python's own numbers
    w = iter(numbers(55).tolist())
    a = [0.5, -0.25, 1.0, 0.75]
    for units, g in ((5, math.tanh), (3, lambda z: max(z, 0.0)), (3, math.exp)):
        W = [[next(w) for _ in a] for _ in range(units)]
        b = [next(w) for _ in range(units)]
        a = [g(sum(map(float.__mul__, row, a)) + b_j) for row, b_j in zip(W, b, strict=True)]
    expected = [value / sum(a) for value in a]
    assert network.predict([0.5, -0.25, 1.0, 0.75]) == pytest.approx(expected, rel=1e-5)


def test_a_regressor_of_format_1() -> None:
    network = cr.load(DATA / "regressor-1.safetensors")
    assert settings(network) == (
        [3, 4, 2], ["gelu", "identity"], "huber", False, "float64", 7, [0.0], 0.0,
    )  # fmt: skip
    assert (network.parameters == numbers(12 + 8)).all()


def test_an_activation_of_ones_own_of_format_1() -> None:
    with pytest.raises(ValueError, match="activation 'gaussian', which is not chainrule's own"):
        cr.load(DATA / "own-1.safetensors")
    gaussian = runpy.run_path(str(DATA / "make.py"))["Gaussian"]
    network = cr.load(DATA / "own-1.safetensors", custom=[gaussian()])
    assert (network.parameters == numbers(9 + 4)).all()


def test_the_best_of_a_run_of_format_1() -> None:
    network = cr.load(DATA / "best-1.safetensors")
    last = cr.load(DATA / "checkpoint-1.safetensors")  # which was the best epoch
    assert settings(network) == settings(last)
    assert (network.parameters == last.parameters).all()
    assert checkpoints.is_best(DATA / "best-1.safetensors")


def test_a_checkpoint_of_format_1(tmp_path: Path) -> None:
    shutil.copy(DATA / "checkpoint-1.safetensors", tmp_path / "epoch-000003.safetensors")
    found = checkpoints.read(tmp_path / "epoch-000003.safetensors")
    assert (found.epoch, found.step, found.finished) == (3, 9, False)
    assert found.history.epoch == [1, 2, 3]
    assert [*found.slots] == ["m", "v"]
    assert settings(cr.load(tmp_path / "epoch-000003.safetensors")) == (
        [3, 4, 1], ["tanh", "identity"], "half_squared_error", True, "float64", 5, [0.25], 0.0,
    )  # fmt: skip

    X = numbers(36).reshape(12, 3)
    network = Network([3, 4, 1], hidden="tanh", seed=5, dropout=0.25)
    options: dict[str, Any] = {
        "optimizer": Adam(ReduceOnPlateau(0.01)), "epochs": 6, "batch_size": 5, "verbose": 0,
        "validation_data": (X, X[:, :1]), "clip_norm": 1.0,
    }  # fmt: skip
    history = network.fit(
        X, X[:, :1] * X[:, 1:2], callbacks=[EarlyStopping()], checkpoint=tmp_path, resume=True,
        **options,
    )  # fmt: skip
    whole = network.copy()
    whole.parameters[...] = Network([3, 4, 1], hidden="tanh", seed=5).parameters
    again = whole.fit(X, X[:, :1] * X[:, 1:2], callbacks=[EarlyStopping()], **options)
    assert history.loss == pytest.approx(again.loss, rel=1e-9)  # on another machine, to rounding
    assert network.parameters == pytest.approx(whole.parameters, rel=1e-9)
