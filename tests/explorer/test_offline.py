"""The recording of the offline page, read as the page reads it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.equations.targets import Bias, Weight, resolve
from chainrule.explain import explain
from chainrule.explain.derivative import beside
from chainrule.explain.scribe import scribe_for
from chainrule.explorer import derivation
from chainrule.explorer.hosts import offline
from chainrule.explorer.session import Session

X = np.array([[0.5, -1.0], [1.5, 0.25], [-0.75, 1.0]])


def session(**options: Any) -> Session:
    classes = options.get("loss") == "cross_entropy"
    net = cr.Network([2, 3, 2, 3 if classes else 1], seed=1, **options)
    return Session(net, X, [0, 1, 2] if classes else [0.0, 1.0, 1.0])


def read(recording: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the answers of each step, put together as offline.js does it."""
    steps = []
    for record in recording["records"]:
        numbers, answers = record["numbers"].split(" "), {}
        for key, place in zip(recording["keys"], record["answers"], strict=False):
            if place >= 0:
                chunks, gaps = recording["shapes"][place]
                text = recording["chunks"][chunks[0]]
                for gap, chunk in zip(gaps, chunks[1:], strict=True):
                    text += numbers[gap] + recording["chunks"][chunk]
                answers[key] = json.loads(text)
        steps.append(answers)
    return steps


def without_version(answer: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in json.loads(json.dumps(answer)).items() if name != "version"
    }


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ({"hidden": "tanh"}, {}),
        ({"hidden": "relu", "l2": 0.1, "loss": "squared_error"}, {"scope": "batch"}),
        ({"hidden": "gelu", "output": "softmax", "loss": "cross_entropy"}, {"notation": "C-a-L"}),
        ({"hidden": "leaky_relu", "biases": False}, {"notation": "L-h", "digits": 6}),
    ],
    ids=lambda given: "-".join(map(str, given.values())),
)
def test_recorded_answers_are_those_of_a_fresh_session(
    options: dict[str, Any], settings: dict[str, Any]
) -> None:
    """Of each step and each message: a session that has kept nothing gives the same."""
    recorded, fresh = session(**options), session(**options)
    for each in (recorded, fresh):
        each.handle({"kind": "configure", "learning_rate": 0.3, **settings})
    steps = read(offline.record(recorded, 1))
    assert len(steps) == 2
    checked = 0
    for number, answers in enumerate(steps):
        if number:
            fresh.handle({"kind": "train", "steps": 1, "again": number > 1, "results": False})
        for key, answer in answers.items():
            kind, _, rest = key.partition(" ")
            target, _, units = rest.partition(" ")
            request: dict[str, Any] = {"kind": kind}
            if kind in ("look", "results"):
                continue  # they hold the time and the other steps
            if kind == "worked" and target == "frozen":
                request["freeze_biases"] = True
            elif target:
                request["target"] = target
            if units:
                request["units"] = [int(unit) for unit in units.split(",")]
            fresh._made_for = -1  # nothing is shared with the answer before
            for kept in (derivation._sections, derivation._numbers, derivation._terms):
                kept.clear()
            scribe_for.cache_clear()
            assert without_version(answer) == without_version(fresh.handle(request)), key
            checked += 1
    assert checked > 150


def test_steps_below_0_and_a_message_that_is_refused() -> None:
    with pytest.raises(ValueError, match="steps is -1; expected 0 or more"):
        offline.record(session(), -1)
    with pytest.raises(ValueError, match="nope"):
        offline._asked(session(), {"kind": "explain", "target": "nope"})


@pytest.mark.parametrize(
    "reply",
    [{"a": 0.5, "text": "w−0.25 is 1e-05 \"quoted\" µ", "list": [1, -2.5, True, None, 1e300]},
     {"empty": {}, "none": [], "nested": [[0.1], {"b": float("nan"), "c": [float("-inf")]}]}],
)  # fmt: skip
def test_what_is_split_is_json(reply: dict[str, Any]) -> None:
    """The parts are those between the numbers of the text, objects that come twice included."""
    tape = offline.Tape()
    shared = {"twice": [reply, reply]}
    for _ in range(3):
        tape.begin()
        tape.add("x", shared)
        parts = tape._split(shared)
        text = json.dumps(shared, separators=(",", ":"), ensure_ascii=False)
        assert "".join(parts) == text
        assert list(parts) == offline._NUMBER.split(text)


def test_explanations_beside_each_other_share_their_terms() -> None:
    net = cr.Network([2, 3, 2, 1], hidden="tanh", seed=0)
    why = explain(net, "w[1][2,0]", X, [0.0, 1.0, 1.0])
    other = beside(why, resolve("w[1][2,1]", net.sizes))
    alone = explain(net, "w[1][2,1]", X, [0.0, 1.0, 1.0])
    assert other.target == Weight(1, 2, 1)
    assert (other.value, other.text(depth=3)) == (alone.value, alone.text(depth=3))
    assert other.terms[0] is why.terms[0]
    assert other.terms[1] is why.terms[1]
    bias = beside(why, Bias(2, 0))
    assert bias.text() == explain(net, "b[2][0]", X, [0.0, 1.0, 1.0]).text()
    assert bias.terms[0] is why.terms[0].contributions[0].terms[0]
