"""Explain a whole array: the gradient of all weights or biases of a layer, as matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule._exports import exported
from chainrule._forks import cached_property
from chainrule.equations.backprop import Gradient
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.targets import ArrayTarget, WeightMatrix
from chainrule.explain import notation as notations
from chainrule.explain.document import Section
from chainrule.explain.notation import Notation
from chainrule.explain.pieces import Pieces
from chainrule.explain.symbols import LossSymbol, Partial, quantity
from chainrule.explain.terms import Equation
from chainrule.explain.words import setting_of

if TYPE_CHECKING:
    from chainrule.explain.sheet import Sheet
    from chainrule.verify import ArrayCertificate


@exported("chainrule")
class ArrayExplanation:
    """The gradient of all weights or all biases of a layer, explained in matrix form.

    `Network.explain` makes it for "W[2]" and "b[1]". The network is copied, so an explanation stays
    as it is when training goes on.

    Args:
        network: The network.
        target: The array to differentiate with respect to.
        gradient: The gradient that `backprop` computed on these samples.
        y: The targets, (n, units_L).
        sample_weight: The weight of each sample, or None.
        dropout_step: The training step whose dropout masks are applied, or None.
        learning_rate: η of the update that is shown, or None.
        notation: The notation.
        first_sample: The place of the first sample in the whole data, which counts them in print.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([2, 3, 1], hidden="tanh", seed=0)
        >>> why = net.explain(cr.WeightMatrix(1), [[0.5, -1.0]], [1.0])
        >>> why.value.shape
        (3, 2)
        >>> bool((why.value == net.gradient([[0.5, -1.0]], [1.0]).dW[1]).all())
        True
    """

    def __init__(
        self,
        network: FeedForward,
        target: ArrayTarget,
        gradient: Gradient,
        y: NDArray[Any],
        *,
        sample_weight: NDArray[np.float64] | None,
        dropout_step: int | None,
        learning_rate: float | None,
        notation: Notation,
        first_sample: int = 0,
    ) -> None:
        self.network, self.target, self.gradient, self.y = network, target, gradient, y
        self.sample_weight, self.dropout_step = sample_weight, dropout_step
        self.learning_rate, self.notation = learning_rate, notation
        self.first_sample = first_sample

    @property
    def n_samples(self) -> int:
        """Return the number of samples."""
        return len(self.y)

    @property
    def value(self) -> NDArray[np.float64]:
        """Return ∂C/∂W, (units_l, units_{l-1}), or ∂C/∂b, (units_l,): exactly `Network.gradient`'s.

        It is a copy.
        """
        l = self.target.layer
        found = (
            self.gradient.dW[l] if isinstance(self.target, WeightMatrix) else self.gradient.db[l]
        )
        assert found is not None  # biases that do not exist are refused before
        return found.copy()

    @cached_property
    def certificate(self) -> ArrayCertificate:
        """Return the certificates of the elements; of a large array, of those largest in size.

        They are computed when first asked for.
        """
        from chainrule.verify import certify_array

        return certify_array(
            self.network, self.target, self.gradient.forward.a[0], self.y,
            sample_weight=self.sample_weight, dropout_step=self.dropout_step, analytic=self.value,
        )  # fmt: skip

    def in_notation(self, notation: Notation | str) -> ArrayExplanation:
        """Return the same explanation in another notation.

        Args:
            notation: A `Notation`, or the name of one that ships: "default", "C-a-L" or "L-h".

        Raises:
            TypeError: ``notation`` is neither a name nor a `Notation`.
            ValueError: There is no notation of that name.
        """
        return ArrayExplanation(
            self.network, self.target, self.gradient, self.y, sample_weight=self.sample_weight,
            dropout_step=self.dropout_step, learning_rate=self.learning_rate,
            notation=notations.get(notation), first_sample=self.first_sample,
        )  # fmt: skip

    def sections(self) -> list[Section]:
        """Return the forward pass, the way back to the layer, the gradient, and the update."""
        from chainrule.explain.matrices import MatrixForm

        form = MatrixForm(
            Pieces(self.network, self.gradient, self.y, 0, self.notation),
            weighted=self.sample_weight is not None,
        )
        l, L = self.target.layer, len(self.network.sizes) - 1
        weights = isinstance(self.target, WeightMatrix)
        forward = [e for m in range(1, L + 1) for e in form.forward(m)]
        backward = [e for m in range(L, l - 1, -1) for e in form.backward(m)]
        gradient = [*(form.of_weights(l) if weights else form.of_biases(l))]
        element = form.element(l, weights)
        lead = "An element of it is the index form"
        gradient.append(Equation(element.sides, lead))
        moved = form.moved(self._letter, np.atleast_2d(self.value), self.learning_rate)
        return [
            Section("Forward", forward),
            Section(f"Backward to layer {l}", backward),
            Section("The gradient", gradient),
            Section("The update", [moved]),
        ]

    @property
    def _letter(self) -> Any:
        return quantity("W" if isinstance(self.target, WeightMatrix) else "b", self.target.layer)

    def setting(self) -> str:
        """Return the array, the network, the loss and the samples, in words."""
        from chainrule.explain.matrices import MOST

        kind = "weights" if isinstance(self.target, WeightMatrix) else "biases"
        words = setting_of(
            f"all {kind} of layer {self.target.layer}", self.network, self.n_samples,
            self.sample_weight is not None, self.dropout_step,
        )  # fmt: skip
        if max(*self.network.sizes, self.n_samples) > MOST:
            words += f"; of more than {MOST} rows or columns, the first five and the last"
        return words

    def sheet(self, certified: bool = True, width: int = 100) -> Sheet:
        """Return everything that is written down.

        Args:
            certified: Whether its certificate is, too, which takes longest.
            width: The most characters in a line of the certificate.
        """
        from chainrule.explain.matrices import MatrixForm
        from chainrule.explain.sheet import Sheet

        headline = Equation(
            (Partial(LossSymbol(), self._letter), MatrixForm.grid(np.atleast_2d(self.value)))
        )
        return Sheet(
            f"∂{self.notation.loss}/∂{self.target}", self.setting(), self.sections(),
            self.notation, self.network.sizes, self.n_samples, headline,
            self.certificate.text(width) if certified else "", first_sample=self.first_sample,
        )  # fmt: skip

    def text(self, width: int = 100) -> str:
        """Return the derivation as Unicode text.

        Args:
            width: The most characters in a line; at least 40.
        """
        from chainrule.explain.page_text import written

        return written(self.sheet(width=width), width)

    def latex(self, standalone: bool = False) -> str:
        """Return the derivation as LaTeX, which needs the package amsmath.

        Args:
            standalone: Return a whole document, not only its body.
        """
        from chainrule.explain.page_latex import written

        return written(self.sheet(), standalone)

    def mathml(self) -> str:
        """Return one MathML element with all equations in order."""
        from chainrule.explain.page_html import equations_of

        return equations_of(self.sheet(certified=False))

    def html(self) -> str:
        """Return an HTML page that needs no other file, script or network."""
        from chainrule.explain.page_html import written

        return written(self.sheet())

    def pdf(self) -> bytes:
        """Return the derivation as a PDF file, typeset by Typst.

        Raises:
            ImportError: Typst, of the extra ``worksheets``, is not installed.
        """
        from chainrule.explain.page_typst import written

        return written(self.sheet())

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data for JSON, each formula as text, LaTeX and MathML."""
        from chainrule.explain.page_dict import written

        return {
            "target": str(self.target),
            "shape": list(self.value.shape),
            "value": self.value.tolist(),
            **written(self.sheet(certified=False)),
            "certificate": self.certificate.to_dict(),
        }

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        samples = "1 sample" if self.n_samples == 1 else f"{self.n_samples} samples"
        shape = " × ".join(map(str, self.value.shape))
        return f"ArrayExplanation({self.target}, {shape}, {samples})"

    def _repr_html_(self) -> str:
        from chainrule.explain.page_html import written_fragment

        return written_fragment(self.sheet())
