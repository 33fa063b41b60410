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
        "The sample, the parameters and the learning rate", "Forward: layer 1", "Forward: layer 2",
        "The loss", "Backward: layer 2", "Backward: layer 1", "The updates",
        "The loss after the update",
    ]  # fmt: skip


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
        ({"x": [[0.05, 0.1]] * 2, "y": [[0.0, 1.0]] * 2}, ValueError, "x has 2 samples"),
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
