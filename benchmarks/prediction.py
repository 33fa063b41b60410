"""How long a prediction takes, of one row and of a batch, beside the peers.

``python -m benchmarks.prediction [--quick] [--only NAME] [--json FILE]``. Exit status 1 says that
the outputs of the peers disagree.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import tables
from benchmarks.cases import CASES, Case, chosen
from benchmarks.measure import Quiet, Spread, Worker, interleave, ratios
from benchmarks.peers import TITLES

PEERS = ("onnxruntime", "jax", "torch", "compiled", "numpy")
TOLERANCE = 1e-4  # between outputs of the peers, relative to the largest output


@dataclass
class Row:
    """One network with one number of rows: seconds for a call, by peer, one for each round."""

    case: Case
    rows: int
    times: dict[str, list[float]]
    apart: dict[str, float]  # largest difference from the median output, relative to the largest
    ways: dict[str, dict[str, Any]]
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The network and the rows."""
        return f"{self.case.name.rsplit(',', 1)[0]}, {self.rows}"

    @property
    def best(self) -> str:
        """The fastest peer."""
        medians = {p: statistics.median(t) for p, t in self.times.items() if p != "chainrule"}
        return min(medians, key=lambda peer: medians[peer])

    @property
    def ratio(self) -> Spread:
        """How many times as fast as the best peer chainrule is."""
        return ratios(self.times[self.best], self.times["chainrule"])

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None where there is none."""
        bar = self.case.predict_bar
        return None if bar is None else self.ratio.median >= bar

    @property
    def unequal(self) -> str | None:
        """Which outputs disagree, or None."""
        wrong = [f"{p} by {d:.1e}" for p, d in self.apart.items() if not d <= TOLERANCE]
        return f"outputs differ (allowed: {TOLERANCE:g}): {', '.join(wrong)}" if wrong else None

    def to_dict(self) -> dict[str, Any]:
        """Give everything as JSON can hold it."""
        return {
            "network": self.name,
            "rows": self.rows,
            "seconds_per_call": self.times,
            "apart": self.apart,
            "ways": self.ways,
            "missing": self.missing,
            "best_peer": self.best,
            "ratio": vars(self.ratio),
            "ratio_bar": self.case.predict_bar,
            "met": self.met,
            "unequal": self.unequal,
        }


@dataclass
class Results:
    """All rows, and how quiet the machine was."""

    rows: list[Row] = field(default_factory=list)
    quiet: Quiet = field(default_factory=Quiet)

    @property
    def unequal(self) -> list[Row]:
        """The rows whose outputs disagree."""
        return [row for row in self.rows if row.unequal]


def measure(quick: bool = False, only: str | None = None) -> Results:
    """Measure the networks with their batch and with one row."""
    results = Results()
    cases = chosen(CASES, only)
    peers = tuple(peer for peer in PEERS if not (quick and peer == "compiled"))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        workers = {name: stack.enter_context(Worker(name)) for name in ("chainrule", *peers)}
        for case in cases:
            for rows in sorted({1, case.batch}):
                tables.progress(f"{case.name}: predict {rows}")
                row = _row(case, rows, workers, quick, results.quiet, folder)
                results.rows.append(row)
                tables.progress(f"  {row.ratio.median:.2f}x {TITLES[row.best]} {row.unequal or ''}")
    return results


def _row(
    case: Case, rows: int, workers: Mapping[str, Worker], quick: bool, quiet: Quiet, folder: Path
) -> Row:
    outputs: dict[str, NDArray[np.float32]] = {}
    ways: dict[str, dict[str, Any]] = {}
    missing: dict[str, str] = {}
    for name, worker in workers.items():
        file = folder / f"{name}.npy"
        request = {"kind": "predictors", "case": case.to_dict(), "rows": rows, "file": str(file)}
        reply = worker.prepare(**request)
        if "unsupported" in reply and name not in PEERS:
            raise SystemExit(f"{TITLES[name]}: {reply['unsupported']}")
        if "unsupported" in reply:
            missing[name] = reply["unsupported"]
            tables.progress(f"  {TITLES[name]}: left out: {missing[name]}")
            continue
        outputs[name] = np.load(file)
        ways[name] = {key: reply[key] for key in ("way", "trials", "failed")}
    ready = {name: workers[name] for name in outputs}
    times = interleave(ready, 3 if quick else 9, 0.03 if quick else 0.2, quiet)
    for worker in ready.values():
        worker.ask("forget")
    middle = np.median(np.stack(list(outputs.values())), axis=0)
    largest = np.abs(middle).max()
    apart = {name: float(np.abs(a - middle).max() / largest) for name, a in outputs.items()}
    return Row(case, rows, times, apart, ways, missing)


def report(results: Results) -> str:
    """Give all tables as Markdown."""
    rows = results.rows
    peers = [peer for peer in PEERS if any(peer in row.times for row in rows)]
    head = [
        "network, rows",
        *(TITLES[p] for p in peers),
        "chainrule",
        "ratio to best",
        "at least",
        "verdict",
    ]
    body, spread, ways = [], [], []
    for row in rows:
        cells = [row.name]
        for peer in peers:
            text = tables.median(row.times.get(peer))
            cells.append(f"**{text}**" if peer == row.best else text)
        cells += [tables.median(row.times["chainrule"]), f"{row.ratio.median:.2f}"]
        cells += [tables.bar(row.case.predict_bar, "{:g}"), tables.verdict(row.met, row.unequal)]
        body.append(cells)
        names = [*peers, "chainrule"]
        spans = [tables.span(row.times.get(n)) for n in names]
        spread.append([row.name, *spans, f"{row.ratio.least:.2f} to {row.ratio.most:.2f}"])
        ways.append([row.name, *(row.ways[n]["way"] if n in row.ways else "-" for n in names)])
    titles = [*(TITLES[peer] for peer in peers), "chainrule"]
    largest = max(d for row in rows for d in row.apart.values())
    fair = (
        "Each peer predicts from weights and an input that are ready where it wants them; "
        "chainrule takes a NumPy array, checks it, and gives a new one. The largest difference of "
        f"an output from the median of all is {largest:.1e} of the largest output (allowed: "
        f"{TOLERANCE:g})."
    )
    parts = [
        "### One call of predict",
        tables.markdown(head, body),
        "Least and most of the rounds:",
        tables.markdown(["network, rows", *titles, "ratio"], spread),
        fair,
        "Where there is more than one good way of writing it, each took its fastest:",
        tables.markdown(["network, rows", *titles], ways),
    ]
    parts[:0] = [f"**{row.name}: {row.unequal}**" for row in rows if row.unequal]
    why = {f"- {TITLES[n]}, {row.name}: {text}" for row in rows for n, text in row.missing.items()}
    if why:
        parts.append("Left out:\n\n" + "\n".join(sorted(why)))
    return "\n\n".join(parts)


def main() -> int:
    """Measure and print; exit 1 where outputs disagree."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    tables.add_options(parser)
    given = parser.parse_args()
    results = measure(given.quick, given.only)
    print(tables.machine_words(results.quiet), report(results), sep="\n\n")
    if given.json:
        tables.write_json(given.json, results.quiet, prediction=[r.to_dict() for r in results.rows])
    return int(bool(results.unequal))


if __name__ == "__main__":
    sys.exit(main())
