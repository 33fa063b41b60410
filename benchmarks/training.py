"""How long one training step takes, beside the peers, and its share of the matrix peak.

``python -m benchmarks.training [--quick] [--only NAME] [--shapes] [--json FILE]``. Every peer runs
whole epochs in a process of its own, all in turn, from the same weights through the same samples.
Exit status 1 says that the losses of the peers disagree, so that the times compare unequal work.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import chainrule as cr
from benchmarks import tables
from benchmarks.cases import CASES, OPTIMIZERS, SHAPES, Case, chosen, problem
from benchmarks.measure import PEAK, Quiet, Spread, Worker, interleave, ratios
from benchmarks.peers import TITLES

PEERS = ("jax", "torch", "compiled", "numpy", "sklearn")
SHAPE_PEERS = ("jax", "numpy")
# The losses of two epochs agree to this; only their rounding differs. What the updates change of
# the loss has to be FAR times as much, or the comparison would prove nothing.
TOLERANCE = 1e-4
FAR = 100


@dataclass(frozen=True)
class Options:
    """How much is measured; ``shapes`` measures other shapes instead of the table's networks."""

    quick: bool = False
    only: str | None = None
    shapes: bool = False

    @property
    def rounds(self) -> int:
        """Turns of each peer."""
        return 3 if self.quick else 7

    @property
    def seconds(self) -> float:
        """How long a turn is, at least."""
        return 0.08 if self.quick else 0.3


@dataclass
class Row:
    """One network with one optimiser: seconds for a step, by peer, one for each round."""

    case: Case
    optimizer: str
    times: dict[str, list[float]]
    peak: list[float]  # seconds for 10⁹ operations of the best matrix product, in each round
    losses: dict[str, list[float]]  # mean losses of epochs 1 and 2
    still: float  # the loss if nothing had been learned
    ways: dict[str, dict[str, Any]]
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The network, its batch and the optimiser."""
        return f"{self.case.name}, {OPTIMIZERS[self.optimizer]}"

    @property
    def best(self) -> str:
        """The fastest peer."""
        peers = {p: statistics.median(self.times[p]) for p in PEERS if p in self.times}
        return min(peers, key=lambda peer: peers[peer])

    @property
    def ratio(self) -> Spread:
        """How many times as fast as the best peer chainrule is."""
        return ratios(self.times[self.best], self.times["chainrule"])

    def share(self, peer: str = "chainrule") -> Spread:
        """The share of the matrix peak that a peer reaches."""
        least = [second * self.case.step_flops / 1e9 for second in self.peak]
        return ratios(least, self.times[peer])

    @property
    def met(self) -> bool | None:
        """Whether every bar of the row is met; None where there is none."""
        case = self.case
        bars = [(case.ratio_bar, self.ratio.median), (case.share_bar, self.share().median)]
        verdicts = [value >= bar for bar, value in bars if bar is not None]
        return all(verdicts) if verdicts else None

    @property
    def apart(self) -> float:
        """How far the losses lie apart, relative to their median."""
        epochs = zip(*self.losses.values(), strict=True)
        apart: float = max(
            (max(epoch) - min(epoch)) / abs(statistics.median(epoch)) for epoch in epochs
        )
        return apart

    @property
    def learned(self) -> float:
        """How far the updates moved the loss of the second epoch, relative to it."""
        second = statistics.median(losses[1] for losses in self.losses.values())
        return abs(self.still - second) / abs(second)

    @property
    def unequal(self) -> str | None:
        """Why the work may not have been equal, or None."""
        if not self.apart <= TOLERANCE:  # so written, NaN counts as unequal
            shown = ", ".join(f"{p} {v[0]:.6g} then {v[1]:.6g}" for p, v in self.losses.items())
            return f"losses lie {self.apart:.1e} apart (allowed: {TOLERANCE:g}): {shown}"
        if not self.learned >= FAR * TOLERANCE:
            return f"the updates move the loss by {self.learned:.1e} only: too little to prove work"
        return None

    def to_dict(self) -> dict[str, Any]:
        """Give everything as JSON can hold it."""
        return {
            "network": self.case.name,
            "optimizer": self.optimizer,
            "seconds_per_step": self.times,
            "gflops_peak": [1 / second for second in self.peak],
            "step_flops": self.case.step_flops,
            "losses": self.losses,
            "loss_without_updates": self.still,
            "ways": self.ways,
            "missing": self.missing,
            "best_peer": self.best,
            "ratio": vars(self.ratio),
            "share": vars(self.share()),
            "ratio_bar": self.case.ratio_bar,
            "share_bar": self.case.share_bar,
            "met": self.met,
            "unequal": self.unequal,
        }


@dataclass
class Results:
    """The rows of a table, and how quiet the machine was."""

    rows: list[Row] = field(default_factory=list)
    quiet: Quiet = field(default_factory=Quiet)
    product: str = ""  # the library and size of the matrix peak

    @property
    def unequal(self) -> list[Row]:
        """The rows whose times compare unequal work."""
        return [row for row in self.rows if row.unequal]


def measure(options: Options) -> Results:
    """Measure the networks of the table with both optimisers, or other shapes with one."""
    results = Results()
    cases = chosen(SHAPES if options.shapes else CASES, options.only)
    peers: tuple[str, ...] = SHAPE_PEERS if options.shapes else PEERS
    if options.quick:  # the compiler alone would take longer than all the rest
        peers = tuple(peer for peer in peers if peer != "compiled")
    with ExitStack() as stack:
        fit = () if options.quick else ("fit",)
        names = ("chainrule", *fit, *peers, PEAK)
        workers = {name: stack.enter_context(Worker(name)) for name in names}
        reply = workers[PEAK].prepare(kind="products", case=CASES[0].to_dict())
        if "unsupported" in reply:
            raise SystemExit(f"matrix peak: {reply['unsupported']}")
        results.product = reply["way"]
        for case in cases:
            for optimizer in OPTIMIZERS:
                few = options.shapes or (options.quick and case.sizes[0] != 64)
                if few and optimizer == "adam":
                    continue
                tables.progress(f"{case.name}, {OPTIMIZERS[optimizer]}")
                row = _row(case, optimizer, workers, options, results.quiet)
                results.rows.append(row)
                tables.progress(f"  {_verdict(row)}")
    return results


def _row(
    case: Case, optimizer: str, workers: Mapping[str, Worker], options: Options, quiet: Quiet
) -> Row:
    losses: dict[str, list[float]] = {}
    ways: dict[str, dict[str, Any]] = {}
    missing: dict[str, str] = {}
    ready = {PEAK: workers[PEAK]}
    for name, worker in workers.items():
        if name in ready:
            continue
        reply = worker.prepare(kind="trainers", case=case.to_dict(), optimizer=optimizer)
        if "unsupported" in reply:
            if name not in PEERS:
                raise SystemExit(f"{TITLES[name]}: {reply['unsupported']}")
            missing[name] = reply["unsupported"]
            tables.progress(f"  {TITLES[name]} left out: {missing[name]}")
            continue
        losses[name], ways[name] = (
            reply["proof"],
            {k: reply[k] for k in ("way", "trials", "failed")},
        )
        ready[name] = worker
    long = case.step_flops > 1e10
    rounds = max(2, options.rounds - 2) if long else options.rounds
    times = interleave(ready, rounds, options.seconds, quiet)
    for name in ways:
        workers[name].ask("forget")
    peak = times.pop(PEAK)
    return Row(case, optimizer, times, peak, losses, _still(case), ways, missing)


def _still(case: Case) -> float:
    """Give the mean loss of the initial weights over (at most 8192 of) the samples."""
    numbers = problem(case)
    loss = "cross_entropy" if case.output == "softmax" else "half_squared_error"
    net = cr.Network(
        case.sizes, hidden=case.activation, output=case.output, loss=loss, seed=0,
        W=numbers.W, b=numbers.b,
    )  # fmt: skip
    return net.loss_value(numbers.X[:8192], numbers.y[:8192])


def _verdict(row: Row) -> str:
    text = f"{row.ratio.median:.2f}x {TITLES[row.best]}, {row.share().median:.0%} of the peak"
    if row.met is not None:
        text += ": met" if row.met else ": MISSED"
    return text + (f"; WORK NOT EQUAL: {row.unequal}" if row.unequal else "")


# --- tables ---------------------------------------------------------------------------------------


def report(results: Results) -> str:
    """Give all tables of a measurement as Markdown."""
    rows = results.rows
    parts = [f"**WORK NOT EQUAL, {row.name}: {row.unequal}**" for row in results.unequal]
    parts.append(_peak_words(results))
    for optimizer, words in OPTIMIZERS.items():
        if of_it := [row for row in rows if row.optimizer == optimizer]:
            parts += [f"### {words[0].upper()}{words[1:]}: µs for one step", _main_table(of_it)]
            parts += ["Least and most of the rounds:", _spread_table(of_it)]
    parts += ["### Equal work", _proof_words(), _proof_table(rows)]
    parts += ["### How each was run", _ways_table(rows)]
    if left_out := _missing(rows):
        parts.append("Left out:\n\n" + "\n".join(left_out))
    if any("fit" in row.times for row in rows):
        parts += ["### What `fit` adds", _fit_table(rows)]
    return "\n\n".join(parts)


def _peak_words(results: Results) -> str:
    speeds = [1 / second for row in results.rows for second in row.peak]
    peak = Spread.of(speeds)
    return (
        f"Matrix peak: {peak.median:.0f} GFLOP/s (least {peak.least:.0f}, most {peak.most:.0f} of "
        f"{len(speeds)} turns) by {results.product}, the fastest library and size of those tried. "
        "It is measured in every round beside the peers, as the fastest product of a turn; a "
        "round's share is taken of that round's peak. A step counts "
        "2·n·units_l·units_{l-1} operations for each layer's `z` and `dW`, and for the `∂C/∂a` of "
        "each but the first."
    )


def _columns(rows: list[Row]) -> list[str]:
    return [peer for peer in PEERS if any(peer in row.times for row in rows)]


def _main_table(rows: list[Row]) -> str:
    peers = _columns(rows)
    head = ["network, batch", *(TITLES[p] for p in peers), "chainrule", "ratio to best", "at least"]
    head += ["share of peak", "at least", "best peer's share", "verdict"]
    body = []
    for row in rows:
        case = row.case
        cells = [case.name]
        for peer in peers:
            text = tables.median(row.times.get(peer))
            cells.append(f"**{text}**" if peer == row.best else text)
        cells.append(tables.median(row.times["chainrule"]))
        cells += [f"{row.ratio.median:.2f}", tables.bar(case.ratio_bar, "{:g}")]
        cells += [f"{row.share().median:.1%}", tables.bar(case.share_bar, _share_format(case))]
        cells += [f"{row.share(row.best).median:.1%}", tables.verdict(row.met, row.unequal)]
        body.append(cells)
    return tables.markdown(head, body)


def _share_format(case: Case) -> str:
    """Return how a share is written, with a digit more where it is below 1 %."""
    return "{:.0%}" if case.share_bar is None or case.share_bar >= 0.01 else "{:.1%}"


def _spread_table(rows: list[Row]) -> str:
    names = [*_columns(rows), "chainrule"]
    head = ["network, batch", *(TITLES[name] for name in names), "ratio", "share of peak"]
    body = []
    for row in rows:
        ratio, share = row.ratio, row.share()
        cells = [row.case.name, *(tables.span(row.times.get(name)) for name in names)]
        cells += [
            f"{ratio.least:.2f} to {ratio.most:.2f}",
            f"{share.least:.1%} to {share.most:.1%}",
        ]
        body.append(cells)
    return tables.markdown(head, body)


def _proof_words() -> str:
    return (
        "All start from the same weights and take the same samples in the same order. The mean "
        "loss of an epoch (over its batches, each before its update) has to agree between all of "
        f"them, in the first epoch and in the second, to {TOLERANCE:g} of their median. That the "
        "updates were made shows in the last column, what they changed of the loss of the second "
        f"epoch: it has to be more than {FAR} times the tolerance."
    )


def _proof_table(rows: list[Row]) -> str:
    head = ["network, batch", "optimiser", "compared", "loss of epoch 1", "of epoch 2"]
    head += ["largest difference", "moved by the updates"]
    body = []
    for row in rows:
        first, second = (statistics.median(e) for e in zip(*row.losses.values(), strict=True))
        cells = [row.case.name, OPTIMIZERS[row.optimizer], str(len(row.losses))]
        cells += [f"{first:.5g}", f"{second:.5g}", f"{row.apart:.1e}", f"{row.learned:.2g}"]
        body.append(cells)
    return tables.markdown(head, body)


def _ways_table(rows: list[Row]) -> str:
    names = ["chainrule", *_columns(rows)]
    head = ["network, batch", "optimiser", *(TITLES[name] for name in names)]
    body = [
        [row.case.name, OPTIMIZERS[row.optimizer]]
        + [row.ways[name]["way"] if name in row.ways else "-" for name in names]
        for row in rows
    ]
    words = "Where there is more than one good way of writing it, each peer took its fastest.\n\n"
    return words + tables.markdown(head, body)


def _missing(rows: list[Row]) -> list[str]:
    why = set()
    for row in rows:
        why |= {f"- {TITLES[name]}, {row.name}: {text}" for name, text in row.missing.items()}
        for name, ways in row.ways.items():
            why |= {f"- {TITLES[name]}, {row.name}, {w}: {t}" for w, t in ways["failed"].items()}
    return sorted(why)


def _fit_table(rows: list[Row]) -> str:
    head = [
        "network, batch",
        "optimiser",
        "call",
        "µs a step",
        "over the epoch alone",
        "µs an epoch",
    ]
    body = []
    for row in rows:
        fit, epoch = row.times["fit"], row.times["chainrule"]
        extra = statistics.median(a - b for a, b in zip(fit, epoch, strict=True)) * row.case.steps
        cells = [row.case.name, OPTIMIZERS[row.optimizer], row.ways["fit"]["way"]]
        cells += [tables.median(fit), f"{ratios(fit, epoch).median - 1:+.1%}"]
        body.append([*cells, tables.microseconds(extra)])
    words = (
        "The tables above time the epochs of the engine. `Network.fit`, as a user calls it, "
        "checks the samples once a call and keeps a history once an epoch; here whole calls are "
        "divided by their steps.\n\n"
    )
    return words + tables.markdown(head, body)


def main() -> int:
    """Measure and print; exit 1 where work was not equal."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    tables.add_options(parser)
    parser.add_argument("--shapes", action="store_true", help="other shapes and every activation")
    given = parser.parse_args()
    results = measure(Options(given.quick, given.only, given.shapes))
    print(tables.machine_words(results.quiet), report(results), sep="\n\n")
    if given.json:
        tables.write_json(given.json, results.quiet, training=[r.to_dict() for r in results.rows])
    return int(bool(results.unequal))


if __name__ == "__main__":
    sys.exit(main())
