"""`chainrule predict` on several files: an output for each in a folder, here or on a cluster."""

from __future__ import annotations

import os.path
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from chainrule.cli.shared import check_overwrite, note
from chainrule.tables.source import counted

if TYPE_CHECKING:
    from chainrule.tables.folder import Done, Job
    from chainrule.tables.groups import GroupedModel
    from chainrule.tables.model import TableModel

_MOST_NOTES = 10  # files whose notes are printed


def is_many(data: str) -> bool:
    """Return whether a path is a pattern, or an address, whose predictions go into a folder."""
    from chainrule.storage import addresses

    return data != "-" and (addresses.is_pattern(data) or addresses.is_remote(data))


@dataclass(frozen=True)
class Many:
    """The options of a prediction of several files."""

    model: str
    out: str | None
    form: str | None
    workers: str | None
    keep: tuple[str, ...]
    spread: bool
    new_groups: str
    intervals: float | None = None


def predict(
    table: TableModel | GroupedModel,
    data: tuple[str, ...],
    options: Many,
    reading: dict[str, Any],
) -> None:
    """Predict files into a folder; raise ClickException at the end if some could not be."""
    from chainrule import places
    from chainrule.storage import addresses
    from chainrule.tables import folder
    from chainrule.tables.source import Reading

    out, form = options.out, options.form
    if out is None or (os.path.exists(out) and not os.path.isdir(out)):
        what = "is missing" if out is None else f"is {out}, a file"
        raise click.UsageError(f"--out {what}; expected a folder for the predictions of each file")
    if "-" in data:
        raise click.UsageError("the standard input (-) is one table; pass it alone")
    form = form if form is None or form.startswith(".") else f".{form}"
    said = ("header", "delimiter", "decimal", "encoding")
    read = Reading(**{name: reading[name] for name in said})
    how = folder.How(read, options.keep, options.spread, options.new_groups, options.intervals)
    with open(options.model, "rb") as file:
        content = file.read() + repr(reading["missing"]).encode()
    kept = folder.Folder(out, content, how)
    jobs = kept.jobs(addresses.found(data), form)
    for job in jobs:
        check_overwrite(out, [job.out], [job.file, options.model])
    if kept.of_others:
        note("the predictions in the folder are of another model or other options; all are made")
    waiting = [job for job in jobs if not kept.is_done(job)]
    results: list[tuple[Job, Done]] = []
    shown = sys.stderr.isatty()
    bar: Any = click.progressbar(length=len(waiting), label="files", file=sys.stderr)

    def told(done: int) -> None:
        if shown:
            bar.update(1)

    try:
        if waiting:
            with (
                places.opened(options.workers, "--workers") as place,
                bar if shown else nullcontext(),
            ):
                results += folder.predict(place, table, kept, waiting, how, told)
    except RuntimeError as error:  # of the workers
        raise click.ClickException(str(error)) from error
    _tell(results, len(jobs) - len(waiting))
    failed = [job for job, done in results if done.error is not None]
    if failed:
        raise click.ClickException(
            f"{counted(len(failed), 'file')} of {len(jobs):,} could not be predicted; repeat the "
            "command for them when they are corrected"
        )


def _tell(results: list[tuple[Job, Done]], up_to_date: int) -> None:
    from chainrule.equations.checks import listed
    from chainrule.tables.folder import merged
    from chainrule.tables.measures import NAMES, text

    results = sorted(results, key=lambda result: result[0].file)
    for _, done in results:
        if done.error is not None:
            note(done.error)
    unknown = sorted({name for _, done in results for name in done.unknown})
    if unknown:
        note(f"columns that the model does not know are ignored: {listed(unknown)}")
    noted = [(job, done) for job, done in results if done.lines]
    for job, done in noted[:_MOST_NOTES]:
        for line in done.lines:
            note(f"{job.file}: {line}")
    if len(noted) > _MOST_NOTES:
        note(f"{counted(len(noted) - _MOST_NOTES, 'more file')} with such notes")
    good = [done for _, done in results if done.error is None]
    n, measured = merged(good)
    if n:
        words = ", ".join(f"{NAMES[name]} {text(value)}" for name, value in measured.items())
        have = "1 row has" if n == 1 else f"{n:,} rows have"
        note(f"{have} the target; on these: {words}")
    done_before = f"; {counted(up_to_date, 'file')} done before" if up_to_date else ""
    rows = sum(done.rows for done in good)
    note(f"{counted(len(good), 'file')} predicted, {counted(rows, 'row')}{done_before}")
