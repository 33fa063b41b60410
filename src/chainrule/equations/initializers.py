"""Initial weights: how wide W^(l) is spread when a network is made.

Each rule gives the variance of a weight from fan_in = units_{l-1} and fan_out = units_l:
2 / (fan_in + fan_out) (Glorot and Bengio, 2010, for tanh and sigmoid), 2 / fan_in (He et al., arXiv
1502.01852, for the ReLU family), 1 / fan_in (LeCun et al., 1998). Biases start at 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_VARIANCES: dict[str, Callable[[int, int], float]] = {
    "glorot": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "he": lambda fan_in, fan_out: 2 / fan_in,
    "lecun": lambda fan_in, fan_out: 1 / fan_in,
}
_RELU_FAMILY = {"relu", "leaky_relu", "elu", "gelu", "silu", "softplus"}

INITIALIZERS = (
    *(f"{rule}_{shape}" for rule in _VARIANCES for shape in ("uniform", "normal")),
    "zeros",
)


def check(name: str) -> str:
    """Return the name, or raise ValueError if no initializer is called that."""
    if name != "auto" and name not in INITIALIZERS:
        raise ValueError(f"unknown initializer {name!r}; known: auto, {', '.join(INITIALIZERS)}")
    return name


def weights(
    name: str, activation: str, fan_out: int, fan_in: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw W, shape (fan_out, fan_in); "auto" takes He for the ReLU family, else Glorot, normal."""
    if name == "zeros":
        return np.zeros((fan_out, fan_in))
    if name == "auto":
        name = "he_normal" if activation in _RELU_FAMILY else "glorot_normal"
    rule, shape = name.split("_")
    sigma = math.sqrt(_VARIANCES[rule](fan_in, fan_out))
    if shape == "normal":
        return rng.normal(0.0, sigma, (fan_out, fan_in))
    limit = math.sqrt(3) * sigma  # a uniform distribution on ±limit has variance limit² / 3
    return rng.uniform(-limit, limit, (fan_out, fan_in))
