"""Flow: where the gradient of a network grows or vanishes, as `Network.flow`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from chainrule.equations.feedforward import FeedForward

if TYPE_CHECKING:
    from chainrule.explain.flow_table import Flow


def flow(
    network: FeedForward,
    X: ArrayLike,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    dropout_step: int | None = None,
) -> Flow:
    """Return the factors by which the gradient grows or vanishes, layer by layer.

    From layer to layer the gradient passes W and g′; from ∂C/∂z to the gradient of the weights it
    is multiplied by the activations, and by how far the samples agree. Each factor is the ratio of
    two sizes, so that their product is exactly the change. Everything is computed in float64.

    Args:
        X: The inputs, (n, units_0), or one sample, (units_0,).
        y: The targets, as for `Network.fit`.
        sample_weight: The weight of each sample in the mean, (n,).
        dropout_step: Apply the dropout masks of this training step; g′ is then m g′.

    Returns:
        The flow, as a table of text or HTML, or as data.

    Warns:
        RuntimeWarning: A number overflows; the warning names sample and layer.

    Raises:
        TypeError: X, y or the weights do not hold numbers.
        ValueError: Shapes do not fit, a number is NaN or infinite, or a target is impossible for
            the loss.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([2, 3, 1], hidden="tanh", seed=0)
        >>> net.flow([[0.5, -1.0]], [1.0])
        Flow(2 layers, change 1.2)
    """
    from chainrule.explain.flow_table import flow_of

    return flow_of(network, X, y, sample_weight, dropout_step)
