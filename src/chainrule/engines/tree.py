"""The fixed tree by which the sums of micro-batches are added, whoever computes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from chainrule.engines.base import Sums

Array = NDArray[Any]
T = TypeVar("T")


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


def tree_sum(sums: Mapping[int, Sums], leaves: int) -> Sums:
    """Return the sum of all micro-batches of a step."""
    return folded(sums, leaves, Sums.add)[0]


class Tree:
    """Adds the sums of a step as they come, so that few of them are in memory at a time.

    Their arrays are used again: fresh memory takes longer than adding.
    """

    def __init__(self, like: Array, leaves: int, mine: range | None = None) -> None:
        """Add arrays such as ``like``, of the leaves in ``mine``, or of all."""
        self._like, self._leaves = like, leaves
        self._mine = range(leaves) if mine is None else mine
        self._nodes = dict[int, Sums]()
        self._all, self._free = list[Array](), list[Array]()

    def begin(self) -> None:
        """Begin a step: what the last one has come to is no longer needed."""
        self._nodes, self._free = {}, list(self._all)

    def array(self) -> Array:
        """Return an array for the next leaf, of any numbers."""
        if not self._free:
            self._all.append(np.empty_like(self._like))
            return self._all[-1]
        return self._free.pop()

    def put(self, k: int, leaf: Sums) -> None:
        """Add a leaf; each has a larger k than the one before."""
        if k % 4 == 0:  # now and then
            self._fold(range(self._mine.start, k))
        self._nodes[k] = leaf

    def nodes(self) -> dict[int, Sums]:
        """Return the sums of the subtrees that lie in ``mine`` whole, as `folded` does."""
        self._fold(self._mine)
        return self._nodes

    def _fold(self, within: range) -> None:
        self._nodes = folded(self._nodes, self._leaves, self._added, within)

    def _added(self, one: Sums, other: Sums) -> Sums:
        total = one.add(other)
        self._free.append(other.g)
        return total
