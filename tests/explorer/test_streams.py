"""The web host: streams of training, and clients of all kinds."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

from chainrule.explorer import protocol
from chainrule.explorer.hosts import connections
from chainrule.explorer.hosts import guard as guards
from chainrule.explorer.hosts import stream as streams
from chainrule.explorer.hosts.server import Server
from chainrule.explorer.session import Session
from tests.explorer.served import JSON, client, lives, rest, server, session, stream  # noqa: F401


def test_training_is_streamed_until_it_is_stopped(
    server: Server, client: httpx.Client, session: str
) -> None:
    with stream(server, session) as ws:
        ws.send("{}")
        frames = [json.loads(ws.recv(300)) for _ in range(10)]
        ws.send('{"stop": true}')
        frames += rest(ws)
    steps = [f["training"]["step"] for f in frames]
    assert steps == sorted(steps)
    assert [bool(f.get("results")) for f in frames[:4]] == [True, False, True, False]
    assert all(f["results"]["grid"] for f in frames if "results" in f)
    assert client.post(f"{session}/undo", json={}).json()["training"]["step"] == 0  # one change


@pytest.mark.parametrize("request_", [{"steps": 37}, {"epochs": 4}, {"steps": 10, "pace": 3}])
def test_so_many_steps_are_taken(
    server: Server, client: httpx.Client, session: str, request_: dict[str, int]
) -> None:
    with stream(server, session) as ws:
        ws.send(json.dumps(request_))
        rest(ws)
    training = client.post(f"{session}/look", json={}).json()["training"]
    assert training["step"] == request_.get("steps", 4 * 5)


@pytest.mark.parametrize("message", ["nonsense", "[1]", '{"steps": -1}', '{"more": 1}', "[" * 9999])
def test_bad_training_messages_are_refused(
    server: Server, client: httpx.Client, session: str, message: str
) -> None:
    with stream(server, session) as ws:
        ws.send(message)
        reply = json.loads(ws.recv(300))
        assert reply["kind"] in ("error", "frame")  # what is no object asks for nothing special
    assert lives(client, session)


def test_an_oversized_training_message_closes_the_stream(
    server: Server, client: httpx.Client, session: str
) -> None:
    with stream(server, session) as ws:
        ws.send("x" * (guards.MAX_BODY + 1))
        with pytest.raises(ConnectionClosed):
            ws.recv(300)
    assert lives(client, session)


def test_a_stream_that_asks_for_nothing_is_closed_without_a_trace(
    server: Server, client: httpx.Client, session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It printed a traceback, and the page saw the code 1006."""
    monkeypatch.setattr(streams, "_SILENCE", 0.2)
    with logged() as records, stream(server, session) as ws:
        assert json.loads(ws.recv(300)) == {
            "kind": "error",
            "message": "No request arrived within 0.2 seconds; expected one of the kind train",
        }  # fmt: skip
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(300)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
    assert records == []
    assert lives(client, session)


def test_a_stream_of_no_session_says_so(server: Server) -> None:
    with stream(server, "/api/sessions/none") as ws:
        assert "This session has ended" in json.loads(ws.recv(300))["message"]
        with pytest.raises(ConnectionClosed):
            ws.recv(300)


@contextmanager
def logged() -> Iterator[list[str]]:
    """What the server would print."""
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("uvicorn.error")
    logger.addHandler(handler)
    try:
        yield records
    finally:
        logger.removeHandler(handler)


def test_a_client_that_vanishes_stops_the_training(
    server: Server, client: httpx.Client, session: str
) -> None:
    with stream(server, session) as ws:
        ws.send("{}")
        ws.recv(300)
        ws.socket.shutdown(socket.SHUT_RDWR)  # no goodbye
    deadline = time.monotonic() + 300
    step = -1
    while time.monotonic() < deadline:
        now = client.post(f"{session}/look", json={}).json()["training"]["step"]
        if now == step:
            break
        step = now
        time.sleep(0.3)
    else:
        raise AssertionError("it goes on training for nobody")
    assert lives(client, session)


def test_many_sessions_at_once(server: Server) -> None:
    """A short version; `make explorer-load` has 200, with clients that vanish."""
    asyncio.run(load(server, sessions=int(os.environ.get("CHAINRULE_SESSIONS", "30"))))


async def load(server: Server, sessions: int) -> None:
    """Open sessions at once; each edits, explains, trains, and some leave in mid-training."""
    from websockets.asyncio.client import connect as connect_async

    headers = {"x-chainrule-token": server.token}
    base = f"127.0.0.1:{server.port}"
    async with httpx.AsyncClient(
        base_url=f"http://{base}", headers=headers, timeout=300,
        limits=httpx.Limits(max_connections=100),
    ) as client:  # fmt: skip

        async def person(i: int) -> None:
            path = (
                f"/api/sessions/{(await client.post('/api/sessions', json={})).json()['session']}"
            )
            value = i / 100
            body = {"target": "w[1][0,0]", "value": value}
            assert (await client.post(f"{path}/edit", json=body)).is_success
            reply = await client.post(f"{path}/explain", json={"target": "w[1][0,0]"})
            assert reply.json()["old"] == value  # nobody else's
            address = f"ws://{base}{path}/train"
            async with connect_async(address, additional_headers=headers, open_timeout=300) as ws:
                await ws.send("{}")
                await ws.recv()
                if i % 3 == 0:
                    ws.transport.abort()
                    return
                await ws.send("{}")
            assert (await client.post(f"{path}/look", json={})).is_success

        await asyncio.gather(*(person(i) for i in range(sessions)))
        assert (await client.post("/api/sessions", json={})).status_code == 201


@given(data=st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_message_is_answered_or_refused(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from([k for k in protocol.REQUESTS if k not in ("train", "data")]))
    names = [*protocol.REQUESTS[kind].__dataclass_fields__, "more"]
    fields = data.draw(st.dictionaries(st.sampled_from(names), JSON, max_size=4))
    session = Session()
    reply = session.handle({"kind": kind, **fields})
    json.dumps(reply, allow_nan=False)
    assert session.handle({"kind": "look"})["kind"] == "frame"


def test_schemathesis_finds_nothing(server: Server) -> None:
    import schemathesis

    headers = {"x-chainrule-token": server.token}
    base = f"http://127.0.0.1:{server.port}"
    name = httpx.post(f"{base}/api/sessions", json={}, headers=headers).json()["session"]
    document = httpx.get(f"{base}/api/schema", headers=headers).json()
    api = schemathesis.openapi.from_dict(document)
    count = int(os.environ.get("CHAINRULE_FUZZ", "8"))
    for result in api.get_all_operations():
        operation = result.ok()
        if operation.path.endswith(("/train", "/prove")):
            continue

        @given(case=operation.as_strategy())
        @settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))
        def try_it(case: Any) -> None:
            if case.path_parameters:
                case.path_parameters["session"] = name
            case.headers = {**(case.headers or {}), **headers}
            case.call_and_validate(base_url=base)

        try_it()
    assert httpx.post(f"{base}/api/sessions/{name}/look", json={}, headers=headers).is_success


# --- connections that are held open ---------------------------------------------------------------


@pytest.fixture
def many_files() -> Iterator[None]:
    """Room for thousands of open connections, of both ends."""
    resource = pytest.importorskip("resource")
    old = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, old[1]), old[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, old)


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.1\r\nhost: 127.0.0.1"])
def test_connections_that_say_nothing_shut_nobody_out(
    server: Server, client: httpx.Client, session: str, start: bytes
) -> None:
    """1,100 of them, without the token, had everybody answered 503."""
    held: list[socket.socket] = []
    try:
        for _ in range(1300):
            held.append(socket.create_connection(("127.0.0.1", server.port)))
            held[-1].sendall(start)
            if len(held) % 100 == 0:
                assert lives(client, session)
        page = httpx.get(server.url, follow_redirects=True)  # one that comes later, too
        assert page.status_code == 200
        held[0].settimeout(5)
        with suppress(ConnectionResetError):
            assert held[0].recv(1) == b""  # the oldest ones are closed
    finally:
        for each in held:
            each.close()


def test_a_request_that_trickles_is_closed(
    server: Server, client: httpx.Client, session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte now and then kept a connection, with and without a request before it."""
    monkeypatch.setattr(connections, "_PATIENCE", 0.3)
    whole = f"GET /favicon.ico HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\n\r\n".encode()
    for before in (b"", whole):
        with socket.create_connection(("127.0.0.1", server.port)) as held:
            held.settimeout(5)
            held.sendall(before)
            if before:
                assert b" 204 " in held.recv(1000)
            with pytest.raises((BrokenPipeError, ConnectionResetError, ConnectionAbortedError)):
                trickle(held, whole * 40)  # at most 15 seconds
    assert lives(client, session)


def trickle(held: socket.socket, content: bytes) -> None:
    for byte in content:
        held.sendall(bytes([byte]))
        time.sleep(0.05)


def test_an_answer_may_take_its_time(
    server: Server, client: httpx.Client, session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_PATIENCE", 0.2)
    answer = Session.answer

    def slowly(*arguments: Any) -> Any:
        time.sleep(0.6)
        return answer(*arguments)

    monkeypatch.setattr(Session, "answer", slowly)
    assert lives(client, session)
