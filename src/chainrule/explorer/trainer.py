"""Training in pieces: steps or epochs until a deadline, by the engine that `Network.fit` takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from chainrule import engines
from chainrule.engines import Engine, Failure, Plan, State
from chainrule.equations import data
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.optimizers import Adam, GradientDescent, Optimizer
from chainrule.random import epoch_order
from chainrule.teach.datasets import Dataset

T = TypeVar("T", bound=tuple[Any, ...])
OPTIMIZERS = ("gradient descent", "momentum", "adam")
_POINTS = 400  # of a curve; when there are more, every second one goes
_POINTS_OF_PIECE = 20
_RECORDS = 201
_RECORD_BYTES = 8 * 2**20


def optimizer(name: str, learning_rate: float) -> Optimizer:
    """Return the optimiser of that name."""
    if name == "adam":
        return Adam(learning_rate=learning_rate)
    return GradientDescent(learning_rate, momentum=0.9 if name == "momentum" else 0.0)


class Trainer:
    """A run on one network and data set, which may be stopped after any step and goes on later.

    The batches are those of `Network.fit`: each epoch in the order drawn from the network's seed.
    """

    def __init__(self, network: FeedForward, dataset: Dataset, rule: Optimizer, batch_size: int):
        dtype = network.dtype
        samples = data.samples(dataset.X, dataset.y, network.sizes, network.loss, None, dtype)
        self._samples = data.Samples(data.in_dtype(samples.X, dtype),
                                     data.in_dtype(samples.y, dtype))  # fmt: skip
        self._network, self._n = network, len(samples)
        self._plan = Plan(rule, min(batch_size, self._n))
        self._engine: Engine = engines.choose(network.requested_engine, network, self._plan)
        self._state = State(slots=rule.start(network.parameters))
        self._rate = float(rule.schedule.rates(0, 1, [])[0])
        self.epoch, self.loss = 0, float("nan")  # whole epochs; the loss of the last piece
        self._taken = 0  # samples of the epoch that is under way
        self.points: list[tuple[int, float]] = []  # (step, loss) of the epochs of the last piece

    @property
    def steps_per_epoch(self) -> int:
        """The steps of an epoch."""
        return -(-self._n // self._plan.batch_size)

    @property
    def step(self) -> int:
        """The steps taken so far."""
        return self._state.step

    def run(self, steps: int | None, seconds: float) -> Failure | None:
        """Take some steps (None: any number) until the time is over; give what was not finite."""
        deadline = perf_counter() + seconds
        self.points = []
        while (steps is None or steps > 0) and perf_counter() < deadline:
            before = self.step
            whole = self._taken == 0 and (steps is None or steps >= self.steps_per_epoch)
            failure = self._epoch(deadline) if whole else self._one_step()
            if failure is not None:
                return failure
            if steps is not None:
                steps -= self.step - before
        return None

    def _epoch(self, deadline: float) -> Failure | None:
        """Take an epoch, or the part of it that there is time for."""

        def on_progress(done: int, loss: float) -> bool:
            return perf_counter() >= deadline

        return self._run(self._samples, self._order(), on_progress)

    def _one_step(self) -> Failure | None:
        batch = self._order()[self._taken : self._taken + self._plan.batch_size]
        samples = data.Samples(self._samples.X[batch], self._samples.y[batch])
        return self._run(samples, None, lambda done, loss: False)

    def _run(self, samples: data.Samples, order: Any, on_progress: Any) -> Failure | None:
        rates = np.full(-(-len(samples) // self._plan.batch_size), self._rate)
        result = self._engine.run_epoch(
            self._network, samples, self._plan, self._state, order, rates, None, on_progress
        )
        if result.steps:
            self.loss = result.loss
            self.points.append((self.step, result.loss))
            if len(self.points) > 2 * _POINTS_OF_PIECE:
                del self.points[::2]
        self._taken += result.samples
        if self._taken >= self._n:
            self.epoch, self._taken = self.epoch + 1, 0
        return result.failure

    def _order(self) -> NDArray[np.int64]:
        return epoch_order(self._network.seed, self.epoch, self._n)


@dataclass(frozen=True)
class Recording:
    """The curve of a run, and parameters from which it can be looked at again; never changed.

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
        """Return a recording with one more record, and points before it; a long one is thinned."""
        before = ((float(at), value, None) for at, value in between if at < step)
        curve = (*self.curve, *before, (float(step), loss, val_loss))
        curve = _thinned(curve, _POINTS)
        records = (*self.records, (step, epoch, parameters.copy()))
        most = max(min(_RECORDS, _RECORD_BYTES // max(parameters.nbytes, 1)), 2)
        records = _thinned(records, most)
        return Recording(curve, records)

    def until(self, record: int) -> Recording:
        """Return the recording as it stood at a record."""
        step = self.records[record][0]
        curve = tuple(point for point in self.curve if point[0] <= step)
        return Recording(curve, self.records[: record + 1])


def _thinned(items: tuple[T, ...], most: int) -> tuple[T, ...]:
    """Return items, of which each starts with its step; of too many, half, evenly over the steps."""
    if len(items) <= most:
        return items
    gap = (items[-1][0] - items[0][0]) / max(most // 2, 1)
    kept = [items[0]]
    for item in items[1:-1]:
        if item[0] >= kept[-1][0] + gap:
            kept.append(item)
    return (*kept, items[-1])
