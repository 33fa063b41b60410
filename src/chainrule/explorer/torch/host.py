"""The host of a PyTorch model: its pages, behind the guard of the explorer's server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from chainrule.explorer import paper
from chainrule.explorer.hosts.guard import Guard
from chainrule.explorer.torch import pages

if TYPE_CHECKING:
    from chainrule.explorer.torch.desk import Desk


def create_app(desk: Desk, token: str, port: int, names: Iterable[str]) -> Any:
    """Return the ASGI application for these host names; "*" allows any IP address."""
    app = FastAPI(title="chainrule explorer", docs_url=None, redoc_url=None, openapi_url=None)
    guard = Guard(app, token, port, names, forms=True)

    @app.get("/", include_in_schema=False)
    async def tree(request: Request) -> Response:
        return guard.admit(request, paper.NO_TOKEN) or HTMLResponse(desk.tree())

    @app.get("/style.css", include_in_schema=False)
    async def style() -> Response:
        return Response(paper.style(), media_type="text/css; charset=utf-8")

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:
        return Response(status_code=204)

    @app.get("/open", include_in_schema=False)
    async def opened(request: Request) -> Response:
        instead = guard.admit(request, paper.NO_TOKEN)
        if instead is not None:
            return instead
        asked = dict(request.query_params)
        try:
            where = desk.place(asked.get("target", ""))
            if where:
                return RedirectResponse(where, 303)
            return HTMLResponse(await asyncio.to_thread(desk.open, asked))
        except ValueError as error:
            return HTMLResponse(pages.error(str(error)), 404)

    return guard
