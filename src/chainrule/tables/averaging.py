"""Members: several networks of one table as one network, whose output is their mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.network import Network

Units = NDArray[np.int64]


def as_one(members: Sequence[tuple[Network, Units]], units: int, seed: int = 0) -> Network:
    """Return one network of ``units`` inputs whose z of the last layer is the mean of the members'.

    A member comes with the inputs that it takes. The hidden layers stand side by side, with weights
    of 0 between those of different members, so that everything that is known about one network is
    true of the whole: its chain rule, its export, its file. The members have equally many layers,
    the same activations, the same loss.

    Of classes it is the mean of the members' ln p: their probabilities are averaged
    geometrically.
    """
    first, count = members[0][0], len(members)
    depth, dtype = len(first.sizes) - 1, first.dtype.name
    inside = [sum(member.sizes[i] for member, _ in members) for i in range(1, depth)]
    layers = first.weighted_layers
    whole = Network(
        [units, *inside, first.sizes[-1]], hidden=[layer.activation for layer in layers[:-1]],
        output=layers[-1].activation, loss=first.loss, init="zeros", seed=seed,
        dtype="float64" if dtype == "float64" else "float32",
    )  # fmt: skip
    above = [0] * (depth + 1)  # where the units of the next member begin
    for member, inputs in members:
        for i, (layer, own) in enumerate(
            zip(whole.weighted_layers, member.weighted_layers, strict=True)
        ):
            last = i == depth - 1
            rows = slice(None) if last else slice(above[i + 1], above[i + 1] + len(own.W))
            below: Any = inputs if i == 0 else slice(above[i], above[i] + own.W.shape[1])
            layer.W[rows, below] += own.W / (count if last else 1)
            assert layer.b is not None
            assert own.b is not None
            layer.b[rows] += own.b / (count if last else 1)
        for i in range(1, depth):
            above[i] += member.sizes[i]
    return whole
