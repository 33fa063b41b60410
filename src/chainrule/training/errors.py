"""The error of a run whose numbers stop being finite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chainrule._exports import exported
from chainrule.engines import Failure
from chainrule.training.history import History

if TYPE_CHECKING:
    from chainrule.training.callbacks import Run


@exported("chainrule")
class NonFiniteError(FloatingPointError):
    """Report that a number of a training run was NaN or infinite. That step was not applied.

    Args:
        message: What is said.
        epoch: The epoch, from 1.
        step: The step of the run, from 0, as in ``dropout_step``.
        layer: The first layer with such a number.
        what: Which numbers: "z", "a", "loss", "gradient", or "parameters" after the update.
        history: The epochs before.

    Attributes:
        epoch: The epoch, from 1.
        step: The step of the run, from 0.
        layer: The first layer with such a number.
        what: Which numbers.
        history: The epochs before.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([1, 1], W=[[[1.0]]])
        >>> try:
        ...     net.fit([[1e3]], [0.0], optimizer=cr.GradientDescent(1e300), epochs=9)
        ... except cr.NonFiniteError as error:
        ...     print("layer", error.layer)
        layer 1
    """

    def __init__(
        self, message: str, *, epoch: int, step: int, layer: int, what: str, history: History
    ) -> None:
        super().__init__(message)
        self.epoch, self.step, self.layer = epoch, step, layer
        self.what, self.history = what, history

    def __reduce__(self) -> tuple[Any, ...]:
        return _non_finite_error, (str(self), self.__dict__)


def _non_finite_error(message: str, attributes: dict[str, Any]) -> NonFiniteError:
    return NonFiniteError(message, **attributes)


_WHAT = {
    "z": "z of layer {}",
    "a": "a of layer {}",
    "loss": "the loss",
    "gradient": "the gradient of layer {}",
    "parameters": "a parameter of layer {} after the update",
}


def where(failure: Failure) -> str:
    """Describe what was not finite, and in which layer."""
    return _WHAT[failure.what].format(failure.layer)


def error_of(run: Run, failure: Failure, rate: float) -> NonFiniteError:
    """Describe what was not finite, where, and which parameters the network has now."""
    step, layer, what = failure.step, failure.layer, failure.what
    kept = "the parameters from before that step are kept"
    if run.restored_epoch is not None:
        kept = f"the parameters of the best epoch, {run.restored_epoch}, are put back"
    cause = f"learning rate {rate:.6g} may be too large, or the numbers of X or y"
    if step == 0 and what != "parameters":  # no update has been made yet
        cause = "the numbers of X, of y or of the initial weights are too large"
    return NonFiniteError(
        f"training stopped in epoch {run.epoch + 1}, step {step}: {where(failure)} is "
        f"not finite ({cause}); {kept}",
        epoch=run.epoch + 1, step=step, layer=layer, what=what, history=run.history,
    )  # fmt: skip
