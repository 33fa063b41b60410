"""`chainrule explore`."""

from __future__ import annotations

import click


@click.command(
    epilog="""\b
    Examples:
      chainrule explore
      chainrule explore --sizes 2,4,1 --dataset moons
      chainrule explore net.safetensors --data samples.csv
      chainrule explore --sizes 2,4,1 --dataset spiral --save lesson.html

    Needs more packages: pip install 'chainrule[explorer]'.
    """
)
@click.argument("model", required=False)
@click.option("--sizes", metavar="2,4,1", help="A new network, by its units, in place of MODEL.")
@click.option("--hidden", metavar="NAME", default="tanh", show_default=True, help="Its activation.")
@click.option("--data", metavar="FILE", help="The samples: CSV or TSV, or .npz (X, y).")
@click.option(
    "--header/--no-header",
    default=None,
    help="Whether the first line of a CSV or TSV file names the columns. [found out]",
)
@click.option("--dataset", metavar="NAME", help="Or one of the classic ones: circles, moons, ...")
@click.option("--save", metavar="FILE", help="Write one HTML file that needs no Python, and end.")
@click.option(
    "--steps", type=click.IntRange(0, 5000), default=200, show_default=True, help="In that file."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--port", type=click.IntRange(1, 65535), help="The port. [the first free from 8765]")
@click.option("--browser/--no-browser", default=True, help="Whether to open a browser. [yes]")
def explore(
    model: str | None,
    sizes: str | None,
    hidden: str,
    data: str | None,
    header: bool | None,
    dataset: str | None,
    save: str | None,
    steps: int,
    host: str,
    port: int | None,
    browser: bool,
) -> int:
    """Open the explorer: watch a network learn, and ask any weight why.

    A page in the browser shows the network of the file MODEL (or a new one), steps through its
    passes, trains it, and opens every number into its chain rule.
    """
    from chainrule.explorer.command import run

    return run(
        model, sizes, data, header, hidden=hidden, dataset=dataset, save=save, steps=steps,
        host=host, port=port, browser=browser,
    )  # fmt: skip
