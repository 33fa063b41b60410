"""The server of the web host: its address, its socket, how it starts and stops."""

from __future__ import annotations

import ipaddress
import secrets
import socket
import threading
from collections.abc import Callable
from typing import Any

import uvicorn

from chainrule.explorer.hosts.connections import MAX_STRANGERS, Connection, Strangers
from chainrule.explorer.hosts.guard import MAX_BODY
from chainrule.explorer.hosts.sessions import MAX_SESSIONS, Sessions
from chainrule.explorer.hosts.web import create_app
from chainrule.explorer.session import Session

_PORTS = range(8765, 8785)  # tried in this order, then any free port
_WARMING = 5.0  # seconds that stopping waits for imports under way


def is_loopback(host: str) -> bool:
    """Return whether an address is a loopback address of this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def names_of(host: str) -> set[str]:
    """Return the host names that a server bound to an address answers to."""
    names = {"127.0.0.1", "localhost", "::1"}
    if not is_loopback(host):
        names |= {host.lower(), socket.gethostname().lower(), socket.getfqdn().lower(), "*"}
    return names


def bind(host: str, port: int | None) -> socket.socket:
    """Return a listening socket, at the port or the first free one of `_PORTS`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in [port] if port is not None else [*_PORTS, 0]:
        # Named TCP, so that asyncio turns Nagle's delay off, which would cost 40 ms a reply.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, candidate))
            listener.listen()  # until then another process can bind the port, too
        except OSError as error:
            listener.close()
            if port is not None or candidate == 0:
                raise ValueError(
                    f"Cannot listen at {host}:{candidate}: {error.strerror}. Choose another port."
                ) from None
            continue
        return listener
    raise AssertionError("port 0 is always free")


App = Callable[[str, int, set[str]], Any]  # from a token, a port and host names to a guarded app


class Serving:
    """A guarded application at an address, which `run` serves."""

    def __init__(self, make_app: App, host: str = "127.0.0.1", port: int | None = None) -> None:
        self.listener = bind(host, port)
        self.port = int(self.listener.getsockname()[1])
        self.token = secrets.token_urlsafe(24)
        shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
        shown = f"[{shown}]" if ":" in shown else shown
        self.url = f"http://{shown}:{self.port}/?token={self.token}"
        app = make_app(self.token, self.port, names_of(host))
        strangers = Strangers()

        def connection(**options: Any) -> Connection:
            return Connection(strangers, app.is_known, **options)

        self._server = uvicorn.Server(
            uvicorn.Config(
                app, log_level="error", access_log=False, http=connection, ws="websockets-sansio",
                ws_per_message_deflate=False,  # it would cost more than it saves
                ws_max_size=MAX_BODY, ws_ping_interval=20, timeout_keep_alive=30,
                limit_concurrency=4 * MAX_SESSIONS + MAX_STRANGERS, timeout_graceful_shutdown=2,
                server_header=False,
            )
        )  # fmt: skip

    def run(self) -> None:
        """Serve until Ctrl-C or `stop`."""
        try:
            self._server.run(sockets=[self.listener])
        finally:
            self.listener.close()

    def stop(self) -> None:
        """Ask the server to stop."""
        self._server.should_exit = True


class Server(Serving):
    """A server of sessions with its address, which `run` starts."""

    def __init__(
        self, make_session: Callable[[], Session], host: str = "127.0.0.1", port: int | None = None
    ) -> None:
        self.sessions = Sessions(make_session)
        super().__init__(lambda *known: create_app(self.sessions, *known), host, port)

    def run(self) -> None:
        """Serve until Ctrl-C or `stop`."""
        warming = threading.Thread(target=warm_up, args=(lambda: self._server.should_exit,))
        warming.daemon = True
        warming.start()
        try:
            super().run()
        finally:
            warming.join(_WARMING)  # Python must not exit during an import


def warm_up(is_over: Callable[[], bool] = lambda: False) -> None:
    """Import what the first explanation needs, so that the first click is as quick as any."""
    session = Session()
    target = {"target": "w[1][0,0]"}
    for message in ({"kind": "explain", **target}, {"kind": "latex", **target}, {"kind": "steps"},
                    {"kind": "prove", **target}):  # fmt: skip
        if is_over():
            return
        session.handle(message)
