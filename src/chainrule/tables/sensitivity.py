"""Sensitivity: what would change a prediction, column by column, in the units of each column.

A number has the derivative of the prediction with respect to its cell, exact through the
preprocessing. A category has the change that each other category would bring, a date those of one
day and of 365 days later, a time of day that of one hour later, and a missing number that of the
mean.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.tables import cells, learned, notation
from chainrule.tables.cells import Floats
from chainrule.tables.learned import Inputs, Networks, Transform
from chainrule.tables.notes import brief
from chainrule.tables.preprocessing import numeric_parts
from chainrule.tables.schema import Column, Schema
from chainrule.tables.source import Source

if TYPE_CHECKING:
    import pyarrow as pa

    from chainrule.network import Network

PER = "per 1"  # the change of a number: the derivative


def slopes(network: Network, X: Inputs) -> Floats:
    """Return ∂a_k/∂x_i of the outputs, (n, units_L, units_0), in float64."""
    passed = network.forward(X)
    layers = list(network.weighted_layers)
    L, n = len(layers), len(X)
    made = np.empty((n, layers[-1].units, X.shape[1]))
    for k in range(layers[-1].units):
        da = np.zeros((n, layers[-1].units))
        da[:, k] = 1
        for l in range(L, 0, -1):
            layer = layers[l - 1]
            delta = layer.activation.pull_back(da, passed.z[l], passed.a[l])
            da = delta @ layer.W.astype(np.float64)
        made[:, k] = da
    return made


def of_rows(
    networks: Networks, schema: Schema, transform: Transform, batch: pa.Table, source: Source
) -> pa.Table:
    """Return what would change the predictions of some rows: a line for each row and change.

    Its columns are ``row``, ``column``, ``value``, ``change`` (`PER`, or what the cell becomes) and
    the change of each prediction.
    """
    import pyarrow as pa

    X = transform(batch)
    now = learned.outputs(networks, schema, X)
    at_inputs = np.mean([slopes(network, X) for network in networks], axis=0)
    if schema.target.task == "regress":
        at_inputs = at_inputs * np.array([each.scale for each in schema.targets])[:, None]
    held: dict[str, list[Any]] = {name: [] for name in ("row", "column", "value", "change", *now)}

    def add(row: int, column: Column, value: str | None, change: str, moves: Any) -> None:
        said = (row, column.name, value, change, *map(float, moves))
        for name, item in zip(held, said, strict=True):
            held[name].append(item)

    for column in schema.columns:
        texts = cells.texts(batch.column(column.name), schema.missing).to_pylist()
        if column.kind == "number":
            values = numeric_parts(batch, source, 0, column, schema.missing)[0]
            slope = np.einsum("nki,ni->nk", at_inputs, steps(column, schema, values, X.shape[1]))
            for row in range(len(X)):
                if texts[row] is not None:
                    add(row, column, texts[row], PER, slope[row])
        for words, rows, changed in _switches(column, schema, batch, source):
            at = batch.column_names.index(column.name)
            then = learned.outputs(
                networks, schema, transform(batch.set_column(at, column.name, changed))
            )
            moves = np.column_stack([then[name] - now[name] for name in now])
            for row in rows:
                add(row, column, texts[row], words, moves[row])
    order = np.argsort(held["row"], kind="stable")
    types = {"row": pa.int64(), "column": pa.string(), "value": pa.string(), "change": pa.string()}
    made = pa.table({
        name: pa.array(items, types.get(name, pa.float64())) for name, items in held.items()
    })  # fmt: skip
    return made.take(pa.array(order))


def steps(column: Column, schema: Schema, values: Floats, units: int) -> Floats:
    """Return the derivative of each input with respect to the cells of a number, (n, units_0).

    At an end of two pieces of a number it is that of the upper piece.
    """
    made = np.zeros((len(values), units))
    unit = 0
    for each in schema.numeric:
        if each.name == column.name:
            break
        unit += len(each.parts)
    made[:, unit] = 1 / column.scale[0]
    if column.clip:
        z = (values - column.mean[0]) / column.scale[0]
        made[:, unit] *= (1 + np.square(z / column.clip)) ** -1.5
    of_pieces = [each for each in schema.numeric if each.bins]
    unit = units - sum(len(each.bins) - 1 for each in of_pieces)
    for each in of_pieces:
        if each.name != column.name:
            unit += len(each.bins) - 1
            continue
        last = each.bins[-1]
        for low, high in itertools.pairwise(each.bins):
            inside = (low <= values) & ((values < high) | ((values == high) & (high == last)))
            made[:, unit] = inside / (high - low)
            unit += 1
    made[np.isnan(values)] = 0
    return made


def _switches(
    column: Column, schema: Schema, batch: pa.Table, source: Source
) -> Iterator[tuple[str, list[int], pa.Array]]:
    """Yield other cells for a column: what they are in words, the rows that change, the cells."""
    import pyarrow as pa

    n = batch.num_rows
    if column.kind == "category":
        texts = cells.texts(batch.column(column.name), schema.missing).to_pylist()
        for category in column.categories:
            rows = [row for row in range(n) if texts[row] != category]
            if rows:
                yield f"to {category}", rows, pa.array([category] * n, pa.string())
        return
    values = numeric_parts(batch, source, 0, column, schema.missing)[0]
    none = np.isnan(values)
    if column.kind == "number":
        if none.any():
            mean = column.mean[0]
            words = f"to {brief(mean, column)}"
            yield words, np.flatnonzero(none).tolist(), pa.array(np.full(n, mean))
        return
    later = {"one day later": values + 1, "365 days later": values + 365}
    if column.form == notation.TIME:
        later = {"one hour later": (values + 1 / 24) % 1}
    rows = np.flatnonzero(~none).tolist()
    for words, then in later.items():
        if rows:
            yield words, rows, learned.cells_of(np.where(none, 0.0, then), column)
