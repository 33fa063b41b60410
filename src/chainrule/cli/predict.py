"""`chainrule predict`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from chainrule.cli.loaded import given_table, load_table
from chainrule.cli.shared import note, read_options
from chainrule.storage.atomic import atomic_file

if TYPE_CHECKING:
    from chainrule.tables.prediction import Prediction


@click.command(
    epilog="""\b
    Examples:
      chainrule predict model new.csv --out predictions.parquet
      chainrule predict model new.csv --keep id --out predictions.csv
      chainrule predict model new.csv | head
      zcat new.csv.gz | chainrule predict model - --json

    A column that the model needs and does not find is an error. What else is new is named on the
    standard error: columns, categories, and missing values where the training rows had none.
    """
)
@click.argument("model")
@click.argument("data")
@click.option(
    "--out", metavar="FILE",
    help="A .csv, .tsv, .jsonl, .parquet or .arrow file, or - for the standard output. [-]",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True,
              help="A line of JSON for each row, in place of CSV.")  # fmt: skip
@click.option("--keep", multiple=True, metavar="COLUMN", help="Hand a column of DATA through.")
@read_options
def predict(
    model: str,
    data: str,
    out: str | None,
    as_json: bool,
    keep: tuple[str, ...],
    **reading: Any,
) -> None:
    """Predict the target for each row of the table DATA with the model of a table.

    DATA is a file, or - for the standard input. Columns are found by their names, in any order.
    Classes come with their probabilities.
    """
    out = None if out == "-" else out
    table = load_table(model)
    if table is None:
        raise click.UsageError(
            f"{model} is a network without columns; predict takes a model of chainrule train"
        )
    form = _form(out, (data, model), as_json)
    with given_table(data, reading) as source:
        from chainrule.tables.prediction import Prediction

        prediction = Prediction(table, source, keep)
        if unknown := prediction.unknown:
            note(f"columns that the model does not know are ignored: {', '.join(unknown)}")
        if out is None:
            _write(prediction, sys.stdout.buffer, form)
            sys.stdout.flush()
        else:
            with atomic_file(out) as file:
                _write(prediction, file, form)
    for line in prediction.notes.words(table.schema):
        note(line)
    _tell_score(prediction)


def _form(out: str | None, inputs: tuple[str, ...], as_json: bool) -> str:
    """Give the format of the output; an error, if it would overwrite what is read."""
    from chainrule.tables.prediction import FORMATS

    if out is None:
        return ".jsonl" if as_json else ".csv"
    for path in inputs:
        if os.path.exists(out) and os.path.exists(path) and os.path.samefile(out, path):
            raise click.UsageError(f"--out {out} would overwrite {path}, which is read")
    form = os.path.splitext(out)[1].lower()
    if form not in FORMATS:
        raise click.UsageError(f"--out {out}: its name has to end in {', '.join(FORMATS)}")
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
        rows = "1 row has" if total == 1 else f"{total:,} rows have"
        note(f"{rows} a target that is no {what}, and is not scored: {found}")
    n, measured = prediction.score()
    if n:
        words = ", ".join(f"{NAMES[name]} {text(value)}" for name, value in measured.items())
        rows = "1 row has" if n == 1 else f"{n:,} rows have"
        note(f"{rows} the target; on these: {words}")
