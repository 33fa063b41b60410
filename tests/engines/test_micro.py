"""Engine.gradient and Engine.apply: the two halves of a step of micro-batches."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import engines
from chainrule.engines.base import MicroBatch, Plan, State, Sums, summed
from chainrule.engines.micro import folded, subtrees, tree_sum
from chainrule.equations.data import Samples
from chainrule.equations.losses import LOSSES
from chainrule.equations.weighted import weighted
from tests.engines.customs import SOFTSIGN, LogCosh
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
    sums = engine.gradient(net, [MicroBatch(samples, np.arange(23), 5, outputs)], 30, g)
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


def leaves_of(count: int, seed: int) -> tuple[Samples, list[MicroBatch]]:
    """Micro-batches of uneven sizes, in any order."""
    rng = np.random.default_rng(seed)
    samples = Samples(X.astype("f4"), Y.astype("f4"), WEIGHTS)
    orders = [rng.permutation(23)[: rng.integers(1, 8)] for _ in range(count)]
    return samples, [MicroBatch(samples, order, 40 + k) for k, order in enumerate(orders)]


def copied(sums: Sums) -> Sums:
    return Sums(sums.weight, sums.loss, sums.g.copy(), sums.failure)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13, 16])
@pytest.mark.parametrize("sizes", [[6, 5, 3], [6, 300, 200, 3]], ids=str)
@NEEDS_CORE
def test_the_core_adds_the_same_tree_with_any_number_of_threads(
    sizes: list[int], count: int, threads: int
) -> None:
    """To the bit, as each micro-batch alone, added by `folded`, as other workers do."""
    net = cr.Network(sizes, hidden="relu", dropout=0.2, seed=1, dtype="float32", threads=1)
    _, batches = leaves_of(count, seed=count)
    engine, g = engines.choose("native", net), np.empty_like(net.parameters)
    alone = {k: copied(engine.gradient(net, [b], 8, g)) for k, b in enumerate(batches)}
    expected = tree_sum(alone, count)
    net.threads = threads
    for _ in range(3):
        found = engines.choose("native", net).gradient(net, batches, 8, g)
        np.testing.assert_array_equal(found.g, expected.g)
        assert (found.weight, found.loss) == (expected.weight, expected.loss)


@pytest.mark.parametrize("leaves", [1, 2, 3, 5, 8, 13, 16, 100])
@pytest.mark.parametrize("seed", range(6))
def test_subtrees_are_what_folding_leaves_of_the_leaves_of_a_worker(leaves: int, seed: int) -> None:
    """Also where the last shards have no rows left."""
    rng = np.random.default_rng(seed)
    first, last = sorted(rng.integers(0, leaves + 1, 2))
    mine, taken = range(first, last), range(rng.integers(1, leaves + 1))
    vectors = {k: rng.normal(size=9) * 10.0 ** rng.integers(-8, 8) for k in taken if k in mine}
    given = {k: Sums(1.0, 1.0, v.copy()) for k, v in vectors.items()}
    expected = folded(given, leaves, Sums.add, mine)
    found = {}
    for block in subtrees(mine, leaves):
        own = [k for k in block if k in taken]
        if own:
            found[block.start] = summed([partial(filled, vectors[k]) for k in own], np.empty(9))
    assert sorted(found) == sorted(expected)
    for k, sums in found.items():
        np.testing.assert_array_equal(sums.g, expected[k].g)
        assert sums.weight == expected[k].weight


def filled(vector: Any, g: Any) -> Sums:
    g[...] = vector
    return Sums(1.0, 1.0, g)


CASES: dict[str, dict[str, Any]] = {
    "biases": {"biases": False},
    "classes": {"output": "softmax", "loss": "cross_entropy"},
    "dropout": {"dropout": 0.3},
    "several layers": {"sizes": [6, 9, 8, 7, 3], "hidden": "gelu"},
    "wide": {"sizes": [6, 700, 3], "hidden": "silu"},
    "one output": {"sizes": [6, 4, 1], "output": "sigmoid", "loss": "binary_cross_entropy"},
    "narrow": {"sizes": [2, 2, 1]},
    "functions of a user": {"hidden": SOFTSIGN, "output": SOFTSIGN, "loss": LogCosh()},
    "weights of outputs": {"loss": weighted(LOSSES["huber"], np.array([1, 0, 2]))},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", DTYPES)
@NEEDS_CORE
def test_the_core_has_the_gradient_of_the_reference(dtype: str, case: str) -> None:
    """With the masks of a draw, the penalty, and the rows that are named, in whatever layout."""
    more = dict(CASES[case])
    sizes = more.pop("sizes", [6, 37, 3])
    net = cr.Network(sizes, **{"hidden": "tanh", "seed": 3, "l2": 0.01, "dtype": dtype, **more})
    y = np.abs(Y[:, : sizes[-1]]) % 1
    if case == "classes":
        y = np.argmax(Y, axis=1)
    for samples in (
        Samples(X[:, : sizes[0]], y),
        Samples(X[:, : sizes[0]].astype("f2"), y, WEIGHTS),
        Samples(np.asfortranarray(X[:, : sizes[0]].astype("f4")), y, WEIGHTS[::-1]),
    ):
        found = []
        for name in ("native", "reference"):
            outputs = np.zeros((23, sizes[-1]), dtype)
            batches = [
                MicroBatch(samples, np.array(rows), draw, outputs)
                for draw, rows in ((7, [3, 4, 5, 9]), (8, [22, 1]), (9, [2, 0, 6, 7, 8]))
            ]
            g = np.full_like(net.parameters, 7)
            sums = engines.choose(name, net).gradient(net, batches, 8, g)
            found.append((sums, outputs))
        (sums, a), (expected, b) = found
        scale = abs(expected.g).max()
        np.testing.assert_allclose(sums.g, expected.g, rtol=0, atol=scale * tolerance(dtype))
        assert sums.weight == pytest.approx(expected.weight)
        assert sums.loss == pytest.approx(expected.loss, rel=tolerance(dtype))
        np.testing.assert_allclose(a, b, rtol=tolerance(dtype), atol=tolerance(dtype))
        assert not a[10:22].any()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("order", "where"), [([1, 5, 2], (1, "z")), ([1, 2, 5], (2, "loss"))])
def test_the_first_micro_batch_that_is_not_finite_is_named(
    order: list[int], where: tuple[int, str], name: str
) -> None:
    net = cr.Network([6, 4, 3], hidden="relu", seed=3, dtype="float32")
    far, much = X.astype("f4").copy(), Y.astype("f4").copy()
    far[5], much[2] = 3e38 * np.sign(net.layers[1].W[0]), 3e30
    batches = [MicroBatch(Samples(far, much), np.array([k]), k) for k in order]
    g = np.empty_like(net.parameters)
    failure = engines.choose(name, net).gradient(net, batches, 1, g).failure
    assert failure is not None
    assert (failure.step, failure.layer, failure.what) == (0, *where)


@NEEDS_CORE
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": np.arange(9)}, "from 1 to batch_size rows"),
        ({"rows": np.array([], np.int64)}, "from 1 to batch_size rows"),
        ({"rows": np.array([23])}, "a sample that X does not have"),
        ({"rows": np.array([-1])}, "a sample that X does not have"),
        ({"outputs": np.empty((22, 3))}, "outputs do not fit X"),
    ],
)
def test_the_core_refuses_what_does_not_fit(change: dict[str, Any], message: str) -> None:
    net = network("float64")
    fits: dict[str, Any] = {"samples": Samples(X, Y), "rows": np.arange(3), "draw": 0}
    with pytest.raises(ValueError, match=message):
        engines.choose("native", net).gradient(
            net, [MicroBatch(**(fits | change))], 8, np.empty_like(net.parameters)
        )
