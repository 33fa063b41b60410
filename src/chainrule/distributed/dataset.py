"""Datasets that workers read themselves, shard by shard, into files of their own that are mapped.

A worker decodes the rows of a shard once, in batches, checks them, and keeps them in the dtype of
the network in a file without a name, which is gone when the process ends, however it ends. The
shuffled rows of a micro-batch are read from its memory map. Pages of maps count as memory of the
process while they are mapped, and are released when they exceed what it may hold.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from chainrule.equations import data
from chainrule.equations.data import Samples
from chainrule.storage.mapped import Rows, release

Array = NDArray[Any]

_AROUND = 3 << 16  # bytes that the system may map for a row: 64 KB around it, of three maps
_AT_ONCE = 1 << 16  # rows that are weighed at a time


@runtime_checkable
class Dataset(Protocol):
    """Samples somewhere, which can be sent to workers as a description."""

    @property
    def n(self) -> int:
        """The number of rows."""
        ...

    @property
    def memory(self) -> int:
        """How many bytes of its rows a process may hold in memory."""
        ...

    @property
    def classes(self) -> bool:
        """Whether targets are integer classes, (n,)."""
        ...

    @property
    def weighted(self) -> bool:
        """Whether rows have weights."""
        ...

    def read(self, rows: range) -> Iterator[Samples]:
        """Read some rows, in batches, checked and in the dtype of the network.

        Raises ValueError, with the place, for what a network can't learn from, and OSError.
        """
        ...


@dataclass(frozen=True)
class Facts:
    """What is known of the rows of a shard once they are read.

    Attributes:
        digest: Of their numbers.
        members: The number of rows of each class; None where targets are other numbers.
        weights: The sum of the weights of each class; None as above.
        least: The least weight above 0; infinity if there is none.
        most: The largest weight.
    """

    digest: str
    members: list[int] | None
    weights: list[float] | None
    least: float
    most: float

    def plain(self) -> dict[str, Any]:
        """Return the facts as fields of a message."""
        return asdict(self)


@dataclass(frozen=True)
class Weighing:
    """How weights become those that training takes: w · 2^-exponent · that of the class."""

    exponent: int = 0
    of_class: list[float] | None = None


@dataclass(frozen=True)
class Shard(Samples):
    """Samples in memory maps; ``touched`` is told how many rows are read from them."""

    touched: Callable[[int], None] = field(default=lambda count: None)

    def some(self, index: Any) -> Samples:
        """Return some of the samples, in memory."""
        found = self.plain(index)
        self.touched(len(found))
        return found

    def at(self, places: NDArray[np.int64]) -> tuple[Samples, NDArray[np.int64]]:
        """Return some of the samples, in memory, and their places there."""
        return self.some(places), np.arange(len(places))

    def plain(self, index: Any) -> Samples:
        """Return some of the samples, those of a slice still in the maps."""
        return super().some(index)


class Kept:
    """The shards that a process has read, and the memory that their maps take."""

    def __init__(self, memory: int) -> None:
        self._memory, self._maps = memory, dict[int, list[Array]]()
        self._unseen, self._before = 0, 0  # bytes of libraries, which are mapped as well

    def read(
        self, k: int, dataset: Dataset, ranges: Sequence[range], units: int, weighed: bool,
        still: Callable[[], None] = lambda: None,
    ) -> tuple[Shard, list[Facts]]:  # fmt: skip
        """Read a shard, or several that follow each other as one, and the facts of each.

        Args:
            k: Under which number to keep it.
            dataset: Of what.
            ranges: The rows of each.
            units: How many outputs the network has.
            weighed: Whether there will be weights; they are 1 until `weigh`.
            still: Called between batches; may raise.
        """
        facts: list[Facts] = []
        with ExitStack() as files:
            made: list[Rows] = []
            for rows in ranges:
                adding = _Adding(units, dataset.classes)
                for samples in dataset.read(rows):
                    still()
                    parts = _columns(samples, weighed)
                    made = made or [files.enter_context(Rows(p.shape[1], p.dtype)) for p in parts]
                    for file, part in zip(made, parts, strict=True):
                        file.append(part)
                    adding.see(samples)
                facts.append(adding.facts())
            count = made[0].n if made else 0
            if count != sum(map(len, ranges)):
                raise ValueError(f"{sum(map(len, ranges)):,} rows were expected, {count:,} came")
            maps = [np.asarray(file.finish("r+" if i == 2 else "r")) for i, file in enumerate(made)]
        if not self._maps:
            self._before = _mapped_bytes() or 0
        self._maps[k] = maps
        X, y = maps[:2]
        y = y[:, 0] if dataset.classes else y
        weights = maps[2][:, 0] if weighed else None
        return Shard(X, y, weights, self._touched), facts

    def forget(self, k: int) -> None:
        """Let go of a shard."""
        self._maps.pop(k, None)

    def _touched(self, rows: int) -> None:
        """Release the maps where they take more memory than they may."""
        self._unseen += rows
        if self._unseen * _AROUND < self._memory // 4:
            return
        self._unseen = 0
        mapped = _mapped_bytes()
        if mapped is None or mapped - self._before > self._memory // 2:
            for array in [array for maps in self._maps.values() for array in maps]:
                release(array)


def _columns(samples: Samples, weighed: bool) -> list[Array]:
    """Return inputs, targets and, if rows are weighed, weights, each with rows."""
    parts = [samples.X, samples.y.reshape(len(samples), -1)]
    if weighed:
        weights = np.ones(len(samples)) if samples.weights is None else samples.weights
        parts.append(weights[:, None])
    return parts


def weigh(shard: Samples, weighing: Weighing, units: int) -> None:
    """Make the weights of a shard those that training takes, in place."""
    assert shard.weights is not None
    of_class = None if weighing.of_class is None else np.array(weighing.of_class)
    for start in range(0, len(shard), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        weights = np.ldexp(shard.weights[part], -weighing.exponent)
        if of_class is not None:
            classes = data.classes(shard.y[part], units)
            assert classes is not None
            weights *= of_class[classes]
        shard.weights[part] = weights


def digest(facts: dict[int, Facts], n: int) -> str:
    """Return the digest of a dataset, of those of its shards."""
    each = "".join(facts[k].digest for k in sorted(facts))
    return hashlib.blake2b(f"{n} {each}".encode(), digest_size=16).hexdigest()


class _Adding:
    """Adds up what there is to know of a shard, batch by batch, however it is cut into those."""

    def __init__(self, units: int, classes: bool) -> None:
        self._units = units
        self._digests = [hashlib.blake2b(digest_size=16) for _ in range(3)]
        count = max(units, 2)
        self._members: NDArray[np.int64] | None = np.zeros(count, dtype=np.int64)
        self._weights = np.zeros(count)
        self._least, self._most = np.inf, 0.0

    def see(self, samples: Samples) -> None:
        weights = np.ones(len(samples)) if samples.weights is None else samples.weights
        for digested, part in zip(self._digests, (samples.X, samples.y, weights), strict=True):
            digested.update(np.ascontiguousarray(part).data)
        if (weights > 0).any():
            self._least = min(self._least, float(weights[weights > 0].min()))
            self._most = max(self._most, float(weights.max()))
        classes = None if self._members is None else data.classes(samples.y, self._units)
        if classes is None:
            self._members = None
            return
        assert self._members is not None
        self._members += np.bincount(classes, minlength=len(self._members))
        self._weights += np.bincount(classes, weights, minlength=len(self._weights))

    def facts(self) -> Facts:
        joined = "".join(digested.hexdigest() for digested in self._digests)
        known = self._members is not None
        return Facts(
            hashlib.blake2b(joined.encode(), digest_size=16).hexdigest(),
            self._members.tolist() if self._members is not None else None,
            self._weights.tolist() if known else None, self._least, self._most,
        )  # fmt: skip


def _mapped_bytes() -> int | None:
    """Return how many bytes of files this process has mapped in memory, None where unknown."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[2]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None
