"""The explorer's page: health, notation, data and penalties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule.explain import explain
from chainrule.teach import datasets

playwright = pytest.importorskip("playwright.sync_api")
from tests.explorer.reader import Person, Site, browser, expect, person, shown, site, small  # noqa: E402, F401

pytestmark = pytest.mark.needs("chromium")


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
