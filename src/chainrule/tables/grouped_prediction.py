"""Prediction with the models of groups: each row by the model of its group, in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.equations.checks import listed
from chainrule.tables import by as training
from chainrule.tables import target as targets
from chainrule.tables.groups import GroupedModel, GroupRows, groups_of
from chainrule.tables.measures import Measured
from chainrule.tables.notes import Notes
from chainrule.tables.prediction import LOWER, OUTSIDE, UPPER, Prediction, ends, labels, spreads
from chainrule.tables.source import Source, TableError, counted

if TYPE_CHECKING:
    import pyarrow as pa

    from chainrule.tables.model import TableModel

REFUSE, EMPTY = "refuse", "empty"


@dataclass
class _Seen:
    """The rows of a group so far, their places in the table, and what is new in them."""

    source: GroupRows
    rows: list[int]
    notes: Notes = field(default_factory=Notes)


class GroupedPrediction(Prediction):
    """The predictions of the models of groups for a table; as `Prediction`.

    A row whose group has no model is an error, or with ``new_groups`` "empty" has no prediction
    and is counted in ``without``.
    """

    model: GroupedModel

    def __init__(
        self, model: GroupedModel, source: Source, kept: Sequence[str] = (),
        mark_far: bool = False, spread: bool = False, new_groups: str = REFUSE,
        level: float | None = None,
    ) -> None:  # fmt: skip
        if spread and not all(one.others for one in model.values()):
            raise TableError(
                "the models have one network each, and the spread is over several. Train them with "
                "--members 8 or the like"
            )
        for name, one in model.items() if level is not None else ():
            try:
                one.held_out.need_intervals(one.schema, level or 0.0)
            except ValueError as error:
                raise TableError(f"{model.by} {name}: {error}") from None
        self.targets = (model.target,)
        self._begin(model, model.target, source, kept, mark_far, spread, level)
        self.new_groups = new_groups
        self.without: Counter[str | None] = Counter()
        self._seen: dict[str, _Seen] = {}

    def _predict(self, batch: pa.Table) -> pa.Table:
        """Return the predictions of the next rows."""
        import pyarrow as pa

        model, target = self.model, self.target
        texts = groups_of(batch.column(model.by), model.missing)
        codes = texts.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        n, names = batch.num_rows, texts.dictionary.to_pylist()
        wide = len(target.classes) or 1
        outputs = np.full((n, wide), np.nan)
        values = np.full(n, np.nan)  # of a target that is a number
        spread = np.full((n, wide), np.nan)
        known = np.zeros(n, np.bool_)
        within = np.full((2, n), np.nan)  # the ends of intervals
        far: list[list[str] | None] = [None] * n
        _, firsts = np.unique(codes, return_index=True)
        for code in codes[np.sort(firsts)].tolist():  # so that the first error is the first row's
            rows, name = np.flatnonzero(codes == code), names[code] if code >= 0 else None
            if name is None or name not in model:
                self._without(name, int(rows[0]), len(rows))
                continue
            seen = self._of(name)
            start = len(seen.rows)
            seen.rows += (self.n_rows + rows).tolist()
            preprocessing = model[name].preprocessing
            X = preprocessing.transform(batch.take(rows), seen.source, start, seen.notes)
            each = model[name].ensemble.outputs(X)
            mean = each[0] if len(each) == 1 else each.mean(axis=0)
            outputs[rows] = model.spread_out(name, mean)
            if target.task == "regress":
                values[rows] = labels(model[name].schema.target, mean).to_numpy()
            if self.level is not None:
                within[:, rows] = ends(model[name], each, self.level)
            if self.spread:
                spread[rows] = model.spread_out(name, each).std(axis=0, dtype=np.float64)
            known[rows] = True
            if self.mark_far:
                found = self._outside(seen.notes, start, len(rows))
                for row, outside in zip(rows, found, strict=True):
                    far[row] = outside
        columns: dict[str, Any] = {name: batch.column(name) for name in self.kept}
        best = pa.array(values) if target.task == "regress" else labels(target, outputs)
        columns[target.name] = self._empty(best, known)
        for j, name in enumerate(target.classes):
            of_class = pa.array(outputs[:, j].astype(np.float32))
            columns[f"probability_{name}"] = self._empty(of_class, known)
        for j, name in enumerate((LOWER, UPPER) if self.level is not None else ()):
            columns[name] = self._empty(pa.array(within[j]), known)
        for j, name in enumerate(spreads(target) if self.spread else []):
            columns[name] = self._empty(pa.array(spread[:, j].astype(np.float32)), known)
        if self.mark_far:
            columns[OUTSIDE] = pa.array(far, pa.list_(pa.string()))
        inside = [(within[0][known], within[1][known])] if self.level is not None else []
        self._score(batch.filter(pa.array(known)), outputs[known], inside)
        return pa.table(columns)

    def _of(self, name: str) -> _Seen:
        if name not in self._seen:
            rows: list[int] = []
            group = f"{self.model.by} {name}"
            empty: Any = _Columns(self.source.names)
            self._seen[name] = _Seen(GroupRows(self.source, empty, rows, group), rows)
        return self._seen[name]

    def _without(self, name: str | None, row: int, count: int) -> None:
        """Count rows without a model; raise TableError, with the place, if that is refused."""
        if self.new_groups != EMPTY:
            place = self.source.place(self.n_rows + row, self.model.by)
            raise TableError(
                f"{place}: {self.model.no_model(name)}. To leave such predictions empty, add "
                "--new-groups empty"
            )
        self.without[name] += count

    @staticmethod
    def _empty(column: pa.Array, known: NDArray[np.bool_]) -> pa.Array:
        """Return the column with nulls where a row has no model."""
        import pyarrow as pa
        import pyarrow.compute as pc

        return (
            column
            if known.all()
            else pc.if_else(pa.array(known), column, pa.scalar(None, column.type))
        )

    def _truth(self, batch: pa.Table) -> NDArray[Any]:
        column = batch.column(self.target.name)
        return targets.encode(self.target, column, self.model.missing, self.others)

    def _measure(self, y: NDArray[Any], outputs: NDArray[Any]) -> Measured:
        return training.measure(self.model, y, outputs)

    def _columns(self) -> list[str]:
        every = (column.name for one in self.model.values() for column in one.schema.columns)
        return [self.model.by, *every]

    def words(self) -> list[str]:
        """Return what the models did not know."""
        lines = []
        if self.without:
            names = [str(name or "no value") for name, _ in self.without.most_common()]
            lines.append(
                f"{counted(self.without.total(), 'row')} without a prediction: no model for "
                f"{self.model.by} {listed(names, 5)}"
            )
        for name, seen in self._seen.items():
            found = seen.notes.words(self.model[name].schema, seen.source)
            lines += [f"{self.model.by} {name}: {line}" for line in found]
        return lines


class _Columns:
    """The names of columns, of a table that is not kept."""

    def __init__(self, names: Sequence[str]) -> None:
        self.column_names = list(names)


def prediction_of(
    model: TableModel | GroupedModel, source: Source, kept: Sequence[str], mark_far: bool,
    spread: bool, new_groups: str, level: float | None = None,
) -> Prediction:  # fmt: skip
    """Return the predictions of a model, or of those of groups."""
    if isinstance(model, GroupedModel):
        return GroupedPrediction(model, source, kept, mark_far, spread, new_groups, level)
    return Prediction(model, source, kept, mark_far, spread, level)
