"""Two lessons come out line for line, each in its own notation.

The expected lines are the lessons' own: those of the first as LaTeX, those of the second as plain
text in which fractions, indices and powers stand one after the other.
"""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr

EXAMPLES = Path(__file__).parents[2] / "examples"

LESSONS = Path(__file__).parents[1] / "lessons"

# From the lesson on the gradient of an output weight: 6 units feed 4, w_12 of layer L.
OUTPUT_WEIGHT = (LESSONS / "output_weight.tex").read_text(encoding="utf-8").splitlines()

# From the lesson on tanh and half the squared error: a chain of single units.
TANH_CHAIN = [
    "∂L∂w2=∂L∂h2∂h2∂z2∂z2∂w2",
    "L=12(y−h2)2",
    "∂L∂h2=∂∂h212(y−h2)2=−(y−h2)(1)",
    "h2=tanh(z2)",
    "∂h2∂z2=1−tanh2(z2)=1−(h2)2(2)",
    "z2=w2h1+b2",
    "∂z2∂w2=h1(3)",
    "∂L∂w2=∂L∂h2∂h2∂z2∂z2∂w2=[−(y−h2)][1−(h2)2][h1]",
]

# The same lesson's list of updates in its network of 2, 2 and 1 units.
UPDATES = {
    "w[2][0,0]": "w211=w211−η∂L∂w211",
    "w[2][0,1]": "w212=w212−η∂L∂w212",
    "b[2][0]": "b21=b21−η∂L∂b21",
    "w[1][0,0]": "w111=w111−η∂L∂w111",
    "w[1][1,0]": "w121=w121−η∂L∂w121",
    "w[1][0,1]": "w112=w112−η∂L∂w112",
    "w[1][1,1]": "w122=w122−η∂L∂w122",
    "b[1][0]": "b11=b11−η∂L∂b11",
    "b[1][1]": "b12=b12−η∂L∂b12",
}


def bare(latex: str) -> str:
    """Leave out what LaTeX does not show: spaces, braces, the size of parentheses."""
    for invisible in (r"\left", r"\right", " ", "{", "}"):
        latex = latex.replace(invisible, "")
    return latex.replace("^^", "^")


def flat(latex: str, tag: str = "") -> str:
    """Write a formula as plain text: marks above before marks below, fractions without a bar."""
    latex = re.sub(r"_\{(\w+)\}\^\{(\w+)\}", r"\2\1", latex)
    for command, letter in ((r"\partial", "∂"), (r"\eta", "η"), (r"\tanh", "tanh"), ("-", "−")):
        latex = latex.replace(command, letter)
    for invisible in (r"\frac", r"\left", r"\right", " ", "{", "}", "_", "^"):
        latex = latex.replace(invisible, "")
    return latex + tag


def equations(why: cr.Explanation, *titles: str) -> list[dict[str, str]]:
    sections = why.to_dict(depth=0)["sections"]
    chosen = [s for s in sections if s["title"].startswith(titles)]
    return [equation for section in chosen for equation in section["equations"]]


def test_output_weight_line_for_line() -> None:
    net = cr.Network(
        [3, 6, 4], hidden="sigmoid", output="sigmoid", loss="squared_error", biases=False, seed=0
    )
    X, y = np.random.default_rng(0).normal(size=(5, 3)), np.eye(4)[[0, 1, 2, 3, 0]]
    why = net.explain("w[2][1,2]", X, y, notation="C-a-L")
    lines = equations(why, "The chain rule", "First", "Second", "Third", "Combining", "The mean")
    found = [bare(line["latex"]) for line in lines]
    found[-1] = found[-1].rsplit("=", 1)[0]  # our last line goes on to the number
    assert found == [bare(line) for line in OUTPUT_WEIGHT]


def test_tanh_chain_line_for_line() -> None:
    net = cr.Network([1, 1, 1], hidden="tanh", output="tanh", seed=0)
    why = net.explain("w[2][0,0]", [0.5], [0.7], notation="L-h")
    lines = equations(why, "The chain rule", "First", "Second", "Third", "Combining")
    assert [flat(line["latex"], line["tag"]) for line in lines] == TANH_CHAIN


@pytest.mark.parametrize(("target", "expected"), UPDATES.items())
def test_every_update_of_the_second_lesson(target: str, expected: str) -> None:
    net = cr.Network([2, 2, 1], hidden="tanh", output="tanh", seed=0)
    why = net.explain(target, [0.5, 0.1], [0.7], notation="L-h")
    assert flat(equations(why, "The update")[1]["latex"]) == expected


def test_general_rules_of_update() -> None:
    net = cr.Network([2, 2, 1], hidden="tanh", output="tanh", seed=0)
    found = [
        flat(equations(net.explain(t, [0.5, 0.1], [0.7], notation="L-h"), "The update")[0]["latex"])
        for t in ("w[1][0,0]", "b[1][0]")
    ]
    assert found == ["wlkj=wlkj−η∂L∂wlkj", "blk=blk−η∂L∂blk"]


@pytest.mark.parametrize("name", ["output_weight", "tanh_chain"])
def test_examples_run(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / f"{name}.py"))
    printed = capsys.readouterr().out
    assert "The chain rule" in printed
    assert "pass" in printed
    assert max(map(len, printed.splitlines())) <= 100
