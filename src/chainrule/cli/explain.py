"""`chainrule explain`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from chainrule.cli.loaded import load
from chainrule.cli.shared import ABOVE_0, WIDEST, Rows, choose, data_options, has
from chainrule.storage.atomic import write_atomically

if TYPE_CHECKING:
    from chainrule.explain import Explanation


@click.command(
    epilog="""\b
    TARGET is the quantity to differentiate with respect to, with indices from 0:
      w[2][1,2]   the weight from unit 2 of layer 1 to unit 1 of layer 2
      b[2][1]     the bias of unit 1 of layer 2
      z[1][0]     the pre-activation of unit 0 of layer 1
      a[1][3]     the activation of unit 3 of layer 1
      x[0]        input 0
    In the model of a table, columns name the inputs: x[age], w[1][0,colour=red].
    Quote TARGET: brackets mean something to a shell.

    \b
    Examples:
      chainrule explain net.safetensors 'w[2][1,2]' --data samples.csv --row 0
      chainrule explain net.safetensors 'b[1][0]' --data samples.csv --rows 0:32
      chainrule explain net.safetensors 'x[3]' --data samples.csv --row 7 \\
          --format html --out why.html
    """
)
@click.argument("model")
@click.argument("target")
@data_options
@click.option(
    "--label", metavar="VALUE", help="The value of the target, for a table without that column."
)
@click.option(
    "--row", type=click.IntRange(0), metavar="N", help="Explain one sample, counted from 0."
)
@click.option(
    "--rows", type=Rows(), help="Explain the mean over some samples: 0:32 is the first 32."
)
@click.option("--all-rows", is_flag=True, help="Explain the mean over all samples.")
@click.option(
    "--learning-rate", type=ABOVE_0, metavar="X", help="Show the update with this learning rate."
)
@click.option(
    "--notation",
    metavar="NAME",
    default="default",
    help="Letters and indices: default, or C-a-L or L-h, as in the two lessons in examples/.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "latex", "html", "mathml", "json"]),
    default="text",
    show_default=True,
    help="Format of the explanation.",
)
@click.option("--out", metavar="FILE", help="Write to a file instead of the screen.")
def explain(
    model: str,
    target: str,
    data: str,
    label: str | None,
    row: int | None,
    rows: slice | None,
    all_rows: bool,
    learning_rate: float | None,
    notation: str,
    form: str,
    out: str | None,
    **reading: Any,
) -> None:
    """Explain the derivative of the loss with respect to one quantity, term by term.

    Shows the chain rule for TARGET in the network of the file MODEL: each term on its own, the
    terms together, the same with the numbers of the sample, and the proof that the result is right.
    """
    if (row is not None) + (rows is not None) + all_rows > 1:
        raise click.UsageError("--row, --rows and --all-rows exclude each other; choose one")
    loaded = load(model, data, reading, label)
    n_rows = loaded.n_rows
    if row is not None and row >= n_rows:
        raise click.UsageError(f"there is no row {row}; {has(n_rows, data)}")
    if row is None and rows is None and not all_rows and n_rows > 1:
        raise click.UsageError(
            f"choose samples with --row N, --rows A:B or --all-rows; {has(n_rows, data)}"
        )
    chosen = slice(row, row + 1) if row is not None else choose(rows or slice(None), n_rows, data)
    if loaded.table is not None:
        from chainrule.tables.naming import by_index

        target = by_index(target, loaded.table.schema, len(loaded.network.sizes) - 1)
    X, y, names = loaded.take(chosen)
    explanation = loaded.network.explain(
        target, X, y, learning_rate=learning_rate, notation=notation, names=names
    )
    text = _render(explanation, form).rstrip("\n")
    if out is None:
        click.echo(text)
    else:
        write_atomically(out, f"{text}\n".encode())


def _render(explanation: Explanation, form: str) -> str:
    if form == "json":
        return json.dumps(explanation.to_dict(), indent=2, ensure_ascii=False)
    if form == "text":
        return explanation.text(width=min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST))
    render: Callable[[], str] = getattr(explanation, form)
    return render()
