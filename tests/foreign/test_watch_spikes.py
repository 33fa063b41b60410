"""Spikes, suspects, and what is left of a run that dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import chainrule as cr  # noqa: E402
from chainrule.diagnose.folder import Lines, Rotated, lines, prune  # noqa: E402
from chainrule.diagnose.spikes import Spikes  # noqa: E402

pytestmark = pytest.mark.needs("torch")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def parts(seed: int = 0) -> tuple[Any, Any, Any]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.ReLU(), nn.Linear(8, 2))
    return model, torch.optim.Adam(model.parameters(), 0.01), nn.CrossEntropyLoss()


def one(run: Any, model: Any, optimizer: Any, loss_fn: Any, rows: Any, X: Any, y: Any) -> float:
    with run.step(X[rows], y[rows], rows=rows):
        optimizer.zero_grad()
        loss = loss_fn(model(X[rows]), y[rows])
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def data(n: int = 64) -> tuple[Any, Any]:
    X = torch.randn(n, 4)
    return X, (X.sum(1) > 0).long()


@pytest.mark.parametrize("value", [3e3, float("nan")])
def test_a_spike_names_its_row_and_is_replayed(value: float, tmp_path: Path) -> None:
    model, optimizer, loss_fn = parts()
    X, y = data()
    run = cr.watch(model, optimizer, loss_fn, folder=tmp_path / "run", keep=1)
    losses = []
    for k in range(100):
        rows = torch.arange(8) + 8 * (k % 8)
        if k == 37:
            X, y = X.clone(), y.clone()
            X[rows[3], 0] = value
            y[rows[3]] = 0 if value > 0 else 1
        if k == 38:
            X, y = data()
        losses.append(one(run, model, optimizer, loss_fn, rows, X, y))
    first = run.spikes()[0]
    assert first.step == 37
    assert first.worst[0][:2] == (3, 8 * (37 % 8) + 3)
    assert str(first.worst[0][1]) in str(first)
    again = run.replay(37)  # keep=1: only its bundle still has it
    assert again.same
    np.testing.assert_equal(again.loss, losses[37])
    assert int(again.sample_losses.nan_to_num(torch.inf).argmax()) == 3
    assert again.rows[3] == first.worst[0][1]
    np.testing.assert_equal(again.explain("3.bias[0]").value, float(again.gradient["3.bias"][0]))
    if np.isnan(value):
        assert len(run.spikes()) == 1  # all steps after it are NaN, which says nothing new
    read = cr.load_run(tmp_path / "run", model=parts(1)[0], optimizer=None, loss_fn=loss_fn)
    assert read.replay(37).same
    assert [str(s) for s in read.spikes()] == [str(s) for s in run.spikes()]


def test_steady_and_falling_losses_have_no_spikes(tmp_path: Path) -> None:
    model, optimizer, loss_fn = parts()
    X, y = data()
    run = cr.watch(model, optimizer, loss_fn, folder=tmp_path / "run")
    for k in range(120):
        one(run, model, optimizer, loss_fn, torch.arange(8) + 8 * (k % 8), X, y)
    assert run.spikes() == []
    assert "Spikes: none" in str(run)


def test_wrong_labels_are_suspected(tmp_path: Path) -> None:
    torch.manual_seed(4)
    n, wrong = 400, 40
    X = torch.randn(3 * n, 10)
    X = X[X[:, :5].sum(1).abs() > 0.5][:n]  # near the border no label is known to be wrong
    y = (X[:, :5].sum(1) > 0).long()
    planted = torch.randperm(n)[:wrong]
    y[planted] = 1 - y[planted]
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer, loss_fn = torch.optim.Adam(model.parameters(), 3e-3), nn.CrossEntropyLoss()
    run = cr.watch(model, optimizer, loss_fn, folder=tmp_path / "run")
    for _ in range(15):
        order = torch.randperm(n)
        for start in range(0, n, 40):
            one(run, model, optimizer, loss_fn, order[start : start + 40], X, y)
    suspects = run.suspects(len(planted))
    found = {s.row for s in suspects} & set(planted.tolist())
    assert len(found) >= 0.9 * len(planted), f"{len(found)} of {len(planted)}"
    assert all(s.visits == 15 for s in suspects)
    assert len(suspects[0].history) == 15
    assert suspects[0].loss == pytest.approx(np.mean(suspects[0].history), rel=1e-6)


def test_a_killed_run_keeps_what_it_recorded(tmp_path: Path) -> None:
    script = """
import os, sys, torch, chainrule as cr
from torch import nn
torch.manual_seed(0)
torch.set_num_threads(1)
model = nn.Linear(3, 2)
optimizer, loss_fn = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9), nn.CrossEntropyLoss()
run = cr.watch(model, optimizer, loss_fn, folder=sys.argv[1], every=5)
for k in range(45):
    x, y = torch.randn(6, 3), torch.randint(0, 2, (6,))
    with run.step(x, y, rows=range(6)):
        optimizer.zero_grad()
        loss_fn(model(x), y).backward()
        optimizer.step()
run.wait()
if sys.argv[2] == "kill":
    os.kill(os.getpid(), 9)
"""
    folder = tmp_path / "run"
    done = subprocess.run([sys.executable, "-c", script, folder, "kill"], check=False)
    assert done.returncode == -signal.SIGKILL
    with open(folder / "steps.jsonl", "a") as file:
        file.write('{"step":45,"lo')  # a kill in the middle of a line
    model = nn.Linear(3, 2)
    run = cr.load_run(
        folder, model=model, optimizer=torch.optim.SGD(model.parameters(), 0.5, momentum=0.9),
        loss_fn=nn.CrossEntropyLoss(),
    )  # fmt: skip
    assert len(run.steps) == 45
    assert run.replay(44).same
    assert len(run.why_moved("weight[0,1]", 44).earlier) == 44
    assert run.samples().step == 40
    assert len(run.suspects(3)) == 3
    assert subprocess.run([sys.executable, "-c", script, folder, "end"], check=True).returncode == 0
    assert len(cr.load_run(folder).steps) == 45  # written at the end of the process
    assert len(cr.load_run(folder).suspects(10)) == 6


def test_an_error_in_the_loop_reaches_it_and_leaves_nothing_half(tmp_path: Path) -> None:
    model, optimizer, loss_fn = parts()
    X, y = data()
    run = cr.watch(model, optimizer, loss_fn, folder=tmp_path / "run", every=1)
    rows = torch.arange(8)
    one(run, model, optimizer, loss_fn, rows, X, y)

    def broken() -> None:
        with run.step(X[rows], y[rows], rows=rows):
            optimizer.zero_grad()
            loss_fn(model(X[rows]), y[rows]).backward()
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        broken()
    for module in model.modules():
        assert not module._forward_hooks
    assert [line["step"] for line in run.steps] == [0]
    one(run, model, optimizer, loss_fn, rows, X, y)
    assert [line["step"] for line in run.steps] == [0, 1]
    assert run.replay(1).same
    assert run.suspects(1)[0].visits == 2


def test_files_are_plain_and_bounded(tmp_path: Path) -> None:
    model, optimizer, loss_fn = parts()
    X, y = data()
    with cr.watch(model, optimizer, loss_fn, folder=tmp_path / "run", keep=2) as run:
        for k in range(110):
            one(run, model, optimizer, loss_fn, torch.arange(8) + 8 * (k % 8), X, y)
    kinds = {path.suffix for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert kinds <= {".json", ".jsonl", ".safetensors"}
    assert run.segments() == [80, 100]
    with pytest.raises(ValueError, match=r"which is no longer kept: .* from step 80 on. keep="):
        run.why_moved("0.bias[0]", 30)
    with pytest.raises(ValueError, match="the run is closed"):
        run.step(X, y)


def test_lines_are_thinned_and_rotated(tmp_path: Path) -> None:
    steps = Lines(tmp_path / "steps.jsonl", most=100)
    for k in range(1000):
        steps.add({"step": k, **({"recorded": True} if k % 20 == 0 else {})})
    found = list(lines(tmp_path / "steps.jsonl"))
    assert len(found) <= 100
    assert found[0]["step"] == 0
    assert found[-1]["step"] == 999
    samples = Rotated(tmp_path / "samples.jsonl", most=1000)
    for k in range(1000):
        samples.add({"step": k})
    sizes = [os.path.getsize(path) for path in tmp_path.glob("*samples.jsonl")]
    assert len(sizes) == 2
    assert max(sizes) <= 1000


def test_a_full_disk_does_not_end_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, optimizer, loss_fn = parts()
    X, y = data()
    run = cr.watch(model, optimizer, loss_fn, folder=tmp_path / "run")

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("chainrule.foreign.torch.watching.packing.write_over", full)

    def train() -> None:
        one(run, model, optimizer, loss_fn, torch.arange(8), X, y)
        run.flush()

    with pytest.warns(UserWarning, match=r"watch could not write .*No space left.*goes on"):
        train()
    one(run, model, optimizer, loss_fn, torch.arange(8), X, y)
    assert len(run.steps) == 2


def wrong(model: Any, optimizer: Any, folder: Path) -> list[tuple[Any, type, str]]:
    run = cr.watch(model, optimizer, nn.CrossEntropyLoss(), folder=folder / "fine")
    X, y = data(6)
    return [
        (lambda: cr.watch(3), TypeError, "model is a int; expected a torch.nn.Module"),
        (lambda: cr.watch(model, 3), TypeError, "optimizer is a int; expected a torch.optim"),
        (lambda: cr.watch(model, None, 3), TypeError, "loss_fn is a int; expected a function"),
        (lambda: cr.watch(model, every=0, folder=folder / "x"), ValueError, "every"),
        (lambda: cr.watch(model, keep=0, folder=folder / "x"), ValueError, "keep"),
        (lambda: cr.watch(model, clip_norm=-1.0, folder=folder / "x"), ValueError, "clip_norm"),
        (lambda: cr.watch(model, folder=folder / "full"), ValueError, "holds files but no watched"),
        (lambda: cr.watch(model, folder=folder / "file"), ValueError, "which is a file"),
        (lambda: cr.load_run(folder / "full"), ValueError, "holds no watched run"),
        (lambda: run.step(3), TypeError, "x is a int; expected a tensor"),
        (lambda: run.step(X, y, rows=[0.5] * 6), TypeError, "rows holds float64; expected the"),
        (lambda: run.step(X, y, rows=[0, 1]), ValueError, r"rows has shape \(2,\); expected \(6,"),
        (lambda: run.step(X, y, rows=[-1] * 6), ValueError, "rows holds -1; expected row numbers"),
        (lambda: run.step((X, {"a": object()}), y), TypeError, "x.1.a holds a object; expected"),
        (lambda: run.samples(), ValueError, "no step with norms has been recorded yet"),
        (lambda: run.suspects(), ValueError, r"Pass the row of each sample: run.step"),
        (lambda: run.suspects(0), ValueError, "count"),
        (lambda: run.why_moved("0.weight[0,0]"), ValueError, "no step has been recorded yet"),
        (lambda: run.why_moved(3), TypeError, "target is 3; expected a text such as"),
        (lambda: run.why_moved("0.weight"), ValueError, "expected one element of a parameter"),
        (lambda: run.why_moved("0.wait[0,0]"), ValueError, "no parameter '0.wait'. Did you mean"),
        (lambda: run.why_moved("0.weight[9,9]"), ValueError, r"0.weight has shape \(8, 4\)"),
    ]  # fmt: skip


def test_bad_input_is_refused(tmp_path: Path) -> None:
    model, optimizer, _ = parts()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for call, kind, message in wrong(model, optimizer, tmp_path):
        with pytest.raises(kind, match=message):
            call()
    assert (tmp_path / "full" / "letter.txt").read_text() == "mine"
    assert not (tmp_path / "x").exists()


def test_what_the_optimiser_does_not_hold_or_know(tmp_path: Path) -> None:
    model, _, loss_fn = parts()
    X, y = data(8)
    optimizer = torch.optim.SGD(model[0].parameters(), 0.1)
    run = cr.watch(model, optimizer, loss_fn, folder=tmp_path / "run")
    one(run, model, optimizer, loss_fn, torch.arange(8), X, y)
    with pytest.raises(ValueError, match=r"3.bias is not in the optimiser: none of its"):
        run.why_moved("3.bias[0]")
    optimizer = torch.optim.NAdam(model.parameters())
    run = cr.watch(model, optimizer, loss_fn, folder=tmp_path / "run")
    one(run, model, optimizer, loss_fn, torch.arange(8), X, y)
    with pytest.raises(ValueError, match="the optimiser is NAdam; why_moved can split the"):
        run.why_moved("3.bias[0]")
    with pytest.raises(ValueError, match="did not call the model"), run.step(X, y):
        pass


def test_run_json_names_what_was_watched(tmp_path: Path) -> None:
    model, optimizer, loss_fn = parts()
    cr.watch(model, optimizer, loss_fn, folder=tmp_path / "run")
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    assert about["optimizer"] == "Adam"
    assert about["parameters"][0] == {
        "name": "0.weight", "shape": [8, 4], "group": 0, "place": 0,
    }  # fmt: skip


def test_of_a_series_of_large_losses_the_first_is_the_spike() -> None:
    spikes = Spikes()
    losses = [1.0, 1.1, 0.9] * 10 + [50.0, 80.0, 1.0, 60.0] + [1.0] * 17 + [40.0]
    found = [k for k, loss in enumerate(losses) if spikes.see(loss)]
    assert found == [30, len(losses) - 1]
    assert spikes.see(float("inf")) == "the loss is inf"
    assert spikes.see(float("nan")) is None


def test_the_first_folder_stays(tmp_path: Path) -> None:
    for k in range(30):
        (tmp_path / f"{k:08d}").mkdir()
    prune(tmp_path, 5, first=1)
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == [0, 26, 27, 28, 29]
