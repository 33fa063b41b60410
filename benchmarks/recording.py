"""How long the recording of a run takes: 200 steps of 2-4-2-1 as one HTML file; the bar is 15 s.

Run with ``python -m benchmarks.recording``. Timed is the processor, not the clock. Certificates are
recorded of six steps; they take longer where PyTorch or JAX is installed.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time

import chainrule as cr
from chainrule.explorer.hosts import offline
from chainrule.explorer.session import Session

BAR_S = 15.0
XOR = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]


def main() -> int:
    """Record, and print seconds of the processor and the size; exit 1 above the bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20 steps in place of 200")
    steps = 20 if parser.parse_args().quick else 200
    net = cr.Network([2, 4, 2, 1], hidden="tanh", output="sigmoid", loss="binary_cross_entropy",
                     seed=1)  # fmt: skip
    session = Session(net, XOR, [0.0, 1.0, 1.0, 0.0])
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; "
          f"Python {platform.python_version()}")  # fmt: skip
    begun = time.process_time()
    page = offline.page(session, steps)
    seconds = time.process_time() - begun
    missed = seconds > BAR_S
    print(f"{steps} steps of 2-4-2-1: {seconds:.1f} s of the processor, {len(page) / 1e6:.2f} MB"
          f"   bar {BAR_S:g} s{'  MISSED' if missed else ''}")  # fmt: skip
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
