"""Sample: the rows of a table that a report looks at, all or some at random."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.tables import target as targets
from chainrule.tables.learned import some_rows
from chainrule.tables.memory import Memory
from chainrule.tables.notes import Notes
from chainrule.tables.profile import Wishes
from chainrule.tables.roles import Roles, collect
from chainrule.tables.source import Source, no_rows

if TYPE_CHECKING:
    import pyarrow as pa

    from chainrule.tables.model import TableModel

MOST = 20_000  # rows


@dataclass(frozen=True)
class Sample:
    """Some rows of a table, those that have a target if the table has one.

    Attributes:
        n_rows: The number of all rows.
        n_known: The number of rows with a target, or None if the table has no such column.
        rows: The numbers of the rows, from 0.
        batch: Their cells.
        X: The inputs of the network.
        y: Classes, or numbers in their own units; empty without targets.
        group: The group of each row, if the rows were split by one when the model was trained.
        weight: The weight of each row, if the model was trained with weights.
        notes: What the training rows had not, in sentences.
        others: Targets that are not a class of the model, or not a number.
    """

    n_rows: int
    n_known: int | None
    rows: NDArray[np.int64]
    batch: pa.Table
    X: NDArray[np.float32]
    y: NDArray[Any]
    group: NDArray[np.int64] | None
    weight: NDArray[np.float64] | None
    notes: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)

    def targets(self, model: TableModel) -> NDArray[Any]:
        """Return the targets as the network takes them."""
        target = model.schema.target
        if target.task == "classify":
            return self.y
        return np.asarray((self.y - target.mean) / target.scale, dtype=np.float32)[:, None]


def take(model: TableModel, source: Source, seed: int) -> Sample:
    """Return the rows for a report; raise TableError, with the place, for what does not fit."""
    import pyarrow as pa

    model.check_columns(source)
    schema, target = model.schema, model.schema.target
    has_target = target.name in source.names
    roles = Roles(_there(model.training.get("weight"), source), _there(_group(model), source))
    names = [column.name for column in schema.columns]
    names += [target.name] if has_target else []
    names += [name for name in (roles.weight, roles.group) if name is not None]
    others: Counter[str] = Counter()
    values: list[NDArray[Any]] = []
    n_rows = 0
    for batch in source.batches([target.name] if has_target else names[:1]):
        if has_target:
            values.append(targets.encode(target, batch.column(target.name), schema.missing, others))
        n_rows += batch.num_rows
    if not n_rows:
        raise no_rows(source.path)
    known = np.arange(n_rows)
    y = np.zeros(0)
    if has_target:
        y = np.concatenate(values)
        known = np.flatnonzero(y >= 0 if target.task == "classify" else ~np.isnan(y))
    n_known = len(known) if has_target else None
    if has_target and not len(known):  # as for a table without the column
        has_target, known, n_known = False, np.arange(n_rows), 0
        y = np.zeros(0)
    chosen = some_rows(len(known), seed, MOST)
    rows = known if chosen is None else known[chosen]
    parts: list[Any] = []
    at = 0
    for batch in source.batches(names):
        here = rows[(rows >= at) & (rows < at + batch.num_rows)] - at
        parts.append(batch.take(pa.array(here)))
        at += batch.num_rows
    held = pa.concat_tables(parts).combine_chunks()
    notes = Notes()
    memory = Memory(held)
    memory.path = source.path
    X = model.preprocessing.transform(held, memory, 0, notes)
    given = collect(memory, roles, schema.missing, Wishes())
    return Sample(
        n_rows, n_known, rows, held, X, y[rows] if has_target else y, given.group, given.weight,
        notes.words(schema, memory), others,
    )  # fmt: skip


def _there(name: Any, source: Source) -> str | None:
    return name if isinstance(name, str) and name in source.names else None


def _group(model: TableModel) -> str | None:
    """Return the column by whose groups the rows were split, if that is how it was."""
    by = model.training.get("split_by")
    left_out = {column.name: column.why for column in model.schema.left_out}
    return by if isinstance(by, str) and left_out.get(by) == "the group of each row" else None
