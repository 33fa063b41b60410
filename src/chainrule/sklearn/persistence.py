"""Estimators in files without pickles, by skops."""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any

from chainrule.engines import State
from chainrule.equations.activations import ACTIVATIONS
from chainrule.equations.checks import listed
from chainrule.equations.losses import LOSSES
from chainrule.equations.optimizers import Adam, GradientDescent
from chainrule.sklearn.classifier import MLPClassifier
from chainrule.sklearn.regressor import MLPRegressor
from chainrule.sklearn.solvers import FullMomentum, Solver
from chainrule.training.callbacks import EarlyStopping
from chainrule.training.history import History
from chainrule.training.watching.settings import Watch


def trusted_types() -> list[str]:
    """Return the types of chainrule that a fitted estimator may hold, for skops.

    skops builds no object of a type that is not trusted. None of these runs code when it is built.

    Returns:
        The names of the types, for ``skops.io.load(file, trusted=...)`` and
        ``mlflow.sklearn.log_model(estimator, skops_trusted_types=...)``.

    Examples:
        >>> from chainrule.sklearn import trusted_types
        >>> "chainrule.sklearn.MLPClassifier" in trusted_types()
        True
    """
    kinds: list[type] = [
        MLPClassifier, MLPRegressor, Solver, FullMomentum, GradientDescent, Adam, State, History,
        EarlyStopping, Watch,
    ]  # fmt: skip
    kinds += [type(one) for one in (*ACTIVATIONS.values(), *LOSSES.values())]
    return sorted({f"{kind.__module__}.{kind.__qualname__}" for kind in kinds})


def _skops() -> ModuleType:
    try:
        import skops.io
    except ImportError as error:
        raise ImportError(
            "an estimator is saved by skops, which is not installed: pip install 'chainrule[skops]'"
        ) from error
    return skops.io


def dumped(estimator: Any) -> bytes:
    """Return an estimator as skops writes it.

    Raises ImportError without skops; ValueError if it holds a type that is not trusted.
    """
    skops = _skops()
    content: bytes = skops.dumps(estimator)
    strange = set(skops.get_untrusted_types(data=content)) - set(trusted_types())
    if strange:
        raise ValueError(
            f"the {type(estimator).__name__} holds {listed(sorted(strange))}, which no server "
            "trusts; expected objects of scikit-learn and chainrule alone. Set its callbacks to "
            "None, and take activations and losses by their names"
        )
    return content


def load(path: str | os.PathLike[str]) -> Any:
    """Return the estimator of a file, if it holds trusted types alone."""
    return _skops().load(path, trusted=trusted_types())
