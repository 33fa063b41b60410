"""Certificates: what they hold, that right values pass, and what they say at a kink."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import Any

import mpmath
import numpy as np
import pytest

from chainrule import Activation, Bias, Network, UnitOutput, Weight
from chainrule.equations.activations import ACTIVATIONS
from chainrule.equations.losses import LOSSES
from chainrule.verify import Certificate, certify
from chainrule.verify import certificate as certificate_module
from chainrule.verify.many_digits import normal_cdf
from tests.verify.examples import TARGETS, example


@pytest.mark.needs("torch")
@pytest.mark.parametrize("target", TARGETS)
def test_every_kind_of_target(target: str) -> None:
    net, X, y = example()
    c = certify(net, target, X, y)
    assert c.verdict == "pass", c.text()
    assert c.passed
    assert [e.method for e in c.evidence] == ["central difference", "high precision", "PyTorch"]
    assert all(e.agrees for e in c.evidence)
    central, precise, automatic = c.evidence
    assert precise.absolute_error <= 1e-15 * max(1, abs(c.analytic))
    assert automatic.absolute_error <= 1e-15 * max(1, abs(c.analytic))
    assert central.absolute_error <= 1e-10
    assert central.allowed < 1e-8
    assert precise.allowed < 1e-9
    assert (c.left, c.right) == (None, None)


def test_the_analytic_value_is_the_gradient() -> None:
    net, X, y = example(l2=0.1)
    g = net.gradient(X, y)
    assert certify(net, "w[2][1,0]", X, y, autodiff="off").analytic == g.dW[2][1, 0]
    assert certify(net, Weight(2, 1, 0), X, y, autodiff="off").analytic == g.dW[2][1, 0]
    assert certify(net, Bias(3, 1), X, y, autodiff="off").analytic == g.db[3][1]
    assert certify(net, "z[3][1]", X, y, autodiff="off").analytic == pytest.approx(g.db[3][1])
    x = g.delta[1] @ net.layers[1].W
    assert certify(net, "x[0]", X, y, autodiff="off").analytic == pytest.approx(x[:, 0].mean())
    assert certify(net, UnitOutput(0, 0), X, y, autodiff="off").target == UnitOutput(0, 0)


@pytest.mark.needs("torch")
@pytest.mark.parametrize(
    "options",
    [
        {"l2": 0.3},
        {"biases": False},
        {"dtype": "float32"},
        {"hidden": "gelu", "output": "softmax", "loss": "cross_entropy"},
        {"hidden": ["relu", "softplus"], "output": "sigmoid", "loss": "binary_cross_entropy"},
        {"hidden": "silu", "output": "softplus", "loss": "poisson"},
        {"hidden": "leaky_relu", "output": "softmax", "loss": "huber"},
    ],
    ids=str,
)
@pytest.mark.parametrize("weighted", [False, True])
def test_settings(options: dict[str, Any], weighted: bool) -> None:
    net, X, y = example(**options)
    y = y / y.sum(axis=1, keepdims=True)
    weights = [0.5, 0, 2, 1, 3] if weighted else None
    for target in TARGETS:
        if target.startswith("b") and not net.biases:
            continue
        c = certify(net, target, X, y, sample_weight=weights)
        assert c.verdict == "pass", c.text()


@pytest.mark.needs("torch")
def test_dropout_of_a_training_step() -> None:
    net, X, y = example(dropout=0.4)
    values = set()
    for step in (None, 0, 7):
        g = net.gradient(X, y, dropout_step=step)
        for target in ("w[1][0,1]", "a[1][2]", "x[0]"):
            c = certify(net, target, X, y, dropout_step=step)
            assert c.verdict == "pass", c.text()
        assert certify(net, "w[1][0,1]", X, y, dropout_step=step).analytic == g.dW[1][0, 1]
        values.add(float(g.dW[1][0, 1]))
    assert len(values) == 3


def test_thirty_digits_are_right() -> None:
    """A chain of two units, differentiated on paper and computed in 50 digits."""
    net = Network(
        [1, 1, 1], hidden="tanh", output="tanh", W=[[[-0.295]], [[1.024]]], b=[[0.343], [-0.286]]
    )
    c = certify(net, "w[1][0,0]", [[1.115]], [[0.273]], autodiff="off")
    with mpmath.workdps(50):
        w1, w2, b1, b2, x, y = map(mpmath.mpf, (-0.295, 1.024, 0.343, -0.286, 1.115, 0.273))
        h1 = mpmath.tanh(w1 * x + b1)
        h2 = mpmath.tanh(w2 * h1 + b2)
        expected = (h2 - y) * (1 - h2**2) * w2 * (1 - h1**2) * x
        assert abs(mpmath.mpf(c.high_precision.digits) - expected) < 1e-29
    assert len(c.high_precision.digits.replace("-", "").replace("0.", "")) == 30


@pytest.mark.parametrize("bits", [100, 512, 2264])
def test_the_normal_distribution_in_many_digits(bits: int) -> None:
    mp = mpmath.MPContext()
    for z in (-1e12, -300.0, -45.0, -9.0, -0.75, -1e-30, 0.0, 1e-30, 0.3, 7.0, 28.0, 1e6):
        mp.prec = bits
        found = normal_cdf(mp, mp.mpf(z))
        mp.prec = bits + 100
        expected = mp.ncdf(mp.mpf(z))
        assert abs(found - expected) <= mp.ldexp(abs(expected), 2 - bits), z


def test_a_vanishing_gradient_still_has_its_digits() -> None:
    net = Network([1, 1, 1], hidden="tanh", W=[[[300.0]], [[1.0]]], b=[[0.0], [0.0]])
    c = certify(net, "w[1][0,0]", [[1.0]], [[0.0]], autodiff="off")
    assert c.verdict == "pass", c.text()
    with mpmath.workdps(700):
        h = mpmath.tanh(mpmath.mpf(300))
        expected = h * (1 - h**2)
        assert abs(mpmath.mpf(c.high_precision.digits) / expected - 1) < 1e-29
    assert 0 < c.analytic < 1e-250


def test_the_network_stays_as_it_was() -> None:
    net, X, y = example(dropout=0.2)
    parameters, X_before, y_before = net.parameters.copy(), X.copy(), y.copy()
    precision = mpmath.mp.prec
    certify(net, "w[2][1,2]", X, y, autodiff="off")
    np.testing.assert_array_equal(net.parameters, parameters)
    np.testing.assert_array_equal(X, X_before)
    np.testing.assert_array_equal(y, y_before)
    assert mpmath.mp.prec == precision


# --- wrong values -------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("factor", [1 + 1e-8, 1 - 1e-8, -1.0, 2.0, 0.5, 0.0])
def test_a_wrong_value_fails(target: str, factor: float) -> None:
    net, X, y = example()
    right = certify(net, target, X, y, autodiff="off").analytic
    c = certify(net, target, X, y, analytic=right * factor, autodiff="off")
    assert c.verdict == "fail"
    assert not c.passed
    assert c.high_precision.agrees is False
    assert c.high_precision.relative_error == pytest.approx(
        abs(factor - 1) / max(1, abs(factor)), rel=1e-4
    )


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_no_number_fails(wrong: float) -> None:
    net, X, y = example()
    c = certify(net, "w[1][0,0]", X, y, analytic=wrong, autodiff="off")
    assert c.verdict == "fail"
    assert json.loads(json.dumps(c.to_dict()))["analytic"] == repr(wrong)


@pytest.mark.needs("torch")
def test_a_wrong_value_fails_before_every_judge() -> None:
    net, X, y = example()
    c = certify(net, "w[1][0,0]", X, y, analytic=0.123)
    assert [e.agrees for e in c.evidence] == [False, False, False]


# --- not resolved -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (None, "pass"),
        (1.0, "pass"),
        (5.0, "fail"),
        (-1.0, "fail"),
        (0.0, "fail"),
        (1 + 1e-9, "fail"),
    ],
)
def test_high_precision_has_digits_at_any_z(value: float | None, verdict: str) -> None:
    """1 - σ(z) at z = 1e12 is e^-z; differences see nothing beside C = 1e12."""
    net = Network([1, 1], output="sigmoid", loss="binary_cross_entropy", W=[[[1e12]]], b=[[0.0]])
    data = [[1.0], [2.0], [-1.0]], [1, 0, 1]
    c = certify(net, "w[1][0,0]", *data, analytic=value, autodiff="off")
    assert c.verdict == verdict, c.text()
    assert float(c.high_precision.digits) == 1


@pytest.mark.parametrize("z", [3.0, -3.0, 300.0, -300.0, 1000.0, -1000.0, 1e12, -1e12])
@pytest.mark.parametrize("y", [0.0, 1.0])
def test_the_derivative_by_an_output_that_rounds(z: float, y: float) -> None:
    """∂C/∂a = 1/(1 - a) for y = 0 and -1/a for y = 1, beyond float64 where a or 1 - a is 0."""
    net = Network([1, 1], output="sigmoid", loss="binary_cross_entropy", W=[[[z]]], b=[[0.0]])
    c = certify(net, "a[1][0]", [[1.0]], [y], autodiff="off")
    with mpmath.workdps(50):
        e = mpmath.exp(-mpmath.mpf(z) if y else mpmath.mpf(z))
        expected = (-1 if y else 1) * (1 + e)
        assert abs(mpmath.mpf(c.high_precision.digits) / expected - 1) < 1e-28
    assert c.verdict == ("pass" if math.isfinite(c.analytic) else "not resolved"), c.text()
    assert certify(net, "a[1][0]", [[1.0]], [y], analytic=0.5, autodiff="off").verdict == "fail"


@pytest.mark.parametrize("output", ["softplus", "sigmoid", "softmax"])
def test_poisson_at_any_z(output: str) -> None:
    net = Network([1, 2], output=output, loss="poisson", W=[[[1e12], [-3.0]]], b=[[0.0, 0.0]])
    for target in ("w[1][0,0]", "w[1][1,0]", "b[1][1]"):
        c = certify(net, target, [[1.0], [-1.0]], [[2.0, 0.0], [1.0, 4.0]], autodiff="off")
        assert c.verdict == "pass", c.text()


@pytest.mark.parametrize("factor", [1.0, -1.0, 2.0, 0.0, 1e5])
def test_nothing_passes_without_evidence(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """g' is 5e-16: differences see nothing of it, and there is no time for high precision."""
    net = Network([1, 1, 1], hidden="tanh", W=[[[18.0]], [[1.0]]], b=[[0.0], [0.0]])
    data = [[1.0], [1.001]], [0.0, 0.5]
    right = certify(net, "w[1][0,0]", *data, autodiff="off")
    assert right.verdict == "pass"
    monkeypatch.setattr(certificate_module, "_BUDGET", 0)
    value = factor * right.analytic
    c = certify(net, "w[1][0,0]", *data, analytic=value, autodiff="off")
    assert c.verdict == ("fail" if factor == 1e5 else "not resolved"), c.text()
    assert not c.passed
    if factor == 1:
        assert "not resolved: no evidence over all samples has its digits" in c.text()
        assert c.to_dict()["advice"].endswith("try fewer samples")
        assert repr(c).endswith(", not resolved)")


def test_evidence_over_some_samples_may_fail_but_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Differences see nothing of these 8 samples, and there is time for a part of them."""
    net = Network([1, 4, 1], hidden="tanh", W=[[[9.0]] * 4, [[1e-9] * 4]], b=[[0.0] * 4, [1e3]])
    X, y = np.linspace(1, 2, 8)[:, None], np.zeros(8)
    assert certify(net, "w[1][0,0]", X, y, autodiff="off").verdict == "pass"
    monkeypatch.setattr(certificate_module, "_BUDGET", 20_000)
    c = certify(net, "w[1][0,0]", X, y, autodiff="off")
    assert c.high_precision.partial
    assert c.high_precision.agrees
    assert c.verdict == "not resolved", c.text()
    wrong = certify(net, "w[1][0,0]", X, y, analytic=-c.analytic, autodiff="off")
    assert wrong.verdict == "fail", wrong.text()


def test_a_value_that_is_nothing_but_rounding_is_not_resolved() -> None:
    net, X, _ = example(output="identity", loss="half_squared_error")
    y = net.forward(X).a[-1]
    right = certify(net, "b[3][0]", X, y, autodiff="off")
    assert right.verdict == "not resolved", right.text()
    assert "try one sample, or smaller weights" in right.text().replace("\n  ", " ")
    for value in (1e-18, -1e-17):
        assert certify(net, "b[3][0]", X, y, analytic=value, autodiff="off").verdict != "pass"
    assert certify(net, "b[3][0]", X, y, analytic=1e-12, autodiff="off").verdict == "fail"


def test_a_derivative_beyond_float64_is_said() -> None:
    net = Network([1, 1], loss="squared_error", W=[[[1e200]]], b=[[0.0]])
    c = certify(net, "w[1][0,0]", [[1e120]], [0.0], autodiff="off")
    assert (c.verdict, c.analytic) == ("not resolved", math.inf)
    assert "beyond the numbers of float64" in c.text()
    assert (
        certify(net, "w[1][0,0]", [[1e120]], [0.0], analytic=1.0, autodiff="off").verdict == "fail"
    )
    assert json.loads(json.dumps(c.to_dict(), allow_nan=False))["analytic"] == "inf"


@pytest.mark.needs("torch")
@pytest.mark.parametrize("gives", [math.nan, math.inf])
def test_what_an_oracle_can_not_compute_is_no_evidence(
    gives: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chainrule.verify.autodiff.derivative", lambda *_: gives)
    net, X, y = example()
    c = certify(net, "w[1][0,0]", X, y, autodiff="torch")
    assert c.verdict == "pass", c.text()
    assert (c.autodiff.value, c.autodiff.agrees) == (None, None)
    assert f"PyTorch: gives {gives} here, which does not count as evidence" in c.text()
    assert certify(net, "w[1][0,0]", X, y, analytic=0.123, autodiff="torch").verdict == "fail"


@pytest.mark.needs("torch")
def test_a_nan_of_pytorch_is_no_evidence() -> None:
    """Its derivative of sqrt(z²) + 1e-200 is 0/0 at z = 0; |z| < 1 has 0 there by convention."""

    class Root(Activation):
        name = "root"
        formula = "exp(-sqrt(z**2)*0) - 1 + z"
        derivative_formula = "1"

        def value(self, z: Any) -> Any:
            return z

        def derivative(self, z: Any, a: Any) -> Any:
            return np.ones_like(z)

    net = Network([1, 1], output=Root(), W=[[[2.0]]], b=[[0.0]])
    c = certify(net, "w[1][0,0]", [[0.0], [1.0]], [1.0, 1.0], autodiff="torch")
    assert c.autodiff.value is None
    assert c.verdict == "pass", c.text()


def test_a_side_of_a_kink_that_rounding_decides_is_a_kink() -> None:
    """z of layer 2 is -0.15 in float64 and 3.3 in truth, by what cancels in layer 1."""
    net = Network(
        [2, 1, 1, 1], hidden=["identity", "relu"],
        W=[[[0.105e12, -0.536e12]], [[1e6]], [[1.0]]], b=[[0.0], [0.0], [0.0]],
    )  # fmt: skip
    x = [-1.0018554841312883, -0.19625900342124117]
    assert net.forward(x).z[2][0, 0] < 0
    c = certify(net, "b[2][0]", x, [1.0], autodiff="off")
    assert (c.verdict, c.analytic) == ("kink", 0.0), c.text()


def test_differences_do_not_speak_where_a_function_is_steeper_than_their_steps() -> None:
    """σ(1e10 a) is no smooth function to a step of 3e-8: all six see the slope of a corner."""
    net = Network(
        [1, 1, 1], hidden="tanh", output="sigmoid", loss="binary_cross_entropy",
        W=[[[1.0]], [[1e10]]], b=[[0.0], [1.0]],
    )  # fmt: skip
    c = certify(net, "x[0]", [[0.0]], [0.3], autodiff="off")
    assert c.central_difference.value is None
    assert c.verdict == "pass", c.text()


DRAWN = 40


@pytest.mark.parametrize("seed", range(DRAWN))
def test_drawn_at_every_scale(seed: int) -> None:
    """No right value fails, no wrong one passes, with weights from 1e-12 to 1e12."""
    net, X, y, weights, target = drawn(seed)
    c = certify(net, target, X, y, sample_weight=weights, autodiff="off")
    assert c.verdict != "fail", c.text()
    if not math.isfinite(c.analytic):
        assert c.verdict == "not resolved"
        return
    truth = c.analytic if c.high_precision.value is None else c.high_precision.value
    for wrong in (-truth, 2 * truth, truth * (1 + 1e-3), truth * (1 - 1e-6), truth + 1):
        if abs(wrong - truth) <= 5e-7 * abs(truth):
            continue  # -0, or 1e20 + 1
        other = certify(net, target, X, y, sample_weight=weights, analytic=wrong, autodiff="off")
        assert not other.passed, (wrong, other.text())


def drawn(seed: int) -> tuple[Network, Any, Any, Any, str]:
    """Give a network of any functions, data, weights of samples, and a target."""
    rng = np.random.default_rng(seed)
    loss = LOSSES[str(rng.choice(list(LOSSES)))]
    outputs = [g.name for g in ACTIVATIONS.values() if loss.output in (None, g.name)]
    if loss.needs_positive_output:
        outputs = [name for name in outputs if ACTIVATIONS[name].positive]
    hidden = [name for name in ACTIVATIONS if name != "softmax"]
    L = int(rng.integers(1, 5))
    sizes, n = rng.integers(1, 5, size=L + 1).tolist(), int(rng.integers(1, 4))
    scales = 10 ** rng.uniform(-12, 12, size=L) if rng.random() < 0.7 else np.ones(L)
    net = Network(
        sizes, hidden=[str(rng.choice(hidden)) for _ in range(L - 1)],
        output=str(rng.choice(outputs)), loss=loss, l2=float(rng.choice([0.0, 0.1])),
        dtype=str(rng.choice(["float32", "float64"])),
        W=[rng.normal(size=(sizes[l + 1], sizes[l])) * scales[l] for l in range(L)],
        b=[rng.normal(size=sizes[l + 1]) * scales[l] for l in range(L)],
    )  # fmt: skip
    X, K = rng.normal(size=(n, sizes[0])), sizes[-1]
    y = {
        "cross_entropy": np.eye(K)[rng.integers(0, K, n)],
        "binary_cross_entropy": rng.integers(0, 2, (n, K)).astype(float),
        "poisson": rng.poisson(2, (n, K)).astype(float),
    }.get(loss.name, rng.normal(size=(n, K)))
    l = int(rng.integers(1, L + 1))
    j, k = int(rng.integers(sizes[l])), int(rng.integers(sizes[l - 1]))
    forms = [f"w[{l}][{j},{k}]", f"b[{l}][{j}]", f"z[{l}][{j}]", f"a[{l}][{j}]", "x[0]"]
    return net, X, y, rng.uniform(0.2, 2, n), str(rng.choice(forms))


# --- kinks --------------------------------------------------------------------------------------


def relu_at_zero(v: float = 3.0) -> tuple[Network, Any, Any]:
    net = Network([2, 1, 1], hidden="relu", W=[[[1.0, -1.0]], [[v]]], b=[[0.0], [0.0]])
    return net, [[0.5, 0.5]], [[1.0]]


@pytest.mark.needs("torch")
def test_relu_at_its_kink() -> None:
    net, X, y = relu_at_zero()
    c = certify(net, "w[1][0,0]", X, y)
    assert (c.verdict, c.passed, c.analytic) == ("kink", True, 0.0)
    # a = 0, so ∂C/∂a = (0 - 1) · 3, times x = ½ on the side where g' = 1
    assert c.left == 0
    assert c.right == pytest.approx(-1.5, rel=1e-15)
    assert c.central_difference.left == pytest.approx(0, abs=1e-8)
    assert c.central_difference.right == pytest.approx(-1.5, rel=1e-4)
    assert "from the left is 0.0, from the right -1.5" in c.text()
    assert c.autodiff.value == 0


def test_the_sides_follow_the_sign_of_the_input() -> None:
    net, _, y = relu_at_zero()
    c = certify(net, "w[1][0,0]", [[-0.5, -0.5]], y, autodiff="off")
    assert (c.verdict, c.right) == ("kink", 0)
    assert c.left == pytest.approx(1.5, rel=1e-15)


@pytest.mark.parametrize("wrong", [-0.75, 1.0, -1.5, 1e-6])
def test_a_wrong_value_at_a_kink_fails(wrong: float) -> None:
    net, X, y = relu_at_zero()
    assert certify(net, "w[1][0,0]", X, y, analytic=wrong, autodiff="off").verdict == "fail"


def test_leaky_relu_at_its_kink() -> None:
    net = Network([1, 1], output="leaky_relu", W=[[[1.0]]], b=[[-0.25]])
    c = certify(net, "b[1][0]", [[0.25]], [[-2.0]], autodiff="off")
    assert (c.verdict, c.analytic) == ("kink", 0.02)
    assert c.left == pytest.approx(0.02, rel=1e-15)
    assert c.right == pytest.approx(2.0, rel=1e-15)


def test_absolute_error_at_its_kink() -> None:
    net = Network([1, 1], loss="absolute_error", W=[[[2.0]]], b=[[0.0]])
    c = certify(net, "w[1][0,0]", [[0.5], [1.0]], [[1.0], [0.0]], autodiff="off")
    assert c.verdict == "kink"
    assert c.analytic == 0.5  # 0 from the sample that is met exactly, 1/2 from the other
    assert c.left == pytest.approx(0.25, rel=1e-15)
    assert c.right == pytest.approx(0.75, rel=1e-15)
    assert certify(net, "a[1][0]", [[0.5], [1.0]], [[1.0], [0.0]], autodiff="off").verdict == "kink"


def test_a_unit_within_rounding_of_its_kink_is_on_it() -> None:
    net = Network([3, 1], output="relu", W=[[[1.0, 1.0, -1.0]]], b=[[0.0]])
    x = [0.1, 0.2, 0.3]  # 0.1 + 0.2 - 0.3 is 5.6e-17 in float64, and 2.8e-17 in truth
    c = certify(net, "b[1][0]", x, [1.0], autodiff="off")
    assert c.verdict == "kink", c.text()
    assert (c.left, c.right) == (0, pytest.approx(-1))


@pytest.mark.parametrize("distance", [1e-3, 1e-6, 1e-9, 1e-30, 1e-80, 1e-250])
@pytest.mark.parametrize("side", [-1, 1])
def test_a_unit_beside_its_kink_is_not_on_it(distance: float, side: int) -> None:
    net = Network([1, 1], output="relu", W=[[[side * distance]]], b=[[0.0]], biases=True)
    c = certify(net, "x[0]", [1.0], [-1.0], autodiff="off")
    assert c.verdict == "pass", c.text()
    assert c.analytic == (distance * (1 + distance) if side > 0 else 0)


def test_a_kink_that_does_not_matter_passes() -> None:
    net, X, y = relu_at_zero(v=0.0)  # nothing hangs on the unit
    assert certify(net, "w[1][0,0]", X, y, autodiff="off").verdict == "pass"
    net, X, y = relu_at_zero()  # the input 0 does not move the unit
    assert certify(net, "w[1][0,1]", [[0.0, 0.0]], y, autodiff="off").verdict == "pass"
    net, X, y = relu_at_zero()  # and what comes after it is smooth
    assert certify(net, "b[2][0]", X, y, autodiff="off").verdict == "pass"


def test_sides_that_cancel_are_still_a_kink() -> None:
    """relu(t) - relu(-t) = t has the derivative 1, and backpropagation says 0."""
    net = Network([1, 2, 1], hidden="relu", W=[[[1.0], [-1.0]], [[1.0, -1.0]]], b=[[0, 0], [0]])
    c = certify(net, "x[0]", [0.0], [-1.0], autodiff="off")
    assert (c.verdict, c.analytic) == ("kink", 0.0)
    assert c.left == pytest.approx(1) == c.right


@pytest.mark.parametrize("loss", ["half_squared_error", "huber"])
def test_points_where_only_the_second_derivative_jumps(loss: str) -> None:
    net = Network([1, 1, 1], hidden="elu", loss=loss, W=[[[1.0]], [[1.0]]], b=[[0.0], [0.0]])
    c = certify(net, "b[1][0]", [0.0], [1.0], autodiff="off")  # at elu's 0 and huber's |d| = 1
    assert (c.verdict, c.analytic) == ("pass", -1.0), c.text()


# --- numbers of every size ----------------------------------------------------------------------


@pytest.mark.parametrize("z", [10.0, 50.0, 500.0, 1_500.0, 1e6])
@pytest.mark.parametrize(
    ("output", "loss"),
    [
        ("softmax", "cross_entropy"),
        ("softmax", "absolute_error"),
        ("softmax", "squared_error"),
        ("sigmoid", "binary_cross_entropy"),
        ("sigmoid", "huber"),
    ],
)
def test_saturated_outputs(output: str, loss: str, z: float) -> None:
    net = Network([2, 2], output=output, loss=loss, W=[np.eye(2)], b=[[0.0, 0.0]])
    X, y = [[z, -z], [-z / 2, 0.25]], [[0.9, 0.1], [0.75, 0.25]]
    for target in ("w[1][0,0]", "b[1][1]", "x[0]"):
        c = certify(net, target, X, y, autodiff="off")
        if abs(float(c.high_precision.digits)) < 1e-307 and c.high_precision.value != c.analytic:
            assert c.verdict == "not resolved"  # float64 has no 7 digits of such a number
            assert "hardly any digits" in c.advice
        else:
            assert c.verdict == "pass", c.text()
    if loss not in ("cross_entropy", "binary_cross_entropy"):  # ln a of an a that rounds to 0
        assert certify(net, "a[1][0]", X, y, autodiff="off").verdict == "pass"
    report = net.check_gradient(X, y)
    assert report or (not report.failures and max(c.bound for c in report.unresolved) < 1e-307)


def test_one_sample_of_many_is_tiny() -> None:
    """A pre-activation of 1e-86, beside others: the step has to stay on its side of the kink."""
    net = Network([1, 1, 1], hidden="leaky_relu", loss="absolute_error", seed=0)
    net.layers[1].W = [[1.0]]
    c = certify(net, "b[1][0]", [[1e-86], [-2e-86], [1.0]], [5.0, 5.0, 5.0], autodiff="off")
    assert c.verdict == "pass", c.text()


# --- large networks, many samples ---------------------------------------------------------------


def test_a_large_network_takes_the_samples_that_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificate_module, "_BUDGET", 1_000_000)
    net = Network([200, 60, 30, 10], hidden="relu", output="softmax", loss="cross_entropy", seed=0)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(64, 200)), rng.integers(0, 10, size=64)
    c = certify(net, "w[1][5,7]", X, y, autodiff="off")
    assert c.verdict == "pass", c.text()
    assert "samples" in c.high_precision.note
    assert "of 64, which contribute most" in c.high_precision.note
    assert c.high_precision.compared != c.analytic
    assert c.central_difference.compared == c.analytic
    wrong = certify(net, "w[1][5,7]", X, y, analytic=c.analytic * (1 + 1e-7), autodiff="off")
    assert wrong.verdict == "fail"
    assert wrong.high_precision.agrees is False
    assert "add up to" in wrong.high_precision.note


def test_what_is_too_large_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificate_module, "_BUDGET", 1000)
    net, X, y = example()
    c = certify(net, "w[1][0,0]", X, y, autodiff="off")
    assert c.high_precision.value is None
    assert c.high_precision.note == "left out: too slow for 2-3-4-2"
    assert c.verdict == "pass"
    assert certify(net, "w[1][0,0]", X, y, analytic=0.0, autodiff="off").verdict == "fail"


# --- rendering ----------------------------------------------------------------------------------


def certificates() -> list[Certificate]:
    net, X, y = example()
    kinked = relu_at_zero()
    return [
        certify(net, "w[3][1,2]", X, y, autodiff="off"),
        certify(net, "w[3][1,2]", X, y, analytic=-1.23456789012345e-123, autodiff="off"),
        certify(kinked[0], "w[1][0,0]", *kinked[1:], autodiff="off"),
        certify(net, "w[1][0,0]", X, y, analytic=math.nan, autodiff="off"),
        certify(net, "w[3][1,2]", X, net.forward(X).a[-1], autodiff="off"),
    ]


def test_text_fits() -> None:
    for c in certificates():
        text = c.text()
        assert max(len(line) for line in text.splitlines()) <= 100
        assert text == str(c)
        assert text.startswith(f"∂C/∂{c.target} on ")
        assert c.verdict in text.splitlines()[0]
        assert c.high_precision.digits in text


def test_to_dict_is_json() -> None:
    for c in certificates():
        plain = json.loads(json.dumps(c.to_dict(), allow_nan=False))
        assert plain["verdict"] == c.verdict
        assert plain["target"] == str(c.target)
        assert [e["method"] for e in plain["evidence"]] == [e.method for e in c.evidence]


def test_repr() -> None:
    net, X, y = relu_at_zero()
    assert repr(certify(net, "w[1][0,0]", X, y, autodiff="off")) == (
        "Certificate(w[1][0,0]: 0.0, kink)"
    )


# --- automatic differentiation ------------------------------------------------------------------


JAX = """
import numpy as np
from chainrule import Activation, Network
from chainrule.verify import certify

class Softsign(Activation):
    name = "softsign"
    formula = "z/(1 + z) if z > 0 else z/(1 - z)"
    derivative_formula = "1/(1 + abs(z))**2"
    def value(self, z):
        return z / (1 + np.abs(z))
    def derivative(self, z, a):
        return 1 / (1 + np.abs(z)) ** 2

rng = np.random.default_rng(0)
X, y = rng.normal(size=(5, 2)), rng.dirichlet(np.ones(2), size=5)
for options in (
    dict(hidden=["tanh", "gelu"], output="sigmoid", loss="binary_cross_entropy", dropout=0.2),
    dict(hidden=["relu", Softsign()], output="softmax", loss="cross_entropy", l2=0.1),
):
    net = Network([2, 3, 4, 2], seed=1, **options)
    for target in ("w[1][0,1]", "b[2][3]", "a[3][0]", "x[1]"):
        c = certify(net, target, X, y, autodiff="jax", dropout_step=3)
        assert c.autodiff.method == "JAX"
        assert c.autodiff.agrees, c.text()
        assert c.verdict == "pass", c.text()
"""


@pytest.mark.needs("jax")
def test_jax() -> None:
    # In a process of its own: JAX warns about every later fork of the process that imported it.
    subprocess.run([sys.executable, "-c", JAX], check=True)


def test_autodiff_can_be_switched_off() -> None:
    net, X, y = example()
    c = certify(net, "x[0]", X, y, autodiff="off")
    assert c.autodiff.value is None
    assert c.autodiff.agrees is None
    with pytest.raises(ValueError, match="autodiff must be 'auto', 'torch', 'jax' or 'off', got 3"):
        certify(net, "x[0]", X, y, autodiff=3)  # type: ignore[arg-type]


def test_nothing_heavy_is_imported_unasked() -> None:
    code = (
        "import sys\n"
        "from chainrule import Network\n"
        "from chainrule.verify import certify\n"
        "net = Network([1, 1], seed=0)\n"
        "assert not {'mpmath', 'torch', 'jax'} & set(sys.modules)\n"
        "assert net.check_gradient([[1.0]], [2.0])\n"
        "assert not {'mpmath', 'torch', 'jax'} & set(sys.modules)\n"
        "assert certify(net, 'b[1][0]', [[1.0]], [2.0], autodiff='off').passed\n"
        "assert not {'torch', 'jax'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("width", [100, 84, 71, 61])
def test_a_narrow_table_shows_fewer_errors(width: int) -> None:
    net = Network([2, 2, 1], hidden="tanh", output="tanh", seed=0)
    lines = certify(net, "w[1][1,0]", [0.9, -1.2], [-0.4]).text(width).splitlines()
    assert max(map(len, lines)) <= width
    assert ("allowed" in lines[2]) == (width >= 84)
    assert "high precision" in "\n".join(lines)
