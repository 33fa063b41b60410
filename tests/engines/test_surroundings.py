"""The native engine among forks, threads, memory maps, processors and environments."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.engines import compiled
from chainrule.engines.reference import ReferenceEngine
from tests.engines.runs import train

_native = pytest.importorskip("chainrule.engines._native", reason="a pure Python installation")
from chainrule.engines.native import NativeEngine  # noqa: E402
from tests.engines.native_runs import ISAS, agree  # noqa: E402


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork() -> None:
    """A child of a process with sleeping threads trains on threads of its own."""
    sizes, options = [64, 64, 32, 10], {"batch": 32, "n": 96, "epochs": 5}
    expected = train(NativeEngine(2), sizes, **options)[0].parameters
    child = os.fork()
    if child == 0:
        ok = False
        try:
            ok = np.array_equal(train(NativeEngine(2), sizes, **options)[0].parameters, expected)
        finally:
            os._exit(0 if ok else 1)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            assert status == 0
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the child hung")


def test_two_python_threads_at_once() -> None:
    expected = train(NativeEngine(2), [64, 64, 32, 10], batch=32, n=96, epochs=20)[0].parameters
    found: list[Any] = []
    workers = [
        threading.Thread(
            target=lambda: found.append(
                train(NativeEngine(2), [64, 64, 32, 10], batch=32, n=96, epochs=20)[0].parameters
            )
        )
        for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(np.array_equal(p, expected) for p in found)
    assert len(found) == 3


def test_threads_that_train_predict_and_explain() -> None:
    """Each has a network of its own and asks one that all share; nobody's numbers change."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(60, 9)), rng.normal(size=(60, 2))
    shared = cr.Network([9, 12, 2], hidden="tanh", seed=1, threads=2)

    def work(seed: int) -> tuple[Any, Any, float]:
        own = cr.Network([9, 12, 2], hidden="tanh", seed=seed, threads=2)
        own.fit(X, Y, epochs=5, batch_size=10, verbose=0)
        why = shared.explain("w[1][3,7]", X[seed], Y[seed])
        assert why.certificate.passed
        return own.parameters.copy(), shared.predict(X[seed:]), float(why.value)

    expected = [work(seed) for seed in range(4)]
    start = threading.Barrier(4)
    found: dict[int, list[Any]] = {seed: [] for seed in range(4)}

    def run(seed: int) -> None:
        start.wait()
        found[seed].extend(work(seed) for _ in range(5))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        workers = [threading.Thread(target=run, args=(seed,)) for seed in found]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        sys.setswitchinterval(before)
    for seed, (parameters, prediction, value) in enumerate(expected):
        assert len(found[seed]) == 5
        for p, predicted, v in found[seed]:
            assert np.array_equal(p, parameters)
            assert np.array_equal(predicted, prediction)
            assert v == value


def test_memory_map(tmp_path: Path) -> None:
    X = np.lib.format.open_memmap(tmp_path / "X.npy", mode="w+", dtype="float32", shape=(1000, 30))
    X[...] = np.random.default_rng(0).normal(size=X.shape)
    X.flush()
    maps = np.load(tmp_path / "X.npy", mmap_mode="r")
    nets = [cr.Network([30, 20, 1], dtype="float32", seed=0) for _ in range(2)]
    for net, given in zip(nets, (maps, np.array(X)), strict=True):
        net.fit(given, given[:, :1], epochs=2, verbose=0)
    assert np.array_equal(nets[0].parameters, nets[1].parameters)


@pytest.mark.parametrize("dtype", ["float16", ">f4"])
def test_memory_map_of_another_dtype(dtype: str, tmp_path: Path, monkeypatch: Any) -> None:
    """It is converted piece by piece, never whole."""
    X = np.random.default_rng(0).normal(size=(1000, 30)).astype(dtype)
    maps = np.memmap(tmp_path / "X", mode="w+", dtype=dtype, shape=X.shape)
    maps[...] = X
    nets = [cr.Network([30, 20, 1], dtype="float32", seed=0) for _ in range(2)]
    nets[0].fit(X.astype("float32"), X[:, :1].astype("float32"), epochs=2, verbose=0)
    expected = nets[0].predict(X.astype("float32"))

    lengths = []

    def convert(array: Any, dtype: Any) -> Any:
        lengths.append(len(array))
        return real(array, dtype)

    real = compiled._converted
    monkeypatch.setattr(compiled, "_CONVERTED", 100)
    monkeypatch.setattr(compiled, "_converted", convert)
    nets[1].fit(maps, maps[:, :1], epochs=2, verbose=0)
    found = NativeEngine(2).predict(nets[1], maps)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert lengths == [100] * 10


def environment(**variables: str) -> subprocess.CompletedProcess[str]:
    code = """
import chainrule as cr, numpy as np
X = np.zeros((8, 2))
cr.Network([2, 70, 1]).fit(X, X[:, :1], epochs=1, verbose=0)
from chainrule.engines import _native as core
print(core.instruction_set(), core.default_threads())
"""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )


@pytest.mark.skipif(
    not Path("/proc/cpuinfo").exists() or platform.machine() != "x86_64",
    reason="only Linux on x86 lists what the processor has",
)
def test_the_core_finds_what_the_processor_has() -> None:
    """By its own question, which no compiler's runtime library answers."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    flags = set(next(line for line in lines if line.startswith("flags")).split(":")[1].split())
    avx2 = {"avx2", "fma"} <= flags
    avx512 = avx2 and {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= flags
    assert ["avx512"] * avx512 + ["avx2"] * avx2 + ["baseline"] == ISAS
    assert _native.instruction_set() == (os.environ.get("CHAINRULE_ISA") or ISAS[0])


def test_forcing_an_instruction_set_while_others_train() -> None:
    """The one that is in use is read by all threads; a run keeps the one that it began with."""
    stop = threading.Event()

    def force() -> None:
        while not stop.is_set():
            for name in (*ISAS, None):
                _native.force_instruction_set(name)

    forcing = threading.Thread(target=force)
    forcing.start()
    try:
        for _ in range(20):
            agree([4, 7, 3], hidden="tanh", epochs=5)
            net = cr.Network([13, 37, 5], seed=0)
            exact = ReferenceEngine().predict(net, np.ones((9, 13)))
            np.testing.assert_allclose(net.predict(np.ones((9, 13))), exact, rtol=1e-10)
    finally:
        stop.set()
        forcing.join()
        _native.force_instruction_set(None)


@pytest.mark.parametrize("name", ISAS)
def test_environment_forces_an_instruction_set(name: str) -> None:
    done = environment(CHAINRULE_ISA=name, CHAINRULE_NUM_THREADS="3")
    assert done.stdout.split() == [name, "3"], done.stderr


def test_environment_is_checked() -> None:
    assert "CHAINRULE_ISA is 'mmx'; known:" in environment(CHAINRULE_ISA="mmx").stderr
    assert "CHAINRULE_NUM_THREADS is 'x'" in environment(CHAINRULE_NUM_THREADS="x").stderr


def test_environment_is_checked_before_anything_starts(monkeypatch: Any) -> None:
    class Started(cr.Callback):
        def on_start(self, run: Any) -> None:
            raise AssertionError("too late")

    X = np.zeros((8, 2))
    for name, wrong in (("CHAINRULE_NUM_THREADS", "2000"), ("CHAINRULE_NUM_THREADS", "0")):
        monkeypatch.setenv(name, wrong)
        with pytest.raises(ValueError, match=f"{name} is '{wrong}'; expected a number of threads"):
            cr.Network([2, 1], seed=0).fit(X, X[:, :1], verbose=0, callbacks=[Started()])
