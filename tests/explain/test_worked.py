"""Whole worked examples: published numbers, both lessons' networks, and central differences."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.explain.worked import paths


def published() -> cr.Network:
    """The well-known 2-2-2 example: inputs .05 and .10, targets .01 and .99, η = 0.5."""
    return cr.Network(
        [2, 2, 2], hidden="sigmoid", output="sigmoid", loss="half_squared_error",
        W=[[[0.15, 0.20], [0.25, 0.30]], [[0.40, 0.45], [0.50, 0.55]]],
        b=[[0.35, 0.35], [0.60, 0.60]],
    )  # fmt: skip


SAMPLE: tuple[list[float], list[float]] = [0.05, 0.10], [0.01, 0.99]


def test_the_published_example_comes_out() -> None:
    net = published()
    example = net.worked_example(*SAMPLE, learning_rate=0.5, freeze_biases=True)
    assert example.losses[0] == pytest.approx(0.298371109, abs=5e-10)
    # published as 0.291027924, computed from weights that were rounded to nine digits on the way
    assert example.losses[1] == pytest.approx(0.291027924, abs=2e-7)
    hidden, output = example.updated.weighted_layers
    expected = [[0.35891648, 0.408666186], [0.511301270, 0.561370121]]
    np.testing.assert_allclose(output.W, expected, atol=5e-9)
    expected = [[0.149780716, 0.19956143], [0.24975114, 0.29950229]]
    np.testing.assert_allclose(hidden.W, expected, atol=5e-9)
    assert hidden.b is not None
    assert hidden.b.tolist() == [0.35, 0.35]
    assert net.layers[2].W[0, 0] == 0.40  # the network itself stays


def test_the_published_numbers_stand_in_the_text() -> None:
    from dataclasses import replace

    nine = replace(cr.Notation(), digits=9)
    example = published().worked_example(
        *SAMPLE, learning_rate=0.5, freeze_biases=True, notation=nine
    )
    text = example.text(200)
    for line in (
        "(0.15)(0.05) + (0.2)(0.1) + 0.35 = 0.3775",
        "a₀⁽¹⁾ = σ(z₀⁽¹⁾) = 0.593269992",
        "= 0.298371109",
        "(0.74136507)(0.186815602)(0.593269992)",
        "= 0.0821670406",
        "w₀₀⁽²⁾ ← w₀₀⁽²⁾ − η ∂C/∂w₀₀⁽²⁾ = 0.4 − 0.5(0.0821670406) = 0.35891648",
        "= 0.149780716",
        "The loss after the update",
    ):
        assert line in text
    assert "b₀⁽²⁾ ←" not in text  # frozen
    titles = [line for line in text.splitlines() if line and not line.startswith(" ")]
    assert titles[1:] == [
        "The sample, the parameters and the learning rate", "The rules", "Forward: layer 1",
        "Forward: layer 2",
        "Forward, as matrices", "The loss", "Backward: layer 2", "Backward: layer 1",
        "Backward, as matrices", "The updates", "The updates, as matrices",
        "The loss after the update",
    ]  # fmt: skip


def test_a_batch_is_worked_with_the_mean() -> None:
    net = cr.Network([2, 3, 2], hidden="tanh", output="sigmoid", l2=0.05, seed=4)
    X, y = [[0.3, -1.0], [0.7, 0.4], [-0.2, 0.9]], [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]
    example = net.worked_example(X, y, learning_rate=0.3, steps=2, focus=1, first_sample=6)
    twin = net.copy()
    twin.fit(X, y, optimizer=cr.GradientDescent(0.3), epochs=2, batch_size=3, shuffle=False)
    np.testing.assert_allclose(example.updated.parameters, twin.parameters, rtol=1e-12)
    assert example.losses[0] == pytest.approx(net.loss_value(X, y), rel=1e-14)
    assert example.losses[2] == pytest.approx(twin.loss_value(X, y), rel=1e-12)
    text = " ".join(example.text(300).split())
    assert text.startswith("3 samples, unit by unit with the numbers of sample 7, through")
    of_one = net.gradient(X[1:2], y[1:2])
    assert "C₇ = Σⱼ₌₀¹ ½ (aⱼ⁽²⁾ − yⱼ)²" in text
    assert f" = {float(of_one.sample_losses[0]):.6g} and the mean over the 3 samples with" in text
    mean = float(net.gradient(X, y).dW[2][0, 1] - 0.05 * net.layers[2].W[0, 1])
    shown = f"{mean:.6g}".replace("-", "−")
    assert f"∂Cᵢ/∂w₀₁⁽²⁾ + ∂R/∂w₀₁⁽²⁾ = {shown} + " in text
    assert example.to_dict()["steps"][0]["outputs"] == of_one.forward.a[-1][0].tolist()


def test_passages_light_what_they_speak_of() -> None:
    net = published()
    example = net.worked_example(*SAMPLE, learning_rate=0.5, freeze_biases=True)
    found = {(p.phase, p.layer, p.target): p.light for p in example.passages() if not p.is_matrix}
    assert found["backward", 2, "w[2][0,1]"] == ("a[1][1]", "w[2][0,1]", "a[2][0]", "loss")
    paths_of = set(found["backward", 1, "w[1][1,0]"])
    assert paths_of == {
        "x[0]", "w[1][1,0]", "a[1][1]", "w[2][0,1]", "w[2][1,1]", "a[2][0]", "a[2][1]", "loss",
    }  # fmt: skip
    assert found["update", 1, ""] == ("w[1][0,0]", "w[1][0,1]", "w[1][1,0]", "w[1][1,1]")
    count = sum(len(section.equations) for section in example.sections())
    assert count == sum(len(p.equations) for p in example.passages())


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_steps_are_those_of_training(dtype: Any) -> None:
    net = cr.Network([3, 4, 2], hidden="tanh", output="softmax", loss="cross_entropy",
                     l2=0.1, seed=3, dtype=dtype)  # fmt: skip
    x, y = [0.3, -1.0, 0.7], [0.0, 1.0]
    example = net.worked_example(x, y, learning_rate=0.2, steps=3)
    twin = net.copy()
    twin.fit([x], [y], optimizer=cr.GradientDescent(0.2), epochs=3, batch_size=1)
    tolerance = 1e-12 if dtype == "float64" else 1e-6
    np.testing.assert_allclose(example.updated.parameters, twin.parameters, rtol=tolerance)
    assert len(example.losses) == 4
    assert "Step 3. The updates" in example.text()
    assert "and with the penalty" in example.text()


def test_the_chain_of_the_second_lesson_is_one_product() -> None:
    net = cr.Network([1, 1, 1], hidden="tanh", output="tanh", loss="half_squared_error",
                     W=[[[0.5]], [[-0.7]]], b=[[0.1], [0.2]])  # fmt: skip
    example = net.worked_example([0.8], [0.6], learning_rate=0.1, notation="L-h")
    text = example.text(300)
    chain = "∂L/∂h₂ ∂h₂/∂z₂ ∂z₂/∂h₁ ∂h₁/∂z₁ ∂z₁/∂w₁"
    assert f"∂L/∂w₁ = {chain}" in " ".join(text.split())
    assert "[−(y − h₂)][1 − (h₂)²][w₂][1 − (h₁)²][h₀]" in text
    # by hand: z₁ = 0.5, h₁ = tanh 0.5, z₂ = 0.2 − 0.7 h₁, h₂ = tanh z₂
    h1 = math.tanh(0.5)
    h2 = math.tanh(0.2 - 0.7 * h1)
    expected = -(0.6 - h2) * (1 - h2**2) * -0.7 * (1 - h1**2) * 0.8
    assert example.derivative(cr.Weight(1, 0, 0)).value == pytest.approx(expected, rel=1e-13)


def test_the_nine_updates_of_the_second_lesson_stand_in_one_list() -> None:
    net = cr.Network([2, 2, 1], hidden="tanh", output="tanh", seed=1)
    example = net.worked_example([0.8, -0.4], [0.6], learning_rate=0.1, notation="L-h")
    (updates,) = (s for s in example.to_dict()["sections"] if s["title"] == "The updates")
    lines = [equation["text"] for equation in updates["equations"]]
    assert len(lines) == 9
    assert lines[0].startswith("w₁₁² = w₁₁² − η ∂L/∂w₁₁² = ")
    assert [line.split(" = ")[0] for line in lines] == [
        "w₁₁²", "w₁₂²", "b₁²", "w₁₁¹", "w₁₂¹", "b₁¹", "w₂₁¹", "w₂₂¹", "b₂¹",
    ]  # fmt: skip


def test_the_weight_of_the_first_lesson_is_its_product() -> None:
    net = cr.Network([6, 4], output="tanh", loss="squared_error", seed=4)
    x, y = np.linspace(-1, 1, 6), np.array([0.1, -0.2, 0.3, 0.0])
    example = net.worked_example(x, y, learning_rate=0.1, notation="C-a-L")
    assert ("∂C₀/∂w₁₂⁽ᴸ⁾ = (∂C₀/∂a₁⁽ᴸ⁾)(∂a₁⁽ᴸ⁾/∂z₁⁽ᴸ⁾)(∂z₁⁽ᴸ⁾/∂w₁₂⁽ᴸ⁾)") in example.text(200)
    a = np.tanh(net.layers[1].W @ x)
    expected = 2 * (a[1] - y[1]) * (1 - a[1] ** 2) * x[2]
    assert example.derivative(cr.Weight(1, 1, 2)).value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("sizes", "settings"),
    [
        ([1, 1, 1, 1], {"hidden": "tanh", "output": "tanh"}),
        ([2, 3, 2, 2], {"hidden": "sigmoid", "output": "tanh"}),
        ([2, 3, 3], {"hidden": "tanh", "output": "softmax", "loss": "cross_entropy"}),
        ([2, 3, 3], {"hidden": "tanh", "output": "softmax", "loss": "squared_error"}),
        ([2, 2, 1], {"hidden": "tanh", "output": "sigmoid", "loss": "binary_cross_entropy"}),
    ],
)
def test_flattened_products_agree_with_central_differences(
    sizes: list[int], settings: dict[str, Any]
) -> None:
    net = cr.Network(sizes, seed=5, **settings)
    x = np.linspace(-0.8, 0.9, sizes[0])[None]
    y = np.eye(sizes[-1])[:1] * 0.9 if settings["output"] != "softmax" else np.eye(sizes[-1])[:1]
    example = net.worked_example(x, y, learning_rate=0.1)
    h, place = 1e-5, 0
    for l in range(1, len(sizes)):
        count = math.prod(sizes[l + 1 :])
        units, before = range(sizes[l]), range(sizes[l - 1])
        targets: list[cr.Weight | cr.Bias] = [cr.Bias(l, j) for j in units]
        targets += [cr.Weight(l, j, k) for j in units for k in before]
        for target in targets:
            up, down = net.copy(), net.copy()
            for moved, step in ((up, h), (down, -h)):
                layer = moved.layers[l]
                if isinstance(target, cr.Weight):
                    layer.W[target.j, target.k] += step
                else:
                    assert layer.b is not None
                    layer.b[target.j] += step
            expected = (up.loss_value(x, y) - down.loss_value(x, y)) / (2 * h)
            found = list(paths(example.derivative(target).terms))
            assert len(found) == count
            total = math.fsum(math.prod(term.value for term in path) for path in found)
            assert total == pytest.approx(expected, rel=1e-6, abs=1e-9)
            place += 1
    assert place == net.parameters.size


def test_every_format_holds_the_same_equations() -> None:
    example = published().worked_example(*SAMPLE, learning_rate=0.5)
    whole = json.loads(json.dumps(example.to_dict()))
    count = sum(len(section["equations"]) for section in whole["sections"])
    html, latex = example.html(), example.latex()
    assert html.count('<div class="formula') == latex.count(r"\[") == count
    ET.fromstring(html.removeprefix("<!DOCTYPE html>\n"))
    assert example.latex(standalone=True).startswith(r"\documentclass")
    assert whole["losses"] == list(example.losses)
    assert whole["updated"][1]["b"] == example.updated.weighted_layers[1].b.tolist()  # type: ignore[union-attr]
    assert max(map(len, example.text(80).splitlines())) <= 80
    assert str(example) == example.text()


def test_of_many_paths_the_largest_are_written() -> None:
    net = cr.Network([1, 3, 4, 4], hidden="tanh", seed=0)
    text = " ".join(net.worked_example([0.5], [0, 0, 0, 1.0], learning_rate=0.1).text().split())
    assert "summed over the 16 paths to the loss" in text
    assert f"(the other {16 - cr.Notation().max_terms})" in text


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": [0.05]}, ValueError, "2"),
        ({"focus": 1}, ValueError, "focus is 1; expected the index of a sample, 0 to 0"),
        ({"focus": -1}, ValueError, "focus is -1; expected"),
        ({"focus": 0.5}, TypeError, "focus must be the index of a sample"),
        ({"y": [0.1, 0.2, 0.3]}, ValueError, "y"),
        ({"x": ["a", "b"]}, TypeError, "x|X"),
        ({"x": [math.nan, 0.1]}, ValueError, "every number must be finite"),
        ({"learning_rate": 0}, ValueError, "learning_rate must be above 0"),
        ({"learning_rate": -0.1}, ValueError, "learning_rate must be above 0"),
        ({"learning_rate": "fast"}, TypeError, "learning_rate"),
        ({"steps": 0}, ValueError, "steps must be at least 1"),
        ({"steps": 1.5}, TypeError, "steps"),
        ({"freeze_biases": 1}, TypeError, "freeze_biases"),
        ({"notation": "X"}, ValueError, "unknown notation"),
    ],
)
def test_bad_input(change: dict[str, Any], error: type[Exception], message: str) -> None:
    given: dict[str, Any] = {"x": SAMPLE[0], "y": SAMPLE[1], "learning_rate": 0.5, **change}
    with pytest.raises(error, match=message):
        published().worked_example(given.pop("x"), given.pop("y"), **given)


def test_a_network_too_large_to_write_out_is_refused() -> None:
    net = cr.Network([20, 10, 1])
    with pytest.raises(ValueError, match=r"has 221 weights and biases; .* at most 200"):
        net.worked_example(np.zeros(20), [0.0], learning_rate=0.1)
    deep = cr.Network([1, *[3] * 9, 1])
    with pytest.raises(ValueError, match="paths lead from the loss to layer 1"):
        deep.worked_example([0.5], [0.0], learning_rate=0.1)


# --- the words of the lessons ---------------------------------------------------------------------


def test_the_general_rules_stand_before_the_case() -> None:
    net = cr.Network([1, 1, 1], hidden="tanh", output="tanh", seed=1)
    text = net.worked_example([0.5], [0.7], learning_rate=0.1, notation="L-h").text()
    rules = text[text.index("The rules") : text.index("Forward: layer 1")]
    for line in ("zₗ = wₗ hₗ₋₁ + bₗ", "hₗ = tanh(zₗ)", "L = ½ (y − h₂)²"):
        assert line in rules
    net = cr.Network([2, 3, 1], hidden="tanh", output="sigmoid", seed=1, biases=False)
    text = net.worked_example([0.5, 1.0], [0.7], learning_rate=0.1).text()
    assert "zⱼ⁽ˡ⁾ = Σₖ₌₀ⁿ⁻¹ wⱼₖ⁽ˡ⁾ aₖ⁽ˡ⁻¹⁾\n" in text  # 2 and 3 inputs, no biases
    assert "aⱼ⁽ˡ⁾ = g⁽ˡ⁾(zⱼ⁽ˡ⁾)" in text


def test_results_are_tagged_where_a_later_line_refers_to_them() -> None:
    net = cr.Network([1, 1, 1], hidden="tanh", output="tanh", seed=1)
    example = net.worked_example([0.5], [0.7], learning_rate=0.1, notation="L-h")
    for title in ("Backward: layer 2", "Backward: layer 1"):
        (section,) = (s for s in example.sections() if s.title == title)
        tags = [e.tag for e in section.equations if e.tag]
        assert tags == ["(1)", "(2)", "(3)", "(4)"]
        leads = [e.lead for e in section.equations if e.lead.startswith("Hence")]
        assert leads == [
            "Hence, from expressions (1), (2) and (3), we get",
            "Hence, from expressions (1), (2) and (4), we get",
        ]
    plain = net.worked_example([0.5], [0.7], learning_rate=0.1)
    assert not [e.tag for s in plain.sections() for e in s.equations if e.tag]


def test_derivations_say_what_depends_on_what_and_what_a_result_means() -> None:
    net = cr.Network([2, 2, 1], hidden="tanh", output="tanh", seed=1)
    text = " ".join(net.explain("w[2][0,1]", [0.5, 1.0], [1.0]).text().split())
    assert (
        "The loss depends on the activation, the activation on the pre-activation, and the "
        "pre-activation on this weight, so the chain rule multiplies"
    ) in text
    assert "A small change in the activation changes the loss by this many times as much" in text
    assert "and so a small change in this weight changes the loss by" in text
    net = cr.Network([2, 2], output="softmax", loss="cross_entropy", seed=1)
    text = " ".join(net.explain("b[1][0]", [0.5, 1.0], [0, 1]).text().split())
    assert "The loss depends on the pre-activation, and the pre-activation on this bias" in text


# --- the picture and the PDF ----------------------------------------------------------------------


def test_the_network_is_drawn_with_its_numbers() -> None:
    html = published().worked_example(*SAMPLE, learning_rate=0.5).html()
    root = ET.fromstring(html.removeprefix("<!DOCTYPE html>\n"))
    svg = "{http://www.w3.org/2000/svg}"
    (drawing,) = root.iter(f"{svg}svg")
    assert drawing.get("role") == "img"
    shown = [text.text or "" for text in drawing.iter(f"{svg}text")]
    for number in ("0.05", "0.15", "0.2", "0.25", "0.3", "0.4", "0.45", "0.5", "0.55", "0.5933",
                   "b₀⁽¹⁾ = 0.35", "b₁⁽²⁾ = 0.6", "0.7514", "target y₁ = 0.99"):  # fmt: skip
        assert number in shown
    words = drawing.get("aria-label") or ""
    assert words.startswith("The network 2-2-2 with the numbers of the sample. Inputs: x₀ = 0.05")
    for number in ("w₁₀⁽²⁾ = 0.5", "b₀⁽¹⁾ = 0.35", "a₀⁽²⁾ = 0.7514", "Targets: y₀ = 0.01"):
        assert number in words


@pytest.mark.parametrize("sizes", [[2, 2, 1], [2, 3, 2], [3, 3, 1], [1, 1, 1, 1], [2, 4, 1]])
def test_no_two_texts_of_the_drawing_overlap(sizes: list[int]) -> None:
    net = cr.Network(sizes, hidden="tanh", seed=2)
    x, y = np.full(sizes[0], -0.1234), np.full(sizes[-1], 0.5)
    root = ET.fromstring(
        net.worked_example(x, y, learning_rate=0.5).html().removeprefix("<!DOCTYPE html>\n")
    )
    svg = "{http://www.w3.org/2000/svg}"
    boxes = []
    for text in root.iter(f"{svg}text"):
        left, half = float(text.get("x", "")), len(text.text or "") * 3.6
        left += half if text.get("text-anchor") == "start" else 0
        boxes.append((left - half, float(text.get("y", "")), left + half))
    assert len(boxes) > sum(sizes)
    for i, (left, y_0, right) in enumerate(boxes):
        for other_left, y_1, other_right in boxes[i + 1 :]:
            assert abs(y_0 - y_1) >= 12 or right <= other_left or other_right <= left


def test_a_network_too_large_to_draw_says_so() -> None:
    net = cr.Network([7, 8, 2], hidden="tanh", seed=2)
    html = net.worked_example(np.ones(7), [0.0, 1.0], learning_rate=0.5).html()
    assert "The network is too large to be drawn with all its numbers." in html
    assert "<svg" not in html


@pytest.mark.needs("typst")
@pytest.mark.parametrize("notation", ["default", "C-a-L", "L-h"])
def test_pdf_is_typeset(notation: str) -> None:
    example = published().worked_example(*SAMPLE, learning_rate=0.5, notation=notation)
    assert example.pdf()[:5] == b"%PDF-"
    net = cr.Network(
        [2, 3, 3], hidden="relu", output="softmax", loss="cross_entropy", l2=0.1, seed=0
    )
    x, y = [0.5, -1.0], [0.0, 1.0, 0.0]
    assert net.worked_example(x, y, learning_rate=0.1, notation=notation).pdf()[:5] == b"%PDF-"


def test_latex_is_balanced_and_names_no_sign_that_it_lacks() -> None:
    from pylatexenc import latexwalker

    for notation in ("default", "C-a-L", "L-h"):
        example = published().worked_example(*SAMPLE, learning_rate=0.5, notation=notation)
        text = example.latex(standalone=True)
        latexwalker.LatexWalker(text, tolerant_parsing=False).get_latex_nodes()
        assert text.isascii()
