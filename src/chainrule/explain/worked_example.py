"""The face of a whole worked example: its checks and its renderings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from chainrule._exports import exported
from chainrule.equations import data
from chainrule.equations.checks import integer, positive, whole
from chainrule.equations.feedforward import FeedForward
from chainrule.explain import notation as notations
from chainrule.explain.notation import Notation
from chainrule.explain.worked import Worked

_MOST_PARAMETERS = 200
_MOST_PATHS = 4096  # found and multiplied; ``max_terms`` of them are written


@exported("chainrule")
class WorkedExample(Worked):
    """Samples worked through a network: forward, loss, every gradient and update, loss again.

    `Network.worked_example` makes it. The network is copied. ``str(example)`` is the example as
    text, and a notebook shows it with its formulas.

    Args:
        network: The network before the first step.
        x: The samples, (n, units_0).
        y: Their targets, (n, units_L).
        learning_rate: η.
        steps: How many steps of gradient descent.
        freeze_biases: Whether the biases keep their values.
        notation: The notation.
        first_sample: The place of the first sample in the whole data, which counts it in print.
        focus: The sample whose numbers stand unit by unit; the gradients are the mean over all.

    Attributes:
        network: The network before the first step.
        updated: The network after the last step.
        losses: The loss before each step, and after the last one.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([1, 1], W=[[[2.0]]], b=[[1.0]], loss="half_squared_error")
        >>> example = net.worked_example([1.0], [2.0], learning_rate=0.25)
        >>> example.losses
        (0.5, 0.125)
        >>> example.updated.layers[1].W.tolist()
        [[1.75]]
    """

    def text(self, width: int = 100) -> str:
        """Return the example as Unicode text.

        Args:
            width: The most characters in a line; at least 40.
        """
        from chainrule.explain.page_text import written

        return written(self.sheet(), width)

    def latex(self, standalone: bool = False) -> str:
        """Return the example as LaTeX, which needs the package amsmath.

        Args:
            standalone: Return a whole document, not only its body.
        """
        from chainrule.explain.page_latex import written

        return written(self.sheet(), standalone)

    def html(self) -> str:
        """Return an HTML page that needs no other file, script or network."""
        from chainrule.explain.page_html import written

        return written(self.sheet())

    def pdf(self) -> bytes:
        """Return the example as a PDF file, typeset by Typst.

        Raises:
            ImportError: Typst, of the extra ``worksheets``, is not installed.
        """
        from chainrule.explain.page_typst import written

        return written(self.sheet())

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data for JSON, each formula as text, LaTeX and MathML."""
        from chainrule.explain.page_dict import worked

        return worked(self)

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        count = len(self.steps)
        steps = "1 step" if count == 1 else f"{count} steps"
        return f"WorkedExample({steps}, loss {self.losses[0]:.6g} to {self.losses[-1]:.6g})"

    def _repr_html_(self) -> str:
        from chainrule.explain.page_html import written_fragment

        return written_fragment(self.sheet())


def worked_example(
    network: FeedForward,
    x: ArrayLike,
    y: ArrayLike,
    *,
    learning_rate: float,
    steps: int = 1,
    freeze_biases: bool = False,
    notation: Notation | str = "default",
    first_sample: int = 0,
    focus: int = 0,
) -> WorkedExample:
    """Work samples through the network: forward pass, loss, every gradient, every update.

    The network itself does not change. Dropout is off. Several samples make one batch: each
    derivative is written out for the sample in focus, then averaged, and the updates use the mean.

    Args:
        x: The samples, (n, units_0), or one sample, (units_0,).
        y: Their targets, as for `Network.fit`.
        learning_rate: η of the updates; above 0.
        steps: How many steps of gradient descent to work through; at least 1.
        freeze_biases: Leave the biases as they are.
        notation: A `Notation`, or the name of one that ships: "default", "C-a-L" or "L-h".
        first_sample: The place of the first sample in the whole data: 2 writes its loss as C_2.
        focus: The sample of x whose numbers stand unit by unit, from 0.

    Returns:
        The example, as text, HTML, LaTeX or data.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: The data do not fit, there is no sample ``focus``, ``learning_rate`` or
            ``steps`` is too small, ``first_sample`` is below 0, ``notation`` does not exist, or the
            network has more parameters than can be written out.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([2, 2, 1], hidden="tanh", seed=0)
        >>> example = net.worked_example([0.5, -1.0], [1.0], learning_rate=0.1)
        >>> print(example.text().splitlines()[3])
        The sample, the parameters and the learning rate
    """
    chosen = notations.get(notation)
    positive(learning_rate, "learning_rate")
    whole(steps, "steps")
    if not isinstance(freeze_biases, bool):
        raise TypeError(f"freeze_biases is {freeze_biases!r}; expected True or False")
    first_sample = whole(first_sample, "first_sample", least=0)
    count = network.parameters.size
    if count > _MOST_PARAMETERS:
        raise ValueError(
            f"the network has {count} weights and biases; a worked example takes at most "
            f"{_MOST_PARAMETERS}. Choose a smaller network, or explain one weight with explain."
        )
    count = math.prod(network.sizes[2:])
    if count > _MOST_PATHS:
        raise ValueError(
            f"{count} paths lead from the loss to layer 1; a worked example takes at most "
            f"{_MOST_PATHS}. Choose a network with fewer layers or units."
        )
    samples = data.samples(x, y, network.sizes, network.loss)
    n = len(samples.X)
    focus = integer(focus, "focus must be the index of a sample")
    if not 0 <= focus < n:
        raise ValueError(f"focus is {focus}; expected the index of a sample, 0 to {n - 1}")
    X = np.array(samples.X, dtype=np.float64, order="C")
    rows = data.one_hot(samples.y, network.sizes[-1], np.float64).copy()
    return WorkedExample(
        network.copy(), X, rows, learning_rate=learning_rate, steps=steps,
        freeze_biases=freeze_biases, notation=chosen, first_sample=first_sample, focus=focus,
    )  # fmt: skip
