"""The network inside an estimator, and its explanations."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn.neural_network as theirs
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import chainrule as cr
from tests.sklearn.beyond import IRIS, KINDS, LABELS, MANY, NAMES, Array, classifier, regressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


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
