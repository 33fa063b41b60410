"""Certificates of a whole array: every element, or the largest ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule._exports import exported
from chainrule.equations.targets import ArrayTarget, Bias, Target, Weight, WeightMatrix
from chainrule.verify.certificate import Autodiff, certify
from chainrule.verify.evidence import Certificate, Verdict

if TYPE_CHECKING:
    from chainrule.equations.feedforward import FeedForward

MOST = 16  # elements that are certified; a certificate takes up to about 3 s


@exported("chainrule.verify")
@dataclass(frozen=True)
class ArrayCertificate:
    """Hold the certificates of the elements of a gradient.

    Attributes:
        target: The array.
        certificates: One for each element that was certified, the largest in size first.
        total: How many elements the array has.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([1, 2, 1], hidden="tanh", seed=0)
        >>> found = net.explain(cr.BiasVector(1), [[2.0]], [0.0]).certificate
        >>> found.verdict, len(found.certificates)
        ('pass', 2)
    """

    target: ArrayTarget
    certificates: tuple[Certificate, ...]
    total: int

    @property
    def verdict(self) -> Verdict:
        """Return the worst verdict of the elements: "fail", "not resolved", "kink" or "pass"."""
        found = {certificate.verdict for certificate in self.certificates}
        order: tuple[Verdict, ...] = ("fail", "not resolved", "kink")
        return next((verdict for verdict in order if verdict in found), "pass")

    @property
    def passed(self) -> bool:
        """Return whether every element that was certified is proven."""
        return all(certificate.passed for certificate in self.certificates)

    def text(self, width: int = 100) -> str:
        """Return the verdict, and a table with a row for each element.

        Args:
            width: How many columns it may have. A narrow table has less evidence.
        """
        count = len(self.certificates)
        which = (
            f"all {self.total}" if count == self.total else f"the {count} largest of {self.total}"
        )
        lines = [f"∂C/∂{self.target}: {self.verdict}, {which} elements", ""]
        heads = ("analytic", "central difference", "high precision", "autodiff")
        shown = max(1, min(4, (width - 28) // 20))
        columns = "{:<11}" + "  {:<18}" * shown + "  {}"
        lines.append(columns.format("element", *heads[:shown], "verdict").rstrip())
        for found in self.certificates:
            numbers = [found.analytic, *(evidence.value for evidence in found.evidence)]
            cells = ["" if x is None else f"{x:.12g}" for x in numbers[:shown]]
            lines.append(columns.format(str(found.target), *cells, found.verdict).rstrip())
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data for JSON; numbers that are not finite become texts."""
        return {
            "target": str(self.target),
            "verdict": self.verdict,
            "passed": self.passed,
            "total": self.total,
            "elements": [certificate.to_dict() for certificate in self.certificates],
        }

    def __str__(self) -> str:
        return self.text()


def certify_array(
    network: FeedForward,
    target: ArrayTarget,
    X: ArrayLike,
    y: ArrayLike,
    *,
    analytic: NDArray[np.float64],
    sample_weight: ArrayLike | None = None,
    dropout_step: int | None = None,
    autodiff: Autodiff = "auto",
    most: int = MOST,
) -> ArrayCertificate:
    """Prove the elements of a gradient, each as `certify` does.

    Args:
        network: The network.
        target: The array.
        X: The inputs, (n, units_0), or one sample, (units_0,).
        y: The targets, as for `Network.fit`.
        analytic: The gradient to prove, shaped as the array.
        sample_weight: The weight of each sample in the mean, (n,).
        dropout_step: Apply the dropout masks of this training step.
        autodiff: As for `certify`.
        most: How many elements to prove, the largest in size.

    Returns:
        The certificates.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: The network has no such array, or the data do not fit.

    Examples:
        >>> import chainrule as cr
        >>> from chainrule.verify import certify_array
        >>> net = cr.Network([1, 2, 1], hidden="tanh", seed=0)
        >>> dW = net.gradient([[2.0]], [0.0]).dW[1]
        >>> certify_array(net, cr.WeightMatrix(1), [[2.0]], [0.0], analytic=dW).passed
        True
        >>> certify_array(net, cr.WeightMatrix(1), [[2.0]], [0.0], analytic=dW + 1).verdict
        'fail'
    """
    order = np.argsort(-np.abs(analytic), axis=None, kind="stable")[:most]
    found = []
    for place in np.stack(np.unravel_index(order, analytic.shape), axis=1).tolist():
        element: Target
        if isinstance(target, WeightMatrix):
            element = Weight(target.layer, *place)
        else:
            element = Bias(target.layer, *place)
        found.append(
            certify(
                network, element, X, y, sample_weight=sample_weight, dropout_step=dropout_step,
                analytic=float(analytic[tuple(place)]), autodiff=autodiff,
            )
        )  # fmt: skip
    return ArrayCertificate(target, tuple(found), analytic.size)
