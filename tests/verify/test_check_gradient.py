"""The check of a whole gradient: no false alarms, no silence, and what the report says."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from chainrule import Loss, Network
from chainrule.equations import backprop
from chainrule.equations.losses import LOSSES
from chainrule.verify import GradientReport, check_gradient
from chainrule.verify import check as check_module


def data(n: int, inputs: int, outputs: int, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, inputs)), rng.normal(size=(n, outputs))


def test_report_of_a_right_gradient() -> None:
    net = Network([3, 4, 2], hidden="tanh", seed=0)
    report = check_gradient(net, *data(5, 3, 2))
    assert report
    assert report.passed
    assert (report.checked, report.total, report.n_samples) == (26, 26, 5)
    assert report.worst_relative_error < 1e-8
    assert report.worst is not None
    assert report.worst.relative_error == report.worst_relative_error
    assert report.failures == report.kinks == ()
    assert report.text().startswith("gradient: pass; all 26 parameters checked on 5 samples")
    assert str(report.worst.parameter) in repr(report)
    assert repr(report).startswith("GradientReport(passed: 26 of 26 parameters, worst relative")


def test_ten_thousand_parameters_take_seconds() -> None:
    net = Network([100, 64, 50, 10], hidden="relu", output="softmax", loss="cross_entropy", seed=0)
    X, _ = data(100, 100, 1)
    report = check_gradient(net, X, np.arange(100) % 10)
    assert report, report.text()
    assert (report.checked, report.total) == (10_000, 10_224)
    assert "10,000 of 10,224 parameters, drawn at random, checked on 100 samples" in report.text()
    assert report.worst_relative_error < 1e-6


def test_a_sample_of_the_parameters() -> None:
    net = Network([50, 20, 5, 1], hidden="tanh", seed=0)
    X, y = data(3, 50, 1)
    report = check_gradient(net, X, y, max_parameters=60)
    assert (report.checked, report.total) == (60, net.parameters.size)
    again = check_gradient(net, X, y, max_parameters=60)
    assert again.worst == report.worst
    other = check_gradient(net, X, y, max_parameters=60, seed=1)
    assert other.worst != report.worst
    assert check_gradient(net, X, y, max_parameters=1).checked == 1


def test_every_layer_is_drawn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gradient that is wrong in the last, smallest layer alone is found."""
    net = Network([200, 50, 1], hidden="tanh", seed=0)
    X, y = data(2, 200, 1)
    right = backprop.gradient

    def wrong(*args: Any) -> Any:
        g = right(*args)
        g.dW[2][...] *= 1.01
        return g

    monkeypatch.setattr(backprop, "gradient", wrong)
    report = check_gradient(net, X, y, max_parameters=120)
    assert not report
    assert len(report.failures) == 50
    assert all(c.parameter.layer == 2 for c in report.failures)


def test_report_of_a_wrong_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Network([3, 4, 2], hidden="tanh", seed=0)
    X, y = data(5, 3, 2)
    right = backprop.gradient

    def wrong(*args: Any) -> Any:
        g = right(*args)
        g.dW[1][2, 1] *= 1 + 1e-5
        g.db[2][0] = np.nan
        return g

    monkeypatch.setattr(backprop, "gradient", wrong)
    report = check_gradient(net, X, y)
    assert not report
    assert [str(c.parameter) for c in report.failures] == ["b[2][0]", "w[1][2,1]"]
    assert report.failures[1].relative_error == pytest.approx(1e-5, rel=1e-2)
    assert report.worst is not None
    assert str(report.worst.parameter) == "b[2][0]"
    assert "gradient: FAIL" in report.text()
    assert "wrong (relative error above 1e-06): 2" in report.text()
    assert repr(report).startswith("GradientReport(FAILED for 2: 26 of 26 parameters")
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert plain["passed"] is False
    assert [c["parameter"] for c in plain["failures"]] == ["b[2][0]", "w[1][2,1]"]


def test_text_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Network([30, 40, 2], hidden="relu", seed=0)
    X, y = data(5, 30, 2)
    X[0] = 0
    right = backprop.gradient

    def wrong(*args: Any) -> Any:
        g = right(*args)
        g.dW[1][...] *= -1e-7
        return g

    monkeypatch.setattr(backprop, "gradient", wrong)
    text = check_gradient(net, X, y).text()
    assert max(len(line) for line in text.splitlines()) <= 100
    assert "and 1,1" in text  # the list ends and says so
    assert "at a kink" in text


# --- no false alarms ----------------------------------------------------------------------------


def passes(net: Network, X: Any, y: Any, **options: Any) -> GradientReport:
    report = check_gradient(net, X, y, **options)
    assert report.passed, report.text()
    return report


@pytest.mark.parametrize("hidden", ["relu", "leaky_relu"])
def test_inputs_of_exact_zeros(hidden: str) -> None:
    net = Network([6, 8, 5, 3], hidden=hidden, seed=0)  # all biases are 0
    X, y = data(12, 6, 3)
    X[np.random.default_rng(1).random(X.shape) < 0.5] = 0
    assert not passes(net, X, y).kinks
    X[4] = 0  # now every unit of one sample stands on its kink
    report = passes(net, X, y)
    names = {str(c.parameter) for c in report.kinks}
    assert {"b[1][0]", "b[1][7]"} <= names
    assert not any(name.startswith("w[1]") for name in names)  # an input of 0 moves nothing
    assert not any(name.endswith("[3]") for name in names if name.startswith("b[3]"))


def test_kinks_tell_both_sides() -> None:
    net = Network([1, 1, 1], hidden="relu", W=[[[1.0]], [[3.0]]], b=[[0.0], [0.0]])
    report = passes(net, [[0.0]], [1.0])
    (kink,) = report.kinks
    assert str(kink.parameter) == "b[1][0]"
    assert (kink.analytic, kink.left) == (0, pytest.approx(0, abs=1e-9))
    assert kink.right == pytest.approx(-3, rel=1e-4)
    assert "at a kink, where only derivatives from one side exist: 1" in report.text()
    assert report.to_dict()["kinks"][0]["parameter"] == "b[1][0]"


def test_a_wrong_value_at_a_kink_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Network([1, 1, 1], hidden="relu", W=[[[1.0]], [[3.0]]], b=[[0.0], [0.0]])
    right = backprop.gradient

    def wrong(*args: Any) -> Any:
        g = right(*args)
        g.db[1][0] = -1.5  # the mean of both sides is not what is promised there
        return g

    monkeypatch.setattr(backprop, "gradient", wrong)
    assert not check_gradient(net, [[0.0]], [1.0])


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
@pytest.mark.parametrize("hidden", ["sigmoid", "tanh", "gelu", "silu", "elu", "softplus", "relu"])
def test_saturated_and_tiny_units(hidden: str, scale: float) -> None:
    net = Network([4, 6, 6, 2], hidden=hidden, seed=0)
    X, y = data(6, 4, 2)
    passes(net, scale * X, y)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_loss(loss: str, dtype: Any) -> None:
    c = LOSSES[loss]
    output = c.output or ("softplus" if c.needs_positive_output else "identity")
    net = Network([4, 6, 3], hidden="relu", output=output, loss=loss, dtype=dtype, l2=0.01, seed=0)
    X, y = data(20, 4, 3)
    if loss == "cross_entropy":
        y = np.arange(20) % 3
    elif loss in ("binary_cross_entropy", "poisson"):
        y = (y > 0).astype(float)
    passes(net, X, y, sample_weight=np.arange(20))


def test_absolute_error_that_is_met_exactly() -> None:
    net = Network([2, 3], loss="absolute_error", seed=0)
    X, _ = data(4, 2, 3)
    y = net.forward(X).a[1]
    report = passes(net, X, y)
    assert len(report.kinks) == report.total == 9
    assert report.worst is None
    assert report.worst_relative_error == 0
    assert "9 at kinks" in repr(report)


def test_inputs_of_any_scale() -> None:
    net = Network([3, 4, 2], hidden="tanh", seed=0)
    X, y = data(5, 3, 2)
    passes(net, X * [1e6, 1, 1e-6], y)
    passes(net, X, 1e6 * y)
    passes(net, X, 1e-6 * y)


def test_a_perfect_fit() -> None:
    """All that is left of the gradient is rounding: right or wrong, nothing can tell."""
    net = Network([3, 4, 2], hidden="tanh", seed=0)
    X, _ = data(5, 3, 2)
    report = check_gradient(net, X, net.forward(X).a[2])
    assert (report.verdict, report.passed, bool(report)) == ("not resolved", False, False)
    assert len(report.unresolved) == 26
    assert report.failures == ()
    assert max(c.bound for c in report.unresolved) < 1e-15
    text = report.text()
    assert text.startswith("gradient: NOT RESOLVED; all 26 parameters checked on 5 samples")
    assert "not resolved to 6 digits: 26" in text
    assert "Try other samples" in text
    assert max(map(len, text.splitlines())) <= 100
    assert repr(report).startswith("GradientReport(NOT RESOLVED for 26: 26 of 26 parameters")
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert (plain["verdict"], plain["passed"]) == ("not resolved", False)
    assert plain["advice"] == report.advice
    assert [c["resolved"] for c in plain["unresolved"]] == [False] * 26


# --- nothing passes that nothing resolves ---------------------------------------------------------


def vanishing() -> tuple[Network, Any, Any]:
    """A network whose first layer has a gradient of 1e-15, of which differences see nothing."""
    net = Network([1, 2, 1], hidden="tanh", W=[[[18.0], [17.0]], [[1.0, 2.0]]], b=[[0, 0], [0]])
    return net, [[1.0], [1.001]], [0.5, 1.0]


def times(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Multiply ∂C/∂w[1] in every gradient."""
    right = backprop.gradient

    def wrong(*args: Any) -> Any:
        g = right(*args)
        g.dW[1][...] *= factor
        return g

    monkeypatch.setattr(backprop, "gradient", wrong)


def test_high_precision_sees_what_differences_do_not() -> None:
    report = passes(*vanishing())
    assert report.unresolved == ()


@pytest.mark.parametrize("factor", [-1.0, 2.0, 1 + 1e-5])
def test_a_wrong_gradient_that_vanishes_fails(
    factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    times(factor, monkeypatch)
    report = check_gradient(*vanishing())
    assert report.verdict == "fail"
    assert {str(c.parameter) for c in report.failures} == {"w[1][0,0]", "w[1][1,0]"}


@pytest.mark.parametrize("factor", [1.0, -1.0, 2.0])
def test_a_layer_that_nothing_resolves_does_not_pass(
    factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_module, "_BUDGET", 0)
    times(factor, monkeypatch)
    report = check_gradient(*vanishing())
    assert report.verdict == "not resolved", report.text()
    assert {c.parameter.layer for c in report.unresolved} == {1}
    assert "Try fewer samples, or a certificate" in report.text()


def test_what_vanishes_beside_the_rest_of_its_layer_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """g' of one unit is 1e-15, that of the other 0.8: they are right to 1e-6 of the norm."""
    monkeypatch.setattr(check_module, "_BUDGET", 0)
    net = Network([1, 2, 1], hidden="tanh", W=[[[18.0], [0.5]], [[1.0, 2.0]]], b=[[0, 0], [0]])
    report = passes(net, [[1.0], [1.001]], [0.5, 1.0])
    assert {str(c.parameter) for c in report.unresolved} == {"w[1][0,0]", "b[1][0]"}
    assert "too small beside the others to be resolved: 2, right to within" in report.text()
    assert report.worst is not None
    assert report.worst.resolved


def test_nothing_of_a_relu_that_is_off_is_left_unresolved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_module, "_BUDGET", 0)
    net = Network([2, 3, 1], hidden="relu", W=[-np.ones((3, 2)), np.ones((1, 3))], b=[[0] * 3, [0]])
    report = passes(net, [[1.0, 2.0], [3.0, 0.5]], [1.0, 2.0])
    assert report.unresolved == ()


def test_what_has_no_value_in_the_formulas_is_not_resolved() -> None:
    """The code gives |ln a|, the formula ln a of a negative number."""

    class Log(Loss):
        name = "log"
        formula = "ln(a)*y"
        derivative_formula = "y/a"

        def value(self, a: Any, y: Any) -> Any:
            return np.log(np.abs(a)) * y

        def derivative(self, a: Any, y: Any) -> Any:
            return y / a

    net = Network([1, 1, 1], hidden="tanh", loss=Log(), W=[[[18.0]], [[-1.0]]], b=[[0], [0]])
    report = check_gradient(net, [[1.0]], [1.0])
    assert report.verdict == "not resolved"
    assert "has no value" in report.advice


def test_the_network_stays_as_it_was() -> None:
    net = Network([3, 4, 2], hidden="relu", seed=0, dtype="float32")
    X, y = data(5, 3, 2)
    before = net.parameters.copy(), X.copy(), y.copy()
    check_gradient(net, X, y)
    for now, then in zip((net.parameters, X, y), before, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize(
    ("wrong", "error", "complaint"),
    [
        (0, ValueError, "max_parameters must be at least 1, got 0"),
        (1.5, TypeError, "max_parameters must be an integer, got 1.5"),
        (True, TypeError, "max_parameters must be an integer, got True"),
    ],
)
def test_max_parameters(wrong: Any, error: type[Exception], complaint: str) -> None:
    net = Network([1, 1])
    with pytest.raises(error, match=complaint):
        net.check_gradient([[1.0]], [1.0], max_parameters=wrong)
