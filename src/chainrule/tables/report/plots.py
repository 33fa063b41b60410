"""Plots of a report: bars, curves and points as SVG, which follow the colours of the page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from chainrule.equations.numbers import format_number
from chainrule.explain.curve_svg import ticks

_WIDTH, _HEIGHT = 460, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 16, 14, 44
_BAR, _NAMES, _VALUES = 22, 150, 74  # height of a bar; room for names and for values
_LETTER = 6.6  # width of a letter
COLOURS = ("#2f7dc8", "#d1620f", "#7a55c7", "#19835b", "#b0307a")
_DASHES = ("", "7 4", "2 3", "9 3 2 3", "1 5")


@dataclass(frozen=True)
class Plot:
    """A drawing with a title, and what it shows in words."""

    title: str
    words: str
    svg: str

    def figure(self) -> str:
        """Return the drawing and its caption as HTML."""
        caption = f"<b>{escape(self.title)}.</b> {escape(self.words)}"
        return f"<figure>{self.svg}<figcaption>{caption}</figcaption></figure>"


def number(value: float) -> str:
    """Return a number for an axis or a table."""
    if abs(value) >= 10_000 and math.isfinite(value) and abs(value) < 1e15:
        return f"{value:,.0f}".replace("-", "−")
    return format_number(float(f"{value:.4g}"), 4).replace("-", "−")


def bars(
    title: str,
    words: str,
    items: Sequence[tuple[str, float, float]],
    label: Callable[[float], str] = number,
) -> Plot:
    """Draw a bar for each name, with its value and, if that is above 0, its deviation."""
    height = _BAR * len(items) + 8
    most = max((value + extra for _, value, extra in items), default=0.0)
    least = min(0.0, *(value - extra for _, value, extra in items))
    room = _WIDTH - _NAMES - _VALUES

    def place(value: float) -> float:
        return round(_NAMES + room * (value - least) / ((most - least) or 1), 1)

    parts = []
    for i, (name, value, extra) in enumerate(items):
        y, (x0, x1) = _BAR * i + 4, sorted((place(0), place(value)))
        parts.append(
            f'<text x="{_NAMES - 8}" y="{y + 13}" text-anchor="end">{_short(name)}</text>'
            f'<rect x="{x0}" y="{y + 2}" width="{max(x1 - x0, 0.5):.1f}" height="14" '
            f'fill="{COLOURS[0]}"/>'
        )
        if extra > 0:
            a, b, middle = place(value - extra), place(value + extra), y + 9
            parts.append(f'<path d="M{a},{middle}H{b}" stroke="currentColor" stroke-width="1.4"/>')
        end = place(max(value, 0) + extra)
        parts.append(f'<text x="{end + 6}" y="{y + 13}">{escape(label(value))}</text>')
    return Plot(title, words, _svg(title, words, "".join(parts), height))


def curves(
    title: str,
    words: str,
    x: Sequence[float],
    series: Sequence[tuple[str, Sequence[float]]],
    across: str,
    up: str,
    *,
    label: Callable[[float], str] = number,
    marks: bool = False,
    diagonal: bool = False,
    square: bool = False,
) -> Plot:
    """Draw curves over the same x, with a legend if they are several.

    ``diagonal`` adds the line y = x, and ``square`` takes 0 to 1 for both axes.
    """
    heights = [value for _, values in series for value in values]
    box = _Box.around(x, heights) if not square else _Box(0, 1, 0, 1)
    parts = [*_axes(box, across, up, label)]
    if diagonal:
        parts.append(_diagonal(box))
    for i, (_, values) in enumerate(series):
        places = [box.place(a, b) for a, b in zip(x, values, strict=True)]
        line = " ".join(f"{a},{b}" for a, b in places)
        colour, dash = COLOURS[i % len(COLOURS)], _DASHES[i % len(_DASHES)]
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        parts.append(
            f'<polyline fill="none" stroke="{colour}" stroke-width="2.2"{dashed} points="{line}"/>'
        )
        if marks:
            parts += [f'<circle cx="{a}" cy="{b}" r="3.5" fill="{colour}"/>' for a, b in places]
    height = _HEIGHT
    if len(series) > 1:
        parts += _legend([name for name, _ in series])
        height += 20 * len(series)
    return Plot(title, words, _svg(title, words, "".join(parts), height))


def heights(
    title: str, words: str, edges: Sequence[float], counts: Sequence[float], across: str, up: str
) -> Plot:
    """Draw a histogram: a bar between two edges for each count."""
    box = _Box.around(edges, [0.0, *counts])
    parts = [*_axes(box, across, up, number)]
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        (x0, y0), (x1, y1) = box.place(low, 0), box.place(high, count)
        parts.append(
            f'<rect x="{x0 + 0.5:.1f}" y="{y1}" width="{max(x1 - x0 - 1, 0.5):.1f}" '
            f'height="{y0 - y1:.1f}" fill="{COLOURS[0]}"/>'
        )
    return Plot(title, words, _svg(title, words, "".join(parts), _HEIGHT))


def points(
    title: str, words: str, x: Sequence[float], y: Sequence[float], across: str, up: str
) -> Plot:
    """Draw points and the line y = x."""
    box = _Box.around([*x, *y], [*x, *y])
    parts = [*_axes(box, across, up, number), _diagonal(box)]
    drawn = "".join(
        f'<circle cx="{a}" cy="{b}" r="2.4"/>'
        for a, b in (box.place(i, j) for i, j in zip(x, y, strict=True))
    )
    parts.append(f'<g fill="{COLOURS[0]}" fill-opacity="0.55">{drawn}</g>')
    return Plot(title, words, _svg(title, words, "".join(parts), _HEIGHT))


def histogram(counts: Sequence[int], words: str) -> str:
    """Draw a small histogram, to stand in a line of a table."""
    width, height, most = 120, 26, max(counts, default=0) or 1
    wide = width / max(len(counts), 1)
    drawn = "".join(
        f'<rect x="{i * wide:.1f}" y="{height * (1 - count / most):.1f}" '
        f'width="{max(wide - 1, 0.8):.1f}" height="{height * count / most:.1f}"/>'
        for i, count in enumerate(counts)
    )
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{escape(words)}" fill="{COLOURS[0]}">{drawn}</svg>'
    )


@dataclass(frozen=True)
class _Box:
    """The part of the plane that is drawn."""

    x0: float
    x1: float
    y0: float
    y1: float

    @classmethod
    def around(cls, x: Sequence[float], y: Sequence[float]) -> _Box:
        ends = []
        for values, pad in ((x, 0.02), (y, 0.07)):
            low, high = min(values), max(values)
            if high - low <= 1e-12 * max(abs(low), abs(high), 1e-300):
                half = 0.5 * (abs(high) or 1.0)
                low, high = low - half, high + half
            ends += [low - pad * (high - low), high + pad * (high - low)]
        return cls(*ends)

    def place(self, x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (x - self.x0) / (self.x1 - self.x0) * (_WIDTH - _LEFT - _RIGHT)
        down = _TOP + (self.y1 - y) / (self.y1 - self.y0) * (_HEIGHT - _TOP - _BOTTOM)
        return round(across, 1), round(down, 1)


def _axes(box: _Box, across: str, up: str, label: Callable[[float], str]) -> Iterator[str]:
    left, bottom = _LEFT, _HEIGHT - _BOTTOM
    yield (
        '<path fill="none" stroke="currentColor" stroke-opacity="0.55" '
        f'd="M{left},{_TOP}V{bottom}H{_WIDTH - _RIGHT}"/>'
    )
    yield '<g text-anchor="middle">'
    for x in ticks(box.x0, box.x1, 4):
        yield f'<text x="{box.place(x, box.y0)[0]}" y="{bottom + 16}">{escape(label(x))}</text>'
    yield f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 8}">{_short(across, 50)}</text>'
    middle = (_TOP + bottom) / 2
    yield f'<text transform="translate(14 {middle}) rotate(-90)">{_short(up, 34)}</text></g>'
    yield '<g text-anchor="end">'
    for y in ticks(box.y0, box.y1, 4):
        yield f'<text x="{left - 6}" y="{box.place(box.x0, y)[1] + 4}">{escape(number(y))}</text>'
    yield "</g>"


def _diagonal(box: _Box) -> str:
    low, high = max(box.x0, box.y0), min(box.x1, box.y1)
    (x0, y0), (x1, y1) = box.place(low, low), box.place(high, high)
    return (
        f'<line x1="{x0}" y1="{y0}" x2="{x1}" y2="{y1}" stroke="currentColor" '
        'stroke-opacity="0.6" stroke-dasharray="4 4"/>'
    )


def _legend(names: Sequence[str]) -> Iterator[str]:
    for i, name in enumerate(names):
        y, colour, dash = _HEIGHT + 20 * i + 8, COLOURS[i % len(COLOURS)], _DASHES[i % len(_DASHES)]
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        yield (
            f'<line x1="{_LEFT}" y1="{y}" x2="{_LEFT + 36}" y2="{y}" stroke="{colour}" '
            f'stroke-width="2.2"{dashed}/><text x="{_LEFT + 44}" y="{y + 4}">{_short(name, 50)}'
            "</text>"
        )


def _svg(title: str, words: str, inside: str, height: int) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        f'height="{height}" role="img" aria-label="{escape(f"{title}. {words}")}" '
        'fill="currentColor" font-family="system-ui, sans-serif" font-size="12">'
        f"{inside}</svg>"
    )


def _short(text: str, most: int = int(_NAMES / _LETTER) - 1) -> str:
    return escape(text if len(text) <= most else f"{text[: most - 1]}…")
