"""Weights in 8 bits: whole numbers from -127 to 127, with one scale for each unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.equations.feedforward import FeedForward


@dataclass(frozen=True)
class Quantized:
    """Of layers 1 to L, the weights (units_l, units_{l-1}) in int8, and the scales (units_l,)."""

    layers: tuple[tuple[NDArray[np.int8], NDArray[Any]], ...]


def quantize(net: FeedForward, dtype: str) -> Quantized:
    """Return the weights of a network in 8 bits.

    The largest weight of a unit becomes ±127, so that w = s q to within s / 2. Biases stay.
    """
    layers = []
    for layer in net.weighted_layers:
        W = layer.W.astype(np.float64)
        largest = np.abs(W).max(axis=1)
        smallest = float(np.finfo(dtype).tiny)
        s = np.where(largest > 127 * smallest, largest / 127, 1.0).astype(dtype)
        q = np.clip(np.rint(W / s[:, None].astype(np.float64)), -127, 127).astype(np.int8)
        layers.append((q, s))
    return Quantized(tuple(layers))
