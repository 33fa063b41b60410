"""The web host: carries messages between pages and their sessions, safely.

Bound to this machine unless told otherwise. A page needs the token of the opened URL (it then has a
cookie), the right Host, and no foreign Origin. Files come from a fixed table; no path of a request
reaches the file system. Requests, networks, training time and the number of sessions are limited.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import secrets
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from time import monotonic
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, Path, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.websockets import WebSocketDisconnect, WebSocketState

from chainrule._forks import Lock
from chainrule.explorer import protocol
from chainrule.explorer.hosts import assets
from chainrule.explorer.protocol import checks, replies, requests
from chainrule.explorer.session import Session

MAX_SESSIONS = 256
MAX_BODY = 64 * 2**10
_MAX_UPLOAD = requests.MAX_CSV + 2**16
_LONGEST_RUN = 1800.0  # seconds of one training run
_PIECE = 0.0455  # seconds of training between two frames: 20 frames a second
_WARMING = 5.0  # seconds that an end waits for what is being loaded
_AT_ONCE = 8  # requests that compute at a time; others wait
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_NO_TOKEN = (
    "<!DOCTYPE html><html lang=en><meta charset=utf-8><title>chainrule</title>"
    "<h1>This address needs its token</h1><p>Open the whole address that "
    "<code>chainrule explore</code> printed; it ends in <code>?token=…</code></p></html>"
)


class _Hosted:
    """A session and the lock that lets one message at a time in."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.lock = Lock()
        self.used = monotonic()

    def answer(self, request: Any) -> bytes:
        """Answer a request as JSON; ValueError or TypeError says what is wrong with it."""
        with self.lock:
            self.used = monotonic()
            return as_json(self.session.answer(request))


def as_json(reply: Any) -> bytes:
    """Give a reply as JSON text."""
    return json.dumps(reply, separators=(",", ":"), allow_nan=False).encode()


class Sessions:
    """The sessions of all pages; of too many, the one unused for longest goes."""

    def __init__(self, make: Callable[[], Session], most: int = MAX_SESSIONS) -> None:
        self._make, self._most = make, most
        self._hosted: OrderedDict[str, _Hosted] = OrderedDict()
        self._lock = Lock()

    def open(self) -> tuple[str, _Hosted]:
        """Make a session with a name that can't be guessed."""
        hosted, name = _Hosted(self._make()), secrets.token_urlsafe(16)
        with self._lock:
            while len(self._hosted) >= self._most:
                self._hosted.popitem(last=False)
            self._hosted[name] = hosted
        return name, hosted

    def get(self, name: str) -> _Hosted | None:
        """Give the session of that name, if it is still there."""
        with self._lock:
            hosted = self._hosted.get(name)
            if hosted is not None:
                self._hosted.move_to_end(name)
            return hosted

    def __len__(self) -> int:
        return len(self._hosted)


class Guard:
    """Middleware: Host, Origin, token and size of every request, and the headers of every reply."""

    def __init__(self, app: Any, token: str, port: int, names: Iterable[str]) -> None:
        self.app, self.token, self.port = app, token, port
        self.names = set(names)
        self.cookie = f"chainrule-{port}"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await self._refuse(scope, receive, send, *refusal)
            return
        await self.app(scope, self._limited(scope, headers, receive), self._sending(send))

    def _refusal(self, scope: Any, headers: dict[str, str]) -> tuple[int, str] | None:
        if not self._is_ours(headers.get("host", "")):
            return 403, "this Host is not served"
        origin = headers.get("origin")
        if origin is not None and not self._is_our_origin(origin):
            return 403, "this Origin is not served"
        if scope["path"].startswith("/api/") and not self._has_token(headers):
            return 403, "the token is missing or wrong"
        if "transfer-encoding" in headers:
            return 411, "a request must say how long it is"
        length = headers.get("content-length", "0")
        most = _MAX_UPLOAD if scope["path"].endswith("/upload") else MAX_BODY
        if not length.isdigit() or int(length) > most:
            return 413, f"a request has at most {most} bytes"
        return None

    def _is_ours(self, host: str) -> bool:
        """Say whether a Host header names this server: guards against DNS rebinding."""
        name, colon, port = host.rpartition(":")
        if not colon or port != str(self.port):
            return False
        name = name.strip("[]").lower()
        if name in self.names:
            return True
        with suppress(ValueError):
            return "*" in self.names and bool(ipaddress.ip_address(name))
        return False

    def _is_our_origin(self, origin: str) -> bool:
        scheme, mark, host = origin.partition("://")
        return bool(mark) and scheme in ("http", "https") and self._is_ours(host)

    def _has_token(self, headers: dict[str, str]) -> bool:
        given = headers.get("x-chainrule-token", "")
        for part in headers.get("cookie", "").split(";"):
            name, _, value = part.strip().partition("=")
            if name == self.cookie:
                given = value
        return self.is_token(given)

    def is_token(self, given: str) -> bool:
        """Compare a token in constant time."""
        return hmac.compare_digest(given.encode(), self.token.encode())

    async def _refuse(self, scope: Any, receive: Any, send: Any, status: int, message: str) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        body = as_json({"kind": "error", "message": message})
        reply = Response(body, status, _HEADERS | {"connection": "close"}, "application/json")
        await reply(scope, receive, send)

    def _limited(self, scope: Any, headers: dict[str, str], receive: Any) -> Any:
        """Let no body through that is longer than it said, or that did not say."""
        left = [int(headers.get("content-length", "0"))]

        async def limited() -> Any:
            message = await receive()
            if message["type"] == "http.request":
                left[0] -= len(message.get("body", b""))
                if left[0] < 0:
                    return {"type": "http.disconnect"}
            return message

        return limited if scope["type"] == "http" else receive

    def _sending(self, send: Any) -> Any:
        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                added = [(k.encode(), v.encode()) for k, v in _HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *added]}
            await send(message)

        return sending


def create_app(
    make_session: Callable[[], Session], token: str, port: int, names: Iterable[str]
) -> Any:
    """Give the ASGI application; ``names`` are the hosts it answers to, "*" any IP address."""
    app = FastAPI(title="chainrule explorer", docs_url=None, redoc_url=None, openapi_url=None)
    guard = Guard(app, token, port, names)
    sessions = Sessions(make_session)
    places = asyncio.Semaphore(_AT_ONCE)

    async def compute(work: Callable[..., bytes], *arguments: Any) -> bytes:
        async with places:
            return await asyncio.to_thread(work, *arguments)

    @app.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        given = request.query_params.get("token")
        if given is not None and guard.is_token(given):
            reply = RedirectResponse("/", 303)
            reply.set_cookie(guard.cookie, token, httponly=True, samesite="strict", path="/")
            return reply
        if not guard.is_token(request.cookies.get(guard.cookie, "")):
            return HTMLResponse(_NO_TOKEN, 403)
        return Response(assets.page(), media_type="text/html; charset=utf-8")

    @app.get("/static/{name}", include_in_schema=False)
    async def static(name: str) -> Response:
        found = assets.files().get(name)
        if found is None:
            return Response("no such file", 404, media_type="text/plain")
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
            with hosted.lock:
                frame = hosted.session.frame()
            return as_json({"kind": "opened", "session": name, "frame": frame})

        return Response(await compute(work), 201, media_type="application/json")

    def add(kind: str, cls: type[Any]) -> None:
        async def endpoint(session: _SessionName, request: Request) -> Response:
            hosted = sessions.get(session)
            if hosted is None:
                return _error(404, "this session is over; reload the page")
            try:
                fields = json.loads(await request.body())
            except (ValueError, RecursionError):
                return _error(422, "the body must be JSON")
            if not isinstance(fields, dict):
                return _error(422, f"the body must be an object, got {type(fields).__name__}")
            try:
                asked = protocol.parse({**fields, "kind": kind})
            except ValueError as error:
                return _error(422, str(error))
            try:
                body = await compute(hosted.answer, asked)
            except (ValueError, TypeError) as error:
                return _error(409, str(error))  # well formed, but not here: no such layer, say
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
        hosted = sessions.get(session)
        await socket.accept()
        if hosted is None:
            await socket.close(1008)
            return
        with suppress(WebSocketDisconnect, RuntimeError):
            await _stream(socket, hosted, compute)
        if socket.client_state is WebSocketState.CONNECTED:
            with suppress(WebSocketDisconnect, RuntimeError):
                await socket.close()

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:]) or "the message"
        return _error(422, f"{place}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        words = {404: "there is nothing here", 405: "this takes another method"}
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


async def _stream(socket: WebSocket, hosted: _Hosted, compute: Any) -> None:
    """Train in pieces, a frame after each, until it is done, stopped, or nobody is there."""
    asked = await asyncio.wait_for(_receive(socket), 10)
    try:
        first = protocol.parse({**asked, "kind": "train", "seconds": _PIECE, "results": True})
    except (ValueError, TypeError) as error:
        await socket.send_text(as_json({"kind": "error", "message": str(error)}).decode())
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
            if first.pace is not None:  # a set pace leaves time over
                due += _PIECE
                due = max(due, monotonic())
                await asyncio.sleep(max(due - monotonic(), 0))
                piece = asyncio.create_task(compute(run.piece))
    except (ValueError, TypeError) as error:
        await socket.send_text(as_json({"kind": "error", "message": str(error)}).decode())
    finally:
        stopped.cancel()
        with suppress(BaseException):
            await piece


async def _receive(socket: WebSocket) -> dict[str, Any]:
    """Give the next message, an empty one if it is no object."""
    try:
        message = json.loads(await socket.receive_text())
    except (ValueError, KeyError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


class Run:
    """A training run in pieces."""

    def __init__(self, hosted: _Hosted, first: requests.Train) -> None:
        self._hosted, self._request = hosted, first
        self._left: int | None = None
        self._pieces = 0
        self.over = False

    def piece(self) -> bytes:
        """Train for a piece, and give the frame as JSON."""
        hosted, request = self._hosted, self._request
        with hosted.lock:
            hosted.used = monotonic()
            before = hosted.session.step
            # The pictures and the curve come with every second frame: the eye asks for no more.
            self._pieces += 1
            pictures = self._pieces % 2 == 1
            frame = hosted.session.answer(replace(request, results=pictures))
            if not pictures:
                frame["training"]["curve"] = []
            taken = hosted.session.step - before
            if request.steps is not None or request.epochs is not None:
                if self._left is None:
                    self._left = hosted.session.steps_asked(request)
                self._left -= taken
                self.over = self._left <= 0
                self._request = replace(request, steps=max(self._left, 1), epochs=None, again=True)
            else:
                self._request = replace(request, again=True)
            self.over = self.over or bool(frame["training"]["message"]) or not taken
            if self.over:
                frame["training"] = hosted.session.frame()["training"]
        return as_json(frame)


# --- running it -----------------------------------------------------------------------------------


def is_loopback(host: str) -> bool:
    """Say whether an address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def names_of(host: str) -> set[str]:
    """Give the hosts that a server bound to an address answers to."""
    names = {"127.0.0.1", "localhost", "::1"}
    if not is_loopback(host):
        names |= {host.lower(), socket.gethostname().lower(), socket.getfqdn().lower(), "*"}
    return names


def bind(host: str, port: int | None) -> socket.socket:
    """Give a listening socket: at the port, or at the first free one from 8765 on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in [port] if port is not None else [*range(8765, 8785), 0]:
        # Named TCP, so that asyncio turns Nagle's delay off, which would cost 40 ms a reply.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, candidate))
        except OSError as error:
            listener.close()
            if port is not None or candidate == 0:
                raise ValueError(f"can't listen at {host}:{candidate}: {error.strerror}") from None
            continue
        return listener
    raise AssertionError("port 0 is always free")


class Server:
    """A server with its address, not yet running."""

    def __init__(
        self, make_session: Callable[[], Session], host: str = "127.0.0.1", port: int | None = None
    ) -> None:
        self.listener = bind(host, port)
        self.port = int(self.listener.getsockname()[1])
        self.token = secrets.token_urlsafe(24)
        shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
        shown = f"[{shown}]" if ":" in shown else shown
        self.url = f"http://{shown}:{self.port}/?token={self.token}"
        app = create_app(make_session, self.token, self.port, names_of(host))
        self._server = uvicorn.Server(
            uvicorn.Config(
                app, log_level="error", access_log=False, ws="websockets-sansio",
                ws_per_message_deflate=False,  # it would cost more than it saves
                ws_max_size=MAX_BODY, ws_ping_interval=20, timeout_keep_alive=30,
                limit_concurrency=4 * MAX_SESSIONS, timeout_graceful_shutdown=2,
                server_header=False,
            )
        )  # fmt: skip

    def run(self) -> None:
        """Serve until Ctrl-C or `stop`."""
        warming = threading.Thread(target=warm_up, args=(lambda: self._server.should_exit,))
        warming.daemon = True
        warming.start()
        try:
            self._server.run(sockets=[self.listener])
        finally:
            self.listener.close()
            warming.join(_WARMING)  # Python is not to end in the midst of it

    def stop(self) -> None:
        """Ask the server to end."""
        self._server.should_exit = True


def warm_up(is_over: Callable[[], bool] = lambda: False) -> None:
    """Load what the first explanation needs, so that the first click is as quick as the others."""
    session = Session()
    target = {"target": "w[1][0,0]"}
    for message in ({"kind": "explain", **target}, {"kind": "latex", **target}, {"kind": "steps"},
                    {"kind": "prove", **target}):  # fmt: skip
        if is_over():
            return
        session.handle(message)
