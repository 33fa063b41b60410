"""Found: what a report says, computed from a model and the rows of a table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.diagnose import arrays
from chainrule.tables import calibration, folds, learned, measures, sensitivity
from chainrule.tables.calibration import Calibration
from chainrule.tables.folds import OutOfFold
from chainrule.tables.measures import Measured
from chainrule.tables.memory import Memory
from chainrule.tables.report.sample import Sample, take
from chainrule.tables.source import Source

if TYPE_CHECKING:
    import pyarrow as pa

    from chainrule.tables.model import TableModel

WRONG, SUSPECTS = 15, 30  # rows that are listed
_REPEATS = 3  # of the shuffling, in each fold
_DRAWN, _POINTS = 12, 20  # columns whose partial dependence is drawn, and its values
_ROWS = 1000  # that a partial dependence averages over
_EXAMPLES = 3  # rows of which the report says what would change them


@dataclass(frozen=True)
class Row:
    """A row that the report shows: its number, what the table says, and what was predicted.

    ``p`` is the probability of the predicted class, and ``given`` that of the class in the table.
    """

    row: int
    place: int  # in the sample
    said: str
    predicted: str
    p: float = 0.0
    given: float = 0.0
    error: float = 0.0  # of a number


@dataclass(frozen=True)
class Found:
    """What a report says about a model and the rows of a table."""

    model: TableModel
    source: Source
    sample: Sample
    out: OutOfFold | None = None
    why_not: str = ""  # there are no predictions out of fold
    measured: Measured = field(default_factory=dict)
    baseline: Measured = field(default_factory=dict)
    calibration: Calibration | None = None  # out of fold
    inside: dict[float, float] = field(default_factory=dict)  # by level, out of fold
    importance: list[tuple[str, float, float]] = field(default_factory=list)
    dependence: list[tuple[str, pa.Table]] = field(default_factory=list)
    wrong: list[Row] = field(default_factory=list)
    suspects: list[Row] = field(default_factory=list)
    changes: list[tuple[int, str, pa.Table]] = field(default_factory=list)


def look(model: TableModel, source: Source, seed: int = 0) -> Found:
    """Return what a report says; raise TableError, with the place, for rows that do not fit."""
    sample = take(model, source, seed)
    out, why_not = _out_of_fold(model, sample, seed)
    found: dict[str, Any] = {"out": out, "why_not": why_not}
    if out is not None:
        found |= _quality(model, sample, out)
        found["importance"] = _importance(model, sample, out, seed)
        found["wrong"], found["suspects"] = _rows(model, sample, out)
    order = [name for name, _, _ in found.get("importance", ())]
    order = order or [column.name for column in model.schema.columns]
    found["dependence"] = _dependence(model, sample, order[:_DRAWN], seed)
    found["changes"] = _changes(model, sample)
    return Found(model, source, sample, **found)


def _out_of_fold(model: TableModel, sample: Sample, seed: int) -> tuple[OutOfFold | None, str]:
    n, classes = len(sample.y), model.schema.target.task == "classify"
    if sample.n_known is None:
        return None, f"the table has no column {model.schema.target.name!r}, the target"
    if n < folds.FOLDS * folds.FEWEST:
        return None, f"{n} rows have a target; {folds.FOLDS * folds.FEWEST} or more are needed"
    if sample.group is not None and len(np.unique(sample.group)) < folds.FOLDS:
        return None, f"the rows have fewer than {folds.FOLDS} groups"
    if len(np.unique(sample.y)) < 2:
        return None, "the target is the same in every row"
    fold = folds.deal(sample.y, folds.FOLDS, seed, sample.group)
    y = sample.targets(model)
    try:
        out = folds.out_of_fold(model.network, model.training, sample.X, y, fold, sample.weight)
    except FloatingPointError as error:
        return None, str(error)
    if not np.isfinite(out.outputs).all():
        return None, "a network of a fold predicts numbers that are not finite"
    if classes:
        out.outputs[:] /= out.outputs.sum(axis=1, keepdims=True)
    return out, ""


def _quality(model: TableModel, sample: Sample, out: OutOfFold) -> dict[str, Any]:
    target, y, weight = model.schema.target, sample.y, sample.weight
    made: dict[str, Any] = {
        "measured": measures.measure(target, y, out.outputs, weight),
        "baseline": measures.baseline(target, y, y, weight, weight),
    }
    if target.task == "classify":
        made["calibration"] = calibration.of_rows(y, out.outputs, target.classes, weight)
    elif (saved := model.held_out.intervals) is not None and saved.floor is None:
        errors = np.abs(y - measures.predicted_numbers(target, out.outputs))
        made["inside"] = {
            float(level): float((errors <= width).mean())
            for level, width in saved.summary().items()
        }
    return made


def _importance(
    model: TableModel, sample: Sample, out: OutOfFold, seed: int
) -> list[tuple[str, float, float]]:
    """Return the importance of each column in the rows that the network of a fold has not seen."""
    import pyarrow as pa

    transform, y = learned.transform_of(model.schema, Memory), sample.targets(model)
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {column.name: [] for column in model.schema.columns}
    most = learned.MOST // folds.FOLDS
    for i, network in enumerate(out.networks):
        here = np.flatnonzero(out.fold == i)[:most]
        batch = sample.batch.take(pa.array(here))
        for name, rises in found.items():
            rises += learned.rises([network], transform, batch, y[here], name, _REPEATS, rng)
    table = learned.as_importance(found)
    return list(zip(*(table.column(i).to_pylist() for i in range(3)), strict=True))


def _dependence(
    model: TableModel, sample: Sample, names: list[str], seed: int
) -> list[tuple[str, pa.Table]]:
    import pyarrow as pa

    chosen = learned.some_rows(sample.batch.num_rows, seed, _ROWS)
    batch = sample.batch if chosen is None else sample.batch.take(pa.array(chosen))
    schema, transform = model.schema, learned.transform_of(model.schema, Memory)
    made = []
    for name in names:
        column = learned.find(schema, name)
        if name == schema.target.name or batch.column(name).null_count == batch.num_rows:
            continue
        if column.kind == "category" and not column.categories:
            continue
        table = learned.partial_dependence(
            model.networks, schema, transform, batch, Memory(batch), column, _POINTS
        )
        made.append((name, table))
    return made


def _rows(model: TableModel, sample: Sample, out: OutOfFold) -> tuple[list[Row], list[Row]]:
    """Return the rows that are most wrong, and those whose target may be."""
    target, y = model.schema.target, sample.y
    if target.task == "classify":
        p, names = out.outputs, target.classes
        losses = -np.log(np.maximum(p[np.arange(len(y)), y], 1e-300))
        best = p.argmax(axis=1)

        def of_class(i: int) -> Row:
            given = float(p[i, y[i]])
            return Row(int(sample.rows[i]), i, names[y[i]], names[best[i]],
                       float(p[i, best[i]]), given)  # fmt: skip

        wrong = [i for i in np.argsort(-losses, kind="stable")[:WRONG].tolist() if best[i] != y[i]]
        doubted = [found[0] for found in arrays.suspect_classes(p, y)]
        return [of_class(i) for i in wrong], [of_class(i) for i in doubted[:SUSPECTS]]
    predicted = measures.predicted_numbers(target, out.outputs)
    errors = predicted - y

    def of_number(i: int) -> Row:
        said, guess = (f"{value:.6g}" for value in (y[i], predicted[i]))
        return Row(int(sample.rows[i]), i, said, guess, error=float(errors[i]))

    wrong = np.argsort(-np.abs(errors), kind="stable")[:WRONG].tolist()
    far = [found[0] for found in arrays.suspect_numbers(predicted, y)]
    return [of_number(i) for i in wrong], [of_number(i) for i in far[:SUSPECTS]]


def _changes(model: TableModel, sample: Sample) -> list[tuple[int, str, pa.Table]]:
    """Return what would change the predictions of some rows: the row, its prediction, changes.

    These are, of numbers, rows with a low, a middle and a high prediction; of classes, those with
    the least and the most certain prediction, and one between.
    """
    import pyarrow as pa

    schema = model.schema
    predicted = learned.outputs(model.networks, schema, sample.X)
    columns = np.column_stack(list(predicted.values()))
    classes = schema.target.task == "classify"
    key: NDArray[Any] = columns.max(axis=1) if classes else columns[:, 0]
    order, n = np.argsort(key, kind="stable"), len(key)
    shares = (0.0, 0.5, 1.0) if classes else (0.1, 0.5, 0.9)
    places = dict.fromkeys(int(order[round(share * (n - 1))]) for share in shares[:_EXAMPLES])
    transform = learned.transform_of(schema, Memory)
    made = []
    for place in places:
        batch = sample.batch.take(pa.array([place]))
        table = sensitivity.of_rows(model.networks, schema, transform, batch, Memory(batch))
        words = f"{key[place]:.6g}"
        if classes:
            name = schema.target.classes[int(columns[place].argmax())]
            words = f"{name} ({key[place]:.3f})"
        made.append((place, words, table))
    return made
