"""Folder: predictions of many files, one output for each, done once and again where one changed."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from time import monotonic
from typing import TYPE_CHECKING, Any

from chainrule.places import Place
from chainrule.storage import addresses
from chainrule.tables.arrow_source import RowGroups, large_parts
from chainrule.tables.grouped_prediction import REFUSE, prediction_of
from chainrule.tables.groups import GroupedModel
from chainrule.tables.opening import open_address
from chainrule.tables.prediction import FORMATS, writer
from chainrule.tables.source import Reading, Source, TableError

if TYPE_CHECKING:
    from chainrule.tables.measures import Measured
    from chainrule.tables.model import TableModel

RECORD = ".chainrule-predict.json"  # in the folder: what each output was made from
_VERSION = 1
LARGE = 1 << 28  # bytes of a Parquet file, decoded, that are one task; larger ones become several
_PAUSE = 1.0  # seconds between two writes of the record
_COMPRESSED = (".gz", ".zst", ".bz2", ".lz4")
_SAME = {".ndjson": ".jsonl", ".json": ".jsonl", ".ipc": ".arrow", ".pq": ".parquet"}
_MEANS = ("accuracy", "log_loss", "mae", "rmse")  # which can be taken of parts


@dataclass(frozen=True)
class How:
    """How every file is read and written."""

    reading: Reading
    kept: tuple[str, ...] = ()
    spread: bool = False
    new_groups: str = REFUSE
    level: float | None = None


@dataclass(frozen=True)
class Job:
    """A file to predict, and where to."""

    file: str
    state: list[Any]
    name: str  # below the folder, with slashes
    out: str
    groups: tuple[int, int] | None = None  # the row groups of a part of a large Parquet file


@dataclass(frozen=True)
class Done:
    """What came of a file: its rows, the bytes of the output, what to say; or an error."""

    rows: int = 0
    size: int = 0
    unknown: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    scored: int = 0
    measured: Measured = field(default_factory=dict)
    error: str | None = None


def names(inputs: Sequence[str], form: str | None) -> list[str]:
    """Return the names of the outputs: those of the inputs, with the ending of their format.

    Raises TableError where two inputs would have one output.
    """
    made = []
    for name in addresses.below(inputs):
        stem, ending = os.path.splitext(name)
        if ending.lower() in _COMPRESSED:
            stem, ending = os.path.splitext(stem)
        ending = _SAME.get(ending.lower(), ending.lower())
        made.append(stem + (form or (ending if ending in FORMATS else ".csv")))
    twice = [name for name, count in Counter(made).items() if count > 1]
    if twice:
        both = [file for file, name in zip(inputs, made, strict=True) if name == twice[0]]
        raise TableError(
            f"{both[0]} and {both[1]} would both become {twice[0]}. Predict them into different "
            "folders"
        )
    return made


class Folder:
    """The outputs in a folder, and the record of what each was made from."""

    def __init__(self, path: str, model: bytes, how: How) -> None:
        self.path = path
        self._record = addresses.joined(path, RECORD)
        self._about = {
            "version": _VERSION,
            "model": hashlib.sha256(model).hexdigest(),
            "how": json.loads(json.dumps(asdict(how))),
        }
        self._written = 0.0
        self.of_others = False  # whether there are outputs of another model, or made otherwise
        self._files: dict[str, dict[str, Any]] = {}
        content = addresses.read(self._record)
        if content is not None:
            try:
                known = json.loads(content)
                self._files = dict(known.pop("files"))
            except (ValueError, AttributeError, KeyError, TypeError):
                return  # damaged: everything is done again
            if known != self._about:
                self.of_others, self._files = bool(self._files), {}

    def jobs(self, inputs: Sequence[str], form: str | None) -> list[Job]:
        """Return what is to do for some files, those included that are done."""
        jobs = []
        for file, name in zip(inputs, names(inputs, form), strict=True):
            state = addresses.state_of(file)
            parts = [] if addresses.is_remote(file) else large_parts(file, LARGE)
            if not parts:
                jobs.append(Job(file, state, name, addresses.joined(self.path, name)))
            stem, ending = os.path.splitext(name)
            for i, groups in enumerate(parts):
                part = f"{stem}-{i:05d}-of-{len(parts):05d}{ending}"
                jobs.append(Job(file, state, part, addresses.joined(self.path, part), groups))
        return jobs

    def is_done(self, job: Job) -> bool:
        """Return whether an output is there, and was made from the file as it is now."""
        known = self._files.get(job.name)
        return (
            known is not None
            and (known["file"], known["state"]) == (job.file, job.state)
            and addresses.size_of(job.out) == known["size"]
        )

    def note(self, job: Job, done: Done) -> None:
        """Record an output; the record is written now and then, and by `close`."""
        self._files[job.name] = {"file": job.file, "state": job.state, "size": done.size}
        if monotonic() - self._written > _PAUSE:
            self.close()

    def close(self) -> None:
        """Write the record."""
        if not self._files:
            return
        content = json.dumps({**self._about, "files": self._files}, indent=1)
        with addresses.written(self._record) as file:
            file.write(content.encode())
        self._written = monotonic()


def predict(
    place: Place,
    model: TableModel | GroupedModel,
    folder: Folder,
    jobs: Sequence[Job],
    how: How,
    told: Callable[[int], None] = lambda done: None,
) -> Iterator[tuple[Job, Done]]:
    """Predict files on the workers of a place, and yield what came of each, as they end.

    ``told`` is called with the number of files that are done.
    """
    count = 0
    try:
        with closing(place.run(predict_file, (model, how), jobs)) as outcomes:
            for outcome in outcomes:
                job = jobs[outcome.index]
                done = outcome.result or Done(error=f"{job.file}: {outcome.error}")
                if done.error is None:
                    folder.note(job, done)
                count += 1
                told(count)
                yield job, done
    finally:
        folder.close()


def predict_file(
    shared: tuple[TableModel | GroupedModel, How], job: Job, threads: int | None
) -> Done:
    """Predict one file, on a worker."""
    model, how = shared
    try:
        return _predicted(_with_threads(model, threads), how, job)
    except OSError as error:
        named = error.filename is not None and error.strerror
        said = f"{error.filename}: {error.strerror}" if named else str(error)
        return Done(error=said if job.file in said else f"{job.file}: {said}")
    except (ValueError, ImportError) as error:
        return Done(error=str(error) if job.file in str(error) else f"{job.file}: {error}")


def _with_threads(model: Any, threads: int | None) -> Any:
    """Return a model whose networks use so many threads, unless that is None."""
    if threads is None:
        return model
    if isinstance(model, GroupedModel):
        return replace(model, models={k: _with_threads(one, threads) for k, one in model.items()})
    networks = [network.copy() for network in model.networks]  # a cluster of threads shares them
    for network in networks:
        network.threads = network.threads or threads
    return replace(model, network=networks[0], others=tuple(networks[1:]))


def _predicted(model: TableModel | GroupedModel, how: How, job: Job) -> Done:
    if addresses.state_of(job.file) != job.state:
        raise TableError(f"{job.file} changed since it was listed. Start again")
    source: Source = (
        open_address(job.file, how.reading)
        if job.groups is None
        else RowGroups(job.file, *job.groups)
    )
    form = os.path.splitext(job.name)[1]
    marked = form == ".jsonl"
    prediction = prediction_of(
        model, source, how.kept, marked, how.spread, how.new_groups, how.level
    )
    with addresses.written(job.out) as file:
        batches = prediction.batches()
        first = next(batches)
        with writer(file, form, first.schema) as writing:
            writing.write_table(first)
            for batch in batches:
                writing.write_table(batch)
        size = file.tell()
        if addresses.state_of(job.file) != job.state:
            raise TableError(f"{job.file} changed while it was being read. Start again")
    scored, measured = prediction.score()
    return Done(
        prediction.n_rows, size, tuple(prediction.unknown),
        tuple(prediction.words()), scored, measured,
    )  # fmt: skip


def merged(parts: Sequence[Done]) -> tuple[int, Measured]:
    """Return the number of rows with a target in all files, and the measures that are means."""
    scored = [done for done in parts if done.scored]
    n = sum(done.scored for done in scored)
    measured: Measured = {}
    for name in _MEANS:
        values = [done.measured.get(name) for done in scored]
        if not scored or None in values:
            continue
        known = [
            (done.scored, float(value or 0)) for done, value in zip(scored, values, strict=True)
        ]
        if name == "rmse":
            measured[name] = math.sqrt(sum(k * v * v for k, v in known) / n)
        else:
            measured[name] = sum(k * v for k, v in known) / n
    return n, measured
