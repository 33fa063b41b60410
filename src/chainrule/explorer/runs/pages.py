"""Pages: what the pages of a run have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import urlencode

from chainrule.diagnose import drawing
from chainrule.explorer import paper
from chainrule.explorer.paper import number

ROWS = 50  # of a table that are shown at once

_STYLE = """
:root { --curve: #1f5fbf; --mark: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --curve: #7fb0ff; --mark: #ff8a80; } }
input[name="what"] { width: 17rem; }
td.spark { padding: 0 .7em; }
.of-spikes th { text-align: left; }
td.mark, .mark { color: var(--mark); }
nav.ways { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; margin: .6rem 0; }
.state { display: flex; flex-wrap: wrap; gap: .4rem 1rem; align-items: center; }
.state p { margin: 0; }
.box[role] { cursor: crosshair; }
.box .cursor { position: absolute; top: 0; bottom: 0; border-left: 1px solid currentColor; }
.box .cursor { pointer-events: none; }
.readout { display: block; min-height: 1.5em; font-size: .85rem; margin-left: 4rem; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
"""


def style() -> str:
    """Return the style of all pages."""
    return paper.style() + drawing.STYLE + _STYLE


def address(path: str, **fields: Any) -> str:
    """Return an address with fields, for an attribute."""
    return escape(f"{path}?{urlencode(fields)}" if fields else path)


def link(path: str, words: str, **fields: Any) -> str:
    """Return a link."""
    return f'<a href="{address(path, **fields)}">{escape(words)}</a>'


def step_link(step: int) -> str:
    """Return the link that opens a step."""
    return link("/step", f"{step:,}", step=step)


def row_link(row: int) -> str:
    """Return the link that opens the losses of a row."""
    return link("/row", f"{row:,}", row=row)


def optional(value: float | None) -> str:
    """Write a number; one that was not recorded is "none"."""
    return "none" if value is None else number(value)


def served(title: str, body: str) -> str:
    """Return a page of the server, with the way back and a box for what to open."""
    header = (
        f"<p>{link('/', 'The run')}</p><p>{link('/steps', 'All steps as a table')}</p>"
        '<form action="/find"><div><label for="what">Open a step, a row or a weight</label>'
        '<input id="what" name="what" required placeholder="120, row 17 or fc1.weight[3,7]" '
        'autocomplete="off" spellcheck="false" maxlength="300"/></div>'
        "<button>Open</button></form>"
    )
    return paper.served(title, header, body, "/run.js")


def error(message: str) -> str:
    """Return the page that says why something can't be opened."""
    text = escape(message[:1].upper() + message[1:])
    return served("Not found", f"<h1>This can’t be opened</h1>\n<p>{text}</p>")


def live(name: str, body: str) -> str:
    """Return a part of a page that is kept up to date while the run goes on."""
    return f'<div id="live-{name}" data-live>{body}</div>'


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of cells that are HTML, in a region that the keyboard scrolls."""
    top = "".join(f'<th scope="col">{head}</th>' if head else "<td></td>" for head in heads)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{top}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(cell: str) -> str:
    if cell.startswith("<td"):
        return cell
    return f"<td>{cell}</td>"


def words(cell: str) -> str:
    """Return a cell of words."""
    return f'<td class="words">{cell}</td>'


def leaf(path: str, fields: Mapping[str, Any], first: int, count: int) -> str:
    """Return the ways to the other parts of a table that is shown in parts.

    Args:
        path: The address of the page.
        fields: The fields of the address, without "first".
        first: The row that is shown first.
        count: How many rows there are.
    """
    if count <= ROWS:
        return ""
    places = {
        "First": 0,
        "Previous": max(first - ROWS, 0),
        "Next": first + ROWS,
        "Last": (count - 1) // ROWS * ROWS,
    }
    there = {
        name: at
        for name, at in places.items()
        if (at < first if name in ("First", "Previous") else first < at < count)
    }
    said = f"Rows {first + 1:,} to {min(first + ROWS, count):,} of {count:,}"
    ways = "".join(link(path, name, **{**fields, "first": at}) for name, at in there.items())
    return f'<nav class="ways" aria-label="Parts of the table"><span>{said}</span>{ways}</nav>'
