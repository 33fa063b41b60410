"""The derivative to 30 digits, from the definitions of the forward pass alone.

Nothing of `backprop` and no derivative formula is used. The forward pass is written a
second time: sums are exact integers in units of 2^-bits, and g and c are the formulas that the
activations and losses state as text, computed by mpmath. The derivative is the central difference
quotient with a step of 2^-133, about 1e-40, in arithmetic of 135 digits. Where that leaves fewer
than 30 digits, because the derivative is so small, or where the step crosses a kink, the step is
2^-700 and the arithmetic has 660.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.equations.activations import Activation, Softmax
from chainrule.equations.formulas import Expr, evaluate, parse
from chainrule.equations.losses import LossFromZ
from chainrule.equations.targets import Target, Weight
from chainrule.verify.rounding import Kinks
from chainrule.verify.setting import Array, Place, Setting, count_weights, place_of

_PRECISIONS = ((448, 133), (2200, 700))  # bits of the arithmetic and of the step
_DIGITS_BITS = 100  # 30 digits
_GUARD_BITS = 60
_LARGEST_BITS = 1100  # float64 ends at 2^1024
_LARGEST_Z = 2000  # e^z of the output layer is carried with as many digits as it has

_ACTIVATION_COST = 400  # multiplications of integers, at about 0.2 µs


@dataclass(frozen=True)
class Precise:
    """A derivative to 30 digits, as text and rounded to float64.

    ``kink`` says that a unit which the shift moves stands on a kink. Then ``value`` follows the
    slope g' that the kink has by convention, and ``left`` and ``right`` are the true one-sided
    derivatives; elsewhere all three are the same.
    """

    digits: str
    value: float
    left: float
    right: float
    kink: bool


def cost(setting: Setting, target: Target) -> int:
    """Give the cost of one sample, in integer multiplications: the base pass and two more."""
    sizes = setting.network.sizes
    after = sizes[target.layer + 1 :]
    units = sum(sizes[1:]) + 2 * (sum(after) + 1)
    if (largest := _needs_digits(setting)) is not None:
        units += int(3 * sizes[-1] * min(largest, _LARGEST_Z) / 200)
    return count_weights(sizes) + 2 * count_weights(after) + _ACTIVATION_COST * units


def derivative(setting: Setting, target: Target, kinks: Kinks) -> Precise:
    """Differentiate C by the target.

    Raises ValueError where a formula has no value at these numbers, such as ln of something
    negative.
    """
    for precision in _PRECISIONS:
        try:
            found = _Arithmetic(setting, target, kinks, *precision).derivative()
        except (ValueError, ArithmeticError) as error:
            raise ValueError(f"the formulas have no value here: {error}") from None
        if found is not None:
            return found
    raise AssertionError("the last precision always answers")


class _Arithmetic:
    """Numbers of one precision, and the forward pass in them.

    Arrays have dtype object. Those of the hidden layers hold integers, in units of 2^-bits; the
    output layer's a and the losses are mpmath's floating-point numbers, which hold e^-1000 too.
    """

    def __init__(
        self, setting: Setting, target: Target, kinks: Kinks, bits: int, step_bits: int
    ) -> None:
        import mpmath  # only who asks for a certificate pays for it

        self.setting, self.target, self.kinks = setting, target, kinks
        self.bits, self.step_bits = bits, step_bits
        self.last = (bits, step_bits) == _PRECISIONS[-1]
        self.touched = False  # a unit that stands on a kink was moved
        self.crossed = False  # a unit was carried over a kink on which it does not stand
        self.place = place_of(target)
        self.layers = setting.network.weighted_layers
        self.mp = mpmath.MPContext()
        self.mp.prec = bits + 64
        self.functions = _functions(self.mp)
        self.formulas = [parse(layer.activation.formula)[0] for layer in self.layers]
        self.loss_formula = parse(setting.network.loss.formula)[0]
        self.y = [[self.mp.mpf(float(v)) for v in row] for row in setting.y]
        self._W: dict[int, tuple[Array, int]] = {}
        self._base()

    # --- numbers --------------------------------------------------------------------------------

    def fixed(self, values: Array, bits: int | None = None) -> Array:
        """Turn float64 numbers into integers in units of 2^-bits, exactly where these suffice."""
        mantissa, exponent = np.frexp(np.asarray(values, dtype=np.float64))
        shift = exponent.astype(np.int64) - 53 + (self.bits if bits is None else bits)
        whole = np.ldexp(mantissa, 53).astype(np.int64).astype(object)
        up = np.maximum(shift, 0).astype(object)
        down = np.maximum(-shift, 0).astype(object)
        return np.asarray((whole << up) >> down, dtype=object)

    def floating(self, number: int) -> Any:
        """Turn an integer in units of 2^-bits into mpmath's number."""
        return self.mp.mpf((number, -self.bits))

    def to_fixed(self, number: Any) -> int:
        """Turn mpmath's number into an integer in units of 2^-bits."""
        if self.mp.mag(number) > _LARGEST_BITS:
            raise ValueError(f"{self.mp.nstr(number, 6)} is beyond float64")
        return int(self.mp.ldexp(number, self.bits))

    def compute(self, formula: Expr, **letters: Any) -> Any:
        """Give the value of a formula, a real number."""
        value = evaluate(formula, letters, self.functions)
        if isinstance(value, self.mp.mpc):
            raise ValueError(f"{self.mp.nstr(value, 6)} is complex")
        if not self.mp.isfinite(value):
            raise ValueError(f"{self.mp.nstr(value, 6)} is not finite")
        return self.mp.mpf(value)

    def weights(self, l: int) -> tuple[Array, int]:
        """Give W^(l)ᵀ as exact integers in units of 2^-bits, and these bits."""
        if l not in self._W:
            W = self.layers[l - 1].W.astype(np.float64)
            _, exponent = np.frexp(W[W != 0])
            bits = min(self.bits, int(53 - exponent.min(initial=0)))
            self._W[l] = self.fixed(W, bits).T, bits
        return self._W[l]

    # --- the forward pass -----------------------------------------------------------------------

    def g(self, l: int, z: int) -> int:
        """Compute one activation of a hidden layer."""
        return self.to_fixed(self.compute(self.formulas[l - 1], z=self.floating(z)))

    def _base(self) -> None:
        """Carry X through the layers."""
        f, L = self.setting.forward, len(self.layers)
        self.a: list[Array] = [self.fixed(f.a[0])]
        self.z: list[Array] = [np.empty(0, dtype=object)]
        self.masks: list[Array | None] = [None]
        for l, layer in enumerate(self.layers, start=1):
            W, bits = self.weights(l)
            z = (self.a[-1] @ W) >> bits
            if layer.b is not None:
                z = z + self.fixed(layer.b)
            self.z.append(np.asarray(z, dtype=object))
            if l == L:
                break
            mask = f.masks[l]
            self.masks.append(None if mask is None else self.fixed(mask))
            a = np.empty(z.shape, dtype=object)
            a.ravel()[:] = [self.g(l, number) for number in z.ravel().tolist()]
            self.a.append(a if self.masks[l] is None else (a * self.masks[l]) >> self.bits)
        with self._output_precision():
            self.out = [self._outputs([self.floating(v) for v in row]) for row in self.z[L]]
            self.C = [self._loss(i, a, a, along=False) for i, a in enumerate(self.out)]

    @contextmanager
    def _output_precision(self) -> Iterator[None]:
        """Work with digits enough for 1 - a where a is 1 - e^-z, if its logarithm is taken."""
        before, largest = self.mp.prec, _needs_digits(self.setting)
        if largest is not None:
            if not largest <= _LARGEST_Z:
                raise ValueError(f"e^z with z = {largest:.3g} at the output has too many digits")
            self.mp.prec = before + int(1.4427 * largest)
        try:
            yield
        finally:
            self.mp.prec = before

    def _outputs(self, z: list[Any]) -> list[Any]:
        """Give a^(L) of one sample from its z^(L)."""
        if isinstance(self.layers[-1].activation, Softmax):
            largest = max(z)
            powers = [self.mp.exp(v - largest) for v in z]
            total = self.mp.fsum(powers)
            return [power / total for power in powers]
        return [self.compute(self.formulas[-1], z=v) for v in z]

    def _loss(self, i: int, a: list[Any], a0: list[Any], along: bool) -> Any:
        """Give C_i from a^(L); a0 are the outputs before the shift."""
        near, at = self.kinks.loss_near[i], self.kinks.loss_at[i]
        places = [(kink, self.mp.mpf(kink)) for kink in self.setting.network.loss.kinks]
        terms = []
        for m, (a_m, base, y) in enumerate(zip(a, a0, self.y[i], strict=True)):
            kink = self._kink(near[m], at[m], places, base - y, a_m - y)
            if kink is None:
                terms.append(self._c(a_m, y))
            elif along:
                terms.append(self._c(base, y) + self._loss_slope(i, m) * (a_m - base))
            else:  # from the kink itself, of which the base is only a rounding error away
                at_kink = y + self.mp.mpf(kink)
                change = self._c(at_kink + (a_m - base), y) - self._c(at_kink, y)
                terms.append(self._c(base, y) + change)
        return self.mp.fsum(terms)

    def _kink(
        self, near: bool, at: float, kinks: list[tuple[float, Any]], before: Any, after: Any
    ) -> float | None:
        """Give the kink on which a unit stands that moves; it is noted if it crosses another."""
        if before == after:
            return None
        if near:
            self.touched = True
            return float(at)
        for kink, place in kinks:
            if (before < place) != (after < place) or after == place or before == place:
                if not self.last:
                    self.crossed = True
                    return None
                self.touched = True  # so close that the shortest step crosses it
                return kink
        return None

    def _c(self, a: Any, y: Any) -> Any:
        return self.compute(self.loss_formula, a=a, y=y)

    def _loss_slope(self, i: int, m: int) -> Any:
        loss, a = self.setting.network.loss, self.setting.forward.a[-1][i : i + 1]
        return self.mp.mpf(float(loss.derivative(a, self.setting.y[i : i + 1])[0, m]))

    # --- the pass with a shift ------------------------------------------------------------------

    def derivative(self) -> Precise | None:
        """Give the derivative, or None if this precision leaves fewer than 30 digits of it."""
        mp, h = self.mp, self.mp.mpf((1, -self.step_bits))
        scales = self._scales()
        penalty = self._penalty()

        def mean(*terms: tuple[int, list[Any]]) -> Any:
            """Give the mean of a quotient: coefficients times C_i, over twice the step."""
            sums = (mp.fsum(k * C[i] for k, C in terms) for i in range(len(scales)))
            quotients = (s / (2 * h * scale) for s, scale in zip(sums, scales, strict=True))
            weights = [mp.mpf(float(s)) for s in self.setting.weights]
            return mp.fdot(weights, quotients) / mp.fsum(weights) + penalty

        with self._output_precision():
            up, down = self._shifted(1), self._shifted(-1)
            value = left = right = mean((1, up), (-1, down))
            if self.touched:
                right = mean((-3, self.C), (4, up), (-1, self._shifted(2)))
                left = mean((3, self.C), (-4, down), (1, self._shifted(-2)))
                value = mean((1, self._shifted(1, along=True)), (-1, self._shifted(-1, along=True)))
        scale = max([mp.mpf(1), *(abs(c) for c in self.C)])
        smallest = mp.ldexp(scale, _DIGITS_BITS + _GUARD_BITS + self.step_bits - self.bits)
        if not self.last and (self.crossed or abs(value) < smallest):
            return None
        digits = mp.nstr(value, 30, min_fixed=-5, max_fixed=16, strip_zeros=False)
        return Precise(digits, _rounded(value), _rounded(left), _rounded(right), self.touched)

    def _scales(self) -> list[Any]:
        """Give the step of each sample, in units of the step: 1, but near a pole of the loss less.

        Only an output a^(L) that is shifted itself can stand so close to 0 (or 1) that a logarithm
        in the loss ends within a step.
        """
        scales = [self.mp.mpf(1)] * len(self.y)
        if _is_logarithmic(self.setting) and self.place == Place("a", len(self.layers)):
            for i, row in enumerate(self.out):
                a = row[self.target.j]
                room = [abs(a), scales[i]]
                if self.setting.network.loss.output == "sigmoid":
                    room.append(abs(1 - a))
                scales[i] = min(distance for distance in room if distance)
        return scales

    def _penalty(self) -> Any:
        w = self.setting.weight(self.target)
        if w is None:
            return self.mp.mpf(0)
        w, h = self.mp.mpf(w), self.mp.mpf((1, -self.step_bits))
        change = (w + h) ** 2 - (w - h) ** 2
        return self.mp.mpf(self.setting.network.l2) / 2 * change / (2 * h)

    def _shifted(self, steps: int, along: bool = False) -> list[Any]:
        """Give every C_i with the target moved by so many steps."""
        target, l, L, n = self.target, self.place.layer, len(self.layers), len(self.y)
        if self.place == Place("a", L):
            h = self.mp.mpf((steps, -self.step_bits))
            shifts = [h * scale for scale in self._scales()]
            return [self._shifted_output(i, shift, along) for i, shift in enumerate(shifts)]
        shift, units = steps << (self.bits - self.step_bits), [target.j]
        change = np.full((n, 1), shift, dtype=object)
        if isinstance(target, Weight):
            change = (self.a[l - 1][:, [target.k]] * shift) >> self.bits
        if self.place.letter == "z" and l < L:
            change = self._activated(l, units, change, along)
        for m in range(l + 1, L + 1):
            W, bits = self.weights(m)
            change = (change @ W[units]) >> bits
            units = list(range(self.setting.network.sizes[m]))
            if m < L:
                change = self._activated(m, units, change, along)
        return [self._output(i, units, change[i], along) for i in range(n)]

    def _shifted_output(self, i: int, shift: Any, along: bool) -> Any:
        a = list(self.out[i])
        a[self.target.j] += shift
        return self._loss(i, a, self.out[i], along)

    def _activated(self, l: int, units: list[int], change: Array, along: bool) -> Array:
        """Give how a of some units changes when their z changes."""
        g = self.layers[l - 1].activation
        near, at, mask = self.kinks.near[l], self.kinks.at[l], self.masks[l]
        kinks = self._places(g)
        result = np.zeros(change.shape, dtype=object)
        for i, row in enumerate(change):
            for column, (j, dz) in enumerate(zip(units, row, strict=True)):
                if dz == 0:
                    continue
                z, m = self.z[l][i, j], 1 << self.bits if mask is None else mask[i, j]
                if m == 0:
                    continue
                kink = self._kink(near[i, j], at[i, j], kinks, z, z + dz)
                if kink is None:
                    after = self.g(l, z + dz)
                    result[i, column] = ((after * m) >> self.bits) - self.a[l][i, j]
                    continue
                if along:
                    da = self.to_fixed(self._slope(g, l, i, j) * self.floating(dz))
                else:
                    place = self._place(kink)
                    da = self.g(l, place + dz) - self.g(l, place)
                result[i, column] = (da * m) >> self.bits
        return result

    def _place(self, kink: float) -> int:
        return int(self.fixed(np.array(kink))[()])

    def _places(self, g: Activation) -> list[tuple[float, int]]:
        return [(kink, self._place(kink)) for kink in g.kinks]

    def _slope(self, g: Activation, l: int, i: int, j: int) -> Any:
        """Give g' at the kink where the unit stands, as float64 has it."""
        z = self.setting.forward.z[l][i : i + 1, j]
        return self.mp.mpf(float(g.derivative(z, g.value(z))[0]))

    def _output(self, i: int, units: list[int], change: Array, along: bool) -> Any:
        """Give C_i when z of some units of the output layer changes."""
        if not any(change):
            return self.C[i]
        mp, L, a0 = self.mp, len(self.layers), self.out[i]
        z = list(self.z[L][i])
        for j, dz in zip(units, change, strict=True):
            z[j] += dz
        a = self._outputs([self.floating(v) for v in z])
        g, near, at = self.layers[-1].activation, self.kinks.near[L][i], self.kinks.at[L][i]
        kinks = self._places(g)
        for j, dz in zip(units, change, strict=True):
            kink = self._kink(near[j], at[j], kinks, z[j] - dz, z[j])
            if kink is None:
                continue
            shift = self.floating(dz)
            if along:
                a[j] = a0[j] + self._slope(g, L, i, j) * shift
            else:
                before, after = self._outputs([mp.mpf(kink), mp.mpf(kink) + shift])
                a[j] = a0[j] + after - before
        return self._loss(i, a, a0, along)


def _is_logarithmic(setting: Setting) -> bool:
    loss = setting.network.loss
    return isinstance(loss, LossFromZ) or loss.needs_positive_output


def _needs_digits(setting: Setting) -> float | None:
    """Give the largest |z| of the output layer where ln(1 - a) needs as many digits as e^z has."""
    softmax = isinstance(setting.network.layers[-1].activation, Softmax)
    if softmax or not _is_logarithmic(setting):
        return None
    return float(np.abs(setting.forward.z[-1]).max())


def _rounded(number: Any) -> float:
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def _functions(mp: Any) -> dict[str, Callable[..., Any]]:
    """Give the functions of `chainrule.equations.formulas` in mpmath."""
    return {
        "number": mp.mpf, "exp": mp.exp, "ln": mp.ln, "sqrt": mp.sqrt, "abs": abs, "sign": mp.sign,
        "sin": mp.sin, "cos": mp.cos, "tanh": mp.tanh, "sinh": mp.sinh, "cosh": mp.cosh,
        "atan": mp.atan, "sigma": lambda z: 1 / (1 + mp.exp(-z)), "Phi": lambda z: mp.ncdf(z),
        "phi": lambda z: mp.npdf(z), "max": max, "min": min,
    }  # fmt: skip
