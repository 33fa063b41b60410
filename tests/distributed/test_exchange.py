"""The sum over workers: threads that are connected as workers are, on this machine."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.distributed import exchange
from chainrule.distributed.exchange import CalledOffError, Mesh, Peer
from chainrule.distributed.messages import PeerError, listening, receive, send, tuned
from chainrule.engines import Failure
from chainrule.engines.micro import Sums, folded, tree_sum

SECRET = "known to all"


def some(leaves: list[int], size: int, dtype: str = "float32") -> dict[int, Sums]:
    rng = np.random.default_rng(7)
    numbers = {k: rng.normal(size=size) * 10.0 ** rng.integers(-6, 6) for k in range(64)}
    return {k: Sums(k + 0.1, k * 1.7, numbers[k].astype(dtype)) for k in leaves}


def together(
    count: int, leaves: int, size: int, act: Callable[[Mesh, range, int], Any], **more: Any
) -> list[Any]:
    """Return what each of so many connected workers makes of its mesh."""
    listeners = [listening("127.0.0.1") for _ in range(count)]
    shares = [range(r * leaves // count, (r + 1) * leaves // count) for r in range(count)]
    peers = [
        Peer("127.0.0.1", sock.getsockname()[1], mine)
        for sock, mine in zip(listeners, shares, strict=True)
    ]
    how = {"timeout": 20.0, "like": np.empty(size, "float32"), **more}

    def work(rank: int) -> Any:
        mesh = Mesh(rank, peers, listeners[rank], SECRET, 1, **how)
        try:
            return act(mesh, shares[rank], rank)
        finally:
            mesh.close()

    try:
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(work, range(count)))
    finally:
        for sock in listeners:
            sock.close()


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
@pytest.mark.parametrize("size", [1, 5000, 40_001])
def test_all_get_the_bits_of_one_machine(count: int, leaves: int, size: int) -> None:
    taken = list(range(leaves - 2))  # the last shards have no rows left
    expected = tree_sum(some(taken, size), leaves)

    def act(mesh: Mesh, mine: range, rank: int) -> Any:
        sums = some([k for k in taken if k in mine], size)
        first = mesh.sum(sums, taken, leaves, 5, stop=rank == count - 1)
        again = mesh.sum(some([k for k in taken if k in mine], size), taken, leaves, 6)
        return first, again

    for (total, stop), (again, goes_on) in together(count, leaves, size, act):
        assert stop
        assert not goes_on
        assert (total.g == expected.g).all()
        assert (again.g == expected.g).all()
        assert (total.weight, total.loss) == (expected.weight, expected.loss)


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


def test_strangers_are_sent_away() -> None:
    """Another secret, an earlier meeting, and what is no message at all."""
    with listening("127.0.0.1") as listener:
        port = listener.getsockname()[1]
        strangers = []
        for secret, generation in (("guessed", 2), (SECRET, 1)):
            sock = tuned(socket.create_connection(("127.0.0.1", port)), 5.0)
            send(sock, "peer", rank=1, secret=secret, generation=generation)
            strangers.append(sock)
        sock = tuned(socket.create_connection(("127.0.0.1", port)), 5.0)
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        strangers.append(sock)
        friend = tuned(socket.create_connection(("127.0.0.1", port)), 5.0)
        send(friend, "peer", rank=1, secret=SECRET, generation=2)
        peers = [Peer("127.0.0.1", port, range(1)), Peer("127.0.0.1", 1, range(1, 2))]
        mesh = Mesh(0, peers, listener, SECRET, 2, 5.0, np.empty(1))
        mesh.close()
        for sock in strangers:
            with pytest.raises(PeerError):
                receive(sock)
            sock.close()
        friend.close()


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
