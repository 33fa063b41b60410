"""A proxy for connections, which can hold or cut what goes through in the middle of a vector."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress


class Proxy:
    """Listens at a port, and passes on what it gets to another one."""

    def __init__(self, host: str, port: int) -> None:
        self._to = host, port
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        self._act: Callable[[], None] | None = None
        self._after = 0
        self._lock = threading.Lock()
        self._going = threading.Event()
        self._going.set()
        self._socks: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def after(self, count: int, act: Callable[[], None]) -> None:
        """Act after so many more bytes, before the next ones go on."""
        with self._lock:
            self._after, self._act = count, act

    def hold(self) -> None:
        """Pass nothing on until `release`: the connections stay open."""
        self._going.clear()

    def release(self) -> None:
        """Go on."""
        self._going.set()

    def cut(self) -> None:
        """Cut all connections."""
        for sock in self._socks:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Cut all connections, and let in no others."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()
        self.cut()
        self.release()
        for thread in self._threads:
            thread.join(10.0)
        for sock in self._socks:
            sock.close()

    def _start(self, target: Callable[..., None], *args: socket.socket) -> None:
        self._threads.append(threading.Thread(target=target, args=args, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            try:
                there = socket.create_connection(self._to, 5.0)
            except OSError:
                here.close()
                continue
            there.settimeout(None)
            self._socks = [s for s in self._socks if s.fileno() >= 0] + [here, there]
            for pair in ((here, there), (there, here)):
                pair[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._start(self._pump, *pair)

    def _pump(self, source: socket.socket, to: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 14):
                act = None
                with self._lock:
                    if self._act is not None:
                        self._after -= len(data)
                        if self._after <= 0:
                            act, self._act = self._act, None
                if act is not None:
                    act()
                self._going.wait()
                to.sendall(data)
        for sock in (source, to):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
