"""Second derivatives: g''(z), and how ∂C_i/∂z of the output layer moves with z.

Where a first derivative jumps, at a kink, the second one does not exist; 0 is taken there, as
automatic differentiation does. Formulas of a user's own are differentiated by dual numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.equations import normal
from chainrule.equations.activations import ACTIVATIONS, Activation, Sigmoid, Softmax, others
from chainrule.equations.dual import slope
from chainrule.equations.layers import NetworkOf
from chainrule.equations.losses import LOSSES, BinaryCrossEntropy, CrossEntropy, Loss, Poisson

Array = NDArray[Any]
_sigmoid = Sigmoid().value
_SERIES = 1e-2  # e^z below which ln(1 + e^z) is taken by its series


def _tanh(z: Array) -> Array:
    return -2 * np.tanh(z) * ACTIVATIONS["tanh"].derivative(z, z)


def _of_sigmoid(z: Array) -> Array:
    s, rest = _sigmoid(z), _sigmoid(-z)
    return s * rest * -np.tanh(z / 2)  # 1 - 2 σ(z) = -tanh(z/2)


def _silu(z: Array) -> Array:
    return _sigmoid(z) * _sigmoid(-z) * (2 - z * np.tanh(z / 2))


_SECOND: dict[str, Callable[[Array], Array]] = {
    "identity": np.zeros_like,
    "relu": np.zeros_like,
    "leaky_relu": np.zeros_like,
    "step": np.zeros_like,
    "sigmoid": _of_sigmoid,
    "tanh": _tanh,
    "elu": lambda z: np.where(z > 0, 0, np.exp(np.minimum(z, 0))),
    "gelu": lambda z: (2 - z * z) * normal.density(z),
    "silu": _silu,
    "softplus": lambda z: _sigmoid(z) * _sigmoid(-z),
}


def of_activation(g: Activation, z: Array, a: Array) -> Array:
    """Return g''(z) of an activation that acts on each unit alone, shaped as z."""
    if type(ACTIVATIONS.get(g.name)) is type(g):
        return _SECOND[g.name](z)
    return slope(g.derivative_formula, "z", {"z": z})


def _of_loss(loss: Loss, a: Array, y: Array) -> Array:
    """Return ∂²c/∂a² for every output, shaped as a."""
    if type(LOSSES.get(loss.name)) is not type(loss):
        return slope(loss.derivative_formula, "a", {"a": a, "y": y})
    match loss.name:
        case "squared_error":
            return np.full_like(a, 2)
        case "half_squared_error":
            return np.ones_like(a)
        case "huber":
            return (np.abs(a - y) <= 1).astype(a.dtype)
        case "poisson":
            return np.where(y == 0, 0, y / np.where(y == 0, 1, a) ** 2)
    return np.zeros_like(a)  # the absolute error


def pushed(network: NetworkOf, z: Array, a: Array, y: Array, u: Array) -> Array:
    """Return how δ^(L) = ∂C_i/∂z moves with z along u: ∂²C_i/∂z² · u, shaped as z."""
    g, loss = network.weighted_layers[-1].activation, network.loss
    if isinstance(g, Softmax):
        da = g.pull_back(u, z, a)  # the Jacobian is symmetric
        if isinstance(loss, CrossEntropy | Poisson):  # δ = a Σy - y
            return da * y.sum(axis=1, keepdims=True)
        c = loss.derivative(a, y)
        dc = _of_loss(loss, a, y) * da
        # δ = a (c - Σ_m a_m c_m); its first factor moves by da, the rest by dc and da
        spread = c * others(a) - others(c * a)
        moved = dc - (da * c + a * dc).sum(axis=1, keepdims=True)
        return da * spread + a * moved
    return _diagonal(g, loss, z, a, y) * u


def _diagonal(g: Activation, loss: Loss, z: Array, a: Array, y: Array) -> Array:
    """Return ∂²C_i/∂z_j² where each output depends on its own z alone."""
    if isinstance(loss, BinaryCrossEntropy):
        return g.derivative(z, a)  # δ = a - y
    if isinstance(loss, Poisson) and g.log_derivative_formula is not None:
        return of_activation(g, z, a) - y * _of_logarithm(g, z, a)
    slope_of_g, bend = g.derivative(z, a), of_activation(g, z, a)
    return _of_loss(loss, a, y) * slope_of_g**2 + loss.derivative(a, y) * bend


def _of_logarithm(g: Activation, z: Array, a: Array) -> Array:
    """Return (ln g)''(z)."""
    if g.name == "sigmoid":
        return -_sigmoid(z) * _sigmoid(-z)
    h = g.log_derivative(z, a)
    if g.name != "softplus":
        return np.asarray(of_activation(g, z, a) / a - h**2)
    # with t = e^z and r = ln(1 + t)/t, h = 1 / ((1 + t) r) and h' = -h (σ(z) + (1/(1 + t) - r)/r)
    small = np.exp(np.minimum(z, 0)) < _SERIES
    t = np.where(small, np.exp(np.minimum(z, 0)), _SERIES)
    r = np.log1p(t) / t
    series = sum((-1) ** k * k / (k + 1) * t**k for k in range(1, 9))  # 1/(1 + t) - r
    below = -h * (_sigmoid(z) + series / r)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        above = of_activation(g, z, a) / a - h**2
    return np.where(small, below, above)


def factors(network: NetworkOf, z: Array, a: Array, y: Array) -> tuple[Array, Array]:
    """Return S, (n, c, units_L), and signs, (n, c): the curvature is Σ_c sign_c S_c S_cᵀ.

    It is the one of generalised Gauss-Newton with respect to z of the output layer: a cross-entropy
    is taken as a function of z, every other loss as a function of a. No sign is below 0 if the loss
    is convex.
    """
    g, loss = network.weighted_layers[-1].activation, network.loss
    n, units = z.shape
    if isinstance(g, Softmax):
        # rows of the Jacobian, without their factor a_c: [c = j] - a_j, with 1 - a_j added up
        rows = np.broadcast_to(-a[:, None, :], (n, units, units)).copy()
        j = np.arange(units)
        rows[:, j, j] = others(a)
        if isinstance(loss, CrossEntropy):
            size = np.sqrt(a * y.sum(axis=1, keepdims=True))
            return size[:, :, None] * rows, np.ones((n, units))
        if isinstance(loss, Poisson):
            return np.sqrt(y)[:, :, None] * rows, np.ones((n, units))  # y/a² times a²
        bend = _of_loss(loss, a, y)
        return (np.sqrt(np.abs(bend)) * a)[:, :, None] * rows, np.sign(bend)
    if isinstance(loss, BinaryCrossEntropy):
        bend = g.derivative(z, a)
    elif isinstance(loss, Poisson) and g.log_derivative_formula is not None:
        bend = y * g.log_derivative(z, a) ** 2
    else:
        bend = _of_loss(loss, a, y) * g.derivative(z, a) ** 2
    S = np.zeros((n, units, units))
    j = np.arange(units)
    S[:, j, j] = np.sqrt(np.abs(bend))
    return S, np.sign(bend)
