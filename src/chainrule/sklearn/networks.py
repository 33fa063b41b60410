"""The network inside an estimator, beside scikit-learn's ``coefs_`` and ``intercepts_``.

scikit-learn's ``coefs_[l - 1]`` is W^(l)ᵀ, and ``intercepts_[l - 1]`` is b^(l). Once adopted, they
are views of the network's parameters: training one trains the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule import engines
from chainrule.equations import activations
from chainrule.equations.activations import Activation
from chainrule.equations.arrays import taken
from chainrule.equations.losses import Loss
from chainrule.foreign.sklearn.exponential import Exp
from chainrule.network import Network

Array = NDArray[Any]
DENSE = 1 << 23  # numbers of a sparse X that are made dense at a time


def activation(given: str | Activation) -> Activation:
    """Return an activation by its name in scikit-learn or chainrule, or as it is."""
    if given == "logistic":
        given = "sigmoid"
    return Exp() if given == "exp" else activations.get(given)


def build(
    coefs: Sequence[Array],
    intercepts: Sequence[Array],
    *,
    hidden: Sequence[Activation],
    output: Activation,
    loss: Loss,
    l2: float = 0.0,
    dropout: float | Sequence[float] = 0.0,
    seed: int = 0,
) -> Network:
    """Return a network with copies of these weights, which may be NaN as in scikit-learn."""
    network = Network(
        [len(coefs[0]), *(c.shape[1] for c in coefs)],
        hidden=list(hidden), output=output, loss=loss, l2=l2, dropout=dropout, seed=seed,
        dtype=np.dtype(coefs[0].dtype).name, init="zeros",  # type: ignore[arg-type]
    )  # fmt: skip
    fill(network, coefs, intercepts)
    return network


def fill(network: Network, coefs: Sequence[Array], intercepts: Sequence[Array]) -> None:
    """Copy weights and biases into a network."""
    for layer, coef, intercept in zip(network.weighted_layers, coefs, intercepts, strict=True):
        layer.W[...] = coef.T
        assert layer.b is not None
        layer.b[...] = intercept


def views(network: Network) -> tuple[list[Array], list[Array]]:
    """Return the network's parameters as ``coefs_`` and ``intercepts_``."""
    layers = network.weighted_layers
    return [layer.W.T for layer in layers], [layer.b for layer in layers if layer.b is not None]


def numbers(given: Any, name: str, what: str) -> NDArray[np.float64]:
    """Return a list of numbers as an array, or raise TypeError."""
    given = taken(given, name)
    try:
        array = np.asarray(given)
    except ValueError:  # lists of several lengths
        array = np.empty((0, 0))
    if array.ndim != 1 or not all(isinstance(v, Real) for v in array):
        raise TypeError(f"{name} is {given!r}; expected numbers, {what}")
    return array.astype(np.float64)


def check_shape(y: Array, row: tuple[int, ...], meaning: str) -> None:
    """Raise ValueError unless y holds rows of a shape, () for one number or label each."""
    if y.shape != (len(y), *row):
        raise ValueError(f"y has shape {y.shape}; expected {(len(y), *row)}, {meaning}")


def outputs(network: Network, X: Any) -> Array:
    """Return a^(L) of checked inputs, dense or sparse, in the dtype that NumPy would promote to."""
    engine = engines.choose(network.requested_engine, network)
    if isinstance(X, np.ndarray):
        a = engine.predict(network, X)
    else:
        a = np.empty((X.shape[0], network.sizes[-1]), dtype=network.dtype)
        step = max(1, DENSE // network.sizes[0])
        rows = X.tocsr()
        for start in range(0, len(a), step):
            part = slice(start, start + step)
            a[part] = engine.predict(network, rows[part].toarray())
    return a if a.dtype == X.dtype else a.astype(np.result_type(X.dtype, a.dtype), copy=False)
