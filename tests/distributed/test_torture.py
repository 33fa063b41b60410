"""A few faults of each kind that `make cluster-torture` makes many of."""

from __future__ import annotations

import random

import pytest

from tests.clusters import ENGINES
from tests.distributed.torture import KINDS, plan, torture


def test_a_plan_has_all_kinds_in_their_shares() -> None:
    planned = plan(50, random.Random(0))
    assert {kind: planned.count(kind) for kind in KINDS} == KINDS
    assert len(plan(7, random.Random(0))) == 7


@pytest.mark.slow
@pytest.mark.needs("dask")
def test_a_few_faults_of_workers_that_read_files() -> None:
    assert torture("dask", 6, 3, seed=4, files=True)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_a_few_faults_end_in_the_bits_of_one_machine(engine: str) -> None:
    assert torture(engine, {"dask": 8, "ray": 4}[engine], 3, seed={"dask": 3, "ray": 1}[engine])
