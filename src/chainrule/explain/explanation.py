"""Explanation: one derivative, taken apart into terms, put together again, and proven."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from chainrule._exports import exported
from chainrule.equations import data
from chainrule.equations.checks import integer, positive
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.targets import Target, resolve
from chainrule.explain import document
from chainrule.explain import notation as notations
from chainrule.explain.derivative import Derivative, SampleRow
from chainrule.explain.document import Section
from chainrule.explain.names import Names
from chainrule.explain.notation import Notation

__all__ = ["Explanation", "SampleRow", "explain"]


@exported("chainrule")
class Explanation(Derivative):
    """The derivative of the loss C with respect to one quantity, explained.

    ``value`` is the derivative: for a weight or bias exactly the number in `Network.gradient`.
    ``terms`` are the factors of the chain rule in order (with sample weights, s_i / s̄ is the last);
    ``penalty`` is the part λ w of the L2 penalty, or None. ``samples`` has a row for each sample;
    the mean of the products, plus the penalty, is ``value``. The terms show the numbers of the
    sample in ``focus``.

    Made by `Network.explain`. The network is copied, so that an explanation stays as it is when
    training goes on.
    """

    def in_notation(self, notation: Notation | str) -> Explanation:
        """Give the same explanation in another notation."""
        return Explanation(
            self.network, self.target, self.gradient, self.y, sample_weight=self.sample_weight,
            dropout_step=self.dropout_step, learning_rate=self.learning_rate, focus=self.focus,
            notation=notations.get(notation), names=self.names,
        )  # fmt: skip

    def sections(self) -> list[Section]:
        """Give the whole derivation: chain rule, terms, combination, numbers, mean, update."""
        return document.sections(self)

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
    network: FeedForward,
    target: Target | str,
    X: ArrayLike,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    dropout_step: int | None = None,
    learning_rate: float | None = None,
    focus: int = 0,
    notation: Notation | str = "default",
    names: Names | None = None,
) -> Explanation:
    """Explain the derivative of the loss with respect to one quantity.

    ``target`` is a text such as "w[2][1,2]", "b[2][1]", "z[1][0]", "a[1][3]" or "x[0]", or a
    `Weight`, `Bias`, `PreActivation` or `UnitOutput`. X is (n, units_0), y as for `Network.fit`;
    the terms show the numbers of sample ``focus``. Of z, a and x, which differ from sample to
    sample, the value is the mean of ∂C_i/∂z: what a shift that is the same in all samples causes.
    ``dropout_step`` applies the dropout masks of that training step. With ``learning_rate`` the
    update is shown in numbers. ``names`` are what inputs and outputs are called, such as the
    columns of a table. Raises ValueError or TypeError for a target, data, focus, notation or names
    that do not fit.
    """
    resolved = resolve(target, network.sizes, network.biases)
    chosen = notations.get(notation)
    if learning_rate is not None:
        positive(learning_rate, "learning_rate")
    # copies, so that an explanation stays as it is when the caller's arrays are filled anew
    X = np.array(data.inputs(X, network.sizes[0]), dtype=np.float64, order="C")
    gradient = network.gradient(X, y, sample_weight=sample_weight, dropout_step=dropout_step)
    n = len(gradient.sample_losses)
    focus = integer(focus, "focus must be the index of a sample")
    if not 0 <= focus < n:
        raise ValueError(f"focus is {focus}; there are samples 0 to {n - 1}")
    units = network.sizes[-1]
    rows = data.one_hot(data.targets(y, n, units, network.loss), units, np.float64).copy()
    return Explanation(
        network.copy(), resolved, gradient, rows, sample_weight=data.weights(sample_weight, n),
        dropout_step=dropout_step, learning_rate=learning_rate, focus=focus, notation=chosen,
        names=None if names is None else names.check(network.sizes),
    )  # fmt: skip
