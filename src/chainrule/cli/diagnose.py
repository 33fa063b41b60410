"""`chainrule diagnose`."""

from __future__ import annotations

import json
from typing import Any

import click

from chainrule.cli.loaded import load
from chainrule.cli.shared import (
    EXIT_CODES,
    FAILED,
    Rows,
    check_overwrite,
    choose,
    data_options,
    json_option,
)
from chainrule.storage.atomic import write_atomically

_FIRST = 10_000  # rows of a table, which may have millions


@click.command(
    epilog=f"""\b
    Example:
      chainrule diagnose net.safetensors --data samples.csv --html findings.html

    {EXIT_CODES}
    """
)
@click.argument("model")
@data_options
@click.option(
    "--rows",
    type=Rows(),
    help="Look at some samples: 0:32 is the first 32. [all; of a table 0:10000]",
)
@click.option("--html", metavar="FILE", help="Write the findings as a page, too.")
@json_option
def diagnose(
    model: str, data: str, rows: slice | None, html: str | None, as_json: bool, **reading: Any
) -> int:
    """Say what keeps a network from learning, or is wrong with its samples.

    Looks for dead, saturated and identical units, vanishing and exploding gradients, inputs on very
    different scales, targets out of reach, labels that the network contradicts, and more. Exits
    with 0 if there is no error and no warning, else with 1. Leaves out rows of a table without a
    target.
    """
    loaded = load(model, data, reading, leave_out=True)
    if rows is None:
        rows = slice(0, _FIRST) if loaded.table is not None else slice(None)
    rows = choose(rows, loaded.n_rows, data)
    X, y, _ = loaded.take(rows)
    numbers = range(rows.start, rows.stop) if len(X) == rows.stop - rows.start else None
    report = loaded.network.diagnose(X, y, rows=numbers)
    if html is not None:
        check_overwrite(html, [html], [data, model], "--html")
        write_atomically(html, report.html().encode())
    click.echo(json.dumps(report.to_dict(), indent=2) if as_json else report.text())
    return 0 if report.ok else FAILED
