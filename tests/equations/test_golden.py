"""The golden files: numbers that were found elsewhere, to 1e-12 relative."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule import GradientDescent, Network
from chainrule.equations.backprop import Gradient
from chainrule.verify import certify

FILES = sorted((Path(__file__).parents[1] / "golden").glob("*.json"))


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def golden(request: pytest.FixtureRequest) -> dict[str, Any]:
    return json.loads(request.param.read_text(encoding="utf-8"))


def network_of(golden: dict[str, Any]) -> Network:
    *hidden, output = golden["activations"]
    return Network(
        golden["sizes"], hidden=hidden, output=output, loss=golden["loss"],
        W=golden["W"], b=golden["b"],
    )  # fmt: skip


def gradient_of(golden: dict[str, Any]) -> Gradient:
    return network_of(golden).gradient(golden["X"], golden["y"])


def assert_same(actual: Any, expected: Any) -> None:
    expected = np.asarray(expected)
    assert np.shape(actual) == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=0)


def test_there_are_golden_files() -> None:
    assert len(FILES) == 4


def test_forward_pass(golden: dict[str, Any]) -> None:
    passed = network_of(golden).forward(golden["X"])
    for i, sample in enumerate(golden["samples"]):
        for l in range(1, len(golden["sizes"])):
            assert_same(passed.z[l][i], sample["z"][l - 1])
            assert_same(passed.a[l][i], sample["a"][l - 1])


def test_loss_and_gradient_of_each_sample(golden: dict[str, Any]) -> None:
    g = gradient_of(golden)
    for i, sample in enumerate(golden["samples"]):
        assert_same(g.sample_losses[i], sample["loss"])
        for l in range(1, len(golden["sizes"])):
            assert_same(g.sample_dW(l)[i], sample["dW"][l - 1])
            assert_same(g.sample_db(l)[i], sample["db"][l - 1])


def test_a_sample_by_itself_has_the_same_gradient(golden: dict[str, Any]) -> None:
    net = network_of(golden)
    for x, y, sample in zip(golden["X"], golden["y"], golden["samples"], strict=True):
        g = net.gradient(x, np.array(y)[None, :])
        for l in range(1, len(golden["sizes"])):
            assert_same(g.dW[l], sample["dW"][l - 1])
            assert_same(g.db[l], sample["db"][l - 1])


def test_mean(golden: dict[str, Any]) -> None:
    g, mean = gradient_of(golden), golden["mean"]
    assert_same(g.loss, mean["loss"])
    assert_same(network_of(golden).loss_value(golden["X"], golden["y"]), mean["loss"])
    for l in range(1, len(golden["sizes"])):
        assert_same(g.dW[l], mean["dW"][l - 1])
        assert_same(g.db[l], mean["db"][l - 1])


def test_step_of_gradient_descent(golden: dict[str, Any]) -> None:
    net, step = network_of(golden), golden["step"]
    net.fit(
        golden["X"], golden["y"], optimizer=GradientDescent(step["learning_rate"]),
        epochs=1, batch_size=len(golden["X"]), shuffle=False, verbose=0,
    )  # fmt: skip
    for l, layer in enumerate(net.weighted_layers):
        assert_same(layer.W, step["W"][l])
        assert_same(layer.b, step["b"][l])


def test_every_weight_has_a_certificate(golden: dict[str, Any]) -> None:
    net = network_of(golden)
    for l, layer in enumerate(net.weighted_layers, start=1):
        for j, k in ((0, 0), (layer.W.shape[0] - 1, layer.W.shape[1] - 1)):
            certificate = certify(
                net, f"w[{l}][{j},{k}]", golden["X"], golden["y"],
                analytic=golden["mean"]["dW"][l - 1][j][k], autodiff="off",
            )  # fmt: skip
            assert certificate.verdict == "pass", certificate.text()
