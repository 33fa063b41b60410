"""Losses, activations, weights of classes and outputs, and dropout of the estimators."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sklearn.neural_network as theirs
from scipy.special import xlogy
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.class_weight import compute_sample_weight

import chainrule as cr
from chainrule.engines.reference import ReferenceEngine
from chainrule.equations.losses import LOSSES
from chainrule.sklearn import MLPClassifier, MLPRegressor
from tests.sklearn.beyond import (
    HELD,
    IRIS,
    KINDS,
    LABELS,
    MANY,
    NAMES,
    Array,
    classifier,
    regressor,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


# --- losses, activations, weights of outputs: the step is the gradient of what is reported -------

BY_HAND: dict[str, Callable[[Array, Array], Array]] = {
    "squared_error": lambda a, y: (a - y) ** 2,
    "half_squared_error": lambda a, y: (a - y) ** 2 / 2,
    "absolute_error": lambda a, y: np.abs(a - y),
    "huber": lambda a, y: np.where(np.abs(a - y) <= 1, (a - y) ** 2 / 2, np.abs(a - y) - 0.5),
    "log_loss": lambda a, y: -xlogy(y, a),
    "cross_entropy": lambda a, y: -xlogy(y, a),
    "binary_cross_entropy": lambda a, y: -xlogy(y, a) - xlogy(1 - y, 1 - a),
    "poisson": lambda a, y: a - xlogy(y, a),
}


def one_step_is_the_gradient(
    estimator: Any, X: Array, labels: Array, y: Array, cost: Callable[[Array, Array], Array]
) -> None:
    """One epoch of one batch moves the weights by η times the slope of the loss, by differences."""
    estimator.set_params(
        solver="sgd", momentum=0, learning_rate_init=0.5, batch_size=len(X), max_iter=1, alpha=0.3
    )
    after = estimator.fit(X, labels)
    before = clone(estimator).set_params(learning_rate_init=1e-300).fit(X, labels)
    predict = getattr(before, "predict_proba", before.predict)

    regression = isinstance(estimator, MLPRegressor)

    def parts() -> tuple[float, float]:
        a = predict(X).reshape(len(X), -1)
        a = a[:, -1:] if y.shape[1] == 1 else a  # the probability of the second of two classes
        squares = sum((W**2).sum() for W in before.coefs_)
        return float(cost(a, y).sum(axis=1).mean()), float(0.3 / len(X) / 2 * squares)

    data, penalty = parts()
    if regression and estimator.loss == "squared_error":
        data /= y.shape[1]  # scikit-learn reports the mean over outputs
    if regression and estimator.loss == "poisson":
        data += float((xlogy(y, y) - y).sum(axis=1).mean())  # and this constant
    assert before.loss_ == pytest.approx(data + penalty, rel=1e-12)
    rng = np.random.default_rng(0)
    for moved, W in zip(
        [*after.coefs_, *after.intercepts_], [*before.coefs_, *before.intercepts_], strict=True
    ):
        for _ in range(3):
            place = tuple(rng.integers(0, n) for n in W.shape)
            w, h = W[place], 1e-6
            W[place] = w + h
            up = sum(parts())
            W[place] = w - h
            down = sum(parts())
            W[place] = w
            slope = (up - down) / (2 * h)
            assert (w - moved[place]) / 0.5 == pytest.approx(slope, rel=2e-5, abs=2e-8)


@pytest.mark.parametrize("loss", ["log_loss", *sorted(set(LOSSES) - {"binary_cross_entropy"})])
def test_losses_of_classes(loss: str) -> None:
    y = np.eye(3)[KINDS]
    one_step_is_the_gradient(
        classifier(loss=loss, activation="tanh"), IRIS, NAMES, y, BY_HAND[loss]
    )


@pytest.mark.parametrize("loss", sorted(set(LOSSES) - {"cross_entropy"}))
def test_losses_of_two_classes(loss: str) -> None:
    y = (KINDS == 1)[:, None].astype(float)
    estimator = classifier(loss=loss, activation="tanh")
    one_step_is_the_gradient(estimator, IRIS, KINDS == 1, y, BY_HAND[loss])


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_losses_of_numbers(loss: str) -> None:
    y = np.abs(MANY[:, :1]) / (1 + np.abs(MANY[:, :1]))
    cost = BY_HAND["half_squared_error" if loss == "squared_error" else loss]
    if loss == "cross_entropy":
        y = np.concatenate([y, 1 - y], axis=1)
    one_step_is_the_gradient(regressor(loss=loss, activation="tanh"), IRIS, y.squeeze(), y, cost)


def test_a_loss_of_ones_own() -> None:
    class Quartic(cr.Loss):
        name = "quartic"
        formula = "(a - y)**4"
        derivative_formula = "4*(a - y)**3"

        def value(self, a: Array, y: Array) -> Array:
            return (a - y) ** 4

        def derivative(self, a: Array, y: Array) -> Array:
            return 4 * (a - y) ** 3

    one_step_is_the_gradient(
        regressor(loss=Quartic(), activation="tanh"), IRIS, MANY, MANY, lambda a, y: (a - y) ** 4
    )


@pytest.mark.parametrize(
    "activation",
    ["gelu", "sigmoid", ["silu", "softplus"], ["elu", "tanh"], [cr.Activation, "tanh"]],
)
def test_activations_of_layers(activation: Any) -> None:
    class Gaussian(cr.Activation):
        name = "gaussian"
        formula = "exp(-z**2)"
        derivative_formula = "-2*z*exp(-z**2)"

        def value(self, z: Array) -> Array:
            return np.exp(-(z**2))

        def derivative(self, z: Array, a: Array) -> Array:
            return -2 * z * a

    if isinstance(activation, list):
        activation = [Gaussian() if g is cr.Activation else g for g in activation]
    estimator = classifier(activation=activation)
    one_step_is_the_gradient(estimator, IRIS, NAMES, np.eye(3)[KINDS], BY_HAND["log_loss"])


def test_an_activation_of_the_output_layer() -> None:
    y = np.abs(MANY[:, :1])
    estimator = regressor(activation=["tanh", "silu", "softplus"])
    one_step_is_the_gradient(estimator, IRIS, y.ravel(), y, BY_HAND["half_squared_error"])
    assert estimator.out_activation_ == "softplus"
    assert (estimator.predict(IRIS) > 0).all()


def test_a_list_of_one_activation_draws_the_same_weights() -> None:
    for name in ("logistic", "relu"):
        a, b = classifier(activation=name), classifier(activation=[name, name])
        a, b = a.fit(IRIS, NAMES), b.fit(IRIS, NAMES)
        np.testing.assert_array_equal(a.predict_proba(IRIS), b.predict_proba(IRIS))


@pytest.mark.parametrize("kind", ["labels", "numbers", "classes"])
def test_weights_of_outputs(kind: str) -> None:
    u = np.array([3.0, 0.5]) if kind != "classes" else np.array([3.0, 0.5, 1.0])
    if kind == "numbers":
        cost = BY_HAND["half_squared_error"]
        estimator = regressor(output_weight=u, activation="tanh")
        one_step_is_the_gradient(estimator, IRIS, MANY, MANY, lambda a, y: u * cost(a, y))
        a = estimator.predict(IRIS)
        assert estimator.loss == "squared_error"
        return
    name = "binary_cross_entropy" if kind == "labels" else "log_loss"
    y = LABELS if kind == "labels" else np.eye(3)[KINDS]
    a = classifier(output_weight=u, activation="tanh")
    labels = LABELS if kind == "labels" else NAMES
    one_step_is_the_gradient(a, IRIS, labels, y, lambda a, y: u * BY_HAND[name](a, y))


# --- weights of classes, dropout ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weight", "y"),
    [
        ("balanced", NAMES[:120]),
        ({"setosa": 1, "versicolor": 5, "virginica": 0.5}, NAMES[:120]),
        ({0: 1, 1: 3}, (KINDS == 1).astype(int)[:120]),
        ([{0: 1, 1: 3}, {0: 2, 1: 1}], LABELS[:120]),
    ],
)
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.peer
def test_class_weight_is_theirs_as_sample_weight(
    given: bool, solver: str, weight: Any, y: Array
) -> None:
    X = IRIS[:120]
    options: dict[str, Any] = {
        "solver": solver,
        "max_iter": 12,
        "random_state": 0,
        "hidden_layer_sizes": (5,),
    }
    sample_weight = np.random.default_rng(0).random(120) if given else None
    product = compute_sample_weight(weight, y) * (1 if sample_weight is None else sample_weight)
    expected = theirs.MLPClassifier(**options).fit(X, y, sample_weight=product)
    found = MLPClassifier(**options, class_weight=weight).fit(X, y, sample_weight=sample_weight)
    np.testing.assert_allclose(found.predict_proba(X), expected.predict_proba(X), rtol=1e-9)
    assert found.loss_ == pytest.approx(expected.loss_, rel=1e-9)


@pytest.mark.peer
def test_class_weight_in_partial_fit() -> None:
    weight = {"setosa": 1, "versicolor": 5, "virginica": 0.5}
    a = theirs.MLPClassifier(random_state=0, alpha=0.1)
    b = MLPClassifier(random_state=0, alpha=0.1, class_weight=weight)
    for rows in (slice(0, 60), slice(40, 150)):
        given = {"classes": np.unique(NAMES)}
        each = compute_sample_weight({k: weight[k] for k in np.unique(NAMES[rows])}, NAMES[rows])
        a.partial_fit(IRIS[rows], NAMES[rows], sample_weight=each, **given)
        b.partial_fit(IRIS[rows], NAMES[rows], **given)
    np.testing.assert_allclose(b.predict_proba(IRIS), a.predict_proba(IRIS), rtol=1e-10)
    with pytest.raises(ValueError, match="class_weight 'balanced' is not supported by partial_fit"):
        b.set_params(class_weight="balanced").partial_fit(IRIS, NAMES)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("how", ["fit", "partial_fit"])
def test_weights_that_are_all_0_are_refused(how: str, solver: str) -> None:
    """By every scikit-learn, which itself does so from 1.9 on only."""
    if (how, solver) == ("partial_fit", "lbfgs"):
        return
    m = classifier(solver=solver)
    first = {"classes": np.unique(NAMES)} if how == "partial_fit" else {}
    with pytest.raises(ValueError, match="Sample weights must contain at least one non-zero"):
        getattr(m, how)(IRIS, NAMES, sample_weight=np.zeros(len(IRIS)), **first)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_weights_that_leave_no_sample_are_refused(early_stopping: bool, solver: str) -> None:
    options = {"solver": solver, "early_stopping": early_stopping}
    m = classifier(**options, class_weight={"setosa": 0})
    message = "class_weight leaves no sample with a weight"
    with pytest.raises(ValueError, match=message):
        m.fit(IRIS, NAMES, sample_weight=(NAMES == "setosa") * 1.0)
    if solver == "adam":
        with pytest.raises(ValueError, match=message):
            m.partial_fit(IRIS[:9], NAMES[:9], validation_data=HELD, classes=np.unique(NAMES))
    labels = classifier(**options, class_weight=[{0: 0, 1: 0}, {0: 1, 1: 1}])
    with pytest.raises(ValueError, match=message):
        labels.fit(IRIS, LABELS)
    with pytest.raises(ValueError, match=r"class_weight\[1\]\[0\] must be 0 or more, got -1"):
        labels.set_params(class_weight=[{0: 0, 1: 0}, {0: -1, 1: 1}]).fit(IRIS, LABELS)


def test_dropout_takes_the_step_of_the_networks_own_gradient() -> None:
    options: dict[str, Any] = {"solver": "sgd", "momentum": 0, "batch_size": 150, "max_iter": 1}
    options |= {"shuffle": False, "alpha": 0.3}
    after = classifier(**options, dropout=[0.5, 0.2], learning_rate_init=0.5).fit(IRIS, NAMES)
    before = classifier(**options, dropout=[0.5, 0.2], learning_rate_init=1e-300).fit(IRIS, NAMES)
    g = before.network_.gradient(IRIS, KINDS, dropout_step=0)
    assert before.loss_ == pytest.approx(g.loss, rel=1e-12)
    for l in (1, 2, 3):
        moved = (before.coefs_[l - 1] - after.coefs_[l - 1]) / 0.5
        np.testing.assert_allclose(moved, g.dW[l].T, rtol=1e-9, atol=1e-12)
    plain = classifier(**options).fit(IRIS, NAMES)
    assert plain.loss_ != pytest.approx(g.loss, rel=1e-3)


def test_dropout_leaves_the_draws_of_weights_alone_and_repeats_itself() -> None:
    fits = [classifier(dropout=p, max_iter=3).fit(IRIS, NAMES) for p in (0.0, 0.3, 0.3)]
    np.testing.assert_array_equal(fits[1].predict_proba(IRIS), fits[2].predict_proba(IRIS))
    assert not np.array_equal(fits[0].predict_proba(IRIS), fits[1].predict_proba(IRIS))
    np.testing.assert_array_equal(fits[1].predict_proba(IRIS), fits[1].predict_proba(IRIS))


@pytest.mark.parametrize(
    "options",
    [{"loss": "poisson"}, {"loss": "poisson", "output_weight": [2.0]}, {"momentum": 1.0},
     {"momentum": 1.0, "nesterovs_momentum": False}, {"output_weight": [2.0]}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_nothing_is_left_to_numpy(
    monkeypatch: pytest.MonkeyPatch, solver: str, options: dict[str, Any]
) -> None:
    pytest.importorskip("chainrule.engines._native", reason="a pure Python installation")

    def refuse(*given: Any) -> None:
        raise AssertionError("the reference engine trains")

    monkeypatch.setattr(ReferenceEngine, "run_epoch", refuse)
    X = np.random.default_rng(0).normal(size=(40, 3))
    made = MLPRegressor(
        hidden_layer_sizes=(4,), solver=solver, learning_rate_init=1e-4, max_iter=3, **options
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert np.isfinite(made.fit(X, np.exp(X[:, 0])).loss_)
