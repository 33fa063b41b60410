"""Campaigns: draws shared out over processes, and the report of what they found."""

from __future__ import annotations

import argparse
import multiprocessing
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from . import draws
from .record import Finding, Record

_HANGS = 180.0  # seconds without a word from a process


def work(parent: Connection, parts: list[str], shrink: float) -> None:
    """Check the draws of the seeds that the parent sends, until it sends None."""
    known: set[str] = set()
    while (task := parent.recv()) is not None:
        number, count, until = task
        _of_a_seed(parent, parts, shrink, known, number, count, until)
        parent.send(("done",))


def _of_a_seed(
    parent: Connection, parts: list[str], shrink: float, known: set[str], number: int, count: int,
    until: float,
) -> None:  # fmt: skip
    found: list[tuple[int, Finding, Any]] = []

    def visit(index: int, case: Any) -> None:
        if time.time() > until:
            return
        parent.send(("case", number, index, case.to_json()))
        record = draws.run(case, parts)
        found.extend((index, finding, case) for finding in record.findings)
        record.findings = []
        parent.send(("record", record))

    draws.each(number, visit, count=count)
    for index, finding, case in found:
        smallest = None
        if shrink and finding.kind not in known:
            parent.send(("case", number, index, case.to_json()))
            smallest = draws.shrink(number, index, finding, shrink, count)
        known.add(finding.kind)
        parent.send(("finding", number, index, finding, case.to_json(), smallest))


@dataclass
class Worker:
    """A process, the draw that it is at, and when it was heard of."""

    process: Any
    pipe: Connection
    at: tuple[int, int, str] | None = None
    heard: float = field(default_factory=time.monotonic)


class Campaign:
    """Draws shared out over processes, and what they found."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.record, self.begun = options, Record(), time.time()
        self.until = self.begun + options.seconds
        count = -(-options.draws // draws.OF_A_SEED)
        self.seeds = [(options.seed + i, draws.OF_A_SEED) for i in reversed(range(count))]
        if left := options.draws % draws.OF_A_SEED:
            self.seeds[0] = (self.seeds[0][0], left)
        self.kinds: dict[str, int] = {}
        self.hangs = _HANGS
        self.context: Any = multiprocessing.get_context("spawn")

    def run(self) -> int:
        """Draw until all is drawn or the time is over; print what came of it, give the status."""
        first, last = self.options.seed, self.options.seed + len(self.seeds) - 1
        print(f"drawing {self.options.draws:,} networks, seeds {first} to {last}", flush=True)
        workers = [self.start() for _ in range(max(1, min(self.options.jobs, len(self.seeds))))]
        try:
            for worker in workers:
                self.next_task(worker)
            while workers:
                self.listen(workers)
        finally:
            for worker in workers:
                worker.process.kill()
        self.report()
        return int(bool(self.kinds))

    def start(self) -> Worker:
        ours, theirs = self.context.Pipe()
        arguments = (theirs, self.options.parts, self.options.shrink)
        process = self.context.Process(target=work, args=arguments)
        process.start()
        theirs.close()
        return Worker(process, ours)

    def next_task(self, worker: Worker) -> None:
        worker.at, worker.heard = None, time.monotonic()
        more = self.seeds and time.time() < self.until
        worker.pipe.send((*self.seeds.pop(), self.until) if more else None)

    def listen(self, workers: list[Worker]) -> None:
        """Take what processes say; replace one that crashed or hangs."""
        ready = wait([worker.pipe for worker in workers], timeout=1.0)
        for worker in list(workers):
            if worker.pipe in ready:
                try:
                    self.take(worker, worker.pipe.recv())
                    continue
                except (EOFError, ConnectionError):
                    worker.process.join()
                    why = f"the process ended with status {worker.process.exitcode}"
            elif time.monotonic() - worker.heard > self.hangs:
                worker.process.kill()
                why = f"the process hangs: no word for {self.hangs:.0f} s"
            else:
                continue
            workers.remove(worker)
            if worker.at is not None:
                number, index, case = worker.at
                self.found(number, index, Finding("crash or hang", why), case, None)
                workers.append(self.start())
                self.next_task(workers[-1])

    def take(self, worker: Worker, message: Any) -> None:
        worker.heard = time.monotonic()
        match message:
            case ("case", number, index, case):
                worker.at = (number, index, case)
            case ("record", record):
                self.record.add(record)
            case ("finding", number, index, finding, case, smallest):
                self.found(number, index, finding, case, smallest)
            case ("done",):
                self.next_task(worker)

    def found(
        self, number: int, index: int, finding: Finding, case: str, smallest: draws.Smallest | None
    ) -> None:
        """Print the first finding of each kind, and those that were made smaller."""
        self.kinds[finding.kind] = self.kinds.get(finding.kind, 0) + 1
        if self.kinds[finding.kind] > 1 and smallest is None:
            return
        lines = [f"\n{finding.kind}: {finding.text}"]
        lines.append(f"  again: make draw DRAW='--seed {number} --only {index}'")
        if smallest is not None:
            case = smallest.case.to_json()
            lines.append(f"  made smaller: {smallest.finding.text}")
        lines.append(f"  python -m tests.draw --case '{case}'")
        print("\n".join(lines), flush=True)

    def report(self) -> None:
        counts, worst = self.record.counts, self.record.worst
        seconds, numbers = time.time() - self.begun, counts["numbers"]
        print(f"\n{counts['draws']:,} draws in {seconds:.0f} s, {numbers:,} numbers compared")
        of_kinds, others = {}, {}
        for name, count in sorted(counts.items()):
            if name.endswith(": numbers"):
                kind = name.removesuffix(": numbers")
                of_kinds[kind] = f"{count:>13,}  {worst.get(kind, 0.0):.2g}"
            elif name not in ("numbers", "draws"):
                others[name] = f"{count:,}"
        _table("numbers compared, and the largest error beside its bound", of_kinds)
        _table("of these", others)
        kinds = {kind: f"{count:,} times" for kind, count in sorted(self.kinds.items())}
        _table("does not hold" if kinds else "all holds", kinds)


def _table(title: str, rows: dict[str, str]) -> None:
    width = max(map(len, rows), default=0)
    print(f"\n{title}", *(f"  {name:<{width}}  {value}" for name, value in rows.items()), sep="\n")
