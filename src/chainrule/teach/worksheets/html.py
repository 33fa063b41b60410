"""Sheets as HTML pages that need no other file and print on A4."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from chainrule.explain import Equation, Notation, breaking
from chainrule.explain.mathml import MathmlWriter
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

_MATH = "http://www.w3.org/1998/Math/MathML"
_STYLE = """
:root { color-scheme: light dark; }
body { max-width: 48rem; margin: 2rem auto; padding: 0 1rem; line-height: 1.45; }
body { font-family: system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin-top: 3rem; } h2 { font-size: 1.1rem; margin: 1.4em 0 .3em; }
h3 { font-size: 1rem; margin: 1em 0 .2em; } p { margin: .4em 0; overflow-wrap: anywhere; }
.formula { margin: .3em 0 .3em 1.5em; overflow-x: auto; overflow-y: hidden; }
.given, .options { overflow-x: auto; }
.given { list-style: none; display: flex; flex-wrap: wrap; gap: .3em 1.6em; padding-left: 1.5em; }
.options { list-style: none; padding-left: 1.5em; } .options li { margin: .5em 0; }
.room { height: 4.5em; } .room.tall { height: 14em; }
.answer { border-bottom: 1px solid; width: 16em; margin-left: auto; }
math { white-space: nowrap; }
mtd { padding: .25em .15em; text-align: left; } mtd:first-child { text-align: right; }
table.overview { border-collapse: collapse; width: 100%; font-size: .85rem; }
.overview th, .overview td { border: 1px solid #8888; padding: .25em .5em; text-align: left; }
.overview th, .overview td { vertical-align: top; white-space: pre-line; }
.wide { overflow-x: auto; }
@page { size: A4; margin: 18mm; }
@media print {
  body { max-width: none; margin: 0; padding: 0; font-size: 10.5pt; }
  h1 { break-before: page; margin-top: 0; } h1:first-of-type { break-before: auto; }
  .together, .formula, tr { break-inside: avoid; } h2, h3 { break-after: avoid; }
}
"""


def page(title: str, blocks: Iterable[Block], notation: Notation, sizes: tuple[int, ...]) -> str:
    """Return blocks as a whole page."""
    body = "\n".join(_block(block, notation, sizes) for block in blocks)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"{body}\n</main>\n</body>\n</html>\n"
    )


def _block(block: Block, notation: Notation, sizes: tuple[int, ...]) -> str:
    match block:
        case Heading(words, level):
            return f"<h{level}>{escape(words)}</h{level}>"
        case Paragraph(words):
            return f"<p>{escape(words)}</p>"
        case Display(equation, n_samples):
            lead = f"<p>{escape(equation.lead)}</p>" if equation.lead else ""
            shown = display(equation, notation, sizes, n_samples)
            return f'{lead}<div class="formula" tabindex="0">{shown}</div>'
        case Given(words, equations, n_samples):
            items = "".join(f"<li>{inline(e, notation, sizes, n_samples)}</li>" for e in equations)
            return f'<p>{escape(words)}</p><ul class="given" tabindex="0">{items}</ul>'
        case Options(equations):
            items = "".join(
                f"<li>({letter}) {inline(e, notation, sizes)}</li>"
                for letter, e in zip(LETTERS, equations, strict=False)
            )
            return f'<ul class="options" tabindex="0">{items}</ul>'
        case Answer(tall):
            room = "room tall" if tall else "room"
            return f'<div class="{room}"></div><div class="answer">Answer:</div>'
        case Together(blocks):
            inside = "\n".join(_block(b, notation, sizes) for b in blocks)
            return f'<section class="together">{inside}</section>'
        case Table(heads, rows):
            head = "".join(f'<th scope="col">{escape(h)}</th>' for h in heads)
            lines = "".join(
                "<tr>" + "".join(f"<td>{_cell(cell)}</td>" for cell in row) + "</tr>"
                for row in rows
            )
            return (
                '<div class="wide" tabindex="0"><table class="overview">'
                f"<thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>"
            )


def _cell(text: str) -> str:
    """Return a text for a column, whose formulas may be broken."""
    mark = "\u200b"
    return escape(breakable(text, mark)).replace(mark, "<wbr/>")


def inline(
    equation: Equation, notation: Notation, sizes: tuple[int, ...], n_samples: int = 1
) -> str:
    """Return an equation as one row of MathML."""
    writer = MathmlWriter(notation, sizes, n_samples)
    return _math(writer.write_equation(equation.sides, equation.relation))


def display(
    equation: Equation, notation: Notation, sizes: tuple[int, ...], n_samples: int = 1
) -> str:
    """Return an equation as MathML with each side in a row of its own, or in more if it is wide."""
    writer = MathmlWriter(notation, sizes, n_samples)
    rows = "".join(
        f"<mtr><mtd>{row.left}</mtd><mtd>{row.sign}</mtd><mtd>{row.right}</mtd></mtr>"
        for row in breaking.rows(writer, equation)
    )
    return _math(f'<mtable displaystyle="true">{rows}</mtable>')


def _math(inside: str) -> str:
    return f'<math xmlns="{_MATH}" displaystyle="true">{inside}</math>'
