"""What a model has learned: how much each column matters, and how the prediction moves with it.

Columns are changed as cells of the table, before the preprocessing, so that all inputs that come
from a column change with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.equations.checks import guess, listed
from chainrule.tables import measures, notation
from chainrule.tables.cells import Floats
from chainrule.tables.preprocessing import Preprocessing, numeric_parts
from chainrule.tables.schema import Column, Schema
from chainrule.tables.source import Source, TableError

if TYPE_CHECKING:
    import pyarrow as pa

    from chainrule.network import Network

MOST = 10_000  # rows that are looked at; of more, so many at random
DAY = 86400.0
Inputs = NDArray[np.float32]
Transform = Callable[["pa.Table"], Inputs]
Networks = Sequence["Network"]  # of which the mean predicts


def transform_of(schema: Schema, source: Callable[[pa.Table], Source]) -> Transform:
    """Return a function from rows to inputs; ``source`` makes a source of a table in memory."""
    preprocessing = Preprocessing(schema)
    return lambda batch: preprocessing.transform(batch, source(batch), 0)


def find(schema: Schema, name: str) -> Column:
    """Return a column of the model; raise TypeError or ValueError for what is none."""
    if not isinstance(name, str):
        raise TypeError(f"column is a {type(name).__name__}; expected the name of a column")
    names = [column.name for column in schema.columns]
    if name not in names:
        raise TableError(
            f"the model has no column {name!r}{guess(name, names)}; it has {listed(names)}"
        )
    return schema.columns[names.index(name)]


def some_rows(n: int, seed: int, most: int = MOST) -> NDArray[np.int64] | None:
    """Return the rows to look at, in order, if there are more than ``most``."""
    if n <= most:
        return None
    return np.sort(np.random.default_rng(seed).choice(n, most, replace=False))


# --- importance -----------------------------------------------------------------------------------


def rises(
    networks: Networks,
    transform: Transform,
    batch: pa.Table,
    y: NDArray[Any],
    name: str,
    repeats: int,
    rng: np.random.Generator,
) -> list[float]:
    """Return by how much the mean loss rises if the cells of a column are shuffled (Breiman, 2001).

    ``y`` holds the targets as the network takes them. Each repeat shuffles again.
    """
    before = loss(networks, transform(batch), y)
    at, column = batch.column_names.index(name), batch.column(name)
    made = []
    for _ in range(repeats):
        shuffled = column.take(rng.permutation(len(y)))
        X = transform(batch.set_column(at, name, shuffled))
        made.append(loss(networks, X, y) - before)
    return made


def loss(networks: Networks, X: Inputs, y: NDArray[Any]) -> float:
    """Return the mean loss of the mean of networks, without the penalty."""
    first = networks[0]
    if len(networks) == 1:
        return first.loss_value(X, y) - first.penalty()
    a = _mean(networks, X)
    if y.ndim == 1:
        of_class = np.maximum(a[np.arange(len(y)), y], np.finfo(np.float32).tiny)
        return float(-np.log(of_class).mean())
    return float(first.loss.value(a, np.asarray(y, dtype=np.float64)).sum(axis=1).mean())


def _mean(networks: Networks, X: Inputs) -> Floats:
    """Return the mean of the outputs of networks, in float64."""
    total = np.zeros(())
    for network in networks:
        total = total + np.asarray(network.predict(X), dtype=np.float64)
    return total / len(networks)


def as_importance(found: Mapping[str, Sequence[float]]) -> pa.Table:
    """Return the rises of each column as a table, the largest mean first."""
    import pyarrow as pa

    order = sorted(found, key=lambda name: -float(np.mean(found[name])))
    return pa.table({
        "column": pa.array(order, pa.string()),
        "importance": pa.array([float(np.mean(found[name])) for name in order]),
        "deviation": pa.array([float(np.std(found[name])) for name in order]),
    })  # fmt: skip


# --- partial dependence ---------------------------------------------------------------------------


def outputs(networks: Networks, schema: Schema, X: Inputs) -> dict[str, Floats]:
    """Return what networks predict: the number in its own units, or a probability of each class.

    The names are those that predictions have.
    """
    out = _mean(networks, X)
    target = schema.target
    if target.task == "regress":
        return {
            each.name: measures.predicted_numbers(each, out[:, [j]])
            for j, each in enumerate(schema.targets)
        }
    return {f"probability_{name}": out[:, j] for j, name in enumerate(target.classes)}


def partial_dependence(
    networks: Networks, schema: Schema, transform: Transform, batch: pa.Table, source: Source,
    column: Column, points: int,
) -> pa.Table:  # fmt: skip
    """Return the mean prediction of rows if all had the same value in a column, for some values.

    These are the categories, or at most ``points`` quantiles of the rows, from the twentieth to
    the last but one twentieth (Friedman, 2001).
    """
    import pyarrow as pa

    values = grid(batch, source, column, schema.missing, points)
    at = batch.column_names.index(column.name)
    means: dict[str, list[float]] = {}
    for i in range(len(values)):
        same = pa.concat_arrays([values.slice(i, 1)] * batch.num_rows)
        X = transform(batch.set_column(at, column.name, same))
        for name, predicted in outputs(networks, schema, X).items():
            means.setdefault(name, []).append(float(predicted.mean()))
    if column.name in means:
        raise TableError(
            f"column {column.name!r} has the name of a prediction. Rename it in the table, and "
            "train again."
        )
    return pa.table({column.name: values, **{k: pa.array(v) for k, v in means.items()}})


def grid(
    batch: pa.Table, source: Source, column: Column, missing: Sequence[str], points: int
) -> pa.Array:
    """Return the values of a column that a partial dependence takes, as cells."""
    import pyarrow as pa

    if column.kind == "category":
        return pa.array(column.categories, pa.string())
    values = numeric_parts(batch, source, 0, column, missing)[0]
    here = values[~np.isnan(values)]
    if not len(here):
        raise TableError(f"column {column.name!r} has no value in any row; expected one or more")
    shares = np.linspace(0.05, 0.95, points)
    return cells_of(np.unique(np.quantile(here, shares, method="inverted_cdf")), column)


def cells_of(values: Floats, column: Column) -> pa.Array:
    """Return numbers of a column, or the days of a date, as cells that it takes."""
    import pyarrow as pa

    if column.kind == "number":
        return pa.array(values)
    micro = np.round(values * DAY * 1e6).astype(np.int64)
    if column.form == notation.TIME:
        return pa.array(micro, pa.int64()).cast(pa.time64("us"))
    return pa.array(micro, pa.int64()).cast(pa.timestamp("us"))
