"""Training in pieces: steps or epochs until a deadline, with the same engine as `Network.fit`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from chainrule import engines
from chainrule.engines import Engine, Epoch, Failure, Plan, State, go_on
from chainrule.equations import data
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.optimizers import Adam, GradientDescent, Optimizer
from chainrule.random import epoch_order
from chainrule.teach.datasets import Dataset

T = TypeVar("T", bound=tuple[Any, ...])
OPTIMIZERS = ("gradient descent", "momentum", "adam")
_POINTS = 400  # of a curve; a longer one is thinned to half
_POINTS_OF_PIECE = 20  # that a piece adds at least, if it has so many epochs
_MOMENT = 0.015  # seconds of epochs that are run together, so that a stop is not waited for
_TOGETHER, _ORDERED = 128, 2**17  # epochs that are run together at most, and their samples
_RECORDS = 201  # kept of a run; more are thinned to half
_RECORD_BYTES = 8 * 2**20  # of all records together, which for large networks are fewer


def optimizer(name: str, learning_rate: float) -> Optimizer:
    """Return the optimiser of that name, one of `OPTIMIZERS`."""
    if name == "adam":
        return Adam(learning_rate=learning_rate)
    return GradientDescent(learning_rate, momentum=0.9 if name == "momentum" else 0.0)


class Trainer:
    """A training run on one network and data set that may pause after any step and go on later.

    The batches are those of `Network.fit`: the seed of the network gives the order of each epoch.
    """

    def __init__(self, network: FeedForward, dataset: Dataset, rule: Optimizer, batch_size: int):
        dtype = network.dtype
        self._samples = data.samples(
            dataset.X, dataset.y, network.sizes, network.loss, None, dtype, converted=True
        )
        self._network, self._n = network, len(self._samples)
        self._plan = Plan(rule, min(batch_size, self._n))
        self._engine: Engine = engines.choose(network.requested_engine, network, self._plan)
        self._state = State(slots=rule.start(network.parameters))
        self._rate = float(rule.schedule.rates(0, 1, [])[0])
        self.epoch, self.loss = 0, float("nan")  # whole epochs; the loss of the last piece
        self._taken = 0  # samples of the current epoch
        self._in_a_moment = 1  # how many epochs that was, lately
        self.points: list[tuple[int, float]] = []  # (step, loss) of the epochs of the last piece

    @property
    def steps_per_epoch(self) -> int:
        """Return the number of steps in an epoch."""
        return -(-self._n // self._plan.batch_size)

    @property
    def step(self) -> int:
        """Return the number of steps taken so far."""
        return self._state.step

    def run(self, steps: int | None, seconds: float) -> Failure | None:
        """Take steps (None: any number) until the time is over; return what was not finite."""
        deadline = perf_counter() + seconds
        self.points = []
        while (steps is None or steps > 0) and perf_counter() < deadline:
            before = self.step
            whole = self._taken == 0 and (steps is None or steps >= self.steps_per_epoch)
            failure = self._epochs(steps, deadline) if whole else self._one_step()
            if failure is not None:
                return failure
            if steps is not None:
                steps -= self.step - before
        return None

    def _epochs(self, steps: int | None, deadline: float) -> Failure | None:
        """Train for a few epochs, as many as end in a moment, or as far as the time allows."""

        def on_progress(done: int, loss: float) -> bool:
            return perf_counter() >= deadline

        begun = perf_counter()
        most = _TOGETHER if steps is None else min(steps // self.steps_per_epoch, _TOGETHER)
        count = max(min(most, self._in_a_moment, _ORDERED // self._n), 1)
        orders = self._engine.epoch_orders(self._network.seed, self.epoch, count, self._n)
        failure = self._run(self._samples, orders, on_progress)
        pace = max((perf_counter() - begun) / count, 1e-6)
        self._in_a_moment = int(min(_MOMENT / pace, 2 * count))
        return failure

    def _one_step(self) -> Failure | None:
        order = epoch_order(self._network.seed, self.epoch, self._n)
        batch = order[self._taken : self._taken + self._plan.batch_size]
        samples = data.Samples(self._samples.X[batch], self._samples.y[batch])
        return self._run(samples, np.arange(len(batch))[None], go_on)

    def _run(
        self, samples: data.Samples, orders: NDArray[np.int64], on_progress: Any
    ) -> Failure | None:
        """Run an epoch of samples for each order."""
        rates = np.full(-(-len(samples) // self._plan.batch_size), self._rate)
        epoch, at = Epoch(samples, self._plan, rates), self.step
        failure = None
        for result in self._engine.run_epochs(
            self._network, epoch, orders, self._state, on_progress
        ):
            at += result.steps
            if result.steps:
                self.loss = result.loss
                self.points.append((at, result.loss))
                if len(self.points) > 2 * _POINTS_OF_PIECE:
                    del self.points[::2]
            self._taken += result.samples
            if self._taken >= self._n:
                self.epoch, self._taken = self.epoch + 1, 0
            failure = result.failure
        return failure


@dataclass(frozen=True)
class Recording:
    """The curve of a run, and the parameters at some of its steps; immutable.

    ``curve`` has (step, loss, validation loss); ``records`` have (step, epoch, parameters).
    """

    curve: tuple[tuple[float, float, float | None], ...] = ()
    records: tuple[tuple[int, float, NDArray[Any]], ...] = ()

    def add(
        self,
        step: int,
        epoch: float,
        loss: float,
        val_loss: float | None,
        parameters: NDArray[Any],
        between: Sequence[tuple[int, float]] = (),
    ) -> Recording:
        """Return a recording with one more record and the points before it, thinned if long."""
        before = ((float(at), value, None) for at, value in between if at < step)
        curve = (*self.curve, *before, (float(step), loss, val_loss))
        curve = _thinned(curve, _POINTS)
        records = (*self.records, (step, epoch, parameters.copy()))
        most = max(min(_RECORDS, _RECORD_BYTES // max(parameters.nbytes, 1)), 2)
        records = _thinned(records, most)
        return Recording(curve, records)

    def until(self, record: int) -> Recording:
        """Return the recording up to a record."""
        step = self.records[record][0]
        curve = tuple(point for point in self.curve if point[0] <= step)
        return Recording(curve, self.records[: record + 1])


def _thinned(items: tuple[T, ...], most: int) -> tuple[T, ...]:
    """Return items that start with their step; of too many, half, evenly over the steps."""
    if len(items) <= most:
        return items
    gap = (items[-1][0] - items[0][0]) / max(most // 2, 1)
    kept = [items[0]]
    for item in items[1:-1]:
        if item[0] >= kept[-1][0] + gap:
            kept.append(item)
    return (*kept, items[-1])
