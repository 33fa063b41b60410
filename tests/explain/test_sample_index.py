"""The index of a sample is that of the whole data, wherever a derivation is written."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.cli import main
from chainrule.explorer.session import Session

X = np.random.default_rng(0).normal(size=(6, 2)).round(3)
Y = np.linspace(-0.5, 0.5, 6).round(3)
LOSSES = re.compile("C([₀₁₂₃₄₅₆₇₈₉])")
Command = Callable[..., str]


def network() -> cr.Network:
    return cr.Network([2, 2, 1], hidden="tanh", seed=0)


@pytest.fixture
def explain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run `chainrule explain` on the samples, and return what it prints."""
    monkeypatch.chdir(tmp_path)
    network().save("net.safetensors")
    rows = "\n".join(f"{a},{b},{y}" for (a, b), y in zip(X, Y, strict=True))
    Path("samples.csv").write_text(f"x,z,y\n{rows}\n", encoding="utf-8")

    def run(*options: str) -> str:
        assert main(["explain", "net.safetensors", *options, "--data", "samples.csv"]) == 0
        return capsys.readouterr().out

    return run


def on_the_page(sample: int, **settings: Any) -> str:
    session = Session(network(), X, Y)
    session.handle({"kind": "select", "sample": sample})
    session.handle({"kind": "configure", **settings})
    found = session.handle({"kind": "explain", "target": "w[2][0,1]"})
    steps = session.handle({"kind": "steps"})
    texts = [e["text"] for s in (*found["sections"], *steps["steps"]) for e in s["equations"]]
    return "\n".join(texts)


@pytest.mark.parametrize("sample", [0, 2, 5])
def test_one_index_in_python_on_the_command_line_and_on_the_page(
    sample: int, explain: Command
) -> None:
    one = slice(sample, sample + 1)
    written = {
        "explain": network().explain("w[2][0,1]", X, Y, focus=sample).text(),
        "one row": network().explain("w[2][0,1]", X[one], Y[one], first_sample=sample).text(),
        "command": explain("w[2][0,1]", "--row", str(sample)),
        "whole": explain("--whole", "--row", str(sample), "--learning-rate", "1"),
        "page": on_the_page(sample),
        "page, mean": on_the_page(sample, scope="all"),
    }
    for where, text in written.items():
        assert {int(i) for i in map("₀₁₂₃₄₅₆₇₈₉".index, LOSSES.findall(text))} == {sample}, where


def test_rows_from_the_middle_are_counted_as_in_the_file(explain: Command) -> None:
    text = explain("w[2][0,1]", "--rows", "2:5")
    assert "Σᵢ₌₂⁴ ∂Cᵢ/∂w₀₁⁽²⁾" in text
    assert "The numbers of sample 2" in text
    table = text[text.index("sample ") :]
    assert re.findall(r"^ +([0-9])  ", table, re.MULTILINE) == ["2", "3", "4"]
    whole = network().explain("W[2]", X[2:5], Y[2:5], first_sample=2).text()
    assert "Σᵢ₌₂⁴ δᵢⱼ⁽²⁾" in whole


def test_weights_of_samples_have_the_same_index() -> None:
    text = network().explain(
        "b[2][0]", X[2:5], Y[2:5], sample_weight=[1.0, 2.0, 3.0], focus=1, first_sample=2
    ).text()  # fmt: skip
    assert "s₃/s̄" in text
    assert "C₃" in text


@pytest.mark.parametrize(
    ("first_sample", "error", "message"),
    [(-1, ValueError, "first_sample must be at least 0"), (1.5, TypeError, "first_sample")],
)
def test_a_first_sample_that_cannot_be(
    first_sample: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        network().explain("b[2][0]", X, Y, first_sample=first_sample)
    with pytest.raises(error, match=message):
        network().worked_example(X[0], Y[:1], learning_rate=1, first_sample=first_sample)
