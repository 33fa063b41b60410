"""Central differences in float64, of C_i for many quantities and samples at once.

A pair is one quantity in one sample. Its unit is shifted, and only what follows is computed again:
the change of one unit of layer l, then the changes of all units of the layers after it. Each pair
has its own step, which shrinks as long as a shift carries some unit over a kink.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.equations import backprop
from chainrule.equations.activations import (
    ACTIVATIONS,
    Activation,
    Identity,
    LeakyReLU,
    ReLU,
    Softmax,
)
from chainrule.equations.layers import ByLayer
from chainrule.equations.losses import (
    AbsoluteError,
    HalfSquaredError,
    Huber,
    LossFromZ,
    SquaredError,
)
from chainrule.equations.targets import Target
from chainrule.verify.rounding import Kinks, side_changed
from chainrule.verify.setting import Array, Place, Setting, count_weights, place_of

FIRST_STEP = 1e-3  # of z; the error of the stencil, step⁴, then meets that of rounding, ε/step
SHRINK = 8.0
STEPS = 6  # the smallest moves z by 3e-8
_FAR = 1e-3  # where |z| is beyond 1 / _FAR, the first step is 1e-3 of _FAR |z|
_NOISE = 0.25  # of the scatter of nudges by 4 ε: an operation errs by ε/2, and much cancels
_SQUARES = (SquaredError, HalfSquaredError)  # which a stencil follows at any distance
_BENT_AT_1 = (Huber, AbsoluteError)  # straight where |a - y| > 1; a kink is looked at apart
_STRAIGHT = (Identity, ReLU, LeakyReLU)  # but for their kinks
_FLAT = 40.0  # beyond, the other activations are straight to e^-40
_SAME = 1e-12  # a softmax that changes by less is saturated
_SIDES = 32.0  # times its noise, by which quotients from both sides differ at a kink
_ONE_SIDED = 3  # the step, counted from 0, for quotients from one side and along a kink's slope
_NUMBERS = 1 << 16  # numbers carried at once, so that they stay in the cache
_MUCH = 1e10  # multiplications; beyond, two steps have to do


class Marks:
    """What a shift did to each row, (rows,): why its losses are not those of a smooth function.

    ``crossed``: a unit came to lie on another side of a kink, or the loss was not finite.
    ``on_kink``: one of these units stood on the kink. ``far``: the z of a curved function moved by
    more than 1, so that no stencil follows it.
    """

    def __init__(self, rows: int) -> None:
        self.crossed, self.on_kink, self.far = np.zeros((3, rows), dtype=bool)

    def put(self, rows: Any, marks: Marks) -> None:
        """Set the marks of some rows."""
        for name in ("crossed", "on_kink", "far"):
            getattr(self, name)[rows] = getattr(marks, name)


class Shifted:
    """The network's losses with one unit of each row shifted."""

    def __init__(self, setting: Setting, kinks: Kinks) -> None:
        self.setting, self.kinks = setting, kinks
        self.layers, self.loss = setting.network.weighted_layers, setting.network.loss
        self.W = [layer.W.astype(np.float64, copy=False) for layer in self.layers]
        z, a = setting.forward.z[-1], setting.forward.a[-1]
        self.C = backprop.sample_losses(setting.network, z, a, setting.y)
        self._movers = [self._who_moves(along) for along in (False, True)]

    def moves(self, place: Place, j: Array, *, along: bool = False) -> Array:
        """Return of which samples a small shift of units j at the place can move C_i, (units, n).

        With ``along`` a relu on its kink goes on with its slope there, 0.
        """
        moves = self._movers[along][place.letter == "a"]
        return np.asarray(moves[place.layer][:, j].T)

    def _who_moves(self, along: bool) -> tuple[ByLayer[Array], ByLayer[Array]]:
        """Return for each z and a whether C_i depends on it: not through a relu at 0, or w = 0."""
        f = self.setting.forward
        of_z: list[Array] = []
        of_a = [np.ones(f.a[-1].shape, dtype=bool)]
        for l in range(len(self.layers), 0, -1):
            moves, mask = of_a[-1], f.masks[l]
            if type(self.layers[l - 1].activation) is ReLU:
                moves = moves & ((f.z[l] > 0) if along else (f.z[l] >= 0) | self.kinks.near[l])
            of_z.append(moves if mask is None else moves & (mask != 0))
            of_a.append(of_z[-1].astype(np.float32) @ (self.W[l - 1] != 0).astype(np.float32) > 0)
        return ByLayer(of_z[::-1]), ByLayer(of_a[::-1], first=0)

    def losses(
        self, place: Place, i: Array, j: Array, shift: Array, *, along: bool = False
    ) -> tuple[Array, Marks]:
        """Return C_i of each row: sample i, with unit j at the place moved by the shift; (rows,).

        With ``along`` units that cross a kink go on with the slope that they had, g' of where they
        stood.
        """
        C, marks = np.empty(len(i)), Marks(len(i))
        rows = max(1, _NUMBERS // max(self.setting.network.sizes))
        for start in range(0, len(i), rows):
            part = slice(start, start + rows)
            C[part], found = self._carry(place, i[part], j[part], shift[part], along)
            marks.put(part, found)
        marks.crossed |= ~np.isfinite(C)
        return C, marks

    def _carry(
        self, place: Place, i: Array, j: Array, shift: Array, along: bool
    ) -> tuple[Array, Marks]:
        f, L, marks = self.setting.forward, len(self.layers), Marks(len(i))
        l, rows = place.layer, np.arange(len(i))
        z = a = np.empty(0)
        if place.letter == "a" and l == L:
            a = f.a[L][i]
            a[rows, j] += shift
            z = np.empty(0)  # C as a function of a
        elif place.letter == "z" and l == L:
            dz = np.zeros(f.z[L][i].shape)
            dz[rows, j] = shift
            z, a = self._activate(L, i, slice(None), dz, along, marks)
        else:
            if place.letter == "a":
                change = shift
            else:
                change = self._activate(l, i, j, shift, along, marks)[1] - f.a[l][i, j]
                if not (change.all() or marks.crossed.any() or marks.far.any()):
                    (moved,) = np.nonzero(change)  # a relu that is off moves nothing
                    C = self.C[i]
                    if len(moved):
                        at = Place("a", l)
                        C[moved], found = self._carry(at, i[moved], j[moved], change[moved], along)
                        marks.put(moved, found)
                    return C, marks
            dz = change[:, None] * self.W[l].T[j]
            z, a = self._activate(l + 1, i, slice(None), dz, along, marks)
            for m in range(l + 2, L + 1):
                dz = (a - f.a[m - 1][i]) @ self.W[m - 1].T
                z, a = self._activate(m, i, slice(None), dz, along, marks)
        y = self.setting.y[i]
        if isinstance(self.loss, LossFromZ) and z.size:
            return self.loss.value_from_z(self.layers[-1].activation, z, y), marks
        c, a0 = self.loss.value(a, y), f.a[L][i]
        if type(self.loss) not in _SQUARES:
            marks.far |= self._is_far_in_loss(a0, a, y)
        if self.loss.kinks:
            over = side_changed(a0 - y, a - y, self.loss.kinks)
            marks.crossed |= over.any(axis=-1)
            marks.on_kink |= (over & self.kinks.loss_near[i]).any(axis=-1)
            if along:
                straight = self.loss.value(a0, y) + self.loss.derivative(a0, y) * (a - a0)
                c = np.where(over, straight, c)
        return c.sum(axis=-1), marks

    def _is_far_in_loss(self, before: Array, after: Array, y: Array) -> Array:
        """Return of which rows an output moved further than a stencil can follow the loss."""
        far = np.abs(after - before) > 1
        if type(self.loss) in _BENT_AT_1:
            before, after = before - y, after - y
            stayed = (before * after > 0) & (np.minimum(np.abs(before), np.abs(after)) > 1)
            far &= ~stayed
        return np.asarray(far.any(axis=-1))

    def _activate(
        self, l: int, i: Array, j: Array | slice, dz: Array, along: bool, marks: Marks
    ) -> tuple[Array, Array]:
        """Return z and a of units j of layer l, moved by dz; note where a kink was crossed."""
        g, f = self.layers[l - 1].activation, self.setting.forward
        z0 = f.z[l][i, j]
        z = z0 + dz
        a = g.value(z)
        if type(g) not in _STRAIGHT and not (dz.max() <= 1 and dz.min() >= -1):
            far = _moved_far(g, z0, z)
            marks.far |= far if far.ndim == 1 else far.any(axis=-1)
        if g.kinks:
            over = side_changed(z0, z, g.kinks)
            marks.crossed |= over if over.ndim == 1 else over.any(axis=-1)
            if self.kinks.near[l].any():
                near = over & self.kinks.near[l][i, j]
                marks.on_kink |= near if near.ndim == 1 else near.any(axis=-1)
            if along:
                a0 = g.value(z0)
                a = np.where(over, a0 + g.derivative(z0, a0) * dz, a)
        mask = f.masks[l]
        return z, a if mask is None else mask[i, j] * a


def _moved_far(g: Activation, before: Array, after: Array) -> Array:
    """Return where z moved too far for a stencil to follow g: by more than 1, unless g is flat."""
    far = np.abs(after - before) > 1
    if far.any() and type(ACTIVATIONS.get(g.name)) is type(g):
        if isinstance(g, Softmax):
            stayed = np.abs(g.value(after) - g.value(before)) < _SAME
            return far & ~stayed.all(axis=-1, keepdims=True)
        stayed = (before * after > 0) & (np.minimum(np.abs(before), np.abs(after)) > _FLAT)
        return far & ~stayed
    return far


@dataclass(frozen=True)
class Quotients:
    """Difference quotients of C_i, with an estimate of their error; all (quantities, n).

    ``step`` is the one that was taken. Where no step stayed clear of the kinks it is NaN, and
    ``value`` follows the slope that the units on a kink have by convention. ``kink`` says where one
    of them stood on it; ``left`` and ``right`` differ from ``value`` only there.
    """

    value: Array
    error: Array
    step: Array
    kink: Array
    left: Array
    right: Array


@np.errstate(all="ignore")  # a shift may lead out of where a loss is defined
def quotients(
    shifted: Shifted,
    place: Place,
    j: Array,
    factors: Array,
    noise: Array,
    steps: Sequence[int] = range(STEPS),
    thorough: bool = True,
) -> Quotients:
    """Differentiate C_i by many quantities at one place, with the 4th-order central stencil.

    ``j`` are their units, (quantities,); ``factors`` the c_i, (quantities, n); ``noise`` the
    rounding error of C_i, (n,). Thorough, every step is tried for each pair, and the one with the
    smallest estimate of its error is taken; else the first that stays clear of the kinks.
    """
    shape = factors.shape
    size = np.abs(factors).max(axis=1) * _reach(shifted, place, j)
    first = FIRST_STEP / np.where(size > 0, size, 1.0)
    pairs = np.flatnonzero((factors != 0) & shifted.moves(place, j))
    q, i = np.divmod(pairs, shape[1])
    factor, unit, base = factors.ravel()[pairs], j[q], first[q]
    if place.letter == "z":
        base = base * np.maximum(1, _FAR * np.abs(shifted.setting.forward.z[place.layer][i, unit]))

    tried = np.full((len(steps), len(pairs)), np.nan)
    error = np.full(tried.shape, np.inf)
    todo = np.ones(len(pairs), dtype=bool)
    for at, m in enumerate(steps):
        (rows,) = np.nonzero(todo)
        if not len(rows):
            break
        t = base[rows] / SHRINK**m
        C = {}
        unfit = np.zeros(len(rows), dtype=bool)
        for k in (-2, -1, 1, 2):
            C[k], marks = shifted.losses(place, i[rows], unit[rows], k * t * factor[rows])
            unfit |= marks.crossed | marks.far
        tried[at, rows] = np.where(unfit, np.nan, _central(C, t))
        error[at, rows] = np.where(unfit, np.inf, _NOISE * noise[i[rows]] / t)
        if not thorough:
            todo[rows] = unfit
    if thorough:
        error = _with_stencil(tried, error)

    best = error.argmin(axis=0) if len(pairs) else np.empty(0, dtype=int)
    columns = np.arange(len(pairs))
    value, wrong = tried[best, columns], error[best, columns]
    step = base / SHRINK ** np.asarray(steps)[best]
    kink = np.zeros(len(pairs), dtype=bool)
    left, right = value.copy(), value.copy()

    (rows,) = np.nonzero(np.isnan(tried).all(axis=0))
    if len(rows):
        t = base[rows] / SHRINK**_ONE_SIDED
        C0 = shifted.losses(place, i[rows], unit[rows], 0 * t)[0]
        C, along, closer = {}, {}, {}
        near, far = np.zeros((2, len(rows)), dtype=bool)
        for k in (-2, -1, 1, 2):
            s = k * t * factor[rows]
            C[k], _ = shifted.losses(place, i[rows], unit[rows], s)
            along[k], marks = shifted.losses(place, i[rows], unit[rows], s, along=True)
            far |= marks.far
            closer[k], marks = shifted.losses(place, i[rows], unit[rows], s / SHRINK, along=True)
            near |= marks.on_kink
        value[rows], step[rows] = _central(along, t), np.nan
        change = np.abs(value[rows] - _central(closer, t / SHRINK))
        wrong[rows] = _NOISE * noise[i[rows]] / t + change
        value[rows[far]], wrong[rows[far]] = np.nan, np.inf
        still = ~shifted.moves(place, j, along=True).ravel()[pairs[rows]]
        value[rows[still]], wrong[rows[still]] = 0.0, 0.0
        backward = (3 * C0 - 4 * C[-1] + C[-2]) / (2 * t)
        forward = (-3 * C0 + 4 * C[1] - C[2]) / (2 * t)
        seen = np.abs(forward - backward) > _SIDES * _NOISE * noise[i[rows]] / t
        kink[rows] = near & seen
        left[rows] = np.where(near & seen, backward, value[rows])
        right[rows] = np.where(near & seen, forward, value[rows])

    def spread_out(values: Array, fill: Any, dtype: type = float) -> Array:
        full: Array = np.full(shape, fill, dtype=dtype)
        full.ravel()[pairs] = values
        return full

    return Quotients(
        spread_out(value, 0.0), spread_out(wrong, 0.0), spread_out(step, np.nan),
        spread_out(kink, False, bool), spread_out(left, 0.0), spread_out(right, 0.0),
    )  # fmt: skip


def _with_stencil(tried: Array, noise: Array) -> Array:
    """Return the whole error of each step, (steps, pairs): noise, and that of the stencil.

    The error of the stencil is what the next smaller step changes; where any smaller one differs by
    more than its own noise, it is that much at least. Of the smallest nothing is known.
    """
    error, columns = np.full(tried.shape, np.inf), np.arange(tried.shape[1])
    next_step = np.full(len(columns), -1)  # the next smaller one that is valid
    for m in reversed(range(len(tried))):
        stencil = np.where(next_step < 0, np.inf, np.abs(tried[m] - tried[next_step, columns]))
        for smaller in range(m + 1, len(tried)):
            stencil = np.fmax(stencil, np.abs(tried[m] - tried[smaller]) - noise[smaller])
        valid = ~np.isnan(tried[m])
        error[m, valid] = noise[m, valid] + stencil[valid]
        next_step[valid] = m
    return error


def _central(C: dict[int, Array], t: Array) -> Array:
    return np.asarray((8 * (C[1] - C[-1]) - (C[2] - C[-2])) / (12 * t))


def _reach(shifted: Shifted, place: Place, j: Array) -> Array:
    """Return how far the next z moves when unit j of the place moves by 1."""
    if place.letter == "z" or place.layer == len(shifted.layers):
        return np.ones(len(j))
    return np.abs(shifted.W[place.layer][:, j]).max(axis=0)


@dataclass(frozen=True)
class Difference:
    """The mean over samples of their quotients, penalty included, and an estimate of its error."""

    value: float
    error: float
    step: float
    kink: bool
    left: float
    right: float


def difference(shifted: Shifted, target: Target, noise: Array) -> Difference:
    """Differentiate C by one target."""
    setting = shifted.setting
    work = 4 * STEPS * len(setting) * count_weights(setting.network.sizes[target.layer + 1 :])
    steps = range(STEPS) if work < _MUCH else (0, 2)
    j, factors = np.array([target.j]), setting.factors(target)[None, :]
    found = quotients(shifted, place_of(target), j, factors, noise, steps)
    shares = setting.shares
    penalty = penalty_quotient(setting, target)
    counted = np.isfinite(found.step[0])
    return Difference(
        float(shares @ found.value[0]) + penalty,
        float(shares @ found.error[0]),
        float(np.max(found.step[0][counted], initial=0.0)) or float("nan"),
        bool((found.kink[0] & (shares > 0)).any()),
        float(shares @ found.left[0]) + penalty,
        float(shares @ found.right[0]) + penalty,
    )


def penalty_quotient(setting: Setting, target: Target) -> float:
    """Return the central difference of ½ λ w², 0 where the target is not a weight."""
    w = setting.weight(target)
    if w is None:
        return 0.0
    t = FIRST_STEP * max(abs(w), 1e-300)
    low, high = w - t, w + t
    if low == high:
        return 0.0
    return setting.network.l2 / 2 * (high * high - low * low) / (high - low)
