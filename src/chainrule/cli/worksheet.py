"""`chainrule worksheet` and `chainrule worksheet check`."""

from __future__ import annotations

import os
from typing import Any

import click

from chainrule.cli.shared import (
    ABOVE_0,
    FAILED,
    SEED,
    Commands,
    header_option,
    hidden_option,
    printable,
)
from chainrule.storage.atomic import write_atomically

_FORMATS = ["html", "pdf", "latex", "moodle", "qti", "nbgrader"]
_LEVELS = ["easy", "middle", "hard"]


class _Group(Commands):
    """A group whose own arguments may be the path of a model: only ``check`` is a command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, "-h", "--help"):
            args = ["make", *args]
        return super().parse_args(ctx, args)


@click.group(
    cls=_Group,
    subcommand_metavar="[MODEL] | check ANSWERS",
    epilog="""\b
    Examples:
      chainrule worksheet --sizes 2,2,1 --exercises 10 --variants 30 --seed 7 --out class
      chainrule worksheet net.safetensors --data samples.csv --out class
      chainrule worksheet check answers.csv --key class/key.json

    `chainrule worksheet make --help` lists the options for sheets.
    """,
)
def worksheet() -> None:
    """Set exercises for a class, with proven keys; grade the answers.

    Each student gets a variant with numbers of their own. Into the folder of --out go the sheets,
    the keys with whole derivations, an overview for the teacher, key.json and answers.csv.
    """


@worksheet.command()
@click.argument("model", required=False)
@click.option("--sizes", metavar="2,2,1", help="Draw networks of these units instead of MODEL.")
@hidden_option
@click.option("--output", metavar="NAME", default="identity", show_default=True,
              help="Activation function of their output layer.")  # fmt: skip
@click.option("--loss", metavar="NAME", default="half_squared_error", show_default=True,
              help="Their loss.")  # fmt: skip
@click.option("--data", metavar="FILE", help="The samples: CSV or TSV, or .npz (X, y). [drawn]")
@header_option
@click.option("--exercises", type=click.IntRange(1, 50), default=10, show_default=True,
              help="Exercises on a sheet.")  # fmt: skip
@click.option("--variants", type=click.IntRange(1, 500), default=1, show_default=True,
              help="Sheets, one for each student.")  # fmt: skip
@click.option("--seed", type=SEED, default=0, show_default=True,
              help="The same seed makes the same sheets.")  # fmt: skip
@click.option("--level", type=click.Choice(_LEVELS), default="middle", show_default=True,
              help="How difficult the exercises are.")  # fmt: skip
@click.option("--kinds", metavar="NAMES", help="Kinds of exercise instead of those of the level, "
              "such as z,gradient,chain.")  # fmt: skip
@click.option("--learning-rate", type=ABOVE_0, default=0.5, show_default=True, metavar="X",
              help="The learning rate of the updates.")  # fmt: skip
@click.option("--notation", metavar="NAME", default="default", show_default=True,
              help="Letters and indices: default, C-a-L or L-h.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(_FORMATS), default="html", show_default=True,
              help="Format of the sheets.")  # fmt: skip
@click.option("--out", metavar="FOLDER", required=True, help="The folder to write into.")
def make(
    model: str | None,
    sizes: str | None,
    hidden: str,
    output: str,
    loss: str,
    data: str | None,
    header: bool | None,
    exercises: int,
    variants: int,
    seed: int,
    level: str,
    kinds: str | None,
    learning_rate: float,
    notation: str,
    form: str,
    out: str,
) -> None:
    """Write sheets, keys and the teacher's overview into a folder.

    A model's weights are rounded to 2 decimals. With --sizes each student has weights of their own.
    """
    from chainrule.cli import samples
    from chainrule.cli.explore import sizes_of
    from chainrule.loading import load
    from chainrule.network import Network
    from chainrule.teach.worksheets import worksheet as make_sheets

    if (model is None) == (sizes is None):
        raise click.UsageError("choose a network: MODEL, or --sizes such as 2,2,1")
    if sizes is not None:
        network = Network(sizes_of(sizes), hidden=hidden, output=output, loss=loss, seed=0)
    else:
        assert model is not None
        network = load(model)
    X: Any = None
    y: Any = None
    if data is not None:
        table = samples.read(data, network, header)
        X, y = table.X, table.y
    sheets = make_sheets(
        network, X, y, exercises=exercises, variants=variants, seed=seed, level=level,
        kinds=None if kinds is None else [kind.strip() for kind in kinds.split(",")],
        draw_weights=sizes is not None, learning_rate=learning_rate, notation=notation,
    )  # fmt: skip
    for path in sheets.save(out, form):
        click.echo(path)


@worksheet.command()
@click.argument("answers")
@click.option("--key", metavar="FILE", help="The key. [key.json beside ANSWERS]")
@click.option("--out", metavar="FILE", help="Write the grades as CSV, too.")
def check(answers: str, key: str | None, out: str | None) -> int:
    """Grade a table of answers, and say what went wrong.

    ANSWERS is a CSV file with the columns student, variant, 1, 2, ..., as answers.csv beside the
    sheets. An answer is a number, arithmetic such as 0.5*0.2, a letter, or a formula.
    Exits 1 if no row has answers.
    """
    from chainrule.teach.worksheets import grading

    beside = os.path.join(os.path.dirname(answers), "key.json")
    grades = grading.check(answers, beside if key is None else key)
    if not grades:
        click.echo(f"{answers} has no answers")
        return FAILED
    for line in grading.summary(grades).splitlines():
        click.echo(printable(line))
    if out is not None:
        write_atomically(out, grading.table(grades).encode())
    return 0
