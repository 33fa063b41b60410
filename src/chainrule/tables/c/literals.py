"""Literals: numbers, texts and arrays as C99 writes them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

import numpy as np


def quoted(text: str) -> str:
    """Return a text quoted for CSV."""
    return '"' + text.replace('"', '""') + '"'


def pair(power: int) -> str:
    """Return a power of ten as a double and what is left of it."""
    exact = Fraction(10) ** power
    high = float(exact)
    low = float(exact - Fraction(high))
    return f"{{{high!r}, {low!r}}}"


def number(value: float) -> str:
    """Return a number as a double, in parentheses where it is below 0."""
    text = repr(float(np.float64(value)))
    return text if value >= 0 else f"({text})"


def literal(text: str) -> str:
    """Return a text as a literal of C: ASCII alone, without trigraphs and what is put in later."""
    made = ""
    taken = {m.start() for m in re.finditer(rb"(name|NAME)_|TYPE", text.encode())}
    for i, byte in enumerate(text.encode()):
        c = chr(byte)
        made += (
            f"\\{byte:03o}"
            if i in taken or not 0x20 <= byte < 0x7F
            else f"\\{c}"
            if c in '"\\?'
            else c
        )
    return f'"{made}"'


def texts(name: str, items: Sequence[str], size: str, how: str = "", end: str = "") -> str:
    """Return an array of texts."""
    each = [literal(text) for text in items]
    return array(f"{how}const char *const {name}[{size}]", [*each, *([end] if end else [])])


def array(name: str, items: list[str]) -> str:
    """Return an array with its items, in lines that are not long."""
    lines, line = [], "   "
    for item in items:
        if len(line) + len(item) > 97 and line.strip():
            lines.append(line)
            line = "   "
        line += f" {item},"
    return "\n".join([f"\n{name} = {{", *lines, line, "};\n"])
