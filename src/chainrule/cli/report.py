"""`chainrule report`."""

from __future__ import annotations

import os
from typing import Any

import click

from chainrule.cli.loaded import load_table, open_table
from chainrule.cli.shared import (
    SEED,
    Page,
    check_overwrite,
    of_option,
    plain_option,
    read_options,
)
from chainrule.storage.atomic import write_atomically


@click.command(
    epilog="""\b
    Examples:
      chainrule report model data.csv --out report.html
      chainrule report model new.parquet --out report.html

    DATA may be the table that the model has learned from: rows are predicted by networks like it
    that have not learned from them.
    """
)
@click.argument("model")
@click.argument("data")
@click.option("--out", required=True, metavar="FILE", help="The file for the page, .html.")
@click.option("--seed", type=SEED, default=0, show_default=True,
              help="Seed of the folds, and of the rows if there are many.")  # fmt: skip
@click.option("--target", metavar="COLUMN", help="Which of several targets.")
@of_option
@plain_option
@read_options
def report(
    model: str, data: str, out: str, seed: int, target: str | None, of: str | None, plain: bool,
    **reading: Any,
) -> None:  # fmt: skip
    """Write a page about the model of a table, and the rows of the table DATA.

    The page holds the data and its columns, the quality, calibration and intervals, what the model
    has learned, the rows that it predicts worst, and labels that may be wrong. It is one file, and
    needs no network.
    """
    check_overwrite(out, [out], (data, model))
    if os.path.splitext(out)[1].lower() not in (".html", ".htm"):
        raise click.UsageError(f"--out is {out}; expected a name that ends in .html")
    table = load_table(model, reading["missing"], of)
    if table is None:
        raise click.UsageError(
            f"{model} is a network without columns; expected a model from chainrule train"
        )
    from chainrule.tables.several import one

    table = one(table, target)
    source = open_table(data, reading)
    from chainrule.tables.report.found import look
    from chainrule.tables.report.page import page as page_of

    page = Page(plain)
    with page.working(f"looking at {data}"):
        written = page_of(look(table, source, seed), model)
    write_atomically(out, written.encode())
    page.say(f"Saved: {out}", "bold")
