"""Batches cut into micro-batches: the same gradient, added as one fixed tree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.engines.base import Plan, Sums
from chainrule.engines.micro import Cut, tree_sum
from tests.settings import DTYPES

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(53, 5)), RNG.normal(size=(53, 2))
WEIGHTS = RNG.uniform(0, 2, size=53)
WEIGHTS[:20] = 0
OPTIMIZERS = [
    cr.GradientDescent(0.1), cr.GradientDescent(0.1, momentum=0.9, nesterov=True),
    cr.AdaGrad(0.1), cr.RMSProp(0.01), cr.Adam(0.01), cr.AdamW(0.01),
]  # fmt: skip


def network(**more: Any) -> cr.Network:
    return cr.Network([5, 7, 2], hidden="tanh", seed=3, **more)


@pytest.mark.parametrize("n", [1, 7, 8, 53, 64])
@pytest.mark.parametrize("micro_batches", [1, 3, 8])
@pytest.mark.parametrize("rows", [1, 3])
def test_an_epoch_takes_each_sample_once_from_its_shard(
    n: int, micro_batches: int, rows: int
) -> None:
    cut = Cut(n, micro_batches, rows)
    for order in (cut.order(5, 2), cut.in_turn()):
        assert sorted(order) == list(range(n))
    order, done = cut.order(5, 2), 0
    for step in range(cut.steps):
        for k in range(micro_batches):
            part = cut.part(k, step)
            count = part.stop - part.start
            taken = order[done : done + count]
            assert count <= rows
            assert all(row in cut.shard(k) for row in taken)
            assert (taken == cut.shard_order(5, 2, k)[part]).all()
            done += count
    assert done == n
    assert (cut.order(5, 3) != order).any() or n == 1 or micro_batches >= n


def test_the_tree() -> None:
    """((0 + 1) + (2 + 3)) + (4), where an order from left to right gives other bits."""
    numbers = np.array([1e8, 3.0, -1e8, 5.0, 0.3], np.float32)

    def sums(which: list[int]) -> dict[int, Sums]:
        return {k: Sums(1.0, float(k), numbers[k : k + 1].copy()) for k in which}

    expected = ((numbers[0] + numbers[1]) + (numbers[2] + numbers[3])) + numbers[4]
    found = tree_sum(sums([0, 1, 2, 3, 4]), 5)
    assert found.g[0] == expected != np.add.accumulate(numbers)[-1]
    assert (found.weight, found.loss) == (5, 10)
    without = tree_sum(sums([1, 3, 4]), 5)
    assert without.g[0] == (numbers[1] + numbers[3]) + numbers[4]


@pytest.mark.parametrize("engine", ["native", "reference"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("micro_batches", [1, 3, 4])
def test_a_step_is_that_of_the_gradient(micro_batches: int, dtype: str, engine: str) -> None:
    """Against the gradient of the whole batch, in float64."""
    if engine == "native":
        pytest.importorskip("chainrule.engines._native", reason="a pure Python installation")
    exact = network(l2=0.1)
    net = network(l2=0.1, dtype=dtype, engine=engine)
    exact.parameters[...] = net.parameters
    cut = Cut(53, micro_batches, 12 // micro_batches)
    rows = cut.in_turn()[:12]
    gradient = exact.gradient(X[rows], Y[rows], sample_weight=WEIGHTS[rows] + 0.5)
    before = net.parameters.copy()

    weights = np.zeros(53)
    weights[rows] = WEIGHTS[rows] + 0.5

    class First(cr.Schedule):
        def rate(self, epoch: float, losses: Any = ()) -> float:
            return 0.0 if epoch else 0.5

    net.fit(X, Y, epochs=1, batch_size=12, micro_batches=micro_batches, shuffle=False,
            sample_weight=weights, optimizer=cr.GradientDescent(First()), verbose=0)  # fmt: skip
    flat = np.concatenate([p.ravel() for l in (1, 2) for p in (gradient.dW[l], gradient.db[l])])
    np.testing.assert_allclose(
        (before - net.parameters) / 0.5, flat, rtol=1e-3 if dtype == "float32" else 1e-12,
        atol=1e-6 if dtype == "float32" else 1e-15,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: repr(o)[:40])
def test_one_micro_batch_is_a_plain_fit(optimizer: Any, dtype: str) -> None:
    ways = []
    for micro_batches in (None, 1):
        net = network(dtype=dtype, l2=0.01, dropout=0.2)
        history = net.fit(X, Y, epochs=4, batch_size=8, micro_batches=micro_batches,
                          optimizer=optimizer, clip_norm=1.0, sample_weight=WEIGHTS,
                          metrics=["mean_squared_error"], verbose=0)  # fmt: skip
        ways.append((net.parameters, history))
    rtol = 1e-4 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(ways[0][0], ways[1][0], rtol=rtol, atol=rtol)
    for column in ("loss", "mean_squared_error"):
        np.testing.assert_allclose(ways[0][1][column], ways[1][1][column], rtol=rtol)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_bits_with_any_number_of_threads(dtype: str) -> None:
    found = []
    for threads in (1, 2):
        net = cr.Network([5, 40, 2], hidden="tanh", seed=3, dtype=dtype, threads=threads)
        net.fit(X, Y, epochs=3, batch_size=16, micro_batches=4, verbose=0)
        found.append(net.parameters)
    assert (found[0] == found[1]).all()


def test_a_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    how: dict[str, Any] = {"batch_size": 12, "micro_batches": 4, "verbose": 0}
    whole, halves = network(dropout=0.1), network(dropout=0.1)
    whole.fit(X, Y, epochs=6, **how)
    halves.fit(X, Y, epochs=3, checkpoint=tmp_path, **how)
    halves = network(dropout=0.1)
    halves.fit(X, Y, epochs=6, checkpoint=tmp_path, resume=True, **how)
    assert (whole.parameters == halves.parameters).all()
    before = halves.parameters.copy()
    for other in (None, 2):
        with pytest.raises(ValueError, match=f"micro_batches 4 there, {other} here"):
            halves.fit(X, Y, epochs=7, checkpoint=tmp_path, resume=True, verbose=0,
                       batch_size=12, micro_batches=other)  # fmt: skip
    assert (halves.parameters == before).all()


def test_what_is_asked_wrongly() -> None:
    net = network()
    before = net.parameters.copy()
    with pytest.raises(ValueError, match="batch_size must be a multiple of micro_batches, got 32"):
        net.fit(X, Y, micro_batches=5, verbose=0)
    with pytest.raises(ValueError, match="micro_batches must be"):
        net.fit(X, Y, micro_batches=0, verbose=0)
    with pytest.raises(TypeError, match="micro_batches"):
        net.fit(X, Y, micro_batches=2.5, verbose=0)  # type: ignore[arg-type]
    assert (net.parameters == before).all()


@pytest.mark.parametrize("micro_batches", [2, 64])
def test_more_micro_batches_than_samples_or_a_batch_of_all(micro_batches: int) -> None:
    net = network()
    history = net.fit(X, Y, epochs=2, batch_size=640, micro_batches=micro_batches, verbose=0)
    assert np.isfinite(history.loss).all()
    plain = network()
    plain.fit(X, Y, epochs=2, batch_size=53, verbose=0)
    np.testing.assert_allclose(net.parameters, plain.parameters, rtol=1e-9, atol=1e-12)


def test_a_number_that_is_not_finite_names_step_and_layer() -> None:
    net = network()
    net.layers[2].W[...] = 1e308
    large = np.full((8, 5), 1e3)
    before = net.parameters.copy()
    with pytest.raises(cr.NonFiniteError, match="layer 2") as caught:
        net.fit(large, Y[:8], batch_size=8, micro_batches=4, verbose=0)
    assert (caught.value.step, caught.value.layer) == (0, 2)
    assert (net.parameters == before).all()


def test_a_large_step_is_not_taken() -> None:
    net = network()
    before = net.parameters.copy()
    with pytest.raises(cr.NonFiniteError, match="parameters"):
        net.fit(X, Y, batch_size=8, micro_batches=2, optimizer=cr.GradientDescent(1e308),
                epochs=3, verbose=0)  # fmt: skip
    assert np.isfinite(net.parameters).all()
    assert before.shape == net.parameters.shape


def test_a_batch_that_is_larger_than_the_samples_needs_no_room_for_it() -> None:
    assert Cut.of(33, Plan(cr.Adam(), 1 << 24, micro_batches=16)).most == 3
    assert Cut.of(33, Plan(cr.Adam(), 32, micro_batches=16)).most == 2
