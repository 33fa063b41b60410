"""The command line: `chainrule`, also `python -m chainrule`.

Exit codes: 0 success, 1 a check did not pass, 2 wrong usage or input, 130 interrupted. An error is
one line.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from chainrule._version import __version__
from chainrule.cli.check import check
from chainrule.cli.demo import demo
from chainrule.cli.diagnose import diagnose
from chainrule.cli.explain import explain
from chainrule.cli.explore import explore
from chainrule.cli.export import export
from chainrule.cli.flow import flow
from chainrule.cli.inspect import inspect
from chainrule.cli.predict import predict
from chainrule.cli.report import report
from chainrule.cli.shared import (
    EXIT_CODES,
    INTERRUPTED,
    PIPE_CLOSED,
    USAGE,
    WIDEST,
    Commands,
    note,
    one_line_warnings,
)
from chainrule.cli.site import site
from chainrule.cli.train import train
from chainrule.cli.watch import watch
from chainrule.cli.worksheet import worksheet


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (that of this process if None) and return its exit code."""
    _speak_unicode()
    try:
        with one_line_warnings():
            code = cli.main(arguments, prog_name="chainrule", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "chainrule"
        return _complain(f"{error.format_message()} (see {where} --help)")
    except click.ClickException as error:
        return _complain(error.format_message())
    except (BrokenPipeError, SystemExit) as error:  # click and rich exit where a pipe is closed
        if isinstance(error, SystemExit) and not error.code:
            return 0  # a shell has asked how a word may end
        # Whoever read has gone. Python flushes once more at exit, and needs an open file for it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return PIPE_CLOSED
    except (click.Abort, KeyboardInterrupt):
        _complain("interrupted")
        return INTERRUPTED
    except OSError as error:
        named = error.filename is not None and error.strerror
        return _complain(f"{error.filename}: {error.strerror}" if named else str(error))
    except (ValueError, TypeError, ImportError, FloatingPointError) as error:
        return _complain(str(error))
    except MemoryError:
        return _complain("out of memory; use fewer rows, or a smaller network")
    except Exception as error:  # a bug; a traceback does not help at a terminal
        if os.environ.get("CHAINRULE_TRACEBACK"):
            raise
        what = f"{type(error).__name__}: {error}"
        return _complain(
            f"internal error ({what}). Please report it, with the traceback that "
            "CHAINRULE_TRACEBACK=1 prints."
        )


def _complain(message: str) -> int:
    note(message)
    return USAGE


def _speak_unicode() -> None:
    """Write UTF-8 to files and pipes, and what it can show to a terminal: formulas need Unicode."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        if "utf" not in (stream.encoding or "").lower() and hasattr(stream, "reconfigure"):
            stream.reconfigure(
                **({"errors": "replace"} if stream.isatty() else {"encoding": "utf-8"})
            )


# --- commands -------------------------------------------------------------------------------------

_HELP = """Train neural networks by backpropagation, and explain and prove every gradient.

    \b
    chainrule demo                                        start here
    chainrule train data.csv --target label --out model
    chainrule predict model new.csv --out predictions.csv
    chainrule report model data.csv --out report.html
    chainrule explain net.safetensors 'w[2][1,2]' --data samples.csv --row 0
    chainrule check net.safetensors --data samples.csv
    chainrule diagnose net.safetensors --data samples.csv
    chainrule flow net.safetensors --data samples.csv
    chainrule explore net.safetensors --data samples.csv
    chainrule worksheet --sizes 2,2,1 --variants 30 --out class
    chainrule export net.safetensors --to c --out model.c
    chainrule site public
    chainrule watch run

    Model files come from train, demo, or Network.save in Python.
    """


@click.group(
    cls=Commands,
    help=_HELP,
    epilog=EXIT_CODES,
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDEST},
)
@click.version_option(__version__, message="chainrule %(version)s")
@click.pass_context
def cli(context: click.Context) -> int:
    """Run a command, or show the help if there is none."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
    return USAGE


for _command in (
    demo, train, predict, inspect, report, explain, check, diagnose, flow, explore, export, site,
    watch, worksheet,
):  # fmt: skip
    cli.add_command(_command)
