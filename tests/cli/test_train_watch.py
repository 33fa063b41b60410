"""`chainrule train --watch`, and `chainrule watch` of what it recorded."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import cli


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with a text column, rows without a target, and one impossible number."""
    path = tmp_path_factory.mktemp("table") / "prices.csv"
    rng = np.random.default_rng(0)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["area", "town", "price"])
        for i in range(120):
            size, town = rng.uniform(20, 200), rng.choice(["Ulm", "Bonn"])
            price = 3 * size + (50 if town == "Ulm" else 0) + rng.normal()
            writer.writerow([f"{size:.2f}", town, "" if i in (3, 40) else f"{price:.2f}"])
    text = path.read_text(encoding="utf-8").splitlines()
    area, town, _ = text[78].split(",")
    text[78] = f"{area},{town},9000"  # row 77, counted from 0 without the header
    path.write_text("\n".join(text) + "\n", encoding="utf-8")
    return path


def train(table: Path, out: Path, *more: str) -> int:
    return cli.main(
        ["train", str(table), "--target", "price", "--out", str(out), "--epochs", "12",
         "--no-plot", "--plain", "--test", "0.1", *more]
    )  # fmt: skip


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert cli.main(["watch", *arguments]) == 0
    return capsys.readouterr().out


def test_a_training_on_a_table_is_recorded(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = tmp_path / "run", tmp_path / "model.safetensors"
    assert train(table, tmp_path / "plain.safetensors") == 0
    assert train(table, out, "--watch", str(run), "--watch-every", "2") == 0
    plain, recorded = cr.load(tmp_path / "plain.safetensors"), cr.load(out)
    assert recorded.parameters.tobytes() == plain.parameters.tobytes()
    text = said(capsys, str(run))
    assert "steps of Network 3-64-32-1 with Adam" in text
    for folder in (run, run / "refit"):
        found = json.loads(said(capsys, str(folder), "--suspects", "200", "--json"))
        rows = {suspect["row"] for suspect in found}
        assert not rows & {3, 40}
        assert rows <= set(range(120))
    assert len(rows) == 118  # all that have a target
    assert found[0]["row"] == 77
    move = said(capsys, str(run), "--why", "w[1][0,0]", "--step", "5")
    assert move.startswith("W[1][0,0] in step 5 moved by ")
    with open(table, encoding="utf-8") as file:
        prices = [row["price"] for row in csv.DictReader(file)]
    record = cr.load_run(run / "refit")
    again = record.replay(4)
    assert again.same
    learned = np.array([float(prices[row]) for row in again.rows])
    assert np.corrcoef(learned, again.y[:, 0])[0, 1] == pytest.approx(1, abs=1e-5)
    assert record.samples(4).losses is not None


def test_a_resumed_training_goes_on_with_its_recording(table: Path, tmp_path: Path) -> None:
    both = ("--watch", str(tmp_path / "run"), "--checkpoint", str(tmp_path / "kept"), "--no-refit")
    assert train(table, tmp_path / "a.safetensors", *both, "--patience", "50") == 0
    steps = len(cr.load_run(tmp_path / "run").steps)
    assert cli.main(
        ["train", str(table), "--target", "price", "--out", str(tmp_path / "b.safetensors"),
         "--epochs", "24", "--no-plot", "--plain", "--test", "0.1", "--patience", "50", *both,
         "--resume"]
    ) == 0  # fmt: skip
    assert len(cr.load_run(tmp_path / "run").steps) == 2 * steps


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--watch-every", "3"], "--watch-every needs --watch FOLDER"),
        (["--watch", "FILE"], "which is a file. Choose another folder"),
        (["--watch", "FULL"], "which holds files but no watched run"),
        (["--watch", "same", "--checkpoint", "same"], "watch and checkpoint are both the folder"),
    ],
)
def test_bad_options_are_one_line(
    more: Any, message: str, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    known = {"FILE": str(tmp_path / "file"), "FULL": str(tmp_path / "full")}
    given = [known.get(a, str(tmp_path / a) if a == "same" else a) for a in more]
    assert train(table, tmp_path / "model.safetensors", *given) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "model.safetensors").exists()
