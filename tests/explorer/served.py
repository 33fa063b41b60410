"""A server of the explorer, for the tests of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from chainrule.explorer.hosts.server import Server
from chainrule.explorer.session import Session


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server(Session)
    thread = threading.Thread(target=server._server.run, kwargs={"sockets": [server.listener]})
    thread.start()
    yield server
    server.stop()
    thread.join(10)
    server.listener.close()


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    headers = {"x-chainrule-token": server.token}
    base = f"http://127.0.0.1:{server.port}"
    with httpx.Client(base_url=base, headers=headers, timeout=300) as client:
        yield client


@pytest.fixture
def session(client: httpx.Client) -> str:
    reply = client.post("/api/sessions", json={})
    assert reply.status_code == 201
    return f"/api/sessions/{reply.json()['session']}"


def lives(client: httpx.Client, session: str) -> bool:
    return client.post(f"{session}/look", json={}).status_code == 200


def stream(server: Server, session: str) -> Any:
    return connect(
        f"ws://127.0.0.1:{server.port}{session}/train",
        additional_headers={"x-chainrule-token": server.token}, max_size=2**22,
    )  # fmt: skip


def rest(ws: Any) -> list[Any]:
    """All that still comes until the server closes."""
    messages = []
    try:
        while True:
            messages.append(json.loads(ws.recv(300)))
    except ConnectionClosed:
        return messages


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
