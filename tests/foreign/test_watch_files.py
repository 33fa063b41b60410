"""What a watched run writes: batches in places, files written over, states of generators."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from safetensors.torch import load_file  # noqa: E402
from torch import nn  # noqa: E402

import chainrule as cr  # noqa: E402
from chainrule.diagnose.folder import encoded, encoded_numbers  # noqa: E402
from chainrule.diagnose.spares import Spares  # noqa: E402
from chainrule.foreign.torch.watching import packing, slots, state  # noqa: E402

pytestmark = pytest.mark.needs("torch")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_kill_in_the_loop_loses_no_step(tmp_path: Path) -> None:
    """Nothing waits for the writing: lines and batches are on file when a step ends."""
    script = """
import os, sys, torch, chainrule as cr
from torch import nn
torch.manual_seed(0)
torch.set_num_threads(1)
model = nn.Linear(3, 2)
optimizer, loss_fn = torch.optim.Adam(model.parameters(), 0.1), nn.CrossEntropyLoss()
run = cr.watch(model, optimizer, loss_fn, folder=sys.argv[1], every=4)
for k in range(31):
    x, y = torch.randn(6, 3), torch.randint(0, 2, (6,))
    if k == 30:
        os.kill(os.getpid(), 9)
    with run.step(x, y, rows=range(6)):
        optimizer.zero_grad()
        loss_fn(model(x), y).backward()
        optimizer.step()
    if k == 20:
        run.wait()  # for the state before step 20
"""
    done = subprocess.run([sys.executable, "-c", script, tmp_path / "run"], check=False)
    assert done.returncode == -signal.SIGKILL
    model = nn.Linear(3, 2)
    run = cr.load_run(
        tmp_path / "run", model=model, optimizer=torch.optim.Adam(model.parameters()),
        loss_fn=nn.CrossEntropyLoss(),
    )  # fmt: skip
    assert [line["step"] for line in run.steps] == list(range(30))
    assert run.samples().step == 28
    assert all(run.replay(step).same for step in (20, 29))


def test_batches_of_many_shapes_over_files_that_were_there_before(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.5)
    kept: dict[int, Any] = {}
    with cr.watch(model, optimizer, nn.functional.mse_loss, folder=tmp_path / "run", keep=2) as run:
        for k in range(130):
            n = (4, 4, 9, 4, 1)[k % 5]
            x, y = torch.randn(n, 3), torch.randn(n, 1)
            kept[k] = x.clone(), y.clone()
            with run.step(x, y):
                optimizer.zero_grad()
                nn.functional.mse_loss(model(x), y).backward()
                optimizer.step()
            x.zero_()  # the loop may use the memory again
        run.wait()
        assert list((tmp_path / "run" / "spare").iterdir())
        files = list((tmp_path / "run" / "segments").rglob("*.batches.safetensors"))
        assert len(files) == 3 * len(run.segments())
        for step in range(100, 130):
            again = run.replay(step)
            assert again.same, step
            assert torch.equal(again.x, kept[step][0])
            assert torch.equal(again.y, kept[step][1])
    assert not list((tmp_path / "run" / "spare").iterdir())
    for path in (tmp_path / "run").rglob("*.safetensors"):
        load_file(path)  # as safetensors reads them


def test_a_batch_that_was_not_written_whole_is_not_there(tmp_path: Path) -> None:
    made = slots.Slots(tmp_path, 10, Spares(tmp_path / "spare"))
    made.write(4, {"x": torch.arange(3.0), "rows": np.arange(3)})
    with pytest.MonkeyPatch.context() as patch:

        def cut_off(descriptor: int, data: Any, start: int) -> int:
            raise KeyboardInterrupt

        patch.setattr(os, "pwrite", cut_off)
        with pytest.raises(KeyboardInterrupt):
            made.write(5, {"x": torch.arange(3.0), "rows": np.arange(3)})
    assert slots.is_there(tmp_path, 4)
    assert not slots.is_there(tmp_path, 5)
    assert slots.load(tmp_path, 4)["x"].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=r"the batch of step 5 is not on file: .* keep= of watch"):
        slots.load(tmp_path, 5)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "int8", "bool", "complex64"])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_numbers_of_every_type_come_back(dtype: str, shape: Any, tmp_path: Path) -> None:
    t = (torch.rand(shape) * 9).to(getattr(torch, dtype))
    value = {"t": t, "turned": t.mT if t.dim() else t, "array": np.arange(5)[::2], "text": "a"}
    packing.save(tmp_path / "file", value)
    found = packing.load(tmp_path / "file")
    assert found["t"].dtype == t.dtype
    assert torch.equal(found["t"], t)
    assert torch.equal(found["turned"], value["turned"])
    assert found["array"].tolist() == [0, 2, 4]
    with pytest.raises(TypeError, match=r"holds torch\.complex128, for which"):
        packing.save(tmp_path / "other", {"t": torch.ones(2, dtype=torch.complex128)})


def test_a_file_that_is_given_up_while_it_is_read_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packing.save(tmp_path / "file", {"t": torch.ones(2)})
    unpack = packing.unpack

    def replaced(*args: Any) -> Any:
        packing.save(tmp_path / "file", {"t": torch.zeros(2)})
        return unpack(*args)

    monkeypatch.setattr(packing, "unpack", replaced)
    with pytest.raises(FileNotFoundError, match="was replaced while it was read"):
        packing.load(tmp_path / "file")


def test_states_of_generators_come_back() -> None:
    """Also where a generator has the second of a pair of normal numbers left."""
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    torch.manual_seed(3)

    def draw() -> tuple[float, ...]:
        numpy = float(np.random.randn()), float(np.random.rand())  # noqa: NPY002
        return (random.gauss(0, 1), random.random(), *numpy, float(torch.randn(())))

    for _ in range(5):
        before = state.random_states()
        first = draw()
        state.put_random(before)
        assert draw() == first


def test_losses_of_rows_are_those_of_their_steps(tmp_path: Path) -> None:
    """They are found for many steps at once, from copies of what the steps had."""
    torch.manual_seed(0)
    model, loss_fn = nn.Linear(3, 4), nn.CrossEntropyLoss(label_smoothing=0.1)
    expected: dict[int, list[float]] = {row: [] for row in range(12)}
    run = cr.watch(model, None, loss_fn, folder=tmp_path / "run")
    for k in range(9):
        n = 5 if k % 4 == 3 else 4
        rows = torch.arange(n) + 4 * (k % 2)
        x, y = torch.randn(n, 3), torch.randint(0, 4, (n,))
        with run.step(x, y, rows=rows):
            output = model(x)
            loss_fn(output, y).backward()
            for row, loss in zip(
                rows.tolist(), nn.functional.cross_entropy(
                    output.detach(), y, reduction="none", label_smoothing=0.1
                ).tolist(), strict=True,
            ):  # fmt: skip
                expected[row].append(loss)
            output.detach().zero_()
            y.zero_()
    for suspect in run.suspects(12):
        assert suspect.history == pytest.approx(expected[suspect.row], rel=1e-6)


def test_lists_of_numbers_are_strict_json() -> None:
    values = [0.1, -3.0, 1e-30, 123456789.123, 1e300]
    np.testing.assert_allclose(json.loads(encoded_numbers(values)), values, rtol=1e-8)
    assert json.loads(encoded_numbers([1.0, float("nan"), float("-inf")]))[1:] == ["nan", "-inf"]
    assert encoded_numbers([]) == "[]"
    assert encoded({"a": [0.5, float("inf")]}) == '{"a":[0.5,"inf"]}'
