"""NumPy, PyTorch and JAX in the same process, whose threads still watch for work when a fit begins.

``python -m benchmarks.neighbours [--rounds 8]``, in less than a minute. After a product of each
library come 120 ms of steps, timed in short epochs. "Recovered" is the end of the last one, in the
first 100 ms, that took 1.3 times as long as the median of the same steps a while after. The same
without a product stands first: what it shows is the machine's own unrest, not the libraries'.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np

from benchmarks.cases import CASES
from benchmarks.threads import Run
from chainrule.engines.native import NativeEngine

SIZE, SLOW, WATCHED, REST = 1500, 1.3, 0.12, 0.4
MARKS = (2, 5, 10, 20, 40, 80)  # ms after the product


def products() -> dict[str, Callable[[], Any]]:
    """Return a product of each library that is installed."""
    left = np.random.default_rng(1).normal(size=(SIZE, SIZE)).astype(np.float32)
    found: dict[str, Callable[[], Any]] = {"nothing": lambda: None, "NumPy": lambda: left @ left}
    try:
        import torch

        tensor = torch.from_numpy(left)
        found["PyTorch"] = lambda: tensor @ tensor
    except ImportError:
        print("PyTorch is not installed")
    try:
        import jax

        array = jax.numpy.asarray(left)
        found["JAX"] = lambda: (array @ array).block_until_ready()
    except ImportError:
        print("JAX is not installed")
    return found


def series(run: Run, seconds: float) -> list[tuple[float, float]]:
    """Return (ms since the start, µs a step) of epochs for so long."""
    start, found = time.perf_counter(), list[tuple[float, float]]()
    while (now := time.perf_counter() - start) < seconds:
        step = run.step()
        found.append(((now + time.perf_counter() - start) / 2 * 1e3, step))
    return found


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=8)
    rounds = parser.parse_args().rounds
    case = replace(next(c for c in CASES if c.name.startswith("784-128-10")), steps=4)
    run, libraries = Run(case, NativeEngine()), products()
    series(run, 1.0)
    names, delays = list(libraries), {name: list[float]() for name in libraries}
    curves = {name: [list[float]() for _ in MARKS] for name in names}
    usual = {name: list[float]() for name in names}
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            time.sleep(0.1)
            libraries[name]()
            after = series(run, WATCHED)
            time.sleep(0.01)
            calm = median(step for _, step in series(run, REST))
            usual[name].append(calm)
            slow = [ms for ms, step in after if ms < 100 and step > SLOW * calm]
            delays[name].append(max(slow, default=0.0))
            for i, mark in enumerate(MARKS):
                before = MARKS[i - 1] if i else 0
                curves[name][i] += [step / calm for ms, step in after if before <= ms < mark]
    print(f"{case.name}: time of a step beside the calm one's, medians of {rounds} rounds, after")
    print(f"{'':10}" + "".join(f"{f'< {mark} ms':>9}" for mark in MARKS) + "   recovered  calm µs")
    for name in names:
        cells = "".join(f"{median(part):>9.2f}" if part else f"{'-':>9}" for part in curves[name])
        print(f"{name:10}{cells}{median(delays[name]):>9.0f} ms{median(usual[name]):>9.0f}")


if __name__ == "__main__":
    main()
