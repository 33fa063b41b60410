"""A run, epoch by epoch: what the engine is given next, and what is made of its answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.engines import Epoch, EpochResult, Failure
from chainrule.equations import data
from chainrule.equations.optimizers import Optimizer
from chainrule.training.callbacks import Callback, Run
from chainrule.training.errors import where
from chainrule.training.history import Epochs
from chainrule.training.interrupt import Interrupt
from chainrule.training.keeper import Keeper
from chainrule.training.task import Task

Array = NDArray[Any]


@dataclass
class Course:
    """The epochs of one network: `next` says what to compute, `take` what has come of it."""

    task: Task
    run: Run
    callbacks: list[Callback]
    interrupt: Interrupt
    keeper: Keeper
    outputs: Array | None = field(init=False)
    begun: float = field(init=False, default=0.0)
    failed: tuple[Failure, float] | None = field(
        init=False, default=None
    )  # and the rate of its step
    _same: tuple[float, NDArray[np.float64]] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.outputs = None
        if self.task.measures:
            network = self.run.network
            self.outputs = np.empty((len(self.task.samples), network.sizes[-1]), network.dtype)

    @property
    def goes_on(self) -> bool:
        """Whether there is another epoch."""
        return self.run.epoch < self.run.epochs and self.run.history.stop_reason is None

    def rates(self, ahead: int = 0, known: bool = False) -> NDArray[np.float64]:
        """Return the learning rates of the steps of the next epoch, or of one after it.

        ``known``: whatever the losses are.
        """
        optimizer = self.task.plan.optimizer
        rate = optimizer.learning_rate
        if type(rate) is float and rate > 0 and type(optimizer).schedule is Optimizer.schedule:
            if self._same is None or self._same[0] != rate:  # the usual case: the same all along
                self._same = rate, np.full(self.task.steps, rate)
            return self._same[1]
        monitored = "loss" if self.task.validation is None else "val_loss"
        losses = [] if known else self.run.history[monitored]
        return _learning_rates(self.task, self.run.epoch + ahead, losses)

    def next(self) -> Epoch:
        """Return the next epoch, which begins now."""
        self.begun = perf_counter()
        task, seed = self.task, self.run.network.seed
        order = task.order(seed, self.run.epoch) if task.shuffle else None
        return Epoch(
            task.samples, task.plan, self.rates(), order, self.outputs, number=self.run.epoch
        )

    def take(self, epoch: Epoch, result: EpochResult) -> dict[str, float]:
        """Measure what the engine made of the epoch, and tell callbacks and keeper.

        Returns the row of the history; none where a number was not finite, see ``failed``.
        """
        task, run, history = self.task, self.run, self.run.history
        rates = epoch.learning_rates
        if result.failure is not None:
            run.stop(f"not finite: {where(result.failure)}")
            self.failed = result.failure, float(rates[result.steps])
            return {}
        row = {"learning_rate": float(rates[0]), "loss": result.loss}
        row |= _measure_training(task, epoch.order, result, self.outputs)
        validation = _measure_validation(task, self.interrupt)
        row |= validation or dict.fromkeys(task.validation_columns, float("nan"))
        run.epoch += 1
        history.append({"epoch": run.epoch, "seconds": perf_counter() - self.begun, **row})
        if self.interrupt.asked:
            run.stop("interrupted", finished=False)
        for callback in self.callbacks:
            callback.on_epoch_end(run)
        if self.interrupt.asked:
            run.stop("interrupted", finished=False)
        if result.samples == len(task.samples) and validation is not None:
            self.keeper.epoch_ended(run)
        return row

    def take_plain(self, epochs: Epochs, row: int) -> None:
        """Take epochs of which nobody wants to know more than the loss: `take` for all of them."""
        self.run.epoch += epochs.losses.shape[1]
        self.run.history.extend(epochs, row)
        if self.interrupt.asked:
            self.run.stop("interrupted", finished=False)


def _learning_rates(task: Task, epoch: int, losses: list[float]) -> NDArray[np.float64]:
    rates = task.plan.optimizer.schedule.rates(epoch, task.steps, losses)
    wrong = ~(np.isfinite(rates) & (rates >= 0))
    if wrong.any():
        step = int(np.argmax(wrong))
        schedule = task.plan.optimizer.learning_rate
        raise ValueError(
            f"the schedule {schedule!r} returned the learning rate {rates[step]} for step {step} "
            f"of epoch {epoch + 1}; it must be 0 or more"
        )
    return rates


def _measure_training(
    task: Task, order: NDArray[np.int64] | None, result: EpochResult, outputs: Array | None
) -> dict[str, float]:
    """Measure the outputs of the training passes, of those samples that had one."""
    if outputs is None:
        return {}
    y, weights, a = task.samples.y, task.samples.weights, outputs
    if result.samples < len(y):  # the run was interrupted
        seen = order[: result.samples] if order is not None else np.arange(result.samples)
        y, a = y[seen], a[seen]
        weights = None if weights is None else data.ratios(weights[seen], "sample_weight")[0]
    if weights is not None and not weights.any():
        return dict.fromkeys(task.measures, float("nan"))
    return {name: measure(y, a, weights) for name, measure in task.measures.items()}


def _measure_validation(task: Task, interrupt: Interrupt) -> dict[str, float] | None:
    """Return the loss and metrics of the validation data; None if Ctrl-C cuts it short.

    The loss is that of `Network.loss_value`, but computed in the network's dtype, which is what
    training takes; only the sum over samples is taken in float64.
    """
    network, samples = task.network, task.validation
    if samples is None:
        return {}
    units, dtype = network.sizes[-1], network.dtype
    outputs = np.empty((len(samples), units), dtype=dtype)
    total = 0.0
    with np.errstate(all="ignore"):  # the loss is then inf or NaN, and says so
        for rows in data.pieces(len(samples)):
            if rows.start and interrupt.impatient:
                return None
            X, y, s = samples.rows(rows, units, dtype)
            C_i = task.engine.losses(network, X, y, outputs[rows])
            total += float(C_i.sum() if s is None else np.vdot(s, C_i))
    row = {"val_loss": total / samples.weight + network.penalty()}
    for name, measure in task.measures.items():
        row[f"val_{name}"] = measure(samples.y, outputs, samples.weights)
    return row
