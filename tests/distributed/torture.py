"""Make every kind of trouble at random moments of a training, and look at its bits at the end.

    python -m tests.distributed.torture [--on dask] [--kills 50] [--workers 3] [--seed 0] [--files]

The cluster is started by the commands of Dask or Ray, and the process that calls
`chainrule.distributed.fit` (the head) is one of its own, so that all of them can be killed. With
``--files`` the workers read their rows from files, and so do those that take them over. Prints
for each kind how long it took from a fault to the first new step, one that had not been done
before, and fails unless the bits are those of one machine.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests import live
from tests.distributed import head

TIMEOUT = 3.0  # seconds, after which a silent worker is given up
BARS = {"dask": 2.0, "ray": 8.0}  # seconds from `kill -9` to a new step

# What happens, and how often of 50 times.
KINDS = {
    "a worker": 14,
    "a worker in the middle of an exchange": 8,
    "several workers at once": 5,
    "all workers at once": 2,
    "a worker hangs": 4,
    "a connection of two workers is cut": 4,
    "a connection of two workers is silent": 2,
    "a worker's connection to the head is cut": 2,
    "the head": 3,
    "the head in the middle of a checkpoint": 3,
    "a nanny or raylet": 2,
    "the scheduler or head node": 1,
}
BARRED = [*KINDS][:3]  # the kinds for which the bars are meant


class StuckError(Exception):
    """Nothing has come of it in time."""


def plan(count: int, chance: random.Random) -> list[str]:
    """Return what happens, in which order: all kinds in their shares, rounded by chance."""
    shares = [*KINDS]
    planned = [kind for kind in shares for _ in range(count * KINDS[kind] // sum(KINDS.values()))]
    planned += chance.sample(shares, count - len(planned))
    chance.shuffle(planned)
    return planned


class Torture:
    """A training and what is done to it."""

    def __init__(
        self, cluster: live.Live, workers: int, seed: int, folder: Path, within: Sequence[str] = (),
        files: bool = False,
    ) -> None:  # fmt: skip
        """``within``: the beginning of the head's command; ``files``: as of `torture`."""
        self.files = ""
        if files:
            (folder / "data").mkdir()
            head.written(folder / "data")
            self.files = str(folder / "data")
        self.cluster, self.workers, self.folder, self.within = cluster, workers, folder, within
        self.chance = random.Random(seed)
        self.took: dict[str, list[float]] = defaultdict(list)
        self.furthest = (0, 0)
        self.written = 0
        self.generation = 0
        self.met: list[int] = []
        self.hosts: list[str] = []
        self.stepped = 0.0
        self.start()

    # --- the head ----------------------------------------------------------------------------

    def start(self) -> None:
        """Start the head."""
        self.resumed = False
        self.log = self.folder / "head.log"
        on, env = self.cluster.address, live.ENVIRONMENT | self.cluster.env
        if isinstance(self.cluster, live.LiveRay):
            on, env = "ray://auto", env | {"RAY_ADDRESS": self.cluster.inside}
        with self.log.open("ab") as log:
            self.head = subprocess.Popen(
                [*self.within, sys.executable, "-m", "tests.distributed.head", on,
                 str(self.workers), str(self.folder / "checkpoints"), str(TIMEOUT), self.files],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=env,
            )  # fmt: skip
        self.said: queue.Queue[dict[str, Any]] = queue.Queue()
        self.reader = threading.Thread(target=self._read, args=(self.head, self.said), daemon=True)
        self.reader.start()

    def close(self) -> None:
        """End the head."""
        self.head.kill()
        self.head.wait()
        assert self.head.stdin is not None
        self.head.stdin.close()
        self.reader.join(10.0)

    @staticmethod
    def _read(process: Any, said: queue.Queue[dict[str, Any]]) -> None:
        with process.stdout:
            for line in process.stdout:
                if line.startswith("{"):
                    said.put(json.loads(line))
        said.put({"what": "gone", "at": time.monotonic()})

    def tell(self, word: str) -> None:
        """Tell the head to do something."""
        assert self.head.stdin is not None
        self.head.stdin.write(f"{word}\n")
        self.head.stdin.flush()

    def hear(self, until: float) -> dict[str, Any]:
        """Take in the next thing that the head says."""
        try:
            said = self.said.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            raise StuckError from None
        if said["what"] == "met":
            self.met, self.generation = said["pids"], said["generation"]
            self.hosts = said["hosts"]
        elif said["what"] == "written":
            self.written = said["epoch"]
        elif said["what"] == "step":
            at = said["epoch"], said["step"]
            if not self.resumed:
                self.resumed = True
                assert at[0] >= self.written, f"epoch {self.written} was written, {at} goes on"
            said["new"] = at > self.furthest
            self.furthest = max(self.furthest, at)
        return said

    def wait(self, happened: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """Follow the head until something happens."""
        until = time.monotonic() + live.PATIENCE
        try:
            while not happened(said := self.hear(until)):
                if said["what"] == "gone":
                    raise AssertionError(f"the head ended: {self.log.read_text()[-3000:]}")
        except StuckError:
            nodes = "\n".join(node.text()[-1000:] for node in self.cluster.nodes)
            raise AssertionError(
                f"not within {live.PATIENCE:g} s: {what}\n{self.log.read_text()[-3000:]}\n{nodes}"
            ) from None
        return said

    def pause(self, seconds: float) -> None:
        """Follow the head for some time."""
        until = time.monotonic() + seconds
        try:
            while True:
                if self.hear(until)["what"] == "gone":
                    raise AssertionError(f"the head ended: {self.log.read_text()[-3000:]}")
        except StuckError:
            return

    def wait_for_workers(self, count: int) -> None:
        """Wait until so many work together."""
        if len(self.met) < count:
            self.wait(lambda said: said["what"] == "met" and len(self.met) >= count,
                      f"{count} workers meet")  # fmt: skip
            self.wait(lambda said: said["what"] == "step", "a step")

    # --- what happens ------------------------------------------------------------------------

    def hurt(self, kind: str) -> None:
        """Make trouble, and take the time until there is a new step."""
        self.wait_for_workers(self.workers if self.chance.random() < 0.5 or "all" in kind else 2)
        self.pause(self.chance.uniform(0, 1.5))
        self.wait_for_workers(2)
        generation, again = self.generation, False
        at, after = self.act(kind)
        if self.head.poll() is not None or kind.startswith("the head"):
            again = True
            self.close()
            self.start()
        said = self.wait(
            lambda said: said["what"] == "step" and said["new"] and said["at"] > at
            and (again or self.generation != generation),
            f"a new step after {kind}",
        )  # fmt: skip
        self.took[kind].append(said["at"] - at)
        after()
        print(f"{self.took[kind][-1]:6.2f} s after {kind} (epoch {said['epoch']})", flush=True)

    def act(self, kind: str) -> tuple[float, Callable[[], None]]:
        """Make trouble; return when it was, and what to do when it is over."""
        kinds = [*KINDS]
        if kind in (kinds[0], kinds[2], kinds[3]):
            count = {0: 1, 2: max(1, len(self.met) - 1), 3: len(self.met)}[kinds.index(kind)]
            return self.kill(self.chance.sample(self.met, count)), _nothing
        if kind == kinds[1]:
            self.plant("hold")
            at = self.kill([self.chance.choice(self.met)])
            self.tell("release")
            return at, _nothing
        if kind == kinds[4]:
            pid = self.chance.choice(self.met)
            at = self.kill([pid], signal.SIGSTOP)
            how = self.chance.choice([signal.SIGCONT, signal.SIGKILL])
            return at, lambda: _signal(pid, how)
        if kind in (kinds[5], kinds[6], kinds[7]):
            word = {5: "cut", 6: "hold", 7: "drop"}[kinds.index(kind)]
            return self.plant(word), lambda: self.tell("release")
        if kind in (kinds[8], kinds[9]):
            if kind == kinds[9]:
                self.plant("checkpoint")
            return self.kill([self.head.pid]), _nothing
        if kind == kinds[10]:
            node = self.chance.choice([n for n in self.cluster.nodes if self.takes_part(n)])
            at = self.kill([self.cluster.keeper_of(node)])

            def replace() -> None:
                self.cluster.nodes.remove(node)
                node.kill()
                self.cluster.work()

            return at, replace
        at = self.kill([self.cluster.keeper_of(self.cluster.leader)])
        try:
            code = self.head.wait(live.PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError("the head hangs without its cluster") from None
        assert code, "the head ended well without its cluster"
        self.cluster.again(self.workers)
        return at, _nothing

    def takes_part(self, node: live.Command) -> bool:
        """Return whether a worker of a node is one of the training, so that it would be missed."""
        return any(process.pid in self.met for process in live.tree(node.process.pid))

    def kill(self, pids: list[int], how: signal.Signals = signal.SIGKILL) -> float:
        """Send a signal, and return when."""
        at = time.monotonic()
        for pid in pids:
            _signal(pid, how)
        return at

    def plant(self, word: str) -> float:
        """Have the head get into a state, and return when it was in it."""
        self.tell(word)
        return float(self.wait(lambda said: said["what"] == "planted", word)["at"])

    def end(self) -> tuple[int, str]:
        """Have all workers meet, and end the run: its epochs and digest."""
        self.wait_for_workers(self.workers)
        self.tell("stop")
        said = self.wait(lambda said: said["what"] == "end", "the end")
        assert self.head.wait(30) == 0
        return said["epochs"], said["digest"]

    def report(self) -> str:
        """Return what it took, by kind."""
        lines = [
            f"{len(took):3} × {kind}: {_times(took)}" for kind in KINDS if (took := self.took[kind])
        ]
        barred = [each for kind in BARRED for each in self.took.get(kind, [])]
        if barred:
            bar = BARS[self.cluster.engine]
            lines.append(
                f"{len(barred):3} × kill -9 of workers: {_times(barred)}; within {bar:g} s: "
                f"{sum(b <= bar for b in barred)}"
            )
        return "\n".join(lines)


def _times(took: list[float]) -> str:
    return f"median {statistics.median(took):.2f} s, most {max(took):.2f} s"


def _nothing() -> None:
    """Do nothing."""


def _signal(pid: int, how: signal.Signals) -> None:
    if pid:
        try:
            os.kill(pid, how)
        except ProcessLookupError:
            return


def alone(epochs: int) -> str:
    """Return the digest of so many epochs on one machine."""
    net = head.network()
    history = net.fit(*head.data(), epochs=epochs, **head.SETTINGS)
    return head.digest(net, history.loss)


def torture(engine: str, kills: int, workers: int, seed: int, files: bool = False) -> bool:
    """Print how long each fault took; return whether the bits are those of one machine.

    With ``files`` the samples are in files, which workers read.
    """
    planned = plan(kills, random.Random(seed))
    with live.live(engine, workers) as cluster, tempfile.TemporaryDirectory() as folder:
        run = Torture(cluster, workers, seed, Path(folder), files=files)
        try:
            for kind in planned:
                run.hurt(kind)
            epochs, found = run.end()
        finally:
            run.close()
    same = found == alone(epochs)
    print(run.report())
    print(
        f"{kills} faults in {epochs} epochs on {engine}, seed {seed}; "
        f"the bits of one machine: {'yes' if same else 'NO'}"
    )
    return same


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--on", choices=("dask", "ray"), default="dask")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--files", action="store_true")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and end what has been started
    return 0 if torture(given.on, given.kills, given.workers, given.seed, given.files) else 1


if __name__ == "__main__":
    sys.exit(main())
