"""Checkpoints: what a run needs to go on as if it had never ended, in a folder of model files.

``epoch-000012.safetensors`` is a model file of the network after epoch 12 that holds more: the
optimiser's slots and the history as tensors, and in the description the step, what the run trains
with, and what its callbacks know. Nothing of the random numbers has to be stored: each is a
function of the network's seed and the epoch or step. ``best.safetensors`` is a plain model file.
Both are written atomically, and their digest tells damage.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule import files
from chainrule.callbacks import Callback, Run
from chainrule.checks import whole
from chainrule.data import Samples
from chainrule.history import History
from chainrule.network import Network
from chainrule.optimizers import Slots

Array = NDArray[Any]
BEST = "best.safetensors"
VERSION = 1  # of what a checkpoint has beside the model file
_NAME = re.compile(r"epoch-(\d{6,18})\.safetensors")
_TEMPORARY = ".chainrule-checkpoint-"
_LOOKED_AT = 1 << 18  # numbers of the data that go into its fingerprint
_KEYS: dict[str, type | tuple[type, ...]] = {
    "version": int,
    "epoch": int,
    "step": int,
    "finished": bool,
    "stop_reason": (str, type(None)),
    "best_epoch": (int, type(None)),
    "best": (list, type(None)),
    "settings": dict,
    "slots": list,
    "callbacks": list,
}


class CheckpointWarning(UserWarning):
    """A run goes on, but from an older checkpoint, or not to the same bits."""


@dataclass(frozen=True)
class Checkpoint:
    """A run after one of its epochs.

    ``settings`` say what is trained, on what, and how; ``parameters`` and ``slots`` are flat
    vectors, ``callbacks`` pairs of a class name and what `Callback.save_state` gave. ``finished``
    tells that a callback ended the run for good. ``best`` is the best epoch so far, and its loss.
    """

    settings: Mapping[str, Any]
    epoch: int
    step: int
    parameters: Array
    slots: Slots
    history: History
    callbacks: Sequence[tuple[str, Mapping[str, Any]]] = ()
    finished: bool = False
    best: tuple[int, float] | None = None


# --- one file -------------------------------------------------------------------------------------


def serialize(network: Network, checkpoint: Checkpoint) -> bytes:
    """Give the bytes of a checkpoint's file."""
    history = checkpoint.history
    settings = {key: value for key, value in checkpoint.settings.items() if key != "network"}
    tensors = {f"slots.{name}": values for name, values in checkpoint.slots.items()}
    tensors["history"] = np.array(list(history.values()), dtype=np.float64)
    states = []
    for i, (name, state) in enumerate(checkpoint.callbacks):
        arrays = {key: value for key, value in state.items() if isinstance(value, np.ndarray)}
        tensors |= {f"callbacks.{i}.{key}": array for key, array in arrays.items()}
        values = {key: value for key, value in state.items() if key not in arrays}
        states.append({"name": name, "values": values, "arrays": list(arrays)})
    about = {
        "version": VERSION,
        "epoch": checkpoint.epoch,
        "step": checkpoint.step,
        "finished": checkpoint.finished,
        "stop_reason": history.stop_reason,
        "best_epoch": history._best_epoch,
        "best": checkpoint.best,
        "settings": settings,
        "slots": list(checkpoint.slots),
        "callbacks": states,
    }
    named = {f"{files.CHECKPOINT}.{name}": array for name, array in tensors.items()}
    return files.content(network, checkpoint.parameters, {files.CHECKPOINT: about}, named)


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint.

    Raises ValueError where the file is none, damaged, or from a newer version; OSError where it
    can't be read.
    """
    with files.opened(path) as file:
        network, own = files.check(file)
        if files.CHECKPOINT not in network:
            raise ValueError("a model file, but no checkpoint")
        about = _check(network.pop(files.CHECKPOINT))
        network.pop("digest", None)
        parameters = np.concatenate([file.get_tensor(name).ravel() for name in own])
        tensors = {
            name.removeprefix(f"{files.CHECKPOINT}."): file.get_tensor(name)
            for name in set(file.keys()).difference(own)
        }
        try:
            return _build(about, network, parameters, tensors)
        except (KeyError, IndexError, AttributeError) as error:  # whole, but from a stranger
            raise ValueError(f"a checkpoint that does not fit together ({error!r})") from None


def _check(about: dict[str, Any]) -> dict[str, Any]:
    if type(about.get("version")) is not int:
        raise ValueError("its description of the run has no version")
    if about["version"] > VERSION:
        raise ValueError(
            f"written by a newer chainrule, as checkpoint {about['version']}; this one reads "
            f"{VERSION}: update chainrule"
        )
    for key, kind in _KEYS.items():
        if key not in about:
            raise ValueError(f"its description of the run lacks {key!r}")
        if not isinstance(about[key], kind):
            raise ValueError(f"its {key} is {about[key]!r}, which is of the wrong kind")
    return about


def _build(
    about: dict[str, Any], network: dict[str, Any], parameters: Array, tensors: dict[str, Array]
) -> Checkpoint:
    history = History(about["settings"]["columns"])
    columns = tensors["history"]
    if columns.ndim != 2 or columns.shape != (len(history), about["epoch"]):
        raise ValueError(f"its history has the shape {columns.shape}")
    for row in columns.T.tolist():
        history.append(dict(zip(history, row, strict=True)))
    history._columns["epoch"] = [int(epoch) for epoch in history._columns["epoch"]]
    history.stop_reason, history.best_epoch = about["stop_reason"], about["best_epoch"]
    slots = {name: tensors[f"slots.{name}"] for name in about["slots"]}
    if any(slot.shape != parameters.shape for slot in slots.values()):
        raise ValueError("its slots do not fit its parameters")
    callbacks = []
    for i, state in enumerate(about["callbacks"]):
        arrays = {key: tensors[f"callbacks.{i}.{key}"] for key in state["arrays"]}
        callbacks.append((state["name"], {**state["values"], **arrays}))
    settings = {**about["settings"], "network": network}
    best = None if about["best"] is None else (about["best"][0], about["best"][1])
    return Checkpoint(
        settings, about["epoch"], about["step"], parameters, slots, history, callbacks,
        about["finished"], best,
    )  # fmt: skip


# --- what a run trains, on what, and how ----------------------------------------------------------


def fingerprint(samples: Samples | None, network: Network) -> str | None:
    """Give a digest of samples as training sees them: of all of them if few, else of some rows."""
    if samples is None:
        return None
    count = max(16, _LOOKED_AT // (network.sizes[0] + network.sizes[-1]))
    rows = np.unique(np.linspace(0, len(samples) - 1, min(count, len(samples))).astype(np.int64))
    digest = hashlib.blake2b(str(len(samples)).encode(), digest_size=16)
    for part in samples.rows(rows, network.sizes[-1], network.dtype):
        digest.update(b"none" if part is None else np.ascontiguousarray(part).data)
    return digest.hexdigest()


def plain(value: object) -> Any:
    """Give an optimiser or a schedule, and what it holds, as what JSON knows."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if dataclasses.is_dataclass(value):
        held = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    else:
        held = dict(getattr(value, "__dict__", {}))
    return {"name": type(value).__qualname__, **{key: plain(item) for key, item in held.items()}}


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Name what differs between the settings of two runs, in words."""
    found = []
    for key in ("network", "optimizer"):
        a, b = dict(old[key]), dict(new[key])
        if a.pop("name", None) != b.pop("name", None):
            found.append(f"{key} {_short(old[key])} there, {_short(new[key])} here")
            continue
        found += [
            f"{key} {part} {_short(a.get(part))} there, {_short(b.get(part))} here"
            for part in {**b, **a}
            if a.get(part) != b.get(part)
        ]
    for key in ("batch_size", "clip_norm", "shuffle", "samples"):
        if old[key] != new[key]:
            found.append(f"{key} {_short(old[key])} there, {_short(new[key])} here")
    for name in [name for name in old["columns"] if name not in new["columns"]]:
        found.append(f"{name} is measured there, not here")
    for name in [name for name in new["columns"] if name not in old["columns"]]:
        found.append(f"{name} is measured here, not there")
    if found:
        return found
    for key, name in (("data", "X, y or their weights"), ("validation_data", "validation_data")):
        if old[key] != new[key]:
            found.append(
                f"{name} with other numbers here (split or shuffled anew, without a seed?)"
            )
    return found


def _short(value: object) -> str:
    if isinstance(value, dict) and "name" in value:
        inner = (f"{key}={_short(item)}" for key, item in value.items() if key != "name")
        return f"{value['name']}({', '.join(inner)})"
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


# --- the folder of a run --------------------------------------------------------------------------


class Keeper:
    """Keeps the checkpoints of a run; this one keeps none."""

    @contextmanager
    def keeping(self, run: Run, callbacks: Sequence[Callback]) -> Iterator[Checkpoint | None]:
        """Give where the run goes on, or None; when it ends, keep its last whole epoch."""
        yield None

    def epoch_ended(self, run: Run) -> None:
        """See a whole epoch, and keep it if it is time to."""


class _FolderKeeper(Keeper):
    """Keeps the last checkpoints and the best network in a folder."""

    def __init__(self, folder: Path, every: int | timedelta, keep: int, resume: bool) -> None:
        self._folder, self._every, self._keep, self._resume = folder, every, keep, resume
        self._callbacks: Sequence[Callback] = ()
        self._pending: Checkpoint | None = None  # the last whole epoch, if it is not on the disk
        self._best: tuple[int, float] | None = None
        self._best_pending: Array | None = None  # its parameters, if they are not on the disk
        self._written = monotonic()

    @contextmanager
    def keeping(self, run: Run, callbacks: Sequence[Callback]) -> Iterator[Checkpoint | None]:
        self._callbacks = callbacks
        with _locked(self._folder):
            found = self._find(run)
            if found is None:
                self._pending = self._snapshot(run)
            else:
                self._find_best_file(found)
            for path in self._folder.glob(f"{_TEMPORARY}*.tmp"):  # left by a kill
                path.unlink(missing_ok=True)
            try:
                yield found
            finally:
                if self._pending is not None:
                    self._write(run, self._pending)

    def epoch_ended(self, run: Run) -> None:
        self._pending = self._snapshot(run)
        if isinstance(self._every, timedelta):
            due = monotonic() - self._written >= self._every.total_seconds()
        else:
            due = run.epoch % self._every == 0
        if due:
            self._write(run, self._pending)

    def _snapshot(self, run: Run) -> Checkpoint:
        self._find_best(run)
        parameters = run.network.parameters.copy()
        states = _states(self._callbacks) if run.epoch else []  # they have not started yet
        if self._best is not None and self._best[0] == run.epoch:
            self._best_pending = parameters
        return Checkpoint(
            run.settings, run.epoch, run.state.step, parameters,
            {name: values.copy() for name, values in run.state.slots.items()},
            run.history.head(0), states, run.finished, self._best,
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
        checkpoint.history.take(run.history, checkpoint.epoch)
        best, self._best_pending = self._best_pending, None
        if best is not None:
            content = files.content(network, best)
            files.write_atomically(self._folder / BEST, content, _TEMPORARY)
        path = self._folder / f"epoch-{checkpoint.epoch:06d}.safetensors"
        files.write_atomically(path, serialize(network, checkpoint), _TEMPORARY)
        self._written = monotonic()
        for _, old in checkpoints(self._folder)[: -self._keep]:
            old.unlink(missing_ok=True)

    def _find(self, run: Run) -> Checkpoint | None:
        """Give the newest checkpoint that is whole; warn of those that are not."""
        there = checkpoints(self._folder)
        if there and not self._resume:
            raise ValueError(
                f"checkpoint folder {str(self._folder)!r} holds a run, which reached epoch "
                f"{there[-1][0]}: go on with it (resume=True), or name another folder"
            )
        damage = []
        for _, path in reversed(there):
            try:
                found = read(path)
            except ValueError as error:
                damage.append(str(error))
                continue
            for what in damage:
                warnings.warn(
                    f"{what}; the run goes on from {path.name}", CheckpointWarning, stacklevel=6
                )
            self._check(found, path, run)
            return found
        if damage:
            raise ValueError(
                f"no checkpoint in {str(self._folder)!r} can be read ({'; '.join(damage)}); to "
                "begin anew, name another folder"
            )
        return None

    def _find_best_file(self, found: Checkpoint) -> None:
        """Take over the best so far; if its file is gone, write it again or say that it is lost."""
        self._best = found.best
        if found.best is None:
            return
        try:
            with files.opened(self._folder / BEST) as file:
                files.check(file)
        except (OSError, ValueError) as error:
            for epoch, path in checkpoints(self._folder):
                if epoch == found.best[0]:
                    with contextlib.suppress(OSError, ValueError):
                        self._best_pending = read(path).parameters
                        self._pending = found
                        return
            self._best = None
            warnings.warn(
                f"the best network so far is lost ({error}); {BEST} will be the best of the "
                "epochs from here on",
                CheckpointWarning,
                stacklevel=6,
            )

    def _check(self, found: Checkpoint, path: Path, run: Run) -> None:
        """Raise ValueError for the checkpoint of another run."""
        new = json.loads(files.as_json(run.settings))
        old = dict(found.settings)
        if not run.network._seed_given:
            new["network"]["seed"] = old["network"]["seed"]  # it is drawn anew in each process
        if differences := _differences(old, new):
            raise ValueError(
                f"{path} is of another run: {'; '.join(differences)}. To train on in a new way, "
                "load the network from there and fit it with another checkpoint folder"
            )
        if old["engine"] != new["engine"]:
            warnings.warn(
                f"the run began with the {old['engine']} engine and goes on with the "
                f"{new['engine']} one: it comes to the same numbers, but not to the same bits",
                CheckpointWarning,
                stacklevel=7,
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
                state[key] = json.loads(files.as_json(value))
            except (TypeError, ValueError):
                raise TypeError(
                    f"{name}.save_state gave {key} = {value!r}; a checkpoint takes arrays and what "
                    "JSON knows"
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


def checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """Give the epochs and paths of the checkpoints in a folder, in order; other files stay out."""
    found = [(_NAME.fullmatch(path.name), path) for path in folder.iterdir()]
    return sorted((int(match[1]), path) for match, path in found if match)


def keeper(
    checkpoint: str | os.PathLike[str] | None, every: int | timedelta, keep: int, resume: bool
) -> Keeper:
    """Check the arguments of `fit` that are about checkpoints, and give who keeps them."""
    if isinstance(every, timedelta):
        if every < timedelta(0):
            raise ValueError(f"every must not be negative, got {every!r}")
    elif isinstance(every, bool) or not isinstance(every, int | np.integer):
        raise TypeError(f"every must be a number of epochs or a timedelta, got {every!r}")
    else:
        every = whole(int(every), "every")
    keep = whole(keep, "keep")
    if not isinstance(resume, bool | np.bool_):
        raise TypeError(f"resume must be True or False, got {resume!r}")
    if checkpoint is None:
        if resume:
            raise ValueError("resume=True needs checkpoint=, the folder of the run to go on with")
        return Keeper()
    if not isinstance(checkpoint, str | os.PathLike):
        raise TypeError(f"checkpoint must be the path of a folder, got {checkpoint!r}")
    return _FolderKeeper(Path(checkpoint), every, keep, bool(resume))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Make the folder if it is not there, and keep other processes from writing a run into it.

    Raises ValueError where one does; OSError where the folder can't be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise PermissionError(13, "Permission denied", str(folder))
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # a kill lets go of it too
        except BlockingIOError:
            raise ValueError(
                f"checkpoint folder {str(folder)!r} is in use: another fit writes into it"
            ) from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(descriptor)
