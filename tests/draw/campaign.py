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

# --- a process ------------------------------------------------------------------------------------


def work(parent: Connection, parts: list[str], shrink: float) -> None:
    """Check the draws of the seeds that the parent sends, until it sends None."""
    known: set[str] = set()
    while (task := parent.recv()) is not None:
        number, count, until = task

        def visit(index: int, case: Any, number: int = number, until: float = until) -> None:
            if time.time() > until:
                return
            parent.send(("case", number, index, case.to_json()))
            record = draws.run(case, parts)
            found, record.findings = record.findings, []
            parent.send(("record", record))
            for finding in found:
                fresh = finding.kind not in known
                known.add(finding.kind)
                todo.append((index, finding, case, fresh))

        todo: list[Any] = []
        draws.each(number, visit, count=count)
        for index, finding, case, fresh in todo:
            smallest = draws.shrink(number, index, finding, shrink, count) if fresh and shrink else None
            parent.send(("finding", number, index, finding, case.to_json(), smallest))
        parent.send(("done",))


# --- the parent -----------------------------------------------------------------------------------


@dataclass
class Worker:
    """A process, the case that it is at, and when it was heard of."""

    process: Any
    pipe: Connection
    at: tuple[int, int, str] | None = None
    heard: float = field(default_factory=time.monotonic)


class Campaign:
    """Draws shared out over processes, and what they found."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.record, self.begun = options, Record(), time.time()
        self.until = self.begun + options.seconds
        self.seeds: list[tuple[int, int]] = []
        left, number = options.draws, options.seed
        while left > 0:
            self.seeds.append((number, min(left, draws.OF_A_SEED)))
            left, number = left - draws.OF_A_SEED, number + 1
        self.seeds.reverse()
        self.kinds: dict[str, list[Any]] = {}
        self.context = multiprocessing.get_context("spawn")

    def run(self) -> int:
        o = self.options
        print(f"drawing {o.draws:,} networks, seeds {o.seed} to {o.seed + len(self.seeds) - 1}", flush=True)
        workers = [self.start() for _ in range(max(1, min(o.jobs, len(self.seeds))))]
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
        process = self.context.Process(target=work, args=(theirs, self.options.parts, self.options.shrink))
        process.start()
        theirs.close()
        return Worker(process, ours)

    def next_task(self, worker: Worker) -> None:
        worker.at, worker.heard = None, time.monotonic()
        if self.seeds and time.time() < self.until:
            number, count = self.seeds.pop()
            worker.pipe.send((number, count, self.until))
        else:
            worker.pipe.send(None)

    def listen(self, workers: list[Worker]) -> None:
        """Take what processes say; replace one that crashed or hangs."""
        ready = wait([worker.pipe for worker in workers], timeout=5.0)
        for worker in list(workers):
            if worker.pipe in ready:
                try:
                    self.take(worker, worker.pipe.recv())
                    continue
                except (EOFError, ConnectionError):
                    worker.process.join()
                    why = f"the process ended with status {worker.process.exitcode}"
            elif time.monotonic() - worker.heard > _HANGS:
                worker.process.kill()
                why = f"the process hangs: no word for {_HANGS:.0f} s"
            else:
                continue
            workers.remove(worker)
            if worker.at is not None:
                self.crashed(worker, why)
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

    def crashed(self, worker: Worker, why: str) -> None:
        assert worker.at is not None
        number, index, case = worker.at
        self.found(number, index, Finding("crash or hang", why), case, None)

    def found(self, number: int, index: int, finding: Any, case: str, smallest: Any) -> None:
        first = finding.kind not in self.kinds
        self.kinds.setdefault(finding.kind, []).append((number, index))
        if first or smallest is not None:
            lines = [f"\n{finding.kind}: {finding.text}"]
            lines.append(f"  again: make draw DRAW='--seed {number} --only {index}'")
            if smallest is not None:
                case = smallest.case.to_json()
                lines.append(f"  made smaller: {smallest.finding.text}")
            lines.append(f"  python -m tests.draw --case '{case}'")
            print("\n".join(lines), flush=True)

    def report(self) -> None:
        counts, worst = self.record.counts, self.record.worst
        kinds = {name.removesuffix(": numbers"): count for name, count in counts.items() if name.endswith(": numbers")}
        print(f"\n{counts['draws']:,} draws in {time.time() - self.begun:.0f} s, {counts['numbers']:,} numbers compared")
        print("\nnumbers compared, and the largest error beside its bound")
        rows = {kind: f"{count:>12,}  {worst.get(kind, 0.0):.2g}" for kind, count in sorted(kinds.items())}
        print("\n".join(draws.listed(rows)))
        others = {name: f"{count:,}" for name, count in sorted(counts.items()) if not name.endswith("numbers") and name != "draws"}
        print("\nof these")
        print("\n".join(draws.listed(others)))
        if self.kinds:
            print("\ndoes not hold")
            print("\n".join(draws.listed({kind: f"{len(where):,} times" for kind, where in self.kinds.items()})))
        else:
            print("\nall holds")

