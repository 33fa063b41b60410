"""Predictions and losses of the native engine."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.engines.reference import ReferenceEngine
from tests.engines.runs import LOSSES_AND_OUTPUTS
from tests.settings import DTYPES

_native = pytest.importorskip("chainrule.engines._native", reason="a pure Python installation")
from chainrule.engines.native import NativeEngine  # noqa: E402


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
