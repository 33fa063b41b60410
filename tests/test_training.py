"""fit: the steps it takes, what it measures, what it accepts and refuses, and how it ends."""

from __future__ import annotations

import math
import subprocess
import sys
import textwrap
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule import optimizers
from chainrule.callbacks import Callback, EarlyStopping, Run
from chainrule.network import Network
from chainrule.optimizers import Adam, GradientDescent
from chainrule.random import epoch_order
from chainrule.schedules import Constant, Cosine, Schedule, WarmUp
from chainrule.training import NonFiniteError

N = 23  # samples: no batch size of these tests divides it


def regression(**settings: Any) -> tuple[Network, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 3))
    y = np.stack([np.sin(X[:, 0]), X[:, 1] * X[:, 2]], axis=1)
    return Network([3, 5, 4, 2], hidden="tanh", seed=3, **settings), X, y


def classification(**settings: Any) -> tuple[Network, np.ndarray, np.ndarray]:
    X = np.random.default_rng(0).normal(size=(N, 3))
    y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.3)
    settings = {"output": "softmax", "loss": "cross_entropy", "seed": 3} | settings
    return Network([3, 6, 3], hidden="tanh", **settings), X, y


WEIGHTS = np.random.default_rng(5).uniform(0, 3, size=N)
WEIGHTS[4] = 0


# --- the steps ----------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("clip_norm", [None, 0.05])
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_run_is_the_steps_of_its_batches(
    weights: np.ndarray | None, clip_norm: float | None, shuffle: bool
) -> None:
    """fit against a loop over batches that takes only `Network.gradient`."""
    net, X, y = regression(l2=0.01)
    twin, _, _ = regression(l2=0.01)
    history = net.fit(
        X, y, optimizer=GradientDescent(Cosine(0.3, epochs=3), momentum=0.5), epochs=2,
        batch_size=5, shuffle=shuffle, sample_weight=weights, clip_norm=clip_norm, verbose=0,
    )  # fmt: skip

    velocity, losses, clipped = np.zeros_like(twin.parameters), [], 0
    for epoch in range(2):
        order = epoch_order(3, epoch, N) if shuffle else np.arange(N)
        total = weight = 0.0
        batches = [order[i : i + 5] for i in range(0, N, 5)]
        assert [len(batch) for batch in batches] == [5, 5, 5, 5, 3]
        for step, rows in enumerate(batches):
            s = None if weights is None else weights[rows]
            g = twin.gradient(X[rows], y[rows], sample_weight=s)
            assert g.loss == pytest.approx(twin.loss_value(X[rows], y[rows], sample_weight=s))
            batch_weight = len(rows) if s is None else s.sum()
            total, weight = total + batch_weight * g.loss, weight + batch_weight
            flat = np.concatenate([part.ravel() for l in (1, 2, 3) for part in (g.dW[l], g.db[l])])
            norm = np.linalg.norm(flat)
            if clip_norm is not None and norm > clip_norm:
                flat, clipped = flat * clip_norm / norm, clipped + 1
            velocity = 0.5 * velocity + flat
            eta = 0.3 * (1 + math.cos(math.pi * (epoch + step / 5) / 3)) / 2
            twin.parameters -= eta * velocity
        losses.append(total / weight)
    assert clipped == (0 if clip_norm is None else 10)
    np.testing.assert_allclose(net.parameters, twin.parameters, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(history.loss, losses, rtol=1e-13)


@pytest.mark.needs("torch")
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("name", ["AdamW", "RMSProp"])
def test_a_run_is_pytorchs(name: str, weights: np.ndarray | None) -> None:
    import torch

    net, X, y = classification(l2=0.02)
    parameters = [
        torch.tensor(array, requires_grad=True)
        for layer in net.weighted_layers
        for array in (layer.W, layer.b)
    ]
    theirs = getattr(torch.optim, {"RMSProp": "RMSprop"}.get(name, name))(parameters, lr=0.01)
    losses = []
    for _ in range(10):
        for start in range(0, N, 6):
            rows = slice(start, start + 6)
            W1, b1, W2, b2 = parameters
            z = torch.tanh(torch.tensor(X[rows]) @ W1.T + b1) @ W2.T + b2
            C_i = torch.nn.functional.cross_entropy(z, torch.tensor(y[rows]), reduction="none")
            s = torch.ones(len(C_i)) if weights is None else torch.tensor(weights[rows])
            C = (s * C_i).sum() / s.sum() + 0.01 * ((W1**2).sum() + (W2**2).sum())
            theirs.zero_grad()
            C.backward()
            theirs.step()
            losses.append(float(C.detach()))
    history = net.fit(
        X, y, optimizer=getattr(optimizers, name)(0.01), epochs=10, batch_size=6, shuffle=False,
        sample_weight=weights, verbose=0,
    )  # fmt: skip
    flat = np.concatenate([p.detach().numpy().ravel() for p in parameters])
    np.testing.assert_allclose(net.parameters, flat, rtol=1e-10, atol=1e-13)
    sums = [6, 6, 6, 5] if weights is None else np.add.reduceat(weights, range(0, N, 6))
    assert history.loss[-1] == pytest.approx(np.average(losses[-4:], weights=sums), rel=1e-12)


def test_adam_is_the_optimizer_if_none_is_given() -> None:
    net, X, y = regression()
    twin, _, _ = regression()
    net.fit(X, y, epochs=2, verbose=0)
    twin.fit(X, y, epochs=2, verbose=0, optimizer=Adam(learning_rate=0.001))
    assert (net.parameters == twin.parameters).all()


def test_a_batch_larger_than_the_data_is_all_of_it() -> None:
    net, X, y = regression()
    loss = net.loss_value(X, y)
    history = net.fit(X, y, epochs=1, batch_size=1000, verbose=0)
    assert history.loss == [pytest.approx(loss, rel=1e-14)]


def test_each_run_starts_afresh() -> None:
    """No momentum of the first run is left in the second."""
    net, X, y = regression()
    net.fit(X, y, optimizer=GradientDescent(0.1, momentum=0.9), epochs=1, verbose=0)
    twin, _, _ = regression()
    twin.parameters[...] = net.parameters
    for network in (net, twin):
        network.fit(X, y, optimizer=GradientDescent(0.1, momentum=0.9), epochs=1, verbose=0)
    assert (net.parameters == twin.parameters).all()


def test_a_huge_gradient_is_clipped_in_float32() -> None:
    """Its square overflows float32, its norm does not."""
    net = Network([1, 1], W=[[[1.0]]], b=[[0.0]], dtype="float32", loss="absolute_error", seed=0)
    net.fit([[1e25]], [[0.0]], optimizer=GradientDescent(1.0), epochs=1, clip_norm=0.5, verbose=0)
    assert net.layers[1].W[0, 0] == pytest.approx(0.5, rel=1e-6)


class Recorded(Schedule):
    """η = 0.01, and a note of what was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, list[float]]] = []

    def rate(self, epoch: float, losses: Sequence[float] = ()) -> float:
        self.asked.append((epoch, list(losses)))
        return 0.01


@pytest.mark.parametrize("validated", [False, True])
def test_what_a_schedule_is_asked(validated: bool) -> None:
    net, X, y = regression()
    schedule = Recorded()
    history = net.fit(
        X, y, optimizer=GradientDescent(schedule), epochs=2, batch_size=6, verbose=0,
        validation_data=(X[:5], y[:5]) if validated else None,
    )  # fmt: skip
    first = history.val_loss[:1] if validated else history.loss[:1]
    assert schedule.asked == [
        *((position, []) for position in (0, 0.25, 0.5, 0.75)),
        *((position, first) for position in (1, 1.25, 1.5, 1.75)),
    ]


def test_learning_rate_column_is_that_of_the_epochs_start() -> None:
    net, X, y = regression()
    optimizer = GradientDescent(WarmUp(2, Constant(0.1)))
    history = net.fit(X, y, optimizer=optimizer, epochs=4, verbose=0)
    assert history.learning_rate == [0, 0.05, 0.1, 0.1]
