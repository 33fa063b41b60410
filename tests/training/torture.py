"""Kill runs at random moments, resume them, and look at what is left: `make torture`.

    python tests/training/torture.py [--kills 200] [--seed 0]

One process has everything imported and forks the runs, so that a life is short and most kills hit
training and writing. Half of the kills go to runs with checkpoints, in two settings, the others to
a process that saves one network after the other into the same file. After each kill

- every file in the folder is whole, and the newest checkpoint is that of the last epoch that was
  seen to end, or of a later one;
- the saved network is the last one whose `save` returned, or the one after it;

and each run that comes to its end has the bits of one that was never killed.
"""

from __future__ import annotations

import argparse
import mmap
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy  # noqa: F401  here, so that no run has to

import chainrule.training.fit  # noqa: F401
from chainrule.equations.optimizers import Adam, AdamW
from chainrule.equations.schedules import ReduceOnPlateau
from chainrule.network import Network
from chainrule.storage import models
from chainrule.training import checkpoints, folders
from chainrule.training.callbacks import EarlyStopping, Run

EPOCHS = 30


class Shared:
    """A number that outlives the process that sets it."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8)

    @property
    def value(self) -> int:
        return int.from_bytes(self._memory[:], "little")

    @value.setter
    def value(self, value: int) -> None:
        self._memory[:] = value.to_bytes(8, "little")


def small(folder: Path, on_epoch: Callable[[Run], None], threads: int) -> None:
    """Short epochs in the fastest engine, early stopping, a rate that depends on the history."""
    os.environ["CHAINRULE_NUM_THREADS"] = str(threads)
    X = np.random.default_rng(0).normal(size=(2000, 20))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    net = Network(
        [20, 64, 2], output="softmax", loss="cross_entropy", dropout=0.2, seed=1, dtype="float32",
    )  # fmt: skip
    net.fit(
        X, y, optimizer=Adam(ReduceOnPlateau(0.01, patience=2)), epochs=EPOCHS, batch_size=256,
        validation_data=(X[:200] + 0.3, y[:200]), callbacks=[EarlyStopping(patience=25), on_epoch],
        checkpoint=folder, resume=True, verbose=0,
    )  # fmt: skip


def large(folder: Path, on_epoch: Callable[[Run], None], threads: int) -> None:
    """Files of some megabytes, in the reference engine, so that most of the time is writing."""
    X = np.random.default_rng(0).normal(size=(64, 50))
    net = Network([50, 200, 200, 5], hidden="tanh", seed=1, engine="reference")
    net.fit(
        X, X[:, :5], optimizer=AdamW(0.001), epochs=EPOCHS, batch_size=64, callbacks=[on_epoch],
        checkpoint=folder, keep=1 + threads, resume=True, verbose=0,
    )  # fmt: skip


def forked(work: Callable[[], object], life: float | None = None) -> int:
    """Do work in another process, killed after so many seconds; give its exit status."""
    child = os.fork()
    if not child:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    if life is not None:
        time.sleep(life)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def contents(folder: Path) -> dict[str, Any]:
    """What a finished run leaves, without the time that it took."""
    _, name = folders.epochs(folders.folder_of(folder))[-1]
    found = checkpoints.read(folder / name)
    history = {name: column for name, column in found.history.items() if name != "seconds"}
    return {
        "epoch": found.epoch,
        "step": found.step,
        "parameters": found.parameters.tobytes(),
        "slots": {name: slot.tobytes() for name, slot in found.slots.items()},
        "history": repr(history),
        "best": (folder / checkpoints.BEST).read_bytes(),
    }


def torture_run(
    run: Callable[..., None], kills: int, chance: random.Random, folder: Path, count: Counter[str]
) -> None:
    """Kill a run again and again; begin another when it has come to its end."""
    ended, number = Shared(), 0
    assert forked(lambda: run(folder / "whole", lambda _: None, 1)) == 0
    whole = contents(folder / "whole")
    began = time.monotonic()
    assert forked(lambda: run(folder / "timed", lambda _: None, 1)) == 0
    longest = (time.monotonic() - began) / 3
    left = kills
    while left or ended.value:  # the last run comes to its end as well
        here = folder / str(number)

        def seen(run: Run) -> None:
            ended.value = run.epoch - 1  # whose checkpoint has been written: this one's follows

        threads = chance.choice((1, 2))
        life = chance.uniform(0, longest) if left else None
        status = forked(partial(run, here, seen, threads), life)
        there = folders.epochs(folders.folder_of(here)) if here.exists() else []
        if status == -signal.SIGKILL:
            left, count["kills of runs"] = left - 1, count["kills of runs"] + 1
            for path in here.glob("*") if here.exists() else ():
                if path.name.endswith(".tmp"):
                    count["kills in a write"] += 1
                else:
                    models.load(path)
            for _, name in there:
                checkpoints.read(here / name)
            newest = there[-1][0] if there else 0
            assert newest >= ended.value, f"epoch {ended.value} had ended, {newest} is the newest"
            continue
        assert status == 0, f"a run ended with {status}"
        assert contents(here) == whole, "a resumed run has other bits"
        assert not [*here.glob("*.tmp")], "something is left over"
        count["runs resumed to the same bits"] += 1
        shutil.rmtree(here)
        number, ended.value = number + 1, 0


def torture_save(kills: int, chance: random.Random, folder: Path, count: Counter[str]) -> None:
    """Kill a process that saves networks, which tell their number."""
    saved, path = Shared(), folder / "net"

    def network(number: int) -> Network:
        return Network([200, 200, 10], init="zeros", seed=number)

    def save() -> None:
        for number in range(saved.value, 2**62):
            network(number).save(path)
            saved.value = number + 1

    network(0).save(path)
    saved.value = 1
    for _ in range(kills):
        assert forked(save, chance.uniform(0, 0.03)) == -signal.SIGKILL
        count["kills of saves"] += 1
        assert models.load(path).seed in (saved.value - 1, saved.value)
        for left in folder.glob(".chainrule-*.tmp"):
            count["kills in a write"] += 1
            left.unlink()
    count["networks saved"] = saved.value
    assert [left.name for left in folder.iterdir()] == ["net"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    chance, count = random.Random(options.seed), Counter[str]()
    part = options.kills // 4
    with tempfile.TemporaryDirectory() as name:
        for run in (small, large):
            folder = Path(name) / run.__name__
            folder.mkdir()
            torture_run(run, part, chance, folder, count)
        folder = Path(name) / "save"
        folder.mkdir()
        torture_save(options.kills - 2 * part, chance, folder, count)
    print(", ".join(f"{value:,} {key}" for key, value in count.items()))


if __name__ == "__main__":
    main()
