"""The folder of a watched run: what stands in it, and how it is written beside the training.

    run.json              what was watched: names and shapes, the optimiser, how often
    steps.jsonl           a line for each step: loss, learning rates; norms where it was recorded
    samples.jsonl         a line for each recorded step: rows, losses and gradient norms
    rows.safetensors      the losses of each row, over the run
    segments/000120/      the state before step 120, and the batches from there on
    spikes/000133/        the state before a spike, and its batch
    spare/                files of segments that are no longer kept, to be written over

All of it is bounded. Lines are JSON, arrays are safetensors; nothing is a pickle.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from queue import Queue
from typing import Any

from chainrule.diagnose.spares import Spares
from chainrule.equations.checks import warn
from chainrule.equations.numbers import plain
from chainrule.storage.atomic import write_atomically

VERSION = 2
RUN, STEPS, SAMPLES, ROWS = "run.json", "steps.jsonl", "samples.jsonl", "rows.safetensors"
SEGMENTS, SPIKES, SPARE = "segments", "spikes", "spare"
MOST_LINES = 50_000  # of steps.jsonl; then those of steps that were not recorded are thinned
MOST_BYTES = 16 << 20  # of samples.jsonl, before it becomes the old one of two
_WAITING = 64  # jobs that may wait; more hold the training up rather than fill the memory


_encoder = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def encoded(value: Any) -> str:
    """Return strict JSON in one line: what is not finite is a text, as in `plain`."""
    try:
        return _encoder.encode(value)
    except ValueError:  # a number that is not finite
        return _encoder.encode(_plain(value))


def encoded_numbers(values: Sequence[float]) -> str:
    """Return a list of numbers as strict JSON, to the nine digits that tell float32 apart."""
    if not values:
        return "[]"
    if not math.isfinite(sum(values)):
        return encoded([float(f"{v:.9g}") for v in values])
    return f"[{('%.9g,' * len(values) % tuple(values))[:-1]}]"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return plain(value)


def number(value: Any) -> float:
    """Return the number that JSON holds, of which some are texts."""
    return math.nan if value is None else float(value)


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """Read a file of JSON lines; a last line that a kill has cut off is left out."""
    if not path.is_file():
        return
    with open(path, encoding="utf-8") as file:
        for line in file:
            if not line.endswith("\n"):
                return
            yield json.loads(line)


def name_of(step: int) -> str:
    """Return the name of a step's folder or file, which sorts as the steps do."""
    return f"{step:08d}"


def begin(folder: str | os.PathLike[str], about: Mapping[str, Any]) -> Path:
    """Make the folder of a run, in place of an earlier one.

    Raises ValueError where the folder holds anything else, which stays as it is.
    """
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise ValueError(f"folder is {str(path)!r}, which is a file. Choose another folder")
    if path.is_dir() and any(path.iterdir()) and not (path / RUN).is_file():
        raise ValueError(
            f"folder is {str(path)!r}, which holds files but no watched run. Choose another "
            "folder, or empty it"
        )
    path.mkdir(parents=True, exist_ok=True)
    for name in (STEPS, SAMPLES, ROWS, f"old-{SAMPLES}"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path / name)
    for name in (SEGMENTS, SPIKES, SPARE):
        shutil.rmtree(path / name, ignore_errors=True)
        (path / name).mkdir()
    write_atomically(path / RUN, encoded({"version": VERSION, **about}).encode())
    return path


def rename_over(path: Path, write: Callable[[str], object]) -> None:
    """Write a file under another name, then give it its own.

    A kill leaves the old file or the new one. Unlike `write_atomically` it does not wait for the
    disk, as a recording is not worth that after every step.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    write(os.fspath(temporary))
    os.replace(temporary, path)


class Writer:
    """Do jobs one after the other in a thread, so that the training does not wait for the disk.

    A job that fails does not end the run: a warning tells it, once.
    """

    def __init__(self) -> None:
        self._jobs: Queue[Callable[[], object] | None] = Queue(_WAITING)
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._warned = False

    def put(self, job: Callable[..., object], *args: Any) -> None:
        """Hand over a job, with its arguments; warn if an earlier one has failed."""
        self.put_quietly(job, *args)
        self.complain()

    def attempt(self, job: Callable[..., object], *args: Any, **options: Any) -> None:
        """Do a short job at once, in this thread; warn if it or an earlier one has failed."""
        try:
            job(*args, **options)
        except Exception as error:
            self._error = self._error or error
        self.complain()

    def put_quietly(self, job: Callable[..., object], *args: Any) -> None:
        """Hand over a job, with its arguments."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name="chainrule-watch", daemon=True)
            self._thread.start()
        self._jobs.put(partial(job, *args))

    def wait(self) -> None:
        """Wait until all jobs are done."""
        if self._thread is not None and self._thread.is_alive():
            self._jobs.join()

    def flush(self) -> None:
        """Wait until all jobs are done, and warn of what failed."""
        self.wait()
        self.complain()

    def close(self) -> None:
        """Do what waits, and end the thread."""
        self.flush()
        if self._thread is not None and self._thread.is_alive():
            self._jobs.put(None)
            self._thread.join()
        self._thread = None

    def complain(self) -> None:
        """Warn of the first job that failed, once."""
        if self._error is not None and not self._warned:
            self._warned = True
            error = self._error
            warn(
                f"watch could not write ({type(error).__name__}: {error}); the training goes on, "
                "and what could not be written is missing from the recording"
            )

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                if job is None:
                    return
                job()
            except Exception as error:
                self._error = self._error or error
            finally:
                self._jobs.task_done()


class Lines:
    """Append lines to ``steps.jsonl``, thinned where they become too many."""

    def __init__(self, path: Path, most: int = MOST_LINES) -> None:
        self.path, self._most, self._count = path, most, 0

    def add(self, line: Mapping[str, Any]) -> None:
        """Append a line."""
        _append(self.path, encoded(line) + "\n")
        self._count += 1
        if self._count > self._most:
            self._thin()

    def _thin(self) -> None:
        """Keep every second line of those kinds that are more than a quarter of the limit."""
        found = list(lines(self.path))
        kinds = [bool(line.get("recorded")) for line in found]
        kept, seen = [], [0, 0]
        for line, kind in zip(found, kinds, strict=True):
            seen[kind] += 1
            if kinds.count(kind) <= self._most // 4 or seen[kind] % 2 or line.get("spike"):
                kept.append(line)
        text = "".join(encoded(line) + "\n" for line in kept)
        rename_over(self.path, lambda name: Path(name).write_text(text, encoding="utf-8"))
        self._count = len(kept)


class Rotated:
    """Append lines to ``samples.jsonl``, of which the last two files' worth are kept."""

    def __init__(self, path: Path, most: int = MOST_BYTES) -> None:
        self.path, self._most, self._size = path, most, 0

    def add(self, line: Mapping[str, Any] | str) -> None:
        """Append a line, which may be JSON already."""
        text = (line if isinstance(line, str) else encoded(line)) + "\n"
        if self._size + len(text) > self._most and self._size:
            os.replace(self.path, self.path.with_name(f"old-{self.path.name}"))
            self._size = 0
        _append(self.path, text)
        self._size += len(text)


def _append(path: Path, text: str) -> None:
    """Append a text by one write: `open` takes five times the time."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o666)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def prune(folder: Path, keep: int, first: int = 0, spares: Spares | None = None) -> None:
    """Delete folders of steps until ``keep`` are left, the ``first`` ones and the latest.

    Their files become spares, if there are any.
    """
    names = sorted(each.name for each in folder.iterdir() if each.is_dir())
    for name in names[first : first + max(len(names) - keep, 0)]:
        if spares is not None:
            spares.refill(folder / name)
        shutil.rmtree(folder / name, ignore_errors=True)
