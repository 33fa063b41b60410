"""Runs of many networks: side by side as long as that pays, the others one by one in threads."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.engines import EpochResult, State, Together
from chainrule.equations.data import Samples
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.schedules import (
    Constant,
    Cosine,
    ExponentialDecay,
    Schedule,
    StepDecay,
    WarmUp,
    as_schedule,
)
from chainrule.random import epoch_orders
from chainrule.training import progress
from chainrule.training.callbacks import Callback, Run
from chainrule.training.course import Course
from chainrule.training.history import Epochs, History
from chainrule.training.interrupt import Interrupt
from chainrule.training.keeper import Keeper
from chainrule.training.task import Task

Rows = NDArray[np.int64]

_CHUNK = 3e10  # operations between two looks at a run in Python: about half a second
_BLOCK = 512  # networks that are on their way at a time: their slots and orders take memory
_BYTES = 1 << 22  # of the orders and learning rates of a block
_LOOK = 0.1  # seconds between two looks at runs in threads


class Part(Samples):
    """Some rows of samples, which are copied where somebody reads them one by one."""

    def __init__(self, whole: Samples, rows: Rows) -> None:
        for name, value in (("_whole", whole), ("_rows", rows), ("weights", None)):
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self._rows)

    def __getattr__(self, name: str) -> Any:
        if name not in ("X", "y"):
            raise AttributeError(name)
        for own in ("X", "y"):
            object.__setattr__(self, own, getattr(self._whole, own)[self._rows])
        return self.__dict__[name]

    def release(self) -> None:
        """Forget the copies."""
        for own in ("X", "y"):
            self.__dict__.pop(own, None)


@dataclass(frozen=True)
class PartTask(Task):
    """The task of a network that learns from some rows of what all share."""

    rows: Rows | None = None
    whole: Samples | None = None  # what the rows are of; None: it shares no samples with others


@dataclass(slots=True)
class Member:
    """A network on its way. ``simple``: nobody looks at its epochs one by one.

    Its run is made when it begins, and a simple one is gone when it has ended.
    """

    task: PartTask
    history: History
    epochs: int
    callbacks: list[Callback]
    keeper: Keeper
    interrupt: Interrupt
    simple: bool
    is_kept: bool
    _course: Course | None = None
    _ended: bool = False

    @property
    def network(self) -> FeedForward:
        """The network."""
        return self.task.network

    @property
    def course(self) -> Course:
        """Its run."""
        if self._course is None:
            task = self.task
            state = State(slots=task.plan.optimizer.start(task.network.parameters))
            describe = task.settings if self.is_kept else dict
            run = Run(task.network, self.history, self.epochs, state, _describe=describe)
            self._course = Course(task, run, self.callbacks, self.interrupt, self.keeper)
        return self._course

    @property
    def epoch(self) -> int:
        """The number of the last epoch that has ended."""
        return self._course.run.epoch if self._course is not None else 0

    @property
    def goes_on(self) -> bool:
        """Whether there is another epoch."""
        return not self._ended and (self._course is None or self._course.goes_on)

    @property
    def failed(self) -> Course | None:
        """Its run, if a number was not finite."""
        course = self._course
        return course if course is not None and course.failed is not None else None

    def release(self) -> None:
        """Forget the run of a simple member, unless it failed, which is still to be told."""
        if self.simple and not self.goes_on:
            self._ended = True
            if self.failed is None:
                self._course = None
            if isinstance(self.task.samples, Part):
                self.task.samples.release()


def train(members: list[Member], interrupt: Interrupt, screen: progress.Screen) -> None:
    """Train side by side as long as enough networks of a kind are on their way, then the others."""
    alone: list[Member] = []
    groups: dict[Any, list[Member]] = {}
    for member in members:
        task = member.task
        how = (
            None if member.task.whole is None else task.engine.side_by_side(task.network, task.plan)
        )
        if how is None:
            alone.append(member)
        else:
            kind = (how, id(member.task.whole), len(task.samples), task.shuffle, member.simple)
            groups.setdefault(kind, []).append(member)
    for (how, *_, simple), group in groups.items():
        for block in _blocks(group) if simple else [group]:
            going = block
            while going := [m for m in going if m.goes_on]:
                starts = {m.epoch for m in going}
                if len(going) < how.pays_from and how.exactly:
                    alone += going
                    break
                for epoch in sorted(starts):  # more than one where runs were resumed
                    together = [m for m in going if m.epoch == epoch]
                    _side_by_side(together, interrupt, screen)
            for member in block:
                member.release()
    _one_by_one(alone, interrupt, screen)


def _blocks(members: list[Member]) -> list[list[Member]]:
    """Cut many members into parts of one size, which are trained one after the other."""
    count = -(-len(members) // _BLOCK)
    ends = [len(members) * i // count for i in range(count + 1)]
    return [members[start:end] for start, end in itertools.pairwise(ends)]


def _side_by_side(members: list[Member], interrupt: Interrupt, screen: progress.Screen) -> None:
    """Train networks that are in the same epoch for some epochs, or for one if somebody looks."""
    first = members[0].course
    task, run = first.task, first.run
    n, count, begun = len(task.samples), len(members), perf_counter()
    epochs = 1
    optimizers = {id(o): o for o in (m.task.plan.optimizer for m in members)}
    known = all(_is_known(optimizer.schedule) for optimizer in optimizers.values())
    if known and all(m.simple for m in members):
        operations = 6.0 * run.network.parameters.size * n * count
        left = min(m.epochs for m in members) - run.epoch
        own_orders = any(m.task.rows is not None for m in members) or (
            task.shuffle and len({m.network.seed for m in members}) > 1
        )
        most = _BYTES // (8 * count * (task.steps + n * own_orders))
        epochs = max(1, min(left, int(_CHUNK / operations), most))
    rates = _rates(members, epochs)
    orders = _orders(members, epochs)
    assert members[0].task.whole is not None
    outputs = None
    if task.measures:
        shape = (count, n, run.network.sizes[-1])
        outputs = np.empty(shape, run.network.dtype)
    together = Together(
        [m.network for m in members], [m.course.run.state for m in members], members[0].task.whole,
        task.plan, rates, orders, outputs,
    )  # fmt: skip
    screen.begin(run.epoch + 1)

    def on_progress(done: int, loss: float) -> bool:
        screen.step(done // epochs, float("nan"))
        return interrupt.asked

    losses, trained = task.engine.run_together(together, on_progress)
    screen.trained(n * count * epochs)
    seconds = (perf_counter() - begun) / (count * epochs)
    firsts = rates[:, :, 0]
    firsts = firsts[: 1 if (firsts == firsts[0]).all() else None].copy()
    taken = Epochs(run.epoch + 1, losses, firsts, seconds)
    for i, member in enumerate(members):
        course = member.course
        if not trained[i]:
            if interrupt.asked:
                course.run.stop("interrupted", finished=False)
            else:  # some number is not finite: step by step, to find out which
                _run(course, course.task.engine, interrupt, epochs)
            continue
        if member.simple:
            course.take_plain(taken, i)
            continue
        epoch = course.next()
        course.begun -= seconds
        if outputs is not None and course.outputs is not None:
            course.outputs[slice(None) if epoch.order is None else epoch.order] = outputs[i]
        course.take(epoch, EpochResult(float(losses[i, 0]), task.steps, n))
    screen.end({"loss": float(losses[:, -1].mean())})


def _rates(members: list[Member], epochs: int) -> NDArray[np.float64]:
    """Return the rates, (networks, epochs, steps): once for each schedule that is known."""
    rates = np.empty((len(members), epochs, members[0].task.steps))
    known: dict[int, NDArray[np.float64]] = {}
    for of_network, member in zip(rates, members, strict=True):
        optimizer = member.task.plan.optimizer
        if (found := known.get(id(optimizer))) is None:
            in_advance = _is_known(optimizer.schedule)
            found = np.stack([member.course.rates(e, in_advance) for e in range(epochs)])
            if in_advance:
                known[id(optimizer)] = found
        of_network[...] = found
    return rates


def _is_known(schedule: Schedule) -> bool:
    """Return whether the rates are known in advance, whatever the losses will be."""
    if isinstance(schedule, WarmUp):
        return _is_known(as_schedule(schedule.then, "then"))
    return isinstance(schedule, Constant | Cosine | ExponentialDecay | StepDecay)


def _orders(members: list[Member], epochs: int) -> NDArray[np.int64] | None:
    """Return the rows that each network takes in each epoch: once where all take the same."""
    task, start = members[0].task, members[0].epoch
    n = len(task.samples)
    own_rows = any(m.task.rows is not None for m in members)
    if not task.shuffle and not own_rows:
        return None
    identity = np.tile(np.arange(n), (epochs, 1))
    last: tuple[int, NDArray[np.int64]] | None = None  # seed and order of the member before

    def order_of(seed: int) -> NDArray[np.int64]:
        nonlocal last
        if last is None or last[0] != seed:
            last = seed, epoch_orders(seed, start, epochs, n) if task.shuffle else identity
        return last[1]

    seeds = [m.network.seed for m in members]
    if not own_rows and len(set(seeds)) == 1:
        return order_of(seeds[0])[None]
    orders = np.empty((len(members), epochs, n), np.int64)
    for order, seed, member in zip(orders, seeds, members, strict=True):
        rows = member.task.rows
        order[...] = order_of(seed) if rows is None else rows[order_of(seed)]
    same = len(set(seeds)) == 1 and (orders == orders[0]).all()
    return orders[:1] if same else orders


def _one_by_one(members: list[Member], interrupt: Interrupt, screen: progress.Screen) -> None:
    """Train networks each by itself; several of them share the threads."""
    going = [member.course for member in members if member.course.goes_on]
    if not going:
        return
    first = going[0]
    threads = min(len(going), first.task.engine.threads_of(first.run.network))
    if threads == 1 or len(going) == 1:
        for course in going:
            while course.goes_on:
                _run(course, course.task.engine, interrupt, 1)
                _show(going, screen)
        return
    from concurrent.futures import ThreadPoolExecutor, wait  # `import chainrule` does without

    with ThreadPoolExecutor(threads) as pool:
        runs = {
            pool.submit(_run, course, course.task.engine.alone(), interrupt) for course in going
        }
        while runs:
            done, runs = wait(runs, _LOOK)
            _show(going, screen)
            for future in done:
                future.result()


def _show(courses: list[Course], screen: progress.Screen) -> None:
    """Show how far all are."""
    shares = [c.run.epoch / c.run.epochs if c.goes_on else 1.0 for c in courses]
    samples = sum(c.run.epoch * len(c.task.samples) for c in courses)
    screen.reach(sum(shares) / len(shares), samples)


def _run(course: Course, engine: Any, interrupt: Interrupt, epochs: int | None = None) -> None:
    """Train one network to its end, or for some epochs."""

    def on_progress(steps: int, loss: float) -> bool:
        return interrupt.asked

    last = course.run.epochs if epochs is None else course.run.epoch + epochs
    while course.goes_on and course.run.epoch < last:
        epoch = course.next()
        result = engine.run_epoch(course.run.network, epoch, course.run.state, on_progress)
        course.take(epoch, result)
