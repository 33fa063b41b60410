"""The matrix form: whole arrays as targets, held to autodiff in float64 and to NumPy's products."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import chainrule as cr
from chainrule.equations.formulas import Add, Div, Expr, Mul, Neg, Num
from chainrule.explain.matrices import MOST
from chainrule.explain.symbols import Grid, Hadamard, Shape, Transpose
from tests.explain.rendered import MATH, check_mathml

Array = NDArray[Any]
SETTINGS: list[tuple[list[int], dict[str, Any]]] = [
    ([2, 3, 1], {"hidden": "tanh", "output": "tanh", "loss": "half_squared_error"}),
    ([3, 4, 2, 2], {"hidden": "sigmoid", "output": "identity", "loss": "squared_error"}),
    ([2, 3, 3], {"hidden": "softplus", "output": "softmax", "loss": "cross_entropy", "l2": 0.1}),
    ([2, 3, 3], {"hidden": "tanh", "output": "softmax", "loss": "squared_error"}),
    ([2, 2, 1], {"hidden": "tanh", "output": "sigmoid", "loss": "binary_cross_entropy"}),
    ([2, 2, 2], {"hidden": "silu", "output": "softplus", "loss": "poisson"}),
    ([1, 1, 1], {"hidden": "tanh", "output": "tanh", "loss": "huber"}),
    ([2, 3, 2], {"hidden": "tanh", "output": "tanh", "loss": "absolute_error", "biases": False}),
]


def given(sizes: list[int], settings: dict[str, Any], n: int) -> tuple[cr.Network, Array, Array]:
    rng = np.random.default_rng(7)
    X = rng.normal(size=(n, sizes[0]))
    y = rng.uniform(0.1, 0.9, size=(n, sizes[-1]))
    if settings["output"] == "softmax":
        y = np.eye(sizes[-1])[rng.integers(0, sizes[-1], n)]
    return cr.Network(sizes, seed=3, **settings), X, y


def computed(expr: Expr) -> Array:
    """Compute an expression of numbers and matrices by NumPy: what a reader would do by hand."""
    match expr:
        case Num(value):
            return np.array(value)
        case Grid(rows):
            return np.array([[computed(cell) for cell in row] for row in rows])
        case Transpose(matrix):
            return computed(matrix).T
        case Hadamard(items):
            return np.prod([computed(item) for item in items], axis=0)
        case Add(items):
            return sum((computed(item) for item in items), np.zeros(()))
        case Neg(item):
            return -computed(item)
        case Div(a, b):
            return computed(a) / computed(b)
        case Mul(items):
            product = computed(items[0])
            for item in items[1:]:
                factor = computed(item)
                product = product @ factor if product.ndim and factor.ndim else product * factor
            return product
    raise AssertionError(expr)


def numeric(expr: Expr) -> bool:
    try:
        computed(expr)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize(("sizes", "settings"), SETTINGS)
@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("weighted", [False, True])
def test_every_side_in_numbers_is_the_same_matrix(
    sizes: list[int], settings: dict[str, Any], n: int, weighted: bool
) -> None:
    net, X, y = given(sizes, settings, n)
    weight = np.linspace(0.5, 2.0, n) if weighted else None
    count = 0
    for l in range(1, len(sizes)):
        for target in [cr.WeightMatrix(l), *([cr.BiasVector(l)] if net.biases else [])]:
            why = net.explain(target, X, y, sample_weight=weight, learning_rate=0.3)
            for section in why.sections():
                for equation in section.equations:
                    if any(isinstance(side, Shape) for side in equation.sides):
                        continue
                    sides = [computed(side) for side in equation.sides if numeric(side)]
                    for side in sides[:-1]:
                        np.testing.assert_allclose(side, sides[-1], rtol=1e-12, atol=1e-15)
                        count += 1
    assert count >= 4


@pytest.mark.parametrize(("sizes", "settings"), SETTINGS)
def test_the_value_is_the_array_of_training_bit_for_bit(
    sizes: list[int], settings: dict[str, Any]
) -> None:
    net, X, y = given(sizes, settings, 5)
    g = net.gradient(X, y)
    for l in range(1, len(sizes)):
        assert net.explain(f"W[{l}]", X, y).value.tobytes() == g.dW[l].tobytes()  # type: ignore[attr-defined]
        db = g.db[l]
        if db is not None:
            assert net.explain(cr.BiasVector(l), X, y).value.tobytes() == db.tobytes()
            one = net.explain(cr.Bias(l, 0), X, y).value
            assert one == net.explain(cr.BiasVector(l), X, y).value[0]


@pytest.mark.needs("torch")
@pytest.mark.parametrize("n", [1, 6])
def test_the_value_is_that_of_automatic_differentiation(n: int) -> None:
    import torch

    net, X, y = given(
        [3, 4, 2], {"hidden": "tanh", "output": "sigmoid", "loss": "squared_error"}, n
    )
    parameters = []
    for layer in net.weighted_layers:
        assert layer.b is not None
        parameters += [torch.tensor(p, requires_grad=True) for p in (layer.W, layer.b)]
    W1, b1, W2, b2 = parameters
    a1 = torch.tanh(torch.tensor(X) @ W1.T + b1)
    a2 = torch.sigmoid(a1 @ W2.T + b2)
    (((a2 - torch.tensor(y)) ** 2).sum(dim=1).mean()).backward()
    targets = [cr.WeightMatrix(1), cr.BiasVector(1), cr.WeightMatrix(2), cr.BiasVector(2)]
    for target, parameter in zip(targets, parameters, strict=True):
        value = net.explain(target, X, y).value
        assert parameter.grad is not None
        np.testing.assert_allclose(value, parameter.grad.numpy(), rtol=1e-13)


def test_symbols_and_shapes_are_those_of_the_design() -> None:
    net, X, y = given([2, 3, 1], SETTINGS[0][1], 4)
    text = " ".join(net.explain(cr.WeightMatrix(1), X, y).text(200).split())
    for line in (
        "z⁽¹⁾ = x W⁽¹⁾ᵀ + b⁽¹⁾ = ", "(4 × 3) = (4 × 2)(2 × 3) + (1 × 3)",
        "δ⁽²⁾ = ∂Cᵢ/∂z⁽²⁾", "δ⁽²⁾ = (a⁽²⁾ − y) ⊙ g′⁽²⁾(z⁽²⁾) = ",
        "δ⁽¹⁾ = (δ⁽²⁾ W⁽²⁾) ⊙ g′⁽¹⁾(z⁽¹⁾)", "(4 × 3) = ((4 × 1)(1 × 3)) ⊙ (4 × 3)",
        "∂C/∂W⁽¹⁾ = 1/4 δ⁽¹⁾ᵀ x", "(3 × 2) = (3 × 4)(4 × 2)",
        "∂C/∂wⱼₖ⁽¹⁾ = 1/4 Σᵢ₌₀³ δᵢⱼ⁽¹⁾ xᵢₖ",
    ):  # fmt: skip
        assert line in text
    text = net.explain(cr.BiasVector(2), X, y).text(200)
    assert "∂C/∂b⁽²⁾ = 1/4 Σᵢ₌₀³ δᵢ⁽²⁾ = " in text
    lesson = net.explain(cr.WeightMatrix(2), X, y, notation="L-h", learning_rate=0.1).text(200)
    assert "∂L/∂W² = 1/4 δ²ᵀ h¹" in lesson
    assert "W² = W² − η ∂L/∂W²" in lesson


def test_dropout_and_weights_of_samples_stand_in_the_formulas() -> None:
    net = cr.Network([2, 3, 1], hidden="tanh", dropout=0.5, seed=1)
    X, y = np.ones((3, 2)), np.zeros((3, 1))
    why = net.explain(cr.WeightMatrix(1), X, y, dropout_step=4, sample_weight=[1, 2, 3])
    text = why.text(300)
    assert "a⁽¹⁾ = m⁽¹⁾ ⊙ g⁽¹⁾(z⁽¹⁾)" in text
    assert "δ⁽¹⁾ = (δ⁽²⁾ W⁽²⁾) ⊙ m⁽¹⁾ ⊙ g′⁽¹⁾(z⁽¹⁾)" in text
    assert "∂C/∂W⁽¹⁾ = 1/3 Σᵢ₌₀² sᵢ/s̄ δᵢ⁽¹⁾ᵀ xᵢ" in text
    expected = net.gradient(X, y, dropout_step=4, sample_weight=[1, 2, 3]).dW[1]
    assert why.value.tobytes() == expected.tobytes()


def test_large_matrices_keep_their_first_and_last_places() -> None:
    net = cr.Network([20, 30, 10], hidden="tanh", seed=0)
    X, y = np.random.default_rng(0).normal(size=(50, 20)), np.zeros((50, 10))
    why = net.explain(cr.WeightMatrix(1), X, y)
    for section in why.sections():
        for equation in section.equations:
            for side in equation.sides:
                if isinstance(side, Grid):
                    assert max(len(side.rows), len(side.rows[0])) <= MOST + 1
    text = why.text(100)
    assert "⋯" in text
    assert "rows or columns, the first five and the last" in " ".join(text.split())
    assert "(30 × 20) = (30 × 50)(50 × 20)" in text
    assert max(map(len, text.splitlines())) <= 100
    assert "the 16 largest of 600 elements" in text
    largest = np.sort(np.abs(why.value), axis=None)[::-1][:16]
    found = [abs(c.analytic) for c in why.certificate.certificates]
    assert found == largest.tolist()


def test_the_certificate_fails_for_a_wrong_element() -> None:
    from chainrule.verify import certify_array

    net, X, y = given([2, 3, 1], SETTINGS[0][1], 4)
    value = net.explain(cr.BiasVector(1), X, y).value
    assert net.explain(cr.BiasVector(1), X, y).certificate.passed
    value[1] *= 1.001
    found = certify_array(net, cr.BiasVector(1), X, y, analytic=value, autodiff="off")
    assert found.verdict == "fail"
    assert not found.passed
    assert [c.target for c in found.certificates if not c.passed] == [cr.Bias(1, 1)]
    assert "b[1][1]" in str(found)


@pytest.mark.parametrize("notation", ["default", "C-a-L", "L-h"])
@pytest.mark.parametrize(("sizes", "settings"), SETTINGS[:4])
def test_every_format_is_well_formed(
    sizes: list[int], settings: dict[str, Any], notation: str
) -> None:
    net, X, y = given(sizes, settings, 3)
    why = net.explain(cr.WeightMatrix(1), X, y, notation=notation, learning_rate=0.1)
    page = ET.fromstring(why.html().removeprefix("<!DOCTYPE html>\n"))
    for math in page.iter(MATH + "math"):
        check_mathml(math)
    check_mathml(ET.fromstring(why.mathml()))
    latex = why.latex(standalone=True)
    assert not re.search(r"[^\x00-\x7f]", latex)
    assert latex.count(r"\begin{pmatrix}") == latex.count(r"\end{pmatrix}") > 5
    whole = json.loads(json.dumps(why.to_dict()))
    assert whole["value"] == why.value.tolist()
    assert whole["shape"] == list(why.value.shape)
    assert whole["certificate"]["verdict"] == "pass"
    assert why.in_notation("default").text() == net.explain(
        cr.WeightMatrix(1), X, y, learning_rate=0.1
    ).text()  # fmt: skip


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ("W[3]", ValueError, r"W\[3\]: the network has layers 1 to 2"),
        ("b[0]", ValueError, r"b\[0\]: the network has layers 1 to 2"),
        ("W[-1]", ValueError, r"W\[-1\]: the network has layers 1 to 2"),
        ("W[a]", ValueError, r"'W\[a\]' is not a target"),
        (cr.WeightMatrix(1.5), TypeError, "WeightMatrix.layer must be an integer"),  # type: ignore[arg-type]
        (3, TypeError, "a target is"),
    ],
)
def test_arrays_that_do_not_exist(target: Any, error: type[Exception], message: str) -> None:
    net = cr.Network([2, 3, 1], seed=0)
    with pytest.raises(error, match=message):
        net.explain(target, [[1.0, 2.0]], [1.0])


def test_a_network_without_biases_has_no_whole_bias() -> None:
    net = cr.Network([2, 1], biases=False)
    with pytest.raises(ValueError, match=r"b\[1\]: the network has no biases"):
        net.explain("b[1]", [[1.0, 2.0]], [1.0])


def test_the_worked_example_holds_the_matrices_of_the_layers() -> None:
    net, X, y = given([2, 2, 1], SETTINGS[0][1], 1)
    example = net.worked_example(X, y, learning_rate=0.1)
    titles = [section.title for section in example.sections()]
    assert titles.index("Forward, as matrices") == titles.index("Forward: layer 2") + 1
    assert titles.index("Backward, as matrices") == titles.index("Backward: layer 1") + 1
    assert titles.index("The updates, as matrices") == titles.index("The updates") + 1
    updates = example.sections()[titles.index("The updates, as matrices")].equations
    W2, b2, W1, b1 = (computed(equation.sides[-1]) for equation in updates)
    for l, W, b in ((2, W2, b2), (1, W1, b1)):
        layer = example.updated.layers[l]
        np.testing.assert_array_equal(W, layer.W)
        assert layer.b is not None
        np.testing.assert_array_equal(b[0], layer.b)
    frozen = net.worked_example(X, y, learning_rate=0.1, freeze_biases=True)
    (section,) = (s for s in frozen.sections() if s.title == "The updates, as matrices")
    assert len(section.equations) == 2
