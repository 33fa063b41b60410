"""The frame: every number that is drawn of a network, one sample and its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.equations.backprop import Gradient
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.numbers import Value, plain
from chainrule.explorer.protocol.replies import LayerView, Row, WeightsView

Array = NDArray[Any]
WHOLE = 12  # a layer of up to this many units is drawn whole
PART = 8  # of a wider one this many


def row(values: Array | None) -> Row:
    """Return numbers as JSON holds them, whole, so that the page rounds each once."""
    if values is None:
        return []
    numbers: Row = values.tolist()
    return numbers if np.isfinite(values).all() else [plain(value) for value in numbers]


def number(value: float) -> Value:
    """Return a number as JSON holds it, whole."""
    shown: Value = plain(float(value))
    return shown


def important(network: FeedForward, gradient: Gradient, focus: int) -> list[list[int]]:
    """Return the units to draw, layer by layer: all of a narrow layer, else those that matter most.

    What matters is |a · ∂C/∂a|: how much of the loss goes, to first order, with the unit. Outputs
    are taken by size.
    """
    chosen = []
    for l, units in enumerate(network.sizes):
        if units <= WHOLE:
            chosen.append(list(range(units)))
            continue
        a = gradient.forward.a[l][focus]
        weight = np.abs(a)
        if l < len(network.sizes) - 1:
            W = np.asarray(network.layers[l + 1].W, dtype=np.float64)
            weight = np.abs(a * (gradient.delta[l + 1][focus] @ W))
        order = np.argsort(-weight, kind="stable")[:PART]
        chosen.append(sorted(order.tolist()))
    return chosen


def layers(
    network: FeedForward,
    gradient: Gradient,
    dC_da: Array,
    focus: int,
    shown: Sequence[Sequence[int]],
    marks: Sequence[Sequence[str]],
) -> list[LayerView]:
    """Return the units of every layer, for the sample in focus; db is that of the whole gradient."""
    passed = gradient.forward
    views: list[LayerView] = []
    for l, units in enumerate(network.sizes):
        layer = network.layers[l]
        if l == 0:
            empty: Row = []
            W1 = np.asarray(network.layers[1].W, dtype=np.float64)
            views.append({
                "units": units, "activation": None, "shown": list(shown[0]), "z": empty,
                "a": row(passed.a[0][focus]), "delta": empty,
                "dC_da": row(gradient.delta[1][focus] @ W1), "b": empty, "db": empty,
                "marks": ["" for _ in shown[0]],
            })  # fmt: skip
            continue
        if l == len(network.sizes) - 1:
            arriving = dC_da
        else:
            W = np.asarray(network.layers[l + 1].W, dtype=np.float64)
            arriving = gradient.delta[l + 1][focus] @ W
        views.append({
            "units": units, "activation": layer.activation.name, "shown": list(shown[l]),
            "z": row(passed.z[l][focus]), "a": row(passed.a[l][focus]),
            "delta": row(gradient.delta[l][focus]), "dC_da": row(arriving),
            "b": row(layer.b), "db": row(gradient.db[l]),
            "marks": [marks[l][j] for j in shown[l]],
        })  # fmt: skip
    return views


def weights(
    network: FeedForward, gradient: Gradient, shown: Sequence[Sequence[int]]
) -> list[WeightsView]:
    """Return the weights between units that are drawn, of layers 1 to L."""
    views: list[WeightsView] = []
    for l in range(1, len(network.sizes)):
        part = np.ix_(shown[l], shown[l - 1])
        w = np.asarray(network.layers[l].W[part], dtype=np.float64)
        dw = gradient.dW[l][part]
        views.append({"w": [row(r) for r in w], "dw": [row(r) for r in dw]})
    return views
