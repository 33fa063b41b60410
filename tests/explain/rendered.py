"""Explanations of many settings, for the tests of how they are written."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import chainrule as cr
from chainrule.equations.activations import ACTIVATIONS
from chainrule.equations.losses import LOSSES
from chainrule.explain import Explanation, Notation

Array = NDArray[Any]
MATH = "{http://www.w3.org/1998/Math/MathML}"
NOTATIONS = ["default", "C-a-L", "L-h"]


class Damped(cr.Activation):
    """g(z) = -z e^-z, which brings signs before numbers that may be negative."""

    name = "damped"
    formula = "-z*exp(-z)"
    derivative_formula = "-exp(-z) + z*exp(-z) = z*exp(-z) - (1 - z)*exp(-z) - z*exp(-z)"

    def value(self, z: Array) -> Array:
        return -z * np.exp(-z)

    def derivative(self, z: Array, a: Array) -> Array:
        return (z - 1) * np.exp(-z)


class Quartic(cr.Loss):
    """C_i = Σ_j ¼ (a_j - y_j)⁴."""

    name = "quartic"
    formula = "1/4*(a - y)**4"
    derivative_formula = "-y**3 + 3*a*y**2 - 3*a**2*y + a**3"

    def value(self, a: Array, y: Array) -> Array:
        return (a - y) ** 4 / 4

    def derivative(self, a: Array, y: Array) -> Array:
        return -(y**3) + 3 * a * y**2 - 3 * a**2 * y + a**3


def explained(
    sizes: list[int],
    hidden: Any,
    output: Any,
    loss: Any,
    target: str,
    n: int = 3,
    scale: float = 1.0,
    weighted: bool = False,
    notation: Any = "default",
    focus: int = 0,
    learning_rate: float | None = 0.1,
    **options: Any,
) -> Explanation:
    net = cr.Network(sizes, hidden=hidden, output=output, loss=loss, seed=3, **options)
    rng = np.random.default_rng(4)
    X = rng.normal(size=(n, sizes[0])) * scale
    y = rng.uniform(size=(n, sizes[-1])).round(3)
    if loss == "cross_entropy":
        y = np.eye(sizes[-1])[rng.integers(0, sizes[-1], n)]
    if net.biases and scale == 1:
        net.layers[1].b[...] = -0.3
    weights = rng.uniform(0.5, 2.0, n) if weighted else None
    return net.explain(
        target, X, y, sample_weight=weights, notation=notation, focus=focus,
        learning_rate=learning_rate if target[0] in "wb" else None,
        dropout_step=2 if options.get("dropout") else None,
    )  # fmt: skip


@cache
def settings() -> dict[str, Explanation]:
    """Every activation, loss and kind of target in the presets, and what is not ordinary."""
    made: dict[str, Explanation] = {}

    def put(name: str, *given: Any, **options: Any) -> None:
        assert name not in made
        made[name] = explained(*given, **options)

    for i, (name, g) in enumerate(ACTIVATIONS.items()):
        notation = NOTATIONS[i % 3]
        if name != "softmax":
            put(f"hidden {name}", [2, 3, 2], name, "tanh", "huber", "w[1][1,0]", notation=notation)
            put(f"dropout {name}", [2, 3, 2], name, "tanh", "huber", "b[1][1]", dropout=0.5)
        loss = "poisson" if g.positive else "squared_error"
        put(f"output {name}", [2, 3, 2], "tanh", name, loss, "w[2][1,0]", notation=notation)
    for i, (name, c) in enumerate(LOSSES.items()):
        output = c.output or "softplus"
        for notation in NOTATIONS:
            put(f"loss {name} {notation}", [2, 3, 3], "tanh", output, name, "z[2][1]",
                notation=notation, weighted=bool(i % 2))  # fmt: skip
        softmax = name != "binary_cross_entropy"
        put(f"{name} after softmax", [2, 3], "tanh", "softmax" if softmax else output, name,
            "w[1][1,1]", n=1)  # fmt: skip
    for target in ("w[2][1,2]", "b[2][0]", "z[1][0]", "a[2][1]", "a[1][0]", "x[1]"):
        for notation in NOTATIONS:
            put(f"{target} {notation}", [2, 3, 2, 2], ["relu", "tanh"], "softmax", "cross_entropy",
                target, notation=notation, l2=0.05, weighted=True, focus=2)  # fmt: skip
    for notation in NOTATIONS:
        put(f"chain {notation}", [1, 1, 1], "tanh", "tanh", "half_squared_error", "w[1][0,0]", 1,
            notation=notation)  # fmt: skip
        put(f"chain of many samples {notation}", [1, 1, 1], "tanh", "tanh", "half_squared_error",
            "w[1][0,0]", 12, notation=notation, l2=0.1, weighted=True)  # fmt: skip
        put(f"hundreds {notation}", [40, 120, 110], "tanh", "identity", "squared_error",
            "w[1][101,33]", 30, notation=notation)  # fmt: skip
    put("wide", [40, 120, 110, 12], "tanh", "softmax", "cross_entropy", "w[1][101,33]", 30)
    put("one softmax output", [2, 2, 1], "tanh", "softmax", "squared_error", "w[2][0,1]")
    put("one sigmoid output", [2, 1], "tanh", "sigmoid", "binary_cross_entropy", "w[1][0,1]")
    put("no biases", [2, 2, 1], "tanh", "tanh", "huber", "w[2][0,1]", biases=False)
    put("no hidden layer", [2, 1], "tanh", "tanh", "huber", "w[1][0,1]")
    put("deep", [2, 2, 2, 2, 2, 2, 1], "tanh", "tanh", "huber", "w[1][0,1]")
    put("tiny", [2, 3, 2], "tanh", "tanh", "huber", "w[1][0,1]", scale=1e-9)
    put("tiny y - a", [2, 1, 1], "tanh", "tanh", "squared_error", "w[1][0,1]", scale=1e-9,
        notation="L-h")  # fmt: skip
    put("huge", [2, 3, 2], "relu", "identity", "squared_error", "w[1][0,1]", scale=1e12)
    put("saturated", [2, 3], "tanh", "softmax", "cross_entropy", "w[1][0,1]", scale=1e5)
    put("own", [2, 2, 2], Damped(), Damped(), Quartic(), "w[1][0,1]", focus=1)
    put("own y - a", [2, 2, 2], Damped(), Damped(), Quartic(), "w[2][0,1]", notation="L-h")
    put("own dropout", [2, 2, 2], Damped(), Damped(), Quartic(), "w[1][0,1]", dropout=0.5)
    put("17 digits", [3, 4, 2], "tanh", "tanh", "huber", "w[1][3,1]", weighted=True,
        notation=Notation(digits=17, max_terms=3))  # fmt: skip
    put("letters", [3, 4, 2], "tanh", "tanh", "huber", "w[1][3,1]",
        notation=Notation(activation="o", loss="E", input="i", to_index="q", from_index="y",
                          next_index="d", other_index="ω", sample_index="z"))  # fmt: skip
    return made


@pytest.fixture(autouse=True)
def quick_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that costs nothing, in the place of those of a hundred explanations."""
    words = SimpleNamespace(
        text=lambda width=100: "certificate: pass", to_dict=lambda: {"verdict": "pass"}
    )
    monkeypatch.setattr(Explanation, "certificate", words)


def shape(formula: str) -> str:
    """Give a formula with other numbers: to a reader of its marks they are all the same."""
    return re.sub(r"(?<![\w/])\d+(\.\d+)?", "1", formula)


def each() -> Iterator[Explanation]:
    for name, why in settings().items():
        print(name)  # shown where a test fails
        yield why


CHILDREN = {
    "mfrac": 2, "msub": 2, "msup": 2, "munder": 2, "mover": 2, "mroot": 2, "msubsup": 3,
    "munderover": 3,
}  # fmt: skip
LEAVES = {"mi", "mn", "mo", "mtext"}
GROUPS = {"math", "mrow", "msqrt", "mtable", "mtr", "mtd"}
ATTRIBUTES = {
    "math": {"display", "displaystyle"},
    "mtable": {"displaystyle"},
    "mo": {"form", "stretchy", "separator"},
    "mover": {"accent"},
    "mspace": {"width"},
}


def check_mathml(math: ET.Element) -> None:
    """Only elements and attributes of MathML Core, each with the children that it must have."""
    assert math.tag == MATH + "math"
    for element in math.iter():
        name = element.tag.removeprefix(MATH)
        children = [child.tag.removeprefix(MATH) for child in element]
        assert set(element.attrib) <= ATTRIBUTES.get(name, set()), (name, element.attrib)
        if name in CHILDREN:
            assert len(children) == CHILDREN[name], (name, children)
        elif name in LEAVES:
            assert not children
            assert element.text
            assert name == "mtext" or element.text.strip() == element.text
            assert element.text.strip(" "), "browsers drop spaces"
        elif name == "mspace":
            assert not children
        else:
            assert name in GROUPS, name
        if name not in LEAVES:
            assert not (element.text or "").strip()
        assert not (element.tail or "").strip()
        if name == "mtable":
            assert set(children) == {"mtr"}
            assert len({len(row) for row in element}) == 1 or element in list(math)
        if name == "mtr":
            assert set(children) == {"mtd"}
        if name == "mtd":
            assert math.find(f".//{MATH}mtable") is not None
