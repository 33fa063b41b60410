"""`chainrule train` on tables, and runs that survive."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import chainrule
from chainrule.tables.source import MISSING
from chainrule.training import folders
from tests.cli.people import TRAIN, Run, folder, loaded, people, run, start  # noqa: F401

# --- train ----------------------------------------------------------------------------------------


def test_train_with_nothing_else_said(run: Run) -> None:
    code, out, err = run(*TRAIN)
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 100
    for words in (
        "people.csv: 240 rows, 8 columns",
        "target   label: 2 classes (task classify): no ",
        "  number    age     ",
        " % missing",
        "  category  colour  3 categories: blue, green, red",
        "  date      joined  2020-01-",
        "  left out  id      it numbers the rows",
        "  left out  note    free text or names: 240 different texts",
        "  left out  planet  it is 'earth' in every training row",
        "  left out  empty   it has no value in any row",
        "rows     168 for training, 24 for validation, 48 for the test (stratified by class, seed",
        "network  Network(",
        "trained  ",
        "On the 48 test rows",
        "model  largest class",
        "Saved: model, and the loss curves in model.png",
    ):
        assert words in out
    assert re.search(r"accuracy +0\.[89]\d+ +0\.[56]\d+\n", out)
    assert re.search(r"ROC AUC +0\.9\d+ +0\.5000\n", out)
    assert Path("model.png").read_bytes().startswith(b"\x89PNG")
    assert str(chainrule.load("model")) in out
    assert sorted(os.listdir()) == ["model", "model.png", "people.csv"]


def test_the_seed_makes_the_model(run: Run) -> None:
    run(*TRAIN, "--seed", "1")
    first = Path("model").read_bytes()
    run(*TRAIN, "--seed", "1")
    assert Path("model").read_bytes() == first
    run(*TRAIN, "--seed", "2")
    assert Path("model").read_bytes() != first


def test_every_format_gives_the_same_model(run: Run) -> None:
    frame = people()
    frame.to_parquet("people.parquet")
    frame.to_csv("people.tsv", sep="\t", index=False)
    with pa.OSFile("people.arrow", "wb") as file:
        table = pa.Table.from_pandas(frame, preserve_index=False)
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    written = []
    for form in ("csv", "tsv", "parquet", "arrow"):
        assert run("train", f"people.{form}", *TRAIN[2:])[0] == 0
        written.append(Path("model").read_bytes())
    assert all(one == written[0] for one in written)


def test_train_with_much_said(run: Run) -> None:
    frame = people()
    frame["joined"] = frame.joined.dt.strftime("%d/%m/%Y")
    frame["code"] = np.arange(len(frame)) % 3
    frame.loc[5, "age"] = -1
    frame.to_csv("people.csv", index=False)
    code, out, err = run(
        *TRAIN, "--task", "classify", "--hidden", "8", "--activation", "tanh", "--epochs", "3",
        "--batch-size", "16", "--learning-rate", "0.01", "--l2", "0", "--dropout", "0.1",
        "--balanced", "--test", "0.3", "--validation", "0", "--categorical", "code", "--drop", "id",
        "--date", "joined=%d/%m/%Y", "--missing", "-1", "--no-plot", "--plain",
    )  # fmt: skip
    assert (code, err) == (0, "")
    model = loaded()
    assert model.network.sizes[1:] == (8, 2)
    kinds = {column.name: column.kind for column in model.schema.columns}
    assert kinds == {"age": "number", "colour": "category", "joined": "date", "code": "category"}
    assert model.schema.missing == (*MISSING, "-1")
    assert model.training["rows"] == {"training": 168, "validation": 0, "test": 72}
    assert (model.training["epochs"], model.training["balanced"]) == (3, True)
    assert model.network.layers[1].dropout == 0.1
    assert "3 epochs" in out
    assert not Path("model.png").exists()


def test_no_test_rows_no_measures(run: Run) -> None:
    code, out, _ = run(*TRAIN, "--test", "0", "--epochs", "2")
    assert code == 0
    assert "no rows were held out, so the model was not measured" in out
    assert loaded().measures == {"model": {}, "baseline": {}}
    assert "measures" not in run("inspect", "model")[1]


def test_one_test_row(run: Run) -> None:
    people(20).to_csv("people.csv", index=False)
    out = run(*TRAIN, "--epochs", "1", "--test", "0.06", "--validation", "0")[1]
    assert loaded().training["rows"]["test"] == 1
    assert "\nOn the 1 test row\n" in out
    assert "\nmeasures on the 1 test row\n" in run("inspect", "model")[1]
    assert "\nstopped  after all epochs\n" in run("inspect", "model")[1]


def test_regression(run: Run) -> None:
    frame = people()
    frame["label"] = 100 + 3 * frame.age.fillna(40) + 10 * (frame.colour == "red")
    frame.to_csv("people.csv", index=False)
    _, out, _ = run(*TRAIN)
    assert "label: a number, mean " in out
    assert re.search(r"model +mean\n +R² +0\.9\d+ +-?0\.\d+\n +MAE .*\n +RMSE ", out)
    assert run("predict", "model", "people.csv", "--out", "p.csv")[0] == 0
    predicted = pd.read_csv("p.csv").label
    assert np.corrcoef(predicted, frame.label)[0, 1] > 0.97
    assert abs(predicted.mean() - frame.label.mean()) < 5


def test_many_columns_are_told_in_sum(run: Run) -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 40))).add_prefix("x")
    frame["label"] = np.where(frame.x0 > 0, "a", "b")
    frame.to_csv("people.csv", index=False)
    out = run(*TRAIN, "--epochs", "2")[1]
    assert "  40 numbers: x0, x1, x2, ..., x39\n  (chainrule inspect shows each)" in out


def test_a_class_that_is_too_small_to_test(run: Run) -> None:
    frame = people()
    frame.loc[3, "label"] = "maybe"
    frame.to_csv("people.csv", index=False)
    code, out, _ = run(*TRAIN, "--epochs", "2")
    assert code == 0
    assert "classes without a test row: maybe" in out


def test_without_matplotlib(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, out, err = run(*TRAIN, "--epochs", "2")
    assert (code, err) == (0, "")
    assert "(loss curves need matplotlib: pip install 'chainrule[tables]')" in out


LONG = ("--epochs", "400", "--patience", "400", "--hidden", "200,100")


def wait_for_epoch(process: subprocess.Popen[str], folder: str, epoch: int) -> None:
    for _ in range(6000):
        if any(Path(folder).glob(f"epoch-*{epoch:02d}.safetensors")) or process.poll() is not None:
            return
        time.sleep(0.005)


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_to_the_same_bits(run: Run) -> None:
    assert run(*TRAIN, *LONG)[0] == 0
    expected = Path("model").read_bytes()
    Path("model").unlink()
    kept = (*TRAIN, *LONG, "--checkpoint", "run")
    Path("temporary").mkdir()
    process = start(*kept)
    wait_for_epoch(process, "run", 10)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert os.listdir("temporary") == []
    assert not Path("model").exists()
    code, out, err = run(*kept)
    assert (code, out) == (2, "")
    assert re.search(r"run holds a run that reached epoch \d+\. Resume it with --resume, or", err)
    code, out, err = run(*kept, "--resume")
    assert (code, err) == (0, "")
    assert Path("model").read_bytes() == expected
    assert "400 epochs" in out
    last = chainrule.load(max(Path("run").glob("refit-*/epoch-*")))
    assert np.array_equal(last.parameters, loaded().network.parameters)


def test_ctrl_c_leaves_no_model_but_the_run(run: Run) -> None:
    Path("temporary").mkdir()
    kept = (*TRAIN, "--checkpoint", "run", *LONG[2:], "--epochs", "100000")
    process = start(*kept)
    wait_for_epoch(process, "run", 10)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    said = re.fullmatch(
        r"chainrule: interrupted; no model was written\. Resume from epoch (\d+) with --resume\.\s",
        err,
    )
    newest = max(epoch for epoch, _ in folders.epochs(folders.folder_of("run")))
    assert said is not None
    assert int(said[1]) == newest
    assert sorted(os.listdir()) == ["people.csv", "run", "temporary"]
    assert os.listdir("temporary") == []


def test_a_run_that_has_ended_gives_its_model_again(run: Run) -> None:
    kept = (*TRAIN, "--checkpoint", "run", "--epochs", "5")
    assert run(*kept)[0] == 0
    expected = Path("model").read_bytes()
    Path("model").unlink()
    assert run(*kept, "--resume")[0] == 0
    assert Path("model").read_bytes() == expected


def test_resume_refuses_other_data(run: Run) -> None:
    assert run(*TRAIN, "--checkpoint", "run", "--epochs", "3")[0] == 0
    people(seed=1).to_csv("people.csv", index=False)
    code, _, err = run(*TRAIN, "--checkpoint", "run", "--epochs", "5", "--resume")
    assert code == 2
    assert "run" in err
    assert err.count("\n") == 1


@pytest.mark.needs("dask")
def test_micro_batches_here_and_on_workers(run: Run) -> None:
    """The same file, whoever computes the micro-batches."""
    how = (*TRAIN[:-1], "m", "--micro-batches", "8", "--epochs", "3", "--no-plot")
    assert run(*how)[0] == 0
    here = Path("m").read_bytes()
    assert run(*how, "--workers", "dask://local:2")[0] == 0
    assert Path("m").read_bytes() == here
    assert run(*how, "--local-steps", "2")[0] == 0
    averaged = Path("m").read_bytes()
    assert averaged != here
    assert run(*how, "--local-steps", "2", "--workers", "dask://local:2")[0] == 0
    assert Path("m").read_bytes() == averaged
    for more, words in (
        (("--local-steps", "2"), "--local-steps needs --micro-batches M"),
        (("--micro-batches", "7"), "batch_size must be a multiple of micro_batches, got 32 and 7"),
        (("--micro-batches", "8", "--members", "2"), "--members and --micro-batches contradict"),
        (("--micro-batches", "8", "--by", "town"), "--by and --micro-batches contradict"),
        (("--workers", "dask://local:2"), "or --micro-batches M to train there"),
    ):
        status, _, said = run(*TRAIN, "--no-plot", *more)
        assert status == 2
        assert words in said
