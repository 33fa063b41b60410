"""Bad input of what scikit-learn's estimators lack."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone

from chainrule.sklearn import MLPClassifier
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


@pytest.mark.parametrize(
    ("solver", "kind"),
    [("adam", "fit"), ("lbfgs", "fit"), ("sgd", "partial_fit"), ("adam", "score"),
     ("adam", "validation_data")],
)  # fmt: skip
@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.where(np.arange(150) == 3, -0.5, 1.0), r"sample_weight\[3\] is -0.5; weights are 0 or"),
        (-np.ones(150), "Negative values in data passed to `sample_weight`"),
        (np.where(np.arange(150) == 3, np.nan, 1.0), "Input sample_weight contains NaN"),
    ],
)
def test_weights_that_are_none(solver: str, kind: str, weight: Array, message: str) -> None:
    m = classifier(solver=solver, max_iter=2)
    calls = {
        "fit": lambda: m.fit(IRIS, NAMES, sample_weight=weight),
        "partial_fit": lambda: m.partial_fit(IRIS, NAMES, weight, classes=np.unique(NAMES)),
        "score": lambda: m.fit(IRIS, NAMES).score(IRIS, NAMES, sample_weight=weight),
        "validation_data": lambda: m.fit(IRIS, NAMES, validation_data=(IRIS, NAMES, weight)),
    }
    with pytest.raises(ValueError, match=message):
        calls[kind]()


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
