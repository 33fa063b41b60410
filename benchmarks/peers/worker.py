"""One peer in a process of its own: reads a request a line, answers with a line of JSON.

``python -m benchmarks.peers.worker NAME``. Between requests it waits for input, so that its threads
sleep while others are measured; each answer says how much processor time the wait took.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import statistics
import sys
import time
import traceback
from typing import Any

import numpy as np

from benchmarks.cases import Case, problem
from benchmarks.measure import THREADS, distinct_cores
from benchmarks.peers import MODULES, Subject, Task, UnsupportedError

_TRIAL = 0.15  # seconds for each way of writing a peer


def pin() -> None:
    """Keep to two cores of the machine, the same for every peer."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, distinct_cores(THREADS))


def timings(subject: Subject, seconds: float) -> list[float]:
    """Give seconds for one unit, again and again for as long as asked; at least once.

    Short work is repeated between two readings of the clock.
    """
    begun = time.perf_counter()
    subject.once()  # brings code and data back into the caches
    first = time.perf_counter() - begun
    if first >= max(seconds, 0.2):
        return [first / subject.units]  # long enough that a cold start does not count
    repeat = max(1, round(0.001 / max(first, 1e-7)))
    found: list[float] = []
    spent = 0.0
    while spent < seconds:
        start = time.perf_counter()
        for _ in range(repeat):
            subject.once()
        lap = time.perf_counter() - start
        found.append(lap / (repeat * subject.units))
        spent += lap
    return found


def _trial(subject: Subject, best: float) -> float:
    """Give the seconds for a unit; one that is clearly slower than the best is timed once only."""
    subject.reset()
    start = time.perf_counter()
    subject.once()
    first = (time.perf_counter() - start) / subject.units
    return first if first > 2 * best else statistics.median(timings(subject, _TRIAL))


class Worker:
    """Holds what is being timed."""

    def __init__(self, name: str) -> None:
        self.module: Any = importlib.import_module(f"benchmarks.peers.{MODULES[name]}")
        self.subject: Subject | None = None

    def prepare(self, request: dict[str, Any]) -> dict[str, Any]:
        """Build a case in each way that the peer knows, and keep the fastest."""
        self.subject = None
        gc.collect()
        case = Case.from_dict(request["case"])
        task = Task(case, problem(case), request.get("optimizer", "gd"), request.get("rows", 1))
        ways = getattr(self.module, request["kind"])(task)
        trials: dict[str, float] = {}
        failed: dict[str, str] = {}
        best, proof, words = float("inf"), None, ""
        for way, build in ways.items():
            try:
                subject = build()
                shown = subject.proof()
            except UnsupportedError as error:
                failed[way] = str(error)
                continue
            trials[way] = _trial(subject, best) if len(ways) > 1 else 0.0
            if trials[way] < best:
                best, proof, words, self.subject = trials[way], shown, way, subject
            del subject
            gc.collect()
        if self.subject is None:
            raise UnsupportedError("; ".join(failed.values()) or "does not know this case")
        if isinstance(proof, np.ndarray):
            np.save(request["file"], proof)
            proof = None
        return {"way": words, "trials": trials, "failed": failed, "proof": proof}

    def time(self, request: dict[str, Any]) -> dict[str, Any]:
        """Time what was prepared, from the initial weights on."""
        assert self.subject is not None
        self.subject.reset()
        gc.collect()
        gc.disable()
        try:
            found = timings(self.subject, request["seconds"])
            return {"seconds": min(found) if request["peak"] else statistics.median(found)}
        finally:
            gc.enable()

    def rest(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do nothing: idle time is counted from here."""
        return {}

    def forget(self, request: dict[str, Any]) -> dict[str, Any]:
        """Free the memory of what was prepared."""
        self.subject = None
        gc.collect()
        return {}


def main() -> None:
    """Answer requests until the input ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes elsewhere
    pin()
    try:
        worker = Worker(sys.argv[1])
        print(json.dumps({}), file=replies, flush=True)
    except ImportError as error:
        print(json.dumps({"unsupported": f"not installed: {error.name}"}), file=replies, flush=True)
        return
    cpu = time.process_time()
    for line in sys.stdin:
        idle = time.process_time() - cpu
        request = json.loads(line)
        try:
            reply = getattr(worker, request["do"])(request)
        except UnsupportedError as error:
            reply = {"unsupported": str(error)}
        except Exception as error:
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"}
        # The pools of some libraries spin for a moment after the last task; that is the caller's
        # pause to cover, and what is left of it after the pause is counted.
        time.sleep(request.get("pause", 0.0))
        cpu = time.process_time()
        reply |= {"idle": idle, "cpu": cpu}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
