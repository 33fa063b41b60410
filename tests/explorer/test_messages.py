"""Messages of a session that are refused, exercises and lessons."""

from __future__ import annotations

import math
import subprocess
import sys
import warnings
from typing import Any

import pytest

import chainrule as cr
from chainrule.explain.scribe import Scribe, notation
from chainrule.explorer.session import Session
from tests.explorer.asked import ask, lesson, refused, session  # noqa: F401

# --- bad messages -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (None, "The message is a NoneType; expected an object"),
        ([], "The message is a list; expected an object"),
        ({}, "unknown kind of message None"),
        ({"kind": "nothing"}, "unknown kind of message 'nothing'"),
        ({"kind": ["look"]}, "unknown kind"),
        ({"kind": "look", "more": 1}, "look: more is not a field; expected refocus"),
        ({"kind": "undo", "more": 1}, "more is not a field; this kind has no fields"),
        ({"kind": "edit", "target": "w[1][0,0]"}, "the field value is missing"),
        (
            {"kind": "edit", "target": "w[1][0,0]", "value": float("nan")},
            "value is nan; expected a finite number",
        ),
        ({"kind": "edit", "target": "w[1][0,0]", "value": "1"}, "value is '1'; expected a finite"),
        ({"kind": "edit", "target": "w[9][0,0]", "value": 1}, "has layers 1 to 3"),
        (
            {"kind": "edit", "target": "a[1][0]", "value": 1},
            "a[1][0] is computed. Set a weight, a bias, x[k] or y[j] instead.",
        ),
        (
            {"kind": "edit", "target": "y[3]", "value": 1},
            "y[3] does not exist; expected y[0] to y[0]",
        ),
        ({"kind": "edit", "target": "y[0]", "value": 7}, "y"),
        (
            {"kind": "edit", "target": "w" * 100, "value": 1},
            "target has 100 characters; expected at most 60",
        ),
        ({"kind": "select", "sample": 160}, "sample is 160; expected 0 to 159"),
        ({"kind": "select", "sample": -1}, "sample is -1; expected 0 or more"),
        ({"kind": "show", "layer": 1, "unit": 99}, "units 0 to 3"),
        ({"kind": "train", "steps": 0}, "steps is 0; expected 1 or more"),
        ({"kind": "train", "seconds": 100}, "seconds is 100.0; expected at most 5"),
        ({"kind": "train", "steps": 10**7}, "steps is 10000000; expected at most 1,000,000"),
        ({"kind": "configure", "learning_rate": -1}, "learning_rate is -1.0; expected more than 0"),
        ({"kind": "configure", "notation": "mine"}, "notation is 'mine'; expected one of default,"),
        ({"kind": "explain", "target": "w[1]"}, "is not a target"),
        ({"kind": "data", "name": "../../etc/passwd"}, "expected one of circles, xor"),
        ({"kind": "answer", "text": "1"}, "There is no exercise to answer. Ask for one first."),
    ],
)
def test_bad_messages_are_refused_and_change_nothing(
    session: Session, message: object, complaint: str
) -> None:
    assert complaint in refused(session, message)


def test_data_that_do_not_fit_are_refused() -> None:
    net = cr.Network([2, 2, 1], seed=0)
    with pytest.raises(ValueError, match="X has 3 columns, the network expects 2"):
        net.explore([[1, 2, 3]], [1])
    with pytest.raises(ValueError, match=r"^y is missing; expected both X and y, or neither$"):
        net.explore([[1, 2]])


def test_numbers_without_end_are_shown_as_that() -> None:
    net = cr.Network(
        [1, 1, 1], hidden="identity", output="identity", W=[[[1e200]], [[1e200]]], seed=0
    )
    session = Session(net, [[1e100]], [[0.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = ask(session, "look")
    assert frame["layers"][2]["a"] == ["inf"]
    ask(session, "explain", target="w[1][0,0]")
    ask(session, "steps")
    ask(session, "health")


@pytest.mark.parametrize(
    ("package", "command"),
    [("fastapi", ["explore", "--no-browser"]),
     ("uvicorn", ["explore", "--no-browser"])],
)  # fmt: skip
def test_missing_packages_are_named(package: str, command: list[str]) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        f"from chainrule.cli import main; sys.exit(main({command!r}))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert ran.returncode == 2
    hint = f"needs the package {package}: pip install 'chainrule[explorer]'"
    assert ran.stderr == f"chainrule: the explorer {hint}\n"


# --- practice -----------------------------------------------------------------------------------


def test_exercises_take_the_library_s_number(lesson: Any) -> None:
    session = lesson[3]
    for about in ("term", "gradient", "update", "any") * 3:
        question = ask(session, "ask", about=about)
        assert question["mathml"].startswith("<math")
        exercise = session._exercise
        assert exercise is not None
        verdict = ask(session, "answer", text=str(exercise.value * 1.004))
        assert verdict["right"]
        assert verdict["solution"].startswith("<math")
        for mistake in exercise.mistakes:
            if mistake.fault in ("after", "one", "input"):
                continue
            verdict = ask(session, "answer", text=str(mistake.value))
            assert not verdict["right"]
            assert verdict["fault"]


def test_arithmetic_is_an_answer_and_the_solution_can_be_asked_for(lesson: Any) -> None:
    session = lesson[3]
    question = ask(session, "ask", about="gradient")
    found = session._exercise
    assert found is not None
    assert ask(session, "answer", text=f"2*({found.value / 2!r})")["right"]
    solved = ask(session, "solve")
    assert solved["value"] == found.value
    assert solved["solution"].startswith("<math")
    assert solved["target"] == question["target"]
    assert ask(session, "answer", text="about 3")["fault"] == "unreadable"


def test_hints_name_the_factors_step_by_step(lesson: Any) -> None:
    session = lesson[3]
    found = exercise(session, "gradient", "What is the derivative of the loss")
    factors = [hint["text"].partition(" = ")[0] for hint in found.view["hints"]]
    assert len(factors) == len(found.why.terms)
    assert factors[-1].startswith("∂z")


def exercise(session: Session, about: str, start: str) -> Any:
    """An exercise whose question starts with a text."""
    for _ in range(300):
        if ask(session, "ask", about=about)["words"].startswith(start):
            assert session._exercise is not None
            return session._exercise
    raise AssertionError(f"no exercise starts with {start}")


def test_mistakes_are_told_apart(lesson: Any) -> None:
    """Each mistake, worked out by hand from the network, is called by its name."""
    net, X, y, session = lesson
    g = net.gradient(X[:1], y[:1])

    found = exercise(session, "gradient", "The loss is the mean")
    n = 3
    assert ask(session, "answer", text=str(found.value * n))["fault"] == "sum"
    assert "divide by 3" in ask(session, "answer", text=str(found.value * n))["words"]
    assert ask(session, "answer", text=str(-found.value))["fault"] == "sign"

    while True:
        found = exercise(session, "gradient", "What is the derivative of the loss")
        l, j, k = (int(c) for c in found.view["target"] if c.isdigit())
        if l == 2 and j != k:
            break
    arriving = float(g.delta[3][0] @ net.layers[3].W[:, j])
    slope = 1 - g.forward.a[2][0, j] ** 2
    a_k = g.forward.a[1][0, k]
    assert found.value == pytest.approx(arriving * slope * a_k)
    assert ask(session, "answer", text=str(arriving * a_k))["fault"] == "slope"
    assert ask(session, "answer", text=str(float(g.dW[2][k, j])))["fault"] == "transposed"

    found = exercise(session, "update", "Take one step of gradient descent")
    l, j, k = (int(c) for c in found.view["target"] if c.isdigit())
    w, dw = net.layers[l].W[j, k], g.dW[l][j, k]
    assert found.value == pytest.approx(w - 0.1 * dw)
    assert ask(session, "answer", text=str(float(w + 0.1 * dw)))["fault"] == "sign"
    assert ask(session, "answer", text=str(float(w - dw)))["fault"] == "rate"

    assert ask(session, "answer", text=str(1234.5))["fault"] == "other"


def test_where_nothing_can_be_asked_it_says_so() -> None:
    net = cr.Network([1, 1], output="identity", loss="half_squared_error", W=[[[0.0]]], seed=0)
    session = Session(net, [[0.0]], [[0.0]])
    assert "No exercise can be made here" in refused(session, {"kind": "ask", "about": "gradient"})


# --- tour ---------------------------------------------------------------------------------------


def test_the_lessons_are_the_explanations_of_the_examples() -> None:
    session = Session()
    reply = ask(session, "tour", lesson="output weight")
    net = cr.Network([3, 6, 4], hidden="sigmoid", output="sigmoid", loss="squared_error",
                     biases=False, seed=4)  # fmt: skip
    X = [[-1.1, 0.5, -0.2], [0.3, -0.9, 0.1], [0.8, 0.4, -0.6]]
    y = [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    why = net.explain("w[2][1,2]", X, y, notation=notation("C-a-L", 4), learning_rate=0.1)
    stops = [ask(session, "stop", at=i) for i in range(len(reply["titles"]))]
    assert [s["title"] for s in stops] == reply["titles"]
    scribe = Scribe(why.notation, net.sizes, 3)
    expected = [[scribe.view(e) for e in section.equations] for section in why.sections()]
    assert [s["equations"] for s in stops if s["equations"]] == expected
    third = next(s for s in stops if s["title"] == "Third term")
    assert third["light"] == ["a[1][2]", "w[2][1,2]", "a[2][1]"]  # and not all 24 weights
    mean = next(s for s in stops if s["title"] == "The mean")
    assert [row[-1] for row in mean["samples"]] == [float(p) for p in why.products]

    reply = ask(session, "tour", lesson="tanh chain")
    before = reply["frame"]["training"]["loss"]
    frame = ask(session, "update")
    assert frame["training"]["loss"] < before
    h1 = math.tanh(0.6 * 0.5 + 0.1)
    h2 = math.tanh(-0.4 * h1 + 0.2)
    w2 = -0.4 - 0.1 * (-(0.7 - h2) * (1 - h2**2) * h1)
    assert session.network.layers[2].W[0, 0] == pytest.approx(w2, rel=1e-14)
    ask(session, "undo")
    ask(session, "undo")
    ask(session, "undo")
    assert session.network.sizes == (2, 4, 2, 1)
