"""The output of scikit-learn's Poisson loss."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.equations.activations import Activation

Array = NDArray[Any]


class Exp(Activation):
    """g(z) = e^z, g'(z) = a: the output of scikit-learn's Poisson loss."""

    name = "exp"
    formula = "exp(z)"
    derivative_formula = "exp(z) = a"
    log_derivative_formula = "1"
    positive = True

    def value(self, z: Array) -> Array:
        """See `Activation.value`."""
        result: Array = np.exp(z)
        return result

    def derivative(self, z: Array, a: Array) -> Array:
        """See `Activation.derivative`."""
        return a

    def log_value(self, z: Array) -> Array:
        """See `Activation.log_value`."""
        return z

    def log_derivative(self, z: Array, a: Array) -> Array:
        """See `Activation.log_derivative`."""
        return np.ones_like(z)
