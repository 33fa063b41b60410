"""The host of a watched run: its pages, behind the guard of the explorer's server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response

from chainrule.explorer import paper
from chainrule.explorer.hosts import assets
from chainrule.explorer.hosts.guard import Guard
from chainrule.explorer.runs import pages
from chainrule.explorer.runs.routes import Routes

if TYPE_CHECKING:
    from chainrule.explorer.runs.desk import Desk


def create_app(desk: Desk, token: str, port: int, names: Iterable[str]) -> Any:
    """Return the ASGI application for these host names; "*" allows any IP address."""
    app = FastAPI(title="chainrule explorer", docs_url=None, redoc_url=None, openapi_url=None)
    guard = Guard(app, token, port, names, forms=True)

    def add(path: str, make: Callable[[Mapping[str, str]], str]) -> None:
        async def page(request: Request) -> Response:
            instead = guard.admit(request, paper.NO_TOKEN)
            if instead is not None:
                return instead
            asked = dict(request.query_params)
            try:
                # The version is from before the page is made, so a page is never older than it.
                version = f'"{await asyncio.to_thread(desk.version)}"'
                if request.headers.get("if-none-match") == version:
                    return Response(status_code=304)
                body = await asyncio.to_thread(make, asked)
            except (ValueError, ImportError) as error:
                return HTMLResponse(pages.error(str(error)), 404)
            except OSError as error:
                words = f"{error.filename or 'the folder'} cannot be read: {error.strerror}"
                return HTMLResponse(pages.error(words), 404)
            return HTMLResponse(body, headers={"etag": version})

        app.get(path, include_in_schema=False)(page)

    for path, make in Routes(desk).pages.items():
        add(path, make)

    @app.get("/style.css", include_in_schema=False)
    async def style() -> Response:
        return Response(pages.style(), media_type="text/css; charset=utf-8")

    @app.get("/run.js", include_in_schema=False)
    async def script() -> Response:
        text, media_type = assets.files()["run.js"]
        return Response(text, media_type=media_type)

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:
        return Response(status_code=204)

    return guard
