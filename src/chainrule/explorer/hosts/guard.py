"""The guard of the web host: who may ask, how much, and the security headers of replies."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from chainrule.explorer.hosts.sessions import as_json
from chainrule.explorer.protocol import requests

MAX_BODY = 64 * 2**10  # bytes of a request
_MAX_UPLOAD = 2 * requests.MAX_CSV + MAX_BODY  # JSON may write each character of a file as two
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


class Guard:
    """Middleware that checks Host, Origin, token and size of requests, and secures replies.

    Pages may send forms to this server alone if ``forms``, else nowhere.
    """

    def __init__(
        self, app: Any, token: str, port: int, names: Iterable[str], forms: bool = False
    ) -> None:
        self.app, self.token, self.port = app, token, port
        policy = _HEADERS["content-security-policy"]
        target = "form-action 'self'" if forms else "form-action 'none'"
        policy = policy.replace("form-action 'none'", target)
        self.headers = _HEADERS | {"content-security-policy": policy}
        self.names = set(names)
        self.cookie = f"chainrule-{port}"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = _texts(scope["headers"])
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await self._refuse(scope, receive, send, *refusal)
            return
        await self.app(scope, self._limited(scope, headers, receive), self._sending(send))

    def _refusal(self, scope: Any, headers: dict[str, str]) -> tuple[int, str] | None:
        if not self._is_ours(headers.get("host", "")):
            return (
                403,
                "The Host header is not an address of this server. Open the printed address.",
            )
        origin = headers.get("origin")
        if origin is not None and not self._is_our_origin(origin):
            return 403, "The Origin header is not this server. Open the printed address."
        if scope["path"].startswith("/api/") and not self._has_token(headers):
            return 403, "The token is missing or wrong. Open the whole address that was printed."
        if "transfer-encoding" in headers:
            return 411, "The request has no Content-Length header, which is required"
        length = headers.get("content-length", "0")
        most = _MAX_UPLOAD if scope["path"].endswith("/upload") else MAX_BODY
        if not length.isdigit() or int(length) > most:
            return 413, f"The request has {length} bytes; expected at most {most:,}"
        return None

    def _is_ours(self, host: str) -> bool:
        """Return whether a Host header names this server; others may come from DNS rebinding."""
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

    def is_known(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Return whether the headers of a request show the token."""
        return self._has_token(_texts(headers))

    def _has_token(self, headers: dict[str, str]) -> bool:
        given = headers.get("x-chainrule-token", "")
        for part in headers.get("cookie", "").split(";"):
            name, _, value = part.strip().partition("=")
            if name == self.cookie:
                given = value
        return self.is_token(given)

    def is_token(self, given: str) -> bool:
        """Return whether a token is right, in constant time."""
        return hmac.compare_digest(given.encode(), self.token.encode())

    def admit(self, request: Request, refusal: str) -> Response | None:
        """Return None for a browser that has the token, else what it gets instead of a page.

        The address with the token sets a cookie and leads to the page; without it comes
        ``refusal``.
        """
        given = request.query_params.get("token")
        if given is not None and self.is_token(given):
            reply = RedirectResponse("/", 303)
            reply.set_cookie(self.cookie, self.token, httponly=True, samesite="strict", path="/")
            return reply
        if not self.is_token(request.cookies.get(self.cookie, "")):
            return HTMLResponse(refusal, 403)
        return None

    async def _refuse(self, scope: Any, receive: Any, send: Any, status: int, message: str) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        body = as_json({"kind": "error", "message": message})
        reply = Response(body, status, self.headers | {"connection": "close"}, "application/json")
        await reply(scope, receive, send)

    def _limited(self, scope: Any, headers: dict[str, str], receive: Any) -> Any:
        """Return a receiver that ends the connection if a body is longer than its header says."""
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
                added = [(k.encode(), v.encode()) for k, v in self.headers.items()]
                message = {**message, "headers": [*message.get("headers", []), *added]}
            await send(message)

        return sending


def _texts(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
