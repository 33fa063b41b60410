"""The explorer's page: what a reader sees first, and what is made of the data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

playwright = pytest.importorskip("playwright.sync_api")
from tests.explorer.reader import (  # noqa: E402
    SETTINGS,
    Person,
    Site,
    browser,  # noqa: F401
    expect,
    person,  # noqa: F401
    site,  # noqa: F401
    small,
)

pytestmark = pytest.mark.needs("chromium")
ROOT = Path(__file__).parents[2]
COUNT = """() => [...document.querySelectorAll('.cr-app :is(button, select, input, summary, a)')]
  .filter((node) => !node.matches('.skip')
    && node.checkVisibility({ opacityProperty: true, visibilityProperty: true })
    && node.getBoundingClientRect().width > 1).length"""


def newcomer(browser: Any, site: Site, width: int, **options: Any) -> Person:
    """A person whose browser remembers nothing."""
    context = browser.new_context(viewport={"width": width, "height": 850}, **options)
    return Person(context.new_page(), site, site.server.url)


# --- first sight ----------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1366, 400])
def test_few_controls_are_seen_first(browser: Any, site: Site, width: int) -> None:
    reader = newcomer(browser, site, width)
    reader.visit()
    assert reader.page.evaluate(COUNT) <= 20  # of 66 that there were
    for name in ("▶ Train", "▶ Play the steps", "Show me one"):
        button = reader.page.get_by_role("button", name=name, exact=True)
        expect(button).to_be_visible()
        assert button.bounding_box()["height"] < 40  # on one line
    wide = "document.documentElement.scrollWidth <= innerWidth"
    assert reader.page.evaluate(wide)
    reader.page.click("text=Show me one")
    expect(reader.page.locator(".headline")).to_be_visible()
    assert reader.errors == []
    reader.page.context.close()


def test_a_group_opens_by_keyboard_and_is_remembered(browser: Any, site: Site) -> None:
    reader = newcomer(browser, site, 1366)
    reader.visit()
    for name in SETTINGS:
        assert not reader.page.locator(f"details:has(> summary h2:text-is('{name}'))").evaluate(
            "node => node.open"
        )
    reader.page.locator("summary:has-text('Network')").focus()
    reader.page.keyboard.press("Enter")
    expect(reader.page.get_by_label("L2 penalty λ")).to_be_visible()
    reader.page.reload()
    reader.page.wait_for_selector(".network .unit")
    expect(reader.page.get_by_label("L2 penalty λ")).to_be_visible()
    expect(reader.page.get_by_label("Noise")).to_be_hidden()
    reader.page.locator("summary:has-text('Network')").click()
    reader.page.reload()
    reader.page.wait_for_selector(".network .unit")
    expect(reader.page.get_by_label("L2 penalty λ")).to_be_hidden()
    reader.page.context.close()


def test_a_folded_group_says_what_is_set(person: Person) -> None:
    person.visit()
    now = person.page.locator(".side summary .now")
    assert now.all_text_contents() == ["circles", "2-4-2-1", "η = 0.5", "0 of 160", "default"]
    person.page.click("[data-name=moons]")
    expect(now.first).to_have_text("moons")


@pytest.mark.parametrize("which", [0, 1, 4])
def test_the_lesson_and_the_drawing_are_seen_together(browser: Any, site: Site, which: int) -> None:
    reader = newcomer(browser, site, 400)
    page = reader.page
    reader.visit()
    page.click("text=Lessons")
    page.locator(".choice").nth(which).click()
    page.wait_for_selector(".lesson progress")
    for stop in range(2):
        expect(page.locator(".lesson progress")).to_have_attribute("value", str(stop + 1))
        reader.settled()
        drawing = page.locator(".drawing").bounding_box()
        heading = page.locator(".lesson h2").bounding_box()
        assert 0 <= drawing["y"] <= 60
        assert drawing["y"] + drawing["height"] <= heading["y"] < 500
        page.evaluate("scrollBy(0, 120)")  # the drawing stays
        assert page.locator(".drawing").bounding_box()["y"] == pytest.approx(0, abs=1)
        page.click(".lesson .buttons .main")
    page.click("[aria-label='Close the lesson']")
    assert page.locator(".cr-app.learning").count() == 0
    assert reader.errors == []
    page.context.close()


def test_the_steps_have_plain_names(person: Person) -> None:
    """They were signs such as ∂w3 and ←2."""
    person.visit(small)
    page = person.page
    expect(page.locator(".dots button")).to_have_count(12)
    expect(page.locator(".dots")).to_contain_text("Backward: layer 3")
    page.click("text=Play the steps")
    expect(page.locator(".player .controls")).to_contain_text("step 1 of 12")
    page.click("text=Pause the steps")
    page.click("[aria-label='Leave the steps']")
    expect(page.locator("[aria-label='Step back']")).to_be_hidden()


# --- data -----------------------------------------------------------------------------------------


def test_derived_inputs_are_switched(person: Person) -> None:
    session = person.visit()
    page = person.page
    page.get_by_label("the square of input 0").check()
    person.settled()
    page.get_by_label("the product of inputs 0 and 1").check()
    person.settled()
    assert session.data.derived == ("u**2", "u*v")
    assert page.locator(".network [data-target^='x[']").count() == 4
    label = page.get_attribute('.network [data-target="x[2]"]', "aria-label")
    assert label is not None
    assert "x₂ = (x₀)²" in label
    person.open("w[1][0,2]")
    expect(page.locator(".panel")).to_contain_text("(the square of input 0)")
    names = page.locator(".part[data-title='The names']")
    expect(names).to_contain_text("the product of inputs 0 and 1:")
    assert page.get_by_role("spinbutton", name="x₂ = (x₀)²").is_disabled()
    person.open("x[2]")
    assert page.locator(".editor").count() == 0
    page.click("[aria-label=Undo]")
    person.settled()
    assert not page.get_by_label("the product of inputs 0 and 1").is_checked()
    assert page.get_by_label("the square of input 0").is_checked()
    box = page.locator("canvas.surface").bounding_box()
    page.locator("canvas.surface").click(
        position={"x": box["width"] - 4, "y": 4}
    )  # inside of its round corner
    person.settled()
    u, v = session.data.X[:, :2].T
    low, size = session.data.X[:, :2].min(axis=0), np.ptp(session.data.X[:, :2], axis=0)
    far = np.hypot((u - low[0]) / size[0] - 1, (v - low[1]) / size[1] - 1)
    assert session.sample in np.argsort(far)[:3]  # the nearest to the corner


def test_a_share_is_held_out_and_a_link_keeps_it(person: Person) -> None:
    session = person.visit()
    page = person.page
    page.get_by_label("the sine of input 1").check()
    person.settled()
    page.get_by_label("Held out").fill("0.5")
    person.settled()
    assert (len(session.data.X), len(session.data.X_val)) == (100, 100)
    expect(page.locator("[aria-label=Data]")).to_contain_text("50.0%, for validation")
    page.click("button:text-is('Step')")
    person.settled()
    expect(page.locator("[data-fact=validation]")).to_be_visible()
    assert page.locator(".curve path.validation").count() == 1
    page.get_by_label("Held out").fill("0")
    person.settled()
    expect(page.locator("[data-fact=validation]")).to_have_count(0)
    page.click("[aria-label=Undo]")
    person.settled()
    state = session.handle({"kind": "share"})["state"]
    page.goto("about:blank")
    other = person.visit(fragment=f"#s={state}")
    assert (other.data.derived, other.data.held) == (("sin(v)",), 0.5)
    expect(page.get_by_label("the sine of input 1")).to_be_checked()
    assert page.get_by_label("Held out").input_value() == "0.5"


def test_outputs_are_changed_or_it_says_why_not(person: Person) -> None:
    session = person.visit()
    page = person.page
    page.get_by_label("Output units").fill("2")
    page.keyboard.press("Enter")
    person.settled()
    assert session.network.sizes[-1] == 2
    assert page.locator("canvas.surface").count() == 1
    page.click("[data-name=plane]")
    person.settled()
    assert page.get_by_label("Output units").is_disabled()
    settings = page.locator("[aria-label='Network settings']")
    expect(settings).to_contain_text("A target of these data is one number")
    page.click("[data-name=digits]")
    person.settled()
    expect(settings).to_contain_text("One output stands for each of the 10 classes.")
    expect(settings).to_contain_text("64 inputs. Inputs are derived from data with two inputs")


def test_the_noise_that_is_set_follows_undo(person: Person) -> None:
    """The slider stayed where it was."""
    person.visit()
    page = person.page
    page.get_by_label("Noise").fill("0.5")
    person.settled()
    page.click("[aria-label=Undo]")
    person.settled()
    assert page.get_by_label("Noise").input_value() == "0.1"


def test_a_step_function_says_why_it_cannot_learn(person: Person) -> None:
    person.visit(small)
    page = person.page
    page.select_option("[aria-label='Activation of layer 1']", "step")
    person.settled()
    person.open("w[1][0,0]")
    expect(page.locator(".panel")).to_contain_text("flat on both sides of its jump")
    page.click(".health summary")
    expect(page.locator(".health")).to_contain_text("the step function of layer 1 has derivative 0")
    expect(page.locator("[aria-label='Network settings']")).to_contain_text("native engine")


@pytest.mark.needs("axe-core")
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1366, 400])
def test_no_state_is_inaccessible(browser: Any, site: Site, width: int, theme: str) -> None:
    axe = (ROOT / "node_modules" / "axe-core" / "axe.min.js").read_text()
    reader = newcomer(browser, site, width, color_scheme=theme, bypass_csp=True)
    page = reader.page
    reader.visit()

    def check() -> None:
        reader.settled()
        page.wait_for_timeout(250)  # until colours have faded in
        page.evaluate(axe)
        found = page.evaluate("axe.run('.cr-app')")["violations"]
        assert found == [], json.dumps(found, indent=1)[:3000]

    check()
    for summary in page.locator(":is(.group, .more, .legend) > summary").all():
        summary.click()
    page.locator(".all > summary").click()
    check()
    page.get_by_label("the square of input 0").check()
    reader.settled()
    page.get_by_label("Held out").fill("0.4")
    check()
    page.click("text=Play the steps")
    page.click("text=Pause the steps")
    check()
    page.click("[data-name=plane]")
    page.click("text=Show me one") if page.locator("text=Show me one").count() else None
    check()
    page.click("text=Lessons")
    page.locator(".choice").first.click()
    page.wait_for_selector(".lesson progress")
    check()
    assert reader.errors == []
    page.context.close()
