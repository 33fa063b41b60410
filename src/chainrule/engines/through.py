"""An engine in front of another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.engines.base import (
    Engine,
    Failure,
    MicroBatch,
    OneByOne,
    Plan,
    Shortcut,
    State,
    Sums,
)

if TYPE_CHECKING:
    from chainrule.equations.feedforward import FeedForward


class Through(OneByOne):
    """Runs epochs in a way of its own, and leaves all else to another engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def name(self) -> str:
        """The name of the other engine."""
        return self._engine.name

    def lacks(self, network: FeedForward, plan: Plan | None) -> str | None:
        """See `Engine.lacks`."""
        return self._engine.lacks(network, plan)

    def threads_of(self, network: FeedForward) -> int:
        """See `Engine.threads_of`."""
        return self._engine.threads_of(network)

    def instructions(self) -> str:
        """See `Engine.instructions`."""
        return self._engine.instructions()

    def epoch_orders(
        self, seed: int, epoch: int, count: int, n_samples: int, shard: int = 0
    ) -> NDArray[np.int64]:
        """See `Engine.epoch_orders`."""
        return self._engine.epoch_orders(seed, epoch, count, n_samples, shard)

    def predict(self, network: FeedForward, inputs: NDArray[Any]) -> NDArray[Any]:
        """See `Engine.predict`."""
        return self._engine.predict(network, inputs)

    def losses(
        self, network: FeedForward, inputs: NDArray[Any], y: NDArray[Any], outputs: NDArray[Any]
    ) -> NDArray[np.float64]:
        """See `Engine.losses`."""
        return self._engine.losses(network, inputs, y, outputs)

    def shortcut(self, network: FeedForward) -> Shortcut | None:
        """See `Engine.shortcut`."""
        return self._engine.shortcut(network)

    def gradient(
        self,
        network: FeedForward,
        batches: Sequence[MicroBatch],
        most: int,
        g: NDArray[Any],
    ) -> Sums:
        """See `Engine.gradient`."""
        return self._engine.gradient(network, batches, most, g)

    def apply(
        self, network: FeedForward, plan: Plan, state: State, sums: Sums, eta: float
    ) -> Failure | None:
        """See `Engine.apply`."""
        return self._engine.apply(network, plan, state, sums, eta)
