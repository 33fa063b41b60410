"""A session as a state that travels."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import chainrule as cr
from chainrule.explorer.session import Session
from tests.explorer.asked import ask, lesson, refused, session  # noqa: F401

# --- sharing ------------------------------------------------------------------------------------


def test_a_state_comes_back_to_the_last_bit(session: Session) -> None:
    ask(session, "data", name="moons")
    ask(session, "train", epochs=3)
    ask(session, "configure", notation="L-h", digits=6, learning_rate=0.03)
    ask(session, "select", sample=7)
    state = ask(session, "share")["state"]
    other = Session()
    frame = ask(other, "restore", state=state)
    assert np.array_equal(other.network.parameters, session.network.parameters)
    expected = ask(session, "look")
    for part in ("layers", "weights", "sample", "settings"):
        assert frame[part] == expected[part]
    assert frame["data"]["name"] == "moons"


def test_what_can_be_built_can_be_shared(session: Session) -> None:
    """A link to a network of 16 layers was given, and refused when it was opened."""
    ask(session, "build", hidden_sizes=[2] * 15)
    state = ask(session, "share")["state"]
    assert ask(Session(), "restore", state=state)["network"]["sizes"] == [2] * 16 + [1]


def test_it_is_said_why_there_is_no_link() -> None:
    X = [[1.0] * 2]
    deep = Session(cr.Network([2] * 18, seed=0), X, X)
    assert ask(deep, "share")["why_not"] == "A link holds networks of at most 16 layers."
    wide = Session(cr.Network([2, 200, 2], seed=0), X, X)
    assert ask(wide, "share")["why_not"] == "A link holds networks of at most 600 parameters."
    many = Session(cr.Network([2, 2], seed=0), X * 200, X * 200)
    assert "samples of at most 600 numbers" in ask(many, "share")["why_not"]
    dropped = Session(cr.Network([2, 2, 2], dropout=0.5, seed=0), X, X)
    assert ask(dropped, "share")["why_not"] == "A link cannot hold a network with dropout."


def test_python_code_makes_the_same_network(lesson: Any) -> None:
    session = lesson[3]
    code = ask(session, "share")["python"]
    names: dict[str, Any] = {"print": lambda *_: None}
    head = code.partition("print(")[0]
    exec(head, names)
    assert np.array_equal(names["net"].parameters, session.network.parameters)
    assert np.array_equal(names["X"], lesson[1])


@pytest.mark.parametrize("state", ["", "x", "AAAA", "eJwDAAAAAAE", "eJyrrgUAAXUA-Q"])
def test_other_states_are_refused(session: Session, state: str) -> None:
    assert "This is not a link of the explorer: " in refused(
        session, {"kind": "restore", "state": state}
    )


def test_whatever_follows_a_state_is_not_ignored(session: Session) -> None:
    """Each of these was read as if it were not there."""
    from chainrule.explorer import share

    good = share.unpack(ask(session, "share")["state"])
    states = [share.pack({**good, "at": at}) for at in range(50)]
    state = next(text for text in states if len(text) % 4 in (2, 3))
    packed = base64.urlsafe_b64decode(state + "=" * (-len(state) % 4))
    text = json.dumps(good)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    odd = letters[letters.index(state[-1]) + 1]  # differs in bits that carry nothing
    for bad, words in (
        (state[:-1] + odd, "last letter"),
        (f"{state[:9]}!{state[9:]}", "Only base64 data is allowed"),
        (text_of(packed + b"x"), "it goes on after its end"),
        (text_of(packed[:-1]), "it is too long or incomplete"),
        (text_of(zlib.compress(f'{text[:-1]}, "at": 1}}'.encode())), "has the key 'at' twice"),
        (text_of(zlib.compress(text.replace('"l2"', '"seed"').encode())), "the key 'seed' twice"),
        (share.pack({**good, "more": 1}), "it has the unknown key 'more'"),
        (share.pack({**good, "X": [[0, 0]]}), "it has the unknown key 'X'"),
        (share.pack({**good, "net": {**good["net"], "W": []}}), "it has the unknown key 'W'"),
        (share.pack({**good, "set": None}), "its settings are not an object"),
        (share.pack({**good, "net": None}), "its network is not an object"),
        (share.pack({key: good[key] for key in good if key != "set"}), "it lacks 'set'"),
        (share.pack({**good, "v": 0}), "has no version"),
    ):
        message = refused(session, {"kind": "restore", "state": bad})
        assert message.startswith("This is not a link of the explorer: ")
        assert message.endswith(". Copy the whole link, or share it again.")
        assert words in message
    newer = refused(session, {"kind": "restore", "state": share.pack({**good, "v": 2})})
    assert newer.startswith("A newer explorer wrote this link, in format 2; ")
    assert newer.endswith("Update chainrule.")
    assert ask(session, "restore", state=state)["kind"] == "frame"


def text_of(packed: bytes) -> str:
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


@settings(max_examples=60)
@given(data=st.data())
def test_a_changed_state_is_taken_or_refused(data: st.DataObject) -> None:
    from chainrule.explorer import share

    session = Session()
    state = share.unpack(session.handle({"kind": "share"})["state"])
    odd = st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=5), st.just([]),
                    st.just({}), st.lists(st.integers(), max_size=4))  # fmt: skip
    where = data.draw(st.sampled_from(["v", "net", "set", "at", "data", "sizes", "hidden", "p",
                                       "output", "loss", "dtype", "seed", "l2"]))  # fmt: skip
    inner = state if where in state else state["net"]
    inner[where] = data.draw(odd)
    reply = session.handle({"kind": "restore", "state": share.pack(state)})
    assert reply["kind"] in ("frame", "error")
    assert session.handle({"kind": "look"})["kind"] == "frame"
