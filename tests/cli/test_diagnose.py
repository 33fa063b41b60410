"""`chainrule diagnose`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule import cli

R = np.random.default_rng(0)
X = R.normal(size=(40, 2))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A healthy network, one with dead units, and samples."""
    net = cr.Network([2, 6, 1], hidden="relu", seed=0)
    net.fit(X, X[:, 0], epochs=5)
    net.save(tmp_path / "well.safetensors")
    net.layers[1].b[[1, 4]] = -100
    net.save(tmp_path / "dead.safetensors")
    np.savez(tmp_path / "samples.npz", X=X, y=X[:, 0])
    lines = [f"{a},{b},{a}" for a, b in X.tolist()]
    (tmp_path / "large.csv").write_text("\n".join([*lines, "3000,1,1"]) + "\n")
    return tmp_path


def run(folder: Path, *arguments: str) -> int:
    paths = [str(folder / a) if (folder / a).exists() else a for a in arguments]
    return cli.main(["diagnose", *paths])


def test_the_exit_code_says_whether_all_is_well(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "well.safetensors", "--data", "samples.npz") == 0
    assert capsys.readouterr().out.startswith("Nothing is wrong. Network 2-6-1 (relu, identity)")
    assert run(folder, "dead.safetensors", "--data", "samples.npz") == 1
    out = capsys.readouterr().out
    assert "1. Warning: dead-units, layer 1" in out
    assert "2 of the 6 units of layer 1 (relu) are 0 on all 40 samples: 1, 4." in out


def test_json_and_a_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = folder / "findings.html"
    code = run(folder, "dead.safetensors", "--data", "samples.npz", "--json", "--html", str(page))
    assert code == 1
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    assert [(f["code"], f["units"]) for f in told["findings"]] == [("dead-units", [1, 4])]
    assert "dead-units" in page.read_text(encoding="utf-8")


def test_rows_are_those_of_the_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "well.safetensors", "--data", "large.csv") == 1
    assert "unscaled-input" in capsys.readouterr().out
    assert run(folder, "well.safetensors", "--data", "large.csv", "--rows", "0:40") == 0
    assert "40 samples" in capsys.readouterr().out
    assert run(folder, "well.safetensors", "--data", "large.csv", "--rows", "50:60") == 2
    assert "there are no rows in 50:60" in capsys.readouterr().err


def test_a_page_does_not_replace_what_is_read(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = folder / "samples.npz"
    before = samples.read_bytes()
    code = run(folder, "well.safetensors", "--data", "samples.npz", "--html", str(samples))
    assert code == 2
    assert f"--html {samples} would overwrite {samples}" in capsys.readouterr().err
    assert samples.read_bytes() == before
