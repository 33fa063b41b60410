"""Local steps: shards that take steps of their own between two meetings, where states are averaged.

Each of the M shards begins with the common state, takes K steps with its own micro-batches, and the
parameters and slots of all are averaged, by the weights of what they have learned from (local SGD:
Stich, arXiv:1805.09767). The replicas are the shards', not the workers', so that the result does
not depend on how many workers there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.engines.base import Engine, Failure, MicroBatch, Plan, State, Sums, summed

if TYPE_CHECKING:
    from chainrule.equations.feedforward import FeedForward

Array = NDArray[Any]
# Takes a shard, a step of the epoch and the step of the run; gives the micro-batch.
Batch = Callable[[int, int, int], MicroBatch]


def like(network: FeedForward, plan: Plan) -> Array:
    """Return an array with the shape and dtype of what is added at a meeting."""
    theta = network.parameters
    if plan.local_steps is None:
        return theta
    return np.empty(theta.size * (1 + len(plan.optimizer.used_slots)), theta.dtype)


def block(
    engine: Engine,
    network: FeedForward,
    plan: Plan,
    state: State,
    shards: Mapping[int, Sequence[int]],
    rates: NDArray[np.float64],
    most: int,
    batch: Batch,
    g: Array,
) -> Sums:
    """Return what shards add at a meeting, and leave network and state as they are.

    That is the gradient of their micro-batches, or their states after steps of their own, times
    the weights.

    Args:
        engine: Who computes.
        network: In the common state.
        plan: How it is trained.
        state: The common state.
        shards: Consecutive ones, whose sum is a subtree; for each the steps of the epoch, up to the
            next meeting, in which it has rows: one without local steps.
        rates: The learning rate of each step of the epoch.
        most: The most rows that a micro-batch of the run has.
        batch: Gives the micro-batch of a shard at a step.
        g: As `like`; receives the array of the sums.
    """
    if plan.local_steps is None:
        batches = [batch(k, steps[0], state.step) for k, steps in shards.items()]
        return engine.gradient(network, batches, most, g)

    def replica(k: int, g: Array) -> Sums:
        return _replica(engine, network, plan, state, k, shards[k], rates, most, batch, g)

    return summed([partial(replica, k) for k in shards], g)


def _replica(
    engine: Engine,
    network: FeedForward,
    plan: Plan,
    state: State,
    k: int,
    steps: Sequence[int],
    rates: NDArray[np.float64],
    most: int,
    batch: Batch,
    g: Array,
) -> Sums:
    """Take a shard's own steps, and return the state after them times the weight."""
    theta = network.parameters.copy()
    own = State(state.step, {name: slot.copy() for name, slot in state.slots.items()})
    parts = g.reshape(-1, theta.size)
    loss, weight, failure = 0.0, 0.0, None
    for step in steps:
        sums = engine.gradient(network, [batch(k, step, own.step)], most, parts[0])
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
