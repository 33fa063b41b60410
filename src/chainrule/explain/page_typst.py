"""Sheets typeset by Typst, of the extra ``worksheets``, as PDF."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chainrule.explain.terms import Equation
from chainrule.explain.typst import TypstWriter, quoted

if TYPE_CHECKING:
    from chainrule.explain.sheet import Sheet

_START = """#set document(title: {title}, date: none)
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


def compiled(page: str) -> bytes:
    """Typeset a Typst document as PDF.

    Raises ImportError if Typst is not installed.
    """
    try:
        import typst
    except ImportError:
        raise ImportError(
            "PDF needs Typst, which is not installed: pip install 'chainrule[worksheets]'"
        ) from None
    made: bytes = typst.compile(page.encode())
    return made


def start(title: str) -> str:
    """Return what every document starts with: an A4 page, and how formulas are shown."""
    return _START.format(title=quoted(title))


def display(writer: TypstWriter, equation: Equation) -> str:
    """Return an equation after its leading words; one wider than the page is made smaller."""
    words = quoted(equation.lead)
    lead = f"#block(sticky: true, text({words}))\n\n" if equation.lead else ""
    tag = f" quad {quoted(equation.tag)}" if equation.tag else ""
    return f"{lead}#shown($ {_rows(writer, equation)}{tag} $)"


def written(sheet: Sheet) -> bytes:
    """Typeset a sheet as PDF.

    Raises ImportError if Typst is not installed.
    """
    return compiled(page(sheet))


def page(sheet: Sheet) -> str:
    """Return a sheet as a Typst document."""
    writer = TypstWriter(sheet.notation, sheet.sizes, sheet.n_samples, sheet.first_sample)
    parts = [start(sheet.title), f"#heading(level: 1, {quoted(sheet.title)})"]
    if sheet.headline is not None:
        parts.append(display(writer, sheet.headline))
    parts.append(_paragraph(sheet.setting))
    if isinstance(sheet.picture, str):
        parts.append(_paragraph(sheet.picture))
    elif sheet.picture is not None:
        svg, alt = quoted(sheet.picture.svg("black")), quoted(sheet.picture.words)
        parts.append(f'#image(bytes({svg}), format: "svg", width: 80%, alt: {alt})')
    for section in sheet.sections:
        parts.append(f"#heading(level: 2, {quoted(section.title)})")
        parts += [display(writer, equation) for equation in section.equations]
    if sheet.certificate:
        parts += ['#heading(level: 2, "Certificate")']
        parts.append(f"#text(size: 7.5pt, raw(block: true, {quoted(sheet.certificate)}))")
    return "\n\n".join(parts) + "\n"


def _paragraph(text: str) -> str:
    return f"#par(text({quoted(text)}))"


def _rows(writer: TypstWriter, equation: Equation) -> str:
    """Return the sides aligned, each from the second on in a row of its own."""
    first, *rest = (writer.write(side) for side in equation.sides)
    signs = [writer.operator(equation.relation).strip(), *["="] * len(rest)]
    lines = [f"& {sign} {side}" for sign, side in zip(signs, rest, strict=False)]
    if not lines:
        return first
    return " \\ ".join([f"{first} {lines[0]}", *lines[1:]])
