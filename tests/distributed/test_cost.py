"""What a step costs: the model beside what is sent, and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.distributed import cost
from chainrule.distributed.exchange import Mesh
from chainrule.engines import Plan
from chainrule.equations.data import Samples
from tests.distributed.meshes import some, together

PARTS = cost.Parts(micro=8.0, addition=0.5, update=2.0)


@pytest.mark.parametrize("workers", [2, 3, 4])
@pytest.mark.parametrize("size", [100, 60_000])
def test_a_worker_sends_as_many_bytes_as_the_model_says(workers: int, size: int) -> None:
    class Counting(Mesh):
        sent = 0

        def _swap(self, out: Any, into: Any) -> None:
            self.sent += sum(len(part) for parts in out.values() for part in parts)
            super()._swap(out, into)

    def act(mesh: Mesh, mine: range, rank: int) -> int:
        assert isinstance(mesh, Counting)
        mesh.sum(some(list(mine), size), range(workers), workers, 0)
        return mesh.sent

    seconds = cost.exchange(workers, 4 * size, 1.0) - cost.exchange(workers, 4 * size, np.inf)
    heads = (workers - 1) * 56
    laid = 2 * workers * 64  # slices begin at multiples
    for sent in together(workers, workers, size, act, kind=Counting):
        assert abs(sent - heads - seconds) <= laid


def test_a_step_by_hand() -> None:
    own = 1e-4  # seconds of a worker for each step
    assert cost.predicted(PARTS, 16, 1, 400, 1e9).step == pytest.approx(16 * 8 + 2 + own)
    four = cost.predicted(PARTS, 16, 4, 400, 1e9)
    assert four.compute == pytest.approx(4 * 8 + own)
    assert four.update == 2
    assert four.exchange == pytest.approx(0.1 * four.compute + cost.exchange(4, 400, 1e9, 0.5))
    assert four.alone == pytest.approx(16 * 8 + 2 + own)
    assert four.speedup == pytest.approx(four.alone / (four.compute + four.exchange + 2))
    uneven = cost.predicted(PARTS, 16, 5, 400, 1e9)
    assert uneven.compute == four.compute  # one worker has four micro-batches, the others three
    shared = cost.predicted(PARTS, 16, 4, 400, 1e9, processors=2)
    assert shared.step == pytest.approx(2 * four.step)
    assert cost.predicted(PARTS, 16, 4, 400, 1e9, processors=8) == four
    other = cost.predicted(PARTS, 16, 4, 400, 1e9, alone=cost.Parts(1.0, 0.0, 0.0))
    assert (other.step, other.alone) == (four.step, pytest.approx(16 + own))


def test_the_exchange_by_hand() -> None:
    assert cost.exchange(1, 10**9, 1.0) == 0
    # Three others: 3 × 100 bytes in one swap; 2 × 3 / 4 of a long vector in two.
    one = cost.exchange(4, 100, np.inf)
    assert cost.exchange(4, 100, 10.0, 7.0) == pytest.approx(one + 30 + 21)
    assert cost.exchange(4, 10**8, 10.0, 8.0) == pytest.approx(2 * one + 1.5e7 + 6)
    assert cost.exchange(8, 10**8, np.inf) > cost.exchange(4, 10**8, np.inf)


def test_trying_steps_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_WHILE", 0.0)
    net = cr.Network([3, 5, 2], hidden="tanh", dropout=0.5, dtype="float32", seed=0)
    before = net.parameters.copy()
    samples = Samples(np.ones((4, 3), "f4"), np.ones((4, 2), "f4"))
    plan = Plan(cr.Adam(), 32, micro_batches=8)
    found = cost.tried(cost.Trial(net, plan, "auto", samples, 8, 1000))
    assert (net.parameters == before).all()
    assert min(found.micro, found.update) > 0
    assert found.addition >= 0
    assert net.threads is None


PAYS = (
    "64-32-10, batch 1,024, 4 workers: about 130 ms a step, of which the exchange takes 23%; one "
    "machine would take 520 ms"
)
DOES_NOT = (
    "64-32-10, batch 1,024, 4 workers: about 2 ms a step, of which the exchange takes 50%; one "
    "machine would take 2.3 ms. That does not pay: take larger batches, fewer workers, or "
    "fit(micro_batches=16) on one machine, which gives the same bits"
)


@pytest.mark.parametrize(
    ("found", "expected"),
    [(cost.Cost(0.1, 0.03, 0.0, 0.52), PAYS), (cost.Cost(1e-3, 1e-3, 0.0, 2.3e-3), DOES_NOT)],
)
def test_what_is_said(found: cost.Cost, expected: str) -> None:
    net = cr.Network([64, 32, 10])
    assert cost.said(net, Plan(cr.Adam(), 1024, micro_batches=16), 4, found) == expected
