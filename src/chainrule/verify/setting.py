"""What one proof is about: a network, data, and the quantity that is shifted.

A shift t of the target enters the forward pass at one place, unit j of layer l:

    w_jk^(l), b_j^(l), z_j^(l)      z_j moves by t · c_i, with c_i = a_k^(l-1) for a weight, else 1
    a_j^(l), x_j                    a_j moves by t

in every sample at once, so that the derivative is the (weighted) mean over samples. A weight also
moves its own part of the penalty, ½ λ w².
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.equations import backprop, data
from chainrule.equations.backprop import Forward
from chainrule.equations.layers import ByLayer
from chainrule.equations.targets import PreActivation, Target, UnitOutput, Weight, resolve

if TYPE_CHECKING:
    from chainrule.equations.feedforward import FeedForward

Array = NDArray[Any]


@dataclass(frozen=True)
class Place:
    """Where a shift enters: the pre-activations ("z") or the activations ("a") of a layer."""

    letter: Literal["z", "a"]
    layer: int


@dataclass(frozen=True)
class Setting:
    """Checked data in float64, the sample weights s_i (1 if none were given), and the base pass."""

    network: FeedForward
    y: Array
    weights: Array
    forward: Forward

    @classmethod
    def of(
        cls,
        network: FeedForward,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        dropout_step: int | None = None,
    ) -> Setting:
        """Check the data as `Network.gradient` does, and carry them through the layers."""
        samples = data.samples(X, y, network.sizes, network.loss, sample_weight)
        X, y, weights = samples.rows(slice(None), network.sizes[-1], np.float64)
        passed = backprop.forward(network, X, network.masks(dropout_step))
        return cls(network, y, np.ones(len(y)) if weights is None else weights, passed)

    @property
    def shares(self) -> Array:
        """The shares of the samples in the mean, s_i / Σs, (n,)."""
        return np.asarray(self.weights / self.weights.sum())

    def __len__(self) -> int:
        return len(self.y)

    def rows(self, index: NDArray[np.intp]) -> Setting:
        """Return the same for some of the samples, whose mean is then taken over these alone."""
        f = self.forward
        passed = Forward(
            ByLayer([z[index] for z in f.z]),
            ByLayer([a[index] for a in f.a], first=0),
            ByLayer([None if m is None else m[index] for m in f.masks]),
        )
        return Setting(self.network, self.y[index], self.weights[index], passed)

    def resolve(self, target: Target | str) -> Target:
        """Return the target that a text names, or raise what `targets.resolve` raises."""
        return resolve(target, self.network.sizes, self.network.biases)

    def factors(self, target: Target, a: ByLayer[Array] | None = None) -> Array:
        """Return c_i, how far sample i moves at the place for a shift of 1, shape (n,)."""
        if isinstance(target, Weight):
            return (self.forward.a if a is None else a)[target.layer - 1][:, target.k]
        return np.ones(len(self))

    def weight(self, target: Target) -> float | None:
        """Return the weight that a target is, where it is one that the penalty depends on."""
        if isinstance(target, Weight) and self.network.l2:
            return float(self.network.layers[target.layer].W[target.j, target.k])
        return None


def place_of(target: Target) -> Place:
    """Return where a shift of the target enters."""
    return Place("a" if isinstance(target, UnitOutput) else "z", target.layer)


def count_weights(sizes: tuple[int, ...]) -> int:
    """Return the number of weights of a network, one multiplication each."""
    return sum(m * k for k, m in pairwise(sizes))


def contributions(
    setting: Setting,
    target: Target,
    delta: ByLayer[Array],
    z: ByLayer[Array],
    a: ByLayer[Array],
    y: Array,
) -> Array:
    """Return ∂C_i/∂target of every sample, (n,), from δ, z and a: what the mean is taken of."""
    network, j = setting.network, target.j
    if not isinstance(target, UnitOutput):
        return delta[target.layer][:, j] * setting.factors(target, a)
    if target.layer < len(delta):
        above = network.layers[target.layer + 1]
        return np.asarray(delta[target.layer + 1] @ above.W[:, j].astype(np.float64))
    return np.asarray(network.loss.derivative_at_output(z[-1], a[-1], y)[:, j])


def analytic_value(gradient: backprop.Gradient, setting: Setting, target: Target) -> float:
    """Return the derivative that backpropagation states for the target."""
    if isinstance(target, Weight):
        return float(gradient.dW[target.layer][target.j, target.k])
    if isinstance(target, UnitOutput | PreActivation):
        f = gradient.forward
        parts = contributions(setting, target, gradient.delta, f.z, f.a, setting.y)
        return float(gradient.shares @ parts)
    db = gradient.db[target.layer]
    assert db is not None  # resolve() refuses biases that are not there
    return float(db[target.j])
