"""Renderings of explanations: text, LaTeX, MathML, HTML, plain data; looked at by real readers."""

from __future__ import annotations

import inspect
import json
import math
import re
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from functools import cache
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pylatexenc.latexwalker import LatexWalker

import chainrule as cr
from chainrule.equations import formulas
from chainrule.equations.activations import ACTIVATIONS
from chainrule.equations.formulas import Expr, Mul, Num
from chainrule.equations.losses import LOSSES
from chainrule.equations.numbers import format_number
from chainrule.explain import Equation, Explanation, Notation
from chainrule.explain.symbols import (
    Factor,
    Function,
    Iverson,
    LossSymbol,
    Partial,
    Quantity,
    Sum,
    Word,
)
from chainrule.explain.text import TextWriter

Array = NDArray[Any]
REAL_CERTIFICATE = inspect.getattr_static(Explanation, "certificate")
MATH = "{http://www.w3.org/1998/Math/MathML}"
NOTATIONS = ["default", "C-a-L", "L-h"]


class Damped(cr.Activation):
    """g(z) = -z e^-z, which brings signs before numbers that may be negative."""

    name = "damped"
    formula = "-z*exp(-z)"
    derivative_formula = "-exp(-z) + z*exp(-z) = z*exp(-z) - (1 - z)*exp(-z) - z*exp(-z)"

    def value(self, z: Array) -> Array:
        return -z * np.exp(-z)

    def derivative(self, z: Array, a: Array) -> Array:
        return (z - 1) * np.exp(-z)


class Quartic(cr.Loss):
    """C_i = Σ_j ¼ (a_j - y_j)⁴."""

    name = "quartic"
    formula = "1/4*(a - y)**4"
    derivative_formula = "-y**3 + 3*a*y**2 - 3*a**2*y + a**3"

    def value(self, a: Array, y: Array) -> Array:
        return (a - y) ** 4 / 4

    def derivative(self, a: Array, y: Array) -> Array:
        return -(y**3) + 3 * a * y**2 - 3 * a**2 * y + a**3


# --- the settings -------------------------------------------------------------------------------


def explained(
    sizes: list[int],
    hidden: Any,
    output: Any,
    loss: Any,
    target: str,
    n: int = 3,
    scale: float = 1.0,
    weighted: bool = False,
    notation: Any = "default",
    focus: int = 0,
    learning_rate: float | None = 0.1,
    **options: Any,
) -> Explanation:
    net = cr.Network(sizes, hidden=hidden, output=output, loss=loss, seed=3, **options)
    rng = np.random.default_rng(4)
    X = rng.normal(size=(n, sizes[0])) * scale
    y = rng.uniform(size=(n, sizes[-1])).round(3)
    if loss == "cross_entropy":
        y = np.eye(sizes[-1])[rng.integers(0, sizes[-1], n)]
    if net.biases and scale == 1:
        net.layers[1].b[...] = -0.3
    weights = rng.uniform(0.5, 2.0, n) if weighted else None
    return net.explain(
        target, X, y, sample_weight=weights, notation=notation, focus=focus,
        learning_rate=learning_rate if target[0] in "wb" else None,
        dropout_step=2 if options.get("dropout") else None,
    )  # fmt: skip


@cache
def settings() -> dict[str, Explanation]:
    """Every activation, loss and kind of target in the presets, and what is not ordinary."""
    made: dict[str, Explanation] = {}

    def put(name: str, *given: Any, **options: Any) -> None:
        assert name not in made
        made[name] = explained(*given, **options)

    for i, (name, g) in enumerate(ACTIVATIONS.items()):
        notation = NOTATIONS[i % 3]
        if name != "softmax":
            put(f"hidden {name}", [2, 3, 2], name, "tanh", "huber", "w[1][1,0]", notation=notation)
            put(f"dropout {name}", [2, 3, 2], name, "tanh", "huber", "b[1][1]", dropout=0.5)
        loss = "poisson" if g.positive else "squared_error"
        put(f"output {name}", [2, 3, 2], "tanh", name, loss, "w[2][1,0]", notation=notation)
    for i, (name, c) in enumerate(LOSSES.items()):
        output = c.output or "softplus"
        for notation in NOTATIONS:
            put(f"loss {name} {notation}", [2, 3, 3], "tanh", output, name, "z[2][1]",
                notation=notation, weighted=bool(i % 2))  # fmt: skip
        softmax = name != "binary_cross_entropy"
        put(f"{name} after softmax", [2, 3], "tanh", "softmax" if softmax else output, name,
            "w[1][1,1]", n=1)  # fmt: skip
    for target in ("w[2][1,2]", "b[2][0]", "z[1][0]", "a[2][1]", "a[1][0]", "x[1]"):
        for notation in NOTATIONS:
            put(f"{target} {notation}", [2, 3, 2, 2], ["relu", "tanh"], "softmax", "cross_entropy",
                target, notation=notation, l2=0.05, weighted=True, focus=2)  # fmt: skip
    for notation in NOTATIONS:
        put(f"chain {notation}", [1, 1, 1], "tanh", "tanh", "half_squared_error", "w[1][0,0]", 1,
            notation=notation)  # fmt: skip
        put(f"chain of many samples {notation}", [1, 1, 1], "tanh", "tanh", "half_squared_error",
            "w[1][0,0]", 12, notation=notation, l2=0.1, weighted=True)  # fmt: skip
        put(f"hundreds {notation}", [40, 120, 110], "tanh", "identity", "squared_error",
            "w[1][101,33]", 30, notation=notation)  # fmt: skip
    put("wide", [40, 120, 110, 12], "tanh", "softmax", "cross_entropy", "w[1][101,33]", 30)
    put("one softmax output", [2, 2, 1], "tanh", "softmax", "squared_error", "w[2][0,1]")
    put("one sigmoid output", [2, 1], "tanh", "sigmoid", "binary_cross_entropy", "w[1][0,1]")
    put("no biases", [2, 2, 1], "tanh", "tanh", "huber", "w[2][0,1]", biases=False)
    put("no hidden layer", [2, 1], "tanh", "tanh", "huber", "w[1][0,1]")
    put("deep", [2, 2, 2, 2, 2, 2, 1], "tanh", "tanh", "huber", "w[1][0,1]")
    put("tiny", [2, 3, 2], "tanh", "tanh", "huber", "w[1][0,1]", scale=1e-9)
    put("tiny y - a", [2, 1, 1], "tanh", "tanh", "squared_error", "w[1][0,1]", scale=1e-9,
        notation="L-h")  # fmt: skip
    put("huge", [2, 3, 2], "relu", "identity", "squared_error", "w[1][0,1]", scale=1e12)
    put("saturated", [2, 3], "tanh", "softmax", "cross_entropy", "w[1][0,1]", scale=1e5)
    put("own", [2, 2, 2], Damped(), Damped(), Quartic(), "w[1][0,1]", focus=1)
    put("own y - a", [2, 2, 2], Damped(), Damped(), Quartic(), "w[2][0,1]", notation="L-h")
    put("own dropout", [2, 2, 2], Damped(), Damped(), Quartic(), "w[1][0,1]", dropout=0.5)
    put("17 digits", [3, 4, 2], "tanh", "tanh", "huber", "w[1][3,1]", weighted=True,
        notation=Notation(digits=17, max_terms=3))  # fmt: skip
    put("letters", [3, 4, 2], "tanh", "tanh", "huber", "w[1][3,1]",
        notation=Notation(activation="o", loss="E", input="i", to_index="q", from_index="y",
                          next_index="d", other_index="ω", sample_index="z"))  # fmt: skip
    return made


@pytest.fixture(autouse=True)
def quick_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that costs nothing, in the place of those of a hundred explanations."""
    words = SimpleNamespace(
        text=lambda width=100: "certificate: pass", to_dict=lambda: {"verdict": "pass"}
    )
    monkeypatch.setattr(Explanation, "certificate", words)


@cache
def plain_data() -> dict[str, Any]:
    """Give to_dict of all settings, which several tests look through."""
    return {name: why.to_dict(depth=1 if name == "wide" else 2) for name, why in settings().items()}


def shape(formula: str) -> str:
    """Give a formula with other numbers: to a reader of its marks they are all the same."""
    return re.sub(r"(?<![\w/])\d+(\.\d+)?", "1", formula)


def every(form: str) -> set[str]:
    """Every formula of all plain data, in a form: "text", "latex", "mathml"."""

    def found(data: Any) -> Iterator[str]:
        if isinstance(data, dict):
            if form in data:
                yield shape(data[form])
            for value in data.values():
                yield from found(value)
        elif isinstance(data, list):
            for value in data:
                yield from found(value)

    return set(found(list(plain_data().values())))


def each() -> Iterator[Explanation]:
    for name, why in settings().items():
        print(name)  # shown where a test fails
        yield why


# --- text ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [60, 72, 100, 140])
def test_text_keeps_to_its_width(width: int) -> None:
    for why in each():
        text = why.text(width, depth=2)
        assert max(map(len, text.splitlines())) <= width, text
        assert text.endswith("\n")
        assert not text.endswith("\n\n")
        assert all(line == line.rstrip() for line in text.splitlines())


def test_words_that_no_reader_should_see() -> None:
    for why in each():
        for text in (why.text(depth=3), why.latex(), why.mathml(), why.html(depth=1)):
            words = r"\b(nan|inf|None|True|False|Expr|Num|Quantity|np|tag)\b"
            assert not re.findall(
                words, re.sub(r"<style>.*?</style>|\\tag|\"tag\"", "", text, flags=re.S)
            )


def test_no_sign_meets_another() -> None:
    """A negative number behind a sign stands in parentheses."""
    for why in each():
        text = why.text(depth=3)
        assert not re.search(r"[−+·] ?−", text.replace("\n", " ")), text
        assert "--" not in text
        latex = why.latex().split(r"\begin{verbatim}")[0]
        assert not re.search(r"[-+] *-", latex), latex


def test_str_and_repr() -> None:
    why = settings()["hidden tanh"]
    assert str(why) == why.text()
    assert repr(why) == f"Explanation(w[1][1,0], value={why.value!r}, 3 samples)"
    assert repr(settings()["chain L-h"]).endswith(", 1 sample)")


def test_the_certificate_is_in_every_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Explanation, "certificate", REAL_CERTIFICATE)
    why = explained([2, 2, 1], "tanh", "tanh", "huber", "w[1][1,0]")
    text = why.text()
    assert why.certificate.verdict == "pass"
    assert "∂C/∂w[1][1,0] on 3 samples: pass" in text
    assert "high precision" in text
    for line in why.certificate.text().splitlines():
        assert line in unescape(why.html())
        assert line.replace("∂", "d") in why.latex()  # a verbatim block shows ASCII alone
    assert why.to_dict()["certificate"] == why.certificate.to_dict()
    assert max(map(len, why.text(60).splitlines())) <= 60


# --- LaTeX --------------------------------------------------------------------------------------


DISPLAY = re.compile(r"\\\[(.*?)\\\]", flags=re.S)


def displays(latex: str) -> list[tuple[str, bool]]:
    """Every formula of a page, with whether it is a display."""
    latex = re.sub(r"\\begin\{verbatim\}.*?\\end\{verbatim\}", "", latex, flags=re.S)
    found = [(formula, True) for formula in DISPLAY.findall(latex)]
    rest = DISPLAY.sub("", latex)
    assert rest.count("$") % 2 == 0
    return found + [(formula, False) for formula in rest.split("$")[1::2]]


def test_latex_parses() -> None:
    whole = [settings()[name].latex(standalone=True) for name in ("17 digits", "chain L-h")]
    formulas = {shape(formula) for why in each() for formula, _ in displays(why.latex())}
    formulas |= {shape(why._repr_latex_()) for why in each()}
    frames = {shape(DISPLAY.sub("x", why.latex())) for why in each()}
    for text in [*whole, *formulas, *frames]:
        nodes, position, length = LatexWalker(text, tolerant_parsing=False).get_latex_nodes()
        assert position + length == len(text)
        assert nodes


def test_a_standalone_document_is_whole() -> None:
    why = settings()["17 digits"]
    document = why.latex(standalone=True)
    assert document.startswith(r"\documentclass")
    assert document.count(r"\begin{document}") == document.count(r"\end{document}") == 1
    assert why.latex() in document
    assert document.isascii()
    outside = re.sub(r"\$.*?\$", "", DISPLAY.sub("", document.split(r"\begin{verbatim}")[0]))
    assert not re.search(
        r"(?<!\\)[_^&]", re.sub(r"\\begin{tabular}.*?\\end{tabular}", "", outside, flags=re.S)
    )


@pytest.mark.needs("katex")
def test_katex_renders_every_formula(katex: Path, tmp_path: Path) -> None:
    formulas = []
    for why in each():
        formulas += [(shape(formula), display) for formula, display in displays(why.latex())]
        formulas += [(shape(why._repr_latex_().strip("$")), False)]
    formulas += [(text, False) for text in every("latex")]
    unique = sorted(set(formulas))
    assert len(unique) > 1000
    (tmp_path / "formulas.json").write_text(json.dumps(unique))
    script = """
        const katex = require(process.argv[1]);
        const formulas = JSON.parse(require("fs").readFileSync(process.argv[2], "utf8"));
        for (const [formula, displayMode] of formulas) {
            try {
                katex.renderToString(formula, {displayMode, throwOnError: true, strict: "error"});
            } catch (error) { console.log(formula + "\\n    " + error.message); }
        }
    """
    done = subprocess.run(
        ["node", "-e", script, str(katex), str(tmp_path / "formulas.json")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == ""


# --- MathML -------------------------------------------------------------------------------------

CHILDREN = {
    "mfrac": 2, "msub": 2, "msup": 2, "munder": 2, "mover": 2, "mroot": 2, "msubsup": 3,
    "munderover": 3,
}  # fmt: skip
LEAVES = {"mi", "mn", "mo", "mtext"}
GROUPS = {"math", "mrow", "msqrt", "mtable", "mtr", "mtd"}
ATTRIBUTES = {
    "math": {"display", "displaystyle"},
    "mtable": {"displaystyle"},
    "mo": {"form", "stretchy", "separator"},
    "mover": {"accent"},
    "mspace": {"width"},
}


def check_mathml(math: ET.Element) -> None:
    """Only elements and attributes of MathML Core, each with the children that it must have."""
    assert math.tag == MATH + "math"
    for element in math.iter():
        name = element.tag.removeprefix(MATH)
        children = [child.tag.removeprefix(MATH) for child in element]
        assert set(element.attrib) <= ATTRIBUTES.get(name, set()), (name, element.attrib)
        if name in CHILDREN:
            assert len(children) == CHILDREN[name], (name, children)
        elif name in LEAVES:
            assert not children
            assert element.text
            assert name == "mtext" or element.text.strip() == element.text
            assert element.text.strip(" "), "browsers drop spaces"
        elif name == "mspace":
            assert not children
        else:
            assert name in GROUPS, name
        if name not in LEAVES:
            assert not (element.text or "").strip()
        assert not (element.tail or "").strip()
        if name == "mtable":
            assert set(children) == {"mtr"}
            assert len({len(row) for row in element}) == 1 or element in list(math)
        if name == "mtr":
            assert set(children) == {"mtd"}
        if name == "mtd":
            assert math.find(f".//{MATH}mtable") is not None


def test_mathml_is_core() -> None:
    for why in each():
        check_mathml(ET.fromstring(why.mathml()))
    for text in every("mathml"):
        check_mathml(ET.fromstring(f'<math xmlns="{MATH.strip("{}")}">{text}</math>'))


def test_mathml_has_all_equations() -> None:
    for why in each():
        rows = ET.fromstring(why.mathml()).findall(f"{MATH}mtable/{MATH}mtr")
        equations = [equation for section in why.sections() for equation in section.equations]
        sides = sum(len(equation.sides) - 1 for equation in equations)
        leads = sum(bool(equation.lead) for equation in equations)
        assert len(rows) == sides + leads + len(why.sections())


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


# --- plain data ---------------------------------------------------------------------------------


def test_to_dict_is_json_with_the_same_numbers() -> None:
    for name, why in settings().items():
        plain = json.loads(json.dumps(plain_data()[name], allow_nan=False))
        assert plain["target"] == str(why.target)
        assert plain["value"] == why.value
        assert plain["n_samples"] == why.n_samples == len(plain["samples"])
        assert plain["focus"] == why.focus
        assert [t["value"] for t in plain["terms"]] == [t.value for t in why.terms]
        for row, given in zip(plain["samples"], why.samples, strict=True):
            assert (row["index"], row["product"]) == (given.index, given.product)
            assert row["terms"] == list(given.terms)
        assert (plain["penalty"] is None) == (why.penalty is None)
        for term, ours in zip(plain["terms"], why.terms, strict=True):
            if ours.contributions is None:
                assert term["contributions"] is None
                continue
            shown, rest = ours.contributions.largest(why.notation.max_terms)
            assert term["contributions"]["rest"] == rest
            for part, one in zip(term["contributions"]["largest"], shown, strict=True):
                assert (part["unit"], part["value"]) == (one.unit, one.value)
                assert [t["value"] for t in part["terms"]] == [
                    t.value if np.isfinite(t.value) else None for t in one.terms
                ]
        titles = [section["title"] for section in plain["sections"]]
        assert titles == [section.title for section in why.sections()]


def test_to_dict_opens_to_its_depth() -> None:
    why = settings()["deep"]
    inner = why.to_dict(depth=0)["terms"][0]["contributions"]["largest"][0]
    assert inner["terms"] is None
    for depth in (1, 2, 3):
        node = why.to_dict(depth=depth)["terms"][0]
        for _ in range(depth):
            node = node["contributions"]["largest"][0]["terms"][0]
        assert node["contributions"]["largest"][0]["terms"] is None


# --- the formula and its numbers ----------------------------------------------------------------


FUNCTIONS: dict[str, Any] = {
    "exp": math.exp, "ln": math.log, "sqrt": math.sqrt, "abs": abs, "tanh": math.tanh,
    "sign": lambda z: (z > 0) - (z < 0), "max": max, "min": min,
    "sigma": lambda z: (1 + math.tanh(z / 2)) / 2,
    "Phi": lambda z: math.erfc(-z / math.sqrt(2)) / 2,
    "phi": lambda z: math.exp(-z * z / 2) / math.sqrt(2 * math.pi),
}  # fmt: skip


def number_of(side: Expr) -> float:
    """Compute a side of an equation in which numbers stand for all quantities."""

    def plain(node: Expr) -> Expr | None:
        if isinstance(node, Factor):
            return node.body.replace(plain)
        if isinstance(node, Mul) and isinstance(node.items[-1], Word):
            return node.items[0]
        return None

    return float(formulas.evaluate(side.replace(plain), {}, FUNCTIONS))


def numbers_in(why: Explanation) -> Iterator[tuple[Equation, float]]:
    terms = [*why.terms, *([why.penalty] if why.penalty else [])]
    while terms:
        term = terms.pop()
        yield term.numbers, term.value
        for part in term.contributions or ():
            if len(term.contributions or ()) < 5:
                terms += part.terms


def test_formulas_with_numbers_put_in_come_to_the_value() -> None:
    count = 0
    for why in each():
        for equation, value in numbers_in(why):
            assert equation.sides[-1] == Num(value)
            if not np.isfinite(value):
                continue
            for side in equation.sides[1:-1]:
                if any(isinstance(node, Function) for node in nodes(side)):
                    continue  # g'(0.3), where g is kept abstract
                count += 1
                assert number_of(side) == pytest.approx(value, rel=1e-9, abs=1e-12 * scale_of(side))
    assert count > 300


def scale_of(side: Expr) -> float:
    """The largest number in a formula: rounding is relative to it."""
    sizes = [abs(side.value)] if isinstance(side, Num) else []
    return max([1e-3, *sizes, *(scale_of(child) for child in side.children())])


def test_numbers_hold_numbers_alone() -> None:
    """No letter is left where numbers were put in, and no sum sign."""
    for why in each():
        for equation, _ in numbers_in(why):
            for side in equation.sides[1:]:
                assert formulas.names_in(side) <= {"Σ"}
                letters = Sum | Iverson | Quantity | Partial | LossSymbol
                assert not [node for node in nodes(side) if isinstance(node, letters)]


def nodes(expr: Expr) -> Iterator[Expr]:
    yield expr
    for child in expr.children():
        yield from nodes(child)


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


def test_layers_of_one_unit_open_down_to_the_loss() -> None:
    net = cr.Network([1, 1, 1, 1], hidden="tanh", output="tanh", seed=2)
    why = net.explain("w[1][0,0]", [[0.7]], [0.2])
    first, *_ = why.terms
    assert first.contributions is not None
    middle, *_ = first.contributions[0].terms
    assert middle.contributions is not None
    last, *_ = middle.contributions[0].terms  # ∂C/∂a⁽³⁾
    numbers = [f"({format_number(t.value, 6).replace('-', '−')})"
               for t in (middle, last)]  # fmt: skip
    shallow, deep = why.text(depth=1), why.text(depth=2)
    assert f"through unit 0    {numbers[0]}" in shallow
    assert f"through unit 0    {numbers[1]}" not in shallow
    assert "where ∂C₀/∂a₀⁽²⁾ is itself a product:" in deep
    assert f"through unit 0    {numbers[1]}" in deep
    assert "<p>where" in why.html(depth=2)
    assert why.html(depth=2).count("through unit 0") == 2
    assert "The contribution of the one unit" in why.latex()
    assert "through unit" not in why.text(depth=0)
