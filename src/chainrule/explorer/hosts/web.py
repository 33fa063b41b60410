"""The web host: carries messages between pages and their sessions, safely.

It listens to this machine only, unless told otherwise. A page needs the token of the opened URL
(then kept in a cookie), the right Host, and no foreign Origin. Files come from a fixed table; no
path of a request reaches the file system. There are limits on requests, networks, training time,
connections, and the number and bytes of sessions.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Annotated, Any

from fastapi import FastAPI, Path, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.websockets import WebSocketDisconnect, WebSocketState

from chainrule.explorer import protocol
from chainrule.explorer.hosts import assets
from chainrule.explorer.hosts.guard import Guard
from chainrule.explorer.hosts.sessions import Sessions, as_json
from chainrule.explorer.hosts.stream import stream, tell
from chainrule.explorer.protocol import checks, replies

_AT_ONCE = 8  # requests that compute at a time; others wait
_NO_TOKEN = (
    "<!DOCTYPE html><html lang=en><meta charset=utf-8><title>chainrule</title>"
    "<h1>The token is missing</h1><p>Open the whole address that "
    "<code>chainrule explore</code> printed. It ends in <code>?token=…</code></p>"
    "<p>Did somebody share this link with you? It opens in their browser alone. Ask them for "
    "a live page, which <code>chainrule explore --live FILE</code> writes.</p></html>"
)


def create_app(sessions: Sessions, token: str, port: int, names: Iterable[str]) -> Any:
    """Return the ASGI application for these host names; "*" allows any IP address."""
    app = FastAPI(title="chainrule explorer", docs_url=None, redoc_url=None, openapi_url=None)
    guard = Guard(app, token, port, names)
    places = asyncio.Semaphore(_AT_ONCE)

    async def compute(work: Callable[..., bytes], *arguments: Any) -> bytes:
        async with places:
            return await asyncio.to_thread(work, *arguments)

    @app.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        instead = guard.admit(request, _NO_TOKEN)
        if instead is not None:
            return instead
        return Response(assets.page(), media_type="text/html; charset=utf-8")

    @app.get("/static/{name}", include_in_schema=False)
    async def static(name: str) -> Response:
        found = assets.files().get(name)
        if found is None:
            return Response("There is no such file.", 404, media_type="text/plain")
        text, media_type = found
        return Response(text, media_type=media_type)

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:
        return Response(status_code=204)

    @app.get("/api/schema", include_in_schema=False)
    async def schema() -> Response:
        return Response(as_json(app.openapi()), media_type="application/json")

    @app.post(
        "/api/sessions", status_code=201, response_model=None,
        responses={201: _body(replies.Opened), **_ERRORS},
    )  # fmt: skip
    async def open_session() -> Response:
        """Open a session."""

        def work() -> bytes:
            name, hosted = sessions.open()
            return hosted.use(
                lambda: {"kind": "opened", "session": name, "frame": hosted.session.frame()}
            )

        return Response(await compute(work), 201, media_type="application/json")

    def add(kind: str, cls: type[Any]) -> None:
        async def endpoint(session: _SessionName, request: Request) -> Response:
            try:
                hosted = sessions.get(session)
            except LookupError as error:
                return _error(404, str(error.args[0]))
            try:
                fields = json.loads(await request.body())
            except (ValueError, RecursionError):
                return _error(422, "The body is not JSON; expected a JSON object")
            if not isinstance(fields, dict):
                return _error(422, f"The body is a {type(fields).__name__}; expected an object")
            try:
                asked = protocol.parse({**fields, "kind": kind})
            except ValueError as error:
                return _error(422, str(error))
            try:
                body = await compute(hosted.answer, asked)
            except (ValueError, TypeError) as error:
                return _error(
                    409, str(error)
                )  # well formed, but impossible now: no such layer, say
            return Response(body, media_type="application/json")

        endpoint.__doc__ = cls.__doc__
        app.post(
            f"/api/sessions/{{session}}/{kind}", name=kind, operation_id=kind, response_model=None,
            responses={200: _body(protocol.reply_of(kind)), **_ERRORS},
            openapi_extra={"requestBody": {"required": True, **_body(cls)}},
        )(endpoint)  # fmt: skip

    for kind, cls in protocol.REQUESTS.items():
        add(kind, cls)

    @app.websocket("/api/sessions/{session}/train")
    async def train(socket: WebSocket, session: str) -> None:
        await socket.accept()
        code = 1000
        with suppress(WebSocketDisconnect, RuntimeError):
            try:
                await stream(socket, sessions.get(session), compute)
            except (LookupError, TimeoutError) as error:
                code = 1008
                await tell(socket, str(error.args[0]))
        if socket.client_state is WebSocketState.CONNECTED:
            with suppress(WebSocketDisconnect, RuntimeError):
                await socket.close(code)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:]) or "the message"
        return _error(422, f"{place}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        words = {
            404: "There is nothing at this address. /api/schema lists all addresses.",
            405: "This address takes another method. /api/schema lists all methods.",
        }
        reply = _error(error.status_code, words.get(error.status_code, str(error.detail)))
        reply.headers.update(error.headers or {})
        return reply

    return guard


_SessionName = Annotated[str, Path(max_length=64)]


def _body(cls: Any) -> dict[str, Any]:
    """Return the schema of a message as OpenAPI writes it."""
    content = {"application/json": {"schema": checks.schema(cls)}}
    return {"description": cls.__doc__, "content": content}


_ERRORS: dict[int | str, dict[str, Any]] = {
    status: _body(replies.Error) for status in (400, 403, 404, 409, 413, 422)
}


def _error(status: int, message: str) -> Response:
    body = as_json({"kind": "error", "message": message})
    return Response(body, status, media_type="application/json")
