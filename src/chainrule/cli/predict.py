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

    A missing column that the model needs is an error. Anything else that is new is named on the
    standard error: columns, categories, and missing values where the training rows had none.
    """
)
@click.argument("model")
@click.argument("data")
@click.option(
    "--out", metavar="FILE",
    help="A .csv, .tsv, .parquet, .arrow or .feather file. [CSV on the standard output]",
)  # fmt: skip
@click.option(
    "--keep", multiple=True, metavar="COLUMN", help="A column of DATA to copy; may be repeated."
)
@read_options
def predict(
    model: str,
    data: str,
    out: str | None,
    keep: tuple[str, ...],
    **reading: Any,
) -> None:
    """Predict the target for each row of the table DATA with the model of a table.

    Finds columns by their names, in any order. Writes the probability of each class, too.
    """
    table = load_table(model)
    if table is None:
        raise click.UsageError(
            f"{model} is a network without columns; expected a model from chainrule train"
        )
    form = _form(out, (data, model))
    source = open_table(data, reading)
    from chainrule.tables.prediction import Prediction

    prediction = Prediction(table, source, keep)
    if prediction.unknown:
        note(f"columns that the model does not know are ignored: {', '.join(prediction.unknown)}")
    if out is None:
        _write(prediction, sys.stdout.buffer, form)
        sys.stdout.flush()
    else:
        with atomic_file(out) as file:
            _write(prediction, file, form)
    for line in prediction.notes.words(table.schema):
        note(line)
    _tell_score(prediction)


def _form(out: str | None, inputs: tuple[str, ...]) -> str:
    """Return the format of the output; raise UsageError if it would overwrite an input."""
    from chainrule.tables.prediction import FORMATS

    if out is None:
        return ".csv"
    check_overwrite(out, [out], inputs)
    form = os.path.splitext(out)[1].lower()
    if form not in FORMATS:
        raise click.UsageError(f"--out is {out}; expected a name that ends in {', '.join(FORMATS)}")
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
