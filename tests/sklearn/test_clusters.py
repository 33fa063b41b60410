"""Grid search and hyperparameter search on clusters: joblib with Dask and Ray, and Ray Tune."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.network import Network
from tests.clusters import Clusters

rng = np.random.default_rng(0)
X = rng.normal(size=(120, 3))
LABELS = (X[:, 0] * X[:, 1] > 0).astype(int)
GRID = {"alpha": [1e-4, 1e-2], "learning_rate_init": [0.01, 0.001]}


def search() -> Any:
    sklearn = pytest.importorskip("sklearn.model_selection")
    from chainrule.sklearn import MLPClassifier

    estimator = MLPClassifier((8,), max_iter=1000, random_state=0, early_stopping=True)
    return sklearn.GridSearchCV(estimator, GRID, cv=3)


def assert_same(one: Any, other: Any) -> None:
    assert one.best_params_ == other.best_params_
    np.testing.assert_array_equal(
        one.cv_results_["mean_test_score"], other.cv_results_["mean_test_score"]
    )
    for a, b in zip(one.best_estimator_.coefs_, other.best_estimator_.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.needs("dask")
def test_a_grid_search_on_dask() -> None:
    import joblib
    from distributed import Client

    here, there = search().fit(X, LABELS), search()
    with (
        Client(n_workers=2, threads_per_worker=1, dashboard_address=":0"),
        joblib.parallel_config("dask"),
    ):
        there.fit(X, LABELS)
    assert_same(here, there)


@pytest.fixture
def ray(clusters: Clusters) -> Any:
    return clusters["ray"]


@pytest.mark.needs("ray")
def test_a_grid_search_on_ray(ray: Any) -> None:
    import joblib
    from ray.util.joblib import register_ray

    register_ray()
    here, there = search().fit(X, LABELS), search()
    with joblib.parallel_config("ray", n_jobs=2):
        there.fit(X, LABELS)
    assert_same(here, there)


RATES = [0.03, 0.01, 0.003, 0.001]


def trial(config: dict[str, Any]) -> dict[str, Any]:
    """Train a chunk: one network for each learning rate, of the shape that Ray Tune chose."""
    networks = [Network([3, config["units"], 1], hidden="tanh", seed=0) for _ in RATES]
    rules = [cr.Adam(rate) for rate in RATES]
    cr.fit_many(networks, X, LABELS, optimizer=rules, epochs=10, metrics=[], verbose=0)
    losses = [network.loss_value(X, LABELS) for network in networks]
    best = min(range(len(RATES)), key=losses.__getitem__)
    return {"loss": losses[best], "learning_rate": RATES[best]}


@pytest.mark.needs("ray")
def test_a_trial_of_ray_tune_is_a_chunk(ray: Any, tmp_path: Any) -> None:
    pytest.importorskip("pandas")
    from ray import tune

    tuner = tune.Tuner(
        trial,
        param_space={"units": tune.grid_search([2, 8])},
        run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
    )
    best = tuner.fit().get_best_result("loss", "min")
    here = {units: trial({"units": units}) for units in (2, 8)}
    units = min(here, key=lambda units: here[units]["loss"])
    assert best.config == {"units": units}
    assert (best.metrics["loss"], best.metrics["learning_rate"]) == tuple(here[units].values())
