"""Explanations for scikit-learn's own estimators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chainrule.equations.arrays import taken

if TYPE_CHECKING:
    from chainrule.explain import Explanation


def explain_sklearn(
    fitted: Any, target: Any, X: Any, y: Any, *, sample_weight: Any = None, **options: Any
) -> Explanation:
    """Explain a derivative in a fitted `MLPClassifier` or `MLPRegressor` of scikit-learn, as it is.

    ``fitted`` may also be a `Pipeline` that ends in one, or a search over one, such as
    `GridSearchCV`. ``target`` is "w[1][2,0]", say; y are labels, as in ``fit``. ``options`` are
    those of `Network.explain`. With names of columns, as `MLPClassifier.explain`. Raises TypeError
    for another estimator, NotFittedError before ``fit``, also of a search, ValueError for a search
    with ``refit=False``, which keeps no estimator, and for data that do not fit.
    """
    from sklearn import neural_network
    from sklearn.model_selection._search import BaseSearchCV
    from sklearn.pipeline import Pipeline
    from sklearn.utils.validation import check_is_fitted

    from chainrule.sklearn.estimators import MLPClassifier, MLPRegressor

    X = taken(X, "X")
    while True:
        if hasattr(fitted, "best_estimator_"):
            fitted = fitted.best_estimator_
        elif isinstance(fitted, BaseSearchCV):
            check_is_fitted(fitted)
            raise ValueError(
                f"explain_sklearn: {type(fitted).__name__}(refit=False) keeps no fitted estimator; "
                "search with refit=True, or fit one with best_params_"
            )
        elif isinstance(fitted, Pipeline):
            check_is_fitted(fitted[-1])
            if len(fitted) > 1:
                X = fitted[:-1].transform(X)
            fitted = fitted[-1]
        else:
            break
    if isinstance(fitted, neural_network.MLPClassifier):
        kind: Any = MLPClassifier
    elif isinstance(fitted, neural_network.MLPRegressor):
        kind = MLPRegressor
    else:
        raise TypeError(
            "explain_sklearn needs a fitted MLPClassifier or MLPRegressor, "
            f"got {type(fitted).__name__}"
        )
    if not isinstance(fitted, kind):
        check_is_fitted(fitted)
        ours = kind(**fitted.get_params(deep=False))
        ours.__dict__.update(vars(fitted))
        fitted = ours
    return fitted.explain(target, X, y, sample_weight=sample_weight, **options)
