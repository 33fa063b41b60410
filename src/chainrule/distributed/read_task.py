"""The task of a training whose samples are read by whoever computes with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.distributed.dataset import Dataset, Kept, weigh
from chainrule.distributed.found import ClassWeight, Found
from chainrule.engines import Engine, Epoch, EpochResult, State, go_on
from chainrule.engines.micro import Cut
from chainrule.engines.through import Through
from chainrule.equations import data
from chainrule.equations.data import Samples
from chainrule.equations.feedforward import FeedForward
from chainrule.training import metrics
from chainrule.training.task import Task

Array = NDArray[Any]


@dataclass(frozen=True)
class ReadTask(Task):
    """A task whose ``samples`` have the size of the dataset, but not its numbers.

    Where metrics are measured they have the targets, once these are ``found``.
    """

    dataset: Dataset | None = None
    class_weight: ClassWeight = None
    found: list[Found] = field(default_factory=list)

    asked: Any = None
    targets: Samples | None = None

    @classmethod
    def of(
        cls, network: FeedForward, dataset: Dataset, class_weight: ClassWeight,
        validation_data: tuple[Any, ...] | None, optimizer: Any, batch_size: int,
        clip_norm: float | None, shuffle: bool, asked: Any, micro_batches: int,
        local_steps: int | None,
    ) -> ReadTask:  # fmt: skip
        """Check the arguments of `fit` for a dataset; what only its numbers tell, `settle` does."""
        weighed = dataset.weighted or class_weight is not None
        if class_weight is not None and class_weight != "balanced":  # its classes, before reading
            units = network.sizes[-1]
            classes = np.arange(max(units, 2))
            data.class_weights(class_weight, classes[:, None] if units == 1 else classes, units)
        how = (
            None, validation_data, optimizer, batch_size, clip_norm, shuffle, asked, micro_batches,
            local_steps,
        )  # fmt: skip
        task = cls.check(network, _stand_in(dataset, network, False, weighed), None, None, *how)
        assert isinstance(task, cls)
        held = bool(task.measures)
        samples = _stand_in(dataset, network, held, weighed)
        return replace(
            task, samples=samples, dataset=dataset, class_weight=class_weight, asked=asked,
            targets=samples if held else None,
        )  # fmt: skip

    @property
    def weighed(self) -> bool:
        """Whether rows get weights."""
        return bool(self.dataset and self.dataset.weighted) or self.class_weight is not None

    def fingerprint(self) -> str | None:
        """Return the digest of the dataset."""
        return self.found[0].digest()

    def order(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """Return the order of the samples, which is needed here where metrics are measured.

        Elsewhere it is empty: who computes knows it.
        """
        return super().order(seed, epoch) if self.measures else np.empty(0, dtype=np.int64)

    def settle(self, found: Found) -> None:
        """Check what only the whole dataset tells: its classes, weights and metrics."""
        assert self.dataset is not None
        units = self.network.sizes[-1]
        found.settle(self.dataset, self.class_weight, units)
        self.found.append(found)
        if self.measures:
            metrics.choose(self.asked, self.network, [self.samples])
            if self.samples.weights is not None:
                weigh(self.samples, found.weighing, units)


def _stand_in(dataset: Dataset, network: FeedForward, held: bool, weighed: bool) -> Samples:
    """Return samples of the size of a dataset; of targets and weights, arrays if they are held."""
    n, units = dataset.n, network.sizes[-1]
    X = np.broadcast_to(np.zeros((), network.dtype), (n, network.sizes[0]))
    shape, dtype = ((n,), np.dtype(np.int64)) if dataset.classes else ((n, units), X.dtype)
    if not held:
        return Samples(X, np.broadcast_to(np.zeros((), dtype), shape))
    return Samples(X, np.zeros(shape, dtype), np.ones(n) if weighed else None)


class _Reading(Through):
    """Computes with the dataset in this process, in place of the samples of a task."""

    def __init__(self, inner: Engine, samples: Samples) -> None:
        super().__init__(inner)
        self._samples = samples

    def run_epoch(
        self, network: FeedForward, epoch: Epoch, state: State, on_progress: Any = go_on
    ) -> EpochResult:
        """See `chainrule.engines.base.Engine.run_epoch`."""
        order = epoch.order
        if order is not None and not len(order):
            order = Cut.of(len(self._samples), epoch.plan).order(
                network.seed, epoch.number, self.epoch_orders
            )
        epoch = replace(epoch, samples=self._samples, order=order)
        return self._engine.run_epoch(network, epoch, state, on_progress)


@contextmanager
def reading_here(task: ReadTask) -> Iterator[Engine]:
    """Read the dataset in this process, and give the engine that computes with it."""
    dataset, network = task.dataset, task.network
    assert dataset is not None
    cut, units = Cut.of(dataset.n, task.plan), network.sizes[-1]
    found, kept = Found(cut), Kept(dataset.memory)
    found.targets = task.targets
    ranges = [cut.shard(k) for k in range(cut.filled)]
    samples, facts = kept.read(0, dataset, ranges, units, task.weighed)
    for k, (rows, of_shard) in enumerate(zip(ranges, facts, strict=True)):
        part = samples.plain(slice(rows.start, rows.stop))
        arrays = {"y": part.y} | ({} if part.weights is None else {"weights": part.weights})
        found.take({"k": k, **of_shard.plain()}, arrays)
    task.settle(found)
    if samples.weights is not None:
        weigh(samples, found.weighing, units)
    yield _Reading(task.engine, samples)
