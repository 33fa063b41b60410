"""The keeper of a run: writes its checkpoints into a folder, and finds where it goes on."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.equations.checks import integer, warn, whole
from chainrule.storage import addresses, models
from chainrule.storage.container import as_json, opened
from chainrule.training import checkpoints
from chainrule.training.callbacks import Callback, Run
from chainrule.training.checkpoints import BEST, Checkpoint, CheckpointWarning
from chainrule.training.folders import Folder, epochs, folder_of

Array = NDArray[Any]


class Keeper:
    """Keeps the checkpoints of a run; this one keeps none."""

    def keeping(
        self, run: Run, callbacks: Sequence[Callback]
    ) -> AbstractContextManager[Checkpoint | None]:
        """Return where the run goes on, or None; when it ends, keep its last whole epoch."""
        return nullcontext()

    def epoch_ended(self, run: Run) -> None:
        """See a whole epoch, and keep it if it is time to."""


class _FolderKeeper(Keeper):
    """Keeps the last checkpoints and the best network in a folder."""

    def __init__(self, folder: Folder, every: int | timedelta, keep: int, resume: bool) -> None:
        self._folder, self._every, self._keep, self._resume = folder, every, keep, resume
        self._callbacks: Sequence[Callback] = ()
        self._pending: Checkpoint | None = None  # the last whole epoch, if it is not on the disk
        self._best: tuple[int, float] | None = None
        self._best_pending: Array | None = None  # its parameters, if they are not on the disk
        self._written = monotonic()

    @contextmanager
    def keeping(self, run: Run, callbacks: Sequence[Callback]) -> Iterator[Checkpoint | None]:
        self._callbacks = callbacks
        with self._folder.held():
            found = self._find(run)
            if found is None:
                self._pending = self._snapshot(run)
            else:
                self._find_best_file(found)
            self._folder.clear()
            try:
                yield found
            finally:
                if self._pending is not None and run.state.step:  # else nothing was trained
                    self._write(run, self._pending)

    def epoch_ended(self, run: Run) -> None:
        if isinstance(self._every, timedelta):
            due = monotonic() - self._written >= self._every.total_seconds()
        else:
            due = run.epoch % self._every == 0
        self._pending = self._snapshot(run, copied=not due)
        if due:
            self._write(run, self._pending)

    def _snapshot(self, run: Run, copied: bool = True) -> Checkpoint:
        """Return the state of the run; the rows of its history are filled in when it is written."""
        self._find_best(run)
        parameters, slots = run.network.parameters, run.state.slots
        if copied:
            parameters = parameters.copy()
            slots = {name: values.copy() for name, values in slots.items()}
        states = _states(self._callbacks) if run.epoch else []  # they have not started yet
        if self._best is not None and self._best[0] == run.epoch:
            self._best_pending = parameters
        return Checkpoint(
            run.settings, run.epoch, run.state.step, parameters, slots, run.history._head(0),
            states, run.finished, self._best,
        )  # fmt: skip

    def _find_best(self, run: Run) -> None:
        """See whether this epoch is the best: for `EarlyStopping`, or by the monitored loss."""
        if not run.epoch:
            return
        value = run.history._columns["val_loss" if "val_loss" in run.history else "loss"][-1]
        if run.history._best_epoch is not None:
            better = run.history._best_epoch == run.epoch
        else:
            better = value < (np.inf if self._best is None else self._best[1])
        if better:
            self._best = (run.epoch, value)

    def _write(self, run: Run, checkpoint: Checkpoint) -> None:
        self._pending = None  # also where this fails: it is not tried again
        network = run.network
        checkpoint.history._take(run.history, checkpoint.epoch)
        best, self._best_pending = self._best_pending, None
        if best is not None:
            mark = {"version": checkpoints.VERSION, "best": checkpoint.best}
            content = models.content(network, best, {models.CHECKPOINT: mark})
            self._folder.write(BEST, content)
        name = f"epoch-{checkpoint.epoch:06d}.safetensors"
        self._folder.write(name, checkpoints.serialize(network, checkpoint))
        self._written = monotonic()
        for _, old in epochs(self._folder)[: -self._keep]:
            self._folder.remove(old)

    def _find(self, run: Run) -> Checkpoint | None:
        """Return the newest checkpoint that is whole; warn of those that are not."""
        there, folder = epochs(self._folder), self._folder.name
        if there and not self._resume:
            raise ValueError(
                f"checkpoint folder {folder!r} holds a run, which reached epoch "
                f"{there[-1][0]}: go on with it (resume=True), or name another folder"
            )
        if not there and self._holds_another_best():
            raise ValueError(
                f"checkpoint folder {folder!r} holds a {BEST}, which would be written "
                "over: name another folder"
            )
        damage = []
        for _, name in reversed(there):
            try:
                found = self._read(name)
            except (OSError, ValueError) as error:
                damage.append(str(error))
                continue
            for what in damage:
                warn(f"{what}; the run goes on from {name}", CheckpointWarning)
            self._check(found, addresses.joined(folder, name), run)
            return found
        if damage:
            raise ValueError(
                f"no checkpoint in {folder!r} can be read ({'; '.join(damage)}); to "
                "start again, pass another folder"
            )
        return None

    def _read(self, name: str) -> Checkpoint:
        with self._folder.file(name) as path:
            return checkpoints.read(path)

    def _holds_another_best(self) -> bool:
        """Return whether there is a best network, which is not one of a run that goes on."""
        if BEST not in self._folder.names():
            return False
        with self._folder.file(BEST) as path:
            return not (self._resume and checkpoints.is_best(path))

    def _find_best_file(self, found: Checkpoint) -> None:
        """Take over the best so far; if its file is gone, write it again or say that it is lost."""
        self._best = found.best
        if found.best is None:
            return
        try:
            with self._folder.file(BEST) as path, opened(path) as file:
                models.check(file)
        except (OSError, ValueError) as error:
            for epoch, name in epochs(self._folder):
                if epoch == found.best[0]:
                    with contextlib.suppress(OSError, ValueError):
                        self._best_pending = self._read(name).parameters
                        self._pending = found
                        return
            self._best = None
            warn(
                f"the best network so far is lost ({error}); {BEST} will be the best of the "
                "epochs from here on",
                CheckpointWarning,
            )

    def _check(self, found: Checkpoint, path: str, run: Run) -> None:
        """Raise ValueError for the checkpoint of another run."""
        new = json.loads(as_json(run.settings))
        old = dict(found.settings)
        if not run.network.seed_given:
            new["network"]["seed"] = old["network"]["seed"]  # each process draws another
        if different := checkpoints.differences(old, new):
            raise ValueError(
                f"{path} is of another run: {'; '.join(different)}. To train on in a new way, "
                "load the network from there and fit it with another checkpoint folder"
            )
        if found.slots.keys() != run.state.slots.keys():
            raise ValueError(
                f"{path} has the slots {[*found.slots]}; expected {[*run.state.slots]}"
            )
        if old["engine"] != new["engine"]:
            warn(
                f"the run began with the {old['engine']} engine and goes on with the "
                f"{new['engine']} one: it comes to the same numbers, but not to the same bits",
                CheckpointWarning,
            )


def _states(callbacks: Sequence[Callback]) -> list[tuple[str, dict[str, Any]]]:
    states = []
    for callback in callbacks:
        name = type(callback).__qualname__
        state = {}
        for key, value in callback.save_state().items():
            if isinstance(value, np.ndarray):
                state[key] = value.copy()
                continue
            try:
                state[key] = json.loads(as_json(value))
            except (TypeError, ValueError):
                raise TypeError(
                    f"{name}.save_state returned {key} = {value!r}; a checkpoint takes arrays and "
                    "what JSON knows"
                ) from None
        if state:
            states.append((name, state))
    return states


def state_of(callback: Callback, states: list[tuple[str, Mapping[str, Any]]]) -> Any:
    """Take the first state of a callback's class out of the list; None if there is none."""
    name = type(callback).__qualname__
    for i, (of, state) in enumerate(states):
        if of == name:
            del states[i]
            return state
    return None


def choose(
    checkpoint: str | os.PathLike[str] | None, every: int | timedelta, keep: int, resume: bool
) -> Keeper:
    """Check the arguments of `fit` that are about checkpoints, and give who keeps them."""
    if checkpoint is None and (every, keep, resume) == (1, 2, False) and type(resume) is bool:
        return Keeper()
    if isinstance(every, timedelta):
        if every < timedelta(0):
            raise ValueError(f"every must not be negative, got {every!r}")
    else:
        every = whole(integer(every, "every must be a number of epochs or a timedelta"), "every")
    keep = whole(keep, "keep")
    if not isinstance(resume, bool | np.bool_):
        raise TypeError(f"resume must be True or False, got {resume!r}")
    if checkpoint is None:
        if resume:
            raise ValueError("resume=True needs checkpoint=, the folder of the run to go on with")
        if (every, keep) != (1, 2):
            raise ValueError("every and keep need checkpoint=, a folder for the run")
        return Keeper()
    if not isinstance(checkpoint, str | os.PathLike):
        raise TypeError(f"checkpoint must be a folder or an address, got {checkpoint!r}")
    return _FolderKeeper(folder_of(checkpoint), every, keep, bool(resume))
