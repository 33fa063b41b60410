"""Prose: the Markdown of a lesson. It has paragraphs, lists and three styles, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, NoReturn, TypedDict

# What a page could run, load or follow. Nothing of a lesson may do so.
_HTML = re.compile(r"<[A-Za-z/!?]")
_LINK = re.compile(r"\]\(|\]\[|\]:|!\[")
_STYLE = re.compile(r"\*\*(?P<strong>[^*]+)\*\*|`(?P<code>[^`]+)`|\*(?P<em>[^*\s][^*]*)\*")
_ITEM = re.compile(r"[-*] +(?=\S)")
Style = Literal["", "strong", "em", "code"]


class SpanView(TypedDict):
    """A piece of text in one style."""

    text: str
    style: Style


class BlockView(TypedDict):
    """A paragraph ("p"), or an item of a list ("li")."""

    kind: Literal["p", "li"]
    spans: list[SpanView]


def blocks(lines: Sequence[str], name: str, first: int) -> list[BlockView]:
    """Return the paragraphs and items of some lines; raise ValueError for other Markdown.

    Args:
        lines: The lines.
        name: The name of the file, for errors.
        first: The number of the first line.
    """
    found: list[tuple[Literal["p", "li"], list[str]]] = []
    open_ = False  # whether the next line goes on with the last block
    for number, line in enumerate(lines, start=first):
        _check(line, name, number)
        text = line.strip()
        item = _ITEM.match(text)
        if not text:
            open_ = False
        elif item:
            found.append(("li", [text[item.end() :]]))
            open_ = True
        elif open_:
            found[-1][1].append(text)
        else:
            found.append(("p", [text]))
            open_ = True
    return [{"kind": kind, "spans": spans(" ".join(parts))} for kind, parts in found]


def spans(text: str) -> list[SpanView]:
    """Return a text as pieces of one style each: **strong**, *em* and `code`."""
    found: list[SpanView] = []
    at = 0
    for match in _STYLE.finditer(text):
        if match.start() > at:
            found.append({"text": text[at : match.start()], "style": ""})
        style: Any = match.lastgroup
        found.append({"text": match[style], "style": style})
        at = match.end()
    if at < len(text):
        found.append({"text": text[at:], "style": ""})
    return found


def _check(line: str, name: str, number: int) -> None:
    def fail(what: str, instead: str) -> NoReturn:
        raise ValueError(f"{name}, line {number} has {what}; expected plain text. {instead}")

    outside = re.sub(r"`[^`]*`", "", line)
    if not line.replace("\t", " ").isprintable():
        fail("a control character", "Remove it.")
    if _HTML.search(outside):
        fail("HTML", "Write < as ` < ` with spaces, or put it into `code`.")
    if _LINK.search(outside):
        fail("a link or an image", "Write the address as `code`.")
    if re.match(r"\s*(```|~~~)", line):
        fail("a code block", "Only ```stop may follow a heading.")
    if re.match(r"\s*(#|>|\||\d+\. )", line):
        fail(f"the mark {line.split()[0]!r}", "Use paragraphs, lists with -, and ## for a stop.")
