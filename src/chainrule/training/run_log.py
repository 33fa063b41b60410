"""The numbers of a recorded run, step by step, as loggers write them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from time import time_ns
from typing import Any

from chainrule.diagnose import folder as folders
from chainrule.diagnose import noise
from chainrule.diagnose.record import RunRecord

_RECENT = 50  # recorded steps that the noise scale is taken over, as a `RunRecord` does
_NOT_SENT = ("version", "parameters", "writer", "data")  # of what a run says of itself
_AT_ONCE, _LONGEST = 1000, 500  # MLflow's own limits, of metrics and of characters


def record_of(run: RunRecord | str | os.PathLike[str]) -> RunRecord:
    """Return a recorded run, of which a folder may be given.

    Raises TypeError for anything else, ValueError where the folder holds no run.
    """
    if isinstance(run, RunRecord):
        run.flush()
        return run
    if not isinstance(run, str | os.PathLike):
        raise TypeError(f"run is {run!r}; expected a recorded run, or its folder")
    path = Path(run)
    if not (path / folders.RUN).is_file():
        raise ValueError(f"run is {str(path)!r}, which holds no watched run (no {folders.RUN})")
    return RunRecord(path, None)


def numbers_of(run: RunRecord, after: int = -1) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield the numbers of each step after one, by name.

    All steps have "loss" and, where the optimiser took a step, "learning_rate" ("learning_rate/1"
    of a second group); recorded ones "gradient_norm", "noise_scale", and of each parameter
    "weight/NAME", "gradient/NAME" and "update_ratio/NAME", in which "W[1]" is "W.1": neither
    TensorBoard nor MLflow has brackets.
    """
    names = [_plain(about["name"]) for about in run.about["parameters"]]
    recent: deque[tuple[float, float, int]] = deque(maxlen=_RECENT)
    for line in run.steps:
        found: dict[str, Any] = {"loss": line["loss"]}
        for group, rate in enumerate(line.get("rates") or ()):
            found[f"learning_rate/{group}" if group else "learning_rate"] = rate
        if line.get("recorded"):
            found["gradient_norm"] = line["norm"]
            for i, name in enumerate(names):
                weight, update = (folders.number(line[kind][i]) for kind in ("weights", "updates"))
                found[f"weight/{name}"] = weight
                if line["gradients"][i] is not None:
                    found[f"gradient/{name}"] = line["gradients"][i]
                if weight:
                    found[f"update_ratio/{name}"] = update / weight
        if "noise" in line:
            squares, mean = map(folders.number, line["noise"])
            recent.append((squares, mean, line["samples"]))
            found["noise_scale"] = noise.scale(recent)
        if line["step"] > after:
            yield line["step"], {name: folders.number(value) for name, value in found.items()}


def about(run: RunRecord) -> dict[str, Any]:
    """Return what was watched, as far as it is worth a parameter of MLflow."""
    return {key: value for key, value in run.about.items() if key not in _NOT_SENT}


def to_tensorboard(folder: Path, run: RunRecord, done: int) -> int:
    """Write the steps after one as scalars, and spikes as texts; return the last step."""
    writer = import_module("tensorboardX").SummaryWriter(
        str(folder), purge_step=done + 1, filename_suffix=f".{time_ns()}"
    )
    last = done
    for last, numbers in numbers_of(run, done):
        for name, value in numbers.items():
            writer.add_scalar(name, value, last)
    for spike in run.spikes():
        if spike.step > done:
            writer.add_text("spikes", str(spike), spike.step)
    writer.close()
    return last


def to_mlflow(client: Any, run_id: str, run: RunRecord, done: int) -> int:
    """Send the steps after one as metrics, and spikes as a tag; return the last step."""
    kind, now, last = import_module("mlflow.entities").Metric, time_ns() // 1_000_000, done
    held: list[Any] = []
    for last, numbers in numbers_of(run, done):
        held += [kind(name, value, now, last) for name, value in numbers.items()]
    for start in range(0, len(held), _AT_ONCE):
        client.log_batch(run_id, metrics=held[start : start + _AT_ONCE])
    if spikes := "; ".join(map(str, run.spikes())):
        client.set_tag(run_id, "spikes", spikes[:_LONGEST])
    return last


def _plain(name: str) -> str:
    """Return a name without brackets."""
    return name.replace("[", ".").replace("]", "")
