"""Steps: the pages of one step, of its samples, of a row, and of all steps as a table."""

from __future__ import annotations

import math
import re
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.diagnose import drawing
from chainrule.diagnose.curves import Known
from chainrule.diagnose.found import SampleNorms
from chainrule.explorer.paper import number
from chainrule.explorer.runs import pages, weights
from chainrule.explorer.runs.asked import Asked
from chainrule.explorer.runs.pages import link, optional, row_link, step_link, table

if TYPE_CHECKING:
    from chainrule.explorer.runs.desk import Desk

_VISITS = 50  # recorded steps of a row that are listed, the last ones
_ORDERS = ("norm", "loss", "row", "sample")


def find(desk: Desk, known: Known, asked: Asked) -> str:
    """Return the page of what somebody typed: a step, a row or a weight."""
    what = asked.text("what")
    if re.fullmatch(r"(step\s*)?[\d,]+", what, re.IGNORECASE):
        return one(desk, known, Asked({"step": re.sub(r"\D", "", what)}))
    if re.fullmatch(r"row\s*[\d,]+", what, re.IGNORECASE):
        return row(desk, known, Asked({"row": re.sub(r"\D", "", what)}))
    if what in known.names:
        return weights.one(desk, known, Asked({"name": what}))
    if "[" in what:
        return weights.why(desk, known, Asked({"target": what}))
    raise ValueError(
        f"{what!r} is not a step, a row or a weight of this run; expected a step such as 120, a "
        f"row such as 'row 17', or a weight such as '{weights.example(desk)}'"
    )


def _table(known: Known, places: range) -> str:
    """Return a table of some steps, by their places among all."""
    norms = dict(zip(known.recorded.tolist(), known.norms.tolist(), strict=True))
    noises = dict(zip(known.recorded.tolist(), known.noises.tolist(), strict=True))
    rows = []
    for i in places:
        step, rate = int(known.steps[i]), float(known.rates[i])
        mark = '<td class="mark">spike</td>' if step in known.spikes else ""
        noise = noises.get(step, math.nan)
        rows.append([
            step_link(step), number(float(known.losses[i])), optional(norms.get(step)),
            "none" if math.isnan(noise) else number(noise),
            "none" if math.isnan(rate) else number(rate), mark,
        ])  # fmt: skip
    heads = ["step", "loss", "gradient norm", "noise scale", "learning rate", ""]
    return table("Steps", heads, rows)


def listed(desk: Desk, known: Known, asked: Asked) -> str:
    """Return the page of all steps as a table."""
    count = len(known.steps)
    if not count:
        return pages.served("Steps", "<h1>All steps</h1><p>No step has been recorded yet.</p>")
    first = asked.whole("first", 0)
    if "step" in asked:
        first = int(np.searchsorted(known.steps, asked.whole("step"))) // pages.ROWS * pages.ROWS
    first = min(first, (count - 1) // pages.ROWS * pages.ROWS)
    thinned = ""
    if int(known.steps[-1]) + 1 > count:
        thinned = (
            f"<p>{count:,} of {int(known.steps[-1]) + 1:,} steps are on file: a long run keeps "
            "every second, fourth, … of them.</p>"
        )
    body = (
        f"<h1>All steps</h1>{thinned}"
        '<form action="/steps"><div><label for="step">From step</label><input id="step" '
        f'name="step" type="number" min="0" max="{int(known.steps[-1])}" required/></div>'
        "<button>Show</button></form>"
        f"{_table(known, range(first, min(first + pages.ROWS, count)))}"
        f"{pages.leaf('/steps', {}, first, count)}"
    )
    return pages.served("Steps", body)


# --- one step -------------------------------------------------------------------------------------


def one(desk: Desk, known: Known, asked: Asked) -> str:
    """Return the page of one step."""
    step = asked.whole("step")
    line = desk.run.line(step)
    lines = [f"<h1>Step {step:,}</h1>", _ways(known, step), f"<p>{_facts(known, line)}</p>"]
    for spike in desk.run.spikes():
        if spike.step == step:
            again = link("/again", "Take it again", step=step)
            lines.append(f'<p><strong class="mark">Spike:</strong> {escape(str(spike))}. {again}: '
                         "its state and batch are kept.</p>")  # fmt: skip
    if line.found.get("recorded"):
        lines += [_samples(desk, step, asked), weights.of_step(desk, step)]
    else:
        lines.append(f"<p>{_nearest(known, step)}</p>")
    lines.append(weights.form(desk, step))
    return pages.served(f"Step {step:,}", "\n".join(lines))


def _ways(known: Known, step: int) -> str:
    """Return links to the steps beside it."""
    ways = []
    for steps, kind in ((known.steps, "step"), (known.recorded, "recorded step")):
        at = int(np.searchsorted(steps, step))
        after = at + 1 if at < len(steps) and steps[at] == step else at
        if at > 0:
            ways.append(link("/step", f"previous {kind}", step=int(steps[at - 1])))
        if after < len(steps):
            ways.append(link("/step", f"next {kind}", step=int(steps[after])))
    return f'<nav class="ways" aria-label="Other steps">{"".join(ways)}</nav>'


def _facts(known: Known, line: Any) -> str:
    said = [f"Loss {number(line.loss)}"]
    if "norm" in line.found:
        said.append(f"gradient norm {number(float(line.found['norm']))}")
    if line.rates is None:
        said.append("the optimiser took no step in it")
    else:
        rates = ", ".join(number(float(rate)) for rate in dict.fromkeys(line.rates))
        said.append(f"learning rate {rates}")
    if line.autocast is not None:
        said.append(f"autocast to {escape(line.autocast[1])}")
    return "; ".join(said) + "."


def _nearest(known: Known, step: int) -> str:
    if not len(known.recorded):
        return "No norms have been recorded yet."
    near = int(known.recorded[np.abs(known.recorded - step).argmin()])
    return (
        "Samples and norms were not recorded in this step. The nearest recorded one is step "
        f"{step_link(near)}."
    )


def _samples(desk: Desk, step: int, asked: Asked) -> str:
    found = desk.samples(step)
    if isinstance(found, str):
        return f"<h2>Samples</h2><p>{escape(found[:1].upper() + found[1:])}.</p>"
    if not len(_key(found, "sample")):
        return "<h2>Samples</h2><p>Nothing is known of the samples: the loss has none.</p>"
    by = asked.one_of("by", tuple(name for name in _ORDERS if _key(found, name) is not None))
    key = _key(found, by)
    assert key is not None
    down = by in ("norm", "loss")
    order = np.argsort(-np.nan_to_num(key, nan=np.inf) if down else key, kind="stable")
    count = len(order)
    first = min(asked.whole("first", 0), (count - 1) // pages.ROWS * pages.ROWS)
    suspects = desk.suspects()
    doubted = set() if isinstance(suspects, str) else {each.row for each in suspects}
    rows = []
    for i in order[first : first + pages.ROWS]:
        at = None if found.rows is None else int(found.rows[i])
        rows.append([
            f"{int(i):,}", "not known" if at is None else row_link(at),
            "none" if found.losses is None else number(float(found.losses[i])),
            "none" if found.norms is None else number(float(found.norms[i])),
            '<td class="mark">suspect</td>' if at in doubted else "",
        ])  # fmt: skip
    heads = [
        head if _key(found, name) is None else
        f"{head} ▾" if name == by and down else f"{head} ▴" if name == by else
        link("/step", head, step=step, by=name)
        for name, head in (("sample", "sample"), ("row", "row"), ("loss", "loss"),
                           ("norm", "gradient norm"))
    ]  # fmt: skip
    ordered = {"norm": "gradient norm", "loss": "loss", "row": "row", "sample": "place"}[by]
    caption = f"Samples of step {step:,}, ordered by {ordered}"
    ways = pages.leaf("/step", {"step": step, "by": by}, first, count)
    return f"<h2>Samples</h2>{table(caption, [*heads, ''], rows)}{ways}"


def _key(found: SampleNorms, by: str) -> Any:
    if by == "sample":
        length = next((len(v) for v in (found.norms, found.losses, found.rows) if v is not None), 0)
        return np.arange(length)
    return {"norm": found.norms, "loss": found.losses, "row": found.rows}[by]


# --- one row --------------------------------------------------------------------------------------


def row(desk: Desk, known: Known, asked: Asked) -> str:
    """Return the page of one row of the data: its losses over the run."""
    number_of = asked.whole("row")
    found = desk.run.row(number_of)
    history = np.array(found.history, dtype=float)
    first = found.visits - len(history)
    visits = np.arange(first, found.visits) + 1
    seen = "once" if found.visits == 1 else f"{found.visits:,} times"
    drawn = drawing.spark(visits, history, (max(history.max() / 1e3, 1e-30), history.max() or 1.0))
    losses = table(
        "Its last losses, in the order in which they came", ["visit", "loss"],
        [[f"{int(k):,}", number(float(loss))] for k, loss in zip(visits, history, strict=True)],
    )  # fmt: skip
    steps = desk.visits(number_of, _VISITS)
    rows = [[step_link(step), optional(loss), optional(norm)] for step, loss, norm in steps]
    recorded = (
        table("Recorded steps that had it, the last ones first",
              ["step", "loss", "gradient norm"], rows)
        if rows else "<p>No recorded step that is still on file had it.</p>"
    )  # fmt: skip
    suspects = desk.suspects()
    place = "" if isinstance(suspects, str) else next(
        (f" It is suspect {i} of the run: its mean loss is among the largest."
         for i, each in enumerate(suspects, 1) if each.row == number_of), "",
    )  # fmt: skip
    body = (
        f"<h1>Row {number_of:,}</h1><p>Seen {seen}; mean loss {number(found.loss)}.{place}</p>"
        f"{drawn}<h2>Loss history</h2>{losses}<h2>Recorded steps</h2>{recorded}"
    )
    return pages.served(f"Row {number_of:,}", body)
