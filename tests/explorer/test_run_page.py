"""The pages of a watched run in a browser: followed live, by keyboard, on a phone, in the dark."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import chainrule as cr
from tests.conftest import ROOT

torch = pytest.importorskip("torch")
pytest.importorskip("playwright.sync_api")
from tests.explorer import run_of  # noqa: E402
from tests.explorer.reader import browser, expect  # noqa: E402, F401
from tests.explorer.run_of import SPIKE  # noqa: E402
from tests.explorer.test_run_explorer import Training  # noqa: E402

pytestmark = pytest.mark.needs("torch", "chromium")


@pytest.fixture(scope="module")
def explorer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[cr.RunExplorer]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("watched") / "run"
    model, optimizer, loss_fn = run_of.parts()
    with cr.watch(model, optimizer, loss_fn, folder=path, every=5) as run:
        run_of.train(run, model, optimizer, loss_fn, 160)
    model, optimizer, loss_fn = run_of.parts()
    run = cr.load_run(path, model=model, optimizer=optimizer, loss_fn=loss_fn)
    explorer = cr.explore_run(run)
    yield explorer
    explorer.stop()
    torch.set_num_threads(before)


class Reader:
    """Somebody at a page, who sees no error."""

    def __init__(self, browser: Any, url: str, width: int = 1280, scheme: str = "light") -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda m: self.errors.extend([m.text] * (m.type == "error")))
        self.page.goto(url)

    def close(self) -> None:
        self.context.close()
        assert self.errors == []


@pytest.fixture
def reader(browser: Any, explorer: cr.RunExplorer) -> Iterator[Reader]:
    reader = Reader(browser, explorer.start())
    yield reader
    reader.close()


@pytest.mark.needs("axe-core")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1366), ("dark", 400)])
def test_axe_finds_nothing_on_any_page(
    browser: Any,
    explorer: cr.RunExplorer,
    scheme: str,
    width: int,
) -> None:
    axe = (ROOT / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    reader = Reader(browser, explorer.start(), width, scheme)
    base = explorer.start().partition("?")[0]
    for path in ("", f"step?step={SPIKE}", "step?step=3", "row?row=17", "weight?name=0.weight",
                 "steps", "why?target=0.weight[1,2]&step=150", f"again?step={SPIKE}",
                 f"explain?step={SPIKE}&target=0.weight[1,2]"):  # fmt: skip
        reader.page.goto(base + path)
        reader.page.wait_for_load_state("networkidle") if path else None
        if path in ("", "weight?name=0.weight"):
            reader.page.wait_for_selector("[role=slider]")
        reader.page.evaluate(axe)
        nodes = "r.violations.flatMap((v) => v.nodes.map((n) => v.id + n.html + n.failureSummary))"
        assert reader.page.evaluate(f"axe.run().then((r) => {nodes})") == [], path
        assert reader.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
    reader.close()


def test_the_keyboard_goes_along_a_curve_into_a_step_a_row_and_a_weight(reader: Reader) -> None:
    page = reader.page
    curve = page.get_by_role("slider", name="Loss of each batch")
    curve.focus()
    expect(curve).to_have_attribute("aria-valuenow", "159")
    page.keyboard.press("Home")
    expect(curve).to_have_attribute("aria-valuenow", "0")
    page.keyboard.press("End")
    for _ in range(159 - SPIKE):
        page.keyboard.press("ArrowLeft")
    expect(curve).to_have_attribute("aria-valuenow", str(SPIKE))
    words = curve.get_attribute("aria-valuetext")
    assert words.startswith(f"step {SPIKE}: ")
    expect(page.locator(".readout").first).to_have_text(words)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Step {SPIKE}")
    table = page.get_by_role("region", name=f"Samples of step {SPIKE}")
    link = table.get_by_role("link").nth(3)  # after those that order the table
    row = link.inner_text()
    link.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Row {row}")
    page.go_back()
    page.get_by_role("link", name="0.weight").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("0.weight")
    page.get_by_label("Weight", exact=True).fill("0.weight[3,1]")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(
        f"Why 0.weight[3,1] moved in step {SPIKE}"
    )
    page.get_by_role("link", name="Explain its gradient").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("0.weight[3,1]")
    page.get_by_text("Certificate: pass").wait_for()


def test_a_click_on_a_curve_opens_the_step_below_it(reader: Reader) -> None:
    page = reader.page
    box = page.locator(".box").first
    place = box.bounding_box()
    box.hover(position={"x": place["width"] * 40.2 / 159, "y": 50})
    expect(page.locator(".readout").first).to_contain_text("step 40: ")
    box.click(position={"x": place["width"] * 40.2 / 159, "y": 50})
    expect(page.get_by_role("heading", level=1)).to_have_text("Step 40")
    page.get_by_role("link", name="next recorded step").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Step 45")


def test_a_page_follows_a_run_of_another_process(
    browser: Any,
    tmp_path: Path,
) -> None:
    training = Training(tmp_path / "run", 12)
    explorer = cr.explore_run(tmp_path / "run")
    with training.process:
        first, second = (Reader(browser, explorer.start()) for _ in range(2))
        page = first.page
        expect(page.locator("#live-state")).to_have_text("The run goes on.")
        curve = page.get_by_role("slider", name="Loss of each batch")
        curve.focus()
        page.keyboard.press("ArrowLeft")
        expect(curve).to_have_attribute("aria-valuenow", "10")
        training.tell("train 20")
        for reader in (first, second):
            expect(reader.page.locator("#live-sum")).to_contain_text("32 steps with SGD")
        expect(curve).to_have_attribute("aria-valuemax", "31")
        expect(curve).to_have_attribute("aria-valuenow", "10")  # as it was chosen
        expect(curve).to_be_focused()
        page.get_by_role("button", name="Pause").click()
        training.tell(f"train {SPIKE - 10}")
        expect(second.page.locator("#live-sum")).to_contain_text(f"{SPIKE + 22} steps with SGD")
        expect(page.locator("#live-sum")).to_contain_text("32 steps with SGD")
        expect(second.page.locator("#news")).to_have_text("The run goes on. 1 spike.")
        second.close()  # the other page goes on
        page.get_by_role("button", name="Follow").click()
        expect(page.locator("#live-sum")).to_contain_text(f"{SPIKE + 22} steps with SGD")
        expect(page.locator(".dot title").first).to_have_text(f"spike in step {SPIKE}")
        training.process.kill()
        training.process.wait(600)
        expect(page.locator("#live-state")).to_have_text(re.compile("The run died: its process"))
        expect(page.locator("#news")).to_contain_text("The run died")
    explorer.stop()
    expect(page.locator("#live-state")).to_have_text(re.compile("its server has stopped"))
    first.errors.clear()  # the browser writes down that nobody answered
    first.close()


def test_without_scripts_the_page_is_whole(browser: Any, explorer: cr.RunExplorer) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(explorer.start())
    page.get_by_label("Open a step").fill("40")
    page.get_by_role("button", name="Open").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Step 40")
    page.get_by_role("link", name="All steps as a table").click()
    page.get_by_role("link", name="Last").click()
    expect(page.get_by_role("link", name="159")).to_be_visible()
    context.close()
