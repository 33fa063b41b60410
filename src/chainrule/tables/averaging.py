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
    depth = len(first.sizes) - 1
    sizes = [
        units,
        *(sum(m.sizes[i] for m, _ in members) for i in range(1, depth)),
        first.sizes[-1],
    ]
    layers = first.weighted_layers
    whole = Network(
        sizes, hidden=[layer.activation for layer in layers[:-1]], output=layers[-1].activation,
        loss=first.loss, biases=first.biases, dtype=first.dtype.name, seed=seed, init="zeros",
    )  # fmt: skip
    above = [0] * (depth + 1)  # where the units of the next member begin
    for member, inputs in members:
        for i, (layer, own) in enumerate(
            zip(whole.weighted_layers, member.weighted_layers, strict=True)
        ):
            rows = slice(None) if i == depth - 1 else slice(above[i + 1], above[i + 1] + len(own.b))
            below: Any = inputs if i == 0 else slice(above[i], above[i] + own.W.shape[1])
            share = count if i == depth - 1 else 1
            layer.W[rows, below] += own.W / share
            layer.b[rows] += own.b / share
        for i in range(1, depth):
            above[i] += member.sizes[i]
    return whole
