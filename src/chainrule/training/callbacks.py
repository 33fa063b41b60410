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
    """Show a run of `Network.fit` to its callbacks.

    You do not make runs; callbacks are called with one.

    Args:
        network: The network that is trained; its parameters may be read and set.
        history: The epochs that have ended.
        epochs: How many epochs were asked for.
        state: The number of the next step, ``state.step``, and the vectors of the optimiser.
        epoch: The number of the last epoch that has ended, from 1; 0 at the start.
        restored_epoch: The epoch whose parameters a callback has put back.
        finished: Whether a callback has ended the run for good.

    Examples:
        >>> import chainrule as cr
        >>> def watch(run):
        ...     if run.epoch == 2:
        ...         run.stop("two are enough")
        >>> net = cr.Network([1, 1], seed=0)
        >>> net.fit([[1.0]], [1.0], epochs=10, callbacks=[watch]).stop_reason
        'two are enough'
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
        """Return what is trained, on what and how, as plain values."""
        return self._describe()

    def stop(self, reason: str = "stopped by a callback", *, finished: bool = True) -> None:
        """End the run after this epoch.

        Args:
            reason: What ``history.stop_reason`` will say; the first reason stands.
            finished: False says that the run only pauses: ``fit(..., resume=True)`` continues it.
        """
        if self.history.stop_reason is None:
            self.history.stop_reason, self.finished = reason, finished


@exported("chainrule")
class Callback:
    """Do something during a run. Derive from this class, and override what you need.

    Parameters may be read and set in ``run.network``. An exception ends the run and reaches the
    caller of `Network.fit`; the network keeps its parameters.

    Examples:
        >>> import chainrule as cr
        >>> class Announce(cr.Callback):
        ...     def on_end(self, run):
        ...         print(f"{run.epoch} epochs")
        >>> net = cr.Network([1, 1], seed=0)
        >>> history = net.fit([[1.0]], [1.0], epochs=3, callbacks=[Announce()])
        3 epochs
    """

    def on_start(self, run: Run) -> None:
        """Do something before the first epoch. Nothing has been changed yet.

        Args:
            run: The run.
        """

    def on_epoch_end(self, run: Run) -> None:
        """Do something after an epoch, when its row is in the history.

        Args:
            run: The run.
        """

    def on_end(self, run: Run) -> None:
        """Do something when the run ends, however it ends.

        Args:
            run: The run.
        """

    def save_state(self) -> Mapping[str, Any]:
        """Return what a checkpoint has to keep of this callback: arrays and plain values."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `save_state` returned, when a run is resumed. Called after `on_start`.

        Args:
            state: What `save_state` returned.

        Raises:
            ValueError: The state does not belong to this callback.
        """


@exported("chainrule")
class EarlyStopping(Callback):
    """Stop when a column of the history has not improved for some epochs.

    Args:
        monitor: The column to watch. None is ``val_loss`` where there is validation data, else
            ``loss``.
        patience: After how many epochs without improvement to stop.
        min_delta: By how much a value must improve to count.
        restore_best: Whether the network ends with the parameters of the best epoch, however the
            run ends.
        mode: Which values are better: "min", "max", or "auto", which knows the loss and the named
            metrics.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument has an impossible value or, at the start of a run, the run has no
            such column or "auto" does not know which of its values are better.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([1, 1], W=[[[1.0]]], b=[[0.0]])
        >>> history = net.fit([[1.0]], [1.0], epochs=100, callbacks=[cr.EarlyStopping(patience=3)])
        >>> len(history.epoch), history.best_epoch
        (4, 1)
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
        """Return the best so far, and its parameters."""
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


class AtEpochEnd(Callback):
    """Call a function at each epoch's end."""

    def __init__(self, function: Callable[[Run], object]) -> None:
        self._function = function

    def on_epoch_end(self, run: Run) -> None:
        """Call the function."""
        self._function(run)


def check(callbacks: object) -> list[Callback]:
    """Return the callbacks, plain functions as ones that are called at each epoch's end."""
    if callbacks == ():
        return []
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
            checked.append(AtEpochEnd(callback))
        else:
            raise TypeError(f"callbacks[{i}] must be a Callback or a function, got {callback!r}")
    return checked
