"""Callbacks: what else happens in a run, and the run that they are given."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from chainrule._exports import exported
from chainrule._forks import cached_property
from chainrule.engines.base import State
from chainrule.equations.checks import not_negative, whole
from chainrule.training.metrics import HIGHER_IS_BETTER

if TYPE_CHECKING:
    from chainrule.training.history import History


@dataclass
class Run:
    """A run of ``fit``, as callbacks see it.

    ``network`` is the one being trained, ``history`` has the epochs that ended, ``epoch`` is the
    number of the last of them (from 1; 0 at the start) and ``epochs`` how many were asked for.
    ``state`` has the step count and the optimiser's vectors. A run that is resumed starts with the
    epochs that it had.
    """

    network: Any  # a FeedForward, of the class that was handed to fit
    history: History
    epochs: int
    state: State = field(default_factory=State)
    epoch: int = 0
    restored_epoch: int | None = None  # whose parameters a callback has put back
    finished: bool = False  # a callback has ended the run for good
    _describe: Callable[[], Mapping[str, Any]] = dict

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """What is trained, on what, and how, as plain values."""
        return self._describe()

    def stop(self, reason: str = "stopped by a callback", *, finished: bool = True) -> None:
        """End the run after this epoch; the first reason stands in ``history.stop_reason``.

        ``finished=False`` tells that it only pauses: ``fit(..., resume=True)`` goes on with it.
        """
        if self.history.stop_reason is None:
            self.history.stop_reason, self.finished = reason, finished


@exported("chainrule")
class Callback:
    """What is called during a run; override what you need.

    Parameters may be read and set in ``run.network``. An exception ends the run and reaches the
    caller of ``fit``; the network keeps its parameters.
    """

    def on_start(self, run: Run) -> None:
        """Do something before the first epoch; nothing has been changed yet."""

    def on_epoch_end(self, run: Run) -> None:
        """Do something after each epoch, when its row stands in the history."""

    def on_end(self, run: Run) -> None:
        """Do something when the run ends, in whichever way."""

    def save_state(self) -> Mapping[str, Any]:
        """Give what a checkpoint has to keep of this callback: arrays, and what JSON knows."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `save_state` gave, when a run is resumed; called after `on_start`.

        Raises ValueError for a state that does not belong to this callback.
        """


@exported("chainrule")
class EarlyStopping(Callback):
    """Stop when a column of the history has not improved for ``patience`` epochs.

    ``monitor`` is the column; None is ``val_loss`` where there is validation data, else ``loss``.
    Better means lower by more than ``min_delta``, or higher for accuracy and R²; ``mode`` "min" or
    "max" says which for a metric of your own. With ``restore_best`` the network ends with the
    parameters of the best epoch, however the run ends.

    Raises ValueError or TypeError for bad arguments, and at the start of a run for a column that
    it does not have.
    """

    def __init__(
        self,
        monitor: str | None = None,
        patience: int = 10,
        min_delta: float = 0.0,
        restore_best: bool = True,
        mode: Literal["auto", "min", "max"] = "auto",
    ) -> None:
        if monitor is not None and not isinstance(monitor, str):
            raise TypeError(f"monitor must be the name of a column, got {monitor!r}")
        whole(patience, "patience")
        not_negative(min_delta, "min_delta")
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"mode must be 'auto', 'min' or 'max', got {mode!r}")
        self.monitor, self.patience, self.min_delta = monitor, patience, min_delta
        self.restore_best, self.mode = restore_best, mode

    def on_start(self, run: Run) -> None:
        """Find the column, and forget earlier runs."""
        columns = [c for c in run.history if c not in ("epoch", "learning_rate", "seconds")]
        self._column = self.monitor or ("val_loss" if "val_loss" in columns else "loss")
        if self._column not in columns:
            hint = "" if "val_loss" in columns else "; there is no validation data"
            raise ValueError(
                f"EarlyStopping: no column {self._column!r} to monitor; "
                f"this run has {', '.join(columns)}{hint}"
            )
        self._sign = self._direction(self._column)
        self._best, self._best_epoch = math.inf, 0
        self._parameters = run.network.parameters.copy()

    def on_epoch_end(self, run: Run) -> None:
        """Keep the parameters if they are the best so far, else see whether to stop."""
        value = self._sign * run.history[self._column][-1]
        if value < self._best - self.min_delta:
            self._best, self._best_epoch = value, run.epoch
            run.history.best_epoch = run.epoch
            self._parameters[...] = run.network.parameters
        elif run.epoch - self._best_epoch >= self.patience:
            best = f" (best {self._sign * self._best:.6g} in epoch {self._best_epoch})"
            run.stop(
                f"early stopping: {self._column} has not improved for {self.patience} epochs"
                + (best if self._best_epoch else "")
            )

    def on_end(self, run: Run) -> None:
        """Put the best parameters back."""
        if self.restore_best and self._best_epoch:
            run.network.parameters[...] = self._parameters
            run.restored_epoch = self._best_epoch

    def save_state(self) -> Mapping[str, Any]:
        """Give the best so far, and its parameters."""
        state: dict[str, Any] = {"column": self._column, "best_epoch": self._best_epoch}
        if self._best_epoch:
            state |= {"best": self._best, "parameters": self._parameters}
        return state

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from the best so far; ValueError if it was that of another column."""
        if state["column"] != self._column:
            raise ValueError(
                f"EarlyStopping watched {state['column']!r} so far; it can't go on with "
                f"{self._column!r}"
            )
        if state["best_epoch"]:
            self._best, self._best_epoch = state["best"], state["best_epoch"]
            self._parameters[...] = state["parameters"]

    def _direction(self, column: str) -> int:
        if self.mode != "auto":
            return 1 if self.mode == "min" else -1
        name = column.removeprefix("val_")
        if name != "loss" and name not in HIGHER_IS_BETTER:
            raise ValueError(
                f"EarlyStopping: say with mode='min' or mode='max' which {column!r} is better"
            )
        return -1 if HIGHER_IS_BETTER.get(name) else 1


class _AtEpochEnd(Callback):
    def __init__(self, function: Callable[[Run], object]) -> None:
        self._function = function

    def on_epoch_end(self, run: Run) -> None:
        self._function(run)


def check(callbacks: object) -> list[Callback]:
    """Give the callbacks, plain functions as ones that are called at each epoch's end."""
    if isinstance(callbacks, Callback | str) or not isinstance(callbacks, Iterable):
        raise TypeError(f"callbacks must be a list, got {callbacks!r}")
    checked: list[Callback] = []
    for i, callback in enumerate(callbacks):
        if isinstance(callback, type):
            name = callback.__name__
            raise TypeError(f"callbacks[{i}] is the class {name}; make one: {name}()")
        if isinstance(callback, Callback):
            checked.append(callback)
        elif callable(callback):
            checked.append(_AtEpochEnd(callback))
        else:
            raise TypeError(f"callbacks[{i}] must be a Callback or a function, got {callback!r}")
    return checked
