"""`chainrule predict` on tables."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import chainrule
from chainrule.tables.opening import open_table
from tests.cli.people import TRAIN, Run, folder, loaded, people, run  # noqa: F401

# --- predict --------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["predict", "train", "export"])
def test_commands_start_without_what_is_large(command: str, run: Run) -> None:
    """They would wait for scikit-learn, SciPy and pandas longer than for their own work."""
    run(*TRAIN, "--epochs", "2")
    arguments = {
        "predict": ["predict", "model", "people.csv", "--out", "p.csv"],
        "train": [*TRAIN, "--epochs", "2", "--no-plot"],
        "export": ["export", "model", "--to", "c", "--out", "m.c"],
    }[command]
    code = f"import sys; from chainrule import cli; assert cli.main({arguments!r}) == 0\n"
    code += "print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = set(done.stderr.splitlines()[-1].split())
    assert "chainrule.tables.model" in found
    assert not found & {"sklearn", "scipy", "pandas", "matplotlib", "polars", "torch"}


def test_predictions_are_the_networks(run: Run) -> None:
    run(*TRAIN)
    new = people(50, seed=1)
    new = new[["colour", "note", "label", "age", "joined", "id", "planet", "empty"]]  # any order
    new.to_csv("new.csv", index=False)
    for form in ("csv", "tsv", "parquet", "arrow"):
        code, out, err = run("predict", "model", "new.csv", "--keep", "id", "--out", f"p.{form}")
        assert (code, out) == (0, "")
        assert re.fullmatch(r"chainrule: 50 rows have the target; on these: accuracy 0\..*\n", err)
    frames = [
        pd.read_csv("p.csv"), pd.read_csv("p.tsv", sep="\t"), pd.read_parquet("p.parquet"),
        pa.ipc.open_file("p.arrow").read_all().to_pandas(),
    ]  # fmt: skip
    source, model = open_table("new.csv"), loaded()
    X = model.preprocessing.transform(next(source.batches()), source, 0)
    a = model.network.predict(X)
    for frame in frames:
        assert list(frame) == ["id", "label", "probability_no", "probability_yes"]
        assert list(map(str, frame.id)) == list(map(str, range(50)))
        assert list(frame.label) == [("no", "yes")[i] for i in a.argmax(axis=1)]
        np.testing.assert_allclose(frame[["probability_no", "probability_yes"]], a, rtol=1e-6)
    assert (frames[0].label == new.label).mean() > 0.8


def test_predict_to_the_standard_output(run: Run) -> None:
    run(*TRAIN, "--epochs", "2")
    people(3).drop(columns="label").to_csv("new.csv", index=False)
    code, out, err = run("predict", "model", "new.csv")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 4


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_table_on_the_standard_input(
    form: str, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run(*TRAIN, "--epochs", "2")
    new = people(30, seed=1)
    new.to_csv("new.csv", index=False)
    new.to_parquet("new.parquet")
    expected = run("predict", "model", f"new.{form}", "--keep", "id")
    assert expected[0] == 0

    def given(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    for more in ([], ["--out", "-"]):
        given(Path(f"new.{form}").read_bytes())
        assert run("predict", "model", "-", "--keep", "id", *more) == expected
    assert not Path("-").exists()

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    Path("temporary").mkdir()
    lines = Path("new.csv").read_text().splitlines()
    for content, message in (
        (b"", "the standard input is empty"),
        (b"age,colour\n1,red\n", "the standard input lacks column"),
        (
            "\n".join([*lines, "1,2"]).encode(),
            "the standard input, line 32: found 2 columns; expected 8",
        ),
        (b"\xff\xfe" + "a,b\n".encode("utf-16-le"), "the standard input is not text in UTF-8"),
        (b"PK\x03\x04zip", "the standard input is a zip archive"),
        (b"PAR1PAR1", "the standard input is damaged or cut short"),
    ):
        given(content)
        code, out, err = run("predict", "model", "-")
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert message in err
    monkeypatch.setattr(sys, "stdin", None)
    said = run("predict", "model", "-")[2]
    assert "the standard input is closed; pass the path of a file" in said
    assert not list(Path("temporary").iterdir())  # what was kept is gone


def test_predictions_as_json(run: Run) -> None:
    run(*TRAIN, "--epochs", "2")
    new = people(30, seed=1)
    new["weight"] = np.where(np.arange(30) % 3, 0.1, np.nan).astype(np.float32)
    new["day"] = pd.Timestamp("2026-01-31")
    new.to_parquet("new.parquet")
    keep = ["--keep", "id", "--keep", "weight", "--keep", "day"]
    code, out, _ = run("predict", "model", "new.parquet", "--json", *keep)
    assert code == 0
    rows = [json.loads(line) for line in out.splitlines()]
    table = pd.read_csv(io.StringIO(run("predict", "model", "new.parquet", *keep)[1]))
    assert [list(row) for row in rows] == [[*table, "outside_training_range"]] * 30
    for name in ("id", "label", "probability_no", "probability_yes"):
        assert [row[name] for row in rows] == table[name].tolist()  # the same digits, too
    assert {row["weight"] for row in rows} == {0.1, None} or "nan" in {r["weight"] for r in rows}
    assert {row["day"] for row in rows} == {"2026-01-31 00:00:00"}

    assert run("predict", "model", "new.parquet", "--out", "p.jsonl", *keep)[0] == 0
    assert Path("p.jsonl").read_text() == out
    assert run("predict", "model", "new.parquet", "--json", "--out", "-", *keep)[1] == out
    assert run("predict", "model", "new.parquet", "--json", "--out", "q.jsonl")[0] == 0
    code, out, err = run("predict", "model", "new.parquet", "--json", "--out", "p.csv")
    assert (code, out) == (2, "")
    assert "--json and --out p.csv contradict each other; name it .jsonl" in err


def test_training_as_json(run: Run) -> None:
    code, out, err = run(*TRAIN, "--epochs", "2", "--json")
    assert (code, err) == (0, "")
    about = json.loads(out)
    files = {name: about.pop(name) for name in ("model", "plot", "data", "rows")}
    assert files == {"model": "model", "plot": "model.png", "data": "people.csv", "rows": 240}
    assert about == json.loads(run("inspect", "model", "--json")[1])
    assert about["table"]["measures"]["model"]["accuracy"] > 0.5
    assert Path("model.png").exists()
    assert json.loads(run(*TRAIN, "--epochs", "2", "--json", "--no-plot")[1])["plot"] is None
    code, out, err = run(*TRAIN[:2], "--target", "none", "--out", "model", "--json")
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_classes_keep_their_type(run: Run) -> None:
    frame = people()
    frame["label"] = np.where(frame.label == "yes", 10, 9)
    frame.to_csv("people.csv", index=False)
    run(*TRAIN, "--epochs", "2")
    run("predict", "model", "people.csv", "--out", "p.parquet")
    table = pq.read_table("p.parquet")
    assert table.column("label").type == pa.int64()
    assert set(table.column("label").to_pylist()) <= {9, 10}


def test_what_is_new_is_named(run: Run) -> None:
    run(*TRAIN, "--epochs", "2")
    new = people(40, seed=1).drop(columns=["id", "note", "planet", "empty", "label"])
    new["height"] = 1.8
    new.loc[3:5, "colour"] = "purple"
    new.loc[7, "joined"] = pd.NaT
    new.to_csv("new.csv", index=False)
    code, out, err = run("predict", "model", "new.csv", "--out", "p.csv")
    assert (code, out) == (0, "")
    assert err.splitlines() == [
        "chainrule: columns that the model does not know are ignored: height",
        (
            "chainrule: column 'colour' has new categories, treated as none of the known "
            "categories: 'purple' (3 rows)"
        ),
        (
            "chainrule: column 'joined' has no value in 1 row, but had one in every training row; "
            "treated as the mean"
        ),
    ]


def test_targets_that_are_no_class_are_not_scored(run: Run) -> None:
    run(*TRAIN, "--epochs", "2")
    run("predict", "model", "people.csv", "--out", "p.csv")
    right = (pd.read_csv("p.csv").label == people().label)[4:].mean()
    frame = people()
    frame.loc[:3, "label"] = ["maybe", "never", "maybe", None]
    frame.to_csv("new.csv", index=False)
    code, _, err = run("predict", "model", "new.csv", "--out", "p.csv")
    assert code == 0
    first, second = err.splitlines()
    assert first == (
        "chainrule: 3 rows have a target that is not a class of the model and is not scored: "
        "'maybe', 'never'"
    )
    assert second.startswith(f"chainrule: 236 rows have the target; on these: accuracy {right:.4f}")
    frame["label"] = "maybe"
    frame.to_csv("new.csv", index=False)
    err = run("predict", "model", "new.csv", "--out", "p.csv")[2]
    assert err.count("\n") == 1
    assert "240 rows have a target that is not a class" in err


@pytest.mark.parametrize("task", ["classify", "regress"])
def test_targets_that_are_no_numbers_are_not_scored(task: str, run: Run) -> None:
    frame = people()
    frame["label"] = np.where(frame.label == "yes", 10, 9)
    frame.to_csv("people.csv", index=False)
    run(*TRAIN, "--epochs", "2", "--task", task)
    frame = frame.astype({"label": object})
    frame.loc[:2, "label"] = ["ten", "inf", "1e999"]
    frame.to_csv("new.csv", index=False)
    code, _, err = run("predict", "model", "new.csv", "--out", "p.csv")
    assert code == 0
    what = "class of the model" if task == "classify" else "number"
    assert (
        f"3 rows have a target that is not a {what} and is not scored: 'ten', 'inf', '1e999'" in err
    )
    assert "237 rows have the target" in err


def test_columns_that_are_missing_are_named(run: Run) -> None:
    run(*TRAIN, "--epochs", "2")
    people().drop(columns=["age", "joined"]).to_csv("new.csv", index=False)
    for command in (("predict", "model", "new.csv"),
                    ("explain", "model", "x[age]", "--data", "new.csv", "--row", "0"),
                    ("check", "model", "--data", "new.csv")):  # fmt: skip
        code, out, err = run(*command)
        assert (code, out) == (2, "")
        assert "new.csv lacks columns 'age', 'joined', which the model needs; it has 'id', " in err


def test_predict_refuses(run: Run) -> None:
    run(*TRAIN, "--epochs", "2")
    before = Path("people.csv").read_bytes()
    Path("link.csv").symlink_to("people.csv")
    for arguments, message in (
        (["people.csv", "--out", "people.csv"], "--out people.csv would overwrite people.csv"),
        (["people.csv", "--out", "link.csv"], "--out link.csv would overwrite people.csv"),
        (
            ["people.csv", "--out", "model"],
            "--out model would overwrite model, which is an input; choose",
        ),
        (
            ["people.csv", "--out", "p.xlsx"],
            "expected a name that ends in .csv, .tsv, .jsonl, .parquet, .arrow, .feather",
        ),
        (["people.csv", "--out", "none/p.csv"], "none/p.csv: No such file or directory"),
        (["people.csv", "--keep", "x"], "there is no column 'x' to keep; people.csv has 'id', "),
        (["people.csv", "--keep", "label"], "column 'label' cannot be kept"),
    ):
        code, out, err = run("predict", "model", *arguments)
        assert (code, out) == (2, "")
        assert message in err
        assert err.count("\n") == 1
    assert Path("people.csv").read_bytes() == before


def test_a_wrong_cell_leaves_the_old_predictions(run: Run) -> None:
    run(*TRAIN, "--epochs", "2")
    new = people(40).astype({"age": object})
    new.loc[20, "age"] = "old"
    new.to_csv("new.csv", index=False)
    Path("p.csv").write_text("before")
    code, _, err = run("predict", "model", "new.csv", "--out", "p.csv")
    assert code == 2
    assert "new.csv, line 22, column 2 (age): 'old' is not a usable number" in err
    assert Path("p.csv").read_text() == "before"
    assert sorted(os.listdir()) == ["model", "model.png", "new.csv", "p.csv", "people.csv"]


def test_a_network_without_columns_can_not_predict_tables(run: Run) -> None:
    chainrule.Network([2, 1], seed=0).save("net")
    code, _, err = run("predict", "net", "people.csv")
    assert code == 2
    assert "net is a network without columns; expected a model from chainrule train" in err
