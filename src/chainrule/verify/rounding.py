"""Rounding: how far a float64 result can be off, and which units stand on a kink.

The size of the rounding errors is measured, not bounded: the pass is repeated with every number
nudged by a few units in its last place (Monte Carlo arithmetic; Parker, 1997), and what comes out
scatters as far as rounding may carry it. A bound would grow with the product of the norms of all
W and forgive anything in a deep network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.equations import activations, losses
from chainrule.equations.activations import Activation
from chainrule.equations.layers import ByLayer, LayerOf
from chainrule.equations.losses import Loss, LossFromZ
from chainrule.equations.targets import Target
from chainrule.verify.setting import Array, Setting, contributions, count_weights

EPS = float(np.finfo(np.float64).eps)
TINY = 1e-300  # products of float64 below this lose digits, and then themselves
DRAWS, DRAWS_IF_LARGE = 8, 3
_LARGE = 5e8  # multiplications in a pass
_NUDGE = 4 * EPS
_ON_KINK = 64  # a z this many rounding errors from a kink may stand on either side of it


def spread(setting: Setting, target: Target) -> tuple[Array, float]:
    """Measure how far rounding carries each C_i, (n,), and the target's derivative."""
    losses, values = [], []
    for p in _passes(setting):
        parts = contributions(setting, target, p.delta, p.a, p.y)
        w = setting.weight(target)
        penalty = 0.0 if w is None else p.nudge(np.array(setting.network.l2 * w))
        losses.append(p.losses)
        values.append(float(p.shares @ parts + penalty))
    return np.maximum(np.ptp(losses, axis=0), TINY), max(float(np.ptp(values)), TINY)


def spread_of_gradient(setting: Setting) -> tuple[Array, list[Array]]:
    """Measure how far rounding carries each C_i, (n,), and ∂C/∂[W, b] of each layer."""
    losses: list[Array] = []
    low: list[Array] = []
    high: list[Array] = []
    for p in _passes(setting):
        gradients = []
        for l, layer in enumerate(setting.network.weighted_layers, start=1):
            weighted = p.shares[:, None] * p.delta[l]
            penalty = p.nudge(setting.network.l2 * layer.W.astype(np.float64))
            sums = weighted.sum(axis=0)[:, None]
            gradients.append(np.hstack([weighted.T @ p.a[l - 1] + penalty, sums]))
        low = [np.minimum(x, y) for x, y in zip(low or gradients, gradients, strict=True)]
        high = [np.maximum(x, y) for x, y in zip(high or gradients, gradients, strict=True)]
        losses.append(p.losses)
    spreads = [np.maximum(y - x, TINY) for x, y in zip(low, high, strict=True)]
    return np.maximum(np.ptp(losses, axis=0), TINY), spreads


def error_of_z(a: Array, layer: LayerOf) -> Array:
    """Give the size of the rounding error of z = a Wᵀ + b, shaped as z; Σ|w a| ≤ ‖w‖‖a‖."""
    W = layer.W
    norms = np.sqrt(np.einsum("jk,jk->j", W, W, dtype=np.float64))
    size = np.sqrt((a * a).sum(axis=-1, keepdims=True)) * norms
    return EPS * (size if layer.b is None else size + np.abs(layer.b))


@dataclass(frozen=True)
class Kinks:
    """Which units stand on a kink, as closely as float64 can tell, and on which one.

    ``near[l]`` and ``at[l]`` are shaped as z[l]; ``loss_near`` and ``loss_at``, (n, units_L), are
    those of the loss, where the kink is one of a - y.
    """

    near: ByLayer[Array]
    at: ByLayer[Array]
    loss_near: Array
    loss_at: Array


def kinks(setting: Setting) -> Kinks:
    """Find the units on a kink of their activation, or of the loss."""
    f = setting.forward
    near, at = [], []
    error = np.zeros(())
    for l, layer in enumerate(setting.network.weighted_layers, start=1):
        error = error_of_z(f.a[l - 1], layer)
        on, kink = _nearest(f.z[l], layer.activation.kinks, _ON_KINK * error)
        near.append(on)
        at.append(kink)
    a, y = f.a[-1], setting.y
    error = 2 * error + EPS * (np.abs(a) + np.abs(y))  # |g'| of an output is at most about 1
    on, kink = _nearest(a - y, setting.network.loss.kinks, _ON_KINK * error)
    return Kinks(ByLayer(near), ByLayer(at), on, kink)


def side_changed(before: Array, after: Array, kinks: tuple[float, ...]) -> Array:
    """Say where a number came to lie on another side of a kink; the kink itself has no side."""
    over = np.zeros(after.shape, dtype=bool)
    for kink in kinks:
        over |= (before - kink) * (after - kink) <= 0
    return over & (before != after)


def _nearest(z: Array, places: tuple[float, ...], error: Array) -> tuple[Array, Array]:
    near, at = np.zeros(z.shape, dtype=bool), np.zeros(z.shape)
    for kink in places:
        here = np.abs(z - kink) <= error
        near |= here
        at[here] = kink
    return near, at


@dataclass(frozen=True)
class _Pass:
    """C_i, δ, a, y and s_i / Σs of a pass in which every number was nudged."""

    losses: Array
    delta: ByLayer[Array]
    a: ByLayer[Array]
    y: Array
    shares: Array
    nudge: Callable[..., Array]


def _passes(setting: Setting) -> Iterator[_Pass]:
    large = len(setting) * count_weights(setting.network.sizes) > _LARGE
    rng = np.random.default_rng(0)  # the same verdict every time
    with np.errstate(all="ignore"):
        for _ in range(DRAWS_IF_LARGE if large else DRAWS):
            yield _nudged(setting, rng)


def _nudged(setting: Setting, rng: np.random.Generator) -> _Pass:
    """Carry X forward and δ back, and nudge every number on the way.

    A number is nudged by a part of its own size, or of ``size`` where it is a difference of larger
    ones. The built-in functions keep their digits wherever they are small. In a user's own, numbers
    of size 1 may cancel, as in 1 - tanh(z)**2. No nudge carries a number over a kink.
    """

    def nudge(values: Array, size: Any = 0.0) -> Array:
        by = rng.uniform(-_NUDGE, _NUDGE, np.shape(values))
        return np.asarray(values + by * np.maximum(np.abs(values), size))

    layers, loss, f = setting.network.weighted_layers, setting.network.loss, setting.forward
    L = len(layers)
    a, z, g_of_z = [nudge(f.a[0])], [], []
    for l, layer in enumerate(layers, start=1):
        W = layer.W.astype(np.float64, copy=False)
        exact = a[-1] @ W.T if layer.b is None else a[-1] @ W.T + layer.b
        g, near_by = layer.activation, nudge(exact, error_of_z(a[-1], layer) / EPS)
        z.append(np.where(side_changed(f.z[l], near_by, g.kinks), f.z[l], near_by))
        g_of_z.append(nudge(g.value(z[-1]), _within(g, activations.ACTIVATIONS)))
        mask = f.masks[l]
        a.append(g_of_z[-1] if mask is None else mask * g_of_z[-1])
    y = nudge(setting.y)
    over = side_changed(f.a[L] - setting.y, a[-1] - y, loss.kinks)
    a[-1], y = np.where(over, f.a[L], a[-1]), np.where(over, setting.y, y)

    own = _within(loss, losses.LOSSES)
    if isinstance(loss, LossFromZ):
        C = nudge(loss.value_from_z(z[-1], y), 1.0)  # it holds ln(1 + x)
    else:
        C = nudge(loss.value(a[-1], y).sum(-1), own)

    def pull_back(g: Activation, dC_da: Array, z: Array, a: Array) -> Array:
        within = _within(g, activations.ACTIVATIONS)
        return nudge(g.pull_back(dC_da, z, nudge(a)), within * np.abs(dC_da))

    if isinstance(loss, LossFromZ):
        delta = [nudge(loss.delta(nudge(a[-1]), y), own)]
    else:
        dC_da = nudge(loss.derivative(a[-1], y), own)
        delta = [pull_back(layers[-1].activation, dC_da, z[-1], a[-1])]
    for l in range(L - 1, 0, -1):
        W = layers[l].W.astype(np.float64, copy=False)
        columns = np.sqrt(np.einsum("jk,jk->k", W, W))
        size = np.sqrt((delta[-1] ** 2).sum(axis=-1, keepdims=True)) * columns
        dC_da = nudge(delta[-1] @ W, size)
        mask = f.masks[l]
        dC_da = dC_da if mask is None else dC_da * mask
        delta.append(pull_back(layers[l - 1].activation, dC_da, z[l - 1], g_of_z[l - 1]))
    return _Pass(C, ByLayer(delta[::-1]), ByLayer(a, first=0), y, nudge(setting.shares), nudge)


def _within(own: Activation | Loss, built_in: Mapping[str, Any]) -> float:
    """Give the size of the numbers that a function may cancel: 1, and 0 for a built-in one."""
    return 0.0 if type(built_in.get(own.name)) is type(own) else 1.0


def size_of_summands(setting: Setting, target: Target) -> float:
    """Give the size of what automatic differentiation adds up and cancels for the target.

    It writes g' in terms of a, such as 1 - a², whose summands stay near 1 where g' itself vanishes;
    so g' counts as at least 1 here, and every sum is one of absolute values.
    """
    layers, loss = setting.network.weighted_layers, setting.network.loss
    f, y = setting.forward, setting.y
    a = f.a[-1]
    with np.errstate(all="ignore"):
        if isinstance(loss, LossFromZ):
            size = np.abs(a) * np.abs(y).sum(axis=-1, keepdims=True) + np.abs(y)
        else:
            size = np.abs(loss.derivative(a, y))
            steepest = np.maximum(1, np.abs(layers[-1].activation.derivative(f.z[-1], a)))
            size = np.broadcast_to(size.max(axis=-1, keepdims=True), a.shape) * steepest
        sizes = [size]
        for l in range(len(layers) - 1, 0, -1):
            g, mask = layers[l - 1].activation, f.masks[l]
            steepest = np.maximum(1, np.abs(g.derivative(f.z[l], g.value(f.z[l]))))
            size = sizes[-1] @ np.abs(layers[l].W.astype(np.float64)) * steepest
            sizes.append(size if mask is None else size * mask)
        parts = contributions(setting, target, ByLayer(sizes[::-1]), f.a, y)
    w = setting.weight(target)
    return float(setting.shares @ np.abs(parts)) + (0 if w is None else abs(setting.network.l2 * w))
