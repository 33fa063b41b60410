"""The native engine against the reference: kernels, single parts, whole runs, behaviour."""

from __future__ import annotations

import copy
import os
import pickle
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import engines
from chainrule.engines import compiled
from chainrule.engines.base import Epoch, Plan, State
from chainrule.engines.reference import ReferenceEngine
from chainrule.equations import activations, data
from chainrule.equations.schedules import Schedule
from tests.engines.runs import DTYPES, LOSSES_AND_OUTPUTS, SMOOTH, agree_with_reference, train

_native = pytest.importorskip("chainrule.engines._native", reason="a pure Python installation")
from chainrule.engines.native import NativeEngine  # noqa: E402

ISAS = _native.available_instruction_sets()
ACTIVATIONS = list(activations.ACTIVATIONS)


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest) -> Any:
    _native.force_instruction_set(request.param)
    yield request.param
    _native.force_instruction_set(None)


def agree(sizes: list[int], threads: int = 2, **options: Any) -> None:
    agree_with_reference(NativeEngine(threads), sizes, **options)


# Kernels


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [1, 5, 6, 7, 13])
@pytest.mark.parametrize("n", [1, 3, 15, 16, 17, 63, 64, 65, 130])
def test_product(isa: str, dtype: str, m: int, n: int) -> None:
    rng = np.random.default_rng(m * n)
    for k in (1, 7, 159, 161, 400):
        A, B = rng.normal(size=(m, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype)
        C = np.full((m, n), np.nan, dtype)
        _native.product(A, B, C)
        np.testing.assert_allclose(C, A @ B, rtol=0, atol=4 * k * float(np.finfo(dtype).eps))


def test_dropout_words(isa: str) -> None:
    from chainrule.random import dropout_mask

    seed, step, rate = 2**40 + 12345, 2**33 + 7, 0.3
    for units in (1, 4, 7, 70):
        words = np.empty(units, np.uint32)
        kept = dropout_mask(seed, step, 3, 10, units, rate, "float64") > 0
        for row in range(10):
            _native.dropout_words(seed, row, 3, step & 0xFFFFFFFF, words)
            assert np.array_equal(words >= int(rate * 2**32), kept[row])


# Whole runs of 200 steps


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "sizes",
    [[1, 1], [2, 2, 1], [2, 8, 8, 1], [3, 1, 4], [13, 37, 5], [17, 16, 33, 15], [5, 100, 7, 65, 3],
     [9, *[8] * 6, 2], [64, 63, 65, 129, 10]],
    ids=str,
)  # fmt: skip
def test_sizes(isa: str, dtype: str, sizes: list[int]) -> None:
    agree(sizes, dtype=dtype, hidden="tanh")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [1, 2, 11, 47])
def test_batches(isa: str, dtype: str, batch: int) -> None:
    for sizes in ([4, 7, 3], [13, 37, 5]):
        agree(sizes, dtype=dtype, hidden="tanh", batch=batch, epochs=200 * batch // 47 + 1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_batches_large_for_their_network(isa: str, dtype: str) -> None:
    """dW is summed over each half of the batch; one of 1, of 2 and of 97 samples ends the epoch."""
    for n in (201, 202, 297):
        options: dict[str, Any] = {
            "n": n,
            "batch": 200,
            "epochs": 20,
            "dtype": dtype,
            "hidden": "tanh",
            "l2": 0.1,
        }
        runs = [train(NativeEngine(threads), [13, 37, 40, 5], **options) for threads in (1, 2, 3)]
        for net, losses, _, _ in runs[1:]:
            assert np.array_equal(net.parameters, runs[0][0].parameters)
            assert losses == runs[0][1]
        agree([13, 37, 40, 5], **options)


@pytest.mark.parametrize("sizes", [[64, 20, 3], [300, 5, 2]], ids=str)
def test_a_batch_beyond_the_cache_of_a_small_network(isa: str, sizes: list[int]) -> None:
    """a^(0) is over 4 MB, and dW is summed over each half of the batch."""
    n = 6_000_000 // sizes[0] // 4
    options = {"n": n, "batch": n, "epochs": 2, "dtype": "float32", "hidden": "tanh"}
    options["optimizer"] = cr.GradientDescent(1.0)
    runs = [train(NativeEngine(threads), sizes, **options) for threads in (1, 2, 3)]
    exact = train(ReferenceEngine(), sizes, **options)[0].parameters
    for net, _, _, _ in runs:
        assert np.array_equal(net.parameters, runs[0][0].parameters)
        np.testing.assert_allclose(net.parameters, exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("clip", [None, 0.5])
def test_a_batch_beyond_the_cache(isa: str, dtype: str, clip: float | None) -> None:
    """a^(0) is over 4 MB, so that its columns are gathered for dW."""
    options: dict[str, Any] = {
        "n": 1100,
        "batch": 1024,
        "epochs": 3,
        "dtype": dtype,
        "hidden": "tanh",
        "l2": 0.01,
        "clip": clip,
    }
    agree([1190, 70, 3], **options)
    runs = [train(NativeEngine(threads), [1190, 70, 3], **options) for threads in (1, 2, 3)]
    for net, losses, _, _ in runs[1:]:
        assert np.array_equal(net.parameters, runs[0][0].parameters)
        assert losses == runs[0][1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", ACTIVATIONS[:-1])
def test_activations(isa: str, dtype: str, hidden: str) -> None:
    output = hidden if hidden in SMOOTH else "identity"
    for sizes in ([4, 7, 3], [13, 37, 5]):
        agree(sizes, dtype=dtype, hidden=hidden, output=output, optimizer=cr.GradientDescent(0.01))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("units", [7, 100])
@pytest.mark.parametrize("options", [{}, {"dropout": 0.5}], ids=["", "dropout"])
@pytest.mark.parametrize("hidden", ["sigmoid", "tanh", "elu", "gelu", "silu", "softplus"])
def test_gradients_of_saturated_units_keep_their_digits(
    isa: str, dtype: str, units: int, options: dict[str, Any], hidden: str
) -> None:
    """δ of every hidden unit to its last digits, however near a is to 1 or -1."""
    z = np.linspace(-30, 30, units).astype(dtype)
    W, b = [z[:, None], np.linspace(1, 2, units)[None]], [np.zeros(units), np.zeros(1)]
    for n in (1, 19):  # one sample, and eight at once and the rest
        nets = [
            cr.Network([1, units, 1], hidden=hidden, dtype=kind, W=W, b=b, seed=0, **options)  # type: ignore[arg-type]
            for kind in (dtype, "float64")
        ]
        X, y = np.ones((n, 1), dtype), np.full((n, 1), 1e5, dtype)  # the same error for all n
        rule = cr.GradientDescent(momentum=0.5)  # leaves the gradient in v
        state = State(slots=rule.start(nets[0].parameters))
        epoch = Epoch(data.Samples(X, y), Plan(rule, n), np.zeros(1))
        NativeEngine(2).run_epoch(nets[0], epoch, state)
        exact = nets[1].gradient(X, y, dropout_step=0).db[1]
        found = state.slots["v"][units : 2 * units]  # W and b of layer 1
        root = hidden in ("gelu", "silu")  # of g', where parts cancel
        atol = 1e5 * 16 * np.finfo(dtype).eps if root else 0
        wide = np.abs(z) > 3
        np.testing.assert_allclose(found, exact, rtol=32 * np.finfo(dtype).eps, atol=atol)
        np.testing.assert_allclose(
            found[wide], exact[wide], rtol=64 * np.finfo(dtype).eps, atol=1e5 * np.finfo(dtype).tiny
        )


def test_rmsprop_moves_a_unit_that_is_far_from_its_bend() -> None:
    """Its steps depend on the digits of g' alone: with none of them it stood still."""
    nets = []
    for engine in ("native", "reference"):
        net = cr.Network(
            [1, 1, 1], hidden="elu", dtype="float32", W=[[[1.0]], [[1.0]]], engine=engine
        )
        net.layers[1].b = [-18.0]
        rule = cr.RMSProp(0.01, epsilon=1e-30)
        net.fit([[0.0]], [[3.0]], optimizer=rule, epochs=50, verbose=0)
        nets.append(net.layers[1].b[0])  # type: ignore[index]
    assert nets[0] > -17.5
    assert nets[0] == pytest.approx(nets[1], rel=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("loss", "output"), LOSSES_AND_OUTPUTS)
def test_losses(isa: str, dtype: str, loss: str, output: str) -> None:
    for sizes in ([4, 7, 3], [13, 37, 5]):
        agree(sizes, dtype=dtype, hidden="tanh", loss=loss, output=output)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "optimizer",
    [cr.GradientDescent(0.02, momentum=0.9), cr.GradientDescent(0.02, momentum=0.9, nesterov=True),
     cr.AdaGrad(0.01), cr.RMSProp(0.001), cr.Adam(0.001), cr.AdamW(0.001, weight_decay=0.1)],
    ids=str,
)  # fmt: skip
def test_optimizers(isa: str, dtype: str, optimizer: Any) -> None:
    for sizes in ([4, 7, 3], [13, 37, 5]):
        agree(sizes, dtype=dtype, hidden="tanh", optimizer=optimizer)


WEIGHTS = np.random.default_rng(5).uniform(0, 2, 47)
WEIGHTS[:15] = 0  # with the samples in order, a whole batch of weight 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "options",
    [{"dropout": 0.3}, {"l2": 0.1}, {"l2": 1.0, "l2_per_sample": True},
     {"l2": 1.0, "l2_per_sample": True, "weights": WEIGHTS, "clip": 0.05},
     {"l2": 1.0, "l2_per_sample": True, "weights": WEIGHTS, "shuffle": False},
     {"clip": 0.01}, {"weights": WEIGHTS}, {"biases": False},
     {"shuffle": False}, {"weights": WEIGHTS, "shuffle": False},
     {"dropout": 0.5, "l2": 0.1, "clip": 0.05, "weights": WEIGHTS, "optimizer": cr.Adam(0.01)}],
    ids=lambda options: "-".join(options),
)  # fmt: skip
def test_features(isa: str, dtype: str, options: dict[str, Any]) -> None:
    for sizes in ([4, 7, 3], [13, 37, 40, 5]):
        agree(sizes, dtype=dtype, hidden="tanh", **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [1, 12])
@pytest.mark.parametrize("sizes", [[4, 7, 3], [13, 37, 40, 5]])
def test_only_the_ratios_of_weights_count(
    isa: str, dtype: str, batch: int, sizes: list[int]
) -> None:
    """To the bit, from the smallest numbers to the largest; and a batch of light samples counts."""
    weights = np.random.default_rng(3).integers(0, 8, 47).astype(float)
    options: dict[str, Any] = {"dtype": dtype, "hidden": "tanh", "batch": batch, "epochs": 3}
    net, losses, _, _ = train(NativeEngine(2), sizes, weights=weights, **options)
    for power in (-1074, -1020, -300, 300, 1020):
        scaled = np.ldexp(weights, power)
        twin, twins_losses, _, _ = train(NativeEngine(2), sizes, weights=scaled, **options)
        assert np.array_equal(twin.parameters, net.parameters)
        assert twins_losses == losses
    uneven = weights.copy()
    uneven[: 3 * batch] = np.ldexp(weights[: 3 * batch], -1000)
    uneven[3 * batch :] = np.ldexp(weights[3 * batch :], 1000)
    nets = [
        train(NativeEngine(2), sizes, weights=w, **options, shuffle=False)[0].parameters
        for w in (weights, uneven)
    ]
    assert np.array_equal(*nets)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [[4, 3], [4, 7, 3], [13, 37, 40, 5]])
def test_largest_loss(isa: str, dtype: str, sizes: list[int]) -> None:
    """About the middle of the samples' losses, so that some count as less than they are."""
    agree(sizes, dtype=dtype, largest_loss=0.05)
    softmax: dict[str, Any] = {"output": "softmax", "loss": "cross_entropy"}
    y = np.random.default_rng(2).integers(0, 3, 47)
    agree(sizes, dtype=dtype, largest_loss=1.0, y=y, **softmax)
    plain = train(NativeEngine(1), sizes, dtype=dtype, y=y, **softmax)[1]
    capped = train(NativeEngine(1), sizes, dtype=dtype, y=y, largest_loss=1.0, **softmax)[1]
    assert capped[:50] == plain[:50]  # what is trained is the same
    assert capped[50::2] < plain[50::2]


def test_schedule(isa: str) -> None:
    agree([4, 7, 3], optimizer=cr.GradientDescent(cr.Cosine(0.1, epochs=50)))


def test_classes(isa: str) -> None:
    y = np.random.default_rng(2).integers(0, 3, 47)
    agree([4, 7, 3], hidden="relu", output="softmax", loss="cross_entropy", y=y)


@pytest.mark.parametrize(
    "layout",
    ["column-major", "every second", "backwards", "unaligned", "int8", ">f8", "float16"],
)
def test_layouts(isa: str, layout: str) -> None:
    X = np.random.default_rng(2).normal(scale=3, size=(47, 13))
    match layout:
        case "column-major":
            X = np.asfortranarray(X)
        case "every second":
            X = np.repeat(np.repeat(X, 2, axis=0), 2, axis=1)[::2, ::2]
        case "backwards":
            X = X[::-1, ::-1]
        case "unaligned":
            raw = np.zeros(X.nbytes + 1, np.uint8)
            raw[1:] = np.frombuffer(X.tobytes(), np.uint8)
            X = raw[1:].view("float64").reshape(X.shape)
        case _:
            X = X.astype(layout)
    for dtype in DTYPES:
        agree([13, 37, 5], X=X, hidden="tanh", dtype=dtype)
    agree([13, 6, 5], X=X, hidden="tanh")


def test_layouts_of_classes() -> None:
    many = np.random.default_rng(2).integers(0, 3, 94)
    layouts = [many[::2], many[:47][::-1], np.stack([many[:47]] * 3, axis=1)[:, 1]]
    for y in (*layouts, many[::2].astype(">i8"), many[::2].astype("uint8")):
        nets = []
        for classes in (y, y.astype("int64")):
            net = cr.Network([4, 7, 3], output="softmax", loss="cross_entropy", seed=0)
            net.fit(np.ones((47, 4)), classes, epochs=2, verbose=0)
            nets.append(net.parameters)
        assert np.array_equal(nets[0], nets[1])


# Behaviour


def test_threads_of_a_network() -> None:
    X = np.random.default_rng(0).normal(size=(500, 64))
    alone, both = (cr.Network([64, 64, 32, 10], seed=0, threads=threads) for threads in (1, None))
    for net in (alone, both):
        net.fit(X, X[:, :10], epochs=2, verbose=0)
    assert np.array_equal(alone.parameters, both.parameters)
    assert (alone.threads, both.threads) == (1, None)
    for wrong, error in ((0, ValueError), (1.5, TypeError), ("2", TypeError)):
        with pytest.raises(error, match="threads must be"):
            cr.Network([2, 1], threads=wrong)  # type: ignore[arg-type]


def test_a_schedule_that_holds_an_array() -> None:
    @dataclass(frozen=True)
    class Table(Schedule):
        values: np.ndarray

        def rate(self, epoch: float, losses: Any = ()) -> float:
            return float(self.values[int(epoch)])

    net = cr.Network([2, 3, 1], seed=0)
    for _ in range(2):
        rule = cr.GradientDescent(Table(np.array([0.1, 0.01])))
        assert net.fit(np.ones((8, 2)), np.zeros(8), optimizer=rule, epochs=2, verbose=0)


@pytest.mark.parametrize("optimizer", [cr.Adam(0.01, epsilon=1e-46), cr.AdaGrad(epsilon=1e-50)])
def test_an_epsilon_that_rounds_to_0(isa: str, optimizer: Any) -> None:
    for sizes in ([4, 7, 3], [13, 37, 5]):  # padded to whole vectors, where every g is 0
        agree(sizes, dtype="float32", hidden="tanh", optimizer=optimizer, epochs=2)


@pytest.mark.parametrize("wrong", [5, -1, 10**12])
def test_classes_that_change_during_fit_stay_in_bounds(wrong: int) -> None:
    y = np.arange(64) % 3

    def change(run: Any) -> None:
        y[:] = wrong

    net = cr.Network([4, 40, 3], output="softmax", loss="cross_entropy", seed=0)
    net.fit(np.ones((64, 4)), y, epochs=3, verbose=0, callbacks=[change], metrics=[])
    assert np.isfinite(net.parameters).all()


@pytest.mark.parametrize(
    "options", [{}, {"clip": 0.01, "l2": 0.1, "dropout": 0.2, "optimizer": cr.Adam(0.01)}]
)
@pytest.mark.parametrize("sizes", [[64, 64, 32, 10], [100, 300, 200, 3]], ids=str)
def test_same_bits_at_any_number_of_threads(options: dict[str, Any], sizes: list[int]) -> None:
    runs = [train(NativeEngine(t), sizes, batch=32, n=96, epochs=10, dtype="float32", **options)
            for t in (1, 2, 2, 3, 8)]  # fmt: skip
    for net, losses, outputs, _ in runs[1:]:
        assert np.array_equal(net.parameters, runs[0][0].parameters)
        assert losses == runs[0][1]
        assert np.array_equal(outputs, runs[0][2])


def test_auto_takes_the_native_engine() -> None:
    assert cr.Network([2, 2, 1]).engine == "native"
    assert cr.Network([2, 2, 1], engine="reference").engine == "reference"


class Bent(cr.Activation):
    name = "bent"
    formula = "z**3"
    derivative_formula = "3*z**2"

    def value(self, z: Any) -> Any:
        return z**3

    def derivative(self, z: Any, a: Any) -> Any:
        return 3 * z**2


def test_own_activation_falls_back_and_says_so_once() -> None:
    X = np.zeros((4, 2))
    engines._said.clear()
    net = cr.Network([2, 3, 1], hidden=Bent(), seed=0)
    assert net.engine == "reference"
    with pytest.warns(engines.EngineWarning, match=r"reference engine.*'bent'"):
        net.fit(X, X[:, :1], epochs=1, verbose=0)
    net.fit(X, X[:, :1], epochs=1, verbose=0)  # the second warning would be an error
    with pytest.raises(ValueError, match=r"native.*'bent'"):
        cr.Network([2, 3, 1], hidden=Bent(), seed=0, engine="native").fit(X, X[:, :1], verbose=0)


@pytest.mark.parametrize("sizes", [[2, 2, 1], [13, 37, 5], [3, 40, 2]], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 5, 97, 1000])
def test_predict(isa: str, sizes: list[int], dtype: Any, n: int) -> None:
    X = np.random.default_rng(0).normal(size=(n, sizes[0]))
    for output in ("identity", "softmax"):
        net = cr.Network(sizes, hidden="gelu", output=output, dtype=dtype, seed=0)
        exact = ReferenceEngine().predict(net, X)
        np.testing.assert_allclose(
            NativeEngine(2).predict(net, X), exact, atol=100 * float(np.finfo(dtype).eps), rtol=0
        )
        net.layers[1].W[0, 0] += 1  # parameters set in place count
        assert not np.allclose(NativeEngine(2).predict(net, X), exact) or output == "softmax"


@pytest.mark.parametrize("sizes", [[2, 2, 1], [13, 37, 5], [67, 40, 33], [100, 64, 2]], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("given", ["float32", "float64", "int8", "strided"])
def test_every_prediction_after_the_first(
    isa: str, sizes: list[int], dtype: Any, given: str
) -> None:
    """`Network.predict` has a shortcut from its second call on: it gives and refuses the same."""
    net = cr.Network(sizes, hidden="tanh", dtype=dtype, seed=0, engine="native")
    twin = cr.Network(sizes, hidden="tanh", dtype=dtype, seed=0, engine="reference")
    for n in (1, 3, 5, 40):
        X = np.random.default_rng(n).normal(size=(n, 2 * sizes[0])) * 3
        X = X[:, ::2] if given == "strided" else X[:, : sizes[0]].astype(given)
        exact = twin.predict(X)
        tolerance: dict[str, Any] = {"rtol": 0, "atol": 100 * np.finfo(dtype).eps}
        for _ in range(3):
            np.testing.assert_allclose(net.predict(X), exact, **tolerance)
            assert net.predict(X).dtype == dtype
        np.testing.assert_allclose(net.predict(X[0]), exact[0], **tolerance)
        for layer in (1, 2):  # parameters set in place count
            for each in (net, twin):
                each.layers[layer].W[0, 1] += 1
                each.layers[layer].b[0] -= 1
            np.testing.assert_allclose(net.predict(X), twin.predict(X), **tolerance)
    if X.dtype.kind == "f":
        for value in (np.nan, np.inf, -np.inf):
            bad = X.copy()
            bad[-1, -1] = value
            with pytest.raises(ValueError, match=r"X\["):
                net.predict(bad)
    with pytest.raises(ValueError, match="columns"):
        net.predict(X[:, 1:])
    with pytest.raises(ValueError, match="zero samples"):
        net.predict(X[:0])
    for value in (np.nan, np.inf):
        for n in (1, 40):
            net.layers[2].W[0, 1] = 0  # refused by `Layer.W = ...`, possible in place
            net.predict(X[:n])
            net.layers[2].W[0, 1:2].fill(value)
            with pytest.raises(ValueError, match=r"layers\[2\].W\[0, 1\]"):
                net.predict(X[:n])


def test_a_prediction_that_overflows_says_so_in_its_result() -> None:
    X = np.full((1, 40), 1e30)
    for output, expected in (("identity", np.inf), ("sigmoid", 1)):
        net = cr.Network([40, 40, 1], output=output, dtype="float32", seed=0, engine="native")
        net.layers[1].W[...] = 1e9
        net.layers[2].W[...] = 1
        for _ in range(3):
            with pytest.warns(RuntimeWarning, match="z of layer 1 is not finite for sample 0"):
                assert net.predict(X)[0, 0] == expected


def test_a_copy_predicts_with_its_own_parameters() -> None:
    X = np.ones((3, 2))
    net = cr.Network([2, 3, 1], seed=0)
    before = net.predict(X)
    for twin in (net.copy(), copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        twin.parameters[...] = 0
        assert not twin.predict(X).any()
        np.testing.assert_array_equal(net.predict(X), before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("loss", "output"), LOSSES_AND_OUTPUTS)
def test_losses_of_samples(isa: str, dtype: Any, loss: str, output: str) -> None:
    rng = np.random.default_rng(0)
    for sizes, n in [([4, 7, 3], 1), ([13, 37, 5], 97), ([67, 40, 33], 3), ([67, 40, 33], 450)]:
        net = cr.Network(sizes, hidden="tanh", loss=loss, output=output, dtype=dtype, seed=0)
        X = rng.normal(size=(n, sizes[0])).astype(dtype)
        y = rng.uniform(0.05, 0.95, size=(sizes[-1], n)).astype(dtype).T  # column by column
        engine, a, a_exact = NativeEngine(2), np.empty_like(y, order="C"), np.empty_like(y)
        exact = ReferenceEngine().losses(net, X, y, a_exact)
        tolerance = 100 * float(np.finfo(dtype).eps)
        C = engine.losses(net, X, y, a)
        for found, expected in ((C, exact), (a, a_exact), (engine.predict(net, X), a_exact)):
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def test_losses_of_samples_that_are_not_finite() -> None:
    net = cr.Network([3, 40, 2], hidden="relu", seed=0)
    X, y, a = np.ones((4, 3)), np.zeros((4, 2)), np.empty((4, 2))
    X[2] = 1e200
    net.layers[1].W[...] = 1e200
    C = NativeEngine(2).losses(net, X, y, a)
    np.testing.assert_array_equal(C, ReferenceEngine().losses(net, X, y, np.empty((4, 2))))
    assert not np.isfinite(C[2])


def test_predictions_from_several_threads() -> None:
    nets = [cr.Network([8, 16, 2], seed=seed) for seed in range(2)]
    X = np.random.default_rng(0).normal(size=(500, 8))
    exact = [net.predict(X) for net in nets]
    wrong: list[int] = []

    def predict(seed: int) -> None:
        net, expected = nets[seed % 2], exact[seed % 2]
        wrong.extend(
            n for n in (1, 2, 500) * 50 if not np.allclose(net.predict(X[:n]), expected[:n])
        )

    threads = [threading.Thread(target=predict, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("sizes", [[2, 3, 1], [20, 50, 1]], ids=str)
def test_failure_is_the_references(isa: str, sizes: list[int]) -> None:
    """A step that overflows is not applied, and the same step and layer are named."""
    X = np.random.default_rng(0).normal(size=(40, sizes[0]))
    results = []
    for engine in (NativeEngine(2), ReferenceEngine()):
        net = cr.Network(sizes, hidden="relu", seed=3)
        optimizer = cr.GradientDescent(50.0)
        state = State(slots={})
        epoch = Epoch(data.Samples(X, X[:, :1]), Plan(optimizer, 2), np.full(20, 50.0))
        result = engine.run_epoch(net, epoch, state)
        results.append((result.failure, result.steps, result.samples, state.step))
        assert np.isfinite(net.parameters).all()
    assert results[0][0] is not None
    assert results[0] == results[1]


def test_callback_at_most_every_50_ms() -> None:
    """Fewer calls than 50 ms go into the time it took, however busy the machine is."""
    X = np.random.default_rng(0).normal(size=(50_000, 20)).astype("float32")
    net = cr.Network([20, 60, 1], dtype="float32", seed=0)
    calls: list[int] = []

    def on_progress(steps: int, loss: float) -> bool:
        calls.append(steps)
        return False

    begun = time.perf_counter()
    plan = Plan(cr.GradientDescent(1e-4), 8)
    epoch = Epoch(data.Samples(X, X[:, :1]), plan, np.full(6250, 1e-4))
    result = NativeEngine(1).run_epoch(net, epoch, State(), on_progress)
    seconds = time.perf_counter() - begun
    assert result.steps == calls[-1] == 6250
    assert len(calls) <= seconds / 0.05 + 2  # the last is that at the epoch's end
    assert calls == sorted(set(calls))


def test_a_callback_can_stop_the_epoch() -> None:
    X = np.zeros((400_000, 20), "float32")
    net = cr.Network([20, 60, 1], dtype="float32", seed=0)
    plan = Plan(cr.GradientDescent(1e-4), 8)
    epoch = Epoch(data.Samples(X, X[:, :1]), plan, np.full(50_000, 1e-4))
    result = NativeEngine(1).run_epoch(net, epoch, State(), lambda steps, loss: True)
    assert result.stopped
    assert 0 < result.steps < 50_000


def test_a_callback_that_raises_ends_the_epoch() -> None:
    X = np.zeros((400_000, 20), "float32")
    net = cr.Network([20, 60, 1], dtype="float32", seed=0)

    plan = Plan(cr.GradientDescent(1e-4), 4)
    epoch = Epoch(data.Samples(X, X[:, :1]), plan, np.full(100_000, 1e-4))

    def on_progress(steps: int, loss: float) -> bool:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        NativeEngine(1).run_epoch(net, epoch, State(), on_progress)
    assert np.isfinite(net.parameters).all()


@pytest.mark.parametrize("clip", [None, 0.01])
def test_a_step_that_is_left_has_changed_nothing(clip: float | None) -> None:
    """Wherever in a long step the wish to stop falls, its update included."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(8192, 500)).astype("float32")
    samples, plan = data.Samples(X, X[:, :8]), Plan(cr.Adam(1e-3), 4096, clip)

    def stop_after(calls: int) -> Callable[[int, float], bool]:
        left = iter(range(calls))
        return lambda steps, loss: next(left, None) is None

    whole = []
    for steps in range(3):
        net = cr.Network([500, 1100, 1100, 8], dtype="float32", seed=0)
        state = State(slots=plan.optimizer.start(net.parameters))
        part = data.Samples(X[: 4096 * steps], X[: 4096 * steps, :8])
        if steps:
            NativeEngine(2).run_epoch(net, Epoch(part, plan, np.full(steps, 1e-3)), state)
        whole.append([net.parameters, *state.slots.values()])
    left = set()
    for calls in range(1, 12):
        net = cr.Network([500, 1100, 1100, 8], dtype="float32", seed=0)
        state = State(slots=plan.optimizer.start(net.parameters))
        epoch = Epoch(samples, plan, np.full(2, 1e-3))
        result = NativeEngine(2).run_epoch(net, epoch, state, stop_after(calls))
        left.add(result.steps)
        assert state.step == result.steps
        for found, expected in zip(
            [net.parameters, *state.slots.values()], whole[result.steps], strict=True
        ):
            assert np.array_equal(found, expected)
    assert 0 in left


LEFT = """
import sys, random
import numpy as np, chainrule as cr
from chainrule.equations import data
from chainrule.engines.base import Epoch, Plan, State
from chainrule.engines.native import NativeEngine
threads, trials = map(int, sys.argv[1:])
random.seed(0)
X = np.random.default_rng(0).normal(size=(12_800, 500)).astype("float32")
samples, plan = data.Samples(X, X[:, :8]), Plan(cr.GradientDescent(1e-3), 1024)
net = cr.Network([500, 800, 800, 8], dtype="float32", seed=0)
for trial in range(trials):
    calls = [random.randint(1, 3)]
    def on_progress(steps, loss):
        calls[0] -= 1
        return calls[0] <= 0
    epoch = Epoch(samples, plan, np.full(13, 1e-6))
    NativeEngine(threads).run_epoch(net, epoch, State(), on_progress)
print("all came back")
"""


@pytest.mark.parametrize("threads", [2, 4])
def test_all_threads_leave_a_step(threads: int) -> None:
    """Or none of them: one that stayed would wait for the others for ever."""
    done = subprocess.run(
        [sys.executable, "-c", LEFT, str(threads), "40"],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.stdout == "all came back\n", done.stderr


NESTED = """
import signal
import numpy as np, chainrule as cr
other, Z = cr.Network([256, 256, 10], dtype="float32", seed=1), np.ones((4000, 256), "float32")
expected, count = other.predict(Z), [0]
def handler(*_):
    count[0] += np.array_equal(other.predict(Z), expected)
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
X = np.ones((4096, 500), "float32")
net = cr.Network([500, 1600, 1600, 8], dtype="float32", seed=0)
net.fit(X, X[:, :8], batch_size=4096, epochs=3, verbose=0)
signal.setitimer(signal.ITIMER_REAL, 0)
print(count[0] > 0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal there")
def test_a_signal_handler_may_predict_during_a_long_step() -> None:
    done = subprocess.run(
        [sys.executable, "-c", NESTED], capture_output=True, text=True, timeout=300
    )
    assert done.stdout == "True\n", done.stderr


INTERRUPTED = """
import os, signal, sys, threading, time
import numpy as np, chainrule as cr
sizes, (n, batch, v) = eval(sys.argv[1]), map(int, sys.argv[2:])
X = np.zeros((n, sizes[0]), "float32")
net = cr.Network(sizes, dtype="float32", seed=0, engine="native")
y = np.zeros((n, sizes[-1]), "float32")
def interrupt():
    time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGINT)
class Start(cr.Callback):
    def on_start(self, run):
        threading.Thread(target=interrupt, daemon=True).start()
h = net.fit(X, y, epochs=10**9, batch_size=batch, validation_data=(X[:v], y[:v]), verbose=0,
            callbacks=[Start()])
print(h.stop_reason)
"""


@pytest.mark.parametrize("case", [("[2,2,1]", "100000", "1", "100000"),
                                  ("[784,512,512,10]", "20000", "128", "20000"),
                                  ("[1024,4096,4096,1024]", "2048", "1024", "99")])  # fmt: skip
@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT can't be sent there")
def test_ctrl_c(case: tuple[str, ...]) -> None:
    """It ends a run of 10⁹ epochs; `benchmarks/interrupt.py` measures how soon."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *case], capture_output=True, text=True, timeout=300
    )
    assert (done.stdout, done.returncode) == ("interrupted\n", 0), done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork() -> None:
    """A child of a process with sleeping threads trains on threads of its own."""
    sizes, options = [64, 64, 32, 10], {"batch": 32, "n": 96, "epochs": 5}
    expected = train(NativeEngine(2), sizes, **options)[0].parameters
    child = os.fork()
    if child == 0:
        ok = False
        try:
            ok = np.array_equal(train(NativeEngine(2), sizes, **options)[0].parameters, expected)
        finally:
            os._exit(0 if ok else 1)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            assert status == 0
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the child hung")


def test_two_python_threads_at_once() -> None:
    expected = train(NativeEngine(2), [64, 64, 32, 10], batch=32, n=96, epochs=20)[0].parameters
    found: list[Any] = []
    workers = [
        threading.Thread(
            target=lambda: found.append(
                train(NativeEngine(2), [64, 64, 32, 10], batch=32, n=96, epochs=20)[0].parameters
            )
        )
        for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(np.array_equal(p, expected) for p in found)
    assert len(found) == 3


def test_memory_map(tmp_path: Path) -> None:
    X = np.lib.format.open_memmap(tmp_path / "X.npy", mode="w+", dtype="float32", shape=(1000, 30))
    X[...] = np.random.default_rng(0).normal(size=X.shape)
    X.flush()
    maps = np.load(tmp_path / "X.npy", mmap_mode="r")
    nets = [cr.Network([30, 20, 1], dtype="float32", seed=0) for _ in range(2)]
    for net, given in zip(nets, (maps, np.array(X)), strict=True):
        net.fit(given, given[:, :1], epochs=2, verbose=0)
    assert np.array_equal(nets[0].parameters, nets[1].parameters)


@pytest.mark.parametrize("dtype", ["float16", ">f4"])
def test_memory_map_of_another_dtype(dtype: str, tmp_path: Path, monkeypatch: Any) -> None:
    """It is converted piece by piece, never whole."""
    X = np.random.default_rng(0).normal(size=(1000, 30)).astype(dtype)
    maps = np.memmap(tmp_path / "X", mode="w+", dtype=dtype, shape=X.shape)
    maps[...] = X
    nets = [cr.Network([30, 20, 1], dtype="float32", seed=0) for _ in range(2)]
    nets[0].fit(X.astype("float32"), X[:, :1].astype("float32"), epochs=2, verbose=0)
    expected = nets[0].predict(X.astype("float32"))

    lengths = []

    def convert(array: Any, dtype: Any) -> Any:
        lengths.append(len(array))
        return real(array, dtype)

    real = compiled._converted
    monkeypatch.setattr(compiled, "_CONVERTED", 100)
    monkeypatch.setattr(compiled, "_converted", convert)
    nets[1].fit(maps, maps[:, :1], epochs=2, verbose=0)
    found = NativeEngine(2).predict(nets[1], maps)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert lengths == [100] * 10


def environment(**variables: str) -> subprocess.CompletedProcess[str]:
    code = """
import chainrule as cr, numpy as np
X = np.zeros((8, 2))
cr.Network([2, 70, 1]).fit(X, X[:, :1], epochs=1, verbose=0)
from chainrule.engines import _native as core
print(core.instruction_set(), core.default_threads())
"""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )


@pytest.mark.skipif(
    not Path("/proc/cpuinfo").exists() or platform.machine() != "x86_64",
    reason="only Linux on x86 lists what the processor has",
)
def test_the_core_finds_what_the_processor_has() -> None:
    """By its own question, which no compiler's runtime library answers."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    flags = set(next(line for line in lines if line.startswith("flags")).split(":")[1].split())
    avx2 = {"avx2", "fma"} <= flags
    avx512 = avx2 and {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= flags
    assert ["avx512"] * avx512 + ["avx2"] * avx2 + ["baseline"] == ISAS
    assert _native.instruction_set() == (os.environ.get("CHAINRULE_ISA") or ISAS[0])


def test_forcing_an_instruction_set_while_others_train() -> None:
    """The one that is in use is read by all threads; a run keeps the one that it began with."""
    stop = threading.Event()

    def force() -> None:
        while not stop.is_set():
            for name in (*ISAS, None):
                _native.force_instruction_set(name)

    forcing = threading.Thread(target=force)
    forcing.start()
    try:
        for _ in range(20):
            agree([4, 7, 3], hidden="tanh", epochs=5)
            net = cr.Network([13, 37, 5], seed=0)
            exact = ReferenceEngine().predict(net, np.ones((9, 13)))
            np.testing.assert_allclose(net.predict(np.ones((9, 13))), exact, rtol=1e-10)
    finally:
        stop.set()
        forcing.join()
        _native.force_instruction_set(None)


@pytest.mark.parametrize("name", ISAS)
def test_environment_forces_an_instruction_set(name: str) -> None:
    done = environment(CHAINRULE_ISA=name, CHAINRULE_NUM_THREADS="3")
    assert done.stdout.split() == [name, "3"], done.stderr


def test_environment_is_checked() -> None:
    assert "CHAINRULE_ISA is 'mmx'; known:" in environment(CHAINRULE_ISA="mmx").stderr
    assert "CHAINRULE_NUM_THREADS is 'x'" in environment(CHAINRULE_NUM_THREADS="x").stderr


def test_environment_is_checked_before_anything_starts(monkeypatch: Any) -> None:
    class Started(cr.Callback):
        def on_start(self, run: Any) -> None:
            raise AssertionError("too late")

    X = np.zeros((8, 2))
    for name, wrong in (("CHAINRULE_NUM_THREADS", "2000"), ("CHAINRULE_NUM_THREADS", "0")):
        monkeypatch.setenv(name, wrong)
        with pytest.raises(ValueError, match=f"{name} is '{wrong}'; expected a number of threads"):
            cr.Network([2, 1], seed=0).fit(X, X[:, :1], verbose=0, callbacks=[Started()])
