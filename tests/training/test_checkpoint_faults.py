"""Resuming what does not fit, damaged checkpoints, and disks that fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import chainrule as cr
from chainrule.equations.optimizers import (
    AdaGrad,
    Adam,
    GradientDescent,
)
from chainrule.equations.schedules import Cosine
from chainrule.training import checkpoints, folders
from chainrule.training.callbacks import EarlyStopping, Run
from chainrule.training.checkpoints import CheckpointWarning
from tests.tools import uncounted
from tests.training.checkpointed import X, Y, fit, names, names_of, net, same_history


def flip(path: Path, place: int) -> None:
    """Damage one byte."""
    content = bytearray(path.read_bytes())
    content[place] ^= 0x10
    path.write_bytes(content)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        ({"sizes": [4, 9, 2]}, {}, r"network sizes \[4, 8, 2\] there, \[4, 9, 2\] here"),
        ({"dtype": "float64"}, {}, r"network dtype 'float32' there, 'float64' here"),
        ({"hidden": "tanh"}, {}, r"network activations \['relu', 'softmax'\] there, \['tanh', "),
        ({"seed": 4}, {}, "network seed 3 there, 4 here"),
        ({"dropout": 0.2}, {}, r"network dropout \[0\.1\] there, \[0\.2\] here"),
        ({"l2": 0.1}, {}, r"network l2 0\.0 there, 0\.1 here"),
        ({}, {"optimizer": Adam(0.1)}, r"optimizer learning_rate 0\.001 there, 0\.1 here"),
        ({}, {"optimizer": AdaGrad()}, r"optimizer Adam\(.*\) there, AdaGrad\(.*epsilon=1e-10\)"),
        ({}, {"optimizer": Adam(Cosine(0.1, 9))}, r"0\.001 there, Cosine\(initial=0\.1, epochs=9"),
        ({}, {"batch_size": 15}, "batch_size 16 there, 15 here"),
        ({}, {"clip_norm": 2.0}, r"clip_norm None there, 2\.0 here"),
        ({}, {"shuffle": False}, "shuffle True there, False here"),
        ({}, {"X": X[:50], "y": Y[:50]}, "samples 60 there, 50 here"),
        ({}, {"X": X[::-1]}, "X, y or their weights with other numbers here .*without a seed"),
        ({}, {"y": 1 - Y}, "X, y or their weights with other numbers"),
        ({}, {"sample_weight": X[:, 0] ** 2}, "X, y or their weights with other numbers"),
        ({}, {"validation_data": None}, "val_loss is measured there, not here"),
        ({}, {"validation_data": (X, Y)}, "validation_data with other numbers here"),
        ({}, {"metrics": ["r2"]}, "accuracy is measured there, not here; .*r2 is measured here"),
    ],
)
def test_another_run_is_refused(
    network: dict[str, Any], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    fit(net(), 2, checkpoint=tmp_path)
    before = names(tmp_path)
    other = net(**network)
    parameters = other.parameters.copy()
    with pytest.raises(ValueError, match=message) as raised:
        fit(other, checkpoint=tmp_path, resume=True, **options)
    assert "epoch-000002.safetensors is of another run" in str(raised.value)
    assert (other.parameters == parameters).all()
    assert names(tmp_path) == before


def test_another_engine_is_told(tmp_path: Path) -> None:
    fit(net(engine="native"), 2, checkpoint=tmp_path)
    with pytest.warns(CheckpointWarning, match="native engine and goes on with the reference"):
        history = fit(net(engine="reference"), checkpoint=tmp_path, resume=True)
    assert len(history.epoch) == 6


def test_a_folder_that_holds_a_run_is_not_written_over(tmp_path: Path) -> None:
    fit(net(), 2, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"holds a run, which reached epoch 2: .*resume=True"):
        fit(net(), checkpoint=tmp_path)
    assert names(tmp_path) == names_of(1, 2)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"resume": True}, ValueError, "resume=True needs checkpoint="),
        ({"checkpoint": 3}, TypeError, "checkpoint must be a folder or an address, got 3"),
        ({"checkpoint": "run", "resume": "yes"}, TypeError, "resume must be True or False"),
        ({"checkpoint": "run", "every": 0}, ValueError, "every must be at least 1, got 0"),
        ({"checkpoint": "run", "every": 1.5}, TypeError, "a number of epochs or a timedelta"),
        ({"checkpoint": "run", "every": True}, TypeError, "a number of epochs or a timedelta"),
        ({"checkpoint": "run", "every": timedelta(-1)}, ValueError, "must not be negative"),
        ({"checkpoint": "run", "keep": 0}, ValueError, "keep must be at least 1, got 0"),
        ({"checkpoint": "run", "callbacks": [EarlyStopping("x")]}, ValueError, "no column 'x'"),
        ({"checkpoint": "run", "batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"every": 2}, ValueError, "every and keep need checkpoint="),
        ({"keep": 3}, ValueError, "every and keep need checkpoint="),
    ],
)
def test_bad_arguments(
    options: dict[str, Any],
    error: type[Exception],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    network = net()
    before = network.parameters.copy()
    with pytest.raises(error, match=message):
        fit(network, **options)
    assert (network.parameters == before).all()
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_folders_that_can_not_be_had(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in ("file", "file/run"):
        with pytest.raises(OSError, match="file"):
            fit(net(), checkpoint=tmp_path / path)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are those of POSIX")
def test_a_folder_without_permission_is_told_before_anything_is_trained() -> None:
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    if root := os.geteuid() == 0:
        os.seteuid(65534)  # root may write anywhere
    try:
        network = net()
        before = network.parameters.copy()
        with pytest.raises(PermissionError, match="Permission denied"):
            fit(network, checkpoint=folder)
        assert (network.parameters == before).all()
    finally:
        if root:
            os.seteuid(0)
        folder.rmdir()


@pytest.mark.skipif(sys.platform == "win32", reason="locks are those of POSIX")
def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    def second(run: Run) -> None:
        with pytest.raises(ValueError, match="in use: another fit writes into it"):
            fit(net(), checkpoint=tmp_path, resume=True)

    fit(net(), 2, callbacks=[second], checkpoint=tmp_path)
    fit(net(), 3, checkpoint=tmp_path, resume=True)  # free again


def test_in_a_thread(tmp_path: Path) -> None:
    whole, part = net(), net()
    fit(whole)
    threads = []
    for epochs in (2, 6):
        thread = threading.Thread(
            target=fit, args=(part, epochs), kwargs={"checkpoint": tmp_path, "resume": True}
        )
        thread.start()
        thread.join()
        threads.append(thread)
    assert part.parameters.tobytes() == whole.parameters.tobytes()


# --- damage ---------------------------------------------------------------------------------------


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path: Path) -> None:
    whole = net()
    history = fit(whole)
    fit(net(), 4, checkpoint=tmp_path / "good")
    size = (tmp_path / "good/epoch-000004.safetensors").stat().st_size
    damages: list[Callable[[Path], object]] = [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[: size // 2]),
        lambda path: path.write_bytes(bytes(size)),
        *(lambda path, place=place: flip(path, place) for place in range(0, size, size // 12)),
        lambda path: flip(path, size - 1),
    ]
    for i, damage in enumerate(damages):
        folder = tmp_path / str(i)
        shutil.copytree(tmp_path / "good", folder)
        damage(folder / "epoch-000004.safetensors")
        part = net()
        message = r"epoch-000004\.safetensors.*; the run goes on from epoch-000003\.safetensors"
        with pytest.warns(CheckpointWarning, match=message) as caught:
            resumed = fit(part, checkpoint=folder, resume=True)
        assert caught[0].filename == fit.__code__.co_filename  # the caller of Network.fit
        assert same_history(resumed, history)
        assert part.parameters.tobytes() == whole.parameters.tobytes()
        assert names(folder) == names_of(5, 6)


def test_where_all_are_damaged_nothing_is_begun(tmp_path: Path) -> None:
    fit(net(), 4, checkpoint=tmp_path)
    for _, name in folders.epochs(folders.folder_of(tmp_path)):
        flip(tmp_path / name, -1)
    with pytest.raises(ValueError, match=r"no checkpoint in .* can be read \(.*4.*; .*3.*\); to"):
        fit(net(), checkpoint=tmp_path, resume=True)
    assert names(tmp_path) == names_of(3, 4)


def test_the_best_that_is_lost(tmp_path: Path) -> None:
    """It is written again if its epoch is among those kept, else the best that follows is kept."""
    fit(net(), 4, optimizer=Adam(0.01), checkpoint=tmp_path)
    found = checkpoints.read(tmp_path / "epoch-000004.safetensors")
    assert found.best is not None
    assert found.best[0] == 4
    best = (tmp_path / "best.safetensors").read_bytes()
    (tmp_path / "best.safetensors").unlink()
    fit(net(), 4, optimizer=Adam(0.01), checkpoint=tmp_path, resume=True)
    assert (tmp_path / "best.safetensors").read_bytes() == best

    worse = tmp_path / "worse"
    fit(net(), 8, optimizer=GradientDescent(5.0), checkpoint=worse, keep=1)
    found = checkpoints.read(worse / "epoch-000008.safetensors")
    assert found.best is not None
    assert found.best[0] < 8
    flip(worse / "best.safetensors", -1)
    with pytest.warns(CheckpointWarning, match="best network so far is lost .*is damaged"):
        fit(net(), 9, optimizer=GradientDescent(5.0), checkpoint=worse, resume=True)
    assert cr.load(worse / "best.safetensors").parameters.tobytes() == (
        cr.load(worse / "epoch-000009.safetensors").parameters.tobytes()
    )


def test_a_checkpoint_of_a_newer_version_is_named(tmp_path: Path) -> None:
    fit(net(), 1, checkpoint=tmp_path)
    path = tmp_path / "epoch-000001.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "VERSION", 2)
        path.write_bytes(checkpoints.serialize(net(), checkpoints.read(path)))
    with pytest.raises(ValueError, match="written by a newer chainrule, as checkpoint 2"):
        fit(net(), checkpoint=tmp_path, resume=True)
    cr.load(path)  # the network in it can be read all the same


# --- the disk -------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="limits are those of POSIX")
def test_disk_full_leaves_the_last_checkpoint_and_a_clear_error(tmp_path: Path) -> None:
    code = """
        import resource, sys
        import numpy as np
        from chainrule.network import Network

        X = np.random.default_rng(0).normal(size=(50, 30))
        net = Network([30, 40, 1], seed=0)
        def limit(run):
            if run.epoch == 3:
                resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        options = dict(checkpoint=sys.argv[1], resume=True)
        try:
            net.fit(X, X[:, :1], epochs=6, callbacks=[limit] * (len(sys.argv) > 2), **options)
        except OSError as error:
            print(error)
        print(net.parameters.tobytes().hex())
    """

    def run(folder: str, *full: str) -> list[str]:
        ran = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / folder), *full],
            capture_output=True, text=True, timeout=300, check=False,
            env=uncounted(),
        )  # fmt: skip
        # A core that counts its lines finds the disk full, too, and says so.
        said = [line for line in ran.stderr.splitlines() if not line.startswith("profiling:")]
        assert (ran.returncode, said) == (0, [])
        return ran.stdout.splitlines()

    error, _ = run("run", "full")
    assert "File too large: '" in error
    assert "safetensors'" in error
    assert names(tmp_path / "run") == names_of(1, 2)
    assert run("run") == run("other")


def test_a_write_that_fails_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def full(*_: object) -> None:
        calls.append(1)
        raise OSError(28, "No space left on device")

    network = net()
    fit(network, 2, checkpoint=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=r"No space left on device: '.*safetensors'"):
            fit(network, checkpoint=tmp_path, resume=True)
    assert len(calls) == 1
    assert names(tmp_path) == names_of(1, 2)
