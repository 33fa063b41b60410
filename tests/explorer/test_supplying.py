"""What a session makes of its data: derived inputs, samples held out, outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.explorer import share, snapshot
from chainrule.explorer.session import Session
from chainrule.teach import datasets, inputs
from tests.explorer.asked import ask, refused, session  # noqa: F401

ALL = ["u**2", "v**2", "u*v", "sin(u)", "sin(v)"]


def restored(session: Session) -> Session:
    """A session that opened the link of another."""
    other = Session()
    ask(other, "restore", state=ask(session, "share")["state"])
    return other


# --- derived inputs -----------------------------------------------------------------------------


def test_derived_inputs_are_what_they_say(session: Session) -> None:
    frame = ask(session, "inputs", derived=ALL[::-1])
    assert frame["network"]["sizes"] == [7, 4, 2, 1]
    assert frame["data"]["derived"] == ALL  # always in the same order
    u, v = session.data.X[:, 0], session.data.X[:, 1]
    expected = np.stack([u, v, u * u, v * v, u * v, np.sin(u), np.sin(v)], axis=1)
    np.testing.assert_allclose(session.data.X, expected, rtol=1e-15)
    assert frame["sample"]["x"] == session.data.X[session.sample].tolist()
    back = ask(session, "inputs", derived=[])
    assert back["network"]["sizes"] == [2, 4, 2, 1]
    assert np.array_equal(session.data.X, datasets.make("circles").X)


@pytest.mark.parametrize(
    ("notation", "formulas", "words"),
    [
        ("default", ["(x₀)²", "x₀ x₁"], "the product of inputs 0 and 1"),
        ("L-h", ["(h₁⁰)²", "h₁⁰ h₂⁰"], "the product of inputs 1 and 2"),
    ],
)
def test_they_are_said_in_the_notation(
    session: Session, notation: str, formulas: list[str], words: str
) -> None:
    ask(session, "configure", notation=notation)
    frame = ask(session, "inputs", derived=["u**2", "u*v"])
    assert frame["data"]["formulas"] == ["", "", *formulas]
    why = ask(session, "explain", target="w[1][0,3]")
    assert words in why["words"]
    (names,) = (s for s in why["sections"] if s["title"] == "The names")
    x = session.data.X[session.sample]
    assert f"= {formulas[1]} = {x[3]:.4g}".replace("-", "−") in names["equations"][-1]["text"]
    first = ask(session, "steps")["steps"][0]
    assert [formulas[i] in e["text"] for i, e in enumerate(first["equations"])] == [True, True]


def test_they_follow_an_edited_input_and_cannot_be_edited(session: Session) -> None:
    ask(session, "inputs", derived=["u**2", "sin(v)"])
    frame = ask(session, "edit", target="x[0]", value=1.5)
    assert frame["sample"]["x"][2] == 2.25
    assert refused(session, {"kind": "edit", "target": "x[3]", "value": 1}) == (
        "x[3] is the sine of input 1. Set x[0] or x[1] instead."
    )


def test_the_surface_is_over_the_two_inputs_of_the_data(session: Session) -> None:
    ask(session, "inputs", derived=["u**2", "v**2"])
    ask(session, "build", hidden_sizes=[])
    ask(session, "train", steps=300, seconds=5)
    found = ask(session, "results")
    assert found["type"] == "surface"
    assert found["points"][0] == [*session.data.X[0, :2], session.data.y[0, 0]]
    x0, x1, y0, y1 = found["box"]
    side = len(found["grid"])
    u, v = x0 + 0.5 / side * (x1 - x0), y1 - 0.5 / side * (y1 - y0)
    at_corner = session.network.forward([[u, v, u * u, v * v]]).a[-1][0, 0]
    assert found["grid"][0][0] == pytest.approx(at_corner, abs=6e-4)
    assert found["accuracy"] == 1.0  # two circles are a straight line in x₀² and x₁²


def test_undo_a_link_and_a_snapshot_keep_them(session: Session) -> None:
    ask(session, "inputs", derived=["u*v"])
    ask(session, "train", steps=5)
    other = restored(session)
    assert other.data.derived == ("u*v",)
    assert np.array_equal(other.data.X, session.data.X)
    assert np.array_equal(other.network.parameters, session.network.parameters)
    moved = snapshot.unpack(snapshot.pack(session))
    assert ask(moved, "look")["data"]["formulas"] == ["", "", "x₀ x₁"]
    ask(session, "undo")
    assert ask(session, "undo")["data"]["derived"] == []
    assert ask(session, "redo")["network"]["sizes"] == [3, 4, 2, 1]
    assert "# Input 2 is the product of inputs 0 and 1." in ask(session, "share")["python"]


def test_other_data_keep_them_where_they_can(session: Session) -> None:
    ask(session, "inputs", derived=["u**2"])
    assert ask(session, "data", name="moons", noise=0.2, seed=3)["data"]["derived"] == ["u**2"]
    three = ask(session, "upload", text="1,2,3,no\n2,3,4,yes\n")
    assert three["data"]["derived"] == []
    why = "Inputs are derived from data with two inputs; these have 3."
    assert three["data"]["why_not_derived"] == why
    assert three["choices"]["derived"] == []
    assert refused(session, {"kind": "inputs", "derived": ["u*v"]}) == why
    huge = Session(cr.Network([2, 1], seed=0), [[1e200, 1.0], [1.0, 2.0]], [0.0, 1.0])
    words = "A derived input is not finite: the inputs are too large. Scale them."
    assert refused(huge, {"kind": "inputs", "derived": ["u**2"]}) == words


def test_the_functions_and_layers_stay(session: Session) -> None:
    ask(session, "build", hidden_sizes=[3], hidden=["step"], output="tanh", loss="squared_error")
    network = ask(session, "inputs", derived=["u*v"])["network"]
    assert (network["sizes"], network["loss"]) == ([3, 3, 1], "squared_error")
    assert network["activations"] == ["step", "tanh"]


def test_expand_nothing() -> None:
    X = np.ones((3, 5))
    assert inputs.expand(X, ()) is X


# --- samples held out ---------------------------------------------------------------------------


def test_a_share_is_held_out(session: Session) -> None:
    every = np.concatenate([session.data.X, session.data.X_val])
    before = session.network.parameters.copy()
    for part in (0.5, 0.1, 0.9, 0.0):
        frame = ask(session, "split", share=part)
        assert (frame["data"]["train"], frame["data"]["validation"]) == (
            200 - round(200 * part), round(200 * part),
        )  # fmt: skip
        assert frame["data"]["share"] == pytest.approx(part)
        now = np.concatenate([session.data.X, session.data.X_val])
        assert sorted(map(tuple, now)) == sorted(map(tuple, every))
        assert (frame["training"]["val_loss"] is None) == (part == 0)
    assert np.array_equal(session.data.X, every)  # in the order in which they came
    assert np.array_equal(session.network.parameters, before)


def test_a_larger_share_holds_out_the_same_and_more() -> None:
    d = datasets.make("xor")
    held = [{tuple(x) for x in datasets.hold_out(d, s).X_val} for s in (0.1, 0.3, 0.6)]
    assert held[0] < held[1] < held[2]
    few = datasets.hold_out(datasets.make("xor table"), 0.9)
    assert (len(few.X), len(few.X_val)) == (1, 3)
    with pytest.raises(ValueError, match=r"share is 0\.95; expected 0 to 0\.9"):
        datasets.hold_out(d, 0.95)


def test_training_does_not_see_them(session: Session) -> None:
    ask(session, "split", share=0.5)
    twin = cr.Network([2, 4, 2, 1], hidden="tanh", output="sigmoid", loss="binary_cross_entropy",
                      seed=0)  # fmt: skip
    twin.fit(session.data.X, session.data.y, epochs=2, batch_size=32, verbose=0,
             optimizer=cr.GradientDescent(0.5))  # fmt: skip
    frame = ask(session, "train", epochs=2, seconds=5)
    np.testing.assert_allclose(session.network.parameters, twin.parameters, rtol=1e-9)
    loss = twin.loss_value(session.data.X_val, session.data.y_val)
    assert frame["training"]["val_loss"] == pytest.approx(loss, rel=1e-9)


def test_the_current_sample_stays_if_it_can() -> None:
    X = np.arange(10.0)[:, None]
    session = Session(cr.Network([1, 1], seed=0), X, X)
    kept = datasets.hold_out(session.data, 0.5).X[:, 0].tolist()
    at = int(kept[-1])
    ask(session, "select", sample=at)
    assert ask(session, "split", share=0.5)["sample"]["x"] == [float(at)]
    assert ask(session, "split", share=0)["sample"]["index"] == at


def test_the_share_is_shared_undone_and_kept(session: Session) -> None:
    ask(session, "split", share=0.4)
    other = restored(session)
    assert np.array_equal(other.data.X_val, session.data.X_val)
    assert snapshot.unpack(snapshot.pack(session)).data.held == 0.4
    assert ask(session, "data", name="moons")["data"]["validation"] == 80
    ask(session, "undo")
    assert ask(session, "undo")["data"]["validation"] == 40
    own = Session(cr.Network([1, 1], seed=0), np.arange(10.0)[:, None], np.arange(10.0))
    ask(own, "split", share=0.3)
    ask(own, "edit", target="x[0]", value=7.5)
    there = restored(own)
    for name in ("X", "y", "X_val", "y_val"):
        assert np.array_equal(getattr(there.data, name), getattr(own.data, name))
    one = Session(cr.Network([1, 1], seed=0), [[1.0]], [[2.0]])
    words = "There is one sample; expected at least 2 to hold one out"
    assert refused(one, {"kind": "split", "share": 0.5}) == words


def test_drawn_samples_are_in_a_link(session: Session) -> None:
    """A link held only the current one of samples with another noise."""
    frame = ask(session, "data", name="moons", noise=0.3, seed=4)
    assert (frame["data"]["noise"], frame["data"]["seed"]) == (0.3, 4)
    other = restored(session)
    assert np.array_equal(other.data.X, session.data.X)
    assert ask(other, "look")["data"]["noise"] == 0.3


@pytest.mark.parametrize(
    "shape", [None, [], {}, {"derived": ["w"]}, {"held": 2}, {"outputs": 0}, {"noise": "x"}]
)
def test_a_link_with_an_impossible_shape_is_refused(session: Session, shape: Any) -> None:
    ask(session, "split", share=0.4)
    state = share.unpack(ask(session, "share")["state"])
    given = {**state["shape"], **shape} if isinstance(shape, dict) and shape else shape
    message = refused(session, {"kind": "restore", "state": share.pack({**state, "shape": given})})
    assert message.startswith("This is not a link of the explorer: ")


# --- outputs ------------------------------------------------------------------------------------


def test_two_classes_have_one_output_or_two(session: Session) -> None:
    y = session.data.y.copy()
    frame = ask(session, "outputs", units=2)
    assert (frame["network"]["sizes"], frame["network"]["loss"]) == ([2, 4, 2, 2], "cross_entropy")
    assert frame["network"]["activations"][-1] == "softmax"
    assert np.array_equal(session.data.y, np.hstack([1 - y, y]))
    assert ask(session, "results")["type"] == "surface"
    assert restored(session).data.y.shape == (160, 2)
    one = ask(session, "outputs", units=1)
    assert np.array_equal(session.data.y, y)
    assert one["network"]["activations"][-1] == "sigmoid"
    assert ask(session, "undo")["network"]["sizes"][-1] == 2
    words = "units is 3; expected 1 to 2 outputs for these data"
    assert refused(session, {"kind": "outputs", "units": 3}) == words


def test_it_is_said_why_there_are_no_other_outputs(session: Session) -> None:
    text = "\n".join(f"{i},{'abc'[i % 3]}" for i in range(9))
    frame = ask(session, "upload", text=text)
    why = "One output stands for each of the 3 classes."
    assert frame["data"]["outputs"] == {"least": 3, "most": 3, "why": why}
    assert refused(session, {"kind": "outputs", "units": 2}) == f"units is 2; {why}"
    plane = ask(session, "data", name="plane")["data"]["outputs"]
    assert plane["why"] == "A target of these data is one number, and each has an output."


def test_the_last_columns_of_a_file_are_targets(session: Session) -> None:
    rows = [[0.5 * i, i * i / 4, 7.5 - i, i / 3] for i in range(8)]
    text = "a,b,c,d\n" + "\n".join(",".join(map(str, row)) for row in rows)
    frame = ask(session, "upload", text=text, name="four.csv")
    assert frame["data"]["outputs"] == {"least": 1, "most": 3, "why": ""}
    two = ask(session, "outputs", units=2)
    assert two["network"]["sizes"] == [2, 4, 2, 2]
    assert two["data"]["columns"] == ["a", "b"]
    np.testing.assert_allclose(session.data.y, np.array(rows)[:, 2:])
    assert ask(session, "outputs", units=1)["network"]["sizes"][0] == 3
    word = ask(session, "undo")
    assert word["network"]["sizes"][-1] == 2
