"""Picture: a small network drawn with the numbers of one sample, as SVG with a text alternative."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from chainrule.equations.numbers import format_number
from chainrule.explain.pieces import Pieces
from chainrule.explain.symbols import Quantity, quantity
from chainrule.explain.text import TextWriter

_DIGITS = 4
_RADIUS, _DOWN = 38, 132  # of a unit, and between units; pixels
_ACROSS = (230, 300, 380, 460)  # between layers: the first that has room for all numbers
_TOP, _SIDE = 72, 48
_LETTER, _LINE = 7.4, 15  # size of a letter on a line, and height of the line
_PLACES = [0.32 + step / 50 for step in [*range(28), *range(-1, -12, -1)]]  # along a line
_CLEAR = 5  # pixels between a label and the next line or label

Box = tuple[float, float, float, float]  # left, top, right, bottom
Line = tuple[float, float, float, float]  # from x, y to x, y

TOO_LARGE = "The network is too large to be drawn with all its numbers."


@dataclass(frozen=True)
class Picture:
    """A drawing, and the same in words.

    Attributes:
        words: Everything that the drawing shows, in words.
    """

    words: str
    _body: str
    _size: tuple[int, int]

    def svg(self, ink: str = "currentColor") -> str:
        """Return the drawing as an SVG element.

        Args:
            ink: The colour of lines and letters.
        """
        width, height = self._size
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" aria-label="{escape(self.words)}" '
            f'color="{ink}" fill="currentColor" font-family="system-ui, sans-serif" font-size="13" '
            f'text-anchor="middle">{self._body}</svg>'
        )


def picture(p: Pieces) -> Picture | str:
    """Draw the network with its inputs, weights, biases, activations and targets.

    Returns:
        The picture, or a sentence why there is none: the numbers would overlap.
    """
    network = p.network
    if max(network.sizes) > 6 or len(network.sizes) > 6:
        return TOO_LARGE
    for across in _ACROSS:
        drawing = _Drawing(p, across)
        body = drawing.body()
        if body is not None:
            return Picture(drawing.words(), body, (drawing.width, drawing.height))
    return TOO_LARGE


class _Drawing:
    def __init__(self, p: Pieces, across: int) -> None:
        self.p, self.sizes, self.across = p, p.network.sizes, across
        self.writer = TextWriter(p.notation, p.network.sizes, len(p.y))
        self.width = 2 * _SIDE + across * (len(self.sizes) - 1) + 150
        self.height = _TOP + _DOWN * (max(self.sizes) - 1) + _RADIUS + 28

    def place(self, l: int, unit: int) -> tuple[float, float]:
        """Return the centre of a unit; the units of a layer stand in the middle of its column."""
        gap = (max(self.sizes) - self.sizes[l]) * _DOWN / 2
        return _SIDE + l * self.across, _TOP + gap + unit * _DOWN

    def number(self, q: Quantity) -> str:
        return format_number(self.p.value_of(q), _DIGITS).replace("-", "−")

    def named(self, q: Quantity) -> str:
        return f"{self.writer.write(q)} = {self.number(q)}"

    def body(self) -> str | None:
        labels = self._labels()
        if labels is None:
            return None
        parts: list[str] = []
        for line, box, text in labels:
            parts += _cut(line, box)
            parts.append(_text((box[0] + box[2]) / 2, (box[1] + box[3]) / 2, text))
        parts += self._units()
        return "".join(parts)

    def _labels(self) -> list[tuple[Line, Box, str]] | None:
        """Return each connection with the box of its number, clear of all others, or None."""
        lines: dict[Quantity, Line] = {}
        for l in range(1, len(self.sizes)):
            for j in range(self.sizes[l]):
                for k in range(self.sizes[l - 1]):
                    (x0, y0), (x1, y1) = self.place(l - 1, k), self.place(l, j)
                    lines[quantity("w", l, j, k)] = (x0 + _RADIUS, y0, x1 - _RADIUS, y1)
        found: list[tuple[Line, Box, str]] = []
        for w, line in lines.items():
            text = self.number(w)
            others = [other for other in lines.values() if other != line]
            for t in _PLACES:
                box = _box(line, t, text)
                if any(_meets(box, taken) for _, taken, _ in found):
                    continue
                if not any(_crosses(other, box) for other in others):
                    found.append((line, box, text))
                    break
            else:
                return None
        return found

    def _units(self) -> Iterator[str]:
        last = len(self.sizes) - 1
        for l, size in enumerate(self.sizes):
            x, _ = self.place(l, 0)
            name = "inputs" if l == 0 else self.p.network.layers[l].activation.name
            yield _text(x, 14, name)
            for j in range(size):
                x, y = self.place(l, j)
                a = quantity("a", l, j)
                yield _circle(x, y)
                yield _text(x, y - 8, self.writer.write(a))
                yield _text(x, y + 9, self.number(a))
                if l and self.p.network.biases:
                    yield _text(x, y + _RADIUS + 13, self.named(quantity("b", l, j)))
                if l == last:
                    y_j = f"target {self.named(quantity('y', None, j))}"
                    yield _text(x + _RADIUS + 10, y, y_j, anchor="start")

    def words(self) -> str:
        sizes = "-".join(map(str, self.sizes))
        parts = [f"The network {sizes} with the numbers of the sample."]
        inputs = [self.named(quantity("a", 0, k)) for k in range(self.sizes[0])]
        parts.append(f"Inputs: {', '.join(inputs)}.")
        for l in range(1, len(self.sizes)):
            known: list[Quantity] = []
            for j in range(self.sizes[l]):
                known += [quantity("w", l, j, k) for k in range(self.sizes[l - 1])]
                known += [quantity("b", l, j)] if self.p.network.biases else []
            known += [quantity("a", l, j) for j in range(self.sizes[l])]
            parts.append(f"Layer {l}: {', '.join(map(self.named, known))}.")
        targets = [self.named(quantity("y", None, j)) for j in range(self.sizes[-1])]
        return " ".join([*parts, f"Targets: {', '.join(targets)}."])


def _circle(x: float, y: float) -> str:
    shape = f'<circle cx="{x:g}" cy="{y:g}" r="{_RADIUS}"'
    return f'{shape} fill="none" stroke="currentColor" stroke-width="1.5"/>'


def _text(x: float, y: float, text: str, anchor: str = "") -> str:
    where = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{x:g}" y="{y + 4.5:g}"{where}>{escape(text)}</text>'


def _box(line: Line, t: float, text: str) -> Box:
    """Return the box of a text whose middle stands at the part t of a line."""
    x, y = line[0] + t * (line[2] - line[0]), line[1] + t * (line[3] - line[1])
    half = len(text) * _LETTER / 2 + 2
    return x - half, y - _LINE / 2, x + half, y + _LINE / 2


def _meets(a: Box, b: Box) -> bool:
    across = a[0] < b[2] + _CLEAR and b[0] < a[2] + _CLEAR
    return across and a[1] < b[3] + _CLEAR and b[1] < a[3] + _CLEAR


def _inside(line: Line, box: Box, clear: float = 0.0) -> tuple[float, float] | None:
    """Return the part of a line, from t to t, that lies in a box, or None (Liang and Barsky)."""
    x, y, dx, dy = line[0], line[1], line[2] - line[0], line[3] - line[1]
    first, last = 0.0, 1.0
    bounds = (
        (-dx, x - box[0] + clear), (dx, box[2] + clear - x),
        (-dy, y - box[1] + clear), (dy, box[3] + clear - y),
    )  # fmt: skip
    for slope, room in bounds:
        if slope == 0:
            if room < 0:
                return None
        elif slope < 0:
            first = max(first, room / slope)
        else:
            last = min(last, room / slope)
    return (first, last) if first < last else None


def _crosses(line: Line, box: Box) -> bool:
    return _inside(line, box, clear=2) is not None


def _cut(line: Line, box: Box) -> Iterator[str]:
    """Draw a line with a gap for its number."""
    x, y, dx, dy = line[0], line[1], line[2] - line[0], line[3] - line[1]
    start, end = _inside(line, box) or (0.5, 0.5)
    for a, b in ((0.0, start), (end, 1.0)):
        yield (
            f'<line x1="{x + a * dx:.1f}" y1="{y + a * dy:.1f}" x2="{x + b * dx:.1f}" '
            f'y2="{y + b * dy:.1f}" stroke="currentColor" stroke-opacity="0.6"/>'
        )
