"""Connections without a token: at most so many, and each for a limited time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_STRANGERS = 128  # connections without a token; the oldest makes room for a new one
_PATIENCE = 20.0  # seconds in which the whole head of a request must arrive


class Strangers:
    """The connections that have not shown the token, the oldest first."""

    def __init__(self) -> None:
        self._waiting: dict[Connection, None] = {}

    def add(self, connection: Connection) -> None:
        """Add a new connection; close the oldest of too many."""
        self._waiting[connection] = None
        if len(self._waiting) > MAX_STRANGERS:
            oldest = next(iter(self._waiting))
            self.forget(oldest)
            oldest.transport.abort()

    def forget(self, connection: Connection) -> None:
        """Remove a connection that has shown the token, or has ended."""
        self._waiting.pop(connection, None)

    def __len__(self) -> int:
        return len(self._waiting)


class Connection(H11Protocol):
    """An HTTP connection with a time limit for the head of a request, however slowly it arrives.

    ``is_known`` returns whether the headers of a request show the token.
    """

    def __init__(
        self, strangers: Strangers, is_known: Callable[[list[tuple[bytes, bytes]]], bool],
        **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(**options)
        self._strangers, self._is_known = strangers, is_known
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Add the connection to those without a token, and start waiting."""
        super().connection_made(transport)
        self._strangers.add(self)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Stop waiting once the head of a request is complete, and look for the token in it."""
        super().data_received(data)
        if self._is_answering():
            self._stop_waiting()
        if self.scope is not None and self._is_known(self.headers):
            self._strangers.forget(self)

    def on_response_complete(self) -> None:
        """Wait for the next request, unless it has arrived."""
        super().on_response_complete()
        if not self._is_answering():
            self._wait()

    def handle_websocket_upgrade(self, event: Any) -> None:
        """Pass the connection on; the application closes one without the token."""
        self._leave()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._leave()
        super().connection_lost(exc)

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(_PATIENCE, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _leave(self) -> None:
        self._stop_waiting()
        self._strangers.forget(self)
