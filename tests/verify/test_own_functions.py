"""Certificates of activations and losses that the user wrote."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule import Activation, Loss, Network
from chainrule.verify import certify
from tests.verify.examples import TARGETS, example

# --- functions of the user ----------------------------------------------------------------------


class Hat(Activation):
    """g(z) = 1 - |z| between -1 and 1, else 0: three kinks."""

    name = "hat"
    formula = "max(0, 1 - abs(z))"
    derivative_formula = "0 if abs(z) >= 1 else -sign(z)"
    kinks = (-1.0, 0.0, 1.0)

    def value(self, z: Any) -> Any:
        return np.maximum(0, 1 - np.abs(z))

    def derivative(self, z: Any, a: Any) -> Any:
        return np.where(np.abs(z) >= 1, 0.0, -np.sign(z))


class TextbookTanh(Activation):
    """tanh as a textbook has it, with a derivative that cancels where a rounds to 1."""

    name = "textbook_tanh"
    formula = "(exp(z) - exp(-z))/(exp(z) + exp(-z)) = tanh(z)"
    derivative_formula = "1 - tanh(z)**2 = 1 - a**2"

    def value(self, z: Any) -> Any:
        return np.tanh(z)

    def derivative(self, z: Any, a: Any) -> Any:
        return 1 - a**2


class Wrong(TextbookTanh):
    """A derivative that is not that of the formula."""

    name = "wrong"

    def derivative(self, z: Any, a: Any) -> Any:
        return 1 - a


class LogCosh(Loss):
    """c = ln cosh(a - y)."""

    name = "log_cosh"
    formula = "ln(cosh(a - y))"
    derivative_formula = "tanh(a - y)"

    def value(self, a: Any, y: Any) -> Any:
        return np.log(np.cosh(a - y))

    def derivative(self, a: Any, y: Any) -> Any:
        return np.tanh(a - y)


@pytest.mark.parametrize(
    "package", ["off", pytest.param("torch", marks=pytest.mark.needs("torch"))]
)
@pytest.mark.parametrize("hidden", [Hat(), TextbookTanh()])
def test_own_functions(hidden: Activation, package: Any) -> None:
    net, X, y = example(hidden=hidden, output="identity", loss=LogCosh())
    for target in TARGETS:
        c = certify(net, target, X, y, autodiff=package)
        assert c.verdict == "pass", c.text()
        assert c.high_precision.value is not None


def test_own_kinks() -> None:
    net = Network([1, 1], output=Hat(), W=[[[1.0]]], b=[[0.0]])
    for x, slopes in ((0.0, (1, -1)), (1.0, (-1, 0)), (-1.0, (0, 1))):
        c = certify(net, "b[1][0]", [x], [-1.0], autodiff="off")
        height = 2.0 if x == 0 else 1.0
        assert c.verdict == "kink"
        assert (c.left, c.right) == pytest.approx(tuple(s * height for s in slopes))


@pytest.mark.parametrize(
    ("z", "verdict"),
    [(5.0, "pass"), (9.0, "pass"), (15.0, "not resolved"), (300.0, "not resolved")],
)
def test_own_derivatives_may_round(z: float, verdict: str) -> None:
    """1 - a² keeps 9 digits at z = 9, and none at 300."""
    net = Network([1, 1], output=TextbookTanh(), W=[[[z]]], b=[[0.0]])
    c = certify(net, "b[1][0]", [1.0], [0.0], autodiff="off")
    assert c.verdict == verdict, c.text()
    assert ("may carry this value" in c.advice) == (verdict == "not resolved")
    wrong = certify(net, "b[1][0]", [1.0], [0.0], analytic=1.0, autodiff="off")
    assert wrong.verdict == "fail"


class Noisy(TextbookTanh):
    """A derivative by a difference, with an error of 1e-8 that depends on the last bits of z."""

    name = "noisy"

    def derivative(self, z: Any, a: Any) -> Any:
        return (np.tanh(z + 1e-8) - np.tanh(z)) / 1e-8


def test_a_noisy_derivative_does_not_widen_what_is_allowed() -> None:
    allowed = []
    for hidden in (TextbookTanh(), Noisy()):
        net, X, y = example(hidden=hidden, output="identity")
        c = certify(net, "w[1][0,0]", X, y, autodiff="off")
        assert c.verdict == ("fail" if hidden.name == "noisy" else "pass"), c.text()
        assert c.high_precision.allowed is not None
        allowed.append(c.high_precision.allowed)
    assert allowed[1] < 1.01 * allowed[0]

    class NoisyLoss(LogCosh):
        name = "noisy_loss"

        def derivative(self, a: Any, y: Any) -> Any:
            return (self.value(a + 1e-8, y) - self.value(a, y)) / 1e-8

    net, X, y = example(loss=NoisyLoss())
    c = certify(net, "w[1][0,0]", X, y, autodiff="off")
    assert c.verdict == "fail", c.text()


def test_a_wrong_derivative_of_the_user_fails() -> None:
    net, X, y = example(hidden=Wrong())
    c = certify(net, "w[1][0,0]", X, y, autodiff="off")
    assert c.verdict == "fail"
    assert not net.check_gradient(X, y)


def test_a_formula_without_a_value_is_said() -> None:
    class Log(Loss):
        name = "log"
        formula = "ln(a)*y"
        derivative_formula = "y/a"

        def value(self, a: Any, y: Any) -> Any:
            return np.log(np.abs(a)) * y

        def derivative(self, a: Any, y: Any) -> Any:
            return y / a

    net = Network([1, 1], loss=Log(), W=[[[-1.0]]], b=[[0.0]])
    c = certify(net, "b[1][0]", [1.0], [1.0], autodiff="off")
    assert c.high_precision.value is None
    assert "the formulas have no value here" in c.high_precision.note
    assert c.central_difference.agrees
    assert c.verdict == "pass"
