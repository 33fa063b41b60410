"""The explorer's page: links, wide layers, keyboard, accessibility, phones, and as a file."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.explain import explain
from chainrule.explorer import Explorer
from chainrule.explorer.session import Session

playwright = pytest.importorskip("playwright.sync_api")
from tests.explorer.reader import Person, Site, browser, expect, person, shown, site, small  # noqa: E402, F401

pytestmark = pytest.mark.needs("chromium")

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "src" / "chainrule" / "explorer" / "static"
MODULES = ROOT / "node_modules"


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
