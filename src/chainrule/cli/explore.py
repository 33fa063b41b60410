"""`chainrule explore`."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from chainrule.cli.serving import serving_options, warn_of_others
from chainrule.cli.shared import (
    dataset_option,
    header_option,
    hidden_option,
    member_option,
    note,
    of_option,
)

if TYPE_CHECKING:
    from chainrule.explorer.session import Session
    from chainrule.network import Network

_MOST_ROWS = 10_000  # of a table


@click.command(
    epilog="""\b
    Examples:
      chainrule explore
      chainrule explore --sizes 2,4,1 --dataset moons
      chainrule explore net.safetensors --data samples.csv
      chainrule explore --sizes 2,4,1 --dataset spiral --live lesson.html
      chainrule explore --lesson mine.md

    Needs more packages: pip install 'chainrule[explorer]'.
    """
)
@click.argument("model", required=False)
@click.option("--sizes", metavar="2,4,1", help="Make a network of these units instead of MODEL.")
@hidden_option
@click.option("--data", metavar="FILE", help="The samples: CSV or TSV, or .npz (X, y).")
@header_option
@of_option
@member_option
@dataset_option
@click.option("--lesson", metavar="FILE", help="Play a lesson: Markdown, as the docs describe it.")
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
    "--sample",
    type=click.IntRange(0),
    help="The sample that is shown first, from 0 on; in that file, the only one.",
)
@click.option(
    "--notation",
    type=click.Choice(["default", "C-a-L", "L-h"]),
    help="Letters and indices of the formulas.",
)
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, 1000, min_open=True),
    metavar="η",
    help="Learning rate. [0.5 for classic samples, else 0.1]",
)
@serving_options
def explore(
    model: str | None,
    sizes: str | None,
    hidden: str,
    data: str | None,
    header: bool | None,
    member: int | None,
    of: str | None,
    dataset: str | None,
    lesson: str | None,
    live: str | None,
    runtime: str | None,
    save: str | None,
    steps: int,
    sample: int | None,
    notation: str | None,
    learning_rate: float | None,
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
    if lesson is not None:
        others = {"MODEL": model, "--sizes": sizes, "--data": data, "--dataset": dataset,
                  "--save": save, "--sample": sample, "--notation": notation,
                  "--learning-rate": learning_rate}  # fmt: skip
        if clash := [name for name, value in others.items() if value is not None]:
            raise click.UsageError(f"--lesson and {clash[0]} exclude each other; choose one")
        make = lesson_of(lesson)
    else:
        subject = subject_of(model, sizes, data, header, hidden, dataset, member, of)

        def make() -> Session:
            session = session_of(*subject, quick=dataset is not None)
            usual = session.settings
            session.settings = replace(
                usual,
                notation=notation or usual.notation,
                learning_rate=learning_rate or usual.learning_rate,
            )
            session.choose(sample)
            return session

    if live is not None:
        return _write_live(make(), live, runtime)
    if save is not None:
        return _save(make(), save, steps)
    return _serve(make, address, port, browser)


def subject_of(
    model: str | None,
    sizes: str | None,
    data: str | None,
    header: bool | None,
    hidden: str,
    dataset: str | None,
    member: int | None = None,
    of: str | None = None,
) -> tuple[Network | None, Any, Any, str]:
    """Return the network, X, y and a name, as far as the options name them."""
    from chainrule.cli import samples as tables
    from chainrule.cli.loaded import load_table
    from chainrule.explorer.subject import suited
    from chainrule.loading import load as load_network
    from chainrule.network import Network
    from chainrule.tables.opening import open_table
    from chainrule.tables.source import Reading
    from chainrule.teach import datasets

    if model is not None and sizes is not None:
        raise click.UsageError("MODEL and --sizes exclude each other; choose one")
    if (member is not None or of is not None) and model is None:
        raise click.UsageError("--member and --of need MODEL, the model of a table")
    if data is not None and dataset is not None:
        raise click.UsageError("--data and --dataset exclude each other; choose one")
    network: Network | None = None
    table = None
    if model is not None:
        table = load_table(model, of=of)
        if table is not None:
            table = table.member(member)
        elif member is not None:
            raise click.UsageError(f"--member is for models of tables, but {model} is a network")
        network = load_network(model) if table is None else table.network
    chosen = None
    if dataset is not None:
        chosen = datasets.make(dataset)
    if sizes is not None:
        units = sizes_of(sizes)
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


def lesson_of(path: str) -> Callable[[], Session]:
    """Return a maker of sessions that begin with the lesson of a file."""
    from chainrule.explorer.session import Session
    from chainrule.explorer.touring import read_lesson
    from chainrule.network import Network
    from chainrule.teach.lessons.format import MOST_BYTES

    with open(path, "rb") as file:
        raw = file.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES:
        raise ValueError(f"{path} has more than {MOST_BYTES:,} bytes; a lesson has at most so many")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text, at byte {error.start}") from None
    lesson = read_lesson(text, os.path.basename(path), Network)

    def make() -> Session:
        session = Session()
        session.given = lesson
        return session

    return make


def sizes_of(text: str) -> list[int]:
    """Return the units of layers that a text such as 2,4,1 names."""
    try:
        sizes = [int(part) for part in text.replace("-", ",").split(",")]
    except ValueError:
        raise click.UsageError(f"--sizes is {text!r}; expected units such as 2,4,1") from None
    if len(sizes) < 2:
        raise click.UsageError(f"--sizes is {text}; expected two layers or more, such as 2,1")
    return sizes


def session_of(network: Network | None, X: Any, y: Any, name: str, quick: bool) -> Session:
    """Return the session of a subject; a data set of the explorer is learnt at its quick rate."""
    from chainrule.explorer.place import QUICK
    from chainrule.explorer.session import Session

    return Session(network, X, y, name=name or "data", settings=QUICK if quick else None)


def _write_live(session: Session, live: str, runtime: str | None) -> int:
    from chainrule.explorer.hosts.live import page
    from chainrule.storage.atomic import write_atomically

    content = page(session, runtime, note).encode()
    note_a_missing_core()
    write_atomically(live, content)
    click.echo(f"{live}: {len(content) / 1e6:.1f} MB; everything works in any browser, offline")
    return 0


def note_a_missing_core() -> None:
    """Tell on stderr that pages train with NumPy, where this installation has no core for them."""
    from chainrule.explorer.hosts import pack

    if not pack.has_core():
        note(
            "The pages train with NumPy, which is slower: this installation has no core.wasm. The "
            "wheels on PyPI have it; in a clone, run `make wasm`."
        )


def _save(session: Session, save: str, steps: int) -> int:
    from chainrule.explorer.hosts.offline import page
    from chainrule.storage.atomic import write_atomically

    def on_progress(done: int, count: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\rRecording step {done} of {count} ", nl=done == count, err=True)

    content = page(session, steps, on_progress).encode()
    write_atomically(save, content)
    size = len(content) / 1e6
    click.echo(f"{save}: {steps} steps, {size:.1f} MB; it opens in any browser, offline")
    return 0


def _serve(make: Callable[[], Session], host: str, port: int | None, browser: bool) -> int:
    from chainrule.explorer.hosts.server import Server

    make()  # reports what is wrong with the data now, not in the page
    server = Server(make, host, port)
    warn_of_others(host)
    click.echo(f"The explorer is at\n\n    {server.url}\n\nPress Ctrl-C to stop it.")
    if browser:
        webbrowser.open(server.url)
    with suppress(KeyboardInterrupt):  # the way to stop it
        server.run()
    click.echo("Stopped.")
    return 0
