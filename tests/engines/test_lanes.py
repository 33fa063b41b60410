"""Networks side by side in the core: the bits of each alone, with every part of the core."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.equations.optimizers import Optimizer
from chainrule.network import Network

pytest.importorskip("chainrule.engines._native", reason="a pure Python installation")

N = 43  # samples: 2 batches of 16 and one of 11, which tiny networks take as 8 and 3 rows
# The first and the last fit into one vector a layer in every instruction set or in the wide ones.
SIZES = [[3, 4, 4, 2], [2, 8, 8, 1], [10, 32, 16, 3], [5, 17, 3]]
RULES: list[Optimizer] = [
    cr.GradientDescent(0.05),
    cr.GradientDescent(0.05, momentum=0.9),
    cr.GradientDescent(0.05, momentum=0.9, nesterov=True),
    cr.AdaGrad(0.05),
    cr.RMSProp(0.01),
    cr.Adam(0.01),
    cr.AdamW(0.01),
]
HIDDEN = ["identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "gelu", "silu", "softplus"]
ENDS = [
    ("identity", "squared_error"),
    ("tanh", "absolute_error"),
    ("sigmoid", "huber"),
    ("sigmoid", "binary_cross_entropy"),
    ("sigmoid", "poisson"),
    ("softplus", "poisson"),
    ("softmax", "cross_entropy"),
    ("softmax", "half_squared_error"),
    ("softmax", "absolute_error"),
    ("softmax", "poisson"),
]


def check(
    sizes: list[int], dtype: str, exactly: bool = True, ordered: bool = False, **settings: Any
) -> None:
    """Train five networks in both ways, and compare them."""
    how = {"optimizer": cr.Adam(0.01), "epochs": 2, "batch_size": 16, "metrics": []}
    how |= {
        key: settings.pop(key) for key in [*how, "clip_norm", "sample_weight"] if key in settings
    }
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, sizes[0])).astype(dtype)
    y = rng.random((N, sizes[-1])).astype(dtype)
    y /= y.sum(axis=1, keepdims=True)
    settings = {"hidden": "tanh", "dtype": dtype, **settings}

    def networks() -> list[Network]:
        return [Network(sizes, seed=seed, **settings) for seed in range(17)]

    together, alone = networks(), networks()
    # seeds in common or each its own: then X is a number or a vector
    seeds = 5 if ordered else None
    losses = [h.loss for h in cr.fit_many(together, X, y, seeds=seeds, verbose=0, **how)]
    for i, network in enumerate(alone):
        network.seed = network.seed if seeds is None else seeds
        history = network.fit(X, y, verbose=0, **how)
        np.testing.assert_allclose(
            losses[i], history.loss, rtol=2e-6 if dtype == "float32" else 1e-13
        )
        if exactly:
            np.testing.assert_array_equal(
                together[i].parameters, network.parameters, f"network {i}"
            )
        else:
            np.testing.assert_allclose(
                together[i].parameters, network.parameters, rtol=1e-9, atol=1e-12
            )


@pytest.fixture(autouse=True)
def side_by_side(isa: str, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the networks that go side by side; a test in which none does tests nothing."""
    from chainrule.engines.native import NativeEngine

    counts: list[int] = []
    run_together = NativeEngine.run_together

    def counted(self: NativeEngine, together: Any, *more: Any) -> Any:
        counts.append(len(together.networks))
        return run_together(self, together, *more)

    monkeypatch.setattr(NativeEngine, "run_together", counted)
    return counts


@pytest.fixture(autouse=True)
def some_went(side_by_side: list[int]) -> Any:
    """See that networks went side by side."""
    yield
    assert side_by_side


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_activations(dtype: str, sizes: list[int]) -> None:
    for hidden in HIDDEN:
        check(sizes, dtype, hidden=hidden)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_losses(dtype: str, sizes: list[int]) -> None:
    for output, loss in ENDS:
        if sizes[-1] > 1 or output != "softmax":
            check(sizes, dtype, output=output, loss=loss)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_optimizers(dtype: str, sizes: list[int]) -> None:
    for rule in RULES:
        check(sizes, dtype, optimizer=rule, ordered=True)
        check(sizes, dtype, optimizer=rule, l2=0.01, batch_size=3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_batches(dtype: str, sizes: list[int]) -> None:
    for batch_size in (1, 2, 7, 33, 43):
        check(sizes, dtype, batch_size=batch_size, ordered=batch_size % 2 == 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_the_rest(dtype: str, sizes: list[int]) -> None:
    check(sizes, dtype, dropout=0.3)
    check(sizes, dtype, dropout=0.3, ordered=True, hidden="gelu")
    check(sizes, dtype, biases=False)
    check(sizes, dtype, sample_weight=np.random.default_rng(1).random(N))
    check(sizes, dtype, clip_norm=0.1, l2=0.01, exactly=dtype == "float32")


def test_a_batch_of_many_blocks() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(1000, 6)).astype("f4"), rng.normal(size=(1000, 2)).astype("f4")
    networks = [[Network([6, 20, 2], seed=s, dtype="float32") for s in range(16)] for _ in range(2)]
    cr.fit_many(networks[0], X, y, batch_size=900, epochs=2, metrics=[], verbose=0)
    for one, other in zip(*networks, strict=True):
        other.fit(X, y, batch_size=900, epochs=2, metrics=[], verbose=0)
        np.testing.assert_array_equal(one.parameters, other.parameters)


@pytest.mark.parametrize("kind", ["float64", "float16", "int32", "uint8", "bool"])
def test_inputs_of_any_kind(kind: str) -> None:
    X = np.random.default_rng(0).integers(0, 2, size=(N, 8)).astype(kind)[:, ::2]
    y = X[:, :1].astype("f8")
    networks = [[Network([4, 5, 1], seed=s) for s in range(9)] for _ in range(2)]
    cr.fit_many(networks[0], X, y, epochs=2, verbose=0)
    for one, other in zip(*networks, strict=True):
        other.fit(X, y, epochs=2, verbose=0)
        np.testing.assert_array_equal(one.parameters, other.parameters)


def test_engine_of_the_reference_does_the_same(side_by_side: list[int]) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(N, 3)), rng.normal(size=(N, 1))
    one = [Network([3, 4, 1], seed=s) for s in range(9)]
    other = [Network([3, 4, 1], seed=s, engine="reference") for s in range(9)]
    cr.fit_many(one, X, y, epochs=3, verbose=0)
    assert side_by_side == [9]
    cr.fit_many(other, X, y, epochs=3, verbose=0)
    assert side_by_side == [9]
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a.parameters, b.parameters, rtol=1e-9, atol=1e-12)
