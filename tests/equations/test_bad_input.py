"""Bad input: one clear message for each, and nothing changed."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from chainrule import Network, Weight
from chainrule.verify import certify

X = np.array([[0.5, -1.0], [2.0, 0.3], [0.1, 0.2]])
Y = np.array([[1.0], [0.0], [0.5]])


def network(**options: Any) -> Network:
    settings: dict[str, Any] = {"hidden": "tanh", "seed": 0} | options
    return Network([2, 3, 1], **settings)


def classifier(loss: str = "cross_entropy") -> Network:
    output = "softmax" if loss == "cross_entropy" else "sigmoid"
    return Network([2, 3, 3], output=output, loss=loss, seed=0)


def replaced(array: Any, place: Any, value: float) -> Any:
    changed = np.array(array, dtype=float)
    changed[place] = value
    return changed


# --- networks -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "options", "error", "complaint"),
    [
        ([2], {}, ValueError, r"sizes \[2\] needs an input and at least one layer"),
        ([], {}, ValueError, r"sizes \[\] needs an input"),
        (3, {}, TypeError, "sizes must be a list of integers, got 3"),
        ([2, 0, 1], {}, ValueError, "sizes must be at least 1, got 0"),
        ([2, -3], {}, ValueError, "sizes must be at least 1, got -3"),
        ([2, 1.5], {}, TypeError, "sizes must be integers, got 1.5"),
        ([2, True], {}, TypeError, "sizes must be integers, got True"),
        ([2, 1], {"output": "rleu"}, ValueError, "unknown activation 'rleu'; known: identity, sig"),
        ([2, 1], {"output": 3}, TypeError, "an activation must be a name or a chainrule.Act"),
        ([2, 3, 1], {"hidden": "softmax"}, ValueError, "softmax is for the output layer"),
        ([2, 3, 1], {"hidden": ["tanh"] * 2}, ValueError, "hidden has 2 entries; the network"),
        ([2, 1], {"loss": "mse"}, ValueError, "unknown loss 'mse'; known: squared_error, half_sq"),
        ([2, 1], {"loss": None}, TypeError, "a loss must be a name or a chainrule.Loss, got None"),
        (
            [2, 3], {"loss": "cross_entropy"}, ValueError,
            "loss 'cross_entropy' needs output='softmax', got 'identity'",
        ),
        (
            [2, 3], {"loss": "binary_cross_entropy", "output": "tanh"}, ValueError,
            "loss 'binary_cross_entropy' needs output='sigmoid', got 'tanh'",
        ),
        (
            [2, 3], {"loss": "poisson"}, ValueError,
            "takes the logarithm of the output, which 'identity' does not keep above 0; use sig",
        ),
        ([2, 1], {"dtype": "float16"}, ValueError, "dtype must be 'float32' or 'float64', got 'f"),
        ([2, 1], {"l2": -1}, ValueError, "l2 must be 0 or more, got -1"),
        ([2, 1], {"l2": np.nan}, ValueError, "l2 must be 0 or more, got nan"),
        ([2, 1], {"l2": "0.1"}, TypeError, "l2 must be a number, got '0.1'"),
        ([2, 3, 1], {"dropout": 1}, ValueError, "dropout must be below 1, got 1"),
        ([2, 3, 1], {"dropout": -0.1}, ValueError, "dropout must be 0 or more, got -0.1"),
        ([2, 3, 1], {"dropout": [0.1, 0.2]}, ValueError, "dropout has 2 entries; the network"),
        ([2, 1], {"seed": -1}, ValueError, r"seed must be from 0 to 2\*\*63 - 1, got -1"),
        ([2, 1], {"seed": 1.5}, TypeError, "seed must be an integer, got 1.5"),
        ([2, 1], {"init": "xavier"}, ValueError, "xavier"),
        ([2, 1], {"engine": "warp"}, ValueError, "unknown engine 'warp'; known: auto, .*reference"),
        ([2, 1], {"W": []}, ValueError, "W has 0 arrays; the network has 1 layers with weights"),
        ([2, 1], {"W": [[[1, 2, 3]]]}, ValueError, r"W\[0\] has shape \(1, 3\); expected \(1, 2\)"),
        ([2, 1], {"W": [[[1, np.inf]]]}, ValueError, r"W\[0\] holds NaN or infinity"),
        ([2, 1], {"W": [[["a", "b"]]]}, TypeError, r"W\[0\] has dtype <U1; expected numbers"),
        ([2, 1], {"b": [[1]], "biases": False}, ValueError, "b was given, but biases=False"),
    ],
)  # fmt: skip
def test_networks(sizes: Any, options: Any, error: type[Exception], complaint: str) -> None:
    with pytest.raises(error, match=complaint):
        Network(sizes, **options)


def test_parameters() -> None:
    net = network()
    before = net.parameters.copy()
    with pytest.raises(ValueError, match=r"W has shape \(2, 3\); expected \(3, 2\)"):
        net.layers[1].W = np.zeros((2, 3))
    with pytest.raises(ValueError, match="b holds NaN or infinity"):
        net.layers[1].b = [1, 2, np.nan]
    with pytest.raises(AttributeError, match="layer 0 is the input and has no weights"):
        _ = net.layers[0].W
    with pytest.raises(AttributeError, match="this layer has no biases"):
        network(biases=False).layers[1].b = [1, 2, 3]
    np.testing.assert_array_equal(net.parameters, before)
    net.layers[2].W[0, 1] = np.nan
    for call in (net.forward, net.predict):
        with pytest.raises(ValueError, match=r"layers\[2\].W\[0, 1\] is nan; it must be finite"):
            call(X)
    both: tuple[Any, ...] = (net.gradient, net.loss_value, net.check_gradient)
    for call in both:
        with pytest.raises(ValueError, match=r"layers\[2\].W\[0, 1\] is nan; it must be finite"):
            call(X, Y)
    with pytest.raises(ValueError, match=r"layers\[2\].W\[0, 1\] is nan; it must be finite"):
        certify(net, "w[1][0,0]", X, Y)


# --- data ---------------------------------------------------------------------------------------

CALLS: dict[str, Callable[..., Any]] = {
    "gradient": lambda net, X, y, **more: net.gradient(X, y, **more),
    "loss_value": lambda net, X, y, **more: net.loss_value(X, y, **more),
    "check_gradient": lambda net, X, y, **more: net.check_gradient(X, y, **more),
    "explain": lambda net, X, y, **more: net.explain("w[1][0,0]", X, y, **more),
    "certify": lambda net, X, y, **more: certify(net, "w[1][0,0]", X, y, **more),
    "fit": lambda net, X, y, **more: net.fit(X, y, epochs=1, verbose=0, **more),
}


@pytest.fixture(params=CALLS)
def call(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return CALLS[request.param]


BAD_X = [
    (np.zeros((3, 3)), ValueError, "X has 3 columns, the network expects 2"),
    (np.zeros((0, 2)), ValueError, "X has zero samples"),
    ([], ValueError, "X is 1-D with 0 numbers; one sample of this network has 2"),
    ([1.0, 2.0, 3.0], ValueError, "X is 1-D with 3 numbers; one sample of this network has 2"),
    (np.zeros((3, 2, 1)), ValueError, r"X has shape \(3, 2, 1\); expected \(samples, 2\)"),
    (1.0, ValueError, r"X has shape \(\); expected \(samples, 2\)"),
    (replaced(X, (1, 0), np.nan), ValueError, r"X\[1, 0\] is nan; every number must be finite"),
    (replaced(X, (2, 1), -np.inf), ValueError, r"X\[2, 1\] is -inf; every number must be finite"),
    ([[1.0, 2.0], [3.0]], ValueError, "X is not rectangular"),
    ([["a", "b"]], TypeError, "X has dtype <U1; expected numbers"),
    (X + 1j, TypeError, "X has dtype complex128; expected numbers"),
    (None, TypeError, "X has dtype object; expected numbers"),
    ({"a": 1}, TypeError, "X has dtype object; expected numbers"),
    (
        pd.DataFrame({"age": [1.0, 2.0, 3.0], "name": ["a", "b", "c"]}), TypeError,
        "X column 'name' has type String; expected numbers",
    ),
    (
        pl.DataFrame({"age": [1.0, 2, 3], "day": [datetime.date(2024, 1, 1)] * 3}), TypeError,
        "X column 'day' has type Date; expected numbers",
    ),
    (pd.DataFrame({"age": [1.0, 2.0, 3.0]}), ValueError, "X has 1 columns, the network expects 2"),
    (pl.DataFrame({"a": [1.0, None, 3.0], "b": [1.0, 2, 3]}), ValueError, r"X\[1, 0\] is nan"),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "error", "complaint"), BAD_X)
def test_inputs(bad: Any, error: type[Exception], complaint: str, call: Any) -> None:
    refuses(network(), call, bad, Y, error, complaint)


def refuses(
    net: Network, call: Any, X: Any, y: Any, error: type[Exception], complaint: str, **more: Any
) -> None:
    before = net.parameters.copy()
    with pytest.raises(error, match=complaint):
        call(net, X, y, **more)
    np.testing.assert_array_equal(net.parameters, before)


@pytest.mark.parametrize(
    ("bad", "error", "complaint"),
    [
        (Y[:2], ValueError, "y has 2 samples, X has 3"),
        (np.zeros((3, 2)), ValueError, r"y has shape \(3, 2\); expected \(3, 1\)"),
        (np.zeros((3, 1, 1)), ValueError, r"y has shape \(3, 1, 1\); expected \(3, 1\)"),
        (replaced(Y, (1, 0), np.nan), ValueError, r"y\[1, 0\] is nan; every number must be finite"),
        ([1.0, np.inf, 2.0], ValueError, r"y\[1, 0\] is inf; every number must be finite"),
        (["a", "b", "c"], TypeError, r"y has dtype <U1; expected numbers; np.unique\(y, return_"),
        (None, TypeError, "y has dtype object; expected numbers"),
        (pd.Series(["a", "b", "c"], name="label"), TypeError, "y has dtype|y .*expected numbers"),
    ],
)
def test_targets(bad: Any, error: type[Exception], complaint: str, call: Any) -> None:
    refuses(network(), call, X, bad, error, complaint)


@pytest.mark.parametrize(
    ("loss", "bad", "complaint"),
    [
        ("cross_entropy", [0, 1, 3], r"y\[2\] is class 3; 3 outputs have classes 0 to 2"),
        ("cross_entropy", [0, -1, 2], r"y\[1\] is class -1; 3 outputs have classes 0 to 2"),
        ("cross_entropy", [0.0, 1.0, 2.0], "expects integer classes .y.astype.int.., or rows"),
        ("cross_entropy", np.full((3, 3), 0.5), r"y\[0\] sums to 1.5; loss 'cross_entropy' needs"),
        ("cross_entropy", np.eye(3) * 2 - 1 / 3, r"y\[0, 0\] is 1.66667; .* needs probabilities"),
        ("cross_entropy", np.zeros((3, 4)), r"y has shape \(3, 4\); expected \(3, 3\), or integer"),
        ("binary_cross_entropy", np.full((3, 3), 1.01), r"y\[0, 0\] is 1.01; .* needs probabil"),
        ("binary_cross_entropy", replaced(np.eye(3), (2, 1), -0.1), r"y\[2, 1\] is -0.1"),
    ],
)
def test_targets_of_classifiers(loss: str, bad: Any, complaint: str, call: Any) -> None:
    refuses(classifier(loss), call, X, bad, ValueError, complaint)


def test_counts(call: Any) -> None:
    net = network(output="softplus", loss="poisson")
    refuses(net, call, X, [1, -2, 0], ValueError, r"y\[1, 0\] is -2; loss 'poisson' needs counts")


@pytest.mark.parametrize(
    ("bad", "error", "complaint"),
    [
        ([1, 2], ValueError, r"sample_weight has shape \(2,\); expected \(3,\)"),
        ([1, -0.5, 1], ValueError, r"sample_weight\[1\] is -0.5; weights are 0 or more"),
        ([1, np.nan, 1], ValueError, r"sample_weight\[1\] is nan; every number must be finite"),
        ([0, 0, 0], ValueError, "sample_weight is 0 for every sample; at least one must count"),
        ([[1], [1], [1]], ValueError, r"sample_weight has shape \(3, 1\); expected \(3,\)"),
        (["a", "b", "c"], TypeError, "sample_weight has dtype <U1; expected numbers"),
    ],
)
def test_sample_weights(bad: Any, error: type[Exception], complaint: str, call: Any) -> None:
    refuses(network(), call, X, Y, error, complaint, sample_weight=bad)


def test_inputs_alone() -> None:
    for name in ("forward", "predict", "predict_classes"):
        for bad, error, complaint in BAD_X:
            with pytest.raises(error, match=complaint):
                getattr(network(), name)(bad)


# --- targets ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "error", "complaint"),
    [
        ("w[3][1,2]", ValueError, r"w\[3\]\[1,2\]: the network has layers 1 to 2"),
        ("w[0][1,2]", ValueError, r"w\[0\]\[1,2\]: the network has layers 1 to 2"),
        ("a[3][0]", ValueError, r"a\[3\]\[0\]: the network has layers 0 to 2"),
        ("w[1][3,0]", ValueError, r"w\[1\]\[3,0\]: layer 1 has units 0 to 2, j is 3"),
        ("w[1][0,2]", ValueError, r"w\[1\]\[0,2\]: layer 0 has units 0 to 1, k is 2"),
        ("b[2][1]", ValueError, r"b\[2\]\[1\]: layer 2 has units 0 to 0, j is 1"),
        ("w[1][-1,0]", ValueError, "layer 1 has units 0 to 2, j is -1"),
        ("x[2]", ValueError, r"x\[2\]: layer 0 has units 0 to 1, j is 2"),
        ("w[1][0]", ValueError, r"'w\[1\]\[0\]' is not a target: w takes two unit indices"),
        ("b[1][0,1]", ValueError, r"'b\[1\]\[0,1\]' is not a target: b takes one unit index"),
        ("weights", ValueError, r"'weights' is not a target; write 'w\[2\]\[1,2\]'"),
        ("", ValueError, "'' is not a target"),
        (Weight(5, 0, 0), ValueError, r"w\[5\]\[0,0\]: the network has layers 1 to 2"),
        (7, TypeError, "a target is .* or a chainrule.Weight, got 7"),
    ],
)
@pytest.mark.parametrize("ask", [certify, Network.explain])
def test_derivatives_that_do_not_exist(
    target: Any, error: type[Exception], complaint: str, ask: Any
) -> None:
    with pytest.raises(error, match=complaint):
        ask(network(), target, X, Y)


@pytest.mark.parametrize("ask", [certify, Network.explain])
def test_biases_that_do_not_exist(ask: Any) -> None:
    with pytest.raises(ValueError, match=r"b\[1\]\[0\]: the network has no biases"):
        ask(network(biases=False), "b[1][0]", X, Y)
