"""A child of a fork finds every lock of the package open, whoever held it in the parent."""

from __future__ import annotations

import functools
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import _forks as forks
from chainrule import engines
from chainrule._forks import Lock, cached_property

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]
SOURCES = Path(cr.__file__).parent
X, Y = np.ones((5, 2)), np.zeros((5, 1))


def in_child(work: Callable[[], Any]) -> None:
    """Fork, work in the child, and fail where it hangs or does not end well."""
    child = os.fork()
    if child == 0:
        ended = 1
        try:
            work()
            ended = 0
        finally:
            os._exit(ended)
    deadline = time.monotonic() + 300  # of a busy machine; a child that is well ends at once
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            assert status == 0
            return
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail("the child hung")


@contextmanager
def held_by_a_thread(lock: AbstractContextManager[Any]) -> Iterator[None]:
    """Have another thread hold a lock while the block runs."""
    taken, over = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            taken.set()
            over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()
    try:
        yield
    finally:
        over.set()
        thread.join()


def use(lock: AbstractContextManager[Any]) -> None:
    with lock:
        pass


def test_a_lock_is_open_in_the_child_and_still_held_in_the_parent() -> None:
    lock = Lock()
    with held_by_a_thread(lock):
        in_child(lambda: use(lock))
        assert lock._lock.locked()
    use(lock)


def test_a_lock_that_the_child_holds_itself_stays_held() -> None:
    lock = Lock()

    def held() -> None:
        assert lock._lock.locked()

    with lock:
        in_child(held)
    child = 0
    with lock:  # a child that comes out of the block opens it
        child = os.fork()
    if child == 0:
        use(lock)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_a_cached_property_is_found_in_the_child() -> None:
    entered, over = threading.Event(), threading.Event()

    class Slow:
        def __init__(self, wait: bool) -> None:
            self.wait = wait

        @cached_property
        def value(self) -> int:
            if self.wait:
                entered.set()
                over.wait()
            return 7

    thread = threading.Thread(target=lambda: Slow(True).value)
    thread.start()
    entered.wait()
    try:
        in_child(lambda: [7].index(Slow(False).value))
    finally:
        over.set()
        thread.join()
    assert Slow(False).value == 7
    if sys.version_info >= (3, 12):
        assert cached_property is functools.cached_property


def test_predictors_and_trainers_of_the_native_engine() -> None:
    native = pytest.importorskip("chainrule.engines.native", reason="a pure Python installation")
    engine = engines._ENGINES["native"]
    assert isinstance(engine, native.NativeEngine)
    known = cr.Network([2, 3, 1], seed=0)
    expected = known.predict(X)
    known.fit(X, Y, epochs=1, verbose=0)

    def work() -> None:
        known.predict(X)
        known.fit(X, Y, epochs=1, verbose=0)
        assert (cr.Network([2, 3, 1], seed=0).predict(X) == expected).all()

    with held_by_a_thread(engine._lock):
        in_child(work)
    _, busy = engine._trainers[known][0][2]
    with held_by_a_thread(busy):
        in_child(work)
    work()


def test_fork_during_a_prediction_of_another_thread() -> None:
    """The core has a mutex of its own in each predictor, which the child must not meet."""
    net = cr.Network([64, 256, 256, 1], seed=0)
    many = np.random.default_rng(0).normal(size=(20_000, 64))
    expected = net.predict(many[:3])
    net.predict(many[:1])
    over, running = threading.Event(), threading.Event()

    def predict() -> None:
        while not over.is_set():
            running.set()
            net.predict(many)

    thread = threading.Thread(target=predict)
    thread.start()

    def work() -> None:
        assert (net.predict(many[:3]) == expected).all()

    try:
        for _ in range(5):
            running.clear()
            running.wait()
            in_child(work)
    finally:
        over.set()
        thread.join()
    work()


def test_a_fork_during_a_run_with_checkpoints_lets_go_of_the_folder(tmp_path: Path) -> None:
    """A child that lives on must not keep the folder from the next run."""
    net = cr.Network([2, 3, 1], seed=0)
    ready, over = os.pipe(), os.pipe()
    children: list[int] = []

    def fork(run: Any) -> None:
        child = os.fork()
        if child == 0:
            os.write(ready[1], b"x")
            os.close(over[1])
            os.read(over[0], 1)
            os._exit(0)
        children.append(child)

    try:
        options: dict[str, Any] = {"checkpoint": tmp_path, "verbose": 0}
        net.fit(X, Y, epochs=1, callbacks=[fork], **options)
        assert os.read(ready[0], 1) == b"x"
        net.fit(X, Y, epochs=2, resume=True, **options)
    finally:
        os.write(over[1], b"x")
        for child in children:
            os.waitpid(child, 0)
        for end in (*ready, *over):
            os.close(end)


def test_the_explorers_locks() -> None:
    web = pytest.importorskip("chainrule.explorer.hosts.sessions")
    from chainrule.explorer.session import Session

    sessions = web.Sessions(lambda: Session())
    name, hosted = sessions.open()
    for lock in (sessions._lock, hosted.lock):
        with held_by_a_thread(lock):
            in_child(lambda: use(sessions.get(name).lock))


def test_no_other_lock_is_in_the_package() -> None:
    """A new one is a `forks.Lock`, or it hangs somebody's worker one day."""
    others = re.compile(
        r"\b(threading\.(R?Lock|Condition|Semaphore)|functools import .*cached_prop)"
    )
    found = {
        path.relative_to(SOURCES).as_posix()
        for path in SOURCES.rglob("*.py")
        if others.search(path.read_text(encoding="utf-8"))
    }
    assert found == {"_forks.py", "engines/instance.py"}  # of a page, which does not fork


def test_things_are_let_go_of() -> None:
    """What is registered lives no longer for that."""
    before = len(forks._registered)
    locks = [Lock() for _ in range(10)]
    assert len(forks._registered) == before + 10
    del locks
    assert len(forks._registered) <= before
