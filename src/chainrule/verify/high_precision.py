"""The derivative to 30 digits, from the definitions of the forward pass alone.

Nothing of `backprop` and no derivative formula is used; `chainrule.verify.many_digits`
has the forward pass. The derivative is the central difference quotient with a step h of 2^-133,
about 1e-40, in arithmetic of 135 digits. Where that leaves fewer than 30 digits, because the
derivative is so small, or where the step crosses a kink, the step is 2^-700 and the arithmetic has
660.

A shift of the target grows by up to 2^S on its way to the output, S from the norms of the W that it
passes. The step is taken 2^S shorter, and the numbers are carried with 2 S bits more. The error is

    of the stencil, h² C'''/6, with a step of 2^-133 or less in every z: 2^-266 of the derivative
    of the integers, each off by 2^-bits and grown by 2^S, over h: 2^-315; at the last, 2^-1500

and where the derivative is 2^160 larger than the latter (or than 2^-64 of it times the largest C_i,
since the outputs are carried with 64 bits more), 30 digits are sure. What is less than that at the
last is 0 for float64, whose smallest number is 2^-1074.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.equations.activations import Softmax
from chainrule.equations.targets import Target, Weight
from chainrule.verify.many_digits import ManyDigits, Outputs, is_logarithmic, may_cancel
from chainrule.verify.rounding import Kinks
from chainrule.verify.setting import Array, Place, Setting, count_weights, place_of

_PRECISIONS = ((448, 133), (2200, 700))  # bits of the arithmetic and of the step
_DIGITS_BITS = 100  # 30 digits
_GUARD_BITS = 60
_RAISED = (0, 1_000, 4_000, 16_000, 64_000)  # bits more at an output of a user's own
_LARGEST_GROWTH = 5_000  # bits; beyond, float64 has long overflowed
_ACTIVATION_COST = 400  # multiplications of integers, at about 0.2 µs
_SLOWER = 12  # times, in the second precision


@dataclass(frozen=True)
class Precise:
    """A derivative to 30 digits, as text and rounded to float64.

    ``error`` is the most that ``value`` may be off before it was rounded. ``kink`` says that a unit
    which the shift moves stands on a kink. Then ``value`` follows the slope g' that the kink has by
    convention, and ``left`` and ``right`` are the true one-sided derivatives; elsewhere all three
    are the same.
    """

    digits: str
    value: float
    error: float
    left: float
    right: float
    kink: bool


def cost(setting: Setting, target: Target) -> int:
    """Return the cost of one sample, in integer multiplications: the base pass and two more."""
    return base_cost(setting) + shift_cost(setting, target)


def base_cost(setting: Setting) -> int:
    """Return the cost of the base pass of one sample, which targets share."""
    sizes = setting.network.sizes
    return count_weights(sizes) + _ACTIVATION_COST * sum(sizes[1:])


def shift_cost(setting: Setting, target: Target) -> int:
    """Return the cost of two more passes of one sample, for a target."""
    sizes = setting.network.sizes
    after = sizes[target.layer + 1 :]
    outputs = 2 * sizes[-1] * may_cancel(setting)
    return 2 * count_weights(after) + _ACTIVATION_COST * (2 * (sum(after) + 1) + outputs)


def derivative(setting: Setting, target: Target, kinks: Kinks) -> Precise:
    """Differentiate C by the target.

    Raises ValueError where a formula has no value at these numbers, such as ln of something
    negative.
    """
    (found,) = derivatives(setting, [target], kinks)
    if isinstance(found, ValueError):
        raise found
    return found


def derivatives(
    setting: Setting, targets: Sequence[Target], kinks: Kinks, room: float = math.inf
) -> Iterator[Precise | ValueError]:
    """Differentiate C by each target, or say why that can't be done; they share the base passes.

    ``room`` is the cost that they may have together, in integer multiplications; what is beyond is
    left out.
    """
    bases: list[ManyDigits | ValueError] = []
    S = max(_growth(setting, target) for target in targets)
    for target in targets:
        found: Precise | ValueError | None = None
        for number, (bits, step_bits) in enumerate(_PRECISIONS):
            first = number == len(bases)
            work = shift_cost(setting, target) + (base_cost(setting) if first else 0)
            work *= len(setting) * (_SLOWER if number else 1)
            if work > room:
                found = ValueError("left out: too slow")
                break
            room -= work
            try:
                if first:
                    last = number == len(_PRECISIONS) - 1
                    bases.append(_base(setting, kinks, bits + 2 * S, last))
                base = bases[number]
                if isinstance(base, ValueError):
                    raise base
                found = _Quotient(base, target, step_bits + S, S).derivative()
            except (ValueError, ArithmeticError) as error:
                found = ValueError(f"the formulas have no value here: {error}")
            if found is not None:
                break
        assert found is not None  # the last precision always answers
        yield found


def _base(setting: Setting, kinks: Kinks, bits: int, last: bool) -> ManyDigits | ValueError:
    try:
        return ManyDigits(setting, kinks, bits, last)
    except (ValueError, ArithmeticError) as error:
        return ValueError(str(error))


@np.errstate(all="ignore")
def _growth(setting: Setting, target: Target) -> int:
    """Return S: a shift of the target by 1 moves no z or a by more than 2^S."""
    layers, place = setting.network.weighted_layers, place_of(target)
    factors = [np.abs(setting.factors(target)).max()]
    for l in range(max(place.layer, 1), len(layers) + 1):
        g, z = layers[l - 1].activation, setting.forward.z[l]
        if l > place.layer:
            W = np.abs(layers[l - 1].W.astype(np.float64))
            alone = l == place.layer + 1  # what is shifted is one unit of the layer before
            factors.append(W[:, target.j].max() if alone else W.sum(axis=1).max())
        if not isinstance(g, Softmax):
            factors.append(np.abs(g.derivative(z, g.value(z))).max())
    bits = [math.log2(f) for f in map(float, factors) if f > 1]
    total = sum(bits)
    return min(math.ceil(total), _LARGEST_GROWTH) if math.isfinite(total) else _LARGEST_GROWTH


class _Quotient:
    """The difference quotient of C by one target, with a step of 2^-step_bits."""

    def __init__(self, base: ManyDigits, target: Target, step_bits: int, growth: int) -> None:
        self.base, self.target, self.step_bits, self.growth = base, target, step_bits, growth
        self.place, self.mp = place_of(target), base.mp
        self.setting, self.layers = base.setting, base.layers

    def derivative(self) -> Precise | None:
        """Return the derivative, or None if this precision leaves fewer than 30 digits of it."""
        if not may_cancel(self.setting):
            return self._at_output(0)
        before, problem = None, ""
        for more in _RAISED:
            try:
                found = self._at_output(more)
            except (ValueError, ArithmeticError) as error:
                before, problem = None, str(error)
                continue
            if found is None or (before is not None and before.digits == found.digits):
                return found
            before = found
        raise ValueError(problem or "the output needs more digits than are affordable")

    def _at_output(self, more: int) -> Precise | None:
        mp, base, h = self.mp, self.base, self.mp.mpf((1, -self.step_bits))
        base.touched = base.crossed = False
        penalty = self._penalty()
        with base.at_output(more):
            scales = self._scales()
            weights = [mp.mpf(float(s)) for s in self.setting.weights]

            def mean(*terms: tuple[int, list[Any]]) -> Any:
                """Return the mean of a quotient: coefficients times C_i, over twice the step."""
                sums = (mp.fsum(k * C[i] for k, C in terms) for i in range(len(scales)))
                quotients = (s / (2 * h * scale) for s, scale in zip(sums, scales, strict=True))
                return mp.fdot(weights, quotients) / mp.fsum(weights) + penalty

            C = base.C if self.place != Place("a", len(self.layers)) else self._shifted(0, scales)
            up, down = self._shifted(1, scales), self._shifted(-1, scales)
            value = left = right = mean((1, up), (-1, down))
            if base.touched:
                up2, down2 = self._shifted(2, scales), self._shifted(-2, scales)
                right = mean((-3, C), (4, up), (-1, up2))
                left = mean((3, C), (-4, down), (1, down2))
                along = (self._shifted(side, scales, along=True) for side in (1, -1))
                value = mean((1, next(along)), (-1, next(along)))
            sizes = (abs(c) / scale for c, scale in zip(C, scales, strict=True))
            largest = max([mp.mpf(1), *(mp.ldexp(size, -64) for size in sizes)])
        bits = _DIGITS_BITS + _GUARD_BITS + self.step_bits + self.growth - base.bits
        smallest, error = mp.ldexp(largest, bits), mp.ldexp(abs(value), -_DIGITS_BITS)
        if base.crossed or abs(value) < smallest:
            if not base.last:
                return None
            value, error = mp.mpf(0), smallest
        digits = mp.nstr(value, 30, min_fixed=-5, max_fixed=16, strip_zeros=False)
        if base.touched:  # across a jump a quotient is 1/h, which has no limit
            jump = mp.ldexp(1, self.step_bits // 2)
            left, right = (mp.sign(v) * mp.inf if abs(v) > jump else v for v in (left, right))
        value, error, left, right = map(_rounded, (value, error, left, right))
        return Precise(digits, value, error, left, right, base.touched)

    def _scales(self) -> list[Any]:
        """Return the step of each sample, in units of the step: 1, less near a pole of the loss.

        Only an output a^(L) that is shifted itself can stand so close to 0 (or 1) that a logarithm
        in the loss ends within a step.
        """
        scales = [self.mp.mpf(1)] * len(self.base.y)
        if is_logarithmic(self.setting) and self.place == Place("a", len(self.layers)):
            for i, out in enumerate(self.base.out):
                room = [abs(out.a[self.target.j]), scales[i]]
                if self.setting.network.loss.output == "sigmoid":
                    room.append(abs(out.rest[self.target.j]))
                scales[i] = min(distance for distance in room if distance)
        return scales

    def _penalty(self) -> Any:
        w = self.setting.weight(self.target)
        if w is None:
            return self.mp.mpf(0)
        w, h = self.mp.mpf(w), self.mp.mpf((1, -self.step_bits))
        change = (w + h) ** 2 - (w - h) ** 2
        return self.mp.mpf(self.setting.network.l2) / 2 * change / (2 * h)

    def _shifted(self, steps: int, scales: list[Any], along: bool = False) -> list[Any]:
        """Return every C_i with the target moved by so many steps; of an output, its part alone."""
        base, target, l, L = self.base, self.target, self.place.layer, len(self.layers)
        n = len(base.y)
        if self.place == Place("a", L):
            h = self.mp.mpf((steps, -self.step_bits))
            moved = [out.moved(target.j, h * s) for out, s in zip(base.out, scales, strict=True)]
            return [base.loss_of(i, moved[i], base.out[i], along, target.j) for i in range(n)]
        shift, units = steps << (base.bits - self.step_bits), [target.j]
        change = np.full((n, 1), shift, dtype=object)
        if isinstance(target, Weight):
            change = (base.a[l - 1][:, [target.k]] * shift) >> base.bits
        if self.place.letter == "z" and l < L:
            change = self._activated(l, units, change, along)
        for m in range(l + 1, L + 1):
            W, bits = base.weights(m)
            change = (change @ W[units]) >> bits
            units = list(range(self.setting.network.sizes[m]))
            if m < L:
                change = self._activated(m, units, change, along)
        return [self._output(i, units, change[i], along) for i in range(n)]

    def _activated(self, l: int, units: list[int], change: Array, along: bool) -> Array:
        """Return how a of some units changes when their z changes."""
        base, g = self.base, self.layers[l - 1].activation
        near, at, mask = base.kinks.near[l], base.kinks.at[l], base.masks[l]
        kinks = base.places(g)
        result = np.zeros(change.shape, dtype=object)
        for i, row in enumerate(change):
            for column, (j, dz) in enumerate(zip(units, row, strict=True)):
                if dz == 0:
                    continue
                z, m = base.z[l][i, j], 1 << base.bits if mask is None else mask[i, j]
                if m == 0:
                    continue
                kink = base.kink(near[i, j], at[i, j], kinks, z, z + dz)
                if kink is None:
                    after = base.g(l, z + dz)
                    result[i, column] = ((after * m) >> base.bits) - base.a[l][i, j]
                    continue
                if along:
                    da = base.to_fixed(base.slope(g, l, i, j) * base.floating(dz))
                else:
                    place = base.place(kink)
                    da = base.g(l, place + dz) - base.g(l, place)
                result[i, column] = (da * m) >> base.bits
        return result

    def _output(self, i: int, units: list[int], change: Array, along: bool) -> Any:
        """Return C_i when z of some units of the output layer changes."""
        base, mp, L = self.base, self.mp, len(self.layers)
        if not any(change):
            return base.C[i]
        z, before = list(base.z[L][i]), base.out[i]
        for j, dz in zip(units, change, strict=True):
            z[j] += dz
        out = base.outputs([base.floating(v) for v in z])
        g, near, at = self.layers[-1].activation, base.kinks.near[L][i], base.kinks.at[L][i]
        kinks = base.places(g)
        for j, dz in zip(units, change, strict=True):
            kink = base.kink(near[j], at[j], kinks, z[j] - dz, z[j])
            if kink is None:
                continue
            shift = base.floating(dz)
            if along:
                da = base.slope(g, L, i, j) * shift
            else:
                ends = base.outputs([mp.mpf(kink), mp.mpf(kink) + shift]).a
                da = ends[1] - ends[0]
            out = Outputs(out.a, out.rest).moved(j, before.a[j] + da - out.a[j])
        return base.loss_of(i, out, before, along)


def _rounded(number: Any) -> float:
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")
