"""The sum over workers: threads that are connected as workers are, on this machine."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import struct
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.distributed import exchange, messages
from chainrule.distributed.cost import in_one
from chainrule.distributed.exchange import CalledOffError, Mesh, Peer
from chainrule.distributed.messages import PeerError, listening, receive, send, tuned
from chainrule.engines import Failure
from chainrule.engines.base import Sums
from chainrule.engines.micro import folded, tree_sum
from tests.distributed.meshes import SECRET, some, together
from tests.distributed.proxy import Proxy


@given(st.integers(1, 40), st.data())
def test_folding_the_parts_gives_the_bits_of_the_whole(leaves: int, data: st.DataObject) -> None:
    taken = sorted(data.draw(st.sets(st.integers(1, 40))) & set(range(leaves)) | {0})
    cuts = sorted({0, leaves, *(c for c in data.draw(st.sets(st.integers(0, 40))) if c < leaves)})
    whole = tree_sum(some(taken, 3), leaves)
    parts: dict[int, Sums] = {}
    sums = some(taken, 3)
    for first, last in itertools.pairwise(cuts):
        mine = range(first, last)
        parts |= folded({k: sums[k] for k in taken if k in mine}, leaves, Sums.add, mine)
    found = folded(parts, leaves, Sums.add)
    assert list(found) == [0]
    assert (found[0].g == whole.g).all()
    assert (found[0].weight, found[0].loss) == (whole.weight, whole.loss)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("leaves", [7, 8, 13])
@pytest.mark.parametrize(
    ("size", "dtype"), [(1, "f8"), (5000, "f4"), (60_001, "f4"), (40_001, "f8")]
)
def test_all_get_the_bits_of_one_machine(count: int, leaves: int, size: int, dtype: str) -> None:
    # Shards end one after another: fewer micro-batches in each step, at last one of all workers.
    steps = [list(range(k)) for k in (leaves - 2, leaves - 2, 2, 1)]

    def act(mesh: Mesh, mine: range, rank: int) -> Any:
        found = []
        for step, taken in enumerate(steps):
            sums = some([k for k in taken if k in mine], size, dtype, seed=step)
            total, stop = mesh.sum(sums, taken, leaves, step, stop=step == 0 and rank == count - 1)
            found.append((total.g.copy(), total.weight, total.loss, stop))
        return found

    for found in together(count, leaves, size, act, like=np.empty(size, dtype)):
        for step, (g, weight, loss, stop) in enumerate(found):
            expected = tree_sum(some(steps[step], size, dtype, seed=step), leaves)
            assert stop is (step == 0)
            assert g.dtype == dtype
            assert (g == expected.g).all()
            assert (weight, loss) == (expected.weight, expected.loss)


@pytest.mark.parametrize("workers", [2, 3, 4, 8])
def test_what_is_tried_has_both_ways_of_the_exchange(workers: int) -> None:
    ways = {in_one(workers, size * np.dtype(d).itemsize) for size, d in ((1, "f8"), (60_001, "f4"))}
    assert ways == {True, False}


def test_the_first_failure_is_told_to_all() -> None:
    def act(mesh: Mesh, mine: range, rank: int) -> Any:
        sums = some(list(mine), 3)
        for k in {2, 3} & set(mine):
            sums[k].failure = Failure(9, k, "z" if k == 2 else "gradient")
        return mesh.sum(sums, range(4), 4, 0)[0].failure

    for failure in together(4, 4, 3, act):
        assert (failure.layer, failure.what) == (2, "z")


def test_a_worker_that_is_gone() -> None:
    def act(mesh: Mesh, mine: range, rank: int) -> Any:
        if rank == 1:
            return None
        with pytest.raises(PeerError, match="worker 1 is gone"):
            mesh.sum(some(list(mine), 100_000), range(3), 3, 0)
        return True

    assert together(2, 3, 100_000, act) == [True, None]


def test_a_worker_that_is_silent() -> None:
    over = threading.Event()

    def act(mesh: Mesh, mine: range, rank: int) -> Any:
        if rank == 1:
            return over.wait(30)
        with pytest.raises(PeerError, match="nothing from worker 1 for"):
            mesh.sum(some(list(mine), 100), range(2), 2, 0)
        over.set()
        return True

    assert together(2, 2, 100, act, timeout=0.2) == [True, True]


# Of the bytes of both workers the first 80 or so greet; halves of 60,001 numbers follow, and sums.
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("after", [20_000, 100_000, 238_000, 260_000, 450_000])
@pytest.mark.parametrize("way", ["cut", "hold"])
def test_a_connection_that_is_cut_or_hangs(after: int, way: str, dtype: str) -> None:
    def act(mesh: Mesh, mine: range, rank: int) -> Any:
        try:
            return mesh.sum(some(list(mine), 60_001, dtype), range(4), 4, 0)[0].g
        except PeerError as error:
            return str(error)

    like = np.empty(60_001, dtype)
    count = after * like.itemsize // 4

    def between(proxy: Proxy) -> None:
        proxy.after(count, getattr(proxy, way))

    found = together(2, 4, 60_001, act, between, like=like, timeout=0.5)
    assert any(isinstance(result, str) for result in found)
    expected = tree_sum(some([0, 1, 2, 3], 60_001, dtype), 4).g
    for rank, result in enumerate(found):
        if isinstance(result, str):
            assert f"worker {1 - rank}" in result
        else:
            assert (result == expected).all()


@pytest.mark.parametrize("way", ["cut", "hold"])
def test_a_connection_that_is_cut_before_it_says_whose(way: str) -> None:
    def act(mesh: Mesh, mine: range, rank: int) -> None:
        with pytest.raises(PeerError, match="worker 0"):
            mesh.sum(some(list(mine), 3), range(2), 2, 0)

    with pytest.raises(PeerError, match="not all workers have come within"):
        together(2, 2, 3, act, lambda p: p.after(5, getattr(p, way)), timeout=0.5)


@pytest.mark.parametrize("size", [3, 60_001])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\xff" * 1_000_000, "worker 1 is at step -1 of generation -1"),
        (b"\xff" * 10, "worker 1 is gone"),
        (b"", "worker 1 is gone"),
    ],
    ids=["garbage", "half a head", "nothing"],
)
def test_a_worker_that_greets_and_then(data: bytes, expected: str, size: int) -> None:
    with listening("127.0.0.1") as listener:
        port = listener.getsockname()[1]
        other = tuned(socket.create_connection(("127.0.0.1", port)), 5.0)

        def talk() -> None:
            with other, contextlib.suppress(OSError):
                send(other, "peer", rank=1, secret=SECRET, generation=1)
                other.sendall(data)
                other.shutdown(socket.SHUT_WR)
                while other.recv(4096):
                    pass

        thread = threading.Thread(target=talk)
        thread.start()
        peers = [Peer("127.0.0.1", port, range(1)), Peer("127.0.0.1", 1, range(1, 2))]
        mesh = Mesh(0, peers, listener, SECRET, 1, 5.0, np.empty(size))
        with pytest.raises(PeerError, match=expected):
            mesh.sum({0: Sums(1.0, 2.0, np.ones(size))}, range(2), 2, 0)
        mesh.close()
        thread.join()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((1, 0, 0, 1.0, 1.0, 0, 0), None),
        ((2, 0, 0, 1.0, 1.0, 0, 0), "worker 1 is at step 0 of generation 2"),
        ((1, 7, 0, 1.0, 1.0, 0, 0), "worker 1 is at step 7 of generation 1"),
        ((1, 0, 0, 1.0, 1.0, 0, 6), "worker 1 says what does not belong here"),
        ((1, 0, 0, 1.0, 1.0, 0, -1), "worker 1 says what does not belong here"),
    ],
)
def test_what_a_worker_says(words: tuple[Any, ...], expected: str | None) -> None:
    with listening("127.0.0.1") as listener:
        port = listener.getsockname()[1]
        with tuned(socket.create_connection(("127.0.0.1", port)), 5.0) as other:
            send(other, "peer", rank=1, secret=SECRET, generation=1)
            other.sendall(struct.pack("<qqqddqq", *words) + np.ones(3).tobytes())
            peers = [Peer("127.0.0.1", port, range(1)), Peer("127.0.0.1", 1, range(1, 2))]
            mesh = Mesh(0, peers, listener, SECRET, 1, 5.0, np.empty(3))
            mine = {0: Sums(1.0, 2.0, np.arange(3.0))}
            if expected is None:
                total, _ = mesh.sum(mine, range(2), 2, 0)
                assert (total.weight, total.loss, list(total.g)) == (2.0, 3.0, [1.0, 2.0, 3.0])
            else:
                with pytest.raises(PeerError, match=expected):
                    mesh.sum(mine, range(2), 2, 0)
            mesh.close()


def test_a_worker_at_another_step() -> None:
    def act(mesh: Mesh, mine: range, rank: int) -> Any:
        with pytest.raises(PeerError, match="at step"):
            mesh.sum(some(list(mine), 100), range(2), 2, rank)
        return True

    assert together(2, 2, 100, act) == [True, True]


def test_a_step_that_is_called_off() -> None:
    ours, theirs = socket.socketpair()
    over = threading.Event()

    def act(mesh: Mesh, mine: range, rank: int) -> Any:
        if rank == 1:
            return over.wait(30)
        theirs.send(b"x")
        with pytest.raises(CalledOffError):
            mesh.sum(some(list(mine), 100), range(2), 2, 0)
        over.set()
        return True

    with ours, theirs:
        found = together(2, 2, 100, act, coordinator=ours, called_off=lambda: True)
    assert found == [True, True]


def message(text: str | bytes, mark: bytes = b"crd1") -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return mark + struct.pack("<I", len(data)) + data


def hello(**fields: Any) -> bytes:
    known = {"kind": "peer", "arrays": [], "rank": 1, "secret": SECRET, "generation": 2}
    return message(json.dumps(known | fields))


STRANGERS = {
    "another secret": hello(secret="guessed"),
    "an earlier meeting": hello(generation=1),
    "a later meeting": hello(generation=3),
    "a rank that is not awaited": hello(rank=0),
    "a rank that there is not": hello(rank=2),
    "an infinite rank": hello(rank=float("inf")),
    "no rank": hello(rank=None),
    "a field too many": hello(host="here"),
    "an array that fills the memory": hello(arrays=[["a", "<f8", [1 << 40]]]),
    "another kind": hello(kind="hello"),
    "no kind": message("{}"),
    "a list": message("[1, 2]"),
    "a number": message("1"),
    "a deep list": message("[" * 4000),
    "too long": message("[" * 5000),
    "half a message": hello()[:20],
    "nothing": b"",
    "no text": message(b"\xff\xfe"),
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "another mark": message("{}", b"crd9"),
}


def test_strangers_are_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the worker that knocks after all of them is let in."""
    monkeypatch.setattr(messages, "_PATIENCE", 0.1)
    with listening("127.0.0.1") as listener, contextlib.ExitStack() as opened:
        port = listener.getsockname()[1]

        def knocking(data: bytes) -> socket.socket:
            sock = opened.enter_context(socket.create_connection(("127.0.0.1", port)))
            tuned(sock, 5.0).sendall(data)
            return sock

        strangers = {name: knocking(data) for name, data in STRANGERS.items()}
        knocking(hello())
        peers = [Peer("127.0.0.1", port, range(1)), Peer("127.0.0.1", 1, range(1, 2))]
        mesh = Mesh(0, peers, listener, SECRET, 2, 20.0, np.empty(1))
        mesh.close()
        for name, sock in strangers.items():
            try:
                answer = sock.recv(1)
            except ConnectionError:
                continue
            assert answer == b"", name


def test_a_stranger_that_says_little_by_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "_PATIENCE", 0.2)
    ours, theirs = socket.socketpair()
    over = threading.Event()

    def drip() -> None:
        with contextlib.suppress(OSError):
            for byte in itertools.cycle(hello()[:100]):
                theirs.send(bytes([byte]))
                if over.wait(0.01):
                    return

    thread = threading.Thread(target=drip)
    with ours, theirs:
        thread.start()
        with pytest.raises(PeerError):
            messages.greeted(ours)
        over.set()
        thread.join()


def test_nobody_listens() -> None:
    with listening("127.0.0.1") as gone:
        port = gone.getsockname()[1]
    peers = [Peer("127.0.0.1", port, range(1)), Peer("127.0.0.1", 1, range(1, 2))]
    with listening("127.0.0.1") as listener, pytest.raises(PeerError, match="can't be reached"):
        Mesh(1, peers, listener, SECRET, 1, 1.0, np.empty(1))


def test_a_meeting_that_is_called_off_while_others_are_awaited() -> None:
    ours, theirs = socket.socketpair()
    with listening("127.0.0.1") as listener, ours, theirs:
        peers = [Peer("127.0.0.1", 1, range(1)), Peer("127.0.0.1", 1, range(1, 2))]
        with pytest.raises(PeerError, match="not all workers have come"):
            Mesh(0, peers, listener, SECRET, 1, 0.1, np.empty(1), ours)
        theirs.send(b"x")
        with pytest.raises(CalledOffError):
            Mesh(0, peers, listener, SECRET, 1, 20.0, np.empty(1), ours, lambda: True)


def test_messages() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(5.0)
        arrays = {"a": np.arange(6.0).reshape(2, 3)[:, ::2], "none": np.empty((0, 4), "float32")}
        send(ours, "shard", arrays, k=3, name="é")
        kind, fields, found = receive(theirs)
        assert (kind, fields) == ("shard", {"k": 3, "name": "é"})
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype
        send(ours, "shard", {"text": np.array(["x"])})
        with pytest.raises(PeerError, match="array of <U1"):
            receive(theirs)
        ours.close()
        with pytest.raises(PeerError):
            receive(theirs)


def test_slices_cover_a_vector() -> None:
    for size in (1, 17, 1000):
        for parts in (2, 3, 8):
            cuts = exchange._cuts(size, 4, parts)
            assert (cuts[0], cuts[-1], cuts) == (0, size, sorted(cuts))
