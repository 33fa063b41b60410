"""Names of columns and classes in explanations of an estimator that was fitted to a dataframe."""

from __future__ import annotations

import re
from typing import Any

from sklearn.base import is_classifier

from chainrule.explain.names import Names

_NAMED = re.compile(
    r"\s*(?P<start>x\[|w\[1\]\[\s*\d+\s*,|[bza]\[(?P<layer>\d+)\]\[)(?P<name>.*)\]\s*"
)


def names(estimator: Any) -> Names:
    """Give the names of inputs and, of a classifier, outputs; none without column names."""
    columns = [str(name) for name in getattr(estimator, "feature_names_in_", ())]
    classes = _classes(estimator) if columns else []
    return Names(
        columns,
        [f"probability of {name}" for name in classes],
        [f"1 for {name}, else 0" for name in classes],
    )


def by_index(target: Any, estimator: Any) -> Any:
    """Give a target whose unit is named, x[age] or b[2][yes], by the unit's index.

    Columns name inputs, classes the units of the last layer; a whole number is an index. Raises
    ValueError for an unknown name.
    """
    match = _NAMED.fullmatch(target) if isinstance(target, str) else None
    if match is None or re.fullmatch(r"\s*-?\d+\s*", match["name"]):
        return target
    if match["layer"] is None:
        known = [str(name) for name in getattr(estimator, "feature_names_in_", ())]
    elif int(match["layer"]) == len(estimator.coefs_):
        known = _classes(estimator)
    else:
        known = []
    name = match["name"].strip()
    if name in known:
        return f"{match['start']}{known.index(name)}]"
    if not known:
        return target
    shown = ", ".join(map(repr, known[:12])) + (", ..." if len(known) > 12 else "")
    raise ValueError(f"{target}: there is no {name!r}; there are {shown}")


def _classes(estimator: Any) -> list[str]:
    """Give the name of each output's class; of two classes, one output has the second."""
    if not is_classifier(estimator):
        return []
    return [str(name) for name in estimator.classes_[-estimator.n_outputs_ :]]
