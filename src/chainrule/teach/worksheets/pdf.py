"""Sheets as PDF, typeset by Typst, of the extra ``worksheets``."""

from __future__ import annotations

from collections.abc import Iterable

from chainrule.explain import Equation, Notation
from chainrule.explain.typst import TypstWriter, quoted
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
)
from chainrule.teach.worksheets.judging import LETTERS

_PAGE = """#set document(title: {title}, date: none)
#set page(paper: "a4", margin: 18mm, numbering: "1 / 1")
#set text(size: 10.5pt, lang: "en")
#set par(spacing: 0.8em)
#show heading.where(level: 2): set text(size: 11.5pt)
#show heading.where(level: 3): set text(size: 10.5pt)
#show heading: set block(above: 1.3em, below: 0.7em)
#show math.equation.where(block: false): set text(top-edge: "bounds", bottom-edge: "bounds")
#show math.equation.where(block: true): set align(left)
#show math.equation: set block(breakable: false)
#let shown(body) = pad(left: 1.2em, block(breakable: false, layout(size => {{
  let wide = measure(body).width
  if wide <= size.width {{ body }} else {{ scale(size.width / wide * 100%, origin: left,
    reflow: true, body) }}
}})))
"""


def pdf(title: str, blocks: Iterable[Block], notation: Notation, sizes: tuple[int, ...]) -> bytes:
    """Typeset blocks as PDF.

    Raises ImportError if Typst is not installed.
    """
    try:
        import typst
    except ImportError:
        raise ImportError(
            "PDF needs Typst, which is not installed: pip install 'chainrule[worksheets]'"
        ) from None
    made: bytes = typst.compile(page(title, blocks, notation, sizes).encode())
    return made


def page(title: str, blocks: Iterable[Block], notation: Notation, sizes: tuple[int, ...]) -> str:
    """Return blocks as a Typst document."""
    parts = [_PAGE.format(title=quoted(title))]
    first = True
    for block in blocks:
        if isinstance(block, Heading) and block.level == 1:
            parts += [] if first else ["#pagebreak()"]
            first = False
        parts.append(_block(block, notation, sizes))
    return "\n\n".join(parts) + "\n"


def _block(block: Block, notation: Notation, sizes: tuple[int, ...]) -> str:
    match block:
        case Heading(words, level):
            return f"#heading(level: {level}, {quoted(words)})"
        case Paragraph(words):
            return f"#par(text({quoted(words)}))"
        case Display(equation, n_samples):
            words = quoted(equation.lead)
            lead = f"#block(sticky: true, text({words}))\n\n" if equation.lead else ""
            rows = _rows(TypstWriter(notation, sizes, n_samples), equation)
            return f"{lead}#shown($ {rows} $)"
        case Given(words, equations, n_samples):
            writer = TypstWriter(notation, sizes, n_samples)
            items = " #h(1.6em, weak: true) ".join(
                f"#box(inset: (y: 2pt), $display({writer.write_equation(e.sides, e.relation)})$)"
                for e in equations
            )
            return f"#text({quoted(words)}) #h(.5em) {items}"
        case Options(equations):
            writer = TypstWriter(notation, sizes)
            return "\n\n".join(
                f"#shown[({letter}) #h(.5em) $display({writer.write_equation(e.sides)})$]"
                for letter, e in zip(LETTERS, equations, strict=False)
            )
        case Answer(tall):
            room = 55 if tall else 16
            return (
                f"#v({room}mm)\n#align(right, box(width: 70mm, stroke: (bottom: .5pt), "
                "inset: 2pt, align(left)[Answer:]))"
            )
        case Together(blocks):
            inside = "\n\n".join(_block(b, notation, sizes) for b in blocks)
            return f"#block(breakable: false, width: 100%)[\n{inside}\n]"
        case Table(heads, rows):
            cells = [f"[*#text({quoted(h)})*]" for h in heads]
            cells += [f"[#text({quoted(cell)})]" for row in rows for cell in row]
            columns = ", ".join(["auto"] * (len(heads) - 2) + ["1fr", "3fr"])
            return (
                f"#text(size: 8.5pt, table(columns: ({columns}), stroke: .4pt, "
                f"table.header({', '.join(cells[: len(heads)])}), "
                f"{', '.join(cells[len(heads) :])}))"
            )


def _rows(writer: TypstWriter, equation: Equation) -> str:
    """Return the sides aligned, each from the second on in a row of its own."""
    first, *rest = (writer.write(side) for side in equation.sides)
    signs = [writer.operator(equation.relation).strip(), *["="] * len(rest)]
    lines = [f"& {sign} {side}" for sign, side in zip(signs, rest, strict=False)]
    if not lines:
        return first
    return " \\ ".join([f"{first} {lines[0]}", *lines[1:]])
