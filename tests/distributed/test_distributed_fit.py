"""One network on real clusters of this machine: the bits of one process, whatever happens."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import distributed
from chainrule.distributed import coordinator, messages
from chainrule.places.place import NoWorkersError
from tests.clusters import ENGINES
from tests.distributed.proxy import Proxy
from tests.distributed.workers import working
from tests.settings import DTYPES

N = 203
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(N, 5)), RNG.normal(size=(N, 2))
WEIGHTS = RNG.uniform(0, 2, size=N)
WEIGHTS[:60] = 0
OPTIMIZERS = [
    cr.GradientDescent(0.05), cr.GradientDescent(0.05, momentum=0.9),
    cr.GradientDescent(0.05, momentum=0.9, nesterov=True), cr.AdaGrad(0.05), cr.RMSProp(0.01),
    cr.Adam(0.01), cr.AdamW(cr.Cosine(0.01, epochs=3)),
]  # fmt: skip


def network(sizes: tuple[int, ...] = (5, 7, 2), **more: Any) -> cr.Network:
    return cr.Network(sizes, hidden="tanh", seed=3, **more)


HOW: dict[str, Any] = {"epochs": 3, "batch_size": 24, "micro_batches": 6, "verbose": 0}


def assert_as_here(net: cr.Network, history: Any, here: cr.Network, alone: Any) -> None:
    np.testing.assert_array_equal(net.parameters, here.parameters)
    for column in alone:
        if column != "seconds":
            assert history[column] == alone[column], column


@pytest.mark.parametrize("on", ENGINES, indirect=True)
@pytest.mark.parametrize("workers", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_number_of_workers_gives_the_bits_of_one_machine(
    dtype: str, workers: int, on: Any
) -> None:
    more = {
        "clip_norm": 0.5, "metrics": ["mean_squared_error"],
        "validation_data": (X[:50], Y[:50]), "optimizer": OPTIMIZERS[-1],
    }  # fmt: skip
    here, net = (network(dtype=dtype, l2=0.01, dropout=0.2) for _ in range(2))
    alone = here.fit(X, Y, sample_weight=WEIGHTS, **HOW, **more)
    history = distributed.fit(net, (X, Y, WEIGHTS), on=on, workers=workers, **HOW, **more)
    assert_as_here(net, history, here, alone)


@pytest.mark.parametrize("on", ENGINES, indirect=True)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_every_optimizer(optimizer: Any, on: Any) -> None:
    here = network(dtype="float32")
    alone = here.fit(X, Y, optimizer=optimizer, **HOW)
    for workers in (1, 2, 3, 4):
        net = network(dtype="float32")
        history = distributed.fit(net, (X, Y), on=on, workers=workers, optimizer=optimizer, **HOW)
        assert_as_here(net, history, here, alone)


@pytest.mark.parametrize("on", ENGINES, indirect=True)
def test_what_a_step_costs_is_said_first(on: Any, capsys: pytest.CaptureFixture[str]) -> None:
    here, net = network(dropout=0.2), network(dropout=0.2)
    alone = here.fit(X, Y, sample_weight=WEIGHTS, **HOW)
    history = distributed.fit(net, (X, Y, WEIGHTS), on=on, workers=2, **{**HOW, "verbose": 1})
    assert_as_here(net, history, here, alone)  # trying steps changes nothing
    said = capsys.readouterr().err
    assert re.match(
        r"5-7-2, batch 24, 2 workers: about [\d.,]+ ms a step, of which the exchange takes "
        r"\d+%; one machine would take [\d.,]+ ms",
        said,
    ), said


@pytest.mark.parametrize("on", ENGINES[:1], indirect=True)
@pytest.mark.parametrize("n", [1, 5, 13])
def test_shards_without_rows_and_classes(n: int, on: Any) -> None:
    classes = np.arange(n) % 3
    here, net = (
        cr.Network([5, 4, 3], output="softmax", loss="cross_entropy", seed=1) for _ in range(2)
    )
    alone = here.fit(X[:n], classes, shuffle=False, **HOW)
    history = distributed.fit(net, (X[:n], classes), on=on, workers=4, shuffle=False, **HOW)
    assert_as_here(net, history, here, alone)


@pytest.mark.parametrize("on", ENGINES[:1], indirect=True)
def test_a_long_vector_and_a_memory_map(on: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    here, net = network((5, 200, 200, 2)), network((5, 200, 200, 2))
    alone = here.fit(X, Y, **HOW)
    history = distributed.fit(net, (mapped, Y), on=on, workers=3, **HOW)
    assert_as_here(net, history, here, alone)


@pytest.mark.parametrize("on", ENGINES[:1], indirect=True)
def test_early_stopping_callbacks_and_resuming(on: Any, tmp_path: Path) -> None:
    """A run goes from the workers to this machine and back, and is decided in this process."""
    more = {**HOW, "validation_data": (X[:50], Y[:50])}
    here = network()
    alone = here.fit(X, Y, callbacks=[cr.EarlyStopping(patience=2)], **{**more, "epochs": 200})
    assert len(alone.loss) < 200
    net, seen = network(), list[int]()
    for epochs, where in ((4, on), (9, None), (200, on)):
        history = distributed.fit(
            net, (X, Y), on=where, workers=2, checkpoint=tmp_path, resume=True,
            callbacks=[cr.EarlyStopping(patience=2), lambda run: seen.append(run.epoch)],
            **{**more, "epochs": epochs},
        )  # fmt: skip
    assert_as_here(net, history, here, alone)
    assert seen == list(range(1, len(alone.loss) + 1))
    assert history.stop_reason == alone.stop_reason


@pytest.mark.parametrize("on", ENGINES, indirect=True)
def test_what_is_not_finite_is_named_and_nothing_changes(on: Any) -> None:
    wrong = X.copy()
    wrong[150] = 1e200
    errors = []
    for fit in (
        lambda net, **how: net.fit(wrong, Y, **how),
        lambda net, **how: distributed.fit(net, (wrong, Y), on=on, workers=3, **how),
    ):
        net = network((5, 2))
        before = net.parameters.copy()
        with pytest.raises(cr.NonFiniteError) as caught:
            fit(net, optimizer=cr.GradientDescent(1e150), **HOW)
        errors.append((str(caught.value), caught.value.step, caught.value.layer))
        assert np.isfinite(net.parameters).all()
        assert before.shape == net.parameters.shape
    assert errors[0] == errors[1]


class Trouble(cr.Callback):
    """Makes trouble for a worker in the middle of the epochs that follow some."""

    def __init__(self, act: Any, epochs: tuple[int, ...]) -> None:
        self.act, self.epochs, self.ended = act, epochs, perf_counter()
        self.going: threading.Timer | None = None

    def on_epoch_end(self, run: Any) -> None:
        if self.going is not None:  # the epoch was shorter than the one before
            self.going.join()
            self.going = None
        took, self.ended = perf_counter() - self.ended, perf_counter()
        if run.epoch in self.epochs:
            self.going = threading.Timer(took / 2, self.act)
            self.going.start()


@pytest.mark.parametrize("on", ENGINES, indirect=True)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_a_worker_that_is_lost_changes_nothing(how: signal.Signals, on: Any) -> None:
    """The training goes on without it, to the undisturbed bits."""
    long = {**HOW, "epochs": 12, "batch_size": 6}
    here, net = network((5, 40, 2)), network((5, 40, 2))
    alone = here.fit(X, Y, **long)
    hurt: list[int] = []

    def hurt_one() -> None:
        hurt.append(working(on)[-1])
        os.kill(hurt[-1], how)

    try:
        history = distributed.fit(
            net, (X, Y), on=on, workers=(1, 4), timeout=2.0,
            callbacks=[Trouble(hurt_one, (2,) if how == signal.SIGSTOP else (2, 6))], **long,
        )  # fmt: skip
    finally:
        for pid in hurt:
            if how == signal.SIGSTOP:
                os.kill(pid, signal.SIGCONT)
    assert hurt
    assert_as_here(net, history, here, alone)


@pytest.mark.parametrize("before", [0, 1])
def test_a_cluster_without_workers_is_waited_for_once_there_were_some(before: int) -> None:
    """An engine takes a second to start workers again, and counts none in the meantime."""
    closed = threading.Event()
    asked: list[int] = []

    class Here:
        def run(self, *_: object, **__: object) -> Any:
            asked.append(1)
            if before < len(asked) < before + 3:
                raise NoWorkersError("the cluster has no workers")
            if len(asked) > before + 3:
                closed.set()
            return iter([])

    class Head:
        trouble: BaseException | None = None

    coordinator._kept(Here(), None, 0, Head, closed)  # type: ignore[arg-type]
    assert isinstance(Head.trouble, NoWorkersError) == (before == 0)
    assert closed.is_set() == (before == 1)


def test_what_is_asked_wrongly() -> None:
    net = network()
    before = net.parameters.copy()
    for error, words, how in (
        (ValueError, "multiple of micro_batches", {"batch_size": 100}),
        (ValueError, r"\(least, most\), got \(3, 2\)", {"workers": (3, 2)}),
        (ValueError, "17 workers need as many micro-batches", {"workers": 17}),
        (ValueError, "number, or", {"workers": (1, 2, 3)}),
        (ValueError, "workers must be", {"workers": 0}),
        (ValueError, "timeout must be above 0", {"timeout": 0}),
        (ValueError, "on is 'slurm://here'", {"on": "slurm://here"}),
        (TypeError, "on is a int", {"on": 4}),
        (TypeError, "optimizer must be", {"optimizer": "adam"}),
    ):
        with pytest.raises(error, match=words):
            distributed.fit(net, (X, Y), **{"verbose": 0, **how})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"dataset must be \(X, y\)"):
        distributed.fit(net, X, verbose=0)  # type: ignore[arg-type]
    assert (net.parameters == before).all()


@pytest.mark.parametrize("on", ENGINES[:1], indirect=True)
def test_too_few_workers(on: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinator, "PATIENCE", 2.0)
    net = network()
    before = net.parameters.copy()
    with pytest.raises(RuntimeError, match="4 workers have come within 2 s; expected at least 6"):
        distributed.fit(net, (X, Y), on=on, workers=6, **HOW)
    assert (net.parameters == before).all()


@pytest.mark.parametrize("on", ENGINES[:1], indirect=True)
def test_workers_that_reach_the_head_and_not_each_other(
    on: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that says so, not meeting after meeting for ever."""

    class Walled(coordinator.Coordinator):
        def _take_in(self) -> None:
            before = len(self._workers)
            super()._take_in()
            for worker in self._workers[before:]:
                proxy = Proxy(worker.host, worker.port)
                proxy.hold()
                worker.port = proxy.port

    monkeypatch.setattr(coordinator, "Coordinator", Walled)
    monkeypatch.setattr(coordinator, "PATIENCE", 3.0)
    net = network()
    before = net.parameters.copy()
    with pytest.raises(
        RuntimeError, match=r"no step together for 3 s \(.*Let them reach each other"
    ):
        distributed.fit(net, (X, Y), on=on, workers=2, timeout=1.0, **HOW)
    assert (net.parameters == before).all()


LEAVES = """
import os, sys, threading
import numpy as np, psutil
import chainrule as cr
from chainrule import distributed

if __name__ == "__main__":
    X = np.random.default_rng(0).normal(size=(99, 3))
    net = cr.Network([3, 4, 3], seed=0)
    distributed.fit(net, (X, X), on=sys.argv[1], epochs=2, batch_size=8, micro_batches=4, verbose=0)
    me = psutil.Process()
    _, alive = psutil.wait_procs(me.children(recursive=True), timeout=30)
    own = [p for p in alive if "resource_tracker" not in " ".join(p.cmdline())]  # of Python
    print([p.cmdline() for p in own])
    print([c for c in me.net_connections() if c.status == "LISTEN"])
    print([t.name for t in threading.enumerate() if "_kept" in t.name])
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_is_left_behind(engine: str, tmp_path: Path) -> None:
    script, temporary = tmp_path / "script.py", tmp_path / "tmp"
    script.write_text(LEAVES)
    temporary.mkdir()
    run = subprocess.run(
        [sys.executable, script, f"{engine}://local:2"], capture_output=True, text=True,
        env=os.environ | {"TMPDIR": str(temporary)}, check=True, timeout=300,
    )  # fmt: skip
    assert run.stdout.split("\n") == ["[]", "[]", "[]", ""]
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("on", ENGINES[:1], indirect=True)
def test_two_trainings_at_once_do_not_meet(on: Any) -> None:
    nets = [network(), network()]
    found: dict[int, Any] = {}

    def train(i: int) -> None:
        found[i] = distributed.fit(
            nets[i], (X if i else -X, Y), on=on, workers=2, **{**HOW, "epochs": 6}
        )

    threads = [threading.Thread(target=train, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, net in enumerate(nets):
        here = network()
        alone = here.fit(X if i else -X, Y, **{**HOW, "epochs": 6})
        assert_as_here(net, found[i], here, alone)


def test_addresses() -> None:
    for host in messages.hosts():
        socket.inet_aton(host)
