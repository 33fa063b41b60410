"""What the gradient norm of each sample, H v and the diagonal of Gauss-Newton cost in gradients.

The bar is 1.1 gradients for the gradient with the norms.

    python -m benchmarks.per_sample

One thread; processor time. The fastest of many runs counts, and the two take turns.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import chainrule as cr

CASES = [((784, 512, 512, 10), 128), ((64, 64, 64, 1), 1000), ((10, 16, 1), 10_000),
         ((10, 64, 64, 3), 256), ((10, 16, 3), 32)]  # fmt: skip


def seconds(call: Callable[[], Any]) -> float:
    """Return the processor time of one call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def main() -> None:
    """Measure every case and print a line for each."""
    rng = np.random.default_rng(0)
    print("sizes, samples: gradient, with norms (ratio), with all gradients of samples formed; "
          "in gradients: H v, Gauss-Newton")  # fmt: skip
    for sizes, n in CASES:
        net = cr.Network(sizes, hidden="relu", seed=0)
        X, y = rng.normal(size=(n, sizes[0])), rng.normal(size=(n, sizes[-1]))

        def plain(net: cr.Network = net, X: Any = X, y: Any = y) -> cr.Gradient:
            return net.gradient(X, y)

        def formed(plain: Callable[[], cr.Gradient] = plain, L: int = len(sizes) - 1) -> None:
            g = plain()
            for l in range(1, L + 1):
                np.square(g.sample_dW(l)).sum(axis=(1, 2))

        calls = (plain, lambda plain=plain: plain().sample_norms)
        best = [np.inf, np.inf]
        for _ in range(300 if sizes[0] < 100 else 60):
            best = [min(b, seconds(call)) for b, call in zip(best, calls, strict=True)]
        slow = min(seconds(formed) for _ in range(3))
        v = rng.normal(size=net.parameters.size)
        curved = [
            min(seconds(call) for _ in range(20)) / best[0]
            for call in (
                lambda net=net, X=X, y=y, v=v: net.hessian_vector_product(X, y, v),
                lambda net=net, X=X, y=y: net.ggn_diagonal(X, y),
            )
        ]
        print(
            f"{'-'.join(map(str, sizes)):<16} {n:>6}: {1e3 * best[0]:8.3f} ms, "
            f"{1e3 * best[1]:8.3f} ms ({best[1] / best[0]:.2f}), {1e3 * slow:9.1f} ms; "
            f"H v {curved[0]:.1f}, Gauss-Newton {curved[1]:.1f}"
        )


if __name__ == "__main__":
    main()
