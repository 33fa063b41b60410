"""The explorer's session: every message, its numbers against the library's, and bad messages."""

from __future__ import annotations

import base64
import json
import math
import re
import subprocess
import sys
import warnings
import zlib
from typing import Any

import hypothesis.strategies as st
import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings

import chainrule as cr
from chainrule.explain.scribe import Scribe, notation
from chainrule.explorer import protocol, uploads
from chainrule.explorer.session import Session
from chainrule.teach import datasets
from chainrule.training import fit

SCHEMAS = protocol.schema()


def ask(session: Session, kind: str, **fields: Any) -> dict[str, Any]:
    """The answer, which must be as its schema says and plain JSON."""
    reply = session.handle({"kind": kind, **fields})
    assert reply["kind"] != "error", reply
    text = json.dumps(reply, allow_nan=False)
    jsonschema.validate(json.loads(text), SCHEMAS[kind]["reply"])
    return reply


def refused(session: Session, message: object) -> str:
    """What an error says; the session is as it was."""
    before = session.handle({"kind": "look"})
    reply = session.handle(message)
    assert reply["kind"] == "error"
    assert session.handle({"kind": "look"}) == before
    return str(reply["message"])


@pytest.fixture
def session() -> Session:
    return Session()


@pytest.fixture
def lesson() -> tuple[cr.Network, list[list[float]], list[int], Session]:
    """A network with three samples, and a session on them."""
    net = cr.Network([2, 3, 3, 2], hidden="tanh", output="softmax", loss="cross_entropy", seed=3)
    X, y = [[0.5, -1.0], [1.5, 0.3], [-0.7, 0.8]], [0, 1, 0]
    return net, X, y, Session(net, X, y)


# --- numbers are the library's ------------------------------------------------------------------


def test_a_frame_has_the_numbers_of_the_library(lesson: Any) -> None:
    net, X, y, session = lesson
    frame = ask(session, "look")
    g = net.gradient(X[:1], y[:1])
    for l in (1, 2, 3):
        layer, weights = frame["layers"][l], frame["weights"][l - 1]
        assert layer["a"] == pytest.approx(g.forward.a[l][0], rel=1e-8)
        assert layer["z"] == pytest.approx(g.forward.z[l][0], rel=1e-8)
        assert layer["delta"] == pytest.approx(g.delta[l][0], rel=1e-8)
        assert np.array(weights["w"]) == pytest.approx(net.layers[l].W, rel=1e-8)
        assert np.array(weights["dw"]) == pytest.approx(g.dW[l], rel=1e-8)
        assert layer["db"] == pytest.approx(g.db[l], rel=1e-8)
    assert frame["layers"][1]["dC_da"] == pytest.approx(g.delta[2][0] @ net.layers[2].W, rel=1e-8)
    assert frame["sample"]["loss"] == pytest.approx(net.loss_value(X[:1], y[:1]))
    assert frame["training"]["loss"] == pytest.approx(net.loss_value(X, y))


@pytest.mark.parametrize(
    "target", ["w[1][2,0]", "b[2][1]", "w[3][0,1]", "x[1]", "a[1][0]", "z[2][2]"]
)
@pytest.mark.parametrize("scope", ["sample", "all"])
def test_what_opens_is_the_explanation(lesson: Any, target: str, scope: str) -> None:
    net, X, y, session = lesson
    ask(session, "select", sample=1)
    ask(session, "configure", scope=scope, digits=6, learning_rate=0.3)
    reply = ask(session, "explain", target=target)
    rows, focus = (slice(1, 2), 0) if scope == "sample" else (slice(None), 1)
    why = net.explain(target, X[rows], y[rows], focus=focus, learning_rate=0.3)
    assert reply["value"] == why.value
    assert [s["title"] for s in reply["sections"]] == [s.title for s in why.sections()]
    whole = why.to_dict()
    for section, expected in zip(reply["sections"], whole["sections"], strict=True):
        assert [e["text"] for e in section["equations"]] == [
            e["text"] for e in expected["equations"]
        ]
        for e, known in zip(section["equations"], expected["equations"], strict=True):
            assert known["mathml"] in e["mathml"]
    if scope == "all":
        products = [row[-1] for row in reply["samples"]]
        assert products == pytest.approx(why.products)
    assert ask(session, "latex", target=target)["latex"] == why.latex()
    proof = ask(session, "prove", target=target)["certificate"]
    assert proof["verdict"] == "pass"
    assert proof["analytic"] == why.value


def test_contributions_open_down_to_the_loss(lesson: Any) -> None:
    net, X, y, session = lesson
    why = net.explain("w[1][2,0]", X[:1], y[:1])
    first = ask(session, "explain", target="w[1][2,0]")["sections"][1]["contributions"]
    parts = why.terms[0].contributions
    assert parts is not None
    assert sum(p["value"] for p in first["largest"]) == pytest.approx(why.terms[0].value)
    terms = ask(session, "open", target="w[1][2,0]", units=[1])["terms"]
    inner = parts[1].terms[0].contributions
    assert inner is not None
    assert [p["value"] for p in terms[0]["contributions"]["largest"]] == pytest.approx(
        [p.value for p in inner.largest(8)[0]]
    )
    assert ask(session, "open", target="w[1][2,0]", units=[1, 0])["terms"]
    assert "nothing opens below 3 units" in refused(
        session, {"kind": "open", "target": "w[1][2,0]", "units": [1, 0, 0, 0]}
    )
    assert "expected units 0 to 2, got 9" in refused(
        session, {"kind": "open", "target": "w[1][2,0]", "units": [9]}
    )


def test_the_update_is_the_one_that_is_explained(lesson: Any) -> None:
    net, X, y, session = lesson
    ask(session, "configure", scope="all", learning_rate=0.2)
    ask(session, "update")
    g = net.gradient(X, y)
    for l in (1, 2, 3):
        moved, old = session.network.layers[l], net.layers[l]
        np.testing.assert_allclose(moved.W, old.W - 0.2 * g.dW[l], rtol=1e-14)
        np.testing.assert_allclose(moved.b, old.b - 0.2 * g.db[l], rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize("name", ["gradient descent", "momentum", "adam"])
def test_training_in_pieces_is_that_of_fit(name: str) -> None:
    """Steps, epochs and pieces of any length come to the same weights as one call of fit."""
    session = Session()
    ask(session, "configure", optimizer=name, learning_rate=0.05, batch_size=7)
    twin: Any = session.network.copy()
    data = session._data
    rule = {
        "adam": cr.Adam(learning_rate=0.05),
        "momentum": cr.GradientDescent(0.05, momentum=0.9),
        "gradient descent": cr.GradientDescent(0.05),
    }[name]
    fit(twin, data.X, data.y, optimizer=rule, epochs=3, batch_size=7, verbose=0)
    steps = 3 * math.ceil(160 / 7)
    ask(session, "train", steps=5)
    ask(session, "train", epochs=1, again=True)
    ask(session, "train", steps=steps - 5 - 23, again=True)
    assert session.step == steps
    assert session.network.parameters == pytest.approx(twin.parameters, rel=1e-9, abs=1e-12)


def test_every_step_is_in_words_and_numbers(lesson: Any) -> None:
    net, X, y, session = lesson
    steps = ask(session, "steps")["steps"]
    assert [s["phase"] for s in steps] == [
        "input", *["forward"] * 3, "loss", *["backward", "gradient"] * 3, "update",
    ]  # fmt: skip
    g = net.gradient(X[:1], y[:1])
    texts = " ".join(e["text"] for s in steps for e in s["equations"])
    for value in (g.forward.z[1][0, 2], g.forward.a[2][0, 1], g.delta[1][0, 1], g.dW[2][0, 0]):
        assert f"{value:.4g}".replace("-", "−") in texts
    assert all(s["words"] and s["title"] for s in steps)


def test_steps_say_only_what_happens() -> None:
    """Without biases each unit "adds its bias", and of 4 units backward left out "4 more" of 2."""
    net = cr.Network([3, 6, 4], hidden="tanh", biases=False, seed=0)
    steps = ask(Session(net, [[1, 2, 3]], [[0, 1, 0, 1]]), "steps")["steps"]
    words = {s["title"]: s["words"] for s in steps}
    assert "adds them and applies tanh. The other 2 units do the same." in words["Forward: layer 1"]
    assert words["Backward: layer 1"].endswith(" The other 4 units do the same.")
    assert "other" not in words["Backward: layer 2"]
    net = cr.Network([3, 5, 1], hidden="tanh", seed=0)
    steps = ask(Session(net, [[1, 2, 3]], [0]), "steps")["steps"]
    words = {s["title"]: s["words"] for s in steps}
    assert "adds them and its bias, and applies tanh. The other unit" in words["Forward: layer 1"]


# --- changes, undo, redo ------------------------------------------------------------------------


def test_edits_count_and_can_be_taken_back(session: Session) -> None:
    before = ask(session, "look")
    ask(session, "edit", target="w[1][0,1]", value=0.5)
    assert session.network.layers[1].W[0, 1] == 0.5
    ask(session, "edit", target="b[2][1]", value=-2)
    ask(session, "edit", target="x[0]", value=3.0)
    frame = ask(session, "edit", target="y[0]", value=0.0)
    assert (frame["sample"]["x"][0], frame["sample"]["y"]) == (3.0, [0.0])
    assert frame["undo"] == "set y[0]"
    for _ in range(4):
        frame = ask(session, "undo")
    for part in ("layers", "weights", "sample"):
        assert frame[part] == before[part]
    assert refused(session, {"kind": "undo"}) == "There is nothing to undo"
    for _ in range(4):
        frame = ask(session, "redo")
    assert frame["sample"]["y"] == [0.0]
    assert session.network.layers[2].b is not None
    assert session.network.layers[2].b[1] == -2
    assert refused(session, {"kind": "redo"}) == "There is nothing to redo"


@pytest.mark.parametrize(
    ("notation", "units", "marks"),
    [
        ("default", [3, 3, 2], ["", "(1)", "(2)"]),
        ("C-a-L", [3, 3, 2], ["(L-2)", "(L-1)", "(L)"]),
        ("L-h", [3, 3, 2], ["0", "1", "2"]),
        ("L-h", [1, 1, 1], ["0", "1", "2"]),
    ],
)
def test_the_drawing_names_layers_as_the_formulas_do(
    notation: str, units: list[int], marks: list[str]
) -> None:
    net = cr.Network(units, hidden="tanh", output="tanh", loss="half_squared_error", seed=0)
    session = Session(net, [[0.5] * units[0]], [[0.1] * units[-1]])
    frame = ask(session, "configure", notation=notation)["settings"]
    assert frame["layers"] == marks
    text = net.explain("w[1][0,0]", [[0.5] * units[0]], [[0.1] * units[-1]], notation=notation)
    first, letters = frame["first_index"], frame["letters"]
    down, up = ("0123456789L-()", "₀₁₂₃₄₅₆₇₈₉L-()"), ("0123456789L-()", "⁰¹²³⁴⁵⁶⁷⁸⁹ᴸ⁻⁽⁾")
    assert frame["bare"] == (notation == "L-h" and units[0] == 1)
    for letter, layer in ((letters["x"], 0), (letters["a"], 1)):
        below = marks[layer] if frame["bare"] else str(first)
        above = "" if frame["bare"] else marks[layer]
        name = letter + below.translate(str.maketrans(*down)) + above.translate(str.maketrans(*up))
        assert name in str(text)


def test_undo_leaves_the_notation_alone(session: Session) -> None:
    ask(session, "configure", learning_rate=0.3)
    ask(session, "configure", notation="L-h", digits=6, scope="all")
    frame = ask(session, "undo")
    settings_ = frame["settings"]
    assert (settings_["notation"], settings_["digits"], settings_["scope"]) == ("L-h", 6, "all")
    assert settings_["learning_rate"] != 0.3


def test_training_is_undone_as_a_whole_and_looked_at_again(session: Session) -> None:
    first = session.network.parameters.copy()
    ask(session, "train", steps=3)
    for _ in range(4):
        frame = ask(session, "train", steps=2, again=True)
    assert frame["training"]["step"] == 11
    last = session.network.parameters.copy()
    assert frame["training"]["records"] == [0, 3, 5, 7, 9, 11]
    frame = ask(session, "seek", record=0)
    assert (frame["training"]["step"], frame["training"]["record"]) == (0, 0)
    assert np.array_equal(session.network.parameters, first)
    ask(session, "seek", record=5)
    assert np.array_equal(session.network.parameters, last)
    ask(session, "seek", record=2)
    frame = ask(session, "train", steps=1)
    assert frame["training"]["records"] == [0, 3, 5, 6]
    ask(session, "undo")
    ask(session, "undo")
    assert np.array_equal(session.network.parameters, first)
    assert "record is 7; expected 0 to 0" in refused(session, {"kind": "seek", "record": 7})


def test_long_runs_are_thinned(session: Session) -> None:
    for i in range(500):
        session.handle({"kind": "train", "steps": 1, "again": i > 0})
    training = ask(session, "look")["training"]
    assert len(training["records"]) <= 201
    assert len(training["curve"]) <= 400
    assert training["records"][-1] == 500


def test_a_run_that_diverges_says_so_and_keeps_the_weights(session: Session) -> None:
    ask(session, "data", name="plane")
    ask(session, "configure", learning_rate=1000)
    frame = ask(session, "train", epochs=50)
    assert "no longer finite" in frame["training"]["message"]
    assert np.isfinite(session.network.parameters).all()


def test_the_example_learns_before_a_person_gives_up(session: Session) -> None:
    assert float(ask(session, "look")["training"]["metric"].rstrip("%")) < 60
    frame = ask(session, "train", steps=200)
    assert float(frame["training"]["metric"].rstrip("%")) >= 75
    frame = ask(session, "train", steps=200)
    assert float(frame["training"]["metric"].rstrip("%")) >= 95


@pytest.mark.parametrize("name", datasets.names())
def test_every_data_set_is_drawn_and_learnt(name: str) -> None:
    session = Session()
    frame = ask(session, "data", name=name)
    assert frame["data"]["name"] == name
    first = frame["training"]["loss"]
    ask(session, "configure", optimizer="adam", learning_rate=0.02)
    frame = ask(session, "train", epochs=30)
    assert frame["training"]["loss"] < first
    found = ask(session, "results")
    assert found["type"] == frame["data"]["kind"] != "none"


def test_layers_functions_and_losses_change(session: Session) -> None:
    kept = session.network.parameters.copy()
    ask(session, "build", hidden=["relu", "sigmoid"])
    assert np.array_equal(session.network.parameters, kept)
    frame = ask(session, "build", hidden_sizes=[5, 3, 2])
    assert frame["network"]["sizes"] == [2, 5, 3, 2, 1]
    assert frame["network"]["activations"] == ["relu", "sigmoid", "sigmoid", "sigmoid"]
    frame = ask(session, "build", loss="half_squared_error", output="tanh")
    assert frame["network"]["loss"] == "half_squared_error"
    frame = ask(session, "build", loss="binary_cross_entropy")  # the output follows
    assert frame["network"]["activations"][-1] == "sigmoid"
    frame = ask(session, "build", hidden_sizes=[])
    assert frame["network"]["sizes"] == [2, 1]
    assert "expected 1 to 1024 units each" in refused(
        session, {"kind": "build", "hidden_sizes": [2000]}
    )
    assert "hidden_sizes is [0]; expected 1 to" in refused(
        session, {"kind": "build", "hidden_sizes": [0]}
    )
    assert "parameters; expected at most 1,000,000. Choose smaller" in refused(
        session, {"kind": "build", "hidden_sizes": [1024, 1024]}
    )
    assert "unknown" in refused(session, {"kind": "build", "hidden_sizes": [3], "hidden": ["no"]})


def test_a_new_layer_keeps_custom_functions_and_dropout() -> None:
    """The custom activation was refused as unknown, and dropout was lost."""

    class Bent(cr.Activation):
        name = "bent"
        formula = "z/(1 + abs(z))"
        derivative_formula = "1/(1 + abs(z))**2"

        def value(self, z: Any) -> Any:
            return z / (1 + np.abs(z))

        def derivative(self, z: Any, a: Any) -> Any:
            return 1 / (1 + np.abs(z)) ** 2

    net = cr.Network([2, 3, 1], hidden=Bent(), dropout=0.25, seed=0)
    session = Session(net, [[0.5, -1.0], [1.0, 0.3]], [[0.0], [1.0]])
    frame = ask(session, "build", hidden_sizes=[3, 4])
    assert frame["network"]["activations"] == ["bent", "bent", "identity"]
    assert frame["choices"]["activations"][-1] == "bent"
    assert [layer.dropout for layer in session.network.layers] == [0, 0.25, 0, 0]
    reply = ask(session, "share")
    assert reply["why_not"] == "A link cannot hold the custom function 'bent'."
    assert "# 'bent' is a custom function" in reply["python"]
    assert "dropout=[0.25, 0.0]" in reply["python"]
    frame = ask(session, "upload", text="1,2,3,no\n2,3,4,yes\n")
    assert frame["network"]["activations"] == ["bent", "bent", "sigmoid"]


def test_the_page_is_told_its_limits(session: Session) -> None:
    limits = ask(session, "look")["limits"]
    least = [{"kind": "build", "hidden_sizes": [limits["units"] + 1]},
             {"kind": "train", "steps": limits["steps"] + 1},
             {"kind": "upload", "text": "1" * (limits["file"] + 1)},
             {"kind": "upload", "text": "1,2", "name": "n" * (limits["name"] + 1)}]  # fmt: skip
    for message in least:
        assert "; expected" in refused(session, message)


def test_the_mean_has_the_samples_that_the_page_counts() -> None:
    """Of 600 samples the last 88 were called 512."""
    net = cr.Network([1, 1], seed=0)
    X = np.arange(600.0)[:, None] / 600
    session = Session(net, X, X)
    ask(session, "configure", scope="all")
    for sample, count in ((0, 512), (511, 512), (512, 88), (599, 88)):
        assert ask(session, "select", sample=sample)["sample"]["block"] == count
        assert ask(session, "explain", target="w[1][0,0]")["n_samples"] == count


# --- wide layers --------------------------------------------------------------------------------


def test_of_wide_layers_the_units_that_matter_are_drawn() -> None:
    rng = np.random.default_rng(0)
    net = cr.Network([784, 128, 10], hidden="relu", output="softmax", loss="cross_entropy",
                     dtype="float32", seed=0)  # fmt: skip
    X, y = rng.uniform(size=(30, 784)), rng.integers(10, size=30)
    session = Session(net, X, y)
    frame = ask(session, "look")
    assert [len(layer["shown"]) for layer in frame["layers"]] == [8, 8, 10]
    assert [len(layer["a"]) for layer in frame["layers"]] == [784, 128, 10]
    assert frame["sample"]["width"] == 28
    g = net.gradient(X[:1], y[:1])
    share = np.abs(g.forward.a[1][0] * (g.delta[2][0] @ net.layers[2].W.astype(float)))
    assert set(frame["layers"][1]["shown"]) == set(np.argsort(-share)[:8].tolist())
    frame = ask(session, "show", layer=1, unit=100)
    assert 100 in frame["layers"][1]["shown"]
    ask(session, "train", steps=1)
    assert 100 in ask(session, "look")["layers"][1]["shown"]  # they stay, for the eye
    reply = ask(session, "explain", target="w[1][100,400]")
    assert reply["value"] == float(session.network.gradient(X[:1], y[:1]).dW[1][100, 400])


# --- health -------------------------------------------------------------------------------------


def test_dead_and_saturated_units_are_found_and_the_factor_named() -> None:
    net = cr.Network([2, 3, 2, 1], hidden=["relu", "tanh"], output="sigmoid",
                     loss="binary_cross_entropy", seed=1)  # fmt: skip
    net.layers[1].b[1] = -100.0
    net.layers[2].b[0] = 40.0
    X = np.random.default_rng(0).normal(size=(30, 2))
    session = Session(net, X, (X[:, 0] > 0).astype(int))
    frame = ask(session, "look")
    assert frame["layers"][1]["marks"] == ["", "dead", ""]
    assert frame["layers"][2]["marks"] == ["saturated", ""]
    health = ask(session, "health")
    assert health["layers"][0]["marked"] == [[1, "dead"]]
    assert "Unit 1 is dead: z ≤ 0 on every sample checked" in health["layers"][0]["words"]
    assert "2 units that hardly learn" in health["words"]

    chain = cr.Network([1] * 8, hidden="sigmoid", output="sigmoid", loss="half_squared_error",
                       W=[[[0.5]]] * 7, seed=0)  # fmt: skip
    health = ask(Session(chain, [[1.0], [0.3]], [[1.0], [0.0]]), "health")
    assert "g′(z)" in health["layers"][0]["words"]
    share = health["layers"][0]["share"]
    assert share < 1e-4
    written = re.search(r"gradient is (\d)e(-\d+) of the largest", health["layers"][0]["words"])
    assert written is not None
    assert int(written[1]) * 10.0 ** int(written[2]) == pytest.approx(share, rel=0.5)


def test_health_counts_the_biases_as_well() -> None:
    """On (0, 0) no weight of layer 1 has a gradient, and nor does one that starts at a = 0."""
    W = [[[0.5, 0.2], [0.3, -0.4]], [[0.7, -0.6]]]
    net = cr.Network([2, 2, 1], hidden="tanh", output="sigmoid", loss="binary_cross_entropy",
                     W=W, b=[[0.0, 0.0], [0.0]], seed=0)  # fmt: skip
    X, y = [[0.0, 0.0]], [1.0]
    gradient = net.gradient(X, y)
    assert not gradient.dW[1].any()
    assert not gradient.dW[2].any()
    assert gradient.db[1].all()
    assert gradient.db[2].all()
    health = ask(Session(net, X, y), "health")
    said = [health["words"], *(layer["words"] for layer in health["layers"])]
    assert not re.search("Every gradient is 0|No gradient arrives|cannot learn", " ".join(said))
    assert "only biases have a gradient" in health["words"]
    for layer, inputs in zip(said[1:], ("layer 0", "layer 1"), strict=True):
        assert f"Its weights have no gradient: a of {inputs} is 0 on every sample" in layer
        assert "its biases have one" in layer


def test_health_of_a_network_that_fits_does_not_say_that_it_cannot_learn() -> None:
    net = cr.Network([1, 1], output="identity", loss="half_squared_error", W=[[[2.0]]], b=[[0.0]])
    health = ask(Session(net, [[1.0], [2.0]], [[2.0], [4.0]]), "health")
    assert health["words"] == (
        "Every gradient is 0, so gradient descent changes nothing: ∂C/∂z of the outputs is 0 on "
        "every sample."
    )
    line = ask(Session(net, [[1.0], [1.0]], [[1.0], [3.0]]), "health")  # 1 and -1 cancel
    assert line["words"].endswith("the samples cancel in the mean.")


def test_health_names_units_that_stay_identical() -> None:
    W = [[[0.3, -0.2]] * 3 + [[0.1, 0.4]], [[0.5, 0.5, 0.5, 0.1]]]
    net = cr.Network([2, 4, 1], hidden="tanh", output="sigmoid", loss="binary_cross_entropy",
                     W=W, b=[[0.1] * 3 + [0.0], [0.0]], seed=0)  # fmt: skip
    X, y = np.array([[0.5, -1.0], [1.5, 0.3], [-0.7, 0.8]]), np.array([0, 1, 0])
    health = ask(Session(net, X, y), "health")
    assert "every unit learns" not in health["words"]
    assert "3 identical units" in health["words"]
    assert "Units 0, 1, 2 are identical" in health["layers"][0]["words"]
    trained = net.copy()
    trained.fit(X, y, epochs=20)  # what is claimed: they stay so
    assert np.ptp(trained.layers[1].W[:3], axis=0).max() < 1e-12
    apart = net.copy()
    apart.layers[2].W[0, 1] = 0.4  # these weights alone pull the units apart
    health = ask(Session(apart, X, y), "health")
    assert "Units 0, 2 are identical" in health["layers"][0]["words"]


def test_a_share_is_a_fraction_while_that_can_be_read(lesson: Any) -> None:
    """The gradient of layer 1 is that of a network whose layer 2 is 500 times smaller."""
    net = cr.Network([1, 1, 1], hidden="identity", output="identity", loss="half_squared_error",
                     W=[[[1.0]], [[1 / 500]]], seed=0)  # fmt: skip
    layer = ask(Session(net, [[1.0]], [[1.0]]), "health")["layers"][0]
    assert "Its gradient is 1/500 of the largest" in layer["words"]


# --- uploads ------------------------------------------------------------------------------------


def test_csv_of_classes_words_and_numbers(session: Session) -> None:
    text = "width,height,kind\n" + "".join(f"{i},{i * i},{'ab'[i % 2]}\n" for i in range(30))
    frame = ask(session, "upload", text=text, name="mine.csv")
    assert frame["data"] == frame["data"] | {"name": "mine.csv", "train": 24, "validation": 6}
    assert frame["network"]["activations"][-1] == "sigmoid"
    frame = ask(session, "upload", text="1;2;3;0\n2;3;4;1\n3;4;5;2\n")
    assert frame["network"]["sizes"] == [3, 4, 2, 3]
    assert frame["network"]["loss"] == "cross_entropy"
    frame = ask(session, "upload", text="1\t0.5\n2\t1.5\n")
    assert frame["network"]["loss"] == "half_squared_error"


def wine() -> str:
    """The wine data, whose inputs go up to 1680, as a CSV file with names."""
    from sklearn.datasets import load_wine

    found = load_wine()
    rows = (
        f"{','.join(map(str, x))},{found.target_names[c]}"
        for x, c in zip(found.data.tolist(), found.target, strict=True)
    )
    return f"{','.join(found.feature_names)},kind\n" + "\n".join(rows)


def test_inputs_of_any_size_are_learnt(session: Session) -> None:
    frame = ask(session, "upload", text=wine(), name="wine.csv")
    assert frame["data"]["scaled"]
    X = session._data.X
    assert X.mean(axis=0) == pytest.approx(np.zeros(13), abs=1e-12)
    assert X.std(axis=0) == pytest.approx(np.ones(13), rel=1e-12)
    frame = ask(session, "train", steps=500)
    assert float(frame["training"]["metric"].rstrip("%")) > 85
    assert "# Scale each input to mean 0" in ask(session, "share")["python"]


def test_scaling_is_that_of_the_samples_for_training(session: Session) -> None:
    """All rows lie on a line, so that each scaled input is the same function of the first."""
    text = "".join(f"{i},{3e200 * i + 1e200},7,{i % 2}\n" for i in range(30))
    ask(session, "upload", text=text)
    data = session._data
    assert (data.X[:, 2] == 0).all()
    assert (data.X_val[:, 2] == 0).all()
    for part in (data.X, data.X_val):
        assert part[:, 1] == pytest.approx(part[:, 0], rel=1e-12, abs=1e-12)
    steps = np.sort(np.concatenate([data.X, data.X_val])[:, 0])
    assert np.diff(steps) == pytest.approx(np.full(29, np.diff(steps).mean()))
    assert data.X[:, 0].mean() == pytest.approx(0, abs=1e-14)
    values = 1e-300 * np.arange(30)
    values[np.random.default_rng(0).permutation(30)[-1]] = 1e300  # one of those for validation
    far = "".join(f"{v!r},{i % 2}\n" for i, v in enumerate(values.tolist()))
    assert "The numbers in column 1 are too far apart" in refused(
        session, {"kind": "upload", "text": far}
    )


def test_columns_and_classes_keep_their_names(session: Session) -> None:
    frame = ask(session, "upload", text=wine())
    assert frame["data"]["columns"][:2] == ["alcohol", "malic_acid"]
    assert len(frame["data"]["columns"]) == 13
    assert frame["data"]["labels"] == ["class_0", "class_1", "class_2"]
    true = int(np.argmax(session._data.y[0]))
    assert frame["sample"]["expected"] == f"class_{true}"
    assert frame["sample"]["predicted"].startswith("class_")
    frame = ask(session, "upload", text="1,no\n2,yes\n4,yes\n")
    assert (frame["data"]["columns"], frame["data"]["labels"]) == ([], ["no", "yes"])
    assert frame["sample"]["expected"] == "no"
    assert ask(session, "data", name="moons")["data"]["labels"] == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "The file is empty"),
        ("1\n2\n", "has 1 column; expected inputs and then a target"),
        ("1,2\n", "The file has 1 sample; expected at least 2"),
        ("1,2\n1,2,3\n", "Line 2 has 3 columns; expected 2, as in the first line"),
        ("1,2\n1\n", "Line 2 has 1 column; expected 2"),
        ("1,2\nx,2\n", "Line 2, column 1 is 'x'; expected a finite number"),
        ("1,2\n2,inf\n", "Line 2, last column is 'inf'; expected a finite number"),
        ("1,nan,0\n1,2,3\n", "has 1 sample;"),  # the first line is taken for names
        ("a,b\n", "has 0 samples;"),
        ("1,0\n2,0\n", "one class"),
        (
            ",".join(["1"] * 2000) + "\n" + ",".join(["1"] * 2000),
            "The file has 1,999 inputs; expected at most 1,024",
        ),
    ],
)
def test_bad_csv_is_refused_with_its_place(session: Session, text: str, complaint: str) -> None:
    assert complaint in refused(session, {"kind": "upload", "text": text})


def test_csv_with_decimal_commas() -> None:
    session = Session()
    ask(session, "upload", text="1,5;7,0;yes\n-2;8,25;no\n3,5;6;yes\n")
    raw = np.array([[1.5, 7.0], [-2.0, 8.25], [3.5, 6.0]])
    assert pytest.approx((raw - raw.mean(axis=0)) / raw.std(axis=0)) == session._data.X
    ask(session, "upload", text="a;b\n1,5;2,5\n2,5;0,5\n")
    assert session._data.y[:, 0].tolist() == [2.5, 0.5]
    mixed = refused(session, {"kind": "upload", "text": "1;2.5;1\n2,5;0.5;0\n"})
    assert "Line 2, column 1 is '2,5'; expected a finite number" in mixed


def test_a_data_set_does_not_begin_with_zeros(session: Session) -> None:
    """At (0, 0) no weight of the first layer has a gradient."""
    frame = ask(session, "data", name="xor table")
    assert frame["sample"]["x"] == [1.0, 1.0]
    assert np.any([w for row in frame["weights"][0]["dw"] for w in row])


@given(st.text(alphabet="0123456789.,;\t\n-e\"'abcx ", max_size=200))
def test_any_text_is_data_or_an_error(text: str) -> None:
    try:
        dataset = uploads.read(text, "any")
    except ValueError:
        return
    assert np.isfinite(dataset.X).all()
    assert np.isfinite(dataset.y).all()


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
