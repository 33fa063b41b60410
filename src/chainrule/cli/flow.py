"""`chainrule flow`."""

from __future__ import annotations

import json
from typing import Any

import click

from chainrule.cli.loaded import load
from chainrule.cli.shared import Rows, choose, data_options
from chainrule.storage.atomic import write_atomically

_FIRST = 256  # rows of a table, which may have millions


@click.command(
    epilog="""\b
    Examples:
      chainrule flow net.safetensors --data samples.csv
      chainrule flow net.safetensors --data samples.csv --format html --out flow.html
    """
)
@click.argument("model")
@data_options
@click.option(
    "--rows", type=Rows(), help="Take some samples: 0:32 is the first 32. [all; of a table 0:256]"
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "html", "json"]),
    default="text",
    show_default=True,
    help="Format of the table.",
)
@click.option("--out", metavar="FILE", help="Write to a file instead of the screen.")
def flow(
    model: str, data: str, rows: slice | None, form: str, out: str | None, **reading: Any
) -> None:
    """Show where the gradient grows or vanishes, layer by layer.

    Prints, for the network of the file MODEL, the factors W and g′ that the gradient passes from
    the loss to the first layer, and says which one is to blame if it vanishes or explodes. The
    factors multiply to exactly the change. Leaves out rows of a table without a target.
    """
    loaded = load(model, data, reading, leave_out=True)
    if rows is None:
        rows = slice(0, _FIRST) if loaded.table is not None else slice(None)
    X, y, _ = loaded.take(choose(rows, loaded.n_rows, data))
    found = loaded.network.flow(X, y)
    if form == "json":
        text = json.dumps(found.to_dict(), indent=2, ensure_ascii=False)
    else:
        text = (found.html() if form == "html" else found.text()).rstrip("\n")
    if out is None:
        click.echo(text)
    else:
        write_atomically(out, f"{text}\n".encode())
