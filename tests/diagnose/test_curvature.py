"""The Hessian times a vector and the diagonal of Gauss-Newton, beside automatic differentiation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.diagnose import curvature
from chainrule.equations import dual, second
from chainrule.equations.activations import ACTIVATIONS
from chainrule.equations.formulas import FUNCTIONS, evaluate, parse
from tests import oracles
from tests.diagnose.by_torch import Twin
from tests.equations.test_gradients import GROUPS, Array, Setting, build
from tests.settings import HIDDEN

# torch.func imports what PyTorch itself has deprecated
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")
ONE_OF_EACH = [group[i % len(group)] for i, group in enumerate(GROUPS)]
ANOTHER_OF_EACH = [group[(3 * i + 5) % len(group)] for i, group in enumerate(GROUPS)]


def assert_close(actual: Array, expected: Array, rtol: float) -> None:
    """Compare beside the largest entry: a sum may cancel to nothing but rounding."""
    scale = max(np.abs(expected).max(), 1e-3)
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * scale)


def shares(n: int, weights: Array | None) -> Array:
    return np.full(n, 1 / n) if weights is None else weights / weights.sum()


def hessian_times(twin: Twin, X: Array, y: Array, v: Array, weights: Array | None) -> Array:
    """H v by jvp of the gradient, one sample at a time."""
    import torch

    total = torch.func.jvp(torch.func.grad(twin.penalty), (twin.theta,), (torch.tensor(v),))[1]
    for i, share in enumerate(shares(len(X), weights)):
        x_i, y_i = torch.tensor(X[i]), torch.tensor(y[i])

        def gradient(theta: Any, x_i: Any = x_i, y_i: Any = y_i, i: int = i) -> Any:
            return torch.func.grad(twin.sample_loss)(theta, x_i, y_i, i)

        total = total + share * torch.func.jvp(gradient, (twin.theta,), (torch.tensor(v),))[1]
    return total.numpy(force=True)


def gauss_newton(twin: Twin, X: Array, y: Array, weights: Array | None) -> Array:
    """The diagonal of Σ share JᵀHJ, with J and H whole, one sample at a time."""
    import torch

    total: Array = torch.func.hessian(twin.penalty)(twin.theta).numpy(force=True).diagonal().copy()
    for i, share in enumerate(shares(len(X), weights)):
        x_i, y_i = torch.tensor(X[i]), torch.tensor(y[i])
        J = torch.func.jacrev(twin.output)(twin.theta, x_i, i).numpy(force=True)
        out = twin.output(twin.theta, x_i, i)
        H = torch.func.hessian(lambda o, y_i=y_i: twin.loss(o, y_i))(out).numpy(force=True)
        total += share * np.einsum("cp,cd,dp->p", J, H, J)
    return total


@pytest.mark.needs("torch")
@pytest.mark.parametrize("setting", ONE_OF_EACH, ids=str)
def test_hessian_vector_product(setting: Setting) -> None:
    net, X, y, weights = build(setting)
    v = np.random.default_rng(5).normal(size=net.parameters.size)
    expected = hessian_times(Twin(net), X, np.asarray(y, dtype=float), v, weights)
    actual = net.hessian_vector_product(X, y, v, sample_weight=weights)
    assert_close(actual, expected, 1e-11)


@pytest.mark.needs("torch")
@pytest.mark.parametrize("setting", ANOTHER_OF_EACH, ids=str)
def test_diagonal_of_gauss_newton(setting: Setting) -> None:
    net, X, y, weights = build(setting)
    expected = gauss_newton(Twin(net), X, np.asarray(y, dtype=float), weights)
    actual = net.ggn_diagonal(X, y, sample_weight=weights)
    assert_close(actual, expected, 1e-11)
    assert (actual >= 0).all()


@pytest.mark.needs("torch")
def test_dropout_masks_are_those_of_the_step() -> None:
    import torch

    net = cr.Network([4, 6, 5, 2], hidden="tanh", dropout=[0.5, 0.3], l2=0.1, seed=3)
    rng = np.random.default_rng(0)
    X, y, v = rng.normal(size=(7, 4)), rng.normal(size=(7, 2)), rng.normal(size=net.parameters.size)
    masks = net.gradient(X, y, dropout_step=4).forward.masks
    twin = Twin(net, {l: torch.tensor(masks[l]) for l in (1, 2)} | {3: None})
    expected = hessian_times(twin, X, y, v, None)
    assert_close(net.hessian_vector_product(X, y, v, dropout_step=4), expected, 1e-12)
    assert_close(net.ggn_diagonal(X, y, dropout_step=4), gauss_newton(twin, X, y, None), 1e-12)
    assert np.abs(net.hessian_vector_product(X, y, v) - expected).max() > 1e-3


def test_many_samples_are_taken_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    net = cr.Network([3, 8, 4], hidden="silu", output="softmax", loss="cross_entropy", seed=0)
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(50, 3)), rng.integers(0, 4, 50)
    whole = net.ggn_diagonal(X, y)
    monkeypatch.setattr(curvature, "_NUMBERS", 7 * 4 * 8)
    np.testing.assert_allclose(net.ggn_diagonal(X, y), whole, rtol=1e-13)


def test_hessian_is_symmetric_and_of_the_gradient() -> None:
    """H in whole by unit vectors: equal to its transpose, and to differences of the gradient."""
    net = cr.Network([2, 3, 2], hidden="gelu", output="softmax", loss="squared_error", seed=1)
    X, y = [[0.3, -0.7], [1.0, 0.2]], [0, 1]
    H = np.array([net.hessian_vector_product(X, y, e) for e in np.eye(net.parameters.size)])
    np.testing.assert_allclose(H, H.T, rtol=1e-12, atol=1e-15)
    theta, h = net.parameters.copy(), 1e-5
    for p in range(0, theta.size, 3):
        sides = []
        for side in (h, -h):
            net.parameters = theta
            net.parameters[p] += side
            g = net.gradient(X, y)
            sides.append(np.concatenate([np.r_[g.dW[l].ravel(), g.db[l]] for l in (1, 2)]))
        np.testing.assert_allclose(H[p], (sides[0] - sides[1]) / (2 * h), rtol=1e-6, atol=1e-9)


class OwnSigmoid(cr.Activation):
    name = "own_sigmoid"
    formula = "1/(1 + exp(-z))"
    derivative_formula = "exp(-z)/(1 + exp(-z))**2"

    def value(self, z: Array) -> Array:
        return 1 / (1 + np.exp(-z))

    def derivative(self, z: Array, a: Array) -> Array:
        return a * (1 - a)


class OwnHuber(cr.Loss):
    name = "own_huber"
    formula = "1/2*(a - y)**2 if abs(a - y) <= 1 else abs(a - y) - 1/2"
    derivative_formula = "a - y if abs(a - y) <= 1 else sign(a - y)"

    def value(self, a: Array, y: Array) -> Array:
        d = np.abs(a - y)
        return np.where(d <= 1, d * d / 2, d - 0.5)

    def derivative(self, a: Array, y: Array) -> Array:
        return np.clip(a - y, -1, 1)


def test_formulas_of_a_users_own_are_differentiated() -> None:
    own = cr.Network([2, 4, 3], hidden=OwnSigmoid(), output=OwnSigmoid(), loss=OwnHuber(), seed=0)
    built_in = cr.Network([2, 4, 3], hidden="sigmoid", output="sigmoid", loss="huber", seed=0)
    built_in.parameters = own.parameters
    rng = np.random.default_rng(2)
    X, y = rng.normal(size=(9, 2)), 2 * rng.normal(size=(9, 3))
    v = rng.normal(size=own.parameters.size)
    expected = built_in.hessian_vector_product(X, y, v)
    np.testing.assert_allclose(own.hessian_vector_product(X, y, v), expected, rtol=1e-12)
    np.testing.assert_allclose(own.ggn_diagonal(X, y), built_in.ggn_diagonal(X, y), rtol=1e-12)


FORMULAS = [
    *(f"{name}(z*y + 1/3)" for name in FUNCTIONS if name not in ("max", "min")),
    "max(z, y*z)", "min(z**2, y)", "z**y", "2**z", "z**0", "-z/(1 + z**2)", "z if z > 1/2 else y*z",
    "1/z - y**3",
]  # fmt: skip


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("z", [0.4, 1.7])
def test_slope_of_any_formula(formula: str, z: float) -> None:
    """Beside the derivative that mpmath finds with 30 digits, by the house's own arithmetic."""
    mp = pytest.importorskip("mpmath")
    arithmetic: dict[str, Any] = {
        "exp": mp.exp, "ln": mp.log, "sqrt": mp.sqrt, "abs": abs, "sign": mp.sign, "sin": mp.sin,
        "cos": mp.cos, "tanh": mp.tanh, "sinh": mp.sinh, "cosh": mp.cosh, "atan": mp.atan,
        "sigma": oracles.sigma, "Phi": oracles.normal, "phi": oracles.phi, "max": max, "min": min,
        "number": mp.mpf,
    }  # fmt: skip
    y = 0.75
    with mp.workdps(40):
        expected = mp.diff(
            lambda t: evaluate(parse(formula)[0], {"z": t, "y": mp.mpf(y)}, arithmetic), mp.mpf(z)
        )
        expected = float(expected)
    actual = dual.slope(formula, "z", {"z": np.array([[z]]), "y": np.array([[y]])})
    np.testing.assert_allclose(actual, [[expected]], rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("g", [name for name in HIDDEN if name != "step"])
@pytest.mark.parametrize("z", [-40.0, -15.0, -4.7, -0.3, 0.2, 3.0, 17.0, 45.0])
def test_second_derivatives_also_far_out(g: str, z: float) -> None:
    """g'' by high precision from the formula that the class states."""
    mp = pytest.importorskip("mpmath")
    arithmetic = {
        "exp": mp.exp, "ln": mp.log, "tanh": mp.tanh, "sigma": oracles.sigma, "phi": oracles.phi,
        "Phi": oracles.normal, "max": max, "number": mp.mpf,
    }  # fmt: skip
    formula = parse(ACTIVATIONS[g].formula)[-1 if g == "sigmoid" else 0]
    with mp.workdps(80):
        expected = float(mp.diff(lambda t: evaluate(formula, {"z": t}, arithmetic), mp.mpf(z), 2))
    at = np.array([z])
    actual = second.of_activation(ACTIVATIONS[g], at, ACTIVATIONS[g].value(at))
    np.testing.assert_allclose(actual, [expected], rtol=1e-13, atol=1e-40)


@pytest.mark.parametrize("z", [-40.0, -12.0, -4.7, -4.5, 0.3, 20.0])
@pytest.mark.parametrize("output", ["softplus", "sigmoid"])
def test_poisson_far_out(output: str, z: float) -> None:
    """∂²C/∂b² of one unit is the second derivative of a − y ln a, in high precision."""
    mp = pytest.importorskip("mpmath")
    net = cr.Network([1, 1], output=output, loss="poisson", W=[[[0.0]]], b=[[z]])
    g = oracles.softplus if output == "softplus" else oracles.sigma
    with mp.workdps(80):
        expected = float(mp.diff(lambda t: g(t) - 3 * mp.log(g(t)), mp.mpf(z), 2))
    actual = net.hessian_vector_product([[0.0]], [[3.0]], [0.0, 1.0])[1]
    np.testing.assert_allclose(actual, expected, rtol=2e-13)


def test_at_a_kink_the_second_derivative_is_0() -> None:
    net = cr.Network([1, 1, 1], hidden="relu", W=[[[1.0]], [[1.0]]], loss="absolute_error")
    H = [net.hessian_vector_product([[0.0]], [[0.0]], e) for e in np.eye(4)]
    assert not np.any(H)
    assert not np.any(net.ggn_diagonal([[0.0]], [[0.0]]))


@pytest.mark.parametrize(
    ("vector", "error", "words"),
    [
        (np.ones(8), ValueError, r"vector has shape \(8,\); expected \(9,\), one number for each"),
        (np.ones((9, 1)), ValueError, "vector has shape"),
        ([np.nan] * 9, ValueError, "vector"),
        (["a"] * 9, TypeError, "vector"),
    ],
)
def test_vectors_that_do_not_fit(vector: Any, error: type[Exception], words: str) -> None:
    net = cr.Network([2, 2, 1], seed=0)
    with pytest.raises(error, match=words):
        net.hessian_vector_product([[1, 2]], [1], vector)


def test_data_that_do_not_fit() -> None:
    net = cr.Network([2, 2, 1], seed=0)
    calls: list[Any] = [lambda x, y: net.hessian_vector_product(x, y, np.ones(9)), net.ggn_diagonal]
    for call in calls:
        with pytest.raises(ValueError, match="X has 3 columns"):
            call([[1, 2, 3]], [1])
        with pytest.raises(ValueError, match="is nan"):
            call([[1, np.nan]], [1])


def test_overflow_is_said() -> None:
    net = cr.Network([1, 1], W=[[[1e200]]], seed=0)
    for call in (lambda x, y: net.hessian_vector_product(x, y, [1, 1]), net.ggn_diagonal):
        with pytest.warns(RuntimeWarning, match="z of layer 1 is not finite for sample 0"):
            call([[1e200]], [0])
