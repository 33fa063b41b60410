"""`chainrule train`."""

from __future__ import annotations

import itertools
import json
import math
import os
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from chainrule.cli.inspect import data_of
from chainrule.cli.loaded import on_workers, open_table
from chainrule.cli.recipes import learn_tuned, recipe_of, recipe_option
from chainrule.cli.recording import check_watch, watch_options, watching
from chainrule.cli.shared import (
    ABOVE_0,
    INTERRUPTED,
    SEED,
    Finite,
    Page,
    ParamType,
    check_overwrite,
    note,
    plain_option,
    read_options,
)
from chainrule.cli.told import draw, learn, tell_table

if TYPE_CHECKING:
    from chainrule.tables.training import Prepared, Settings

_COPIES = 4  # of the parameters: themselves, their gradient, and two of Adam's
_SHARE = Finite(0, 1, max_open=True)


class _Hidden(ParamType[tuple[int, ...]]):
    """The units of the hidden layers: 64,32, or none."""

    name = "N,N,..."

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        """Return the units that a text names."""
        if isinstance(value, tuple):
            return value
        if value == "none":
            return ()
        if not re.fullmatch(r"[1-9]\d{0,8}(,[1-9]\d{0,8})*", value):
            self.fail(
                f"{value!r} is not a list of units; expected 64,32 or the like, or none", param, ctx
            )
        return tuple(map(int, value.split(",")))


class _Every(ParamType["int | timedelta"]):
    """An interval: a number of epochs, or a time such as 30s, 10m, 2h."""

    name = "N|TIME"

    def convert(self, value: Any, param: Any, ctx: Any) -> int | timedelta:
        """Return the epochs or the time that a text names."""
        if isinstance(value, int | timedelta):
            return value
        match = re.fullmatch(r"([1-9]\d{0,8})([smh]?)", value)
        if match is None:
            self.fail(
                f"{value!r} is not an interval; expected epochs, or a time such as 10m", param, ctx
            )
        count, unit = int(match[1]), match[2]
        return timedelta(seconds=count * {"s": 1, "m": 60, "h": 3600}[unit]) if unit else count


@click.command(
    epilog="""\b
    Examples:
      chainrule train data.csv --target label --out model
      chainrule train data.parquet --target price --hidden 128,64 --out model
      chainrule train data.csv --target label --drop name --date 'born=%d.%m.%Y' --out model
      chainrule train 'data/*.parquet' --target label --out model
      chainrule train data.csv --target label --members 8 --out model
      chainrule train data.csv --target price --target rent --out model
      chainrule train sales.csv --target units --by store --out model
      chainrule train big.parquet --target label --checkpoint run --out model
      chainrule train big.parquet --target label --checkpoint run --resume --out model

    Needs PyArrow, and matplotlib for the loss curves: pip install 'chainrule[tables]'.
    """
)
@click.argument("data")
@click.option("--target", "targets", required=True, multiple=True, metavar="COLUMN",
              help="The column to predict. Repeat it for numbers to predict together.")  # fmt: skip
@click.option("--out", required=True, metavar="FILE", help="The file for the model.")
@click.option(
    "--task",
    type=click.Choice(["auto", "classify", "regress"]),
    default="auto",
    help="Whether the target holds classes or a number. [detected]",
)
@recipe_option
@click.option(
    "--hidden", type=_Hidden(), default="64,32", show_default=True,
    help="Units of the hidden layers, or none.",
)  # fmt: skip
@click.option("--activation", default="silu", show_default=True,
              help="Activation function of the hidden layers.")  # fmt: skip
@click.option("--epochs", type=click.IntRange(1), default=200, show_default=True,
              help="The maximum number of epochs.")  # fmt: skip
@click.option("--patience", type=click.IntRange(1), default=20, show_default=True,
              help="Epochs without a better validation loss before training stops.")  # fmt: skip
@click.option(
    "--batch-size", type=click.IntRange(1), help="Rows in a batch. [by the rows: 32 to 1024]"
)
@click.option("--learning-rate", type=ABOVE_0, default=0.003, show_default=True,
              help="Learning rate of Adam at the start.")  # fmt: skip
@click.option("--l2", type=Finite(0), help="λ of the L2 penalty. [chosen by the recipe tuned; of "
              "plain 3 / rows, at most 0.01]")  # fmt: skip
@click.option("--dropout", type=_SHARE, default=0.0, show_default=True,
              help="Dropout rate of the hidden layers.")  # fmt: skip
@click.option("--members", type=click.IntRange(1, 1000), default=1, show_default=True,
              help="Train so many networks with other seeds; the mean of all is the prediction, "
              "and predict --spread tells how far they are apart.")  # fmt: skip
@click.option("--by", metavar="COLUMN",
              help="Train a model for each value of this column; predict takes that of each "
              "row.")  # fmt: skip
@click.option("--balanced", is_flag=True, help="Weight the classes so that all count the same.")
@click.option(
    "--loss",
    type=click.Choice(["squared", "absolute", "huber", "poisson"]),
    help="What the error of a number costs; poisson is for counts. [squared]",
)
@click.option("--refit/--no-refit", default=True,
              help="After the test, train again, on all rows, for as many epochs, and save that. "
              "[yes]")  # fmt: skip
@click.option("--test", type=_SHARE, default=0.2, show_default=True,
              help="Share of the rows that measure the model.")  # fmt: skip
@click.option("--validation", type=_SHARE, default=0.1, show_default=True,
              help="Share of the rows that decide when to stop.")  # fmt: skip
@click.option("--validation-data", metavar="FILE",
              help="A table whose rows decide when to stop.")  # fmt: skip
@click.option("--group", metavar="COLUMN",
              help="Split by this column: all rows of a group are in the same part.")  # fmt: skip
@click.option("--time", metavar="COLUMN",
              help="Split by this column: the latest rows are the test.")  # fmt: skip
@click.option("--weight", metavar="COLUMN", help="A column with the weight of each row.")
@click.option("--seed", type=SEED, default=0, show_default=True,
              help="Seed of the split, the weights and the batches.")  # fmt: skip
@click.option("--numeric", multiple=True, metavar="COLUMN", help="A column to read as numbers.")
@click.option("--categorical", multiple=True, metavar="COLUMN",
              help="A column to read as categories.")  # fmt: skip
@click.option("--date", "dates", multiple=True, metavar="COLUMN[=FORMAT]",
              help="A column to read as dates, in ISO 8601 or as in %d/%m/%Y.")  # fmt: skip
@click.option("--drop", multiple=True, metavar="COLUMN", help="A column to leave out.")
@click.option("--max-categories", type=click.IntRange(1),
              help="The maximum number of categories; all others count as one. [by the rows: 1000, "
              "fewer from 67,000 rows on]")  # fmt: skip
@read_options
@click.option("--workers", metavar="ADDRESS",
              help="Look through the files of a pattern on a cluster, and with --micro-batches "
              "train there: dask://local:2, ray://auto, dask://HOST:PORT, ...")  # fmt: skip
@click.option("--micro-batches", type=click.IntRange(1), metavar="M",
              help="Add up each batch from so many parts, whose result does not depend on who "
              "computes them.")  # fmt: skip
@click.option("--local-steps", type=click.IntRange(1), metavar="K",
              help="With --micro-batches, let each part take K steps of its own before they are "
              "averaged: fewer exchanges, mostly a worse model.")  # fmt: skip
@click.option("--checkpoint", metavar="FOLDER",
              help="Save the run in this folder, or at an address such as s3://bucket/run, to "
              "resume it.")  # fmt: skip
@click.option("--every", type=_Every(), default="1", show_default=True,
              help="Epochs or time (30s, 10m) between checkpoints.")  # fmt: skip
@click.option("--keep", type=click.IntRange(1), default=2, show_default=True,
              help="Number of checkpoints to keep.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Resume from the newest checkpoint in that folder.")
@watch_options
@click.option("--plot/--no-plot", default=True, help="Draw the loss curves beside the model. [yes]")
@plain_option
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, at the end.")
def train(data: str, out: str, **given: Any) -> int:
    """Train a network on the table DATA to predict one of its columns.

    DATA is a CSV, TSV, JSON Lines, Parquet or Arrow file of any size, also compressed, with a name
    for each column, - for the standard input, or a pattern in quotes for a table in many files.
    Prints what becomes of each column, trains, and measures the model on held-out rows, beside a
    baseline. Numbers are standardised, categories become one-hot, and dates are split into parts;
    the model file keeps all of this. --numeric,
    --categorical, --date, --drop and --missing may be repeated.
    """
    page = Page(given["plain"], silent=given["as_json"])
    plot = _plot_path(out) if given["plot"] and given["by"] is None else None
    _check(data, out, plot, given)
    check_watch(given)
    settings = _settings(given)
    source = open_table(data, given)
    watched = given["validation_data"]
    watched = None if watched is None else open_table(watched, given)
    if given["by"] is not None:
        from chainrule.cli.by import train_groups

        done = train_groups(page, source, settings, _keeping(given), out, given["as_json"])
        return 0 if done else _interrupted(given["checkpoint"])
    from chainrule.tables import training

    with (
        page.working(f"reading {data}"),
        on_workers(source, given["workers"], given["micro_batches"] is not None),
    ):
        apart = given["micro_batches"] is not None  # its rows are read by whoever trains with them
        prepared = training.prepare(source, settings, watched, apart=apart)
    tell_table(page, prepared)
    _check_memory(prepared)
    if prepared.settings.recipe == "tuned":
        trained = learn_tuned(page, prepared)
    else:
        if settings.recipe == "tuned":
            page.fact("recipe", "plain: the table is too large for the tuned one")
        trained = learn(page, prepared, _keeping(given))
    if trained is None:
        return _interrupted(given["checkpoint"])
    model, histories = trained
    model.save(out)
    drawn = plot if plot is not None and draw(histories, plot, data) else None
    saved = f"Saved: {out}"
    if drawn is not None:
        saved += f", and the loss curves in {drawn}"
    elif plot is not None:
        saved += " (loss curves need matplotlib: pip install 'chainrule[tables]')"
    page.say()
    page.say(saved, "bold")
    if given["as_json"]:
        files = {"model": out, "plot": drawn, "data": data, "rows": prepared.n_rows}
        told = files | data_of(model.network, model)
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
    return 0


def _interrupted(folder: str | None) -> int:
    epoch = _reached(folder)
    where = "" if epoch is None else f". Resume from epoch {epoch} with --resume."
    note(f"interrupted; no model was written{where}")
    return INTERRUPTED


def _plot_path(out: str) -> str:
    stem = out.removesuffix(".safetensors")
    return f"{stem}.png"


def _check(data: str, out: str, plot: str | None, given: dict[str, Any]) -> None:
    """Raise for what would go wrong at the end, before anything is read."""
    written = [path for path in (out, plot) if path is not None]
    own = given["validation_data"]
    check_overwrite(out, written, [data] if own is None else [data, own])
    if own is not None and _is_said("validation"):
        raise click.UsageError("--validation and --validation-data contradict each other")
    if own == data == "-":
        raise click.UsageError("DATA and --validation-data are both -; name a file")
    targets = given["targets"]
    if twice := [name for name in targets if targets.count(name) > 1]:
        raise click.UsageError(f"--target names the column {twice[0]!r} twice; name it once")
    if given["by"] is not None and len(targets) > 1:
        raise click.UsageError("--by takes one --target; train a model for each")
    if given["by"] is not None:
        for option in ("validation_data", "plot", "micro_batches"):
            if _is_said(option) and given[option]:
                name = option.replace("_", "-")
                raise click.UsageError(f"--by and --{name} contradict each other; leave one out")
    if given["local_steps"] is not None and given["micro_batches"] is None:
        raise click.UsageError("--local-steps needs --micro-batches M, whose parts take them")
    if given["members"] > 1 and given["micro_batches"] is not None:
        raise click.UsageError("--members and --micro-batches contradict each other; leave one out")
    if given["group"] is not None and given["time"] is not None:
        raise click.UsageError("--group and --time contradict each other; split by one of them")
    for path in written:
        if os.path.isdir(path):
            raise IsADirectoryError(21, "Is a directory", path)
        folder = os.path.dirname(os.path.realpath(path))
        if not os.path.isdir(folder):
            raise FileNotFoundError(2, "No such file or directory", path)
        if not os.access(folder, os.W_OK):
            raise PermissionError(13, "Permission denied", path)
    from chainrule.network import Network

    Network([1, 1, 1], hidden=given["activation"])  # raises what is wrong with it
    for option in ("every", "keep"):
        if given["checkpoint"] is None and _is_said(option):
            raise click.UsageError(f"--{option} needs --checkpoint FOLDER, the folder of the run")
    if given["test"] + given["validation"] >= 0.9:
        raise click.UsageError(
            "--test and --validation leave too few rows to learn from; their sum must be below 0.9"
        )
    folder = given["checkpoint"]
    if given["resume"] and folder is None:
        raise click.UsageError("--resume needs --checkpoint FOLDER, the folder of the run")
    if given["resume"] and (epoch := _reached(folder)) is not None:
        _check_members(folder, given["members"], given["by"] is not None)
    elif (epoch := _reached(folder)) is not None:
        raise click.UsageError(
            f"{folder} holds a run that reached epoch {epoch}. Resume it with --resume, or name "
            "another folder."
        )


def _is_said(option: str) -> bool:
    source = click.get_current_context().get_parameter_source(option)
    return source is not click.core.ParameterSource.DEFAULT


def _check_memory(prepared: Prepared) -> None:
    """Raise ValueError for a network that does not fit in memory, before it is built."""
    schema = prepared.schema
    sizes = (len(schema.inputs), *prepared.settings.hidden, len(schema.outputs))
    n = sum((fan_in + 1) * units for fan_in, units in itertools.pairwise(sizes))
    members = prepared.settings.members
    need = _COPIES * 4 * n * members  # bytes in float32
    if need > _memory():
        whole = "it" if members == 1 else f"{members} of them"
        raise ValueError(
            f"a network of {'-'.join(map(str, sizes))} units has {n:,} parameters; training "
            f"{whole} takes {need / 1e9:,.4g} GB, more than this machine has. Use fewer units "
            "(--hidden)."
        )


def _memory() -> float:
    """Return the memory of this machine in bytes, or infinity if it is not known."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return math.inf


def _reached(folder: str | None) -> int | None:
    """Return the epoch of the newest checkpoint in a folder, or None."""
    from chainrule.storage.addresses import listed
    from chainrule.training.checkpoints import epoch_of

    names = [] if folder is None else [name.split("/") for name in listed(folder)]
    runs = [parts for parts in names if all(map(str.isdigit, parts[:-1])) and len(parts) <= 3]
    return max((epoch for *_, name in runs if (epoch := epoch_of(name)) is not None), default=None)


def _numbered(names: list[str], at: str = "") -> list[str]:
    """Return the folders of the runs in a folder: of members, or of groups."""
    inner = {name.removeprefix(at).partition("/")[:2] for name in names if name.startswith(at)}
    return sorted(f"{at}{name}/" for name, slash in inner if slash and name.isdigit())


def _check_members(folder: str, members: int, by: bool) -> None:
    """Raise UsageError unless the run in a folder is one of as many networks."""
    from chainrule.storage.addresses import listed

    names = listed(folder)
    runs = _numbered(names)
    own = [run for path in runs[:1] for run in _numbered(names, path)]
    held = bool(own), len(own or runs) or 1
    if held != (by, members):
        words = [f"{'--by and ' * by}--members {count}" for by, count in (held, (by, members))]
        raise click.UsageError(
            f"{folder} holds a run with {words[0]}; this one has {words[1]}. Use the same, or name "
            "another folder."
        )


def _settings(given: dict[str, Any]) -> Settings:
    from chainrule.tables.profile import Wishes
    from chainrule.tables.roles import Roles
    from chainrule.tables.source import missing_texts
    from chainrule.tables.training import Settings

    dates: dict[str, str] = {}
    for wish in given["dates"]:
        match = re.fullmatch(r"(.+?)=(.*%.*)", wish, re.DOTALL)
        name = match[1] if match else wish
        if name in dates:
            raise click.UsageError(f"--date names the column {name!r} twice; name it once")
        dates[name] = match[2] if match else ""
    wishes = Wishes(given["numeric"], given["categorical"], dates, given["drop"])
    first, *others = given["targets"]
    same = (
        "hidden", "activation", "epochs", "batch_size", "learning_rate", "l2", "dropout",
        "patience", "test", "validation", "balanced", "loss", "refit",
        "max_categories", "seed", "members",
    )  # fmt: skip
    return Settings(
        first, more_targets=tuple(others), **{name: given[name] for name in same},
        recipe=recipe_of(given, _is_said),
        task=None if given["task"] == "auto" else given["task"],
        missing=missing_texts(given["missing"]), wishes=wishes,
        roles=Roles(given["weight"], given["group"], given["time"], given["by"]),
    )  # fmt: skip


def _keeping(given: dict[str, Any]) -> dict[str, Any]:
    options = watching(given)
    if given["checkpoint"] is not None:
        options |= {name: given[name] for name in ("checkpoint", "every", "keep", "resume")}
    if given["micro_batches"] is not None:
        own = {name: given[name] for name in ("micro_batches", "local_steps")}
        options |= {**own, "on": given["workers"]}
    return options
