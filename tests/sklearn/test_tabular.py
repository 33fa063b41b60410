"""TabularClassifier and TabularRegressor: dataframes as they come, inside scikit-learn's tools."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import chainrule as cr
from chainrule.sklearn import TabularClassifier, TabularRegressor


def flats(n: int = 240) -> tuple[pd.DataFrame, pd.Series]:
    """Numbers, texts, dates and an index of its own; some values are missing."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({
        "area": rng.uniform(20, 140, n).round(1),
        "town": rng.choice(["Aachen", "Bonn", "Celle"], n),
        "built": pd.Timestamp("1990-01-01") + pd.to_timedelta(rng.integers(0, 9000, n), "D"),
        "lift": rng.random(n) < 0.5, "note": [f"flat {i}" for i in range(n)],
    }, index=np.arange(n) + 1000)  # fmt: skip
    price = frame.area * frame.town.map({"Aachen": 2.0, "Bonn": 3.0, "Celle": 1.0})
    frame.loc[frame.index[::11], "area"] = np.nan
    frame.loc[frame.index[::13], "town"] = None
    return frame, (price + 10 * frame.lift).rename("price")


def quick(of: Any = TabularRegressor, **how: Any) -> Any:
    return of(**{"epochs": 15, "random_state": 0} | how)


@pytest.fixture(scope="module")
def fitted() -> TabularRegressor:
    return quick().fit(*flats())


def test_a_number_is_learned(fitted: TabularRegressor) -> None:
    X, y = flats()
    linear = LinearRegression().fit(X[["area", "lift"]].fillna(80), y)
    assert fitted.score(X, y) > linear.score(X[["area", "lift"]].fillna(80), y) + 0.1
    assert fitted.feature_names_in_.tolist() == ["area", "town", "built", "lift", "note"]
    assert fitted.n_features_in_ == 5
    assert [c.name for c in fitted.model_.schema.left_out] == ["note"]
    assert fitted.model_.schema.target.name == "price"


@pytest.mark.parametrize("kind", ["polars", "arrow", "rows"])
def test_every_kind_of_table_is_the_same(kind: str, fitted: TabularRegressor) -> None:
    X, y = flats()
    made: Any = pa.Table.from_pandas(X, preserve_index=False)
    if kind == "polars":
        made = pl.from_arrow(made)
    elif kind == "rows":
        made = made.to_pylist()
    again = quick().fit(made, y.to_list())
    np.testing.assert_array_equal(again.predict(made), fitted.predict(X))


@pytest.mark.parametrize(("labels", "kind"), [
    (["no", "yes"], "text"), ([3, -1], "integer"), ([False, True], "text"), ([1.0, 2.0], "number"),
    (["NA", "null"], "text"), (["10", "9"], "text"),
])  # fmt: skip
def test_classes_are_the_users_own(labels: list[Any], kind: str, tmp_path: Path) -> None:
    X, y = flats()
    classes = np.array(labels)[(y > y.median()).astype(int)]
    made = quick(TabularClassifier).fit(X, classes)
    assert made.classes_.tolist() == np.unique(classes).tolist()
    assert made.classes_.dtype == classes.dtype
    assert set(made.predict(X).tolist()) <= set(labels)
    assert made.score(X, classes) > 0.85
    p = made.predict_proba(X)
    assert p.shape == (240, 2)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    assert (made.classes_[p.argmax(axis=1)] == made.predict(X)).all()
    assert made.model_.schema.target.kind == kind
    made.save(tmp_path / "model")
    table = cr.load_table(tmp_path / "model").predict(X)
    assert table.iloc[:, 0].tolist() == [c if kind != "text" else str(c) for c in made.predict(X)]
    np.testing.assert_allclose(table.iloc[:, 1:].to_numpy(), p, rtol=1e-5, atol=1e-6)


def test_the_tools_of_scikit_learn_take_them() -> None:
    X, y = load_wine(return_X_y=True, as_frame=True)
    assert cross_val_score(quick(TabularClassifier), X, y, cv=3).min() > 0.9
    X, y = load_diabetes(return_X_y=True)  # an array
    peer = cross_val_score(LinearRegression(), X, y, cv=3).mean()
    assert cross_val_score(quick(), X, y, cv=3).mean() > peer - 0.05
    search = GridSearchCV(quick(recipe="plain"), {"hidden": [(4,), (32,)]}, cv=2).fit(X, y)
    assert search.best_estimator_.network_.sizes[1] in (4, 32)
    pipe = make_pipeline(FunctionTransformer(), quick(recipe="plain")).fit(X, y)
    assert pipe.predict(X[:3]).shape == (3,)


def test_parameters_are_kept_as_they_are() -> None:
    made = quick(TabularClassifier, drop=["a"], l2=0.5)
    assert clone(made).get_params() == made.get_params()
    assert made.set_params(hidden=(3,)).hidden == (3,)
    tags = made.__sklearn_tags__()
    assert tags.input_tags.allow_nan
    assert tags.estimator_type == "classifier"


def test_they_are_pickled_with_what_they_have_learned(fitted: TabularRegressor) -> None:
    X, _ = flats()
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(X), fitted.predict(X))


def test_weights_of_rows_count() -> None:
    X, y = flats()
    bonn = (X.town == "Bonn").to_numpy()
    spoiled = y.where(~bonn, y - 500)
    made = quick().fit(X, spoiled, sample_weight=np.where(bonn, 0.0, 1.0))
    assert np.abs(made.predict(X)[~bonn] - y[~bonn]).mean() < 0.35 * y[~bonn].std()


def test_plain_is_one_network() -> None:
    X, y = flats()
    made = quick(recipe="plain", hidden=(7,)).fit(X, y)
    assert made.network_.sizes[1:] == (7, 1)
    assert quick(hidden=(7,)).fit(X, y).network_.sizes[1:] in ((35, 1), (70, 1))


@pytest.mark.parametrize(("of", "how", "X", "y", "message"), [
    (TabularRegressor, {}, None, [1.0] * 3, r"X has 240 rows and y 3"),
    (TabularRegressor, {}, None, [1.0] * 239 + [np.nan], "y is nan in row 239"),
    (TabularRegressor, {}, None, ["a"] * 240, "y has dtype .*; expected numbers"),
    (TabularRegressor, {}, None, [1.0] * 240, "the same in every|1 in every row"),
    (TabularRegressor, {"loss": "cubed"}, None, None, "loss must be one of 'squared'"),
    (TabularRegressor, {"recipe": "best"}, None, None, "recipe must be 'tuned' or 'plain'"),
    (TabularRegressor, {"drop": ["x"]}, None, None, "there is no column 'x'"),
    (TabularRegressor, {}, np.zeros(240), None, r"X has shape \(240,\)"),
    (TabularClassifier, {}, None, ["a"] * 240, "y has one class, "),
    (TabularClassifier, {}, None, [0.5, 2.5] * 120, "Unknown label type: continuous"),
    (TabularClassifier, {}, None, ["a", 1] * 120, "y holds values of the types int, str"),
    (TabularClassifier, {}, None, [1.0, np.nan] * 120, "y has no class in row 1"),
    (TabularClassifier, {"class_weight": {0: 1}}, None, None, "class_weight must be 'balanced'"),
])  # fmt: skip
def test_what_does_not_fit_is_named(of: Any, how: Any, X: Any, y: Any, message: str) -> None:
    frame, price = flats()
    if y is None:
        y = price if of is TabularRegressor else price > 100
    elif "types" in message:
        y = np.array(y, dtype=object)
    with pytest.raises(ValueError, match=message):
        quick(of, **how).fit(frame if X is None else X, y)


def test_rows_that_do_not_fit_are_named(fitted: TabularRegressor) -> None:
    X, y = flats()
    with pytest.raises(ValueError, match="lacks column 'area'"):
        fitted.predict(X.drop(columns="area"))
    with pytest.raises(TypeError, match="data is a int"):
        fitted.predict(3)
    with pytest.raises(NotFittedError):
        TabularRegressor().predict(X)
    with pytest.raises(ValueError, match="sample_weight has shape"):
        quick().fit(X, y, sample_weight=[1.0])
    with pytest.raises(ValueError, match="0 or more, not all 0"):
        quick().fit(X, y, sample_weight=-np.ones(240))
    array = quick(recipe="plain").fit(load_diabetes().data, load_diabetes().target)
    with pytest.raises(ValueError, match="X has 3 features, but TabularRegressor is expecting 10"):
        array.predict(np.zeros((2, 3)))
