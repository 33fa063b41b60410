"""`chainrule check`."""

from __future__ import annotations

import json
from typing import Any

import click

from chainrule.cli.loaded import load
from chainrule.cli.shared import EXIT_CODES, FAILED, Rows, choose, data_options, json_option

_FIRST = 256  # rows of a table, which may have millions


@click.command(
    epilog=f"""\b
    Example:
      chainrule check net.safetensors --data samples.csv --rows 0:100

    {EXIT_CODES}
    """
)
@click.argument("model")
@data_options
@click.option(
    "--rows", type=Rows(), help="Check some samples: 0:32 is the first 32. [all; of a table 0:256]"
)
@json_option
def check(model: str, data: str, rows: slice | None, as_json: bool, **reading: Any) -> int:
    """Check the gradient of a network against finite differences.

    Compares the gradient for every weight and bias of the network in the file MODEL (a sample of
    them if there are many) with a central difference of the loss. Exits with 0 if they agree, and
    with 1 if they do not or if it cannot tell; the report then says what to try. Leaves out rows of
    a table without a target.
    """
    loaded = load(model, data, reading, leave_out=True)
    if rows is None:
        rows = slice(0, _FIRST) if loaded.table is not None else slice(None)
    X, y, _ = loaded.take(choose(rows, loaded.n_rows, data))
    report = loaded.network.check_gradient(X, y)
    click.echo(json.dumps(report.to_dict(), indent=2) if as_json else str(report))
    return 0 if report.passed else FAILED
