"""Paper: what pages that the server makes have in common: their frame, style and numbers."""

from __future__ import annotations

from html import escape

from chainrule.equations.numbers import format_number
from chainrule.explain.page_html import STYLE

PAGE_STYLE = """
:root { color-scheme: light dark; --line: #8886; --bar: #2f6fb2; }
@media (prefers-color-scheme: dark) { :root { --bar: #6aa9e8; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 0 auto; }
body { padding: 0 1rem 3rem; background: Canvas; color: CanvasText; }
header { display: flex; flex-wrap: wrap; gap: .6rem 1.5rem; align-items: end; padding: .8rem 0; }
header { border-bottom: 1px solid var(--line); }
header p { margin: 0; }
h1 { font-size: 1.5rem; font-weight: 600; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 1.6em 0 .4em; }
label { display: block; font-size: .85rem; }
input, button { font: inherit; padding: .25em .6em; box-sizing: border-box; max-width: 100%; }
input, button { color: CanvasText; background: Canvas; border: 1px solid #888; }
::placeholder { color: CanvasText; opacity: .75; }
a { color: LinkText; }
input[name="target"] { width: 20rem; }
input[type="number"] { width: 6rem; }
form { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: end; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .4em 0; }
caption { text-align: left; font-weight: 600; padding: .4em 0; }
th, td { padding: .15em .7em; text-align: right; font-variant-numeric: tabular-nums; }
th { font-weight: 600; font-size: .85rem; }
td.shape { white-space: nowrap; }
th:first-child, td:first-child, td.words { text-align: left; }
td.words { min-width: 16rem; }
thead th { border-bottom: 1px solid var(--line); }
details { margin: .2em 0 .2em .9rem; padding-left: .6rem; border-left: 2px solid var(--line); }
summary::before { content: "▸"; } details[open] > summary::before { content: "▾"; }
summary { cursor: pointer; display: flex; flex-wrap: wrap; gap: 0 1rem; align-items: center; }
summary .name { font-weight: 600; overflow-wrap: anywhere; }
summary .small, .small { font-size: .85rem; }
svg.bar rect { fill: var(--bar); }
.cell { display: block; }
.chainrule h2.top { font-size: 1.3rem; font-weight: normal; overflow-x: auto; border: 0; }
"""


NO_TOKEN = (
    "<!DOCTYPE html><html lang=en><meta charset=utf-8><title>chainrule</title>"
    "<h1>The token is missing</h1><p>Open the whole address that was printed. It ends in "
    "<code>?token=…</code></p></html>"
)


def document(title: str, body: str, head: str) -> str:
    """Return a whole page; ``head`` is the element that brings its style, and scripts."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        f"<title>{escape(title)}</title>\n{head}\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def served(title: str, header: str, body: str, script: str = "") -> str:
    """Return a page of the server.

    Args:
        title: The title, before the name of the library.
        header: What stands above the page, as HTML.
        body: The page, as HTML.
        script: The address of its script, if it has one.
    """
    head = '<link rel="stylesheet" href="/style.css"/>'
    if script:
        head += f'\n<script type="module" src="{script}"></script>'
    inside = f"<header>{header}</header>\n<main>\n{body}\n</main>"
    return document(f"{title} - chainrule", inside, head)


def style() -> str:
    """Return the style of all pages."""
    return PAGE_STYLE + STYLE


def number(value: float) -> str:
    """Write a number with 4 significant digits."""
    return format_number(value, 4).replace("-", "−")
