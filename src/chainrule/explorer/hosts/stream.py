"""Training over a WebSocket: in pieces, with a frame after each, until done or stopped."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import replace
from time import monotonic
from typing import Any

from fastapi import WebSocket

from chainrule.explorer import protocol
from chainrule.explorer.hosts.sessions import Hosted, as_json
from chainrule.explorer.protocol import replies, requests

_LONGEST_RUN = 1800.0  # seconds of one training run
_PIECE = 0.0455  # seconds of training between two frames: 20 frames a second
_SILENCE = 10.0  # seconds in which the request must arrive
_WEIGHED = 20  # pieces of training between two counts of the bytes of the session


async def stream(socket: WebSocket, hosted: Hosted, compute: Any) -> None:
    """Train in pieces, and send a frame after each, until done, stopped or disconnected.

    Raises TimeoutError if no request arrives.
    """
    try:
        asked = await asyncio.wait_for(_receive(socket), _SILENCE)
    except TimeoutError:
        raise TimeoutError(
            f"No request arrived within {_SILENCE:g} seconds; expected one of the kind train"
        ) from None
    try:
        first = protocol.parse({**asked, "kind": "train", "seconds": _PIECE, "results": True})
    except (ValueError, TypeError) as error:
        await tell(socket, str(error))
        return
    stopped = asyncio.create_task(_receive(socket))  # any message stops; so does a lost connection
    run = Run(hosted, first)
    piece = asyncio.create_task(compute(run.piece))
    begun = due = monotonic()
    try:
        while True:
            frame, over = await piece, run.over
            over = over or stopped.done() or monotonic() - begun > _LONGEST_RUN
            if not over and first.pace is None:  # computed while this frame is sent
                piece = asyncio.create_task(compute(run.piece))
            await socket.send_text(frame.decode())
            if over:
                return
            if first.pace is not None:  # a set pace leaves time between two pieces
                due += _PIECE
                due = max(due, monotonic())
                await asyncio.sleep(max(due - monotonic(), 0))
                piece = asyncio.create_task(compute(run.piece))
    except (ValueError, TypeError) as error:
        await tell(socket, str(error))
    finally:
        stopped.cancel()
        with suppress(BaseException):
            await piece


async def tell(socket: WebSocket, message: str) -> None:
    """Send an error."""
    await socket.send_text(as_json({"kind": "error", "message": message}).decode())


async def _receive(socket: WebSocket) -> dict[str, Any]:
    """Return the next message, or an empty one for anything but an object."""
    try:
        message = json.loads(await socket.receive_text())
    except (ValueError, KeyError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


class Run:
    """A training run in pieces."""

    def __init__(self, hosted: Hosted, first: requests.Train) -> None:
        self._hosted, self._request = hosted, first
        self._left: int | None = None
        self._pieces = 0
        self.over = False

    def piece(self) -> bytes:
        """Train for a piece, and return the frame as JSON."""
        self._pieces += 1
        return self._hosted.use(self._train, weigh=self._pieces % _WEIGHED == 1)

    def _train(self) -> replies.Frame:
        session, request = self._hosted.session, self._request
        before = session.step
        # The pictures and the curve come with every second frame, which is enough for the eye.
        pictures = self._pieces % 2 == 1
        frame: replies.Frame = session.answer(replace(request, results=pictures))
        if not pictures:
            frame["training"]["curve"] = []
        taken = session.step - before
        if request.steps is not None or request.epochs is not None:
            if self._left is None:
                self._left = session.steps_asked(request)
            self._left -= taken
            self.over = self._left <= 0
            self._request = replace(request, steps=max(self._left, 1), epochs=None, again=True)
        else:
            self._request = replace(request, again=True)
        self.over = self.over or bool(frame["training"]["message"]) or not taken
        if self.over:
            frame["training"] = session.frame()["training"]
        return frame
