"""Recording: the options of `chainrule train` that have a run recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
_EVERY = 20


def watch_options(command: F) -> F:
    """Add the options of the recording to a command."""
    folder = click.option(
        "--watch", metavar="FOLDER",
        help="Record the run in this folder: chainrule watch FOLDER shows it.",
    )  # fmt: skip
    every = click.option(
        "--watch-every", type=click.IntRange(1), metavar="N",
        help=f"Steps between norms of samples and layers in the recording. [{_EVERY}]",
    )  # fmt: skip
    return folder(every(command))


def check_watch(given: dict[str, Any]) -> None:
    """Raise for a recording that cannot be written, before anything is read."""
    if given["watch"] is None:
        if given["watch_every"] is not None:
            raise click.UsageError("--watch-every needs --watch FOLDER, which the run goes to")
        return
    for name in ("by", "members"):
        if given[name] is not None:
            raise click.UsageError(
                f"--watch and --{name} cannot be combined: networks that are trained side by side "
                "are not recorded. Leave one of them out."
            )
    if given["members"] > 1 or given["by"] is not None:
        other = "--members" if given["members"] > 1 else "--by"
        raise click.UsageError(
            f"--watch and {other} contradict each other: networks that are trained side by side "
            "are not recorded. Leave one of them out"
        )
    from chainrule.training.watching import settings

    settings.choose(given["watch"], given["checkpoint"])


def watching(given: dict[str, Any]) -> dict[str, Any]:
    """Return what `Network.fit` is told about the recording, if there is one."""
    if given["watch"] is None:
        return {}
    from chainrule.training.watching.settings import Watch

    return {"watch": Watch(given["watch"], every=given["watch_every"] or _EVERY)}
