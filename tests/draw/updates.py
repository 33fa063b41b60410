"""Update rules in extended precision, with the error of what an engine makes of a gradient.

The gradient g comes with its error e, |fl(g) - g| <= e. A rule is a function of g whose slope is
known or bounded, so that it moves by at most slope times e; where g is divided by a root of its own
squares the bound is that of the quotient,

    |N'/D' - N/D| <= (|N' - N| + |N/D| |D' - D|) / D',    D' >= its least value for g within e,

so that it holds as well where the sign of g is not known. Rounding of the rule itself is a few u of
each of its parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .functions import Array, Real
from .local import Arithmetic

_OPS = 8  # roundings of a rule, at most, for each of its parts


@dataclass(frozen=True)
class Rule:
    """An optimiser, by the names of `chainrule`'s own classes and their hyperparameters."""

    name: str
    values: Mapping[str, float]

    def __getitem__(self, name: str) -> Any:
        return Real(self.values[name])


@dataclass(frozen=True)
class Updated:
    """θ and the slots after a step, with the errors that they may have."""

    theta: Array
    theta_error: Array
    slots: dict[str, Array]
    slot_errors: dict[str, Array]
    overflows: bool


def clip(g: Array, e: Array, clip_norm: float | None, t: Arithmetic) -> tuple[Array, Array]:
    """Shorten g to a norm, and carry its error along."""
    if clip_norm is None:
        return g, e
    norm = np.sqrt((g * g).sum())
    norm_error = np.sqrt((e * e).sum()) + t.gamma(4) * float(norm)  # it is added up in float64
    if float(norm) + norm_error <= clip_norm:
        return g, e
    scale = np.minimum(Real(1), clip_norm / norm)
    least = max(float(norm) - norm_error, np.finfo(float).tiny)
    scale_error = min(float(scale) * norm_error / least, 1.0) + 3 * t.u * float(scale)
    error = (float(scale) + scale_error) * e + np.abs(g).astype(float) * scale_error
    return g * scale, error + t.u * np.abs(g * scale).astype(float) + t.eta


@np.errstate(all="ignore")
def update(
    rule: Rule, theta: Array, slots: Mapping[str, Array], g: Array, e: Array, eta: float, step: int,
    t: Arithmetic,
) -> Updated:  # fmt: skip
    """Take the step numbered ``step``, from 1, along g with the error e; all arrays are flat."""
    eta_, size_g = Real(eta), np.abs(g).astype(float)
    high = t.largest / 8
    new: dict[str, Array] = {}
    errors: dict[str, Array] = {}
    if rule.name == "GradientDescent":
        mu = rule["momentum"]
        move, move_error, parts = g, e, size_g
        if mu:
            v = mu * slots["v"] + g
            size_v = np.abs(mu * slots["v"]).astype(float) + size_g
            new["v"], errors["v"] = v, e + _OPS * t.u * size_v + 2 * t.eta
            move, move_error, parts = v, errors["v"], size_v
            if rule.values["nesterov"]:
                move = g + mu * v
                move_error, parts = e + float(mu) * errors["v"], size_g + float(mu) * size_v
        delta, delta_error = eta_ * move, eta * (move_error + _OPS * t.u * parts)
        overflows = bool((parts > high).any())
    else:
        overflows = bool((size_g + e > np.sqrt(high)).any())
        low = np.maximum(size_g - e, 0)  # the least |g| that is possible
        square_error = e * (2 * size_g + e) + 3 * t.u * size_g * size_g + 2 * t.eta
        epsilon = max(rule["epsilon"], Real(t.eta))  # below η it may count as that
        if rule.name == "AdaGrad":
            s = slots["s"] + g * g
            new["s"], errors["s"] = s, square_error + t.u * np.abs(s).astype(float)
            numerator, numerator_error = g, e
            root, root_error = 1.0, 0.0
            least = slots["s"].astype(float) + low * low
            weight = 1.0
        elif rule.name == "RMSProp":
            rho = rule["decay"]
            s = rho * slots["s"] + (1 - rho) * g * g
            weight = float(1 - rho)
            new["s"] = s
            errors["s"] = weight * square_error + _OPS * t.u * np.abs(s).astype(float) + t.eta
            numerator, numerator_error = g, e
            root, root_error = 1.0, 0.0
            least = float(rho) * slots["s"].astype(float) + weight * low * low
        else:
            beta1, beta2 = rule["beta1"], rule["beta2"]
            m = beta1 * slots["m"] + (1 - beta1) * g
            s = beta2 * slots["v"] + (1 - beta2) * g * g
            weight = float(1 - beta2)
            size_m = np.abs(beta1 * slots["m"]).astype(float) + float(1 - beta1) * size_g
            new["m"], new["v"] = m, s
            errors["m"] = float(1 - beta1) * e + _OPS * t.u * size_m + 2 * t.eta
            errors["v"] = weight * square_error + _OPS * t.u * np.abs(s).astype(float) + t.eta
            numerator = m / (1 - beta1**step)
            part = _OPS * t.u + _power_error(beta1, step)
            numerator_error = (errors["m"] + part * size_m) / float(1 - beta1**step)
            root, root_error = float(np.sqrt(1 - beta2**step)), _power_error(beta2, step)
            least = float(beta2) * slots["v"].astype(float) + weight * low * low
        D = np.sqrt(s) / root + epsilon
        # √ moves by at most √weight e with g, by its own rounding, and by √η where s underflows
        rounding = (_OPS * t.u + root_error) * np.abs(D).astype(float) + 2 * np.sqrt(t.eta) / root
        D_error = np.sqrt(weight) * e / root + rounding
        D_least = np.maximum(np.sqrt(least) / root + float(epsilon) - rounding, float(epsilon) / 2)
        quotient = numerator / D
        size = np.abs(quotient).astype(float)
        delta = eta_ * quotient
        delta_error = eta * ((numerator_error + size * D_error) / D_least + _OPS * t.u * size)
    if rule.name == "AdamW":
        theta = theta * (1 - eta_ * rule["weight_decay"])
    result = theta - delta
    error = delta_error + 4 * t.u * (np.abs(theta) + np.abs(delta)).astype(float) + 2 * t.eta
    overflows |= bool((np.abs(theta) + np.abs(delta) + error > high).any())
    return Updated(result, error, new, errors, overflows)


def _power_error(beta: Array, step: int) -> float:
    """The relative error of 1 - βᵗ in float64, which cancels: βᵗ is a product of t factors."""
    power = float(beta**step)
    return (step + 1) * float(np.finfo(float).eps) / 2 * (1 + power / (1 - power))
