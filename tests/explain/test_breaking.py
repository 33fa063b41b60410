"""Wide equations are cut into rows that fit on a sheet of A4: LaTeX, and HTML as it is printed."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.equations.formulas import Num, add, mul
from chainrule.explain import breaking
from chainrule.explain.symbols import Factor, quantity
from chainrule.explain.terms import Equation
from chainrule.explain.text import TextWriter
from tests.explain.rendered import NOTATIONS
from tests.tools import find_chromium

WRITER = TextWriter(cr.Notation(), [2, 2, 1])


def test_what_fits_is_not_cut() -> None:
    z = quantity("z", 1, 0)
    assert breaking.rows(WRITER, Equation((z, add(Num(1), Num(-2.5))))) == [
        breaking.Row("z₀⁽¹⁾", " = ", "1 − 2.5")
    ]


def test_a_sum_is_cut_before_its_signs() -> None:
    sides = (quantity("z", 1, 0), add(*(Num(-1.5 - i) for i in range(30))))
    rows = breaking.rows(WRITER, Equation(sides))
    assert len(rows) > 1
    assert rows[0].left == "z₀⁽¹⁾"
    assert all(row.left == row.sign == "" and row.right.startswith(" − ") for row in rows[1:])
    whole = WRITER.write(sides[1]).replace(" ", "")
    assert "".join(row.right for row in rows).replace(" ", "") == whole


def test_a_product_is_cut_between_its_factors() -> None:
    numbers = mul(*(Factor(Num(-0.123456 - i)) for i in range(20)))
    parts = breaking.parts(WRITER, numbers, 20.0)
    assert len(parts) > 2
    assert "".join(parts) == WRITER.write(numbers)


def test_a_long_left_side_has_a_row_of_its_own() -> None:
    long = add(*(quantity("w", 1, 0, k) for k in range(12)))
    rows = breaking.rows(WRITER, Equation((long, long)))
    assert [(row.left, row.sign) for row in rows[:2]] == [("", ""), ("", " = ")]


@cache
def derivations() -> dict[str, Any]:
    """Derivations from 2-2-1 to 784-16-10, and worked examples, in each notation."""
    rng = np.random.default_rng(0)
    found: dict[str, Any] = {}
    for sizes, target, n, more in [
        ([2, 2, 1], "w[1][0,1]", 4, {"hidden": "sigmoid", "l2": 0.01}),
        ([2, 8, 8, 1], "w[1][3,1]", 3, {"hidden": "gelu"}),
        ([3, 12, 6], "b[1][2]", 30, {"hidden": "softplus", "loss": "huber"}),
        ([784, 16, 10], "w[1][3,400]", 3, {"output": "softmax", "loss": "cross_entropy"}),
        ([784, 16, 10], "w[2][3,4]", 3, {"output": "softmax", "loss": "squared_error"}),
    ]:
        net = cr.Network(sizes, seed=3, **more)  # type: ignore[arg-type]
        X, y = rng.normal(size=(n, sizes[0])), np.eye(sizes[-1])[rng.integers(sizes[-1], size=n)]
        for notation in NOTATIONS:
            why = net.explain(target, X, y, learning_rate=0.1, notation=notation)
            found[f"{'-'.join(map(str, sizes))} {target} {notation}"] = why
    net = cr.Network([2, 2, 2], hidden="sigmoid", output="sigmoid", seed=1, l2=0.01)
    for notation in NOTATIONS:
        found[f"worked {notation}"] = net.worked_example(
            [0.05, 0.1], [0.01, 0.99], learning_rate=0.5, notation=notation
        )
    return found


@pytest.mark.needs("latex")
def test_latex_has_no_overfull_box(tmp_path: Path) -> None:
    for number, (name, made) in enumerate(derivations().items()):
        file = tmp_path / f"{number}.tex"
        file.write_text(made.latex(standalone=True), encoding="utf-8")
        done = subprocess.run(
            ["pdflatex", "-draftmode", "-interaction=nonstopmode", file.name],
            cwd=tmp_path, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, name
        log = file.with_suffix(".log").read_text(encoding="latin-1")
        assert not re.findall(r"Overfull \\hbox.*", log), name


# what reaches beyond the page: right edges right of it
_BEYOND = """() => {
  const width = document.documentElement.clientWidth;
  return [...document.querySelectorAll("math, pre, table, svg, p, h1, h2")]
    .filter((node) => node.getBoundingClientRect().right > width + 0.5)
    .map((node) => node.textContent.slice(0, 80));
}"""
_WIDTH = 718  # pixels of A4 between margins of 1 cm


@pytest.mark.needs("chromium")
def test_a_print_on_a4_loses_nothing(tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": _WIDTH, "height": 1000})
        page.emulate_media(media="print")
        for name, made in derivations().items():
            page.set_content(made.html())
            assert page.evaluate(_BEYOND) == [], name
        browser.close()
