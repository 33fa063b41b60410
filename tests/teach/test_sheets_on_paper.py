"""Sheets, keys and overviews typeset: by LaTeX without an overfull box, by a browser on A4."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

import chainrule as cr
from chainrule.explain.page_latex import words
from chainrule.teach.worksheets.kinds import KINDS, LEVELS
from tests.conftest import ROOT
from tests.tools import find_chromium

PAGES = ("sheets", "keys", "overview")


def worksheet(level: str, notation: str, **network: Any) -> cr.Worksheet:
    net = cr.Network(**{"sizes": [2, 3, 2], "hidden": "tanh", "seed": 0} | network)
    kinds = list(KINDS) if "loss" not in network else list(LEVELS[level])
    return cr.worksheet(
        net, exercises=2 * len(kinds), seed=3, level=level, kinds=kinds, draw_weights=True,
        notation=notation,
    )  # fmt: skip


CASES: dict[str, dict[str, Any]] = {
    "easy": {"level": "easy", "notation": "default"},
    "middle": {"level": "middle", "notation": "C-a-L", "hidden": "gelu", "output": "tanh"},
    "hard": {"level": "hard", "notation": "L-h", "hidden": ["elu", "sigmoid"],
             "sizes": [3, 2, 2, 1]},
    "softmax": {"level": "middle", "notation": "default", "output": "softmax",
                "loss": "cross_entropy"},
    "sigmoid": {"level": "hard", "notation": "default", "hidden": "silu", "output": "sigmoid",
                "loss": "binary_cross_entropy", "sizes": [2, 2, 2, 1]},
}  # fmt: skip


@pytest.mark.needs("latex")
@pytest.mark.parametrize("case", list(CASES))
def test_latex_typesets_every_page_without_an_overfull_box(tmp_path: Path, case: str) -> None:
    worksheet(**CASES[case]).save(tmp_path, "latex")
    for name in PAGES:
        done = subprocess.run(
            ["pdflatex", "-draftmode", "-interaction=nonstopmode", f"{name}.tex"],
            cwd=tmp_path, capture_output=True, check=False,
        )  # fmt: skip
        log = (tmp_path / f"{name}.log").read_text(encoding="latin-1")
        assert done.returncode == 0, re.findall(r"^!.*", log, re.MULTILINE)
        assert not re.findall(r"Overfull \\hbox.*\n.*", log), name


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("w₁₀⁽²⁾", "w$_{10}^{(2)}$"),
        ("a⁽ᴸ⁾ and δᵢ", r"a$^{(L)}$ and $\delta$$_{i}$"),
        ("z₁²₂", "z$_{1}^{2}{}_{2}$"),
        ("hᵢ₋₁", "h$_{i-1}$"),
    ],
)
def test_indices_in_a_sentence_are_set_as_formulas(text: str, latex: str) -> None:
    assert words(text) == latex


_CUT = """() => {
  const width = document.documentElement.clientWidth;
  const wide = [...document.querySelectorAll("math, table, p, li, h1, h2, h3, .answer")];
  return wide.filter(node => node.getBoundingClientRect().right > width + 0.5)
    .map(node => node.textContent.slice(0, 80));
}"""


@pytest.mark.needs("chromium")
@pytest.mark.parametrize("case", ["middle", "sigmoid"])
def test_a_print_on_a4_cuts_nothing(tmp_path: Path, case: str) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    worksheet(**CASES[case]).save(tmp_path, "html")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 658, "height": 1000})  # A4, margins of 18 mm
        page.emulate_media(media="print")
        for name in PAGES:
            page.goto((tmp_path / f"{name}.html").as_uri())
            assert page.evaluate(_CUT) == [], name
        browser.close()


@pytest.mark.needs("chromium", "axe-core")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1366), ("dark", 400)])
def test_axe_finds_nothing(tmp_path: Path, scheme: str, width: int) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    axe = (ROOT / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    worksheet(**CASES["middle"]).save(tmp_path, "html")
    nodes = "r.violations.flatMap((v) => v.nodes.map((n) => v.id + n.html + n.failureSummary))"
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        for name in PAGES:
            page.goto((tmp_path / f"{name}.html").as_uri())
            page.evaluate(axe)
            assert page.evaluate(f"axe.run().then((r) => {nodes})") == [], name
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        browser.close()
