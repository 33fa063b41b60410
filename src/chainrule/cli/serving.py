"""What commands share that serve pages: their options, and the warning about other machines."""

from __future__ import annotations

import click

from chainrule.cli.shared import F


def serving_options(command: F) -> F:
    """Add --host, --port and --browser/--no-browser to a command."""
    options = (
        click.option(
            "--host", "address", default="127.0.0.1", show_default=True,
            help="The address to listen on.",
        ),
        click.option(
            "--port", type=click.IntRange(1, 65535),
            help="The port. [the first free one from 8765 on]",
        ),
        click.option(
            "--browser/--no-browser", default=True, help="Whether to open a browser. [yes]"
        ),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def warn_of_others(host: str) -> None:
    """Warn that other machines can reach the page, if they can."""
    from chainrule.explorer.hosts.server import is_loopback

    if not is_loopback(host):
        click.echo(
            f"Warning: other machines can reach {host}. Anyone with the address and its token can "
            "use this computer's processor, and the connection is not encrypted.",
            err=True,
        )
