"""Workers that are connected as those of a training are, as threads of this process."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from chainrule.distributed.exchange import Mesh, Peer
from chainrule.distributed.messages import listening
from chainrule.engines.base import Sums

SECRET = "known to all"


def some(leaves: list[int], size: int, dtype: str = "float32", seed: int = 7) -> dict[int, Sums]:
    def numbers(k: int) -> Any:
        rng = np.random.default_rng((seed, k))
        return rng.normal(size=size) * 10.0 ** rng.integers(-6, 6)

    return {k: Sums(k + 0.1, k * 1.7, numbers(k).astype(dtype)) for k in leaves}


class Between:
    """Stands before a listener, and lets so many bytes through; then it cuts, or hangs."""

    def __init__(self, after: int, *, hangs: bool, garbage: bool = False) -> None:
        self._left, self._hangs, self._garbage = after, hangs, garbage
        self._listener = listening("127.0.0.1")
        self._socks: list[socket.socket] = []
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Between:
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._listener.close()
        self._cut()
        for thread in self._threads:
            thread.join(20.0)
            assert not thread.is_alive()

    def front(self, port: int) -> int:
        """Return the port to connect to instead."""
        self._start(self._accept, port)
        return int(self._listener.getsockname()[1])

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        self._threads.append(threading.Thread(target=target, args=args))
        self._threads[-1].start()

    def _accept(self, port: int) -> None:
        self._listener.settimeout(20.0)
        outer, _ = self._listener.accept()
        inner = socket.create_connection(("127.0.0.1", port))
        self._socks += [outer, inner]
        self._start(self._pass_on, outer, inner, True)
        self._start(self._pass_on, inner, outer, False)

    def _pass_on(self, of: socket.socket, to: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := of.recv(4096):
                if counted:
                    last = self._left <= len(data)
                    to.sendall(data[: self._left])
                    self._left -= min(len(data), self._left)
                    if last and self._garbage:
                        to.sendall(b"\xff" * 1_000_000)
                    if last and self._hangs:
                        self._over.wait(20.0)
                    if last:
                        return self._cut()
                else:
                    to.sendall(data)

    def _cut(self) -> None:
        for sock in self._socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


def together(
    count: int,
    leaves: int,
    size: int,
    act: Callable[[Mesh, range, int], Any],
    between: Between | None = None,
    **more: Any,
) -> list[Any]:
    """Return what each of so many connected workers makes of its mesh.

    ``between`` stands before worker 0.
    """
    listeners = [listening("127.0.0.1") for _ in range(count)]
    shares = [range(r * leaves // count, (r + 1) * leaves // count) for r in range(count)]
    ports = [sock.getsockname()[1] for sock in listeners]
    if between is not None:
        ports[0] = between.front(ports[0])
    peers = [Peer("127.0.0.1", port, mine) for port, mine in zip(ports, shares, strict=True)]
    how = {"timeout": 20.0, "like": np.empty(size, "float32"), **more}

    def work(rank: int) -> Any:
        mesh = Mesh(rank, peers, listeners[rank], SECRET, 1, **how)
        try:
            return act(mesh, shares[rank], rank)
        finally:
            mesh.close()

    try:
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(work, range(count)))
    finally:
        for sock in listeners:
            sock.close()
