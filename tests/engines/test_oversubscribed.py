"""More threads than cores: the same bits, and nobody waits for ever."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from tests.engines.runs import train

_native = pytest.importorskip("chainrule.engines._native", reason="a pure Python installation")
from chainrule.engines.native import NativeEngine  # noqa: E402

CASES: list[tuple[list[int], dict[str, Any]]] = [
    ([64, 64, 32, 10], {"batch": 128}),  # by samples, dW by halves of the batch
    # two threads with parameters of their own; the last batches have 44 samples, or one
    ([64, 64, 32, 10], {"batch": 128, "l2": 0.01, "optimizer": cr.Adam(0.01)}),
    ([32] * 8, {"batch": 299, "hidden": "silu", "optimizer": cr.RMSProp(0.01)}),
    ([64, 64, 32, 10], {"batch": 128, "clip": 0.1, "optimizer": cr.Adam(0.01)}),
    ([100, 300, 200, 3], {"batch": 64, "dropout": 0.3, "l2": 0.01}),  # by units
    ([64, 300, 200, 3], {"batch": 280}),  # many samples: by samples, whatever the size
    ([40, 70, 33], {"batch": 130, "hidden": "gelu"}),
]


@pytest.mark.parametrize(("sizes", "options"), CASES, ids=lambda part: str(part)[:40])
@pytest.mark.parametrize("threads", [2, 3, 4, 5, 7, 16, 33, 64])
def test_same_bits(sizes: list[int], options: dict[str, Any], threads: int) -> None:
    options = {"hidden": "tanh", **options, "n": 300, "epochs": 2, "dtype": "float32"}
    alone, many = (train(NativeEngine(t, exactly=True), sizes, **options) for t in (1, threads))
    assert np.array_equal(alone[0].parameters, many[0].parameters)
    assert alone[1] == many[1]
    assert np.array_equal(alone[2], many[2])


def test_several_networks_at_once_with_more_threads_than_cores() -> None:
    X = np.random.default_rng(0).normal(size=(256, 64)).astype("float32")
    found: dict[int, Any] = {}

    def run(i: int) -> None:
        net = cr.Network([64, 64, 32, 10], seed=i, dtype="float32", threads=5 + i)
        for _ in range(3):
            net.fit(X, X[:, :10], epochs=2, batch_size=64, verbose=0)
            found[i] = net.predict(X), net.parameters.copy()

    workers = [threading.Thread(target=run, args=(i,)) for i in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert not worker.is_alive()
    for i in range(6):
        net = cr.Network([64, 64, 32, 10], seed=i, dtype="float32", threads=1)
        for _ in range(3):
            net.fit(X, X[:, :10], epochs=2, batch_size=64, verbose=0)
        assert np.array_equal(found[i][1], net.parameters)
        assert np.array_equal(found[i][0], net.predict(X))


@pytest.mark.parametrize("threads", [1, 2, 5, 40])
def test_threads_meet(threads: int) -> None:
    assert 0 < _native.meeting_seconds(threads, 20) < 10


def test_arrays_are_read_by_more_threads_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_NUM_THREADS", "37")
    array = np.random.default_rng(0).normal(size=(1500, 1001))
    out = np.empty(array.shape, "float32")
    assert _native.read(array, out, True) == _native.DONE
    np.testing.assert_array_equal(out, array.astype("float32"))
