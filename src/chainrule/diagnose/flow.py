"""Flow: the factors by which the gradient grows or vanishes from layer to layer.

The size of δ^(l) is the root mean square of ‖∂C_i/∂z^(l)‖ over the samples, weighted by their
shares s_i / Σs. From layer l+1 to layer l it passes two factors, and from δ^(l) to the gradient of
the weights another two:

    |∂C/∂a^(l)| = |δ^(l+1)| · (W)        |δ^(l)| = |∂C/∂a^(l)| · (g′)
    ‖∂C/∂W^(l)‖ = |δ^(l)| · |a^(l-1)| · (agreement)

Each factor is the ratio of the two sizes, so that their product is exactly the change. The
agreement is at most 1 (Cauchy and Schwarz), and 1 where the samples all pull in one direction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.diagnose.curvature import slopes
from chainrule.equations.backprop import Gradient
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.per_sample import row_norms

Array = NDArray[Any]


@dataclass(frozen=True)
class LayerFlow:
    """Hold the sizes and factors of one layer. `Flow` has one for each layer, from L down to 1.

    Sizes are root mean squares over the samples. A factor after a size of 0 is NaN.

    Attributes:
        layer: l, from 1 to L.
        delta: The size of ∂C/∂z of the layer.
        weights: The factor of W^(l+1): the size of ∂C/∂a of the layer to that of ∂C/∂z of layer
            l+1; 1 for the output layer.
        slope: The factor of g′: the size of ∂C/∂z to that of ∂C/∂a; 1 for the output layer.
        any_direction: What W^(l+1) multiplies a vector by whose direction is random, on average:
            its norm over √units_{l+1}. NaN for the output layer.
        mean_slope: The mean of |g′|, with dropout of |m g′|. NaN for the output layer.
        flat: The share of units and samples with g′ = 0. NaN for the output layer.
        inputs: The size of a of layer l−1.
        agreement: How far the samples pull in one direction, from 0 to 1.
        gradient: The norm of ∂C/∂W, without the penalty: delta · inputs · agreement.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([2, 3, 1], hidden="tanh", seed=0)
        >>> last, first = net.flow([[0.5, -1.0]], [1.0]).layers
        >>> abs(last.delta * first.weights * first.slope - first.delta) < 1e-15
        True
    """

    layer: int
    delta: float
    weights: float
    slope: float
    any_direction: float
    mean_slope: float
    flat: float
    inputs: float
    agreement: float
    gradient: float


def layers_of(network: FeedForward, gradient: Gradient) -> tuple[LayerFlow, ...]:
    """Return the sizes and factors of every layer, from the last to the first."""
    L = len(network.sizes) - 1
    share, passed = gradient.shares, gradient.forward
    found: list[LayerFlow] = []
    after = 0.0
    for l in range(L, 0, -1):
        delta = _size(gradient.delta[l], share)
        weights = slope = 1.0
        any_direction = mean_slope = flat = math.nan
        if l < L:
            W = np.asarray(network.layers[l + 1].W, dtype=np.float64)
            arriving = _size(gradient.delta[l + 1] @ W, share)
            weights, slope = _ratio(arriving, after), _ratio(delta, arriving)
            any_direction = float(np.linalg.norm(W)) / math.sqrt(len(W))
            steep = np.abs(slopes(network, passed, l))
            mean_slope, flat = float(steep.mean()), float((steep == 0).mean())
        inputs = _size(passed.a[l - 1], share)
        norm = _norm_of_mean(gradient.delta[l], passed.a[l - 1], share)
        agreement = _ratio(_ratio(norm, delta), inputs)
        found.append(LayerFlow(l, delta, weights, slope, any_direction, mean_slope, flat, inputs,
                               agreement, norm))  # fmt: skip
        after = delta
    return tuple(found)


def _ratio(size: float, before: float) -> float:
    return size / before if before else math.nan


def _size(rows: Array, share: Array) -> float:
    """Return √(Σ_i share_i ‖row_i‖²), also where squares leave float64's range."""
    sizes = row_norms(rows)
    largest = float(sizes.max())
    if not largest or not math.isfinite(largest):
        return largest
    return float(np.sqrt(share @ np.square(sizes / largest))) * largest


def _norm_of_mean(delta: Array, a: Array, share: Array) -> float:
    """Return ‖Σ_i share_i δ_i a_iᵀ‖."""
    scale = float(np.abs(delta).max())
    if not scale or not math.isfinite(scale):
        return scale
    dW = (share[:, None] * (delta / scale)).T @ a
    return float(np.linalg.norm(row_norms(dW))) * scale
