"""Weights: the pages of a parameter, and of why one of its elements moved in a step."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.diagnose import drawing
from chainrule.diagnose.curves import Known
from chainrule.diagnose.elements import element
from chainrule.explorer.paper import number
from chainrule.explorer.runs import pages
from chainrule.explorer.runs.asked import Asked
from chainrule.explorer.runs.pages import link, optional, step_link, table

if TYPE_CHECKING:
    from chainrule.explorer.runs.desk import Desk


def example(desk: Desk) -> str:
    """Return a weight of the run, for a message or a box."""
    found = desk.run.about["parameters"]
    if not found:
        return "fc1.weight[3,7]"
    return f"{found[0]['name']}[{','.join('0' for _ in found[0]['shape'])}]"


def of_step(desk: Desk, step: int) -> str:
    """Return the norms of all parameters in a recorded step."""
    rows = [
        [
            link("/weight", x.name, name=x.name, step=step), number(x.weight),
            optional(x.gradient), number(x.update), number(x.ratio),
        ]
        for x in desk.run.layers(step)
    ]  # fmt: skip
    heads = ["parameter", "weight norm", "gradient norm", "update norm", "update / weight"]
    return f"<h2>Layers</h2>{table(f'Norms of the parameters in step {step:,}', heads, rows)}"


def form(desk: Desk, step: int, target: str = "") -> str:
    """Return the form that asks why a weight moved."""
    value = escape(target or example(desk))
    return (
        f"<h2>Why did a weight move?</h2>"
        '<form action="/why"><div><label for="target">Weight</label><input id="target" '
        f'name="target" required value="{value}" autocomplete="off" spellcheck="false" '
        'maxlength="300"/></div><div><label for="in-step">In step</label><input id="in-step" '
        f'name="step" type="number" min="0" value="{step}" required/></div>'
        "<button>Why?</button></form>"
    )


def one(desk: Desk, known: Known, asked: Asked) -> str:
    """Return the page of one parameter: its curves, and the form for one of its weights."""
    name = asked.text("name")
    if name not in known.names:
        raise ValueError(f"there is no parameter {name!r} in this run")
    if not len(known.steps):
        raise ValueError("no step has been recorded yet")
    i = known.names.index(name)
    shape = next(p["shape"] for p in desk.run.about["parameters"] if p["name"] == name)
    step = asked.whole("step", int(known.steps[-1]))
    curves = "".join(
        drawing.figure(title, known.recorded, values[:, i], known.spikes)
        for title, values in (
            (f"Gradient norm of {name}", known.gradients),
            (f"Update / weight of {name}", known.ratios),
        )
    ) if len(known.recorded) else "<p>No norms have been recorded yet.</p>"  # fmt: skip
    count = len(known.recorded)
    last = max((count - 1) // pages.ROWS * pages.ROWS, 0)
    first = min(asked.whole("first", last), last)
    rows = [
        [step_link(int(known.recorded[k])), _shown(known.gradients[k, i]),
         _shown(known.ratios[k, i])]
        for k in range(first, min(first + pages.ROWS, count))
    ]  # fmt: skip
    heads = ["step", "gradient norm", "update / weight"]
    body = (
        f"<h1>{escape(name)}</h1><p>Shape {' × '.join(map(str, shape)) or 'one number'}.</p>"
        f"{form(desk, step, _first(name, shape))}"
        f"<h2>Curves</h2>{pages.live('curves', curves)}"
        f"<h2>As a table</h2>{table(f'{name} in recorded steps', heads, rows)}"
        f"{pages.leaf('/weight', {'name': name, 'step': step}, first, count)}"
    )
    return pages.served(name, body)


def _first(name: str, shape: Any) -> str:
    return f"{name}[{','.join('0' for _ in shape)}]"


def _shown(value: np.float32) -> str:
    return "none" if math.isnan(value) else number(float(value))


def why(desk: Desk, known: Known, asked: Asked) -> str:
    """Return the page that says why one weight moved in a step."""
    if not len(known.steps):
        raise ValueError("no step has been recorded yet")
    target, step = asked.text("target"), asked.whole("step", int(known.steps[-1]))
    name, index = element(target, desk.run.about["parameters"])
    target = f"{name}[{','.join(map(str, index))}]"
    head = f"<h1>Why {escape(target)} moved in step {step:,}</h1>"
    try:
        move = desk.why_moved(target, step)
    except ValueError as error:
        reason = escape(str(error)[:1].upper() + str(error)[1:])
        body = f"{head}<p>This cannot be told: {reason}.</p>{in_python(desk)}"
        return pages.served(target, f"{body}{_ways(known, target, step)}{form(desk, step, target)}")
    rows = [
        [pages.words(escape(share.cause)), "earlier" if share.step is None else
         step_link(share.step), _signed(share.value)]
        for share in move.shares
    ]  # fmt: skip
    rows.append([pages.words("<strong>the step</strong>"), "", _signed(move.value)])
    shares = table("All shares, which add up to the step", ["cause", "of step", "moved by"], rows)
    gradient = "none" if move.gradient is None else number(move.gradient)
    explained = link("/explain", "Explain its gradient", step=step, target=target)
    body = (
        f"{head}{_ways(known, target, step)}{_with_scopes(move.html())}"
        f"<p>{escape(target)} was {number(move.before)} before the step and {number(move.after)} "
        f"after it; its gradient was {gradient}. {explained}: the step is taken again for it.</p>"
        f"<details><summary>All {len(move.shares)} shares</summary>{shares}</details>"
        f"{form(desk, step, target)}"
    )
    return pages.served(target, body)


def _with_scopes(html: str) -> str:
    """Return a table whose heads say what they are the heads of."""
    html = html.replace("<tr><th>the step</th>", '<tr><th scope="row">the step</th>')
    return html.replace("<th>", '<th scope="col">')


def _signed(value: float) -> str:
    return ("+" if value > 0 else "") + number(value)


def _ways(known: Known, target: str, step: int) -> str:
    """Return links to the same weight in the steps beside this one, and to the step."""
    at = int(np.searchsorted(known.steps, step))
    ways = [link("/step", f"step {step:,}", step=step)]
    if at > 0:
        before = int(known.steps[at - 1])
        ways.append(link("/why", f"in step {before:,}", target=target, step=before))
    if at + 1 < len(known.steps):
        after = int(known.steps[at + 1])
        ways.append(link("/why", f"in step {after:,}", target=target, step=after))
    return f'<nav class="ways" aria-label="Beside this">{"".join(ways)}</nav>'


def in_python(desk: Desk) -> str:
    """Return what to call where a page lacks the model."""
    if desk.run.about.get("kind") != "torch":
        return ""
    folder = escape(repr(str(desk.run.folder)))
    return (
        "<p>Pages that know the model can take steps again:</p>"
        f'<pre class="wide" tabindex="0">cr.explore_run(cr.load_run({folder}, model=model, '
        "optimizer=optimizer, loss_fn=loss_fn)).serve()</pre>"
    )
