"""The explorer's page in a real browser: derivations, steps and changes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule.explain import explain
from chainrule.explorer.session import Session
from chainrule.verify import Certificate

playwright = pytest.importorskip("playwright.sync_api")
from tests.explorer.reader import Person, browser, expect, person, shown, site, small  # noqa: E402, F401

pytestmark = pytest.mark.needs("chromium")


# --- what is shown is what the library says -------------------------------------------------------


def test_a_click_on_a_weight_is_its_explanation(person: Person) -> None:
    session = person.visit(small)
    person.page.locator('[data-target="w[2][1,2]"] .hit').dispatch_event("click")
    person.page.wait_for_selector(".headline")
    why = explain(session.network, "w[2][1,2]", [[0.5, -1.0]], [0])
    assert shown(why.value) in person.formulas(".headline")
    titles = person.page.locator(".part .title").all_inner_texts()
    assert titles[:5] == [
        "The chain rule",
        "First term",
        "Second term",
        "Third term",
        "Combining the terms",
    ]
    numbers = person.formulas('.part[data-title="The numbers"]')
    for term in why.terms:
        assert shown(term.value) in numbers
    person.page.click("text=Prove it")
    person.page.wait_for_selector(".verdict.pass")
    assert person.text(".evidence li:first-child .value") == repr(why.value)
    assert person.page.locator(".evidence .error:text('rel. error')").count() >= 2
    for width in (1280, 390):
        person.page.set_viewport_size({"width": width, "height": 844})
        assert person.page.eval_on_selector_all(
            ".proof, .proof *", "nodes => nodes.every((n) => n.scrollWidth <= n.clientWidth + 1"
            " || getComputedStyle(n).display === 'inline')"
        )  # fmt: skip
    person.page.set_viewport_size({"width": 1280, "height": 800})
    person.page.click("text=Copy as LaTeX")
    person.page.wait_for_selector(".toast.shown")
    copied = person.page.evaluate("navigator.clipboard.readText()")
    assert (
        copied.strip() == session.handle({"kind": "latex", "target": "w[2][1,2]"})["latex"].strip()
    )


def test_a_proof_that_resolves_nothing_says_so(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_dict = Certificate.to_dict
    advice = "try a larger weight"
    monkeypatch.setattr(
        Certificate, "to_dict",
        lambda self: to_dict(self) | {"verdict": "not resolved", "advice": advice},
    )  # fmt: skip
    person.visit(small)
    person.open("w[1][0,0]")
    person.page.click("text=Prove it")
    words = "? not resolved: the values do not have enough digits to decide"
    expect(person.page.locator(".proof .verdict.not-resolved")).to_have_text(words)
    expect(person.page.locator(".proof")).to_contain_text(advice)


def test_boxes_hold_small_numbers(person: Person) -> None:
    """A minus in the power of ten was not one that a box takes: it stayed empty."""
    net = cr.Network([1, 1], W=[[[-8.610188468325537e-05]]], b=[[0.0]])
    person.visit(lambda: Session(net, [[-8.610188468325537e-05], [1.0]], [0.0, 1.0]))
    assert person.page.get_by_label("x₀", exact=True).input_value() == "-8.6102e-05"
    person.open("w[1][0,0]")
    assert person.page.input_value(".editor input[type=number]") == "-8.61019e-05"
    assert float(person.page.input_value(".editor input[type=range]")) == pytest.approx(0, abs=0.01)


def test_a_derivative_that_is_not_resolved_says_why(person: Person) -> None:
    """The verdict was blank."""
    net = cr.Network([1, 1], output="sigmoid", loss="binary_cross_entropy", W=[[[-1.0]]], seed=0)
    person.visit(lambda: Session(net, [[800.0]], [[1.0]]))  # a rounds to 0, so that ∂C/∂a = -inf
    label = person.page.get_attribute("svg.network", "aria-label")
    assert label is not None
    assert label.startswith(
        "The network: 1 input, then 1 sigmoid unit. The binary cross entropy loss"
    )
    person.open("a[1][0]")
    person.page.click("text=Prove it")
    person.page.wait_for_selector(".verdict")
    assert person.text(".verdict").startswith("? not resolved: ")
    assert "try smaller weights" in person.text(".verdict + p")


def test_counts_are_those_of_what_is_shown(person: Person) -> None:
    """Of 600 samples, 400 drawn were called 600, and 88 in a mean 512."""
    X = np.arange(600.0)[:, None] / 600
    session = person.visit(lambda: Session(cr.Network([1, 1], seed=0), X, X))
    person.page.click("[aria-label='Previous sample']")  # the last one
    person.settled()
    assert session.sample == 599
    assert person.text(".picture p").startswith("400 samples. ")
    person.open("w[1][0,0]")
    assert person.page.locator(".scope label").all_text_contents() == [
        "this sample", "88 samples (mean)",
    ]  # fmt: skip


def test_contributions_open_and_light_up_the_path(person: Person) -> None:
    person.visit(small)
    person.open("w[1][0,1]")
    person.page.locator(".way > summary").first.click()
    person.page.wait_for_selector(".way .inside math")
    person.page.locator(".way .way > summary").first.click()
    person.page.wait_for_selector(".way .way .inside math")
    lit = person.page.locator(".network .edge.onpath")
    assert lit.count() == 3
    assert person.page.locator(".network .loss.onpath").count() == 1


def test_units_biases_inputs_and_the_loss_open_too(person: Person) -> None:
    session = person.visit(small)
    for target, expected in [("b[2][1]", "b[2][1]"), ("a[1][2]", "a[1][2]"), ("x[1]", "x[1]")]:
        person.open(target)
        value = explain(session.network, expected, [[0.5, -1.0]], [0]).value
        assert shown(value) in person.formulas(".headline")
    person.page.focus('[data-target="loss"]')
    person.page.keyboard.press("Enter")
    person.page.wait_for_selector("text=The loss of this sample")
    loss = session.network.loss_value([[0.5, -1.0]], [0])
    assert f"{loss:.4g}" in person.formulas(".panel")


def test_the_mean_over_all_samples_has_a_row_for_each(person: Person) -> None:
    session = person.visit(small)
    person.open("w[1][0,1]")
    person.page.check('.scope input[value="all"]')
    person.page.wait_for_selector('.part[data-title^="The mean"]')
    rows = person.page.locator('.part[data-title^="The mean"] tbody tr')
    assert rows.count() == 4
    data = session._data
    why = explain(session.network, "w[1][0,1]", data.X, data.y)
    assert shown(why.value) in person.formulas(".headline")
    assert rows.nth(2).locator("td").last.text_content() == f"{why.samples[2].product:.4g}".replace(
        "-", "−"
    )


# --- steps --------------------------------------------------------------------------------------


def test_steps_forward_backward_update(person: Person) -> None:
    session = person.visit(small)
    page = person.page
    seen = []
    for _ in range(12):
        page.click("[aria-label='Step forward']")
        seen.append(person.text(".steptitle"))
    assert seen == [
        "The sample", "Forward: layer 1", "Forward: layer 2", "Forward: layer 3", "The loss",
        "Backward: layer 3", "Gradient: weights of layer 3", "Backward: layer 2",
        "Gradient: weights of layer 2", "Backward: layer 1", "Gradient: weights of layer 1",
        "The update",
    ]  # fmt: skip
    before = session.network.parameters.copy()
    page.click("text=Make this update")
    person.settled()
    assert not np.array_equal(session.network.parameters, before)
    page.click("[aria-label='Forward: layer 1']")
    assert (
        page.locator(".network .value:not(.ofloss)").all_text_contents()[-1] == "·"
    )  # not computed yet
    assert page.locator(".network .edge.active").count() == 6
    page.locator("button.eq").first.click()
    page.wait_for_selector(".headline")
    page.click("[aria-label='Play the steps']")
    page.wait_for_selector("[aria-label='Pause the steps']")
    page.click("[aria-label='Leave the steps']")
    assert page.locator(".network .edge.active").count() == 0


# --- changes ------------------------------------------------------------------------------------


def test_an_edited_weight_changes_all_that_follows_and_undo_brings_it_back(person: Person) -> None:
    session = person.visit(small)
    page = person.page
    person.open("w[1][0,1]")
    loss = person.text(".network .value.ofloss")
    page.fill(".editor input[type=number]", "2.5")
    page.press(".editor input[type=number]", "Enter")
    person.settled()
    assert session.network.layers[1].W[0, 1] == 2.5
    changed = person.text(".network .value.ofloss")
    assert changed != loss
    assert changed == f"{session.network.loss_value([[0.5, -1.0]], [0]):.3g}"
    page.click("[aria-label=Undo]")
    person.settled()
    assert person.text(".network .value.ofloss") == loss
    page.click("[aria-label=Redo]")
    person.settled()
    assert session.network.layers[1].W[0, 1] == 2.5
    page.focus(".network .unit")
    page.keyboard.press("Control+z")
    person.settled()
    assert session.network.layers[1].W[0, 1] != 2.5


def test_sample_data_layers_and_functions_change(person: Person) -> None:
    session = person.visit()
    page = person.page
    page.click("[aria-label='Next sample']")
    person.settled()
    assert session.sample == 1
    page.locator(".numbers input").first.fill("0.25")
    page.keyboard.press("Enter")
    person.settled()
    assert session._data.X[1, 0] == 0.25
    page.click("[data-name=moons]")
    person.settled()
    assert session._data.name == "moons"
    page.click("text=+ hidden layer")
    person.settled()
    assert session.network.sizes == (2, 4, 2, 4, 1)
    page.select_option("[aria-label='Activation of layer 1']", "relu")
    person.settled()
    page.select_option(".side >> select >> nth=-2", "half_squared_error")
    person.settled()
    assert session.network.layers[1].activation.name == "relu"
    assert session.network.loss.name == "half_squared_error"
    page.fill("label:has-text('Learning rate') + input", "-1")
    page.keyboard.press("Enter")
    page.wait_for_selector(".toast.shown")
    person.settled()
    assert session.settings.learning_rate == 0.5
    person.errors = [e for e in person.errors if "400" not in e and "422" not in e]


def test_it_learns(person: Person) -> None:
    session = person.visit()
    page = person.page
    page.fill("label:has-text('Learning rate') + input", "0.5")
    page.keyboard.press("Enter")
    person.settled()
    page.select_option("[aria-label='Speed of training']", "")
    page.click("text=▶ Train")
    expect(page.locator("[data-fact=loss]")).to_have_text(re.compile(r"0\.0[0-9]+"))
    page.click("text=⏸ Pause")
    page.wait_for_selector("text=▶ Train")
    person.settled()
    assert session.network.loss_value(session._data.X, session._data.y) < 0.1
    assert page.locator(".curve path.training").count() == 1
    assert float(person.text("[data-fact=accuracy]").rstrip("%")) > 90
    assert "are classified correctly" in page.get_attribute("canvas.surface", "aria-label")
    words = page.locator(".facts dt").all_text_contents()
    assert words == ["epoch", "training loss", "validation loss", "validation accuracy"]
    assert person.text(".picture .legend").startswith("● class 1, ■ class 0; small ones are for")
    page.fill("[aria-label='Number of steps']", "30")
    before = session.step
    page.click("button:text-is('steps')")
    page.wait_for_selector("text=▶ Train")
    person.settled()
    assert session.step == before + 30
    page.focus("[aria-label='Recorded step']")
    page.keyboard.press("Home")
    person.settled()
    assert person.text(".timeline .at") == "step 0"
    page.click("canvas.surface", position={"x": 20, "y": 20})
    person.settled()


def test_own_data_by_file(person: Person, tmp_path: Path) -> None:
    session = person.visit()
    file = tmp_path / "flowers.csv"
    rows = (f"{i % 7},{i % 5},{i % 3},{'abc'[i % 3]}" for i in range(60))
    file.write_text("u,v,w,kind\n" + "\n".join(rows), encoding="utf-8")
    person.page.set_input_files("input.file", file)
    person.page.wait_for_selector("text=flowers.csv: 48 samples")
    expect(person.page.locator("[aria-label=Data]")).to_contain_text("scaled to mean 0")
    person.settled()
    labels = person.page.locator(".numbers label").all_text_contents()
    assert labels == ["x₀ u", "x₁ v", "x₂ w", "y₀ a", "y₁ b", "y₂ c"]
    true = "abc"[int(np.argmax(session._data.y[0]))]
    expect(person.page.locator("[aria-label='Current sample']")).to_contain_text(
        f"True class: {true}, predicted: "
    )
    heads = person.page.locator("table.confusion th").all_text_contents()
    assert heads == ["a", "b", "c"] * 2
    label = person.page.get_attribute('[data-target="x[1]"]', "aria-label")
    assert label is not None
    assert label.startswith("Input 1: x₁ v ")
    assert session.network.sizes == (3, 4, 2, 3)
    assert person.page.locator("table.confusion tbody tr").count() == 3
    file.write_text("1,2\n3\n", encoding="utf-8")
    person.page.set_input_files("input.file", file)
    person.page.wait_for_selector("text=Line 2 has 1 column; expected 2")
    person.errors.clear()  # the browser reports the refusal, too
    person.page.set_input_files("input.file", [])
    file.write_text("1,2,0\n3,4,1\n", encoding="utf-8")
    person.page.set_input_files("input.file", file)
    person.page.wait_for_selector("text=flowers.csv: 2 samples")
    person.settled()
    assert person.page.locator(".toast.shown").count() == 0  # by now, not after its 7 seconds
