"""What the recipe of tables is measured beside: boosted trees and RealMLP, with their defaults."""

from __future__ import annotations

import re
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.table_data import Table

System = Callable[[Any, Any, Table], tuple[Any, float]]


def trees(kind: str) -> System:
    """Return LightGBM or histogram boosting with its defaults, on columns that it can take."""

    def run(train: Any, test: Any, table: Table) -> tuple[Any, float]:
        Xa, Xb = _for_trees(train.drop(columns=table.target), test.drop(columns=table.target))
        y = train[table.target]
        if kind == "lightgbm":
            import lightgbm

            classes = (lightgbm.LGBMRegressor, lightgbm.LGBMClassifier)
            made = classes[table.classify](verbose=-1, n_jobs=2, random_state=0)
        else:
            from sklearn import ensemble

            both = (
                ensemble.HistGradientBoostingRegressor, ensemble.HistGradientBoostingClassifier
            )  # fmt: skip
            made = both[table.classify](categorical_features="from_dtype", random_state=0)
        begun = perf_counter()
        made.fit(Xa, y.astype(str) if table.classify else y)
        seconds = perf_counter() - begun
        if not table.classify:
            return made.predict(Xb), seconds
        return (made.predict_proba(Xb), [str(c) for c in made.classes_]), seconds

    return run


def _for_trees(Xa: Any, Xb: Any) -> tuple[Any, Any]:
    """Return columns as trees take them: dates as numbers, texts as categories."""
    import pandas as pd

    Xa, Xb = Xa.copy(), Xb.copy()
    for c in list(Xa.columns):
        if Xa[c].dtype.kind in "iuf":
            continue
        text = Xa[c].dropna().astype(str)
        if text.str.match(r"^\d{4}-\d\d-\d\d").mean() > 0.95:
            for X in (Xa, Xb):
                d = pd.to_datetime(X[c], errors="coerce", format="ISO8601").dt.tz_localize(None)
                X[c] = (d - pd.Timestamp("1970-01-01")).dt.total_seconds() / 86400
                X[c + "_day"], X[c + "_weekday"] = d.dt.day_of_year, d.dt.day_of_week
                X[c + "_hour"] = d.dt.hour
        elif text.nunique() > 0.5 * len(text) and text.nunique() > 100:
            Xa, Xb = Xa.drop(columns=c), Xb.drop(columns=c)
        else:
            known = sorted(map(str, text.value_counts().index[:200]))
            for X in (Xa, Xb):
                texts = X[c].astype(str)
                X[c] = pd.Categorical(texts.where(texts.isin(known)), categories=known)
    return _named(Xa), _named(Xb)


def _named(X: Any) -> Any:
    return X.rename(columns={c: re.sub(r"[^\w]", "_", c) for c in X.columns})


def pytabkit(**of_classes: Any) -> System:
    """Return RealMLP-TD-S with its defaults; a missing number becomes the median beside a mark.

    ``of_classes`` are settings of its classifier.
    """

    def run(train: Any, test: Any, table: Table) -> tuple[Any, float]:
        from pytabkit import RealMLP_TD_S_Classifier, RealMLP_TD_S_Regressor

        Xa, Xb = _for_trees(train.drop(columns=table.target), test.drop(columns=table.target))
        for c in list(Xa.columns):
            if Xa[c].dtype != "category" and (Xa[c].isna().any() or Xb[c].isna().any()):
                middle = Xa[c].median()
                for X in (Xa, Xb):
                    X[c + "_missing"] = X[c].isna().astype(float)
                    X[c] = X[c].fillna(middle)
        y = train[table.target]
        made = (RealMLP_TD_S_Regressor, RealMLP_TD_S_Classifier)[table.classify](
            device="cpu", random_state=0, n_threads=2, **(of_classes if table.classify else {})
        )
        begun = perf_counter()
        made.fit(Xa, y.astype(str).to_numpy() if table.classify else y.to_numpy(float))
        seconds = perf_counter() - begun
        if not table.classify:
            return np.asarray(made.predict(Xb)).ravel(), seconds
        return (made.predict_proba(Xb), [str(c) for c in made.classes_]), seconds

    return run
