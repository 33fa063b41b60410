"""Many networks in one call: small ones of one shape side by side, the others one after another."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.engines import EpochResult, Plan, State, Together
from chainrule.equations.arrays import numeric
from chainrule.equations.checks import warn, whole
from chainrule.equations.data import Samples
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.optimizers import Adam, Optimizer
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
from chainrule.training import callbacks as callback_room
from chainrule.training import keeper as keepers
from chainrule.training import progress
from chainrule.training.callbacks import AtEpochEnd, Callback, Run
from chainrule.training.course import Course
from chainrule.training.errors import error_of
from chainrule.training.fit import started
from chainrule.training.history import History, duration, number
from chainrule.training.interrupt import Interrupt
from chainrule.training.metrics import Metric
from chainrule.training.task import Task, check_type

Rows = NDArray[np.int64]

_CHUNK = 3e10  # operations between two looks at a run in Python: about half a second


def fit_many(
    networks: Iterable[FeedForward],
    X: ArrayLike,
    y: ArrayLike,
    *,
    rows: Sequence[ArrayLike] | None = None,
    optimizer: Optimizer | Sequence[Optimizer] | None = None,
    epochs: int = 10,
    batch_size: int = 32,
    shuffle: bool = True,
    seeds: int | Sequence[int] | None = None,
    validation_data: tuple[Any, ...] | None = None,
    sample_weight: ArrayLike | None = None,
    class_weight: Mapping[int, float] | Literal["balanced"] | None = None,
    clip_norm: float | None = None,
    metrics: Sequence[str | Metric] | None = None,
    callbacks: Sequence[Callback | Callable[..., object]] = (),
    checkpoint: str | os.PathLike[str] | None = None,
    every: int | timedelta = 1,
    keep: int = 2,
    resume: bool = False,
    watch: None = None,
    verbose: int = 1,
) -> list[History]:
    """Train many networks in one call, each as its own `Network.fit` would.

    Small networks of one shape are trained side by side, one in each lane of the processor's
    vectors, which is several times as fast as one after another; the others share the threads.
    That changes no result: a network ends with the same bits as after its own ``fit`` with the
    same arguments, whatever its neighbours are. (With ``clip_norm`` in float64 it is the same to
    rounding.)

    A network whose numbers stop being finite keeps the parameters from before that step; a
    RuntimeWarning and the ``stop_reason`` of its history say so, and the others go on.

    Args:
        networks: The networks, of any shapes. None may occur twice.
        X: The inputs, (n, units_0), for all networks.
        y: The targets, (n, units_L), or (n,), for all networks.
        rows: For each network the rows of X and y that it learns from, as integers: a fold, a
            group, or a sample with repeats. None takes all rows.
        optimizer: How a step moves the parameters: one for all networks, or one for each. None is
            ``Adam()``.
        epochs: How many times to go through the samples.
        batch_size: How many samples a step takes.
        shuffle: Whether each epoch takes the samples in a new order, which follows from each
            network's seed.
        seeds: Seeds of the order and of dropout that are put in place of the networks' own: one
            for all, or one for each. Networks that share a seed take the samples in the same
            order, and are trained faster.
        validation_data: (X, y) or (X, y, sample_weight), measured after each epoch.
        sample_weight: The weight of each sample, (n,).
        class_weight: As in `Network.fit`.
        clip_norm: As in `Network.fit`.
        metrics: As in `Network.fit`; an empty list measures nothing, and is the fastest.
        callbacks: Callbacks, of which each network gets a copy of its own, and functions, which
            are called with the `Run` of each network after each of its epochs.
        checkpoint: A folder in which the run of each network is kept, in a folder with its number.
        every: As in `Network.fit`.
        keep: As in `Network.fit`.
        resume: As in `Network.fit`.
        watch: Has to be None: networks that are trained side by side are not recorded.
        verbose: 0 draws no progress bar.

    Returns:
        The history of each network.

    Raises:
        TypeError: An argument has the wrong type. Nothing has been changed.
        ValueError: An argument has an impossible value, or data do not fit a network, which the
            message names. Nothing has been changed.
        OSError: A checkpoint cannot be written.

    Warns:
        RuntimeWarning: Numbers of a network stopped being finite.

    Examples:
        >>> import chainrule as cr
        >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
        >>> networks = [cr.Network([2, 4, 1], hidden="tanh", seed=seed) for seed in range(20)]
        >>> histories = cr.fit_many(networks, X, y, optimizer=cr.Adam(0.05), epochs=200)
        >>> len(histories), sum(history.loss[-1] < 0.01 for history in histories) > 10
        (20, True)
    """
    if watch is not None:
        raise ValueError(
            f"watch is {watch!r}; fit_many records no run, because networks are trained side by "
            "side. Record a network of its own: network.fit(X, y, watch=...)"
        )
    given = list(networks)
    settings = _Settings(
        X, y, sample_weight, class_weight, validation_data, batch_size, clip_norm, shuffle, metrics
    )
    own_seeds = _seeds(seeds, len(given))
    tasks = _tasks(given, settings, _optimizers(optimizer, len(given)), rows)
    epochs = whole(epochs, "epochs")
    called = callback_room.check(callbacks)
    folders = [None if checkpoint is None else Path(checkpoint) / str(i) for i in range(len(given))]
    kept = [keepers.choose(folder, every, keep, resume) for folder in folders]
    check_type((bool, int, np.bool_, np.integer), verbose, "verbose must be 0 or 1")

    shape = (epochs, max(len(given), 1), 1, len(given))
    screen = progress.screen(bool(verbose), *shape)
    everything = _Histories()
    with ExitStack() as stack:
        undo = stack.enter_context(ExitStack())  # until every run has started
        for network, seed in zip(given, own_seeds, strict=True):
            if seed is not None:
                undo.callback(setattr, network, "seed", network.seed)
                network.seed = seed
        interrupt = stack.enter_context(Interrupt(screen.stopping))
        members = []
        for task, keeper in zip(tasks, kept, strict=True):
            own = [_copy(callback) for callback in called]
            state = State(slots=task.plan.optimizer.start(task.network.parameters))
            describe = task.settings if checkpoint is not None else dict
            run = Run(task.network, History(task.columns), epochs, state, _describe=describe)
            if own or checkpoint is not None:
                found = stack.enter_context(keeper.keeping(run, own))
                stack.enter_context(started(own, run, found))
            course = Course(task, run, own, interrupt, keeper)
            simple = not own and checkpoint is None and task.validation is None
            members.append(_Member(course, task.rows, task.whole, simple and not task.measures))
            everything.append(run.history)
        undo.pop_all()
        stack.enter_context(screen.showing(everything))
        _train(members, interrupt, screen)
    failed = [(i, m.course) for i, m in enumerate(members) if m.course.failed is not None]
    for i, course in failed:
        assert course.failed is not None
        warn(f"network {i}: {error_of(course.run, *course.failed)}", RuntimeWarning)
    return list(everything)


class _Histories(list[History]):
    """The histories of many runs, as the screen sees them."""

    def summary(self) -> str:
        count, losses = len(self), [h["loss"][-1] for h in self if h["loss"]]
        seconds = sum(sum(h["seconds"]) for h in self)
        between = f": loss {number(min(losses))} to {number(max(losses))}" if losses else ""
        return f"{count} network{'s' * (count != 1)} in {duration(seconds)}{between}"


@dataclass(frozen=True)
class _Settings:
    """The arguments of `fit` that are the same for all networks."""

    X: Any
    y: Any
    sample_weight: Any
    class_weight: Any
    validation_data: Any
    batch_size: int
    clip_norm: float | None
    shuffle: bool
    metrics: Any

    def check(self, network: FeedForward, optimizer: Optimizer, X: Any, y: Any, s: Any) -> Task:
        return Task.check(
            network, X, y, s, self.class_weight, self.validation_data, optimizer,
            self.batch_size, self.clip_norm, self.shuffle, self.metrics,
        )  # fmt: skip


@dataclass(frozen=True)
class _PartTask(Task):
    """The task of a network that learns from some rows of what all share."""

    rows: Rows | None = None
    whole: Samples | None = None


@dataclass
class _Member:
    """A network on its way. ``simple``: nobody looks at its epochs one by one."""

    course: Course
    rows: Rows | None
    whole: Samples | None  # what the rows are of; None: it shares no samples with others
    simple: bool

    @property
    def network(self) -> FeedForward:
        return self.course.task.network


def _optimizers(given: Any, count: int) -> list[Optimizer]:
    if given is None or isinstance(given, Optimizer):
        return [Adam() if given is None else given] * count
    need = "optimizer must be one such as Adam(learning_rate=0.001), or a list of them"
    if isinstance(given, str | type) or not isinstance(given, Iterable):
        raise TypeError(f"{need}, got {given!r}")
    optimizers = list(given)
    for optimizer in optimizers:
        check_type((Optimizer,), optimizer, need)
    _check_count(len(optimizers), count, "optimizers")
    return optimizers


def _seeds(given: Any, count: int) -> list[int | None]:
    if given is None:
        return [None] * count
    if isinstance(given, int | np.integer):
        given = [given] * count
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f"seeds must be an integer or one for each network, got {given!r}")
    seeds = [whole(seed, f"seeds[{i}]", least=0) for i, seed in enumerate(given)]
    _check_count(len(seeds), count, "seeds")
    return list(seeds)


def _check_count(got: int, count: int, what: str) -> None:
    if got != count:
        raise ValueError(f"there must be one for each of the {count} networks, got {got} {what}")


def _rows(given: Any, count: int, n: int) -> list[Rows | None]:
    if given is None:
        return [None] * count
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f"rows must be a list of rows for each network, got {given!r}")
    lists = list(given)
    _check_count(len(lists), count, "lists of rows")
    checked: list[Rows | None] = []
    for i, of_network in enumerate(lists):
        rows = np.asarray(of_network)
        if rows.ndim != 1 or not len(rows) or rows.dtype.kind not in "iu":
            raise ValueError(
                f"rows[{i}] must be a list of row numbers, got an array of dtype {rows.dtype} and "
                f"shape {rows.shape}"
            )
        if rows.min() < 0 or rows.max() >= n:
            raise ValueError(
                f"rows[{i}] has the row {rows.max() if rows.max() >= n else rows.min()}; X has the "
                f"rows 0 to {n - 1}"
            )
        checked.append(rows.astype(np.int64))
    return checked


def _tasks(
    networks: list[FeedForward],
    settings: _Settings,
    optimizers: list[Optimizer],
    rows: Sequence[ArrayLike] | None,
) -> list[_PartTask]:
    """Check everything. Networks of one kind share the samples that have been checked once."""
    seen: set[int] = set()
    for i, network in enumerate(networks):
        if not isinstance(network, FeedForward):
            raise TypeError(f"networks[{i}] must be a Network, got a {type(network).__name__}")
        if id(network) in seen:
            raise ValueError(f"networks[{i}] is in the list twice; every network is trained once")
        seen.add(id(network))
    shared: dict[Any, Task] = {}
    weighted = settings.sample_weight is not None or settings.class_weight is not None
    lists = None if rows is None else _rows(rows, len(networks), len(numeric(settings.X, "X")))
    tasks = []
    for i, (network, optimizer) in enumerate(zip(networks, optimizers, strict=True)):
        own = None if lists is None else lists[i]
        try:
            network.check_parameters()
            if own is not None and weighted:  # whose ratios are those of the rows alone
                X, y = numeric(settings.X, "X")[own], numeric(settings.y, "y")[own]
                s = settings.sample_weight
                s = None if s is None else numeric(s, "sample_weight")[own]
                task = settings.check(network, optimizer, X, y, s)
                tasks.append(_PartTask(**vars(task)))
                continue
            kind = (network.sizes[0], network.sizes[-1], type(network.loss), network.dtype.char,
                    type(network.layers[-1].activation), network.requested_engine)  # fmt: skip
            if (known := shared.get((kind, type(optimizer)))) is None:
                known = settings.check(
                    network, optimizer, settings.X, settings.y, settings.sample_weight
                )
                same = [task for (other, _), task in shared.items() if other == kind]
                if same:  # to keep one copy of the samples
                    known = replace(known, samples=same[0].samples, validation=same[0].validation)
                shared[kind, type(optimizer)] = known
            n = len(known.samples) if own is None else len(own)
            plan = Plan(optimizer, min(settings.batch_size, n), settings.clip_norm)
            whole = known.samples
            part = whole if own is None else Samples(whole.X[own], whole.y[own])
            task = replace(known, network=network, plan=plan, samples=part)
            tasks.append(_PartTask(**vars(task), rows=own, whole=whole))
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"networks[{i}]: {error}" if len(networks) > 1 else str(error)
            ) from None
    return tasks


def _copy(callback: Callback) -> Callback:
    """Return a copy for one network; of functions the function itself is called."""
    return callback if isinstance(callback, AtEpochEnd) else copy.deepcopy(callback)


# --- training -----------------------------------------------------------------------------------


def _train(members: list[_Member], interrupt: Interrupt, screen: progress.Screen) -> None:
    """Train side by side as long as enough networks of a kind are on their way, then the others."""
    alone: list[_Member] = []
    groups: dict[Any, list[_Member]] = {}
    for member in members:
        task = member.course.task
        how = None if member.whole is None else task.engine.side_by_side(task.network, task.plan)
        if how is None:
            alone.append(member)
        else:
            kind = (how, id(member.whole), len(task.samples), task.shuffle, member.simple)
            groups.setdefault(kind, []).append(member)
    for (how, *_), group in groups.items():
        going = group
        while going := [m for m in going if m.course.goes_on]:
            starts = {m.course.run.epoch for m in going}
            if len(going) < how.pays_from and how.exactly:
                alone += going
                break
            for epoch in sorted(starts):  # more than one where runs were resumed
                together = [m for m in going if m.course.run.epoch == epoch]
                _side_by_side(together, interrupt, screen)
    _one_by_one(alone, interrupt, screen)


def _side_by_side(members: list[_Member], interrupt: Interrupt, screen: progress.Screen) -> None:
    """Train networks that are in the same epoch for some epochs, or for one if somebody looks."""
    first = members[0].course
    task, run = first.task, first.run
    n, count, begun = len(task.samples), len(members), perf_counter()
    epochs = 1
    optimizers = {id(o): o for o in (m.course.task.plan.optimizer for m in members)}
    known = all(_is_known(optimizer.schedule) for optimizer in optimizers.values())
    if known and all(m.simple for m in members):
        operations = 6.0 * run.network.parameters.size * n * count
        epochs = max(1, min(run.epochs - run.epoch, int(_CHUNK / operations)))
    rates = _rates(members, epochs)
    orders = _orders(members, epochs)
    assert members[0].whole is not None
    outputs = None
    if task.measures:
        shape = (count, n, run.network.sizes[-1])
        outputs = np.empty(shape, run.network.dtype)
    together = Together(
        [m.network for m in members], [m.course.run.state for m in members], members[0].whole,
        task.plan, rates, orders, outputs,
    )  # fmt: skip
    screen.begin(run.epoch + 1)

    def on_progress(done: int, loss: float) -> bool:
        screen.step(done // epochs, float("nan"))
        return interrupt.asked

    losses, trained = task.engine.run_together(together, on_progress)
    screen.trained(n * count * epochs)
    seconds = (perf_counter() - begun) / (count * epochs)
    for i, member in enumerate(members):
        course = member.course
        if not trained[i]:
            if interrupt.asked:
                course.run.stop("interrupted", finished=False)
            else:  # some number is not finite: step by step, to find out which
                _run(course, course.task.engine, interrupt, epochs)
            continue
        if member.simple:
            course.take_plain(losses[i], rates[i, :, 0], seconds)
            continue
        epoch = course.next()
        course.begun -= seconds
        if outputs is not None and course.outputs is not None:
            course.outputs[slice(None) if epoch.order is None else epoch.order] = outputs[i]
        course.take(epoch, EpochResult(float(losses[i, 0]), task.steps, n))
    screen.end({"loss": float(losses[:, -1].mean())})


def _rates(members: list[_Member], epochs: int) -> NDArray[np.float64]:
    """Return the rates, (networks, epochs, steps): once for each schedule that is known."""
    rates = np.empty((len(members), epochs, members[0].course.task.steps))
    known: dict[int, NDArray[np.float64]] = {}
    for of_network, member in zip(rates, members, strict=True):
        optimizer = member.course.task.plan.optimizer
        if (found := known.get(id(optimizer))) is None:
            found = np.stack([member.course.rates(e) for e in range(epochs)])
            if _is_known(optimizer.schedule):
                known[id(optimizer)] = found
        of_network[...] = found
    return rates


def _is_known(schedule: Schedule) -> bool:
    """Return whether the rates are known in advance, whatever the losses will be."""
    if isinstance(schedule, WarmUp):
        return _is_known(as_schedule(schedule.then, "then"))
    return isinstance(schedule, Constant | Cosine | ExponentialDecay | StepDecay)


def _orders(members: list[_Member], epochs: int) -> NDArray[np.int64] | None:
    """Return the rows that each network takes in each epoch: once where all take the same."""
    task, start = members[0].course.task, members[0].course.run.epoch
    n = len(task.samples)
    own_rows = any(m.rows is not None for m in members)
    if not task.shuffle and not own_rows:
        return None
    identity = np.tile(np.arange(n), (epochs, 1))
    seeds = [m.network.seed for m in members]
    of_seed = {
        s: epoch_orders(s, start, epochs, n) if task.shuffle else identity for s in set(seeds)
    }
    if not own_rows and len(of_seed) == 1:
        return of_seed[seeds[0]][None]
    orders = np.empty((len(members), epochs, n), np.int64)
    for order, seed, member in zip(orders, seeds, members, strict=True):
        order[...] = of_seed[seed] if member.rows is None else member.rows[of_seed[seed]]
    same = len(of_seed) == 1 and (orders == orders[0]).all()
    return orders[:1] if same else orders


def _one_by_one(members: list[_Member], interrupt: Interrupt, screen: progress.Screen) -> None:
    """Train networks each by itself; several of them share the threads."""
    going = [member.course for member in members if member.course.goes_on]
    if not going:
        return
    threads = min(len(going), going[0].task.engine.threads_of(going[0].task.network))
    if threads == 1 or len(going) == 1:
        for course in going:
            screen.begin(course.run.epoch + 1)
            _run(course, course.task.engine, interrupt)
        return
    from concurrent.futures import ThreadPoolExecutor  # which `import chainrule` can do without

    with ThreadPoolExecutor(threads) as pool:
        runs = [
            pool.submit(_run, course, course.task.engine.alone(), interrupt) for course in going
        ]
        for done, future in enumerate(runs):
            screen.step(done, float("nan"))
            future.result()


def _run(course: Course, engine: Any, interrupt: Interrupt, epochs: int | None = None) -> None:
    """Train one network to its end, or for some epochs."""

    def on_progress(steps: int, loss: float) -> bool:
        return interrupt.asked

    last = course.run.epochs if epochs is None else course.run.epoch + epochs
    while course.goes_on and course.run.epoch < last:
        epoch = course.next()
        result = engine.run_epoch(course.run.network, epoch, course.run.state, on_progress)
        course.take(epoch, result)
