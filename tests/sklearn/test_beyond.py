"""What MLPClassifier and MLPRegressor have beyond scikit-learn's, and how they fit in with it."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sklearn.neural_network as theirs
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import xlogy
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

import chainrule as cr
from chainrule.engines.native import NativeEngine
from chainrule.equations.losses import LOSSES
from chainrule.sklearn import MLPClassifier, MLPRegressor, networks

Array = NDArray[Any]
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

IRIS, KINDS = load_iris(return_X_y=True)
IRIS = (IRIS - IRIS.mean(axis=0)) / IRIS.std(axis=0)
NAMES = np.array(["setosa", "versicolor", "virginica"])[KINDS]
MANY = np.stack([np.sin(IRIS[:, 0]), IRIS[:, 1] * IRIS[:, 2]], axis=1)
LABELS = (MANY > 0.1).astype(int)
SMALL: dict[str, Any] = {"hidden_layer_sizes": (6, 4), "max_iter": 20, "random_state": 0}


def classifier(**options: Any) -> Any:
    return MLPClassifier(**SMALL | options)


def regressor(**options: Any) -> Any:
    return MLPRegressor(**SMALL | options)


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


# --- validation, early stopping, callbacks --------------------------------------------------------


def test_validation_losses_are_those_of_the_held_out_rows() -> None:
    X, y, X_val, y_val = IRIS[::2], NAMES[::2], IRIS[1::2], NAMES[1::2]
    weights = np.linspace(0, 1, len(X_val))
    m = classifier(alpha=0.2, batch_size=25).fit(X, y, validation_data=(X_val, y_val, weights))
    assert len(m.validation_loss_curve_) == m.n_iter_ == 20
    losses = -np.log(m.predict_proba(X_val)[np.arange(75), KINDS[1::2]])
    squares = sum((W**2).sum() for W in m.coefs_)
    expected = np.average(losses, weights=weights) + 0.2 / 25 / 2 * squares
    assert m.validation_loss_curve_[-1] == pytest.approx(expected, rel=1e-12)
    assert m.history_.val_loss == m.validation_loss_curve_
    assert m.history_.loss == m.loss_curve_
    assert m.validation_scores_ is None  # it does not decide when to stop
    same = classifier(alpha=0.2, batch_size=25).fit(X, y)
    np.testing.assert_array_equal(m.predict_proba(X), same.predict_proba(X))
    assert same.validation_loss_curve_ is None


def test_the_rows_that_early_stopping_splits_off_have_a_loss_curve_too() -> None:
    m = classifier(early_stopping=True, max_iter=7).fit(IRIS, NAMES)
    assert len(m.validation_loss_curve_) == len(m.validation_scores_) == 7
    assert m.history_.val_score == m.validation_scores_


@pytest.mark.parametrize("make", [classifier, regressor])
def test_early_stopping_on_rows_that_were_handed_in(make: Any) -> None:
    y = NAMES if make is classifier else MANY[:, 0]
    validation = (IRIS[::3], y[::3])
    m = make(early_stopping=True, max_iter=300, learning_rate_init=0.05, n_iter_no_change=5)
    m.fit(IRIS, y, validation_data=validation)
    assert m.stopped_
    assert m.n_iter_ < 300
    assert m.best_validation_score_ == max(m.validation_scores_)
    assert m.history_.best_epoch == m.validation_scores_.index(max(m.validation_scores_)) + 1
    assert m.score(*validation) == pytest.approx(m.best_validation_score_, rel=1e-12)


@pytest.mark.parametrize("make", [classifier, regressor])
def test_early_stopping_with_partial_fit(make: Any) -> None:
    y = NAMES if make is classifier else MANY[:, 0]
    first = {"classes": np.unique(NAMES)} if make is classifier else {}
    validation = (IRIS[::3], y[::3])
    m = make(early_stopping=True, learning_rate_init=0.05, n_iter_no_change=5)
    with pytest.raises(ValueError, match=r"Pass it: partial_fit\(X, y, validation_data="):
        m.partial_fit(IRIS, y, **first)
    calls = 0
    while calls < 300:
        calls += 1
        m.partial_fit(IRIS, y, validation_data=validation, **first)
        if m.stopped_:
            break
    assert 5 < calls < 300
    assert len(m.validation_scores_) == len(m.history_.epoch) == calls
    assert m.score(*validation) == pytest.approx(max(m.validation_scores_), rel=1e-12)
    m.partial_fit(IRIS, y, validation_data=validation)  # who wants more can have more
    assert len(m.validation_scores_) == calls + 1


def test_callbacks_see_the_run_and_can_end_it() -> None:
    seen: list[tuple[int, float]] = []

    def watch(run: Any) -> None:
        seen.append((run.epoch, run.history.loss[-1]))
        if run.epoch == 4:
            run.stop("enough")

    m = classifier(callbacks=[watch]).fit(IRIS, NAMES)
    assert seen == list(enumerate(m.loss_curve_, start=1))
    assert m.n_iter_ == 4
    assert m.history_.stop_reason == "enough"
    assert m.stopped_
    assert not classifier(max_iter=2).fit(IRIS, NAMES).stopped_


def test_a_callback_can_tell_partial_fit_that_it_is_enough() -> None:
    m = regressor(callbacks=[lambda run: run.stop("enough") if run.epoch == 3 else None])
    stopped = [m.partial_fit(IRIS, MANY).stopped_ for _ in range(4)]
    assert stopped == [False, False, True, False]  # who goes on after it has gone on
    assert m.history_.stop_reason is None


class Memory(cr.Callback):
    """Has seen so many epochs of a run; what a logger has delivered, say."""

    def on_start(self, run: Any) -> None:
        self.seen, self.ended = 0, False

    def on_epoch_end(self, run: Any) -> None:
        self.seen += 1

    def on_end(self, run: Any) -> None:
        self.ended = True

    def save_state(self) -> dict[str, Any]:
        return {"seen": self.seen, "ended": self.ended}

    def load_state(self, state: Any) -> None:
        assert state["ended"]
        self.seen = state["seen"]


def test_callbacks_go_on_with_their_state_in_partial_fit() -> None:
    memory = Memory()
    m = regressor(callbacks=[memory], max_iter=3).fit(IRIS, MANY)
    for epochs in (4, 5):
        m.partial_fit(IRIS, MANY)
        assert memory.seen == len(m.history_.epoch) == epochs
    again = pickle.loads(pickle.dumps(m)).partial_fit(IRIS, MANY)
    assert again.callbacks[0].seen == 6
    m.set_params(callbacks=[print, Memory()]).partial_fit(IRIS, MANY)
    assert m.callbacks[1].seen == 1  # others than before start anew
    assert m.fit(IRIS, MANY).callbacks[1].seen == 3


@pytest.mark.parametrize("make", [classifier, regressor])
def test_a_callback_that_needs_a_run_of_epochs_is_refused_by_partial_fit(make: Any) -> None:
    first = {"classes": np.unique(NAMES)} if make is classifier else {}
    m = make(callbacks=[print, cr.EarlyStopping("loss", patience=2)])
    with pytest.raises(ValueError, match=r"early_stopping=True.*validation_data=.*stopped_"):
        m.partial_fit(IRIS, NAMES if first else MANY, **first)
    assert not hasattr(m, "coefs_")


def test_the_history_keeps_its_rows_when_validation_comes_and_goes() -> None:
    held = (IRIS[:9], MANY[:9])
    m = regressor().partial_fit(IRIS, MANY)
    m.partial_fit(IRIS, MANY, validation_data=held)
    m.partial_fit(IRIS, MANY)
    m.set_params(early_stopping=True).partial_fit(IRIS, MANY, validation_data=held)
    h, nan = m.history_, np.nan
    assert h.epoch == [1, 2, 3, 4]
    assert h.loss == m.loss_curve_
    first, last = m.validation_loss_curve_
    np.testing.assert_array_equal(h.val_loss, [nan, first, nan, last])
    np.testing.assert_array_equal(h.val_score, [nan, nan, nan, *m.validation_scores_])
    assert list(h) == ["epoch", "loss", "val_loss", "val_score", "learning_rate", "seconds"]
    assert h.best_epoch == 4
    assert all(s > 0 for s in h.seconds)
    m.fit(IRIS, MANY)
    assert len(m.history_.epoch) == m.n_iter_  # a new fit, a new history


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"beta_2": 0.5}, [0.001] * 4),
        ({"solver": "sgd", "learning_rate": "constant"}, [0.001] * 4),
        (
            {"solver": "sgd", "learning_rate": "invscaling"},
            [0.001, *(0.001 / (150 * k + 1) ** 0.5 for k in (1, 2, 3))],
        ),
    ],
)
@pytest.mark.peer
def test_the_learning_rate_in_the_history_is_the_nominal_one(
    options: Any, expected: list[float], tmp_path: Path
) -> None:
    log = cr.CSVLogger(tmp_path / "log.csv")
    m = classifier(max_iter=4, callbacks=[log], **options).fit(IRIS, NAMES)
    assert m.history_.learning_rate == pytest.approx(expected, rel=1e-15)
    assert pd.read_csv(log.path)["learning_rate"].tolist() == m.history_.learning_rate
    more = classifier(**options)
    for _ in range(2):
        more.partial_fit(IRIS, NAMES, classes=np.unique(NAMES))
    assert more.history_.learning_rate == pytest.approx(expected[:2], rel=1e-15)
    if more.solver == "adam":  # scikit-learn's own attribute stays what it is there
        same = theirs.MLPClassifier((6, 4), max_iter=4, random_state=0, **options)
        rate = same.fit(IRIS, NAMES)._optimizer.learning_rate
        assert m._optimizer.learning_rate == pytest.approx(rate, rel=1e-12)


def test_the_packages_early_stopping_puts_the_best_weights_back() -> None:
    stop = cr.EarlyStopping("val_loss", patience=3)
    m = classifier(callbacks=[stop], max_iter=400, learning_rate_init=0.05)
    m.fit(IRIS[::2], NAMES[::2], validation_data=(IRIS[1::2], NAMES[1::2]))
    best = min(m.validation_loss_curve_)
    assert m.n_iter_ == 3 + m.history_.best_epoch < 400
    y = KINDS[1::2]
    loss = -np.log(m.predict_proba(IRIS[1::2])[np.arange(75), y]).mean() + m.network_.penalty()
    assert loss == pytest.approx(best, rel=1e-9)


def test_ctrl_c_keeps_what_was_learned() -> None:
    def interrupt(run: Any) -> None:
        if run.epoch == 3:
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="Training interrupted by user"):
        m = classifier(callbacks=[interrupt]).fit(IRIS, NAMES)
    same = classifier(max_iter=3).fit(IRIS, NAMES)
    np.testing.assert_array_equal(m.predict_proba(IRIS), same.predict_proba(IRIS))


def test_losses_are_numpys_numbers_as_theirs() -> None:
    for options in ({}, {"early_stopping": True}, {"solver": "lbfgs"}):
        m = classifier(**options).fit(IRIS, NAMES)
        found = [m.loss_, *getattr(m, "loss_curve_", []), getattr(m, "best_loss_", None)]
        assert {type(loss) for loss in found if loss is not None} == {np.float64}
        if not options:
            assert type(m.best_loss_) is np.float64
            assert {type(value) for value in m.history_.loss} == {float}  # for files and services
    with pytest.raises(ValueError, match="non-finite"):
        regressor(solver="sgd", learning_rate_init=1e200).fit(IRIS, MANY)


# --- the network inside, explanations -------------------------------------------------------------


def test_coefs_are_the_networks_own() -> None:
    m = classifier().fit(IRIS, NAMES)
    np.testing.assert_array_equal(m.network_.predict(IRIS), m.predict_proba(IRIS))
    m.coefs_[0][1, 2] = 7
    assert m.network_.layers[1].W[2, 1] == 7
    m.network_.layers[3].b[0] = -5
    assert m.intercepts_[2][0] == -5
    np.testing.assert_array_equal(m.network_.predict(IRIS), m.predict_proba(IRIS))


def test_arrays_that_are_put_in_their_place_count() -> None:
    m, other = classifier().fit(IRIS, NAMES), classifier(random_state=1).fit(IRIS, NAMES)
    m.coefs_, m.intercepts_ = [W.copy() for W in other.coefs_], list(other.intercepts_)
    np.testing.assert_array_equal(m.predict_proba(IRIS), other.predict_proba(IRIS))
    m.coefs_[1][0, 0] += 1
    assert not np.array_equal(m.predict_proba(IRIS), other.predict_proba(IRIS))
    assert m.network_.layers[2].W[0, 0] == m.coefs_[1][0, 0]
    m.set_params(activation="tanh")  # as scikit-learn's, it takes the parameters as they are now
    assert m.network_.layers[1].activation.name == "tanh"


@pytest.mark.parametrize("given", [None, np.linspace(0, 2, 150)])
def test_what_explain_says_is_the_step(given: Array | None) -> None:
    options: dict[str, Any] = {"solver": "sgd", "momentum": 0, "batch_size": 150, "max_iter": 1}
    before = classifier(**options, learning_rate_init=1e-300, alpha=0.3)
    after = classifier(**options, learning_rate_init=0.5, alpha=0.3)
    before, after = (m.fit(IRIS, NAMES, sample_weight=given) for m in (before, after))
    why = before.explain("w[2][1,4]", IRIS, NAMES, sample_weight=given)
    step = (before.coefs_[1][4, 1] - after.coefs_[1][4, 1]) / 0.5
    assert why.value == pytest.approx(step, rel=1e-9)
    assert why.penalty is not None


@pytest.mark.peer
def test_explain_of_several_outputs_is_the_gradient_that_training_follows() -> None:
    options: dict[str, Any] = {"solver": "sgd", "momentum": 0, "batch_size": 150, "max_iter": 1}
    before = theirs.MLPRegressor(
        hidden_layer_sizes=5, **options, learning_rate_init=1e-300, random_state=0
    )
    after = theirs.MLPRegressor(
        hidden_layer_sizes=5, **options, learning_rate_init=0.5, random_state=0
    )
    before, after = before.fit(IRIS, MANY), after.fit(IRIS, MANY)
    why = cr.explain_sklearn(before, "w[1][2,3]", IRIS, MANY)
    step = (before.coefs_[0][3, 2] - after.coefs_[0][3, 2]) / 0.5
    assert why.value == pytest.approx(step, rel=1e-9)


COLUMNS = ["sepal length (cm)", "colour=red", "odd ] [name", "7"]
FRAME = pd.DataFrame(IRIS, columns=COLUMNS)


@pytest.mark.parametrize("module", [theirs, cr.sklearn])
def test_explanations_know_the_names_of_columns_and_classes(module: Any) -> None:
    m = module.MLPClassifier((6, 4), max_iter=5, random_state=0).fit(FRAME, NAMES)
    for named, plain in {
        "x[sepal length (cm)]": "x[0]", "w[1][2,colour=red]": "w[1][2,1]",
        "w[1][2, odd ] [name]": "w[1][2,2]", "x[3]": "x[3]", "a[3][versicolor]": "a[3][1]",
        "b[3][virginica]": "b[3][2]", " z[3][ setosa ] ": "z[3][0]", "b[1][2]": "b[1][2]",
    }.items():  # fmt: skip
        why = cr.explain_sklearn(m, named, FRAME[:9], NAMES[:9])
        assert why.value == m_explains(m, plain)
    text = str(cr.explain_sklearn(m, "w[1][2,colour=red]", FRAME[:9], NAMES[:9]))
    assert "  colour=red:\n    x₁ = " in text
    text = str(cr.explain_sklearn(m, "b[3][virginica]", FRAME[:9], NAMES[:9]))
    assert "probability of virginica:\n" in text
    assert "1 for virginica, else 0:\n" in text
    text = str(cr.explain_sklearn(m, "b[3][2]", FRAME[:9], NAMES[:9], names=None))
    assert "virginica" not in text
    with pytest.raises(ValueError, match=r"x\[sepal\]: there is no 'sepal'; there are 'sepal"):
        cr.explain_sklearn(m, "x[sepal]", FRAME[:9], NAMES[:9])
    with pytest.raises(ValueError, match=r"a\[3\]\[rosa\]: there is no 'rosa'; .* 'versicolor'"):
        cr.explain_sklearn(m, "a[3][rosa]", FRAME[:9], NAMES[:9])
    m.fit(IRIS, NAMES)
    with pytest.raises(ValueError, match=r"x\[rosa\]"):
        cr.explain_sklearn(m, "x[rosa]", IRIS[:9], NAMES[:9])


def m_explains(m: Any, target: str) -> float:
    """Return a derivative in the network inside a classifier, by indices."""
    inside = classifier(hidden_layer_sizes=(6, 4), max_iter=5).fit(IRIS, NAMES)
    np.testing.assert_array_equal(inside.coefs_[0].shape, m.coefs_[0].shape)
    inside.coefs_, inside.intercepts_ = m.coefs_, m.intercepts_
    return float(inside.explain(target, IRIS[:9], NAMES[:9]).value)


def test_the_names_of_two_classes_and_of_numbers() -> None:
    m = classifier(max_iter=3).fit(FRAME, np.where(KINDS == 1, "yes", "no"))
    why = m.explain("a[3][yes]", FRAME[:9], ["no"] * 9)
    assert "probability of yes" in str(why)
    with pytest.raises(ValueError, match="there is no 'no'; there are 'yes'"):
        m.explain("a[3][no]", FRAME[:9], ["no"] * 9)
    r = regressor(max_iter=3).fit(FRAME, MANY)
    assert "colour=red" in str(r.explain("x[colour=red]", FRAME[:9], MANY[:9]))
    with pytest.raises(ValueError, match=r"a\[3\]\[yes\]"):
        r.explain("a[3][yes]", FRAME[:9], MANY[:9])


@pytest.mark.parametrize(
    ("make", "y"),
    [
        (theirs.MLPClassifier(5), NAMES),
        (theirs.MLPClassifier((4, 3), activation="tanh"), KINDS == 1),
        (theirs.MLPClassifier(5, activation="logistic", solver="lbfgs"), LABELS),
        (theirs.MLPRegressor(hidden_layer_sizes=5), MANY[:, 0]),
        (theirs.MLPRegressor("poisson", 5, "tanh"), np.arange(150) % 4),
    ],
)
def test_explain_sklearn_takes_a_fitted_estimator_as_it_is(make: Any, y: Array) -> None:
    fitted = make.set_params(max_iter=5, random_state=0).fit(IRIS, y)
    before = {k: copy.deepcopy(v) for k, v in vars(fitted).items()}
    why = cr.explain_sklearn(fitted, "w[1][2,0]", IRIS[:7], y[:7])
    assert why.certificate.verdict == "pass"
    assert vars(fitted).keys() == before.keys()
    np.testing.assert_array_equal(fitted.coefs_[0], before["coefs_"][0])


def test_explain_sklearn_goes_through_pipelines_and_searches() -> None:
    scaled = make_pipeline(StandardScaler(), theirs.MLPClassifier(5, max_iter=5, random_state=0))
    scaled.fit(7 * IRIS, NAMES)
    inner = scaled[-1]
    expected = cr.explain_sklearn(inner, "b[1][0]", scaled[0].transform(7 * IRIS), NAMES).value
    assert cr.explain_sklearn(scaled, "b[1][0]", 7 * IRIS, NAMES).value == expected
    search = GridSearchCV(scaled, {"mlpclassifier__alpha": [1e-4]}, cv=2).fit(7 * IRIS, NAMES)
    assert cr.explain_sklearn(search, "b[1][0]", 7 * IRIS, NAMES).value == pytest.approx(expected)


@pytest.mark.parametrize("inside", [theirs.MLPClassifier(5), make_pipeline(classifier())])
def test_explain_sklearn_says_what_a_search_lacks(inside: Any) -> None:
    grid: Any = (
        {"random_state": [0]} if isinstance(inside, theirs.MLPClassifier) else {"steps": [[]]}
    )
    search = GridSearchCV(inside, grid, cv=2)
    with pytest.raises(NotFittedError, match="GridSearchCV instance is not fitted"):
        cr.explain_sklearn(search, "b[1][0]", IRIS, NAMES)
    with pytest.raises(NotFittedError, match="GridSearchCV instance is not fitted"):
        cr.explain_sklearn(make_pipeline(StandardScaler(), search), "b[1][0]", IRIS, NAMES)
    if isinstance(inside, theirs.MLPClassifier):
        search.set_params(refit=False).fit(IRIS, NAMES)
        with pytest.raises(ValueError, match=r"GridSearchCV\(refit=False\) keeps no fitted estim"):
            cr.explain_sklearn(search, "b[1][0]", IRIS, NAMES)


def test_explain_sklearn_refuses_what_it_does_not_know() -> None:
    with pytest.raises(TypeError, match="fitted is a StandardScaler; expected a fitted MLPClassif"):
        cr.explain_sklearn(StandardScaler().fit(IRIS), "b[1][0]", IRIS, NAMES)
    with pytest.raises(NotFittedError):
        cr.explain_sklearn(theirs.MLPClassifier(), "b[1][0]", IRIS, NAMES)
    with pytest.raises(NotFittedError):
        cr.explain_sklearn(make_pipeline(StandardScaler(), classifier()), "b[1][0]", IRIS, NAMES)
    fitted = classifier().fit(IRIS, NAMES)
    with pytest.raises(ValueError, match="y has the class 'rosa'; expected one of"):
        fitted.explain("b[1][0]", IRIS[:1], ["rosa"])
    with pytest.raises(ValueError, match=r"w\[4\]\[0,0\]: the network has layers 1 to 3"):
        fitted.explain("w[4][0,0]", IRIS[:1], NAMES[:1])


# --- bad input of what is new ---------------------------------------------------------------------

HELD = (IRIS[:9], NAMES[:9])


@pytest.mark.parametrize(
    ("options", "fit", "message"),
    [
        ({"activation": ["relu"]}, {}, r"activation has 1 entries; hidden_layer_sizes has 2"),
        ({"activation": ["relu", "none"]}, {}, "unknown activation 'none'"),
        ({"activation": ["relu", "softmax"]}, {}, "'softmax' is for the output layer"),
        ({"activation": "none"}, {}, "The 'activation' parameter of MLPClassifier must be"),
        ({"dropout": [0.1]}, {}, "dropout has 1 entries; hidden_layer_sizes has 2"),
        ({"dropout": 1.0}, {}, "The 'dropout' parameter of MLPClassifier must be"),
        ({"dropout": [0.1, 1.5]}, {}, "dropout must be below 1, got 1.5"),
        ({"dropout": 0.1, "solver": "lbfgs"}, {}, "dropout needs solver='adam' or 'sgd'"),
        ({"callbacks": [print], "solver": "lbfgs"}, {}, "callbacks needs solver='adam' or 'sgd'"),
        ({"callbacks": [3]}, {}, r"callbacks\[0\] must be a Callback or a function, got 3"),
        ({"loss": "none"}, {}, "The 'loss' parameter of MLPClassifier must be"),
        ({"loss": "binary_cross_entropy"}, {}, "'binary_cross_entropy' needs output='sigmoid'"),
        ({"output_weight": [1, 2]}, {}, r"output_weight has shape \(2,\); expected \(3,\)"),
        ({"output_weight": [1, -2, 3]}, {}, r"output_weight is \[1.*-2.*; expected finite"),
        ({"class_weight": {"rosa": 1}}, {}, "The classes, .* are not in class_weight"),
        ({"class_weight": dict.fromkeys(set(NAMES), 0)}, {}, "class_weight leaves no sample"),
        ({"class_weight": {"setosa": np.nan}}, {}, r"class_weight\['setosa'\] must be 0 or more"),
        ({"class_weight": {"setosa": -1}}, {}, r"class_weight\['setosa'\] must be 0 or more"),
        ({"class_weight": {"setosa": np.inf}}, {}, r"class_weight\['setosa'\] must be 0 or more"),
        ({"class_weight": {"setosa": "a"}}, {}, r"class_weight\['setosa'\] must be a number"),
        ({"class_weight": [1, 2, 3]}, {}, "class_weight is .1, 2, 3.; expected a dict, 'balanced'"),
        ({"output_weight": ["a"] * 3}, {}, r"output_weight is \['a', 'a'.*; expected numbers"),
        ({"output_weight": {"a": 1}}, {}, r"output_weight is \{'a': 1\}; expected numbers"),
        ({"output_weight": [[1], [1, 2]]}, {}, r"output_weight is \[\[1\], .*; expected numbers"),
        ({"output_weight": ["1", "2", "3"]}, {}, "output_weight is .*; expected numbers, one for"),
        ({"dropout": ["a", 0.1]}, {}, r"dropout is \['a', 0.1\]; expected numbers"),
        ({"dropout": ["0.1", "0.2"]}, {}, "dropout is .*; expected numbers, one for each hidden"),
        ({"dropout": [{}, 0.1]}, {}, r"dropout is \[\{\}, 0.1\]; expected numbers"),
        ({"dropout": [[0.1], [0.1]]}, {}, "dropout is .*; expected numbers"),
        ({"dropout": [[0.1], 0.1]}, {}, "dropout is .*; expected numbers"),
        ({"dropout": [np.nan, 0.1]}, {}, "dropout must be"),
        ({"class_weight": "heavy"}, {}, "The 'class_weight' parameter of MLPClassifier must be"),
        ({}, {"validation_data": 3}, r"validation_data has type int; expected \(X, y\) or"),
        ({}, {"validation_data": (IRIS,)}, r"validation_data has length 1; expected \(X, y\) or"),
        ({}, {"validation_data": (IRIS[:, 1:], NAMES)}, "validation_data: X has 3 features"),
        ({}, {"validation_data": (IRIS[:1], ["rosa"])}, "validation_data: y has the class 'rosa'"),
        ({"solver": "lbfgs"}, {"validation_data": HELD}, "validation_data needs solver='adam'"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(options: Any, fit: Any, message: str) -> None:
    m = classifier(**options)
    with pytest.raises((ValueError, TypeError), match=message):
        m.fit(IRIS, NAMES, **fit)
    later = fit or "class_weight" in options
    assert later or not hasattr(m, "coefs_"), "it calls itself fitted"


SHAPES: list[tuple[Any, Array, tuple[Any, ...], str]] = [
    (regressor(), MANY[:, 0], (MANY[:9],), r"y has shape \(9, 2\); expected \(9,\), 1 output"),
    (regressor(), MANY, (MANY[:9, 0],), r"y has shape \(9,\); expected \(9, 2\), 2 outputs"),
    (regressor(), MANY, (IRIS[:9, :3],), r"y has shape \(9, 3\); expected \(9, 2\), 2 outputs"),
    (regressor(), MANY, (MANY[:8],), "inconsistent numbers of samples"),
    (regressor(), MANY[:, 0], (["a"] * 9,), "y has dtype <U1; expected numbers"),
    (regressor(), MANY, (MANY[:9], np.zeros(9)), "weights"),
    (regressor(loss="poisson"), KINDS, (KINDS[:9] - 1.0,), "y.* is -1; loss 'poisson' needs count"),
    (
        regressor(loss="binary_cross_entropy"), KINDS > 0, (KINDS[-9:],),
        "y.* is 2; loss 'binary_cross_entropy' needs probabilities",
    ),
    (classifier(), LABELS, (KINDS[:9],), r"y has shape \(9,\); expected \(9, 2\), 0 or 1 for"),
    (classifier(), LABELS, (IRIS[:9] > 0,), r"y has shape \(9, 4\); expected \(9, 2\), 0 or 1 for"),
    (classifier(), LABELS, (2 * LABELS[::17],), r"y has the label 2; expected 0 or 1"),
    (classifier(), NAMES, (LABELS[:9],), r"y has shape \(9, 2\); expected \(9,\), one class"),
    (classifier(), NAMES, (KINDS[:9],), "y has the class 0; expected one of .*setosa"),
    (classifier(early_stopping=True), NAMES, (NAMES[:1],), "1 row; early_stopping needs 2 or more"),
    (regressor(early_stopping=True), MANY, (MANY[:1],), "1 row; early_stopping needs 2 or more"),
]  # fmt: skip


@pytest.mark.parametrize("how", ["fit", "partial_fit"])
@pytest.mark.parametrize(("estimator", "y", "given", "message"), SHAPES)
def test_validation_data_that_do_not_belong_to_y_are_refused(
    how: str, estimator: Any, y: Array, given: tuple[Any, ...], message: str
) -> None:
    n = 1 if "1 row" in message else 9
    m = clone(estimator)
    first: dict[str, Any] = {}
    if isinstance(m, MLPClassifier) and how != "fit":
        first = {"classes": [0, 1] if y is LABELS else np.unique(y)}
    with pytest.raises(ValueError, match=f"^validation_data: .*{message}"):
        getattr(m, how)(IRIS, y, validation_data=(IRIS[:n], *given), **first)


def test_validation_data_as_columns_lists_and_labels_of_any_kind_are_taken() -> None:
    plain = regressor().fit(IRIS, MANY[:, 0], validation_data=(IRIS[:9], MANY[:9, 0]))
    column = regressor().fit(IRIS, MANY[:, 0], validation_data=(IRIS[:9], MANY[:9, :1].tolist()))
    assert plain.validation_loss_curve_ == column.validation_loss_curve_
    a = classifier().fit(IRIS, LABELS, validation_data=(IRIS[:9], LABELS[:9]))
    for labels in (LABELS[:9].astype(bool), LABELS[:9].tolist(), sparse.csr_matrix(LABELS[:9])):
        b = classifier().fit(IRIS, LABELS, validation_data=(IRIS[:9], labels))
        assert a.validation_loss_curve_ == b.validation_loss_curve_
    a = classifier().fit(IRIS, NAMES, validation_data=(IRIS[:9], NAMES[:9, None].tolist()))
    b = classifier().fit(IRIS, NAMES, validation_data=(IRIS[:1], NAMES[:1].astype(object)))
    assert len(a.validation_loss_curve_) == len(b.validation_loss_curve_)


def test_targets_that_a_loss_cannot_take_are_refused() -> None:
    with pytest.raises(ValueError, match="loss 'binary_cross_entropy' needs probabilities"):
        regressor(loss="binary_cross_entropy").fit(IRIS, 3 * MANY)
    m = regressor(output_weight=[1, 2]).fit(IRIS, MANY)
    with pytest.raises(
        ValueError, match="output_weight is set, and explain cannot state such a loss"
    ):
        m.explain("b[1][0]", IRIS, MANY)


# --- among scikit-learn's other things ------------------------------------------------------------


def test_pickle_joblib_clone_and_copies(tmp_path: Path) -> None:
    m = classifier(dropout=0.1).partial_fit(IRIS, NAMES, classes=np.unique(NAMES))
    joblib.dump(m, tmp_path / "m.joblib")
    twins = [pickle.loads(pickle.dumps(m)), copy.deepcopy(m), joblib.load(tmp_path / "m.joblib")]
    twins.append(joblib.load(tmp_path / "m.joblib", mmap_mode="r"))
    expected = m.predict_proba(IRIS)
    m.partial_fit(IRIS, NAMES)
    for twin in twins:
        np.testing.assert_array_equal(twin.predict_proba(IRIS), expected)
        assert twin.network_.predict(IRIS).base is not expected
        twin.coefs_[0][0, 0] += 0.0  # writable, and the network's own
        assert np.shares_memory(twin.coefs_[0], twin.network_.parameters)
        twin.partial_fit(IRIS, NAMES)  # goes on as if nothing had happened: the same bits
        np.testing.assert_array_equal(twin.predict_proba(IRIS), m.predict_proba(IRIS))
    fresh = clone(m)
    assert fresh.get_params() == m.get_params()
    assert not hasattr(fresh, "coefs_")


FRAMES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "pandas": (lambda f: f, lambda y: pd.Series(y)),
    "polars": (pl.from_pandas, lambda y: pl.Series(list(y))),
    "pyarrow": (pa.Table.from_pandas, lambda y: pa.array(list(y))),
}


@pytest.mark.parametrize("library", list(FRAMES))
def test_dataframes_go_in(library: str) -> None:
    frame, series = FRAMES[library]
    columns = ["sepal length", "sepal width", "petal length", "petal width"]
    X, y = frame(pd.DataFrame(IRIS, columns=columns)), series(NAMES)
    expected = classifier().fit(IRIS, NAMES)
    m = classifier().fit(X, y, validation_data=(X, y))
    assert list(m.feature_names_in_) == columns
    np.testing.assert_array_equal(m.predict_proba(X), expected.predict_proba(IRIS))
    assert m.score(X, y) == expected.score(IRIS, NAMES)
    assert m.explain("b[1][0]", X, y).value == expected.explain("b[1][0]", IRIS, NAMES).value
    turned = frame(pd.DataFrame(IRIS, columns=columns)[columns[::-1]])
    with pytest.raises(ValueError, match="feature names should match"):
        m.predict(turned)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        m.predict(IRIS)
    r = regressor().fit(X, series(MANY[:, 0]))
    np.testing.assert_array_equal(r.predict(X), regressor().fit(IRIS, MANY[:, 0]).predict(IRIS))


def test_pipelines_searches_and_cross_validation() -> None:
    piped = make_pipeline(
        StandardScaler(), classifier(hidden_layer_sizes=16, max_iter=80, learning_rate_init=0.05)
    )
    assert cross_val_score(piped, IRIS, NAMES, cv=3).mean() > 0.9
    grid = {"mlpclassifier__class_weight": [None, "balanced"], "mlpclassifier__dropout": [0, 0.1]}
    search = GridSearchCV(piped, grid, cv=2).fit(IRIS, NAMES)
    assert search.best_score_ > 0.9
    assert "class_weight='balanced'" in repr(classifier(class_weight="balanced"))


def test_large_sparse_data_are_never_dense_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    X = np.where(np.abs(IRIS) > 0.7, IRIS, 0)
    largest = 0
    whole = sparse.csr_matrix.toarray

    def toarray(self: Any, *arguments: Any, **options: Any) -> Array:
        nonlocal largest
        if self.shape[1] == X.shape[1]:
            largest = max(largest, self.shape[0])
        return whole(self, *arguments, **options)

    for solver in ("adam", "lbfgs"):
        options = {"solver": solver, "batch_size": 16, "alpha": 0.1}
        expected = classifier(**options).fit(X, NAMES)
        with monkeypatch.context() as patch:
            patch.setattr(networks, "DENSE", 40 * X.shape[1])
            patch.setattr(sparse.csr_matrix, "toarray", toarray)
            found = classifier(**options).fit(sparse.csr_matrix(X), NAMES)
        np.testing.assert_allclose(found.coefs_[0], expected.coefs_[0], rtol=1e-7, atol=1e-9)
        assert 0 < largest <= 40


def test_two_searches_are_in_the_core_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is seen by the other inside the core, computing, without the GIL."""
    where: dict[int, str] = {}
    seen: set[tuple[int, int]] = set()
    plain = NativeEngine._trainer

    class Watched:
        def __init__(self, trainer: Any) -> None:
            self.trainer = trainer

        def run_epoch(self, *arguments: Any) -> Any:
            me = threading.get_ident()

            def on_progress(steps: int, loss: float) -> bool:
                where[me] = "Python"
                seen.update((me, other) for other, at in list(where.items()) if at == "core")
                where[me] = "core"
                return False

            where[me] = "core"
            try:
                return self.trainer.run_epoch(*arguments[:-1], on_progress)
            finally:
                where[me] = "Python"

    def trainer(self: Any, *arguments: Any) -> Any:
        made, busy = plain(self, *arguments)
        return Watched(made), busy

    monkeypatch.setattr(NativeEngine, "_trainer", trainer)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120_000, 40)).astype(np.float32)
    y = X[:, 0] * X[:, 1] > 0
    m = MLPClassifier((96, 96), max_iter=2, random_state=0)
    with joblib.parallel_backend("threading"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        GridSearchCV(m, {"alpha": [1e-4, 1e-3]}, cv=[(np.arange(len(X)), np.arange(50))],
                     n_jobs=2, refit=False).fit(X, y)  # fmt: skip
    assert {(b, a) for a, b in seen} & seen, "no two fits were in the core at the same time"


def test_without_scikit_learn_it_says_what_is_missing() -> None:
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import chainrule.sklearn\n"
        "try:\n    chainrule.sklearn.MLPClassifier\n"
        "except ModuleNotFoundError as error:\n    print(error)\n"
        "print(hasattr(chainrule, 'explain_sklearn'))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'chainrule[sklearn]'" in ran.stdout
    assert ran.stdout.endswith("True\n")


def test_digits_are_learned() -> None:
    X, y = load_digits(return_X_y=True)
    m = MLPClassifier((64, 32), random_state=0, max_iter=60).fit(X[:1200] / 16, y[:1200])
    assert m.score(X[1200:] / 16, y[1200:]) > 0.9
    assert all(b < a * 1.05 for a, b in pairwise(m.loss_curve_))


@pytest.mark.parametrize("missing", [["sklearn"], ["scipy", "sklearn"]])
def test_without_scikit_learn(missing: list[str]) -> None:
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({missing!r}))\n"
        "from chainrule.sklearn import MLPClassifier"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 1
    assert ran.stderr.endswith(
        "MLPClassifier needs scikit-learn 1.7 or newer: pip install 'chainrule[sklearn]'\n"
    )
