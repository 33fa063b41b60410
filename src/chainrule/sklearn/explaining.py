"""Explanations for scikit-learn's own estimators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chainrule.equations.arrays import taken

if TYPE_CHECKING:
    from chainrule.explain import Explanation


def explain_sklearn(
    fitted: Any, target: Any, X: Any, y: Any, *, sample_weight: Any = None, **options: Any
) -> Explanation:
    """Explain a derivative in a fitted MLP of scikit-learn, without training it again.

    Args:
        fitted: A fitted `MLPClassifier` or `MLPRegressor` of scikit-learn or chainrule, a pipeline
            that ends in one, or a search over one.
        target: The quantity to differentiate with respect to, as for `Network.explain`. If ``fit``
            saw column names, a column may name an input, and a class a unit of the last layer.
        X: The inputs, as for ``fit``.
        y: The labels or numbers, as for ``fit``.
        sample_weight: The weight of each sample in the mean, (n,).
        **options: The options of `Network.explain`.

    Returns:
        The explanation.

    Raises:
        NotFittedError: The estimator, or the search, is not fitted.
        TypeError: ``fitted`` is not such an estimator.
        ValueError: The data do not fit, or a search with ``refit=False`` kept no estimator.

    Examples:
        >>> import warnings
        >>> import chainrule as cr
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.neural_network import MLPClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> theirs = MLPClassifier((8,), solver="lbfgs", max_iter=500, random_state=0).fit(X, y)
        >>> cr.explain_sklearn(theirs, "w[1][3,0]", X, y).certificate.verdict
        'pass'
    """
    from sklearn import neural_network
    from sklearn.model_selection._search import BaseSearchCV
    from sklearn.pipeline import Pipeline
    from sklearn.utils.validation import check_is_fitted

    from chainrule.sklearn.classifier import MLPClassifier
    from chainrule.sklearn.regressor import MLPRegressor

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
            f"fitted is a {type(fitted).__name__}; expected a fitted MLPClassifier or "
            "MLPRegressor, or a pipeline or search that ends in one"
        )
    if not isinstance(fitted, kind):
        check_is_fitted(fitted)
        ours = kind(**fitted.get_params(deep=False))
        ours.__dict__.update(vars(fitted))
        fitted = ours
    return fitted.explain(target, X, y, sample_weight=sample_weight, **options)
