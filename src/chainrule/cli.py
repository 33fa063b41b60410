"""The command line: `chainrule`, also `python -m chainrule`.

Exit codes: 0 done, 1 a check failed, 2 usage or input, 130 interrupted. An error is one line.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

import chainrule
from chainrule import files, tables

if TYPE_CHECKING:
    from chainrule.explain import Explanation
    from chainrule.network import Network
    from chainrule.tables import Table

_FAILED, _USAGE, _INTERRUPTED, _PIPE_CLOSED = 1, 2, 130, 141
_WIDEST = 100  # columns of a derivation; longer lines are hard to read
F = TypeVar("F", bound=Callable[..., Any])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (that of this process, if None) and give its exit code."""
    _speak_unicode()
    try:
        code = cli.main(arguments, prog_name="chainrule", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return _USAGE
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "chainrule"
        return _complain(f"{error.format_message()} ({where} --help tells more)")
    except click.ClickException as error:
        return _complain(error.format_message())
    except (BrokenPipeError, SystemExit):  # click and rich exit with 1 where a pipe is closed
        # Whoever read has gone. Python flushes once more at its end, and must find an open file.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return _PIPE_CLOSED
    except (click.Abort, KeyboardInterrupt):
        _complain("interrupted")
        return _INTERRUPTED
    except OSError as error:
        named = error.filename is not None and error.strerror
        return _complain(f"{error.filename}: {error.strerror}" if named else str(error))
    except (ValueError, TypeError, ImportError) as error:
        return _complain(str(error))
    except MemoryError:
        return _complain("out of memory")
    except Exception as error:  # a fault of ours; a person at a terminal is not helped by its trace
        if os.environ.get("CHAINRULE_TRACEBACK"):
            raise
        what = f"{type(error).__name__}: {error}"
        return _complain(f"a fault in chainrule ({what}); CHAINRULE_TRACEBACK=1 shows where")


def _complain(message: str) -> int:
    line = " ".join(message.split())
    click.echo(f"chainrule: {line}", err=True)
    return _USAGE


def _speak_unicode() -> None:
    """Formulas need Unicode: files and pipes get UTF-8, a terminal what it can show."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        if "utf" not in (stream.encoding or "").lower() and hasattr(stream, "reconfigure"):
            stream.reconfigure(
                **({"errors": "replace"} if stream.isatty() else {"encoding": "utf-8"})
            )


# --- arguments that commands share ----------------------------------------------------------------


class _Rows(click.ParamType[slice]):
    """A range of rows as Python writes it: 0:32, 100:, :10."""

    name = "A:B"

    def convert(self, value: Any, param: Any, ctx: Any) -> slice:
        if isinstance(value, slice):
            return value
        match = re.fullmatch(r"(\d*):(\d*)", value)
        if match is None:
            self.fail(f"{value!r} is no range of rows; write A:B, such as 0:32", param, ctx)
        first, last = (int(text) if text else None for text in match.groups())
        return slice(first, last)


def _data_options(command: F) -> F:
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


def _choose(table: Table, rows: slice, path: str) -> slice:
    """Check a range of rows against the table."""
    start, stop, _ = rows.indices(len(table))
    if start >= stop:
        raise click.UsageError(
            f"no rows in {rows.start or 0}:{rows.stop or ''}; {_has(table, path)}"
        )
    return slice(start, stop)


def _has(table: Table, path: str) -> str:
    n = len(table)
    return f"{path} has {'row 0 only' if n == 1 else f'rows 0 to {n - 1}'}"


# --- commands -------------------------------------------------------------------------------------

_HELP = """Train neural networks by backpropagation, and explain and prove every gradient.

    \b
    chainrule demo                                        start here
    chainrule explain net.safetensors 'w[2][1,2]' --data samples.csv --row 0
    chainrule check net.safetensors --data samples.csv

    A model file is written by Network.save in Python, or by the demo.
    """

_EXIT_CODES = "Exit codes: 0 done, 1 a check failed, 2 usage or input, 130 interrupted."


@click.group(
    help=_HELP,
    epilog=_EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": _WIDEST},
)
@click.version_option(chainrule.__version__, message="chainrule %(version)s")
def cli() -> None:
    """Hold the commands; train, predict and inspect will go beside these."""


@cli.command(epilog="Needs scikit-learn, which brings the images: pip install 'chainrule[demo]'.")
@click.option(
    "--out",
    metavar="FOLDER",
    default="demo-output",
    show_default=True,
    help="Where the model and the test images are put.",
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True)
@click.option("--epochs", type=click.IntRange(1), default=None, help="Passes over the data. [60]")
@click.option("--plain", is_flag=True, help="No colour and no progress bar.")
def demo(out: str, seed: int, epochs: int | None, plain: bool) -> int:
    """Learn handwritten digits, then explain and prove one gradient.

    A network learns 1,797 images of handwritten digits. Of those that it gets wrong, the one with
    the highest loss is shown, and the weight with the largest gradient for it is explained: the
    chain rule in symbols, in numbers, and the proof. Takes less than a minute.
    """
    from chainrule.demo import run

    return run(Path(out), seed=seed, epochs=epochs, plain=plain)


@cli.command(
    epilog="""\b
    TARGET is what the loss is derived by, with indices from 0:
      w[2][1,2]   the weight to unit 1 of layer 2 from unit 2 of layer 1
      b[2][1]     the bias of unit 1 of layer 2
      z[1][0]     the pre-activation of unit 0 of layer 1
      a[1][3]     the output of unit 3 of layer 1
      x[0]        input 0
    Quote it: to a shell, brackets mean something else.

    \b
    Examples:
      chainrule explain net.safetensors 'w[2][1,2]' --data samples.csv --row 0
      chainrule explain net.safetensors 'b[1][0]' --data samples.csv --rows 0:32
      chainrule explain net.safetensors 'x[3]' --data samples.csv --row 7 \\
          --format html --out why.html
    """
)
@click.argument("model")
@click.argument("target")
@_data_options
@click.option("--row", type=click.IntRange(0), metavar="N", help="One sample; rows count from 0.")
@click.option("--rows", type=_Rows(), help="The mean over some samples: 0:32 is the first 32.")
@click.option("--all-rows", is_flag=True, help="The mean over all samples.")
@click.option(
    "--learning-rate", type=float, metavar="X", help="Show the update with this step size, too."
)
@click.option(
    "--notation",
    metavar="NAME",
    default="default",
    help="Letters and indices: default, C-a-L or L-h, as the two lessons in examples/ write.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "latex", "html", "mathml", "json"]),
    default="text",
    show_default=True,
)
@click.option("--out", metavar="FILE", help="Write to a file instead of the screen.")
def explain(
    model: str,
    target: str,
    data: str,
    header: bool | None,
    row: int | None,
    rows: slice | None,
    all_rows: bool,
    learning_rate: float | None,
    notation: str,
    form: str,
    out: str | None,
) -> None:
    """Explain the derivative of the loss by one quantity, term by term.

    The chain rule for TARGET in the network of the file MODEL: each term on its own, the terms
    together, the numbers of the sample put in, and the proof that the result is right.
    """
    if (row is not None) + (rows is not None) + all_rows > 1:
        raise click.UsageError("--row, --rows and --all-rows exclude each other.")
    network = files.load(model)
    table = tables.read(data, network, header)
    if row is not None and row >= len(table):
        raise click.UsageError(f"there is no row {row}; {_has(table, data)}")
    if row is None and rows is None and not all_rows and len(table) > 1:
        raise click.UsageError(
            f"say which sample with --row N, --rows A:B or --all-rows; {_has(table, data)}"
        )
    chosen = slice(row, row + 1) if row is not None else _choose(table, rows or slice(None), data)
    explanation = network.explain(
        target, table.X[chosen], table.y[chosen], learning_rate=learning_rate, notation=notation
    )
    text = _render(explanation, form).rstrip("\n")
    if out is None:
        click.echo(text)
    else:
        files.write_atomically(out, f"{text}\n".encode())


def _render(explanation: Explanation, form: str) -> str:
    if form == "json":
        return json.dumps(explanation.to_dict(), indent=2, ensure_ascii=False)
    if form == "text":
        return explanation.text(width=min(shutil.get_terminal_size((_WIDEST, 24)).columns, _WIDEST))
    render: Callable[[], str] = getattr(explanation, form)
    return render()


@cli.command(
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


@cli.command(
    epilog=f"""\b
    Example:
      chainrule check net.safetensors --data samples.csv --rows 0:100

    {_EXIT_CODES}
    """
)
@click.argument("model")
@_data_options
@click.option("--rows", type=_Rows(), help="Some samples only: 0:32 is the first 32. [all]")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
def check(model: str, data: str, header: bool | None, rows: slice | None, as_json: bool) -> int:
    """Check the gradient of a network against finite differences.

    Compares every weight and bias of the network in the file MODEL (a sample of them, where there
    are many) with a central difference of the loss. Exits 0 if they agree, 1 if not.
    """
    network: Network = files.load(model)
    table = tables.read(data, network, header)
    chosen = _choose(table, rows or slice(None), data)
    report = network.check_gradient(table.X[chosen], table.y[chosen])
    click.echo(json.dumps(report.to_dict(), indent=2) if as_json else str(report))
    return 0 if report.passed else _FAILED
