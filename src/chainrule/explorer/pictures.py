"""Pictures for the page: the loss over the target of a derivation, and units over the inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.equations import backprop
from chainrule.equations.feedforward import FeedForward
from chainrule.explain import Explanation
from chainrule.explain import curve_svg as drawing
from chainrule.explain.curve import nudge
from chainrule.explain.scribe import Scribe
from chainrule.explorer.protocol.replies import PictureView, UnitsView
from chainrule.explorer.results import plane
from chainrule.explorer.view import number, row
from chainrule.teach.datasets import Dataset

_SIDE, _COARSE = 20, 10  # cells of the picture of a unit, on each side; with many units
_MANY = 32


def of_derivative(why: Explanation) -> PictureView:
    """Return the pictures of a derivative, and a nudge of its target in numbers."""
    drawn = drawing.pictures(why)
    scribe, moved = Scribe(why.notation, why.network.sizes, why.n_samples), nudge(why)
    return {
        "kind": "picture",
        "target": str(why.target),
        "drawn": [{"title": p.title, "words": p.words, "svg": p.svg} for p in drawn],
        "lead": drawing.NUDGED,
        "symbol": scribe.mathml(why.symbol),
        "size": number(moved.size),
        "heads": list(drawing.NUDGE_HEADS),
        "changes": [
            {
                "symbol": scribe.mathml(change.symbol),
                "predicted": number(change.predicted),
                "measured": number(change.measured),
            }
            for change in moved.changes
        ],
    }  # fmt: skip


def of_units(network: FeedForward, dataset: Dataset, shown: Sequence[Sequence[int]]) -> UnitsView:
    """Return the activations of the shown units over the two inputs; none with other inputs."""
    view: UnitsView = {"kind": "units", "box": [], "layers": []}
    if dataset.given != 2:
        return view
    side = _SIDE if sum(map(len, shown[1:])) <= _MANY else _COARSE
    box, inputs = plane(dataset, side)
    view["box"] = list(box)
    passed = backprop.forward(network, inputs)
    for l in range(1, len(network.sizes)):
        rounded: Any = np.round(passed.a[l], 3).T.reshape(-1, side, side)
        view["layers"].append(
            [{"unit": j, "grid": [row(line) for line in rounded[j]]} for j in shown[l]]
        )
    return view
