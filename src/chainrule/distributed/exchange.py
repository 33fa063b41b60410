"""The sum over all workers, as one fixed tree: each pair is connected, and all get the same bits.

A short vector goes from everyone to everyone. Of a long one each worker adds a slice: it gets that
slice from all, and sends the sum to all. What a worker sends are the sums of the whole subtrees of
micro-batches that are its own (`chainrule.engines.micro.folded`), so that the result does not
depend on who has computed what. Arrays are used again in each step, because touching fresh memory
takes longer than sending it to another process.
"""

from __future__ import annotations

import select
import selectors
import socket
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.distributed.cost import in_one
from chainrule.distributed.messages import PeerError, greeted, send, tuned
from chainrule.engines import Failure
from chainrule.engines.base import Sums
from chainrule.engines.micro import folded

Array = NDArray[Any]

_STEP = struct.Struct("<qqq")  # generation, step of the run, whether to stop
_NODE = struct.Struct("<ddqq")  # weight, loss, layer and kind of a failure
_KINDS = ("", "z", "a", "loss", "gradient", "parameters")
_LAID = 64  # bytes: slices begin at multiples


class CalledOffError(Exception):
    """The coordinator calls the step off, because the workers are to meet again."""


@dataclass(frozen=True)
class Peer:
    """Where a worker listens, and which micro-batches are its own."""

    host: str
    port: int
    mine: range


class Mesh:
    """The connections of one worker to all others of a generation."""

    def __init__(
        self,
        rank: int,
        peers: Sequence[Peer],
        listener: socket.socket,
        secret: str,
        generation: int,
        timeout: float,
        like: Array,
        coordinator: socket.socket | None = None,
        called_off: Callable[[], bool] = lambda: False,
    ) -> None:
        """Connect to the workers of lower rank, and wait for those of higher rank.

        Args:
            rank: Which of the peers this worker is.
            peers: All workers.
            listener: Where this worker listens.
            secret: What the processes of this training know.
            generation: The number of this meeting.
            timeout: Seconds after which a silent worker is given up.
            like: An array with the shape and dtype of a gradient.
            coordinator: Watched during an exchange.
            called_off: Reads what the coordinator says, and returns whether to leave the step.
        """
        self._rank, self._generation, self._timeout = rank, generation, timeout
        self._coordinator, self._called_off = coordinator, called_off
        self._size, self._dtype = like.size, like.dtype
        self._socks: dict[int, socket.socket] = {}
        self._rooms: dict[tuple[int, int], Array] = {}
        self._starts: tuple[tuple[int, ...], list[list[int]]] = (), []
        hello: dict[str, Any] = {"secret": secret, "generation": generation}
        try:
            for other, peer in enumerate(peers[:rank]):
                made = socket.create_connection((peer.host, peer.port), timeout)
                self._socks[other] = tuned(made, timeout)
                send(made, "peer", rank=rank, **hello)
            until = monotonic() + timeout
            while len(self._socks) < len(peers) - 1:
                if self._knocks(listener, until):
                    awaited = set(range(rank + 1, len(peers))) - set(self._socks)
                    other, sock = _accepted(listener, hello, awaited, timeout)
                    if sock is not None:
                        self._socks[other] = sock
        except (OSError, CalledOffError) as error:
            self.close()
            if isinstance(error, PeerError | CalledOffError):
                raise
            raise PeerError(f"a worker can't be reached: {error}") from error
        for sock in self._socks.values():
            sock.setblocking(False)
        self.peers = peers

    def _knocks(self, listener: socket.socket, until: float) -> bool:
        """Wait for a worker of higher rank, as long as the coordinator does not call it off."""
        watched = [listener] if self._coordinator is None else [listener, self._coordinator]
        ready = select.select(watched, [], [], max(0.0, until - monotonic()))[0]
        if self._coordinator in ready and self._called_off():
            raise CalledOffError
        if not ready:
            raise PeerError(f"not all workers have come within {self._timeout:g} s")
        return listener in ready

    def close(self) -> None:
        """Close the connections."""
        for sock in self._socks.values():
            sock.close()

    def sum(
        self,
        mine: Mapping[int, Sums],
        taken: Iterable[int],
        leaves: int,
        step: int,
        stop: bool = False,
    ) -> tuple[Sums, bool]:
        """Return the sum of all workers' micro-batches, and whether one of them wants to stop.

        Args:
            mine: The sums of this worker's micro-batches, by k. Their arrays are taken for it, and
                one of them holds the result.
            taken: Which micro-batches of the step have rows, on all workers.
            leaves: How many micro-batches a step has.
            step: The step of the run, from 0.
            stop: Whether this worker wants to stop after the step.

        Returns:
            The sum, whose array the next call may take again, and whether to stop.

        Raises:
            PeerError: A worker is gone, silent for too long, or says what does not belong here.
            CalledOffError: The coordinator has called the step off.
        """
        peers = self.peers
        nodes = folded(mine, leaves, Sums.add, peers[self._rank].mine)
        if len(peers) == 1:
            return nodes[0], stop
        starts = self._sent(tuple(taken), leaves)
        size, itemsize = self._size, self._dtype.itemsize
        whole = in_one(len(peers), size * itemsize)
        cuts = [0] * len(peers) + [size] if whole else _cuts(size, itemsize, len(peers))
        parts = [slice(0, size) if whole else slice(*cuts[r : r + 2]) for r in range(len(peers))]
        own = parts[self._rank]
        told = [nodes[k] for k in starts[self._rank]]
        head = memoryview(
            _STEP.pack(self._generation, step, stop) + b"".join(_packed(node) for node in told)
        )
        heads = {r: bytearray(_STEP.size + _NODE.size * len(starts[r])) for r in self._socks}
        came = {r: [self._room(r, i, own) for i in range(len(starts[r]))] for r in self._socks}
        self._swap(
            {r: [head, *(_bytes(node.g[parts[r]]) for node in told)] for r in self._socks},
            {r: [memoryview(heads[r]), *map(_bytes, came[r])] for r in self._socks},
        )
        sums = {k: Sums(s.weight, s.loss, s.g[own], s.failure) for k, s in nodes.items()}
        for r, data in heads.items():
            generation, at, wants = _STEP.unpack_from(data)
            if (generation, at) != (self._generation, step):
                raise PeerError(f"worker {r} is at step {at} of generation {generation}")
            stop = stop or bool(wants)
            for i, k in enumerate(starts[r]):
                sums[k] = _unpacked(data, _STEP.size + i * _NODE.size, came[r][i], r)
        total = folded(sums, leaves, Sums.add)[0]
        g = told[0].g if told else self._room(self._rank, 0, slice(0, size))
        if not np.may_share_memory(g, total.g):
            g[own] = total.g
        if not whole:
            # A slice comes only after its worker has all parts of it, so g may be written to.
            ready = [_bytes(g[part]) for part in parts]
            self._swap({r: [ready[self._rank]] for r in self._socks},
                       {r: [ready[r]] for r in self._socks})  # fmt: skip
        return Sums(total.weight, total.loss, g, total.failure), stop

    def _sent(self, taken: tuple[int, ...], leaves: int) -> list[list[int]]:
        """Return which subtrees each worker sends: those that it gets by folding its leaves."""
        if self._starts[0] != taken:
            found = [
                sorted(folded({k: k for k in taken if k in p.mine}, leaves, min, p.mine))
                for p in self.peers
            ]
            self._starts = taken, found
        return self._starts[1]

    def _room(self, rank: int, i: int, part: slice) -> Array:
        """Return where subtree i of a worker is received, the same array in each step."""
        if (rank, i) not in self._rooms:
            self._rooms[rank, i] = np.empty(part.stop - part.start, self._dtype)
        return self._rooms[rank, i]

    def _swap(self, out: dict[int, list[memoryview]], into: dict[int, list[memoryview]]) -> None:
        """Send and receive all at once, so that no pair waits for another."""
        with selectors.DefaultSelector() as selector:
            if self._coordinator is not None:
                selector.register(self._coordinator, selectors.EVENT_READ, None)
            waiting = set()
            for r, sock in self._socks.items():
                if events := self._moved(r, sock, out[r], into[r]):
                    selector.register(sock, events, r)
                    waiting.add(r)
            while waiting:
                ready = selector.select(self._timeout)
                if not ready:
                    names = ", ".join(map(str, sorted(waiting)))
                    raise PeerError(f"nothing from worker {names} for {self._timeout:g} s")
                for key, _ in ready:
                    if key.data is None:
                        if self._called_off():
                            raise CalledOffError
                        continue
                    r = key.data
                    events = self._moved(r, self._socks[r], out[r], into[r])
                    if not events:
                        selector.unregister(self._socks[r])
                        waiting.discard(r)
                    elif events != key.events:
                        selector.modify(self._socks[r], events, r)

    def _moved(
        self, rank: int, sock: socket.socket, out: list[memoryview], into: list[memoryview]
    ) -> int:
        """Send and receive what goes through now; return the events to wait for: 0 at the end."""
        try:
            while out:
                if len(out[0]):
                    out[0] = out[0][sock.send(out[0]) :]
                if not len(out[0]):
                    del out[0]
        except BlockingIOError:
            pass
        except OSError as error:
            raise PeerError(f"worker {rank} is gone: {error}") from error
        try:
            while into:
                if len(into[0]):
                    count = sock.recv_into(into[0])
                    if not count:
                        raise PeerError(f"worker {rank} is gone")
                    into[0] = into[0][count:]
                if not len(into[0]):
                    del into[0]
        except BlockingIOError:
            pass
        except PeerError:
            raise
        except OSError as error:
            raise PeerError(f"worker {rank} is gone: {error}") from error
        return (selectors.EVENT_WRITE if out else 0) | (selectors.EVENT_READ if into else 0)


def _accepted(
    listener: socket.socket, hello: dict[str, Any], awaited: Set[int], timeout: float
) -> tuple[int, socket.socket | None]:
    """Accept a worker of this generation; what else knocks is sent away."""
    sock, _ = listener.accept()
    try:
        kind, fields = greeted(sock)
        rank = fields.pop("rank", None)
        if kind == "peer" and fields == hello and isinstance(rank, int) and rank in awaited:
            return rank, tuned(sock, timeout)
    except PeerError:
        pass
    sock.close()
    return -1, None


def _cuts(size: int, itemsize: int, parts: int) -> list[int]:
    grain = max(1, _LAID // itemsize)
    return [min(size, size * i // parts // grain * grain) for i in range(parts)] + [size]


def _bytes(array: Array) -> memoryview:
    return memoryview(array.data).cast("B") if array.size else memoryview(b"")


def _packed(sums: Sums) -> bytes:
    layer, kind = 0, 0
    if sums.failure is not None:
        layer, kind = sums.failure.layer, _KINDS.index(sums.failure.what)
    return _NODE.pack(sums.weight, sums.loss, layer, kind)


def _unpacked(data: bytearray, at: int, g: Array, rank: int) -> Sums:
    weight, loss, layer, kind = _NODE.unpack_from(data, at)
    if not 0 <= kind < len(_KINDS):
        raise PeerError(f"worker {rank} says what does not belong here")
    failure = Failure(0, layer, _KINDS[kind]) if kind else None
    return Sums(weight, loss, g, failure)
