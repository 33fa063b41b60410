"""Derived inputs: x₁², x₂², x₁x₂, sin x₁ and sin x₂, beside the two inputs of a data set.

Each is a formula in u and v, the two inputs. The data are computed from it, and the page prints it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.equations.formulas import Expr, evaluate, parse
from chainrule.teach.datasets import Dataset

Array = NDArray[Any]
FORMULAS = ("u**2", "v**2", "u*v", "sin(u)", "sin(v)")
_WORDS = {
    "u**2": "the square of input {u}",
    "v**2": "the square of input {v}",
    "u*v": "the product of inputs {u} and {v}",
    "sin(u)": "the sine of input {u}",
    "sin(v)": "the sine of input {v}",
}


def words(formula: str, first: int) -> str:
    """Return what a derived input is, in words; inputs count from ``first`` on."""
    return _WORDS[formula].format(u=first, v=first + 1)


def expression(formula: str, u: Expr, v: Expr) -> Expr:
    """Return a formula with the symbols of the two inputs."""
    letters = {"u": u, "v": v}
    return parse(formula)[0].replace(lambda node: letters.get(getattr(node, "name", "")))


def expand(X: Array, formulas: Sequence[str]) -> Array:
    """Return two inputs, (n, 2), with the derived ones after them, (n, 2 + formulas)."""
    if not formulas:
        return X
    letters = {"u": X[:, 0], "v": X[:, 1]}
    made = [evaluate(parse(formula)[0], letters, {"sin": np.sin}) for formula in formulas]
    return np.column_stack([X, *made])


def why_not(dataset: Dataset) -> str:
    """Return why a data set has no derived inputs, or ""."""
    given = dataset.given
    if given == 2:
        return ""
    return (
        f"Inputs are derived from data with two inputs; these have {given if given > 1 else 'one'}."
    )


def derive(dataset: Dataset, formulas: Iterable[str]) -> Dataset:
    """Return a data set with these derived inputs and no others.

    Raises:
        ValueError: The data do not have two inputs, or a derived one is not finite.
    """
    asked = set(formulas)
    if (why := why_not(dataset)) and asked:
        raise ValueError(why)
    chosen = tuple(formula for formula in FORMULAS if formula in asked)
    given = dataset.given
    with np.errstate(over="ignore"):
        X, X_val = (expand(part[:, :given], chosen) for part in (dataset.X, dataset.X_val))
    if not (np.isfinite(X).all() and np.isfinite(X_val).all()):
        raise ValueError("A derived input is not finite: the inputs are too large. Scale them.")
    return replace(dataset, X=X, X_val=X_val, derived=chosen)
