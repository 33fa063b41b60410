"""Local steps: shards that take steps of their own between two meetings, where states are averaged.

Each of the M shards begins with the common state, takes K steps with its own micro-batches, and the
parameters and slots of all are averaged, by the weights of what they have learned from (local SGD:
Stich, arXiv:1805.09767). The replicas are the shards', not the workers', so that the result does
not depend on how many workers there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.engines.base import Engine, Failure, MicroBatch, Plan, State, Sums
from chainrule.equations.data import Samples

if TYPE_CHECKING:
    from chainrule.equations.feedforward import FeedForward

Array = NDArray[Any]
# Takes a step of the epoch, the step of the run and an array; gives the sums of a micro-batch.
Gradient = Callable[[int, int, Array], Sums]


def of_rows(
    engine: Engine,
    network: FeedForward,
    samples: Samples,
    rows: NDArray[np.int64],
    whole: int,
    draw: int,
    g: Array,
    outputs: Array | None,
) -> Sums:
    """Return the sums of some rows; ``outputs``, of all samples, receives a^(L) at them.

    ``whole`` is how many rows a whole micro-batch has, and ``draw`` numbers the dropout masks.
    """
    own = None if outputs is None else np.empty((len(rows), outputs.shape[1]), outputs.dtype)
    sums = engine.gradient(network, MicroBatch(samples.some(rows), whole, draw), g, own)
    if outputs is not None:
        outputs[rows] = own
    return sums


def like(network: FeedForward, plan: Plan) -> Array:
    """Return an array with the shape and dtype of what is added at a meeting."""
    theta = network.parameters
    if plan.local_steps is None:
        return theta
    return np.empty(theta.size * (1 + len(plan.optimizer.used_slots)), theta.dtype)


def part(
    engine: Engine,
    network: FeedForward,
    plan: Plan,
    state: State,
    steps: Sequence[int],
    rates: NDArray[np.float64],
    gradient: Gradient,
    g: Array,
) -> Sums:
    """Return what a shard adds at a meeting, and leave network and state as they are.

    That is the gradient of its micro-batch, or its state after steps of its own, times the weight.

    Args:
        engine: Who computes.
        network: In the common state.
        plan: How it is trained.
        state: The common state.
        steps: Those of the epoch in which the shard has rows: one without local steps.
        rates: The learning rate of each step of the epoch.
        gradient: Computes the sums of the shard's micro-batch at a step.
        g: As `like`; receives the array of the sums.
    """
    if plan.local_steps is None:
        return gradient(steps[0], state.step, g)
    theta = network.parameters.copy()
    own = State(state.step, {name: slot.copy() for name, slot in state.slots.items()})
    parts = g.reshape(-1, theta.size)
    loss, weight, failure = 0.0, 0.0, None
    for step in steps:
        sums = gradient(step, own.step, parts[0])
        failure = engine.apply(network, plan, own, sums, float(rates[step]))
        if failure is not None:
            break
        loss, weight = loss + sums.loss, weight + sums.weight
    for to, array in zip(parts, _arrays(network, plan, own), strict=True):
        np.multiply(array, g.dtype.type(weight), out=to)
    network.parameters[...] = theta
    return Sums(weight, loss, g, failure)


def meet(
    engine: Engine,
    network: FeedForward,
    plan: Plan,
    state: State,
    total: Sums,
    steps: range,
    rates: NDArray[np.float64],
) -> Failure | None:
    """Take the step of a batch, or the mean of all states, or say what is not finite."""
    if plan.local_steps is None:
        return engine.apply(network, plan, state, total, float(rates[steps.start]))
    if total.failure is not None:
        return replace(total.failure, step=state.step)
    if total.weight:
        mean = total.g.reshape(-1, network.parameters.size)
        mean /= total.g.dtype.type(total.weight)
        for array, values in zip(_arrays(network, plan, state), mean, strict=True):
            array[...] = values
    state.step += len(steps)
    return None


def _arrays(network: FeedForward, plan: Plan, state: State) -> list[Array]:
    return [network.parameters, *[state.slots[name] for name in plan.optimizer.used_slots]]
