"""HTML pages of explanations, also in a real browser."""

from __future__ import annotations

import json
import re
import subprocess
import xml.etree.ElementTree as ET
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pylatexenc.latexwalker import LatexWalker

import chainrule as cr
from chainrule.explain.text import TextWriter
from tests.explain.rendered import (  # noqa: F401
    Array,
    check_mathml,
    each,
    explained,
    quick_certificate,
    settings,
    shape,
)

# --- HTML ---------------------------------------------------------------------------------------


class Balanced(HTMLParser):
    """Checks that every tag is closed, in order."""

    EMPTY = frozenset({"meta", "mspace", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        assert tag in self.EMPTY

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parse_html(text: str) -> Balanced:
    parser = Balanced()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser


def test_html_is_balanced_and_self_contained() -> None:
    formulas: set[str] = set()
    for why in each():
        text = why.html()
        page = parse_html(text)
        names = {name for name, _ in page.seen}
        assert not names & {"script", "link", "img", "iframe", "object", "embed", "a", "video"}
        for name, attributes in page.seen:
            assert not any(key.startswith("on") for key in attributes)
            assert not {"src", "href", "action", "data"} & set(attributes), name
        links = set(re.findall(r"https?://[^\s\"'<]+", text))
        assert links <= {"http://www.w3.org/1998/Math/MathML"}
        assert "url(" not in text
        assert "@import" not in text
        formulas |= {shape(f) for f in re.findall(r"<math.*?</math>", text, flags=re.S)}
        assert text.startswith("<!DOCTYPE html>")
        assert '<meta charset="utf-8"/>' in text
        assert why._repr_html_() in text
        assert "<html" not in why._repr_html_()
    for formula in formulas:
        check_mathml(ET.fromstring(formula))


def test_what_is_foreign_is_escaped() -> None:
    class Strange(cr.Activation):
        name = "<script>&\"'"
        formula = "z"
        derivative_formula = "1"

        def value(self, z: Array) -> Array:
            return z

        def derivative(self, z: Array, a: Array) -> Array:
            return np.ones_like(z)

    why = explained([2, 2, 1], Strange(), Strange(), "huber", "w[1][1,0]")
    assert "<script" not in why.html()
    parse_html(why.html())
    LatexWalker(why.latex(), tolerant_parsing=False).get_latex_nodes()


@pytest.mark.parametrize("depth", [0, 1, 2, 3, 4])
def test_details_open_down(depth: int) -> None:
    """The number of levels asked for, each with all contributions, or the largest and the rest."""
    why = explained([2, 3, 2, 2], "tanh", "softmax", "cross_entropy", "w[1][1,0]")
    page = why.html(depth=depth)
    levels = {0: 0, 1: 2, 2: 2 + 4, 3: 2 + 4 + 8, 4: 2 + 4 + 8}[depth]
    assert page.count("through unit") == levels
    nested = deepest = 0
    for mark in re.findall(r"</?details", page):
        nested += 1 if mark == "<details" else -1
        deepest = max(deepest, nested)
    assert deepest == max(0, min(depth, 3) - 1)


def test_a_long_sum_says_what_it_leaves_out() -> None:
    why = settings()["wide"]
    parts = why.terms[0].contributions
    assert parts is not None
    shown, rest = parts.largest(8)
    writer = TextWriter(why.notation, why.network.sizes)
    text = why.text()
    assert "The 8 largest of 110 contributions" in text
    assert f"the sum of the other 102: {writer.number(rest)}" in text
    assert f"{writer.number(rest)} (the other 102)".lstrip("−") in text
    for part in shown:
        assert writer.number(part.value) in text
    assert "The 8 largest of 110 contributions" in why.html()
    assert "the sum of the other 102" in why.html()
    assert "8 largest of 110 contributions" in why.latex()
    plain = why.to_dict()["terms"][0]["contributions"]
    assert plain["count"] == 110
    assert plain["rest"] == rest
    # every level that is drawn is drawn for all
    page = why.html(depth=3)
    assert page.count("through unit") == 8 + 8 * 8 + 8 * 8 * 8


def test_many_samples_are_not_hidden() -> None:
    why = explained([2, 2, 1], "tanh", "tanh", "huber", "w[1][1,0]", n=130, focus=77)
    assert "... and 120 more samples" in why.text()
    assert "\n        77  " in why.text()  # the sample in focus is among them
    assert "and 30 more samples" in why.html()
    assert "and 110 more samples" in why.latex()
    assert len(why.to_dict()["samples"]) == 130
    later = why.html().replace("\n", "")
    assert later.count('<tr class="focus">') == 1
    last = explained([2, 2, 1], "tanh", "tanh", "huber", "w[1][1,0]", n=130, focus=129)
    assert '<tr class="focus"><td>129</td>' in last.html()
    for n, text in ((11, "text"), (101, "html"), (21, "latex")):
        one_left = explained([2, 2, 1], "tanh", "tanh", "huber", "w[1][1,0]", n=n)
        assert re.search(r"and 1 more sample\b", getattr(one_left, text)())
    assert "\n129 & " in last.latex()


# --- a real browser -----------------------------------------------------------------------------

MEASURE = """
<script>
const wrong = [];
const say = (what, element) => wrong.push(what + ": " + element.outerHTML.slice(0, 300));
document.querySelectorAll("details").forEach(element => element.open = true);
const count = {};
for (const element of document.querySelectorAll("math *, math")) {
    const name = element.localName, box = element.getBoundingClientRect();
    count[name] = (count[name] || 0) + 1;
    if (!(element instanceof MathMLElement)) say("not MathML", element);
    const hollow = name == "mspace" || (element.textContent == "" && name != "mtable");
    if (!hollow && !(box.width > 0 && box.height > 0)) say("no size", element);
}
for (const row of document.querySelectorAll("mtr")) {
    const cells = [...row.children].map(cell => cell.getBoundingClientRect());
    for (let i = 1; i < cells.length; i++)
        if (cells[i].left < cells[i - 1].right - 0.5) say("cells overlap", row);
    for (const cell of row.children)
        for (const inside of cell.children)
            if (inside.getBoundingClientRect().right > cell.getBoundingClientRect().right + 1)
                say("sticks out of its cell", cell);
}
for (const table of document.querySelectorAll("mtable")) {
    const rows = [...table.children].map(row => row.getBoundingClientRect());
    for (let i = 1; i < rows.length; i++)
        if (rows[i].top < rows[i - 1].bottom - 0.5) say("rows overlap", table);
}
const blocks = [...document.querySelectorAll(".chainrule > *")];
for (let i = 1; i < blocks.length; i++) {
    const [above, below] = [blocks[i - 1], blocks[i]].map(b => b.getBoundingClientRect());
    if (below.height && above.height && below.top < above.bottom - 0.5)
        say("blocks overlap", blocks[i]);
}
const sideways = document.documentElement.scrollWidth - document.documentElement.clientWidth;
if (sideways > 0) wrong.push("the page scrolls sideways by " + sideways);
const told = JSON.stringify({wrong, count});
document.body.textContent = "";
document.body.appendChild(document.createElement("pre")).textContent = told;
</script>
"""


@pytest.mark.needs("chromium")
def test_a_browser_lays_out_every_formula(chromium: list[str], tmp_path: Path) -> None:
    whys = settings()
    left_out = ("wide", "loss", "x", "z", "a[")  # the page is large as it is
    body = "\n".join(
        why._repr_html_() for name, why in whys.items() if not name.startswith(left_out)
    )
    head = '<!DOCTYPE html><meta charset="utf-8"><title>all</title>'
    told = measured(chromium, tmp_path, f"{head}<body>{body}{MEASURE}", 400)
    assert told["wrong"] == []
    assert {"mfrac", "msubsup", "munderover", "mtable", "msup", "mtext"} <= set(told["count"])
    assert told["count"]["math"] > 1000


@pytest.mark.needs("chromium")
def test_a_browser_lays_out_a_whole_page(chromium: list[str], tmp_path: Path) -> None:
    page = settings()["wide"].html().replace("</body>", MEASURE + "</body>")
    assert measured(chromium, tmp_path, page, 1280)["wrong"] == []


def measured(chromium: list[str], folder: Path, page: str, width: int) -> Any:
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    done = subprocess.run(
        [*chromium, f"--window-size={width},900", "--dump-dom", file.as_uri()],
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    told = re.search(r"<pre>(.*)</pre>", done.stdout, flags=re.S)
    assert told, done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads(unescape(told[1]))
