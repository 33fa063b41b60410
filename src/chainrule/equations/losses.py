"""Loss functions: C_i beside ∂C_i/∂a, one small class each.

A loss of one sample is a sum over the outputs j: C_i = Σ_j c(a_j, y_j). ``formula`` states c.
The mean over samples, C = (1/n) Σ_i C_i, is taken in `backprop`; no other factor exists.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from chainrule._exports import exported
from chainrule.equations.activations import Activation, Sigmoid
from chainrule.equations.formulas import check_formulas

Array = NDArray[Any]


@exported("chainrule")
class Loss(ABC):
    """State the loss of a sample, C_i = Σ_j c(a_j, y_j), and its derivative.

    Derive from this class to write your own. State the loss c of *one output*; it is summed over
    the outputs and averaged over the samples for you.

    Attributes:
        name: The name that is printed, and stored in model files.
        formula: c as text, in the letters a and y.
        derivative_formula: ∂c/∂a as text, in the letters a and y.
        kinks: The a − y where the derivative jumps. A certificate says "kink" there.
        output: The only output activation that the loss may follow, or None.
        needs_positive_output: Whether the output must stay above 0.

    Examples:
        >>> import numpy as np
        >>> import chainrule as cr
        >>> class LogCosh(cr.Loss):
        ...     name = "log_cosh"
        ...     formula = "ln(cosh(a - y))"
        ...     derivative_formula = "tanh(a - y)"
        ...     def value(self, a, y):
        ...         return np.log(np.cosh(a - y))
        ...     def derivative(self, a, y):
        ...         return np.tanh(a - y)
        >>> net = cr.Network([2, 3, 1], loss=LogCosh(), seed=0)
        >>> bool(net.check_gradient([[0.3, -0.4]], [1.0]))
        True
    """

    name: ClassVar[str]
    formula: ClassVar[str]
    derivative_formula: ClassVar[str]
    kinks: ClassVar[tuple[float, ...]] = ()
    output: ClassVar[str | None] = None
    needs_positive_output: ClassVar[bool] = False

    @abstractmethod
    def value(self, a: Array, y: Array) -> Array:
        """Compute c(a_j, y_j) for every output.

        Args:
            a: The outputs, (n, units_L).
            y: The targets, (n, units_L).

        Returns:
            The losses of the outputs, shaped as a; C_i is the sum over the last axis.
        """

    @abstractmethod
    def derivative(self, a: Array, y: Array) -> Array:
        """Compute ∂C_i/∂a_j.

        Args:
            a: The outputs, (n, units_L).
            y: The targets, (n, units_L).

        Returns:
            The derivatives, shaped as a.
        """

    def derivative_at_output(self, z: Array, a: Array, y: Array) -> Array:
        """Compute ∂C_i/∂a_j with z at hand, which tells 1 − a where that rounds to 0.

        Args:
            z: The pre-activations of the output layer, (n, units_L).
            a: The outputs, (n, units_L).
            y: The targets, (n, units_L).

        Returns:
            The derivatives, shaped as a.
        """
        return self.derivative(a, y)

    def check_targets(self, y: Array) -> None:  # noqa: B027 (most losses take any number)
        """Refuse targets that are impossible for this loss. By default all numbers are possible.

        Args:
            y: The targets, (n, units_L).

        Raises:
            ValueError: A target is impossible; the message names its place.
        """

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class LossFromZ(Loss):
    """A loss computed from z, because a may round to 0 or 1 where its logarithm is taken.

    ∂C_i/∂a · ∂a/∂z is reduced by hand, which removes the division by a. g is the activation of the
    output layer; z and a are its numbers, (n, units_L).
    """

    @abstractmethod
    def value_from_z(self, g: Activation, z: Array, y: Array) -> Array:
        """Return C_i of every sample, shape (n,)."""

    @abstractmethod
    def delta(self, g: Activation, z: Array, a: Array, y: Array) -> Array:
        """Return ∂C_i/∂z_j = ∂C_i/∂a · ∂a/∂z, reduced, shaped as a."""


class SquaredError(Loss):
    """C_i = Σ_j (a_j - y_j)²."""

    name = "squared_error"
    formula = "(a - y)**2"
    derivative_formula = "2*(a - y)"

    def value(self, a: Array, y: Array) -> Array:
        return (a - y) ** 2

    def derivative(self, a: Array, y: Array) -> Array:
        return 2 * (a - y)


class HalfSquaredError(Loss):
    """C_i = ½ Σ_j (a_j - y_j)²."""

    name = "half_squared_error"
    formula = "1/2*(a - y)**2"
    derivative_formula = "a - y"

    def value(self, a: Array, y: Array) -> Array:
        return (a - y) ** 2 / 2

    def derivative(self, a: Array, y: Array) -> Array:
        return a - y


class AbsoluteError(Loss):
    """C_i = Σ_j |a_j - y_j|; at the kink the derivative is 0."""

    name = "absolute_error"
    formula = "abs(a - y)"
    derivative_formula = "sign(a - y)"
    kinks = (0.0,)

    def value(self, a: Array, y: Array) -> Array:
        return np.abs(a - y)

    def derivative(self, a: Array, y: Array) -> Array:
        return np.sign(a - y)  # PyTorch's choice at a = y


class Huber(Loss):
    """C_i = Σ_j ½d² where |d| ≤ 1, else |d| - ½, with d = a_j - y_j (Huber, 1964)."""

    name = "huber"
    formula = "1/2*(a - y)**2 if abs(a - y) <= 1 else abs(a - y) - 1/2"
    derivative_formula = "a - y if abs(a - y) <= 1 else sign(a - y)"

    def value(self, a: Array, y: Array) -> Array:
        d = np.abs(a - y)
        return np.where(d <= 1, d * d / 2, d - 0.5)

    def derivative(self, a: Array, y: Array) -> Array:
        return np.clip(a - y, -1, 1)


class Poisson(LossFromZ):
    """C_i = Σ_j a_j - y_j ln a_j: the negative log-likelihood of counts y, without ln y!.

    ∂C_i/∂z = (1 - y/a) g'(z) = (a - y) g'(z)/a for every output that knows its logarithm.
    """

    name = "poisson"
    formula = "a - y*ln(a)"
    derivative_formula = "1 - y/a"
    needs_positive_output = True

    def value(self, a: Array, y: Array) -> Array:
        with np.errstate(divide="ignore"):
            log_a = np.log(a)
        return a - np.where(y == 0, 0, y * np.where(y == 0, 0, log_a))

    def derivative(self, a: Array, y: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return 1 - np.where(y == 0, 0, y / a)

    def value_from_z(self, g: Activation, z: Array, y: Array) -> Array:
        a = g.value(z)
        if g.log_derivative_formula is None:
            return np.asarray(self.value(a, y).sum(axis=-1))
        return np.asarray((a - y * g.log_value(z)).sum(axis=-1))

    def delta(self, g: Activation, z: Array, a: Array, y: Array) -> Array:
        if g.log_derivative_formula is None:
            return g.pull_back(self.derivative(a, y), z, a)
        return g.log_pull_back(a - y, z, a)

    def check_targets(self, y: Array) -> None:
        _refuse(y < 0, y, "loss 'poisson' needs counts of 0 or more")


class CrossEntropy(LossFromZ):
    """C_i = -Σ_j y_j ln a_j after a softmax; ∂C_i/∂z_j = a_j Σ_m y_m - y_j = a_j - y_j."""

    name = "cross_entropy"
    formula = "-y*ln(a)"
    derivative_formula = "-y/a"
    output = "softmax"

    def value(self, a: Array, y: Array) -> Array:
        with np.errstate(divide="ignore"):
            return np.where(y == 0, 0, -y * np.where(y == 0, 0, np.log(a)))

    def derivative(self, a: Array, y: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(y == 0, 0, -y / a)

    def value_from_z(self, g: Activation, z: Array, y: Array) -> Array:
        return np.asarray((-y * g.log_value(z)).sum(axis=-1))

    def delta(self, g: Activation, z: Array, a: Array, y: Array) -> Array:
        return g.log_pull_back(-y, z, a)  # a_j Σ_m y_m - y_j, exact also where a rounds to 1

    def check_targets(self, y: Array) -> None:
        _refuse((y < 0) | (y > 1), y, "loss 'cross_entropy' needs probabilities")
        sums = y.sum(axis=-1)
        wrong = np.abs(sums - 1) > 1e-4
        if wrong.any():
            i = int(np.argmax(wrong))
            raise ValueError(
                f"y[{i}] sums to {sums[i]:.6g}; loss 'cross_entropy' needs one-hot rows, "
                "probabilities that sum to 1, or integer classes"
            )


class BinaryCrossEntropy(LossFromZ):
    """C_i = -Σ_j y_j ln a_j + (1 - y_j) ln(1 - a_j) after a sigmoid; ∂C_i/∂z_j = a_j - y_j."""

    name = "binary_cross_entropy"
    formula = "-(y*ln(a) + (1 - y)*ln(1 - a))"
    derivative_formula = "(1 - y)/(1 - a) - y/a"
    output = "sigmoid"

    def value(self, a: Array, y: Array) -> Array:
        with np.errstate(divide="ignore"):
            log_a, log_rest = np.log(a), np.log1p(-a)
        return -np.where(y == 0, 0, y * np.where(y == 0, 0, log_a)) - np.where(
            y == 1, 0, (1 - y) * np.where(y == 1, 0, log_rest)
        )

    def derivative(self, a: Array, y: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(y == 1, 0, (1 - y) / (1 - a)) - np.where(y == 0, 0, y / a)

    def value_from_z(self, g: Activation, z: Array, y: Array) -> Array:
        # -ln σ(z) = ln(1 + e^-z) and -ln(1 - σ(z)) = ln(1 + e^z)
        result: Array = (y * np.logaddexp(0, -z) + (1 - y) * np.logaddexp(0, z)).sum(axis=-1)
        return result

    def delta(self, g: Activation, z: Array, a: Array, y: Array) -> Array:
        return a * (1 - y) - y * _rest(z)  # a - y, exact also where a rounds to 1

    def derivative_at_output(self, z: Array, a: Array, y: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(y == 1, 0, (1 - y) / _rest(z)) - np.where(y == 0, 0, y / a)

    def check_targets(self, y: Array) -> None:
        _refuse((y < 0) | (y > 1), y, "loss 'binary_cross_entropy' needs probabilities")


LOSSES: dict[str, Loss] = {
    c.name: c
    for c in (
        SquaredError(), HalfSquaredError(), AbsoluteError(), Huber(), CrossEntropy(),
        BinaryCrossEntropy(), Poisson(),
    )
}  # fmt: skip


def get(loss: str | Loss) -> Loss:
    """Return the loss of that name, or the user's own one after a check of its formulas.

    Raises ValueError for an unknown name or a formula that can't be read, TypeError for anything
    that is neither a name nor a `Loss`.
    """
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise ValueError(f"unknown loss {loss!r}; known: {', '.join(LOSSES)}")
        return LOSSES[loss]
    if not isinstance(loss, Loss):
        raise TypeError(f"a loss must be a name or a chainrule.Loss, got {loss!r}")
    if type(loss) not in {type(c) for c in LOSSES.values()}:
        check_formulas(loss, {"a", "y"}, {"a", "y"})
    return loss


def _rest(z: Array) -> Array:
    """Return 1 - σ(z) = σ(-z)."""
    return Sigmoid().value(-z)


def _refuse(wrong: Array, y: Array, need: str) -> None:
    if wrong.any():
        place = np.unravel_index(int(np.argmax(wrong)), y.shape)
        index = ", ".join(str(int(i)) for i in place)
        raise ValueError(f"y[{index}] is {y[place]:.6g}; {need}")
