"""`python -m tests.draw`: draw cases, check them in several processes, and report.

    python -m tests.draw [--draws 1000] [--seed N] [--seconds S] [--jobs J]
    python -m tests.draw --seed N --only K          one draw again
    python -m tests.draw --case '{...}'             one case again, as a failure prints it

Every seed stands for 50 draws; a campaign takes as many seeds as it needs, one after another. Each
process tells its parent which case it is about to check, so that one that crashes or hangs is a
finding like any other. Exit status: 0 where all holds, 1 where something does not.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from collections.abc import Sequence
from typing import Any

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_SHRINK = 20.0  # seconds for each kind of finding


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; give the exit status."""
    options = parse(arguments)
    for name in _ONE_THREAD:  # the processes share the cores; the core's own threads stay
        os.environ.setdefault(name, "1")
    from . import campaign, draws
    from .cases import Case

    if options.case:
        return show(draws.run(Case.from_json(options.case), options.parts))
    if options.only is not None:
        return only(options)
    return campaign.Campaign(options).run()


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    from .draws import PARTS

    parser = argparse.ArgumentParser(
        prog="python -m tests.draw", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--draws", type=int, default=1000, help="how many (default: 1000)")
    parser.add_argument("--seed", type=int, help="the first seed (default: a new one, printed)")
    parser.add_argument("--only", type=int, metavar="K", help="draw K of the seed alone")
    parser.add_argument("--case", help="a case as a failure prints it")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end after so long")
    parser.add_argument("--jobs", type=int, default=cores(), help="processes (default: one a core)")
    parser.add_argument("--shrink", type=float, default=_SHRINK, help="seconds to shrink a finding")
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to check"
    )
    options = parser.parse_args(arguments)
    if options.only is not None and options.seed is None:
        parser.error("--only needs the --seed that the draw came from")
    if options.seed is None:
        options.seed = secrets.randbelow(10**9)
    return options


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def only(options: argparse.Namespace) -> int:
    """Run one draw of a seed."""
    from . import draws

    status = 1

    def visit(index: int, case: Any) -> None:
        nonlocal status
        if index == options.only:
            print(case.to_json())
            status = show(draws.run(case, options.parts))

    draws.each(options.seed, visit)
    return status


def show(record: Any) -> int:
    for found in record.findings:
        print(f"{found.kind}: {found.text}")
    print(f"{record.counts['numbers']:,} numbers compared, {len(record.findings)} findings")
    return int(bool(record.findings))


if __name__ == "__main__":
    sys.exit(main())
