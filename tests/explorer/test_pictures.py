"""Pictures in the page: the loss over one number, units over the inputs, the boundary."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.explain import explain
from chainrule.explain.curve import loss_curve
from chainrule.explorer import Explorer
from chainrule.explorer.session import Session
from tests.explorer.asked import ask, lesson, refused, session  # noqa: F401

playwright = pytest.importorskip("playwright.sync_api")
from tests.explorer.reader import Person, Site, browser, expect, person, shown, site, small  # noqa: E402, F401

MODULES = Path(__file__).parents[2] / "node_modules"
STATIC = Path(cr.__file__).parent / "explorer" / "static"

# --- messages -------------------------------------------------------------------------------------


def test_a_picture_has_the_numbers_of_the_derivation() -> None:
    session = small()
    ask(session, "configure", scope="all", learning_rate=0.25)
    reply = ask(session, "picture", target="w[2][1,2]")
    data = session._data
    why = explain(session.network, "w[2][1,2]", data.X, data.y, learning_rate=0.25)
    *_, whole = reply["changes"]
    assert whole["predicted"] == why.value * reply["size"]
    assert shown(loss_curve(why).value) in reply["drawn"][0]["words"]
    assert [d["title"] for d in reply["drawn"]] == [
        "C as a function of w₁₂⁽²⁾",
        "The step from near: C as a function of w₁₂⁽²⁾",
        "a₁⁽²⁾ as a function of z₁⁽²⁾",
    ]
    # the page's policy forbids styles in elements
    assert all("style=" not in d["svg"] for d in reply["drawn"])


def test_a_target_that_is_not_there_is_refused() -> None:
    assert "has layers 1 to 3" in refused(small(), {"kind": "picture", "target": "w[9][0,0]"})


def test_units_are_forward_passes_over_the_inputs() -> None:
    session = small()
    reply = ask(session, "units")
    x0, x1, y0, y1 = reply["box"]
    side = len(reply["layers"][0][0]["grid"])
    for l, units in enumerate(reply["layers"], start=1):
        assert [view["unit"] for view in units] == list(range(session.network.sizes[l]))
        for r, c in ((0, 0), (3, 7), (side - 1, side - 1)):
            point = [x0 + (c + 0.5) / side * (x1 - x0), y1 - (r + 0.5) / side * (y1 - y0)]
            a = session.network.forward([point]).a[l][0]
            found = [view["grid"][r][c] for view in units]
            np.testing.assert_allclose(found, a, atol=6e-4)


def test_other_inputs_than_two_have_no_units_to_draw() -> None:
    net = cr.Network([3, 2, 1], seed=0)
    reply = ask(Session(net, [[1.0, 2.0, 3.0]], [1.0]), "units")
    assert reply == {"kind": "units", "box": [], "layers": []}


def test_numbers_without_end_are_drawn_as_gaps() -> None:
    net = cr.Network([2, 1, 1], hidden="identity", W=[[[1e200, 1.0]], [[1e200]]])
    session = Session(net, [[1.0, 2.0]], [1.0])
    ask(session, "units")
    for target in ("w[1][0,0]", "w[2][0,0]", "a[2][0]"):
        reply = ask(session, "picture", target=target)
        assert all("nan" not in d["svg"] for d in reply["drawn"])


# --- the boundary ---------------------------------------------------------------------------------


@pytest.mark.needs("node")
def test_the_boundary_is_smooth() -> None:
    """The contour of a circle lies on the circle, to a hundredth of a cell."""
    script = """
      import { contour } from "./contour.js";
      const side = 50;
      const grid = [...Array(side)].map((_, r) => [...Array(side)].map((_, c) =>
        Math.hypot(c - 24.3, r - 25.1)));
      grid[0][0] = "nan";
      const ends = contour(grid, 15).flatMap(([a, b, c, d]) => [[a, b], [c, d]]);
      console.log(JSON.stringify(ends.map(([x, y]) => Math.hypot(x - 24.3, y - 25.1))));
    """
    done = subprocess.run(
        ["node", "--input-type=module", "-e", script], cwd=STATIC, capture_output=True, check=True
    )
    radii = json.loads(done.stdout)
    assert len(radii) > 150
    assert np.abs(np.array(radii) - 15).max() < 0.01


# --- the page -------------------------------------------------------------------------------------


@pytest.mark.needs("chromium")
def test_pictures_open_and_follow_the_numbers(person: Person) -> None:
    person.visit(small)
    page = person.page
    person.open("w[2][1,2]")
    assert page.locator(".pictures svg").count() == 0
    page.click(".pictures > summary")
    expect(page.locator(".pictures figure")).to_have_count(3)
    before = person.text(".pictures figcaption")
    page.fill(".editor input[type=number]", "0.9")
    page.keyboard.press("Enter")
    person.settled()
    expect(page.locator(".pictures figcaption").first).to_contain_text("= 0.9, C is")
    assert person.text(".pictures figcaption") != before
    person.open("b[1][0]")  # stays open for the next
    expect(page.locator(".pictures figure")).to_have_count(3)
    expect(page.locator(".pictures figcaption").first).to_contain_text("b₀⁽¹⁾")


@pytest.mark.needs("chromium")
def test_a_unit_over_the_inputs_opens_its_derivative(person: Person) -> None:
    person.visit(small)
    page = person.page
    expect(page.locator(".unitmaps canvas")).to_have_count(0)
    page.click(".unitmaps > summary")
    expect(page.locator(".unitmaps canvas")).to_have_count(6)
    page.click(".unitmaps [aria-label^='a₁⁽²⁾']")
    page.wait_for_selector(".headline")
    person.settled()
    assert person.formulas(".headline").startswith("∂C∂a1(2)=")
    page.click("[data-name=digits]")
    person.settled()
    expect(page.locator(".unitmaps")).to_be_hidden()


@pytest.mark.needs("chromium", "axe-core")
@pytest.mark.parametrize(("width", "scheme"), [(1366, "light"), (1366, "dark"), (400, "dark")])
def test_axe_finds_nothing_in_pictures(
    browser: Any,
    site: Site,
    width: int,
    scheme: str,
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    person = Person(page, site, site.server.url)
    person.visit(small)
    person.open("w[2][1,2]")
    page.click(".pictures > summary")
    page.wait_for_selector(".pictures svg")
    person.settled()
    page.evaluate((MODULES / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate(
        "() => axe.run().then((r) => r.violations.map((v) => [v.id, v.nodes.length]))"
    )
    beyond = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    page.close()
    assert found == []
    assert beyond <= 0
    assert person.errors == []


@pytest.mark.needs("chromium")
@pytest.mark.parametrize("width", [1366, 1920])
def test_the_panel_cuts_no_formula(browser: Any, site: Site, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 1000})
    person = Person(page, site, site.server.url)
    person.visit()
    for target in ("w[1][0,1]", "w[2][1,2]", "w[3][0,1]", "b[2][0]", "x[1]"):
        person.open(target)
        wide = page.evaluate(
            "[...document.querySelectorAll('.panel .eq, .headline')]"
            ".filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.textContent)"
        )
        assert wide == [], target
    page.close()


@pytest.mark.needs("chromium")
def test_the_offline_file_has_pictures_of_some_steps(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    session = small()
    Explorer(session.network, session._data.X, session._data.y).save(file, steps=2)
    page = browser.new_page()
    page.goto(file.as_uri())
    page.wait_for_selector(".network .unit")
    page.focus('.network [data-target="w[2][1,2]"]')
    page.keyboard.press("Enter")
    page.click(".pictures > summary")
    page.wait_for_selector(".pictures svg")
    page.click(".unitmaps > summary")
    page.wait_for_selector(".unitmaps canvas")
    page.close()
