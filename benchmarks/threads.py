"""Threads: what a meeting costs, the model on 4 to 64 cores, and what two threads gain.

``python -m benchmarks.threads [--rounds 9] [--seconds 0.12]``, in less than three minutes. A share
is of the best matrix product of the same round, in a process of its own, which sleeps between.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import numpy as np

from benchmarks.cases import CASES, SHAPES, Case
from benchmarks.measure import PEAK, Worker
from chainrule import Adam, GradientDescent, Network
from chainrule.engines import _native
from chainrule.engines.base import Epoch, Plan, State
from chainrule.engines.native import NativeEngine
from chainrule.equations.data import Samples

SMALL = 192 * 1024  # bytes of parameters with which dW may be summed by halves of the batch
CACHED = 1 << 20  # and up to which samples may be shared out
PANEL = 64  # units, with AVX-512
CORES = (1, 2, 4, 8, 16, 32, 64)


def costs(case: Case, most: int) -> tuple[float, float, int]:
    """Return the operations of a step, the bytes that threads hand over, and their meetings.

    As native/trainer.h has it: by halves two threads hand each other dW alone; else W, W for the
    backward pass where samples are shared out, and what dW needs.
    """
    pairs = list(zip(case.sizes, case.sizes[1:], strict=False))
    W = [(m + 1) * n for m, n in pairs]
    of_samples = case.batch * sum(m + n for m, n in pairs)
    by_halves = sum(W) * 4 <= SMALL and of_samples / 2 > sum(W)
    if by_halves and most == 2:
        return case.step_flops, 4.0 * sum(W), 1
    handed = sum(W) + sum(W[1:])
    wide = [n for n in case.sizes[1:] if n > PANEL]
    even = bool(wide) and all(n % (2 * PANEL) == 0 for n in wide)
    by_samples = (
        by_halves
        or (sum(W) * 4 <= SMALL and not even)
        or (sum(W) * 4 <= CACHED and handed <= case.batch * sum(case.sizes[1:]))
    )
    numbers = (sum(W) if by_samples else 0) + sum(W[1:]) + (sum(W) if by_halves else of_samples)
    return case.step_flops, 4.0 * numbers, 2 if by_samples else 2 * len(W) + 1


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
        cells = ""
        for most in CORES:
            found = costs(case, most)
            alone, n = _native.likely_seconds(*found, 1), most
            if case.step_flops <= 1e9:  # beyond, all threads without a choice
                n = _native.likely_threads(*found, most)
            cells += f"{n:>4}{alone / _native.likely_seconds(*found, n):>5.1f}×"
        print(f"{case.name:32}{cells}")


class Run:
    """Epochs of a network on an engine, timed."""

    def __init__(self, case: Case, engine: NativeEngine, optimizer: str = "gd") -> None:
        rng = np.random.default_rng(0)
        n = case.batch * case.steps
        self._net = Network(list(case.sizes), hidden=case.activation, dtype="float32", seed=0)
        rule = Adam(1e-3) if optimizer == "adam" else GradientDescent(1e-3)
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


class Prediction:
    """Predictions of a batch on an engine, timed."""

    def __init__(self, case: Case, engine: NativeEngine) -> None:
        self._net = Network(list(case.sizes), hidden=case.activation, dtype="float32", seed=0)
        rng = np.random.default_rng(0)
        self._X = rng.normal(size=(case.batch, case.sizes[0])).astype(np.float32)
        self._engine = engine

    def step(self) -> float:
        """Return the microseconds that a call takes."""
        start = time.perf_counter()
        for _ in range(20):
            self._engine.predict(self._net, self._X)
        return (time.perf_counter() - start) / 20 * 1e6


def turn(run: Run | Prediction, seconds: float) -> float:
    """Return the median over so many seconds of epochs, the first of which warms the caches."""
    run.step()
    found, end = list[float](), time.perf_counter() + seconds
    while not found or time.perf_counter() < end:
        found.append(run.step())
    return median(found)


def show_shares(rounds: int, seconds: float) -> None:
    """Print a step with one thread, with all, and with the choice, and its share of the peak."""
    most = _native.default_threads()
    engines: list[Callable[[], NativeEngine]] = [
        lambda: NativeEngine(1),
        lambda: NativeEngine(most, exactly=True),
        lambda: NativeEngine(most),
    ]
    print(f"\nMedians of {rounds} rounds, interleaved, in µs; shares of the peak of the same round")
    head = ("1 thread", f"{most} threads", "choice", "gain", "least", "share", "bar")
    print(f"{'':36}" + "".join(f"{word:>11}" for word in head))
    with Worker(PEAK) as worker:
        worker.prepare(kind="products", case=CASES[0].to_dict())
        worker.ask("rest")
        for what, case, optimizer, bar in _ROWS:
            runs = [
                Prediction(case, make()) if what == "predict" else Run(case, make(), optimizer)
                for make in engines
            ]
            flops = case.step_flops if what == "fit" else 2.0 * case.batch * case.multiply_adds
            times, shares = list[list[float]](), list[float]()
            for _ in range(rounds):
                peak = 1 / worker.ask("time", seconds=0.3, peak=True)["seconds"]  # GFLOP/s
                times.append([turn(run, seconds) for run in runs])
                shares.append(flops / times[-1][2] / 1e3 / peak)
            one, every, own = np.median(times, axis=0)
            gains = [row[0] / row[2] for row in times]
            words = case.name + (", Adam" if optimizer == "adam" else "")
            words = f"{what} {words}" if what == "predict" else words
            print(
                f"{words:36}{one:>11.1f}{every:>11.1f}{own:>11.1f}{median(gains):>10.2f}×"
                f"{min(gains):>10.2f}×{median(shares):>11.1%}{bar:>11}"
            )


def _case(name: str) -> Case:
    return next(case for case in (*CASES, *SHAPES) if case.name == name)


_ROWS: tuple[tuple[str, Case, str, str], ...] = (
    ("fit", _case("64-64-32-10 tanh, 32"), "gd", "1.4×"),
    ("fit", _case("64-64-32-10 tanh, 32"), "adam", "1.4×"),
    ("fit", _case("300-128-64-1 relu, 64"), "gd", "70%"),
    ("fit", _case("300-128-64-1 relu, 64"), "adam", "70%"),
    ("fit", _case("32, 20 layers, tanh, 64"), "gd", "60%"),
    ("fit", _case("100-256-256-1 silu, 4096"), "gd", "80%"),
    ("fit", _case("784-128-10 relu, 128"), "gd", "72%"),
    ("fit", _case("32, 20 layers, tanh, 32"), "gd", "1×"),
    ("fit", _case("64-64-32-10 tanh, 1"), "gd", "1×"),
    ("fit", _case("13-37-5 tanh, 32"), "gd", "1×"),
    ("predict", _case("784-128-10 relu, 128"), "gd", "1×"),
    ("predict", _case("784-512-512-10 relu, 128"), "gd", "1×"),
)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.12, help="of each turn")
    given = parser.parse_args()
    show_meetings()
    show_model()
    show_shares(given.rounds, given.seconds)


if __name__ == "__main__":
    main()
