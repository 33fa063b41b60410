"""Names of columns and classes in explanations of an estimator fitted to a dataframe."""

from __future__ import annotations

from typing import Any

from sklearn.base import is_classifier

from chainrule.explain import names as names_room
from chainrule.explain.names import Names


def names(estimator: Any) -> Names:
    """Return the names of inputs and, for a classifier, outputs; none without column names."""
    columns = [str(name) for name in getattr(estimator, "feature_names_in_", ())]
    classes = _classes(estimator) if columns else []
    return Names(
        columns,
        [f"probability of {name}" for name in classes],
        [f"1 for {name}, else 0" for name in classes],
    )


def by_index(target: Any, estimator: Any) -> Any:
    """Return a target with the index of a unit for its name: x[age], b[2][yes].

    Columns name inputs, classes the units of the last layer; a whole number is an index. Raises
    ValueError for an unknown name.
    """
    if not isinstance(target, str):
        return target
    columns = [str(name) for name in getattr(estimator, "feature_names_in_", ())]
    last = len(estimator.coefs_)
    return names_room.by_index(target, last, [columns], [_classes(estimator)])


def _classes(estimator: Any) -> list[str]:
    """Return the name of each output's class; with two classes, the one output is the second."""
    if not is_classifier(estimator):
        return []
    return [str(name) for name in estimator.classes_[-estimator.n_outputs_ :]]
