"""Kill workers at random moments of a training, and compare the end with an undisturbed run.

    python -m tests.distributed.torture [--on dask] [--kills 50] [--workers 3] [--seed 0]

Prints how long the training took from each kill to the end of the next epoch, and fails unless the
bits are those of one machine.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import sys
import threading
import time
from typing import Any

import numpy as np

import chainrule as cr
from chainrule import distributed
from tests.clusters import start_dask, start_ray
from tests.distributed.workers import working


class Killer(cr.Callback):
    """Kills workers until there have been enough, and then ends the run."""

    def __init__(self, on: Any, kills: int, seed: int) -> None:
        self.on, self.left, self.random = on, kills, random.Random(seed)
        self.killed: float | None = None
        self.took: list[float] = []
        self.timer: threading.Timer | None = None

    def on_epoch_end(self, run: Any) -> None:
        """Take the time, and plan the next kill."""
        if self.killed is not None:
            self.took.append(time.monotonic() - self.killed)
            print(f"epoch {run.epoch}: {self.took[-1]:.2f} s after a kill", flush=True)
            self.killed = self.timer = None
        if self.timer is None:
            if not self.left:
                run.stop("enough")
                return
            self.timer = threading.Timer(self.random.uniform(0, 1.5), self.kill)
            self.timer.start()

    def kill(self) -> None:
        """Kill a worker."""
        there = working(self.on)
        if not there:
            self.timer = None
            return
        os.kill(self.random.choice(there), signal.SIGKILL)
        self.left -= 1
        self.killed = time.monotonic()


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--on", choices=("dask", "ray"), default="dask")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    X = np.random.default_rng(1).normal(size=(4000, 12))
    Y = np.sin(X[:, :2])
    how: dict[str, Any] = {"batch_size": 64, "micro_batches": 8, "verbose": 0}

    def network() -> cr.Network:
        return cr.Network([12, 32, 2], hidden="tanh", seed=5, dropout=0.1, dtype="float32")

    net = network()
    on = {"dask": start_dask, "ray": start_ray}[given.on](given.workers)
    killer = Killer(on, given.kills, given.seed)
    history = distributed.fit(
        net, (X, Y), on=on, workers=(1, given.workers), epochs=10**9, callbacks=[killer],
        timeout=10.0, **how,
    )  # fmt: skip
    here = network()
    alone = here.fit(X, Y, epochs=len(history.loss), **how)
    same = bool((here.parameters == net.parameters).all()) and alone.loss == history.loss
    print(
        f"{given.kills} kills in {len(history.loss)} epochs on {given.on}: median "
        f"{statistics.median(killer.took):.2f} s, most {max(killer.took):.2f} s to the next epoch; "
        f"the bits of one machine: {'yes' if same else 'NO'}"
    )
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
