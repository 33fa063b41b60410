"""The forward pass in many digits, written apart from `backprop`.

Sums are exact integers in units of 2^-bits; g and c are the formulas that the activations and
losses state as text, computed by mpmath. The hidden layers' arrays have dtype object and hold
integers; the outputs and the losses are mpmath's floating-point numbers, which hold e^-1000 too.

At the output a may be 1 - e^-z with z = 1e12, where 1 - a would need 1e12 digits. Two identities
keep them: 1 - σ(z) = σ(-z), a number beside a, and ln(1 + x) = ln1p(x).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.equations import activations, losses
from chainrule.equations.activations import Activation, Sigmoid, Softmax
from chainrule.equations.formulas import Add, Call, Expr, Name, Neg, Num, add, evaluate, parse
from chainrule.equations.losses import LossFromZ
from chainrule.verify.rounding import Kinks
from chainrule.verify.setting import Array, Setting

_LARGEST_BITS = 1100  # float64 ends at 2^1024


@dataclass(frozen=True)
class Outputs:
    """a^(L) and 1 - a^(L) of one sample, a number for each unit."""

    a: list[Any]
    rest: list[Any]

    def moved(self, j: int, by: Any) -> Outputs:
        """Return the same with output j moved."""
        a, rest = list(self.a), list(self.rest)
        a[j], rest[j] = a[j] + by, rest[j] - by
        return Outputs(a, rest)


class ManyDigits:
    """Numbers of one precision, and the forward pass in them.

    ``touched`` and ``crossed`` are set by a pass that moves a unit which stands on a kink, and one
    that carries a unit over a kink on which it does not stand. Of the ``last`` precision there is
    none better: a kink that it crosses counts as touched.

    Raises ValueError where a formula has no value at these numbers, such as ln of something
    negative.
    """

    def __init__(self, setting: Setting, kinks: Kinks, bits: int, last: bool) -> None:
        import mpmath  # only who asks for a certificate pays for it

        self.setting, self.kinks, self.bits, self.last = setting, kinks, bits, last
        self.touched = self.crossed = False
        self.layers, self.loss = setting.network.weighted_layers, setting.network.loss
        self.mp = mpmath.MPContext()
        self.mp.prec = bits + 64
        self.functions = _functions(self.mp)
        self.formulas = [_keep_digits(parse(g.activation.formula)[0]) for g in self.layers]
        self.loss_formula = _keep_digits(parse(self.loss.formula)[0])
        self.y = [[self.mp.mpf(float(v)) for v in row] for row in setting.y]
        self._W: dict[int, tuple[Array, int]] = {}
        self._base()
        self._bases: dict[int, tuple[list[Outputs], list[Any]]] = {}

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
        """Return the value of a formula, a real number."""
        value = evaluate(formula, letters, self.functions)
        if isinstance(value, self.mp.mpc):
            raise ValueError(f"{self.mp.nstr(value, 6)} is complex")
        if not self.mp.isfinite(value):
            raise ValueError(f"{self.mp.nstr(value, 6)} is not finite")
        return self.mp.mpf(value)

    def weights(self, l: int) -> tuple[Array, int]:
        """Return W^(l)ᵀ as exact integers in units of 2^-bits, and these bits."""
        if l not in self._W:
            W = self.layers[l - 1].W.astype(np.float64)
            _, exponent = np.frexp(W[W != 0])
            bits = min(self.bits, int(53 - exponent.min(initial=0)))
            self._W[l] = self.fixed(W, bits).T, bits
        return self._W[l]

    # --- the pass -------------------------------------------------------------------------------

    def g(self, l: int, z: int) -> int:
        """Compute one activation of a hidden layer."""
        return self.to_fixed(self.compute(self.formulas[l - 1], z=self.floating(z)))

    def _base(self) -> None:
        """Carry X through the layers, up to z of the output layer."""
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

    @contextmanager
    def at_output(self, more: int) -> Iterator[None]:
        """Work with so many bits more at the output, and with outputs and losses computed so."""
        before = self.mp.prec
        self.mp.prec = before + more
        try:
            if more not in self._bases:
                out = [self.outputs([self.floating(v) for v in row]) for row in self.z[-1]]
                self._bases[more] = out, [self.loss_of(i, a, a, False) for i, a in enumerate(out)]
            self.out, self.C = self._bases[more]
            yield
        finally:
            self.mp.prec = before

    def outputs(self, z: list[Any]) -> Outputs:
        """Return a^(L) of one sample from its z^(L)."""
        g = self.layers[-1].activation
        if isinstance(g, Softmax):
            largest = max(z)
            powers = [self.mp.exp(v - largest) for v in z]
            total = self.mp.fsum(powers)
            a = [power / total for power in powers]
        else:
            a = [self.compute(self.formulas[-1], z=v) for v in z]
        if type(g) is Sigmoid:
            return Outputs(a, [self.compute(self.formulas[-1], z=-v) for v in z])
        return Outputs(a, [1 - v for v in a])

    def loss_of(
        self, i: int, out: Outputs, base: Outputs, along: bool, only: int | None = None
    ) -> Any:
        """Return C_i from the outputs, or ``only`` one output's part; base are those unshifted."""
        near, at = self.kinks.loss_near[i], self.kinks.loss_at[i]
        places = [(kink, self.mp.mpf(kink)) for kink in self.loss.kinks]
        terms = []
        for m, (a, rest, a0, y) in enumerate(zip(out.a, out.rest, base.a, self.y[i], strict=True)):
            kink = self.kink(near[m], at[m], places, a0 - y, a - y)
            if kink is None:
                terms.append(self._c(a, rest, y))
            elif along:
                terms.append(self._c(a0, 1 - a0, y) + self._loss_slope(i, m) * (a - a0))
            else:  # from the kink itself, of which the base is only a rounding error away
                on = y + self.mp.mpf(kink)
                over = on + (a - a0)
                change = self._c(over, 1 - over, y) - self._c(on, 1 - on, y)
                terms.append(self._c(a0, 1 - a0, y) + change)
        return self.mp.fsum(terms)

    def kink(
        self, near: bool, at: float, kinks: list[tuple[float, Any]], before: Any, after: Any
    ) -> float | None:
        """Return the kink on which a unit stands that moves; it is noted if it crosses another."""
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

    def place(self, kink: float) -> int:
        """Return a kink as an integer."""
        return int(self.fixed(np.array(kink))[()])

    def places(self, g: Activation) -> list[tuple[float, int]]:
        """Return the kinks of an activation, each as an integer, too."""
        return [(kink, self.place(kink)) for kink in g.kinks]

    def slope(self, g: Activation, l: int, i: int, j: int) -> Any:
        """Return g' at the kink where the unit stands, as float64 has it."""
        z = self.setting.forward.z[l][i : i + 1, j]
        return self.mp.mpf(float(g.derivative(z, g.value(z))[0]))

    def _c(self, a: Any, rest: Any, y: Any) -> Any:
        return self.compute(self.loss_formula, a=a, y=y, rest=rest)

    def _loss_slope(self, i: int, m: int) -> Any:
        a = self.setting.forward.a[-1][i : i + 1]
        return self.mp.mpf(float(self.loss.derivative(a, self.setting.y[i : i + 1])[0, m]))


def is_logarithmic(setting: Setting) -> bool:
    """Return whether the loss takes logarithms of the outputs."""
    loss = setting.network.loss
    return isinstance(loss, LossFromZ) or loss.needs_positive_output


def may_cancel(setting: Setting) -> bool:
    """Return whether a function of a user's own may need more digits at the output."""
    g, loss = setting.network.layers[-1].activation, setting.network.loss
    own = type(activations.ACTIVATIONS.get(g.name)) is not type(g)
    return own or type(losses.LOSSES.get(loss.name)) is not type(loss)


def _keep_digits(formula: Expr) -> Expr:
    """Write 1 - a as a letter of its own, ln a and ln(1 - a) with both, ln(1 + x) as ln1p(x)."""
    a, rest = Name("a"), Name("rest")

    def change(node: Expr) -> Expr | None:
        match node:
            case Add((Num(1), Neg(Name("a")))):
                return rest
            case Call("ln", (Name("a"),)):
                return Call("ln_beside", (a, rest))
            case Call("ln", (Add((Num(1), Neg(Name("a")))),)):
                return Call("ln_beside", (rest, a))
            case Call("ln", (Add(items),)) if Num(1) in items:
                others = list(items)
                others.remove(Num(1))
                return Call("ln1p", (add(*others).replace(change),))
        return None

    return formula.replace(change)


def normal_cdf(mp: Any, z: Any) -> Any:
    """Return Φ(z), in a small part of the time that mpmath's erfc takes for |z| of 10 to 100.

    By the tail's asymptotic series where that is exact enough, else by
    Φ(z) = 1/2 + φ(z) Σ_k z^(2k+1) / (1 · 3 · ... (2k+1)) (Abramowitz and Stegun, 26.2.11 and 12).
    """
    x, bits = abs(mp.mpf(z)), mp.prec + 40
    half_square = x * x / 2
    if 1.44 * half_square > bits:
        term = total = mp.mpf(1)
        k = 1
        while mp.mag(term) > -bits:
            term *= -(2 * k - 1) / (2 * half_square)
            total += term
            k += 1
        tail = mp.npdf(x) / x * total
        return tail if z < 0 else 1 - tail
    bits += int(1.45 * half_square)  # which 1/2 - φ Σ cancels where z < 0
    with mp.workprec(bits):
        square = int(mp.ldexp(x * x, bits))
        term = total = 1 << bits
        k = 1
        while term:
            term = (term * square >> bits) // (2 * k + 1)
            total += term
            k += 1
        middle = mp.npdf(x) * x * mp.mpf((total, -bits))
        value = mp.mpf(0.5) - middle if z < 0 else mp.mpf(0.5) + middle
    return +value


def _functions(mp: Any) -> dict[str, Callable[..., Any]]:
    """Return the functions of `formulas` in mpmath, and those that keep digits."""

    def ln_beside(x: Any, rest: Any) -> Any:
        """Return ln x, x = 1 - rest."""
        return mp.log1p(-rest) if abs(rest) < 0.5 else mp.ln(x)

    return {
        "number": mp.mpf, "exp": mp.exp, "ln": mp.ln, "sqrt": mp.sqrt, "abs": abs, "sign": mp.sign,
        "sin": mp.sin, "cos": mp.cos, "tanh": mp.tanh, "sinh": mp.sinh, "cosh": mp.cosh,
        "atan": mp.atan, "sigma": lambda z: 1 / (1 + mp.exp(-z)),
        "Phi": lambda z: normal_cdf(mp, z), "phi": lambda z: mp.npdf(z), "max": max, "min": min,
        "ln1p": mp.log1p, "ln_beside": ln_beside,
    }  # fmt: skip
