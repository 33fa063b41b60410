"""Curvature: the Hessian times a vector, and the diagonal of generalised Gauss-Newton.

Both belong to the loss C that is reported, penalty included, and both are flat, in the order of
`Network.parameters`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.equations import backprop, data
from chainrule.equations.arrays import check_finite, numeric
from chainrule.equations.backprop import Forward
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.overflow import Overflow

Array = NDArray[Any]
_NUMBERS = 1 << 21  # of an array of all samples, outputs and units at once


def hessian_vector_product(
    network: FeedForward,
    X: ArrayLike,
    y: ArrayLike,
    vector: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    dropout_step: int | None = None,
) -> NDArray[np.float64]:
    """Compute H v, the Hessian of the loss C times a vector, in float64.

    The matrix is not formed: H v is the derivative of the gradient along v, for about the price of
    three gradients. At a kink of an activation or a loss, where the second derivative does not
    exist, 0 is taken for it.

    Args:
        X: The inputs, (n, units_0), or one sample, (units_0,).
        y: The targets, as for `Network.gradient`.
        vector: v, one number for each parameter, in the order of `Network.parameters`.
        sample_weight: The weight of each sample in the mean, (n,).
        dropout_step: Apply the dropout masks of this training step. None leaves dropout out.

    Returns:
        H v, in the same order; `Network.views_of` cuts it into layers. The penalty adds λ v for
        the weights.

    Warns:
        RuntimeWarning: A number overflows; the warning names sample and layer.

    Raises:
        TypeError: An argument does not hold numbers.
        ValueError: Shapes do not fit, or a number is NaN or infinite.

    Source:
        Pearlmutter, Fast exact multiplication by the Hessian, Neural Computation 6 (1994).

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([2, 1], loss="half_squared_error", seed=0)
        >>> net.hessian_vector_product([[1.0, 2.0]], [0.0], [1.0, 0.0, 0.0]).tolist()
        [1.0, 2.0, 1.0]
    """
    from chainrule.equations import second

    v = _vector(network, vector)
    network.check_parameters()
    samples = data.samples(X, y, network.sizes, network.loss, sample_weight)
    X, y, weights = samples.rows(slice(None), network.sizes[-1], np.float64)
    result = np.zeros(v.size)
    with Overflow() as found:
        passed = backprop.forward(network, X, network.masks(dropout_step))
        found.look_at(passed)
        delta = backprop.backward(network, passed, y)
        share = backprop.shares(len(y), weights, np.float64)
        z_moved, a_moved = _forward_along(network, passed, v)
        L = len(network.sizes) - 1
        moved = second.pushed(network, passed.z[L], passed.a[L], y, z_moved[L - 1])
        parts, into = network.views_of(v), network.views_of(result)
        for l in range(L, 0, -1):
            (V, _), (HW, Hb) = parts[l - 1], into[l - 1]
            weighted = share[:, None] * moved
            HW[...] = weighted.T @ passed.a[l - 1]
            HW += (share[:, None] * delta[l]).T @ a_moved[l - 1]
            HW += network.l2 * V
            if Hb is not None:
                Hb[...] = weighted.sum(axis=0)
            if l > 1:
                moved = _backward_along(network, passed, l, delta[l], moved, V, z_moved[l - 2])
    return result


def _vector(network: FeedForward, vector: ArrayLike) -> NDArray[np.float64]:
    v = numeric(vector, "vector")
    count = network.parameters.size
    if v.shape != (count,):
        raise ValueError(
            f"vector has shape {v.shape}; expected ({count},), one number for each parameter"
        )
    check_finite(v, "vector")
    return np.array(v, dtype=np.float64)


def _W(network: FeedForward, l: int) -> Array:
    return np.asarray(network.layers[l].W, dtype=np.float64)


def _forward_along(
    network: FeedForward, passed: Forward, v: Array
) -> tuple[list[Array], list[Array]]:
    """Return how z of layers 1 to L and a of layers 0 to L−1 move along v."""
    z_moved: list[Array] = []
    a_moved = [np.zeros_like(passed.a[0])]
    for l, (V, c) in enumerate(network.views_of(v), start=1):
        z = passed.a[l - 1] @ V.T + a_moved[l - 1] @ _W(network, l).T
        if c is not None:
            z += c
        z_moved.append(z)
        if l < len(network.sizes) - 1:
            a_moved.append(z * slopes(network, passed, l))
    return z_moved, a_moved


def _backward_along(
    network: FeedForward,
    passed: Forward,
    l: int,
    delta: Array,
    moved: Array,
    V: Array,
    z_moved: Array,
) -> Array:
    """Return how δ of layer l−1 moves, from how that of layer l does."""
    from chainrule.equations import second

    g, z, m = network.layers[l - 1].activation, passed.z[l - 1], passed.masks[l - 1]
    W = _W(network, l)
    bend = second.of_activation(g, z, g.value(z)) * z_moved
    if m is not None:
        bend = bend * m
    along: Array = (moved @ W + delta @ V) * slopes(network, passed, l - 1)
    return along + (delta @ W) * bend


def slopes(network: FeedForward, passed: Forward, l: int) -> Array:
    """Return ∂a/∂z = m g'(z) of every unit of a hidden layer, (n, units_l)."""
    g, z, m = network.layers[l].activation, passed.z[l], passed.masks[l]
    if m is None:
        return g.derivative(z, passed.a[l])
    return np.asarray(m * g.derivative(z, g.value(z)))


def ggn_diagonal(
    network: FeedForward,
    X: ArrayLike,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    dropout_step: int | None = None,
) -> NDArray[np.float64]:
    """Compute the diagonal of the generalised Gauss-Newton matrix of the loss C, in float64.

    The matrix is the mean of JᵀHJ over the samples, plus λ for each weight. J is the Jacobian of
    the outputs with respect to the parameters, and H the Hessian of the loss C_i with respect to
    the outputs: to z of the output layer for the cross-entropies (there it is the Fisher
    information), to a for every other loss. It has no second derivative of an activation, and for
    a convex loss no entry is below 0. The absolute error has H = 0; at the kinks of the Huber loss
    H is that of its middle.

    Args:
        X: The inputs, (n, units_0), or one sample, (units_0,).
        y: The targets, as for `Network.gradient`.
        sample_weight: The weight of each sample in the mean, (n,).
        dropout_step: Apply the dropout masks of this training step. None leaves dropout out.

    Returns:
        The diagonal, in the order of `Network.parameters`; `Network.views_of` cuts it into layers.

    Warns:
        RuntimeWarning: A number overflows; the warning names sample and layer.

    Raises:
        TypeError: X, y or the weights do not hold numbers.
        ValueError: Shapes do not fit, or a number is NaN or infinite.

    Source:
        Schraudolph, Fast curvature matrix-vector products for second-order gradient descent,
        Neural Computation 14 (2002); Martens, arXiv:1412.1193.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([2, 1], loss="half_squared_error", seed=0)
        >>> net.ggn_diagonal([[1.0, 2.0]], [0.0]).tolist()
        [1.0, 4.0, 1.0]
    """
    network.check_parameters()
    samples = data.samples(X, y, network.sizes, network.loss, sample_weight)
    X, y, weights = samples.rows(slice(None), network.sizes[-1], np.float64)
    result = np.zeros(network.parameters.size)
    with Overflow() as found:
        passed = backprop.forward(network, X, network.masks(dropout_step))
        found.look_at(passed)
        share = backprop.shares(len(y), weights, np.float64)
        for rows in _pieces(network, len(y)):
            for l, D in _curvatures(network, passed, y, rows):
                W, b = network.views_of(result)[l - 1]
                D *= share[rows, None]
                W += D.T @ np.square(passed.a[l - 1][rows])
                if b is not None:
                    b += D.sum(axis=0)
    for W, _ in network.views_of(result):
        W += network.l2
    return result


def _pieces(network: FeedForward, n: int) -> Iterator[slice]:
    size = max(1, _NUMBERS // (network.sizes[-1] * max(network.sizes[1:])))
    return (slice(start, start + size) for start in range(0, n, size))


def _curvatures(
    network: FeedForward, passed: Forward, y: Array, rows: slice
) -> Iterator[tuple[int, Array]]:
    """Return the curvature in z of every unit, (n, units_l), from layer L down."""
    from chainrule.equations import second

    L = len(network.sizes) - 1
    S, signs = second.factors(network, passed.z[L][rows], passed.a[L][rows], y[rows])
    for l in range(L, 0, -1):
        yield l, np.einsum("nc,ncj->nj", signs, np.square(S))
        if l > 1:
            S = S @ _W(network, l)
            S *= slopes(network, passed, l - 1)[rows][:, None, :]
