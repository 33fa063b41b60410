"""Threads: what a meeting costs here, what the model makes of it on 4 to 64 cores, NumPy beside it.

python -m benchmarks.threads
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases import CASES, SHAPES, Case
from chainrule import GradientDescent, Network
from chainrule.engines import _native
from chainrule.engines.base import Epoch, Plan, State
from chainrule.engines.native import NativeEngine
from chainrule.equations.data import Samples

SMALL = 192 * 1024  # bytes of parameters up to which samples are shared out, with two meetings
CORES = (1, 2, 4, 8, 16, 32, 64)


def meetings(case: Case) -> int:
    """Return how often the threads of a step meet."""
    pairs = zip(case.sizes, case.sizes[1:], strict=False)
    small = sum((m + 1) * n for m, n in pairs) * 4 <= SMALL
    return 2 if small else 2 * (len(case.sizes) - 1) + 1


def handed_over(case: Case) -> float:
    """Return the bytes that threads write and others read: W, W for the backward pass, dW's."""
    pairs = list(zip(case.sizes, case.sizes[1:], strict=False))
    W = [(m + 1) * n for m, n in pairs]
    of_samples = case.batch * sum(m + n for m, n in pairs)
    small = sum(W) * 4 <= SMALL
    by_halves = small and of_samples / 2 > sum(W)  # as native/sums.h decides
    numbers = (sum(W) if small else 0) + sum(W[1:]) + (sum(W) if by_halves else of_samples)
    return 4.0 * numbers


def show_meetings() -> None:
    """Print what a meeting of two and more threads costs: the least of many."""
    print("A meeting, least and median of 40 rounds of 200:")
    for threads in (2, 3, 4, 8):
        if threads > _native.default_threads():
            break
        found = sorted(_native.meeting_seconds(threads, 200) * 1e6 for _ in range(40))
        print(f"  {threads} threads: {found[0]:.2f} µs, {median(found):.2f} µs")


def show_model() -> None:
    """Print how many threads the model takes for each network, and how much faster a step is."""
    print("\nThe model: threads that it begins with, and its speed beside one thread's")
    print(f"{'network, batch':32}" + "".join(f"{n:>10}" for n in CORES))
    for case in (*CASES, *SHAPES):
        if case.step_flops < 2.5e5:
            continue
        costs, cells = (case.step_flops, handed_over(case), meetings(case)), ""
        alone = _native.likely_seconds(*costs, 1)
        for most in CORES:
            n = most
            if case.step_flops <= 1e9:  # beyond, all threads without a choice
                n = _native.likely_threads(*costs, most)
            cells += f"{n:>4}{alone / _native.likely_seconds(*costs, n):>5.1f}×"
        print(f"{case.name:32}{cells}")


class Run:
    """Epochs of a network on an engine, timed."""

    def __init__(self, case: Case, engine: NativeEngine) -> None:
        rng = np.random.default_rng(0)
        n = case.batch * case.steps
        self._net = Network(list(case.sizes), hidden=case.activation, dtype="float32", seed=0)
        rule = GradientDescent(1e-3)
        X, y = (rng.normal(size=(n, case.sizes[i])).astype(np.float32) for i in (0, -1))
        samples = Samples(X, y)
        self._epoch = Epoch(samples, Plan(rule, case.batch), np.full(case.steps, 1e-3))
        self._state = State(slots=rule.start(self._net.parameters))
        self._engine, self.steps = engine, case.steps

    def step(self) -> float:
        """Return the microseconds that a step of one epoch takes."""
        start = time.perf_counter()
        self._engine.run_epoch(self._net, self._epoch, self._state)
        return (time.perf_counter() - start) / self.steps * 1e6


def show_speedups(rounds: int) -> None:
    """Print a step with one thread, with all, and with the choice, interleaved: the least."""
    most = _native.default_threads()
    print(f"\nA step in µs, least of {rounds} rounds: 1 thread, {most} threads, its own choice")
    for case in (*CASES, *SHAPES):
        if case.step_flops < 2.5e5 or case.step_flops > 1e10:
            continue
        engines = [NativeEngine(1), NativeEngine(most, exactly=True), NativeEngine(most)]
        runs = [Run(case, engine) for engine in engines]
        found: NDArray[np.float64] = np.array([[run.step() for run in runs] for _ in range(rounds)])
        one, every, own = found.min(axis=0)
        print(f"{case.name:32}{one:>10.1f}{every:>10.1f}{own:>10.1f}  {one / own:.2f}×")


def show_beside_numpy(rounds: int) -> None:
    """Print how long a step takes after a product of NumPy's, whose threads watch for work."""
    case = next(c for c in CASES if c.name.startswith("784-128-10"))
    run, quiet = Run(case, NativeEngine()), list[float]()
    for _ in range(40):
        quiet.append(run.step())
    usual = median(quiet[10:])
    left = np.random.default_rng(1).normal(size=(1500, 1500))
    delays = list[float]()
    for _ in range(rounds):
        _ = left @ left
        start, since = time.perf_counter(), 0.0
        for _ in range(60):
            slow = run.step() > 1.25 * usual
            if slow:
                since = time.perf_counter() - start
        delays.append(since * 1e3)
    print(
        f"\n{case.name}: {usual:.0f} µs a step; after a product of NumPy's the last epoch that "
        f"takes 1.25 times as long ends after {median(delays):.0f} ms (most {max(delays):.0f})"
    )


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    show_meetings()
    show_model()
    show_speedups(rounds)
    show_beside_numpy(max(3, rounds // 4))


if __name__ == "__main__":
    main()
