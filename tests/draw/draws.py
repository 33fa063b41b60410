"""Draws: cases from a seed, what is checked of each, and the smallest case that still fails."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from unittest.mock import patch

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.internal.conjecture.providers import HypothesisProvider

from . import (
    certificate_checks,
    explain_checks,
    gradient_checks,
    package,
    prediction_checks,
    run_checks,
)
from .cases import Built, Case, build
from .record import Finding, Record
from .strategies import cases

OF_A_SEED = 50  # draws; the first of them is the plainest case
Part = Callable[[Record, Built], None]


def _runs(record: Record, built: Built) -> None:
    run_checks.check_runs(record, built, package.engines(built.case.threads))


def _predictions(record: Record, built: Built) -> None:
    prediction_checks.check_predictions(record, built, package.engines(built.case.threads))


def _threads(record: Record, built: Built) -> None:
    if "native" in package.engines(1):
        prediction_checks.check_threads(record, built, lambda n: package.engines(n)["native"])


def _gradient(record: Record, built: Built) -> None:
    gradient_checks.check_gradient(record, built)


PARTS: dict[str, Part] = {
    "runs": _runs,
    "predictions": _predictions,
    "threads": _threads,
    "gradient": _gradient,
    "explain": explain_checks.check_explanations,
    "certificates": certificate_checks.check_certificates,
}


def run(case: Case, parts: Sequence[str] = tuple(PARTS)) -> Record:
    """Check one case; an exception of the package is a finding, too."""
    record = Record()
    for part in parts:
        of_part = Record()
        try:
            with package.instruction_set(case.isa), np.errstate(all="ignore"):
                PARTS[part](of_part, build(case))
        except Exception as error:
            where = traceback.format_exc(limit=-3)
            of_part.fault(f"{part}: {type(error).__name__}", where)
        of_part.findings = [replace(found, part=part) for found in of_part.findings]
        record.add(of_part)
    record.counts["draws"] += 1
    return record


def each(number: int, visit: Callable[[int, Case], None], *, count: int = OF_A_SEED) -> None:
    """Call ``visit`` with the index of each draw of a seed, and its case."""
    _draw(number, count, visit, (Phase.generate,))


def _draw(
    number: int, count: int, visit: Callable[[int, Case], None], phases: Sequence[Phase]
) -> None:
    index = 0

    @seed(number)
    @settings(
        max_examples=count, phases=phases, database=None, deadline=None, print_blob=False,
        report_multiple_bugs=False, suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(cases())
    def drawn(case: Case) -> None:
        nonlocal index
        index += 1
        visit(index - 1, case)

    # Hypothesis mixes in constants of the modules that are loaded: without them, a seed draws the
    # same in every process.
    with patch.object(HypothesisProvider, "_maybe_draw_constant", lambda *_, **__: None):
        drawn()


@dataclass(frozen=True)
class Smallest:
    """The smallest case with a finding of the same kind, and that finding."""

    case: Case
    finding: Finding


def shrink(
    number: int, index: int, finding: Finding, seconds: float, count: int = OF_A_SEED
) -> Smallest | None:
    """Let Hypothesis make the case of a finding smaller, for so many seconds."""
    best: list[Smallest] = []
    failed: set[Case] = set()
    until = time.monotonic() + seconds

    def visit(i: int, case: Case) -> None:
        late = time.monotonic() > until
        if case not in failed and not late and (best or i == index):
            same = [f for f in run(case, [finding.part]).findings if f.kind == finding.kind]
            if same:
                failed.add(case)
                best.append(Smallest(case, same[0]))
        if case in failed:  # the one place, by which Hypothesis tells failures apart
            raise _Found

    try:
        _draw(number, count, visit, (Phase.generate, Phase.shrink))
    except _Found:
        pass
    except Exception as error:  # Hypothesis says so of what fails only now and then
        if not best:
            raise
        note = f"{best[-1].finding.text}\n(not every time: {type(error).__name__})"
        best.append(replace(best[-1], finding=replace(best[-1].finding, text=note)))
    return best[-1] if best else None


class _Found(Exception):  # noqa: N818 (it says that the case still fails)
    pass
