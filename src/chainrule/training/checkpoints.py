"""Checkpoints: what a run needs to go on as if it had never ended, in a folder of model files.

``epoch-000012.safetensors`` is a model file of the network after epoch 12 that holds more: the
optimiser's slots and the history as tensors, and in the description the step, what the run trains
with, and what its callbacks know. Nothing of the random numbers has to be stored: each is a
function of the network's seed and the epoch or step. ``best.safetensors`` is a model file with no
more than its epoch and loss. Both are written atomically, and their digest tells damage.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule._exports import exported
from chainrule.equations.arrays import is_mapped
from chainrule.equations.data import Samples
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.optimizers import Optimizer, Slots
from chainrule.equations.schedules import HasRate
from chainrule.storage import models
from chainrule.storage.container import opened
from chainrule.training.history import History

if TYPE_CHECKING:
    pass

Array = NDArray[Any]
BEST = "best.safetensors"
VERSION = 1  # of what a checkpoint has beside the model file
_NAME = re.compile(r"epoch-(\d{6,18})\.safetensors")
_LOOKED_AT = 1 << 18  # numbers of the data that are looked at in one go
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
_SETTINGS = (
    "engine", "optimizer", "batch_size", "clip_norm", "shuffle", "samples", "data",
    "validation_data", "columns",
)  # fmt: skip


@exported("chainrule")
class CheckpointWarning(UserWarning):
    """Warn that a run continues from an older checkpoint, or not to the same bits.

    Examples:
        >>> import warnings
        >>> import chainrule as cr
        >>> warnings.filterwarnings("error", category=cr.CheckpointWarning)  # doctest: +SKIP
    """


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


def serialize(network: FeedForward, checkpoint: Checkpoint) -> bytes:
    """Return the bytes of a checkpoint's file."""
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
    named = {f"{models.CHECKPOINT}.{name}": array for name, array in tensors.items()}
    return models.content(network, checkpoint.parameters, {models.CHECKPOINT: about}, named)


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint.

    Raises ValueError where the file is none, damaged, or from a newer version; OSError where it
    can't be read.
    """
    with opened(path) as file:
        network, own = models.check(file)
        if models.CHECKPOINT not in network:
            raise ValueError("a model file, but no checkpoint")
        about = network.pop(models.CHECKPOINT)
        if about.keys() == {"version", "best"}:
            raise ValueError("the best network of a run, but no checkpoint")
        _check(about)
        network.pop("digest", None)
        parameters = np.concatenate([file.get_tensor(name).ravel() for name in own])
        if not np.isfinite(parameters).all():
            raise ValueError("a parameter is NaN or infinite")
        tensors = {
            name.removeprefix(f"{models.CHECKPOINT}."): file.get_tensor(name)
            for name in set(file.keys()).difference(own)
        }
        try:
            return _build(about, network, parameters, tensors)
        except (KeyError, IndexError, AttributeError) as error:  # whole, but from a stranger
            raise ValueError(f"a checkpoint that does not fit together ({error!r})") from None


def is_best(path: str) -> bool:
    """Return whether a file is the best network of a run."""
    try:
        with opened(path) as file:
            about, _ = models.check(file)
    except (OSError, ValueError):
        return False
    return models.CHECKPOINT in about


def _check(about: dict[str, Any]) -> None:
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
    settings = {
        **{key: about["settings"][key] for key in _SETTINGS},
        # Older files lack these.
        **{key: about["settings"].get(key) for key in ("micro_batches", "local_steps")},
        "network": network,
    }
    if not isinstance(settings["optimizer"], dict):
        raise ValueError(f"its optimizer is {settings['optimizer']!r}")
    best = None if about["best"] is None else (about["best"][0], about["best"][1])
    return Checkpoint(
        settings, about["epoch"], about["step"], parameters, slots, history, callbacks,
        about["finished"], best,
    )  # fmt: skip


def epoch_of(name: str) -> int | None:
    """Return the epoch of a checkpoint's file, None for another one."""
    match = _NAME.fullmatch(name)
    return None if match is None else int(match[1])


# --- what a run trains, on what, and how ----------------------------------------------------------


def fingerprint(samples: Samples | None, network: FeedForward) -> str | None:
    """Return a digest of samples as training sees them; of a memory map's many, of some rows."""
    if samples is None:
        return None
    n = len(samples)
    count = max(16, _LOOKED_AT // (network.sizes[0] + network.sizes[-1]))
    import hashlib  # for runs that are kept

    digest = hashlib.blake2b(str(n).encode(), digest_size=16)
    pieces: list[Any] = [slice(start, start + count) for start in range(0, n, count)]
    if is_mapped(samples.X):  # to read all of it would take as long as an epoch
        pieces = [np.unique(np.linspace(0, n - 1, min(count, n)).astype(np.int64))]
    for rows in pieces:
        for part in samples.rows(rows, network.sizes[-1], network.dtype):
            digest.update(b"none" if part is None else np.ascontiguousarray(part).data)
    return digest.hexdigest()


def plain(value: object) -> Any:
    """Return an optimiser or a schedule, and what it holds, as what JSON knows."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, np.ndarray):
        import hashlib

        return hashlib.sha256(np.ascontiguousarray(value).data).hexdigest()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    held: dict[str, Any] = {}
    if dataclasses.is_dataclass(value):
        held = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif isinstance(value, Optimizer | HasRate):
        held = getattr(value, "__dict__", {})
    return {"name": type(value).__qualname__, **{key: plain(item) for key, item in held.items()}}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
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
    for key in ("batch_size", "clip_norm", "micro_batches", "local_steps", "shuffle", "samples"):
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
                f"{name} with other numbers here (split or shuffled again, without a seed?)"
            )
    return found


def _short(value: object) -> str:
    if isinstance(value, dict) and "name" in value:
        inner = (f"{key}={_short(item)}" for key, item in value.items() if key != "name")
        return f"{value['name']}({', '.join(inner)})"
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
