"""How epochs of the native engine end: what is not finite, callbacks, Ctrl-C."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest

import chainrule as cr
from chainrule.engines.base import Epoch, Plan, State
from chainrule.engines.reference import ReferenceEngine
from chainrule.equations import data

_native = pytest.importorskip("chainrule.engines._native", reason="a pure Python installation")
from chainrule.engines.native import NativeEngine  # noqa: E402


@pytest.mark.parametrize("sizes", [[2, 3, 1], [20, 50, 1]], ids=str)
def test_failure_is_the_references(isa: str, sizes: list[int]) -> None:
    """A step that overflows is not applied, and the same step and layer are named."""
    X = np.random.default_rng(0).normal(size=(40, sizes[0]))
    results = []
    for engine in (NativeEngine(2), ReferenceEngine()):
        net = cr.Network(sizes, hidden="relu", seed=3)
        optimizer = cr.GradientDescent(50.0)
        state = State(slots={})
        epoch = Epoch(data.Samples(X, X[:, :1]), Plan(optimizer, 2), np.full(20, 50.0))
        result = engine.run_epoch(net, epoch, state)
        results.append((result.failure, result.steps, result.samples, state.step))
        assert np.isfinite(net.parameters).all()
    assert results[0][0] is not None
    assert results[0] == results[1]


def test_callback_at_most_every_50_ms() -> None:
    """Fewer calls than 50 ms go into the time it took, however busy the machine is."""
    X = np.random.default_rng(0).normal(size=(50_000, 20)).astype("float32")
    net = cr.Network([20, 60, 1], dtype="float32", seed=0)
    calls: list[int] = []

    def on_progress(steps: int, loss: float) -> bool:
        calls.append(steps)
        return False

    begun = time.perf_counter()
    plan = Plan(cr.GradientDescent(1e-4), 8)
    epoch = Epoch(data.Samples(X, X[:, :1]), plan, np.full(6250, 1e-4))
    result = NativeEngine(1).run_epoch(net, epoch, State(), on_progress)
    seconds = time.perf_counter() - begun
    assert result.steps == calls[-1] == 6250
    assert len(calls) <= seconds / 0.05 + 2  # the last is that at the epoch's end
    assert calls == sorted(set(calls))


def test_a_callback_can_stop_the_epoch() -> None:
    X = np.zeros((400_000, 20), "float32")
    net = cr.Network([20, 60, 1], dtype="float32", seed=0)
    plan = Plan(cr.GradientDescent(1e-4), 8)
    epoch = Epoch(data.Samples(X, X[:, :1]), plan, np.full(50_000, 1e-4))
    result = NativeEngine(1).run_epoch(net, epoch, State(), lambda steps, loss: True)
    assert result.stopped
    assert 0 < result.steps < 50_000


def test_a_callback_that_raises_ends_the_epoch() -> None:
    X = np.zeros((400_000, 20), "float32")
    net = cr.Network([20, 60, 1], dtype="float32", seed=0)

    plan = Plan(cr.GradientDescent(1e-4), 4)
    epoch = Epoch(data.Samples(X, X[:, :1]), plan, np.full(100_000, 1e-4))

    def on_progress(steps: int, loss: float) -> bool:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        NativeEngine(1).run_epoch(net, epoch, State(), on_progress)
    assert np.isfinite(net.parameters).all()


@pytest.mark.parametrize("clip", [None, 0.01])
def test_a_step_that_is_left_has_changed_nothing(clip: float | None) -> None:
    """Wherever in a long step the wish to stop falls, its update included."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(8192, 500)).astype("float32")
    samples, plan = data.Samples(X, X[:, :8]), Plan(cr.Adam(1e-3), 4096, clip)

    def stop_after(calls: int) -> Callable[[int, float], bool]:
        left = iter(range(calls))
        return lambda steps, loss: next(left, None) is None

    whole = []
    for steps in range(3):
        net = cr.Network([500, 1100, 1100, 8], dtype="float32", seed=0)
        state = State(slots=plan.optimizer.start(net.parameters))
        part = data.Samples(X[: 4096 * steps], X[: 4096 * steps, :8])
        if steps:
            NativeEngine(2).run_epoch(net, Epoch(part, plan, np.full(steps, 1e-3)), state)
        whole.append([net.parameters, *state.slots.values()])
    left = set()
    for calls in range(1, 12):
        net = cr.Network([500, 1100, 1100, 8], dtype="float32", seed=0)
        state = State(slots=plan.optimizer.start(net.parameters))
        epoch = Epoch(samples, plan, np.full(2, 1e-3))
        result = NativeEngine(2).run_epoch(net, epoch, state, stop_after(calls))
        left.add(result.steps)
        assert state.step == result.steps
        for found, expected in zip(
            [net.parameters, *state.slots.values()], whole[result.steps], strict=True
        ):
            assert np.array_equal(found, expected)
    assert 0 in left


LEFT = """
import sys, random
import numpy as np, chainrule as cr
from chainrule.equations import data
from chainrule.engines.base import Epoch, Plan, State
from chainrule.engines.native import NativeEngine
threads, trials = map(int, sys.argv[1:])
random.seed(0)
X = np.random.default_rng(0).normal(size=(12_800, 500)).astype("float32")
samples, plan = data.Samples(X, X[:, :8]), Plan(cr.GradientDescent(1e-3), 1024)
net = cr.Network([500, 800, 800, 8], dtype="float32", seed=0)
for trial in range(trials):
    calls = [random.randint(1, 3)]
    def on_progress(steps, loss):
        calls[0] -= 1
        return calls[0] <= 0
    epoch = Epoch(samples, plan, np.full(13, 1e-6))
    NativeEngine(threads).run_epoch(net, epoch, State(), on_progress)
print("all came back")
"""


@pytest.mark.parametrize("threads", [2, 4])
def test_all_threads_leave_a_step(threads: int) -> None:
    """Or none of them: one that stayed would wait for the others for ever."""
    done = subprocess.run(
        [sys.executable, "-c", LEFT, str(threads), "40"],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.stdout == "all came back\n", done.stderr


NESTED = """
import signal
import numpy as np, chainrule as cr
other, Z = cr.Network([256, 256, 10], dtype="float32", seed=1), np.ones((4000, 256), "float32")
expected, count = other.predict(Z), [0]
def handler(*_):
    count[0] += np.array_equal(other.predict(Z), expected)
    if timed:  # anew each time: a handler that is slow must not meet itself
        signal.setitimer(signal.ITIMER_REAL, 0.05)
signal.signal(signal.SIGALRM, handler)
X = np.ones((4096, 500), "float32")
net = cr.Network([500, 1600, 1600, 8], dtype="float32", seed=0)
timed = True
signal.setitimer(signal.ITIMER_REAL, 0.05)
net.fit(X, X[:, :8], batch_size=4096, epochs=3, verbose=0)
timed = False
signal.setitimer(signal.ITIMER_REAL, 0)
print(count[0] > 0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal there")
def test_a_signal_handler_may_predict_during_a_long_step() -> None:
    done = subprocess.run(
        [sys.executable, "-c", NESTED], capture_output=True, text=True, timeout=300
    )
    assert done.stdout == "True\n", done.stderr


INTERRUPTED = """
import os, signal, sys, threading, time
import numpy as np, chainrule as cr
sizes, (n, batch, v) = eval(sys.argv[1]), map(int, sys.argv[2:])
X = np.zeros((n, sizes[0]), "float32")
net = cr.Network(sizes, dtype="float32", seed=0, engine="native")
y = np.zeros((n, sizes[-1]), "float32")
def interrupt():
    time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGINT)
class Start(cr.Callback):
    def on_start(self, run):
        threading.Thread(target=interrupt, daemon=True).start()
h = net.fit(X, y, epochs=10**9, batch_size=batch, validation_data=(X[:v], y[:v]), verbose=0,
            callbacks=[Start()])
print(h.stop_reason)
"""


@pytest.mark.parametrize("case", [("[2,2,1]", "100000", "1", "100000"),
                                  ("[784,512,512,10]", "20000", "128", "20000"),
                                  ("[1024,4096,4096,1024]", "2048", "1024", "99")])  # fmt: skip
@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT can't be sent there")
def test_ctrl_c(case: tuple[str, ...]) -> None:
    """It ends a run of 10⁹ epochs; `benchmarks/interrupt.py` measures how soon."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *case], capture_output=True, text=True, timeout=300
    )
    assert (done.stdout, done.returncode) == ("interrupted\n", 0), done.stderr
