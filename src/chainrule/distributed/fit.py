"""Training one network on several machines, to the bits of one machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from chainrule.distributed import cost
from chainrule.distributed.coordinator import COMMIT, TIMEOUT, Coordinator, coordinating
from chainrule.distributed.dataset import Dataset
from chainrule.distributed.files import Files
from chainrule.distributed.read_task import ReadTask, reading_here
from chainrule.distributed.worker import Job
from chainrule.engines import Engine
from chainrule.engines.micro import Cut
from chainrule.equations.checks import positive, whole
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.optimizers import Optimizer
from chainrule.places import Place, opened, processors
from chainrule.training.callbacks import Callback
from chainrule.training.fit import run
from chainrule.training.history import History
from chainrule.training.metrics import Metric
from chainrule.training.task import Task


def fit(
    network: FeedForward,
    dataset: tuple[ArrayLike, ...] | Files | Dataset,
    *,
    on: Any = None,
    workers: int | tuple[int, int] | None = None,
    micro_batches: int = 16,
    local_steps: int | None = None,
    optimizer: Optimizer | None = None,
    epochs: int = 10,
    batch_size: int = 1024,
    shuffle: bool = True,
    validation_data: tuple[Any, ...] | None = None,
    class_weight: Mapping[int, float] | Literal["balanced"] | None = None,
    clip_norm: float | None = None,
    metrics: Sequence[str | Metric] | None = None,
    callbacks: Sequence[Callback | Callable[..., object]] = (),
    checkpoint: str | os.PathLike[str] | None = None,
    every: int | timedelta = 1,
    keep: int = 2,
    resume: bool = False,
    timeout: float = TIMEOUT,
    verbose: int = 1,
) -> History:
    """Train a network on the workers of Dask or Ray, synchronously.

    A batch is cut into micro-batches, whose gradients are added as one fixed tree and applied by
    all workers alike. So any number of workers gives the same bits, also where workers come and go,
    and they are those of ``network.fit(…, micro_batches=…)`` on one machine. The processors must
    have the same instruction set, or be told to use one with ``CHAINRULE_ISA``.

    Callbacks, validation, early stopping, learning rates and checkpoints are done in this process.
    Where a worker dies, the others go on from the last state that came here, at most a second or a
    step old, and it is replaced as soon as the engine has started another.

    Args:
        network: What is trained, in place.
        dataset: (X, y) or (X, y, sample_weight), as for `Network.fit`: arrays or memory maps. Each
            worker gets the rows of its own micro-batches, once. Or `Files`, of which each worker
            reads those rows itself.
        on: Where: "dask://local:2", "dask://HOST:PORT", "ray://local", "ray://HOST:PORT", a
            ``dask.distributed.Client``, or what ``ray.init()`` returned. None trains here.
        workers: How many: a number, or from how many on and up to how many. None takes what there
            is, at least one.
        micro_batches: M, how many parts a batch has; no more workers than that have something to
            do. It belongs to the result: another M gives other bits.
        local_steps: K, how many steps each of the M shards takes by itself between two meetings, at
            which parameters and slots are averaged: K times fewer meetings, and another result,
            mostly a worse one. None adds the gradients of every step. It belongs to the result.
        optimizer: As for `Network.fit`.
        epochs: As for `Network.fit`.
        batch_size: How many samples a step takes, a multiple of ``micro_batches``.
        shuffle: Whether each epoch takes the rows of each of the M shards in a new order.
        validation_data: As for `Network.fit`.
        class_weight: As for `Network.fit`.
        clip_norm: As for `Network.fit`.
        metrics: As for `Network.fit`.
        callbacks: As for `Network.fit`; they run in this process, after each epoch.
        checkpoint: As for `Network.fit`.
        every: As for `Network.fit`.
        keep: As for `Network.fit`.
        resume: As for `Network.fit`; a run may go on here, on one machine or on other workers.
        timeout: Seconds without a sign of life, after which a worker is given up.
        verbose: As for `Network.fit`; 1 also says on the standard error what a step will cost, and
            whether several workers pay.

    Returns:
        The history, as of `Network.fit`.

    Raises:
        TypeError: As for `Network.fit`, or ``on`` or ``dataset`` is something else.
        ValueError: As for `Network.fit`, or ``workers`` are impossible.
        ImportError: The engine is not installed.
        ConnectionError: There is no such cluster.
        RuntimeError: There are not enough workers, or they cannot work.
        NonFiniteError: As for `Network.fit`.

    Examples:
        >>> import numpy as np
        >>> import chainrule as cr
        >>> from chainrule import distributed
        >>> X = np.random.default_rng(0).normal(size=(1000, 4))
        >>> net = cr.Network([4, 8, 1], hidden="tanh", seed=0)
        >>> history = distributed.fit(net, (X, X[:, 0]), epochs=3, batch_size=64, micro_batches=4)
        >>> history.loss[-1] < history.loss[0]
        True
    """
    network.check_parameters()
    micro_batches = whole(micro_batches, "micro_batches")
    bounds = _bounds(workers, micro_batches)
    positive(timeout, "timeout")
    how = (
        class_weight, validation_data, optimizer, batch_size, clip_norm, shuffle, metrics,
        micro_batches, local_steps,
    )  # fmt: skip
    if isinstance(dataset, Files):
        dataset = dataset.described(network)
    if isinstance(dataset, Dataset):
        task: Task = ReadTask.of(network, dataset, *how)
    else:
        given: object = dataset
        if not isinstance(given, tuple | list) or len(given) not in (2, 3):
            raise TypeError("dataset must be (X, y), (X, y, sample_weight) or Files")
        X, y, weight, *_ = (*dataset, None)
        task = Task.check(network, X, y, weight, *how)
    return run(
        task, epochs=epochs, callbacks=callbacks, checkpoint=checkpoint, every=every, keep=keep,
        resume=resume, verbose=verbose,
        computing=_here(task) if on is None else _on(on, task, bounds, micro_batches,
            float(timeout), bool(verbose)),
    )  # fmt: skip


def _here(task: Task) -> AbstractContextManager[Engine] | None:
    """Return who reads the samples in this process; None where they are here."""
    return reading_here(task) if isinstance(task, ReadTask) else None


@contextmanager
def _on(
    on: Any, task: Task, bounds: range | None, micro_batches: int, timeout: float, verbose: bool
) -> Iterator[Coordinator]:
    """Open the place, and have its workers compute."""
    cut = Cut.of(len(task.samples), task.plan)
    job = Job(task.network, task.plan, task.network.requested_engine, cut, (), "", timeout, COMMIT)
    if isinstance(task, ReadTask):
        job = replace(job, dataset=task.dataset, weighed=task.weighed)
    local = isinstance(on, str) and on.partition("://")[2].startswith("local")
    with opened(on) as place:
        if bounds is None:
            bounds = range(1, 1 + max(1, min(place.count(), micro_batches)))
        if verbose:
            most = max(1, min(bounds.stop - 1, place.count()))
            sys.stderr.write(f"{_pays(place, task, cut, most, local)}\n")
        with coordinating(place, job, task.engine, bounds, local) as coordinator:
            if isinstance(task, ReadTask):
                coordinator.found.targets = task.targets
                coordinator.load()
                task.settle(coordinator.found)
            yield coordinator


def _pays(place: Place, task: Task, cut: Cut, workers: int, local: bool) -> str:
    """Return what a step will cost, found from steps that the workers and this process try."""
    network, plan, parts = task.network, task.plan, cut.micro_batches
    rows = cut.shard(0)[: cut.rows]
    samples = task.samples.some(np.arange(rows.start, rows.stop))
    trial = cost.Trial(network, plan, network.requested_engine, samples, parts, cut.n)
    alone, shared = cost.tried(trial), processors() if local else None
    trial = replace(trial, micro_batches=-(-parts // workers), held=cut.n // workers)
    trying = range(min(workers, shared or workers))
    there = [o.result for o in place.run(cost.tried, trial, trying) if o.error is None]
    found = cost.predicted(
        cost.Parts.mean(there or [alone]), parts, workers, cost.bytes_of(network),
        cost.HERE if local else cost.NETWORK, shared, alone, plan,
    )  # fmt: skip
    return cost.said(network, plan, workers, found)


def _bounds(workers: int | tuple[int, int] | None, micro_batches: int) -> range | None:
    """Return from how many workers on there is training, and up to how many."""
    if workers is None:
        return None
    if isinstance(workers, tuple | list):
        if len(workers) != 2:
            raise ValueError(f"workers must be a number, or (least, most), got {workers!r}")
        least, most = (whole(count, "workers") for count in workers)
    else:
        least = most = whole(workers, "workers")
    if least > most:
        raise ValueError(f"workers must be (least, most), got {workers!r}")
    if least > micro_batches:
        raise ValueError(
            f"{least} workers need as many micro-batches, got micro_batches={micro_batches}"
        )
    return range(least, min(most, micro_batches) + 1)
