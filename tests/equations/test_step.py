"""The step function, which cannot learn: how every room says so."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule.diagnose import health
from chainrule.verify import certify

X = np.array([[0.5, -1.0], [1.0, 2.0]])
Y = np.array([[0.0], [1.0]])


def network(hidden: str | list[str] = "step") -> cr.Network:
    count = 1 if isinstance(hidden, str) else len(hidden)
    return cr.Network(
        [2, *[2] * count, 1], hidden=hidden, output="sigmoid", loss="binary_cross_entropy", seed=1
    )


def test_nothing_behind_it_has_a_gradient_or_learns() -> None:
    net = network(["tanh", "step"])
    g = net.gradient(X, Y)
    assert not any(g.dW[l].any() or g.db[l].any() for l in (1, 2))
    assert g.db[3].any()
    before = net.parameters.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cr.EngineWarning)
        net.fit(X, Y, epochs=3, verbose=0)
    behind = 2 * (2 * 2 + 2)
    assert np.array_equal(net.parameters[:behind], before[:behind])
    assert not np.array_equal(net.parameters[behind:], before[behind:])


def test_the_core_trains_it_by_its_formula() -> None:
    pytest.importorskip("chainrule.engines._native", reason="a pure installation")
    net, forced = network(), network()
    forced.requested_engine = "reference"
    assert (net.engine, forced.engine) == ("native", "reference")
    for one in (net, forced):
        one.fit(X, Y, epochs=3, verbose=0)
    np.testing.assert_allclose(net.parameters, forced.parameters, rtol=1e-13)


def test_the_derivation_says_why() -> None:
    net = cr.Network([1, 1, 1], hidden="step", W=[[[1.0]], [[3.0]]], b=[[-0.5], [0.0]])
    beside = net.explain("w[1][0,0]", [[0.75]], [1.0]).text()
    assert "{1 if z₀⁽¹⁾ > 0, else 0}" in beside
    assert "The step function is flat on both sides of its jump, so no gradient passes" in beside
    on = net.explain("w[1][0,0]", [[0.5]], [1.0]).text()
    assert "At z = 0 the function jumps and has no derivative; by convention" in on
    relu = cr.Network([1, 1, 1], hidden="relu", W=[[[1.0]], [[3.0]]], b=[[-0.5], [0.0]])
    words = "At z = 0 the function has a kink and has no derivative; by convention"
    assert words in relu.explain("w[1][0,0]", [[0.5]], [1.0]).text()
    assert words not in relu.explain("w[1][0,0]", [[0.75]], [1.0]).text()


@pytest.mark.parametrize("target", ["w[1][0,0]", "b[1][0]", "z[1][0]", "x[0]"])
def test_the_proof_at_the_jump_says_kink(target: str) -> None:
    """From one side C jumps, so that the quotients grow without limit."""
    net = cr.Network([1, 1, 1], hidden="step", W=[[[1.0]], [[3.0]]], b=[[-0.5], [0.0]])
    c = certify(net, target, [[0.5]], [1.0], autodiff="off")
    assert (c.verdict, c.analytic, c.left, c.right) == ("kink", 0, 0, np.inf)
    assert certify(net, target, [[0.5]], [1.0], analytic=0.1, autodiff="off").verdict == "fail"
    assert certify(net, target, [[0.75]], [1.0], autodiff="off").verdict == "pass"
    falls = cr.Network([1, 1, 1], hidden="step", W=[[[1.0]], [[-3.0]]], b=[[-0.5], [4.0]])
    assert certify(falls, target, [[0.5]], [1.0], autodiff="off").right == -np.inf


@pytest.mark.needs("torch")
def test_automatic_differentiation_agrees() -> None:
    c = certify(network(), "w[1][0,0]", X, Y, autodiff="torch")
    assert (c.verdict, c.autodiff.value, c.autodiff.agrees) == ("pass", 0, True)


def test_health_names_the_cause() -> None:
    net = network(["tanh", "step"])
    found = health.report(net, net.gradient(X, Y))
    cause = "the step function of layer 2 has derivative 0 wherever it has one"
    assert found["words"].startswith(f"Worth a look: no gradient in layers 1, 2, because {cause}")
    for layer in found["layers"][:2]:
        assert layer["words"].startswith(f"No gradient arrives: {cause}")
        assert layer["marked"] == []
    out = cr.Network([2, 2, 1], hidden="tanh", output="step", seed=0)
    said = health.report(out, out.gradient(X, Y))["words"]
    assert said == (
        "Every gradient is 0, so gradient descent changes nothing: the step function of layer 2 "
        "has derivative 0 wherever it has one."
    )


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    net = network()
    net.save(tmp_path / "step.safetensors")
    back = cr.load(tmp_path / "step.safetensors")
    assert back.layers[1].activation.name == "step"
    assert np.array_equal(back.predict(X), net.predict(X))
