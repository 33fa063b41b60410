"""The engine of live pages: the C++ core as a module of WebAssembly, beside Python in a page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.engines.base import Epoch, EpochResult, State, check_state, go_on
from chainrule.engines.compiled import CompiledEngine, plain, readable
from chainrule.engines.instance import Core, Instance

if TYPE_CHECKING:
    from chainrule.equations.feedforward import FeedForward

_REAL, _INTEGER = np.dtype(np.float64), np.dtype(np.int64)


class WasmEngine(CompiledEngine):
    """Trains in C++ in the browser: vector instructions, one thread, one call for each epoch."""

    name = "wasm"

    def __init__(self, make: Callable[[], Instance]) -> None:
        """Train in instances that ``make`` returns: one, and another after each that stopped."""
        super().__init__(Core(make))

    def epoch_orders(
        self, seed: int, epoch: int, count: int, n_samples: int, shard: int = 0
    ) -> NDArray[np.int64]:
        """Return them from the core: in a page NumPy shuffles as slowly as the core trains."""
        if shard:
            return super().epoch_orders(seed, epoch, count, n_samples, shard)
        orders: NDArray[np.int64] = self._core.epoch_orders(seed, epoch, count, n_samples)
        return orders

    def run_epochs(
        self,
        network: FeedForward,
        epoch: Epoch,
        orders: NDArray[np.int64],
        state: State,
        on_progress: Callable[[int, float], bool] = go_on,
    ) -> list[EpochResult]:
        """Run them in one call to the core, which a page makes at a price."""
        samples, plan, rule = epoch.samples, epoch.plan, epoch.plan.optimizer
        if epoch.outputs is not None or epoch.step_losses is not None:
            return super().run_epochs(network, epoch, orders, state, on_progress)
        theta, dtype = network.parameters, network.dtype
        check_state(rule, theta, state)
        slots = [state.slots[name] for name in rule.used_slots]
        if any(plain(slot, dtype) is not slot for slot in slots):
            return super().run_epochs(network, epoch, orders, state, on_progress)
        classes, weights = samples.y.ndim == 1, samples.weights
        trainer, busy = self._trainer(network, plan, len(samples))
        with busy:
            outcomes = trainer.run_epochs(
                theta,
                slots,
                state.step,
                readable(samples.X, dtype),
                plain(samples.y, _INTEGER) if classes else readable(samples.y, dtype),
                None if weights is None else plain(weights, _REAL),
                plain(orders, _INTEGER),
                plain(epoch.learning_rates, _REAL),
                None,
                None,
                on_progress,
                count=len(orders),
            )
        last = replace(epoch, order=orders[len(outcomes) - 1])  # of which alone it may matter
        return [self._result(network, last, state, outcome) for outcome in outcomes]


def find() -> WasmEngine | None:
    """Return the engine of the page that this Python runs in, or None where there is none."""
    import js  # of Pyodide

    make = getattr(js, "chainruleCore", None)
    return None if make is None else WasmEngine(lambda: _InBrowser(make()))


class _InBrowser:
    """What `chainruleCore` of core.js makes, with the answer as JavaScript keeps it."""

    def __init__(self, made: Any) -> None:
        self.call, self.run, self.read = made.call, made.run, made.read
        self._made = made

    def answer(self, answer: Callable[[int, float], bool]) -> None:
        from pyodide.ffi import create_proxy

        self._made.answer(create_proxy(answer))
