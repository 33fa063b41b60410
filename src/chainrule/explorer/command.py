"""`chainrule explore`: the explorer from the command line."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from chainrule.network import Network

_MOST_ROWS = 10_000  # of a table


def run(
    model: str | None,
    sizes: str | None,
    data: str | None,
    header: bool | None,
    *,
    hidden: str,
    dataset: str | None,
    save: str | None,
    steps: int,
    host: str,
    port: int | None,
    browser: bool,
) -> int:
    """Open the explorer, or write it to a file; see `chainrule explore --help`."""
    from chainrule.explorer import load

    for name in ("session", "offline" if save is not None else "web"):
        load(name)  # says which packages are missing, before anything is read
    network, X, y, name = _subject(model, sizes, data, header, hidden, dataset)
    quick = dataset is not None
    if save is not None:
        return _save(network, X, y, name, save, steps, quick)
    return _serve(network, X, y, name, host, port, browser, quick)


def _subject(
    model: str | None,
    sizes: str | None,
    data: str | None,
    header: bool | None,
    hidden: str,
    dataset: str | None,
) -> tuple[Network | None, Any, Any, str]:
    """Give network and samples, as far as they are named."""
    from chainrule.cli import samples as tables
    from chainrule.network import load as load_network
    from chainrule.tables import model as models
    from chainrule.tables.opening import open_table
    from chainrule.tables.source import Reading
    from chainrule.teach import datasets

    if model is not None and sizes is not None:
        raise click.UsageError("MODEL and --sizes exclude each other.")
    if data is not None and dataset is not None:
        raise click.UsageError("--data and --dataset exclude each other.")
    network: Network | None = None
    table = None
    if model is not None:
        table = models.load(model)
        network = load_network(model) if table is None else table.network
    chosen = None
    if dataset is not None:
        chosen = datasets.make(dataset)
    if sizes is not None:
        network = _network(_sizes(sizes), hidden, None if chosen is None else chosen.classes)
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
        outputs = chosen.y.shape[1]
        network = _network([chosen.X.shape[1], 4, 2, outputs], hidden, chosen.classes)
    return network, chosen.X, chosen.y, chosen.name


def _sizes(text: str) -> list[int]:
    try:
        return [int(part) for part in text.replace("-", ",").split(",")]
    except ValueError:
        raise click.UsageError(f"--sizes is {text!r}; write units such as 2,4,1") from None


def _network(sizes: Sequence[int], hidden: str, classes: int | None) -> Network:
    """Make a network whose output suits classes (None: as many as there are outputs)."""
    from chainrule.network import Network

    if len(sizes) < 2:
        raise click.UsageError(f"--sizes is {','.join(map(str, sizes))}; it needs two or more")
    output, loss = "identity", "half_squared_error"
    if sizes[-1] > 1 and classes != 0:
        output, loss = "softmax", "cross_entropy"
    elif classes is None or classes:
        output, loss = "sigmoid", "binary_cross_entropy"
    return Network(sizes, hidden=hidden, output=output, loss=loss, seed=0)


def _save(
    network: Network | None, X: Any, y: Any, name: str, save: str, steps: int, quick: bool
) -> int:
    from chainrule.explorer import Explorer
    from chainrule.explorer.place import QUICK

    explorer = Explorer(network, X, y, name=name or "data")
    if quick:
        explorer.session.settings = QUICK

    def on_progress(done: int, count: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\rRecording step {done} of {count} ", nl=done == count, err=True)

    explorer.save(save, steps=steps, on_progress=on_progress)
    size = os.path.getsize(save) / 1e6
    click.echo(f"{save}: {steps} steps, {size:.1f} MB; it opens in any browser, without a network")
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
    from chainrule.explorer.hosts.web import Server, is_loopback
    from chainrule.explorer.place import QUICK
    from chainrule.explorer.session import Session

    def make() -> Session:
        return Session(network, X, y, name=name or "data", settings=QUICK if quick else None)

    make()  # what is wrong with the data is said now, not in the page
    server = Server(make, host, port)
    if not is_loopback(host):
        click.echo(
            f"Warning: {host} can be reached by other machines. Whoever has the address with its "
            "token can use this computer's processor; what is sent is not encrypted.",
            err=True,
        )
    click.echo(f"The explorer is at\n\n    {server.url}\n\nCtrl-C ends it.")
    if browser:
        webbrowser.open(server.url)
    with suppress(KeyboardInterrupt):  # the way to end it
        server.run()
    click.echo("Ended.")
    return 0
