"""A training in a process of its own, whose faults are planted by `torture.py`.

It says on its standard output what happens, a line of JSON each, and does what it reads from its
standard input: `cut`, `hold` and `release` the connections to a worker in the middle of a vector,
`drop` the head's connection to one, `checkpoint` (stop in the middle of writing one), `stop`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

import chainrule as cr
from chainrule import distributed
from chainrule.distributed import coordinator
from chainrule.engines import go_on
from chainrule.storage import atomic
from chainrule.storage.atomic import atomic_file
from tests.distributed.proxy import Proxy

MIDDLE = 50_000  # bytes: less than a slice of the gradient that one worker sends to another
SETTINGS: dict[str, Any] = {"batch_size": 64, "micro_batches": 8, "verbose": 0}
SAID = 100  # the descriptor of what is said
_saying = threading.Lock()


def network() -> cr.Network:
    """What is trained."""
    return cr.Network([12, 200, 200, 2], hidden="tanh", seed=5, dropout=0.1, dtype="float32")


def data() -> tuple[Any, Any]:
    """What it is trained on."""
    X = np.random.default_rng(1).normal(size=(2000, 12))
    return X, np.sin(X[:, :2])


def written(folder: Path) -> distributed.Files:
    """The same in three files, unless they are there."""
    X, y = data()
    names = [f"x{j}" for j in range(X.shape[1])], ["y0", "y1"]
    for i, rows in enumerate(np.array_split(np.arange(len(X)), 3)):
        path = folder / f"{i}.parquet"
        if not path.exists():
            table = np.hstack([X, y])[rows].T
            columns = dict(zip(names[0] + names[1], table, strict=True))
            parquet.write_table(pa.table(columns), path, row_group_size=100)
    return distributed.Files(folder / "*.parquet", x=names[0], y=names[1])


def digest(net: cr.Network, losses: list[float]) -> str:
    """Return what must be the same at the end."""
    return hashlib.sha256(net.parameters.tobytes() + repr(losses).encode()).hexdigest()


def say(what: str, **more: Any) -> None:
    """Write a line."""
    line = json.dumps({"what": what, "at": time.monotonic(), **more})
    with _saying:
        os.write(SAID, f"{line}\n".encode())


class Watched(coordinator.Coordinator):
    """Says who works and how far it is, and leads the workers' connections through proxies."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.proxies: dict[int, Proxy] = {}
        self.pids: dict[int, int] = {}
        self.said = -1
        Faults.of = self

    def _take_in(self) -> None:
        before = list(self._workers)
        super()._take_in()
        for worker in self._workers:
            if not any(worker is old for old in before):
                self.pids[id(worker)] = pid_at(worker.port)
                with contextlib.suppress(OSError):  # it is on another host
                    self.proxies[id(worker)] = Proxy(worker.host, worker.port)
                    worker.port = self.proxies[id(worker)].port

    def _give_up(self, worker: Any) -> None:
        if proxy := self.proxies.pop(id(worker), None):
            proxy.close()
        super()._give_up(worker)

    def _begin(self, *given: Any) -> None:
        if self.said != self._generation:
            self.said = self._generation
            say("met", generation=self._generation, pids=[self.pids[id(w)] for w in self._met],
                hosts=[w.host for w in self._met])  # fmt: skip
        super()._begin(*given)

    def run_epoch(
        self,
        network: Any,
        epoch: Any,
        state: Any,
        on_progress: Callable[[int, float], bool] = go_on,
    ) -> Any:
        def seen(steps: int, loss: float) -> bool:
            say("step", generation=self._generation, epoch=epoch.number, step=steps)
            return on_progress(steps, loss)

        return super().run_epoch(network, epoch, state, seen)


def pid_at(port: int) -> int:
    """Return the process of this machine that listens at a port."""
    import psutil

    for each in psutil.net_connections("tcp"):
        if each.status == "LISTEN" and each.laddr.port == port and each.pid:
            return int(each.pid)
    return 0


class Faults(cr.Callback):
    """Does what it is told."""

    of: Watched

    def __init__(self) -> None:
        self.ending = self.in_checkpoint = False
        threading.Thread(target=self.listen, daemon=True).start()

    def on_epoch_end(self, run: Any) -> None:
        """End the run, if that was asked for."""
        if self.ending:
            run.stop("enough")

    def listen(self) -> None:
        """Read what to do; without anybody to say it, end."""
        for line in sys.stdin:
            with contextlib.suppress(Exception):
                self.act(line.strip())
        os.kill(os.getpid(), signal.SIGKILL)

    def act(self, word: str) -> None:
        """Do one thing."""
        met = list(self.of._met)
        if word == "stop":
            self.ending = True
        elif word == "checkpoint":
            self.in_checkpoint = True
        elif word in ("cut", "hold"):
            proxy = self.of.proxies[id(met[0])]  # all others are connected to it through this

            def act() -> None:
                proxy.cut() if word == "cut" else proxy.hold()
                threading.Timer(5.0, proxy.release).start()
                say("planted")

            proxy.after(MIDDLE, act)
        elif word == "release":
            for proxy in list(self.of.proxies.values()):
                proxy.release()
        elif word == "drop":
            say("planted")
            met[-1].sock.shutdown(2)

    @contextmanager
    def file(self, path: Any, prefix: str = "") -> Iterator[Any]:
        """Open a file as `atomic_file` does; of a checkpoint write only a half, if so told."""
        name = os.path.basename(path)
        with atomic_file(path, prefix) as file:
            half = self.in_checkpoint and name.startswith("epoch-")
            yield Half(file) if half else file
        if name.startswith("epoch-"):
            say("written", epoch=int(name[6:12]))


class Half:
    """A file of which only the first half is written, after which the process stands still."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def write(self, content: bytes) -> None:
        """Write half of it."""
        self.file.write(content[: len(content) // 2])
        self.file.flush()
        say("planted")
        signal.pause()


def main() -> None:
    """Train, from where the last one left off."""
    on, workers, folder, timeout, files = sys.argv[1:]
    os.dup2(1, SAID)
    os.dup2(2, 1)  # Ray writes to the standard output, too
    faults = Faults()
    setattr(coordinator, "Coordinator", Watched)  # noqa: B010
    setattr(atomic, "atomic_file", faults.file)  # noqa: B010
    net = network()
    dataset = written(Path(files)) if files else data()
    history = distributed.fit(
        net, dataset, on=on, workers=(1, int(workers)), epochs=10**9, callbacks=[faults],
        checkpoint=folder, resume=True, timeout=float(timeout), **SETTINGS,
    )  # fmt: skip
    say("end", epochs=len(history.loss), digest=digest(net, history.loss))


if __name__ == "__main__":
    main()
