"""Explanation: one derivative, taken apart into terms, put together again, and proven."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule import data
from chainrule.backprop import Gradient
from chainrule.explain import derivation, document
from chainrule.explain import notation as notations
from chainrule.explain.document import Section
from chainrule.explain.notation import Notation
from chainrule.explain.pieces import Pieces
from chainrule.explain.symbols import Quantity, quantity
from chainrule.explain.terms import Term
from chainrule.targets import Bias, PreActivation, Target, UnitOutput, Weight, resolve

if TYPE_CHECKING:
    from chainrule.network import Network
    from chainrule.verify import Certificate


@dataclass(frozen=True)
class SampleRow:
    """One sample: the value of each term, in order, and their product."""

    index: int
    terms: tuple[float, ...]
    product: float


class Explanation:
    """The derivative of the loss C with respect to one quantity, explained.

    ``value`` is the derivative: for a weight or bias exactly the number in `Network.gradient`.
    ``terms`` are the factors of the chain rule in order (with sample weights, s_i / s̄ is the last);
    ``penalty`` is the part λ w of the L2 penalty, or None. ``samples`` has a row for each sample;
    the mean of the products, plus the penalty, is ``value``. The terms show the numbers of the
    sample in ``focus``.

    Made by `Network.explain`. The network is copied, so that an explanation stays as it is when
    training goes on.
    """

    def __init__(
        self,
        network: Network,
        target: Target,
        gradient: Gradient,
        y: NDArray[Any],
        *,
        sample_weight: NDArray[np.float64] | None,
        dropout_step: int | None,
        learning_rate: float | None,
        focus: int,
        notation: Notation,
    ) -> None:
        self.network, self.target, self.gradient, self.y = network, target, gradient, y
        self.sample_weight, self.dropout_step = sample_weight, dropout_step
        self.learning_rate, self.focus, self.notation = learning_rate, focus, notation
        self._pieces = Pieces(network, gradient, y, focus, notation)

    # --- numbers --------------------------------------------------------------------------------

    @property
    def n_samples(self) -> int:
        """The number of samples."""
        return len(self.y)

    @cached_property
    def value(self) -> float:
        """The derivative of C: the mean of the products, plus the penalty."""
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
        """The factors in order."""
        terms = derivation.chain(self._pieces, self.target)
        if self.sample_weight is not None:
            terms.append(derivation.weight_of_sample(self._pieces))
        return tuple(terms)

    @cached_property
    def penalty(self) -> Term | None:
        """The part of the L2 penalty, λ w, or None."""
        return derivation.penalty(self._pieces, self.target)

    @cached_property
    def products(self) -> NDArray[np.float64]:
        """The product of the terms for every sample, (n,)."""
        product = np.ones(self.n_samples)
        for term in self.terms:
            product = product * term.values
        return product

    @cached_property
    def samples(self) -> Sequence[SampleRow]:
        """A row for each sample."""
        columns = np.array([term.values for term in self.terms])
        return [
            SampleRow(i, tuple(map(float, columns[:, i])), float(self.products[i]))
            for i in range(self.n_samples)
        ]

    @cached_property
    def certificate(self) -> Certificate:
        """The value beside finite differences, high precision and, if installed, PyTorch or JAX."""
        from chainrule.verify import certify

        return certify(
            self.network, self.target, self.gradient.forward.a[0], self.y,
            sample_weight=self.sample_weight, dropout_step=self.dropout_step, analytic=self.value,
        )  # fmt: skip

    def in_notation(self, notation: Notation | str) -> Explanation:
        """Give the same explanation in another notation."""
        return Explanation(
            self.network, self.target, self.gradient, self.y, sample_weight=self.sample_weight,
            dropout_step=self.dropout_step, learning_rate=self.learning_rate, focus=self.focus,
            notation=notations.get(notation),
        )  # fmt: skip

    @property
    def symbol(self) -> Quantity:
        """The quantity that the derivative is taken with respect to."""
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
        """The number of that quantity, for the sample in focus."""
        return self._pieces.value_of(self.symbol)

    def sections(self) -> list[Section]:
        """Give the whole derivation: chain rule, terms, combination, numbers, mean, update."""
        return document.sections(self)

    # --- renderings -----------------------------------------------------------------------------

    def text(self, width: int = 100, depth: int = 1) -> str:
        """Give Unicode text of at most ``width`` columns; ``depth`` opens contributions further."""
        from chainrule.explain.page_text import page

        return page(self, width, depth)

    def latex(self, standalone: bool = False) -> str:
        """Give LaTeX (amsmath): the sections' text and formulas, or a whole document."""
        from chainrule.explain.page_latex import page

        return page(self, standalone)

    def mathml(self) -> str:
        """Give one MathML element with all equations in order."""
        from chainrule.explain.page_html import equations_only

        return equations_only(self)

    def html(self, depth: int = 3) -> str:
        """Give a self-contained HTML page without scripts; contributions open to ``depth``."""
        from chainrule.explain.page_html import page

        return page(self, depth)

    def to_dict(self, depth: int = 1) -> dict[str, Any]:
        """Give everything as plain data for JSON; formulas as text, LaTeX and MathML."""
        from chainrule.explain.page_dict import as_dict

        return as_dict(self, depth)

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        samples = "1 sample" if self.n_samples == 1 else f"{self.n_samples} samples"
        return f"Explanation({self.target}, value={self.value!r}, {samples})"

    def _repr_html_(self) -> str:
        from chainrule.explain.page_html import fragment

        return fragment(self, depth=3)

    def _repr_latex_(self) -> str:
        from chainrule.explain.page_latex import summary

        return f"$\\displaystyle {summary(self)}$"


def explain(
    network: Network,
    target: Target | str,
    X: ArrayLike,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    dropout_step: int | None = None,
    learning_rate: float | None = None,
    focus: int = 0,
    notation: Notation | str = "default",
) -> Explanation:
    """Explain the derivative of the loss with respect to one quantity.

    ``target`` is a text such as "w[2][1,2]", "b[2][1]", "z[1][0]", "a[1][3]" or "x[0]", or a
    `Weight`, `Bias`, `PreActivation` or `UnitOutput`. X is (n, units_0), y as for `Network.fit`;
    the terms show the numbers of sample ``focus``. Of z, a and x, which differ from sample to
    sample, the value is the mean of ∂C_i/∂z: what a shift that is the same in all samples causes.
    ``dropout_step`` applies the dropout masks of that training step. With ``learning_rate`` the
    update is shown in numbers. Raises ValueError or TypeError for a target, data, focus or
    notation that does not fit.
    """
    resolved = resolve(target, network.sizes, network.biases)
    chosen = notations.get(notation)
    if learning_rate is not None:
        from chainrule.checks import positive

        positive(learning_rate, "learning_rate")
    # copies, so that an explanation stays as it is when the caller's arrays are filled anew
    X = np.array(data.inputs(X, network.sizes[0]), dtype=np.float64)
    gradient = network.gradient(X, y, sample_weight=sample_weight, dropout_step=dropout_step)
    n = len(gradient.sample_losses)
    if isinstance(focus, bool) or not isinstance(focus, int | np.integer):
        raise TypeError(f"focus must be the index of a sample, got {focus!r}")
    if not 0 <= focus < n:
        raise ValueError(f"focus is {focus}; there are samples 0 to {n - 1}")
    units = network.sizes[-1]
    rows = data.one_hot(data.targets(y, n, units, network.loss), units, np.float64).copy()
    return Explanation(
        network.copy(), resolved, gradient, rows, sample_weight=data.weights(sample_weight, n),
        dropout_step=dropout_step, learning_rate=learning_rate, focus=int(focus), notation=chosen,
    )  # fmt: skip
