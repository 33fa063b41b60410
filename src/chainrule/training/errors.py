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
    """A number of a training run was NaN or infinite; that step was not applied.

    ``epoch`` counts from 1, ``step`` is that of the run and counts from 0, as ``dropout_step``
    does. ``layer`` is the first layer with such a number, ``what`` is "z", "a", "loss", "gradient"
    or "parameters" (after the update). ``history`` has the epochs before.
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
    """Say what was not finite, and in which layer."""
    return _WHAT[failure.what].format(failure.layer)


def error_of(run: Run, failure: Failure, rate: float) -> NonFiniteError:
    """Say what was not finite, where, and which parameters the network has now."""
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
