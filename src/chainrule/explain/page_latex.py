"""An explanation as LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chainrule.explain.counts import more_samples, sum_of_others
from chainrule.explain.document import opened, sections, title_of
from chainrule.explain.latex import LatexWriter, escape
from chainrule.explain.terms import Contributions, Equation
from chainrule.explain.words import column, headline, setting, shown_samples

if TYPE_CHECKING:
    from chainrule.explain.derivative import Derivative
    from chainrule.explain.document import Section
    from chainrule.explain.worked import Worked

_ROWS = 20
_FORMULAS = {"½ λ Σ w²": r"\frac{1}{2} \lambda \sum w^{2}", "λ": r"\lambda", "η": r"\eta"}
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
    parts += verbatim("Certificate", why.certificate.text())
    return whole("\n".join(parts) + "\n", standalone)


def worked(example: Worked, standalone: bool) -> str:
    """Return a worked example, as a document or as the body of one."""
    writer = LatexWriter(example.notation, example.network.sizes, 1)
    parts = written(writer, example.setting(), example.sections())
    return whole("\n".join(parts) + "\n", standalone)


def written(writer: LatexWriter, setting: str, made: Sequence[Section]) -> list[str]:
    """Return a setting in words and sections of equations."""
    parts = [words(setting) + "."]
    for section in made:
        parts.append(rf"\subsection*{{{words(section.title)}}}")
        parts += [display(writer, equation) for equation in section.equations]
    return parts


def verbatim(title: str, text: str) -> list[str]:
    """Return lines of text as they are, below a title."""
    return [
        rf"\subsection*{{{title}}}",
        r"\begin{verbatim}",
        _ascii(text.rstrip()),
        r"\end{verbatim}",
    ]


def whole(body: str, standalone: bool) -> str:
    """Return a body of LaTeX, as a document if it shall stand alone."""
    return _DOCUMENT % body if standalone else body


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
    """Return the sides of an equation aligned, each from the second on in its own line."""
    first, *rest = (writer.write(side) for side in equation.sides)
    signs = [writer.operator(equation.relation).strip(), *["="] * len(rest)]
    lines = [f"{sign} {side}" for sign, side in zip(signs, rest, strict=False)]
    if len(lines) < 2 and not end:
        return f"{first} {' '.join(lines)}"
    rows = [f"{first} &{lines[0]}", *(f"&{line}" for line in lines[1:])]
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
            str(row.index + why.notation.first_index),
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
    return LatexWriter(why.notation, why.network.sizes, why.n_samples)


def words(text: str) -> str:
    """Return a text for LaTeX, with the letters of formulas set as formulas."""
    escaped = escape(text)
    for letters, formula in _FORMULAS.items():
        escaped = escaped.replace(escape(letters), f"${formula}$")
    return escaped


def _ascii(text: str) -> str:
    """Return a text in ASCII, for a verbatim block."""
    for letter, plain in _PLAIN.items():
        text = text.replace(letter, plain)
    return text.encode("ascii", "replace").decode()
