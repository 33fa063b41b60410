"""Explanation: one derivative, split into terms, combined again, and proven."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike

from chainrule._exports import exported
from chainrule.equations import data
from chainrule.equations.checks import integer, positive, whole
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.targets import (
    ArrayTarget,
    BiasVector,
    Target,
    WeightMatrix,
    resolve_any,
)
from chainrule.explain import document
from chainrule.explain import notation as notations
from chainrule.explain.derivative import Derivative, SampleRow
from chainrule.explain.document import Section
from chainrule.explain.names import Names
from chainrule.explain.notation import Notation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from chainrule.explain.array_explanation import ArrayExplanation
    from chainrule.explain.paths import Paths

__all__ = ["Explanation", "SampleRow", "explain"]


@exported("chainrule")
class Explanation(Derivative):
    """The derivative of the loss C with respect to one quantity, explained.

    `Network.explain` makes it. The network is copied, so an explanation stays as it is when
    training goes on. ``str(why)`` is the derivation as text, and a notebook shows it with its
    formulas.

    Args:
        network: The network.
        target: The quantity to differentiate with respect to.
        gradient: The gradient that `backprop` computed on these samples.
        y: The targets, (n, units_L).
        sample_weight: The weight of each sample, or None.
        dropout_step: The training step whose dropout masks are applied, or None.
        learning_rate: η of the update that is shown, or None.
        focus: The sample whose numbers the terms show.
        notation: The notation.
        names: The names of inputs and outputs.
        first_sample: The place of the first sample in the whole data, which counts them in print.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([1, 1], output="tanh", W=[[[0.5]]], b=[[0.0]])
        >>> why = net.explain("w[1][0,0]", [[2.0]], [0.0])
        >>> [round(term.value, 4) for term in why.terms]
        [0.7616, 0.42, 2.0]
        >>> why.value == float(net.gradient([[2.0]], [0.0]).dW[1][0, 0])
        True
        >>> print(why.text().splitlines()[0])
        ∂C/∂w₀₀⁽¹⁾ = 0.6397
    """

    def in_notation(self, notation: Notation | str) -> Explanation:
        """Return the same explanation in another notation.

        Args:
            notation: A `Notation`, or the name of one that ships: "default", "C-a-L" or "L-h".

        Raises:
            TypeError: ``notation`` is neither a name nor a `Notation`.
            ValueError: There is no notation of that name.
        """
        return Explanation(
            self.network, self.target, self.gradient, self.y, sample_weight=self.sample_weight,
            dropout_step=self.dropout_step, learning_rate=self.learning_rate, focus=self.focus,
            notation=notations.get(notation), names=self.names, first_sample=self.first_sample,
        )  # fmt: skip

    def sections(self) -> list[Section]:
        """Return the whole derivation: chain rule, terms, combination, numbers, mean, update."""
        return document.sections(self)

    def paths(self, count: int = 10, *, by: Literal["path", "unit"] | None = None) -> Paths:
        """Return the largest paths to the loss, for the sample in focus, and the rest exactly.

        A path goes through one unit of each layer. With more than two hidden layers on the way, the
        paths through each unit are added up instead, layer by layer.

        Args:
            count: How many paths, or units in each layer, to hold.
            by: "path" or "unit" chooses, whatever the number of layers.

        Raises:
            TypeError: ``count`` is not an integer.
            ValueError: ``count`` is below 1, or ``by`` is something else.

        Examples:
            >>> import chainrule as cr
            >>> net = cr.Network([2, 3, 4, 1], hidden="tanh", seed=0)
            >>> net.explain("x[0]", [[0.5, -1.0]], [1.0]).paths(3).count
            12
        """
        from chainrule.explain.paths import Paths

        return Paths(self, count, by)

    def text(self, width: int = 100, depth: int = 1) -> str:
        """Return the derivation as Unicode text.

        Args:
            width: The most characters in a line; at least 40.
            depth: How many levels of contributions to open.
        """
        from chainrule.explain.page_text import page

        return page(self, width, depth)

    def latex(self, standalone: bool = False) -> str:
        """Return the derivation as LaTeX, which needs the package amsmath.

        Args:
            standalone: Return a whole document, not only its body.
        """
        from chainrule.explain.page_latex import page

        return page(self, standalone)

    def mathml(self) -> str:
        """Return one MathML element with all equations in order."""
        from chainrule.explain.page_html import equations_only

        return equations_only(self)

    def html(self, depth: int = 3) -> str:
        """Return an HTML page that needs no other file, script or network.

        Args:
            depth: How many levels of contributions can be opened.
        """
        from chainrule.explain.page_html import page

        return page(self, depth)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the loss C as a function of the quantity, with its tangent and the step.

        The curve is computed by forward passes. The slope of the tangent is `value`. The step is
        that of gradient descent, where the explanation has a ``learning_rate``: to w − η ∂C/∂w.

        Args:
            ax: The matplotlib axes to draw into; None makes new ones.

        Returns:
            The axes.

        Raises:
            ImportError: matplotlib is not installed.
        """
        from chainrule.explain.curve_plot import plot

        return plot(self, ax)

    def to_dict(self, depth: int = 1) -> dict[str, Any]:
        """Return everything as plain data for JSON, each formula as text, LaTeX and MathML.

        Args:
            depth: How many levels of contributions to include.
        """
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


@overload
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
    first_sample: int = 0,
) -> Explanation: ...
@overload
def explain(
    network: FeedForward,
    target: ArrayTarget,
    X: ArrayLike,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    dropout_step: int | None = None,
    learning_rate: float | None = None,
    focus: int = 0,
    notation: Notation | str = "default",
    names: Names | None = None,
    first_sample: int = 0,
) -> ArrayExplanation: ...
def explain(
    network: FeedForward,
    target: Target | ArrayTarget | str,
    X: ArrayLike,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    dropout_step: int | None = None,
    learning_rate: float | None = None,
    focus: int = 0,
    notation: Notation | str = "default",
    names: Names | None = None,
    first_sample: int = 0,
) -> Explanation | ArrayExplanation:
    """Explain the derivative of the loss with respect to one quantity, or to a whole array.

    "W[2]" and "b[1]" are all weights and all biases of a layer: their gradient is explained in
    matrix form, as an `ArrayExplanation`. A type checker sees that for `WeightMatrix` and
    `BiasVector`; it takes a text for one quantity.

    z, a and x differ from sample to sample. For them the value is the mean of ∂C_i/∂z: the effect
    of the same shift in every sample.

    Args:
        target: The quantity to differentiate with respect to: a text such as "w[2][1,2]",
            "b[2][1]", "z[1][0]", "a[1][3]" or "x[0]", or a `Weight`, `Bias`, `PreActivation` or
            `UnitOutput`; or a whole array: "W[2]", "b[1]", a `WeightMatrix` or `BiasVector`.
        X: The inputs, (n, units_0), or one sample, (units_0,).
        y: The targets, as for `Network.fit`.
        sample_weight: The weight of each sample in the mean, (n,).
        dropout_step: Apply the dropout masks of this training step.
        learning_rate: Show the update in numbers, with this η.
        focus: The sample whose numbers the terms show; the matrices of an array hold all samples.
        notation: A `Notation`, or the name of one that ships: "default", "C-a-L" or "L-h".
        names: The names of inputs and outputs, such as the columns of a table; the matrices have
            none.
        first_sample: The place of the first row of X in the whole data: with X[2:3], 2 writes C_2.

    Returns:
        The explanation.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: The network has no such quantity, the data do not fit, ``focus`` or
            ``notation`` does not exist, or ``first_sample`` is below 0.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([2, 3, 1], hidden="tanh", seed=0)
        >>> why = net.explain("w[1][2,0]", [[0.5, -1.0]], [1.0])
        >>> why.certificate.verdict
        'pass'
    """
    resolved = resolve_any(target, network.sizes, network.biases)
    chosen = notations.get(notation)
    if learning_rate is not None:
        positive(learning_rate, "learning_rate")
    # copies, so that an explanation stays the same when the caller overwrites the arrays
    X = np.array(data.inputs(X, network.sizes[0]), dtype=np.float64, order="C")
    gradient = network.gradient(X, y, sample_weight=sample_weight, dropout_step=dropout_step)
    n = len(gradient.sample_losses)
    focus = integer(focus, "focus must be the index of a sample")
    if not 0 <= focus < n:
        raise ValueError(f"focus is {focus}; expected the index of a sample, 0 to {n - 1}")
    first_sample = whole(first_sample, "first_sample", least=0)
    units = network.sizes[-1]
    rows = data.one_hot(data.targets(y, n, units, network.loss), units, np.float64).copy()
    weights = data.weights(sample_weight, n)
    checked = None if names is None else names.check(network.sizes)
    if isinstance(resolved, WeightMatrix | BiasVector):
        from chainrule.explain.array_explanation import ArrayExplanation

        return ArrayExplanation(
            network.copy(), resolved, gradient, rows, sample_weight=weights,
            dropout_step=dropout_step, learning_rate=learning_rate, notation=chosen,
            first_sample=first_sample,
        )  # fmt: skip
    return Explanation(
        network.copy(), resolved, gradient, rows, sample_weight=weights,
        dropout_step=dropout_step, learning_rate=learning_rate, focus=focus, notation=chosen,
        names=checked, first_sample=first_sample,
    )  # fmt: skip
