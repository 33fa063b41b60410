"""Numbers that overflow are said: which sample, which layer; never a silent NaN."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import engines
from chainrule.equations.activations import ACTIVATIONS
from chainrule.sklearn import MLPClassifier, MLPRegressor
from chainrule.verify import certify

LARGE = {"float64": 1e308, "float32": 1e38}


def network(**options: Any) -> cr.Network:
    """Layer 1 passes x on, three times; z of layer 2 is 9 x."""
    net = cr.Network([2, 3, 1], **({"hidden": "identity", "seed": 0} | options))
    net.layers[1].W = [[1, 0]] * 3
    net.layers[2].W = [[3, 3, 3]]
    return net


def told(ask: Callable[[], Any]) -> tuple[Any, str]:
    """What it gives, and its one warning."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        result = ask()
    assert [w.category for w in found] == [RuntimeWarning]
    assert found[0].filename == __file__
    return result, str(found[0].message)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("engine", engines._ENGINES)
def test_predict_names_the_first_sample_and_layer(engine: str, dtype: str) -> None:
    large = LARGE[dtype]
    X = np.zeros((3000, 2), dtype)
    net = network(engine=engine, dtype=dtype)
    assert not net.predict(X).any()
    X[[1100, 2000, 2999], 0] = large
    for asked in range(3):
        outputs, message = told(lambda: net.predict(X))
        assert message.startswith(
            "z of layer 2 is not finite for sample 1100 (and for 2 more): numbers became too large "
            f"for {dtype}; scale X, or look"
        ), asked
        assert np.isinf(outputs[[1100, 2000, 2999]]).all()
        assert np.isfinite(outputs[:1100]).all()
    net.layers[1].W = [[3, -3], [3, 3], [0, 0]]
    X[5] = large
    outputs, message = told(lambda: net.predict(X))
    assert message.startswith("z of layer 1 is not finite for sample 5 (and for 3 more)")
    outputs, message = told(lambda: net.predict(X[5]))
    assert outputs.shape == (1,)
    assert message.startswith("z of layer 1 is not finite for sample 0: ")
    _, message = told(lambda: net.predict_classes(X[5]))
    assert message.startswith("z of layer 1 is not finite for sample 0: ")


@pytest.mark.parametrize("engine", engines._ENGINES)
def test_also_where_the_output_is_finite_again(engine: str) -> None:
    """∞ - ∞ would have been about 0, and the sigmoid of either ∞ is a number like any other."""
    net = network(engine=engine, output="sigmoid")
    net.layers[1].W = [[1, 0]] * 3
    outputs, message = told(lambda: net.predict([[1e308, 0.0]]))
    assert outputs == 1
    assert message.startswith("z of layer 2 is not finite for sample 0")


@pytest.mark.parametrize("engine", engines._ENGINES)
def test_it_follows_errstate(engine: str) -> None:
    net, X = network(engine=engine), np.array([[0.0, 0], [1e308, 0]])
    for _ in range(2):
        with np.errstate(over="ignore"):
            assert np.isinf(net.predict(X)[1, 0])
            assert np.isinf(net.forward(X).z[2][1, 0])
        with np.errstate(over="raise"):
            for ask in (net.predict, net.forward):
                with pytest.raises(FloatingPointError, match="z of layer 2 is not finite for sam"):
                    ask(X)


@pytest.mark.parametrize("engine", engines._ENGINES)
def test_inputs_that_are_too_large_for_the_network(engine: str) -> None:
    X = np.zeros((4, 2))
    X[2, 1] = -1e39
    net = network(engine=engine, dtype="float32")
    for _ in range(2):
        for ask in (net.predict, net.predict_classes):
            with pytest.raises(ValueError, match=r"X\[2, 1\] is -1e\+39, too large for float32"):
                ask(X)
        net.predict(X[:2])
    with pytest.raises(ValueError, match=r"X\[2, 1\] is -1e\+39, too large for float32"):
        net.fit(X, np.zeros(4), verbose=0)
    with pytest.raises(ValueError, match=r"y\[3, 0\] is 1e\+39, too large for float32"):
        net.fit(X[:2].repeat(2, axis=0), [0, 0, 0, 1e39], verbose=0)
    assert np.isfinite(net.forward(X).z[2]).all()  # which is in float64


@pytest.mark.skipif(np.finfo(np.longdouble).max == np.finfo(np.float64).max, reason="no wider type")
def test_numbers_beyond_float64() -> None:
    X = np.zeros((4, 2), np.longdouble)
    X[3, 1] = np.longdouble("1e4000")
    net, y = network(), np.zeros(4)
    for ask in (net.predict, net.forward):
        with pytest.raises(ValueError, match=r"X\[3, 1\] is 1e\+4000, too large for float64"):
            ask(X)
    both: tuple[Callable[..., object], ...] = (net.gradient, net.loss_value, net.check_gradient)
    for ask_both in both:
        with pytest.raises(ValueError, match=r"X\[3, 1\] is 1e\+4000, too large for float64"):
            ask_both(X, y)
        with pytest.raises(ValueError, match=r"y\[3, 0\] is 1e\+4000, too large for float64"):
            ask_both(np.zeros((4, 2)), X[:, 1])
        with pytest.raises(ValueError, match=r"sample_weight\[3\] is 1e\+4000, too large"):
            ask_both(np.zeros((4, 2)), y, sample_weight=X[:, 1])


def test_in_float64_passes() -> None:
    net, X, y = network(), np.zeros((3000, 2)), np.zeros(3000)
    X[2500, 0] = 1e308
    for ask in (
        lambda: net.forward(X), lambda: net.gradient(X, y), lambda: net.loss_value(X, y),
        lambda: net.explain("w[1][0,0]", X, y),
    ):  # fmt: skip
        _, message = told(ask)
        assert message.startswith("z of layer 2 is not finite for sample 2500: ")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not net.check_gradient(X[2490:2510], y[2490:2510]).passed
        certify(net, "w[1][0,0]", X[2500:], y[2500:], autodiff="off")


def test_a_loss_and_a_gradient_that_overflow() -> None:
    net = network()
    _, message = told(lambda: net.loss_value([[1e200, 0]], [0]))
    assert message.startswith("the loss is not finite for sample 0")
    net = cr.Network([1, 1, 1, 1], hidden="identity", W=[[[1e-300]], [[1e200]], [[1e200]]])
    g, message = told(lambda: net.gradient([[1.0]], [0]))
    assert np.isinf(g.delta[1]).all()
    assert message.startswith("the gradient of layer 1 is not finite: ")


def test_an_activation_of_ones_own() -> None:
    class Gap(cr.Activation):
        name = "gap"
        formula = "z"
        derivative_formula = "1"

        def value(self, z: Any) -> Any:
            return np.where(z == 2, np.nan, z)

        def derivative(self, z: Any, a: Any) -> Any:
            return np.ones_like(z)

    net = network(hidden=Gap())
    _, message = told(lambda: net.predict([[0.0, 0], [2, 0], [2, 0]]))
    assert message.startswith("a of layer 1 is not finite for sample 1 (and for 1 more): ")


def test_ordinary_numbers_say_nothing() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, 2)), rng.normal(size=50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for hidden in ACTIVATIONS:
            if hidden == "softmax":
                continue
            net = cr.Network([2, 5, 1], hidden=hidden, seed=0)
            for scale in (1, 1e3):
                net.predict(scale * X), net.forward(scale * X), net.gradient(scale * X, y)
                net.loss_value(scale * X, y)


def test_the_estimators() -> None:
    X, y = np.array([[0.0, 0], [1, 1], [1, 2], [0, 1]]), np.array([0, 1, 1, 0])
    options: Any = {"hidden_layer_sizes": (3,), "solver": "lbfgs", "random_state": 0}
    for make in (MLPClassifier, MLPRegressor):
        m = make(**options).fit(X, y)
        m.coefs_[0][...] = 5
        for _ in range(2):
            _, message = told(lambda: m.predict([[1.0, 2], [1e308, 1e308]]))  # noqa: B023
            assert message.startswith("z of layer 1 is not finite for sample 1: ")
            _, message = told(lambda: m.predict(np.array([[1.0, 2], [1e308, 1e308]])))  # noqa: B023
            assert message.startswith("z of layer 1 is not finite for sample 1: ")


def test_the_command_line_says_it_in_one_line(tmp_path: Any) -> None:
    model, data = tmp_path / "net.safetensors", tmp_path / "far.csv"
    network().save(model)
    data.write_text("a,b,y\n1,2,0\n1e308,0,0\n")
    found = subprocess.run(
        [sys.executable, "-m", "chainrule", "explain", str(model), "w[2][0,0]", "--data", str(data),
         "--all-rows"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert re.fullmatch(
        r"chainrule: z of layer 2 is not finite for sample 1: numbers became too large for .*\n",
        found.stderr,
    )


def test_a_penalty_that_overflows_is_named() -> None:
    net = cr.Network([1, 1], W=[[[1e200]]], b=[[0.0]], l2=1.0)
    X, y = [[1e-200]], [1.0]
    expected = (
        "the penalty is not finite: numbers became too large for float64; scale X, or look for "
        "parameters that are too large"
    )
    for ask in (lambda: net.loss_value(X, y), lambda: net.gradient(X, y).loss):
        loss, message = told(ask)
        assert loss == np.inf
        assert message == expected


def test_a_penalty_that_overflows_in_validation_is_inf_alone() -> None:
    """The run goes on with a val_loss of inf, and warns of nothing."""
    seen: list[float] = []
    net = cr.Network([1, 1], W=[[[1e100]]], b=[[0.0]], l2=1.0)
    X, y = [[1e-100]], [1.0]
    with pytest.raises(cr.NonFiniteError, match="epoch 2"):
        net.fit(
            X, y, optimizer=cr.GradientDescent(1e60), epochs=2, validation_data=(X, y), verbose=0,
            callbacks=[lambda run: seen.append(run.history["val_loss"][-1])],
        )  # fmt: skip
    assert seen == [np.inf]
