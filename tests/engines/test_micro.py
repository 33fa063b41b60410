"""Engine.gradient and Engine.apply: the two halves of a step of micro-batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import engines
from chainrule.engines.base import MicroBatch, Plan, State, Sums
from chainrule.engines.micro import Tree, folded, tree_sum
from chainrule.equations.data import Samples
from tests.settings import DTYPES

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(23, 6)), RNG.normal(size=(23, 3))
WEIGHTS = RNG.uniform(0, 2, size=23)
WEIGHTS[:4] = 0
NAMES = list(engines._engines())
NEEDS_CORE = pytest.mark.skipif("native" not in NAMES, reason="a pure Python installation")
OPTIMIZERS = [
    cr.GradientDescent(0.05), cr.GradientDescent(0.05, momentum=0.9),
    cr.GradientDescent(0.05, momentum=0.9, nesterov=True), cr.AdaGrad(0.05), cr.RMSProp(0.01),
    cr.Adam(0.01), cr.AdamW(0.01),
]  # fmt: skip


def network(dtype: str, **more: Any) -> cr.Network:
    return cr.Network([6, 37, 3], hidden="tanh", seed=3, dtype=dtype, **more)


def tolerance(dtype: str) -> float:
    return 64 * float(np.finfo(dtype).eps)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_gradient_is_that_of_the_network_times_the_weight(
    dtype: str, weights: Any, name: str
) -> None:
    net = network(dtype, l2=0.1)
    samples = Samples(X.astype(dtype), Y.astype(dtype), weights)
    before, g = net.parameters.copy(), np.full_like(net.parameters, 7)
    outputs = np.empty((len(X), 3), dtype)
    engine = engines.choose(name, net)
    sums = engine.gradient(net, MicroBatch(samples, 30, 5), g, outputs)
    real = network("float64", l2=0.1)
    real.parameters[...] = net.parameters
    expected = real.gradient(X.astype(dtype), Y.astype(dtype), sample_weight=weights)
    weight = 23.0 if weights is None else weights.sum()
    parts = zip(expected.dW, expected.db, strict=True)
    flat = np.concatenate([part.ravel() for pair in parts for part in pair])
    np.testing.assert_allclose(
        sums.g, weight * flat, rtol=0, atol=weight * abs(flat).max() * tolerance(dtype)
    )
    assert sums.g is g
    assert sums.weight == pytest.approx(weight)
    assert sums.loss == pytest.approx(weight * expected.loss, rel=tolerance(dtype))
    assert sums.failure is None
    np.testing.assert_allclose(outputs, real.predict(X.astype(dtype)), atol=tolerance(dtype) * 9)
    np.testing.assert_array_equal(net.parameters, before)


@pytest.mark.parametrize("clip_norm", [None, 0.5])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("dtype", DTYPES)
@NEEDS_CORE
def test_the_core_takes_the_steps_of_the_reference(
    dtype: str, optimizer: Any, clip_norm: float | None
) -> None:
    nets = [network(dtype), network(dtype)]
    plan = Plan(optimizer, 8, clip_norm)
    states = [State(0, optimizer.start(net.parameters)) for net in nets]
    rng = np.random.default_rng(1)
    for _ in range(4):
        g = (9 * rng.normal(size=nets[0].parameters.shape)).astype(dtype)
        for net, state, name in zip(nets, states, ("native", "reference"), strict=True):
            sums = Sums(9.0, 1.0, g.copy())
            assert engines.choose(name, net).apply(net, plan, state, sums, 0.01) is None
    assert [state.step for state in states] == [4, 4]
    a, b = nets
    atol = tolerance(dtype) * abs(b.parameters).max()
    np.testing.assert_allclose(a.parameters, b.parameters, rtol=tolerance(dtype), atol=atol)
    for name in optimizer.used_slots:
        of = [state.slots[name] for state in states]
        atol = tolerance(dtype) * abs(of[1]).max()
        np.testing.assert_allclose(of[0], of[1], rtol=tolerance(dtype), atol=atol)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("number", "eta", "what"), [(np.nan, 0.1, "gradient"), (1e38, 1e3, "parameters")]
)
def test_what_is_not_finite_changes_nothing(
    number: float, eta: float, what: str, name: str
) -> None:
    net, rule = network("float32"), cr.GradientDescent(0.1, momentum=0.9)
    state = State(6, rule.start(net.parameters))
    before = net.parameters.copy()
    g = np.ones_like(net.parameters)
    g[6 * 37 + 37 + 5] = number
    engine = engines.choose(name, net)
    failure = engine.apply(net, Plan(rule, 8), state, Sums(1.0, 1.0, g), eta)
    assert failure is not None
    assert (failure.step, failure.layer, failure.what) == (6, 2, what)
    np.testing.assert_array_equal(net.parameters, before)
    assert not state.slots["v"].any()
    assert state.step == 6


@pytest.mark.parametrize("threads", [1, 2, 8])
@NEEDS_CORE
def test_a_step_has_the_same_bits_for_any_number_of_threads(threads: int) -> None:
    found = []
    for count in (1, threads):
        net = cr.Network([300, 400, 7], seed=0, dtype="float32", threads=count)
        state = State(0, cr.Adam().start(net.parameters))
        g = np.random.default_rng(0).normal(size=net.parameters.shape).astype("f4")
        plan = Plan(cr.Adam(), 8)
        engines.choose("native", net).apply(net, plan, state, Sums(3.0, 1.0, g), 0.1)
        found.append(net.parameters.copy())
    np.testing.assert_array_equal(*found)


@NEEDS_CORE
def test_arrays_that_lie_otherwise_take_the_same_step() -> None:
    """Those that come from another process need not be aligned."""
    found = []
    for aligned in (True, False):
        net, rule = network("float64"), cr.Adam()
        state = State(0, rule.start(net.parameters))
        for name, slot in state.slots.items() if not aligned else ():
            state.slots[name] = np.zeros(slot.nbytes + 1, np.uint8)[1:].view(slot.dtype)
        g = np.random.default_rng(0).normal(size=net.parameters.shape)
        engines.choose("native", net).apply(net, Plan(rule, 8), state, Sums(3.0, 1.0, g), 0.1)
        found.append(np.array(net.parameters))
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("leaves", [1, 2, 3, 5, 8, 13, 16])
@pytest.mark.parametrize("seed", range(6))
def test_sums_that_come_one_by_one_are_added_as_the_same_tree(leaves: int, seed: int) -> None:
    """Also where some shards have no rows left, and a worker has some of the leaves."""
    rng = np.random.default_rng(seed)
    taken = [k for k in range(leaves) if k == 0 or rng.random() < 0.7]
    vectors = {k: rng.normal(size=40) * 10.0 ** rng.integers(-8, 8) for k in taken}
    first, last = sorted(rng.integers(0, leaves + 1, 2))
    for mine in (range(leaves), range(first, last)):
        leaf = {k: Sums(1.0, 1.0, v.copy()) for k, v in vectors.items() if k in mine}
        tree = Tree(np.empty(40), leaves, mine)
        for _ in range(2):  # the arrays of the first step serve the second
            tree.begin()
            for k in sorted(leaf):
                g = tree.array()
                g[...] = vectors[k]
                tree.put(k, Sums(1.0, 1.0, g))
            nodes = tree.nodes()
            expected = folded({k: Sums(1.0, 1.0, v.g.copy()) for k, v in leaf.items()}, leaves,
                              Sums.add, mine)  # fmt: skip
            assert sorted(nodes) == sorted(expected)
            for k, sums in nodes.items():
                np.testing.assert_array_equal(sums.g, expected[k].g)
                assert sums.weight == expected[k].weight
    whole = tree_sum({k: Sums(1.0, 1.0, v.copy()) for k, v in vectors.items()}, leaves)
    assert whole.weight == len(taken)
