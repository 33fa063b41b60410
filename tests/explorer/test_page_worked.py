"""The explorer's page: the whole worked example, and whole arrays."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import chainrule as cr
from chainrule.explorer.session import Session

playwright = pytest.importorskip("playwright.sync_api")
from tests.explain.test_worked import SAMPLE, published  # noqa: E402
from tests.explorer.reader import Person, Site, browser, expect, person, site, small  # noqa: E402, F401

pytestmark = pytest.mark.needs("chromium")

AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
NEXT = ".worked button:text-is('Next')"


def two() -> Session:
    """The published network with its sample and another one."""
    session = Session(published(), [SAMPLE[0], [0.2, 0.3]], [SAMPLE[1], [0.1, 0.2]])
    session.handle({"kind": "configure", "learning_rate": 0.5, "digits": 9})
    return session


def start(person: Person, make: Any = two) -> Session:
    session = person.visit(make)
    person.page.click("text=Worked example")
    person.page.wait_for_selector(".worked .passage")
    person.settled()
    return session


def go_to(person: Person, name: str) -> None:
    person.page.select_option("[aria-label='Go to']", label=name)


def lit(page: Any) -> set[str]:
    found = page.locator(".network [data-target].active")
    return set(found.evaluate_all("nodes => nodes.map((n) => n.dataset.target)"))


def test_a_reader_walks_through_the_published_example(person: Person) -> None:
    start(person)
    page = person.page
    assert person.text(".worked .walk .small") == "1 of 22"
    expect(page.locator(".worked .drawn svg")).to_be_visible()
    page.get_by_label("Freeze the biases").check()
    person.settled()
    titles: list[str] = []
    shown: list[str] = []
    for at in range(1, 23):
        expect(page.locator(".worked .walk .small")).to_have_text(f"{at} of 22")
        title = person.text(".worked .passage h3")
        titles += [] if titles and title.startswith(titles[-1]) else [title.split("\n")[0]]
        shown.append(person.formulas(".worked .passage"))
        assert "null" not in person.text(".worked")
        page.click(NEXT, force=True) if at < 22 else None
    assert page.locator(NEXT).is_disabled()
    text = "".join(shown)
    for number in ("0.298371109", "0.0821670406", "0.35891648", "0.149780716"):
        assert f"={number}" in text
    # published as 0.291027924, from weights that were rounded on the way
    assert float(shown[-1].removeprefix("C0=")) == pytest.approx(0.291027924, abs=2e-7)
    lead = person.text(".worked .passage .lead")
    assert lead == "With the new parameters the loss falls: before 0.298371109, now"


def test_each_passage_lights_what_it_speaks_of(person: Person) -> None:
    start(person)
    page = person.page
    assert lit(page) == {"x[0]", "x[1]"}
    values = page.locator(".network .labels .value").all_text_contents()
    assert values == ["0.05", "0.1", "·", "·", "·", "·", "·"]  # nothing is computed yet
    go_to(person, "Forward: layer 1: a₁⁽¹⁾")
    assert lit(page) == {"x[0]", "x[1]", "w[1][1,0]", "w[1][1,1]", "b[1][1]", "a[1][1]"}
    go_to(person, "Backward: layer 1: ∂C₀/∂w₀₁⁽¹⁾")
    assert lit(page) == {
        "x[1]", "w[1][0,1]", "a[1][0]", "w[2][0,0]", "w[2][1,0]", "a[2][0]", "a[2][1]", "loss",
    }  # fmt: skip
    go_to(person, "The updates: layer 2")
    assert lit(page) == {
        *(f"w[2][{j},{k}]" for j in (0, 1) for k in (0, 1)), "b[2][0]", "b[2][1]"
    }  # fmt: skip
    page.click("[aria-label='Close the worked example']")
    assert lit(page) == set()
    assert page.locator(".network.stepping").count() == 0
    assert page.evaluate("document.activeElement.textContent") == "Worked example"


def test_the_matrix_form_with_shapes_stands_beside_the_index_form(person: Person) -> None:
    start(person)
    page = person.page
    page.set_viewport_size({"width": 1366, "height": 850})
    go_to(person, "Backward: layer 1: ∂C₀/∂w₀₀⁽¹⁾")
    index, matrix = (page.locator(f".worked .{name}").bounding_box()
                     for name in ("passage", "matrices"))  # fmt: skip
    assert matrix["x"] >= index["x"] + index["width"]
    assert matrix["y"] == pytest.approx(index["y"], abs=2)
    text = person.formulas(".worked .matrices")
    assert "(2×2)=(2×1)(1×2)" in text  # dW = δᵀ a
    assert "⊙" in text
    page.click(".worked button:text-is('Derivation of W[1]')")
    page.wait_for_selector(".panel .headline")
    person.settled()
    headline = page.get_attribute(".panel .headline", "aria-label")
    assert headline is not None
    assert headline.startswith("∂C/∂W⁽¹⁾ = [[0.00043856773")
    page.keyboard.press("Escape")
    assert page.locator(".panel .headline").count() == 0
    expect(page.locator(".worked")).to_be_visible()  # one at a time
    page.keyboard.press("Escape")


def test_by_keyboard_alone(person: Person) -> None:
    start(person)
    page = person.page
    assert page.evaluate("document.activeElement.textContent") == "Worked example"
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect(page.locator(".worked .walk .small")).to_have_text("4 of 22")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".worked .walk .small")).to_have_text("3 of 22")
    page.focus("[aria-label='Go to']")
    page.keyboard.press("ArrowDown")  # the list has the arrows of a list
    expect(page.locator(".worked .walk .small")).to_have_text("4 of 22")
    page.focus(".worked h2")
    page.keyboard.press("Escape")
    expect(page.locator(".worked")).to_be_hidden()


def test_all_at_once_is_the_whole_document(person: Person) -> None:
    start(person)
    page = person.page
    page.click("text=All at once")
    assert page.locator(".worked .passage").count() == 22
    assert page.locator(".worked .matrices").count() == 6
    text = person.formulas(".worked .passages")
    assert "=0.298371109" in text
    page.locator(".worked .passage").nth(8).hover()
    assert "w[2][0,1]" in lit(page)
    page.click("text=All at once")
    assert page.locator(".worked .passage").count() == 1


def test_it_follows_the_network_the_samples_and_the_notation(person: Person) -> None:
    session = start(person)
    page = person.page
    go_to(person, "The loss")
    assert "0.298371109" in person.formulas(".worked .passage")
    page.select_option("[aria-label=Notation]", "L-h")
    person.settled()
    assert person.formulas(".worked .passage").startswith("L")
    page.locator(".worked").get_by_label("all 2 samples (mean)").check()
    person.settled()
    expect(page.locator(".worked .passage")).to_contain_text("the mean over the 2 samples")
    page.get_by_label("Steps of descent").fill("2")
    page.keyboard.press("Enter")
    person.settled()
    assert "2 steps of gradient descent" in person.text(".worked .body > .small")
    page.get_by_label("Steps of descent").fill("9")  # is refused, and stays as it was
    page.keyboard.press("Enter")
    person.settled()
    expect(page.locator(".toast")).to_contain_text("expected at most 5")
    person.errors.clear()  # the refused request itself
    assert page.get_by_label("Steps of descent").input_value() == "2"
    person.page.click("button:text-is('Step')")
    person.settled()
    X, y = session.data.X, session.data.y
    loss = f"{session.network.loss_value(X, y):.9g}"
    assert loss in person.formulas(".worked .passage")


def test_a_network_that_is_too_large_says_so(person: Person) -> None:
    person.visit(lambda: Session(cr.Network([2, 40, 1], hidden="tanh", seed=0)))
    person.page.click("text=Worked example")
    expect(person.page.locator(".toast")).to_contain_text("the page writes out at most 100")
    expect(person.page.locator(".worked")).to_be_hidden()
    person.errors.clear()  # the refused request itself


@pytest.mark.parametrize("target", ["W[2]", "b[1]"])
def test_an_array_opens_from_its_sign_in_the_drawing(person: Person, target: str) -> None:
    session = person.visit(two)
    page = person.page
    label = page.get_attribute(f'.network [data-target="{target}"]', "aria-label")
    assert label is not None
    assert label.startswith(f"All {'weights' if target == 'W[2]' else 'biases'} of layer")
    person.open(target)
    person.settled()
    gradient = session.network.gradient(session.data.X[:1], session.data.y[:1])
    value = float(gradient.dW[2][1, 0] if target == "W[2]" else gradient.db[1][1])  # type: ignore[index]
    assert f"{value:.9g}".replace("-", "−") in person.formulas(".panel .headline")
    assert page.locator(".panel .editor, .panel .pictures").count() == 0
    page.click("text=Prove it")
    expect(page.locator(".verdict.pass")).to_have_count(1 + (4 if target == "W[2]" else 2))
    expect(page.locator(".proof")).to_contain_text("Proven one by one: all")
    page.click("text=Copy as LaTeX")
    expect(page.locator(".toast")).to_have_text("Copied the derivation as LaTeX")
    page.click("button:text-is('Step')")  # new numbers in the same derivation
    person.settled()
    gradient = session.network.gradient(session.data.X[:1], session.data.y[:1])
    value = float(gradient.dW[2][1, 0] if target == "W[2]" else gradient.db[1][1])  # type: ignore[index]
    assert f"{value:.9g}".replace("-", "−") in person.formulas(".panel .headline")


@pytest.mark.needs("axe-core")
@pytest.mark.parametrize("width", [1366, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Any, site: Site, width: int, scheme: Any) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 850}, color_scheme=scheme, reduced_motion="reduce"
    )
    person = Person(context.new_page(), site, site.server.url)
    page = person.page
    start(person)
    page.evaluate(AXE.read_text(encoding="utf-8"))

    def violations() -> list[Any]:
        found = page.evaluate("axe.run().then((r) => r.violations)")
        return [(v["id"], [n["html"][:200] for n in v["nodes"]]) for v in found]

    assert violations() == []
    go_to(person, "Backward: layer 1: ∂C₀/∂w₀₀⁽¹⁾")
    over = "document.documentElement.scrollWidth <= innerWidth"
    assert page.evaluate(over)
    page.click(".worked button:text-is('Derivation of W[1]')")
    page.wait_for_selector(".panel .headline")
    page.click("text=Prove it")
    page.wait_for_selector(".verdict.pass")
    assert violations() == []
    page.click("text=All at once")
    assert violations() == []
    assert page.evaluate(over)
    assert person.errors == []
    context.close()


def test_on_a_phone_what_is_lit_is_in_sight(browser: Any, site: Site) -> None:
    context = browser.new_context(viewport={"width": 400, "height": 850})
    person = Person(context.new_page(), site, site.server.url)
    start(person)
    page = person.page
    for name, part in (("The loss", "loss"), ("Forward: layer 1: a₀⁽¹⁾", "x[0]")):
        go_to(person, name)
        box = page.locator(f'.network [data-target="{part}"] .disc').bounding_box()
        assert (box["x"] >= 0, box["x"] + box["width"] <= 400) == (True, True), name
        assert box["y"] >= 0
    assert page.locator(".drawing").bounding_box()["y"] <= 60
    context.close()


def test_the_words_are_in_the_language_of_the_lessons(person: Person) -> None:
    person.visit(two)
    page = person.page
    page.click("text=Lessons")
    page.select_option("[aria-label='Language of the lessons']", "de")
    person.settled()
    page.click("[aria-label='Lektion schließen']")
    page.click("text=Worked example")
    expect(page.locator(".worked h2")).to_have_text("Durchgerechnetes Beispiel")
    expect(page.locator(".worked")).to_have_attribute("lang", "de")
    page.click(".worked button:text-is('Weiter')")
    expect(page.locator(".worked .walk .small")).to_have_text("2 von 22")


def test_the_recorded_file_has_it_where_it_says(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "lesson.html"
    published().explore([SAMPLE[0]], [SAMPLE[1]]).save(path, steps=9)
    context = browser.new_context(offline=True)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.goto(path.as_uri())
    page.wait_for_selector(".network .unit")
    page.click("text=Worked example")
    page.wait_for_selector(".worked .passage")
    page.get_by_label("Freeze the biases").check()
    expect(page.locator(".worked .body > .small")).to_contain_text("biases frozen")
    assert page.get_by_label("Steps of descent").count() == 0
    page.click("[aria-label='Close the worked example']")
    page.focus("[aria-label='Recorded step']")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")  # step 1 of 9 has none
    expect(page.locator(".timeline .at")).to_have_text("step 1")
    page.click("text=Worked example")
    expect(page.locator(".toast")).to_contain_text("Choose the first or the last step")
    page.focus('[data-target="W[2]"]')
    page.keyboard.press("Enter")
    expect(page.locator(".headline")).to_have_attribute("aria-label", re.compile("^∂C/∂W⁽²⁾ = "))
    assert errors == []
    context.close()
