"""Custom activations and losses in the core: the reference's numbers, or the reference itself."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import engines
from chainrule.equations.losses import LOSSES
from chainrule.equations.weighted import weighted
from chainrule.foreign.averaged import averaged
from chainrule.foreign.sklearn.exponential import Exp
from tests.engines.customs import (
    AT_ZERO,
    CELU,
    CUTS,
    GAUSSIAN,
    MISH,
    SINE,
    SOFTSIGN,
    LogCosh,
    activation,
)  # fmt: skip
from tests.engines.runs import train
from tests.settings import DTYPES

_native = pytest.importorskip("chainrule.engines._native", reason="a pure Python installation")
from chainrule.engines.native import NativeEngine  # noqa: E402
from tests.engines.native_runs import agree  # noqa: E402

Array = Any


HIDDEN = [SOFTSIGN, GAUSSIAN, SINE, MISH, CELU, CUTS, "step"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("g", HIDDEN, ids=str)
def test_activations(isa: str, dtype: str, g: Any) -> None:
    for sizes in ([4, 7, 3], [13, 37, 5], [9, 70, 33, 2]):
        agree(sizes, dtype=dtype, hidden=g, output=g if g is not GAUSSIAN else "identity")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "output", ["identity", "tanh", "softplus", "softmax", "step", SOFTSIGN], ids=str
)
@pytest.mark.parametrize("loss", [LogCosh(), averaged("huber", 3)], ids=["log_cosh", "averaged"])
def test_losses(isa: str, dtype: str, loss: Any, output: Any) -> None:
    for sizes in ([4, 7, 3], [13, 37, 3]):
        agree(sizes, dtype=dtype, hidden="tanh", output=output, loss=loss)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", ["squared_error", "half_squared_error", "absolute_error", "huber"])
def test_the_core_s_losses_after_a_custom_output(isa: str, dtype: str, loss: str) -> None:
    agree([4, 7, 3], dtype=dtype, hidden="tanh", output=SOFTSIGN, loss=loss)


@pytest.mark.parametrize("dtype", DTYPES)
def test_poisson_after_a_custom_output(isa: str, dtype: str) -> None:
    """scikit-learn's, which has the exponential of z."""
    y = np.random.default_rng(4).poisson(2, (47, 3)).astype(dtype)
    agree([4, 7, 3], dtype=dtype, hidden="tanh", output=Exp(), loss="poisson", y=y)
    square = activation(  # which does not know its logarithm
        "square", "z**2 + 1", "2*z", lambda z: z**2 + 1, lambda z, a: 2 * z, positive=True
    )
    agree([4, 7, 3], dtype=dtype, hidden="tanh", output=square, loss="poisson", y=y,
          optimizer=cr.GradientDescent(0.005))  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("loss", "output"),
    [("squared_error", "identity"), ("huber", "tanh"), ("absolute_error", "softmax"),
     ("cross_entropy", "softmax"), ("binary_cross_entropy", "sigmoid"), ("poisson", "softplus"),
     ("poisson", "sigmoid"), ("poisson", Exp()), (LogCosh(), "identity"), (LogCosh(), "softmax")],
    ids=str,
)  # fmt: skip
def test_weights_of_outputs(isa: str, dtype: str, loss: Any, output: Any) -> None:
    inner = LOSSES[loss] if isinstance(loss, str) else loss
    for sizes in ([4, 7, 3], [13, 37, 17]):
        own = weighted(inner, np.random.default_rng(0).uniform(0.1, 3, sizes[-1]))
        agree(sizes, dtype=dtype, hidden="tanh", output=output, loss=own)
    own = weighted(inner, np.array([1, 0, 2]))
    y = np.random.default_rng(2).integers(0, 3, 47) if loss == "cross_entropy" else None
    agree([4, 7, 3], dtype=dtype, hidden="tanh", output=output, loss=own, y=y)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "options",
    [{"dropout": 0.4}, {"l2": 0.1, "clip": 0.05}, {"batch": 1}, {"biases": False},
     {"batch": 47, "optimizer": cr.Adam(0.01)}, {"largest_loss": 0.05}],
    ids=lambda options: "-".join(options),
)  # fmt: skip
def test_options(isa: str, dtype: str, options: dict[str, Any]) -> None:
    for sizes in ([4, 7, 3], [13, 37, 40, 5]):
        agree(sizes, dtype=dtype, hidden=SOFTSIGN, loss=LogCosh(), **options)


def test_what_is_infinite_at_0_stays_out_of_the_padding(isa: str) -> None:
    """Behind the last unit of a layer z is 0; nothing of it may reach a parameter."""
    X = np.abs(np.random.default_rng(0).normal(size=(40, 3))) + 1
    for units in (1, 5, 19, 70):
        nets = []
        for engine in ("native", "reference"):
            net = cr.Network([3, units, 2], hidden=AT_ZERO, seed=0, engine=engine)
            net.layers[1].W[...] = abs(net.layers[1].W)
            net.fit(X, X[:, :2], optimizer=cr.GradientDescent(1e-3), epochs=3, verbose=0)
            nets.append(net)
            assert np.isfinite(net.parameters).all()
            assert np.isfinite(net.predict(X)).all()
        np.testing.assert_allclose(nets[0].parameters, nets[1].parameters, rtol=1e-11)


@pytest.mark.parametrize("dtype", DTYPES)
def test_predictions_and_validation(isa: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 40)).astype(dtype), rng.normal(size=(300, 3)).astype(dtype)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    for sizes in ([40, 90, 70, 3], [40, 5, 3]):
        for loss in (LogCosh(), weighted(LOSSES["huber"], np.array([1.0, 2.0, 0.5]))):
            found = []
            for engine in ("native", "reference"):
                net = cr.Network(sizes, hidden=MISH, output=SOFTSIGN, loss=loss, seed=0,
                                 dtype=dtype, engine=engine)  # fmt: skip
                history = net.fit(X, y, epochs=2, validation_data=(X[:9], y[:9]), verbose=0)
                predicted = [net.predict(X), net.predict(X), net.predict(X[:1]), net.predict(X[2])]
                found.append((np.array(history.val_loss), *predicted))
            for one, other in zip(*found, strict=True):
                np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("sizes", [[64, 64, 32, 10], [100, 300, 200, 3]], ids=str)
def test_same_bits_at_any_number_of_threads(sizes: list[int]) -> None:
    options = {"hidden": SINE, "loss": LogCosh(), "batch": 32, "n": 96, "epochs": 5}
    runs = [train(NativeEngine(t), sizes, dtype="float32", **options) for t in (1, 2, 3, 8)]
    for net, losses, outputs, _ in runs[1:]:
        assert np.array_equal(net.parameters, runs[0][0].parameters)
        assert losses == runs[0][1]
        assert np.array_equal(outputs, runs[0][2])


def test_an_overflow_is_named() -> None:
    cube = activation("cube", "z**3", "3*z**2", lambda z: z**3, lambda z, a: 3 * z**2)
    net = cr.Network([2, 3, 1], hidden=cube, seed=0, engine="native")
    X = np.full((4, 2), 1e200)
    with pytest.raises(cr.NonFiniteError, match="layer 1"), np.errstate(over="ignore"):
        net.fit(X, np.ones(4), verbose=0)


class Momentum(cr.GradientDescent):
    """With momentum 1, which the base class refuses."""

    def __post_init__(self) -> None:
        pass


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_momentum_1(isa: str, dtype: str, nesterov: bool) -> None:
    rule = Momentum(1e-4, momentum=1.0, nesterov=nesterov)
    assert NativeEngine().lacks(cr.Network([1, 1]), engines.Plan(rule, 1)) is None
    for sizes in ([4, 7, 3], [13, 37, 5]):
        agree(sizes, dtype=dtype, hidden="tanh", optimizer=rule)


def test_an_optimizer_with_steps_of_its_own_stays_out() -> None:
    class Half(cr.GradientDescent):
        def update(self, theta: Array, g: Array, slots: Any, eta: float, t: int) -> None:
            super().update(theta, g / 2, slots, eta, t)

    lack = NativeEngine().lacks(cr.Network([1, 1]), engines.Plan(Half(), 1))
    assert lack == "the native engine does not know optimizer Half"


# Where code and formula are two things, the code counts: the reference engine takes it.


def refused(net: cr.Network) -> str:
    lack = NativeEngine().lacks(net, None)
    assert lack is not None
    return lack


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("value", "slope", "said"),
    [(lambda z: z**2, lambda z, a: 2 * z, "its value is not what its formula says at z = 0.01"),
     (lambda z: z**3, lambda z, a: 3 * z, "its derivative is not what its formula says at z = "),
     (lambda z: np.where(z > 900, 0, z**3), lambda z, a: 3 * z**2, "value.*z = 1000"),
     (lambda z: z**3 + (abs(z) < 2e-6), lambda z, a: 3 * z**2, "value.*z = "),
     (lambda z: 1 // 0, lambda z, a: z, "its code raises ZeroDivisionError"),
     (lambda z: z[:, :2], lambda z, a: z, "its code raises IndexError")],
    ids=["value", "slope", "far out", "near 0", "raises", "of matrices"],
)  # fmt: skip
def test_code_that_is_not_the_formula(dtype: str, value: Any, slope: Any, said: str) -> None:
    g = activation("bent", "z**3", "3*z**2", value, slope)
    net = cr.Network([2, 3, 1], hidden=g, seed=0, dtype=dtype)  # type: ignore[arg-type]
    assert net.engine == "reference"
    lack = refused(net)
    assert lack.startswith("the native engine cannot take activation 'bent' (layer 1): ")
    assert re.search(said, lack), lack


def test_a_formula_that_overflows_where_the_code_does_not() -> None:
    g = activation("root", "sqrt(exp(2*z)) - exp(z)/2", "exp(z)/2",
                   lambda z: np.exp(z) / 2, lambda z, a: np.exp(z) / 2)  # fmt: skip
    assert "value is not what its formula says" in refused(cr.Network([2, 3, 1], hidden=g))


def test_an_activation_that_mixes_units() -> None:
    g = activation("mean", "z", "1", lambda z: z, lambda z, a: np.ones_like(z),
                   pull_back=lambda self, dC_da, z, a: dC_da - dC_da.mean())  # fmt: skip
    assert "pull_back of its own" in refused(cr.Network([2, 3, 1], hidden=g))
    assert "pull_back of its own" in refused(cr.Network([2, 3, 1], output=g))


def test_a_loss_that_is_not_its_formula() -> None:
    class Wrong(LogCosh):
        def derivative(self, a: Array, y: Array) -> Array:
            return np.tanh(a - y) / 2

    for output in ("identity", "softmax"):
        said = refused(cr.Network([2, 3, 2], output=output, loss=Wrong()))
        assert "its code is not what its formula says" in said

    class Own(LogCosh):
        def check_targets(self, y: Array) -> None:
            raise ValueError("only 7 will do")

    assert "targets of its own" in refused(cr.Network([2, 3, 2], loss=Own()))


def test_a_function_that_changes_is_seen() -> None:
    """An object's numbers belong to what is compiled."""

    class Scaled(cr.Activation):
        name = "scaled"

        def __init__(self, by: float) -> None:
            self.by = by

        @property
        def formula(self) -> str:  # type: ignore[override]
            return f"{self.by}*tanh(z)"

        @property
        def derivative_formula(self) -> str:  # type: ignore[override]
            return f"{self.by}*(1 - tanh(z)**2)"

        def value(self, z: Array) -> Array:
            return self.by * np.tanh(z)

        def derivative(self, z: Array, a: Array) -> Array:
            return self.by * (1 - np.tanh(z) ** 2)

    X, g = np.random.default_rng(0).normal(size=(20, 2)), Scaled(1.0)
    net = cr.Network([2, 3, 1], hidden=g, seed=0)
    net.fit(X, X[:, 0], epochs=1, verbose=0)
    g.by = 3.0
    twin = cr.Network([2, 3, 1], hidden=Scaled(3.0), seed=0)
    twin.parameters = net.parameters
    np.testing.assert_array_equal(net.predict(X), twin.predict(X))
    for one in (net, twin):
        one.seed = 1
        one.fit(X, X[:, 0], epochs=1, verbose=0)
    np.testing.assert_array_equal(net.parameters, twin.parameters)


def test_many_networks_with_custom_functions() -> None:
    X = np.random.default_rng(0).normal(size=(40, 2))
    nets = [cr.Network([2, 3, 1], hidden=SOFTSIGN, seed=s) for s in range(20)]
    twins = [net.copy() for net in nets]
    cr.fit_many(nets, X, X[:, 0], epochs=2, verbose=0)
    for net, twin in zip(nets, twins, strict=True):
        twin.fit(X, X[:, 0], epochs=2, verbose=0)
        np.testing.assert_array_equal(net.parameters, twin.parameters)
