"""How fast exported C predicts one row, beside `predict` and ONNX Runtime from Python; its size.

``python -m benchmarks.export_c [--rounds N]``. Times are the shortest of the rounds, each of 2,000
calls. Needs GCC and the packages onnx and onnxruntime. Exit status 1 says that a bar is missed:
with -O3 -march=native, 64-64-32-10 with relu is at least 2.5 times as fast as `predict`, with tanh
2 times, both 10 times as fast as ONNX Runtime, and the code beside the parameters takes at most
8 kB.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import chainrule as cr

_TIMER = r"""
#define _POSIX_C_SOURCE 199309L
#include "model.h"
#include <stdio.h>
#include <time.h>
int main(void)
{
    float x[MODEL_INPUTS], y[MODEL_OUTPUTS];
    struct timespec a, b;
    double took, shortest = 1e9;
    int i, round;
    for (i = 0; i < MODEL_INPUTS; ++i)
        x[i] = 0.01f * (float)i;
    for (round = 0; round < 20; ++round) {
        clock_gettime(CLOCK_MONOTONIC, &a);
        for (i = 0; i < 2000; ++i) {
            model_predict(x, y);
            x[0] = 1e-6f * y[0]; /* the next call waits for this one */
        }
        clock_gettime(CLOCK_MONOTONIC, &b);
        took = (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
        shortest = took < shortest ? took : shortest;
    }
    printf("%.9g\n", shortest / 2000);
    return 0;
}
"""
_BARS = {"relu": 2.5, "tanh": 2.0}


def seconds(call: Callable[[], object], n: int = 2000) -> float:
    """Return the time of one call."""
    start = time.perf_counter()
    for _ in range(n):
        call()
    return (time.perf_counter() - start) / n


def code_bytes(folder: Path, parameters: int) -> int:
    """Return the size of the compiled file without its parameters."""
    subprocess.run(
        ["gcc", "-std=c99", "-O3", "-march=native", "-c", "model.c", "-o", "model.o"],
        cwd=folder, check=True,
    )  # fmt: skip
    command = ["size", "model.o"]
    out = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return int(out.stdout.splitlines()[1].split()[0]) - 4 * parameters


def measure(hidden: str, rounds: int) -> tuple[dict[str, float], int]:
    """Return seconds for one row, by who computes it, and the bytes of code."""
    import onnxruntime

    net = cr.Network([64, 64, 32, 10], hidden=hidden, dtype="float32", seed=0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        net.to_c(folder / "model.c")
        net.to_onnx(folder / "model.onnx")
        (folder / "timer.c").write_text(_TIMER)
        command = ["gcc", "-std=c99", "-O3", "-march=native", "model.c", "timer.c", "-o", "timer"]
        subprocess.run(command, cwd=folder, check=True)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(folder / "model.onnx", options)
        x = np.linspace(0, 0.63, 64, dtype=np.float32)
        feed = {"X": x[None]}
        taken: dict[str, list[float]] = {"C": [], "predict": [], "ONNX Runtime": []}
        for _ in range(rounds):  # in turn, so that a slow moment of the machine meets all
            done = subprocess.run([folder / "timer"], check=True, capture_output=True, text=True)
            taken["C"].append(float(done.stdout))
            taken["predict"].append(seconds(lambda: net.predict(x)))
            taken["ONNX Runtime"].append(seconds(lambda: session.run(None, feed)))
        size = code_bytes(folder, net.parameters.size)
    return {who: min(times) for who, times in taken.items()}, size


def main() -> int:
    """Print a line for each activation; return 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.export_c", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    met = True
    print("64-64-32-10, one row, float32, µs: C (gcc -std=c99 -O3 -march=native)")
    for hidden in ("relu", "tanh", "sigmoid", "gelu", "silu", "softplus"):
        took, size = measure(hidden, rounds)
        ratios = {who: took[who] / took["C"] for who in ("predict", "ONNX Runtime")}
        bar = _BARS.get(hidden)
        fast = not bar or (ratios["predict"] >= bar and ratios["ONNX Runtime"] >= 10)
        ok = fast and size <= 8192
        met = met and ok
        print(
            f"{hidden:<9} C {1e6 * took['C']:.2f}, predict {1e6 * took['predict']:.2f} "
            f"({ratios['predict']:.1f} times), ONNX Runtime {1e6 * took['ONNX Runtime']:.1f} "
            f"({ratios['ONNX Runtime']:.0f} times); code {size:,} bytes"
            f"{'' if ok else '  MISSED'}"
        )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
