"""The face of flow: where a gradient grows or vanishes between the loss and the first layer."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from html import escape
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from chainrule.diagnose.flow import LayerFlow, layers_of
from chainrule.diagnose.paths import at_kinks
from chainrule.equations.backprop import Gradient
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.numbers import format_number, plain
from chainrule.explain.words import setting_of

_CHANGE = 10.0  # the gradient grows or vanishes if its size changes by more than this factor
_SAMPLES = 100  # of which the kinks are looked for


class Flow:
    """The factors W and g′ by which the gradient grows or vanishes from layer to layer.

    `Network.flow` makes it. ``str(flow)`` is a table as text, and a notebook shows it as one.

    Args:
        layers: The sizes and factors of each layer, from the last to the first.
        functions: The name of the activation of layers 1 to L.
        setting: The network, the loss and the samples, in words.
        notes: What is taken at kinks, in words.

    Attributes:
        layers: The sizes and factors of each layer, from the last to the first.

    Examples:
        >>> import chainrule as cr
        >>> deep = cr.Network([4, 8, 8, 8, 8, 1], hidden="sigmoid", seed=0)
        >>> flow = deep.flow([[0.5, -1.0, 2.0, 1.0]], [1.0])
        >>> print(flow.summary().split(". ")[0])
        From layer 5 to layer 1 the gradient shrinks to 1/246 of its size
        >>> bool(abs(flow.change - flow.layers[-1].delta / flow.layers[0].delta) < 1e-15)
        True
    """

    def __init__(
        self,
        layers: tuple[LayerFlow, ...],
        functions: tuple[str, ...],
        setting: str,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.layers, self._functions, self._setting = layers, functions, setting
        self._notes = notes

    @property
    def change(self) -> float:
        """Return the product of all factors W and g′: the size of ∂C/∂z of layer 1 to layer L's.

        NaN if no gradient leaves the output layer.
        """
        first, last = self.layers[-1].delta, self.layers[0].delta
        return first / last if last else math.nan

    def summary(self) -> str:
        """Return in words how the gradient changes, and which factor is to blame."""
        last, first = self.layers[0], self.layers[-1]
        if not last.delta:
            return "∂C/∂z of the output layer is 0 on every sample: there is no gradient."
        if not all(math.isfinite(layer.delta) for layer in self.layers):
            layer = next(layer for layer in self.layers if not math.isfinite(layer.delta))
            return f"The gradient is not finite in layer {layer.layer}."
        if not first.delta:
            return self._stopped()
        if last is first:
            return "The network has one layer with weights: no factor changes the gradient."
        words = f"From layer {last.layer} to layer 1 the gradient {_changed(self.change)}."
        slope = math.prod(layer.slope for layer in self.layers)
        weights = math.prod(layer.weights for layer in self.layers)
        number = (format_number(slope, 3), format_number(weights, 3))
        words += f" g′ multiplies it by {number[0]} in all, W by {number[1]}"
        if 1 / _CHANGE < self.change < _CHANGE:
            return f"{words}."
        shrinks = self.change < 1
        blamed = "g′" if (slope < weights) == shrinks else "W"
        kind = "smallest" if shrinks else "largest"
        size, name, beside = (min if shrinks else max)(self._factors())
        words += f": {blamed} is to blame. The {kind} factor is {name}, {format_number(size, 3)}"
        return f"{words} ({beside})."

    def _factors(self) -> Iterator[tuple[float, str, str]]:
        for layer in self.layers[1:]:
            function = self._functions[layer.layer - 1]
            mean = f"its mean is {format_number(layer.mean_slope, 3)}"
            yield layer.slope, f"g′ of layer {layer.layer} ({function})", mean
            any_direction = f"{format_number(layer.any_direction, 3)} for any direction"
            yield layer.weights, f"W of layer {layer.layer + 1}", any_direction

    def _stopped(self) -> str:
        layer = next(layer for layer in self.layers if not layer.delta)
        name = self._functions[layer.layer - 1]
        words = f"No gradient passes layer {layer.layer}: "
        if layer.flat == 1:
            return f"{words}g′ of {name} is 0 for every unit and sample."
        if not layer.weights:
            return f"{words}W of layer {layer.layer + 1} turns it into 0."
        return f"{words}g′ of {name} is 0 wherever a gradient arrives, or too small for float64."

    # --- renderings -------------------------------------------------------------------------------

    def text(self) -> str:
        """Return the flow as a table of text, with at most 100 columns."""
        lines = [
            "the flow of the gradient",
            *_wrapped(f"{self._setting}."),
            *_wrapped(self.summary()),
        ]
        lines += [line for note in self._notes for line in _wrapped(note)]
        heads = ("layer", "function", *_HEADS)
        rows = [heads, *(self._cells(layer) for layer in self.layers)]
        widths = [max(len(row[c]) for row in rows) for c in range(len(heads))]
        lines.append("")
        for row in rows:
            cells = [row[0].rjust(widths[0]), row[1].ljust(widths[1])]
            cells += [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
            lines.append("  ".join(cells).rstrip())
        return "\n".join([*lines, "", *(line for note in _LEGEND for line in _wrapped(note)), ""])

    def _cells(self, layer: LayerFlow) -> tuple[str, ...]:
        outer = layer is self.layers[0]
        numbers = (
            math.nan if outer else layer.weights, math.nan if outer else layer.slope, layer.delta,
            layer.inputs, layer.agreement, layer.gradient,
        )  # fmt: skip
        cells = ("" if math.isnan(x) else format_number(x, 3) for x in numbers)
        return (str(layer.layer), self._functions[layer.layer - 1], *cells)

    def html(self) -> str:
        """Return an HTML page that needs no other file, script or network."""
        from chainrule.explain.page_html import page_around

        return page_around("the flow of the gradient", self._html())

    def _repr_html_(self) -> str:
        from chainrule.explain.page_html import framed

        return framed(self._html())

    def _html(self) -> str:
        head = '<th scope="col">layer</th><th scope="col">function</th>' + "".join(
            f'<th scope="col">{escape(name)}</th>' for name in _HEADS
        )
        said = (f"{self._setting}.", self.summary(), *self._notes)
        lines = ["<h1>The flow of the gradient</h1>", *(f"<p>{escape(text)}</p>" for text in said)]
        lines.append(f'<div class="wide" tabindex="0" role="region" aria-label="The layers">'
                     f"<table><thead><tr>{head}</tr></thead><tbody>")  # fmt: skip
        for layer in self.layers:
            number, *cells = self._cells(layer)
            body = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
            lines.append(f'<tr><th scope="row">{number}</th>{body}</tr>')
        lines.append("</tbody></table></div>")
        lines.append(self._picture())
        return "\n".join([*lines, *(f"<p>{escape(note)}</p>" for note in _LEGEND)])

    def _picture(self) -> str:
        """Return bars: the size of ∂C/∂z of each layer beside the largest, on a log scale."""
        sizes = [layer.delta for layer in self.layers if layer.delta and math.isfinite(layer.delta)]
        if len(sizes) < 2:
            return ""
        top, decades = math.log10(max(sizes)), 1.0
        decades = max(1.0, math.ceil(top - math.log10(min(sizes))))
        rows = []
        for i, layer in enumerate(self.layers):
            y, width = 22 * i, 0.0
            if layer.delta and math.isfinite(layer.delta):
                width = 300 * (1 - (top - math.log10(layer.delta)) / (decades + 0.2))
            number = format_number(layer.delta, 3)
            rows.append(
                f'<text x="0" y="{y + 15}">layer {layer.layer}</text>'
                f'<rect x="70" y="{y + 4}" width="{width:.1f}" height="14" fill="#4a90d9"/>'
                f'<text x="{78 + width:.1f}" y="{y + 15}">{number}</text>'
            )
        height = 22 * len(self.layers)
        words = "The size of ∂C/∂z in each layer, on a logarithmic scale"
        style = "font: 13px system-ui, sans-serif; fill: currentColor"
        return (
            f'<figure style="margin-right: 0"><svg viewBox="0 0 450 {height}" width="450" '
            f'role="img" aria-label="{words}" style="{style}">{"".join(rows)}</svg>'
            f"<figcaption>{words}</figcaption></figure>"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data for JSON; numbers that are not finite become texts."""
        return {
            "setting": self._setting,
            "summary": self.summary(),
            "notes": list(self._notes),
            "change": plain(self.change),
            "layers": [
                {name: plain(value) for name, value in dataclasses.asdict(layer).items()}
                | {"function": self._functions[layer.layer - 1]}
                for layer in self.layers
            ],
        }

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        count = len(self.layers)
        layers = "1 layer" if count == 1 else f"{count} layers"
        return f"Flow({layers}, change {format_number(self.change, 3)})"


_HEADS = ("× W above", "× g′", "= |∂C/∂z|", "× |a below|", "× agreement", "= ‖∂C/∂W‖")
_LEGEND = (
    "|∂C/∂z| is a root mean square over the samples: that of the row above times W and g′.",
    "‖∂C/∂W‖ is |∂C/∂z| times |a below| times agreement. All products are exact.",
    "agreement: 1 if all samples pull the weights in one direction, near 0 if they cancel.",
)


def _changed(change: float) -> str:
    if change < 1 / _CHANGE:
        shrunk = 1 / change
        part = f"1/{shrunk:,.0f}" if shrunk < 1e6 else f"{change:.2g}"
        return f"shrinks to {part} of its size"
    if change > _CHANGE:
        return f"grows {format_number(change, 3)} times"
    return f"is multiplied by {format_number(change, 3)}"


def _wrapped(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text, 100)


def flow_of(
    network: FeedForward,
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None,
    dropout_step: int | None,
) -> Flow:
    """Return the flow of a network's gradient on some samples; see `flow.flow`."""
    gradient = network.gradient(X, y, sample_weight=sample_weight, dropout_step=dropout_step)
    n = len(gradient.sample_losses)
    functions = tuple(layer.activation.name for layer in network.weighted_layers)
    words = setting_of(
        "from the loss to layer 1", network, n, sample_weight is not None, dropout_step
    )
    with np.errstate(all="ignore"):  # an overflow was warned of
        layers = layers_of(network, gradient)
    return Flow(layers, functions, words, tuple(_kinks(network, gradient)))


def _kinks(network: FeedForward, gradient: Gradient) -> Iterator[str]:
    """Return which samples have units at a kink, of the first ones."""
    n = min(_SAMPLES, len(gradient.sample_losses))
    found = [i for i in range(n) if at_kinks(network, gradient, 1, i)]
    if found:
        some = "1 sample has" if len(found) == 1 else f"{len(found)} samples have"
        if n < len(gradient.sample_losses):
            some = f"Of the first {n}, {some}"
        yield f"{some} units at a kink. " + " ".join(at_kinks(network, gradient, 1, found[0]))
