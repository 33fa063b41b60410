"""The folder of a watched run: what stands in it, and how it is written beside the training.

    run.json              what was watched: names and shapes, the optimiser, how often
    steps.jsonl           a line for each step: loss, learning rates; norms where it was recorded
    samples.jsonl         a line for each recorded step: rows, losses and gradient norms
    rows.safetensors      the losses of each row, over the run
    segments/000120/      the state before step 120, and the batches from there on
    spikes/000133/        the state before a spike, and its batch
    end.json              that the run has ended, and with which error
    network.safetensors   the network as it was at first, of a run of our own
    data.safetensors      its samples, which its batches are made of
    spare/                files of segments that are no longer kept, to be written over

All of it is bounded. Lines are JSON, arrays are safetensors; nothing is a pickle.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from queue import Queue
from typing import Any

from chainrule.diagnose import process
from chainrule.diagnose.spares import Spares
from chainrule.equations.checks import warn
from chainrule.equations.numbers import plain
from chainrule.storage.atomic import write_atomically

VERSION = 2
RUN, STEPS, SAMPLES, ROWS = "run.json", "steps.jsonl", "samples.jsonl", "rows.safetensors"
END = "end.json"
SEGMENTS, SPIKES, SPARE = "segments", "spikes", "spare"
NETWORK, DATA = "network.safetensors", "data.safetensors"
MOST_LINES = 50_000  # of steps.jsonl; then those of steps that were not recorded are thinned
MOST_BYTES = 16 << 20  # of samples.jsonl, before it becomes the old one of two
_STEP = re.compile(rb'^\{"step":(\d+),[^\n]*\n', re.MULTILINE)
_WAITING = 64  # jobs that may wait; more hold the training up rather than fill the memory


_encoder = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def encoded(value: Any) -> str:
    """Return strict JSON in one line: what is not finite is a text, as in `plain`."""
    try:
        return _encoder.encode(value)
    except (TypeError, ValueError):  # numbers of NumPy, or some that are not finite
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


def read_about(folder: Path) -> dict[str, Any]:
    """Return what ``run.json`` says of the run in a folder.

    Raises ValueError where there is no run that this version reads.
    """
    path = folder / RUN
    if not folder.exists():
        raise ValueError(
            f"folder is {str(folder)!r}, which does not exist and holds no watched run"
        )
    if not folder.is_dir():
        raise ValueError(
            f"folder is {str(folder)!r}, which is a file; expected the folder that watch has "
            "written: it holds no watched run"
        )
    if not path.is_file():
        raise ValueError(f"folder is {str(folder)!r}, which holds no watched run (no {RUN})")
    about = _parsed(path.read_bytes())
    if about is None:
        raise ValueError(f"{path} is damaged: it is not a JSON object. watch writes it once, whole")
    if about.get("version") != VERSION:
        raise ValueError(
            f"{folder} was written by another version of chainrule (format "
            f"{about.get('version')}; expected {VERSION}). Read it with the version that wrote it"
        )
    return about


def _parsed(text: str | bytes) -> dict[str, Any] | None:
    """Return a JSON object, or None where a text is none."""
    try:
        found = json.loads(text)
    except ValueError:  # UnicodeDecodeError is one
        return None
    return found if isinstance(found, dict) else None


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """Read a file of JSON lines; a last line that a kill has cut off is left out.

    Warns of lines that are damaged, and leaves them out.
    """
    if not path.is_file():
        return
    damaged = []
    with open(path, "rb") as file:
        for i, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                break
            found = _parsed(line)
            if found is None or not isinstance(found.get("step"), int):
                damaged.append(i)
            else:
                yield found
    if damaged:
        some = f"{len(damaged)} lines are" if len(damaged) > 1 else "a line is"
        warn(f"{some} damaged, from line {damaged[0]} of {path} on, and left out")


def line_of(path: Path, step: int) -> dict[str, Any] | None:
    """Return the line of a step, without reading the others into values; None if there is none."""
    key, data = b'{"step":%d,' % step, _bytes(path)
    start = 0 if data.startswith(key) else data.find(b"\n" + key) + 1
    if start == 0 and not data.startswith(key):
        return None
    end = data.find(b"\n", start)
    return None if end < 0 else _parsed(data[start:end])


def steps_of(path: Path) -> list[int]:
    """Return the steps that have a line in a file, in its order."""
    return [int(found) for found in _STEP.findall(_bytes(path))]


def last_of(path: Path, mark: bytes) -> dict[str, Any] | None:
    """Return the last whole line that holds a mark; None if there is none."""
    data = _bytes(path)
    at = data.rfind(mark, 0, data.rfind(b"\n") + 1)
    return None if at < 0 else _parsed(data[data.rfind(b"\n", 0, at) + 1 : data.find(b"\n", at)])


def with_row(path: Path, row: int) -> Iterator[dict[str, Any]]:
    """Read the lines of ``samples.jsonl`` whose rows hold a row, the last one first."""
    held = re.compile(rb'"rows":\[(?:[\d,]*,)?%d[,\]]' % row)
    for text in reversed(_bytes(path).splitlines(keepends=True)):
        found = _parsed(text) if text.endswith(b"\n") and held.search(text) else None
        if found is not None:
            yield found


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def name_of(step: int) -> str:
    """Return the name of a step's folder or file, which sorts as the steps do."""
    return f"{step:08d}"


def check(folder: str | os.PathLike[str]) -> Path:
    """Return the path of a folder that a run can be written to.

    Raises ValueError where the folder holds anything else than a run.
    """
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise ValueError(f"folder is {str(path)!r}, which is a file. Choose another folder")
    if path.is_dir() and any(path.iterdir()) and not (path / RUN).is_file():
        raise ValueError(
            f"folder is {str(path)!r}, which holds files but no watched run. Choose another "
            "folder, or empty it"
        )
    return path


def begin(folder: str | os.PathLike[str], about: Mapping[str, Any]) -> Path:
    """Make the folder of a run, in place of an earlier one.

    Raises ValueError where the folder holds anything else, which stays as it is.
    """
    path = check(folder)
    path.mkdir(parents=True, exist_ok=True)
    for name in (END, STEPS, SAMPLES, ROWS, f"old-{SAMPLES}", NETWORK, DATA):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path / name)
    for name in (SEGMENTS, SPIKES, SPARE):
        shutil.rmtree(path / name, ignore_errors=True)
        (path / name).mkdir()
    about = {"version": VERSION, **about, "writer": process.described()}
    write_atomically(path / RUN, encoded(about).encode())
    return path


def cut(path: Path, step: int) -> None:
    """Take out of a run's folder what is of a step or of later ones, which will come again.

    The run goes on in this process.
    """
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path / END)
    about = {**read_about(path), "writer": process.described()}
    write_atomically(path / RUN, encoded(about).encode())
    for name in (STEPS, f"old-{SAMPLES}", SAMPLES):
        if (path / name).is_file():
            kept = [line for line in lines(path / name) if line["step"] < step]
            text = "".join(encoded(line) + "\n" for line in kept)
            rename_over(path / name, lambda to, text=text: Path(to).write_text(text, "utf-8"))  # type: ignore[misc]
    for kind in (SEGMENTS, SPIKES):
        for each in (path / kind).glob("*"):
            if not each.name.isdigit() or int(each.name) >= step:
                shutil.rmtree(each, ignore_errors=True)


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
        self.path, self._most = path, most
        self._count = sum(1 for _ in lines(path))

    def add(self, *added: Mapping[str, Any]) -> None:
        """Append lines."""
        _append(self.path, "".join(encoded(line) + "\n" for line in added))
        self._count += len(added)
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
        self.path, self._most = path, most
        self._size = path.stat().st_size if path.is_file() else 0

    def add(self, *added: Mapping[str, Any] | str) -> None:
        """Append lines, which may be JSON already."""
        text = "".join((line if isinstance(line, str) else encoded(line)) + "\n" for line in added)
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
