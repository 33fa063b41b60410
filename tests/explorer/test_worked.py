"""The whole worked example and whole arrays in the protocol, held to published numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.explorer.hosts import offline
from chainrule.explorer.session import Session
from tests.explain.test_worked import SAMPLE, published
from tests.explorer.asked import ask, refused

TWO = [SAMPLE[0], [0.2, 0.3]], [SAMPLE[1], [0.1, 0.2]]


def at_half(X: Any = (SAMPLE[0],), y: Any = (SAMPLE[1],)) -> Session:
    """The published network, with its learning rate and nine digits."""
    session = Session(published(), X, y)
    ask(session, "configure", learning_rate=0.5, digits=9)
    return session


def lines(reply: dict[str, Any], title: str) -> list[str]:
    """The equations of a section, as text."""
    passages = [p for p in reply["passages"] if p["title"] == title]
    return [equation["text"] for passage in passages for equation in passage["equations"]]


def test_the_published_example_is_worked() -> None:
    reply = ask(at_half(), "worked", freeze_biases=True)
    assert reply["losses"] == [
        pytest.approx(0.298371109, abs=5e-10), pytest.approx(0.291027924, abs=2e-7)
    ]  # fmt: skip
    assert lines(reply, "The loss")[0].endswith(" = 0.298371109")
    updates = lines(reply, "The updates")
    assert updates[0].endswith(" = 0.4 − 0.5(0.0821670406) = 0.35891648")
    assert updates[4].endswith(" = 0.149780716")
    assert len(updates) == 8
    assert lines(reply, "Forward: layer 1")[1] == "a₀⁽¹⁾ = σ(z₀⁽¹⁾) = 0.593269992"
    assert "biases frozen" in reply["setting"]
    assert reply["drawn"]["svg"].startswith("<svg")
    assert "w₀₀⁽¹⁾ = 0.15" in reply["drawn"]["words"]


def test_the_page_shows_the_document_that_is_written() -> None:
    """Every equation of the text is in a passage or its matrix form, in the same order."""
    session = at_half()
    reply = ask(session, "worked", steps=2)
    s = session.settings
    example = published().worked_example(*SAMPLE, learning_rate=0.5, steps=2)
    example.notation = example.notation.__class__(digits=s.digits)
    sections = example.to_dict()["sections"]
    written = [e["text"] for part in sections for e in part["equations"]]
    shown = [e["text"] for p in (*reply["passages"], *reply["matrices"]) for e in p["equations"]]
    assert sorted(shown) == sorted(written)
    titles = list(dict.fromkeys(p["title"] for p in reply["passages"]))
    assert titles == [t["title"] for t in sections if "as matrices" not in t["title"]]


def test_each_unit_has_the_matrix_form_of_its_layer_beside_it() -> None:
    reply = ask(at_half(), "worked", steps=2)
    for passage in reply["passages"]:
        if passage["layer"] == 0:
            assert passage["matrix"] == -1
            continue
        matrix = reply["matrices"][passage["matrix"]]
        assert matrix["layer"] == passage["layer"]
        first = matrix["equations"][0]["text"]
        start = {"forward": "z⁽", "backward": "δ⁽", "update": "W⁽"}[passage["phase"]]
        assert first.startswith(start)
        if passage["phase"] != "update":
            assert any("×" in e["text"] for e in matrix["equations"])  # the shapes
    assert reply["matrices"][0]["arrays"] == ["W[1]", "b[1]"]


def test_a_batch_is_worked_with_the_current_sample_s_numbers() -> None:
    session = at_half(*TWO)
    ask(session, "select", sample=1)
    ask(session, "configure", scope="all")
    reply = ask(session, "worked")
    twin = published()
    twin.fit(*TWO, optimizer=cr.GradientDescent(0.5), epochs=1, batch_size=2, shuffle=False)
    expected = [published().loss_value(*TWO), twin.loss_value(*TWO)]
    assert reply["losses"] == pytest.approx(expected, rel=1e-12)
    assert reply["setting"].startswith("2 samples, unit by unit with the numbers of sample 1,")
    assert "(0.15)(0.2) + (0.2)(0.3) + 0.35 = 0.44" in lines(reply, "Forward: layer 1")[0]
    assert ask(session, "configure", scope="sample")["kind"] == "frame"
    assert ask(session, "worked")["passages"][6]["equations"][0]["text"].startswith("C₁ = ")


def test_the_words_come_in_both_languages() -> None:
    session = at_half()
    english, german = (ask(session, "worked", language=code) for code in ("en", "de"))
    assert english["words"]["worked"] == "Worked example"
    assert german["words"]["worked"] == "Durchgerechnetes Beispiel"
    assert german["words"].keys() == english["words"].keys()
    assert german["language"] == "de"


def test_a_whole_array_is_derived_proven_and_written_as_latex() -> None:
    session = at_half(*TWO)
    ask(session, "configure", scope="all")
    reply = ask(session, "array", target="W[2]")
    found = published().gradient(*TWO).dW[2]
    numbers = ", ".join(f"[{', '.join(f'{x:.9g}' for x in row)}]" for row in found)
    assert reply["text"] == f"∂C/∂W⁽²⁾ = [{numbers}]"
    assert [s["title"] for s in reply["sections"]] == [
        "Forward", "Backward to layer 2", "The gradient", "The update"
    ]  # fmt: skip
    proof = ask(session, "prove", target="W[2]")["certificate"]
    assert (proof["verdict"], proof["total"], len(proof["elements"])) == ("pass", 4, 4)
    assert "begin{pmatrix}" in ask(session, "latex", target="b[1]")["latex"]
    assert ask(session, "array", target="b[1]")["text"].startswith("∂C/∂b⁽¹⁾ = [[")


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"kind": "array", "target": "w[2][0,0]"}, "is one number; expected a whole array"),
        ({"kind": "array", "target": "W[3]"}, "the network has layers 1 to 2"),
        ({"kind": "array", "target": "nonsense"}, "is not a target"),
        ({"kind": "worked", "steps": 0}, "steps is 0; expected 1 or more"),
        ({"kind": "worked", "steps": 6}, "steps is 6; expected at most 5"),
        ({"kind": "worked", "freeze_biases": 1}, "expected true or false"),
        ({"kind": "worked", "language": "fr"}, "expected one of en, de"),
    ],
)
def test_what_cannot_be_derived_is_refused(request_: dict[str, Any], words: str) -> None:
    assert words in refused(at_half(), request_)


def test_what_is_too_large_for_the_page_says_so() -> None:
    large = Session(cr.Network([9, 9, 9]), np.zeros((1, 9)), np.zeros((1, 9)))
    message = refused(large, {"kind": "worked"})
    assert message.startswith("The network has 180 weights and biases; the page writes out at most")
    assert "25 weights and biases in 5 steps" in refused(Session(), {"kind": "worked", "steps": 5})
    deep = Session(cr.Network([1, 3, 3, 3, 3, 3, 1]), [[0.5]], [[0.0]])
    assert "81 paths lead from the loss to layer 1" in refused(deep, {"kind": "worked"})
    no_biases = Session(cr.Network([2, 2, 1], biases=False), [[0.5, 1.0]], [[0.0]])
    assert not ask(no_biases, "worked")["biases"]
    assert refused(no_biases, {"kind": "array", "target": "b[1]"}).endswith("has no biases")


def test_a_recording_holds_arrays_at_every_step_and_the_example_at_some() -> None:
    session = Session(published(), *TWO)
    tape = offline.record(session, 12)
    keys = tape["keys"]
    for key in ("worked", "worked frozen", "array W[1]", "array b[2]", "prove W[2]", "latex b[1]"):
        assert key in keys

    def steps(key: str) -> list[int]:
        place = keys.index(key)
        return [i for i, record in enumerate(tape["records"])
                if len(record["answers"]) > place and record["answers"][place] >= 0]  # fmt: skip

    assert steps("array W[1]") == list(range(13))
    assert (len(steps("worked")), steps("worked")[0], steps("worked")[-1]) == (6, 0, 12)
