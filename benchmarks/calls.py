"""What a call of `fit` costs beside its steps, in processor time, on a busy machine too.

python -m benchmarks.calls
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

import chainrule as cr
from chainrule.training.task import Task

ROUNDS, CALLS = 9, 200


def cost(call: Callable[[], Any], calls: int) -> float:
    """Return the median over rounds of the microseconds of processor that a call takes."""
    call()
    found = []
    for _ in range(ROUNDS):
        start = time.process_time_ns()
        for _ in range(calls):
            call()
        found.append((time.process_time_ns() - start) / calls / 1e3)
    return median(found)


def main() -> None:
    """Print one line for each kind of call."""
    rng = np.random.default_rng(0)
    for steps in (1, 100):
        X, y = rng.normal(size=(4 * steps, 2)), rng.normal(size=(4 * steps, 1))
        net = cr.Network([2, 2, 1], hidden="tanh", seed=0)
        whole = cost(lambda: net.fit(X, y, epochs=1, batch_size=4, verbose=0), CALLS)  # noqa: B023
        more = cost(lambda: net.fit(X, y, epochs=2, batch_size=4, verbose=0), CALLS)  # noqa: B023
        said = f"fit of 2-2-1, {steps:3} steps of 4: {whole:.1f} µs"
        print(f"{said}, one epoch more {more - whole:.1f} µs")
    y = np.zeros((12_800, 10))
    for given, dtype in (("float32", "float32"), ("float64", "float32"), ("float64", "float64")):
        X = rng.normal(size=(12_800, 784)).astype(given)
        net = cr.Network([784, 128, 10], dtype=dtype, seed=0)  # type: ignore[arg-type]
        arguments = (net, X, y, None, None, None, None, 128, None, True, None)
        busy = cost(lambda: Task.check(*arguments), 3)  # noqa: B023
        waited = []
        for _ in range(3 * ROUNDS):
            start = time.perf_counter_ns()
            Task.check(*arguments)
            waited.append((time.perf_counter_ns() - start) / 1e6)
        print(
            f"checks of 12,800 × 784 of {given} for {dtype}: {median(waited):.1f} ms (least "
            f"{min(waited):.1f}), {busy / 1e3:.1f} ms of processor"
        )


if __name__ == "__main__":
    main()
