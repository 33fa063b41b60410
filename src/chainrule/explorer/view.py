"""View: the numbers of a network, one sample and its gradient that the page draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.equations.backprop import Gradient
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.numbers import Value, plain
from chainrule.explorer.protocol.derivations import Row
from chainrule.explorer.protocol.replies import LayerView, OutputsView, WeightsView
from chainrule.explorer.protocol.requests import MAX_OUTPUTS
from chainrule.teach.datasets import Dataset

Array = NDArray[Any]
WHOLE = 12  # units up to which a layer is drawn whole
PART = 8  # units drawn of a wider layer


def row(values: Array | None) -> Row:
    """Return numbers for JSON with all their digits, so that only the page rounds them."""
    if values is None:
        return []
    numbers: Row = values.tolist()
    return numbers if np.isfinite(values).all() else [plain(value) for value in numbers]


def number(value: float) -> Value:
    """Return a number for JSON with all its digits."""
    shown: Value = plain(float(value))
    return shown


def important(network: FeedForward, gradient: Gradient, focus: int) -> list[list[int]]:
    """Return the units to draw of each layer: all of a narrow layer, else the most important.

    The importance is |a · ∂C/∂a|: to first order, the change of the loss without the unit. For
    outputs it is their size.
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
    """Return the units of every layer for the sample in focus; db is of the whole gradient."""
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
    """Return the weights between the units that are drawn, of layers 1 to L."""
    views: list[WeightsView] = []
    for l in range(1, len(network.sizes)):
        part = np.ix_(shown[l], shown[l - 1])
        w = np.asarray(network.layers[l].W[part], dtype=np.float64)
        dw = gradient.dW[l][part]
        views.append({"w": [row(r) for r in w], "dw": [row(r) for r in dw]})
    return views


def outputs(d: Dataset) -> OutputsView:
    """Return how many outputs the targets of a data set allow, and why not others."""
    units = int(d.y.shape[1])
    if d.classes == 2:
        return {"least": 1, "most": 2, "why": ""}
    if d.classes:
        why = f"One output stands for each of the {d.classes} classes."
        return {"least": units, "most": units, "why": why}
    if d.source:
        most = min(units + d.given - 1, MAX_OUTPUTS)
        if most > 1:
            return {"least": 1, "most": most, "why": ""}
    targets = "one number" if units == 1 else f"{units} numbers"
    why = f"A target of these data is {targets}, and each has an output."
    return {"least": units, "most": units, "why": why}
