"""The explorer in a real browser: the web host's page, driven as a person drives it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.explain import explain
from chainrule.explorer import Explorer
from chainrule.explorer.hosts.server import Server
from chainrule.explorer.session import Session
from chainrule.teach import datasets
from chainrule.verify import Certificate

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
expect.set_options(timeout=60_000)
pytestmark = pytest.mark.needs("chromium")

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "src" / "chainrule" / "explorer" / "static"
MODULES = ROOT / "node_modules"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(path for name in names if (path := shutil.which(name)))
    with playwright.sync_playwright() as p:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = p.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()


def shown(value: float, digits: int = 4) -> str:
    """A number as the characters of its formula."""
    text, _, power = f"{value:.{digits}g}".replace("-", "−").partition("e")
    return f"{text}×10{'−' if power[0] == '−' else ''}{int(power[1:])}" if power else text


class Site:
    """A running server whose sessions can be looked at."""

    def __init__(self) -> None:
        self.sessions: list[Session] = []
        self.make: Any = Session
        self.server = Server(self._open)
        self.thread = threading.Thread(target=self.server._server.run,
                                       kwargs={"sockets": [self.server.listener]})  # fmt: skip
        self.thread.start()

    def _open(self) -> Session:
        session: Session = self.make()
        self.sessions.append(session)
        return session

    def close(self) -> None:
        self.server.stop()
        self.thread.join(10)
        self.server.listener.close()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


class Person:
    """A page and what is done in it."""

    def __init__(self, page: Any, site: Site, url: str) -> None:
        self.page, self.site, self.url = page, site, url
        self.errors: list[str] = []
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda m: self.errors.extend([m.text] * (m.type == "error")))

    def visit(self, make: Any = Session, fragment: str = "") -> Session:
        """Open the page; give its session."""
        self.site.make = make
        count = len(self.site.sessions)
        self.page.goto(self.url + fragment)
        self.page.wait_for_selector(".network .unit")
        self.settled()
        return self.site.sessions[count]

    def settled(self) -> None:
        """Wait until no answer is outstanding."""
        self.page.wait_for_selector('.cr-app[aria-busy="false"]')

    def open(self, target: str) -> None:
        """Open a part of the drawing, by keyboard, for a line is thin."""
        self.page.focus(f'.network [data-target="{target}"]')
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector(".headline")
        self.settled()

    def text(self, selector: str) -> str:
        return str(self.page.text_content(selector)).strip()

    def formulas(self, selector: str) -> str:
        """The characters of all formulas, without spaces."""
        return re.sub(r"\s", "", "".join(self.page.locator(f"{selector} math").all_text_contents()))


@pytest.fixture
def person(browser: Any, site: Site) -> Iterator[Person]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    person = Person(context.new_page(), site, site.server.url)
    yield person
    context.close()
    assert person.errors == []


def small() -> Session:
    net = cr.Network(
        [2, 3, 2, 1], hidden="tanh", output="sigmoid", loss="binary_cross_entropy", seed=3
    )
    X = [[0.5, -1.0], [1.5, 0.3], [-0.7, 0.8], [0.1, 0.2]]
    return Session(net, X, [0, 1, 0, 1])


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


# --- health, notation ---------------------------------------------------------------------------


def test_health_says_what_is_wrong(person: Person) -> None:
    session = small()
    session.network.layers[1].b[0] = 50.0
    person.visit(lambda: session)
    assert person.page.locator(".network .mark:text('≈')").count() == 1
    person.page.click(".health summary")
    person.page.wait_for_selector("text=Unit 0 is saturated")


def test_notation_and_digits(person: Person) -> None:
    session = person.visit(small)
    person.open("w[2][1,2]")
    person.page.select_option("[aria-label=Notation]", "L-h")
    expect(person.page.locator(".headline")).to_contain_text("L")
    person.page.select_option("[aria-label=Digits]", "8")
    person.settled()
    value = explain(session.network, "w[2][1,2]", [[0.5, -1.0]], [0]).value
    assert shown(value, 8) in person.formulas(".headline")


def test_noise_and_new_samples(person: Person) -> None:
    session = person.visit()
    page = person.page
    page.click("[data-name=moons]")
    person.settled()
    before = session._data.X.copy()
    page.get_by_label("Noise").fill("0.5")
    person.settled()
    noisy = session._data.X.copy()
    assert np.array_equal(noisy, datasets.make("moons", 0.5, 0).X)
    assert not np.array_equal(noisy, before)
    page.click("text=New samples")
    person.settled()
    assert np.array_equal(session._data.X, datasets.make("moons", 0.5, 1).X)
    page.click("[data-name='xor table']")
    expect(page.get_by_label("Noise")).to_be_hidden()


def test_a_penalty_keeps_the_weights(person: Person) -> None:
    session = person.visit(small)
    before = session.network.parameters.copy()
    person.page.get_by_label("L2 penalty λ").fill("0.01")
    person.page.keyboard.press("Enter")
    person.settled()
    assert session.network.l2 == 0.01
    assert np.array_equal(session.network.parameters, before)
    person.open("w[2][0,1]")
    gradient = session.network.gradient(session._data.X[:1], session._data.y[:1])
    assert shown(gradient.dW[2][0, 1]) in person.formulas(".headline")


def test_names_follow_the_notation(person: Person) -> None:
    person.visit(small)
    person.page.select_option("[aria-label=Notation]", "L-h")
    person.settled()
    person.open("w[2][1,2]")
    assert person.text(".editor .what") == "w₂₃² ="
    signs = person.page.eval_on_selector_all(".dot", "dots => dots.map((d) => d.dataset.sign)")
    assert "L" in signs
    assert "C" not in signs


def test_the_step_s_signs_and_button_are_seen(person: Person) -> None:
    person.visit(small)
    page = person.page
    page.click("[aria-label='Forward: layer 2']")
    lines = page.locator(".edge.active:not(.negative) .line")
    assert lines.count() > 0
    dashes = lines.evaluate_all("lines => lines.map((n) => getComputedStyle(n).strokeDasharray)")
    assert set(dashes) == {"none"}
    page.click("[aria-label='The update']")
    assert page.locator(".equations >> text=Make this update").count() == 0
    expect(page.locator(".player >> text=Make this update")).to_be_visible()


def test_the_tip_follows_the_numbers(person: Person) -> None:
    person.visit(small)
    page = person.page
    page.hover('[data-target="a[1][0]"] .disc')
    before = person.text(".tip")
    page.evaluate("document.querySelectorAll('.trainbar .buttons button')[1].click()")
    expect(page.locator(".tip")).not_to_have_text(before)
    person.settled()
    expect(page.locator(".curve circle.now")).to_be_visible()


def test_a_wide_window_has_a_wide_panel(browser: Any, site: Site) -> None:
    context = browser.new_context(viewport={"width": 1920, "height": 900})
    person = Person(context.new_page(), site, site.server.url)
    person.visit(small)
    assert person.page.eval_on_selector(".panel", "n => n.clientWidth") > 500
    context.close()


# --- learning by doing --------------------------------------------------------------------------


@pytest.mark.parametrize("which", [0, 1])
def test_the_tour(person: Person, which: int) -> None:
    session = person.visit()
    page = person.page
    page.click("text=Lessons")
    page.locator(".choice").nth([1, 4][which]).click()
    page.wait_for_selector(".lesson progress")
    person.settled()
    target = ["w[2][1,2]", "w[2][0,0]"][which]
    assert page.locator(f'[data-target="{target}"].selected').count() == 1
    titles = []
    while True:
        titles.append(person.text(".lesson h2"))
        if titles[-1] == "The update":
            loss = session.network.loss_value(session._data.X, session._data.y)
            page.click("text=Make the update")
            page.wait_for_selector("text=; now it is")
            person.settled()
            assert session.network.loss_value(session._data.X, session._data.y) < loss
        if titles[-1] == "The proof":
            break
        page.click(".lesson button.main >> text=Next")
        expect(page.locator(".lesson .small")).to_contain_text(f"{len(titles) + 1} of")
        person.settled()
    assert titles[:3] == ["The question", "The chain rule", "First term"]
    person.settled()
    page.locator(".lesson >> text=Prove it").click()
    page.wait_for_selector(".verdict.pass")
    assert session.settings.notation == ["C-a-L", "L-h"][which]
    page.click(".lesson >> text=Done")
    person.settled()
    page.click("[aria-label='Close the derivation']")
    assert_nothing_is_lit(page)
    assert (session.settings.notation, session.settings.scope) == ("default", "sample")
    page.click("[aria-label=Undo]")
    person.settled()
    assert_nothing_is_lit(page)
    assert session.settings.notation == "default"


def assert_nothing_is_lit(page: Any) -> None:
    assert page.locator(".network.haspath").count() == 0
    assert page.locator(".network .selected, .network .onpath").count() == 0


def test_a_number_that_is_not_resolved_says_so(person: Person) -> None:
    net = cr.Network([2, 2, 1], hidden="tanh", seed=0)
    X = [[0.5, -1.0], [1.5, 0.3]]
    person.visit(lambda: Session(net, X, net.forward(X).a[-1]))
    person.open("w[2][0,1]")
    person.page.click("text=Prove it")
    person.page.wait_for_selector(".verdict.not-resolved")
    assert "not resolved: the values do not have enough digits" in person.text(".verdict")
    assert "hardly" in person.text(".proof") or "rounding" in person.text(".proof").lower()


def test_a_lesson_that_is_left_early_leaves_nothing_lit(person: Person) -> None:
    session = person.visit()
    page = person.page
    page.select_option("[aria-label=Notation]", "L-h")
    person.settled()
    page.click("text=Lessons")
    page.locator(".choice").nth(1).click()
    page.wait_for_selector(".lesson progress")
    person.settled()
    assert page.locator('[data-target="w[2][1,2]"].selected').count() == 1
    names = page.locator(".network .name").all_text_contents()
    assert {"a₀⁽ᴸ⁻²⁾", "a₅⁽ᴸ⁻¹⁾", "a₁⁽ᴸ⁾"} <= set(names)  # as the lesson writes them
    page.click(".lesson >> text=Next")
    person.open("w[1][0,1]")
    page.keyboard.press("Escape")  # the lesson goes on, and with it its weight
    assert page.locator('[data-target="w[2][1,2]"].selected').count() == 1
    page.click("[aria-label='Close the lesson']")
    person.settled()
    assert_nothing_is_lit(page)
    assert session.settings.notation == "L-h"
    page.click("text=Practise")
    page.wait_for_selector(".question math")
    person.settled()
    assert page.locator(".network .selected").count() == 1
    page.click("[aria-label='Close practice']")
    assert_nothing_is_lit(page)


MINE = """+++
title = "Mine"
summary = "One sigmoid unit"
[network]
sizes = [1, 1]
output = "sigmoid"
W = [[[2.0]]]
b = [[0.0]]
[data]
X = [[0.5]]
y = [[1.0]]
+++
## Ask
```stop
mark = "w[1][0,0]"
light = ["w[1][0,0]", "a[1][0]"]
show = ["numbers"]
[[button]]
label = "Weight 3"
edit = {target = "w[1][0,0]", value = 3.0}
[question]
ask = "What is z?"
answer = "value z[1][0]"
because = "Weight **times** input."
```
Read *z*, a sum.

- first
- second
"""


def test_a_lesson_of_a_file_plays(person: Person, tmp_path: Path) -> None:
    session = person.visit()
    page = person.page
    page.click("text=Lessons")
    path = tmp_path / "mine.md"
    path.write_text(MINE, encoding="utf-8")
    page.set_input_files(".lesson input[type=file]", str(path))
    page.wait_for_selector(".lesson progress")
    person.settled()
    assert page.locator(".lesson ul.items li").all_text_contents() == ["first", "second"]
    assert page.locator(".network .onpath").count() == 2
    for answer, kind in (("1.5", "fail"), ("1", "pass")):
        page.fill(".lesson .answer input", answer)
        page.click("text=Check")
        page.wait_for_selector(f".lesson .verdict.{kind}")
    assert person.text(".lesson .ask strong") == "times"
    before = person.formulas(".lesson .formulas")
    page.click("text=Weight 3")
    page.wait_for_selector("text=; now it is")
    person.settled()
    assert session.network.layers[1].W[0, 0] == 3.0
    assert person.formulas(".lesson .formulas") != before  # the numbers are those of the network
    page.click("text=Done")
    person.settled()
    page.click("text=Lessons")
    page.select_option("[aria-label='Language of the lessons']", "de")
    page.click("text=Der Vorwärtsdurchlauf")
    page.wait_for_selector(".lesson >> text=Weiter")
    person.settled()
    path.write_text(MINE.replace("Read *z*", "<script>alert(1)</script>"), encoding="utf-8")
    page.click("[aria-label='Lektion schließen']")
    page.click("text=Lessons")
    page.set_input_files(".lesson input[type=file]", str(path))
    page.wait_for_selector(".toast.shown >> text=has HTML")
    person.errors.clear()  # the refused request itself


def test_practice_takes_right_answers_and_names_mistakes(person: Person) -> None:
    session = person.visit(small)
    page = person.page
    page.click("text=Practise")
    page.wait_for_selector(".question math")
    page.select_option("[aria-label='Exercises about']", "gradient")
    faults: set[str] = set()
    for _ in range(60):
        person.settled()
        found = session._exercise
        assert found is not None
        for mistake in found.mistakes:
            judged = found.judge(mistake.value)
            if judged["right"] or judged["fault"] in faults:
                continue
            page.fill(".answer input", repr(mistake.value).replace("-", "−"))
            page.click("text=Check")
            page.wait_for_selector(f'.verdict.fail[data-fault="{judged["fault"]}"]')
            assert judged["words"] in person.text(".practice .out")
            faults.add(judged["fault"])
        if faults >= {"sign", "slope", "transposed", "sum"}:
            break
        page.click("text=Another")
    assert faults >= {"sign", "slope", "transposed", "sum"}
    page.fill(".answer input", str(session._exercise.value))
    page.click("text=Check")
    page.wait_for_selector(".practice .verdict.pass")
    page.fill(".answer input", "many")
    page.click("text=Check")
    page.wait_for_selector('.verdict.fail[data-fault="unreadable"]')


def test_a_score_counts_first_tries_once_and_survives_a_reload(person: Person) -> None:
    session = person.visit(small)
    page = person.page
    page.click("text=Practise")
    page.wait_for_selector(".question math")
    exercise = session._exercise
    assert exercise is not None
    page.fill(".answer input", f"2*({exercise.value / 2!r})")
    for _ in range(3):
        page.click("text=Check")
        page.wait_for_selector(".practice .verdict.pass")
        person.settled()
        assert "1 of 1 exercise right at the first try." in person.text(".practice")
    page.click("text=Another")
    person.settled()
    page.fill(".answer input", "1234")
    page.click("text=Check")
    page.wait_for_selector(".practice .verdict.fail")
    exercise = session._exercise
    assert exercise is not None
    page.fill(".answer input", str(exercise.value))
    page.click("text=Check")
    page.wait_for_selector(".practice .verdict.pass")
    assert "1 of 2 exercises right at the first try." in person.text(".practice")
    with page.expect_download() as waiting:
        page.click("text=Save results")
    rows = Path(waiting.value.path()).read_text(encoding="utf-8").splitlines()
    assert [row.split(",")[-6:-1] for row in rows[1:]] == [
        ["yes", "1", "0", "yes", "no"],
        ["no", "2", "0", "yes", "no"],
    ]
    page.reload()
    page.wait_for_selector("text=Practise")
    page.click("text=Practise")
    page.wait_for_selector(".question math")
    assert "1 of 2 exercises right at the first try." in person.text(".practice")


def test_hints_come_in_steps_and_the_solution_is_no_right_answer(person: Person) -> None:
    session = person.visit(small)
    page = person.page
    page.click("text=Practise")
    page.wait_for_selector(".question math")
    page.select_option("[aria-label='Exercises about']", "gradient")
    page.wait_for_selector(".hint button")
    person.settled()
    page.click(".hint button")
    assert page.locator(".hint-steps > *").count() == 1
    while page.locator(".hint button").is_enabled():
        page.click(".hint button")
    exercise = session._exercise
    assert exercise is not None
    assert page.locator(".hint-steps > *").count() == 1 + len(exercise.view["hints"]) > 2
    page.click("text=Show the solution")
    page.wait_for_selector(".practice .out math")
    assert "0 of 1 exercise right at the first try." in person.text(".practice")
    page.fill(".answer input", str(exercise.value))
    page.click("text=Check")
    page.wait_for_selector(".practice .verdict.pass")
    assert "0 of 1 exercise right at the first try." in person.text(".practice")


def test_hovering_does_not_answer_an_open_exercise(person: Person) -> None:
    session = person.visit(small)
    page = person.page
    edge = page.locator(".network [data-target^='w[']").first
    assert "∂C/∂w" in str(edge.get_attribute("aria-label"))
    page.click("text=Practise")
    page.wait_for_selector(".question math")
    person.settled()
    assert "∂" not in str(edge.get_attribute("aria-label"))
    edge.dispatch_event("focusin")
    exercise = session._exercise
    assert exercise is not None
    assert "∂" not in str(page.locator(".tip").text_content())
    page.fill(".answer input", str(exercise.value))
    page.click("text=Check")
    page.wait_for_selector(".practice .verdict.pass")
    assert "∂C/∂w" in str(edge.get_attribute("aria-label"))


# --- sharing ------------------------------------------------------------------------------------


def test_a_link_brings_the_state_back(person: Person) -> None:
    session = person.visit()
    page = person.page
    page.click("[data-name=spiral]")
    person.settled()
    page.click("text=Epoch")
    person.settled()
    page.click("text=Share")
    page.wait_for_selector("dialog[open]")
    assert session.network.parameters[0] != 0
    assert "cr.Network(" in page.input_value("[aria-label=Python]")
    link = page.input_value("[aria-label=Link]")
    assert "in another one its address is refused" in person.text("dialog")
    with page.expect_download() as download:
        page.click("button:text-is('SVG')")
    picture = Path(download.value.path()).read_text(encoding="utf-8")
    assert picture.startswith("<svg")
    assert "stroke-dasharray" in picture
    with page.expect_download() as download:
        page.click("button:text-is('PNG')")
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")
    other = person.visit(fragment="#" + link.partition("#")[2])
    assert np.array_equal(other.network.parameters, session.network.parameters)
    assert other._data.name == "spiral"


# --- wide layers --------------------------------------------------------------------------------


def wide() -> Session:
    rng = np.random.default_rng(0)
    net = cr.Network([784, 128, 10], hidden="relu", output="softmax", loss="cross_entropy",
                     dtype="float32", seed=0)  # fmt: skip
    return Session(net, rng.uniform(size=(50, 784)), rng.integers(10, size=50))


def test_images_and_wide_layers_are_usable(person: Person) -> None:
    session = person.visit(wide)
    page = person.page
    assert page.locator(".network .strip").count() == 2
    assert page.locator(".network .unit").count() == 8 + 8 + 10
    page.locator(".strip[data-layer='1'] image").click(position={"x": 4, "y": 30})
    page.wait_for_selector(".headline")
    person.settled()
    drawn = session._shown[1]
    assert len(drawn) == 9
    target = f"w[1][{drawn[0]},{session._shown[0][0]}]"
    person.open(target)
    value = explain(session.network, target, session._data.X[:1], session._data.y[:1]).value
    assert shown(value) in person.formulas(".headline")
    assert page.locator(".images .image").count() == 40
    person.page.select_option("[aria-label=Notation]", "L-h")  # it counts samples from 1
    person.settled()
    label = page.get_attribute(".images [aria-current]", "aria-label")
    assert label is not None
    assert label.startswith("Sample 1: true class ")


# --- access -------------------------------------------------------------------------------------


def test_by_keyboard_alone(person: Person) -> None:
    session = person.visit(small)
    page = person.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the network"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.dataset.target") == "x[0]"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    target = page.evaluate("document.activeElement.dataset.target")
    assert target.startswith("w[1]")
    page.keyboard.press("Enter")
    page.wait_for_selector(".headline")
    person.settled()
    page.focus(".editor input[type=range]")
    page.keyboard.press("ArrowRight")
    person.settled()
    l, j, k = (int(c) for c in target if c.isdigit())
    assert session.handle({"kind": "undo"})["kind"] == "frame"  # the slider has set the weight
    assert page.evaluate("document.activeElement.type") == "range"  # and the focus has stayed
    page.keyboard.press("Escape")
    page.wait_for_selector("text=Ask any weight why")
    assert l == 1
    assert (j, k) != (None, None)


@pytest.mark.needs("axe-core")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_axe_finds_nothing(browser: Any, site: Site, scheme: str, width: int) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True,
        reduced_motion="reduce",
    )  # fmt: skip
    person = Person(context.new_page(), site, site.server.url)
    person.visit(small)
    page = person.page
    page.evaluate((MODULES / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))

    def violations() -> list[Any]:
        found = page.evaluate("axe.run().then((r) => r.violations)")
        return [
            (v["id"], [n["html"][:200] + n["failureSummary"] for n in v["nodes"]]) for v in found
        ]

    assert violations() == []
    person.open("w[2][1,2]")
    page.click("text=Prove it")
    page.wait_for_selector(".verdict.pass")
    page.click("[aria-label='Forward: layer 2']")
    page.click(".health summary")
    page.click("text=Practise")
    page.wait_for_selector(".question math")
    person.settled()
    assert violations() == []
    page.click(".practice .hint button", timeout=8000)
    page.click(".practice >> text=Show the solution", timeout=8000)
    page.wait_for_selector(".practice .out math")
    person.settled()
    assert violations() == []
    page.click("text=Lessons")
    page.locator(".choice").nth(1).click()
    page.wait_for_selector(".lesson progress")
    person.settled()
    assert violations() == []
    page.click("text=Share")
    page.wait_for_selector("dialog[open]")
    assert violations() == []
    context.close()


_WHOLE = """(select) => {
  const copy = select.cloneNode(false);
  copy.append(select.selectedOptions[0].cloneNode(true));
  Object.assign(copy.style, { position: "absolute", width: "max-content", flex: "none" });
  select.parentNode.append(copy);
  const whole = copy.offsetWidth <= select.offsetWidth + 1;
  copy.remove();
  return whole;
}"""


@pytest.mark.parametrize("width", [390, 1280])
def test_choices_and_numbers_are_readable_whole(browser: Any, site: Site, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 844})
    person = Person(context.new_page(), site, site.server.url)
    person.visit()
    page = person.page
    for name in ("sigmoid", "leaky_relu"):
        page.select_option("[aria-label='Activation of layer 1']", name)
        person.settled()
        cut = [s.evaluate("s => s.value") for s in page.query_selector_all("select")
               if not s.evaluate(_WHOLE)]  # fmt: skip
        assert cut == []
    page.fill(".numbers input >> nth=0", "-0.0012345")
    page.keyboard.press("Enter")
    person.settled()
    boxes = page.locator(".numbers input")
    assert boxes.first.input_value() == "-0.0012345"
    assert boxes.evaluate_all("boxes => boxes.every((b) => b.scrollWidth <= b.clientWidth)")
    context.close()


def test_on_a_phone_the_drawing_is_readable_and_near(browser: Any, site: Site) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, reduced_motion="reduce")
    person = Person(context.new_page(), site, site.server.url)
    person.visit()
    page = person.page
    scale = page.eval_on_selector(".network", "n => n.getScreenCTM().a")
    sizes = page.eval_on_selector_all(
        ".network text", "nodes => nodes.map((n) => parseFloat(getComputedStyle(n).fontSize))"
    )
    assert min(sizes) * scale >= 10
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    person.open("w[3][0,1]")
    top = "n => n.getBoundingClientRect().top"
    assert page.eval_on_selector(".drawing", top) < -100
    page.click("text=Back to the drawing")
    page.wait_for_function("document.querySelector('.drawing').getBoundingClientRect().top >= -1")
    box = page.locator('[data-target="w[3][0,1]"] .line').bounding_box()
    assert box is not None
    assert (box["x"] >= 0, box["x"] + box["width"] <= 390) == (True, True)
    assert page.evaluate("document.activeElement.dataset.target") == "w[3][0,1]"
    page.set_viewport_size({"width": 1280, "height": 800})
    expect(page.locator("text=Back to the drawing")).to_be_hidden()
    context.close()


@pytest.mark.parametrize("width", [400, 640, 1280])
def test_nothing_is_wider_than_the_window(browser: Any, site: Site, width: int) -> None:
    """640 is what 200 % zoom leaves of 1280."""
    context = browser.new_context(viewport={"width": width, "height": 800})
    person = Person(context.new_page(), site, site.server.url)
    person.visit(small)
    person.open("w[1][0,1]")
    person.page.click("[aria-label='Forward: layer 1']")
    over = person.page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert over <= 0
    context.close()


# --- the offline file ---------------------------------------------------------------------------


def test_the_offline_file_opens_with_the_network_off(browser: Any, tmp_path: Path) -> None:
    net = cr.Network(
        [2, 2, 1], hidden="tanh", output="sigmoid", loss="binary_cross_entropy", seed=2
    )
    X, y = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1, 0]
    explorer = net.explore(X, y)
    path = tmp_path / "lesson.html"
    explorer.save(path, steps=6)
    assert np.array_equal(explorer.network.parameters, net.parameters)  # it stays as it is
    twin = Session(net, X, y)
    twin.handle({"kind": "train", "steps": 6})

    context = browser.new_context(offline=True)
    page = context.new_page()
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda r: asked.append(r.url))
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.on("console", lambda m: errors.extend([m.text] * (m.type == "error")))
    page.goto(path.as_uri())
    page.wait_for_selector(".network .unit")
    for record, network in ((6, twin.network), (0, net)):
        page.focus("[aria-label='Recorded step']")
        page.keyboard.press("End" if record else "Home")
        expect(page.locator(".timeline .at")).to_have_text(f"step {record}")
        for target in ("w[1][1,0]", "b[2][0]", "w[2][0,1]"):
            page.focus(f'[data-target="{target}"]')
            page.keyboard.press("Enter")
            value = explain(network, target, X[:1], y[:1]).value
            expect(page.locator(".headline")).to_contain_text(shown(value))
    page.focus('[data-target="w[1][1,0]"]')
    page.keyboard.press("Enter")
    page.locator(".way > summary").first.click()
    page.wait_for_selector(".way .inside math")
    page.click("text=Prove it")
    page.wait_for_selector(".verdict.pass")
    page.click("[aria-label='Step forward']")
    assert page.inner_text(".steptitle") == "The sample"
    page.click("text=▶ Play")
    expect(page.locator(".timeline .at")).to_have_text("step 6")
    assert errors == []
    assert [u for u in asked if not u.startswith(("file:", "data:", "blob:"))] == []
    context.close()


# --- the browser code ---------------------------------------------------------------------------


@pytest.mark.needs("typescript")
def test_the_types_of_the_browser_code(tmp_path: Path) -> None:
    compiler = MODULES / "typescript" / "bin" / "tsc"

    def check(folder: Path) -> subprocess.CompletedProcess[str]:
        command = ["node", str(compiler), "-p", str(folder / "tsconfig.json")]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    assert check(STATIC).stdout == ""
    for file in STATIC.iterdir():  # a planted fault is found
        text = file.read_text(encoding="utf-8")
        if file.name == "numbers.js":
            text = text.replace("size.toFixed(1)", "size.toFixde(1)")
        (tmp_path / file.name).write_text(text, encoding="utf-8")
    assert "toFixde" in check(tmp_path).stdout


def test_the_joined_script_has_every_module_once() -> None:
    from chainrule.explorer.hosts import assets

    for entry in ("offline", "live", "notebook"):
        text = assets.joined(entry)
        assert not re.search(r"^(import|export) ", text, re.MULTILINE)
        names = re.findall(r"^const module_(\w+) =", text, re.MULTILINE)
        assert len(names) == len(set(names))
        assert names[-1] == entry
    page = assets.whole_page("offline", {"recording": json.dumps({})})
    assert "http://" not in page.replace("http://www.w3.org/", "")
    assert "https://" not in page


def test_an_explorer_says_what_it_is() -> None:
    net = cr.Network([2, 2, 1], seed=0)
    assert repr(Explorer(net)) == f"Explorer({net!r})"
