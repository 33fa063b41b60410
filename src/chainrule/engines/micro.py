"""Steps of micro-batches: sums that are added as one fixed tree, whoever computes them.

The samples are cut into M shards of consecutive rows, and a batch takes as many rows from each: the
micro-batch k of a step is of shard k. Each gives the sum of its gradients and that of its weights,
and these sums are added as a binary tree over k, ((0 + 1) + (2 + 3)) + …, so that the result has
the same bits wherever the micro-batches are computed. M belongs to the plan; how many workers there
are does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from chainrule.engines import local
from chainrule.engines.base import (
    Engine,
    Epoch,
    EpochResult,
    MicroBatch,
    Plan,
    State,
    Sums,
    check_state,
    go_on,
    mean_loss,
)
from chainrule.engines.through import Through
from chainrule.random import epoch_orders

if TYPE_CHECKING:
    from chainrule.equations.feedforward import FeedForward


Array = NDArray[Any]
T = TypeVar("T")


def up_to(n: int, multiple: int) -> int:
    """Return n, rounded up to a multiple."""
    return -(-n // multiple) * multiple


@dataclass(frozen=True)
class Cut:
    """How n samples are cut into M shards, and a shard into the micro-batches of an epoch."""

    n: int
    micro_batches: int
    rows: int  # of a micro-batch

    @classmethod
    def of(cls, n: int, plan: Plan) -> Cut:
        """Return the cut of n samples for a plan of micro-batches."""
        parts = plan.micro_batches or 1
        return cls(n, parts, plan.batch_size // parts)

    @property
    def steps(self) -> int:
        """The steps of an epoch."""
        return -(-self._shard // self.rows)

    @property
    def most(self) -> int:
        """The most rows that a micro-batch has."""
        return min(self.rows, self._shard)

    @property
    def _shard(self) -> int:
        return -(-self.n // self.micro_batches)

    def _size(self, k: int) -> int:
        shard = self._shard
        return max(0, min(shard, self.n - k * shard))

    def shard(self, k: int) -> range:
        """Return the rows of shard k; the last shards may have fewer, or none."""
        first = min(k * self._shard, self.n)
        return range(first, first + self._size(k))

    @property
    def filled(self) -> int:
        """The number of shards that have rows; they are the first ones."""
        return sum(len(self.shard(k)) > 0 for k in range(self.micro_batches))

    def part(self, k: int, step: int) -> slice:
        """Return which places of shard k's order a step takes."""
        n = self._size(k)
        return slice(min(step * self.rows, n), min((step + 1) * self.rows, n))

    def taken(self, steps: range) -> dict[int, range]:
        """Return the shards that have rows at the first of some steps, and at which steps each has.

        They are the first shards, and have them at the first steps.
        """
        left = self.n - steps.start * self.rows
        shards = range(min(self.micro_batches, -(-left // self._shard)))
        if len(steps) == 1:
            return dict.fromkeys(shards, steps)
        ends = (min(steps.stop, -(-self._size(k) // self.rows)) for k in shards)
        return dict(zip(shards, (range(steps.start, end) for end in ends), strict=True))

    def meetings(self, plan: Plan, first: int = 0) -> list[range]:
        """Return the steps between two meetings: one, or the local steps of a plan."""
        every = plan.local_steps or 1
        starts = range(first, self.steps, every)
        return [range(step, min(step + every, self.steps)) for step in starts]

    def draw(self, k: int, step: int) -> int:
        """Return the number of the dropout masks of shard k at a step of the run."""
        return step * self.micro_batches + k

    def shard_order(
        self, seed: int, epoch: int, k: int, drawn: Callable[..., Array] = epoch_orders
    ) -> NDArray[np.int64]:
        """Return the order in which an epoch takes the rows of shard k.

        ``drawn`` is `chainrule.random.epoch_orders`, or an engine's.
        """
        shard = self.shard(k)
        return shard.start + drawn(seed, epoch, 1, len(shard), k)[0]

    def order(
        self, seed: int, epoch: int, drawn: Callable[..., Array] = epoch_orders
    ) -> NDArray[np.int64]:
        """Return the order in which an epoch takes all rows: micro-batch by micro-batch."""
        orders = [self.shard_order(seed, epoch, k, drawn) for k in range(self.micro_batches)]
        return self._laid_out(orders)

    def in_turn(self) -> NDArray[np.int64]:
        """Return the order of an epoch that takes the rows of each shard as they come."""
        return self._laid_out([np.array(self.shard(k)) for k in range(self.micro_batches)])

    def _laid_out(self, orders: list[NDArray[np.int64]]) -> NDArray[np.int64]:
        parts = [o[self.part(k, t)] for t in range(self.steps) for k, o in enumerate(orders)]
        return np.concatenate(parts).astype(np.int64)


def folded(
    nodes: Mapping[int, T], leaves: int, add: Callable[[T, T], T], mine: range | None = None
) -> dict[int, T]:
    """Add what is known by leaf as the binary tree over so many leaves, as far as it is mine.

    A leaf that is not there, because its shard has no rows left, counts as 0. Of the leaves in
    ``mine`` those subtrees are added that lie in it whole, so that folding what all have folded
    gives the sum at leaf 0 in the same order.
    """
    mine = range(leaves) if mine is None else mine
    nodes, apart = dict(nodes), 1
    while apart < leaves:
        for k in range(0, leaves, 2 * apart):
            if k < mine.start or min(k + 2 * apart, leaves) > mine.stop:
                continue
            if (right := nodes.pop(k + apart, None)) is not None:
                nodes[k] = add(nodes[k], right) if k in nodes else right
        apart *= 2
    return nodes


def subtrees(mine: range, leaves: int) -> list[range]:
    """Return the largest subtrees of the tree over so many leaves that lie in ``mine`` whole."""
    found, k = list[range](), mine.start
    while k < mine.stop:
        size = 1
        while size < leaves and k % (2 * size) == 0 and min(k + 2 * size, leaves) <= mine.stop:
            size *= 2
        found.append(range(k, min(k + size, mine.stop)))
        k += size
    return found


def tree_sum(sums: Mapping[int, Sums], leaves: int) -> Sums:
    """Return the sum of all micro-batches of a step."""
    return folded(sums, leaves, Sums.add)[0]


class MicroBatches(Through):
    """Takes steps of micro-batches, whose sums another engine computes.

    The dropout masks of micro-batch k at step t are those of step t·M + k.
    """

    def alone(self) -> Engine:
        """See `chainrule.engines.base.Engine.alone`."""
        return MicroBatches(self._engine.alone())

    def run_epoch(
        self,
        network: FeedForward,
        epoch: Epoch,
        state: State,
        on_progress: Callable[[int, float], bool] = go_on,
    ) -> EpochResult:
        """See `chainrule.engines.base.Engine.run_epoch`. An order is that of `Cut.order`."""
        samples, plan = epoch.samples, epoch.plan
        check_state(plan.optimizer, network.parameters, state)
        cut = Cut.of(len(samples), plan)
        order = cut.in_turn() if epoch.order is None else epoch.order
        loss, weight, done = 0.0, 0.0, 0
        rates = epoch.learning_rates
        g = np.empty_like(local.like(network, plan))
        for steps in cut.meetings(plan):
            before, shards = done, cut.taken(steps)
            rows = dict[tuple[int, int], NDArray[np.int64]]()
            for step in steps:
                for k in (k for k, own in shards.items() if step in own):
                    part = cut.part(k, step)
                    rows[k, step] = order[done : done + part.stop - part.start]
                    done += len(rows[k, step])

            def batch(k: int, step: int, at: int, rows: Any = rows) -> MicroBatch:
                return MicroBatch(samples, rows[k, step], cut.draw(k, at), epoch.outputs)

            total = local.block(
                self._engine, network, plan, state, shards, rates, cut.most, batch, g
            )
            failure = local.meet(self._engine, network, plan, state, total, steps, rates)
            if failure is not None:
                return EpochResult(mean_loss(loss, weight), steps.start, before, failure=failure)
            loss, weight = loss + total.loss, weight + total.weight
            if on_progress(steps.stop, mean_loss(loss, weight)) and done < len(samples):
                return EpochResult(mean_loss(loss, weight), steps.stop, done, stopped=True)
        return EpochResult(mean_loss(loss, weight), cut.steps, done)
