"""Norms, inner products and gradients of single samples, beside automatic differentiation."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from tests.diagnose.by_torch import Twin
from tests.equations.test_gradients import GROUPS, Array, Setting, build

# torch.func imports what PyTorch itself has deprecated
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")
ONE_OF_EACH = [group[(i + 2) % len(group)] for i, group in enumerate(GROUPS)]


def flat(g: cr.Gradient) -> Array:
    parts = [[g.dW[l], g.db[l]] for l in range(1, len(g.dW) + 1)]
    return np.concatenate([p.ravel() for both in parts for p in both if p is not None])


def by_torch(net: cr.Network, X: Array, y: Array) -> Array:
    """The gradient of every C_i, (n, parameters), one sample at a time."""
    import torch

    twin = Twin(net)
    rows = [
        torch.func.grad(twin.sample_loss)(twin.theta, torch.tensor(x_i), torch.tensor(y_i))
        for x_i, y_i in zip(X, np.asarray(y, dtype=float), strict=True)
    ]
    return torch.stack(rows).numpy(force=True)


@pytest.mark.needs("torch")
@pytest.mark.parametrize("setting", ONE_OF_EACH, ids=str)
def test_samples_by_automatic_differentiation(setting: Setting) -> None:
    net, X, y, weights = build(setting)
    rows = by_torch(net, X, y)
    g = net.gradient(X, y, sample_weight=weights)
    scale = max(np.abs(rows).max(), 0.1)
    np.testing.assert_allclose(
        g.sample_norms, np.linalg.norm(rows, axis=1), rtol=1e-12, atol=1e-13 * scale
    )
    gram = rows @ rows.T
    np.testing.assert_allclose(
        g.sample_gram(), gram, rtol=1e-11, atol=1e-12 * max(np.abs(gram).max(), 1e-6)
    )
    for i, row in enumerate(rows):
        one = g.sample_gradient(i)
        np.testing.assert_allclose(flat(one), row, rtol=1e-11, atol=1e-13 * scale)
        assert one.loss == g.sample_losses[i]
        assert one.penalty == 0


def test_mean_of_the_samples_is_the_gradient() -> None:
    net = cr.Network([3, 6, 2], hidden="silu", dropout=0.4, l2=0.3, dtype="float32", seed=1)
    rng = np.random.default_rng(0)
    X, y, s = rng.normal(size=(9, 3)), rng.normal(size=(9, 2)), rng.uniform(0, 3, 9)
    g = net.gradient(X, y, sample_weight=s, dropout_step=2)
    mean = sum(share * flat(g.sample_gradient(i)) for i, share in enumerate(g.shares))
    for W, layer in zip(net.views_of(mean), net.weighted_layers, strict=True):
        W[0][...] += net.l2 * np.float64(layer.W)
    np.testing.assert_allclose(mean, flat(g), rtol=1e-12, atol=1e-15)
    alone = net.gradient(X[4], y[4])
    undropped = net.gradient(X, y).sample_gradient(4)
    np.testing.assert_allclose(flat(undropped), flat(alone) - l2_of(net), rtol=1e-12, atol=1e-15)


def l2_of(net: cr.Network) -> Array:
    penalty = np.zeros(net.parameters.size)
    for (W, _), layer in zip(net.views_of(penalty), net.weighted_layers, strict=True):
        W[...] = net.l2 * np.float64(layer.W)
    return penalty


@pytest.mark.parametrize("sizes", [(3, 2, 1), (30, 40, 2), (1, 1)])
def test_gram_fits_the_norms_and_is_symmetric(sizes: tuple[int, ...]) -> None:
    net = cr.Network(sizes, hidden="tanh", seed=0)
    rng = np.random.default_rng(3)
    g = net.gradient(rng.normal(size=(20, sizes[0])), rng.normal(size=(20, sizes[-1])))
    gram = g.sample_gram()
    np.testing.assert_array_equal(gram, gram.T)
    np.testing.assert_allclose(np.sqrt(gram.diagonal()), g.sample_norms, rtol=1e-12)


@pytest.mark.parametrize("columns", [1, 5, 40])
@pytest.mark.parametrize("exponent", [-1070, -600, -520, 0, 490])
def test_norms_where_squares_leave_the_range(columns: int, exponent: int) -> None:
    """A residual of 2^exponent: the norm has all its digits, beside a row of 0 and of 1."""
    X = np.arange(3 * columns, dtype=float).reshape(3, columns) / 7
    size = 2.0**exponent
    y = np.array([[-size], [0.0], [-1.0]])
    net = cr.Network([columns, 1], W=[np.zeros((1, columns))])
    norms = net.gradient(X, y).sample_norms
    for i, residual in enumerate((size, 0.0, 1.0)):
        square = sum(Fraction(x) ** 2 for x in X[i]) + 1
        expected = residual * float(square) ** 0.5
        assert norms[i] == pytest.approx(expected, rel=1e-13 if exponent > -1022 else 1e-3, abs=0)


def test_norms_are_computed_once_and_when_asked() -> None:
    g = cr.Network([2, 1], seed=0).gradient([[1, 2]], [1])
    assert "sample_norms" not in vars(g)
    assert g.sample_norms is g.sample_norms


@pytest.mark.parametrize("i", [2, -3])
def test_samples_that_do_not_exist(i: int) -> None:
    g = cr.Network([2, 1], seed=0).gradient([[1, 2], [3, 4]], [1, 0])
    with pytest.raises(IndexError, match=f"i is {i}; expected the index of a sample, 0 to 1"):
        g.sample_gradient(i)


@pytest.mark.parametrize("i", [1.0, "1", True, None])
def test_indices_that_are_not_integers(i: Any) -> None:
    g = cr.Network([2, 1], seed=0).gradient([[1, 2], [3, 4]], [1, 0])
    with pytest.raises(TypeError, match="i must be the index of a sample"):
        g.sample_gradient(i)


def test_last_sample_from_the_end() -> None:
    g = cr.Network([2, 1], seed=0).gradient([[1, 2], [3, 4]], [1, 0])
    np.testing.assert_array_equal(flat(g.sample_gradient(-1)), flat(g.sample_gradient(1)))
