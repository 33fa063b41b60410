"""What the estimators share: constraints of their parameters, and checks of their state."""

from __future__ import annotations

import os
from numbers import Real
from typing import Any

from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from chainrule.equations.activations import ACTIVATIONS, Activation
from chainrule.sklearn.training import Training
from chainrule.training.watching.settings import Watch

# Without softmax, which is for outputs, and step, behind which nothing learns.
_ACTIVATIONS = {"logistic", *ACTIVATIONS} - {"softmax", "step"}
CONSTRAINTS: dict[str, list[Any]] = {
    "activation": [StrOptions(_ACTIVATIONS), Activation, list, tuple],
    "dropout": [Interval(Real, 0, 1, closed="left"), list, tuple],
    "output_weight": ["array-like", None],
    "callbacks": [list, tuple, None],
    "watch": [str, os.PathLike, Watch, None],
}


def has_partial_fit(estimator: Any) -> bool:
    """Return whether scikit-learn's class has ``partial_fit`` with this solver, or raise."""
    return super(Training, estimator).partial_fit is not None


def keep(estimator: Any, parameters: dict[str, Any]) -> None:
    """Store the parameters of ``__init__`` as attributes, unchanged, as scikit-learn requires."""
    for name, value in parameters.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)


def check_fitted(estimator: Any) -> None:
    """Raise NotFittedError unless the estimator is fitted."""
    if "coefs_" not in estimator.__dict__:  # the slow check takes longer than a row
        check_is_fitted(estimator)
