"""What commands share: exit codes, the width of a page, rows, and the options for data."""

from __future__ import annotations

import math
import re
import shutil
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

FAILED, USAGE, INTERRUPTED, PIPE_CLOSED = 1, 2, 130, 141
WIDEST = 100  # columns of a page of text; longer lines are hard to read
EXIT_CODES = "Exit codes: 0 done, 1 a check failed, 2 usage or input, 130 interrupted."
F = TypeVar("F", bound=Callable[..., Any])

if TYPE_CHECKING:
    from click import ParamType as ParamType
else:

    class ParamType(click.ParamType):
        """The kind of an argument; before click 8.4 it does not say which type it converts to."""

        def __class_getitem__(cls, item: object) -> type:
            """Give the class itself."""
            return cls


class Rows(ParamType[slice]):
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


class Finite(click.FloatRange):
    """A number in a range, which nan and inf are not."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Give the number that a text names."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is no finite number", param, ctx)
        return number


ABOVE_0 = Finite(0, min_open=True)


class Mark(ParamType[str]):
    r"""What cuts columns: one character, or \t for a tab."""

    name = "MARK"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Give the character that a text names."""
        mark = "\t" if value == r"\t" else str(value)
        if len(mark) != 1 or not mark.isascii() or mark in '"\r\n\0':
            self.fail(
                f"{value!r} cuts no columns; expected one ASCII character, such as ; or \\t", param,
                ctx,
            )  # fmt: skip
        return mark


def printable(text: str) -> str:
    """Take out what would steer a terminal: names in files may hold anything."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def note(words: str) -> None:
    """Say something in one line on the standard error."""
    click.echo(f"chainrule: {printable(' '.join(words.split()))}", err=True)


@contextmanager
def one_line_warnings() -> Iterator[None]:
    """Say warnings as the command line says things: in one line."""

    def show(message: Any, *_: Any, **__: Any) -> None:
        note(str(message))

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


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


def test_rows(n: int) -> str:
    """Say how many rows the test had."""
    return "1 test row" if n == 1 else f"{n:,} test rows"


def read_options(command: F) -> F:
    """Add the options that say how a text file is to be read."""
    for option in (
        click.option(
            "--header/--no-header",
            default=None,
            help="Whether the first line of a CSV or TSV file names the columns. [found out]",
        ),
        click.option(
            "--delimiter", type=Mark(), help="What cuts columns, \\t for a tab. [found out]"
        ),
        click.option(
            "--decimal",
            type=click.Choice([".", ","]),
            default=".",
            show_default=True,
            help="The mark before decimals in a CSV or TSV file.",
        ),
        click.option(
            "--encoding",
            metavar="NAME",
            default="utf-8",
            show_default=True,
            help="Of a CSV or TSV file: utf-8, latin-1, utf-16, ...",
        ),
    ):
        command = option(command)
    return command


def data_options(command: F) -> F:
    """Add --data, and how it is to be read, to a command."""
    data = click.option(
        "--data",
        required=True,
        metavar="FILE",
        help="The samples: CSV or TSV (inputs, then the class or the targets), or .npz (X, y); for "
        "the model of a table a file with its columns.",
    )
    return data(read_options(command))


class Page:
    """What a command prints: plain text, with colour and a bar where somebody can see them."""

    def __init__(self, plain: bool, silent: bool = False) -> None:
        from rich.console import Console

        plain, self._silent = plain or silent, silent
        self.live = not plain and sys.stdout is not None and sys.stdout.isatty()
        self._console = Console(color_system=None, force_terminal=False) if plain else Console()

    def say(self, text: str = "", style: str | None = None) -> None:
        """Print a line, its continuation indented where it is too wide for the screen."""
        if self._silent:
            return
        text = printable(text)
        width = min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST)
        indent = " " * (len(text) - len(text.lstrip()) + 2)
        lines = textwrap.wrap(
            text, max(width, 40), subsequent_indent=indent, break_on_hyphens=False,
            break_long_words=False, replace_whitespace=False, drop_whitespace=True,
        )  # fmt: skip
        for line in lines or [""]:
            self._console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def working(self, words: str) -> Iterator[None]:
        """Show that something goes on, while it does, where somebody can see it."""
        if not self.live:
            yield
            return
        with self._console.status(words):
            yield

    def fact(self, name: str, words: str) -> None:
        """Print what something is."""
        self.say(f"{name:<8} {words}".rstrip())
