"""What the benchmarks share in saying what they found: tables, numbers, options, the machine."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Quiet, machine

_CALM = 0.05  # a share of the machine that others may take before the page warns
_ASLEEP = 0.03  # a share of one core that a waiting worker may take


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every benchmark has."""
    parser.add_argument("--quick", action="store_true", help="fewer rounds, nothing compiled")
    parser.add_argument("--only", metavar="NAME", help="networks whose name contains this")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write every number there")


def progress(words: str) -> None:
    """Say on the error stream what is going on."""
    print(words, file=sys.stderr, flush=True)


def markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Give a table in Markdown, its columns aligned for those who read it as text."""
    widths = [max(len(row[i]) for row in (head, *body)) for i in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
        for row in (head, ["-" * w for w in widths], *body)
    ]
    return "\n".join(lines)


def microseconds(seconds: float) -> str:
    """Give seconds as µs, to three figures."""
    value = seconds * 1e6
    size = abs(value)
    if size >= 1000:
        return f"{round(value, -(len(str(int(size))) - 3)):,.0f}"
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def median(seconds: Sequence[float] | None) -> str:
    """Give the median of some times, in µs."""
    return "-" if seconds is None else microseconds(statistics.median(seconds))


def span(seconds: Sequence[float] | None) -> str:
    """Give the least and the most of some times, in µs."""
    if seconds is None:
        return "-"
    return f"{microseconds(min(seconds))} to {microseconds(max(seconds))}"


def bar(value: float | None, form: str) -> str:
    """Give a bar, or nothing."""
    return "" if value is None else form.format(value)


def verdict(met: bool | None, unequal: str | None) -> str:
    """Say whether the bars of a row are met, if its numbers count at all."""
    if unequal:
        return "**NOT EQUAL**"
    return {True: "met", False: "**missed**", None: ""}[met]


def machine_words(quiet: Quiet) -> str:
    """Say what was measured on, and how undisturbed."""
    lines = [f"- {key}: {value}" for key, value in machine().items()]
    if quiet.others:
        share = sum(quiet.others) / len(quiet.others)
        line = f"- processor time taken by other programs: {share:.1%}"
        if max(quiet.others) > _CALM:
            line += f", up to {max(quiet.others):.0%} during one row: **not a quiet machine**"
        lines.append(line)
    name, idle = quiet.worst_idle()
    line = f"- a peer that waits for its turn takes at most {idle:.1%} of a core ({name})"
    lines.append(line + (": **it was not asleep**" if idle > _ASLEEP else ""))
    return "\n".join(lines)


def write_json(path: Path, quiet: Quiet, **results: Any) -> None:
    """Write every number that was measured."""
    facts = {"machine": machine(), "others": quiet.others, "idle": quiet.idle, **results}
    path.write_text(json.dumps(facts, indent=1) + "\n")
