"""Masked arrays are refused wherever numbers are handed in; tensors are taken for their numbers."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.neural_network import MLPRegressor as Theirs

import chainrule as cr
from chainrule.sklearn import MLPClassifier, MLPRegressor
from chainrule.verify import certify

RNG = np.random.default_rng(0)
X, Y, S = RNG.normal(size=(6, 2)), RNG.normal(size=(6, 1)), RNG.uniform(1, 2, size=6)
CLASSES = np.array([0, 1, 0, 1, 0, 1])


def network() -> cr.Network:
    return cr.Network([2, 3, 1], hidden="tanh", seed=0)


def masked(a: Any, *places: Any) -> Any:
    mask = np.zeros(np.shape(a), bool)
    for place in places:
        mask[place] = True
    return np.ma.masked_array(a, mask)


ASK: dict[str, Callable[..., Any]] = {
    "gradient": lambda X, y, s: network().gradient(X, y, sample_weight=s),
    "loss_value": lambda X, y, s: network().loss_value(X, y, sample_weight=s),
    "explain": lambda X, y, s: network().explain("w[1][0,0]", X, y, sample_weight=s),
    "check_gradient": lambda X, y, s: network().check_gradient(X, y, sample_weight=s),
    "certify": lambda X, y, s: certify(network(), "w[1][0,0]", X, y, sample_weight=s),
    "fit": lambda X, y, s: network().fit(X, y, sample_weight=s, epochs=1, verbose=0),
    "validation_data": lambda X_val, y_val, s: network().fit(
        X, Y, validation_data=(X_val, y_val, s), epochs=1, verbose=0
    ),
}
ESTIMATORS: dict[str, Callable[..., Any]] = {
    "MLPRegressor": lambda X, y, s: MLPRegressor(max_iter=1).fit(X, y, sample_weight=s),
    "MLPClassifier": lambda X, y, s: MLPClassifier(max_iter=1).fit(
        X, y if isinstance(y, np.ma.MaskedArray) else CLASSES, sample_weight=s
    ),
    "partial_fit": lambda X, y, s: MLPRegressor().partial_fit(X, y, sample_weight=s),
    "explain": lambda X_new, y, s: fitted().explain("w[1][0,0]", X_new, y, sample_weight=s),
    "explain_sklearn": lambda X_new, y, s: cr.explain_sklearn(
        Theirs(hidden_layer_sizes=(3,), solver="lbfgs", random_state=0).fit(X, Y.ravel()),
        "w[1][0,0]",
        X_new, y,
        sample_weight=s,
    ),
    "score": lambda X_new, y, s: fitted().score(X_new, y, sample_weight=s),
    "validation_data": lambda X_val, y_val, s: MLPRegressor(max_iter=1).fit(
        X, Y.ravel(), validation_data=(X_val, y_val, s)
    ),
}  # fmt: skip


def fitted() -> MLPRegressor:
    return MLPRegressor(hidden_layer_sizes=(3,), solver="lbfgs", random_state=0).fit(X, Y.ravel())


@pytest.mark.parametrize("name", ASK)
def test_masked_data(name: str) -> None:
    ask, rows = ASK[name], r"leave their samples out of every array with \[~"
    refused = f"{'validation_data: ' if name == 'validation_data' else ''}"
    cases = [
        ((masked(X, (1, 0), (2, 1)), Y, S), r"X has 2 masked values, the first at X\[1, 0\]; "),
        ((masked(X, (5, 1)), Y, S), r"X has 1 masked value at X\[5, 1\]; "),
        ((X, masked(Y, (3, 0)), S), r"y has 1 masked value at y\[3, 0\]; "),
        ((X, masked(Y.ravel(), 3), S), r"y has 1 masked value at y\[3\]; "),
        ((X, Y, masked(S, 0, 1, 5)), r"sample_weight has 3 masked values, the first at sample_wei"),
        (([masked(row, 0) for row in X], Y, S), r"X\[0\] has 1 masked value at X\[0\]\[0\]; "),
    ]
    for arrays, complaint in cases:
        with pytest.raises(ValueError, match=f"^{refused}{complaint}") as raised:
            ask(*arrays)
        assert re.search(rows, str(raised.value))
    ask(masked(X), masked(Y), masked(S))  # nothing is masked in them


@pytest.mark.parametrize("name", ESTIMATORS)
def test_masked_data_of_estimators(name: str) -> None:
    ask, y = ESTIMATORS[name], Y.ravel()
    for arrays, complaint in [
        ((masked(X, (1, 0), (2, 1)), y, S), r"X has 2 masked values, the first at X\[1, 0\]; "),
        ((X, masked(CLASSES, 3), S), r"y has 1 masked value at y\[3\]; "),
        ((X, masked(CLASSES.astype(str), 3), S), r"y has 1 masked value at y\[3\]; "),
        ((X, y, masked(S, 4)), r"sample_weight has 1 masked value at sample_weight\[4\]; "),
        (([masked(row, 0) for row in X], y, S), r"X\[0\] has 1 masked value at X\[0\]\[0\]; "),
    ]:
        with pytest.raises(ValueError, match=complaint):
            ask(*arrays)


def test_masked_inputs_alone() -> None:
    wrong = masked(X, (1, 0))
    net = network()
    for _ in range(2):
        for ask in (net.predict, net.predict_classes, net.forward):
            with pytest.raises(ValueError, match=r"X has 1 masked value at X\[1, 0\]"):
                ask(wrong)
            with pytest.raises(ValueError, match=r"X has 1 masked value at X\[0\]"):
                ask(masked(X[0], 0))
            ask(X)
    for ask in (fitted().predict, MLPClassifier(max_iter=1).partial_fit(X, CLASSES, classes=[0, 1])
                .predict_proba):  # fmt: skip
        with pytest.raises(ValueError, match=r"X has 1 masked value at X\[1, 0\]"):
            ask(wrong)
    with pytest.raises(ValueError, match="classes has 1 masked value"):
        MLPClassifier().partial_fit(X, CLASSES, classes=masked([0, 1], 1))
    with pytest.raises(ValueError, match="output_weight has 1 masked value"):
        MLPRegressor(output_weight=masked([1.0], 0)).fit(X, Y.ravel())
    with pytest.raises(ValueError, match=r"X has 1 masked value at X\[1, 0\]"):
        net.explore(wrong, Y)
    with pytest.raises(ValueError, match="y has 1 masked value"):
        net.explore(X, Y, validation_data=(X, masked(Y, 0)))


def test_masked_parameters() -> None:
    W, b = [np.ones((3, 2)), np.ones((1, 3))], [np.ones(3), np.ones(1)]
    with pytest.raises(ValueError, match=r"W\[1\] has 1 masked value at W\[1\]\[0, 2\]"):
        cr.Network([2, 3, 1], W=[W[0], masked(W[1], (0, 2))], b=b)
    with pytest.raises(ValueError, match=r"b\[0\] has 1 masked value at b\[0\]\[1\]"):
        cr.Network([2, 3, 1], W=W, b=[masked(b[0], 1), b[1]])
    net = network()
    before = net.parameters.copy()
    with pytest.raises(ValueError, match="W has 1 masked value"):
        net.layers[1].W = masked(W[0], (0, 0))
    with pytest.raises(ValueError, match="b has 3 masked values, the first"):
        net.layers[1].b = masked(b[0], slice(None))
    np.testing.assert_array_equal(net.parameters, before)


def test_one_number_that_is_masked() -> None:
    with pytest.raises(ValueError, match="X has a masked value"):
        network().predict(np.ma.masked)
    # NumPy makes NaN of it in a list of numbers, which is refused as such
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match="is nan; every number must be finite"):
            network().predict([[1.0, np.ma.masked]])


# --- tensors --------------------------------------------------------------------------------------


@pytest.mark.needs("torch")
def test_tensors_are_taken_for_their_numbers() -> None:
    import torch

    tX, ty, ts = (torch.tensor(a, requires_grad=True) for a in (X, Y, S))
    for name, ask in ASK.items():
        if name in ("gradient", "loss_value"):
            found, expected = ask(tX, ty, ts), ask(X, Y, S)
            assert getattr(found, "loss", found) == getattr(expected, "loss", expected)
        else:
            ask(tX, ty, ts)
    net = network()
    for given, expected in (
        (tX, net.predict(X)), (tX[0], net.predict(X[0])), (list(tX), net.predict(X)),
        (tX.T.contiguous().T, net.predict(X)), (torch.nn.Parameter(tX.detach()), net.predict(X)),
        (tX.to(torch.bfloat16), net.predict(tX.to(torch.bfloat16).double().detach().numpy())),
    ):  # fmt: skip
        np.testing.assert_array_equal(net.predict(given), expected)
    assert tX.grad is None
    assert tX.requires_grad

    linear = torch.nn.Linear(2, 1)
    made = cr.Network([2, 1], W=[linear.weight], b=[linear.bias], dtype="float32")
    np.testing.assert_array_equal(made.layers[1].W, linear.weight.detach().numpy())
    made.layers[1].W[...] = 0
    assert linear.weight.any()
    made.layers[1].W = linear.weight
    np.testing.assert_array_equal(made.layers[1].W, linear.weight.detach().numpy())

    m = fitted()
    np.testing.assert_array_equal(m.predict(tX), m.predict(X))
    again = MLPRegressor(hidden_layer_sizes=(3,), solver="lbfgs", random_state=0)
    again.fit(tX, ty.ravel(), sample_weight=ts)
    m.fit(X, Y.ravel(), sample_weight=S)
    np.testing.assert_array_equal(again.coefs_[0], m.coefs_[0])
    assert m.score(tX, ty.ravel(), ts) == m.score(X, Y.ravel(), S)


@pytest.mark.needs("torch")
def test_tensors_without_numbers_are_refused() -> None:
    import torch

    for tensor in (
        torch.empty(6, 2, device="meta"), torch.tensor(X).to_sparse(),
    ):  # fmt: skip
        for ask in (network().predict, fitted().predict, network().forward):
            with pytest.raises(
                TypeError, match="X is a Tensor that cannot be turned into an array: "
            ):
                ask(tensor)
    with pytest.raises(TypeError, match="X has dtype complex128; expected numbers"):
        network().predict(torch.tensor(X) * 1j)


def test_objects_that_can_not_be_read() -> None:
    class Broken:
        def __array__(self, *args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("the device is gone\nsee the log")

    for ask in (network().predict, lambda X: network().gradient(X, Y)):
        with pytest.raises(
            TypeError, match="X is a Broken that cannot be turned into an array: the devi"
        ):
            ask(Broken())
        with pytest.raises(
            TypeError, match="X is a list that cannot be turned into an array: the devi"
        ):
            ask([Broken(), Broken()])
