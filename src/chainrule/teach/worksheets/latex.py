"""Sheets as LaTeX documents."""

from __future__ import annotations

from collections.abc import Iterable

from chainrule.explain import Equation, Notation
from chainrule.explain.latex import LatexWriter
from chainrule.explain.page_latex import aligned, words
from chainrule.teach.worksheets.blocks import (
    Answer,
    Block,
    Display,
    Given,
    Heading,
    Options,
    Paragraph,
    Table,
    Together,
    breakable,
)
from chainrule.teach.worksheets.judging import LETTERS

_DOCUMENT = r"""\documentclass[a4paper]{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{amsmath}
\usepackage{array}
\usepackage{graphicx}
\usepackage{longtable}
\usepackage[margin=18mm]{geometry}
\setlength{\parindent}{0pt}
\setlength{\parskip}{.5em}
%% a formula that is wider than the page is made smaller
\newcommand{\shown}[1]{\par\hspace*{1.2em}\sbox0{$\displaystyle #1$}%%
  \ifdim\wd0>.95\linewidth\resizebox{.95\linewidth}{!}{\usebox0}\else\usebox0\fi\par}
\title{%s}
\begin{document}
%s
\end{document}
"""
_HEADINGS = {1: "section*", 2: "subsection*", 3: "subsubsection*"}


def page(title: str, blocks: Iterable[Block], notation: Notation, sizes: tuple[int, ...]) -> str:
    """Return blocks as a LaTeX document.

    It needs amsmath, array, graphicx, longtable and geometry.
    """
    parts: list[str] = []
    for block in blocks:
        if isinstance(block, Heading) and block.level == 1 and parts:
            parts.append(r"\newpage")
        parts.append(_block(block, notation, sizes))
    return _DOCUMENT % (title, "\n\n".join(parts))


def _block(block: Block, notation: Notation, sizes: tuple[int, ...]) -> str:
    match block:
        case Heading(text, level):
            return rf"\{_HEADINGS[level]}{{{_text(text)}}}"
        case Paragraph(text):
            return _text(text)
        case Display(equation, n_samples):
            lead = f"{_text(equation.lead)}\n\n" if equation.lead else ""
            return lead + _shown(LatexWriter(notation, sizes, n_samples), equation)
        case Given(text, equations, n_samples):
            writer = LatexWriter(notation, sizes, n_samples)
            items = r" \quad ".join(
                rf"$\displaystyle {writer.write_equation(e.sides, e.relation)}$" for e in equations
            )
            return rf"{_text(text)} \quad {items}"
        case Options(equations):
            writer = LatexWriter(notation, sizes)
            return "\n\n".join(
                rf"\quad ({letter}) \ $\displaystyle {writer.write_equation(e.sides)}$"
                for letter, e in zip(LETTERS, equations, strict=False)
            )
        case Answer(tall):
            room = 55 if tall else 16
            return rf"\vspace{{{room}mm}}\hfill Answer: \underline{{\hspace{{60mm}}}}"
        case Together(blocks):
            inside = "\n\n".join(_block(b, notation, sizes) for b in blocks)
            start = "\\begin{minipage}{\\linewidth}\\setlength{\\parskip}{.5em}"
            return f"{start}\n{inside}\n\\end{{minipage}}"
        case Table(heads, rows):
            widths = [*[".09"] * (len(heads) - 2), ".16", ".42"]
            columns = "".join(
                rf">{{\raggedright\arraybackslash}}p{{{width}\linewidth}}" for width in widths
            )
            lines = [" & ".join(rf"\textbf{{{_text(h)}}}" for h in heads) + r" \\ \hline\endhead"]
            lines += [" & ".join(map(_cell, row)) + r" \\ \hline" for row in rows]
            body = "\n".join(lines)
            return f"{{\\small\n\\begin{{longtable}}{{{columns}}}\n{body}\n\\end{{longtable}}}}"


def _shown(writer: LatexWriter, equation: Equation) -> str:
    formula = (
        aligned(writer, equation) if len(equation.sides) > 1 else writer.write(equation.sides[0])
    )
    return rf"\shown{{{formula}}}"


def _cell(text: str) -> str:
    """Return a text for a column, whose formulas may be broken."""
    mark = "\u200b"
    return _text(breakable(text, mark)).replace(mark, r"\allowbreak{}")


def _text(text: str) -> str:
    """Return a text for LaTeX, with its signs as formulas."""
    return words(text).replace("\n", r"\newline ")
