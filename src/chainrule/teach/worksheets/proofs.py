"""Proofs of keys: certificates of derivatives, and forward values computed again in many digits."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.equations.activations import Softmax
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.formulas import evaluate, parse
from chainrule.explain import Explanation
from chainrule.teach.answers import functions
from chainrule.verify import certify

_CLOSE = 1e-12  # relative error that is allowed of a forward value
_FAR_FROM_KINK = 0.02  # a hand that rounds must not cross a kink
Array = NDArray[Any]


class NotProvenError(ValueError):
    """A key could not be proven, so that the exercise is not set."""


def derivative(why: Explanation) -> str:
    """Return a sentence that says how a derivative was proven; raise NotProvenError if it was not.

    PyTorch and JAX are left out, so that a sheet is the same on every machine.
    """
    found = certify(
        why.network, why.target, why.gradient.forward.a[0], why.y, analytic=why.value,
        autodiff="off",
    )  # fmt: skip
    if not found.passed or found.verdict != "pass":
        raise NotProvenError(f"{why.target}: the certificate says {found.verdict}")
    return (
        f"Proven: {why.value:.10g} by backpropagation, {found.high_precision.value:.10g} by a "
        f"difference in high precision (error at most {_power(found.high_precision.own_error)})."
    )


def is_at_kink(network: FeedForward, X: Array, y: Array) -> bool:
    """Return whether a unit or the loss of some sample is near a kink that rounding may cross."""
    passed = network.forward(X)
    for l, layer in enumerate(network.weighted_layers, start=1):
        for kink in layer.activation.kinks:
            if np.any(np.abs(passed.z[l] - kink) < _FAR_FROM_KINK):
                return True
    residual = np.abs(passed.a[-1] - y)
    return any(np.any(np.abs(residual - abs(kink)) < _FAR_FROM_KINK) for kink in network.loss.kinks)


def forward(network: FeedForward, x: Array, y: Array, what: str, value: float) -> str:
    """Prove z[l][j], a[l][j] or C of one sample, computed apart from backprop in 40 digits.

    Sums are exact fractions; g and C_i are the formulas that activations and losses state.
    """
    import mpmath  # only who sets exercises pays for it

    mp = mpmath.MPContext()
    mp.dps = 40
    known = functions(mp)

    def number(v: float) -> Any:
        fraction = Fraction(float(v))
        return mp.mpf(fraction.numerator) / fraction.denominator

    a = [number(v) for v in x]
    found: dict[str, Any] = {}
    for l, layer in enumerate(network.weighted_layers, start=1):
        z = [
            mp.fsum([number(w) * v for w, v in zip(row, a, strict=True)])
            + (0 if layer.b is None else number(layer.b[j]))
            for j, row in enumerate(layer.W)
        ]
        if isinstance(layer.activation, Softmax):
            total = mp.fsum([mp.exp(v) for v in z])
            a = [mp.exp(v) / total for v in z]
        else:
            formula = parse(layer.activation.formula)[0]
            a = [evaluate(formula, {"z": v}, known) for v in z]
        found |= {f"z[{l}][{j}]": v for j, v in enumerate(z)}
        found |= {f"a[{l}][{j}]": v for j, v in enumerate(a)}
    formula = parse(network.loss.formula)[0]
    items = []
    for v, t in zip(a, y, strict=True):
        if t == 0 and network.loss.name == "cross_entropy":
            continue  # 0 ln a
        items.append(evaluate(formula, {"a": v, "y": number(t)}, known))
    found["C"] = mp.fsum(items)
    exact = found[what]
    if not abs(exact - value) <= _CLOSE * max(abs(exact), _CLOSE):
        raise NotProvenError(f"{what} is {value!r}, but {mp.nstr(exact, 15)} in many digits")
    return f"Proven: {value:.10g} in float64, {mp.nstr(exact, 10)} in 40 digits from the formulas."


def _power(error: float | None) -> str:
    return f"{error or 0.0:.0e}"
