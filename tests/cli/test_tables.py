"""Tables on the command line: train, predict, explain, check and inspect, and what they refuse."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import chainrule
from chainrule import cli
from chainrule.tables import model as models
from chainrule.tables import profile
from chainrule.tables.opening import open_table
from chainrule.tables.source import MISSING
from chainrule.training import checkpoints

Result = tuple[int, str, str]
Run = Callable[..., Result]
TRAIN = ("train", "people.csv", "--target", "label", "--out", "model")


def people(n: int = 240, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({
        "id": np.arange(n),
        "age": np.round(rng.normal(40, 12, n), 1),
        "colour": rng.choice(["red", "green", "blue"], n),
        "joined": pd.to_datetime("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), "D"),
        "note": [f"note {i} of {k}" for i, k in enumerate(rng.integers(0, 10**9, n))],
        "planet": "earth",
        "empty": None,
    })  # fmt: skip
    z = (frame.age - 40) / 6 + 2.0 * (frame.colour == "red")
    frame["label"] = np.where(z + rng.normal(0, 0.3, n) > 0.7, "yes", "no")
    frame.loc[rng.random(n) < 0.1, "age"] = np.nan
    return frame


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    people().to_csv("people.csv", index=False)
    return tmp_path


@pytest.fixture
def run(folder: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command line in this process; give exit code, output and errors."""

    def run(*arguments: str) -> Result:
        code = cli.main(arguments)
        printed = capfd.readouterr()
        return code, printed.out, printed.err

    return run


def loaded(path: str = "model") -> models.TableModel:
    model = models.load(path)
    assert model is not None
    return model


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


# --- bad tables -----------------------------------------------------------------------------------

BAD: dict[str, tuple[str | bytes, str]] = {
    "no header": ("1.5,a,yes\n2.5,b,no\n", "people.csv seems to have no header"),
    "ragged": ("x,label\n1,yes\n2,no,3\n", "people.csv, line 3: found 3 columns; expected 2, as"),
    "constant target": ("x,label\n" + "1,yes\n" * 20, "the target 'label' is yes in every row"),
    "a row for each class": (
        "x,label\n" + "".join(f"{i % 3},c{i}\n" for i in range(20)),
        "the target 'label' has a different class in each of its 20 rows",
    ),
    "nothing but a column without values": (
        "x,label\n" + ",yes\n,no\n" * 10,
        "no column is left to learn from ('x': it has no value in any row)",
    ),
    "two of a name": ("x,x,label\n1,2,yes\n", "columns 1 and 2 are both named 'x'"),
    "empty": ("", "people.csv is empty"),
    "header alone": ("x,label\n", "people.csv has a header and no rows"),
    "wrong encoding": ("x,label\nM\xfcller,yes\n".encode("latin-1"),
                       "people.csv, line 2 is not text in UTF-8 (byte 0xfc near"),
    "no such column": ("x,y\n1,2\n", "there is no column 'label'; people.csv has 'x', 'y'"),
    "text among numbers": (
        "x,label\n" + "1,yes\n2,no\n" * 20 + "many,no\n",
        ("people.csv, line 42, column 1 (x): 'many' is not a finite number, but 40 of 41 cells of"
        " this column are. Correct it, or say what it is: --missing many (no value) or --catego"),
    ),
    "infinity": ("x,label\n" + "1,yes\n2,no\n" * 20 + "inf,no\n", "'inf' is not a finite number"),
    "too few rows": ("x,label\n" + "1,yes\n2,no\n" * 4, "8 rows have a target; training,"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_tables(name: str, run: Run) -> None:
    content, message = BAD[name]
    Path("people.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    code, out, err = run(*TRAIN)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("chainrule: ")
    assert err.count("\n") == 1
    assert os.listdir() == ["people.csv"]


def test_a_column_without_values_is_left_out(run: Run) -> None:
    assert "  left out  empty   it has no value in any row" in run(*TRAIN, "--epochs", "1")[1]


def test_a_text_at_row_a_million(run: Run) -> None:
    rows = 1_000_000
    with Path("people.csv").open("w") as file:
        file.write("x,label\n")
        file.write("1,yes\n2.5,no\n" * (rows // 2))
        file.write("n.a.,yes\n3,no\n")
    code, _, err = run(*TRAIN)
    assert code == 2
    assert (
        "people.csv, line 1000002, column 1 (x): 'n.a.' is not a finite number, but 1,000,001 of"
        in err
    )
    assert "--missing n.a." in err


def test_a_table_that_changes_while_it_is_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    look = profile.look

    def look_and_write(*arguments: Any) -> Any:
        found = look(*arguments)
        with Path("people.csv").open("a") as file:
            file.write("1,2\n")
        return found

    monkeypatch.setattr(profile, "look", look_and_write)
    code, _, err = run(*TRAIN)
    assert code == 2
    assert "people.csv changed while it was being read. Start again when nothing writes" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "people.csv", "--target", "label"], "Missing option '--out'"),
        (["train", "people.csv", "--out", "model"], "Missing option '--target'"),
        (["train", "none.csv", *TRAIN[2:]], "none.csv: No such file or directory"),
        (["train", ".", *TRAIN[2:]], ".: Is a directory"),
        ([*TRAIN[:-1], "people.csv"], "--out people.csv would overwrite people.csv"),
        ([*TRAIN[:-1], "."], ".: Is a directory"),
        ([*TRAIN[:-1], "none/model"], "none/model: No such file or directory"),
        ([*TRAIN, "--hidden", "64,x"], "'64,x' is not a list of units; expected 64,32 or"),
        ([*TRAIN, "--hidden", "0"], "'0' is not a list of units"),
        ([*TRAIN, "--activation", "softmax"], "softmax is for the output layer"),
        ([*TRAIN, "--activation", "rely"], "unknown activation 'rely'"),
        ([*TRAIN, "--test", "1"], "1.0 is not in the range"),
        ([*TRAIN, "--test", "0.5", "--validation", "0.45"], "leave too few rows to learn from"),
        ([*TRAIN, "--resume"], "--resume needs --checkpoint FOLDER"),
        ([*TRAIN, "--every", "often"],
         "'often' is not an interval; expected epochs, or a time such as 10m"),
        ([*TRAIN, "--date", "joined=%Y"], "line 2, column 4 (joined): '20"),
        ([*TRAIN, "--task", "regress"], "line 2, column 8 (label): '"),
        ([*TRAIN, "--encoding", "klingon"], "unknown encoding 'klingon'"),
        ([*TRAIN, "--encoding", "hex"], "unknown encoding 'hex'"),
        ([*TRAIN, "--encoding", "rot13"], "unknown encoding 'rot13'"),
        ([*TRAIN, "--encoding", "undefined"], "unknown encoding 'undefined'"),
        ([*TRAIN, "--delimiter", "ab"],
         "'--delimiter': 'ab' is not a delimiter; expected one ASCII character, such as ; or \\t"),
        ([*TRAIN, "--delimiter", "é"], "'--delimiter': 'é' is not a delimiter"),
        ([*TRAIN, "--delimiter", '"'], "'--delimiter': '\"' is not a delimiter"),
        ([*TRAIN, "--delimiter", "\\t"], "people.csv has one column, 'id,age,colour,"),
        ([*TRAIN, "--learning-rate", "nan"], "'--learning-rate': 'nan' is not a finite number"),
        ([*TRAIN, "--learning-rate", "inf"], "'--learning-rate': 'inf' is not a finite number"),
        ([*TRAIN, "--test", "nan"], "'--test': 'nan' is not a finite number"),
        ([*TRAIN, "--validation", "nan"], "'--validation': 'nan' is not a finite number"),
        ([*TRAIN, "--dropout", "nan"], "'--dropout': 'nan' is not a finite number"),
        ([*TRAIN, "--l2", "inf"], "'--l2': 'inf' is not a finite number"),
        ([*TRAIN, "--keep", "3"], "--keep needs --checkpoint FOLDER"),
        ([*TRAIN, "--every", "1"], "--every needs --checkpoint FOLDER"),
        (["train", "people.csv", "--target", "lable", "--out", "model"],
         "there is no column 'lable' (did you mean 'label'?); people.csv has 'id', 'age', 'colo"),
        (["predict", "none", "people.csv"], "none: No such file or directory"),
        (["predict", "people.csv", "people.csv"], "people.csv is not a chainrule model file"),
        (["inspect", "people.csv"], "people.csv is not a chainrule model file"),
    ],
)  # fmt: skip
def test_errors_are_one_line_and_2(arguments: list[str], message: str, run: Run) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("chainrule: ")
    assert message in err
    assert err.count("\n") == 1
    assert os.listdir() == ["people.csv"]


@pytest.mark.skipif(sys.platform == "win32", reason="has no limits of this kind")
def test_no_room_for_temporary_files_is_one_line(folder: Path) -> None:
    import resource

    Path("temporary").mkdir()
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))  # noqa: E731
    process = start(*TRAIN, preexec_fn=limit)
    out, err = process.communicate()
    assert (process.returncode, out.splitlines()[1:]) == (2, [])
    assert re.fullmatch(
        r"chainrule: \S*temporary: File too large; set TMPDIR to a folder .*\n", err
    )


def test_names_that_would_steer_a_terminal(run: Run) -> None:
    frame = people(60).rename(columns={"age": "a\x1b[2Jge", "colour": "line\nfeed"})
    frame.to_csv("people.csv", index=False)
    out = run(*TRAIN, "--epochs", "1")[1] + run("inspect", "model")[1]
    assert "\x1b" not in out
    assert "line\ufffdfeed" in out
    frame["more\x1b[2J"] = 1
    frame.loc[0, "line\nfeed"] = "pur\x9bple"
    frame["label"] = "may\x1bbe"
    frame.to_csv("new.csv", index=False)
    for arguments in (
        ("predict", "model", "new.csv", "--out", "p.csv"),
        ("check", "model", "--data", "new.csv"),
        ("predict", "model", "no\x1b[2Jfile.csv"),
        ("train", "no\x1b[2Jfile.csv", "--target", "x", "--out", "model"),
        ("inspect", "no\x1b[2Jfile"),
        ("train", "people.csv", "--target", "x\x1b[2J", "--out", "model"),
        ("train", "people.csv", "--target", "label", "--out", "no\x1b[2J/model"),
        ("explain", "model", "x[0\x1b]", "--data", "people.csv", "--row", "1"),
        ("explain", "model", "w[1][0,0]", "--data", "people.csv", "--row", "1"),
        ("explain", "model", "x[0]", "--data", "people.csv", "--notation", "\x1b", "--row", "1"),
    ):
        out = "".join(run(*arguments)[1:])
        assert out.replace("\n", "").isprintable(), arguments
        assert "\n" in out


def test_a_network_that_no_machine_holds(run: Run) -> None:
    code, _, err = run(*TRAIN, "--hidden", "999999999,999999999")
    assert code == 2
    assert re.search(
        r"chainrule: a network of \d+-999999999-999999999-2 units has 1,000,000,01\d(,\d{3}){3} "
        r"parameters; training it takes 1.6e\+10 GB, more than this machine has\. Use fewer units",
        err,
    )
    assert sorted(os.listdir()) == ["people.csv"]


def test_a_tab_may_be_written_in_two_characters(run: Run) -> None:
    people().to_csv("people.tsv", sep="\t", index=False)
    assert run("train", "people.tsv", *TRAIN[2:], "--epochs", "1", "--delimiter", r"\t")[0] == 0


def test_training_that_is_not_finite_is_one_line(run: Run) -> None:
    code, _, err = run(*TRAIN, "--learning-rate", "1e30")
    assert code == 2
    assert re.match(r"chainrule: training stopped in epoch 1, step \d+: .* not finite", err)
    assert not Path("model").exists()


# --- predict --------------------------------------------------------------------------------------


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
    assert [list(row) for row in rows] == [list(table)] * 30
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


# --- explain and check ----------------------------------------------------------------------------


def test_explain_speaks_of_columns(run: Run) -> None:
    run(*TRAIN)
    model = loaded()
    k = model.schema.inputs.index("age, standardised")
    row = int(np.flatnonzero(people().age.notna())[2])
    options = ("--data", "people.csv", "--row", str(row))
    code, out, err = run("explain", "model", "w[1][0,age]", *options)
    assert (code, err) == (0, "")
    assert "the weight from unit 0 of layer 0 (age, standardised) to unit 0 of layer 1" in out
    column = model.schema.columns[0]
    age = people().age[row]
    z = (age - column.mean[0]) / column.scale[0]
    assert re.search(
        rf"  age, standardised:\n    x₀ = \({age:g} − [\d.]+\)/[\d.]+ = −?{f'{abs(z):.6f}'[:6]}",
        out,
    )
    assert ": pass\n" in out
    out_of_cells = re.findall(r"= \((\S+) − (\S+)\)/(\S+) = (\S+)\n", out.replace("−(−", "+("))
    assert len(out_of_cells) == 2  # age, and the days of joined
    for cell, mean, scale, value in ([float(n.replace("−", "-")) for n in o] for o in out_of_cells):
        assert (cell - mean) / scale == pytest.approx(value, rel=2e-3)
    assert run("explain", "model", f"w[1][0,{k}]", *options)[1] == out
    assert run("explain", "model", f"w[1][0,{k}]", *options, "--format", "html")[0] == 0
    assert (
        "age, standardised" in run("explain", "model", "x[age]", *options, "--format", "latex")[1]
    )

    out = run("explain", "model", "x[colour=red]", *options)[1]
    assert "(colour=red)" in out
    for target in ("b[3][yes]", "b[3][label=yes]", "b[3][1]"):
        out = run("explain", "model", target, *options)[1]
        assert "the bias of unit 1 of layer 3 (probability of label=yes)" in out
    label = people().label[row]
    assert f"  1 for label=yes, else 0:\n    y₁ = {int(label == 'yes')}\n" in out
    assert re.search(r"  probability of label=yes:\n    a₁⁽³⁾ = [\d.e−]+\n", out)


def test_the_number_explained_is_that_of_training(run: Run) -> None:
    run(*TRAIN, "--epochs", "3")
    model = loaded()
    source = open_table("people.csv")
    X, y, _, _ = model.samples(source, slice(0, 20))
    value = float(model.network.gradient(X, y).dW[1][2, 0])
    out = run("explain", "model", "w[1][2,age]", "--data", "people.csv", "--rows", "0:20",
              "--format", "json")[1]  # fmt: skip
    assert json.loads(out)["value"] == value


def test_explain_without_the_target(run: Run) -> None:
    run(*TRAIN, "--epochs", "3")
    people().drop(columns="label").to_csv("new.csv", index=False)
    explain = ("explain", "model", "b[3][yes]", "--data", "new.csv", "--row", "3")
    code, _, err = run(*explain)
    assert code == 2
    assert "new.csv has no column 'label', the target, which the loss needs. Name its value" in err
    code, out, _ = run(*explain, "--label", "yes")
    assert code == 0
    assert "y₁ = 1" in out
    code, _, err = run(*explain, "--label", "perhaps")
    assert code == 2
    assert "--label: 'perhaps' is not a class of the model; expected one of 'no', 'yes'" in err


def test_explain_refuses(run: Run) -> None:
    run(*TRAIN, "--epochs", "2")
    frame = people()
    frame.loc[0, "label"] = "perhaps"
    frame.loc[1, "label"] = None
    frame.to_csv("new.csv", index=False)
    for arguments, message in (
        (["x[weight]", "--data", "people.csv", "--row", "0"],
         "x[weight]: there is no 'weight'; there are 'age', 'joined (days)'"),
        (["b[3][maybe]", "--data", "people.csv", "--row", "0"],
         "there is no 'maybe'; there are 'no', 'yes'"),
        (["b[1][maybe]", "--data", "people.csv", "--row", "0"], "is not a target"),
        (["x[age]", "--data", "people.csv", "--row", "240"],
         "there is no row 240; people.csv has rows 0 to 239"),
        (["x[age]", "--data", "people.csv"], "choose samples with --row N"),
        (["x[age]", "--data", "new.csv", "--row", "0"],
         "new.csv, line 2, column 8 (label): 'perhaps' is not a class of the model"),
        (["x[age]", "--data", "new.csv", "--rows", "0:3"], "line 2, column 8 (label): 'perhaps'"),
        (["x[age]", "--data", "new.csv", "--row", "1"],
         "new.csv, line 3, column 8 (label): the target is missing"),
    ):  # fmt: skip
        code, out, err = run("explain", "model", *arguments)
        assert (code, out) == (2, "")
        assert message in err
    chainrule.Network([2, 1], seed=0).save("net")
    Path("samples.csv").write_text("1,2,3\n")
    code, _, err = run("explain", "net", "x[0]", "--data", "samples.csv", "--label", "yes")
    assert code == 2
    assert "--label is for models of tables, but net is a network without columns" in err


def test_the_gradient_of_a_table_is_checked(run: Run) -> None:
    run(*TRAIN, "--epochs", "2", "--hidden", "4")
    for options, n in (((), 240), (("--rows", "0:30"), 30)):
        code, out, _ = run("check", "model", "--data", "people.csv", *options)
        assert code == 0
        assert re.search(rf"gradient: pass; all \d+ parameters checked on {n} samples", out)


def test_rows_without_a_target_are_not_checked(run: Run) -> None:
    frame = people()
    frame.loc[3:5, "label"] = None
    frame.to_csv("people.csv", index=False)
    run(*TRAIN, "--epochs", "2", "--hidden", "4")
    check = ("check", "model", "--data", "people.csv")
    code, out, err = run(*check)
    assert (code, err) == (0, "chainrule: 3 rows have no target and are left out\n")
    assert " checked on 237 samples" in out
    assert run(*check, "--rows", "0:4")[2] == "chainrule: 1 row has no target and is left out\n"
    code, _, err = run(*check, "--rows", "3:6")
    assert (code, err) == (
        2,
        "chainrule: people.csv has no target in rows 3:6; choose other rows\n",
    )


def test_data_are_read_as_said(run: Run) -> None:
    frame = people().rename(columns={"colour": "größe"})
    frame.to_csv("people.csv", index=False, sep=";", decimal=",", encoding="latin-1")
    how = ("--delimiter", ";", "--decimal", ",", "--encoding", "latin-1")
    assert run(*TRAIN, "--epochs", "2", *how)[0] == 0
    assert {c.name: c.kind for c in loaded().schema.columns}["age"] == "number"
    for command in (
        ("predict", "model", "people.csv"),
        ("explain", "model", "x[größe=red]", "--data", "people.csv", "--row", "0"),
        ("check", "model", "--data", "people.csv", "--rows", "0:2"),
    ):
        assert "is not text in UTF-8" in run(*command)[2]
        assert run(*command, *how)[0] == 0
    chainrule.Network([2, 1], seed=0).save("net")
    code, _, err = run("check", "net", "--data", "people.csv", "--decimal", ",")
    assert code == 2
    assert "--decimal is for models of tables, but net is a network without columns" in err


@pytest.mark.parametrize("command", ["train", "predict", "inspect"])
def test_help_teaches(command: str, run: Run) -> None:
    code, out, err = run(command, "--help")
    assert (code, err) == (0, "")
    assert "Example" in out
    assert f"chainrule {command} " in out
    assert max(map(len, out.splitlines())) <= 100


# --- inspect --------------------------------------------------------------------------------------


def test_inspect_says_what_a_model_is(run: Run) -> None:
    run(*TRAIN)
    code, out, err = run("inspect", "model")
    assert (code, err) == (0, "")
    for words in (
        "model: the model of a table", "network  Network(", "seed 0", "2 classes: no, yes",
        "  category  colour  3 categories: blue, green, red", "  left out  id      it numbers",
        "168 training, 24 validation, 48 test", "learning rate 0.003", "batch size 32",
        "on the 48 test rows", "stopped  by early stopping: val_loss has not", "balanced accuracy",
        f"by chainrule {chainrule.__version__}",
    ):  # fmt: skip
        assert words in out
    about = json.loads(run("inspect", "model", "--json")[1])
    assert about["table"]["target"]["classes"] == ["no", "yes"]
    assert about["table"]["inputs"] == loaded().schema.inputs
    assert about["network"]["parameters"] == loaded().network.parameters.size


def test_inspect_a_network_alone(run: Run) -> None:
    chainrule.Network([2, 3, 1], seed=7, dropout=0.5).save("net")
    code, out, _ = run("inspect", "net")
    assert code == 0
    assert out == (
        "net: a network\n"
        "network  Network(2-3-1: relu, identity; half_squared_error; 13 parameters, float64)\n"
        "         seed 7, l2 0, dropout 0.5\n"
    )
    assert "table" not in json.loads(run("inspect", "net", "--json")[1])


# --- runs that survive ----------------------------------------------------------------------------


def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "chainrule", *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
        env=os.environ | {"TMPDIR": "temporary"}, **options,
    )  # fmt: skip


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
    best = chainrule.load("run/best.safetensors")
    assert np.array_equal(best.parameters, loaded().network.parameters)


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
    newest = max(epoch for epoch, _ in checkpoints.checkpoints(Path("run")))
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
