"""Activations and losses against the formulas that they state, in 40 digits."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest

from chainrule import Activation, Loss, Network
from chainrule.equations.activations import ACTIVATIONS, Softmax, others
from chainrule.equations.formulas import Expr, evaluate, parse
from chainrule.equations.losses import LOSSES, LossFromZ

FUNCTIONS = {
    "number": mpmath.mpf, "exp": mpmath.exp, "ln": mpmath.ln, "sqrt": mpmath.sqrt, "abs": abs,
    "sign": mpmath.sign, "tanh": mpmath.tanh, "max": max, "min": min, "Phi": mpmath.ncdf,
    "phi": mpmath.npdf, "sigma": lambda z: 1 / (1 + mpmath.exp(-z)),
}  # fmt: skip
Z = [-700.0, -40.0, -9.5, -3.0, -1.25, -0.3, -1e-8, 1e-8, 0.3, 1.25, 3.0, 9.5, 40.0, 700.0]
ELEMENTWISE = [g for g in ACTIVATIONS.values() if not isinstance(g, Softmax)]
A = [1e-12, 0.1, 0.4, 0.75, 0.999]
Y = [0.0, 0.2, 0.5, 1.0, 3.0]

each_activation = pytest.mark.parametrize("g", ELEMENTWISE, ids=lambda g: g.name)
each_loss = pytest.mark.parametrize("c", LOSSES.values(), ids=lambda c: c.name)


def exact(formula: Expr, **letters: float) -> float:
    with mpmath.workdps(700):
        names = {name: mpmath.mpf(number) for name, number in letters.items()}
        return float(evaluate(formula, names, FUNCTIONS))


@each_activation
def test_value_is_what_the_formula_says(g: Activation) -> None:
    a = g.value(np.array(Z))
    for form in parse(g.formula):
        expected = [exact(form, z=z) for z in Z]
        np.testing.assert_allclose(a, expected, rtol=1e-13, atol=1e-300)


@each_activation
def test_derivative_is_what_every_form_says(g: Activation) -> None:
    z = np.array(Z)
    derivative = g.derivative(z, g.value(z))
    assert derivative.dtype == z.dtype
    for form in parse(g.derivative_formula):
        with mpmath.workdps(700):
            of_a = [evaluate(parse(g.formula)[0], {"z": mpmath.mpf(v)}, FUNCTIONS) for v in Z]
            expected = [
                float(evaluate(form, {"z": mpmath.mpf(v), "a": a}, FUNCTIONS))
                for v, a in zip(Z, of_a, strict=True)
            ]
        np.testing.assert_allclose(derivative, expected, rtol=1e-12, atol=1e-300)


@each_activation
def test_derivative_is_that_of_the_value(g: Activation) -> None:
    for z in Z:
        with mpmath.workdps(700):
            h = mpmath.mpf(10) ** -50
            value = parse(g.formula)[0]
            up, down = (evaluate(value, {"z": mpmath.mpf(z) + s}, FUNCTIONS) for s in (h, -h))
            expected = float((up - down) / (2 * h))
        at = np.array([z])
        found = g.derivative(at, g.value(at))[0]
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-90)


@pytest.mark.parametrize("g", [ACTIVATIONS["sigmoid"], ACTIVATIONS["softplus"]])
def test_logarithms_are_what_the_formulas_say(g: Activation) -> None:
    """ln g(z) and g'(z)/g(z), also where g(z) is 0 in float64."""
    z = np.array([-800.0, -750.0, *Z, 0.0, 800.0])
    a = g.value(z)
    with mpmath.workdps(800):
        exact_a = [evaluate(parse(g.formula)[0], {"z": mpmath.mpf(v)}, FUNCTIONS) for v in z]
        np.testing.assert_allclose(g.log_value(z), [float(mpmath.ln(v)) for v in exact_a], 1e-15)
        for form in parse(str(g.log_derivative_formula)):
            expected = [
                float(evaluate(form, {"z": mpmath.mpf(v), "a": p}, FUNCTIONS))
                for v, p in zip(z, exact_a, strict=True)
            ]
            np.testing.assert_allclose(g.log_derivative(z, a), expected, rtol=1e-14)
    for dtype in ("float32", "float64"):
        few = np.array([-1e4, -104, -1, 0, 1, 1e4], dtype=dtype)
        assert g.log_value(few).dtype == g.log_derivative(few, g.value(few)).dtype == dtype
        assert np.isfinite(g.log_value(few)).all()
    np.testing.assert_allclose(
        g.log_pull_back(np.float64(3.0), z[5:], a[5:]), 3 * g.derivative(z[5:], a[5:]) / a[5:]
    )


def test_the_formula_of_a_logarithm_is_checked() -> None:
    class Own(Activation):
        name = "own"
        formula = "exp(z)"
        derivative_formula = "exp(z)"
        log_derivative_formula = "1 + q"
        positive = True

        def value(self, z: Any) -> Any:
            return np.exp(z)

        def derivative(self, z: Any, a: Any) -> Any:
            return a

    with pytest.raises(
        ValueError, match=r"Own.log_derivative_formula = '1 \+ q': unknown letter 'q'"
    ):
        Network([1, 1], output=Own(), loss="poisson")


def test_others_are_added_up() -> None:
    values = np.array([[1.0, 1e-20, -3.0], [5.0, 2.0, 1e30]])
    expected = [[-3.0, -2.0, 1.0], [1e30, 1e30, 7.0]]
    np.testing.assert_array_equal(others(values), expected)
    np.testing.assert_array_equal(others(np.array([[4.0]])), [[0.0]])


@each_activation
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept_and_nothing_overflows(g: Activation, dtype: str) -> None:
    z = np.array([-1e4, -90, 0, 90, 1e4], dtype=dtype)
    a = g.value(z)
    derivative = g.derivative(z, a)
    assert a.dtype == derivative.dtype == dtype
    assert np.isfinite(a).all()
    assert np.isfinite(derivative).all()


def test_conventions_at_kinks() -> None:
    zero = np.zeros(1)
    expected = {"relu": 0.0, "leaky_relu": 0.01, "elu": 1.0, "step": 0.0}
    for name, slope in expected.items():
        assert ACTIVATIONS[name].derivative(zero, zero)[0] == slope
    assert [g.name for g in ELEMENTWISE if g.kinks] == ["relu", "leaky_relu", "step"]
    assert LOSSES["absolute_error"].derivative(zero, zero)[0] == 0
    assert [c.name for c in LOSSES.values() if c.kinks] == ["absolute_error"]


def test_softmax() -> None:
    g = ACTIVATIONS["softmax"]
    assert isinstance(g, Softmax)
    z = np.array([[0.0, 1, -2], [1000, 0, -1000], [-5, -5, -5]])
    a = g.value(z)
    np.testing.assert_allclose(a.sum(axis=1), 1, rtol=1e-15)
    np.testing.assert_array_equal(a[1], [1, 0, 0])
    np.testing.assert_allclose(a[2], 1 / 3)
    np.testing.assert_allclose(g.value(z + 77), a, rtol=1e-12)
    v = np.array([[0.3, -1.0, 2.0]] * 3)
    jacobian = a[:, :, None] * (np.eye(3) - a[:, None, :])  # ∂a_m/∂z_j at [i, m, j]
    by_jacobian = np.einsum("im,imj->ij", v, jacobian)
    np.testing.assert_allclose(g.pull_back(v, z, a), by_jacobian, atol=1e-15)


@each_loss
def test_loss_is_what_the_formula_says(c: Loss) -> None:
    y = np.array([y for y in Y if y <= 1 or c.output is None])
    a, y = (v.ravel() for v in np.meshgrid(A, y))
    for values, text in ((c.value(a, y), c.formula), (c.derivative(a, y), c.derivative_formula)):
        for form in parse(text):
            expected = [exact(form, a=p, y=q) for p, q in zip(a, y, strict=True)]
            np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-16)


@each_loss
def test_derivative_of_the_loss_is_that_of_its_value(c: Loss) -> None:
    for a in A:
        for y in (0.0, 0.2, 1.0):
            with mpmath.workdps(100):
                h, form = mpmath.mpf(10) ** -40, parse(c.formula)[0]
                up, down = (
                    evaluate(form, {"a": mpmath.mpf(a) + s, "y": mpmath.mpf(y)}, FUNCTIONS)
                    for s in (h, -h)
                )
                expected = float((up - down) / (2 * h))
            found = c.derivative(np.array([a]), np.array([y]))[0]
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ["cross_entropy", "binary_cross_entropy"])
def test_from_z_equals_the_sum_over_outputs(name: str) -> None:
    c = LOSSES[name]
    assert isinstance(c, LossFromZ)
    g = ACTIVATIONS[str(c.output)]
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(4, 3)), rng.dirichlet(np.ones(3), size=4)
    a = g.value(z)
    np.testing.assert_allclose(c.value_from_z(g, z, y), c.value(a, y).sum(axis=1), rtol=1e-13)
    by_parts = g.pull_back(c.derivative(a, y), z, a)
    np.testing.assert_allclose(c.delta(g, z, a, y), by_parts, atol=1e-14)


def test_logarithms_of_nothing_count_as_nothing() -> None:
    one, zero = np.ones(1), np.zeros(1)
    assert LOSSES["cross_entropy"].value(zero, zero)[0] == 0
    assert LOSSES["cross_entropy"].derivative(zero, zero)[0] == 0
    assert LOSSES["binary_cross_entropy"].value(one, one)[0] == 0
    assert LOSSES["binary_cross_entropy"].value(zero, zero)[0] == 0
    assert LOSSES["poisson"].value(zero, zero)[0] == 0
    assert LOSSES["poisson"].derivative(zero, zero)[0] == 1


# --- a user's own -------------------------------------------------------------------------------


class Gaussian(Activation):
    """g(z) = e^(-z²)."""

    name = "gaussian"
    formula = "exp(-z**2)"
    derivative_formula = "-2*z*exp(-z**2) = -2*z*a"

    def value(self, z: Any) -> Any:
        return np.exp(-(z**2))

    def derivative(self, z: Any, a: Any) -> Any:
        return -2 * z * a


class Quartic(Loss):
    """c = (a - y)⁴."""

    name = "quartic"
    formula = "(a - y)**4"
    derivative_formula = "4*(a - y)**3"

    def value(self, a: Any, y: Any) -> Any:
        return (a - y) ** 4

    def derivative(self, a: Any, y: Any) -> Any:
        return 4 * (a - y) ** 3


def test_own_functions_work() -> None:
    net = Network([2, 3, 1], hidden=Gaussian(), loss=Quartic(), seed=0)
    assert net.check_gradient([[0.2, -1]], [0.5])


@pytest.mark.parametrize(
    ("attributes", "complaint"),
    [
        (
            {"formula": "exp(-z**2) + a"},
            "Gaussian.formula = .*unknown letter 'a'; form 1 may use z",
        ),
        ({"formula": "erf(z)"}, "unknown function 'erf'"),
        ({"formula": ""}, "Gaussian.formula must be a text, got ''"),
        ({"derivative_formula": None}, "Gaussian.derivative_formula must be a text, got None"),
        ({"derivative_formula": "-2*z*a"}, "unknown letter 'a'; form 1 may use z"),
        ({"name": 3}, "Gaussian.name must be a text, got 3"),
    ],
)
def test_own_formulas_are_checked(attributes: dict[str, Any], complaint: str) -> None:
    own = type("Gaussian", (Gaussian,), attributes)
    with pytest.raises(ValueError, match=complaint):
        Network([2, 3, 1], hidden=own())
