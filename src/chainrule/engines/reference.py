"""The reference engine: `chainrule.equations.backprop`, batch by batch, in NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.engines.base import (
    Epoch,
    EpochResult,
    Failure,
    MicroBatch,
    OneByOne,
    Plan,
    Seen,
    State,
    Sums,
    check_state,
    go_on,
    mean_loss,
    noted,
    summed,
)
from chainrule.equations import backprop, per_sample
from chainrule.equations.arrays import contiguous
from chainrule.equations.backprop import Gradient
from chainrule.equations.data import pieces
from chainrule.equations.layers import LayerOf, NetworkOf
from chainrule.equations.losses import Loss
from chainrule.equations.overflow import Overflow

if TYPE_CHECKING:
    from chainrule.equations.feedforward import FeedForward

Array = NDArray[Any]


class ReferenceEngine(OneByOne):
    """Does everything, and is what other engines are compared with."""

    name = "reference"

    def lacks(self, network: FeedForward, plan: Plan | None) -> str | None:
        """Return None: the engine lacks nothing."""
        return None

    def run_epoch(
        self,
        network: FeedForward,
        epoch: Epoch,
        state: State,
        on_progress: Callable[[int, float], bool] = go_on,
    ) -> EpochResult:
        """See `chainrule.engines.base.Engine.run_epoch`."""
        samples, plan, order, outputs = epoch.samples, epoch.plan, epoch.order, epoch.outputs
        seen = epoch.seen
        check_state(plan.optimizer, network.parameters, state)
        n, units, dtype = len(samples), network.sizes[-1], network.dtype
        total, weight, done, steps = 0.0, 0.0, 0, 0
        for steps, start in enumerate(range(0, n, plan.batch_size), start=1):
            stop = min(start + plan.batch_size, n)
            rows = slice(start, stop) if order is None else order[start:stop]
            X, y, s = samples.rows(rows, units, dtype)
            with np.errstate(all="ignore"):  # what is not finite is found below and named
                passed = backprop.forward(network, X, network.masks(state.step))
                batch_weight = float(stop - start if s is None else s.sum())
                penalised = _penalised(network, plan, batch_weight)
                g = backprop.gradient(penalised, passed, y, s)
                if epoch.step_losses is not None:
                    C = np.minimum(g.sample_losses, plan.largest_loss)
                    epoch.step_losses[steps - 1] = g.shares @ C, g.penalty
                before = None
                if seen is not None:
                    _see_samples(seen, g, seen.first + steps - 1, start)
                    before = network.parameters.copy()
                failure = _step(network, plan, state, g, float(epoch.learning_rates[steps - 1]))
            if failure is not None:
                return EpochResult(mean_loss(total, weight), steps - 1, done, failure=failure)
            if seen is not None and before is not None:
                _see_update(seen, network, epoch, penalised.l2, g, before, steps - 1)
            if outputs is not None:
                outputs[rows] = passed.a[-1]
            total, weight, done = total + batch_weight * g.loss, weight + batch_weight, stop
            if on_progress(steps, mean_loss(total, weight)) and stop < n:
                return EpochResult(mean_loss(total, weight), steps, done, stopped=True)
        return EpochResult(mean_loss(total, weight), steps, done)

    def gradient(
        self,
        network: FeedForward,
        batches: Sequence[MicroBatch],
        most: int,
        g: NDArray[Any],
    ) -> Sums:
        """See `chainrule.engines.base.Engine.gradient`."""
        return summed([partial(self._gradient, network, batch) for batch in batches], g)

    def _gradient(self, network: FeedForward, batch: MicroBatch, g: NDArray[Any]) -> Sums:
        units, dtype = network.sizes[-1], network.dtype
        X, y, s = batch.samples.some(batch.rows).rows(slice(None), units, dtype)
        weight = float(len(X) if s is None else s.sum())
        with np.errstate(all="ignore"):  # what is not finite is named
            passed = backprop.forward(network, X, network.masks(batch.draw))
            found = backprop.gradient(network, passed, y, s)
            np.multiply(_flat(found), dtype.type(weight), out=g)
        if batch.outputs is not None:
            batch.outputs[batch.rows] = passed.a[-1]
        failure = None if math.isfinite(found.loss) else _failure_forward(0, found)
        return Sums(weight, weight * found.loss, g, failure)

    def apply(
        self, network: FeedForward, plan: Plan, state: State, sums: Sums, eta: float
    ) -> Failure | None:
        """See `chainrule.engines.base.Engine.apply`."""
        if sums.failure is not None:
            return replace(sums.failure, step=state.step)
        if sums.weight:
            sums.g /= sums.g.dtype.type(sums.weight)
        with np.errstate(all="ignore"):
            return _apply(network, plan, state, sums.g, eta)

    def predict(self, network: FeedForward, inputs: NDArray[Any]) -> NDArray[Any]:
        """See `chainrule.engines.base.Engine.predict`."""
        outputs = np.empty((len(inputs), network.sizes[-1]), dtype=network.dtype)
        with Overflow(network.dtype) as found:
            for rows in pieces(len(inputs)):
                passed = backprop.forward(network, contiguous(inputs[rows], network.dtype))
                found.look_at(passed, first=rows.start)
                outputs[rows] = passed.a[-1]
        return outputs

    def losses(
        self, network: FeedForward, inputs: NDArray[Any], y: NDArray[Any], outputs: NDArray[Any]
    ) -> NDArray[np.float64]:
        """See `chainrule.engines.base.Engine.losses`."""
        C = np.empty(len(inputs))
        with np.errstate(all="ignore"):
            for rows in pieces(len(inputs)):
                passed = backprop.forward(network, inputs[rows])
                C[rows] = backprop.sample_losses(network, passed.z[-1], passed.a[-1], y[rows])
                outputs[rows] = passed.a[-1]
        return C

    def shortcut(self, network: FeedForward) -> None:
        """Return None: there is none."""
        return None


@dataclass(frozen=True)
class _Penalised:
    """A network with another λ."""

    weighted_layers: Sequence[LayerOf]
    loss: Loss
    l2: float


def _penalised(network: FeedForward, plan: Plan, batch_weight: float) -> NetworkOf:
    """Return what the equations need of the network, with the λ of a batch of that weight."""
    if not (network.l2 and plan.l2_per_sample):
        return network
    l2 = network.l2 / batch_weight if batch_weight else 0.0
    return _Penalised(network.weighted_layers, network.loss, l2)


def _step(
    network: FeedForward, plan: Plan, state: State, g: Gradient, eta: float
) -> Failure | None:
    """Update parameters and slots, or leave them as they were and say what is not finite."""
    if not math.isfinite(g.loss):
        return _failure_forward(state.step, g)
    return _apply(network, plan, state, _flat(g), eta)


def _apply(
    network: FeedForward, plan: Plan, state: State, flat: NDArray[Any], eta: float
) -> Failure | None:
    """Take the step of a gradient, which clipping shortens in place; see `_step`."""
    flat = _clipped(flat, plan)
    theta = network.parameters.copy()
    slots = {name: values.copy() for name, values in state.slots.items()}
    plan.optimizer.update(theta, flat, slots, eta, state.step + 1)
    if not (np.isfinite(theta).all() and np.isfinite(flat).all()):
        both = zip(network.views_of(flat), network.views_of(theta), strict=True)
        for l, (gradients, parameters) in enumerate(both, start=1):
            for what, parts in (("gradient", gradients), ("parameters", parameters)):
                if not all(part is None or np.isfinite(part).all() for part in parts):
                    return Failure(state.step, l, what)
    network.parameters[...] = theta
    for name, values in slots.items():
        state.slots[name][...] = values
    state.step += 1
    return None


def _flat(g: Gradient) -> Array:
    """Return the gradient as one vector, laid out as the parameters."""
    pairs = zip(g.dW, g.db, strict=True)
    return np.concatenate([part.ravel() for pair in pairs for part in pair if part is not None])


def _clipped(flat: Array, plan: Plan) -> Array:
    """Shorten a gradient, in place, whose norm is above the limit."""
    if plan.clip_norm is not None:
        norm = float(np.linalg.norm(flat.astype(np.float64)))  # squares overflow float32 early
        if norm > plan.clip_norm:
            flat *= flat.dtype.type(plan.clip_norm / norm)
    return flat


def _see_samples(seen: Seen, g: Gradient, step: int, start: int) -> None:
    """Note the losses of the samples of a batch and, where it is time to, their norms."""
    n = len(g.sample_losses)
    seen.losses[start : start + n] = g.sample_losses
    if seen.every and step % seen.every == 0:
        delta, a = ([v.astype(np.float64) for v in part] for part in (g.delta, g.forward.a))
        norms = per_sample.norms(delta, a[:-1], g.db[-1] is not None)
        seen.norms[start : start + n] = n * g.shares * norms


def _see_update(
    seen: Seen, network: FeedForward, epoch: Epoch, l2: float, g: Gradient, before: Array, k: int
) -> None:
    """Note what step k of the epoch has done, right after it."""
    after, flat, step = network.parameters, _flat(g), seen.first + k
    if seen.trace is not None:
        i, used = seen.traced, _clipped(flat.copy(), epoch.plan)
        seen.trace[k] = before[i], flat[i], used[i], after[i]
    if not seen.every or step % seen.every:
        return
    kinds = [network.views_of(v) for v in (before, flat, after - before, flat.copy())]
    for (W, _), (dW, _) in zip(kinds[0], kinds[3], strict=True):
        dW -= dW.dtype.type(l2) * W
    place = noted(step, seen.every) - noted(seen.first, seen.every)
    for kind, views in enumerate(kinds):
        arrays = [array for pair in views for array in pair if array is not None]
        with np.errstate(over="ignore"):
            seen.layers[place, :, kind] = [np.linalg.norm(a.astype(np.float64)) for a in arrays]


def _failure_forward(step: int, g: Gradient) -> Failure:
    layers = enumerate(zip(g.forward.z, list(g.forward.a)[1:], strict=True), start=1)
    for l, (z, a) in layers:
        if not np.isfinite(z).all():
            return Failure(step, l, "z")
        if not np.isfinite(a).all():
            return Failure(step, l, "a")
    return Failure(step, len(g.forward.z), "loss")
