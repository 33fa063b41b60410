"""One truth for the parameters: whatever is copied, pickled, assigned or replaced."""

from __future__ import annotations

import copy
import io
import multiprocessing
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

import chainrule as cr
from chainrule.sklearn import MLPClassifier, MLPRegressor

RNG = np.random.default_rng(5)
X, Y = RNG.normal(size=(20, 4)), RNG.normal(size=(20, 2))


def network(**options: Any) -> cr.Network:
    net = cr.Network([4, 6, 2], **({"hidden": "tanh", "l2": 0.01, "seed": 3} | options))
    net.predict(X)  # so that there is a shortcut, and a predictor of the core
    return net


def speaks_of_one(net: cr.Network) -> None:
    """Everything that a network says is said of `parameters`."""
    flat = np.concatenate([part.ravel() for layer in net.layers[1:] for part in (layer.W, layer.b)])
    np.testing.assert_array_equal(flat, net.parameters)
    assert all(np.shares_memory(layer.W, net.parameters) for layer in net.layers[1:])
    assert net.parameters.flags.writeable
    told = cr.Network(
        [4, 6, 2], hidden="tanh", l2=0.01, dtype=net.dtype.name, engine=net.requested_engine,
        W=[layer.W for layer in net.layers[1:]], b=[layer.b for layer in net.layers[1:]],
    )  # fmt: skip
    for _ in range(2):
        np.testing.assert_array_equal(net.predict(X), told.predict(X))
    assert net.loss_value(X, Y) == told.loss_value(X, Y)
    g, expected = net.gradient(X, Y), told.gradient(X, Y)
    for l in (1, 2):
        np.testing.assert_array_equal(g.dW[l], expected.dW[l])
    assert net.explain("w[1][2,3]", X, Y).value == expected.dW[1][2, 3]
    assert net.check_gradient(X, Y).passed


def train(net: cr.Network) -> None:
    net.fit(X, Y, optimizer=cr.Adam(0.05), epochs=3, batch_size=7, verbose=0)


def by_pickle(protocol: int, net: cr.Network) -> Any:
    return pickle.loads(pickle.dumps(net, protocol))


def by_joblib(net: cr.Network, **options: Any) -> cr.Network:
    file = io.BytesIO()
    joblib.dump(net, file)
    file.seek(0)
    return joblib.load(file, **options)


TWINS: dict[str, Callable[[Any], Any]] = {
    "copy()": lambda net: net.copy(),
    "deepcopy": copy.deepcopy,
    **{f"pickle {p}": partial(by_pickle, p) for p in (2, 4, 5)},
    "joblib": by_joblib,
    "twice": lambda net: copy.deepcopy(pickle.loads(pickle.dumps(net.copy()))),
    "in a list": lambda net: copy.deepcopy([net, net.layers[1].W])[0],
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("way", TWINS)
def test_a_copy_is_a_network_of_its_own(way: str, dtype: str) -> None:
    net = network(dtype=dtype)
    train(net)
    before = net.parameters.copy()
    twin = TWINS[way](net)
    np.testing.assert_array_equal(twin.parameters, before)
    speaks_of_one(twin)
    train(twin)
    assert not np.array_equal(twin.parameters, before)
    speaks_of_one(twin)
    twin.layers[1].W[0, 0] = 0.5
    twin.layers[2].b = [1, 2]
    speaks_of_one(twin)
    np.testing.assert_array_equal(net.parameters, before)
    speaks_of_one(net)
    assert (twin.sizes, twin.seed, twin.threads) == (net.sizes, net.seed, net.threads)
    # and it trains as the network would have
    again = TWINS[way](net)
    train(again)
    train(net)
    np.testing.assert_array_equal(again.parameters, net.parameters)


def test_a_shallow_copy_shares_everything() -> None:
    net = network()
    twin = copy.copy(net)
    assert twin.parameters is net.parameters
    assert twin.layers is net.layers
    train(twin)
    twin.parameters = np.round(twin.parameters, 2)
    speaks_of_one(twin)
    speaks_of_one(net)
    np.testing.assert_array_equal(twin.predict(X), net.predict(X))
    twin.l2 = 0.5  # a setting is its own
    assert net.l2 == 0.01


def test_what_a_subclass_adds_is_copied_as_well() -> None:
    class Named(cr.Network):
        name = ""

    net = Named([4, 6, 2], hidden="tanh", l2=0.01, seed=3)
    net.name = "first"
    for twin in (net.copy(), copy.copy(net), copy.deepcopy(net)):
        assert type(twin) is Named
        assert twin.name == "first"
        speaks_of_one(twin)


def test_memory_mapped_by_joblib(tmp_path: Path) -> None:
    """joblib maps large arrays into its workers, to be read only."""
    net = network()
    joblib.dump(net, tmp_path / "net")
    for mode in ("r", "r+", "c"):
        twin = joblib.load(tmp_path / "net", mmap_mode=mode)
        train(twin)
        speaks_of_one(twin)
    np.testing.assert_array_equal(joblib.load(tmp_path / "net").parameters, net.parameters)


def trained_elsewhere(net: cr.Network) -> cr.Network:
    """What a worker does with what it was sent."""
    speaks_of_one(net)
    train(net)
    speaks_of_one(net)
    return net


def test_multiprocessing() -> None:
    net = network()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(trained_elsewhere, (net,))
    before = net.parameters.copy()
    speaks_of_one(found)
    np.testing.assert_array_equal(net.parameters, before)
    train(net)
    np.testing.assert_array_equal(found.parameters, net.parameters)


def test_joblibs_workers() -> None:
    net = network()
    work = joblib.delayed(trained_elsewhere)
    found = joblib.Parallel(n_jobs=2, max_nbytes=100)(work(net) for _ in range(2))
    train(net)
    for one in found:
        speaks_of_one(one)
        np.testing.assert_array_equal(one.parameters, net.parameters)


# --- assignments ----------------------------------------------------------------------------------


def test_assigned_parameters_are_copied_into_the_vector() -> None:
    net = network()
    vector, W = net.parameters, net.layers[1].W
    values = RNG.normal(size=vector.size)
    for given in (values, values.tolist(), values.astype("longdouble"), values[::-1][::-1]):
        net.parameters[...] = 0
        net.parameters = given
        assert net.parameters is vector
        assert net.layers[1].W is W
        np.testing.assert_array_equal(vector, values)
        speaks_of_one(net)
    values[:] = 0  # they are the caller's still
    assert net.parameters.any()
    before = net.parameters.copy()
    net.parameters *= 0.5
    assert net.parameters is vector
    np.testing.assert_array_equal(vector, before / 2)
    net.parameters = net.parameters[::-1]  # from itself
    np.testing.assert_array_equal(vector, before[::-1] / 2)
    speaks_of_one(net)


@pytest.mark.parametrize(
    ("values", "error", "complaint"),
    [
        (np.zeros(43), ValueError, r"parameters has shape \(43,\); expected \(44,\)"),
        (np.zeros((1, 44)), ValueError, r"parameters has shape \(1, 44\); expected \(44,\)"),
        (np.full(44, np.nan), ValueError, "parameters holds NaN or infinity .in float32."),
        (np.full(44, 1e39), ValueError, "parameters holds NaN or infinity .in float32."),
        (["a"] * 44, TypeError, "parameters has dtype <U1; expected numbers"),
        (np.zeros(44) * 1j, TypeError, "parameters has dtype complex128; expected numbers"),
        (None, TypeError, "parameters has dtype object; expected numbers"),
        (np.ma.masked_equal(np.arange(44), 3), ValueError, "parameters has 1 masked value at par"),
    ],
)
def test_bad_parameters(values: Any, error: type[Exception], complaint: str) -> None:
    net = network(dtype="float32")
    before = net.parameters.copy()
    with pytest.raises(error, match=complaint):
        net.parameters = values
    np.testing.assert_array_equal(net.parameters, before)


def test_what_can_not_be_replaced() -> None:
    net, other = network(), network(seed=4)
    replaced: Any = net.layers
    with pytest.raises(TypeError, match=r"layers\[1\] can't be replaced, because its W and b are"):
        replaced[1] = other.layers[1]
    for name, value in (("layers", other.layers), ("sizes", [4, 2]), ("biases", False)):
        with pytest.raises(AttributeError):
            setattr(net, name, value)
    with pytest.raises(AttributeError):
        net.layers[1].units = 3  # type: ignore[misc]
    speaks_of_one(net)
    with pytest.raises(ValueError, match="threads must be from 1 to 1,024, got 1,000,000"):
        net.threads = 10**6
    with pytest.raises(ValueError, match="threads must be from 1 to 1,024, got 1,000,000"):
        cr.Network([2, 1], threads=10**6)
    net.threads = 1024
    speaks_of_one(net)


@pytest.mark.parametrize("engine", ["auto", "reference"])
def test_a_callback_may_assign_parameters(engine: str) -> None:
    start = network().parameters.copy()

    def back(run: Any) -> None:
        run.network.parameters = start

    net = network(engine=engine)
    net.fit(X, Y, epochs=3, callbacks=[back], verbose=0)
    np.testing.assert_array_equal(net.parameters, start)
    speaks_of_one(net)


# --- what holds a network -------------------------------------------------------------------------


def test_an_explanation_and_its_copies() -> None:
    net = network()
    why = net.explain("w[1][2,3]", X, Y)
    value = why.value
    for twin in (copy.deepcopy(why), pickle.loads(pickle.dumps(why))):
        train(net)
        assert twin.value == value
        assert twin.certificate.passed
        speaks_of_one(twin.network)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("make", [MLPClassifier, MLPRegressor])
def test_estimators(make: Any, tmp_path: Path) -> None:
    y = RNG.integers(0, 2, size=20) if make is MLPClassifier else Y
    fitted = make(hidden_layer_sizes=(6,), max_iter=10, random_state=0).fit(X, y)
    joblib.dump(fitted, tmp_path / "model")
    twins = [
        copy.deepcopy(fitted), pickle.loads(pickle.dumps(fitted)), copy.copy(fitted),
        joblib.load(tmp_path / "model"), joblib.load(tmp_path / "model", mmap_mode="r"),
    ]  # fmt: skip
    before, answers = [c.copy() for c in fitted.coefs_], fitted.predict(X)
    for twin in twins:
        np.testing.assert_array_equal(twin.predict(X), answers)
        for _ in range(3):
            twin.partial_fit(X, y)
        for coef, layer in zip(twin.coefs_, twin.network_.layers[1:], strict=True):
            assert np.shares_memory(coef, layer.W)
            np.testing.assert_array_equal(coef, layer.W.T)
        outputs = twin.network_.forward(X).a[2]
        mine = twin.predict_proba(X)[:, 1:] if make is MLPClassifier else twin.predict(X)
        np.testing.assert_allclose(mine, outputs, rtol=1e-12)
        for coef, old in zip(fitted.coefs_, before, strict=True):
            np.testing.assert_array_equal(coef, old)
            assert not np.array_equal(twin.coefs_[0], before[0])
