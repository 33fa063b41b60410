"""Drawn: the pictures of a report."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.tables import measures, notation
from chainrule.tables.calibration import Calibration
from chainrule.tables.report import plots
from chainrule.tables.report.plots import Plot, number
from chainrule.tables.schema import Schema, Target

if TYPE_CHECKING:
    import pyarrow as pa

_BARS = 25  # of importance, classes or categories
_CURVES = 5  # classes in a picture
_CLASSES = 12  # of a confusion matrix
_POINTS = 1500
_BINS = 30


def target(of: Target, y: NDArray[Any]) -> Plot:
    """Draw how the targets are distributed."""
    title = f"{of.name}, in the rows here"
    if of.task == "classify":
        counts = np.bincount(y, minlength=len(of.classes))
        order = np.argsort(-counts, kind="stable")[:_BARS]
        items = [(of.classes[i], float(counts[i]), 0.0) for i in order]
        more = f"; the {_BARS} largest of {len(of.classes)}" if len(of.classes) > _BARS else ""
        return plots.bars(title, f"Rows of each class{more}.", items)
    counts, edges = np.histogram(y, _BINS)
    words = f"From {number(float(y.min()))} to {number(float(y.max()))}, median "
    words += f"{number(float(np.median(y)))}."
    return plots.heights(title, words, edges.tolist(), counts.tolist(), of.name, "rows")


def quality(of: Target, y: NDArray[Any], outputs: NDArray[Any], rows: NDArray[np.int64]) -> str:
    """Draw predicted beside true numbers, or return the confusion matrix, as HTML."""
    if of.task == "classify":
        return _confusion(of, y, outputs.argmax(axis=1))
    predicted = measures.predicted_numbers(of, outputs)
    chosen = slice(None)
    if len(y) > _POINTS:
        chosen = np.random.default_rng(0).choice(len(y), _POINTS, replace=False)  # type: ignore[assignment]
    words = "A point for each row, predicted by folds; on the line, the prediction is right."
    return plots.points(
        f"{of.name}, predicted and true", words, y[chosen].tolist(), predicted[chosen].tolist(),
        f"true {of.name}", "predicted",
    ).figure()  # fmt: skip


def _confusion(of: Target, y: NDArray[Any], best: NDArray[Any]) -> str:
    k = len(of.classes)
    if k > _CLASSES:
        return ""
    counts = np.zeros((k, k), dtype=np.int64)
    np.add.at(counts, (y, best), 1)
    head = "".join(f'<th scope="col">{escape(name[:24])}</th>' for name in of.classes)
    lines = [
        "<p>Rows of each class (down) by the class that is predicted by folds (across):</p>",
        '<div class="wide" tabindex="0" role="region" aria-label="Confusion matrix"><table>',
        f'<thead><tr><th scope="col" class="word">class</th>{head}</tr></thead><tbody>',
    ]
    for i, name in enumerate(of.classes):
        body = "".join(
            f"<td>{'<strong>' * (i == j)}{n:,}{'</strong>' * (i == j)}</td>"
            for j, n in enumerate(counts[i].tolist())
        )
        lines.append(f'<tr><th scope="row" class="word">{escape(name[:24])}</th>{body}</tr>')
    return "\n".join([*lines, "</tbody></table></div>"])


def reliability(of: Calibration) -> Plot:
    """Draw the reliability curve: the observed share over the predicted probability."""
    whose = f"of {of.of}" if of.of else "of the predicted class"
    words = "On the dashed line, probabilities are exact; below it, they are too high."
    return plots.curves(
        f"Reliability of the probability {whose}", words, [b.predicted for b in of.bins],
        [("", [b.observed for b in of.bins])], "predicted probability", "observed share",
        marks=True, diagonal=True, square=True,
    )  # fmt: skip


def importance(found: list[tuple[str, float, float]]) -> Plot:
    """Draw the importance of the columns."""
    more = f" The {_BARS} largest of {len(found)}." if len(found) > _BARS else ""
    words = f"Mean rise of the loss, and the standard deviation over folds and shuffles.{more}"
    return plots.bars("Importance", words, found[:_BARS])


def dependence(schema: Schema, name: str, table: pa.Table) -> Plot:
    """Draw the partial dependence on a column: curves, or bars for categories."""
    column = next(c for c in schema.columns if c.name == name)
    of = schema.target
    shown = table.column_names[1:]
    if of.task == "classify":
        shown = shown[1:] if len(shown) == 2 else _moving(table, shown)
    series = [(each, table.column(each).to_pylist()) for each in shown]
    spans = [f"{number(min(v))} to {number(max(v))}" for _, v in series]
    title = f"{of.name} by {name}"
    words = _spans(shown, spans, of)
    if column.kind == "category":
        if len(series) > 1:  # the class that moves most
            series, words = series[:1], _spans(shown[:1], spans[:1], of)
        items = list(zip(table.column(name).to_pylist(), series[0][1], strict=True))
        if len(items) > _BARS:
            items = sorted(items, key=lambda item: -item[1])
            half = _BARS // 2
            items = items[:half] + items[-half:]
            words += f" The {half} highest and {half} lowest of {table.num_rows} categories."
        return plots.bars(title, words, [(key, value, 0.0) for key, value in items])
    x, label = _places(column, table.column(name))
    up = of.name if of.task == "regress" else "probability"
    return plots.curves(title, words, x, series, name, f"mean {up}", label=label)


def _spans(shown: list[str], spans: list[str], of: Target) -> str:
    """Return from where to where mean predictions go."""
    if of.task == "regress":
        return f"The mean prediction goes from {spans[0]}."
    named = [f"{n.removeprefix('probability_')} {s}" for n, s in zip(shown, spans, strict=True)]
    return f"The mean probability goes from: {'; '.join(named)}."


def _moving(table: pa.Table, names: list[str]) -> list[str]:
    """Return the classes whose mean probability moves most."""
    moves = {name: float(np.ptp(table.column(name).to_numpy())) for name in names}
    return sorted(names, key=lambda name: -moves[name])[:_CURVES]


def _places(column: Any, values: Any) -> tuple[list[float], Callable[[float], str]]:
    """Return values on an axis, and how the axis writes them."""
    if column.kind == "number":
        return values.to_pylist(), number
    micro = values.combine_chunks().cast("int64").to_numpy()
    if column.form == notation.TIME:
        return (micro / 3.6e9).tolist(), lambda hour: f"{number(hour)} h"
    return (micro / 8.64e10).tolist(), _day


def _day(days: float) -> str:
    return str(np.datetime64(round(days), "D")) if abs(days) < 1e7 else number(days)
