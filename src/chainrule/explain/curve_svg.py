"""Pictures of a derivative as SVG, each with its words; no package draws them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

import numpy as np

from chainrule.equations.activations import LeakyReLU, ReLU
from chainrule.equations.numbers import format_number
from chainrule.explain.curve import Array, Curve, activation_curve, loss_curve, zoomed
from chainrule.explain.derivative import Derivative
from chainrule.explain.symbols import LossSymbol, quantity
from chainrule.explain.text import TextWriter

_WIDTH, _HEIGHT = 460, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 16, 14, 44
NUDGED = "A nudge, carried forward: what each number changes by, for a change of"
NUDGE_HEADS = ("", "by the chain rule", "by a forward pass")
NOT_DRAWN = "The number is not finite, so there is nothing to draw."
_LARGEST = 1e300  # what is larger is a gap, as infinity is
_BLUE, _ORANGE = "var(--positive, #2f7dc8)", "var(--negative, #d1620f)"


@dataclass(frozen=True)
class Picture:
    """A drawing and its words.

    Attributes:
        title: What is drawn.
        words: What there is to see.
        svg: The drawing, one SVG element.
    """

    title: str
    words: str
    svg: str


def pictures(why: Derivative) -> list[Picture]:
    """Draw C over the quantity, its step from near if it is small, and g of the unit.

    There is no picture of a z or a that is not finite.
    """
    if not math.isfinite(why.target_value):
        return []
    curve, say = loss_curve(why), _Words(why)
    drawn = [_drawn(say.title_of_loss, say.loss(curve), curve, say.symbol, say.C)]
    if (near := zoomed(why, curve)) is not None:
        title = f"The step from near: {say.C} as a function of {say.symbol}"
        drawn.append(_drawn(title, say.step_from_near(near), near, say.symbol, say.C))
    if (g := activation_curve(why)) is not None:
        drawn.append(_drawn(say.title_of_activation, say.activation(g), g, say.z, say.a))
    return drawn


class _Words:
    """What the pictures of a derivative show, in words."""

    def __init__(self, why: Derivative) -> None:
        self.why = why
        writer = TextWriter(why.notation, why.network.sizes, why.n_samples)
        l, j = why.target.layer, why.target.j
        self.symbol, self.C = writer.write(why.symbol), writer.write(LossSymbol())
        self.z, self.a = (writer.write(quantity(letter, l, j)) for letter in "za")
        self.title_of_loss = f"{self.C} as a function of {self.symbol}"
        self.title_of_activation = f"{self.a} as a function of {self.z}"

    def loss(self, curve: Curve) -> str:
        say, symbol, C = self.number, self.symbol, self.C
        words = [f"Everything else stays as it is. At {symbol} = {say(curve.at)}"]
        words[0] += f", {C} is {say(curve.value)}, and the tangent has the slope {say(curve.slope)}"
        words[0] += f", the derivative ∂{C}/∂{symbol} that is explained."
        finite = curve.y[_finite(curve.y)]
        if len(finite) and np.ptp(finite) == 0:
            words.append(f"The curve is flat: here {C} does not depend on {symbol}.")
        words += self._kink(curve)
        words += self._step(curve)
        if len(finite) < len(curve.y):
            words.append(f"Where {C} is not a finite number, the curve has a gap.")
        layers = self.why.network.weighted_layers[max(self.why.target.layer - 1, 0) :]
        if any(isinstance(layer.activation, ReLU | LeakyReLU) for layer in layers):
            words.append(
                "The curve can have corners, where a unit crosses z = 0: the tangent holds only "
                "up to the next one."
            )
        return " ".join(words)

    def _kink(self, curve: Curve) -> Iterator[str]:
        if curve.sides is not None:
            below, above = map(self.number, curve.sides)
            yield (
                f"There is a kink here: the slope is {below} from the left and {above} from the "
                f"right. Training takes {self.number(curve.slope)}."
            )

    def _step(self, curve: Curve) -> Iterator[str]:
        step, say = curve.step, self.number
        if step is None:
            return
        if step.to == curve.at:
            yield f"The slope is 0, so gradient descent does not move {self.symbol}."
            return
        yield (
            f"The step with η = {say(step.rate)} leads to {self.symbol} = {say(step.to)}. On the "
            f"tangent {self.C} would be {say(step.predicted)} there; it is {say(step.loss)}."
        )

    def step_from_near(self, curve: Curve) -> str:
        assert curve.step is not None  # zoomed() looks at a step
        step = curve.step
        predicted, real = step.predicted - curve.value, step.loss - curve.value
        return (
            f"The same curve around the step. The chain rule predicts that {self.C} changes by "
            f"{_marked(predicted, 4)}; it changes by {_marked(real, 4)}."
        )

    def activation(self, curve: Curve) -> str:
        say, name = self.number, self.why.network.layers[self.why.target.layer].activation.name
        n = self.why.n_samples
        of = f" (sample {self.why.focus + self.why.notation.first_index})" if n > 1 else ""
        values = f"it is {say(curve.value)}, and its slope is {say(curve.slope)}"
        words = [
            f"{name}, the activation function of the unit. At z = {say(curve.at)}{of} {values}."
        ]
        if curve.slope == 0:
            words.append("The slope is 0: no gradient passes through this unit here.")
        return " ".join([*words, *self._kink(curve)])

    def number(self, value: float) -> str:
        return _marked(value, max(self.why.notation.digits, 4))


def _marked(value: float, digits: int) -> str:
    if math.isnan(value):
        return "not a number"
    return format_number(value, digits).replace("-", "−").replace("inf", "∞")


# --- drawing --------------------------------------------------------------------------------------


def _finite(y: Array) -> Array:
    return np.asarray(np.isfinite(y) & (np.abs(y) < _LARGEST))


@dataclass(frozen=True)
class _Box:
    """The part of the plane that is drawn."""

    x0: float
    x1: float
    y0: float
    y1: float

    def place(self, x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (x - self.x0) / (self.x1 - self.x0) * (_WIDTH - _LEFT - _RIGHT)
        down = _TOP + (self.y1 - y) / (self.y1 - self.y0) * (_HEIGHT - _TOP - _BOTTOM)
        return round(across, 1), round(down, 1)

    def holds(self, y: float) -> bool:
        return self.y0 <= y <= self.y1


def _box(curve: Curve) -> _Box:
    x0, x1 = float(curve.x[0]), float(curve.x[-1])
    shown = [float(v) for v in curve.y[_finite(curve.y)]]
    if _finite(np.array([curve.value]))[0]:
        shown.append(curve.value)
    low, high = (min(shown), max(shown)) if shown else (0.0, 1.0)
    if curve.step is not None:  # room for the prediction, unless it is far below
        predicted = curve.step.predicted
        if math.isfinite(predicted) and abs(predicted - (low + high) / 2) < 1.5 * (high - low):
            low, high = min(low, predicted), max(high, predicted)
    if high - low <= 1e-13 * max(abs(low), abs(high)):
        middle, half = (low + high) / 2, 0.5 * max(abs(high), 1e-300 if high else 1.0)
        low, high = middle - half, middle + half
    pad = 0.07 * (high - low)
    return _Box(x0, x1, low - pad, high + pad)


def _drawn(title: str, words: str, curve: Curve, across: str, up: str) -> Picture:
    box = _box(curve)
    parts = [*_axes(box, across, up), *_line(curve, box), *_tangent(curve, box)]
    parts += [*_step(curve, box), *_here(curve, box)]
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="{escape(f"{title}. {words}")}"'
        ' font-family="system-ui, sans-serif" font-size="12">'
        f"<title>{escape(title)}</title><desc>{escape(words)}</desc>{''.join(parts)}</svg>"
    )
    return Picture(title, words, svg)


def _axes(box: _Box, across: str, up: str) -> Iterator[str]:
    left, bottom = _LEFT, _HEIGHT - _BOTTOM
    yield '<g stroke="currentColor" stroke-opacity="0.55">'
    yield f'<path fill="none" d="M{left},{_TOP}V{bottom}H{_WIDTH - _RIGHT}"/></g>'
    yield '<g fill="currentColor" text-anchor="middle">'
    for x in ticks(box.x0, box.x1, 5):
        at, _ = box.place(x, box.y0)
        yield f'<text x="{at}" y="{bottom + 16}">{_tick(x)}</text>'
    yield f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 8}">{escape(across)}</text>'
    middle = (_TOP + bottom) / 2
    yield f'<text transform="translate(14 {middle}) rotate(-90)">{escape(up)}</text></g>'
    yield '<g fill="currentColor" text-anchor="end">'
    for y in ticks(box.y0, box.y1, 4):
        _, down = box.place(box.x0, y)
        yield f'<text x="{left - 6}" y="{down + 4}">{_tick(y)}</text>'
    yield "</g>"


def ticks(low: float, high: float, count: int) -> list[float]:
    """Return about so many round numbers from low to high: steps of 1, 2 or 5 times a power of ten.

    Args:
        low: The lower end.
        high: The upper end.
        count: How many, about.
    """
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next((m * power for m in (1, 2, 5) if m * power >= raw), 10 * power)
    first, last = math.ceil(low / step), math.floor(high / step)
    if last - first > 3 * count:  # the numbers are too near to each other to be told apart
        return []
    return [n * step for n in range(first, last + 1)]


def _tick(value: float) -> str:
    return _marked(float(f"{value:.6g}"), 6)


def _line(curve: Curve, box: _Box) -> Iterator[str]:
    d, drawing = [], False
    for x, y, finite in zip(curve.x, curve.y, _finite(curve.y), strict=True):
        if finite:
            at, down = box.place(float(x), float(y))
            d.append(f"{'L' if drawing else 'M'}{at},{down}")
        drawing = bool(finite)
    yield f'<path class="curve" fill="none" stroke="{_BLUE}" stroke-width="2.2" d="{"".join(d)}"/>'


def _tangent(curve: Curve, box: _Box) -> Iterator[str]:
    """Return the tangent, as far as it is inside the box."""
    if not (math.isfinite(curve.slope) and box.holds(curve.value)):
        return
    ends = [box.x0, box.x1]
    if curve.slope:
        found = sorted(curve.at + (y - curve.value) / curve.slope for y in (box.y0, box.y1))
        ends = [max(box.x0, found[0]), min(box.x1, found[1])]
    (x0, y0), (x1, y1) = (
        box.place(x, min(max(curve.value + curve.slope * (x - curve.at), box.y0), box.y1))
        for x in ends
    )
    yield (
        f'<line class="tangent" x1="{x0}" y1="{y0}" x2="{x1}" y2="{y1}" stroke="{_ORANGE}" '
        'stroke-width="1.8" stroke-dasharray="7 4"/>'
    )


def _step(curve: Curve, box: _Box) -> Iterator[str]:
    step = curve.step
    if step is None or step.to == curve.at or not box.x0 <= step.to <= box.x1:
        return
    (x0, y0), (x1, _) = box.place(curve.at, curve.value), box.place(step.to, curve.value)
    if abs(x1 - x0) >= 12 and box.holds(curve.value):
        back = 7 if x1 < x0 else -7
        yield (
            f'<path class="step" fill="none" stroke="currentColor" stroke-width="1.4" '
            f'd="M{x0},{y0}H{x1}m{back},-4l{-back},4l{back},4"/>'
        )
    heights = [y for y in (step.predicted, step.loss) if math.isfinite(y) and box.holds(y)]
    for y in heights:
        at, down = box.place(step.to, y)
        filled = y == heights[-1] and y == step.loss
        colour = _BLUE if filled else _ORANGE
        yield (
            f'<circle cx="{at}" cy="{down}" r="4" fill="{colour if filled else "none"}" '
            f'stroke="{colour}" stroke-width="1.8"/>'
        )


def _here(curve: Curve, box: _Box) -> Iterator[str]:
    if box.holds(curve.value):
        x, y = box.place(curve.at, curve.value)
        yield f'<circle class="here" cx="{x}" cy="{y}" r="4.5" fill="currentColor"/>'
