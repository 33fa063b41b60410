"""How things are measured: one process for each peer, turn by turn, with medians and spread."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).parent.parent
THREADS = 2
PEAK = "products"  # the worker that multiplies matrices
PAUSE = 0.1  # seconds after a turn in which a library's threads may go to sleep

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    "NPROC", "CHAINRULE_NUM_THREADS",
)  # fmt: skip
PACKAGES = (
    "numpy", "scipy", "jax", "jaxlib", "torch", "scikit-learn", "onnxruntime",
)  # fmt: skip


def environment() -> dict[str, str]:
    """Give the variables of a worker: two threads in every library, no accelerator."""
    values = dict(os.environ)
    values |= dict.fromkeys(_THREAD_VARIABLES, str(THREADS))
    values["JAX_PLATFORMS"] = "cpu"
    values["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # a pool of compilers would outlive its task
    values["PYTHONWARNINGS"] = "ignore"
    return values


def distinct_cores(count: int) -> set[int]:
    """Give CPUs of different cores, of those that this process may use."""
    allowed = sorted(os.sched_getaffinity(0))
    cores: dict[tuple[str, str], int] = {}
    for cpu in allowed:
        folder = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
        try:
            key = tuple((folder / name).read_text() for name in ("physical_package_id", "core_id"))
            cores.setdefault((key[0], key[1]), cpu)
        except OSError:
            cores.setdefault((str(cpu), ""), cpu)
    first = sorted(cores.values())[:count]
    return set(first if len(first) == count else allowed[:count])


class WorkerError(RuntimeError):
    """A worker failed where it should not."""


class Worker:
    """A peer's process, from the parent's side; see `benchmarks.peers.worker`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.cpu = self.idle = 0.0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peers.worker", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("BENCH_VERBOSE") else subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env=environment(),
        )
        self._greeted = False
        self.missing: str | None = None  # why there is no such peer here

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        if kind is not None:
            self._process.terminate()
        self._process.stdin.close()
        self._process.wait()

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Send a request and wait for its answer; "unsupported" and "error" are answers too.

        Raises WorkerError if the worker ended.
        """
        if not self._greeted:
            self._greeted = True
            self.missing = self._read(do).get("unsupported")
        if self.missing is not None:
            return {"unsupported": self.missing}
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, "pause": PAUSE, **request}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerError(f"{self.name} ended before {do!r}") from None
        reply = self._read(do)
        self.cpu, self.idle = reply["cpu"], self.idle + reply["idle"]
        return reply

    def prepare(self, **request: Any) -> dict[str, Any]:
        """Have a case built; the answer may say "unsupported" and why.

        Raises WorkerError if the worker failed in a way that was not foreseen.
        """
        reply = self.ask("prepare", **request)
        if "error" in reply:
            raise WorkerError(f"{self.name}: {reply['error']}; BENCH_VERBOSE=1 shows where")
        return reply

    def _read(self, do: str) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(f"{self.name} ended during {do!r}; BENCH_VERBOSE=1 shows why")
        reply: dict[str, Any] = json.loads(line)
        return reply


@dataclass(frozen=True)
class Spread:
    """Numbers of several rounds: the median, the least and the most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Sum up the numbers of the rounds."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass
class Quiet:
    """Whether measurements were disturbed: shares of the machine's processor time."""

    idle: dict[str, float] = field(default_factory=dict)  # by a worker while others were measured
    others: list[float] = field(default_factory=list)  # by processes that are none of ours

    @classmethod
    def of_all(cls, several: Sequence[Quiet]) -> Quiet:
        """Sum up several measurements."""
        both = cls(others=[share for one in several for share in one.others])
        for one in several:
            for name, share in one.idle.items():
                both.idle[name] = max(share, both.idle.get(name, 0.0))
        return both

    def worst_idle(self) -> tuple[str, float]:
        """Give the worker that was least idle, and its share of a core."""
        return max(self.idle.items(), key=lambda item: item[1], default=("", 0.0))


def interleave(
    workers: Mapping[str, Worker], rounds: int, seconds: float, quiet: Quiet
) -> dict[str, list[float]]:
    """Time what each worker has prepared, all in turn, round after round.

    Gives seconds for one unit, one number for each round. Each round begins with another worker.
    """
    found: dict[str, list[float]] = {name: [] for name in workers}
    names = list(workers)
    for worker in workers.values():
        worker.ask("rest")
    begun = time.perf_counter()
    busy, ours = _busy(), _own(workers)
    idle = {name: worker.idle for name, worker in workers.items()}
    own_turn = dict.fromkeys(names, 0.0)
    for turn in range(rounds):
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            clock = time.perf_counter()
            peak = name == PEAK  # the fastest of a turn: what the machine can do
            turn_seconds = max(seconds, 0.3) if peak else seconds
            reply = workers[name].ask("time", seconds=turn_seconds, peak=peak)
            if "seconds" not in reply:
                raise WorkerError(f"{name}, while timed: {reply.get('error', reply)}")
            found[name].append(reply["seconds"])
            own_turn[name] += time.perf_counter() - clock
    wall = time.perf_counter() - begun
    for name, worker in workers.items():
        waited = wall - own_turn[name]
        if waited > 0:
            share = (worker.idle - idle[name]) / waited
            quiet.idle[name] = max(quiet.idle.get(name, 0.0), share)
    if busy is not None and (after := _busy()) is not None:
        rest = (after - busy) - (_own(workers) - ours)
        quiet.others.append(max(0.0, rest / (wall * (os.cpu_count() or 1))))
    return found


def ratios(of: Sequence[float], to: Sequence[float]) -> Spread:
    """Divide two rows of times round by round, so that a slow moment of the machine cancels."""
    return Spread.of([a / b for a, b in zip(of, to, strict=True)])


def _own(workers: Mapping[str, Worker]) -> float:
    return time.process_time() + sum(worker.cpu for worker in workers.values())


def _busy() -> float | None:
    """Give the seconds that all processors worked for anyone since the start, or None."""
    try:
        numbers = [int(n) for n in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    except OSError:
        return None
    user, nice, system, _idle, _wait, irq, softirq, steal = numbers[:8]
    return (user + nice + system + irq + softirq + steal) / float(os.sysconf("SC_CLK_TCK"))


def machine() -> dict[str, str]:
    """Say what was measured on: processor, memory, system, versions."""
    processor, flags = platform.processor() or platform.machine(), ""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        facts = {
            key.strip(): value.strip() for key, _, value in (li.partition(":") for li in lines)
        }
        processor = f"{facts['model name']}, {float(facts.get('cpu MHz', 0)) / 1000:.1f} GHz"
        flags = next((f for f in ("avx512f", "avx2", "avx") if f in facts["flags"].split()), "")
    except (OSError, KeyError):
        pass
    versions = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "processor": processor + (f", {flags.upper()}" if flags else ""),
        "cores": f"{os.cpu_count()}, of which {THREADS} are used",
        "system": f"{platform.system()} {platform.machine()}",
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
