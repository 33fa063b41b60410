"""Training on several machines: the exchange beside gloo, real runs beside the model, and further.

    python -m benchmarks.cluster [--quick]

First, processes of this machine add vectors: ours in tree order, and torch.distributed with gloo
where PyTorch is installed. Then `chainrule.distributed.fit` trains on 1, 2 and 4 processes of Dask,
beside what the model (`chainrule.distributed.cost`) says of them; a machine with fewer processors
shares them. Last, the model from 2 to 1,024 workers, each with a processor of its own, at 1, 10 and
100 Gbit/s: how many times as fast as one, and where 80 % of that ends. Times are medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from multiprocessing import get_context
from typing import Any

import numpy as np

import chainrule as cr
from benchmarks.measure import environment
from chainrule import distributed, engines
from chainrule.distributed import cost
from chainrule.distributed.exchange import Mesh, Peer
from chainrule.distributed.messages import listening
from chainrule.engines import Plan
from chainrule.engines.base import Sums
from chainrule.equations.data import Samples

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


def _ours(rank: int, ports: Any, size: int, rounds: int, answers: Any) -> None:
    listener = listening("127.0.0.1")
    ports.put((rank, listener.getsockname()[1]))
    while True:
        known = answers.get()
        if known[0] == rank:
            break
        answers.put(known)
    count = len(known[1])
    peers = [Peer("127.0.0.1", known[1][r], range(r, r + 1)) for r in range(count)]
    mesh = Mesh(rank, peers, listener, "", 0, 60.0, np.empty(size, "f4"))
    vector, times = np.ones(size, "f4"), []
    for step in range(rounds):
        begun = time.perf_counter()
        mesh.sum({rank: Sums(1.0, 1.0, vector.copy())}, range(count), count, step)
        times.append(time.perf_counter() - begun)
    ports.put((rank, statistics.median(times[rounds // 5 :])))
    mesh.close()
    listener.close()


def _gloo(rank: int, port: int, count: int, size: int, rounds: int, answers: Any) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=count)
    vector, times = torch.ones(size), []
    for _ in range(rounds):
        begun = time.perf_counter()
        dist.all_reduce(vector.clone())
        times.append(time.perf_counter() - begun)
    answers.put((rank, statistics.median(times[rounds // 5 :])))
    dist.destroy_process_group()


def exchange(count: int, size: int, rounds: int) -> tuple[float, float | None]:
    """Return the seconds of our exchange, and of gloo's where PyTorch is there."""
    context = get_context("spawn")
    ports, answers = context.Queue(), context.Queue()
    group = [
        context.Process(target=_ours, args=(r, ports, size, rounds, answers)) for r in range(count)
    ]
    for process in group:
        process.start()
    known = dict(ports.get() for _ in group)
    for rank in known:
        answers.put((rank, known))
    ours = max(ports.get()[1] for _ in group)
    for process in group:
        process.join()
    try:
        import torch  # noqa: F401
    except ImportError:
        return ours, None
    with listening("127.0.0.1") as free:
        port = free.getsockname()[1]
    group = [
        context.Process(target=_gloo, args=(r, port, count, size, rounds, answers))
        for r in range(count)
    ]
    for process in group:
        process.start()
    gloo = max(answers.get()[1] for _ in group)
    for process in group:
        process.join()
    return ours, gloo


class _Stopwatch(cr.Callback):
    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_epoch_end(self, run: Any) -> None:
        self.ends.append(time.perf_counter())


def real(sizes: tuple[int, ...], batch: int, client: Any, workers: int, steps: int) -> float:
    """Return the seconds of a step of a real run."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(batch * steps, sizes[0])).astype("f4")
    Y = np.sin(X[:, :1]) * np.ones((1, sizes[-1]), "f4")
    watch = _Stopwatch()
    net = cr.Network(sizes, hidden="tanh", dtype="float32", seed=0, threads=1)
    distributed.fit(
        net, (X, Y), on=client, workers=workers, epochs=4, batch_size=batch, micro_batches=MICRO,
        metrics=[], callbacks=[watch], verbose=0,
    )  # fmt: skip
    return statistics.median(np.diff(watch.ends)) / steps


def parts(sizes: tuple[int, ...], batch: int) -> tuple[float, float, int]:
    """Return the seconds of a micro-batch and of an update on one thread, and the bytes."""
    net = cr.Network(sizes, hidden="tanh", dtype="float32", seed=0, threads=1)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(batch // MICRO, sizes[0])).astype("f4")
    samples = Samples(X, np.sin(X[:, :1]) * np.ones((1, sizes[-1]), "f4"))
    plan = Plan(cr.Adam(), batch, micro_batches=MICRO)
    engine = engines.choose("auto", net).alone()
    micro, moved = cost.measured(engine, net, plan, samples)
    return micro, moved, cost.bytes_of(net)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and networks")
    given = parser.parse_args()
    print(environment())
    print("\nsum of vectors, ms      ours    gloo")
    for count in (2, 4):
        for size in SIZES[: 2 if given.quick else 3]:
            ours, gloo = exchange(count, size, 20 if given.quick or size > 10**6 else 100)
            beside = "not installed" if gloo is None else f"{gloo * 1e3:7.3f}"
            print(f"{count} x {size:>10,}  {ours * 1e3:10.3f} {beside}")

    from distributed import Client, LocalCluster

    print("\nms a step, float32, Adam, 16 micro-batches: real (model)")
    with (
        LocalCluster(
            n_workers=4, threads_per_worker=1, dashboard_address=":0", silence_logs=50
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        for sizes, batch in NETWORKS[:4] if given.quick else NETWORKS:
            micro, moved, size = parts(sizes, batch)
            texts = []
            for workers in (1, 2, 4):
                taken = real(sizes, batch, client, workers, 20 if batch < 10_000 else 4)
                model = cost.predicted(micro, moved, MICRO, workers, size, cost.HERE)
                texts.append(f"{workers}: {taken * 1e3:7.2f} ({model.step * 1e3:7.2f})")
            print(f"{'-'.join(map(str, sizes)):>18}, batch {batch:>6,}  " + "   ".join(texts))

    print("\nmodel, a processor for each worker, as many micro-batches as workers, 64 rows each:")
    print("times as fast as one; * where it falls below 80 % of the workers")
    counts = [2**i for i in range(1, 11)]
    print(f"{'':>18} Gbit/s " + "".join(f"{count:>8,}" for count in counts))
    for sizes, _ in NETWORKS[:5]:
        micro, moved, size = parts(sizes, 64 * MICRO)
        for speed in SPEEDS:
            found = [
                cost.predicted(micro, moved, count, count, size, speed * 1e9 / 8).speedup
                for count in counts
            ]
            texts = [
                f"{times:>7.1f}{'*' if times < 0.8 * count else ' '}"
                for times, count in zip(found, counts, strict=True)
            ]
            print(f"{'-'.join(map(str, sizes)):>18} {speed:>6} " + "".join(texts))


if __name__ == "__main__":
    main()
