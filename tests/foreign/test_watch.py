"""Watch: a run of PyTorch recorded, against autograd sample by sample and the optimiser itself."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import chainrule as cr  # noqa: E402

pytestmark = pytest.mark.needs("torch")

OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, 0.1),
    "momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01),
    "Nesterov": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    "Adagrad": lambda p: torch.optim.Adagrad(p, 0.05),
    "RMSprop": lambda p: torch.optim.RMSprop(p, 0.01, momentum=0.5),
    "Adam": lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.1),
    "AdamW": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors gain nothing from more threads, and wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Loop:
    """A loop over random samples, with dropout, a schedule and clipping."""

    def __init__(
        self, optimizer: str = "Adam", clip: float | None = None, dtype: Any = torch.float32
    ) -> None:
        torch.manual_seed(0)
        self.X = torch.randn(48, 6, dtype=dtype)
        self.y = torch.randint(0, 3, (48,))
        self.model = nn.Sequential(
            nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3)
        ).to(dtype)
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters())
        self.schedule = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.98)
        self.loss_fn = nn.CrossEntropyLoss()
        self.clip = clip
        self.seen: list[dict[str, Any]] = []

    def watch(self, folder: Path, **options: Any) -> Any:
        return cr.watch(
            self.model, self.optimizer, self.loss_fn, folder=folder, clip_norm=self.clip, **options
        )

    def body(self, x: Any, y: Any) -> float:
        self.optimizer.zero_grad()
        before = {n: p.detach().clone() for n, p in self.model.named_parameters()}
        loss = self.loss_fn(self.model(x), y)
        loss.backward()
        raw = {n: p.grad.clone() for n, p in self.model.named_parameters()}
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        rate = self.optimizer.param_groups[0]["lr"]
        self.optimizer.step()
        self.schedule.step()
        after = {n: p.detach().clone() for n, p in self.model.named_parameters()}
        self.seen.append({"before": before, "raw": raw, "after": after, "rate": rate})
        return float(loss.detach())

    def run(self, run: Any, steps: int) -> list[float]:
        losses = []
        for k in range(steps):
            rows = torch.arange(12) + 12 * (k % 4)
            x, y = self.X[rows], self.y[rows]
            if run is None:
                losses.append(self.body(x, y))
                continue
            with run.step(x, y, rows=rows):
                losses.append(self.body(x, y))
        return losses


@pytest.mark.parametrize("options", [{"every": 1}, {"every": 7}, {"dense": True}])
def test_a_watched_run_has_the_bits_of_one_that_is_not(
    options: dict[str, Any], tmp_path: Path
) -> None:
    plain, watched = Loop(), Loop()
    expected = plain.run(None, 25)
    torch.manual_seed(5)
    drawn = torch.rand(1), random.random(), np.random.rand()  # noqa: NPY002
    torch.manual_seed(5)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    plain, watched = Loop(), Loop()
    torch.manual_seed(5)
    expected = plain.run(None, 25)
    drawn = torch.rand(1), random.random(), np.random.rand()  # noqa: NPY002
    torch.manual_seed(5)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    run = watched.watch(tmp_path / "run", **options)
    assert watched.run(run, 25) == expected
    assert (torch.rand(1), random.random(), np.random.rand()) == drawn  # noqa: NPY002
    for name, value in plain.model.state_dict().items():
        assert torch.equal(value, watched.model.state_dict()[name]), name
    for module in watched.model.modules():
        assert not module._forward_hooks
    for p in watched.model.parameters():
        assert not p._backward_hooks
        assert not p._post_accumulate_grad_hooks
    assert not watched.optimizer._optimizer_step_pre_hooks
    assert [line["loss"] for line in run.steps] == expected


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("dense", [False, True])
def test_why_moved_is_the_step_that_was_taken(optimizer: str, dense: bool, tmp_path: Path) -> None:
    loop = Loop(optimizer, clip=0.5)
    run = loop.watch(tmp_path / "run", dense=dense)
    loop.run(run, 47)
    for step, target, name, index in [
        (46, "0.weight[2,3]", "0.weight", (2, 3)),
        (41, "4.bias[1]", "4.bias", (1,)),
        (20, "1.weight[-1]", "1.weight", (7,)),
    ]:
        move, seen = run.why_moved(target, step), loop.seen[step]
        assert move.before == float(seen["before"][name][index])
        assert move.after == float(seen["after"][name][index])
        assert move.gradient == float(seen["raw"][name][index])
        assert math.fsum(s.value for s in move.shares) == pytest.approx(move.value, rel=1e-13)
        size = abs(move.before) + 8 * sum(abs(s.value) for s in move.shares)
        assert abs(move.of("rounding")) <= 5e-7 * size
        assert move.factors["schedule"] == pytest.approx(seen["rate"] / loop.seen[0]["rate"])
        if optimizer == "momentum":
            for share in move.earlier:
                g = float(loop.seen[share.step]["raw"][name][index])
                expected = -seen["rate"] * 0.9 ** (step - share.step) * g
                assert share.value == pytest.approx(expected, rel=1e-6)
            pulled = {k for k in range(step) if loop.seen[k]["raw"][name][index]}
            assert {share.step for share in move.earlier} == pulled


def test_replay_has_the_bits_of_the_run(tmp_path: Path) -> None:
    loop = Loop("AdamW", clip=0.5)
    run = loop.watch(tmp_path / "run")
    losses = loop.run(run, 33)
    for step in (0, 19, 20, 32):
        again = run.replay(step)
        assert again.same
        assert again.loss == losses[step]
        for name, g in again.gradient.items():
            assert torch.equal(g, loop.seen[step]["raw"][name]), name
    why = run.replay(32).explain("4.weight[1,2]")
    assert why.value == float(loop.seen[32]["raw"]["4.weight"][1, 2])


def watched(tmp_path: Path, **options: Any) -> tuple[Any, ...]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    optimizer, loss_fn = torch.optim.Adam(model.parameters(), 0.01), nn.CrossEntropyLoss()
    run = cr.watch(model, optimizer, loss_fn, folder=tmp_path / "run", every=2, **options)
    return run, model, optimizer, loss_fn, torch.randn(8, 3), torch.randint(0, 2, (8,))


def test_gradients_that_are_never_set_back_are_told(tmp_path: Path) -> None:
    run, model, optimizer, loss_fn, x, y = watched(tmp_path)

    def steps(count: int) -> None:
        for _ in range(count):
            with run.step(x, y):
                loss_fn(model(x), y).backward()
                optimizer.step()

    with pytest.warns(UserWarning, match=r"backward of step 2 adds to .* optimizer.zero_grad\(\)"):
        steps(5)
    with pytest.raises(ValueError, match="keeps those of earlier batches"):
        run.why_moved("0.bias[0]", 4)


@pytest.mark.parametrize("when", ["before", "between", "after", "zeros", "micro"])
def test_a_loop_that_sets_gradients_back_is_not_warned_of(
    when: str, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    run, model, optimizer, loss_fn, x, y = watched(tmp_path)
    for k in range(8):
        with run.step(x, y):
            if when in ("before", "zeros"):
                optimizer.zero_grad(set_to_none=when == "before")
            loss = loss_fn(model(x), y)
            if when == "between":
                optimizer.zero_grad()
            loss.backward()
            if when != "micro" or k % 4 == 3:
                optimizer.step()
                if when in ("after", "micro"):
                    optimizer.zero_grad()
    assert not [str(each.message) for each in recwarn]


def test_a_step_that_is_not_one_forward_pass_says_so(tmp_path: Path) -> None:
    run, model, _, loss_fn, x, y = watched(tmp_path)
    with (
        pytest.raises(ValueError, match=r"returned 4 rows, and step\(\) was given 8 samples"),
        run.step(x, y),
    ):
        loss_fn(model(x[:4]), y[:4]).backward()
    with pytest.raises(ValueError, match="Pass the inputs and the targets apart"), run.step((x,)):
        model(x)
    with pytest.raises(IndexError, match="out of bounds"), run.step(x, y + 5):  # the user's own
        model(x)


def test_a_weight_that_is_frozen_is_none_of_the_run(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    model.weight.requires_grad_(False)
    run = cr.watch(model, None, nn.CrossEntropyLoss(), folder=tmp_path / "run")
    x, y = torch.randn(4, 3), torch.zeros(4, dtype=torch.long)
    with run.step(x, y):
        nn.functional.cross_entropy(model(x), y).backward()
    with pytest.raises(ValueError, match=r"no parameter 'weight'.* Frozen ones are not recorded"):
        run.why_moved("weight[0,0]", 0)


def test_a_loop_that_cannot_be_taken_again_is_found_out(tmp_path: Path) -> None:
    loop = Loop("SGD", clip=0.1)
    run = cr.watch(loop.model, loop.optimizer, loop.loss_fn, folder=tmp_path / "run")
    with pytest.warns(UserWarning, match="pass clip_norm=, or dense=True"):
        loop.run(run, 5)
    with pytest.raises(ValueError, match=r"step 1 taken again has the loss .* pass clip_norm="):
        run.why_moved("0.bias[0]", 4)
