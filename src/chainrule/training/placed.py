"""Many networks on the workers of a cluster: cut into tasks, sent, and gathered by member."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.equations.checks import warn
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.optimizers import Optimizer
from chainrule.places import Place, opened
from chainrule.training import progress
from chainrule.training.callbacks import AtEpochEnd, Callback, EarlyStopping, Run
from chainrule.training.history import Histories, History
from chainrule.training.interrupt import Interrupt
from chainrule.training.loggers import CSVLogger, MLflowLogger, TensorBoardLogger
from chainrule.training.task import Task

_PACK = 16  # networks that go side by side in one vector, at most
_MOST = 512  # networks of a task, so that there is progress to see and little to do again
_TASKS = 4  # for each worker at least, so that all end at about the same time


@dataclass(frozen=True)
class Members:
    """The networks of one task, with what is each one's own."""

    networks: list[FeedForward]
    optimizers: list[Optimizer]
    seeds: list[int | None]
    epochs: list[int]
    rows: list[Any] | None

    def some(self, which: list[int]) -> Members:
        """Return those at some places."""

        def some(values: Sequence[Any]) -> list[Any]:
            return [values[i] for i in which]

        rows = None if self.rows is None else some(self.rows)
        return Members(
            some(self.networks), some(self.optimizers), some(self.seeds), some(self.epochs), rows
        )


@dataclass(frozen=True)
class Trained:
    """A network that was trained: parameters, history, and what stopped being finite in it."""

    parameters: NDArray[Any]
    history: History
    error: str | None = None


def check(called: list[Callback], checked: Sequence[Task], checkpoint: object) -> None:
    """Raise ValueError for what cannot be done on workers, before anything starts."""
    columns = {tuple(task.columns): task.network for task in checked}
    for i, callback in enumerate(called):
        name = type(callback).__name__
        if isinstance(callback, AtEpochEnd):
            raise ValueError(
                f"callbacks[{i}] is a function; on a cluster other processes would call it, and "
                "what it changes would be lost there. Derive from Callback, or leave on= out"
            )
        if isinstance(callback, CSVLogger | MLflowLogger | TensorBoardLogger):
            raise ValueError(
                f"callbacks[{i}] is a {name}; on a cluster each worker would write on its own "
                "machine. The histories that fit_many returns have every row"
            )
        if isinstance(callback, EarlyStopping):  # which says so at the start of a run
            for names, network in columns.items():
                copy.copy(callback).on_start(Run(network, History(names), 1))
    if checkpoint is not None:
        raise ValueError(
            "checkpoint= and on= cannot be combined: a task whose worker died starts again on "
            "another machine. Leave one of them out"
        )


def train(
    on: Any,
    task: Callable[[Any, Members, int | None], list[Trained | str]],
    shared: Any,
    checked: Sequence[Task],
    members: Members,
    verbose: bool,
) -> list[History]:
    """Train networks on the workers of a place.

    Args:
        on: The place, see `chainrule.places.opened`.
        task: What a worker calls, with ``shared`` and the members of a task.
        shared: What is the same for all.
        checked: The task of each network, as `fit_many` has checked it.
        members: All networks. They get their parameters and seeds as results come in.
        verbose: Whether to draw a progress bar.
    """
    count = len(members.networks)
    histories = Histories(History(task.columns) for task in checked)
    pairs = zip(checked, members.epochs, strict=True)
    samples = [len(task.samples) * epochs for task, epochs in pairs]
    screen = progress.screen(verbose, 1, max(count, 1), max([1, *samples]), sum(samples))
    said: dict[int, str] = {}
    with ExitStack() as stack:
        place = stack.enter_context(opened(on))
        _check_pickles(place, shared, members)
        interrupt = stack.enter_context(Interrupt(screen.stopping))
        stack.enter_context(screen.showing(histories))
        chunks = cut(checked, place.count())
        parts = (members.some(chunk) for chunk in chunks)
        screen.begin(1)
        losses: list[float] = []
        done: set[int] = set()
        trained = 0
        running = place.run(task, shared, parts, stop=lambda: interrupt.asked)
        for outcome in stack.enter_context(closing(running)):
            chunk = chunks[outcome.index]
            done.update(chunk)
            for i, came in zip(chunk, outcome.result or [outcome.error] * len(chunk), strict=True):
                if not isinstance(came, Trained):
                    histories[i].stop_reason = f"failed: {came}"
                    said[i] = str(came)
                    continue
                trained += 1
                histories[i] = came.history
                members.networks[i].parameters[...] = came.parameters
                if (seed := members.seeds[i]) is not None:
                    members.networks[i].seed = seed
                losses += came.history["loss"][-1:]
                if came.error is not None:
                    said[i] = came.error
            screen.step(len(done), float(np.mean(losses)) if losses else float("nan"))
        for i in set(range(count)) - done:
            histories[i].stop_reason = "interrupted"
        if said and not trained:
            raise RuntimeError(
                f"no network could be trained. Network {min(said)}: {said[min(said)]}"
            )
    for i, what in sorted(said.items()):
        failed = histories[i].stop_reason == f"failed: {what}"
        kept = "; its parameters are those from before" if failed else ""
        warn(f"network {i}: {what}{kept}", RuntimeWarning)
    return list(histories)


def cut(checked: Sequence[Task], workers: int) -> list[list[int]]:
    """Return the networks of each task: of one kind together, as they go side by side."""
    groups: dict[Any, list[int]] = {}
    for i, task in enumerate(checked):
        how = task.engine.side_by_side(task.network, task.plan)
        kind = None if how is None else (how.kind, len(task.samples), task.shuffle)
        groups.setdefault(kind, []).append(i)
    wanted = max(1, _TASKS * workers)
    chunks: list[list[int]] = []
    for kind, group in groups.items():
        size = -(-len(checked) // wanted)
        if kind is not None:  # whole packs
            size = -(-size // _PACK) * _PACK
        size = min(size, _MOST)
        chunks += [group[first : first + size] for first in range(0, len(group), size)]
    return chunks


def _check_pickles(place: Place, shared: Any, members: Members) -> None:
    """Raise TypeError where something cannot be sent to other processes."""
    things = {f"callbacks[{i}]": callback for i, callback in enumerate(shared.callbacks)}
    things["metrics"] = shared.metrics
    seen: set[Any] = set()
    for i, (network, rule) in enumerate(zip(members.networks, members.optimizers, strict=True)):
        functions = (
            *(type(layer.activation) for layer in network.weighted_layers),
            type(network.loss),
        )
        for what, kind, thing in (
            ("networks", functions, network),
            ("optimizer", (type(rule), type(rule.schedule)), rule),
        ):
            if kind not in seen:
                seen.add(kind)
                things[f"{what}[{i}]"] = thing
    for what, thing in things.items():
        try:
            place.pickled(thing)
        except Exception as error:
            raise TypeError(
                f"{what} cannot be sent to the workers of {place.name} "
                f"({type(error).__name__}: {error}). Train without on=, or change it"
            ) from error
