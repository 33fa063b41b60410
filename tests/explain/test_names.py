"""Explanations that call inputs and outputs by their names."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence

import numpy as np
import pytest

from chainrule.equations.formulas import Div, Neg, Num, add
from chainrule.explain.names import Names
from chainrule.explain.symbols import quantity
from chainrule.network import Network

NET = Network([2, 3, 2], output="softmax", loss="cross_entropy", hidden="tanh", seed=0)
X, Y = np.array([[0.5, -1.0], [2.0, 0.25]]), np.array([1, 0])
NAMES = Names(
    ["age_%, standardised", "colour=<red>"],
    ["probability of no", "probability of yes"],
    ["1 for no, else 0", "1 for yes, else 0"],
    {quantity("a", 0, 0): Div(add(Num(45.0), Neg(Num(40.0))), Num(10.0))},
)


def test_inputs_are_named_with_their_origin() -> None:
    text = NET.explain("w[1][2,0]", X[:1], Y[:1], names=NAMES).text()
    assert "from unit 0 of layer 0 (age_%, standardised) to unit 2 of layer 1;" in text
    names = text[text.index("The names") : text.index("The numbers")]
    assert names.splitlines() == [
        "The names",
        "  age_%, standardised:",
        "    x₀ = (45 − 40)/10 = 0.5",
        "  colour=<red>:",
        "    x₁ = −1",
        "",
    ]


def test_outputs_and_targets_are_named() -> None:
    text = NET.explain("b[2][1]", X, Y, focus=1, names=NAMES).text()
    assert "the bias of unit 1 of layer 2 (probability of yes);" in text
    a = NET.forward(X).a[-1][1, 1]
    assert f"  probability of yes:\n    a₁⁽²⁾ = {a:.6g}\n" in text
    assert "  1 for yes, else 0:\n    y₁ = 0\n" in text
    assert text.index("The names") < text.index("The numbers of sample 1")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("x[1]", "input 1 (colour=<red>)"),
        ("z[2][0]", "the pre-activation of unit 0 of layer 2 (probability of no)"),
        ("a[2][0]", "the activation of unit 0 of layer 2 (probability of no)"),
        ("w[2][0,1]", "from unit 1 of layer 1 to unit 0 of layer 2 (probability of no)"),
        ("b[1][2]", "the bias of unit 2 of layer 1;"),
    ],
)
def test_what_is_said_of_a_target(target: str, words: str) -> None:
    assert words in NET.explain(target, X, Y, names=NAMES).text()


def test_a_name_can_not_break_a_page() -> None:
    why = NET.explain("w[1][2,0]", X[:1], Y[:1], names=NAMES)
    assert "<red>" not in why.html()
    assert "colour=&lt;red&gt;" in why.html()
    assert r"age\_\%, standardised" in why.latex()
    ET.fromstring(why.mathml())
    titles = [section["title"] for section in why.to_dict()["sections"]]
    assert "The names" in titles


def test_another_notation_keeps_the_names() -> None:
    text = NET.explain("w[1][2,0]", X[:1], Y[:1], names=NAMES).in_notation("L-h").text()
    assert "unit 1 of layer 0 (age_%, standardised)" in text
    assert "    h₁⁰ = (45 − 40)/10 = 0.5" in text


def test_without_names_nothing_changes() -> None:
    for target in ("w[1][2,0]", "b[2][1]", "x[0]"):
        plain = NET.explain(target, X, Y).text()
        assert NET.explain(target, X, Y, names=Names()).text() == plain
        assert "The names" not in plain


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (Names(["a"]), "names.inputs has 1 names; the network has 2 inputs"),
        (Names(outputs=["a", "b", "c"]), "names.outputs has 3 names; the network has 2 outputs"),
        (Names(targets=["a"]), "names.targets has 1 names; the network has 2 targets"),
    ],
)
def test_as_many_names_as_units(names: Names, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NET.explain("x[0]", X, Y, names=names)


def test_names_are_in_the_order_of_the_units() -> None:
    net = Network([4, 1], seed=0)
    names: Sequence[str] = ["d", "c", "b", "a"]
    text = net.explain("w[1][0,3]", [1, 2, 3, 4], [0], names=Names(names)).text()
    places = [text.index(f"  {name}:\n") for name in names]
    assert places == sorted(places)
