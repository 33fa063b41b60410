"""Formulas as answers: which are equal, and what is said of those that are wrong."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.equations.targets import Weight
from chainrule.explain import notation
from chainrule.teach import chains, formulas
from chainrule.teach.formulas import FormulaKey


def key(net: cr.Network, w: Weight) -> FormulaKey:
    found = chains.product(net, w)
    assert found is not None
    made = formulas.key(net, notation.get("default"), *found)
    assert made is not None
    return made


def squared(**changes: str) -> cr.Network:
    given = {"hidden": "tanh", "output": "tanh", "loss": "squared_error"} | changes
    return cr.Network([2, 2, 1], seed=0, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("2*(a2-y)*g'(z2)*w2_01*g'(z1_1)*x0", ""),
        ("x0*(1-a1_1^2)*w2_01*(1-a2*a2)*(a2-y)*2", ""),
        ("2*(a2-y)*g'(z2)*w2_01*g'(z1_0)*x0", "unit"),
        ("2*(a2-y)*g'(z2)*w2_01*g'(z1_1)*x1", "index"),
        ("2*(a2-y)*g'(z2)*w2_01*x0", "slope"),
        ("2*(a2-y)*g'(z2)*w2_01*g'(z1_1)", "input"),
        ("-2*(a2-y)*g'(z2)*w2_01*g'(z1_1)*x0", "sign"),
        ("2*(a2-y)*g'(z2)*w2_01*g'(z1_1)*sqrt(x0^2)", "other"),  # equal where x0 > 0 only
        ("2*(a2-y)*g'(z2)*w2_01*g'(z1_1)*x0 + 1/10^8", "other"),
        ("2*(a2-y)*g'(z2)*w2_01*g'(z1_1)*x0 + 0*ln(x0)", "other"),  # has no value where x0 < 0
        ("2*(a2-y)*g'(z2)*w2_01*g'(z1_1)*x0/(x1-x1)", "other"),
        ("exp(exp(exp(exp(exp(999)))))", "other"),
        ("(((x0^8)^8)^8)^8", "other"),
    ],
)
def test_a_weight_of_a_hidden_layer(text: str, fault: str) -> None:
    verdict = key(squared(), Weight(1, 1, 0)).judge(text)
    assert (verdict.right, verdict.fault) == (not fault, fault)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("(a2-y)*a1_0", ""),
        ("(sigma(z2)-y)*tanh(z1_0)", ""),
        ("((1-y)*g(z2) - y*(1-g(z2)))*a1_0", ""),  # before it cancels
        ("(a2-y)/(a2*(1-a2))*g'(z2)*a1_0", ""),
        ("(a2-y)*g'(z2)*a1_0", "slope"),
        ("(a2-y)*a1_1", "index"),
        ("a2-y", "input"),
    ],
)
def test_where_the_slope_cancels(text: str, fault: str) -> None:
    net = squared(output="sigmoid", loss="binary_cross_entropy")
    verdict = key(net, Weight(2, 0, 0)).judge(text)
    assert (verdict.right, verdict.fault) == (not fault, fault)


def test_softmax_cancels_too() -> None:
    net = cr.Network([2, 3], output="softmax", loss="cross_entropy", seed=0)
    made = key(net, Weight(1, 2, 1))
    assert made.judge("(a1_2 - y2)*x1").right
    assert made.judge("(a1_2 - y2)*x0").fault == "index"
    assert chains.product(cr.Network([2, 9, 9], seed=0), Weight(1, 0, 0)) is None  # too many paths


@pytest.mark.parametrize("hidden", ["relu", "elu", "sigmoid", "softplus", "gelu", "silu"])
def test_the_key_has_the_value_of_the_gradient(hidden: str) -> None:
    """Put the network's numbers into the right formula, with Python's own arithmetic."""
    net = squared(hidden=hidden)
    X, y = np.array([[0.7, -0.4]]), np.array([[0.3]])
    g = net.gradient(X, y)
    (z1,), (z2,), (a1,), (a2,) = (*(z for z in (g.forward.z[1], g.forward.z[2])),
                                  *(a for a in (g.forward.a[1], g.forward.a[2])))  # fmt: skip
    slope = cr.Network([1, 1, 1], hidden=hidden, W=[[[1.0]], [[1.0]]], b=[[0.0], [0.0]],
                       output="identity", loss="half_squared_error")  # fmt: skip
    up, down = (slope.forward([[z1[1] + h]]).a[2][0, 0] for h in (1e-6, -1e-6))
    expected = 2 * (a2[0] - 0.3) * (1 - np.tanh(z2[0]) ** 2) * net.layers[2].W[0, 1]
    expected *= (up - down) / 2e-6 * 0.7
    assert g.dW[1][1, 0] == pytest.approx(expected, rel=1e-8)
    assert key(net, Weight(1, 1, 0)).judge("2*(a2-y)*(1-tanh(z2)^2)*w2_01*g'(z1_1)*x0").right
    assert a1.shape == (2,)
