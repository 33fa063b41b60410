"""The page of a watched run: one HTML file with curves that open into steps."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from html import escape
from typing import Any

from chainrule.diagnose import drawing
from chainrule.diagnose.curves import Curves
from chainrule.equations.numbers import format_number

_ROWS = 20  # suspects, and samples of a step
_STEPS = 60  # recorded steps whose samples and layers the page opens, the last ones

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1e; --soft: #5c5c66; --line: #d4d4da; --back: #fff;
  --curve: #1f5fbf; --mark: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececf0; --soft: #a5a5b0; --line: #44444c;
  --back: #17171a; --curve: #7fb0ff; --mark: #ff8a80; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back);
  max-width: 62rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p.soft, caption, figcaption { color: var(--soft); text-align: left; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.box { cursor: pointer; }
th, td { padding: .2rem .8rem .2rem 0; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
select { font: inherit; padding: .2rem .4rem; color: inherit; background: var(--back);
  border: 1px solid var(--soft); border-radius: 4px; }
"""

_SCRIPT = """
const run = JSON.parse(document.getElementById("run").textContent);
const shown = (v) => v === null ? "none" : typeof v === "number" ? String(+v.toPrecision(4)) : v;
function table(id, head, rows) {
  const body = rows.map((row) => "<tr>" + row.map((v) => `<td></td>`).join("") + "</tr>").join("");
  const place = document.getElementById(id);
  place.innerHTML = "<table><thead><tr>" + head.map(() => "<th scope=col></th>").join("")
    + "</tr></thead><tbody>" + body + "</tbody></table>";
  place.querySelectorAll("th").forEach((cell, i) => { cell.textContent = head[i]; });
  place.querySelectorAll("td").forEach((cell, i) => {
    cell.textContent = shown(rows[Math.floor(i / head.length)][i % head.length]);
  });
}
const choice = document.getElementById("step");
function open() {
  const found = run.steps[choice.value];
  table("layers", ["parameter", "weight", "gradient", "update", "update / weight"], found.layers);
  table("samples", ["sample", "row", "loss", "gradient norm"], found.samples);
}
if (choice) { choice.addEventListener("change", open); open(); }
for (const box of choice ? document.querySelectorAll(".box") : [])
  box.addEventListener("click", (event) => {
    const place = box.getBoundingClientRect();
    const points = JSON.parse(box.dataset.points);
    const first = points[0][0], last = points[points.length - 1][0];
    const step = first + ((event.clientX - place.left) / place.width) * (last - first);
    const far = (option) => Math.abs(option.value - step);
    choice.value = [...choice.options].reduce((a, b) => (far(b) < far(a) ? b : a)).value;
    open();
    choice.scrollIntoView({ block: "center" });
  });
"""


def page(run: Any) -> str:
    """Return the page of a `RunRecord`."""
    steps, about = run.steps, run.about
    title = f"{about['model']}: {steps[-1]['step'] + 1 if steps else 0:,} steps"
    parts = "\n".join(_parts(run, steps))
    opened = json.dumps({"steps": _opened(run, steps)}).replace("<", "\\u003c")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}{drawing.STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(title)}</h1>\n{parts}\n</main>\n"
        f'<script type="application/json" id="run">{opened}</script>\n'
        f"<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )


def _parts(run: Any, steps: list[dict[str, Any]]) -> Iterator[str]:
    if not steps:
        yield "<p>No step has been recorded yet.</p>"
        return
    known = Curves(run.folder, [p["name"] for p in run.about["parameters"]]).read()
    recorded = [line for line in steps if line.get("recorded")]
    spikes = run.spikes()
    yield "<h2>Loss</h2>"
    marks = [spike.step for spike in spikes]
    yield drawing.figure("Loss of each batch", known.steps, known.losses, marks)
    if recorded:
        yield "<h2>Gradient</h2>"
        title = "Norm of the gradient in recorded steps"
        yield drawing.figure(title, known.recorded, known.norms)
    yield "<h2>Spikes</h2>"
    items = "".join(f"<li>{escape(str(spike))}</li>" for spike in spikes)
    yield f"<ul>{items}</ul>" if items else "<p>None.</p>"
    if recorded:
        options = "".join(
            f'<option value="{x["step"]}">step {x["step"]}</option>'
            for x in reversed(recorded[-_STEPS:])
        )
        yield (
            '<h2>One step</h2>\n<p class="soft">A click on a curve opens the nearest recorded step.'
            "</p>"
        )
        yield '<p><label>Recorded step <select id="step">'
        yield f"{options}</select></label></p>"
        yield '<div class="table" id="layers" tabindex="0" role="region" aria-label="Layers"></div>'
        yield f"<p class=soft>The {_ROWS} samples with the largest gradient norms:</p>"
        yield (
            '<div class="table" id="samples" tabindex="0" role="region" aria-label="Samples"></div>'
        )
        scale = run.noise_scale
        if math.isfinite(scale):
            words = f"{format_number(scale, 3)}; suggested batch size {run.suggested_batch_size}"
            yield f"<h2>Noise</h2>\n<p>Noise scale: {words}.</p>"
    yield from _suspects(run)


def _suspects(run: Any) -> Iterator[str]:
    try:
        suspects = run.suspects(_ROWS)
    except ValueError:  # the loop did not say the rows
        return
    rows = "".join(
        f"<tr><td>{s.row}</td><td>{format_number(s.loss, 4)}</td><td>{s.visits}</td></tr>"
        for s in suspects
    )
    yield "<h2>Suspects</h2>\n<p class=soft>Rows with the largest mean loss over the run.</p>"
    yield (
        '<div class="table" tabindex="0" role="region" aria-label="Suspects"><table><thead><tr>'
        "<th scope=col>row</th><th scope=col>mean loss</th><th scope=col>visits</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _opened(run: Any, steps: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the layers and samples of the last recorded steps."""
    found: dict[str, Any] = {}
    for line in [x for x in steps if x.get("recorded")][-_STEPS:]:
        step = line["step"]
        layers = [
            [x.name, _json(x.weight), _json(x.gradient), _json(x.update), _json(x.ratio)]
            for x in run.layers(step)
        ]
        found[str(step)] = {"layers": layers, "samples": _samples(run, step)}
    return found


def _samples(run: Any, step: int) -> list[list[Any]]:
    try:
        samples = run.samples(step)
    except ValueError:  # no longer kept
        return []
    key = samples.norms if samples.norms is not None else samples.losses
    if key is None:
        return []
    order = sorted(range(len(key)), key=lambda i: -key[i])[:_ROWS]
    return [
        [
            i,
            None if samples.rows is None else int(samples.rows[i]),
            None if samples.losses is None else _json(samples.losses[i]),
            None if samples.norms is None else _json(samples.norms[i]),
        ]
        for i in order
    ]


def _json(value: float | None) -> Any:
    if value is None:
        return None
    return float(value) if math.isfinite(value) else repr(float(value))
