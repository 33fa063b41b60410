"""What an engine notes for who watches: against gradients of single samples, in float64."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.engines.base import Epoch, Plan, Seen, State, noted
from chainrule.engines.reference import ReferenceEngine
from chainrule.equations import data

pytest.importorskip("chainrule.engines._native")
from chainrule.engines.native import NativeEngine

ENGINES = [ReferenceEngine(), NativeEngine(1), NativeEngine(2)]
IDS = ["reference", "native", "two threads"]
# Which ways the core goes: tiny.h; panels shared out by samples, in halves; by units; gathered.
NETS: dict[str, tuple[list[int], int, dict[str, Any]]] = {
    "tiny": ([2, 3, 2], 8, {}),
    "tiny from z": ([3, 4], 8, {"output": "softmax", "loss": "cross_entropy"}),
    "one sample": ([2, 3, 1], 1, {}),
    "small": ([9, 40, 5], 16, {"output": "softmax", "loss": "cross_entropy", "l2": 0.1}),
    "dropout": ([9, 40, 5], 16, {"dropout": 0.3, "l2": 0.05}),
    "no biases": ([9, 24, 17, 5], 11, {"biases": False, "l2": 0.05}),
    "wide": ([130, 210, 230, 7], 9, {"hidden": "gelu"}),
    "gathered": ([900, 20, 3], 600, {}),
}


def made(name: str, dtype: str, **plan: Any) -> tuple[Any, Epoch, State]:
    sizes, batch, options = NETS[name]
    net = cr.Network(sizes, **{"seed": 3, "hidden": "tanh", "dtype": dtype, **options})
    rng = np.random.default_rng(1)
    n = max(3 * batch - batch // 2, 4)
    X = rng.normal(size=(n, sizes[0])).astype(dtype)
    y: Any = rng.normal(size=(n, sizes[-1])).astype(dtype)
    if net.loss.name == "cross_entropy":
        y = rng.integers(0, sizes[-1], n)
    weights = None if name == "one sample" else rng.uniform(0, 2, n)
    steps = -(-n // batch)
    chosen = Plan(cr.Adam(0.01), batch, **plan)
    state = State(slots=chosen.optimizer.start(net.parameters))
    rates = rng.uniform(0.005, 0.01, steps)
    samples = data.Samples(X, y, weights)
    return net, Epoch(samples, chosen, rates, rng.permutation(n)), state


def stepped(
    net: Any, epoch: Epoch, state: State, every: int
) -> tuple[list[Any], list[Any], list[Any]]:
    """Losses and norms of samples, and norms of layers, from float64 gradients, step by step."""
    plan, samples = epoch.plan, epoch.samples
    losses, norms, layers = [], [], []
    for k, rate in enumerate(epoch.learning_rates):
        rows = epoch.order[k * plan.batch_size : (k + 1) * plan.batch_size]
        part = data.Samples(
            samples.X[rows], samples.y[rows],
            None if samples.weights is None else samples.weights[rows],
        )  # fmt: skip
        step = state.step
        g = net.gradient(part.X, part.y, sample_weight=part.weights, dropout_step=step)
        losses += g.sample_losses.tolist()
        L = range(1, len(net.layers))
        squares = np.zeros(len(rows))
        for l in L:
            squares += np.square(g.sample_dW(l)).sum(axis=(1, 2))
            if net.biases:
                squares += np.square(g.sample_db(l)).sum(axis=1)
        noting = step % every == 0
        norms += (len(rows) * g.shares * np.sqrt(squares) if noting else squares * np.nan).tolist()
        before = net.parameters.astype(np.float64)
        ReferenceEngine().run_epoch(net, Epoch(part, plan, np.array([rate])), state)
        if noting:
            update = net.parameters.astype(np.float64) - before
            rows_of = []
            for (W, b), (u, v), l in zip(
                net.views_of(before), net.views_of(update), L, strict=True
            ):
                clean = g.dW[l] - net.l2 * W
                rows_of.append([np.linalg.norm(a) for a in (W, g.dW[l], u, clean)])
                if b is not None:
                    rows_of.append([np.linalg.norm(a) for a in (b, g.db[l], v, g.db[l])])
            layers.append(rows_of)
    return losses, norms, layers


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("engine", ENGINES, ids=IDS)
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("clip", [None, 0.05])
def test_norms_are_those_of_single_samples(
    name: str, engine: Any, dtype: str, clip: float | None
) -> None:
    net, epoch, state = made(name, dtype, clip_norm=clip)
    state.step, every = 3, 2
    twin, other = net.copy(), State(3, {k: v.copy() for k, v in state.slots.items()})
    plain, third = net.copy(), State(3, {k: v.copy() for k, v in state.slots.items()})
    expected = stepped(twin, epoch, other, every)
    n, steps = len(epoch.samples), len(epoch.learning_rates)
    seen = Seen.of(net, state.step, steps, n, every)
    engine.run_epoch(net, replace(epoch, seen=seen), state)
    engine.run_epoch(plain, epoch, third)
    assert net.parameters.tobytes() == plain.parameters.tobytes()
    near = 3e-4 if dtype == "float32" else 1e-10
    np.testing.assert_allclose(seen.losses, expected[0], rtol=near, atol=near)
    np.testing.assert_allclose(seen.norms, expected[1], rtol=near, atol=near)
    assert len(seen.layers) == len(expected[2]) == noted(3 + steps, 2) - noted(3, 2)
    np.testing.assert_allclose(seen.layers, expected[2], rtol=near, atol=near * 1e-2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("engine", ENGINES, ids=IDS)
@pytest.mark.parametrize("name", ["tiny", "small", "no biases", "wide"])
@pytest.mark.parametrize("clip", [None, 0.05])
def test_the_way_of_each_parameter(name: str, engine: Any, dtype: str, clip: float | None) -> None:
    net, epoch, state = made(name, dtype, clip_norm=clip)
    start = net.parameters.copy()
    places = np.random.default_rng(2).choice(len(start), 12, replace=False)
    n, steps = len(epoch.samples), len(epoch.learning_rates)
    for place in [0, len(start) - 1, *places.tolist()]:
        twin, own = net.copy(), State(slots={k: v.copy() for k, v in state.slots.items()})
        trace = np.full((steps, 4), np.nan)
        seen = replace(Seen.of(net, 0, steps, n, 0), traced=place, trace=trace)
        engine.run_epoch(twin, replace(epoch, seen=seen), own)
        assert trace[0, 0] == start[place]
        assert trace[-1, 3] == twin.parameters[place]
        np.testing.assert_array_equal(trace[1:, 0], trace[:-1, 3])
        rows = epoch.order[: epoch.plan.batch_size]
        weights = None if epoch.samples.weights is None else epoch.samples.weights[rows]
        g = net.gradient(
            epoch.samples.X[rows], epoch.samples.y[rows], sample_weight=weights, dropout_step=0
        )
        pairs = zip(g.dW, g.db, strict=True)
        flat = np.concatenate([np.ravel(a) for pair in pairs for a in pair if a is not None])
        norm = np.linalg.norm(flat)
        near = 1e-5 if dtype == "float32" else 1e-12
        used = flat[place] * (1 if clip is None else min(1, clip / norm))
        assert trace[0, 1] == pytest.approx(flat[place], rel=near, abs=near * norm)
        assert trace[0, 2] == pytest.approx(used, rel=near, abs=near * norm)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("engine", ENGINES, ids=IDS)
@pytest.mark.parametrize("name", ["tiny", "small", "wide"])
def test_an_epoch_in_pieces_has_the_bits_of_one_in_one(name: str, engine: Any, dtype: str) -> None:
    net, epoch, state = made(name, dtype)
    state.step = 1700  # where powers and products of β part
    twin, own = net.copy(), State(1700, {k: v.copy() for k, v in state.slots.items()})
    engine.run_epoch(net, epoch, state)
    size, steps = epoch.plan.batch_size, len(epoch.learning_rates)
    for k in range(steps - 1):  # the last one is short, and another trainer's
        rows = epoch.order[k * size : (k + 1) * size]
        if k == steps - 2:
            rows = epoch.order[k * size :]
        samples = data.Samples(
            epoch.samples.X[rows], epoch.samples.y[rows],
            None if epoch.samples.weights is None else epoch.samples.weights[rows],
        )  # fmt: skip
        count = -(-len(rows) // size)
        seen = replace(Seen.of(twin, 1700 + k, count, len(rows), 0), before=k)
        rates = epoch.learning_rates[k : k + count]
        engine.run_epoch(twin, Epoch(samples, epoch.plan, rates, seen=seen), own)
    assert twin.parameters.tobytes() == net.parameters.tobytes()
    for slot, values in state.slots.items():
        assert own.slots[slot].tobytes() == values.tobytes()


@pytest.mark.parametrize(
    "changed",
    [
        {"every": -1},
        {"sample_losses": None},
        {"sample_norms": None},
        {"layer_norms": None},
        {"layer_norms": np.zeros((2, 4, 4))},
        {"layer_norms": np.zeros((1, 2, 4))},
        {"layer_norms": np.zeros((1, 4, 3))},
        {"sample_losses": np.zeros(15)},
        {"sample_norms": np.zeros(17)},
        {"trace": np.zeros((3, 4))},
        {"trace": np.zeros((2, 3))},
        {"trace": np.zeros((2, 4)), "traced": 26},
        {"trace": np.zeros((2, 4)), "traced": -1},
        {"steps_before": 1},
    ],
    ids=str,
)
def test_arrays_that_do_not_fit_the_core(changed: dict[str, Any]) -> None:
    from tests.engines.test_seam import trainer

    given: dict[str, Any] = {
        "every": 2, "sample_losses": np.zeros(16), "sample_norms": np.zeros(16),
        "layer_norms": np.zeros((1, 4, 4)),
    }  # fmt: skip
    arrays = (
        np.zeros(26), [np.zeros(26), np.zeros(26)], 0, np.ones((16, 3)), np.zeros((16, 2)), None,
        None, np.full(2, 0.1), None, None, lambda steps, loss: False,
    )  # fmt: skip
    assert trainer().run_epoch(*arrays, **given)[1] == 2  # as they should be
    with pytest.raises(ValueError, match=r"fit|need"):
        trainer().run_epoch(*arrays, **{**given, **changed})
