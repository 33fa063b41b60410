"""Data and estimators for the tests of what scikit-learn's estimators lack."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_iris

from chainrule.sklearn import MLPClassifier, MLPRegressor

Array = NDArray[Any]

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


HELD = (IRIS[:9], NAMES[:9])
