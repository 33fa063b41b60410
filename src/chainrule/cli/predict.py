"""`chainrule predict`."""

from __future__ import annotations

import os.path
import sys
from typing import TYPE_CHECKING, Any

import click

from chainrule.cli import predict_files as many
from chainrule.cli.loaded import load_tables, open_table
from chainrule.cli.predict_files import Many
from chainrule.cli.shared import Finite, check_overwrite, note, read_options, rows_have
from chainrule.storage.atomic import atomic_file

if TYPE_CHECKING:
    from chainrule.tables.prediction import Prediction

FORMS = ("csv", "tsv", "jsonl", "parquet", "arrow", "feather")


@click.command(
    epilog="""\b
    Examples:
      chainrule predict model new.csv --out predictions.parquet
      chainrule predict model new.csv --keep id --out predictions.csv
      chainrule predict model new.csv | head
      chainrule predict model new.csv.gz --missing n.a.
      chainrule predict model new.csv --intervals 0.9
      some-program | chainrule predict model - --json
      chainrule predict model 'data/*.parquet' --out predictions
      chainrule predict model 'data/*.parquet' --workers dask://local --out predictions

    Several files, or a pattern in quotes, have an output each in the folder --out, with the name of
    the file. A second run does those that are missing, or whose file has changed. What is wrong
    with a file is an error for that file; the others are done.

    A missing column that the model needs is an error. Anything else that is new is named on the
    standard error: columns, categories, missing values where the training rows had none, and
    values far outside those of the training rows. JSON lists the columns of these for each row.
    """
)
@click.argument("model")
@click.argument("data", nargs=-1, required=True)
@click.option(
    "--out", metavar="FILE",
    help=".csv, .tsv, .jsonl, .parquet, .arrow or .feather, or - for the standard output [-]. For "
    "several files a folder.",
)  # fmt: skip
@click.option("--format", "form", type=click.Choice(FORMS),
              help="What to write of several files. [that of each file]")  # fmt: skip
@click.option(
    "--workers", metavar="ADDRESS",
    help="Predict several files on a cluster: dask://local:2 (two processes), dask://HOST:PORT, "
    "ray://auto, ... [this process]",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True,
              help="Write a line of JSON for each row in place of CSV.")  # fmt: skip
@click.option(
    "--keep", multiple=True, metavar="COLUMN", help="A column of DATA to copy; may be repeated."
)
@click.option(
    "--intervals", type=Finite(0, 1, min_open=True, max_open=True), metavar="LEVEL",
    help="Add the columns lower and upper, which hold this share of new rows, such as 0.9.",
)  # fmt: skip
@click.option("--spread", is_flag=True,
              help="Add how far the networks of a model from train --members are apart: their "
              "standard deviation.")  # fmt: skip
@click.option("--new-groups", type=click.Choice(["refuse", "empty"]), default="refuse",
              show_default=True, help="What to do with a row whose group has no model, after train "
              "--by: refuse the table, or leave the prediction empty.")  # fmt: skip
@read_options
def predict(
    model: str,
    data: tuple[str, ...],
    out: str | None,
    form: str | None,
    workers: str | None,
    as_json: bool,
    keep: tuple[str, ...],
    intervals: float | None,
    spread: bool,
    new_groups: str,
    **reading: Any,
) -> None:
    """Predict the target for each row of the table DATA with the model of a table.

    DATA is a file, or - for the standard input; several files, or a pattern in quotes; here, or at
    an address such as s3://bucket/data. Finds columns by their names, in any order. Writes
    the probability of each class, too.
    """
    out = None if out == "-" else out
    table = load_tables(model, reading["missing"])
    if table is None:
        raise click.UsageError(
            f"{model} is a network without columns; expected a model from chainrule train"
        )
    if len(data) > 1 or workers is not None or form is not None or many.is_many(data[0]):
        how = Many(
            model, out, ".jsonl" if as_json else form, workers, keep, spread, new_groups, intervals
        )
        many.predict(table, data, how, reading)
        return
    form = _form(out, (data[0], model), as_json)
    source = open_table(data[0], reading)
    from chainrule.tables.grouped_prediction import prediction_of

    prediction = prediction_of(table, source, keep, form == ".jsonl", spread, new_groups, intervals)
    if unknown := prediction.unknown:
        note(f"columns that the model does not know are ignored: {', '.join(unknown)}")
    if out is None:
        _write(prediction, sys.stdout.buffer, form)
        sys.stdout.flush()
    else:
        with atomic_file(out) as file:
            _write(prediction, file, form)
    for line in prediction.words():
        note(line)
    _tell_score(prediction)


def _form(out: str | None, inputs: tuple[str, ...], as_json: bool) -> str:
    """Return the format of the output; raise UsageError if it would overwrite an input."""
    from chainrule.tables.prediction import FORMATS

    if out is None:
        return ".jsonl" if as_json else ".csv"
    check_overwrite(out, [out], inputs)
    form = os.path.splitext(out)[1].lower()
    if form not in FORMATS:
        raise click.UsageError(f"--out is {out}; expected a name that ends in {', '.join(FORMATS)}")
    if as_json and form != ".jsonl":
        raise click.UsageError(f"--json and --out {out} contradict each other; name it .jsonl")
    return form


def _write(prediction: Prediction, file: Any, form: str) -> None:
    from chainrule.tables.prediction import writer

    batches = prediction.batches()
    first = next(batches)
    with writer(file, form, first.schema) as writing:
        writing.write_table(first)
        for batch in batches:
            writing.write_table(batch)


def _tell_score(prediction: Prediction) -> None:
    from chainrule.equations.checks import listed
    from chainrule.tables.measures import NAMES, text

    if counts := prediction.others:
        total, target = counts.total(), prediction.target
        what = "number" if target.task == "regress" else "class of the model"
        found = listed([label for label, _ in counts.most_common()], 5)
        note(f"{rows_have(total)} a target that is not a {what} and is not scored: {found}")
    n, measured = prediction.score()
    if n:
        words = ", ".join(f"{NAMES[name]} {text(value)}" for name, value in measured.items())
        note(f"{rows_have(n)} the target; on these: {words}")
        if prediction.level is not None:
            ends = prediction.inside.tolist()
            inside = " and ".join(f"{count:,}" for count in ends)
            of = [f" of {own.name}" for own in prediction.targets] if len(ends) > 1 else [""]
            note(f"{inside} of these {n:,} are inside their intervals{' and'.join(of)}")
