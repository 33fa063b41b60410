"""`side_by_side`: searches, validations and ensembles of scikit-learn come to the same results."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.datasets import load_iris, make_regression
from sklearn.ensemble import BaggingClassifier, BaggingRegressor, StackingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
)
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import chainrule as cr
from chainrule.sklearn import MLPClassifier, MLPRegressor, side_by_side, together

X, y = load_iris(return_X_y=True)
BINARY = y > 0
Z, t = make_regression(120, 5, n_targets=3, noise=5.0, random_state=0)
t /= 100

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def classifier(**more: Any) -> MLPClassifier:
    settings = {"max_iter": 15, "random_state": 0, "learning_rate_init": 0.01, **more}
    return MLPClassifier((6,), "tanh", **settings)


def regressor(**more: Any) -> MLPRegressor:
    settings = {"max_iter": 15, "random_state": 0, "learning_rate_init": 0.01, **more}
    return MLPRegressor(hidden_layer_sizes=(6,), activation="tanh", **settings)


@pytest.fixture
def packs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many fits went side by side each time."""
    sizes: list[int] = []
    own = together._together

    def noted(group: list[Any], in_one_order: bool) -> Any:
        sizes.append(len(group))
        return own(group, in_one_order)

    monkeypatch.setattr(together, "_together", noted)
    return sizes


def same_results(one: Any, other: Any) -> None:
    assert list(one) == list(other)
    for key in one:
        if key.startswith("param_"):  # masked arrays
            assert str(one[key]) == str(other[key])
        elif "time" not in key and key != "params":
            np.testing.assert_array_equal(np.asarray(one[key]), np.asarray(other[key]), key)
    assert one["params"] == other["params"]


def same_network(one: Any, other: Any) -> None:
    for a, b in zip(
        [*one.coefs_, *one.intercepts_], [*other.coefs_, *other.intercepts_], strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert (one.n_iter_, one.t_) == (other.n_iter_, other.t_)
    if hasattr(one, "loss_curve_"):
        np.testing.assert_allclose(one.loss_curve_, other.loss_curve_, rtol=1e-12)


GRID = {
    "learning_rate_init": [1e-3, 1e-2, 0.1], "alpha": [1e-5, 1e-2],
    "activation": ["tanh", "relu"],
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("estimator", "targets"),
    [
        (classifier(), y),
        (classifier(), BINARY),
        (classifier(early_stopping=True, n_iter_no_change=2), y),
        (classifier(tol=0.05, n_iter_no_change=1), y),
        (classifier(solver="sgd", learning_rate="adaptive", n_iter_no_change=1, tol=0.01), y),
        (classifier(solver="sgd", learning_rate="invscaling", batch_size=16), y),
        (classifier(dropout=0.2, class_weight="balanced"), y),
        (classifier(shuffle=False), y),
        (classifier(loss="squared_error"), y),
        (classifier(solver="sgd", momentum=0.0), y),
    ],
    ids=lambda value: None,
)
def test_a_grid_search_of_classes(
    estimator: Any, targets: Any, dtype: str, packs: list[int]
) -> None:
    found = []
    for context in (side_by_side(), nullcontext()):
        with context:
            search = GridSearchCV(estimator, GRID, cv=4, return_train_score=True)
            found.append(search.fit(X.astype(dtype), targets))
    same_results(found[0].cv_results_, found[1].cv_results_)
    same_network(found[0].best_estimator_, found[1].best_estimator_)
    assert found[0].best_params_ == found[1].best_params_
    assert packs


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_a_grid_search_of_numbers(loss: str, packs: list[int]) -> None:
    targets = np.abs(t[:, 0])
    found = []
    for context in (side_by_side(), nullcontext()):
        with context:
            search = GridSearchCV(
                regressor(loss=loss), {"alpha": [1e-5, 1e-3], "learning_rate_init": [0.01, 0.1]},
                cv=3, scoring=["r2", "neg_mean_absolute_error"], refit="r2",
            )  # fmt: skip
            found.append(search.fit(Z, targets))
    same_results(found[0].cv_results_, found[1].cv_results_)
    assert packs or loss == "poisson"  # the exponential is the reference engine's


def test_every_fit_is_that_of_the_estimator_alone(packs: list[int]) -> None:
    with side_by_side():
        bag = BaggingClassifier(classifier(), 20, random_state=3, max_features=0.75).fit(X, y)
        many = MultiOutputRegressor(regressor()).fit(Z, t)
    alone = BaggingClassifier(classifier(), 20, random_state=3, max_features=0.75).fit(X, y)
    for one, other in zip(bag.estimators_, alone.estimators_, strict=True):
        same_network(one, other)
    np.testing.assert_array_equal(bag.predict_proba(X), alone.predict_proba(X))
    for k, one in enumerate(many.estimators_):
        same_network(one, regressor().fit(Z, t[:, k]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("targets", [y, BINARY], ids=["three", "two"])
def test_losses_are_those_of_the_fit_alone(targets: Any, dtype: str, packs: list[int]) -> None:
    folds = [(np.arange(130), np.arange(130, 150))] * 16
    data = X.astype(dtype)
    with side_by_side():
        found = cross_validate(classifier(), data, targets, cv=folds, return_estimator=True)
    assert packs == [16] * 15
    alone = classifier().fit(data[:130], targets[:130])
    for one in found["estimator"]:
        same_network(one, alone)


@pytest.mark.parametrize("what", ["random", "scores", "predict", "bagging", "stacking", "sparse"])
def test_other_tools(what: str) -> None:
    results = []
    for context in (side_by_side(), nullcontext()):
        with context:
            if what == "random":
                grid = {"alpha": np.logspace(-5, 0, 20)}
                search = RandomizedSearchCV(classifier(), grid, n_iter=6, cv=3, random_state=1)
                results.append(search.fit(X, y).cv_results_["mean_test_score"])
            elif what == "scores":
                pipeline = make_pipeline(StandardScaler(), classifier())
                results.append(cross_val_score(pipeline, X, y, cv=5, n_jobs=2))
            elif what == "predict":
                frame = pd.DataFrame(X, columns=list("abcd"))
                results.append(cross_val_predict(classifier(), frame, y, method="predict_proba"))
            elif what == "bagging":
                bag = BaggingRegressor(regressor(), 5, random_state=0)
                weight = np.arange(len(Z)) + 1.0
                results.append(bag.fit(Z, t[:, 0], sample_weight=weight).predict(Z))
            elif what == "stacking":
                pair = [("a", classifier()), ("b", classifier(random_state=1))]
                stack = StackingClassifier(pair, LogisticRegression(), cv=3)
                results.append(stack.fit(X, y).predict_proba(X))
            else:
                wide = sparse.csr_matrix(np.where(X > 1, X, 0))
                results.append(cross_val_score(classifier(), wide, y, cv=3))
    np.testing.assert_array_equal(*results)


def test_a_task_with_several_fits() -> None:
    """A search inside a search: each task is left several times."""
    found = []
    for context in (side_by_side(), nullcontext()):
        with context:
            inner = GridSearchCV(classifier(), {"alpha": [1e-4, 1e-2]}, cv=2)
            found.append(cross_val_score(inner, X, y, cv=9))
    np.testing.assert_array_equal(*found)


def test_fits_that_differ_are_taken_as_well() -> None:
    """Batches, shapes and solvers that do not go together, beside each other."""
    grid = [
        {"hidden_layer_sizes": [(3,), (5, 4), (300,)], "batch_size": [16, "auto"]},
        {"solver": ["lbfgs"], "max_iter": [20]},
    ]
    found = []
    for context in (side_by_side(), nullcontext()):
        with context:
            found.append(GridSearchCV(classifier(), grid, cv=3).fit(X, y).cv_results_)
    same_results(*found)


@pytest.mark.parametrize(
    "more",
    [{"output_weight": [1.0, 2.0, 0.5]}, {"solver": "sgd", "momentum": 1.0}, {"watch": "run"}],
    ids=str,
)
def test_what_has_ways_of_its_own(
    more: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where one fit records after the other
    found = []
    for context in (side_by_side(), nullcontext()):
        with context:
            scores = cross_val_score(classifier(max_iter=4, **more), X, y, cv=10)
            found.append(scores)
    np.testing.assert_array_equal(*found)


def test_what_diverges_scores_as_it_does_alone() -> None:
    grid = {"learning_rate_init": [1e-3, 1e18, 1e300], "activation": ["relu"]}
    found = []
    for context in (side_by_side(), nullcontext()):
        with context, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            search = GridSearchCV(regressor(), grid, cv=8, error_score=-7.0)
            found.append(search.fit(Z, t[:, 0]).cv_results_)
    same_results(*found)
    with side_by_side(), pytest.raises(ValueError, match="All the 3 fits failed"):
        GridSearchCV(classifier(alpha=-1), {"tol": [1e-3]}, cv=3).fit(X, y)
    with side_by_side(), pytest.raises(ValueError, match="non-finite parameter weights"):
        cross_val_score(regressor(learning_rate_init=1e300), Z, t[:, 0], error_score="raise")


@pytest.mark.filterwarnings("default::sklearn.exceptions.ConvergenceWarning")
def test_warnings_come_once_for_each_fit() -> None:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        with side_by_side():
            cross_val_score(classifier(max_iter=2), X, y, cv=4)
    assert [w.category for w in found] == [ConvergenceWarning] * 4
    assert "Maximum iterations (2) reached" in str(found[0].message)


def test_callbacks_and_errors_of_a_fit() -> None:
    def fail(run: Any) -> None:
        if run.epoch == 3:
            raise RuntimeError("stop here")

    with side_by_side(), pytest.raises(RuntimeError, match="stop here"):
        cross_val_score(classifier(callbacks=[fail]), X, y, error_score="raise")
    found = []
    for context in (side_by_side(), nullcontext()):
        stopped = classifier(max_iter=50, callbacks=[cr.EarlyStopping(patience=1, min_delta=0.1)])
        with context:
            found.append(cross_val_score(stopped, X, y))
    np.testing.assert_array_equal(*found)


def test_without_a_seed_each_fit_draws_its_own() -> None:
    with side_by_side():
        scores = cross_val_score(classifier(random_state=None, max_iter=60), X, y, cv=3)
    assert (scores > 0.4).all()


def test_ctrl_c_ends_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(together, "_jobs", interrupted)
    with side_by_side(), pytest.raises(KeyboardInterrupt):
        cross_val_score(classifier(), X, y)


def test_the_backend_is_gone_after_the_block() -> None:
    import joblib

    with side_by_side():
        assert joblib.parallel.get_active_backend()[0].__class__ is together._Backend
    assert joblib.parallel.get_active_backend()[0].__class__ is not together._Backend
    with side_by_side():
        classifier().fit(X, y)  # outside of any task: as always
