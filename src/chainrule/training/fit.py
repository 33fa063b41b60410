"""Training: epochs of steps, what is measured after each, and the ways in which a run ends."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from chainrule.engines import Engine, State
from chainrule.equations.checks import whole
from chainrule.equations.optimizers import Optimizer
from chainrule.training import callbacks as callback_room
from chainrule.training import keeper as keepers
from chainrule.training import progress
from chainrule.training.callbacks import Callback, Run
from chainrule.training.checkpoints import Checkpoint
from chainrule.training.course import Course
from chainrule.training.errors import error_of
from chainrule.training.history import History
from chainrule.training.interrupt import Interrupt
from chainrule.training.metrics import Metric
from chainrule.training.task import Task, check_type

if TYPE_CHECKING:
    from chainrule.equations.feedforward import FeedForward
    from chainrule.training.watching.recorder import Recorder
    from chainrule.training.watching.settings import Watch


def fit(
    network: FeedForward,
    X: ArrayLike,
    y: ArrayLike,
    *,
    optimizer: Optimizer | None = None,
    epochs: int = 10,
    batch_size: int = 32,
    shuffle: bool = True,
    validation_data: tuple[Any, ...] | None = None,
    sample_weight: ArrayLike | None = None,
    class_weight: Mapping[int, float] | Literal["balanced"] | None = None,
    clip_norm: float | None = None,
    micro_batches: int | None = None,
    metrics: Sequence[str | Metric] | None = None,
    callbacks: Sequence[Callback | Callable[..., object]] = (),
    checkpoint: str | os.PathLike[str] | None = None,
    every: int | timedelta = 1,
    keep: int = 2,
    resume: bool = False,
    watch: str | os.PathLike[str] | Watch | None = None,
    verbose: int = 1,
) -> History:
    """Train the network on samples.

    Each epoch takes every sample once, in batches, and a step moves the parameters after each
    batch, as the optimiser says. Ctrl-C ends the run after the step that is under way; a second one
    raises KeyboardInterrupt.

    Args:
        X: The inputs, (n, units_0): an array, a memory map, a dataframe, or what NumPy can make an
            array of.
        y: The targets, (n, units_L). Classes as integers and the targets of a single output may be
            (n,).
        optimizer: How a step moves the parameters; None is ``Adam()``.
        epochs: How many times to go through the samples, counted from the beginning of the run.
        batch_size: How many samples a step takes. The last batch of an epoch may be smaller.
        shuffle: Whether each epoch takes the samples in a new order, which follows from the
            network's seed.
        validation_data: (X, y) or (X, y, sample_weight), measured after each epoch.
        sample_weight: The weight of each sample in every mean, (n,).
        class_weight: The weight of each class: a dict, in which classes that it leaves out have 1,
            or "balanced" for n / (number of classes · samples of the class). Multiplied with
            ``sample_weight``.
        clip_norm: Shorten a gradient whose norm, over all parameters, is above this to it.
        micro_batches: Cut each batch into so many parts, and add the sums of their gradients as one
            fixed tree: the bits of `chainrule.distributed.fit`, on this machine alone. The samples
            are then cut into as many shards of consecutive rows, each shuffled on its own, and a
            batch takes as many rows from each. ``batch_size`` must be a multiple.
        metrics: What to measure besides the loss: "accuracy", "mean_squared_error",
            "mean_absolute_error", "r2", or functions (y_true, y_pred) -> float. None measures the
            accuracy after a cross-entropy, and else nothing.
        callbacks: `Callback` objects, or functions that are called with the `Run` after each epoch.
        checkpoint: A folder in which the run is kept, so that it survives a crash, or an address
            of fsspec such as "s3://bucket/run". It is made if it does not exist, a bucket is not.
        every: Write a checkpoint after every so many epochs, or after so much time (a timedelta).
            One is written at the end in any case.
        keep: How many checkpoints stay, besides the best network.
        resume: Continue from the newest checkpoint in the folder, to the same bits as a run that
            was never interrupted. In an empty folder the run begins; a finished run is left as it
            is.
        watch: A folder, or a `Watch`, in which the run is recorded: losses of all samples, norms,
            spikes, and what every weight's moves are told from. `load_run` reads it. The network
            ends with the same bits as without.
        verbose: 0 draws no progress bar. None is drawn where nobody sees a terminal or a notebook.

    Returns:
        The history: the loss and the metrics of each epoch, and why the run ended.

    Raises:
        TypeError: An argument has the wrong type. Nothing has been changed.
        ValueError: An argument has an impossible value, data do not fit the network, or the folder
            holds another run or only damaged checkpoints, or the folder of ``watch`` holds
            something else than a run. Nothing has been changed.
        NonFiniteError: A number stopped being finite. The network has the parameters from before
            that step, or the best ones with `EarlyStopping`.
        OSError: A checkpoint cannot be written.

    Warns:
        CheckpointWarning: The newest checkpoint is damaged, and the run continues from an older
            one.
        UserWarning: The recording cannot be written. The training goes on.
        EngineWarning: The compiled core lacks what is asked, and NumPy trains.

    Examples:
        >>> import chainrule as cr
        >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
        >>> net = cr.Network([2, 4, 1], hidden="tanh", output="tanh", seed=0)
        >>> history = net.fit(X, y, optimizer=cr.Adam(0.05), epochs=200, batch_size=4)
        >>> history.loss[-1] < history.loss[0] / 100
        True
    """
    network.check_parameters()
    task = Task.check(
        network, X, y, sample_weight, class_weight, validation_data, optimizer, batch_size,
        clip_norm, shuffle, metrics, micro_batches,
    )  # fmt: skip
    if watch is not None and micro_batches is not None:
        raise ValueError(
            "watch and micro_batches cannot be combined: what a batch of micro-batches does is not "
            "recorded. Leave one of them out"
        )
    return run(
        task, epochs=epochs, callbacks=callbacks, checkpoint=checkpoint, every=every, keep=keep,
        resume=resume, watch=watch, verbose=verbose,
    )  # fmt: skip


def run(
    task: Task,
    *,
    epochs: int,
    callbacks: Sequence[Callback | Callable[..., object]],
    checkpoint: str | os.PathLike[str] | None,
    every: int | timedelta,
    keep: int,
    resume: bool,
    verbose: int,
    watch: object = None,
    computing: AbstractContextManager[Engine] | None = None,
) -> History:
    """Train as `fit` does; ``computing``, entered after all checks, gives another engine."""
    network = task.network
    epochs = whole(epochs, "epochs")
    called = callback_room.check(callbacks)
    keeper = keepers.choose(checkpoint, every, keep, resume)
    recorder = _recorder(watch, task, checkpoint)
    if recorder is not None:
        called.append(recorder)
    check_type((bool, int, np.bool_, np.integer), verbose, "verbose must be 0 or 1")

    state = State(slots=task.plan.optimizer.start(network.parameters))
    this = Run(network, History(task.columns), epochs, state, _describe=task.settings)
    shape = (epochs, task.steps, task.plan.batch_size, len(task.samples))
    screen = progress.screen(bool(verbose), *shape)
    with (
        nullcontext(task.engine) if computing is None else computing as engine,
        Interrupt(screen.stopping) as interrupt,
        keeper.keeping(this, called) as found,
        screen.showing(this.history),
    ):
        if computing is not None:
            task = replace(task, engine=engine)
        course = Course(task, this, called, interrupt, keeper)
        with started(called, this, found) if called or found else nullcontext():
            _epochs(course, screen, engine if recorder is None else recorder)
        if course.failed is not None:
            raise error_of(this, *course.failed)
    return this.history


def _recorder(
    watch: object, task: Task, checkpoint: str | os.PathLike[str] | None
) -> Recorder | None:
    if watch is None:
        return None
    from chainrule.training.watching import recorder, settings  # for runs that are watched

    chosen = settings.choose(watch, checkpoint)
    return recorder.Recorder(chosen, task.network, task.plan, task.engine, task.samples)


def _epochs(course: Course, screen: progress.Screen, engine: Engine | Recorder) -> None:
    """Train epoch by epoch until the end or a reason to stop."""
    run, interrupt = course.run, course.interrupt

    def on_progress(steps: int, loss: float) -> bool:
        screen.step(steps, loss)
        return interrupt.asked

    while course.goes_on:
        screen.begin(run.epoch + 1)
        epoch = course.next()
        result = engine.run_epoch(run.network, epoch, run.state, on_progress)
        screen.trained(result.samples)
        if row := course.take(epoch, result):
            screen.end(row)


@contextmanager
def started(callbacks: list[Callback], run: Run, found: Checkpoint | None) -> Iterator[None]:
    """Start the callbacks, and end those that started, in order, however the run ends.

    With a checkpoint the run starts from there; where a callback refuses to, the network is left
    as it was.
    """
    before = run.network.parameters.copy(), run.network.seed
    states = _go_on(run, found)
    begun: list[Callback] = []
    try:
        for callback in callbacks:
            callback.on_start(run)
            begun.append(callback)
            if (state := keepers.state_of(callback, states)) is not None:
                callback.load_state(state)
    except BaseException:
        if found is not None:
            run.network.parameters[...], run.network.seed = before
        _end(begun, run)
        raise
    try:
        yield
    finally:
        _end(begun, run)


def _go_on(run: Run, found: Checkpoint | None) -> list[tuple[str, Mapping[str, Any]]]:
    """Set the run, its network and its history to what a checkpoint has; give callbacks' states."""
    if found is None:
        return []
    run.network.seed = found.settings["network"]["seed"]
    run.network.parameters[...] = found.parameters
    for name, values in found.slots.items():
        run.state.slots[name][...] = values
    run.state.step, run.epoch = found.step, found.epoch
    run.history._take(found.history, found.epoch)
    run.history.keep_best_of(found.history)
    if found.finished:
        run.stop(found.history.stop_reason or "stopped by a callback")
    return list(found.callbacks)


def _end(callbacks: list[Callback], run: Run) -> None:
    """End callbacks in order; one that fails does not keep the others from ending."""
    if callbacks:
        try:
            callbacks[0].on_end(run)
        finally:
            _end(callbacks[1:], run)
