"""An explanation as LaTeX."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING

from chainrule.explain import breaking
from chainrule.explain.counts import more_samples, sum_of_others
from chainrule.explain.document import opened, sections, title_of
from chainrule.explain.latex import LatexWriter, escape
from chainrule.explain.terms import Contributions, Equation
from chainrule.explain.text import ABOVE, BELOW
from chainrule.explain.words import column, headline, setting, shown_samples

if TYPE_CHECKING:
    from chainrule.explain.derivative import Derivative
    from chainrule.explain.sheet import Sheet

_ROWS = 20
_ON = r"\quad"  # before a row that goes on with the one above
_FORMULAS = {
    "½ λ Σ w²": r"\frac{1}{2} \lambda \sum w^{2}", "λ": r"\lambda", "η": r"\eta", "−": "-",
    "∂": r"\partial", "′": "'", "×": r"\times", "·": r"\cdot", "δ": r"\delta",
}  # fmt: skip
_INDICES = {mark: ("_", letter) for letter, mark in BELOW.items()} | {
    mark: ("^", letter) for letter, mark in ABOVE.items()
}
_INDEX = re.compile(f"[{''.join(map(re.escape, _INDICES))}]+")
_PLAIN = {"∂": "d", "−": "-", "·": "*", "×": "x", "½": "1/2", "λ": "lambda", "…": "..."}
_DOCUMENT = r"""\documentclass{article}
\usepackage{amsmath}
\usepackage[margin=2cm]{geometry}
\allowdisplaybreaks
\begin{document}
%s
\end{document}
"""


def page(why: Derivative, standalone: bool) -> str:
    """Return the whole explanation, as a document or as the body of one."""
    writer = _writer(why)
    parts = [rf"\[ {headline(why, writer)} \]", words(setting(why)) + "."]
    for section in sections(why):
        symbol = rf": ${writer.write(section.symbol)}$" if section.symbol else ""
        parts.append(rf"\subsection*{{{section.title}{symbol}}}")
        parts += [display(writer, equation) for equation in section.equations]
        contributions = section.term and opened(section.term)
        if contributions:
            parts += _contributions(why, writer, contributions)
        if section.has_samples:
            parts.append(_table(why, writer))
    parts += _verbatim(why.certificate.text())
    body = "\n".join(parts) + "\n"
    return _DOCUMENT % body if standalone else body


def written(sheet: Sheet, standalone: bool) -> str:
    """Return a sheet, as a document or as the body of one."""
    writer = LatexWriter(sheet.notation, sheet.sizes, sheet.n_samples, sheet.first_sample)
    parts = [display(writer, sheet.headline)] if sheet.headline is not None else []
    parts.append(words(sheet.setting) + ".")
    for section in sheet.sections:
        parts.append(rf"\subsection*{{{words(section.title)}}}")
        parts += [display(writer, equation) for equation in section.equations]
    if sheet.certificate:
        parts += _verbatim(sheet.certificate)
    body = "\n".join(parts) + "\n"
    return _DOCUMENT % body if standalone else body


def _verbatim(certificate: str) -> list[str]:
    shown = _ascii(certificate.rstrip())
    return [
        r"\subsection*{Certificate}", r"{\small\begin{verbatim}", shown, r"\end{verbatim}}",
    ]  # fmt: skip


def summary(why: Derivative) -> str:
    """Return the chain rule, what is left of it and the value, in one aligned formula."""
    for section in sections(why):
        if section.title == "Combining the terms":
            return aligned(
                _writer(why), section.equations[0], f" = {_writer(why).number(why.value)}"
            )
    return headline(why, _writer(why))


def display(writer: LatexWriter, equation: Equation) -> str:
    """Return an equation as a display, one side below the other, after its leading words."""
    tag = rf" \tag{{{equation.tag.strip('()')}}}" if equation.tag else ""
    formula = aligned(writer, equation)
    lead = f"{words(equation.lead)}\n" if equation.lead else ""
    return rf"{lead}\[ {formula}{tag} \]"


def aligned(writer: LatexWriter, equation: Equation, end: str = "") -> str:
    """Return the sides of an equation aligned, each from the second on in its own line or more."""
    broken = breaking.rows(writer, equation)
    if len(broken) < 2 and not end:
        (row,) = broken
        return f"{row.left} {row.sign.strip()} {row.right}".strip()
    rows = [f"{row.left} &{row.sign.strip() or _ON} {row.right}".lstrip() for row in broken]
    if end:
        rows.append("&" + end)
    return r"\begin{aligned} " + r" \\ ".join(rows) + r" \end{aligned}"


def _contributions(why: Derivative, writer: LatexWriter, parts: Contributions) -> list[str]:
    shown, rest = parts.largest(why.notation.max_terms)
    left = len(parts) - len(shown)
    lead = f"{title_of(parts, len(shown))}:"
    rows = []
    for part in shown:
        factors = "".join(rf"\left( {writer.number(term.value)} \right)" for term in part.terms)
        rows.append(f"{writer.write(part.symbol)} &= {factors} = {writer.number(part.value)}")
    if left:
        rows.append(rf"\text{{{sum_of_others(left)}}} &= {writer.number(rest)}")
    return [lead, r"\[ \begin{aligned} " + r" \\ ".join(rows) + r" \end{aligned} \]"]


def _table(why: Derivative, writer: LatexWriter) -> str:
    heads = ["sample", *(f"${writer.write(column(why, term))}$" for term in why.terms), "product"]
    rows = [
        [
            str(why.printed(row.index)),
            *(f"${writer.number(x)}$" for x in (*row.terms, row.product)),
        ]
        for row in shown_samples(why, _ROWS)
    ]
    lines = [" & ".join(row) + r" \\" for row in [heads, *rows]]
    lines.insert(1, r"\hline")
    if left := why.n_samples - len(rows):
        lines.append(rf"\multicolumn{{{len(heads)}}}{{r}}{{{more_samples(left)}}} \\")
    mean = writer.number(float(why.products.mean()))
    lines += [r"\hline", rf"mean & \multicolumn{{{len(heads) - 1}}}{{r}}{{${mean}$}} \\"]
    return "\n".join([rf"\begin{{tabular}}{{{'r' * len(heads)}}}", *lines, r"\end{tabular}"])


def _writer(why: Derivative) -> LatexWriter:
    return LatexWriter(why.notation, why.network.sizes, why.n_samples, why.first_sample)


def words(text: str) -> str:
    """Return a text for LaTeX, with the letters of formulas set as formulas."""
    escaped = escape(text)
    for letters, formula in _FORMULAS.items():
        escaped = escaped.replace(escape(letters), f"${formula}$")
    return _INDEX.sub(lambda match: _index(match[0]), escaped)


def _index(marks: str) -> str:
    """Return subscripts and superscripts of Unicode, as ⁽²⁾₁₀, for LaTeX."""
    parts: list[str] = []
    seen: set[str] = set()
    for kind, group in groupby(marks, lambda mark: _INDICES[mark][0]):
        apart = "{}" if kind in seen else ""  # LaTeX refuses a second subscript
        parts.append(f"{apart}{kind}{{{''.join(_INDICES[mark][1] for mark in group)}}}")
        seen.add(kind)
    return f"${''.join(parts)}$"


def _ascii(text: str) -> str:
    """Return a text in ASCII, for a verbatim block."""
    for letter, plain in _PLAIN.items():
        text = text.replace(letter, plain)
    return text.encode("ascii", "replace").decode()
