"""Backpropagation: the forward pass, the backward pass and the gradients.

The letters: l = 1..L counts the layers, i the samples, j and k the units of layers l and l-1.
z^(l), a^(l), δ^(l) are arrays (n, units_l); W^(l) is (units_l, units_{l-1}), b^(l) is (units_l,).

Forward, from a^(0) = x:            z^(l) = a^(l-1) W^(l)ᵀ + b^(l)        a^(l) = g(z^(l))

Backward, with δ^(l) = ∂C_i/∂z^(l), the four equations of backpropagation:

    (1)  δ^(L)     = ∂C_i/∂a^(L) · ∂a^(L)/∂z^(L)          at the output
    (2)  δ^(l)     = (δ^(l+1) W^(l+1)) · g'(z^(l))        from layer l+1 to layer l
    (3)  ∂C/∂W^(l) = Σ_i (s_i / Σs) δ_i^(l) a_i^(l-1)ᵀ    gradient of the weights
    (4)  ∂C/∂b^(l) = Σ_i (s_i / Σs) δ_i^(l)               gradient of the biases

The loss is C = Σ_i (s_i / Σs) C_i + ½ λ Σ w², with s_i = 1 unless samples are weighted, so that
s_i / Σs = 1/n, and λ = ``l2``, which adds λ W^(l) to (3). Nothing else is added or scaled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule._exports import exported
from chainrule._forks import cached_property
from chainrule.equations.checks import integer
from chainrule.equations.layers import ByLayer, NetworkOf
from chainrule.equations.losses import LossFromZ

Array = NDArray[Any]


@exported("chainrule")
@dataclass(frozen=True)
class Forward:
    """Hold the numbers of a forward pass, which `Network.forward` returns.

    Attributes:
        z: ``z[l]`` are the pre-activations of layer l, (n, units_l), for l = 1 to L.
        a: ``a[l]`` are the activations of layer l, (n, units_l), for l = 0 to L; ``a[0]`` is X.
        masks: ``masks[l]`` is the dropout mask of layer l, (n, units_l), or None.

    Examples:
        >>> import chainrule as cr
        >>> passed = cr.Network([2, 3, 1], seed=0).forward([[1.0, 2.0]])
        >>> passed.a[0].tolist(), passed.z[1].shape, passed.a[2].shape
        ([[1.0, 2.0]], (1, 3), (1, 1))
    """

    z: ByLayer[Array]
    a: ByLayer[Array]
    masks: ByLayer[Array | None]


@exported("chainrule")
@dataclass(frozen=True)
class Gradient:
    """Hold the gradient of the loss C that is reported, and what it was made from.

    `Network.gradient` returns it.

    Attributes:
        dW: ``dW[l]`` is ∂C/∂W^(l), (units_l, units_{l-1}), for l = 1 to L.
        db: ``db[l]`` is ∂C/∂b^(l), (units_l,), or None in a network without biases.
        loss: The loss C, penalty included.
        penalty: The part ½ λ Σ w² of it.
        sample_losses: The loss C_i of each sample, (n,).
        delta: ``delta[l]`` is ∂C_i/∂z^(l), (n, units_l), for each sample, not yet averaged.
        forward: The forward pass.
        shares: The share s_i / Σs of each sample in the mean, (n,).

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([2, 3, 1], seed=0)
        >>> g = net.gradient([[1.0, 2.0], [0.5, -1.0]], [1.0, 0.0])
        >>> g.dW[1].shape, g.db[2].shape, g.delta[1].shape
        ((3, 2), (1,), (2, 3))
        >>> bool(abs(g.shares @ g.sample_losses - g.loss) < 1e-15)
        True
    """

    dW: ByLayer[Array]
    db: ByLayer[Array | None]
    loss: float
    penalty: float
    sample_losses: Array
    delta: ByLayer[Array]
    forward: Forward
    shares: Array

    def sample_dW(self, layer: int) -> Array:
        """Return ∂C_i/∂W^(l) of every sample, (n, units_l, units_{l-1}), without s_i and penalty.

        Args:
            layer: The layer l, from 1 to L.
        """
        return self.delta[layer][:, :, None] * self.forward.a[layer - 1][:, None, :]

    def sample_db(self, layer: int) -> Array:
        """Return ∂C_i/∂b^(l) of every sample, (n, units_l), without s_i.

        Args:
            layer: The layer l, from 1 to L.
        """
        return self.delta[layer]

    @cached_property
    def sample_norms(self) -> Array:
        """Return the norm of the gradient of each C_i, (n,), without s_i and penalty.

        It is taken over all weights and biases. It follows from δ and a, so that no gradient of a
        sample is formed, and it is computed when first asked for.

        Source:
            Goodfellow, Efficient per-example gradient computations, arXiv:1510.01799.

        Examples:
            >>> import chainrule as cr
            >>> net = cr.Network([2, 1], W=[[[2.0, 3.0]]], b=[[1.0]])
            >>> net.gradient([[1, 1], [0, 1]], [4, 3]).sample_norms.round(4).tolist()
            [3.4641, 1.4142]
        """
        from chainrule.equations import per_sample

        return per_sample.norms(tuple(self.delta), self._inputs, self._biases)

    def sample_gram(self) -> Array:
        """Return the inner products of the gradients of all pairs of samples, (n, n).

        They are taken over all weights and biases, without s_i and penalty, and follow from δ and
        a. The diagonal holds the squares of `sample_norms`. An entry below 0 says that the two
        samples pull the parameters apart.

        Examples:
            >>> import chainrule as cr
            >>> net = cr.Network([2, 1], W=[[[2.0, 3.0]]], b=[[1.0]])
            >>> net.gradient([[1, 1], [0, 1]], [4, 3]).sample_gram().tolist()
            [[12.0, 4.0], [4.0, 2.0]]
        """
        from chainrule.equations import per_sample

        return per_sample.gram(tuple(self.delta), self._inputs, self._biases)

    def sample_gradient(self, i: int) -> Gradient:
        """Return the gradient of C_i alone, the loss of sample i, without s_i and penalty.

        Args:
            i: The sample, from 0; −1 is the last one.

        Raises:
            TypeError: ``i`` is not an integer.
            IndexError: There is no such sample.

        Examples:
            >>> import chainrule as cr
            >>> net = cr.Network([2, 1], W=[[[2.0, 3.0]]], b=[[1.0]])
            >>> one = net.gradient([[1, 1], [0, 1]], [4, 3]).sample_gradient(1)
            >>> one.loss, one.dW[1].tolist(), one.db[1].tolist()
            (0.5, [[0.0, 1.0]], [1.0])
        """
        i, n = integer(i, "i must be the index of a sample"), len(self.sample_losses)
        if not -n <= i < n:
            raise IndexError(f"i is {i}; expected the index of a sample, 0 to {n - 1}")
        row = slice(i % n, i % n + 1)
        passed = self.forward
        alone = Forward(
            ByLayer([z[row] for z in passed.z]),
            ByLayer([a[row] for a in passed.a], first=0),
            ByLayer([None if m is None else m[row] for m in passed.masks]),
        )
        delta = ByLayer([d[row] for d in self.delta])
        dW = [d.T @ a for d, a in zip(delta, alone.a, strict=False)]
        db = [None if b is None else d[0].copy() for d, b in zip(delta, self.db, strict=True)]
        C_i = self.sample_losses[row]
        share = np.ones(1, dtype=self.shares.dtype)
        return Gradient(ByLayer(dW), ByLayer(db), float(C_i[0]), 0.0, C_i, delta, alone, share)

    @property
    def _inputs(self) -> tuple[Array, ...]:
        """Return what each layer with weights reads: a of layers 0 to L−1."""
        return tuple(self.forward.a)[:-1]

    @property
    def _biases(self) -> bool:
        return self.db[-1] is not None


def forward(
    network: NetworkOf, X: Array, mask: Callable[[int, Array], Array | None] | None = None
) -> Forward:
    """Carry X, (n, units_0), through the layers, in the dtype of X.

    ``mask(l, a)`` gives the dropout mask of layer l, shaped as a, or None.
    """
    z: list[Array] = []
    a: list[Array] = [X]
    masks: list[Array | None] = []
    for l, layer in enumerate(network.weighted_layers, start=1):
        z_l = a[-1] @ layer.W.astype(X.dtype, copy=False).T
        if layer.b is not None:
            z_l += layer.b.astype(X.dtype, copy=False)
        a_l = layer.activation.value(z_l)
        m_l = mask(l, a_l) if mask is not None else None
        z.append(z_l)
        a.append(a_l if m_l is None else m_l * a_l)
        masks.append(m_l)
    return Forward(ByLayer(z), ByLayer(a, first=0), ByLayer(masks))


def sample_losses(network: NetworkOf, z: Array, a: Array, y: Array) -> Array:
    """Return C_i of every sample, (n,), from z, a and y of the output layer."""
    loss = network.loss
    if isinstance(loss, LossFromZ):
        return loss.value_from_z(network.weighted_layers[-1].activation, z, y)
    total: Array = loss.value(a, y).sum(axis=-1)
    return total


def backward(network: NetworkOf, forward: Forward, y: Array) -> ByLayer[Array]:
    """Return δ^(l) = ∂C_i/∂z^(l) for l = 1..L: equations (1) and (2)."""
    layers, loss = network.weighted_layers, network.loss
    L = len(layers)
    z, a = forward.z, forward.a

    # (1) at the output
    g = layers[L - 1].activation
    if isinstance(loss, LossFromZ):
        delta = loss.delta(g, z[L], a[L], y)  # the product, reduced, since a may round to 0 or 1
    else:
        dC_da = loss.derivative(a[L], y)
        delta = g.pull_back(dC_da, z[L], a[L])
    deltas = [delta]

    # (2) from layer l+1 to layer l; with dropout a = m g(z), so that ∂a/∂z = m g'(z)
    for l in range(L - 1, 0, -1):
        g, m = layers[l - 1].activation, forward.masks[l]
        dC_da = deltas[-1] @ layers[l].W.astype(delta.dtype, copy=False)
        if m is None:
            deltas.append(g.pull_back(dC_da, z[l], a[l]))
        else:
            deltas.append(g.pull_back(dC_da * m, z[l], g.value(z[l])))
    return ByLayer(deltas[::-1])


def gradient(
    network: NetworkOf, forward: Forward, y: Array, weights: Array | None = None
) -> Gradient:
    """Return the gradient of C: equations (3) and (4). y is (n, units_L), weights (n,) or None."""
    a, delta = forward.a, backward(network, forward, y)
    C_i = sample_losses(network, forward.z[-1], a[-1], y)
    share = shares(len(y), weights, C_i.dtype)

    dW: list[Array] = []
    db: list[Array | None] = []
    penalty = 0.0
    for l, layer in enumerate(network.weighted_layers, start=1):
        weighted = share[:, None] * delta[l]
        dW_l = weighted.T @ a[l - 1]  # (3)
        if network.l2:
            W = layer.W.astype(dW_l.dtype, copy=False)
            dW_l += dW_l.dtype.type(network.l2) * W
            penalty += network.l2 / 2 * float(np.vdot(W, W))
        dW.append(dW_l)
        db.append(None if layer.b is None else weighted.sum(axis=0))  # (4)
    loss = float(share @ C_i) + penalty
    return Gradient(ByLayer(dW), ByLayer(db), loss, penalty, C_i, delta, forward, share)


def shares(n_samples: int, weights: Array | None, dtype: Any) -> Array:
    """Return s_i / Σs, the share of each sample in the mean: 1/n without weights; 0 if Σs = 0."""
    if weights is None:
        return np.full(n_samples, 1 / n_samples, dtype=dtype)
    total = weights.sum()
    return (weights / total if total else weights).astype(dtype)
