"""What `fit(watch=...)` costs beside a plain `fit` of the same network.

    python -m benchmarks.watch_own

One thread; processor time, the writing to disk among it. Fits of all kinds take turns, and the
least time of each counts. `benchmarks.watch` has the same for PyTorch.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

import chainrule as cr

ROUNDS, STEPS = 5, 20  # steps of an epoch


def measure(sizes: list[int], batch: int, epochs: int) -> None:
    """Print the time of a step, recorded and not."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(STEPS * batch, sizes[0])).astype(np.float32)
    y = rng.integers(0, sizes[-1], len(X))
    times: dict[int, list[float]] = {0: [], 20: [], 1: []}  # by every; 0 is not watched
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            for every, found in times.items():
                net = cr.Network(
                    sizes, output="softmax", loss="cross_entropy", dtype="float32", seed=0,
                    threads=1,
                )  # fmt: skip
                watch = cr.Watch(Path(folder, "run"), every=every) if every else None
                start = time.process_time()
                net.fit(
                    X, y, optimizer=cr.Adam(1e-4), epochs=epochs, batch_size=batch, metrics=[],
                    verbose=0, watch=watch,
                )  # fmt: skip
                found.append((time.process_time() - start) / (STEPS * epochs))
    plain = min(times[0])
    shape = "-".join(map(str, sizes))
    print(f"\n{shape}, {batch} samples, {STEPS * epochs} steps of Adam in float32")
    for every, found in times.items():
        name = f"watch, every={every}" if every else "fit"
        print(f"  {name:<18}{1e3 * min(found):8.3f} ms{min(found) / plain:8.2f}")


def main() -> None:
    """Measure a network of MNIST's size and a small one."""
    print("One thread; ms a step, and how many plain steps")
    measure([784, 512, 512, 10], 128, 15)
    measure([64, 64, 32, 10], 64, 150)


if __name__ == "__main__":
    main()
