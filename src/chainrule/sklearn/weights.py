"""Weights of samples in the estimators: their ratios, and the unit that the penalty needs.

scikit-learn's penalty of a batch is ½ (α / Σ s) Σ w², so the size of the weights s matters,
too. Here s / u is kept beside u, a power of 2 (`chainrule.equations.data.ratios`), and α / Σ s is
(α / u) / Σ (s / u).
"""

from __future__ import annotations

import math
from numbers import Number
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.equations import data
from chainrule.equations.arrays import taken

Array = NDArray[Any]


def scaled(sample_weight: Any, name: str = "sample_weight") -> tuple[Any, float]:
    """Return the ratios of weights and their unit; unchanged if scikit-learn will refuse them.

    Raises ValueError for masked weights, for negative ones, with which a mean is not a mean, if all
    are 0, and if they differ by more than a factor of 1e300.
    """
    sample_weight = taken(sample_weight, name)
    if sample_weight is None:
        return None, 1.0
    try:
        array = np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError):
        return sample_weight, 1.0
    one = isinstance(sample_weight, Number)
    if not array.size or (array.ndim != 1 and not one):
        return sample_weight, 1.0
    negative = np.atleast_1d(array) < 0
    if negative.any():  # begins in the words of scikit-learn, which says it of other estimators
        where, value = ("", array) if one else (f"[{negative.argmax()}]", array[negative.argmax()])
        raise ValueError(
            f"Negative values in data passed to `{name}`: {name}{where} is {value:.6g}; weights "
            "are 0 or more"
        )
    found, unit = data.ratios(np.atleast_1d(array), name)
    if not found.any():  # in the words of scikit-learn, which says it from 1.9 on
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return (float(found[0]) if one else found), unit


def multiplied(
    sample_weight: Array | None, unit: float, of_classes: Array | None
) -> tuple[Array | None, float]:
    """Return the product of the weights of samples and of their classes, and its unit.

    Raises ValueError if all are 0, or if they are too far apart.
    """
    if of_classes is None:
        return sample_weight, unit
    product, own = data.multiplied(sample_weight, of_classes, "(class_weight · sample_weight)")
    if not product.any():
        raise ValueError(
            "class_weight leaves no sample with a weight above 0; raise that of a class with "
            "samples"
        )
    return product, unit * own


def penalty(alpha: float, unit: float) -> float:
    """Return α / u; raise ValueError if it is infinite."""
    found = alpha / unit if unit else alpha and math.inf
    if math.isinf(found):
        raise ValueError(
            f"sample_weight: with weights of at most {2 * unit:.6g}, the penalty alpha / (sum of "
            "the weights) is infinite. Multiply all weights by a factor, or set alpha=0."
        )
    return float(found)
