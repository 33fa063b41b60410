"""An explanation as HTML with MathML: a page, a fragment for notebooks, or its equations alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from math import isnan
from typing import TYPE_CHECKING

from chainrule.explain import breaking
from chainrule.explain.counts import more_samples, sum_of_others
from chainrule.explain.curve import nudge
from chainrule.explain.curve_svg import NOT_DRAWN, NUDGE_HEADS, NUDGED, pictures
from chainrule.explain.document import is_itself, opened, sections, title_of
from chainrule.explain.mathml import MathmlWriter
from chainrule.explain.terms import Contribution, Contributions, Equation
from chainrule.explain.words import column, headline, setting, shown_samples, what

if TYPE_CHECKING:
    from chainrule.explain.derivative import Derivative
    from chainrule.explain.document import Section
    from chainrule.explain.sheet import Sheet

_ROWS = 100
_NODES = 600  # contributions drawn of one term; of more, the deepest are left out
_MATH = "http://www.w3.org/1998/Math/MathML"

STYLE = """
.chainrule { max-width: 60rem; line-height: 1.5; font-family: system-ui, sans-serif; }
.chainrule h1 { font-size: 1.5rem; font-weight: normal; overflow-y: hidden; padding: .2em 0; }
.chainrule h2 { font-size: 1.05rem; margin: 1.6em 0 .3em; padding-bottom: .3em; }
.chainrule h2 { border-bottom: 1px solid #8886; }
.chainrule p { margin: .4em 0 0; }
.chainrule h1, .chainrule .wide { overflow-x: auto; }
.chainrule .formula { padding: .3em 0 .3em 1.5em; }
/* a word of a formula that is broken goes on out of sight */
.chainrule math { font-size: 1.1em; white-space: nowrap; }
.chainrule munderover > mrow { padding: .1em 0; }
.chainrule mtd { padding: .3em .15em; text-align: left; }
.chainrule .formula > math > mtable > mtr > mtd:first-child { text-align: right; }
.chainrule mtable mtable mtd:first-child { padding-right: .8em; }
.chainrule .tag { float: right; }
.chainrule table { border-collapse: collapse; margin: .6em 0 .6em 1.5em; }
.chainrule td { font-variant-numeric: tabular-nums; }
.chainrule th, .chainrule td { text-align: right; padding: .15em .8em; }
.chainrule thead th, .chainrule tfoot td { border-bottom: 1px solid #8886; }
.chainrule tfoot td { border-top: 1px solid #8886; border-bottom: 0; font-weight: 600; }
.chainrule tr.focus td { background: #4a90d922; }
.chainrule details { margin: .2em 0 .2em 1.5em; }
.chainrule summary { cursor: pointer; }
.chainrule .wide > table { white-space: nowrap; }
.chainrule .leaf { margin: .2em 0 .2em 1.5em; }
.chainrule figure { display: inline-block; vertical-align: top; width: 28rem; max-width: 100%; }
.chainrule figure { margin: .6em 1em .6em 0; }
.chainrule figure svg { max-width: 100%; height: auto; }
.chainrule figcaption { font-size: .9em; }
@media print {
  .chainrule { max-width: none; font-size: 10pt; }
  .chainrule math { font-size: 1em; }
  .chainrule .wide, .chainrule h1 { overflow: visible; }
  .chainrule .formula { padding-left: .5em; break-inside: avoid; }
  .chainrule h2 { break-after: avoid; }
  .chainrule figure { width: 9cm; break-inside: avoid; margin-right: 0; }
  .chainrule pre { white-space: pre-wrap; font-size: 8pt; }
  .chainrule details::details-content { content-visibility: visible; block-size: auto; }
  .chainrule details { margin-left: .7em; }
  .chainrule .wide > table { font-size: 8pt; margin-left: .5em; }
  .chainrule th, .chainrule td { padding: .1em .4em; }
}
"""


def page(why: Derivative, depth: int) -> str:
    """Return a whole page that needs no other file, script or network."""
    return _document(f"chainrule: {why.target}", fragment(why, depth))


def _document(title: str, body: str) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        f"<title>{escape(title)}</title>\n<style>:root {{ color-scheme: light dark; }}</style>\n"
        f"</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def page_around(title: str, inside: str) -> str:
    """Return a whole page around some HTML, in the style of all explanations."""
    return _document(f"chainrule: {title}", framed(inside))


def framed(inside: str) -> str:
    """Return one element around some HTML, in the style of all explanations."""
    return f'<div class="chainrule">\n<style>{STYLE}</style>\n{inside}\n</div>'


def written(sheet: Sheet) -> str:
    """Return a sheet as a whole page that needs no other file, script or network."""
    return _document(f"chainrule: {sheet.title}", written_fragment(sheet))


def written_fragment(sheet: Sheet) -> str:
    """Return a sheet as one element, for a notebook or inside a page."""
    writer = MathmlWriter(sheet.notation, sheet.sizes, sheet.n_samples, sheet.first_sample)
    top = escape(sheet.title)
    if sheet.headline is not None:
        top = _math(writer.write_equation(sheet.headline.sides))
    lines = [f'<div class="chainrule">\n<style>{STYLE}</style>']
    lines.append(f'<h1 aria-label="{escape(sheet.title)}">{top}</h1>')
    lines.append(f"<p>{escape(sheet.setting)}</p>")
    if isinstance(sheet.picture, str):
        lines.append(f"<p>{escape(sheet.picture)}</p>")
    elif sheet.picture is not None:
        lines.append(f'<div class="wide">{sheet.picture.svg()}</div>')
    for section in sheet.sections:
        lines.append(f"<h2>{escape(section.title)}</h2>")
        for equation in section.equations:
            lines += _equation(writer, equation)
    if sheet.certificate:
        lines.append(f'<h2>Certificate</h2>\n<pre class="wide">{escape(sheet.certificate)}</pre>')
    return "\n".join([*lines, "</div>"])


def fragment(why: Derivative, depth: int) -> str:
    """Return the explanation as one element, for a notebook or inside a page."""
    return "\n".join(_Page(why, depth).lines())


def equations_only(why: Derivative) -> str:
    """Return one ``math`` element with all equations of the derivation, in order."""
    return _equations(_writer(why), sections(why))


def equations_of(sheet: Sheet) -> str:
    """Return one ``math`` element with all equations of a sheet, in order."""
    writer = MathmlWriter(sheet.notation, sheet.sizes, sheet.n_samples, sheet.first_sample)
    return _equations(writer, sheet.sections)


def _equations(writer: MathmlWriter, made: Sequence[Section]) -> str:
    rows: list[str] = []
    for section in made:
        rows.append(_row([f"<mtext>{escape(section.title)}</mtext>"]))
        for equation in section.equations:
            if equation.lead:
                rows.append(_row([f"<mtext>{escape(equation.lead)}</mtext>"]))
            rows += _sides(writer, equation)
    table = f'<mtable displaystyle="true">{"".join(rows)}</mtable>'
    return f'<math xmlns="{_MATH}" display="block">{table}</math>'


class _Page:
    def __init__(self, why: Derivative, depth: int) -> None:
        self.why, self.depth = why, depth
        self.writer = _writer(why)

    def lines(self) -> Iterator[str]:
        why = self.why
        yield f'<div class="chainrule">\n<style>{STYLE}</style>'
        yield f'<h1 aria-label="{escape(what(why))}">{_math(headline(why, self.writer))}</h1>'
        yield f"<p>{escape(setting(why))}</p>"
        for section in sections(why):
            symbol = f": {_math(self.writer.write(section.symbol))}" if section.symbol else ""
            yield f"<h2>{escape(section.title)}{symbol}</h2>"
            for equation in section.equations:
                yield from _equation(self.writer, equation)
            parts = section.term and opened(section.term)
            if parts:
                yield from self._contributions(parts, self._affordable(parts))
            if section.has_samples:
                yield from self._table()
        yield from _pictures(why, self.writer)
        certificate = escape(why.certificate.text())
        yield f'<h2>Certificate</h2>\n<pre class="wide">{certificate}</pre>\n</div>'

    def _contributions(self, parts: Contributions, depth: int) -> Iterator[str]:
        if depth < 1:
            return
        shown, rest = parts.largest(self.why.notation.max_terms)
        left = len(parts) - len(shown)
        yield f"<p>{title_of(parts, len(shown))}</p>"
        for part in shown:
            yield from self._contribution(part, depth)
        if left:
            others = _math(self.writer.number(rest))
            yield f'<div class="leaf wide">{sum_of_others(left)}: {others}</div>'

    def _affordable(self, parts: Contributions) -> int:
        """Return the depth asked for, or the largest one that draws no more than `_NODES`."""
        count, total, most = 1, 0, self.why.notation.max_terms
        for depth in range(self.depth):
            count *= min(len(parts), most)
            total += count
            if total > _NODES:
                return depth
            below = [t.contributions for t in parts[0].terms if t.contributions is not None]
            if not below:
                break
            parts = below[0]  # those of the other units are as many
        return self.depth

    def _contribution(self, part: Contribution, depth: int) -> Iterator[str]:
        factors = "".join(
            self.writer.group("(", self.writer.number(t.value), ")") for t in part.terms
        )
        equals = self.writer.operator("=")
        value = self.writer.number(part.value)
        pieces = [self.writer.write(part.symbol), equals + factors, equals + value]
        formula = " ".join(map(_math, pieces))  # so that a line can break between them
        line = f"through unit {part.unit + self.why.notation.first_index}: {formula}"
        inner = [(term, below) for term in part.terms if (below := opened(term)) is not None]
        if not inner or depth < 2:
            yield f'<div class="leaf wide">{line}</div>'
            return
        yield f'<details class="wide"><summary>{line}</summary>'
        for term, below in inner:
            symbol = _math(self.writer.write(term.symbol))
            yield f"<p>where {symbol} is itself {is_itself(term)}</p>"
            yield from self._contributions(below, depth - 1)
        yield "</details>"

    def _table(self) -> Iterator[str]:
        why, writer = self.why, self.writer
        heads = "".join(
            f'<th scope="col">{_math(writer.write(column(why, term)))}</th>' for term in why.terms
        )
        yield (
            f'<div class="wide"><table><thead><tr><th scope="col">sample</th>{heads}'
            '<th scope="col">product</th></tr></thead><tbody>'
        )
        for row in shown_samples(why, _ROWS):
            cells = "".join(
                f"<td>{_math(writer.number(x))}</td>" for x in (*row.terms, row.product)
            )
            mark = ' class="focus"' if row.index == why.focus else ""
            yield f"<tr{mark}><td>{why.printed(row.index)}</td>{cells}</tr>"
        if left := max(why.n_samples - _ROWS, 0):
            yield f'<tr><td colspan="{len(why.terms) + 2}">{more_samples(left)}</td></tr>'
        mean = _math(writer.number(float(why.products.mean())))
        yield (
            f'</tbody><tfoot><tr><td>mean</td><td colspan="{len(why.terms)}"></td>'
            f"<td>{mean}</td></tr></tfoot></table></div>"
        )


def _pictures(why: Derivative, writer: MathmlWriter) -> Iterator[str]:
    """Draw the loss and the activation, and write down what a nudge does."""
    yield "<h2>In pictures</h2>"
    drawn = pictures(why)
    if not drawn:
        yield f"<p>{NOT_DRAWN}</p>"
    yield '<div class="pictures">'
    for picture in drawn:
        caption = f"<b>{escape(picture.title)}.</b> {escape(picture.words)}"
        yield f"<figure>{picture.svg}<figcaption>{caption}</figcaption></figure>"
    yield "</div>"
    moved = nudge(why)
    start = _math(writer.row([writer.letter("Δ"), writer.write(why.symbol)]))
    size = _math(writer.row([writer.operator("="), writer.number(moved.size)]))
    yield f"<p>{NUDGED} {start} {size}</p>"
    heads = "".join(f'<th scope="col">{head}</th>' for head in NUDGE_HEADS)
    yield f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>'
    for change in moved.changes:
        symbol = _math(writer.row([writer.letter("Δ"), writer.write(change.symbol)]))
        cells = "".join(
            f"<td>{'not a number' if isnan(x) else _math(writer.number(x))}</td>"
            for x in (change.predicted, change.measured)
        )
        yield f'<tr><th scope="row">{symbol}</th>{cells}</tr>'
    yield "</tbody></table></div>"


def _equation(writer: MathmlWriter, equation: Equation) -> Iterator[str]:
    if equation.lead:
        yield f"<p>{escape(equation.lead)}</p>"
    tag = f'<span class="tag">{escape(equation.tag)}</span>' if equation.tag else ""
    table = f'<mtable displaystyle="true">{"".join(_sides(writer, equation))}</mtable>'
    yield f'<div class="formula wide">{tag}{_math(table)}</div>'


def _sides(writer: MathmlWriter, equation: Equation) -> list[str]:
    return [_row([row.left, row.sign, row.right]) for row in breaking.rows(writer, equation)]


def _row(cells: list[str]) -> str:
    return "<mtr>" + "".join(f"<mtd>{cell}</mtd>" for cell in cells) + "</mtr>"


def _math(inside: str) -> str:
    return f'<math xmlns="{_MATH}" displaystyle="true">{inside}</math>'


def _writer(why: Derivative) -> MathmlWriter:
    return MathmlWriter(why.notation, why.network.sizes, why.n_samples, why.first_sample)
