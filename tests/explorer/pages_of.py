"""The pages of a run, read as text, for the tests of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from typing import Any

import httpx


@contextmanager
def entered(explorer: Any) -> Iterator[httpx.Client]:
    url = explorer.start()
    base = url.partition("?")[0]
    with httpx.Client(base_url=base, follow_redirects=True, timeout=300) as client:
        client.get(url)
        yield client


def said(reply: httpx.Response | str) -> str:
    text = reply if isinstance(reply, str) else reply.text
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", text)).split())


def number(value: float) -> str:
    return f"{value:.4g}".replace("-", "−") if value != int(value) else str(int(value))


def rows(reply: httpx.Response, caption: str) -> list[list[str]]:
    """The cells of the table with a caption that begins so."""
    table = re.search(rf"<caption>{re.escape(caption)}.*?</table>", reply.text, re.DOTALL)
    assert table is not None, said(reply)
    found = re.findall(r"<tr>(.*?)</tr>", table[0].partition("<tbody>")[2], re.DOTALL)
    return [[said(cell) for cell in re.findall(r"<td.*?</td>", row, re.DOTALL)] for row in found]


def points(page: str, title: str) -> list[list[Any]]:
    match = re.search(rf'data-title="{re.escape(title)}" data-points="([^"]*)"', page)
    assert match is not None
    found: list[list[Any]] = json.loads(unescape(match[1]))
    return found
