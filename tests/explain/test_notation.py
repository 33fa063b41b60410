"""Notation: the same explanation in other letters, indices and orders."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.equations.formulas import Expr, Name, Neg, Num, add, evaluate, mul, parse
from chainrule.equations.numbers import format_number
from chainrule.explain import NOTATIONS, Explanation, Notation
from chainrule.explain.latex import LatexWriter
from chainrule.explain.mathml import MathmlWriter
from chainrule.explain.symbols import (
    Differentiate,
    Dots,
    Factor,
    Function,
    Iverson,
    LossSymbol,
    Partial,
    Sum,
    fill,
    quantity,
    turn_residual,
)
from chainrule.explain.text import TextWriter

SIZES = (3, 12, 4)
W = quantity("w", 2, 1, 2)
A, Z, Y = quantity("a", 2, 1), quantity("z", 2, 1), quantity("y", None, 1)


def text(expr: Expr, notation: Notation | None = None, sizes: Any = SIZES, n: int = 2) -> str:
    return TextWriter(notation or Notation(), sizes, n).write(expr)


def latex(expr: Expr, notation: Notation | None = None, sizes: Any = SIZES, n: int = 2) -> str:
    return LatexWriter(notation or Notation(), sizes, n).write(expr)


def own(**fields: Any) -> Notation:
    return dataclasses.replace(Notation(), **fields)


def why(sizes: list[int], target: str, n: int = 1, **fields: Any) -> Explanation:
    net = cr.Network(sizes, hidden="tanh", output="tanh", loss="squared_error", seed=0)
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(n, sizes[0])), rng.normal(size=(n, sizes[-1]))
    notation = fields.pop("notation", None) or own(**fields)
    return net.explain(target, X, y, notation=notation)


def lines_of(explanation: Explanation) -> list[str]:
    writer = TextWriter(explanation.notation, explanation.network.sizes, explanation.n_samples)
    return [
        writer.write_equation(equation.sides, equation.relation)
        for section in explanation.sections()
        for equation in section.equations
    ]


# --- letters and indices ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "∂C₀/∂w₁₂⁽²⁾"),
        ({"first_index": 1}, "∂C₁/∂w₂₃⁽²⁾"),
        ({"loss": "E"}, "∂E₀/∂w₁₂⁽²⁾"),
        ({"layer_above": "l"}, "∂C₀/∂w₁₂²"),
        ({"layer_names": "relative"}, "∂C₀/∂w₁₂⁽ᴸ⁾"),
        ({"layer_names": "relative", "layer_above": "l"}, "∂C₀/∂w₁₂ᴸ"),
        ({"name_sample": False}, "∂C₀/∂w₁₂⁽²⁾"),  # many samples: it has to be said which
        ({"single_units": "hide"}, "∂C₀/∂w₁₂⁽²⁾"),  # more than one unit: nothing to hide
    ],
)
def test_the_derivative_of_a_weight(fields: dict[str, Any], expected: str) -> None:
    assert text(Partial(LossSymbol(0), W), own(**fields)) == expected


def test_name_of_a_single_sample() -> None:
    assert text(LossSymbol(0), n=1) == "C₀"
    assert text(LossSymbol(0), own(name_sample=False), n=1) == "C"
    assert text(LossSymbol(), own(name_sample=False), n=2) == "C"
    assert text(LossSymbol("sample"), own(sample_index="s")) == "Cₛ"


@pytest.mark.parametrize(
    ("layer", "number", "relative"), [(2, "⁽²⁾", "⁽ᴸ⁾"), (1, "⁽¹⁾", "⁽ᴸ⁻¹⁾"), ("l", "⁽ˡ⁾", "⁽ˡ⁾")]
)
def test_layers(layer: Any, number: str, relative: str) -> None:
    q = quantity("z", layer, 0)
    assert text(q) == "z₀" + number
    assert text(q, own(layer_names="relative")) == "z₀" + relative


def test_the_input_is_x_or_an_activation() -> None:
    x = quantity("a", 0, 1)
    assert text(x) == "x₁"
    assert text(x, own(input="u")) == "u₁"
    assert text(x, own(input=None)) == "a₁⁽⁰⁾"
    assert text(x, own(input=None, activation="h")) == "h₁⁽⁰⁾"
    assert text(x, own(input=None, layer_names="relative")) == "a₁⁽ᴸ⁻²⁾"
    assert text(x, own(first_index=1)) == "x₂"


def test_two_digits_are_kept_apart() -> None:
    assert text(quantity("w", 2, 1, 11)) == "w₁,₁₁⁽²⁾"
    assert latex(quantity("w", 2, 1, 11)) == "w_{1,11}^{(2)}"
    assert text(quantity("w", 2, 1, 9), own(first_index=1)) == "w₂,₁₀⁽²⁾"
    assert text(quantity("w", 2, 9, 8)) == "w₉₈⁽²⁾"


def test_roles_have_their_letters() -> None:
    letters = own(to_index="q", from_index="r", next_index="s", other_index="t", sample_index="u")
    roles = [quantity("w", 1, role, other) for role, other in [("to", "from"), ("next", "other")]]
    assert [text(q, letters) for q in roles] == ["w_qr⁽¹⁾", "wₛₜ⁽¹⁾"]
    assert [latex(q, letters) for q in roles] == ["w_{qr}^{(1)}", "w_{st}^{(1)}"]
    assert text(Iverson("next", 1), letters) == "[s = 1]"
    assert text(Iverson("next", 1), own(first_index=1)) == "[m = 2]"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "Σₖ₌₀¹¹ wⱼₖ⁽²⁾"),
        ({"first_index": 1}, "Σₖ₌₁¹² wⱼₖ⁽²⁾"),
        ({"counts": "n"}, "Σₖ₌₀ⁿ⁻¹ wⱼₖ⁽²⁾"),
        ({"counts": "n", "first_index": 1}, "Σₖ₌₁ⁿ wⱼₖ⁽²⁾"),
    ],
)
def test_bounds_of_a_sum(fields: dict[str, Any], expected: str) -> None:
    total = Sum("from", 1, 12, quantity("w", 2, "to", "from"))
    assert text(total, own(**fields)) == expected


@pytest.mark.parametrize("single", ["show", "hide"])
def test_single_units(single: Any) -> None:
    notation = own(single_units=single, activation="h", first_index=1)
    hidden = single == "hide"
    for letter, expected in {"w": "w₁₁⁽²⁾", "z": "z₁⁽²⁾", "a": "h₁⁽²⁾", "b": "b₁⁽²⁾"}.items():
        units = (0, 0) if letter == "w" else (0,)
        q = quantity(letter, 2, *units)
        shown = notation.activation if letter == "a" else letter
        assert text(q, notation, (1, 1, 1)) == (f"{shown}₂" if hidden else expected)
        assert text(q, notation, (1, 2, 1)) == expected  # a wider layer: indices are needed
    assert text(quantity("y", None, 0), notation, (1, 1, 1)) == ("y" if hidden else "y₁")
    assert text(quantity("s", None, 1), notation, (1, 1, 1)) == "s₂"  # of a sample, not a unit


# --- order, parentheses, functions --------------------------------------------------------------

RESIDUALS = {
    "a - y": "−(y − a)",
    "2*(a - y)": "−2(y − a)",
    "(a - y)**2": "(y − a)²",
    "(a - y)**3": "(−(y − a))³",
    "1/2*(a - y)**2": "½ (y − a)²",
    "abs(a - y)": "|y − a|",
    "sign(a - y)": "−sign(y − a)",
    "a - y*ln(a)": "a − y ln(a)",
    "1 - y/a": "1 − y/a",
    "-(a - y)": "y − a",
    "-2*(a - y)": "2(y − a)",
    "(a - y)*(a - y)": "(y − a)(y − a)",
    "(a - y)/a": "−(y − a)/a",
    "a - y if abs(a - y) <= 1 else sign(a - y)": "{−(y − a) if |y − a| ≤ 1, else −sign(y − a)}",
}


@pytest.mark.parametrize("formula", RESIDUALS)
def test_residual_in_the_other_order(formula: str) -> None:
    """The turned formula is the same number, and written as the lesson writes it."""
    a, y = quantity("a", None), quantity("y", None)
    (expr,) = parse(formula)
    turned = turn_residual(fill(expr, {"a": a, "y": y}))
    assert text(turned) == RESIDUALS[formula]
    functions: dict[str, Any] = {"abs": abs, "sign": np.sign, "ln": np.log}
    back = turned.replace(lambda q: Name(q.letter) if q in (a, y) else None)
    for values in ({"a": 0.3, "y": 0.8}, {"a": 2.0, "y": 0.1}):
        first, second = (evaluate(e, values, functions) for e in (expr, back))
        assert first == pytest.approx(second, rel=1e-14)


def test_parentheses_around_factors_and_results() -> None:
    factors = mul(Factor(Partial(LossSymbol(0), A)), Factor(Partial(A, Z)))
    results = mul(Factor(add(A, Neg(Y)), True), Factor(quantity("a", 1, 2), True))
    assert text(factors) == "(∂C₀/∂a₁⁽²⁾)(∂a₁⁽²⁾/∂z₁⁽²⁾)"
    assert text(factors, own(factors="")) == "∂C₀/∂a₁⁽²⁾ ∂a₁⁽²⁾/∂z₁⁽²⁾"
    assert text(results) == "(a₁⁽²⁾ − y₁)(a₂⁽¹⁾)"
    assert text(results, own(results="[ ]")) == "[a₁⁽²⁾ − y₁][a₂⁽¹⁾]"
    numbers = mul(Factor(Num(-0.5)), Factor(Num(2.0)))
    assert text(numbers) == text(numbers, own(factors="")) == "(−0.5)(2)"  # never −0.5 2


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("g", ["a₀⁽²⁾ = g⁽²⁾(z₀⁽²⁾)", "∂a₀⁽²⁾/∂z₀⁽²⁾ = ∂/∂z₀⁽²⁾ (g⁽²⁾(z₀⁽²⁾)) = g′⁽²⁾(z₀⁽²⁾)"]),
        ("name", ["a₀⁽²⁾ = tanh(z₀⁽²⁾)", "∂a₀⁽²⁾/∂z₀⁽²⁾ = 1 − tanh²(z₀⁽²⁾) = 1 − (a₀⁽²⁾)²"]),
        ("both", ["a₀⁽²⁾ = g⁽²⁾(z₀⁽²⁾) = tanh(z₀⁽²⁾)",
                  "∂a₀⁽²⁾/∂z₀⁽²⁾ = g′⁽²⁾(z₀⁽²⁾) = 1 − tanh²(z₀⁽²⁾) = 1 − (a₀⁽²⁾)²"]),
    ],
)  # fmt: skip
def test_functions_are_named_or_not(style: Any, expected: list[str]) -> None:
    lines = lines_of(why([2, 2, 1], "w[2][0,1]", function=style))
    assert [line for line in lines if line in expected] == expected


def test_assignment_and_tags() -> None:
    arrow, equals = (why([2, 2, 1], "w[2][0,1]", assign=sign) for sign in "←=")
    assert "w₀₁⁽²⁾ ← w₀₁⁽²⁾ − η ∂C/∂w₀₁⁽²⁾" in lines_of(arrow)
    assert "w₀₁⁽²⁾ = w₀₁⁽²⁾ − η ∂C/∂w₀₁⁽²⁾" in lines_of(equals)
    tagged = why([2, 2, 1], "w[2][0,1]", tags=True)
    tags = [e.tag for section in tagged.sections() for e in section.equations if e.tag]
    assert tags == ["(1)", "(2)", "(3)"]
    assert not any(e.tag for section in arrow.sections() for e in section.equations)
    leads = [e.lead for section in tagged.sections() for e in section.equations]
    assert "Hence, from expressions (1), (2) and (3), we get" in leads


# --- numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [
        (0.125, 6, "0.125"), (1 / 3, 6, "0.333333"), (1 / 3, 2, "0.33"), (2 / 3, 1, "0.7"),
        (1 / 3, 17, "0.33333333333333331"), (2.0, 6, "2"), (-3.0, 6, "-3"), (-0.0, 6, "0"),
        (1234567.0, 3, "1234567"), (1234567.5, 3, "1.23e+06"), (1e-7, 6, "1e-07"),
        (1e20, 6, "1e+20"), (float("inf"), 6, "inf"),
    ],
)  # fmt: skip
def test_digits(value: float, digits: int, expected: str) -> None:
    assert format_number(value, digits) == expected


def test_numbers_in_each_format() -> None:
    sizes = (1, 1)
    for value, in_text, in_latex in [
        (-1.5e-7, "−1.5e−07", r"-1.5 \times 10^{-7}"),
        (1e20, "1e+20", r"1 \times 10^{20}"),
        (float("-inf"), "−∞", r"-\infty"),
        (0.25, "0.25", "0.25"),
    ]:
        assert text(Num(value), sizes=sizes) == in_text
        assert latex(Num(value), sizes=sizes) == in_latex
    mathml = MathmlWriter(Notation(), sizes).write(Num(-1.5e-7))
    assert re.sub("<.*?>", "", mathml) == "−1.5×10−7"
    assert "<mn>1.5</mn>" in mathml


def test_digits_of_a_page() -> None:
    explanation = why([2, 2, 1], "w[2][0,1]", digits=3)
    assert f"{explanation.value:.3g}".replace("-", "−") in explanation.text()
    assert not re.search(r"0\.[1-9]\d{3}", "\n".join(lines_of(explanation)))


@pytest.mark.parametrize("most", [1, 3, 6, 7, 20])
def test_max_terms(most: int) -> None:
    explanation = why([2, 3, 7], "a[1][0]", max_terms=most)
    numbers = TextWriter(explanation.notation, (2, 3, 7)).write(
        explanation.terms[0].numbers.sides[1]
    )
    shown = min(most, 7)
    assert len(re.split(r" [+−] ", numbers.lstrip("−"))) == shown + (most < 7)
    left = "one" if shown == 6 else 7 - shown
    assert (f"(the other {left})" in numbers) == (most < 7)
    assert ("the other one: " in explanation.text()) == (most == 6)
    assert ("the sum of the other 6: " in explanation.text()) == (most == 1)
    assert explanation.html().count("through unit") == shown
    plain = explanation.to_dict()["terms"][0]["contributions"]
    assert len(plain["largest"]) == shown


# --- writers ------------------------------------------------------------------------------------

WRITTEN = {
    "-z": ("−z", "-z"),
    "-2*z": ("−2 z", "-2 z"),
    "z - (1 - z)": ("z − (1 − z)", r"z - \left( 1 - z \right)"),
    "z*(1 - z)": ("z (1 − z)", r"z \left( 1 - z \right)"),
    "1/(1 + exp(-z))": ("1/(1 + exp(−z))", r"\frac{1}{1 + e^{-z}}"),
    "exp(-z**2)": ("exp(−z²)", "e^{-z^{2}}"),
    "sqrt(z + 1)": ("√(z + 1)", r"\sqrt{z + 1}"),
    "abs(z)": ("|z|", r"\left| z \right|"),
    "max(0, z)": ("max(0, z)", r"\max\left( 0, z \right)"),
    "sigma(z)": ("σ(z)", r"\sigma\left( z \right)"),
    "z*Phi(z)": ("z Φ(z)", r"z \Phi\left( z \right)"),
    "tanh(z)**2": ("tanh²(z)", r"\tanh^{2}\left( z \right)"),
    "(1 + z)**2": ("(1 + z)²", r"\left( 1 + z \right)^{2}"),
    "z**(1/2)": ("z^½", r"z^{\frac{1}{2}}"),
    "sign(z)": ("sign(z)", r"\operatorname{sign}\left( z \right)"),
    "(1 + z)/(2 - z)": ("(1 + z)/(2 − z)", r"\frac{1 + z}{2 - z}"),
    "z/100": ("z/100", r"\frac{z}{100}"),
    "z if z > 0 else 0": (
        "{z if z > 0, else 0}",
        r"\begin{cases} z & \text{if } z > 0 \\ 0 & \text{else} \end{cases}",
    ),
    "1/2*z": ("½ z", r"\frac{1}{2} z"),
    "2*3*z": ("2 · 3 z", r"2 \cdot 3 z"),
}


@pytest.mark.parametrize("formula", WRITTEN)
def test_formulas_are_written(formula: str) -> None:
    (expr,) = parse(formula)
    in_latex = re.sub(" +", " ", latex(expr))
    assert (text(expr), in_latex) == WRITTEN[formula]


@pytest.mark.parametrize(
    ("formula", "z", "expected"),
    [
        ("-z", -0.5, "−(−0.5)"),
        ("z*exp(-z)", -0.5, "−0.5 exp(−(−0.5))"),
        ("-z*exp(z)", -0.5, "−(−0.5 exp(−0.5))"),
        ("1 - z", -0.5, "1 − (−0.5)"),
        ("1 - z*exp(z)", -0.5, "1 − (−0.5 exp(−0.5))"),
        ("1 + z", -0.5, "1 − 0.5"),
        ("1 + z*exp(z)", -0.5, "1 − 0.5 exp(−0.5)"),
        ("1 - z**2", -0.5, "1 − (−0.5)²"),
        ("1 - z**2", 0.5, "1 − 0.5²"),
        ("1 - z**2", 1e-9, "1 − (1e−09)²"),
        ("2*z", -0.5, "2(−0.5)"),
        ("2*z", 0.5, "2 · 0.5"),
        ("z/2", -0.5, "(−0.5)/2"),
        ("2/z", -0.5, "2/(−0.5)"),
    ],
)
def test_numbers_put_into_formulas(formula: str, z: float, expected: str) -> None:
    (expr,) = parse(formula)
    assert text(expr.replace(lambda n: Num(z) if n == Name("z") else None)) == expected


def test_every_node_is_written_by_every_writer() -> None:
    examples = [
        Differentiate(Z, add(A, Y)), Dots(), Function(2, Z), Function(2, Z, prime=True),
        Name("mean_s"), Name("sum_w2"), Name("lambda"), Name("eta"), LossSymbol(letter="R"),
        *(expr for formula in WRITTEN for expr in parse(formula)),
    ]  # fmt: skip
    for kind in (TextWriter, LatexWriter, MathmlWriter):
        for expr in examples:
            assert kind(Notation(), SIZES).write(expr)
    with pytest.raises(TypeError, match=r"^there is no rule to write an expression of type Expr$"):
        TextWriter(Notation(), SIZES).write(Expr())


def test_greek_letters() -> None:
    greek = own(activation="α", loss="ψ", to_index="μ", from_index="ν")
    assert text(Partial(LossSymbol(0), A), greek) == "∂ψ₀/∂α₁⁽²⁾"
    partial = Partial(LossSymbol(), quantity("w", 2, "to", "from"))
    assert re.sub(" +", " ", latex(partial, greek)) == (
        r"\frac{\partial \psi }{\partial w_{\mu \nu }^{(2)}}"
    )


# --- presets ------------------------------------------------------------------------------------


def test_presets() -> None:
    assert list(NOTATIONS) == ["default", "C-a-L", "L-h"]
    assert all(name == notation.name for name, notation in NOTATIONS.items())
    assert dataclasses.replace(NOTATIONS["default"], name="own") == Notation()
    with pytest.raises(dataclasses.FrozenInstanceError):
        NOTATIONS["default"].loss = "E"  # type: ignore[misc]
    assert cr.Notation is Notation


@pytest.mark.parametrize(
    ("notation", "sizes", "n", "expected"),
    [
        ("default", [3, 6, 4], 1, "∂C₀/∂w₁₂⁽²⁾ = (∂C₀/∂a₁⁽²⁾)(∂a₁⁽²⁾/∂z₁⁽²⁾)(∂z₁⁽²⁾/∂w₁₂⁽²⁾)"),
        ("C-a-L", [3, 6, 4], 5, "∂C₀/∂w₁₂⁽ᴸ⁾ = (∂C₀/∂a₁⁽ᴸ⁾)(∂a₁⁽ᴸ⁾/∂z₁⁽ᴸ⁾)(∂z₁⁽ᴸ⁾/∂w₁₂⁽ᴸ⁾)"),
        ("L-h", [3, 6, 4], 1, "∂L/∂w₂₃² = ∂L/∂h₂² ∂h₂²/∂z₂² ∂z₂²/∂w₂₃²"),
        ("L-h", [3, 6, 4], 2, "∂L₁/∂w₂₃² = ∂L₁/∂h₂² ∂h₂²/∂z₂² ∂z₂²/∂w₂₃²"),
    ],
)
def test_chain_rule_in_the_presets(notation: Any, sizes: Any, n: int, expected: str) -> None:
    assert lines_of(why(sizes, "w[2][1,2]", n, notation=notation))[0] == expected


def test_chain_of_single_units() -> None:
    lines = lines_of(why([1, 1, 1], "w[2][0,0]", notation="L-h"))
    assert lines[0] == "∂L/∂w₂ = ∂L/∂h₂ ∂h₂/∂z₂ ∂z₂/∂w₂"
    assert "z₂ = w₂ h₁ + b₂" in lines
    assert "wₗ = wₗ − η ∂L/∂wₗ" in lines


def test_samples_and_units_start_where_the_notation_says() -> None:
    page = why([2, 3, 2], "w[1][1,0]", 3, first_index=1).text()
    assert "from unit 1 of layer 0 to unit 2 of layer 1" in page
    assert "The numbers of sample 1" in page
    assert re.findall(r"through unit (\d)", page)[:2] in (["1", "2"], ["2", "1"])
    rows = re.findall(r"^ +(\d) +-?\d", page, flags=re.M)
    assert rows == ["1", "2", "3"]
    page = why([2, 3, 2], "w[1][1,0]", 3, first_index=0).text()
    assert "The numbers of sample 0" in page
    assert re.findall(r"^ +(\d) +-?\d", page, flags=re.M) == ["0", "1", "2"]


def test_own_notation_from_a_preset() -> None:
    mine = dataclasses.replace(NOTATIONS["L-h"], loss="E", activation="a", input="x", tags=False)
    lines = lines_of(why([1, 1, 1], "w[1][0,0]", notation=mine))
    assert lines[0] == "∂E/∂w₁ = ∂E/∂a₁ ∂a₁/∂z₁ ∂z₁/∂w₁"
    assert "z₁ = w₁ x + b₁" in lines
