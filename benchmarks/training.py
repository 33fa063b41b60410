"""How long a training step and a prediction take, beside other libraries, in the same run.

Peers take turns, so that whatever else the machine does meets all of them; a table gives medians.
The losses of the first epoch are compared, so that the same work is known to be done.
Run as ``python -m benchmarks.training [--quick] [--rows 2,3]``; writes docs/benchmarks.md unless
--dry.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np

from benchmarks import peers
from benchmarks.peers import Case

CASES = [
    Case([2, 2, 1], "tanh", 1, 4000),
    Case([2, 8, 8, 1], "tanh", 32, 500),
    Case([64, 64, 32, 10], "tanh", 32, 200),
    Case([784, 128, 10], "relu", 128, 20),
    Case([784, 512, 512, 10], "relu", 128, 6),
    Case([1024, 4096, 4096, 1024], "relu", 1024, 1, rate=1e-5),
    Case([13, 37, 5], "relu", 32, 400),
    Case([32] * 21, "tanh", 32, 100),
]
BARS = [(2.0, None), (4.0, None), (3.0, 0.35), (2.5, 0.72), (2.0, 0.78), (1.12, 0.92), (None, None), (None, None)]


def timed(f: Any, *args: Any) -> float:
    start = time.perf_counter()
    f(*args)
    return time.perf_counter() - start


def matrix_peak() -> float:
    """Give the best rate of a large matrix product, in flop/s, of NumPy and PyTorch."""
    A = np.ones((2048, 2048), "float32")
    best = min(timed(np.matmul, A, A) for _ in range(3))
    try:
        import torch

        T = torch.from_numpy(A)
        best = min(best, *(timed(torch.matmul, T, T) for _ in range(3)))
    except ImportError:
        pass
    return 2 * 2048**3 / best


def first_losses(built: dict[str, peers.Peer], order: Any) -> dict[str, float]:
    losses = {}
    for name, peer in built.items():
        if peer.epoch is not None:
            losses[name] = peer.epoch(order)
    expected = losses["chainrule"]
    for name, loss in losses.items():
        if not (np.isnan(loss) or abs(loss - expected) <= 2e-3 * abs(expected)):
            sys.exit(f"{name} does other work: its loss is {loss}, chainrule's {expected}")
    return losses


def build(case: Case, wanted: list[str]) -> tuple[dict[str, peers.Peer], Any]:
    X, y = case.data()
    built = {}
    for name in wanted:
        try:
            built[name] = peers.ALL[name](case, X, y)
        except ImportError as error:
            print(f"  without {name}: {error}", file=sys.stderr)
    return built, X


def measure(case: Case, wanted: list[str], seconds: float) -> tuple[dict[str, list[float]], float]:
    """Give the seconds a step of every peer, and the matrix peak, both from the same minutes."""
    built, X = build(case, wanted)
    rng = np.random.default_rng(1)
    first_losses(built, rng.permutation(len(X)))
    times: dict[str, list[float]] = {name: [] for name, p in built.items() if p.epoch}
    peak, start = 0.0, time.perf_counter()
    while time.perf_counter() - start < seconds or len(times["chainrule"]) < 5:
        order = rng.permutation(len(X))
        for name in times:
            times[name].append(timed(built[name].epoch, order) / case.steps)
        peak = max(peak, matrix_peak())
    return times, peak


def measure_predict(case: Case, n: int, wanted: list[str], seconds: float) -> dict[str, list[float]]:
    built, X = build(case, wanted)
    rows = np.ascontiguousarray(X[:n])
    times: dict[str, list[float]] = {name: [] for name, p in built.items() if p.predict}
    calls = max(1, int(2e-3 / max(1e-6, timed(built["chainrule"].predict, rows))))
    start = time.perf_counter()
    while time.perf_counter() - start < seconds or len(times["chainrule"]) < 5:
        for name in times:
            f = built[name].predict
            times[name].append(timed(lambda f=f: [f(rows) for _ in range(calls)]) / calls)
    return times


def microseconds(times: list[float]) -> str:
    m = statistics.median(times) * 1e6
    return f"{m:.3g}" if m < 1000 else f"{m:,.0f}"


def table(title: str, results: list[tuple[str, dict[str, list[float]], Any]]) -> list[str]:
    names = list(dict.fromkeys(name for _, times, _ in results for name in times))
    lines = [f"## {title}", "", "| network, batch | " + " | ".join(names) + " | ratio to the best peer | note |"]
    lines.append("|---" * (len(names) + 3) + "|")
    for label, times, note in results:
        ours = statistics.median(times["chainrule"])
        best = min(statistics.median(t) for name, t in times.items() if name != "chainrule")
        cells = [microseconds(times[name]) if name in times else "-" for name in names]
        lines.append(f"| {label} | " + " | ".join(cells) + f" | **{best / ours:.2f}×** | {note} |")
    return [*lines, ""]


def label(case: Case) -> str:
    sizes = "-".join(map(str, case.sizes)) if len(case.sizes) < 8 else f"{case.sizes[0]} × {len(case.sizes) - 1} layers"
    return f"{sizes} {case.hidden}, {case.batch}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two minutes in all")
    parser.add_argument("--rows", default="", help="numbers of cases, from 0")
    parser.add_argument("--only", default="", help="sgd, adam or predict")
    parser.add_argument("--dry", action="store_true", help="print only")
    args = parser.parse_args()
    chosen = [int(r) for r in args.rows.split(",")] if args.rows else list(range(len(CASES)))
    if args.quick and not args.rows:
        chosen.remove(5)
    seconds = 3.0 if args.quick else 12.0
    training = ["chainrule", "JAX", "PyTorch", "NumPy", "scikit-learn"]
    if not args.quick:
        training.insert(3, "PyTorch compiled")
    try:
        import torch

        torch.set_num_threads(2)
    except ImportError:
        pass

    out: list[str] = []
    for rule, title in (("sgd", "Training, gradient descent"), ("adam", "Training, Adam")):
        if args.only not in ("", rule):
            continue
        results = []
        for i in chosen:
            case = Case(**{**CASES[i].__dict__, "optimizer": rule})
            times, peak = measure(case, training, seconds)
            share = case.flops / statistics.median(times["chainrule"]) / peak
            least = min(times["chainrule"]) * 1e6
            note = f"{share:.0%} of {peak / 1e9:.0f} GFLOP/s; fastest {least:.3g} µs"
            results.append((label(case), times, note))
            print(table(title, results[-1:])[4], flush=True)
        out += table(f"{title}: µs a step, medians", results)
    if args.only in ("", "predict"):
        results = []
        for i in chosen:
            if i == 5:
                continue
            case = CASES[i]
            for n in sorted({1, case.batch}):
                times = measure_predict(case, n, ["chainrule", "JAX", "PyTorch", "NumPy", "scikit-learn", "onnxruntime"], seconds / 3)
                results.append((label(case).rsplit(",", 1)[0] + f", {n}", times, ""))
                print(table("", results[-1:])[4], flush=True)
        out += table("Prediction: µs a call, medians", results)
    if not args.dry:
        write(out)


def write(out: list[str]) -> None:
    from chainrule import _native

    versions = []
    for name in ("numpy", "jax", "torch", "scikit-learn", "onnxruntime"):
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"no {name}")
    head = [
        "# Benchmarks", "",
        "Written by `make bench`. Peers take turns in the same run; the loss after the first epoch agrees",
        "among them (scikit-learn starts from weights of its own). float32, half squared error, two threads.", "",
        f"Machine: {processor()}, {os.cpu_count()} cores, instruction set {_native.instruction_set()}, "
        f"Python {platform.python_version()}; " + ", ".join(versions) + ".", "",
    ]  # fmt: skip
    path = Path(__file__).parent.parent / "docs" / "benchmarks.md"
    path.write_text("\n".join([*head, *out]).rstrip() + "\n", encoding="utf-8")
    print(path)


def processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
