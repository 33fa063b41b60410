"""`chainrule explore`."""

from __future__ import annotations

import os
import sys
import webbrowser
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from chainrule.cli.shared import header_option, note

if TYPE_CHECKING:
    from chainrule.explorer import Explorer
    from chainrule.network import Network

_MOST_ROWS = 10_000  # of a table


@click.command(
    epilog="""\b
    Examples:
      chainrule explore
      chainrule explore --sizes 2,4,1 --dataset moons
      chainrule explore net.safetensors --data samples.csv
      chainrule explore --sizes 2,4,1 --dataset spiral --live lesson.html

    Needs more packages: pip install 'chainrule[explorer]'.
    """
)
@click.argument("model", required=False)
@click.option("--sizes", metavar="2,4,1", help="Make a network of these units instead of MODEL.")
@click.option(
    "--hidden",
    metavar="NAME",
    default="tanh",
    show_default=True,
    help="Activation function of its hidden layers.",
)
@click.option("--data", metavar="FILE", help="The samples: CSV or TSV, or .npz (X, y).")
@header_option
@click.option("--dataset", metavar="NAME", help="Classic samples instead: circles, moons, ...")
@click.option(
    "--live", metavar="FILE", help="Write one HTML file that carries Python (10 MB), and exit."
)
@click.option(
    "--runtime", metavar="FOLDER", help="The parts of Pyodide for --live. [the cache, the internet]"
)
@click.option("--save", metavar="FILE", help="Write a smaller file, a recording, and exit.")
@click.option(
    "--steps",
    type=click.IntRange(0, 5000),
    default=200,
    show_default=True,
    help="Training steps in that file.",
)
@click.option(
    "--host", "address", default="127.0.0.1", show_default=True, help="The address to listen on."
)
@click.option(
    "--port", type=click.IntRange(1, 65535), help="The port. [the first free one from 8765 on]"
)
@click.option("--browser/--no-browser", default=True, help="Whether to open a browser. [yes]")
def explore(
    model: str | None,
    sizes: str | None,
    hidden: str,
    data: str | None,
    header: bool | None,
    dataset: str | None,
    live: str | None,
    runtime: str | None,
    save: str | None,
    steps: int,
    address: str,
    port: int | None,
    browser: bool,
) -> int:
    """Open the explorer: watch a network learn, and ask any weight why.

    A page in the browser shows the network of the file MODEL (or a new one), steps through its
    forward and backward pass, trains it, and opens every number into its chain rule.
    """
    from chainrule.explorer import load

    if live is not None and save is not None:
        raise click.UsageError("--live and --save exclude each other; choose one")
    if runtime is not None and live is None:
        raise click.UsageError("--runtime needs --live FILE")
    host = "live" if live is not None else "offline" if save is not None else "server"
    for name in ("session", f"hosts.{host}"):
        load(name)  # says which packages are missing, before anything is read
    subject = subject_of(model, sizes, data, header, hidden, dataset)
    quick = dataset is not None
    if live is not None:
        return _write_live(*subject, live, runtime, quick)
    if save is not None:
        return _save(*subject, save, steps, quick)
    return _serve(*subject, address, port, browser, quick)


def subject_of(
    model: str | None,
    sizes: str | None,
    data: str | None,
    header: bool | None,
    hidden: str,
    dataset: str | None,
) -> tuple[Network | None, Any, Any, str]:
    """Return the network, X, y and a name, as far as the options name them."""
    from chainrule.cli import samples as tables
    from chainrule.explorer.subject import suited
    from chainrule.network import Network
    from chainrule.network import load as load_network
    from chainrule.tables import model as models
    from chainrule.tables.opening import open_table
    from chainrule.tables.source import Reading
    from chainrule.teach import datasets

    if model is not None and sizes is not None:
        raise click.UsageError("MODEL and --sizes exclude each other; choose one")
    if data is not None and dataset is not None:
        raise click.UsageError("--data and --dataset exclude each other; choose one")
    network: Network | None = None
    table = None
    if model is not None:
        table = models.load(model)
        network = load_network(model) if table is None else table.network
    chosen = None
    if dataset is not None:
        chosen = datasets.make(dataset)
    if sizes is not None:
        units = _sizes(sizes)
        classes = units[-1] if chosen is None else chosen.classes
        network = suited(units, hidden, classes, 0, Network)
    if data is not None:
        if network is None:
            raise click.UsageError("--data needs a network: MODEL, or --sizes such as 2,4,1")
        name = os.path.basename(data)[:40]
        if table is not None:
            source = open_table(data, Reading(header=header))
            X, y, _, _ = table.samples(source, slice(0, _MOST_ROWS), leave_out=True)
            return network, X, y, name
        samples = tables.read(data, network, header)
        return network, samples.X, samples.y, name
    if chosen is None:
        return network, None, None, ""
    if network is None:
        units = [chosen.X.shape[1], 4, 2, chosen.y.shape[1]]
        network = suited(units, hidden, chosen.classes, 0, Network)
    return network, chosen.X, chosen.y, chosen.name


def _sizes(text: str) -> list[int]:
    try:
        sizes = [int(part) for part in text.replace("-", ",").split(",")]
    except ValueError:
        raise click.UsageError(f"--sizes is {text!r}; expected units such as 2,4,1") from None
    if len(sizes) < 2:
        raise click.UsageError(f"--sizes is {text}; expected two layers or more, such as 2,1")
    return sizes


def explorer_of(network: Network | None, X: Any, y: Any, name: str, quick: bool) -> Explorer:
    """Return the explorer of a subject; a data set of the explorer is learnt at its quick rate."""
    from chainrule.explorer import Explorer
    from chainrule.explorer.place import QUICK

    explorer = Explorer(network, X, y, name=name or "data")
    if quick:
        explorer.session.settings = QUICK
    return explorer


def _write_live(
    network: Network | None, X: Any, y: Any, name: str, live: str, runtime: str | None, quick: bool
) -> int:
    from chainrule.explorer.hosts.live import page
    from chainrule.storage.atomic import write_atomically

    session = explorer_of(network, X, y, name, quick).session
    content = page(session, runtime, note).encode()
    write_atomically(live, content)
    click.echo(f"{live}: {len(content) / 1e6:.1f} MB; everything works in any browser, offline")
    return 0


def _save(
    network: Network | None, X: Any, y: Any, name: str, save: str, steps: int, quick: bool
) -> int:
    explorer = explorer_of(network, X, y, name, quick)

    def on_progress(done: int, count: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\rRecording step {done} of {count} ", nl=done == count, err=True)

    explorer.save(save, steps=steps, on_progress=on_progress)
    size = os.path.getsize(save) / 1e6
    click.echo(f"{save}: {steps} steps, {size:.1f} MB; it opens in any browser, offline")
    return 0


def _serve(
    network: Network | None,
    X: Any,
    y: Any,
    name: str,
    host: str,
    port: int | None,
    browser: bool,
    quick: bool,
) -> int:
    from chainrule.explorer.hosts.server import Server, is_loopback
    from chainrule.explorer.place import QUICK
    from chainrule.explorer.session import Session

    def make() -> Session:
        return Session(network, X, y, name=name or "data", settings=QUICK if quick else None)

    make()  # reports what is wrong with the data now, not in the page
    server = Server(make, host, port)
    if not is_loopback(host):
        click.echo(
            f"Warning: other machines can reach {host}. Anyone with the address and its token can "
            "use this computer's processor, and the connection is not encrypted.",
            err=True,
        )
    click.echo(f"The explorer is at\n\n    {server.url}\n\nPress Ctrl-C to stop it.")
    if browser:
        webbrowser.open(server.url)
    with suppress(KeyboardInterrupt):  # the way to stop it
        server.run()
    click.echo("Stopped.")
    return 0
