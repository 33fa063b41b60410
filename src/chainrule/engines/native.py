"""The native engine: the C++ core as an extension of Python (`_native`)."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule import _forks as forks
from chainrule.engines import _native
from chainrule.engines.base import (
    Failure,
    MicroBatch,
    Plan,
    SideBySide,
    State,
    Sums,
    Together,
    check_state,
    go_on,
)
from chainrule.engines.compiled import (
    HYPERPARAMETERS,
    CompiledEngine,
    is_read,
    plain,
    plain_as,
    readable,
    rule_of,
)
from chainrule.engines.reference import ReferenceEngine
from chainrule.equations import arrays

if TYPE_CHECKING:
    from chainrule.equations.feedforward import FeedForward


def _read(array: NDArray[Any], out: NDArray[Any] | None, dtype: np.dtype[Any]) -> bool | None:
    if dtype.char not in "fd":
        return None
    answer = _native.read(array, out, dtype.char == "f")
    return None if answer == _native.NOT_HANDLED else answer == _native.DONE


arrays.read_by(_read)

_REAL, _INTEGER = np.dtype(np.float64), np.dtype(np.int64)
# Where networks side by side are faster than one after the other: with at most so many parameters,
# from such a share of the lanes on (`python -m benchmarks.many`).
_PAYS = ((512, 1 / 4), (4096, 1 / 2), (16384, 3 / 4))
_VECTOR = {"avx512": 64, "avx2": 32}  # bytes


class NativeEngine(CompiledEngine):
    """Trains in C++: vector instructions, several threads, one call for each epoch."""

    name = "native"
    watches = True

    def __init__(self, threads: int | None = None, exactly: bool = False) -> None:
        """Use up to so many threads, or ``exactly`` as many, for tests and benchmarks."""
        super().__init__(_native, threads)
        self._exactly = exactly
        self._rules: weakref.WeakKeyDictionary[FeedForward, tuple[Any, Any]]
        self._rules = weakref.WeakKeyDictionary()
        self._gradients_of: weakref.WeakKeyDictionary[FeedForward, tuple[Any, Any]]
        self._gradients_of = weakref.WeakKeyDictionary()

    def _forked(self) -> None:
        super()._forked()
        self._rules, self._gradients_of = weakref.WeakKeyDictionary(), weakref.WeakKeyDictionary()

    def _new_trainer(self, network: FeedForward, plan: Plan, key: tuple[Any, ...]) -> Any:
        trainer = super()._new_trainer(network, plan, key)
        if self._exactly:
            trainer.take_all_threads()
        return trainer

    def epoch_orders(
        self, seed: int, epoch: int, count: int, n_samples: int, shard: int = 0
    ) -> NDArray[np.int64]:
        """Return them from the core: NumPy takes 14 µs before it shuffles."""
        orders = np.empty((count, n_samples), np.int64)
        _native.epoch_orders(seed, epoch, orders, shard)
        return orders

    def alone(self) -> NativeEngine:
        """See `chainrule.engines.base.Engine.alone`."""
        return NativeEngine(1)

    def gradient(
        self,
        network: FeedForward,
        batches: Sequence[MicroBatch],
        most: int,
        g: NDArray[Any],
    ) -> Sums:
        """See `chainrule.engines.base.Engine.gradient`."""
        leaves = [_leaf(batch, network.dtype) for batch in batches]
        theta, to = plain(network.parameters, network.dtype), plain(g, network.dtype)
        core, busy = self._gradients(network, most)
        with busy:
            weight, loss, failed = core.run(theta, leaves, to, go_on)
        if to is not g:
            g[...] = to  # it lies in a way that the core can't write to
        for batch, (*_, rows, _, outputs) in zip(batches, leaves, strict=True):
            if batch.outputs is not None and outputs is not batch.outputs:
                batch.outputs[batch.rows] = outputs[rows]
        failure = None
        if failed >= 0:  # the reference names what is not finite; rounding may make a difference
            named = ReferenceEngine().gradient(network, [batches[failed]], most, np.empty_like(g))
            failure = named.failure or Failure(0, len(network.sizes) - 1, "loss")
        return Sums(weight, loss, g, failure)

    def _gradients(self, network: FeedForward, most: int) -> tuple[_native.Gradients, forks.Lock]:
        """Return what computes gradients for a network: the one that it had last, if it fits."""
        custom = self._compiler.of(network)
        of = (network.layers, network.l2, network.seed, type(network.loss), network.dtype.char,
              [layer.dropout for layer in network.layers], most, self.threads_of(network),
              self.instructions(), custom)  # fmt: skip
        with self._lock:
            kept = self._gradients_of.get(network)
            if kept is None or kept[0][0] is not of[0] or kept[0][1:] != of[1:]:
                made = _native.Gradients(
                    layers=self._layers(network), biases=network.biases,
                    loss=self._loss(network, custom), l2=float(network.l2), single=of[4] == "f",
                    batch_size=most, seed=network.seed, threads=of[7], **self._written(custom),
                )  # fmt: skip
                kept = self._gradients_of[network] = (of, (made, forks.Lock()))
        return kept[1]

    def apply(
        self, network: FeedForward, plan: Plan, state: State, sums: Sums, eta: float
    ) -> Failure | None:
        """See `chainrule.engines.base.Engine.apply`."""
        rule, g = plan.optimizer, sums.g
        if sums.failure is None:
            scale = 1 / sums.weight if sums.weight else 1.0
            if plan.clip_norm is not None:  # squares overflow float32 early
                norm = scale * float(np.linalg.norm(g.astype(np.float64)))
                scale *= min(1.0, plan.clip_norm / norm) if norm else 1.0
            changed = [network.parameters, *[state.slots[name] for name in rule.used_slots]]
            moved = [plain(array, network.dtype) for array in changed]
            core, busy = self._rule(network, plan)
            with busy:
                done = core.apply(
                    moved[0], moved[1:], plain(g, network.dtype), state.step + 1, eta, scale
                )
            if done:
                for given, own in zip(changed, moved, strict=True):
                    if own is not given:
                        given[...] = own  # it lies in a way that the core can't write to
                state.step += 1
                return None
        return super().apply(network, plan, state, sums, eta)  # which names what is not finite

    def _rule(self, network: FeedForward, plan: Plan) -> tuple[_native.Rule, forks.Lock]:
        """Return the core's rule of a plan: the one that the network had last, if it fits."""
        rule = plan.optimizer
        of = (rule_of(rule), self._numbers(rule), network.dtype.char, self.threads_of(network),
              self.instructions())  # fmt: skip
        with self._lock:
            kept = self._rules.get(network)
            if kept is None or kept[0] != of:
                made = _native.Rule(
                    single=of[2] == "f", optimizer=self._core.optimizers.index(of[0]),
                    threads=of[3], **dict(zip(HYPERPARAMETERS, of[1], strict=True)),
                )  # fmt: skip
                kept = self._rules[network] = (of, (made, forks.Lock()))
        return kept[1]

    def side_by_side(self, network: FeedForward, plan: Plan) -> SideBySide | None:
        """See `chainrule.engines.base.Engine.side_by_side`."""
        shares = [share for limit, share in _PAYS if network.parameters.size <= limit]
        if not shares or self._compiler.of(network) is not None:
            return None
        lanes = _VECTOR.get(isa := self.instructions(), 16) // network.dtype.itemsize
        # The norm of a gradient is summed in another order; in float32 that is done in float64.
        exactly = plan.clip_norm is None or network.dtype.itemsize == 4
        how = (plan.clip_norm, plan.l2_per_sample, plan.largest_loss, plan.batch_size)
        shape = (tuple(self._layers(network)), network.biases, type(network.loss), network.dtype)
        rule = (rule_of(plan.optimizer), self._numbers(plan.optimizer))
        kind = (shape, rule, how, self.threads_of(network), isa)
        return SideBySide(kind, max(2, round(lanes * shares[0])), exactly)

    def run_together(
        self, together: Together, on_progress: Callable[[int, float], bool] = go_on
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """See `chainrule.engines.base.Engine.run_together`."""
        networks, states, plan = together.networks, together.states, together.plan
        samples, first, rule = together.samples, networks[0], plan.optimizer
        for network, state in zip(networks, states, strict=True):
            check_state(rule, network.parameters, state)
        many = _native.Many(
            layers=self._layers(first),
            biases=first.biases,
            loss=self._losses.index(type(first.loss)),
            single=first.dtype.char == "f",
            optimizer=self._core.optimizers.index(rule_of(rule)),
            clip_norm=0.0 if plan.clip_norm is None else float(plan.clip_norm),
            l2_per_sample=plan.l2_per_sample,
            largest_loss=plan.largest_loss,
            batch_size=plan.batch_size,
            threads=self.threads_of(first),
            **dict(zip(HYPERPARAMETERS, self._numbers(rule), strict=True)),
        )
        theta = np.stack([network.parameters for network in networks])
        slots = {name: np.stack([s.slots[name] for s in states]) for name in rule.used_slots}
        epochs, steps = together.rates.shape[1:]
        losses = np.empty((len(networks), epochs))
        trained = np.zeros(len(networks), np.bool_)
        real = np.dtype(np.float64)
        many.run(
            theta,
            list(slots.values()),
            np.array([state.step for state in states], np.int64),
            readable(samples.X, first.dtype),
            np.ascontiguousarray(samples.y, np.int64)
            if samples.y.ndim == 1
            else readable(samples.y, first.dtype),
            None if samples.weights is None else plain(samples.weights, real),
            together.orders,
            plain(together.rates, real),
            np.array([float(network.l2) for network in networks]),
            np.array([network.seed for network in networks], np.uint64),
            losses,
            together.outputs,
            together.step_losses,
            trained,
            on_progress,
        )
        for i in np.flatnonzero(trained).tolist():
            networks[i].parameters[...] = theta[i]
            for name, values in slots.items():
                states[i].slots[name][...] = values[i]
            states[i].step += epochs * steps
        return losses, trained


def _leaf(batch: MicroBatch, dtype: np.dtype[Any]) -> tuple[Any, ...]:
    """Return what the core takes of a micro-batch: the samples' own arrays, or copies of its rows.

    They are X, y, weights, the rows of these, the number of the masks, and what receives a^(L).
    """
    samples, rows = batch.samples.at(batch.rows)
    classes, outputs = samples.y.ndim == 1, batch.outputs
    own = samples is not batch.samples
    if not (
        is_read(samples.X)
        and (plain_as(samples.y, _INTEGER) if classes else is_read(samples.y))
        and (samples.weights is None or plain_as(samples.weights, _REAL))
        and (outputs is None or plain_as(outputs, dtype))
    ):
        samples, rows, own = samples.some(rows), np.arange(len(rows)), True
    X, y, weights = samples.X, samples.y, samples.weights
    return (
        readable(X, dtype),
        plain(y, _INTEGER) if classes else readable(y, dtype),
        None if weights is None else plain(weights, _REAL),
        plain(rows, _INTEGER),
        batch.draw,
        np.empty((len(rows), outputs.shape[1]), dtype) if own and outputs is not None else outputs,
    )
