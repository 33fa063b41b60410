"""What a session answers: numbers, changes, wide layers and health."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.explorer.session import Session
from chainrule.explorer.trainer import Trainer
from chainrule.teach import datasets
from chainrule.training import fit
from tests.explorer.asked import ask, lesson, refused, session  # noqa: F401

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
    why = net.explain(
        target, X[rows], y[rows], focus=focus, learning_rate=0.3, first_sample=1 - focus
    )
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


@pytest.mark.parametrize("engine", ["auto", "reference"])
def test_epochs_together_are_epochs_one_by_one(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bits, and the same points of the curve, however many are run in one call."""
    data = datasets.make("moons")
    runs = []
    for together in (1, 5):
        monkeypatch.setattr("chainrule.explorer.trainer._TOGETHER", together)
        net = cr.Network([2, 8, 1], hidden="tanh", seed=4, engine=engine)
        trainer = Trainer(net, data, cr.Adam(0.01), 7)
        trainer._in_a_moment = 5
        assert trainer.run(12 * trainer.steps_per_epoch + 3, seconds=60) is None
        runs.append((net.parameters.tolist(), trainer.points, trainer.epoch, trainer.loss,
                     trainer.step))  # fmt: skip
    assert runs[0] == runs[1]
    assert runs[0][2:3] == (12,)
    assert len(runs[0][1]) == 15


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


def test_steps_list_biases_and_say_what_they_leave_out(session: Session) -> None:
    """The update listed 4 of 25 parameters, no bias, and not that there were more."""
    steps = {s["title"]: s for s in ask(session, "steps")["steps"]}
    update = steps["The update"]
    targets = [e["target"] for e in update["equations"]]
    assert len(set(targets)) == 25
    assert {"b[1][3]", "w[3][0,1]"} < set(targets)
    assert "other" not in update["words"]
    net = session.network
    x, y = session.data.X[:1], session.data.y[:1]
    new = net.layers[1].b[3] - 0.5 * net.gradient(x, y).db[1][3]
    (moved,) = (e for e in update["equations"] if e["target"] == "b[1][3]")
    assert moved["text"].endswith(f"= {new:.4g}".replace("-", "−"))
    last, first = steps["Gradient: layer 3"], steps["Gradient: layer 1"]
    assert last["equations"][-1]["text"].startswith("∂C₀/∂b₀⁽³⁾ = ∂C₀/∂z₀⁽³⁾ = ")
    assert "The other 8 parameters follow in the same way." in first["words"]
    wide = Session(cr.Network([2, 30, 1], seed=0), [[1.0, 2.0]], [[0.5]])
    words = ask(wide, "steps")["steps"][-1]["words"]
    listed = len(ask(wide, "steps")["steps"][-1]["equations"])
    assert f"The other {121 - listed} parameters move in the same way." in words


def test_the_slow_motion_is_of_all_samples_too(session: Session) -> None:
    ask(session, "build", l2=0.1)
    ask(session, "configure", scope="all")
    steps = {s["title"]: s for s in ask(session, "steps")["steps"]}
    g = session.network.gradient(session.data.X, session.data.y)
    mean = steps["Gradient: layer 3"]["equations"][1]["text"]
    assert mean.startswith("∂C/∂w₀₀⁽³⁾ = ")
    assert " + ∂R/∂w₀₀⁽³⁾ = " in mean
    assert mean.endswith(f"= {g.dW[3][0, 0]:.4g}".replace("-", "−"))
    assert "Of the loss of all 160 samples it is the mean." in steps["Gradient: layer 3"]["words"]
    bias = steps["Gradient: layer 3"]["equations"][-1]["text"]
    assert "R" not in bias
    assert bias.endswith(f"= {g.db[3][0]:.4g}".replace("-", "−"))


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
