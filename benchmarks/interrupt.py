"""How soon Ctrl-C ends a run: seconds from the signal to the return of `fit`.

    python -m benchmarks.interrupt

Three networks: steps of under a microsecond, of a millisecond, and of a second. The signal comes at
moments that differ from try to try; the median and the longest count. The bar is 0.2 s.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

CASES = {
    "2-2-1, batch 1": ([2, 2, 1], 100_000, 1, 100_000),
    "784-512-512-10, batch 128": ([784, 512, 512, 10], 20_000, 128, 20_000),
    "1024-4096-4096-1024, batch 1024": ([1024, 4096, 4096, 1024], 2048, 1024, 99),
}
DELAYS = [0.3, 0.41, 0.52, 0.63, 0.74]
PROGRAM = """
import json, os, signal, sys, threading, time
import numpy as np, chainrule as cr
(sizes, n, batch, v), delays = json.loads(sys.argv[1]), json.loads(sys.argv[2])
X, y = np.zeros((n, sizes[0]), "float32"), np.zeros((n, sizes[-1]), "float32")
net = cr.Network(sizes, dtype="float32", seed=0, engine="native")
found = []
for delay in delays:
    sent = []
    def interrupt():
        time.sleep(delay)
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)
    class Start(cr.Callback):
        def on_start(self, run):
            threading.Thread(target=interrupt, daemon=True).start()
    net.fit(X, y, epochs=10**9, batch_size=batch, validation_data=(X[:v], y[:v]), verbose=0,
            callbacks=[Start()])
    found.append(time.perf_counter() - sent[0])
print(json.dumps(found))
"""


def main() -> None:
    """Print a row for each network."""
    for name, case in CASES.items():
        command = [sys.executable, "-c", PROGRAM, json.dumps(case), json.dumps(DELAYS)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds = json.loads(done.stdout)
        print(f"{name:34} median {statistics.median(seconds):.3f} s, longest {max(seconds):.3f} s")


if __name__ == "__main__":
    main()
