"""Health: which units have stopped learning, how large the gradients are, and why."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from chainrule.equations.backprop import Forward, Gradient
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.losses import BinaryCrossEntropy, CrossEntropy
from chainrule.equations.numbers import Value, format_number, plain

Array = NDArray[Any]
_FLAT = 0.05  # saturated: |g'| is below this share of the steepest slope ...
_SHARE = 0.95  # ... on at least this share of the samples
_SMALL = 0.01  # share of the largest gradient below which a gradient is small
# The steepest slope of the functions that saturate, at z = 0.
_STEEPEST = {"tanh": 1.0, "sigmoid": 0.25}


class LayerHealth(TypedDict):
    """The health of a layer."""

    layer: int
    gradient: Value
    share: Value  # of the largest gradient of all layers, 0 to 1
    slope: Value  # the mean of |g'|
    arriving: Value  # the mean of |∂C/∂a|
    marked: list[list[Any]]  # (unit, "dead" or "saturated")
    words: str


class HealthView(TypedDict):
    """The health of all layers."""

    kind: Literal["health"]
    words: str
    layers: list[LayerHealth]


def marks(network: FeedForward, passed: Forward) -> list[list[str]]:
    """Return for every unit of every layer "dead", "saturated" or "" (it learns)."""
    found = [["" for _ in range(network.sizes[0])]]
    for l in range(1, len(network.sizes)):
        g = network.layers[l].activation
        z, a = passed.z[l], passed.a[l]
        words = [""] * network.sizes[l]
        if l == len(network.sizes) - 1 and isinstance(
            network.loss, BinaryCrossEntropy | CrossEntropy
        ):
            found.append(words)  # ∂C/∂z is a - y there, so a flat g' does no harm
            continue
        if g.name == "relu":
            for j in np.flatnonzero((z <= 0).all(axis=0)).tolist():
                words[j] = "dead"
        elif g.name in _STEEPEST:
            flat = np.abs(g.derivative(z, a)) < _FLAT * _STEEPEST[g.name]
            for j in np.flatnonzero(flat.mean(axis=0) >= _SHARE).tolist():
                words[j] = "saturated"
        found.append(words)
    return found


def report(network: FeedForward, gradient: Gradient, first: int = 0) -> HealthView:
    """Return the health of every layer; the words count units from ``first`` on."""
    L = len(network.sizes) - 1
    sizes = [_rms(gradient.dW[l]) for l in range(1, L + 1)]
    largest = max(sizes) or 1.0
    shares = [size / largest for size in sizes]
    found = marks(network, gradient.forward)
    layers = [
        _layer(network, gradient, l, sizes[l - 1], shares[l - 1], found, first)
        for l in range(1, L + 1)
    ]
    small = [l for l, share in enumerate(shares, start=1) if not share >= _SMALL]  # NaN, too
    ill = sum(len(view["marked"]) for view in layers)
    same = sum(len(group) for l in range(1, L) for group in identical(network, l))
    if not max(sizes) and not any(_learns_by_bias(gradient, l) for l in range(1, L + 1)):
        why = "the samples cancel in the mean"
        if flat := _flat(network, L):
            why = flat
        elif not gradient.delta[L].any():
            why = "∂C/∂z of the outputs is 0 on every sample"
        words = f"Every gradient is 0, so gradient descent changes nothing: {why}."
    elif small or ill or same:
        parts = []
        if not max(sizes):
            parts.append("only biases have a gradient")
        elif behind := [l for l in small if _flat(network, l)]:
            parts.append(f"no gradient in {_layers(behind)}, because {_flat(network, behind[-1])}")
            small = [l for l in small if l not in behind]
        if max(sizes) and small:
            parts.append(f"small gradients in {_layers(small)}")
        if ill:
            parts.append(f"{ill} unit{'s' * (ill > 1)} that hardly learn{'s' * (ill == 1)}")
        if same:
            parts.append(f"{same} identical units")
        words = f"Worth a look: {', '.join(parts)}."
    else:
        words = "All is well: all layers have gradients of similar size, and every unit learns."
    return {"kind": "health", "words": words, "layers": layers}


def _layer(
    network: FeedForward,
    gradient: Gradient,
    l: int,
    size: float,
    share: float,
    found: list[list[str]],
    first: int,
) -> LayerHealth:
    g = network.layers[l].activation
    z, a, delta = gradient.forward.z[l], gradient.forward.a[l], gradient.delta[l]
    slope = arriving = float("nan")
    if l < len(network.sizes) - 1:
        W = np.asarray(network.layers[l + 1].W, dtype=np.float64)
        arriving = float(np.abs(gradient.delta[l + 1] @ W).mean())
    if g.name != "softmax":
        slope = float(np.abs(g.derivative(z, a)).mean())
    marked: list[list[Any]] = [[j, word] for j, word in enumerate(found[l]) if word]
    return {
        "layer": l, "gradient": plain(size), "share": plain(share), "slope": plain(slope),
        "arriving": plain(arriving), "marked": marked,
        "words": _words(network, gradient, l, share, slope, marked, first, float(_rms(delta))),
    }  # fmt: skip


def _words(
    network: FeedForward,
    gradient: Gradient,
    l: int,
    share: float,
    slope: float,
    marked: list[list[Any]],
    first: int,
    delta: float,
) -> str:
    name = network.layers[l].activation.name
    said = []
    if share == 0:
        said.append(_nothing(network, gradient, l))
    elif share < _SMALL:
        part = f"1/{1 / share:,.0f}" if share >= 1e-4 else format_number(share, 1)
        said.append(f"Its gradient is {part} of the largest, so it learns slowly.")
        said.append(cause(network, gradient, l, slope))
    flat = f"{name} is flat at z, so the factor g′(z) is close to 0 on almost every sample"
    meanings = {
        "dead": "z ≤ 0 on every sample checked, so a = 0, g′(z) = 0, and no gradient passes",
        "saturated": f"{flat} and hardly any gradient passes",
    }
    for word, meaning in meanings.items():
        units = [str(j + first) for j, what in marked if what == word]
        if units:
            some = ", ".join(units[:6]) + (f" and {len(units) - 6} more" if len(units) > 6 else "")
            verb = "are" if len(units) > 1 else "is"
            said.append(f"Unit{'s' * (len(units) > 1)} {some} {verb} {word}: {meaning}.")
    for group in identical(network, l) if l < len(network.sizes) - 1 else []:
        names = ", ".join(str(j + first) for j in group[:6])
        more = f" and {len(group) - 6} more" if len(group) > 6 else ""
        said.append(
            f"Units {names}{more} are identical: their weights and biases are equal, and so are "
            "the weights that leave them. Their gradients stay equal, and they learn as one unit."
        )
    return " ".join(said) or "It learns well."


def identical(network: FeedForward, l: int) -> list[list[int]]:
    """Return the groups of units of a hidden layer whose gradients are equal, now and later."""
    layer, after = network.layers[l], network.layers[l + 1]
    b = np.zeros(network.sizes[l]) if layer.b is None else layer.b
    groups: dict[bytes, list[int]] = {}
    for j, row in enumerate(np.column_stack([layer.W, b, np.asarray(after.W).T]) + 0.0):
        groups.setdefault(row.tobytes(), []).append(j)  # + 0.0 makes -0.0 equal to 0.0
    return [units for units in groups.values() if len(units) > 1]


def _learns_by_bias(gradient: Gradient, l: int) -> bool:
    db = gradient.db[l]
    return db is not None and bool(np.any(db))


def _flat(network: FeedForward, l: int) -> str:
    """Say which layer from l on has an activation whose derivative is 0, or return ""."""
    for m in range(l, len(network.sizes)):
        g = network.layers[m].activation
        if g.is_flat:
            return f"the {g.name} function of layer {m} has derivative 0 wherever it has one"
    return ""


def _nothing(network: FeedForward, gradient: Gradient, l: int) -> str:
    """Return why no weight of a layer has a gradient."""
    if flat := _flat(network, l):
        return (
            f"No gradient arrives: {flat}, so every gradient behind it is 0. Only layers after it "
            "learn; choose a function with a slope, such as the sigmoid."
        )
    if not gradient.delta[l].any():
        return "No gradient arrives."
    why = "over the samples, δ times a comes to 0"
    if not gradient.forward.a[l - 1].any():
        why = f"a of layer {l - 1} is 0 on every sample"
    biases = "; its biases have one" if _learns_by_bias(gradient, l) else ""
    return f"Its weights have no gradient: {why}{biases}."


def cause(network: FeedForward, gradient: Gradient, l: int, slope: float) -> str:
    """Return a sentence about the smallest factor between this layer and the loss."""
    factors = []
    for m in range(l, len(network.sizes)):
        g = network.layers[m].activation
        if g.name != "softmax":
            g_prime = np.abs(g.derivative(gradient.forward.z[m], gradient.forward.a[m]))
            factors.append((float(g_prime.mean()), f"g′(z) of layer {m} ({g.name})"))
        if m > l:
            W = np.asarray(network.layers[m].W, dtype=np.float64)
            size = float(np.sqrt(np.square(W).sum(axis=0).mean()))
            factors.append((size, f"the weights of layer {m}"))
    inputs = float(np.sqrt(np.square(gradient.forward.a[l - 1]).mean()))
    factors.append((inputs, f"the activations a of layer {l - 1}"))
    value, name = min(factors)
    return f"The smallest factor in its chain is {name}: {format_number(value, 2)} on average."


def _rms(values: Array) -> float:
    return float(np.sqrt(np.square(values).mean()))


def _layers(numbers: list[int]) -> str:
    names = ", ".join(map(str, numbers))
    return f"layer {names}" if len(numbers) == 1 else f"layers {names}"
