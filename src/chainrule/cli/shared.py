"""What commands share: exit codes, the width of a page, rows, and the options for data."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

FAILED, USAGE, INTERRUPTED, PIPE_CLOSED = 1, 2, 130, 141
WIDEST = 100  # columns of a page of text; longer lines are hard to read
EXIT_CODES = "Exit codes: 0 done, 1 a check failed, 2 usage or input, 130 interrupted."
F = TypeVar("F", bound=Callable[..., Any])


class Rows(click.ParamType[slice]):
    """A range of rows as Python writes it: 0:32, 100:, :10."""

    name = "A:B"

    def convert(self, value: Any, param: Any, ctx: Any) -> slice:
        """Give the slice that a text names."""
        if isinstance(value, slice):
            return value
        match = re.fullmatch(r"(\d*):(\d*)", value)
        if match is None:
            self.fail(f"{value!r} is no range of rows; write A:B, such as 0:32", param, ctx)
        first, last = (int(text) if text else None for text in match.groups())
        return slice(first, last)


def data_options(command: F) -> F:
    """Add --data and --header to a command."""
    for option in (
        click.option(
            "--header/--no-header",
            default=None,
            help="Whether the first line of a CSV or TSV file names the columns. [found out]",
        ),
        click.option(
            "--data",
            required=True,
            metavar="FILE",
            help="The samples: CSV or TSV (inputs, then the class or the targets), or .npz (X, y).",
        ),
    ):
        command = option(command)
    return command


def choose(rows: slice, n_rows: int, path: str) -> slice:
    """Check a range of rows against a table's number of rows."""
    start, stop, _ = rows.indices(n_rows)
    if start >= stop:
        raise click.UsageError(
            f"no rows in {rows.start or 0}:{rows.stop or ''}; {has(n_rows, path)}"
        )
    return slice(start, stop)


def has(n_rows: int, path: str) -> str:
    """Say which rows a file has."""
    return f"{path} has {'row 0 only' if n_rows == 1 else f'rows 0 to {n_rows - 1}'}"
