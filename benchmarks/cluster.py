"""Training on several machines: the exchange beside gloo, real runs beside the model, and further.

    python -m benchmarks.cluster [--quick] [--only exchange|real|further]

First, processes of this machine add vectors, in turn: ours in tree order, and torch.distributed
with gloo where PyTorch is installed. Then `chainrule.distributed.fit` trains on 1, 2 and 4
processes of Dask, beside what the model (`chainrule.distributed.cost`) says of them; a machine with
fewer processors shares them. Last, the model from 2 to 1,024 workers, each with a processor of its
own, at 1, 10 and 100 Gbit/s: with the rows of a worker fixed, with those of a batch fixed, and
where 80 % of so many times the speed of one worker ends. Times are medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np

import chainrule as cr
from benchmarks.measure import machine
from chainrule import distributed
from chainrule.distributed import cost
from chainrule.distributed.exchange import Mesh, Peer
from chainrule.distributed.messages import listening
from chainrule.engines import Plan
from chainrule.engines.base import Sums
from chainrule.equations.data import Samples
from chainrule.places import Place, opened, processors

NETWORKS = (  # sizes, batch
    ((2, 8, 8, 1), 1024),
    ((10, 32, 16, 1), 1024),
    ((64, 64, 32, 10), 1024),
    ((784, 128, 10), 1024),
    ((784, 512, 512, 10), 1024),
    ((784, 512, 512, 10), 16_384),
)
MICRO = 16
SIZES = (10_000, 1_000_000, 10_000_000)  # numbers of a vector, float32
SPEEDS = (1, 10, 100)  # Gbit/s
COUNTS = tuple(2**i for i in range(1, 11))
OWN_ROWS, BATCH = 1024, 65_536  # rows of a worker, and of a batch, where they are fixed
ENOUGH = 0.8
PARTS = ("exchange", "real", "further")


# --- the exchange --------------------------------------------------------------------------------


def _adding(
    rank: int, count: int, sizes: tuple[int, ...], port: int, gloo: bool, pipe: Any
) -> None:
    """Add vectors with both in turn, and send the seconds of each for each size."""
    theirs = _Gloo(rank, count, port) if gloo else None
    for size in sizes:
        vector = np.empty(size, "f4")
        with listening("127.0.0.1") as listener:
            pipe.send(listener.getsockname()[1])
            peers = [Peer("127.0.0.1", p, range(r, r + 1)) for r, p in enumerate(pipe.recv())]
            mesh = Mesh(rank, peers, listener, "", 0, 60.0, vector)
        ours, beside = list[float](), list[float]()
        for step in range(20 if size > 10**6 else 100):
            vector[:] = 1.0
            if theirs is not None:
                theirs.meet()
            begun = time.perf_counter()
            mesh.sum({rank: Sums(1.0, 1.0, vector)}, range(count), count, step)
            ours.append(time.perf_counter() - begun)
            if theirs is not None:
                vector[:] = 1.0
                theirs.meet()
                begun = time.perf_counter()
                theirs.add(vector)
                beside.append(time.perf_counter() - begun)
        mesh.close()
        pipe.send([statistics.median(t[len(t) // 5 :]) for t in (ours, beside) if t])
    if theirs is not None:
        theirs.close()


class _Gloo:
    def __init__(self, rank: int, count: int, port: int) -> None:
        import torch
        import torch.distributed

        torch.set_num_threads(1)
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        torch.distributed.init_process_group("gloo", rank=rank, world_size=count)
        self._torch: Any = torch

    def meet(self) -> None:
        self._torch.distributed.barrier()

    def add(self, vector: Any) -> None:
        self._torch.distributed.all_reduce(self._torch.from_numpy(vector))

    def close(self) -> None:
        self._torch.distributed.destroy_process_group()


def show_exchange(sizes: tuple[int, ...]) -> None:
    """Print what the sum of a vector takes, the slowest process of each."""
    try:
        import torch  # noqa: F401

        gloo = True
    except ImportError:
        gloo = False
    print("\nsum of float32 vectors, ms    ours    gloo" + ("" if gloo else " (not installed)"))
    context = get_context("spawn")
    for count in (2, 4):
        with listening("127.0.0.1") as free:
            port = free.getsockname()[1]
        pipes = [context.Pipe() for _ in range(count)]
        group = [
            context.Process(target=_adding, args=(r, count, sizes, port, gloo, pipes[r][1]))
            for r in range(count)
        ]
        for process in group:
            process.start()
        for size in sizes:
            ports = [ours.recv() for ours, _ in pipes]
            for ours, _ in pipes:
                ours.send(ports)
            found = np.max([ours.recv() for ours, _ in pipes], axis=0) * 1e3
            print(f"{count} x {size:>10,}   " + " ".join(f"{ms:13.3f}" for ms in found))
        for process in group:
            process.join()


# --- real runs beside the model ------------------------------------------------------------------


class _Stopwatch(cr.Callback):
    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_epoch_end(self, run: Any) -> None:
        self.ends.append(time.perf_counter())


def _network(sizes: tuple[int, ...]) -> cr.Network:
    return cr.Network(sizes, hidden="tanh", dtype="float32", seed=0, threads=1)


def _rows(sizes: tuple[int, ...], n: int) -> tuple[Any, Any]:
    X = np.random.default_rng(0).normal(size=(n, sizes[0])).astype("f4")
    return X, np.sin(X[:, :1]) * np.ones((1, sizes[-1]), "f4")


def real(sizes: tuple[int, ...], batch: int, client: Any, workers: int, steps: int) -> float:
    """Return the seconds of a step of a real run."""
    watch = _Stopwatch()
    distributed.fit(
        _network(sizes), _rows(sizes, batch * steps), on=client, workers=workers, epochs=4,
        batch_size=batch, micro_batches=MICRO, metrics=[], callbacks=[watch], verbose=0,
    )  # fmt: skip
    return statistics.median(np.diff(watch.ends)) / steps


def tried(
    sizes: tuple[int, ...], rows: int, micro_batches: int, held: int, place: Place, workers: int
) -> cost.Parts:
    """Return the seconds of the parts of a step, found on so many workers at a time."""
    samples, plan = Samples(*_rows(sizes, rows)), Plan(cr.Adam(), rows * MICRO, micro_batches=MICRO)
    trial = cost.Trial(_network(sizes), plan, "auto", samples, micro_batches, held)
    outcomes = list(place.run(cost.tried, trial, range(workers)))
    if errors := [outcome.error for outcome in outcomes if outcome.error]:
        raise RuntimeError(errors[0])
    return cost.Parts.mean([outcome.result for outcome in outcomes])


def show_real(networks: Any, client: Any, place: Place) -> None:
    """Print what steps took, and what the model says of them."""
    print(f"\nms a step, float32, Adam, {MICRO} micro-batches: real (model)")
    for sizes, batch in networks:
        size, texts = cost.bytes_of(_network(sizes)), []
        steps = max(4, min(100, 20_000_000 // batch // max(sizes)))
        for workers in (1, 2, 4):
            parts = tried(
                sizes, batch // MICRO, MICRO // workers, batch * steps // workers, place,
                min(workers, processors()),
            )  # fmt: skip
            taken = real(sizes, batch, client, workers, steps)
            model = cost.predicted(parts, MICRO, workers, size, cost.HERE, processors())
            texts.append(f"{workers}: {taken * 1e3:7.2f} ({model.step * 1e3:7.2f})")
        print(f"{'-'.join(map(str, sizes)):>18}, batch {batch:>6,}  " + "   ".join(texts))


# --- further -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """A step on one worker by its rows: ``fixed`` seconds, and ``row`` seconds for each."""

    fixed: float
    row: float
    addition: float
    size: int

    @classmethod
    def of(cls, sizes: tuple[int, ...], place: Place) -> Line:
        """Measure steps of one micro-batch of few and of many rows, on one worker."""
        few, many = (tried(sizes, rows, 1, 16 * rows, place, 1) for rows in (16, OWN_ROWS))
        row = max(0.0, many.micro - few.micro) / (OWN_ROWS - 16)
        fixed = max(0.0, few.micro - 16 * row) + many.update
        return cls(fixed, row, many.addition, cost.bytes_of(_network(sizes)))

    def efficiency(self, workers: int, own: float, before: float, speed: float) -> float:
        """Return how many times as fast as one worker, for each worker.

        ``own`` are the rows of a worker, ``before`` those that one has for as much work.
        """

        def step(workers: int, rows: float) -> float:
            parts = cost.Parts(self.fixed + rows * self.row, self.addition, 0.0)
            return cost.predicted(parts, workers, workers, self.size, speed * 1e9 / 8).step

        return step(1, before) / step(workers, own) / (before / own if before > own else 1)

    def rows_needed(self, workers: int, speed: float) -> int | None:
        """Return from how many rows of a worker on it is efficient; None where it never is."""
        for rows in (2**i for i in range(21)):
            if self.efficiency(workers, rows, rows, speed) >= ENOUGH:
                return rows
        return None


def _end(found: list[float]) -> str:
    """Return up to how many workers it is efficient."""
    good = [n for n, share in zip(COUNTS, found, strict=True) if share >= ENOUGH]
    return f"{good[-1]:,}" if good else "1"


def show_further(networks: Any, place: Place) -> None:
    """Print the efficiency of up to 1,024 workers, and where it ends."""
    shapes = list(dict.fromkeys(sizes for sizes, _ in networks))
    lines = {sizes: Line.of(sizes, place) for sizes in shapes}
    titles = (
        f"each worker has {OWN_ROWS:,} rows of a batch",
        f"a batch has {BATCH:,} rows, shared out",
    )
    for fixed_batch, title in enumerate(titles):
        print(f"\nmodel, each worker with a processor of its own; {title}:")
        print("efficiency, %, by workers; up to how many it is 80 %")
        print(f"{'':>18} Gbit/s " + "".join(f"{count:>7,}" for count in COUNTS) + "    80 %")
        for sizes, line in lines.items():
            for speed in SPEEDS:
                found = [
                    line.efficiency(n, BATCH / n, BATCH, speed)
                    if fixed_batch
                    else line.efficiency(n, OWN_ROWS, OWN_ROWS, speed)
                    for n in COUNTS
                ]
                texts = "".join(f"{share:>7.0%}".replace("%", " ") for share in found)
                print(f"{'-'.join(map(str, sizes)):>18} {speed:>6} {texts} {_end(found):>7}")
    counts = (2, 8, 64, 1024)
    print("\nrows of a worker and batch from which on the efficiency is 80 %")
    print(f"{'':>18} Gbit/s " + "".join(f"{f'{count:,} workers':>18}" for count in counts))
    for sizes, line in lines.items():
        for speed in SPEEDS:
            needed = [line.rows_needed(count, speed) for count in counts]
            texts = "".join(
                f"{'over a million' if rows is None else f'{rows:,}':>18}" for rows in needed
            )
            print(f"{'-'.join(map(str, sizes)):>18} {speed:>6} {texts}")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer sizes and networks")
    parser.add_argument("--only", choices=PARTS, help="one of the three parts")
    given = parser.parse_args()
    quick, wanted = given.quick, PARTS if given.only is None else (given.only,)
    for name, value in machine().items():
        print(f"{name}: {value}")
    if "exchange" in wanted:
        show_exchange(SIZES[: 2 if quick else 3])
    if wanted == ("exchange",):
        return

    from distributed import Client, LocalCluster

    networks = NETWORKS[:4] if quick else NETWORKS
    with (
        LocalCluster(
            n_workers=4, threads_per_worker=1, dashboard_address=":0", silence_logs=50
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
        opened(client) as place,
    ):
        if "real" in wanted:
            show_real(networks, client, place)
        if "further" in wanted:
            show_further(networks, place)


if __name__ == "__main__":
    main()
