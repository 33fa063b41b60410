"""The sum over all workers, as one fixed tree: each pair is connected, and all get the same bits.

A short vector goes from everyone to everyone. Of a long one each worker adds a slice: it gets that
slice from all, and sends the sum to all. What a worker sends are the sums of the whole subtrees of
micro-batches that are its own (`chainrule.engines.micro.folded`), so that the result does not
depend on who has computed what.
"""

from __future__ import annotations

import select
import selectors
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.distributed.cost import SHORT
from chainrule.distributed.messages import PeerError, receive, send, tuned
from chainrule.engines import Failure
from chainrule.engines.micro import Sums, folded

Array = NDArray[Any]

_STEP = struct.Struct("<qqq")  # generation, step of the run, whether to stop
_NODE = struct.Struct("<ddqq")  # weight, loss, layer and kind of a failure
_KINDS = ("", "z", "a", "loss", "gradient", "parameters")
_PATIENCE = 2.0  # seconds for whoever knocks to say who it is
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
        hello: dict[str, Any] = {"secret": secret, "generation": generation}
        try:
            for other, peer in enumerate(peers[:rank]):
                made = socket.create_connection((peer.host, peer.port), timeout)
                self._socks[other] = tuned(made, timeout)
                send(made, "peer", rank=rank, **hello)
            until = monotonic() + timeout
            while len(self._socks) < len(peers) - 1:
                if self._knocks(listener, until):
                    other, sock = _accepted(listener, hello, timeout)
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
        taken: Sequence[int],
        leaves: int,
        step: int,
        stop: bool = False,
    ) -> tuple[Sums, bool]:
        """Return the sum of all workers' micro-batches, and whether one of them wants to stop.

        Args:
            mine: The sums of this worker's micro-batches, by k; their arrays are taken for it.
            taken: Which micro-batches of the step have rows, on all workers.
            leaves: How many micro-batches a step has.
            step: The step of the run, from 0.
            stop: Whether this worker wants to stop after the step.

        Raises:
            PeerError: A worker is gone, or silent for too long.
            CalledOffError: The coordinator has called the step off.
        """
        peers = self.peers
        nodes = folded(mine, leaves, Sums.add, peers[self._rank].mine)
        if len(peers) == 1:
            return nodes[0], stop
        # Which subtrees the others send: those that they get by folding the same leaves.
        starts = [
            sorted(folded({k: k for k in taken if k in p.mine}, leaves, min, p.mine)) for p in peers
        ]
        size, dtype = self._size, self._dtype
        whole = size * dtype.itemsize <= SHORT
        cuts = [0] * len(peers) + [size] if whole else _cuts(size, dtype.itemsize, len(peers))
        own = slice(0, size) if whole else slice(cuts[self._rank], cuts[self._rank + 1])
        head = _STEP.pack(self._generation, step, stop) + b"".join(
            _packed(nodes[k]) for k in starts[self._rank]
        )
        heads = {r: bytearray(_STEP.size + _NODE.size * len(starts[r])) for r in self._socks}
        came = {r: [np.empty(own.stop - own.start, dtype) for _ in starts[r]] for r in self._socks}
        out, into = {}, {}
        for r in self._socks:
            part = slice(0, size) if whole else slice(cuts[r], cuts[r + 1])
            vectors = [_bytes(nodes[k].g[part]) for k in starts[self._rank]]
            out[r] = [memoryview(head), *vectors]
            into[r] = [memoryview(heads[r]), *map(_bytes, came[r])]
        self._swap(out, into)
        sums = {k: Sums(s.weight, s.loss, s.g[own], s.failure) for k, s in nodes.items()}
        for r, told in heads.items():
            generation, at, wants = _STEP.unpack_from(told)
            if (generation, at) != (self._generation, step):
                raise PeerError(f"worker {r} is at step {at} of generation {generation}")
            stop = stop or bool(wants)
            for i, k in enumerate(starts[r]):
                sums[k] = _unpacked(told, _STEP.size + i * _NODE.size, came[r][i])
        total = folded(sums, leaves, Sums.add)[0]
        if whole:
            return total, stop
        g = np.empty(size, dtype)
        g[own] = total.g
        result = _bytes(g)
        at = [c * dtype.itemsize for c in cuts]
        self._swap(
            {r: [result[at[self._rank] : at[self._rank + 1]]] for r in self._socks},
            {r: [result[at[r] : at[r + 1]]] for r in self._socks},
        )
        return Sums(total.weight, total.loss, g, total.failure), stop

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
    listener: socket.socket, hello: dict[str, Any], timeout: float
) -> tuple[int, socket.socket | None]:
    """Accept a worker of this generation; what else knocks is sent away."""
    sock, _ = listener.accept()
    try:
        kind, fields, _ = receive(tuned(sock, min(timeout, _PATIENCE)))
        rank = int(fields.pop("rank", -1))
        if kind == "peer" and fields == hello:
            return rank, tuned(sock, timeout)
    except (PeerError, ValueError, KeyError):
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


def _unpacked(data: bytearray, at: int, g: Array) -> Sums:
    weight, loss, layer, kind = _NODE.unpack_from(data, at)
    failure = Failure(0, layer, _KINDS[kind]) if kind else None
    return Sums(weight, loss, g, failure)
