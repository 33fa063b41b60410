"""Local steps: shards that take steps of their own, and are averaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import distributed
from tests.clusters import ENGINES
from tests.settings import DTYPES

M, K, ROWS = 6, 3, 4  # shards, local steps, rows of a micro-batch
RNG = np.random.default_rng(0)
HOW: dict[str, Any] = {"batch_size": M * ROWS, "micro_batches": M, "verbose": 0}
OPTIMIZERS = [
    cr.GradientDescent(0.05), cr.GradientDescent(0.05, momentum=0.9), cr.AdaGrad(0.05),
    cr.RMSProp(0.01), cr.Adam(0.01), cr.AdamW(0.01),
]  # fmt: skip


def network(**more: Any) -> cr.Network:
    return cr.Network([5, 7, 2], hidden="tanh", seed=3, **more)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_a_meeting_averages_what_each_shard_learns_by_itself(
    optimizer: Any, weighted: bool
) -> None:
    """Beside plain fits of each shard, averaged here."""
    n = K * ROWS
    X, Y = RNG.normal(size=(M * n, 5)), RNG.normal(size=(M * n, 2))
    weights = RNG.uniform(0.1, 2, size=M * n) if weighted else np.ones(M * n)
    expected = np.zeros_like(network().parameters)
    for k in range(M):
        own, part = slice(k * n, (k + 1) * n), network()
        part.fit(X[own], Y[own], sample_weight=weights[own], epochs=1, batch_size=ROWS,
                 shuffle=False, optimizer=optimizer, verbose=0)  # fmt: skip
        expected += weights[own].sum() / weights.sum() * part.parameters
    net = network()
    distributed.fit(
        net, (X, Y, weights) if weighted else (X, Y), optimizer=optimizer, local_steps=K,
        shuffle=False, epochs=1, **HOW,
    )  # fmt: skip
    np.testing.assert_allclose(net.parameters, expected, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_shards_that_are_the_same_learn_as_one_does(optimizer: Any) -> None:
    """Also slots are averaged: over several meetings and epochs, to rounding."""
    X, Y = RNG.normal(size=(26, 5)), RNG.normal(size=(26, 2))
    alone, net = network(), network()
    alone.fit(X, Y, epochs=4, batch_size=ROWS, shuffle=False, optimizer=optimizer, verbose=0)
    several = np.concatenate([X] * M), np.concatenate([Y] * M)
    history = distributed.fit(
        net, several, optimizer=optimizer, local_steps=K, shuffle=False, epochs=4, **HOW
    )
    np.testing.assert_allclose(net.parameters, alone.parameters, rtol=1e-9, atol=1e-12)
    assert len(history.loss) == 4


X, Y = RNG.normal(size=(203, 5)), RNG.normal(size=(203, 2))
WEIGHTS = RNG.uniform(0, 2, size=203)
WEIGHTS[:70] = 0


@pytest.mark.parametrize("on", ENGINES, indirect=True)
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_number_of_workers_gives_the_same_bits(dtype: str, workers: int, on: Any) -> None:
    more = {
        **HOW, "local_steps": K, "epochs": 3, "clip_norm": 0.5, "metrics": ["mean_squared_error"],
        "optimizer": cr.AdamW(cr.Cosine(0.01, epochs=3)),
    }  # fmt: skip
    here, net = (network(dtype=dtype, l2=0.01, dropout=0.2) for _ in range(2))
    alone = distributed.fit(here, (X, Y, WEIGHTS), **more)
    history = distributed.fit(net, (X, Y, WEIGHTS), on=on, workers=workers, **more)
    np.testing.assert_array_equal(net.parameters, here.parameters)
    for column in set(alone) - {"seconds"}:
        assert history[column] == alone[column], column


def test_a_run_goes_on_with_the_same_local_steps_alone(tmp_path: Path) -> None:
    whole, net = network(), network()
    how = {**HOW, "local_steps": K}
    distributed.fit(whole, (X, Y), epochs=5, **how)
    distributed.fit(net, (X, Y), epochs=2, checkpoint=tmp_path, **how)
    with pytest.raises(ValueError, match="local_steps 3 there, 2 here"):
        distributed.fit(
            network(), (X, Y), epochs=5, checkpoint=tmp_path, resume=True,
            **{**how, "local_steps": 2},
        )  # fmt: skip
    again = network()
    distributed.fit(again, (X, Y), epochs=5, checkpoint=tmp_path, resume=True, **how)
    np.testing.assert_array_equal(again.parameters, whole.parameters)


def test_what_is_not_finite_leaves_the_last_meeting() -> None:
    wrong = X.copy()
    wrong[150] = 1e200
    net = cr.Network([5, 2], seed=3)
    before = net.parameters.copy()
    with pytest.raises(cr.NonFiniteError, match="the loss is not finite"):
        distributed.fit(
            net, (wrong, Y), optimizer=cr.GradientDescent(1e150), local_steps=K, epochs=2, **HOW
        )
    np.testing.assert_array_equal(net.parameters, before)


def test_what_is_asked_wrongly() -> None:
    for wrong in (0, 1.5, "3"):
        with pytest.raises((ValueError, TypeError), match="local_steps"):
            distributed.fit(network(), (X, Y), local_steps=wrong, **HOW)  # type: ignore[arg-type]
