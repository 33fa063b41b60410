"""Pictures of a derivative: their numbers against a forward pass of their own, and their SVG."""

from __future__ import annotations

import builtins
import math
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.explain.curve import activation_curve, loss_curve, nudge, zoomed
from chainrule.explain.curve_svg import pictures, ticks
from tests.explain.rendered import NOTATIONS

X = np.array([[0.5, -1.0], [1.5, 0.3], [-0.7, 0.8]])
Y = np.array([[0.0], [1.0], [0.0]])
S = np.array([1.0, 3.0, 0.5])
SVG = "{http://www.w3.org/2000/svg}"


def net() -> cr.Network:
    return cr.Network([2, 3, 1], hidden="tanh", output="sigmoid", loss="squared_error",
                      seed=3, l2=0.1)  # fmt: skip


def loss_at(W: list[Any], b: list[Any]) -> float:
    """The loss of `net` with these parameters, from its formulas."""
    a = np.tanh(X @ W[0].T + b[0])
    a = 1 / (1 + np.exp(-(a @ W[1].T + b[1])))
    C = ((a - Y) ** 2).sum(axis=1)
    return float((S * C).sum() / S.sum() + 0.05 * sum((w**2).sum() for w in W))


@pytest.mark.parametrize("target", ["w[1][1,0]", "w[2][0,2]", "b[1][2]", "b[2][0]"])
def test_the_curve_is_what_a_forward_pass_gives(target: str) -> None:
    network = net()
    why = network.explain(target, X, Y, sample_weight=S, learning_rate=0.3)
    curve = loss_curve(why)
    assert curve.slope == why.value
    assert curve.at in curve.x
    assert np.all(np.diff(curve.x) > 0)

    def by_hand(value: float) -> float:
        W = [layer.W.copy() for layer in network.weighted_layers]
        b = [layer.b.copy() for layer in network.weighted_layers if layer.b is not None]
        at = why.target
        if isinstance(at, cr.Weight):
            W[at.layer - 1][at.j, at.k] = value
        else:
            b[at.layer - 1][at.j] = value
        return loss_at(W, b)

    expected = [by_hand(float(x)) for x in curve.x]
    np.testing.assert_allclose(curve.y, expected, rtol=1e-12)
    step = curve.step
    assert step is not None
    assert step.to == pytest.approx(curve.at - 0.3 * why.value, rel=1e-15)
    assert step.loss == pytest.approx(by_hand(step.to), rel=1e-12)
    assert step.predicted == pytest.approx(curve.value - 0.3 * why.value**2, rel=1e-12)
    h = 1e-5
    slope = (by_hand(curve.at + h) - by_hand(curve.at - h)) / (2 * h)
    assert curve.slope == pytest.approx(slope, rel=1e-7)


def test_a_shift_of_z_a_and_x_is_the_same_in_every_sample() -> None:
    network = net()
    for target, column in (("x[0]", 0), ("x[1]", 1)):
        why = network.explain(target, X, Y)
        curve = loss_curve(why)
        for i in (0, len(curve.x) // 3, -1):
            shifted = X.copy()
            shifted[:, column] += curve.x[i] - curve.at
            assert curve.y[i] == pytest.approx(network.loss_value(shifted, Y), rel=1e-12)
    for target in ("z[1][0]", "a[1][2]", "z[2][0]", "a[2][0]"):
        curve = loss_curve(network.explain(target, X, Y))
        near = np.abs(curve.x - curve.at) < 0.2
        line = np.polynomial.polynomial.polyfit(curve.x[near] - curve.at, curve.y[near], 4)
        assert line[1] == pytest.approx(curve.slope, abs=1e-4)


def test_a_mask_of_dropout_stays_as_it_is() -> None:
    network = cr.Network([2, 6, 1], hidden="tanh", dropout=0.5, seed=1)
    why = network.explain("w[2][0,1]", X, Y, dropout_step=3)
    curve = loss_curve(why)
    i = int(np.argmin(np.abs(curve.x - curve.at - 0.5)))
    network.layers[2].W[0, 1] = curve.x[i]
    assert curve.y[i] == pytest.approx(network.gradient(X, Y, dropout_step=3).loss, rel=1e-12)


def test_a_kink_is_told_and_drawn() -> None:
    network = cr.Network([1, 1, 1], hidden="relu", W=[[[0.0]], [[1.0]]], loss="squared_error")
    why = network.explain("w[1][0,0]", [[1.0]], [1.0], learning_rate=0.1)
    curve = loss_curve(why)
    assert curve.sides == pytest.approx((0.0, -2.0), abs=1e-5)
    assert curve.slope == 0.0
    # left of the kink C = 1, right of it (w - 1)²
    expected = np.where(curve.x < 0, 1.0, (curve.x - 1) ** 2)
    np.testing.assert_allclose(curve.y, expected, atol=1e-15)
    words = pictures(why)[0].words
    assert "There is a kink here: the slope is 0 from the left and −2 from the right" in words
    assert "Training takes 0." in words
    assert "does not move w₀₀⁽¹⁾" in words
    g = activation_curve(why)
    assert g is not None
    assert g.sides == pytest.approx((0.0, 1.0))


def test_a_corner_elsewhere_is_sharp() -> None:
    network = cr.Network([1, 1, 1], hidden="relu", W=[[[0.5]], [[1.0]]], b=[[0.213], [0.0]])
    curve = loss_curve(network.explain("w[1][0,0]", [[1.0]], [1.0]))
    assert curve.sides is None
    near = np.abs(curve.x + 0.213)  # where z = w + 0.213 crosses 0
    assert near.min() < 0.01


def test_a_smooth_curve_has_no_kink() -> None:
    for target in ("w[1][0,0]", "w[2][0,1]", "b[2][0]", "z[1][1]"):
        for scale in (1.0, 30.0):
            network = net()
            network.layers[2].W[...] *= scale
            assert loss_curve(network.explain(target, X, Y)).sides is None


def test_a_constant_a_huge_and_an_endless_curve() -> None:
    dead = cr.Network([1, 1, 1], hidden="relu", W=[[[-1.0]], [[1.0]]])
    why = dead.explain("w[2][0,0]", [[1.0]], [1.0], learning_rate=0.1)
    first = pictures(why)[0]
    assert "The curve is flat" in first.words
    assert "does not move" in first.words
    huge = cr.Network([1, 1, 1], W=[[[1e120]], [[1e20]]], hidden="identity")
    for target in ("w[1][0,0]", "w[2][0,0]", "b[1][0]"):
        for picture in pictures(huge.explain(target, [[1.0]], [1.0], learning_rate=0.1)):
            assert "nan" not in picture.svg
    poisson = cr.Network([1, 1], output="softplus", loss="poisson", W=[[[1.0]]])
    why = poisson.explain("a[1][0]", [[1.0]], [2.0])
    assert not np.isfinite(loss_curve(why).y).all()  # ln a of a below 0
    picture = pictures(why)[0]
    assert "Where C is not a finite number, the curve has a gap." in picture.words
    assert "nan" not in picture.svg


def test_a_small_step_has_a_picture_of_its_own() -> None:
    why = net().explain("w[1][1,0]", X, Y, learning_rate=0.01)
    near = zoomed(why, loss_curve(why))
    assert near is not None
    assert near.x[0] < near.at < near.x[-1]
    assert "The step from near" in pictures(why)[1].title
    why = net().explain("w[1][1,0]", X, Y, learning_rate=50.0)
    assert zoomed(why, loss_curve(why)) is None


def test_a_nudge_moves_what_the_chain_rule_predicts() -> None:
    why = net().explain("w[1][1,0]", X, Y, sample_weight=S, focus=1)
    moved = nudge(why)
    z, a, C_i, C = moved.changes
    assert z.measured == pytest.approx(moved.size * X[1, 0])
    assert z.predicted == pytest.approx(moved.size * X[1, 0])
    for change in (a, C_i, C):
        assert change.measured == pytest.approx(change.predicted, rel=0.05)
    assert C.predicted == why.value * moved.size
    assert len(nudge(net().explain("a[1][0]", X[:1], Y[:1])).changes) == 1


@pytest.mark.parametrize("notation", NOTATIONS)
def test_the_drawings_are_svg_with_words(notation: str) -> None:
    network = cr.Network([2, 3, 2], hidden="relu", output="softmax", loss="cross_entropy", seed=1)
    for target in ("w[1][0,1]", "b[2][1]", "z[2][0]", "a[1][1]", "a[2][0]", "x[1]"):
        why = network.explain(target, X, [0, 1, 1], notation=notation)
        drawn = pictures(why)
        assert len(drawn) == (1 if target == "x[1]" else 2)
        for picture in drawn:
            root = ET.fromstring(picture.svg)
            assert root.get("role") == "img"
            assert root.findtext(f"{SVG}title") == picture.title
            assert root.findtext(f"{SVG}desc") == picture.words
            assert root.get("aria-label") == f"{picture.title}. {picture.words}"
            assert picture.svg in why.html()
        letter = "L" if notation == "L-h" else "C"
        assert drawn[0].title.startswith(f"{letter} as a function of ")


def test_ticks_are_round() -> None:
    assert ticks(-1.3, 1.9, 5) == [-1.0, 0.0, 1.0]
    assert ticks(0.0, 1.0, 4) == pytest.approx([0, 0.5, 1])
    assert ticks(1.0, 1.0 + 1e-16 * 8, 4) == [] or len(ticks(1.0, 1.0 + 8e-16, 4)) < 13


def test_plot_draws_into_axes() -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    why = net().explain("w[1][1,0]", X, Y, learning_rate=0.3)
    curve = loss_curve(why)
    _, given = plt.subplots()
    ax = why.plot(given)
    assert ax is given
    line, tangent, *_ = ax.get_lines()
    np.testing.assert_array_equal(line.get_ydata(), curve.y)
    rise = np.diff(tangent.get_ydata()) / np.diff(tangent.get_xdata())
    np.testing.assert_allclose(rise, why.value, rtol=1e-6)
    assert ax.get_xlabel() == "w₁₀⁽¹⁾"
    assert math.isfinite(ax.get_ylim()[1])
    assert why.plot() is not given
    plt.close("all")


def test_plot_without_matplotlib_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    why = net().explain("w[1][1,0]", X, Y)
    monkeypatch.setattr(builtins, "__import__", without)
    assert "<svg" in why.html()
    with pytest.raises(ImportError, match=r"pip install 'chainrule\[plot\]'"):
        why.plot()
