"""Rounding: how far a float64 result can be off, and which units stand on a kink.

Every operation of the two passes is off by at most a few units in the last place of its operands.
To first order these errors x_k ε_k add up to Σ_k |∂v/∂x_k · x_k| ε_k in a result v, the bound of a
running error analysis. The sum is measured: the passes are repeated with every number on the way
nudged by up to 4 ε (Monte Carlo arithmetic; Parker, 1997), and what comes out scatters as far as
rounding may carry it. Worst cases layer by layer would multiply to the norms of all W, and forgive
anything in a deep network.

The nudges say how much rounding may do, not the code under proof: a user's own derivative that is
noisy in itself answers a nudge with no more than the curvature of its function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.equations import activations, losses
from chainrule.equations.activations import Activation
from chainrule.equations.layers import ByLayer, LayerOf
from chainrule.equations.losses import BinaryCrossEntropy, Loss, LossFromZ, Poisson
from chainrule.equations.targets import Target, UnitOutput
from chainrule.verify.setting import Array, Setting, contributions, count_weights

EPS = float(np.finfo(np.float64).eps)
TINY = 1e-300  # products of float64 below this lose digits, and then themselves
DRAWS, DRAWS_IF_LARGE = 8, 3
_LARGE = 5e8  # multiplications in a pass
_NUDGE = 4 * EPS
_SMALLEST = float(np.finfo(np.float64).smallest_subnormal)
_ON_KINK = 64  # a z this many rounding errors from a kink may stand on either side of it
_SCATTER_ON_KINK = 4.0  # and so may one that is moved this far by a nudged pass
_BEND = 1e-4  # the step in z for the curvature of a user's own function


def spread(setting: Setting, target: Target) -> tuple[Array, float]:
    """Measure how far rounding carries each C_i, (n,), and the target's derivative."""
    losses, values = [], []
    for p in _passes(setting):
        parts = contributions(setting, target, p.delta, p.z, p.a, setting.y)
        w = setting.weight(target)
        penalty = 0.0 if w is None else p.nudge(np.array(setting.network.l2 * w))
        losses.append(p.losses)
        values.append(float(p.shares @ parts + penalty))
    return _scatter(losses), float(_scatter(values))


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
    return _scatter(losses), [_scatter([x, y]) for x, y in zip(low, high, strict=True)]


def _scatter(found: list[Any]) -> Array:
    """Return the range of repeated results; infinity where one of them is NaN."""
    scatter = np.maximum(np.ptp(found, axis=0), TINY)
    return np.where(np.isnan(scatter), np.inf, scatter)


def error_of_z(a: Array, layer: LayerOf) -> Array:
    """Return the size of the rounding error of z = a Wᵀ + b, shaped as z; Σ|w a| ≤ ‖w‖‖a‖."""
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


@np.errstate(all="ignore")
def kinks(setting: Setting) -> Kinks:
    """Find the units on a kink of their activation, or of the loss."""
    f, y, layers = setting.forward, setting.y, setting.network.weighted_layers
    a, loss = f.a[-1], setting.network.loss
    scatter = [np.zeros(())] * (len(layers) + 1)
    if loss.kinks or any(layer.activation.kinks for layer in layers):
        passes = [_Nudges(setting, rng, clamped=False).forward() for rng in _generators(setting)]
        scatter = [_scatter([f.z[l], *(p.z[l] for p in passes)]) for l in range(1, len(f.a))]
        scatter.append(_scatter([a - y, *(p.a[-1] - y for p in passes)]))
    near, at = [], []
    error = np.zeros(())
    for l, layer in enumerate(layers, start=1):
        error = error_of_z(f.a[l - 1], layer)
        reach = np.maximum(_ON_KINK * error, _SCATTER_ON_KINK * scatter[l - 1])
        on, kink = _nearest(f.z[l], layer.activation.kinks, reach)
        near.append(on)
        at.append(kink)
    error = 2 * error + EPS * (np.abs(a) + np.abs(y))  # |g'| of an output is at most about 1
    reach = np.maximum(_ON_KINK * error, _SCATTER_ON_KINK * scatter[-1])
    on, kink = _nearest(a - y, loss.kinks, reach)
    return Kinks(ByLayer(near), ByLayer(at), on, kink)


def side_changed(before: Array, after: Array, kinks: tuple[float, ...]) -> Array:
    """Return where a number came to lie on another side of a kink; the kink itself has no side."""
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
class _Forward:
    """z, g(z) and a of a forward pass in which every number was nudged."""

    z: ByLayer[Array]
    g_of_z: ByLayer[Array]
    a: ByLayer[Array]


@dataclass(frozen=True)
class _Pass(_Forward):
    """The same with C_i, δ and s_i / Σs."""

    losses: Array
    delta: ByLayer[Array]
    shares: Array
    nudge: Callable[..., Array]


def _generators(setting: Setting) -> Iterator[np.random.Generator]:
    large = len(setting) * count_weights(setting.network.sizes) > _LARGE
    rng = np.random.default_rng(0)  # the same verdict every time
    yield from [rng] * (DRAWS_IF_LARGE if large else DRAWS)


def _passes(setting: Setting) -> Iterator[_Pass]:
    slopes = _own_slopes(setting)
    with np.errstate(all="ignore"):
        for rng in _generators(setting):
            yield _Nudges(setting, rng).both(slopes)


class _Nudges:
    """One pass in which every number is nudged on its way.

    A number is nudged by a part of its own size, or of ``size`` where it is a difference of larger
    ones, and by a few steps of the smallest numbers that there are. The built-in functions keep
    their digits wherever they are small. In a user's own, numbers of size 1 may cancel, as in
    1 - tanh(z)**2. Unless told so, no nudge carries a number over a kink.
    """

    def __init__(self, setting: Setting, rng: np.random.Generator, clamped: bool = True) -> None:
        self.setting, self.rng, self.clamped = setting, rng, clamped
        self.layers, self.loss = setting.network.weighted_layers, setting.network.loss

    def nudge(self, values: Array, size: Any = 0.0) -> Array:
        by = self.rng.uniform(-_NUDGE, _NUDGE, np.shape(values))
        steps = self.rng.integers(-4, 5, np.shape(values))
        return np.asarray(values + by * np.maximum(np.abs(values), size) + _SMALLEST * steps)

    def forward(self) -> _Forward:
        """Carry X forward."""
        f, L, nudge = self.setting.forward, len(self.layers), self.nudge
        a, z, g_of_z = [f.a[0]], [], []  # x and y are exact: they were given
        for l, layer in enumerate(self.layers, start=1):
            W = layer.W.astype(np.float64, copy=False)
            exact = a[-1] @ W.T if layer.b is None else a[-1] @ W.T + layer.b
            g, near_by = layer.activation, nudge(exact, error_of_z(a[-1], layer) / EPS)
            if self.clamped:
                near_by = np.where(side_changed(f.z[l], near_by, g.kinks), f.z[l], near_by)
            z.append(near_by)
            g_of_z.append(nudge(g.value(near_by), _within(g, activations.ACTIVATIONS)))
            mask = f.masks[l]
            a.append(g_of_z[-1] if mask is None else mask * g_of_z[-1])
        y = self.setting.y
        if self.clamped:
            over = side_changed(f.a[L] - y, a[-1] - y, self.loss.kinks)
            a[-1] = np.where(over, f.a[L], a[-1])
        return _Forward(ByLayer(z), ByLayer(g_of_z), ByLayer(a, first=0))

    def both(self, slopes: _Slopes) -> _Pass:
        """Carry X forward and δ back."""
        p, nudge, layers, loss = self.forward(), self.nudge, self.layers, self.loss
        L, g = len(layers), layers[-1].activation
        z, a, y = p.z, p.a, self.setting.y
        own = _within(loss, losses.LOSSES)
        if isinstance(loss, LossFromZ):
            C = nudge(loss.value_from_z(g, z[L], y), 1.0)  # it holds ln(1 + x)
            delta = [nudge(loss.delta(g, z[L], nudge(a[L]), y), own)]
        else:
            C = nudge(loss.value(a[L], y).sum(-1), own)
            dC_da = nudge(slopes.of_loss(a[L]), own)
            delta = [self._pull_back(slopes, p, L, dC_da)]
        for l in range(L - 1, 0, -1):
            W = layers[l].W.astype(np.float64, copy=False)
            columns = np.sqrt(np.einsum("jk,jk->k", W, W))
            size = np.sqrt((delta[-1] ** 2).sum(axis=-1, keepdims=True)) * columns
            dC_da = nudge(delta[-1] @ W, size)
            mask = self.setting.forward.masks[l]
            dC_da = dC_da if mask is None else dC_da * mask
            delta.append(self._pull_back(slopes, p, l, dC_da))
        shares = nudge(self.setting.shares)
        return _Pass(p.z, p.g_of_z, p.a, C, ByLayer(delta[::-1]), shares, nudge)

    def _pull_back(self, slopes: _Slopes, p: _Forward, l: int, dC_da: Array) -> Array:
        g, z, a = self.layers[l - 1].activation, p.z[l], self.nudge(p.g_of_z[l])
        if slopes.at[l] is None:
            return self.nudge(g.pull_back(dC_da, z, a))
        return self.nudge(dC_da * slopes.of_layer(l, z, a), np.abs(dC_da))


@dataclass(frozen=True)
class _Slopes:
    """The derivatives of a user's own functions, at z and a as they are, before any nudge.

    ``at[l]`` is g'(z) of layer l, ``loss`` is ∂C_i/∂a; None of the built-in ones, and of an
    activation that is more than its g'.
    """

    setting: Setting
    at: ByLayer[Array | None]
    loss: Array | None

    def of_layer(self, l: int, z: Array, a: Array) -> Array:
        """Return g'(z) of a nudged pass."""
        before, g, z0 = self.at[l], self.setting.network.layers[l].activation, self.setting.forward
        assert before is not None
        return _steady(g.value, z0.z[l], z - z0.z[l], before, g.derivative(z, a))

    def of_loss(self, a: Array) -> Array:
        """Return ∂C_i/∂a of a nudged pass."""
        loss, a0, y = self.setting.network.loss, self.setting.forward.a[-1], self.setting.y
        after = loss.derivative(a, y)
        if self.loss is None:
            return after
        return _steady(lambda at: loss.value(at, y), a0, a - a0, self.loss, after)


@np.errstate(all="ignore")
def _own_slopes(setting: Setting) -> _Slopes:
    network, f = setting.network, setting.forward
    at: list[Array | None] = []
    for l, layer in enumerate(network.weighted_layers, start=1):
        g = layer.activation
        plain = type(g).pull_back is Activation.pull_back
        own = plain and _within(g, activations.ACTIVATIONS)
        at.append(g.derivative(f.z[l], g.value(f.z[l])) if own else None)
    own = _within(network.loss, losses.LOSSES)
    return _Slopes(
        setting, ByLayer(at), network.loss.derivative(f.a[-1], setting.y) if own else None
    )


def _steady(
    value: Callable[[Array], Array], at: Array, moved: Array, before: Array, after: Array
) -> Array:
    """Return a slope after a nudge, as far from the one before as the curvature carries it."""
    h = np.maximum(np.maximum(_BEND, 64 * np.abs(moved)), 64 * EPS * np.abs(at))
    curvature = np.abs(value(at + h) - 2 * value(at) + value(at - h)) / h**2
    limit = 2 * curvature * np.abs(moved) + 8 * EPS * np.abs(before)
    return np.asarray(before + np.clip(after - before, -limit, limit))


def _within(own: Activation | Loss, built_in: Mapping[str, Any]) -> float:
    """Return the size of the numbers that a function may cancel: 1, and 0 for a built-in one."""
    return 0.0 if type(built_in.get(own.name)) is type(own) else 1.0


def size_of_summands(setting: Setting, target: Target) -> float:
    """Return the size of what automatic differentiation adds up and cancels for the target.

    It writes g' in terms of a, such as 1 - a², whose summands stay near 1 where g' itself vanishes;
    so g' counts as at least 1 here, and every sum is one of absolute values.
    """
    layers, loss = setting.network.weighted_layers, setting.network.loss
    f, y = setting.forward, setting.y
    a, g = f.a[-1], layers[-1].activation
    from_z = isinstance(loss, LossFromZ) and not _within(loss, losses.LOSSES)
    if isinstance(loss, Poisson):
        from_z = not _within(g, activations.ACTIVATIONS)
    with np.errstate(all="ignore"):
        if from_z:
            softmax = isinstance(g, activations.Softmax)
            total = np.abs(y).sum(axis=-1, keepdims=True) if softmax else 1.0
            size = np.abs(a) * total + np.abs(y) + isinstance(loss, Poisson)
        else:
            size = np.abs(loss.derivative(a, y))
            steepest = np.maximum(1, np.abs(g.derivative(f.z[-1], a)))
            size = np.broadcast_to(size.max(axis=-1, keepdims=True), a.shape) * steepest
        sizes = [size]
        for l in range(len(layers) - 1, 0, -1):
            g, mask = layers[l - 1].activation, f.masks[l]
            steepest = np.maximum(1, np.abs(g.derivative(f.z[l], g.value(f.z[l]))))
            size = sizes[-1] @ np.abs(layers[l].W.astype(np.float64)) * steepest
            sizes.append(size if mask is None else size * mask)
        by_layer = ByLayer(sizes[::-1])
        if isinstance(target, UnitOutput) and target.layer < len(layers):
            above = np.abs(layers[target.layer].W[:, target.j].astype(np.float64))
            parts = by_layer[target.layer + 1] @ above
        else:
            parts = contributions(setting, target, by_layer, f.z, f.a, y)
            if isinstance(target, UnitOutput) and isinstance(loss, BinaryCrossEntropy):
                parts = parts / (1 - a[:, target.j])  # whose digits are those of a
    w = setting.weight(target)
    return float(setting.shares @ np.abs(parts)) + (0 if w is None else abs(setting.network.l2 * w))
