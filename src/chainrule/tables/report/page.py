"""The page of a report: HTML that needs no other file, script or network."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from chainrule.explain.page_html import page_around
from chainrule.tables.measures import NAMES, text
from chainrule.tables.report import columns, drawn
from chainrule.tables.report.found import Found, Row
from chainrule.tables.report.plots import number
from chainrule.tables.source import counted

_CELLS = 6  # columns shown beside a row
_CHANGES = 12  # of a prediction
_LONGEST = 40  # characters of a cell

_STYLE = """<style>
.chainrule { max-width: 66rem; margin: 0 auto; padding: 0 1rem 2rem; }
.chainrule nav ul { columns: 15rem; padding-left: 1.2em; margin: .4em 0 0; }
.chainrule .soft { opacity: .8; }
.chainrule td.word, .chainrule th.word { text-align: left; white-space: normal; }
.chainrule .wide > table { margin-left: 0; }
.chainrule thead th { white-space: normal; }
.chainrule td.word { min-width: 6rem; } .chainrule td.long { min-width: 16rem; }
.chainrule td svg { display: block; }
.chainrule a { color: inherit; }
.chainrule th { vertical-align: bottom; } .chainrule td { vertical-align: top; }
.chainrule tbody th { font-weight: normal; vertical-align: top; }
@media print { .chainrule nav { display: none; } .chainrule td.word { font-size: 7pt; } }
</style>"""


def page(found: Found, model_path: str) -> str:
    """Return the page of what `found.look` has found about a model, which is read from a path."""
    target = found.model.schema.target
    sections = [(title, "\n".join(lines)) for title, lines in _sections(found)]
    sections = [(title, body) for title, body in sections if body]
    links = "".join(
        f'<li><a href="#part-{i}">{escape(title)}</a></li>' for i, (title, _) in enumerate(sections)
    )
    parts = [_STYLE, "<main>", f"<h1>Report: {escape(target.name)}</h1>"]
    parts.append(
        f"<p>The model {_named(model_path)} predicts {escape(target.name)}; the rows are those of "
        f"{_named(found.source.path)}. Written by chainrule {escape(found.model.version)}.</p>"
    )
    parts.append(f'<nav aria-label="Contents"><ul>{links}</ul></nav>')
    for i, (title, body) in enumerate(sections):
        parts.append(f'<h2 id="part-{i}">{escape(title)}</h2>\n{body}')
    return page_around(f"report on {target.name}", "\n".join([*parts, "</main>"]))


def _sections(found: Found) -> Iterator[tuple[str, Iterator[str]]]:
    yield "The data", _data(found)
    yield "The columns", _columns(found)
    yield "Quality", _quality(found)
    yield "Calibration", _calibration(found)
    yield "Intervals", _intervals(found)
    yield "Importance of the columns", _importance(found)
    yield "How the prediction depends on a column", _dependence(found)
    yield "What would change a prediction", _changes(found)
    yield "The predictions that are most wrong", _wrong(found)
    yield "Suspect labels", _suspects(found)
    yield "The model", _model(found)


# --- the data -------------------------------------------------------------------------------------


def _data(found: Found) -> Iterator[str]:
    sample, target = found.sample, found.model.schema.target
    words = f"The table has {counted(sample.n_rows, 'row')}"
    if sample.n_known is not None:
        words += f", of which {sample.n_known:,} have a target that the model knows"
    if len(sample.rows) < (sample.n_known or sample.n_rows):
        words += f". This report looks at {len(sample.rows):,} of them, taken at random"
    yield _p(f"{words}.")
    if sample.others:
        shown = ", ".join(f"{name!r}" for name, _ in sample.others.most_common(5))
        yield _p(f"Targets that the model does not know are left out: {shown}.")
    for note in sample.notes:
        yield _p(f"{note[0].upper()}{note[1:]}.")
    if len(sample.y):
        yield drawn.target(target, sample.y).figure()


def _columns(found: Found) -> Iterator[str]:
    schema = found.model.schema
    head = ("column", "kind", "in the training rows", "missing here", "here")
    yield from _table("The columns", head, columns.facts(found.model, found.sample), {2, 4})
    if schema.left_out:
        yield _p("Columns of the training table that the model does not take:")
        rows = [(escape(c.name), escape(c.why)) for c in schema.left_out]
        yield from _table("Columns left out", ("column", "why"), rows, {1})


# --- the quality ----------------------------------------------------------------------------------


def _quality(found: Found) -> Iterator[str]:
    model = found.model
    saved, target = model.measures.get("model") or {}, model.schema.target
    whose = "largest class" if target.task == "classify" else "mean"
    head, sides = ["measure"], []
    if saved:
        n = model.training.get("rows", {}).get("test", 0)
        head += [f"on {counted(n, 'test row')}, held out", f"{whose}, there"]
        sides += [saved, model.measures.get("baseline") or {}]
    if found.measured:
        head += ["on the rows here, by folds", f"{whose}, here"]
        sides += [found.measured, found.baseline]
    if not sides:
        yield _p(
            "The model was not measured: no rows were held out when it was trained, and "
            f"{found.why_not}."
        )
        return
    if saved:
        yield _p(
            "The test rows were held out when the model was trained, and measured it before it "
            "learned from all rows."
        )
    yield _p(_of_folds(found))
    rows = [
        (NAMES[name], *(text(side.get(name)) for side in sides))
        for name in NAMES
        if any(name in side for side in sides)
    ]
    yield from _table("Measures", head, rows)
    if found.out is not None:
        yield drawn.quality(target, found.sample.y, found.out.outputs, found.sample.rows)


def _of_folds(found: Found) -> str:
    if found.out is None:
        return f"Nothing was measured on the rows here: {found.why_not}."
    return (
        f"By folds means: the rows are dealt into {len(found.out.networks)} folds, and a network "
        "like that of the model, trained on the others, predicts each. So no row was predicted by "
        "a network that had learned from it, whatever the saved model has learned from."
    )


def _calibration(found: Found) -> Iterator[str]:
    saved = found.model.held_out.calibration
    for whose, each in (
        ("the test rows, held out when the model was trained", saved),
        ("the rows here, by folds", found.calibration),
    ):
        if each is not None:
            yield _p(f"On {each.rows:,} rows ({whose}): {each.words()}.")
    shown = saved if saved is not None else found.calibration
    if shown is not None:
        yield drawn.reliability(shown).figure()
        of = f"of {shown.of}" if shown.of else "of the predicted class"
        head = (f"mean probability {of}", "share that is right", "rows")
        rows = [(f"{b.predicted:.3f}", f"{b.observed:.3f}", f"{b.rows:,}") for b in shown.bins]
        yield from _table("Reliability", head, rows)


def _intervals(found: Found) -> Iterator[str]:
    intervals = found.model.held_out.intervals
    if intervals is None:
        return
    unit = "" if intervals.floor is None else " times the spread of the networks"
    yield _p(
        f"From the errors on {intervals.rows:,} held-out rows: a new row from the same source is "
        "inside its interval with at least the probability of the level. predict --intervals 0.9 "
        "writes the ends."
    )
    head = ["level", f"prediction ±{unit}"]
    head += ["share inside, of the rows here, by folds"] if found.inside else []
    rows = []
    for level, width in intervals.summary().items():
        inside = found.inside.get(float(level))
        rows.append((
            f"{100 * float(level):g} %", text(width),
            *([] if inside is None else [f"{100 * inside:.1f} %"]),
        ))  # fmt: skip
    yield from _table("Intervals", head, rows)


# --- what it learned ------------------------------------------------------------------------------


def _importance(found: Found) -> Iterator[str]:
    if not found.importance:
        return
    yield _p(
        "How much the loss rises if the cells of a column are shuffled among rows that the network "
        "of a fold has not seen. Columns that tell the same share their importance."
    )
    yield drawn.importance(found.importance).figure()


def _dependence(found: Found) -> Iterator[str]:
    if not found.dependence:
        return
    yield _p(
        "The mean prediction of the saved model if all rows had the same value in the column, and "
        "kept the rest. Values that no such row can have are in it, too."
    )
    if (left := len(found.model.schema.columns) - len(found.dependence)) > 0:
        yield _p(f"The {len(found.dependence)} most important columns; {left:,} are not drawn.")
    for name, table in found.dependence:
        yield drawn.dependence(found.model.schema, name, table).figure()


def _changes(found: Found) -> Iterator[str]:
    schema = found.model.schema
    classes = schema.target.task == "classify"
    yield _p(
        "Per 1 is the derivative of the prediction with respect to the cell, exact through the "
        "preprocessing, in the units of the column. Other changes replace the cell."
    )
    for place, words, table in found.changes:
        row = int(found.sample.rows[place])
        whose = schema.target.name
        if classes:
            whose = f"probability_{words.rsplit(' (', 1)[0]}"
        moves = columns.largest(schema, table, whose, _CHANGES)
        yield f"<details{' open' if place == found.changes[0][0] else ''}><summary>Row {row:,}, "
        yield f"predicted {escape(words)}</summary>"
        what = "probability" if classes else schema.target.name
        head = ("column", "value", "change", f"{what} changes by")
        rows = [tuple(map(_cell, (*line[:3], _signed(line[3])))) for line in moves]
        yield from _table(f"Changes of row {row}", head, rows, {0, 1, 2})
        yield "</details>"


def _wrong(found: Found) -> Iterator[str]:
    if found.out is None:
        return
    if not found.wrong:
        yield _p("No row is predicted wrong.")
        return
    yield _p("By folds, so that no network had learned from the row. Rows are counted from 0.")
    yield from _rows("Most wrong", found, found.wrong)


def _suspects(found: Found) -> Iterator[str]:
    if found.out is None:
        return
    classes = found.model.schema.target.task == "classify"
    if not found.suspects:
        what = (
            "no label is contradicted with a probability of 0.99, or the model is not right often "
            "enough to suspect one"
            if classes else "no target is far from a fit that is good otherwise"
        )  # fmt: skip
        yield _p(f"None: {what}.")
        return
    yield _p(
        "Rows whose label a network that had not learned from them contradicts with confidence. "
        "Look at them: correct the label, or keep it if the row is hard."
        if classes else
        "Rows whose target is far from a fit that is good otherwise: a unit, a decimal mark, a "
        "swapped column?"
    )  # fmt: skip
    yield from _rows("Suspect labels", found, found.suspects)


def _rows(title: str, found: Found, rows: Sequence[Row]) -> Iterator[str]:
    schema = found.model.schema
    names = [name for name, _, _ in found.importance][:_CELLS]
    head = ["row", f"{schema.target.name}, in the table", "predicted"]
    classes = schema.target.task == "classify"
    head += ["its probability", "that of the table"] if classes else ["error"]
    body = []
    for row in rows:
        numbers = (f"{row.p:.3f}", f"{row.given:.3g}") if classes else (_signed(row.error),)
        cells = columns.cells_of(found.sample, names, row.place)
        body.append(tuple(map(_cell, (f"{row.row:,}", row.said, row.predicted, *numbers, *cells))))
    kinds = {column.name: column.kind for column in schema.columns}
    texts = {len(head) + i for i, name in enumerate(names) if kinds[name] == "category"}
    yield from _table(title, (*head, *names), body, texts | ({1, 2} if classes else set()))


def _model(found: Found) -> Iterator[str]:
    model = found.model
    many = f"{len(model.networks)} × " if model.others else ""
    facts = {"network": f"{many}{model.network}", **model.training}
    counts = facts.pop("rows", {})
    facts["rows"] = ", ".join(f"{count:,} {part}" for part, count in counts.items())
    rows = [(escape(key.replace("_", " ")), escape(str(value))) for key, value in facts.items()]
    yield from _table("The model", ("fact", "value"), rows, {1})


# --- HTML -----------------------------------------------------------------------------------------


def _p(words: str) -> str:
    return f"<p>{escape(words)}</p>"


def _named(path: str) -> str:
    return f"<strong>{escape(os.path.basename(path))}</strong>"


def _cell(value: Any) -> str:
    shown = "" if value is None else str(value)
    return escape(shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…")


def _signed(value: float) -> str:
    return f"+{number(value)}" if value > 0 else number(value)


def _table(
    title: str, head: Sequence[str], rows: Sequence[Sequence[str]], words: set[int] | None = None
) -> Iterator[str]:
    """Yield a table whose cells are HTML; ``words`` are the columns that hold sentences."""
    words = {0, *(words or set())}
    longest = [max((len(row[i]) for row in rows), default=0) for i in range(len(head))]
    kind = [
        f' class="word{" long" * (longest[i] > _LONGEST)}"' if i in words else ""
        for i in range(len(head))
    ]
    yield f'<div class="wide" tabindex="0" role="region" aria-label="{escape(title)}"><table>'
    cells = "".join(
        f'<th scope="col"{mark}>{escape(h)}</th>' for h, mark in zip(head, kind, strict=True)
    )
    yield f"<thead><tr>{cells}</tr></thead><tbody>"
    for first, *rest in rows:
        body = "".join(f"<td{mark}>{c}</td>" for c, mark in zip(rest, kind[1:], strict=True))
        yield f'<tr><th scope="row"{kind[0]}>{first}</th>{body}</tr>'
    yield "</tbody></table></div>"
