"""Many networks in one call: small ones of one shape side by side, the others one after another."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from chainrule.engines import Plan
from chainrule.equations.arrays import numeric
from chainrule.equations.checks import warn, whole
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.optimizers import Adam, Optimizer
from chainrule.storage.addresses import joined
from chainrule.training import callbacks as callback_room
from chainrule.training import keeper as keepers
from chainrule.training import placed, progress
from chainrule.training.callbacks import AtEpochEnd, Callback
from chainrule.training.errors import NonFiniteError, error_of
from chainrule.training.fit import started
from chainrule.training.history import Histories, History
from chainrule.training.interrupt import Interrupt
from chainrule.training.metrics import Metric
from chainrule.training.placed import Members, Trained
from chainrule.training.task import Task, check_type
from chainrule.training.together import Member, Part, PartTask, Rows, train


def fit_many(
    networks: Iterable[FeedForward],
    X: ArrayLike,
    y: ArrayLike,
    *,
    rows: Sequence[ArrayLike] | None = None,
    optimizer: Optimizer | Sequence[Optimizer] | None = None,
    epochs: int | Sequence[int] = 10,
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
    on: Any = None,
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
        epochs: How many times to go through the samples: one number for all, or one for each.
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
        checkpoint: A folder, or an address of fsspec such as "s3://bucket/run", in which the run of
            each network is kept, in a folder with its number.
        every: As in `Network.fit`.
        keep: As in `Network.fit`.
        resume: As in `Network.fit`.
        on: Where to train: "dask://HOST:PORT" or "ray://HOST:PORT" for a cluster, "dask://local:2"
            or "ray://local:2" for two processes on this machine, a client of Dask, or what
            ``ray.init()`` returned. None trains in this process. The networks end with the same
            bits on processors of one kind.
        watch: Has to be None: networks that are trained side by side are not recorded.
        verbose: 0 draws no progress bar.

    Returns:
        The history of each network.

    Raises:
        TypeError: An argument has the wrong type. Nothing has been changed.
        ValueError: An argument has an impossible value, or data do not fit a network, which the
            message names. Nothing has been changed.
        OSError: A checkpoint cannot be written.
        ImportError: The engine that ``on`` names is not installed.
        ConnectionError: ``on`` names a cluster that does not answer, or that has no workers.
        RuntimeError: The workers of ``on`` cannot run chainrule, or no network could be trained.

    Warns:
        RuntimeWarning: Numbers of a network stopped being finite; or, with ``on``, it could not be
            trained: its history is empty, and its ``stop_reason`` says why.

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
    call = Call(
        networks, X, y, rows, optimizer, epochs, batch_size, shuffle, seeds, validation_data,
        sample_weight, class_weight, clip_norm, metrics, callbacks, checkpoint, every, keep, resume,
    )  # fmt: skip
    return fit_all([call], verbose)[0] if on is None else _elsewhere(call, on, verbose)


@dataclass(frozen=True)
class Call:
    """The arguments of `fit_many`."""

    networks: Iterable[FeedForward]
    X: Any
    y: Any
    rows: Any = None
    optimizer: Any = None
    epochs: Any = 10
    batch_size: int = 32
    shuffle: bool = True
    seeds: Any = None
    validation_data: Any = None
    sample_weight: Any = None
    class_weight: Any = None
    clip_norm: float | None = None
    metrics: Any = None
    callbacks: Sequence[Callback | Callable[..., object]] = ()
    checkpoint: str | os.PathLike[str] | None = None
    every: int | timedelta = 1
    keep: int = 2
    resume: bool = False

    def checked(self) -> _Checked:
        """Check the arguments; nothing is changed."""
        networks = list(self.networks)
        seeds = _seeds(self.seeds, len(networks))
        tasks = _tasks(networks, self, _optimizers(self.optimizer, len(networks)), self.rows)
        epochs = _epochs(self.epochs, len(networks))
        called = callback_room.check(self.callbacks)
        folder = self.checkpoint
        kept = [
            keepers.choose(
                None if folder is None else joined(os.fspath(folder), str(i)), self.every,
                self.keep, self.resume,
            ) for i in range(len(networks))
        ]  # fmt: skip
        return _Checked(tasks, seeds, epochs, called, kept, folder is not None)

    def as_arrays(self) -> Call:
        """Return what other processes can be sent: arrays in place of frames and maps of files."""

        def array(values: Any, name: str) -> Any:
            return None if values is None else np.array(numeric(values, name))

        validation = self.validation_data
        if validation is not None:
            validation = tuple(map(array, validation, ("X", "y", "sample_weight")))
        return replace(
            self, networks=(), rows=None, optimizer=None, seeds=None, X=array(self.X, "X"),
            y=array(self.y, "y"), sample_weight=array(self.sample_weight, "sample_weight"),
            validation_data=validation,
        )  # fmt: skip

    def task(self, network: FeedForward, optimizer: Optimizer, X: Any, y: Any, s: Any) -> Task:
        """Check what a network is trained on."""
        return Task.check(
            network, X, y, s, self.class_weight, self.validation_data, optimizer,
            self.batch_size, self.clip_norm, self.shuffle, self.metrics,
        )  # fmt: skip


@dataclass(frozen=True)
class _Checked:
    """A call that has been checked: something for each network, and the callbacks of all."""

    tasks: list[PartTask]
    seeds: list[int | None]
    epochs: list[int]
    callbacks: list[Callback]
    keepers: list[keepers.Keeper]
    is_kept: bool


def fit_all(calls: Sequence[Call], verbose: int = 1) -> list[list[History]]:
    """Make several calls of `fit_many`, which then share threads and progress, as one.

    Returns the histories of each. Raises and warns as `fit_many`; nothing is changed before all
    calls have been checked.
    """
    checked = [call.checked() for call in calls]
    check_type((bool, int, np.bool_, np.integer), verbose, "verbose must be 0 or 1")
    everything, errors = _fit(checked, verbose)
    for i, error in errors.items():
        warn(f"network {i}: {error}", RuntimeWarning)
    histories = iter(everything)
    return [[next(histories) for _ in call.tasks] for call in checked]


def _fit(
    checked: Sequence[_Checked], verbose: int
) -> tuple[list[History], dict[int, NonFiniteError]]:
    """Train; return the histories, and the errors of those whose numbers were not finite."""
    count = sum(len(call.tasks) for call in checked)
    most = max((epochs for call in checked for epochs in call.epochs), default=1)
    screen = progress.screen(bool(verbose), most, max(count, 1), 1, count)
    everything, members = Histories(), list[Member]()
    names: dict[tuple[str, ...], tuple[str, ...]] = {}  # once for all
    with ExitStack() as stack:
        undo = stack.enter_context(ExitStack())  # until every run has started
        for call in checked:
            for task, seed in zip(call.tasks, call.seeds, strict=True):
                if seed is not None:
                    undo.callback(setattr, task.network, "seed", task.network.seed)
                    task.network.seed = seed
        interrupt = stack.enter_context(Interrupt(screen.stopping))
        for call in checked:
            for task, keeper, epochs in zip(call.tasks, call.keepers, call.epochs, strict=True):
                own = [_copy(callback) for callback in call.callbacks]
                columns = tuple(task.columns)
                history = History(names.setdefault(columns, columns))
                simple = not (own or call.is_kept or task.validation or task.measures)
                member = Member(task, history, epochs, own, keeper, interrupt, simple, call.is_kept)
                if own or call.is_kept:
                    run = member.course.run
                    found = stack.enter_context(keeper.keeping(run, own))
                    stack.enter_context(started(own, run, found))
                members.append(member)
                everything.append(history)
        undo.pop_all()
        stack.enter_context(screen.showing(everything))
        train(members, interrupt, screen)
    errors = {
        i: error_of(course.run, *course.failed)
        for i, member in enumerate(members)
        if (course := member.failed) is not None and course.failed is not None
    }
    return list(everything), errors


def _elsewhere(call: Call, on: Any, verbose: int) -> list[History]:
    """Make a call on the workers of a place."""
    checked = call.checked()
    check_type((bool, int, np.bool_, np.integer), verbose, "verbose must be 0 or 1")
    placed.check(checked.callbacks, checked.tasks, call.checkpoint)
    members = Members(
        [task.network for task in checked.tasks],
        [task.plan.optimizer for task in checked.tasks],
        checked.seeds, checked.epochs, None if call.rows is None else list(call.rows),
    )  # fmt: skip
    shared = replace(call.as_arrays(), callbacks=checked.callbacks)
    return placed.train(on, _on_worker, shared, checked.tasks, members, bool(verbose))


def _on_worker(shared: Call, members: Members, threads: int | None) -> list[Trained | str]:
    """Train some networks; return what came of each, or for those that failed the error."""
    try:
        return _trained(shared, members, threads)
    except Exception:  # once more one by one, to find out whose it is
        found: list[Trained | str] = []
        for i in range(len(members.networks)):
            try:
                found += _trained(shared, members.some([i]), threads)
            except Exception as error:
                found.append(f"{type(error).__name__}: {error}")
        return found


def _trained(shared: Call, members: Members, threads: int | None) -> list[Trained | str]:
    networks = [network.copy() for network in members.networks]
    for network in networks:
        network.threads = network.threads or threads
    call = replace(
        shared, networks=networks, optimizer=members.optimizers, epochs=members.epochs,
        rows=members.rows, seeds=None if None in members.seeds else members.seeds,
    )  # fmt: skip
    histories, errors = _fit([call.checked()], verbose=0)
    return [
        Trained(network.parameters, history, str(errors[i]) if i in errors else None)
        for i, (network, history) in enumerate(zip(networks, histories, strict=True))
    ]


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


def _epochs(given: Any, count: int) -> list[int]:
    if not isinstance(given, Iterable):
        return [whole(given, "epochs")] * count
    epochs = [whole(number, f"epochs[{i}]") for i, number in enumerate(given)]
    _check_count(len(epochs), count, "numbers of epochs")
    return epochs


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
    call: Call,
    optimizers: list[Optimizer],
    rows: Sequence[ArrayLike] | None,
) -> list[PartTask]:
    """Check everything. Networks of one kind share the samples that have been checked once."""
    seen: set[int] = set()
    for i, network in enumerate(networks):
        if not isinstance(network, FeedForward):
            raise TypeError(f"networks[{i}] must be a Network, got a {type(network).__name__}")
        if id(network) in seen:
            raise ValueError(f"networks[{i}] is in the list twice; every network is trained once")
        seen.add(id(network))
    shared: dict[Any, Task] = {}
    plans: dict[Any, Plan] = {}
    weighted = call.sample_weight is not None or call.class_weight is not None
    lists = None if rows is None else _rows(rows, len(networks), len(numeric(call.X, "X")))
    tasks = list[PartTask]()
    for i, (network, optimizer) in enumerate(zip(networks, optimizers, strict=True)):
        own = None if lists is None else lists[i]
        try:
            network.check_parameters()
            if own is not None and weighted:  # whose ratios are those of the rows alone
                X, y = numeric(call.X, "X")[own], numeric(call.y, "y")[own]
                s = call.sample_weight
                s = None if s is None else numeric(s, "sample_weight")[own]
                task = call.task(network, optimizer, X, y, s)
                tasks.append(PartTask(**vars(task)))
                continue
            kind = (network.sizes[0], network.sizes[-1], type(network.loss), network.dtype.char,
                    type(network.layers[-1].activation), network.requested_engine)  # fmt: skip
            if (known := shared.get((kind, type(optimizer)))) is None:
                known = call.task(network, optimizer, call.X, call.y, call.sample_weight)
                same = [task for (other, _), task in shared.items() if other == kind]
                if same:  # to keep one copy of the samples
                    known = replace(known, samples=same[0].samples, validation=same[0].validation)
                shared[kind, type(optimizer)] = known
            n = len(known.samples) if own is None else len(own)
            if (plan := plans.get((id(optimizer), n))) is None:
                plan = Plan(optimizer, min(call.batch_size, n), call.clip_norm)
                plans[id(optimizer), n] = plan
            whole = known.samples
            part = whole if own is None else Part(whole, own)
            tasks.append(
                PartTask(
                    network, part, known.validation, plan, known.engine, known.shuffle,
                    known.measures, own, whole,
                )
            )  # fmt: skip
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"networks[{i}]: {error}" if len(networks) > 1 else str(error)
            ) from None
    return tasks


def _copy(callback: Callback) -> Callback:
    """Return a copy for one network; of functions the function itself is called."""
    return callback if isinstance(callback, AtEpochEnd) else copy.deepcopy(callback)
