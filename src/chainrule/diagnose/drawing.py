"""Drawing: curves of a run as SVG, whose words keep their size however wide it is drawn."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from html import escape

import numpy as np
from numpy.typing import NDArray

from chainrule.diagnose.curves import extremes
from chainrule.equations.numbers import format_number

POINTS = 900  # of a curve; more do not show on a screen
_SPARKS = 80  # of a small curve
_TICKS = 5  # at most, on an axis
_WIDE, _HIGH = 1000, 1000  # the box that a curve is drawn in, stretched to its place
_BROKEN = 50  # steps without a finite number that are marked, at the top
_ABOVE = 0.9  # of the values that are above 0, for a logarithmic scale
_REACH = 1e8  # from the top of a logarithmic scale to its bottom, at most
_EDGE = 40  # left free above and below

STYLE = """
figure.curve { margin: .6rem 0 1.2rem; }
.plot { display: flex; height: 13rem; }
.plot .ticks { flex: none; width: 4rem; height: 100%; }
.plot .ticks text { font-size: .8rem; fill: currentColor; text-anchor: end; }
.plot .box { flex: 1; min-width: 0; position: relative; touch-action: pan-y; }
.plot .box svg { width: 100%; height: 100%; display: block; }
.curve line.grid { stroke: #8885; vector-effect: non-scaling-stroke; }
.curve polyline { fill: none; stroke: var(--curve); stroke-width: 1.5; }
.curve polyline, .curve .dot, .spark polyline { vector-effect: non-scaling-stroke; }
.curve .dot { stroke: var(--mark); stroke-width: 9; stroke-linecap: round; }
.curve .under { display: flex; justify-content: space-between; margin-left: 4rem; }
.curve .under, .curve figcaption { font-size: .85rem; }
svg.spark { width: 8rem; height: 1.6rem; display: block; }
svg.spark polyline { fill: none; stroke: var(--curve); stroke-width: 1.3; }
"""


def figure(
    title: str,
    steps: NDArray[np.int64],
    values: NDArray[np.floating],
    spikes: Collection[int] = (),
) -> str:
    """Return a figure of a curve; its heights are logarithmic where they lie far apart above 0.

    The points that are drawn stand in ``data-points``: [step, across, its value in words], where
    across goes from 0 to 1.

    Args:
        title: What is drawn.
        steps: The steps, (n,).
        values: The value in each step, (n,).
        spikes: The steps that are marked.
    """
    places = extremes(values, POINTS)
    marked = np.isin(steps, list(spikes))
    places = np.union1d(places, np.flatnonzero(marked & np.isfinite(values)))
    if not len(places):
        return f"<p>{escape(title)}: there are no finite numbers yet.</p>"
    scale, first, last = _Scale(values[places]), int(steps[0]), int(steps[-1])
    across = (steps - first) / max(last - first, 1)
    down = scale.down(values[places])
    dots = [
        f'<path class="dot" d="M{across[i] * _WIDE:.1f} {y:.1f}h0">'
        f"<title>spike in step {steps[i]}</title></path>"
        for i, y in zip(places, down, strict=True)
        if marked[i]
    ]
    dots += [
        f'<path class="dot" d="M{across[i] * _WIDE:.1f} {_EDGE // 2}h0">'
        f"<title>not finite in step {steps[i]}</title></path>"
        for i in np.flatnonzero(~np.isfinite(values))[:_BROKEN]
    ]
    grid, words = [], []
    for value, y in zip(scale.ticks, scale.down(np.array(scale.ticks)), strict=True):
        grid.append(f'<line class="grid" x1="0" x2="{_WIDE}" y1="{y:.1f}" y2="{y:.1f}"/>')
        words.append(f'<text x="90%" y="{y / _HIGH:.2%}" dy=".35em">{_short(value)}</text>')
    points = [[int(steps[i]), round(float(across[i]), 5), _short(float(values[i]))] for i in places]
    data = escape(json.dumps(points, separators=(",", ":"), ensure_ascii=False))
    return (
        f'<figure class="curve"><figcaption>{escape(title)}'
        f'{", logarithmic" if scale.logarithmic else ""}</figcaption><div class="plot">'
        f'<svg class="ticks" aria-hidden="true">{"".join(words)}</svg>'
        f'<div class="box" data-title="{escape(title)}" data-points="{data}">'
        f'<svg viewBox="0 0 {_WIDE} {_HIGH}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(_said(title, steps[places], values[places]))}">{"".join(grid)}'
        f'<polyline points="{_pairs(across[places] * _WIDE, down)}"/>{"".join(dots)}</svg></div>'
        f'</div><div class="under"><span>step {first:,}</span><span>step {last:,}</span></div>'
        "</figure>"
    )


def spark(
    steps: NDArray[np.int64], values: NDArray[np.floating], reach: tuple[float, float]
) -> str:
    """Return a small curve, for a cell of a table that has its numbers in other cells.

    Args:
        steps: The steps, (n,).
        values: The values, (n,); those above 0 are drawn.
        reach: The values at the bottom and at the top, both above 0: the same for all rows.
    """
    places = extremes(np.where(values > 0, values, np.nan), _SPARKS)
    if not len(places):
        return ""
    low, high = (math.log10(each) for each in reach)
    across = (steps[places] - steps[0]) / max(int(steps[-1] - steps[0]), 1) * _WIDE
    share = (np.log10(values[places].astype(float)) - low) / ((high - low) or 1.0)
    down = _EDGE + (1 - np.clip(share, 0, 1)) * (_HIGH - 2 * _EDGE)
    return (
        f'<svg class="spark" viewBox="0 0 {_WIDE} {_HIGH}" preserveAspectRatio="none" '
        f'aria-hidden="true"><polyline points="{_pairs(across, down)}"/></svg>'
    )


class _Scale:
    """Heights: logarithmic where values lie far apart above 0; a few that are 0 stand lowest."""

    def __init__(self, values: NDArray[np.floating]) -> None:
        low, high = float(values.min()), float(values.max())
        above = values[values > 0]
        if low >= 0 and len(above) >= _ABOVE * len(values):
            low = max(float(above.min()), high / _REACH)
        self.logarithmic = low > 0 and high > 3 * low
        if self.logarithmic:
            low, high = math.log10(low), math.log10(high)
        elif low == high:
            low, high = low - (abs(low) or 1.0) / 2, high + (abs(high) or 1.0) / 2
        self._low, self._high = low, high
        self.ticks = _decades(low, high) if self.logarithmic else _nice(low, high)

    def down(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return how far below the top of the box values stand."""
        heights = values.astype(float)
        if self.logarithmic:
            heights = np.log10(np.maximum(heights, 10.0**self._low))
        share = (heights - self._low) / (self._high - self._low)
        return _EDGE + (1 - share) * (_HIGH - 2 * _EDGE)


def _decades(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten, or only powers of ten where those are enough."""
    for factors, stride in (((1, 2, 5), 1), ((1, 3), 1), *(((1,), k) for k in range(1, 400))):
        powers = [p for p in range(math.floor(low), math.ceil(high) + 1) if p % stride == 0]
        found = [f * 10.0**p for p in powers if p > -320 for f in factors]
        found = [each for each in found if low <= math.log10(each) <= high]
        if len(found) <= _TICKS:
            return found
    return []


def _nice(low: float, high: float) -> list[float]:
    """Return 1, 2 or 5 times a power of ten apart."""
    step = 10.0 ** math.floor(math.log10(high - low) - 1) if high > low else 1.0
    for factor in (1, 2, 5, 10, 20, 50, 100):
        width = factor * step
        count = math.floor(high / width) - math.ceil(low / width) + 1
        if count <= _TICKS:
            return [(math.ceil(low / width) + k) * width for k in range(count)]
    return []


def _pairs(across: NDArray[np.floating], down: NDArray[np.floating]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, down, strict=True))


def _short(value: float) -> str:
    return format_number(value, 4).replace("-", "−")


def _said(title: str, steps: NDArray[np.int64], values: NDArray[np.floating]) -> str:
    """Return a curve in words."""
    low, high = int(values.argmin()), int(values.argmax())
    return (
        f"{title}: {_short(float(values[0]))} in step {steps[0]}, {_short(float(values[-1]))} in "
        f"step {steps[-1]}; least {_short(float(values[low]))} in step {steps[low]}, largest "
        f"{_short(float(values[high]))} in step {steps[high]}"
    )
