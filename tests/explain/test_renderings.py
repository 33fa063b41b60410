"""Text, LaTeX, MathML and plain data, and the numbers in them."""

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
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pylatexenc.latexwalker import LatexWalker

import chainrule as cr
from chainrule.equations import formulas
from chainrule.equations.formulas import Expr, Mul, Num
from chainrule.equations.numbers import format_number
from chainrule.explain import Equation, Explanation
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
from tests.explain.rendered import (  # noqa: F401
    MATH,
    check_mathml,
    each,
    explained,
    quick_certificate,
    settings,
    shape,
)

REAL_CERTIFICATE = inspect.getattr_static(Explanation, "certificate")


@cache
def plain_data() -> dict[str, Any]:
    """Give to_dict of all settings, which several tests look through."""
    return {name: why.to_dict(depth=1 if name == "wide" else 2) for name, why in settings().items()}


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
