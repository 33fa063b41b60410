"""The web host: token, origins, messages, memory."""

from __future__ import annotations

import gc
import json
import socket
import tracemalloc
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

import chainrule as cr
from chainrule.explorer import protocol
from chainrule.explorer.hosts import guard as guards
from chainrule.explorer.hosts.server import Server, names_of
from chainrule.explorer.hosts.sessions import NO_ROOM, Sessions, bytes_of, weight
from chainrule.explorer.session import Session
from tests.explorer.served import client, lives, rest, server, session, stream  # noqa: F401

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
