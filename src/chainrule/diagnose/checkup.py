"""The findings about a network of chainrule: the rules of a diagnosis on its own arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from chainrule.diagnose import arrays, health, said
from chainrule.diagnose.finding import Finding, some, times
from chainrule.diagnose.thresholds import EXPLODED, FLAT_UNITS, OBSERVED, ROUNDING, VANISHED
from chainrule.equations.backprop import Gradient
from chainrule.equations.data import classes
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.losses import BinaryCrossEntropy, CrossEntropy

Array = arrays.Array
_RANGES = {
    "sigmoid": (0.0, 1.0), "softmax": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, np.inf),
    "softplus": (0.0, np.inf),
}  # fmt: skip


def parameters(network: FeedForward) -> list[Finding]:
    """Return the findings about parameters that are not finite."""
    found = []
    for l, layer in enumerate(network.layers[1:], start=1):
        for letter, array in (("W", layer.W), ("b", layer.b)):
            if array is None or np.isfinite(array).all():
                continue
            bad = ~np.isfinite(array)
            at = tuple(int(i) for i in np.argwhere(bad)[0])
            found.append(Finding(
                "nan-origin", "error", f"layer {l}",
                f"layers[{l}].{letter} already holds {float(array[at])} at {list(at)}, "
                f"{int(bad.sum()):,} of {bad.size:,} numbers: an earlier step wrote them.",
                "w: every product with it is NaN.",
                "Load the last finite parameters, and diagnose the batch before that step.",
                {"count": int(bad.sum())},
            ))  # fmt: skip
    return found


def findings(
    network: FeedForward, gradient: Gradient, X: Array, y: Array, row: said.Row
) -> list[Finding]:
    """Return all findings.

    Args:
        network: The network.
        gradient: Its gradient on the samples, in float64.
        X: The inputs, (n, units_0).
        y: The targets as rows, (n, units_L).
        row: The row number of a sample.
    """
    found = [*_targets(network, y, row)]
    if columns := arrays.unscaled(X):
        found.append(said.unscaled_input("input", columns, X.shape[1]))
    overflow = _overflow(network, gradient, row)
    if overflow is not None:
        return [*found, overflow]
    found += _units(network, gradient)
    found += _reach(network, gradient)
    found += _identical(network)
    outputs = gradient.forward.a[len(network.sizes) - 1]
    if arrays.is_constant(outputs, X) and not _waits(network, gradient):
        shown = ", ".join(f"{v:.4g}" for v in outputs[0][:4])
        factor = "∂a/∂x = 0: " + (health.cause(network, gradient, 1, float("nan")))
        found.append(said.constant_output("output", f"[{shown}]", len(X), factor))
    return [*found, *_suspects(network, outputs, y, row)]


def _targets(network: FeedForward, y: Array, row: said.Row) -> Iterator[Finding]:
    name = network.layers[-1].activation.name
    if isinstance(network.loss, BinaryCrossEntropy | CrossEntropy) or name not in _RANGES:
        return  # these losses refuse targets that they cannot take
    low, high = _RANGES[name]
    slack = ROUNDING * max(1.0, float(np.abs(y).max()))
    bad = (y < low - slack) | (y > high + slack)
    if not bad.any():
        return
    rows = tuple(row(int(i)) for i in np.flatnonzero(bad.any(axis=1)))
    limits = f"from {low:g} on" if high == np.inf else f"between {low:g} and {high:g}"
    many = "rows" if len(rows) > 1 else "row"
    yield Finding(
        "wrong-target-range", "warning", "output",
        f"{times(int(bad.sum()), 'target')} of {bad.size:,} cannot be reached: the output of "
        f"{name} is {limits}, and targets go from {float(y.min()):.4g} to {float(y.max()):.4g}, "
        f"such as in {many} {some(rows)}.",
        f"g′ of {name}: the outputs go to its flat end, where g′ is 0 and no gradient passes.",
        "Scale the targets into that range, or use the output identity.",
        {"smallest": float(y.min()), "largest": float(y.max()), "outside": int(bad.sum())},
        rows=rows,
    )  # fmt: skip


def _overflow(network: FeedForward, gradient: Gradient, row: said.Row) -> Finding | None:
    passed = gradient.forward
    for l in range(1, len(network.sizes)):
        for letter, array in (("z", passed.z[l]), ("a", passed.a[l])):
            if not np.isfinite(array).all():
                i, j = (int(k) for k in np.argwhere(~np.isfinite(array))[0])
                return _first(f"{letter} of layer {l}", l, j, array[i, j], row(i))
    losses = gradient.sample_losses
    if not np.isfinite(losses).all():
        i = int(np.flatnonzero(~np.isfinite(losses))[0])
        return _first("the loss", len(network.sizes) - 1, None, losses[i], row(i))
    for l in range(len(network.sizes) - 1, 0, -1):
        if not np.isfinite(gradient.delta[l]).all():
            i, j = (int(k) for k in np.argwhere(~np.isfinite(gradient.delta[l]))[0])
            return _first(f"∂C/∂z of layer {l}", l, j, gradient.delta[l][i, j], row(i))
    return None


def _first(what: str, l: int, unit: int | None, value: float, row: Any) -> Finding:
    where = "" if unit is None else f" at unit {unit}"
    return Finding(
        "nan-origin", "error", f"layer {l}",
        f"{what} is {float(value)}{where} of row {row}: the first number that is not finite.",
        f"{what}: the numbers became too large for float64.",
        "Scale the inputs, lower the learning rate, or start with smaller weights.",
        {"value": float(value)}, () if unit is None else (unit,), (row,),
    )  # fmt: skip


_SAID = {
    "dead": ("is 0 on all", "are 0 on all", "g′(z) = 0: no gradient reaches their weights."),
    "saturated": ("stands on a flat end of its function on almost all",
                  "stand on a flat end of their function on almost all",
                  "g′(z) is close to 0, so hardly any gradient passes."),
}  # fmt: skip


def _units(network: FeedForward, gradient: Gradient) -> Iterator[Finding]:
    n = len(gradient.sample_losses)
    for l, words in enumerate(health.marks(network, gradient.forward)):
        for word, (one, many, factor) in _SAID.items():
            units = tuple(j for j, each in enumerate(words) if each == word)
            if not units:
                continue
            sure = n >= OBSERVED and len(units) >= FLAT_UNITS * len(words)
            if word == "dead":
                sure = n >= OBSERVED and arrays.is_fault_of_dead(gradient.forward.z[l], list(units))
            yield Finding(
                f"{word}-units", "warning" if sure else "note", f"layer {l}",
                f"{len(units)} of the {times(len(words), 'unit')} of layer {l} "
                f"({network.layers[l].activation.name}) {one if len(units) == 1 else many} "
                f"{times(n, 'sample')}: {some(units)}.",
                factor,
                "Scale the inputs, start with smaller weights, or lower the learning rate"
                + ("; leaky_relu lets a gradient pass below 0." if word == "dead" else "."),
                {"units": len(units), "of": len(words), "samples": n}, units,
            )  # fmt: skip


def _reach(network: FeedForward, gradient: Gradient) -> Iterator[Finding]:
    L = len(network.sizes) - 1
    sizes = [float(np.sqrt(np.square(gradient.delta[l]).sum())) for l in range(1, L + 1)]
    largest = max(sizes)
    if not any(map(np.any, gradient.dW)) and not any(
        b is not None and np.any(b) for b in gradient.db
    ):
        if largest or float(gradient.sample_losses.max()) > 0:
            yield Finding(
                "vanishing", "error", "", health.report(network, gradient)["words"],
                health.cause(network, gradient, 1, float("nan")),
                "Start with other weights, or choose functions with a slope.",
            )  # fmt: skip
        return
    behind = []
    for l, size in enumerate(sizes[:-1], start=1):
        if size >= VANISHED * largest:
            break
        behind.append(l)
    if behind and not _waits(network, gradient):
        share = max(sizes[: len(behind)]) / largest
        yield Finding(
            "vanishing", "warning", f"layer {behind[-1]}" if len(behind) == 1 else
            f"layers 1 to {behind[-1]}",
            f"The gradient that arrives there is {share:.2g} of the largest: ‖δ‖ is {sizes[0]:.3g} "
            f"in layer 1 and {largest:.3g} in layer {sizes.index(largest) + 1}.",
            health.cause(network, gradient, behind[-1], float("nan")),
            "Use relu or another function with a steep slope, fewer layers, or weights that keep "
            "the size of the signal (init he_normal or glorot_normal).",
            {"first": sizes[0], "largest": largest, "share": share},
        )  # fmt: skip
    elif L > 2 and sizes[-1] and sizes[0] > EXPLODED * sizes[-1]:
        yield Finding(
            "exploding", "warning", "layer 1",
            f"The gradient grows {sizes[0] / sizes[-1]:.3g} times on its way back: ‖δ‖ is "
            f"{sizes[-1]:.3g} in layer {L} and {sizes[0]:.3g} in layer 1.",
            "Wᵀ of the layers between, whose weights are too large.",
            "Start with smaller weights (init auto), or clip the gradient.",
            {"first": sizes[0], "last": sizes[-1], "growth": sizes[0] / sizes[-1]},
        )  # fmt: skip


def _waits(network: FeedForward, gradient: Gradient) -> bool:
    """Return whether weights of 0 hold the gradient back, and have one themselves: a step helps."""
    return any(
        not np.any(network.layers[l].W) and bool(np.any(gradient.dW[l]))
        for l in range(1, len(network.sizes))
    )


def _identical(network: FeedForward) -> Iterator[Finding]:
    for l in range(1, len(network.sizes) - 1):
        groups = health.identical(network, l)
        units = tuple(j for group in groups for j in group)
        if units:
            count = network.sizes[l]
            yield Finding(
                "identical-units", "error" if len(units) == count else "warning", f"layer {l}",
                f"{len(units)} of the {count} units of layer {l} have equal weights, and equal "
                f"weights lead on from them: {some(units)}. They stay equal and learn as one.",
                "∂C/∂z: it is the same for units that the next layer weighs the same.",
                "Start with random weights instead of a constant.",
                {"units": len(units), "of": count}, units,
            )  # fmt: skip


def _suspects(network: FeedForward, outputs: Array, y: Array, row: said.Row) -> Iterator[Finding]:
    if isinstance(network.loss, BinaryCrossEntropy | CrossEntropy):
        labels = classes(y, network.sizes[-1])
        if labels is None:
            return
        if outputs.shape[1] == 1:
            p = np.column_stack([1 - outputs, outputs])
        elif isinstance(network.loss, CrossEntropy):
            p = outputs
        else:
            return  # several outputs that are yes or no each
        found = arrays.suspect_classes(p, labels)
        if found:
            yield said.suspect_classes(found, labels, row)
    elif outputs.shape[1] == 1:
        numbers = arrays.suspect_numbers(outputs[:, 0], np.asarray(y, dtype=np.float64)[:, 0])
        if numbers:
            yield said.suspect_numbers(numbers, row)
