"""The gradient in extended precision, from the definitions and apart from the package.

Nothing here imports chainrule: a `Problem` is plain arrays and names, and what is computed from it
is what the other numbers are held to. Loops run over layers, arrays over samples and units.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .functions import FUNCTIONS, Array, Real, sigma, sigma_slope, softplus


@dataclass(frozen=True)
class Problem:
    """A network and a batch, in `Real`: exactly the numbers that are handed to the package.

    ``W[l]``, ``b[l]``, ``functions[l]`` and ``masks[l]`` are those of layer l + 1; ``weights`` are
    the s_i, (n,), or None.
    """

    W: list[Array]
    b: list[Array | None]
    functions: list[str]
    loss: str
    l2: float
    X: Array
    y: Array
    weights: Array | None = None
    masks: list[Array | None] = field(default_factory=list)

    @property
    def L(self) -> int:  # noqa: N802 (the letter of the layers)
        return len(self.W)

    def mask(self, l: int) -> Array | None:
        return self.masks[l] if self.masks else None

    @property
    def shares(self) -> Array:
        """s_i / Σs, (n,); all 0 where no sample of the batch counts."""
        n = len(self.X)
        if self.weights is None:
            return np.full(n, 1 / Real(n))
        total = self.weights.sum()
        return self.weights / total if total else np.zeros(n, Real)


@dataclass(frozen=True)
class Output:
    """The output layer and the loss: C_i (n,), δ = ∂C_i/∂z, and G[j, k] = ∂δ_j/∂z_k in float64."""

    a: Array
    C: Array
    delta: Array
    G: Array


@dataclass(frozen=True)
class Exact:
    """All numbers of both passes; ``v[l]`` is ∂C_i/∂a of hidden layers."""

    z: list[Array]
    a: list[Array]  # a[0] is X, so that a[l] is fed to W[l]
    slope: list[Array]  # m g'(z) of hidden layers
    v: list[Array]
    delta: list[Array]
    output: Output
    dW: list[Array]
    db: list[Array]
    loss: float
    penalty: float


def solve(p: Problem) -> Exact:
    """Carry X forward and δ back."""
    z, a, slope = [], [p.X], []
    for l in range(p.L):
        z_l = a[-1] @ p.W[l].T
        if p.b[l] is not None:
            z_l = z_l + p.b[l]
        z.append(z_l)
        if l == p.L - 1:
            break
        g, m = FUNCTIONS[p.functions[l]], p.mask(l)
        a.append(g.value(z_l) if m is None else m * g.value(z_l))
        slope.append(g.slope(z_l) if m is None else m * g.slope(z_l))
    output = at_output(p.functions[-1], p.loss, z[-1], p.y)
    delta, v = [output.delta], []
    for l in range(p.L - 2, -1, -1):
        v.append(delta[-1] @ p.W[l + 1])
        delta.append(v[-1] * slope[l])
    delta.reverse()
    v.reverse()
    share, l2 = p.shares, Real(p.l2)
    dW = [(share[:, None] * delta[l]).T @ a[l] + l2 * p.W[l] for l in range(p.L)]
    db = [(share[:, None] * delta[l]).sum(axis=0) for l in range(p.L)]
    penalty = l2 / 2 * sum((W * W).sum() for W in p.W)
    return Exact(z, a, slope, v, delta, output, dW, db, share @ output.C + penalty, penalty)


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def at_output(function: str, loss: str, z: Array, y: Array) -> Output:
    """The loss as a function of z, in the form that keeps its digits where a rounds to 0 or 1."""
    if function == "softmax":
        return _after_softmax(loss, z, y)
    g = FUNCTIONS[function]
    a, slope, bend = g.value(z), g.slope(z), g.bend(z)
    if loss == "binary_cross_entropy":
        C = y * softplus(-z) + (1 - y) * softplus(z)
        return Output(a, C.sum(-1), sigma(z) * (1 - y) - sigma(-z) * y, _diagonal(slope))
    if loss == "poisson":  # q = (ln g)'
        if function == "sigmoid":
            log_a, q, q_slope = -softplus(-z), sigma(-z), -sigma_slope(z)
        else:
            # ln ln(1 + e^z) = z - e^z/2 + ... for z so low that e^z is lost beside 1
            low = z < -40
            log_a = np.where(low, z, np.log(np.where(low, 1, a)))
            q = np.where(low, 1, sigma(z) / np.where(low, 1, a))
            q_slope = np.where(low, 0, sigma_slope(z) / np.where(low, 1, a) - q * q)
        terms = a - _times(y, log_a)
        return Output(a, terms.sum(-1), slope - y * q, _diagonal(bend - y * q_slope))
    c, v, v_slope = elementwise(loss, a, y)
    return Output(a, c.sum(-1), v * slope, _diagonal(v_slope * slope * slope + v * bend))


def elementwise(loss: str, a: Array, y: Array) -> tuple[Array, Array, Array]:
    """c(a, y) of one output, ∂c/∂a and ∂²c/∂a²."""
    d = a - y
    match loss:
        case "squared_error":
            return d * d, 2 * d, np.full_like(d, 2)
        case "half_squared_error":
            return d * d / 2, d, np.ones_like(d)
        case "absolute_error":
            return np.abs(d), np.sign(d), np.zeros_like(d)
        case "huber":
            inside = np.abs(d) <= 1
            c = np.where(inside, d * d / 2, np.abs(d) - Real(1) / 2)
            return c, np.clip(d, -1, 1), inside.astype(Real)
    raise ValueError(loss)


def _after_softmax(loss: str, z: Array, y: Array) -> Output:
    """δ = J v with J = diag(a) - a aᵀ; for the logarithmic losses a is divided out."""
    a = softmax(z)
    J = jacobian(a)
    if loss in ("cross_entropy", "poisson"):
        shifted = z - z.max(axis=-1, keepdims=True)
        log_a = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        total = y.sum(axis=-1, keepdims=True)
        C = -(y * log_a).sum(-1) + (1 if loss == "poisson" else 0)
        # a_j Σ_m y_m - y_j with 1 - a_j as the sum of the other a, so that nothing cancels at 1
        delta = a * others(y) - y * others(a)
        return Output(a, C, delta, total.astype(float)[:, :, None] * J)
    c, v, v_slope = elementwise(loss, a, y)
    mean = (v * a).sum(-1, keepdims=True)
    delta = a * (v - mean)
    outer = a[:, :, None] * v[:, None, :]
    inner = _diagonal(v - mean) - outer.astype(float) + J * v_slope.astype(float)[:, None, :]
    return Output(a, c.sum(-1), delta, inner @ J)


def others(values: Array) -> Array:
    """Σ_{m≠j} v_m for every j of a row, without a difference."""
    return np.asarray(values @ (1 - np.eye(values.shape[-1])))


def jacobian(a: Array) -> Array:
    """∂a_j/∂z_k of a softmax."""
    return _diagonal(a) - (a[:, :, None] * a[:, None, :]).astype(float)


def _diagonal(values: Array) -> Array:
    full = np.zeros((*values.shape, values.shape[-1]))
    index = np.arange(values.shape[-1])
    full[:, index, index] = values
    return full


def _times(y: Array, log_a: Array) -> Array:
    """Y ln a, 0 where y is 0."""
    return np.where(y == 0, 0, y * np.where(y == 0, 0, log_a))
