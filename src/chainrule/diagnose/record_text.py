"""The words about a watched run."""

from __future__ import annotations

import math
from typing import Any

from chainrule.equations.numbers import plain


def text(run: Any) -> str:
    """Return what happened in a `RunRecord`, in a few lines."""
    steps = run.steps
    if not steps:
        return "no step has been recorded yet"
    first, last = steps[0], steps[-1]
    lines = [
        f"{last['step'] + 1:,} steps of {run.about['model']}"
        + (f" with {run.about['optimizer']}" if run.about["optimizer"] else "")
        + f"; loss {_short(first['loss'])} at first, {_short(last['loss'])} at last"
    ]
    spikes = run.spikes()
    lines += ["", f"Spikes: {len(spikes) or 'none'}", *(f"  {spike}" for spike in spikes)]
    if any(line.get("recorded") for line in steps):
        lines += ["", *_layers(run), *_noise(run)]
    return "\n".join(lines)


def _layers(run: Any) -> list[str]:
    layers = run.layers()
    width = max(len(layer.name) for layer in layers)
    lines = [f"{'':<{width + 2}}{'weight':>10}{'gradient':>11}{'update':>11}{'ratio':>11}"]
    for x in layers:
        gradient = "none" if x.gradient is None else f"{x.gradient:.3g}"
        lines.append(
            f"  {x.name:<{width}}{x.weight:>10.3g}{gradient:>11}{x.update:>11.3g}{x.ratio:>11.2g}"
        )
    return lines


def _noise(run: Any) -> list[str]:
    scale = run.noise_scale
    if math.isnan(scale):
        return []
    if math.isinf(scale):
        return ["", "Noise scale: the gradient cannot be told from noise; use larger batches"]
    return ["", f"Noise scale: {scale:.3g}; suggested batch size {run.suggested_batch_size}"]


def _short(value: Any) -> str:
    return f"{float(value):.4g}"


def to_dict(run: Any) -> dict[str, Any]:
    """Return a `RunRecord` as plain values."""
    scale = run.noise_scale
    return {
        "about": run.about,
        "steps": run.steps,
        "spikes": [
            {
                "step": spike.step,
                "loss": plain(spike.loss),
                "reason": spike.reason,
                "worst": [[i, row, plain(loss)] for i, row, loss in spike.worst],
            }
            for spike in run.spikes()
        ],
        "noise_scale": plain(scale),
        "suggested_batch_size": run.suggested_batch_size,
    }
