"""Curves: the loss C as a function of one quantity, and the activation that it feeds.

All numbers come from forward passes; the slopes beside them are those that the derivation explains.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.equations import backprop
from chainrule.equations.activations import Activation
from chainrule.equations.formulas import Expr
from chainrule.equations.layers import LayerOf
from chainrule.equations.losses import Loss
from chainrule.equations.targets import Bias, PreActivation, UnitOutput, Weight
from chainrule.explain.derivative import Derivative
from chainrule.explain.symbols import LossSymbol, quantity

Array = NDArray[Any]
Function = Callable[[Array], Array]

_START, _MOST = 65, 400  # points to begin with, and at most
_ROUNDS = 6  # in which intervals are halved where the curve is not straight
_BENT = 0.002  # of the height, by which a curve may leave the straight line between two points
_MUCH = 3e8  # multiplications of a curve; with more samples it has fewer points
_TOGETHER = 100_000  # numbers of a layer that are passed on together
_NUDGE = 0.01  # of the quantity, or of 1 if it is smaller
_ZOOM = 12.0  # a step this many times smaller than the curve has a picture of its own


@dataclass(frozen=True)
class Step:
    """The step that gradient descent makes: from w to w − η ∂C/∂w.

    ``predicted`` is the loss there on the tangent, ``loss`` the real one.
    """

    rate: float
    to: float
    predicted: float
    loss: float


@dataclass(frozen=True)
class Curve:
    """A function over an interval, its tangent at a point, and whether it has a kink there.

    ``sides`` are the slopes from below and above at a kink, else None.
    """

    x: Array
    y: Array
    at: float
    value: float
    slope: float
    sides: tuple[float, float] | None = None
    step: Step | None = None


@dataclass(frozen=True)
class Change:
    """How far a quantity moves: by the chain rule, and by forward passes."""

    symbol: Expr
    predicted: float
    measured: float


@dataclass(frozen=True)
class Nudge:
    """A small change of the quantity, and what follows from it, down to the loss."""

    size: float
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class _Tail:
    """The layers behind a place, as `backprop.forward` takes them."""

    weighted_layers: list[LayerOf]
    loss: Loss
    l2: float


class Shifted:
    """The network of a derivative with its quantity shifted, in every sample alike."""

    def __init__(self, why: Derivative) -> None:
        self.why, self.target = why, why.target
        network, self._f = why.network, why.gradient.forward
        self._l, self._j = self.target.layer, self.target.j
        self._tail = _Tail(list(network.weighted_layers[self._l :]), network.loss, network.l2)

    @property
    def cost(self) -> float:
        """Return the multiplications of one pass."""
        sizes = self.why.network.sizes[self._l :]
        products = (a * b for a, b in zip(sizes, sizes[1:] or (1,), strict=False))
        return float(self.why.n_samples * sum(products))

    def factor(self) -> Array:
        """Return how far z of each sample moves for a shift of 1, (n,)."""
        if isinstance(self.target, Weight):
            return self._f.a[self._l - 1][:, self.target.k]
        return np.ones(self.why.n_samples)

    def pass_on(self, shift: float) -> tuple[Array | None, Array, Array]:
        """Return z of the unit (None for a and x), its a, and the loss C_i of each sample."""
        return self._pass_on(np.array([shift]))

    def _pass_on(self, shifts: Array) -> tuple[Array | None, Array, Array]:
        """Return the same for several shifts, the samples of one after those of another."""
        f, l, j, network = self._f, self._l, self._j, self.why.network
        n, times = self.why.n_samples, (len(shifts), 1)
        z, y = None, np.tile(self.why.y, times)
        if isinstance(self.target, UnitOutput):
            a = np.tile(f.a[l], times)
            a[:, j] += np.repeat(shifts, n)
            if l == len(network.sizes) - 1:  # C as a function of a alone
                return None, a[:, j], network.loss.value(a, y).sum(axis=-1)
        else:
            z = np.tile(f.z[l], times)
            z[:, j] += np.outer(shifts, self.factor()).ravel()
            a = network.layers[l].activation.value(z)
            mask = f.masks[l]
            a = a if mask is None else np.tile(mask, times) * a
        shown = None if z is None else z[:, j]
        if not self._tail.weighted_layers:
            assert z is not None  # a of the last layer has been answered
            return shown, a[:, j], backprop.sample_losses(network, z, a, y)
        masks = iter(f.masks[after] for after in range(l + 1, len(network.sizes)))

        def mask_of(_: int, __: Array) -> Array | None:
            mask = next(masks)
            return None if mask is None else np.tile(mask, times)

        passed = backprop.forward(self._tail, a, mask_of)
        return shown, a[:, j], backprop.sample_losses(network, passed.z[-1], passed.a[-1], y)

    def loss(self, shift: float) -> float:
        """Return C, with the penalty."""
        return float(self.losses(np.array([shift]))[0])

    def penalty(self, shift: float) -> float:
        """Return how much a shift of a weight adds to the penalty."""
        if not (isinstance(self.target, Weight) and self.why.network.l2):
            return 0.0
        return self.why.network.l2 / 2 * shift * (2 * self.why.target_value + shift)

    def losses(self, shifts: Array) -> Array:
        """Return C for each shift, with the penalty."""
        why, found = self.why, list[float]()
        together = max(_TOGETHER // (why.n_samples * max(why.network.sizes)), 1)
        for start in range(0, len(shifts), together):
            part = shifts[start : start + together]
            for shift, C in zip(part, self._pass_on(part)[2].reshape(len(part), -1), strict=True):
                mean = float(why.gradient.shares @ C)
                found.append(mean + why.gradient.penalty + self.penalty(float(shift)))
        return np.array(found)


def loss_curve(why: Derivative) -> Curve:
    """Return C as a function of the quantity, with the tangent and the step of gradient descent.

    Of z, a and x, which differ from sample to sample, the axis shows the sample in focus; all
    samples are shifted alike.
    """
    with np.errstate(all="ignore"):
        shifted = Shifted(why)
        at, loss = why.target_value, float(why.gradient.loss)
        if _alone(why):
            loss = shifted.loss(0.0)
        step = _step(why, shifted, at, loss)
        reach = _reach(at, step)
        most = int(np.clip(_MUCH / max(shifted.cost, 1.0), 21, _MOST))
        extra = [] if step is None else [step.to - at]
        shifts = _sampled(shifted.losses, reach, extra, most)
        sides = _sides(shifted.losses, reach, loss)
        return Curve(at + shifts[0], shifts[1], at, loss, why.value, sides, step)


def _alone(why: Derivative) -> bool:
    """Return whether C is a function of an output's a alone, not of z."""
    return isinstance(why.target, UnitOutput) and why.target.layer == len(why.network.sizes) - 1


def zoomed(why: Derivative, curve: Curve) -> Curve | None:
    """Return the curve around the step alone, if the step is too small to be seen, or None."""
    if curve.step is None or curve.step.to == curve.at:
        return None
    size = abs(curve.step.to - curve.at)
    if size * _ZOOM > float(curve.x[-1] - curve.x[0]) / 2 or size < 1e-7 * max(abs(curve.at), 1):
        return None
    with np.errstate(all="ignore"):
        shifts = np.linspace(-1.6 * size, 1.6 * size, 21)
        y = Shifted(why).losses(shifts)
    return Curve(curve.at + shifts, y, curve.at, curve.value, curve.slope, curve.sides, curve.step)


def _step(why: Derivative, shifted: Shifted, at: float, loss: float) -> Step | None:
    if why.learning_rate is None or not isinstance(why.target, Weight | Bias):
        return None
    move = -why.learning_rate * why.value
    if not math.isfinite(at + move):
        return None
    predicted = loss + why.value * move
    return Step(why.learning_rate, at + move, predicted, shifted.loss(move))


def _reach(at: float, step: Step | None) -> float:
    """Return how far the curve goes to both sides."""
    reach = max(1.5, 1.5 * abs(at))
    if step is not None:
        reach = max(reach, 1.25 * abs(step.to - at))
    return min(reach, 1e300)


def _sampled(f: Function, reach: float, extra: list[float], most: int) -> tuple[Array, Array]:
    """Return points of a function around 0, denser where it is not straight."""
    x = np.union1d(np.linspace(-reach, reach, min(_START, most | 1)), [0.0, *extra])
    y = f(x)
    for _ in range(_ROUNDS):
        middle = (x[:-1] + x[1:]) / 2
        finite = np.isfinite(y)
        if len(x) >= most or not finite.any():
            break
        height = np.ptp(y[finite])
        both = finite[:-1] & finite[1:]
        if len(x) > 2 * _START:  # halve further only beside the last points that were bent
            both &= _bent(x, y, height)
        middle = middle[both | (finite[:-1] != finite[1:])][: most - len(x)]
        if not len(middle):
            break
        new = f(middle)
        order = np.argsort(np.concatenate([x, middle]), kind="stable")
        x, y = np.concatenate([x, middle])[order], np.concatenate([y, new])[order]
    return x, y


def _bent(x: Array, y: Array, height: float) -> Array:
    """Return the intervals beside a point where the curve leaves the line of its neighbours."""
    share = (x[1:-1] - x[:-2]) / (x[2:] - x[:-2])
    off = np.abs(y[:-2] + share * (y[2:] - y[:-2]) - y[1:-1]) > _BENT * height
    bent = np.zeros(len(x) - 1, dtype=bool)
    bent[:-1] |= off
    bent[1:] |= off
    return bent


def _sides(f: Function, reach: float, value: float) -> tuple[float, float] | None:
    """Return the slopes from below and above at 0 if they differ however near one looks."""
    found = []
    for h in (1e-4 * reach, 1e-5 * reach, 1e-6 * reach):
        below, above = f(np.array([-h, h]))
        found.append(((value - below) / h, (above - value) / h))
    gaps = [above - below for below, above in found]
    noise = 1e-14 * max(abs(value), 1e-300) / (1e-6 * reach)
    if not all(map(math.isfinite, gaps)) or abs(gaps[2]) <= 20 * noise:
        return None
    if abs(gaps[2]) < 0.5 * abs(gaps[0]) or abs(gaps[2]) < 1e-4 * max(map(abs, found[2])):
        return None
    below, above = found[2]
    return float(below), float(above)


def activation_curve(why: Derivative) -> Curve | None:
    """Return g of the unit that the quantity feeds, with its slope at z of the sample in focus.

    Of a softmax it is a_j as a function of z_j, the other z as they are. None for an input, and
    where z is not finite.
    """
    l, j, i = why.target.layer, why.target.j, why.focus
    if l == 0:
        return None
    row: Array = why.gradient.forward.z[l][i]
    g: Activation = why.network.layers[l].activation

    def of(shifts: Array) -> Array:
        z = np.repeat(row[None, :], len(shifts), axis=0)
        z[:, j] += shifts
        return np.asarray(g.value(z)[:, j])

    if not np.isfinite(row).all():
        return None
    with np.errstate(all="ignore"):
        at, value = float(row[j]), float(of(np.zeros(1))[0])
        reach = max(4.0, 1.2 * abs(at))
        one = np.zeros((1, len(row)))
        one[0, j] = 1.0
        slope = float(g.pull_back(one, row[None, :], g.value(row[None, :]))[0, j])
        x, y = _sampled(of, reach, [-at], _MOST)
        return Curve(at + x, y, at, value, slope, _sides(of, reach, value))


def nudge(why: Derivative) -> Nudge:
    """Return a small change of the quantity carried through z, a and C."""
    size = _NUDGE * max(abs(why.target_value), 1.0)
    shifted, i = Shifted(why), why.focus
    l, j = why.target.layer, why.target.j
    with np.errstate(all="ignore"):
        z0, a0, C0 = shifted.pass_on(0.0)
        z1, a1, C1 = shifted.pass_on(size)
        changes = []
        moved = size
        if z0 is not None and z1 is not None:
            if not isinstance(why.target, PreActivation):
                moved = float(shifted.factor()[i]) * size
                z = quantity("z", l, j)
                changes.append(Change(z, moved, float(z1[i] - z0[i])))
            found, mask = activation_curve(why), why.gradient.forward.masks[l]
            slope = math.nan if found is None else found.slope
            slope *= 1.0 if mask is None else float(mask[i, j])
            changes.append(Change(quantity("a", l, j), slope * moved, float(a1[i] - a0[i])))
        of_sample = why.terms[:-1] if why.sample_weight is not None else why.terms
        product = math.prod(term.value for term in of_sample)
        changes.append(Change(LossSymbol(i), product * size, float(C1[i] - C0[i])))
        if why.n_samples > 1 or why.penalty is not None:
            mean = float(why.gradient.shares @ (C1 - C0)) + shifted.penalty(size)
            changes.append(Change(LossSymbol(), why.value * size, mean))
    return Nudge(size, tuple(changes))
