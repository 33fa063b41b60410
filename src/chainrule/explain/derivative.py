"""Derivative: one derivative of the loss, as terms and numbers, apart from any rendering."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from chainrule._forks import cached_property
from chainrule.equations.backprop import Gradient
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.targets import Bias, PreActivation, Target, UnitOutput, Weight
from chainrule.explain import derivation
from chainrule.explain.names import Names
from chainrule.explain.notation import Notation
from chainrule.explain.pieces import Pieces
from chainrule.explain.symbols import Quantity, quantity
from chainrule.explain.terms import Term

if TYPE_CHECKING:
    from chainrule.verify import Certificate


@dataclass(frozen=True)
class SampleRow:
    """The terms of one sample.

    Attributes:
        index: The sample, from 0.
        terms: The value of each term, in order.
        product: Their product.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([1, 1], W=[[[2.0]]], b=[[0.0]])
        >>> net.explain("w[1][0,0]", [[1.0], [3.0]], [1.0, 0.0]).samples[1]
        SampleRow(index=1, terms=(6.0, 1.0, 3.0), product=18.0)
    """

    index: int
    terms: tuple[float, ...]
    product: float


class Derivative:
    """The derivative of the loss C with respect to one quantity, as terms with their numbers.

    ``value`` is the derivative: the mean over the samples of the product of the ``terms``, plus
    the ``penalty``. The terms show the numbers of the sample in ``focus``.
    """

    def __init__(
        self,
        network: FeedForward,
        target: Target,
        gradient: Gradient,
        y: NDArray[Any],
        *,
        sample_weight: NDArray[np.float64] | None,
        dropout_step: int | None,
        learning_rate: float | None,
        focus: int,
        notation: Notation,
        names: Names | None = None,
        first_sample: int = 0,
    ) -> None:
        self.network, self.target, self.gradient, self.y = network, target, gradient, y
        self.sample_weight, self.dropout_step = sample_weight, dropout_step
        self.learning_rate, self.focus, self.notation = learning_rate, focus, notation
        self.names, self.first_sample = names or Names(), first_sample
        self._pieces = Pieces(network, gradient, y, focus, notation)

    @property
    def n_samples(self) -> int:
        """Return the number of samples."""
        return len(self.y)

    def printed(self, sample: int) -> int:
        """Return the index of a sample as it is printed.

        Args:
            sample: The sample, from 0.
        """
        return sample + self.first_sample + self.notation.first_index

    @cached_property
    def value(self) -> float:
        """Return the derivative of C: the mean of the products, plus the penalty.

        For a weight or bias it is exactly the number in `Network.gradient`.
        """
        g = self.gradient
        match self.target:
            case Weight(l, j, k):
                return float(g.dW[l][j, k])
            case Bias(l, j):
                db = g.db[l]
                assert db is not None  # a bias that does not exist is refused before
                return float(db[j])
        return float(self.products.mean())

    @cached_property
    def terms(self) -> tuple[Term, ...]:
        """Return the factors of the chain rule in order.

        With sample weights, s_i / s̄ is the last one.
        """
        terms = derivation.chain(self._pieces, self.target)
        if self.sample_weight is not None:
            terms.append(derivation.weight_of_sample(self._pieces))
        return tuple(terms)

    @cached_property
    def penalty(self) -> Term | None:
        """Return the part λ w of the L2 penalty, or None."""
        return derivation.penalty(self._pieces, self.target)

    @cached_property
    def products(self) -> NDArray[np.float64]:
        """Return the product of the terms for every sample, (n,)."""
        product = np.ones(self.n_samples)
        for term in self.terms:
            product = product * term.values
        return product

    @cached_property
    def samples(self) -> Sequence[SampleRow]:
        """Return a row for each sample: its terms and their product."""
        columns = np.array([term.values for term in self.terms])
        return [
            SampleRow(i, tuple(map(float, columns[:, i])), float(self.products[i]))
            for i in range(self.n_samples)
        ]

    @property
    def symbol(self) -> Quantity:
        """Return the quantity to differentiate with respect to, as an expression."""
        match self.target:
            case Weight(l, j, k):
                return quantity("w", l, j, k)
            case Bias(l, j):
                return quantity("b", l, j)
            case PreActivation(l, j):
                return quantity("z", l, j)
            case UnitOutput(l, j):
                return quantity("a", l, j)

    @property
    def target_value(self) -> float:
        """Return the value of that quantity for the sample in focus."""
        return self._pieces.value_of(self.symbol)

    def value_of(self, q: Quantity) -> float:
        """Return the value of a quantity for the sample in focus.

        Args:
            q: The quantity, as an expression.
        """
        return self._pieces.value_of(q)

    @cached_property
    def certificate(self) -> Certificate:
        """Return the value beside the same derivative, computed without backpropagation.

        The others are a central difference, a value in high precision and, if PyTorch or JAX is
        installed, automatic differentiation. They are computed when first asked for.
        """
        from chainrule.verify import certify

        return certify(
            self.network, self.target, self.gradient.forward.a[0], self.y,
            sample_weight=self.sample_weight, dropout_step=self.dropout_step, analytic=self.value,
        )  # fmt: skip


D = TypeVar("D", bound=Derivative)


def beside(why: D, target: Target) -> D:
    """Return the same for another quantity; terms that the two have in common are made once."""
    other = type(why)(
        why.network, target, why.gradient, why.y, sample_weight=why.sample_weight,
        dropout_step=why.dropout_step, learning_rate=why.learning_rate, focus=why.focus,
        notation=why.notation, names=why.names, first_sample=why.first_sample,
    )  # fmt: skip
    other._pieces = why._pieces
    return other
