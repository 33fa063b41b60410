"""What commands share: exit codes, messages, ranges of rows, options, and the page."""

from __future__ import annotations

import itertools
import math
import os.path
import re
import shutil
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from chainrule.tables.source import counted

FAILED, USAGE, INTERRUPTED, PIPE_CLOSED = 1, 2, 130, 141
WIDEST = 100  # characters in a line; longer lines are hard to read
EXIT_CODES = (
    "Exit codes: 0 success, 1 a check did not pass, 2 wrong usage or input, 130 interrupted."
)
F = TypeVar("F", bound=Callable[..., Any])

if TYPE_CHECKING:
    from click import ParamType as ParamType

    from chainrule.tables.schema import Target
else:

    class ParamType(click.ParamType):
        """The type of an argument, which is generic only from click 8.4 on."""

        def __class_getitem__(cls, item: object) -> type:
            """Return the class itself."""
            return cls


class Rows(ParamType[slice]):
    """A range of rows as Python writes it: 0:32, 100:, :10."""

    name = "A:B"

    def convert(self, value: Any, param: Any, ctx: Any) -> slice:
        """Return the slice that a text names."""
        if isinstance(value, slice):
            return value
        match = re.fullmatch(r"(\d*):(\d*)", value)
        if match is None:
            self.fail(f"{value!r} is not a range of rows; expected A:B, such as 0:32", param, ctx)
        first, last = (int(text) if text else None for text in match.groups())
        return slice(first, last)


class Finite(click.FloatRange):
    """A finite number in a range."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Return the number that a text names."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


ABOVE_0 = Finite(0, min_open=True)
SEED = click.IntRange(0, 2**63 - 1)


class Delimiter(ParamType[str]):
    r"""The character between columns, or \t for a tab."""

    name = "CHARACTER"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Return the character that a text names."""
        mark = "\t" if value == r"\t" else str(value)
        if len(mark) != 1 or not mark.isascii() or mark in '"\r\n\0':
            self.fail(
                f"{value!r} is not a delimiter; expected one ASCII character, such as ; or \\t",
                param, ctx,
            )  # fmt: skip
        return mark


def printable(text: str) -> str:
    """Replace what would control a terminal, because names in files may hold anything."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def note(words: str) -> None:
    """Print one line on the standard error."""
    click.echo(f"chainrule: {printable(' '.join(words.split()))}", err=True)


@contextmanager
def one_line_warnings() -> Iterator[None]:
    """Print warnings as the command line prints errors: in one line."""

    def show(message: Any, *_: Any, **__: Any) -> None:
        note(str(message))

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def choose(rows: slice, n_rows: int, path: str) -> slice:
    """Return a range of rows within a table; raise UsageError if it is empty."""
    start, stop, _ = rows.indices(n_rows)
    if start >= stop:
        raise click.UsageError(
            f"there are no rows in {rows.start or 0}:{rows.stop or ''}; {has(n_rows, path)}"
        )
    return slice(start, stop)


def has(n_rows: int, path: str) -> str:
    """Return which rows a file has, in words."""
    return f"{path} has {'only row 0' if n_rows == 1 else f'rows 0 to {n_rows - 1}'}"


def test_rows(n: int) -> str:
    """Return the number of test rows, in words."""
    return counted(n, "test row")


def rows_have(n: int) -> str:
    """Return the beginning of a sentence about n rows."""
    return "1 row has" if n == 1 else f"{n:,} rows have"


def without_target(n: int) -> str:
    """Return a sentence about n rows that have no target."""
    return f"{rows_have(n)} no target and {'is' if n == 1 else 'are'} left out"


def a_number(target: Target) -> str:
    """Return a description of a target that is a number."""
    return f"a number, mean {target.mean:.6g}, standard deviation {target.scale:.6g}"


def check_overwrite(
    out: str, written: Iterable[str], inputs: Iterable[str], option: str = "--out"
) -> None:
    """Raise UsageError if a file that an option writes is one of the inputs."""
    for path, read in itertools.product(written, inputs):
        if os.path.exists(path) and os.path.exists(read) and os.path.samefile(path, read):
            raise click.UsageError(
                f"{option} {out} would overwrite {read}, which is an input; choose another name"
            )


class Commands(click.Group):
    """Commands that refuse an option that is given twice, of which click takes the last."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command and its arguments; raise UsageError for an option given twice."""
        name, command, rest = super().resolve_command(ctx, args)
        of_its_own = isinstance(command, click.Group)  # whose commands have the options
        if command is not None and not of_its_own and not ctx.resilient_parsing:
            own = command.context_class(command, info_name=name, parent=ctx)
            _, _, given = command.make_parser(own).parse_args(list(rest))
            for option in given:
                if not isinstance(option, click.Option) or option.multiple or option.count:
                    continue
                takes = not option.is_flag or option.secondary_opts
                if takes and (times := given.count(option)) > 1:
                    names = "/".join(option.opts + option.secondary_opts)
                    raise click.UsageError(f"{names} is given {times} times; give it once", own)
        return name, command, rest


header_option = click.option(
    "--header/--no-header",
    default=None,
    help="Whether the first line of a CSV or TSV file names the columns. [detected]",
)
hidden_option = click.option(
    "--hidden",
    metavar="NAME",
    default="tanh",
    show_default=True,
    help="Activation function of the hidden layers of a new network.",
)
dataset_option = click.option(
    "--dataset", metavar="NAME", help="Classic samples instead: circles, moons, ..."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
member_option = click.option(
    "--member",
    type=click.IntRange(0),
    metavar="N",
    help="Which network of a model from train --members, counted from 0.",
)
of_option = click.option(
    "--of", metavar="GROUP", help="Which group's model of a file from train --by."
)
plain_option = click.option("--plain", is_flag=True, help="Print no colour and no progress bar.")


def read_options(command: F) -> F:
    """Add the options for reading a text file to a command."""
    for option in (
        header_option,
        click.option(
            "--delimiter",
            type=Delimiter(),
            help="The character between columns, \\t for a tab. [detected]",
        ),
        click.option(
            "--decimal",
            type=click.Choice([".", ","]),
            default=".",
            show_default=True,
            help="The decimal mark in a CSV or TSV file.",
        ),
        click.option(
            "--encoding",
            metavar="NAME",
            default="utf-8",
            show_default=True,
            help="The encoding of a CSV or TSV file: utf-8, latin-1, utf-16, ...",
        ),
        click.option(
            "--missing",
            multiple=True,
            metavar="TEXT",
            help="Another text that stands for no value, beside NA, null, ? and the like; '' for "
            "none but empty cells. May be repeated.",
        ),
    ):
        command = option(command)
    return command


def data_options(command: F) -> F:
    """Add --data and the options for reading it to a command."""
    data = click.option(
        "--data",
        required=True,
        metavar="FILE",
        help="The samples: CSV or TSV (inputs, then the class or the targets), or .npz (X, y). For "
        "the model of a table, a file with its columns.",
    )
    return data(of_option(member_option(read_options(command))))


class Page:
    """The output of a command: plain text, with colour and a progress bar on a terminal."""

    def __init__(self, plain: bool, silent: bool = False) -> None:
        from rich.console import Console

        plain, self._silent = plain or silent, silent
        self.live = not plain and sys.stdout is not None and sys.stdout.isatty()
        self._console = Console(color_system=None, force_terminal=False) if plain else Console()

    def say(self, text: str = "", style: str | None = None) -> None:
        """Print a line, wrapped to the screen, with its continuation indented."""
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
        """Show a spinner on a terminal while the block runs."""
        if not self.live:
            yield
            return
        with self._console.status(words):
            yield

    def fact(self, name: str, words: str) -> None:
        """Print a fact behind its name."""
        self.say(f"{name:<8} {words}".rstrip())
