"""The factors of a gradient from layer to layer, beside the sizes of its arrays."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from tests.equations.test_gradients import GROUPS, Array, Setting, build

SETTINGS = [group[(3 * i + 2) % len(group)] for i, group in enumerate(GROUPS)]


def rms(rows: Array, shares: Array) -> float:
    return math.sqrt(sum(s * (row**2).sum() for s, row in zip(shares, rows, strict=True)))


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_sizes_and_exact_products(setting: Setting) -> None:
    net, X, y, weights = build(setting)
    g = net.gradient(X, y, sample_weight=weights)
    flow = net.flow(X, y, sample_weight=weights)
    L = len(net.sizes) - 1
    assert [layer.layer for layer in flow.layers] == list(range(L, 0, -1))
    product = flow.layers[0].delta
    for layer in flow.layers:
        l = layer.layer
        assert layer.delta == pytest.approx(rms(g.delta[l], g.shares), rel=1e-12, abs=1e-300)
        product *= layer.weights * layer.slope
        if layer.delta:
            assert layer.delta == pytest.approx(product, rel=1e-13)
            data = g.dW[l] - net.l2 * np.float64(net.layers[l].W)
            assert layer.gradient == pytest.approx(np.linalg.norm(data), rel=1e-9, abs=1e-14)
            if layer.inputs:
                of_three = layer.delta * layer.inputs * layer.agreement
                assert layer.gradient == pytest.approx(of_three, rel=1e-13)
                assert 0 <= layer.agreement <= 1 + 1e-12
        if l < L and flow.layers[L - l - 1].delta:
            arriving = rms(g.delta[l + 1] @ np.float64(net.layers[l + 1].W), g.shares)
            before = rms(g.delta[l + 1], g.shares)
            assert layer.weights == pytest.approx(arriving / before, rel=1e-12)
    if flow.layers[0].delta:
        assert flow.change == flow.layers[-1].delta / flow.layers[0].delta


def test_dropout_is_part_of_the_slope() -> None:
    net = cr.Network([3, 40, 1], hidden="identity", dropout=0.5, seed=1)
    X, y = np.ones((6, 3)), np.zeros(6)
    g = net.gradient(X, y, dropout_step=2)
    hidden = net.flow(X, y, dropout_step=2).layers[1]
    assert hidden.flat == pytest.approx((g.forward.masks[1] == 0).mean())
    assert hidden.mean_slope == pytest.approx(g.forward.masks[1].mean())
    assert net.flow(X, y).layers[1].slope == 1


def test_any_direction_is_the_mean_over_directions() -> None:
    net = cr.Network([3, 50, 30], hidden="identity", seed=1)
    rng = np.random.default_rng(0)
    v = rng.normal(size=(20_000, 30))
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    found = math.sqrt((np.linalg.norm(v @ net.layers[2].W, axis=1) ** 2).mean())
    hidden = net.flow(np.ones((1, 3)), np.zeros((1, 30))).layers[1]
    assert hidden.any_direction == pytest.approx(found, rel=0.02)


def deep(hidden: str, **options: Any) -> cr.Network:
    return cr.Network([4, *[8] * 8, 1], hidden=hidden, seed=0, **options)


X, Y = np.random.default_rng(0).normal(size=(16, 4)), np.ones(16)


def test_vanishing_blames_the_slope_of_sigmoids() -> None:
    said = deep("sigmoid").flow(X, Y).summary()
    assert "From layer 9 to layer 1 the gradient shrinks to 1/" in said
    assert "g′ is to blame. The smallest factor is g′ of layer" in said
    assert "(sigmoid)" in said


def test_vanishing_blames_small_weights() -> None:
    net = deep("identity")
    for layer in net.layers[2:]:
        layer.W *= 0.2
    said = net.flow(X, Y).summary()
    assert "W is to blame. The smallest factor is W of layer" in said
    assert "for any direction" in said


def test_exploding_blames_large_weights() -> None:
    net = deep("identity")
    for layer in net.layers[2:]:
        layer.W *= 5
    said = net.flow(X, Y).summary()
    assert "the gradient grows" in said
    assert "W is to blame. The largest factor is W of layer" in said


def test_a_gradient_that_hardly_changes() -> None:
    said = deep("relu").flow(X, Y).summary()
    assert "the gradient is multiplied by" in said
    assert "blame" not in said


@pytest.mark.parametrize(
    ("net", "y", "words"),
    [
        (deep("step"), Y, "No gradient passes layer 8: g′ of step is 0 for every unit and sample."),
        (cr.Network([4, 3, 1], W=[np.ones((3, 4)), np.zeros((1, 3))]), Y,
         "No gradient passes layer 1: W of layer 2 turns it into 0."),
        (cr.Network([4, 1], W=[np.zeros((1, 4))]), np.zeros(16),
         "∂C/∂z of the output layer is 0 on every sample: there is no gradient."),
        (cr.Network([4, 1], W=[np.zeros((1, 4))]), Y, "The network has one layer with weights"),
    ],
)  # fmt: skip
def test_gradients_that_do_not_arrive(net: cr.Network, y: Array, words: str) -> None:
    flow = net.flow(X, y)
    assert words in flow.summary()
    assert words in flow.text()
    json.dumps(flow.to_dict(), allow_nan=False)
    assert escape_free(flow.html())


def escape_free(page: str) -> bool:
    """Whether the page is well-formed."""
    ET.fromstring(page.partition("\n")[2].replace("<!DOCTYPE html>", ""))
    return True


def test_very_small_sizes_have_their_digits() -> None:
    net = cr.Network([1, 1, 1], hidden="identity", W=[[[1.0]], [[1e-200]]])
    last, first = net.flow([[1.0]], [[1e-120]]).layers
    assert last.delta == pytest.approx(1e-120, rel=1e-15)
    assert first.weights == pytest.approx(1e-200, rel=1e-15)
    assert first.delta == pytest.approx(1e-320, rel=1e-3)  # subnormal
    assert last.gradient == pytest.approx(1e-120, rel=1e-15)


def test_overflow_is_said() -> None:
    net = cr.Network([1, 1, 1], hidden="identity", W=[[[1e200]], [[1.0]]])
    with pytest.warns(RuntimeWarning, match="not finite for sample 0"):
        said = net.flow([[1e200]], [[0.0]]).summary()
    assert said == "The gradient is not finite in layer 2."


def test_kinks_are_said() -> None:
    net = cr.Network([1, 2, 1], hidden="relu", W=[[[1.0], [2.0]], [[1.0, 1.0]]], b=[[0, 1], [0]])
    text = net.flow([[0.0], [1.0]], [1.0, 2.0]).text()
    assert "1 sample has units at a kink. In layer 1, 1 unit is at a kink of relu" in text
    assert "kink" not in net.flow([[1.0]], [1.0]).text()


def test_renderings() -> None:
    flow = deep("tanh").flow(X, Y)
    text = flow.text()
    assert max(map(len, text.splitlines())) <= 100
    rows = [line.split() for line in text.splitlines() if line.lstrip()[:1].isdigit()]
    assert [int(row[0]) for row in rows[-9:]] == list(range(9, 0, -1))
    assert str(flow) == text
    assert flow._repr_html_() in flow.html()
    assert flow.html().count("<rect") == 9
    data = json.loads(json.dumps(flow.to_dict(), allow_nan=False))
    assert [layer["layer"] for layer in data["layers"]] == list(range(9, 0, -1))
    assert data["layers"][0]["mean_slope"] == "nan"


def test_bad_data() -> None:
    with pytest.raises(ValueError, match="X has 3 columns"):
        deep("tanh").flow(np.ones((2, 3)), [1, 2])
