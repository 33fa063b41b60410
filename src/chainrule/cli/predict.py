"""`chainrule predict`."""

from __future__ import annotations

import os.path
import sys
from typing import TYPE_CHECKING, Any

import click

from chainrule.cli.loaded import load_table, open_table
from chainrule.cli.shared import check_overwrite, note, read_options, rows_have
from chainrule.storage.atomic import atomic_file

if TYPE_CHECKING:
    from chainrule.tables.prediction import Prediction


@click.command(
    epilog="""\b
    Examples:
      chainrule predict model new.csv --out predictions.parquet
      chainrule predict model new.csv --keep id --out predictions.csv
      chainrule predict model new.csv | head
      chainrule predict model new.csv.gz --missing n.a.
      some-program | chainrule predict model - --json

    A missing column that the model needs is an error. Anything else that is new is named on the
    standard error: columns, categories, missing values where the training rows had none, and
    values far outside those of the training rows. JSON lists the columns of these for each row.
    """
)
@click.argument("model")
@click.argument("data")
@click.option(
    "--out", metavar="FILE",
    help=".csv, .tsv, .jsonl, .parquet, .arrow or .feather, or - for the standard output. [-]",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True,
              help="Write a line of JSON for each row in place of CSV.")  # fmt: skip
@click.option(
    "--keep", multiple=True, metavar="COLUMN", help="A column of DATA to copy; may be repeated."
)
@click.option("--spread", is_flag=True,
              help="Add how far the networks of a model from train --members are apart: their "
              "standard deviation.")  # fmt: skip
@read_options
def predict(
    model: str,
    data: str,
    out: str | None,
    as_json: bool,
    keep: tuple[str, ...],
    spread: bool,
    **reading: Any,
) -> None:
    """Predict the target for each row of the table DATA with the model of a table.

    DATA is a file, or - for the standard input. Finds columns by their names, in any order. Writes
    the probability of each class, too.
    """
    out = None if out == "-" else out
    table = load_table(model, reading["missing"])
    if table is None:
        raise click.UsageError(
            f"{model} is a network without columns; expected a model from chainrule train"
        )
    form = _form(out, (data, model), as_json)
    source = open_table(data, reading)
    from chainrule.tables.prediction import Prediction

    prediction = Prediction(table, source, keep, mark_far=form == ".jsonl", spread=spread)
    if unknown := prediction.unknown:
        note(f"columns that the model does not know are ignored: {', '.join(unknown)}")
    if out is None:
        _write(prediction, sys.stdout.buffer, form)
        sys.stdout.flush()
    else:
        with atomic_file(out) as file:
            _write(prediction, file, form)
    for line in prediction.notes.words(table.schema, source):
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
        total, target = counts.total(), prediction.model.schema.target
        what = "number" if target.task == "regress" else "class of the model"
        found = listed([label for label, _ in counts.most_common()], 5)
        note(f"{rows_have(total)} a target that is not a {what} and is not scored: {found}")
    n, measured = prediction.score()
    if n:
        words = ", ".join(f"{NAMES[name]} {text(value)}" for name, value in measured.items())
        note(f"{rows_have(n)} the target; on these: {words}")
