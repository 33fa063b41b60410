"""The web host: what it lets in, what it refuses, and that it stays well."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

import chainrule as cr
from chainrule.cli import main
from chainrule.explorer import protocol
from chainrule.explorer.hosts import connections
from chainrule.explorer.hosts import guard as guards
from chainrule.explorer.hosts import stream as streams
from chainrule.explorer.hosts.server import Server, names_of
from chainrule.explorer.hosts.sessions import NO_ROOM, Sessions, bytes_of, weight
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


# --- the token -----------------------------------------------------------------------------------


def test_the_opened_address_gives_a_cookie_and_leaves_the_token_out(server: Server) -> None:
    with httpx.Client(follow_redirects=True) as person:
        page = person.get(server.url)
        assert page.status_code == 200
        assert "token" not in str(page.url)
        cookie = page.history[0].headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert person.post(f"http://127.0.0.1:{server.port}/api/sessions", json={}).is_success


@pytest.mark.parametrize("token", [None, "", "wrong", "é"])
def test_without_the_token_nothing_is_served(server: Server, token: str | None) -> None:
    base = f"http://127.0.0.1:{server.port}"
    page = httpx.get(base if token is None else f"{base}/?token={token}")
    assert page.status_code == 403
    assert "It opens in their browser alone" in page.text
    headers = {} if token is None else {"x-chainrule-token": token.encode()}
    reply = httpx.post(f"{base}/api/sessions", json={}, headers=headers)
    assert reply.status_code == 403
    assert reply.json()["message"].startswith("The token is missing or wrong.")
    with pytest.raises(InvalidStatus):
        connect(f"ws://127.0.0.1:{server.port}/api/sessions/x/train")


def test_headers_are_strict(server: Server, client: httpx.Client) -> None:
    for path in ("/", "/static/app.js", "/static/none.js"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


# --- Host and Origin -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "evil.example:{port}"]
)
def test_a_foreign_host_is_refused(server: Server, client: httpx.Client, host: str) -> None:
    reply = client.post("/api/sessions", json={}, headers={"host": host.format(port=server.port)})
    assert reply.status_code == 403
    assert "Host" in reply.json()["message"]


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "file://"])
def test_a_foreign_origin_is_refused(server: Server, session: str, client: httpx.Client,
                                     origin: str) -> None:  # fmt: skip
    reply = client.post(f"{session}/look", json={}, headers={"origin": origin})
    assert reply.status_code == 403
    with pytest.raises(InvalidStatus):
        connect(
            f"ws://127.0.0.1:{server.port}{session}/train", origin=origin,
            additional_headers={"x-chainrule-token": server.token},
        )  # fmt: skip
    assert lives(client, session)


def test_our_own_origin_is_taken(server: Server, session: str, client: httpx.Client) -> None:
    for name in ("127.0.0.1", "localhost"):
        headers = {"origin": f"http://{name}:{server.port}"}
        assert client.post(f"{session}/look", json={}, headers=headers).is_success


def test_hosts_of_an_open_address() -> None:
    guard = guards.Guard(None, "t", 80, names_of("0.0.0.0"))
    assert guard._is_ours("192.168.1.7:80")
    assert guard._is_ours("[::1]:80")
    assert not guard._is_ours("evil.example:80")
    assert not guards.Guard(None, "t", 80, names_of("127.0.0.1"))._is_ours("192.168.1.7:80")


# --- messages ------------------------------------------------------------------------------------


def test_every_reply_is_what_its_schema_says(client: httpx.Client, session: str) -> None:
    openapi = client.get("/api/schema").json()
    for kind in protocol.REQUESTS:
        assert f"/api/sessions/{{session}}/{kind}" in openapi["paths"]
    reply = client.post(f"{session}/edit", json={"target": "w[1][0,0]", "value": 0.25}).json()
    assert reply["weights"][0]["w"][0][0] == 0.25


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("edit", b"{", 422, "The body is not JSON"),
        ("edit", b"[]", 422, "The body is a list; expected an object"),
        ("edit", b'{"target": "w[1][0,0]"}', 422, "value"),
        ("edit", b'{"target": "w[1][0,0]", "value": NaN}', 422, "value"),
        ("edit", b'{"target": "w[1][0,0]", "value": 1, "more": 1}', 422, "more"),
        ("edit", b'{"target": "w[9][0,0]", "value": 1}', 409, "has layers 1 to 3"),
        ("explain", b'{"target": "../../etc/passwd"}', 409, "is not a target"),
        ("nothing", b"{}", 404, "There is nothing at this address"),
        ("look", b"\xff\xfe", 422, ""),
        ("look", b"[" * 20000, 422, "JSON"),
    ],
)
def test_malformed_messages_are_refused(
    client: httpx.Client, session: str, path: str, body: bytes, status: int, words: str
) -> None:
    before = client.post(f"{session}/look", json={}).json()
    reply = client.post(f"{session}/{path}", content=body,
                        headers={"content-type": "application/json"})  # fmt: skip
    assert reply.status_code == status
    assert reply.json()["kind"] == "error"
    assert words in reply.json()["message"]
    assert client.post(f"{session}/look", json={}).json() == before


def test_oversized_messages_are_refused(client: httpx.Client, session: str) -> None:
    big = b'{"refocus": "' + b"x" * guards.MAX_BODY + b'"}'
    reply = client.post(f"{session}/look", content=big)
    assert reply.status_code == 413
    reply = client.post(f"{session}/upload", json={"text": "1,2\n" * 2_000_000})
    assert reply.status_code == 413
    reply = client.post(f"{session}/look", content=iter([b"{}"]))  # does not say how long it is
    assert reply.status_code == 411
    assert lives(client, session)


def test_a_body_longer_than_it_said_is_cut_off(server: Server, client: httpx.Client,
                                               session: str) -> None:  # fmt: skip
    head = (
        f"POST {session}/look HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\n"
        f"x-chainrule-token: {server.token}\r\ncontent-type: application/json\r\n"
        "content-length: 2\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        raw.sendall(head.encode() + b"{}" + b"x" * 100_000)
        assert raw.recv(100).startswith(b"HTTP/1.1 200")
    assert lives(client, session)


def test_an_upload_within_the_limit_is_taken(client: httpx.Client, session: str) -> None:
    text = "\n".join(f"{i},{i % 7},{i % 2}" for i in range(15_000))
    reply = client.post(f"{session}/upload", json={"text": text, "name": "big.csv"})
    assert reply.status_code == 200
    assert reply.json()["data"]["train"] == 12_000


def test_an_upload_of_short_lines_is_taken_up_to_the_limit(
    client: httpx.Client, session: str
) -> None:
    """JSON writes each quote as two characters, so such a file was refused below the limit."""
    cell = '"' + '""' * 200 + '"'
    text = "a,b\n" + f"1,{cell}\n2,b\n" * 10_000
    assert len(text) < 4 * 2**20 < len(json.dumps(text)) - 2**16
    reply = client.post(f"{session}/upload", json={"text": text})
    assert reply.status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/static/../web.py",
        "/static/%2e%2e/web.py",
        "/static//etc/passwd",
        "/etc/passwd",
        "/static/..%2fweb.py",
        "/static/types.d.ts",
    ],
)
def test_no_path_reaches_the_file_system(client: httpx.Client, path: str) -> None:
    reply = client.get(path)
    assert reply.status_code == 404
    assert b"import" not in reply.content


def test_sessions_are_apart_and_limited(client: httpx.Client) -> None:
    made = Sessions(Session, most=3)
    names = [made.open()[0] for _ in range(3)]
    made.get(names[0]).answer(protocol.parse({"kind": "look"}))  # used again, so that it stays
    made.open()
    assert len(made) == 3
    with pytest.raises(LookupError, match="it was unused for longest when others needed"):
        made.get(names[1])
    assert made.get(names[0]).session
    reply = client.post("/api/sessions/none/look", json={})
    assert reply.status_code == 404
    assert reply.json()["message"] == "This session has ended. Reload the page."


# --- memory ---------------------------------------------------------------------------------------


def wide() -> Session:
    """A session of a network of 8 MB."""
    return Session(cr.Network([1000, 1000, 1], seed=0), np.ones((2, 1000)), np.ones(2))


def test_sessions_that_have_no_room_go_the_one_unused_for_longest_first() -> None:
    """256 sessions with large networks took 25 GB: their bytes are bounded, too."""
    each = weight(wide())
    assert each > 8e6
    made = Sessions(wide, most_bytes=4 * each)
    names = [made.open()[0] for _ in range(4)]
    assert (len(made), made.bytes) == (4, 4 * each)
    look, edit = ({"kind": "look"}, {"kind": "edit", "target": "w[1][0,0]", "value": 0.5})
    made.get(names[0]).answer(protocol.parse(look))
    oldest = made.get(names[1])
    made.get(names[3]).answer(protocol.parse(edit))  # keeps what was, to undo it
    assert made.bytes <= 4 * each
    with pytest.raises(LookupError, match=r"needed its memory\. Reload the page\."):
        made.get(names[1])
    with pytest.raises(ValueError, match=r"needed its memory\. Reload the page\."):
        oldest.answer(protocol.parse(look))  # a request that had begun
    assert json.loads(made.get(names[0]).answer(protocol.parse(look)))["kind"] == "frame"

    alone = Sessions(wide, most_bytes=each // 2)  # one has always room
    name, _ = alone.open()
    assert alone.get(name).bytes == each
    alone.open()
    assert len(alone) == 1


def test_a_training_whose_session_had_to_go_ends(server: Server, client: httpx.Client) -> None:
    opened = client.post("/api/sessions", json={}).json()["session"]
    with stream(server, f"/api/sessions/{opened}") as ws:
        ws.send("{}")
        ws.recv(300)
        server.sessions.get(opened).is_over = True
        assert rest(ws)[-1] == {"kind": "error", "message": NO_ROOM}


def test_the_bytes_of_a_session_are_those_that_it_takes() -> None:
    """Networks to undo, records, data, the optimiser's state, gradients and explanations."""

    def ask(session: Session, kind: str, **fields: Any) -> None:
        assert session.handle({"kind": kind, **fields})["kind"] != "error"

    def busy() -> Session:
        session = Session()
        ask(session, "build", hidden_sizes=[300, 300], hidden=["relu", "relu"])
        ask(session, "configure", scope="all", optimizer="adam")
        for i in range(5):
            ask(session, "edit", target=f"w[1][{i},0]", value=0.1)
        ask(session, "undo")
        ask(session, "train", steps=20, seconds=4.0)
        ask(session, "explain", target="w[1][0,0]")
        return session

    kept = [busy()]  # what is loaded and cached once
    gc.collect()
    tracemalloc.start()
    try:
        kept.append(busy())
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert bytes_of(kept[1]) == pytest.approx(taken, rel=0.1)


# --- training ------------------------------------------------------------------------------------


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


# --- whatever a client may send -------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


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


# --- the command ----------------------------------------------------------------------------------


def test_the_command_prints_its_address_and_ends_at_an_interrupt() -> None:
    command = [sys.executable, "-m", "chainrule", "explore", "--no-browser", "--sizes", "2,3,1"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert process.stdout is not None
        text = ""
        while "token=" not in text:
            text += process.stdout.readline()
        url = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", text)
        assert url is not None
        deadline = time.monotonic() + 300
        while True:
            try:
                page = httpx.get(url[0], follow_redirects=True)
                break
            except httpx.ConnectError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        assert page.status_code == 403 or "chainrule explorer" in page.text
        process.send_signal(signal.SIGINT)
        rest, complaint = process.communicate(timeout=300)
        assert (process.returncode, complaint) == (0, "")
        assert rest.endswith("Stopped.\n")


def test_another_address_is_warned_of(monkeypatch: pytest.MonkeyPatch,
                                      capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    monkeypatch.setattr(Server, "run", lambda self: self.listener.close())
    assert main(["explore", "--no-browser", "--host", "0.0.0.0"]) == 0
    shown = capsys.readouterr()
    assert "Warning: other machines can reach 0.0.0.0." in shown.err
    assert "token=" in shown.out
    assert main(["explore", "--no-browser"]) == 0
    assert "Warning" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["none.safetensors"], "none.safetensors: No such file"),
        (["net.safetensors", "--sizes", "2,1"], "exclude each other"),
        (["--sizes", "two"], "--sizes is 'two'; expected units such as 2,4,1"),
        (["--sizes", "2"], "--sizes is 2; expected two layers or more"),
        (["--sizes", "2,0,1"], "at least 1"),
        (["--data", "d.csv"], "--data needs a network"),
        (["--sizes", "2,2,1", "--data", "none.csv"], "none.csv: No such file"),
        (["--dataset", "nothing"], "unknown data set"),
        (["--sizes", "3,1", "--dataset", "moons"], "X has 2 columns, the network expects 3"),
        (["--dataset", "moons", "--data", "d.csv"], "exclude each other"),
        (["--hidden", "none", "--sizes", "2,2,1"], "unknown activation"),
    ],
)
def test_bad_arguments(arguments: list[str], complaint: str,
                       capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
                       ) -> None:  # fmt: skip
    monkeypatch.setattr(Server, "run", lambda self: self.listener.close())
    assert main(["explore", "--no-browser", *arguments]) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


def test_a_port_that_is_taken_is_said(server: Server) -> None:
    with pytest.raises(ValueError, match=f"^Cannot listen at 127.0.0.1:{server.port}: "):
        Server(Session, port=server.port)


def test_a_lesson_is_saved(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "lesson.html"
    arguments = ["explore", "--sizes", "2,2,1", "--dataset", "xor table", "--steps", "2"]
    assert main([*arguments, "--save", str(file)]) == 0
    assert "2 steps" in capsys.readouterr().out
    assert file.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert main([*arguments, "--save", str(tmp_path / "none" / "lesson.html")]) == 2


def test_a_model_and_its_data(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    net = cr.Network([2, 3, 1], output="sigmoid", loss="binary_cross_entropy", seed=5)
    net.save(tmp_path / "net.safetensors")
    (tmp_path / "d.csv").write_text("0,0,0\n0,1,1\n1,0,1\n1,1,0\n", encoding="utf-8")
    made: list[Session] = []
    start = Server.__init__

    def init(self: Server, make: Any, host: str, port: int | None) -> None:
        made.append(make())
        start(self, make, host, port)

    monkeypatch.setattr(Server, "__init__", init)
    monkeypatch.setattr(Server, "run", lambda self: self.listener.close())
    model, data = str(tmp_path / "net.safetensors"), str(tmp_path / "d.csv")
    assert main(["explore", model, "--data", data, "--no-browser"]) == 0
    assert (made[0].network.parameters == net.parameters).all()
    assert made[0]._data.X.shape == (4, 2)

    rows = "".join(f"{i % 7},{'ab'[i % 2]},{'yes' if i % 2 else 'no'}\n" for i in range(60))
    table, model = tmp_path / "t.csv", str(tmp_path / "t.model")
    table.write_text(f"size,kind,bought\n{rows},a,\n", encoding="utf-8")
    assert main(["train", str(table), "--target", "bought", "--epochs", "2", "--hidden", "3",
                 "--out", model, "--no-plot", "--plain"]) == 0  # fmt: skip
    assert main(["explore", model, "--data", str(table), "--no-browser"]) == 0
    X = made[1]._data.X  # the size, standardised, and the kind; without the row of no target
    assert X.shape == (60, made[1].network.sizes[0])
    assert np.abs(X).max() < 3
