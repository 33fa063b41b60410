"""Sheets as PDF, typeset by Typst, of the extra ``worksheets``."""

from __future__ import annotations

from collections.abc import Iterable

from chainrule.explain import Notation
from chainrule.explain.page_typst import compiled, display, start
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
    breakable,
)
from chainrule.teach.worksheets.judging import LETTERS


def pdf(title: str, blocks: Iterable[Block], notation: Notation, sizes: tuple[int, ...]) -> bytes:
    """Typeset blocks as PDF.

    Raises ImportError if Typst is not installed.
    """
    return compiled(page(title, blocks, notation, sizes))


def page(title: str, blocks: Iterable[Block], notation: Notation, sizes: tuple[int, ...]) -> str:
    """Return blocks as a Typst document."""
    parts = [start(title)]
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
            return display(TypstWriter(notation, sizes, n_samples), equation)
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
            mark = "\u200b"  # where a line may end
            cells += [f"[#text({quoted(breakable(cell, mark))})]" for row in rows for cell in row]
            columns = ", ".join(["auto"] * (len(heads) - 2) + ["1fr", "3fr"])
            return (
                f"#text(size: 8.5pt, table(columns: ({columns}), stroke: .4pt, "
                f"table.header({', '.join(cells[: len(heads)])}), "
                f"{', '.join(cells[len(heads) :])}))"
            )
