"""Runs of an engine on random data, and whether they are the reference's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import chainrule as cr
from chainrule.engines.base import Epoch, Plan, State
from chainrule.engines.reference import ReferenceEngine
from chainrule.equations import activations, data

RUN_TOLERANCE = {"float32": 2e-4, "float64": 1e-10}  # relative, after 200 steps
# What the core has, softmax left out; step is left to the reference.
HIDDEN = [name for name in activations.ACTIVATIONS if name not in ("softmax", "step")]
SMOOTH = ["identity", "sigmoid", "tanh", "elu", "gelu", "silu", "softplus"]
LOSSES_AND_OUTPUTS = [
    (loss, output)
    for loss in ("squared_error", "half_squared_error", "absolute_error", "huber", "poisson")
    for output in ("softplus", "softmax", "sigmoid")
]
LOSSES_AND_OUTPUTS += [
    ("cross_entropy", "softmax"), ("binary_cross_entropy", "sigmoid"), ("huber", "identity"),
]  # fmt: skip


def train(engine: Any, sizes: list[int], **options: Any) -> tuple[Any, list[float], Any, Any]:
    """200 steps on random data; gives network, losses, training outputs and state."""
    optimizer = options.pop("optimizer", cr.GradientDescent(0.02))
    batch, clip = options.pop("batch", 12), options.pop("clip", None)
    per_sample = options.pop("l2_per_sample", False)
    largest = options.pop("largest_loss", math.inf)
    weights, shuffle = options.pop("weights", None), options.pop("shuffle", True)
    n, epochs = options.pop("n", 47), options.pop("epochs", 50)  # 4 batches, the last one short
    X, y = options.pop("X", None), options.pop("y", None)
    net = cr.Network(sizes, **{"seed": 7, **options})
    rng = np.random.default_rng(1)
    drawn = rng.normal(size=(n, sizes[0])).astype(net.dtype)
    targets = rng.uniform(0.05, 0.95, size=(n, sizes[-1])).astype(net.dtype)
    if net.loss.name == "cross_entropy":
        targets /= targets.sum(axis=1, keepdims=True)
    samples = data.Samples(drawn if X is None else X, targets if y is None else y, weights)
    plan, steps = Plan(optimizer, batch, clip, per_sample, largest), -(-n // batch)
    state = State(slots=optimizer.start(net.parameters))
    outputs = np.zeros((n, sizes[-1]), net.dtype)
    losses, parts, shown = list[float](), np.full((steps, 2), np.nan), list[float]()
    for epoch in range(epochs):
        order = rng.permutation(n) if shuffle else None
        rates = optimizer.schedule.rates(epoch, steps, losses)
        result = engine.run_epoch(net, Epoch(samples, plan, rates, order, outputs, parts), state)
        assert result.failure is None
        assert (result.steps, result.samples, result.stopped) == (steps, n, False)
        losses.append(result.loss)
        shown += parts.ravel().tolist()
    return net, losses + shown, outputs, state


def agree_with_reference(engine: Any, sizes: list[int], **options: Any) -> None:
    """Losses, outputs, parameters and state after the same steps, to rounding."""
    ours, our_losses, our_outputs, our_state = train(engine, sizes, **options)
    theirs, their_losses, their_outputs, their_state = train(ReferenceEngine(), sizes, **options)
    tolerance = RUN_TOLERANCE[ours.dtype.name]
    largest = np.abs(theirs.parameters).max()
    assert np.abs(ours.parameters - theirs.parameters).max() <= tolerance * largest
    np.testing.assert_allclose(our_losses, their_losses, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(our_outputs, their_outputs, rtol=tolerance, atol=tolerance)
    assert our_state.step == their_state.step
    for name, slot in their_state.slots.items():
        scale = np.abs(slot).max()
        assert np.abs(our_state.slots[name] - slot).max() <= 5 * tolerance * scale, name
