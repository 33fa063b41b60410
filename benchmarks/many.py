"""Many networks in one call, beside JAX in its best layout and our own fits in threads.

    python -m benchmarks.many [--rounds 5]

float32, Adam, one order of samples for all networks. Each way has a process of its own with two
threads, and they take turns; times are medians over the rounds, and a ratio is the median of the
ratios within each round. Operations are those of the matrix products alone; the peak is what a
large product of NumPy reaches in the same rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from benchmarks.measure import PAUSE, THREADS, environment

Run = Callable[[], object]


@dataclass(frozen=True)
class Workload:
    """So many networks of one shape, and what an epoch of theirs is."""

    sizes: tuple[int, ...]
    hidden: str
    batch: int
    rows: int
    networks: int
    bar: float  # GFLOP/s
    times: float  # as fast as the best peer

    @property
    def name(self) -> str:
        """What the table calls it."""
        return f"{'-'.join(map(str, self.sizes))} {self.hidden}, batch {self.batch}"

    @property
    def operations(self) -> float:
        """Those of the matrix products of one epoch of all networks."""
        pairs = list(zip(self.sizes, self.sizes[1:], strict=False))
        weights = sum(i * o * (2 if l == 0 else 3) for l, (i, o) in enumerate(pairs))
        return 2.0 * weights * self.rows * self.networks

    def samples(self) -> tuple[np.ndarray, np.ndarray]:
        """Return X and y."""
        rng = np.random.default_rng(0)
        X = rng.normal(size=(self.rows, self.sizes[0])).astype("f4")
        return X, np.sin(X[:, :1]) * np.ones((1, self.sizes[-1]), "f4")


WORKLOADS = (
    Workload((2, 8, 8, 1), "tanh", 32, 2048, 256, 60, 4),
    Workload((10, 32, 16, 1), "relu", 32, 1024, 256, 120, 2.5),
    Workload((64, 64, 32, 10), "tanh", 32, 512, 64, 130, 1.5),
    Workload((20, 50, 20, 1), "relu", 1, 256, 256, 25, 4),
)


def side_by_side(work: Workload) -> Run:
    """Return fit_many."""
    import chainrule as cr

    X, y = work.samples()
    networks = [
        cr.Network(list(work.sizes), hidden=work.hidden, seed=seed, dtype="float32")
        for seed in range(work.networks)
    ]

    def run() -> None:
        cr.fit_many(networks, X, y, seeds=0, epochs=4, batch_size=work.batch, metrics=[], verbose=0)

    return run


def in_threads(work: Workload) -> Run:
    """Return a fit of each network, in two threads."""
    import chainrule as cr

    X, y = work.samples()
    networks = [
        cr.Network(list(work.sizes), hidden=work.hidden, seed=0, dtype="float32", threads=1)
        for _ in range(work.networks)
    ]
    pool = ThreadPoolExecutor(THREADS)

    def one(network: Any) -> None:
        network.fit(X, y, epochs=4, batch_size=work.batch, metrics=[], verbose=0)

    return lambda: list(pool.map(one, networks))


def jax_layout(layout: str) -> Callable[[Workload], Run]:
    """Return JAX with the networks first (vmap), last (einsum, product), or on two devices."""

    def make(work: Workload) -> Run:
        if layout == "two devices":
            os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={THREADS}"
        from benchmarks.peers import many_jax

        return many_jax.epochs(layout, work, count=4)

    return make


def product(work: Workload) -> Run:
    """Return a large product, as many operations as four epochs."""
    A, B = (np.ones((1024, 1024), "f4") for _ in range(2))
    times = max(1, round(4 * work.operations / (2 * 1024**3)))
    return lambda: [A @ B for _ in range(times)] and None


WAYS: dict[str, Callable[[Workload], Run]] = {
    "fit_many": side_by_side,
    "fits in threads": in_threads,
    "JAX vmap": jax_layout("vmap"),
    "JAX vmap on two devices": jax_layout("two devices"),
    "JAX networks last, einsum": jax_layout("einsum"),
    "JAX networks last, product": jax_layout("product"),
    "peak": product,
}


def work_on(way: str, work: Workload, pipe: Connection) -> None:
    """Time a run whenever asked; the body of a worker."""
    run = WAYS[way](work)
    run()
    while pipe.poll(None) and pipe.recv():
        begun = time.perf_counter()
        run()
        pipe.send(time.perf_counter() - begun)


def measure(work: Workload, rounds: int) -> dict[str, list[float]]:
    """Return the GFLOP/s of each way in each round."""
    context = get_context("spawn")
    workers = {}
    for way in WAYS:
        mine, its = context.Pipe()
        worker = context.Process(target=work_on, args=(way, work, its), daemon=True)
        worker.start()
        workers[way] = (worker, mine)
    speeds: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(rounds + 1):  # the first, in which everything gets warm, does not count
        for way, (_, pipe) in workers.items():
            pipe.send(True)
            seconds = pipe.recv()
            if number:
                speeds[way].append(4 * work.operations / seconds / 1e9)
            time.sleep(PAUSE)
    for worker, pipe in workers.values():
        pipe.send(False)
        worker.join()
    return speeds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    os.environ.update(environment())
    for work in WORKLOADS:
        speeds = measure(work, rounds)
        middle = {way: statistics.median(values) for way, values in speeds.items()}
        best = max((way for way in middle if way.startswith("JAX")), key=middle.__getitem__)
        own = speeds["fit_many"]
        times = statistics.median(a / b for a, b in zip(own, speeds[best], strict=True))
        share = statistics.median(a / b for a, b in zip(own, speeds["peak"], strict=True))
        print(f"{work.name}, {work.networks} networks")
        for way, speed in middle.items():
            print(f"  {way:28} {speed:7.1f} GFLOP/s")
        print(
            f"  fit_many: {times:.1f} times {best} (bar {work.times:g}), {share:.0%} of the peak; "
            f"bar {work.bar:g} GFLOP/s",
            flush=True,
        )


if __name__ == "__main__":
    main()
