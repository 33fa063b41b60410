"""The estimators among scikit-learn's other things."""

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
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from chainrule.engines.native import NativeEngine
from chainrule.sklearn import MLPClassifier, networks
from tests.sklearn.beyond import IRIS, MANY, NAMES, Array, classifier, regressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


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
