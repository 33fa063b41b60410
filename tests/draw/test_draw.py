"""A hundred draws, always the same; and what draws them: seeds, cases, shrinking, processes."""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest

from . import __main__ as command
from . import campaign, draws
from .cases import Case, build
from .functions import FUNCTIONS, Real
from .layouts import LAYOUTS, lay_out, plain
from .record import Finding, Record


@pytest.mark.slow
def test_a_hundred_draws() -> None:
    record = Record()
    for number in (0, 1):
        draws.each(number, lambda _, case: record.add(draws.run(case)))
    assert not record.findings, "\n".join(f"{f.kind}: {f.text}" for f in record.findings)
    # Something was compared by every check, and nearly always.
    counts = record.counts
    assert counts["draws"] == 2 * draws.OF_A_SEED
    assert counts["steps compared"] > 0.9 * counts["steps"] > 100
    assert counts["predictions compared"] > 0.9 * counts["predictions"]
    assert counts["certificates of wrong values"] > counts["draws"] / 2
    # A bound that no error comes near to tells nothing.
    for kind in ("reference: parameters", "reference: outputs", "gradient: as a whole"):
        assert record.worst[kind] > 0.02, record.worst


def test_a_seed_draws_the_same_cases() -> None:
    first: list[Case] = []
    again: list[Case] = []
    draws.each(7, lambda _, case: first.append(case))
    draws.each(7, lambda _, case: again.append(case))
    assert first == again
    assert len(set(first)) > draws.OF_A_SEED / 2


def test_a_seed_draws_the_same_cases_in_another_process(tmp_path: Path) -> None:
    """Whatever other modules are loaded there: Hypothesis looks for constants in them."""
    (tmp_path / "odd.py").write_text(f"NUMBERS = {list(range(1, 10_000, 7))}", encoding="utf-8")
    here: list[str] = []
    draws.each(7, lambda _, case: here.append(case.to_json()))
    program = (
        f"import sys; sys.path.append({str(tmp_path)!r})\n"
        "import odd\n"
        "from tests.draw import draws\n"
        "draws.each(7, lambda _, case: print(case.to_json()))"
    )  # fmt: skip
    there = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert there.stdout.splitlines() == here


def test_a_case_is_written_and_read() -> None:
    cases: list[Case] = []
    draws.each(3, lambda _, case: cases.append(case))
    assert [Case.from_json(case.to_json()) for case in cases] == cases


def test_a_case_builds_the_same_numbers() -> None:
    case = Case(sizes=(3, 4, 2), hidden=("tanh",), n=5, weights="uniform", layout_X="reversed")
    one, two = build(case), build(case)
    assert np.array_equal(one.network.parameters, two.network.parameters)
    for left, right in zip(one.numbers, two.numbers, strict=True):
        assert np.array_equal(np.asarray(left), np.asarray(right))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_hold_the_same_numbers(layout: str) -> None:
    array = np.arange(12.0).reshape(4, 3)
    expected = {"broadcast": np.tile(array[:1], (4, 1)), "bool": array > 0}.get(layout, array)
    assert np.array_equal(plain(lay_out(array, layout)), expected)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_in_extended_precision(name: str) -> None:
    """g, g' and g'' beside those of mpmath, from the formula that the package states."""
    formulas: dict[str, Any] = {
        "identity": lambda z: z,
        "relu": lambda z: z if z > 0 else 0 * z,
        "leaky_relu": lambda z: z if z > 0 else z / 100,
        "sigmoid": lambda z: 1 / (1 + mpmath.exp(-z)),
        "tanh": mpmath.tanh,
        "elu": lambda z: z if z > 0 else mpmath.exp(z) - 1,
        "gelu": lambda z: z * mpmath.erfc(-z / mpmath.sqrt(2)) / 2,
        "silu": lambda z: z / (1 + mpmath.exp(-z)),
        "softplus": lambda z: mpmath.log(1 + mpmath.exp(z)),
    }
    g = FUNCTIONS[name]
    # A margin over the 2⁻⁶⁴ of x86-64; where `Real` is float64 it is that of float64.
    room = 64 * float(np.finfo(Real).eps)
    for number in (-300.0, -40.0, -9.5, -3.0, -1.2, -0.5, -1e-3, 1e-3, 0.7, 2.0, 9.5, 40.0, 300.0):
        z = np.array([number], Real)
        with mpmath.workdps(400):
            for order, function in enumerate((g.value, g.slope, g.bend)):
                exact = mpmath.diff(
                    formulas[name], mpmath.mpf(number), order, h=mpmath.mpf("1e-90")
                )
                got = mpmath.mpf(np.format_float_scientific(function(z)[0], precision=25))
                size = abs(exact) if order == 0 else abs(exact) + abs(got)
                # Where g' or g'' changes its sign its parts cancel, and e^(-z²/2) loses z² u.
                cancels = 1e-3 < abs(number) < 4 and name in ("gelu", "silu") and order
                allowed = room * (1 + number * number) * (1 if cancels else size) + 1e-200
                assert abs(got - exact) <= allowed, (number, order, got, exact)


def fails_from(units: int) -> draws.Part:
    def part(record: Record, built: Any) -> None:
        if max(built.case.sizes) >= units:
            record.fault("planted", f"{built.case.sizes}")

    return part


def first_finding(number: int) -> tuple[int, Finding]:
    found: list[tuple[int, Finding]] = []

    def visit(index: int, case: Case) -> None:
        found.extend((index, finding) for finding in draws.run(case).findings)

    draws.each(number, visit)
    return found[0]


def test_a_finding_is_made_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draws, "PARTS", {"runs": fails_from(9)})
    monkeypatch.setattr(draws.run, "__defaults__", (("runs",),))
    index, finding = first_finding(2)
    smallest = draws.shrink(2, index, finding, seconds=60.0)
    assert smallest is not None
    assert len(smallest.case.sizes) == 2
    assert max(smallest.case.sizes) < 16  # vectors of 15 units come before 9 in the strategy
    assert smallest.case.hidden == ()
    assert smallest.case.n == 1
    assert smallest.case.layout_X == "C"


def options(**changes: Any) -> argparse.Namespace:
    arguments = command.parse(["--draws", "50", "--seed", "4", "--jobs", "1"])
    return argparse.Namespace(**{**vars(arguments), **changes})


def test_a_campaign_reports_what_does_not_hold(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(draws, "PARTS", {"runs": fails_from(9)})
    c = campaign.Campaign(options(parts=["runs"], shrink=10.0))
    assert here(c).run() == 1
    printed = capfd.readouterr().out
    assert "drawing 50 networks, seeds 4 to 4" in printed
    assert "again: make draw DRAW='--seed 4 --only " in printed
    assert "made smaller: (" in printed
    assert "python -m tests.draw --case '{" in printed
    assert "does not hold\n  planted" in printed


def test_a_process_that_crashes_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def part(record: Record, built: Any) -> None:
        if max(built.case.sizes) > 8:
            os._exit(7)

    monkeypatch.setattr(draws, "PARTS", {"runs": part})
    c = campaign.Campaign(options(draws=200, parts=["runs"]))
    assert here(c).run() == 1
    assert "crash or hang: the process ended with status 7" in capfd.readouterr().out
    assert c.kinds == {"crash or hang": 4}  # the rest of each seed is left


def test_a_process_that_hangs_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One that was never heard of since a draw began is ended, and another takes its place."""
    monkeypatch.setattr(draws, "PARTS", {"runs": lambda record, built: None})
    c = here(campaign.Campaign(options(parts=["runs"])))
    ours, theirs = c.context.Pipe()
    ended = []
    process = argparse.Namespace(kill=lambda: ended.append(True))
    workers = [campaign.Worker(process, ours, at=(4, 2, "{}"), heard=-math.inf)]
    while workers:
        c.listen(workers)
    theirs.close()
    assert ended == [True]
    assert "crash or hang: the process hangs: no word for 180 s" in capfd.readouterr().out
    assert c.kinds == {"crash or hang": 1}
    assert c.record.counts["draws"] == draws.OF_A_SEED  # by the other one


def here(c: campaign.Campaign) -> campaign.Campaign:
    """Let processes be forks of this one, so that they have what was planted in it."""
    if sys.platform == "win32":
        pytest.skip("processes are not forked there")
    c.context = multiprocessing.get_context("fork")
    return c


def test_a_campaign_ends_in_time(capfd: pytest.CaptureFixture[str]) -> None:
    assert campaign.Campaign(options(draws=10**6, seconds=0.0)).run() == 0
    assert "0 draws" in capfd.readouterr().out


def test_one_draw_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--seed", "0", "--only", "0"]) == 0
    shown = capsys.readouterr().out
    case = shown.splitlines()[0]
    assert "0 findings" in shown
    assert command.main(["--case", case]) == 0
    with pytest.raises(SystemExit):
        command.main(["--only", "0"])
    assert "--only needs the --seed" in capsys.readouterr().err
