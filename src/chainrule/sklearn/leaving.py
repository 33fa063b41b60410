"""An estimator as one of scikit-learn's own."""

from __future__ import annotations

from typing import Any

from sklearn import neural_network
from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

_ACTIVATIONS = ("identity", "logistic", "tanh", "relu")
# What fitting leaves in an estimator of chainrule's that scikit-learn's has no use for, or that
# scikit-learn makes again.
_OWN = ("_network", "_held", "_held_activation", "_given_validation", "_unit", "_optimizer",
        "_factors", "_dropout_seed", "history_", "stopped_", "validation_loss_curve_")  # fmt: skip


def to_sklearn(estimator: Any) -> Any:
    """Return the estimator as one of scikit-learn's own class, with copies of its parameters.

    Its predictions are the same, and it needs no chainrule.

    Args:
        estimator: The estimator.

    Returns:
        A fitted ``sklearn.neural_network.MLPClassifier`` or ``MLPRegressor``.

    Raises:
        NotFittedError: The estimator is not fitted.
        ValueError: A parameter has a value that scikit-learn lacks; the message names each.
    """
    check_is_fitted(estimator)
    classifies = is_classifier(estimator)
    kind = neural_network.MLPClassifier if classifies else neural_network.MLPRegressor
    given = estimator.get_params(deep=False)
    activation = "logistic" if given["activation"] == "sigmoid" else given["activation"]
    faults = [
        f"{name}={given[name]!r}"
        for name, plain in (("dropout", 0), ("output_weight", None), ("class_weight", None))
        if given.get(name) is not plain and given.get(name, plain) != plain
    ]
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        faults.append(f"activation={activation!r}")
    if given["loss"] not in (["log_loss"] if classifies else ["squared_error", "poisson"]):
        faults.append(f"loss={given['loss']!r}")
    if faults:
        raise ValueError(
            f"the {kind.__name__} of scikit-learn lacks {', '.join(faults)}; expected its own "
            f"parameters alone, and an activation of {', '.join(_ACTIVATIONS)}"
        )
    theirs = kind()
    known = theirs.get_params(deep=False)
    theirs.set_params(**{name: given[name] for name in known} | {"activation": activation})
    for name, value in vars(estimator).items():
        if name not in given and name not in _OWN:
            setattr(theirs, name, value)
    for name in ("coefs_", "intercepts_", "_best_coefs", "_best_intercepts"):
        if (arrays := getattr(estimator, name, None)) is not None:
            setattr(theirs, name, [array.copy() for array in arrays])
    return theirs
