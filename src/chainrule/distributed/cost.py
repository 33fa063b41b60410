"""What a step costs on one machine and on several: a model of a step that was taken here.

A step computes its micro-batches, exchanges their sums, and moves the parameters. With N workers
each computes M / N micro-batches and adds their sums. Of a short vector every worker sends all to
all others, of a long one twice its share: 2 (N - 1) / N vectors. Workers that share processors take
turns. `python -m benchmarks.cluster` measures the constants, holds the model against real runs, and
draws it further.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import astuple, dataclass
from time import perf_counter

import numpy as np

from chainrule.engines import choose
from chainrule.engines.base import MicroBatch, Plan, State
from chainrule.equations.data import Samples
from chainrule.equations.feedforward import FeedForward

HERE = 1.8e9  # bytes a second between two processes of a machine
NETWORK = 1.25e9  # bytes a second of a network of 10 Gbit/s
_SHORT = 3 << 16  # bytes that a worker sends at most, where whole vectors go to all others
_MEETING = 70e-6  # seconds of an exchange besides its bytes: system calls, waking up
_PEER = 45e-6  # seconds for each other worker
_OWN = 100e-6  # seconds of a worker for a step, besides what is tried
_WORTH = 1.2  # times as fast as one machine
_UNEVEN = 0.1  # of the time that workers compute, the first ones wait for the last
_POOL = 1 << 26  # bytes of samples that a trial holds at most
_WHILE = 0.2  # seconds in which steps are tried


@dataclass(frozen=True)
class Parts:
    """Seconds of the parts of a step: a micro-batch, the addition of two sums, the update.

    What a worker adds by itself belongs to its micro-batches.
    """

    micro: float
    addition: float
    update: float

    @classmethod
    def mean(cls, several: Sequence[Parts]) -> Parts:
        """Return the mean of several."""
        return cls(*np.mean([astuple(parts) for parts in several], axis=0).tolist())

    def alone(self, micro_batches: int) -> float:
        """Return the seconds of a step of so many micro-batches without other workers."""
        return micro_batches * self.micro + self.update


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


def exchange(workers: int, size: int, bandwidth: float, addition: float = 0.0) -> float:
    """Return the seconds in which so many workers add vectors of so many bytes.

    ``addition`` are the seconds in which one adds two of them.
    """
    if workers == 1:
        return 0.0
    others = workers - 1
    whole = in_one(workers, size)
    moved = others * size if whole else 2 * others * size / workers
    added = others if whole else others / workers
    swaps = 1 if whole else 2
    return swaps * (_MEETING + others * _PEER) + moved / bandwidth + added * addition


def predicted(
    parts: Parts,
    micro_batches: int,
    workers: int,
    size: int,
    bandwidth: float,
    processors: int | None = None,
    alone: Parts | None = None,
    plan: Plan | None = None,
) -> Cost:
    """Return what a step costs.

    Args:
        parts: Seconds of the parts of a step on a worker, while all processors compute.
        micro_batches: M.
        workers: N.
        size: Bytes of the parameters.
        bandwidth: Bytes a second between two workers.
        processors: How many the workers share; None if each has its own.
        alone: Seconds of the parts on one machine, if those are others.
        plan: With local steps, slots are exchanged too, but more seldom.
    """
    most = math.ceil(micro_batches / workers)
    turns = max(1.0, workers / (processors or workers))
    alone = alone or parts
    compute, one = most * parts.micro + _OWN, alone.alone(micro_batches) + _OWN
    updates, every = 1, 1
    if plan is not None and plan.local_steps is not None:
        every, updates = plan.local_steps, most  # each micro-batch is followed by an update
        size *= 1 + len(plan.optimizer.used_slots)
        one += (micro_batches - 1) * alone.update
    compute *= turns
    waited = _UNEVEN * compute if workers > 1 else 0.0
    return Cost(
        compute,
        (turns * exchange(workers, size, bandwidth, parts.addition) + waited) / every,
        turns * updates * parts.update,
        one,
    )


@dataclass(frozen=True)
class Trial:
    """Steps to try, of so many micro-batches, by a worker that holds so many rows.

    ``samples`` are those of one micro-batch; others have as many rows, and cost as much.
    """

    network: FeedForward
    plan: Plan
    engine: str
    samples: Samples
    micro_batches: int
    held: int


def tried(trial: Trial, _: object = None, threads: int | None = None) -> Parts:
    """Return the seconds of the parts of a step, means of the steps of a while: a task of a place.

    Steps are taken as a worker takes them, on a copy, with rows in a new order. ``threads`` are
    those of a step, by default the network's.
    """
    network, rows = deepcopy(trial.network), len(trial.samples)
    network.threads = threads or network.threads
    plain = Plan(trial.plan.optimizer, trial.plan.batch_size, trial.plan.clip_norm)
    engine = choose(trial.engine, network, plain)
    state = State(slots=trial.plan.optimizer.start(network.parameters))
    most = _POOL // max(1, trial.samples.X[0].nbytes)
    pool = max(rows, min(trial.held, most) // rows * rows)  # larger than a cache, if they are
    samples = trial.samples.some(np.arange(pool) % rows)
    rng = np.random.default_rng(0)
    found, begun = list[tuple[float, float, float]](), perf_counter()
    g, other = np.empty_like(network.parameters), np.ones_like(network.parameters)
    while len(found) < 2 or perf_counter() - begun < _WHILE:
        orders = rng.integers(pool, size=(trial.micro_batches, rows))
        batches = [MicroBatch(samples, order, k) for k, order in enumerate(orders)]
        times = [perf_counter()]
        total = engine.gradient(network, batches, rows, g)
        times.append(perf_counter())
        engine.apply(network, trial.plan, state, total, 0.0)
        times.append(perf_counter())
        other += g
        times.append(perf_counter())
        computing, updating, adding = np.diff(times).tolist()
        found.append((computing / len(orders), adding, updating))
    return Parts.mean([Parts(*parts) for parts in found[1:]])  # the first one wakes all up


def said(network: FeedForward, plan: Plan, workers: int, cost: Cost) -> str:
    """Return in a sentence or two what a step costs, and what to do where that does not pay."""
    shape = "-".join(map(str, network.sizes))
    many = f"{workers} workers" if workers != 1 else "1 worker"
    text = (
        f"{shape}, batch {plan.batch_size:,}, {many}: about {_ms(cost.step)} ms a step, of "
        f"which the exchange takes {cost.exchange / cost.step:.0%}; one machine would take "
        f"{_ms(cost.alone)} ms"
    )
    if workers > 1 and cost.speedup < _WORTH:
        text += (
            ". That does not pay: take larger batches, fewer workers, or fit(micro_batches="
            f"{plan.micro_batches}) on one machine, which gives the same bits"
        )
    return text


def _ms(seconds: float) -> str:
    return f"{float(f'{seconds * 1e3:.2g}'):,g}"


def bytes_of(network: FeedForward) -> int:
    """Return how many bytes the parameters have."""
    return int(np.asarray(network.parameters).nbytes)
