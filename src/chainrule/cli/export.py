"""`chainrule export`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from chainrule.cli.loaded import load, load_table
from chainrule.cli.shared import (
    Page,
    check_overwrite,
    member_option,
    of_option,
    plain_option,
    read_options,
)

if TYPE_CHECKING:
    from chainrule.network import Network

_FOR_C = ("dtype", "arithmetic", "quantize", "name", "main")


@click.command(
    epilog="""\b
    Examples:
      chainrule export net.safetensors --to c --out model.c
      chainrule export net.safetensors --to c --out model.c --main
      chainrule export net.safetensors --to c --out model.c --quantize int8 --data samples.csv
      chainrule export net.safetensors --to onnx --out model.onnx

    The model of a table is written with its preprocessing: the inputs are the columns, and
    numbers, texts, dates and missing values are read as chainrule predict reads them. A model
    with several networks becomes one graph of ONNX, which predicts their mean; C takes one of
    them, --member N. Of a file from train --by one group is written, --of GROUP.
    """
)
@click.argument("model")
@click.option(
    "--to",
    "form",
    required=True,
    type=click.Choice(["c", "onnx"]),
    help="The format: C99, or ONNX.",
)
@click.option(
    "--out",
    required=True,
    metavar="FILE",
    help="The file: .c, with a header .h beside it, or .onnx.",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float64"]),
    help="C: the type of parameters, inputs and outputs. [the network's]",
)
@click.option(
    "--arithmetic",
    type=click.Choice(["float32", "float64"]),
    help="C: the type of sums and activations. [--dtype]",
)
@click.option("--quantize", type=click.Choice(["int8"]), help="C: store each weight in one byte.")
@click.option("--name", help="C: what names in the file begin with. [the name of the file]")
@click.option("--main", is_flag=True, help="C: add a main that reads CSV, for trying the file.")
@click.option(
    "--data", metavar="FILE", help="C: samples, to measure what rounding the parameters costs."
)
@of_option
@member_option
@plain_option
@read_options
def export(model: str, form: str, out: str, data: str | None, plain: bool, **options: Any) -> None:
    """Write the file MODEL in another format: a network, or the model of a table."""
    from chainrule.loading import load as load_network

    check_overwrite(out, [out], [path for path in (model, data) if path is not None])
    for_c = {name: options.pop(name) for name in _FOR_C}
    table = load_table(model, options["missing"], options["of"])
    if table is not None and options["member"] is not None:
        table = table.member(options["member"])
    elif table is None and options["member"] is not None:
        raise click.UsageError(f"--member is for models of tables, but {model} is a network")
    network = load_network(model) if table is None else table.network
    page = Page(plain)
    if form == "onnx":
        given = [name for name, value in {**for_c, "data": data}.items() if value]
        if given:
            raise click.UsageError(f"--{given[0]} is for --to c")
        if table is None:
            network.to_onnx(out)
        else:
            from chainrule.tables.onnx import to_onnx

            to_onnx(table, out)
        page.say(f"{out}: {os.path.getsize(out):,} bytes")
        return
    measured = None if data is None else load(model, data, options)
    rounded = network.to_c(out, **for_c) if table is None else table.to_c(out, **for_c)
    page.say(f"{out}, {out[:-2]}.h: {network.parameters.size:,} parameters")
    if measured is not None:
        X, y, _ = measured.take(slice(0, measured.n_rows))
        _compare(page, network, rounded, X, y)


def _compare(page: Page, network: Network, rounded: Network, X: Any, y: Any) -> None:
    """Print what rounding the parameters costs on some samples."""
    import numpy as np

    before, after = network.loss_value(X, y), rounded.loss_value(X, y)
    change = float(np.abs(rounded.forward(X).a[-1] - network.forward(X).a[-1]).max())
    page.say(f"on {len(X):,} samples, before and after rounding the parameters:")
    page.say(f"  loss {before:.6g}, {after:.6g}")
    page.say(f"  largest change of an output {change:.3g}")
    if network.loss.name in ("cross_entropy", "binary_cross_entropy"):
        classes = network.predict_classes(X), rounded.predict_classes(X)
        n = int((classes[0] != classes[1]).sum())
        page.say(f"  samples with another class {n:,}")
