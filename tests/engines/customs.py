"""Custom activations and a custom loss, for the tests of the engines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import chainrule as cr

Array = Any


def activation(
    name: str, formula: str, slope: str, value: Callable[[Array], Array],
    derivative: Callable[[Array, Array], Array], **stated: Any,
) -> cr.Activation:  # fmt: skip
    members = {
        "name": name, "formula": formula, "derivative_formula": slope,
        "value": lambda self, z: value(z), "derivative": lambda self, z, a: derivative(z, a),
    }  # fmt: skip
    kind: Any = type(name.title(), (cr.Activation,), members | stated)
    return kind()  # type: ignore[no-any-return]


def sigma(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


SOFTSIGN = activation(
    "softsign", "z/(1 + abs(z))", "1/(1 + abs(z))**2",
    lambda z: z / (1 + abs(z)), lambda z, a: 1 / (1 + abs(z)) ** 2,
)  # fmt: skip
GAUSSIAN = activation(
    "gaussian", "exp(-z**2)", "-2*z*exp(-z**2) = -2*z*a",
    lambda z: np.exp(-(z**2)), lambda z, a: -2 * z * a,
)  # fmt: skip
SINE = activation("sine", "sin(z)", "cos(z)", np.sin, lambda z, a: np.cos(z))
MISH = activation(
    "mish", "z*tanh(ln(1 + exp(z)))",
    "tanh(ln(1 + exp(z))) + z*(1 - tanh(ln(1 + exp(z)))**2)*sigma(z)",
    lambda z: z * np.tanh(np.logaddexp(z, 0)),
    lambda z, a: np.tanh(np.logaddexp(z, 0))
    + z * (1 - np.tanh(np.logaddexp(z, 0)) ** 2) * np.where(z < -80, 0, sigma(np.maximum(z, -80))),
)  # fmt: skip
CELU = activation(
    "celu", "z if z > 0 else 2*(exp(z/2) - 1)", "1 if z > 0 else exp(z/2)",
    lambda z: np.where(z > 0, z, 2 * np.expm1(np.minimum(z, 0) / 2)),
    lambda z, a: np.where(z > 0, 1, np.exp(np.minimum(z, 0) / 2)).astype(z.dtype),
)  # fmt: skip
CUTS = activation(
    "hardtanh", "max(-1, min(1, z))", "1 if abs(z) < 1 else 0",
    lambda z: np.clip(z, -1, 1), lambda z, a: (abs(z) < 1).astype(z.dtype),
)  # fmt: skip
AT_ZERO = activation(
    "at_zero", "1/(4*z)", "-1/(4*z**2)", lambda z: 1 / (4 * z), lambda z, a: -1 / (4 * z**2)
)


class LogCosh(cr.Loss):
    name = "log_cosh"
    formula = "ln(cosh(a - y))"
    derivative_formula = "tanh(a - y)"

    def value(self, a: Array, y: Array) -> Array:
        d = abs(a - y)
        return d + np.log1p(np.exp(-2 * d)) - np.log(2)

    def derivative(self, a: Array, y: Array) -> Array:
        return np.tanh(a - y)
