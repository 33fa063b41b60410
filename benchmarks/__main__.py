"""Everything that is measured: explanations, training, predictions; written to docs/benchmarks.md.

``python -m benchmarks [--quick] [--only NAME] [--json FILE]``. With --quick or --only the page is
printed and not written. Exit status 1 says that work was not equal, or an explanation too slow.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from typing import Any

from benchmarks import estimators, prediction, tables, training
from benchmarks.measure import ROOT, Quiet

PAGE = ROOT / "docs" / "benchmarks.md"
_INTRODUCTION = """\
# Benchmarks

This page is written by `{command}`, which measures everything on the machine that it runs on.
All libraries compute in float32 with two threads. Each has a process of its own, held to the same
two cores, and waits asleep while others are timed; within a round every one has its turn. Numbers
are medians over the rounds, in µs; a ratio is taken within each round, so that a slow moment of the
machine cancels, and is the median of these. **Bold** is the fastest peer. The bars are those that
the project holds itself to."""
_TRAINING = """\
## Training

Half squared error, identity output, fixed order of samples. What is timed are whole epochs,
each from the initial weights on, divided by their steps."""
_SHAPES = """\
## Other shapes and every activation

The same by gradient descent, beside JAX and NumPy alone."""
_PREDICTION = "## Prediction"
_THREADS = """\
## Two threads, and neighbours

`python -m benchmarks.threads`: what a second thread gains, beside one thread and as a share of the
matrix peak of the same round. `python -m benchmarks.neighbours`: steps right after another
library's product in the same process. `python -m benchmarks.calls`: a call of `fit` beside its
steps."""
_OF_THREADS = ("threads", "neighbours", "calls")


def printed(module: str, *options: str) -> tuple[str, int]:
    """Measure in a process of its own; return what it printed and its status."""
    tables.progress(module)
    command = [sys.executable, "-m", f"benchmarks.{module}", *options]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return (ended.stdout or ended.stderr).rstrip(), ended.returncode


def main() -> int:
    """Measure, and print or write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure everything.")
    tables.add_options(parser)
    given = parser.parse_args()
    explained, status = printed("explain", *(["--quick"] if given.quick else []))
    trained = training.measure(training.Options(given.quick, given.only))
    predicted = prediction.measure(given.quick, given.only)
    measured = [trained]
    parts = [_TRAINING, training.report(trained), _PREDICTION, prediction.report(predicted)]
    if not (given.quick or given.only):
        measured.append(training.measure(training.Options(shapes=True)))
        parts += [_SHAPES, training.report(measured[1])]
        parts += [_THREADS, *(f"```text\n{printed(name)[0]}\n```" for name in _OF_THREADS)]
    fitted = estimators.measure(given.quick, given.only)
    parts += ["## In place of scikit-learn", estimators.report(fitted)]
    parts += ["## Explanations", f"```text\n{explained}\n```"]

    quiet = Quiet.of_all([*(results.quiet for results in measured), predicted.quiet])
    command = " ".join(["python -m benchmarks", *sys.argv[1:]])
    if not (given.quick or given.only):
        command = "make bench"
    parts[:0] = [_INTRODUCTION.format(command=command), tables.machine_words(quiet)]
    page = "\n\n".join(parts) + "\n"
    if given.quick or given.only:
        print(page)
    else:
        PAGE.write_text(page, encoding="utf-8")
        tables.progress(f"written: {PAGE.relative_to(ROOT)}")
    if given.json:
        rows = [row.to_dict() for results in measured for row in results.rows]
        predictions = [row.to_dict() for row in predicted.rows]
        own = [row.to_dict() for row in fitted]
        tables.write_json(given.json, quiet, training=rows, prediction=predictions, estimators=own)
    bad: list[Any] = [row for results in measured for row in results.unequal]
    bad += predicted.unequal + [row for row in fitted if row.unequal]
    for row in bad:
        tables.progress(f"NOT EQUAL, {row.name}: {row.unequal}")
    return int(bool(bad) or status != 0)


if __name__ == "__main__":
    sys.exit(main())
