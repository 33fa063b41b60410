"""Planted faults: each classical error of backpropagation must be noticed.

Every fault is a version of `backprop` with one line changed. Both the certificate and the
check of the whole gradient have to turn red, without PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from chainrule import Network
from chainrule.equations import backprop
from chainrule.equations.activations import ACTIVATIONS
from chainrule.equations.layers import ByLayer
from chainrule.equations.losses import LOSSES, LossFromZ
from chainrule.verify import certify, check_gradient

backward, gradient, forward = backprop.backward, backprop.gradient, backprop.forward
Array = Any


def by_hand(step: Callable[..., Array], network: Any, passed: Any, y: Array) -> ByLayer[Array]:
    """Give δ of every layer, with a step from layer l+1 to l of one's own."""
    deltas = [backward(network, passed, y)[-1]]
    for l in range(len(passed.z) - 1, 0, -1):
        g = network.weighted_layers[l - 1].activation
        W = np.float64(network.weighted_layers[l].W)
        slope = g.derivative(passed.z[l], passed.a[l])
        deltas.append(step(deltas[-1], W, slope, passed.a[l]))
    return ByLayer(deltas[::-1])


def with_gradient(change: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda *args: change(gradient(*args))


def transposed_index(network: Any, passed: Any, y: Array) -> ByLayer[Array]:
    return by_hand(lambda delta, W, slope, a: delta @ W.T * slope, network, passed, y)


def forgotten_derivative(network: Any, passed: Any, y: Array) -> ByLayer[Array]:
    return by_hand(lambda delta, W, slope, a: delta @ W, network, passed, y)


def derivative_of_the_activation(network: Any, passed: Any, y: Array) -> ByLayer[Array]:
    """Take g'(a) for g'(z), as who forgets which of the two was stored."""
    deltas = [backward(network, passed, y)[-1]]
    for l in range(len(passed.z) - 1, 0, -1):
        g = network.weighted_layers[l - 1].activation
        a = passed.a[l]
        W = np.float64(network.weighted_layers[l].W)
        deltas.append(deltas[-1] @ W * g.derivative(a, g.value(a)))
    return ByLayer(deltas[::-1])


def absolute_weights(network: Any, passed: Any, y: Array) -> ByLayer[Array]:
    return by_hand(lambda delta, W, slope, a: delta @ np.abs(W) * slope, network, passed, y)


def one_path_only(network: Any, passed: Any, y: Array) -> ByLayer[Array]:
    def step(delta: Array, W: Array, slope: Array, a: Array) -> Array:
        return delta[:, :1] @ W[:1] * slope

    return by_hand(step, network, passed, y)


def wrong_sign_at_the_output(network: Any, passed: Any, y: Array) -> ByLayer[Array]:
    return ByLayer([-delta for delta in backward(network, passed, y)])


def weights_from_after_the_update(network: Any, passed: Any, y: Array) -> ByLayer[Array]:
    """Carry δ through the weights of the layer above after these were moved."""
    moved = network.copy()
    for l, delta in enumerate(backward(network, passed, y), start=1):
        moved.layers[l].W -= 0.1 / len(y) * delta.T @ passed.a[l - 1]
    return backward(moved, passed, y)


def sum_for_mean(g: Any) -> Any:
    n = len(g.shares)
    return replace(g, dW=ByLayer([n * dW for dW in g.dW]), db=ByLayer([n * db for db in g.db]))


def mean_over_outputs(g: Any) -> Any:
    """Divide by the number of outputs as well, though the loss reports their sum."""
    units = g.delta[-1].shape[1]
    return replace(
        g, dW=ByLayer([dW / units for dW in g.dW]), delta=ByLayer([d / units for d in g.delta])
    )


def swapped_layers(g: Any) -> Any:
    """Take a of this layer for that of the layer before."""
    a = list(g.forward.a)
    dW = [(g.shares[:, None] * delta).T @ a[l] for l, delta in enumerate(g.delta, start=1)]
    return replace(g, dW=ByLayer(dW))


def transposed_dW(g: Any) -> Any:
    return replace(g, dW=ByLayer([dW.T if dW.shape[0] == dW.shape[1] else dW for dW in g.dW]))


def forgotten_penalty(g: Any) -> Any:
    a = g.forward.a
    dW = [(g.shares[:, None] * delta).T @ a[l] for l, delta in enumerate(g.delta)]
    return replace(g, dW=ByLayer(dW))


def bias_without_mean(g: Any) -> Any:
    return replace(g, db=ByLayer([delta.sum(axis=0) for delta in g.delta]))


def forgotten_weights(network: Any, passed: Any, y: Array, weights: Any = None) -> Any:
    return gradient(network, passed, y, None)


def missing_bias(network: Any, X: Array, mask: Any = None) -> Any:
    """Leave the biases out of the forward pass, which everything in float64 then builds on."""
    bare = network.copy()
    for layer in bare.weighted_layers:
        layer.b[...] = 0
    return forward(bare, X, mask)


def last_bias_twice(g: Any) -> Any:
    return replace(g, db=ByLayer([*list(g.db)[:-1], 2 * g.db[-1]]))


FAULTS: dict[str, tuple[str, Any, str]] = {
    # name: (function of backprop, its faulty version, a target that has to turn red)
    "transposed index": ("backward", transposed_index, "w[1][0,1]"),
    "forgotten g'": ("backward", forgotten_derivative, "w[1][0,1]"),
    "g'(a) for g'(z)": ("backward", derivative_of_the_activation, "b[1][0]"),
    "absolute weights": ("backward", absolute_weights, "x[0]"),
    "one path only": ("backward", one_path_only, "z[1][2]"),
    "wrong sign": ("backward", wrong_sign_at_the_output, "a[1][0]"),
    "weights from after the update": ("backward", weights_from_after_the_update, "w[1][0,1]"),
    "sum for mean": ("gradient", with_gradient(sum_for_mean), "w[2][0,1]"),
    "mean over outputs": ("gradient", with_gradient(mean_over_outputs), "w[2][0,1]"),
    "a of the wrong layer": ("gradient", with_gradient(swapped_layers), "w[2][0,1]"),
    "transposed dW": ("gradient", with_gradient(transposed_dW), "w[2][0,1]"),
    "forgotten penalty": ("gradient", with_gradient(forgotten_penalty), "w[1][1,1]"),
    "bias without mean": ("gradient", with_gradient(bias_without_mean), "b[1][1]"),
    "last bias twice": ("gradient", with_gradient(last_bias_twice), "b[3][2]"),
    "forgotten sample weights": ("gradient", forgotten_weights, "w[1][0,1]"),
    "missing bias": ("forward", missing_bias, "w[2][0,1]"),
}


def example() -> tuple[Network, Any, Any, Any]:
    net = Network(
        [3, 3, 3, 3], hidden="tanh", output="sigmoid", loss="squared_error", l2=0.05, seed=0
    )
    rng = np.random.default_rng(0)
    net.parameters[...] += rng.normal(scale=0.3, size=net.parameters.shape)
    return net, rng.normal(size=(4, 3)), rng.uniform(size=(4, 3)), rng.uniform(0.5, 2, size=4)


def test_without_a_fault_all_is_well() -> None:
    net, X, y, weights = example()
    for _, _, target in FAULTS.values():
        assert certify(net, target, X, y, sample_weight=weights, autodiff="off").verdict == "pass"
    assert check_gradient(net, X, y, sample_weight=weights)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_certificate_fails(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function, faulty, target = FAULTS[fault]
    net, X, y, weights = example()
    monkeypatch.setattr(backprop, function, faulty)
    c = certify(net, target, X, y, sample_weight=weights, autodiff="off")
    assert c.verdict == "fail", c.text()
    assert c.high_precision.agrees is False


@pytest.mark.parametrize("fault", [name for name in FAULTS if name != "missing bias"])
def test_the_check_of_the_gradient_fails(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function, faulty, _ = FAULTS[fault]
    net, X, y, weights = example()
    monkeypatch.setattr(backprop, function, faulty)
    report = check_gradient(net, X, y, sample_weight=weights)
    assert not report, report.text()
    assert report.failures[0].relative_error > 1e-4


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "softmax"])
def test_a_wrong_derivative_of_an_activation(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    g = ACTIVATIONS[name]
    right = g.derivative
    more = 1e-5 * g.is_flat  # 0 times anything is right
    # Of the class, for pytest would leave the instance with a method of its own.
    monkeypatch.setattr(type(g), "derivative", lambda _, z, a: right(z, a) * (1 + 1e-5) + more)
    net = Network([2, 3, 1], hidden=name, seed=0)
    X = np.array([[0.5, -1.0], [2.0, 0.3]])
    verdicts = {
        certify(net, f"b[1][{j}]", X, [1.0, -1.0], autodiff="off").verdict for j in range(3)
    }
    assert "fail" in verdicts
    assert not check_gradient(net, X, [1.0, -1.0])


@pytest.mark.parametrize("name", ["sigmoid", "softplus"])
def test_a_wrong_derivative_of_a_logarithm(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    g = ACTIVATIONS[name]
    right = g.log_derivative
    monkeypatch.setattr(type(g), "log_derivative", lambda _, z, a: right(z, a) * (1 + 1e-5))
    net = Network([2, 1], output=name, loss="poisson", seed=0)
    X = np.array([[0.5, -1.0], [-900.0, 0.3]])
    assert certify(net, "w[1][0,0]", X, [1.0, 2.0], autodiff="off").verdict == "fail"
    assert not check_gradient(net, X, [1.0, 2.0])


@pytest.mark.parametrize("name", LOSSES)
def test_a_wrong_derivative_of_a_loss(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    c = LOSSES[name]
    what = "delta" if isinstance(c, LossFromZ) else "derivative"
    right = getattr(c, what)
    monkeypatch.setattr(type(c), what, lambda _, *given: right(*given) / 2)
    output = c.output or ("softplus" if c.needs_positive_output else "identity")
    net = Network([2, 2], output=output, loss=name, seed=0)
    X, y = [[0.5, -1.0], [2.0, 0.3]], [[1.0, 0.0], [0.0, 1.0]]
    assert certify(net, "w[1][0,0]", X, y, autodiff="off").verdict == "fail"
    assert not check_gradient(net, X, y)
