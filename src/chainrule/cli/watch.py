"""`chainrule watch`."""

from __future__ import annotations

import json
from typing import Any

import click

from chainrule.cli.serving import serving_options, warn_of_others
from chainrule.cli.shared import EXIT_CODES, json_option
from chainrule.equations.numbers import format_number

_SERVING = ("address", "port", "browser")


@click.command(
    epilog=f"""\b
    Examples:
      chainrule watch run
      chainrule watch run --suspects 20
      chainrule watch run --why 'fc1.weight[3,7]' --step 120
      chainrule watch run --why 'w[1][2,3]'
      chainrule watch run --html run.html
      chainrule watch run --tensorboard logs
      chainrule watch run --open

    {EXIT_CODES}
    """
)
@click.argument("folder")
@click.option("--why", metavar="TARGET", help="Why this weight moved, such as 'fc1.weight[3,7]'.")
@click.option("--step", type=click.IntRange(0), help="The step. [the last one]")
@click.option(
    "--suspects", type=click.IntRange(1), metavar="N", help="The N rows with the largest losses."
)
@click.option("--html", metavar="FILE", help="Write a page with curves, steps and samples.")
@click.option("--tensorboard", metavar="FOLDER", help="Write the steps as logs of TensorBoard.")
@click.option("--mlflow", metavar="EXPERIMENT", help="Send the steps to MLflow.")
@click.option(
    "--open", "opened", is_flag=True, help="Open pages in the browser that follow the run."
)
@serving_options
@json_option
@click.pass_context
def watch(
    context: click.Context, folder: str, why: str | None, step: int | None, suspects: int | None,
    html: str | None, tensorboard: str | None, mlflow: str | None, opened: bool, address: str,
    port: int | None, browser: bool, as_json: bool,
) -> int:  # fmt: skip
    """Print what happened in a training run that was watched.

    FOLDER is the folder that cr.watch, fit(watch=...) or chainrule train --watch has written, also
    of a run that goes on or has died. Without options prints losses, spikes, the norms of the
    layers and the noise scale. --why takes steps of a network again; of a PyTorch model it needs a
    run that was watched with dense=True, as the model is in Python.
    --open needs more packages: pip install 'chainrule[explorer]'.
    """  # fmt: skip
    from chainrule.loading import load_run
    from chainrule.storage.atomic import write_atomically

    if step is not None and why is None:
        raise click.UsageError("--step needs --why TARGET: it says in which step the weight moved")
    if opened:
        return _open(context, folder, address, port, browser)
    for name in _SERVING:
        if _given(context, name):
            option = "--host" if name == "address" else f"--{name}"
            raise click.UsageError(f"{option} needs --open: it says how the pages are served")
    run = load_run(folder)
    if html is not None:
        write_atomically(html, run.html().encode())
    if tensorboard is not None or mlflow is not None:
        from chainrule.training.loggers import MLflowLogger, TensorBoardLogger

        if tensorboard is not None:
            TensorBoardLogger(tensorboard).log_run(run)
        if mlflow is not None:
            MLflowLogger(mlflow).log_run(run)
    if why is not None:
        move = run.why_moved(why, step)
        click.echo(json.dumps(move.to_dict(), indent=2) if as_json else move.text())
    elif suspects is not None:
        found = run.suspects(suspects)
        if as_json:
            rows: list[dict[str, Any]] = [
                {"row": s.row, "loss": s.loss, "visits": s.visits, "history": list(s.history)}
                for s in found
            ]
            click.echo(json.dumps(rows, indent=2))
        else:
            for s in found:
                times = "once" if s.visits == 1 else f"{s.visits} times"
                click.echo(f"row {s.row}: mean loss {format_number(s.loss, 4)}, seen {times}")
    elif as_json:
        click.echo(json.dumps(run.to_dict(), indent=2))
    elif html is None and tensorboard is None and mlflow is None:
        click.echo(run.text())
    return 0


def _open(
    context: click.Context, folder: str, address: str, port: int | None, browser: bool
) -> int:
    """Serve the pages of a run until Ctrl-C."""
    from chainrule.explorer import load

    for name in ("why", "suspects", "html", "tensorboard", "mlflow", "as_json"):
        if _given(context, name):
            option = "--json" if name == "as_json" else f"--{name}"
            raise click.UsageError(f"--open and {option} exclude each other; choose one")
    load("runs.host")  # says which packages are missing, before anything is read
    explorer = load("runs.showing").explore_run(folder)
    warn_of_others(address)
    explorer.serve(port, browser, address)
    click.echo("Stopped.")
    return 0


def _given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE
