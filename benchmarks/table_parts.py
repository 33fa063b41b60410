"""The recipe of tables, and each of its parts alone; also parts that it does not take.

Label smoothing gives a share of each label to all classes alike. Target statistics give a category
of many the mean of its targets, taken from the other folds and smoothed with ten rows of the mean.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from benchmarks.table_data import Table
from benchmarks.table_peers import System
from chainrule.tables import measures, recipe, training, tuning
from chainrule.tables.memory import Memory
from chainrule.tables.preprocessing import Preprocessing
from chainrule.tables.recipe import LAMBDAS, Candidate, Task
from chainrule.tables.schema import Schema, Target
from chainrule.training.many import fit_many

MANY = 50  # categories of a column that has statistics
PRIOR = 10.0  # rows of the mean of all in the mean of a category


def chainrule(**how: Any) -> System:
    """Return our estimator."""

    def run(train: Any, test: Any, table: Table) -> tuple[Any, float]:
        from chainrule.sklearn import TabularClassifier, TabularRegressor

        made: Any = (TabularRegressor, TabularClassifier)[table.classify](random_state=0, **how)
        X, y = train.drop(columns=table.target), train[table.target]
        begun = perf_counter()
        made.fit(X, y.astype(str) if table.classify else y)
        seconds = perf_counter() - begun
        X = test.drop(columns=table.target)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not table.classify:
                return made.predict(X), seconds
            return (made.predict_proba(X), made.classes_.tolist()), seconds

    return run


def part(given: Sequence[Candidate]) -> System:
    """Return the recipe with some of its candidates alone."""

    def run(train: Any, test: Any, table: Table) -> tuple[Any, float]:
        begun = perf_counter()
        tuned = tuning.tune(_prepared(train, table), given)
        seconds = perf_counter() - begun
        schema = tuned.prepared.schema
        return _told(schema.target, tuned.network.predict(_inputs(schema, test))), seconds

    return run


def smoothing(share: float) -> System:
    """Return the recipe with a share of each label given to all classes; of numbers as it is."""

    def smoothed(networks: Any, X: Any, y: Any, **options: Any) -> Any:
        if y.ndim == 1:
            count = networks[0].sizes[-1]
            y = ((1 - share) * np.eye(count)[y] + share / count).astype(np.float32)
        return fit_many(networks, X, y, **options)

    def run(train: Any, test: Any, table: Table) -> tuple[Any, float]:
        with mock.patch.object(recipe, "fit_many", smoothed):
            return part(recipe.candidates(True, None))(train, test, table)

    return run


def statistics(alone: bool) -> System:
    """Return the recipe with target statistics, beside or instead of an input for each category."""

    def run(train: Any, test: Any, table: Table) -> tuple[Any, float]:
        begun = perf_counter()
        prepared = _prepared(train, table)
        schema = prepared.schema
        many = [
            c.name for c in schema.categorical if len(c.categories) + len(c.rares) >= MANY
        ]  # fmt: skip
        values = sum(not _is_piece(name) for name in schema.inputs)
        task = tuning.task_of(prepared, [0], values, (), 0)
        left = [not alone or name.split("=")[0] not in many for name in schema.inputs]
        X, others = task.X[:, left], _inputs(schema, test)[:, left]
        for name in many:
            texts = [frame[name].fillna("").astype(str).to_numpy() for frame in (train, test)]
            learned, told = _statistics(task, *texts)
            X, others = np.hstack([learned, X]), np.hstack([told, others])
        values = X.shape[1] - sum(map(_is_piece, schema.inputs))
        found = recipe.search(
            replace(task, X=np.ascontiguousarray(X), values=values),
            recipe.candidates(values < X.shape[1], None),
        )
        seconds = perf_counter() - begun
        return _told(schema.target, found.network(X.shape[1]).predict(others)), seconds

    return run


def _is_piece(name: str) -> bool:
    return " from " in name and " to " in name and "=" not in name


def _statistics(
    task: Task, texts: NDArray[Any], others: NDArray[Any]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the standardised statistics of the training rows, and those of other rows."""
    names, place = np.unique(np.concatenate([texts, others]), return_inverse=True)
    own, of_others = place[: len(texts)], place[len(texts) :]
    y = np.eye(int(task.y.max()) + 1)[task.y][:, 1:] if task.y.ndim == 1 else task.y

    def means(rows: NDArray[Any]) -> NDArray[Any]:
        count = np.bincount(own[rows], minlength=len(names))[:, None]
        total = np.zeros((len(names), y.shape[1]))
        np.add.at(total, own[rows], y[rows])
        return (total + PRIOR * y[rows].mean(axis=0)) / (count + PRIOR)

    made = np.empty(y.shape)
    for k in range(recipe.FOLDS):
        out = task.folds == k
        made[out] = means(np.flatnonzero(~out))[own[out]]
    told = means(np.arange(len(own)))[of_others]
    mean, scale = made.mean(axis=0), made.std(axis=0) + 1e-9
    return ((made - mean) / scale).astype(np.float32), ((told - mean) / scale).astype(np.float32)


def _prepared(train: Any, table: Table) -> training.Prepared:
    """Return the rows of a frame, ready for the recipe."""
    import pyarrow as pa

    if table.classify:
        train = train.assign(**{table.target: train[table.target].astype(str)})
    settings = training.Settings(
        table.target, task="classify" if table.classify else "regress", test=0.0, recipe="tuned"
    )
    return training.prepare(Memory(pa.Table.from_pandas(train, preserve_index=False)), settings)


def _inputs(schema: Schema, test: Any) -> NDArray[np.float32]:
    """Return the inputs of other rows."""
    import pyarrow as pa

    source, start, made = Memory(pa.Table.from_pandas(test, preserve_index=False)), 0, []
    for batch in source.batches([column.name for column in schema.columns]):
        made.append(Preprocessing(schema).transform(batch, source, start))
        start += batch.num_rows
    return np.concatenate(made)


def _told(target: Target, outputs: Any) -> Any:
    """Return the predicted numbers, or the probabilities and the names of the classes."""
    if target.task == "classify":
        return outputs, list(target.classes)
    return measures.predicted_numbers(target, outputs)


PARTS = {
    "numbers": part([Candidate(False, 1e-3)]), "pieces": part([Candidate(True, 1e-3)]),
    "numbers λ": part([Candidate(False, l2) for l2 in LAMBDAS]),
    "pieces λ": part([Candidate(True, l2) for l2 in LAMBDAS]),
    "smoothing 0.1": smoothing(0.1), "smoothing 0.02": smoothing(0.02),
    "statistics": statistics(alone=True), "statistics beside": statistics(alone=False),
}  # fmt: skip
