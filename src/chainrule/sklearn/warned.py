"""Warnings of a run, as scikit-learn gives them."""

from __future__ import annotations

import warnings
from contextvars import ContextVar

from sklearn.neural_network import _multilayer_perceptron as theirs

Kept = list[tuple[str, type[Warning]]]
KEPT: ContextVar[Kept | None] = ContextVar("kept", default=None)  # to be given later


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn from where scikit-learn does, so that filters of its module apply."""
    if (kept := KEPT.get()) is not None:
        kept.append((message, category))
        return
    place = vars(theirs)
    line = theirs.BaseMultilayerPerceptron._fit_stochastic.__code__.co_firstlineno
    warnings.warn_explicit(
        message, category, theirs.__file__, line, theirs.__name__,
        registry=place.setdefault("__warningregistry__", {}), module_globals=place,
    )  # fmt: skip
