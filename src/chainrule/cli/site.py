"""`chainrule site`."""

from __future__ import annotations

import re

import click

from chainrule.cli.explore import note_a_missing_core, session_of, subject_of
from chainrule.cli.shared import dataset_option, header_option, hidden_option, note


@click.command(
    epilog="""\b
    Examples:
      chainrule site public
      chainrule site public --model net.safetensors --data samples.csv --title "Our flowers"
      python -m http.server --directory public

    Put the folder on any web server. The pages need no Python, on no side.
    """
)
@click.argument("folder")
@click.option("--model", metavar="MODEL", help="Add a page of this model.")
@click.option("--sizes", metavar="2,4,1", help="Add a page of a new network of these units.")
@hidden_option
@click.option("--data", metavar="FILE", help="The samples of that page: CSV, TSV or .npz (X, y).")
@header_option
@dataset_option
@click.option("--title", help="The title of that page. [the name of the data]")
@click.option("--runtime", metavar="FOLDER", help="The parts of Pyodide. [the cache, the internet]")
def site(
    folder: str,
    model: str | None,
    sizes: str | None,
    hidden: str,
    data: str | None,
    header: bool | None,
    dataset: str | None,
    title: str | None,
    runtime: str | None,
) -> int:
    """Write the explorer and its lessons as a static site into FOLDER.

    Everything works in its pages, for any browser: Python runs in them. With a model, sizes or a
    data set, a page of your own is added to the site. Files in FOLDER that this command did not
    write stay as they are.
    """
    from chainrule.explorer.hosts import site as sites

    entry = None
    if model is not None or sizes is not None or data is not None or dataset is not None:
        network, X, y, name = subject_of(model, sizes, data, header, hidden, dataset)
        title = title or name or "A network"
        stem = re.sub("[^a-z0-9]+", "-", title.lower()).strip("-")[:40] or "page"
        session = session_of(network, X, y, name, dataset is not None)
        entry = sites.Entry(f"{stem}.html", title, session)
    elif title is not None:
        raise click.UsageError("--title needs a page: --model, --sizes, --data or --dataset")
    pages = sites.write(folder, entry, runtime, note)
    note_a_missing_core()
    click.echo(f"{folder}: {', '.join(pages)}; put the folder on any web server")
    return 0
