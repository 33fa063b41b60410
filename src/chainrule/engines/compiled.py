"""Engines of the C++ core: whole epochs, and predictions, wherever it is compiled for.

`native` has it as an extension of Python, `wasm` as a module of WebAssembly.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule import _forks as forks
from chainrule.engines.base import (
    Epoch,
    EpochResult,
    Failure,
    MicroBatch,
    OneByOne,
    Plan,
    Seen,
    Shortcut,
    State,
    Sums,
    check_state,
    go_on,
)
from chainrule.engines.custom import Compiler, Custom, NotCompiledError
from chainrule.engines.programs import Program
from chainrule.engines.reference import ReferenceEngine
from chainrule.equations import activations, losses, optimizers
from chainrule.equations.arrays import contiguous, is_mapped
from chainrule.equations.optimizers import Optimizer

if TYPE_CHECKING:
    from chainrule.equations.feedforward import FeedForward

_REAL, _INTEGER = np.dtype(np.float64), np.dtype(np.int64)
_READABLE = "bhilqBHILQ?fd"
_KEPT = 3  # trainers of a network: an epoch's last micro-batches may have two other sizes
_CONVERTED = 1 << 14  # rows of another dtype that are converted in one go


class CompiledEngine(OneByOne):
    """Trains in C++, with one call for each epoch. ``core`` is what `_native.pyi` describes."""

    name: str
    watches = False  # whether the core notes what `Seen` asks for

    def __init__(self, core: Any, threads: int | None = None) -> None:
        self._core = core
        self.threads = threads
        # In the order of the core's enumerations: what it knows as a number is its place here.
        self._activations = tuple(type(activations.ACTIVATIONS[name]) for name in core.activations)
        self._losses = tuple(type(losses.LOSSES[name]) for name in core.losses)
        self._compiler = Compiler(self._activations, self._losses)
        self._trainers: weakref.WeakKeyDictionary[FeedForward, list[tuple[Any, Any, Any]]]
        self._trainers = weakref.WeakKeyDictionary()
        self._predictors: weakref.WeakKeyDictionary[FeedForward, tuple[Any, Any]]
        self._predictors = weakref.WeakKeyDictionary()
        self._lock = forks.Lock()
        forks.register(self)

    def _forked(self) -> None:
        """Drop, in a forked child, what another thread of the parent may have been using."""
        self._trainers, self._predictors = weakref.WeakKeyDictionary(), weakref.WeakKeyDictionary()

    def lacks(self, network: FeedForward, plan: Plan | None) -> str | None:
        """Name the first activation, loss or optimiser that the core does not compute."""
        try:
            self._compiler.of(network)
        except NotCompiledError as error:
            return f"the {self.name} engine {error}"
        if plan is not None:
            # These raise for what the environment says wrong.
            self.threads_of(network), self.instructions()
            if _known(type(plan.optimizer)) is None:
                rule = type(plan.optimizer).__name__
                return f"the {self.name} engine does not know optimizer {rule}"
            if plan.batch_size > (limit := self._core.batch_limit):
                return f"the {self.name} engine takes batches of up to {limit} samples"
        return None

    def run_epoch(
        self,
        network: FeedForward,
        epoch: Epoch,
        state: State,
        on_progress: Callable[[int, float], bool] = go_on,
    ) -> EpochResult:
        """See `chainrule.engines.base.Engine.run_epoch`."""
        samples, plan, seen = epoch.samples, epoch.plan, epoch.seen
        n = len(samples)
        if seen is not None and not self.watches:
            return ReferenceEngine().run_epoch(network, epoch, state, on_progress)
        X, y = samples.X, samples.y
        if not (is_read(X) and is_read(y)) and any(
            not is_read(part) and is_mapped(part) for part in (X, y)
        ):  # To convert it whole would need the memory that the map is there to save.
            return ReferenceEngine().run_epoch(network, epoch, state, on_progress)
        theta, rule = network.parameters, plan.optimizer
        check_state(rule, theta, state)
        trainer, busy = self._trainer(network, plan, n)
        dtype = theta.dtype
        changed = [theta, *[state.slots[name] for name in rule.used_slots]]
        moved: list[Any] = [plain(given, dtype) for given in changed]
        a = None if epoch.outputs is None else plain(epoch.outputs, dtype)
        C = None if epoch.step_losses is None else plain(epoch.step_losses, _REAL)
        with busy:
            try:
                outcome = trainer.run_epoch(
                    moved[0],
                    moved[1:],
                    state.step,
                    readable(X, dtype),
                    plain(y, _INTEGER) if y.ndim == 1 else readable(y, dtype),
                    None if samples.weights is None else plain(samples.weights, _REAL),
                    None if epoch.order is None else plain(epoch.order, _INTEGER),
                    plain(epoch.learning_rates, _REAL),
                    a,
                    C,
                    on_progress,
                    **({} if seen is None else _seen(seen)),
                )
            finally:
                changed += [part for part in (epoch.outputs, epoch.step_losses) if part is not None]
                moved += [part for part in (a, C) if part is not None]
                for given, own in zip(changed, moved, strict=True):
                    if own is not given:
                        given[...] = own  # it lies in a way that the core can't write to
        result = self._result(network, epoch, state, outcome)
        if result.failure is None and not result.stopped:
            on_progress(result.steps, result.loss)  # short epochs have had no other call
        return result

    def _result(
        self,
        network: FeedForward,
        epoch: Epoch,
        state: State,
        outcome: tuple[float, int, int, bool],
    ) -> EpochResult:
        """Return what the core says of an epoch, and count its steps."""
        loss, steps, failed, stopped = outcome
        state.step += steps
        done = min(steps * epoch.plan.batch_size, len(epoch.samples))
        failure = _find(network, epoch, state, failed) if failed >= 0 else None
        return EpochResult(loss, steps, done, failure=failure, stopped=stopped)

    def gradient(
        self,
        network: FeedForward,
        batches: Sequence[MicroBatch],
        most: int,
        g: NDArray[Any],
    ) -> Sums:
        """See `chainrule.engines.base.Engine.gradient`."""
        return ReferenceEngine().gradient(network, batches, most, g)

    def apply(
        self, network: FeedForward, plan: Plan, state: State, sums: Sums, eta: float
    ) -> Failure | None:
        """See `chainrule.engines.base.Engine.apply`."""
        return ReferenceEngine().apply(network, plan, state, sums, eta)

    def predict(self, network: FeedForward, inputs: NDArray[Any]) -> NDArray[Any]:
        """Return a^(L) of checked inputs, (n, units_L), in the network's dtype."""
        outputs = np.empty((len(inputs), network.sizes[-1]), dtype=network.dtype)
        predictor = self._predictor(network)
        as_it_is = is_read(inputs) and inputs.flags.aligned
        step = len(inputs) if as_it_is else _CONVERTED
        for start in range(0, len(inputs), step):
            rows = slice(start, start + step)
            X = inputs if as_it_is else _converted(inputs[rows], network.dtype)
            if predictor.predict(network.parameters, X, outputs[rows]) != self._core.DONE:
                # It does not take these arrays, or a number is not finite, which is to be named.
                return ReferenceEngine().predict(network, inputs)
        return outputs

    def losses(
        self, network: FeedForward, inputs: NDArray[Any], y: NDArray[Any], outputs: NDArray[Any]
    ) -> NDArray[np.float64]:
        """See `chainrule.engines.base.Engine.losses`."""
        C = np.empty(len(inputs))
        predictor = self._predictor(network)
        X, rows = readable(inputs, network.dtype), plain(y, network.dtype)
        if predictor.losses(network.parameters, X, rows, outputs, C) == self._core.DONE:
            return C
        return ReferenceEngine().losses(network, inputs, y, outputs)

    def shortcut(self, network: FeedForward) -> Shortcut:
        """See `chainrule.engines.base.Engine.shortcut`."""
        predict, units, dtype = self._predictor(network).predict, network.sizes[-1], network.dtype
        empty, array, done = np.empty, np.ndarray, self._core.DONE

        def shortcut(X: Any, parameters: NDArray[Any]) -> NDArray[Any] | None:
            if type(X) is not array:
                return None
            if X.ndim == 2:
                outputs = empty((len(X), units), dtype)
                return outputs if predict(parameters, X, outputs) == done else None
            if X.ndim == 1:
                outputs = empty((1, units), dtype)
                return outputs[0] if predict(parameters, X[None], outputs) == done else None
            return None

        return shortcut

    def _predictor(self, network: FeedForward) -> Any:
        """Return the core's predictor for this network: the last one, if nothing changed."""
        custom = self._compiler.of(network)
        threads = self.threads_of(network)
        key = (
            self._layers(network),
            network.biases,
            self._loss(network, custom),
            network.dtype.char,
            threads,
            self.instructions(),
            custom,
        )
        with self._lock:
            held = self._predictors.get(network)
            if held is None or held[0] != key:
                predictor = self._core.Predictor(
                    layers=key[0],
                    biases=key[1],
                    loss=key[2],
                    single=key[3] == "f",
                    threads=key[4],
                    **self._written(custom),
                )
                held = self._predictors[network] = (key, predictor)
        return held[1]

    def _trainer(self, network: FeedForward, plan: Plan, n: int) -> tuple[Any, forks.Lock]:
        """Return the core's trainer for this network and plan: one that is kept, if it fits."""
        rule, theta = plan.optimizer, network.parameters
        layers = network.layers  # which stay the objects that they are
        custom = self._compiler.of(network)
        key = (
            (type(network.loss), network.l2, theta.dtype, network.seed),
            (rule_of(rule), self._numbers(rule)),
            (plan.clip_norm, plan.l2_per_sample, plan.largest_loss, min(plan.batch_size, n)),
            [layer.dropout for layer in layers],
            self.threads_of(network),
            self.instructions(),
            custom,
        )
        with self._lock:
            kept = self._trainers.setdefault(network, [])
            for of, for_key, trainer in kept:
                if of is layers and for_key == key:
                    return trainer
            made = self._new_trainer(network, plan, key), forks.Lock()
            self._trainers[network] = [(layers, key, made), *kept[: _KEPT - 1]]
            return made

    def threads_of(self, network: FeedForward) -> int:
        """See `chainrule.engines.base.Engine.threads_of`."""
        return self.threads or network.threads or self._core.default_threads()

    def instructions(self) -> str:
        """See `chainrule.engines.base.Engine.instructions`."""
        name: str = self._core.instruction_set()  # raises for a CHAINRULE_ISA that is not available
        return name

    def _numbers(self, rule: Optimizer) -> tuple[float, ...]:
        return tuple([float(getattr(rule, name, 0.0)) for name in HYPERPARAMETERS])

    def _layers(self, network: FeedForward) -> list[tuple[int, int, float]]:
        weighted = (
            (layer.units, _place(self._activations, layer.activation), layer.dropout)
            for layer in network.weighted_layers
        )
        return [(network.sizes[0], 0, 0.0), *weighted]

    def _loss(self, network: FeedForward, custom: Custom | None) -> int:
        weighted = custom is not None and custom.weights is not None
        return _place(self._losses, network.loss.loss if weighted else network.loss)  # type: ignore[attr-defined]

    def _written(self, custom: Custom | None) -> dict[str, Any]:
        """Return what the core is told of custom functions."""
        if custom is None:
            return {}
        place = {name: i for i, name in enumerate(self._core.operations)}

        def written(program: Program) -> tuple[Any, ...]:
            return [(place[name], *rest) for name, *rest in program.instructions], list(
                program.results
            )

        return {
            "formulas": [None if both is None else tuple(map(written, both))
                         for both in custom.formulas],
            "output": None if custom.output is None else written(custom.output),
            "output_weights": None if custom.weights is None else list(custom.weights),
        }  # fmt: skip

    def _new_trainer(self, network: FeedForward, plan: Plan, key: tuple[Any, ...]) -> Any:
        (
            (_, l2, dtype, seed),
            (rule, numbers),
            (clip_norm, *_, batch_size),
            _,
            threads,
            _,
            custom,
        ) = key
        return self._core.Trainer(
            **self._written(custom),
            layers=self._layers(network),
            biases=network.biases,
            loss=self._loss(network, custom),
            l2=float(l2),
            single=dtype.char == "f",
            optimizer=self._core.optimizers.index(rule),
            clip_norm=0.0 if clip_norm is None else float(clip_norm),
            l2_per_sample=plan.l2_per_sample,
            largest_loss=plan.largest_loss,
            batch_size=batch_size,
            seed=seed,
            threads=threads,
            **dict(zip(HYPERPARAMETERS, numbers, strict=True)),
        )


HYPERPARAMETERS = ("momentum", "decay", "beta1", "beta2", "epsilon", "weight_decay")

_OPTIMIZERS: dict[type, Callable[[Any], str]] = {
    optimizers.GradientDescent: lambda o: (
        "nesterov" if o.nesterov else "momentum" if o.momentum else "gradient_descent"
    ),
    optimizers.AdaGrad: lambda o: "adagrad",
    optimizers.RMSProp: lambda o: "rmsprop",
    optimizers.Adam: lambda o: "adam",
    optimizers.AdamW: lambda o: "adamw",
}


def rule_of(optimizer: Optimizer) -> str:
    """Return the core's name of an optimiser that it knows."""
    known = _known(type(optimizer))
    assert known is not None
    return _OPTIMIZERS[known](optimizer)


def _known(kind: type) -> type | None:
    """Return the optimiser that a class is: itself, or one whose steps it takes unchanged."""
    if kind in _OPTIMIZERS:
        return kind
    own: Any = next((base for base in kind.__mro__ if base in _OPTIMIZERS), None)
    same = ("update", "start", "used_slots", "slot_names")
    return own if own and all(getattr(kind, n) is getattr(own, n) for n in same) else None


def _place(known: tuple[type, ...], function: object) -> int:
    """Return the place of a function's class; that behind the last one stands for a custom one."""
    kind = type(function)
    return known.index(kind) if kind in known else len(known)


def _seen(seen: Seen) -> dict[str, Any]:
    """Return what the core is to note, as it is asked for that."""
    return {
        "every": seen.every, "first_step": seen.first, "steps_before": seen.before,
        "sample_losses": seen.losses, "sample_norms": seen.norms, "layer_norms": seen.layers,
        "traced": seen.traced, "trace": seen.trace,
    }  # fmt: skip


def readable(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an array that the core can read: itself, unless its dtype is out of the ordinary."""
    return array if is_read(array) else _converted(array, dtype)


def _converted(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an ordinary array of the same kind of number, or of the dtype that is given."""
    own = array.dtype.newbyteorder("=")
    return contiguous(array, own if own.char in _READABLE else dtype)


def is_read(array: NDArray[Any]) -> bool:
    """Return whether the core reads numbers of this dtype."""
    dtype = array.dtype
    return dtype.char in _READABLE and dtype.isnative


def plain_as(array: NDArray[Any], dtype: np.dtype[Any]) -> bool:
    """Return whether the numbers are of that dtype, side by side and aligned."""
    flags = array.flags
    return (
        array.dtype == dtype and flags.c_contiguous and flags.aligned and type(array) is np.ndarray
    )


def plain(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the numbers in that dtype, side by side and aligned: the array itself, or a copy."""
    return array if plain_as(array, dtype) else np.array(array, dtype, order="C")


def _find(network: FeedForward, epoch: Epoch, state: State, step: int) -> Failure:
    """Return which layer of the failing step is not finite: the reference repeats that one step."""
    samples, size = epoch.samples, epoch.plan.batch_size
    rows: Any = slice(step * size, (step + 1) * size)
    if epoch.order is not None:
        rows = epoch.order[rows]
    batch = samples.some(rows)
    theta = network.parameters.copy()
    copy = State(state.step, {name: values.copy() for name, values in state.slots.items()})
    one_step = Epoch(batch, epoch.plan, epoch.learning_rates[step : step + 1])
    result = ReferenceEngine().run_epoch(network, one_step, copy)
    if result.failure is not None:
        return result.failure
    # Rounding made the difference: the reference stays just below the largest number.
    network.parameters[...] = theta
    return Failure(state.step, len(network.sizes) - 1, "parameters")
