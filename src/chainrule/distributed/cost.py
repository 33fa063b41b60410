"""What a step costs on one machine and on several: a model with a few measured constants.

A step computes its micro-batches, exchanges their sums, and moves the parameters. With N workers
each computes M / N micro-batches. Of a short vector every worker sends all to all others, of a
long one twice its share: 2 (N - 1) / N vectors. `python -m benchmarks.cluster` measures the
constants, holds the model against real runs, and draws it further.
"""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from chainrule.engines import Engine
from chainrule.engines.base import Plan, State
from chainrule.engines.micro import micro_batch, update
from chainrule.equations.data import Samples
from chainrule.equations.feedforward import FeedForward

_SHORT = 3 << 16  # bytes that a worker sends at most, where whole vectors go to all others
HERE = 1e9  # bytes a second between two processes of a machine
NETWORK = 1.25e9  # bytes a second of a network of 10 Gbit/s
_MEETING = 150e-6  # seconds of an exchange besides its bytes: Python, system calls, waking up
_PEER = 25e-6  # seconds for each other worker
_WORTH = 1.2  # times as fast as one machine


@dataclass(frozen=True)
class Cost:
    """Seconds of a step: what the micro-batches, the exchange and the update take.

    ``alone`` is what the step takes on one machine.
    """

    compute: float
    exchange: float
    update: float
    alone: float

    @property
    def step(self) -> float:
        """Seconds of a step."""
        return self.compute + self.exchange + self.update

    @property
    def speedup(self) -> float:
        """How many times as fast as one machine."""
        return self.alone / self.step


def in_one(workers: int, size: int) -> bool:
    """Return whether vectors of so many bytes go whole from everyone to everyone."""
    return (workers - 1) * size <= _SHORT


def exchange(workers: int, size: int, bandwidth: float) -> float:
    """Return the seconds in which so many workers add vectors of so many bytes."""
    if workers == 1:
        return 0.0
    others = workers - 1
    whole = in_one(workers, size)
    moved = others * size if whole else 2 * others * size / workers
    swaps = 1 if whole else 2
    return swaps * (_MEETING + others * _PEER) + moved / bandwidth


def predicted(
    micro: float, moved: float, micro_batches: int, workers: int, size: int, bandwidth: float
) -> Cost:
    """Return what a step costs.

    Args:
        micro: Seconds of a micro-batch.
        moved: Seconds of an update.
        micro_batches: M.
        workers: N.
        size: Bytes of the parameters.
        bandwidth: Bytes a second between two workers.
    """
    compute = math.ceil(micro_batches / workers) * micro
    alone = micro_batches * micro + moved
    return Cost(compute, exchange(workers, size, bandwidth), moved, alone)


def measured(
    engine: Engine, network: FeedForward, plan: Plan, samples: Samples
) -> tuple[float, float]:
    """Return the seconds of a micro-batch and of an update, on a copy; the shortest of a few."""
    copied = deepcopy(network)
    state = State(slots=plan.optimizer.start(copied.parameters))
    micro, moved = [], []
    for _ in range(5):
        begun = perf_counter()
        sums = micro_batch(engine, copied, samples, plan, 0)
        then = perf_counter()
        update(copied, plan, state, sums, 0.0)
        micro.append(then - begun)
        moved.append(perf_counter() - then)
    return min(micro), min(moved)


def said(network: FeedForward, plan: Plan, workers: int, cost: Cost) -> str:
    """Return in a sentence or two what a step costs, and what to do where that does not pay."""
    shape = "-".join(map(str, network.sizes))
    many = f"{workers} workers" if workers != 1 else "1 worker"
    text = (
        f"{shape}, batch {plan.batch_size:,}, {many}: about {cost.step * 1e3:.2g} ms a step, of "
        f"which the exchange takes {cost.exchange / cost.step:.0%}; one machine would take "
        f"{cost.alone * 1e3:.2g} ms"
    )
    if workers > 1 and cost.speedup < _WORTH:
        text += (
            ". That does not pay: take larger batches, fewer workers, or fit(micro_batches="
            f"{plan.micro_batches}) on one machine, which gives the same bits"
        )
    return text


def bytes_of(network: FeedForward) -> int:
    """Return how many bytes the parameters have."""
    return int(np.asarray(network.parameters).nbytes)
