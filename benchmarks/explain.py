"""How long an explanation of any weight of 784-512-512-10 takes on 128 samples; the bar is 50 ms.

Run with ``python -m benchmarks.explain`` (or ``make bench``). Timed: `Network.explain` with its
value, every term with its derivation, the row of each sample, and the text without the certificate.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time

import numpy as np

import chainrule as cr
from chainrule.explain.document import sections

BAR_MS = 50.0


def explain_once(net: cr.Network, target: str, X: np.ndarray, y: np.ndarray) -> float:
    """Give the milliseconds that one explanation takes."""
    start = time.perf_counter()
    why = net.explain(target, X, y)
    rows, document, value = why.samples, sections(why), why.value
    milliseconds = (time.perf_counter() - start) * 1e3
    assert len(rows) == len(X)
    assert document
    assert np.isfinite(value)
    return milliseconds


def main() -> int:
    """Measure weights of every layer and print medians; exit 1 where one is above the bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    repetitions = 5 if parser.parse_args().quick else 40
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(128, 784)).astype(np.float32), rng.integers(0, 10, 128)
    net = cr.Network(
        [784, 512, 512, 10],
        hidden="relu",
        output="softmax",
        loss="cross_entropy",
        dtype="float32",
        seed=0,
    )
    targets = ["w[1][300,400]", "b[1][17]", "w[2][100,200]", "w[3][4,250]", "a[1][3]", "x[99]"]
    times: dict[str, list[float]] = {target: [] for target in targets}
    for _ in range(repetitions + 1):
        for target in targets:  # interleaved, so that a busy moment meets all alike
            times[target].append(explain_once(net, target, X, y))
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, {platform.machine()}")
    print("explanation in 784-512-512-10, 128 samples: milliseconds, median (least to most)")
    slow = False
    for target, measured in times.items():
        warm = measured[1:]
        median = statistics.median(warm)
        slow |= median > BAR_MS
        print(f"  {target:<14} {median:6.1f}  ({min(warm):.1f} to {max(warm):.1f})")
    print(f"bar {BAR_MS:.0f} ms: {'missed' if slow else 'met'}")
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
