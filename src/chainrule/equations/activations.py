"""Activation functions: g(z) beside g'(z), one small class each.

z and a are arrays of any shape; every function acts on each element alone, except `Softmax`,
which acts on rows. A class of your own needs ``value``, ``derivative`` and the two formulas:

>>> import numpy as np
>>> class Gaussian(Activation):
...     name = "gaussian"
...     formula = "exp(-z**2)"
...     derivative_formula = "-2*z*exp(-z**2) = -2*z*a"
...     def value(self, z):
...         return np.exp(-z**2)
...     def derivative(self, z, a):
...         return -2 * z * a
>>> Gaussian().value(np.array([0.0]))
array([1.])
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from chainrule._exports import exported
from chainrule.equations import normal
from chainrule.equations.formulas import check_formulas

Array = NDArray[Any]


@exported("chainrule")
class Activation(ABC):
    """State an activation function g and its derivative g'.

    Derive from this class to write your own. It works everywhere: in training (by the compiled
    core, where the code computes the formula), explanations, certificates and model files.

    Attributes:
        name: The name that is printed, and stored in model files.
        formula: g(z) as text, in the letter z.
        derivative_formula: g'(z) as text, in the letter z. Equal forms may follow after " = ", and
            may use a = g(z).
        kinks: The z where g' jumps. A certificate says "kink" there.
        positive: Whether g(z) > 0 everywhere, which a loss with a logarithm needs.
        log_derivative_formula: g'(z) / g(z) as text, of an activation that knows its logarithm;
            it then computes `log_value` and `log_derivative`, exact where a rounds to 0.

    Examples:
        >>> import numpy as np
        >>> import chainrule as cr
        >>> class Gaussian(cr.Activation):
        ...     name = "gaussian"
        ...     formula = "exp(-z**2)"
        ...     derivative_formula = "-2*z*exp(-z**2) = -2*z*a"
        ...     def value(self, z):
        ...         return np.exp(-(z**2))
        ...     def derivative(self, z, a):
        ...         return -2 * z * a
        >>> net = cr.Network([2, 3, 1], hidden=Gaussian(), seed=0)
        >>> bool(net.check_gradient([[0.3, -0.4]], [1.0]))
        True
    """

    name: ClassVar[str]
    formula: ClassVar[str]
    derivative_formula: ClassVar[str]
    kinks: ClassVar[tuple[float, ...]] = ()
    positive: ClassVar[bool] = False
    log_derivative_formula: ClassVar[str | None] = None

    @property
    def is_flat(self) -> bool:
        """Return whether g' is 0 wherever it exists, so that no gradient passes."""
        return self.derivative_formula == "0"

    @abstractmethod
    def value(self, z: Array) -> Array:
        """Compute a = g(z).

        Args:
            z: The pre-activations, an array of any shape.

        Returns:
            The activations, shaped as z and in its dtype.
        """

    @abstractmethod
    def derivative(self, z: Array, a: Array) -> Array:
        """Compute g'(z).

        Args:
            z: The pre-activations, an array of any shape.
            a: The activations g(z), because many derivatives are short in a.

        Returns:
            The derivatives, shaped as z and in its dtype.
        """

    def pull_back(self, dC_da: Array, z: Array, a: Array) -> Array:
        """Compute ∂C/∂z from ∂C/∂a: apply the factor ∂a/∂z of the chain rule.

        Args:
            dC_da: The derivatives of the loss with respect to a, shaped as z.
            z: The pre-activations.
            a: The activations g(z).

        Returns:
            ∂C/∂a · g'(z), shaped as z. `softmax` overrides this with a sum over its outputs.
        """
        return dC_da * self.derivative(z, a)

    def log_value(self, z: Array) -> Array:
        """Compute ln g(z). Override it where g(z) may round to 0.

        Args:
            z: The pre-activations, an array of any shape.

        Returns:
            The logarithms, shaped as z.
        """
        return np.asarray(np.log(self.value(z)))

    def log_derivative(self, z: Array, a: Array) -> Array:
        """Compute ∂ ln a/∂z = g'(z) / g(z). Override it where g(z) may round to 0.

        Args:
            z: The pre-activations, an array of any shape.
            a: The activations g(z).

        Returns:
            The derivatives, shaped as z.
        """
        return self.derivative(z, a) / a

    def log_pull_back(self, dC_dlog: Array, z: Array, a: Array) -> Array:
        """Compute ∂C/∂z from ∂C/∂ ln a: apply the factor ∂ ln a/∂z of the chain rule.

        Args:
            dC_dlog: a ∂C/∂a, the derivative of the loss with respect to ln a, shaped as z.
            z: The pre-activations.
            a: The activations g(z).

        Returns:
            The derivatives, shaped as z.
        """
        return dC_dlog * self.log_derivative(z, a)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Identity(Activation):
    """g(z) = z, g'(z) = 1."""

    name = "identity"
    formula = "z"
    derivative_formula = "1"

    def value(self, z: Array) -> Array:
        return z

    def derivative(self, z: Array, a: Array) -> Array:
        return np.ones_like(z)


class Sigmoid(Activation):
    """g(z) = σ(z) = 1 / (1 + e^-z), g'(z) = a (1 - a)."""

    name = "sigmoid"
    formula = "sigma(z) = 1/(1 + exp(-z))"
    derivative_formula = "sigma(z)*(1 - sigma(z)) = a*(1 - a)"
    log_derivative_formula = "1 - sigma(z) = 1 - a"
    positive = True

    def value(self, z: Array) -> Array:
        e = np.exp(-np.abs(z))  # never overflows
        return np.where(z >= 0, 1, e) / (1 + e)

    def derivative(self, z: Array, a: Array) -> Array:
        return a * self.value(-z)  # 1 - σ(z) = σ(-z), exact also where a rounds to 1

    def log_value(self, z: Array) -> Array:
        return -np.logaddexp(0, -z)  # ln σ(z) = -ln(1 + e^-z)

    def log_derivative(self, z: Array, a: Array) -> Array:
        return self.value(-z)


class Tanh(Activation):
    """g(z) = tanh z, g'(z) = 1 - a²."""

    name = "tanh"
    formula = "tanh(z)"
    derivative_formula = "1 - tanh(z)**2 = 1 - a**2"

    def value(self, z: Array) -> Array:
        return np.tanh(z)

    def derivative(self, z: Array, a: Array) -> Array:
        e = np.exp(-2 * np.abs(z))
        return 4 * e / (1 + e) ** 2  # 1 - a², exact also where a rounds to 1


class ReLU(Activation):
    """g(z) = max(0, z), g'(z) = 1 where z > 0, else 0; at the kink g'(0) = 0."""

    name = "relu"
    formula = "max(0, z)"
    derivative_formula = "1 if z > 0 else 0"
    kinks = (0.0,)

    def value(self, z: Array) -> Array:
        return np.maximum(z, 0)

    def derivative(self, z: Array, a: Array) -> Array:
        return (z > 0).astype(z.dtype)  # PyTorch's choice at z = 0


class LeakyReLU(Activation):
    """g(z) = z where z > 0, else 0.01 z; at the kink g'(0) = 0.01."""

    name = "leaky_relu"
    formula = "z if z > 0 else z/100"
    derivative_formula = "1 if z > 0 else 1/100"
    kinks = (0.0,)

    def value(self, z: Array) -> Array:
        return np.where(z > 0, z, z / 100)

    def derivative(self, z: Array, a: Array) -> Array:
        return np.where(z > 0, 1, 0.01).astype(z.dtype)  # PyTorch's choice at z = 0


class ELU(Activation):
    """g(z) = z where z > 0, else e^z - 1 (Clevert et al., arXiv 1511.07289, with α = 1)."""

    name = "elu"
    formula = "z if z > 0 else exp(z) - 1"
    derivative_formula = "1 if z > 0 else exp(z)"

    def value(self, z: Array) -> Array:
        return np.where(z > 0, z, np.expm1(np.minimum(z, 0)))

    def derivative(self, z: Array, a: Array) -> Array:
        return np.exp(np.minimum(z, 0))


class GELU(Activation):
    """g(z) = z Φ(z), g'(z) = Φ(z) + z φ(z), exact (Hendrycks and Gimpel, arXiv 1606.08415)."""

    name = "gelu"
    formula = "z*Phi(z)"
    derivative_formula = "Phi(z) + z*phi(z)"

    def value(self, z: Array) -> Array:
        return z * normal.cdf(z)

    def derivative(self, z: Array, a: Array) -> Array:
        return normal.cdf(z) + z * normal.density(z)


class SiLU(Activation):
    """g(z) = z σ(z), g'(z) = σ(z) + z σ(z) (1 - σ(z)) (Elfwing et al., arXiv 1702.03118)."""

    name = "silu"
    formula = "z*sigma(z)"
    derivative_formula = "sigma(z) + z*sigma(z)*(1 - sigma(z))"

    def value(self, z: Array) -> Array:
        return z * _sigmoid.value(z)

    def derivative(self, z: Array, a: Array) -> Array:
        return _sigmoid.value(z) * (1 + z * _sigmoid.value(-z))


class Softplus(Activation):
    """g(z) = ln(1 + e^z), g'(z) = σ(z)."""

    name = "softplus"
    formula = "ln(1 + exp(z))"
    derivative_formula = "exp(z)/(1 + exp(z)) = sigma(z)"
    log_derivative_formula = "sigma(z)/ln(1 + exp(z)) = sigma(z)/a"
    positive = True

    def value(self, z: Array) -> Array:
        return np.logaddexp(z, 0)

    def derivative(self, z: Array, a: Array) -> Array:
        return _sigmoid.value(z)

    def log_value(self, z: Array) -> Array:
        # ln(1 + e^z) = e^z r with r = ln(1 + e^z) / e^z, which tends to 1 where e^z vanishes
        return np.where(z < 0, z + np.log(self._ratio(z)), np.log(self.value(np.maximum(z, 0))))

    def log_derivative(self, z: Array, a: Array) -> Array:
        above = _sigmoid.value(z) / np.where(z < 0, 1, a)
        return np.where(z < 0, _sigmoid.value(-z) / self._ratio(z), above)

    @staticmethod
    def _ratio(z: Array) -> Array:
        """Return ln(1 + e^z) / e^z where z < 0, else 1."""
        e = np.exp(np.minimum(z, 0))
        return np.where((z < 0) & (e > 0), np.log1p(e) / np.where(e > 0, e, 1), 1)


class Step(Activation):
    """g(z) = 1 where z > 0, else 0; g'(z) = 0, and at the jump, where it has none, g'(0) = 0.

    Every gradient behind it is 0, so gradient descent cannot learn through it (Rosenblatt's
    perceptron, 1958, whose units it is, learns by another rule).
    """

    name = "step"
    formula = "1 if z > 0 else 0"
    derivative_formula = "0"
    kinks = (0.0,)

    def value(self, z: Array) -> Array:
        return (z > 0).astype(z.dtype)

    def derivative(self, z: Array, a: Array) -> Array:
        return np.zeros_like(z)


class Softmax(Activation):
    """a_j = e^z_j / Σ_m e^z_m over a row, ∂a_m/∂z_j = a_m ([m = j] - a_j): a full matrix.

    For the output layer. Every a_m depends on every z_j, so ∂C/∂z_j is a sum over m.
    """

    name = "softmax"
    formula = "exp(z) / S"
    derivative_formula = "a*(1 - a)"
    log_derivative_formula = "1 - a"
    positive = True

    def value(self, z: Array) -> Array:
        e = np.exp(z - z.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)

    def derivative(self, z: Array, a: Array) -> Array:
        """Return the diagonal ∂a_j/∂z_j alone; `pull_back` takes every ∂a_m/∂z_j into account."""
        return a * others(a)

    def pull_back(self, dC_da: Array, z: Array, a: Array) -> Array:
        # Σ_m ∂C/∂a_m a_m ([m = j] - a_j) = a_j Σ_{m≠j} a_m (∂C/∂a_j - ∂C/∂a_m), as Σ_m a_m = 1
        return a * (dC_da * others(a) - others(dC_da * a))

    def log_value(self, z: Array) -> Array:
        # ln a_j = z_j - ln Σ_m e^z_m, with the largest z taken out so that nothing overflows
        shifted = z - z.max(axis=-1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))

    def log_pull_back(self, dC_dlog: Array, z: Array, a: Array) -> Array:
        # Σ_m ∂C/∂ln a_m ([m = j] - a_j), in which 1 - a_j is the sum of the other a
        return dC_dlog * others(a) - a * others(dC_dlog)


def others(values: Array) -> Array:
    """Return Σ_{m≠j} v_m for every j of a row, added up: Σ_m v_m - v_j would cancel."""
    result = np.zeros_like(values)
    result[..., 1:] = np.cumsum(values[..., :-1], axis=-1)
    result[..., :-1] += np.cumsum(values[..., :0:-1], axis=-1)[..., ::-1]
    return result


_sigmoid = Sigmoid()

ACTIVATIONS: dict[str, Activation] = {
    g.name: g
    for g in (
        Identity(), _sigmoid, Tanh(), ReLU(), LeakyReLU(), ELU(), GELU(), SiLU(), Softplus(),
        Step(), Softmax(),
    )
}  # fmt: skip


def get(activation: str | Activation) -> Activation:
    """Return the activation of that name, or the user's own one after a check of its formulas.

    Raises ValueError for an unknown name or a formula that can't be read, TypeError for anything
    that is neither a name nor an `Activation`.
    """
    if isinstance(activation, str):
        if activation not in ACTIVATIONS:
            raise ValueError(f"unknown activation {activation!r}; known: {', '.join(ACTIVATIONS)}")
        return ACTIVATIONS[activation]
    if not isinstance(activation, Activation):
        raise TypeError(
            f"an activation must be a name or a chainrule.Activation, got {activation!r}"
        )
    if type(activation) not in {type(g) for g in ACTIVATIONS.values()}:
        check_formulas(activation, {"z"}, {"z", "a"})
    return activation
