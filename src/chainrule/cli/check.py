"""`chainrule check`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from chainrule import files, tables
from chainrule.cli.shared import EXIT_CODES, FAILED, Rows, choose, data_options

if TYPE_CHECKING:
    from chainrule.network import Network


@click.command(
    epilog=f"""\b
    Example:
      chainrule check net.safetensors --data samples.csv --rows 0:100

    {EXIT_CODES}
    """
)
@click.argument("model")
@data_options
@click.option("--rows", type=Rows(), help="Some samples only: 0:32 is the first 32. [all]")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
def check(model: str, data: str, header: bool | None, rows: slice | None, as_json: bool) -> int:
    """Check the gradient of a network against finite differences.

    Compares every weight and bias of the network in the file MODEL (a sample of them, where there
    are many) with a central difference of the loss. Exits 0 if they agree, 1 if not.
    """
    network: Network = files.load(model)
    table = tables.read(data, network, header)
    chosen = choose(rows or slice(None), len(table), data)
    report = network.check_gradient(table.X[chosen], table.y[chosen])
    click.echo(json.dumps(report.to_dict(), indent=2) if as_json else str(report))
    return 0 if report.passed else FAILED
