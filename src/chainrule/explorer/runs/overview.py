"""Overview: the page of a whole run, with its curves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from chainrule.diagnose import drawing
from chainrule.diagnose.curves import Known
from chainrule.explorer.paper import number
from chainrule.explorer.runs import pages
from chainrule.explorer.runs.asked import Asked
from chainrule.explorer.runs.pages import link, live, row_link, step_link, table, words

if TYPE_CHECKING:
    from chainrule.explorer.runs.desk import Desk

WAIT = 'data-wait="1000"'  # milliseconds until a page looks again; the desk puts in its own
_LAYERS = 60  # parameters that the page lists; of more the rest is on a page of its own
_REACH = 1e6  # from the largest to the smallest number that small curves tell apart


def page(desk: Desk, known: Known) -> str:
    """Return the page."""
    about = desk.run.about
    name = str(about.get("model") or "A run")
    parts = "\n".join(live(part, body) for part, body in _parts(desk, known))
    body = f"<h1>{escape(name)}</h1>\n{_state(desk, known)}\n{parts}"
    return pages.served(name, body)


def _state(desk: Desk, known: Known) -> str:
    """Return whether the run goes on, and the button that stops the page from following it."""
    found = desk.life().words()
    spikes = len(known.spikes)
    news = f"{found} {spikes} spike{'' if spikes == 1 else 's'}."
    if known.damaged:
        lines = "1 line is" if known.damaged == 1 else f"{known.damaged:,} lines are"
        found += f" {lines} damaged, and left out."
    said = live("state", f'<p data-news="{escape(news)}">{escape(found)}</p>')
    return (
        f'<div class="state" id="follow" {WAIT}>{said}'
        '<button type="button" hidden>Pause</button></div>'
        '<p class="unseen" role="status" id="news"></p>'
        "<noscript><p>Load the page again to see what is new.</p></noscript>"
    )


def _parts(desk: Desk, known: Known) -> Iterator[tuple[str, str]]:
    about = desk.run.about
    if not len(known.steps):
        yield "sum", "<p>No step has been recorded yet.</p>"
        return
    first, last = known.losses[0], known.losses[-1]
    by = f" with {escape(str(about['optimizer']))}" if about.get("optimizer") else ""
    yield (
        "sum",
        (
            f"<p>{int(known.steps[-1]) + 1:,} steps{by}; loss {number(float(first))} at first, "
            f"{number(float(last))} at last. A click on a curve opens the step below it; with the "
            "keyboard, arrows move along a curve and Enter opens the step.</p>"
        ),
    )
    yield (
        "loss",
        "<h2>Loss</h2>"
        + drawing.figure("Loss of each batch", known.steps, known.losses, known.spikes),
    )
    yield "spikes", "<h2>Spikes</h2>" + _spikes(desk)
    if not len(known.recorded):
        yield "norms", "<p>No norms have been recorded yet.</p>"
        return
    yield (
        "norms",
        "<h2>Gradient</h2>"
        + drawing.figure(
            "Norm of the gradient in recorded steps", known.recorded, known.norms, known.spikes
        ),
    )
    yield "layers", "<h2>Layers</h2>" + _layers(known)
    yield "noise", "<h2>Noise scale</h2>" + _noise(known)
    yield "suspects", "<h2>Suspects</h2>" + _suspects(desk)


def _spikes(desk: Desk) -> str:
    found = desk.run.spikes()
    if not found:
        return "<p>None.</p>"
    rows = []
    for spike in found:
        worst = ", ".join(
            f"{row_link(row) if row is not None else f'sample {i}'} ({number(loss)})"
            for i, row, loss in spike.worst
        )
        again = link("/again", f"take step {spike.step:,} again", step=spike.step)
        reason = words(escape(spike.reason))
        rows.append([step_link(spike.step), reason, words(worst or "not known"), words(again)])
    heads = ["step", "what happened", "rows with the largest losses", ""]
    return f'<div class="of-spikes">{table("Spikes", heads, rows)}</div>'


def _layers(known: Known) -> str:
    """Return the table of the parameters; of many, those that the last step changed most."""
    said = (
        '<p class="small">All small curves of a column have one logarithmic scale. About 0.001 is '
        "usual for update / weight. A name opens its curves, and why one of its weights moved.</p>"
    )
    count = len(known.names)
    if count <= _LAYERS:
        return said + _parameters(known, range(count))
    most = np.argsort(-np.nan_to_num(known.ratios[-1]), kind="stable")[:_LAYERS]
    return (
        f"{said}<p>The {_LAYERS} parameters whose update / weight is largest, of "
        f"{link('/layers', f'all {count:,}')}.</p>{_parameters(known, sorted(most.tolist()))}"
    )


def layers(desk: Desk, known: Known, asked: Asked) -> str:
    """Return the page of all parameters."""
    count = len(known.names)
    if not len(known.recorded):
        raise ValueError("no norms have been recorded yet")
    first = min(asked.whole("first", 0), max((count - 1) // pages.ROWS * pages.ROWS, 0))
    shown = _parameters(known, range(first, min(first + pages.ROWS, count)))
    body = f"<h1>All parameters</h1>{shown}{pages.leaf('/layers', {}, first, count)}"
    return pages.served("All parameters", body)


def _parameters(known: Known, places: Iterable[int]) -> str:
    """Return a row for each parameter, with a small curve of its gradient and of its updates."""
    last = f"{int(known.recorded[-1]):,}"
    gradients, ratios = known.gradients, known.ratios
    reaches = _reach(gradients), _reach(ratios)
    rows = []
    for i in places:
        name = known.names[i]
        sparks = [
            f'<td class="spark">{drawing.spark(known.recorded, values[:, i], reach)}</td>'
            for values, reach in zip((gradients, ratios), reaches, strict=True)
        ]
        gradient, ratio = float(gradients[-1, i]), float(ratios[-1, i])
        rows.append([
            link("/weight", name, name=name), sparks[0],
            "none" if math.isnan(gradient) else number(gradient), sparks[1],
            "none" if math.isnan(ratio) else number(ratio),
        ])  # fmt: skip
    heads = [
        "parameter", "gradient norm", f"in step {last}", "update / weight", f"in step {last}",
    ]  # fmt: skip
    return table("Norms of the parameters", heads, rows)


def _reach(values: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> tuple[float, float]:
    """Return the bottom and top that small curves share."""
    found = values[np.isfinite(values) & (values > 0)]
    if not len(found):
        return 1.0, 10.0
    high = float(found.max())
    return max(float(found.min()), high / _REACH), high


def _noise(known: Known) -> str:
    scale = float(known.noises[-1])
    if math.isnan(scale):
        said = "Not known: it needs the gradient norms of samples, of batches of two or more."
    elif math.isinf(scale):
        said = "The gradient cannot be told from noise; use larger batches."
    else:
        batch = 2 ** round(math.log2(max(scale, 1.0)))
        said = (
            f"{number(scale)} at last, which suggests batches of {batch:,} samples: up to about so "
            "many, a larger batch still saves steps."
        )
    title = "Noise scale over the last 50 recorded steps"
    drawn = drawing.figure(title, known.recorded, known.noises)
    return f"<p>{said}</p>{drawn if np.isfinite(known.noises).any() else ''}"


def _suspects(desk: Desk) -> str:
    found = desk.suspects()
    if isinstance(found, str):
        return f"<p>{escape(found[:1].upper() + found[1:])}</p>"
    rows = []
    highs = [max(each.history) for each in found if each.history]
    reach = max(max(highs, default=1.0), 1e-30)
    for each in found:
        history = np.array(each.history, dtype=float)
        drawn = drawing.spark(np.arange(len(history)), history, (reach / 1e3, reach))
        rows.append([
            row_link(each.row), number(each.loss), f"{each.visits:,}",
            f'<td class="spark">{drawn}</td>', number(float(history[-1])),
        ])  # fmt: skip
    said = (
        '<p class="small">Rows with the largest mean loss over the run, as rows with a wrong label '
        "have. A row opens its losses.</p>"
    )
    heads = ["row", "mean loss", "seen", "last losses", "the last"]
    return said + table("Rows that were hard to learn", heads, rows)
