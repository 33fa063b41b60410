"""Checkpoints at addresses of fsspec: the same as in a folder, as far as a store allows."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.cli import main

fsspec = pytest.importorskip("fsspec")

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(60, 3)), RNG.normal(size=60)
HOW: dict[str, Any] = {"batch_size": 16, "verbose": 0}


def network() -> cr.Network:
    return cr.Network([3, 5, 1], hidden="tanh", seed=1)


@pytest.fixture(params=["memory", "file", pytest.param("s3", marks=pytest.mark.needs("s3"))])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A folder that is not there yet, at an address of each kind."""
    if request.param == "s3":
        request.getfixturevalue("s3")
        yield "s3://bucket/runs/1"
    elif request.param == "file":
        yield f"file://{tmp_path}/runs/1"
    else:
        system = fsspec.filesystem("memory")
        yield "memory://runs/1"
        system.store.clear()
        system.pseudo_dirs[:] = [""]


def names(address: str) -> list[str]:
    system, path = fsspec.core.url_to_fs(address)
    system.invalidate_cache()
    return sorted(name[len(path) :].lstrip("/") for name in system.find(path))


def test_a_run_goes_on_to_the_same_bits(address: str) -> None:
    here, net = network(), network()
    alone = here.fit(X, Y, epochs=6, **HOW)
    for epochs in (2, 5, 6):
        net = network()
        history = net.fit(
            X, Y, epochs=epochs, checkpoint=address, resume=True, keep=2,
            callbacks=[cr.EarlyStopping("loss", patience=50)], **HOW,
        )  # fmt: skip
        kept = [f"epoch-{epoch:06d}.safetensors" for epoch in (epochs - 1, epochs)]
        assert names(address) == ["best.safetensors", *kept]
    np.testing.assert_array_equal(net.parameters, here.parameters)
    assert history.loss == alone.loss
    with pytest.raises(ValueError, match=f"'{address}' holds a run, which reached epoch 6"):
        network().fit(X, Y, checkpoint=address, **HOW)
    with pytest.raises(ValueError, match=f"{address}/epoch-000006.safetensors is of another run"):
        network().fit(-X, Y, epochs=7, checkpoint=address, resume=True, **HOW)


def test_what_is_damaged_is_named_and_the_one_before_is_taken(address: str) -> None:
    here, net = network(), network()
    here.fit(X, Y, epochs=5, **HOW)
    network().fit(X, Y, epochs=4, checkpoint=address, **HOW)
    system, path = fsspec.core.url_to_fs(address)
    system.pipe_file(f"{path}/epoch-000004.safetensors", b"half")
    with pytest.warns(cr.CheckpointWarning, match=f"{address}/epoch-000004.safetensors is not a"):
        net.fit(X, Y, epochs=5, checkpoint=address, resume=True, **HOW)
    np.testing.assert_array_equal(net.parameters, here.parameters)
    for name in names(address):
        system.pipe_file(f"{path}/{name}", b"half")
    with pytest.raises(ValueError, match=f"no checkpoint in '{address}' can be read"):
        network().fit(X, Y, epochs=6, checkpoint=address, resume=True, **HOW)


def test_what_a_kill_has_left_is_removed(address: str) -> None:
    system, path = fsspec.core.url_to_fs(f"{address}/.chainrule-part-x")
    system.makedirs(path.rpartition("/")[0], exist_ok=True)
    system.pipe_file(path, b"half")
    network().fit(X, Y, epochs=1, checkpoint=address, **HOW)
    assert names(address) == ["best.safetensors", "epoch-000001.safetensors"]


def test_many_networks(address: str) -> None:
    here = [cr.Network([3, 2, 1], seed=seed) for seed in range(3)]
    cr.fit_many(here, X, Y, epochs=4, **HOW)
    for epochs in (2, 4):
        nets = [cr.Network([3, 2, 1], seed=seed) for seed in range(3)]
        cr.fit_many(nets, X, Y, epochs=epochs, checkpoint=address, resume=True, keep=1, **HOW)
    for net, other in zip(nets, here, strict=True):
        np.testing.assert_array_equal(net.parameters, other.parameters)
    each = ["best.safetensors", "epoch-000004.safetensors"]
    assert names(address) == [f"{i}/{name}" for i in range(3) for name in each]


def test_the_command_line(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = np.column_stack([X, Y])
    np.savetxt("data.csv", rows, delimiter=",", header="a,b,c,y", comments="")
    command = ["train", "data.csv", "--target", "y", "--hidden", "4", "--no-plot"]
    command += ["--recipe", "plain", "--members", "2"]
    assert main([*command, "--epochs", "6", "--out", "whole"]) == 0
    assert main([*command, "--epochs", "6", "--out", "kept", "--checkpoint", address]) == 0
    assert Path("whole").read_bytes() == Path("kept").read_bytes()
    assert "0/epoch-000006.safetensors" in names(address)
    again = [*command, "--epochs", "6", "--out", "again", "--checkpoint", address]
    assert main(again) == 2
    assert f"{address} holds a run that reached epoch 6" in capsys.readouterr().err
    assert main([*again, "--resume"]) == 0
    assert Path("whole").read_bytes() == Path("again").read_bytes()
    assert main(["3" if word == "2" else word for word in again] + ["--resume"]) == 2
    assert "holds a run with --members 2; this one has --members 3" in capsys.readouterr().err


@pytest.mark.needs("s3")
def test_a_bucket_that_does_not_exist(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    net = network()
    before = net.parameters.copy()
    called: list[Any] = []
    with pytest.raises(OSError, match=r"checkpoint folder 's3://none/run' can't be written \("):
        net.fit(X, Y, checkpoint="s3://none/run", callbacks=[called.append], **HOW)
    assert not called
    np.testing.assert_array_equal(net.parameters, before)
    assert s3.ls("") == ["bucket"]
    monkeypatch.chdir(tmp_path)
    Path("data.csv").write_text("a,y\n" + "".join(f"{i},{i * i}\n" for i in range(60)))
    command = ["train", "data.csv", "--target", "y", "--out", "m", "--checkpoint", "s3://none/run"]
    assert main(command) == 2
    assert "s3://none/run: The specified bucket does not exist" in capsys.readouterr().err


def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(
        sys.modules["fsspec.registry"]._registry, "s3", raising=False
    )  # imported before
    with pytest.raises(ImportError, match=r"s3://bucket/run: .*s3fs"):
        network().fit(X, Y, checkpoint="s3://bucket/run", **HOW)
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ImportError, match=r"s3://bucket/run needs fsspec: pip install"):
        network().fit(X, Y, checkpoint="s3://bucket/run", **HOW)
    with pytest.raises(ImportError, match="needs fsspec"):
        cr.fit_many([network()], X, Y, checkpoint="s3://bucket/run", **HOW)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="nonsense://run: Protocol not known"):
        network().fit(X, Y, checkpoint="nonsense://run", **HOW)
