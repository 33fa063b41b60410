"""What tables of new users hold: symbols, None as a class, far cells, and texts for no value."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.cli.people import TRAIN, Run, folder, loaded, people, run  # noqa: F401


def houses(n: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    price = rng.integers(1000, 9000, n)
    return pd.DataFrame({
        "price": [f"${p:,}" for p in price],
        "share": [f"{s} %" for s in rng.integers(1, 99, n)],
        "sold": [f"{v:.1f} €" for v in 2.0 * price + rng.normal(0, 10, n)],
    })  # fmt: skip


def test_symbols_are_read_in_training_and_prediction(run: Run) -> None:
    houses().to_csv("houses.csv", index=False)
    options = ("--target", "sold", "--out", "model", "--plain", "--no-plot")
    code, out, _ = run("train", "houses.csv", *options)
    assert code == 0
    assert "; written as '$" in out
    r2 = float(out.split("R²")[1].split()[0])
    assert r2 > 0.98  # left out as free text, 0.2
    code, _, err = run("predict", "model", "houses.csv", "--out", "p.csv")
    assert code == 0
    assert "300 rows have the target" in err
    Path("new.csv").write_text("price,share\n1200,5 %\n")
    code, _, err = run("predict", "model", "new.csv")
    assert code == 2
    assert "line 2, column 1 (price): '1200' is not a usable number; expected one such as" in err


def test_a_class_that_is_called_none_is_named_and_kept(run: Run) -> None:
    frame = people()
    frame.loc[frame.colour == "red", "colour"] = "NA"
    frame.loc[::4, "label"] = "None"
    frame.to_csv("people.csv", index=False, na_rep="")
    out = run(*TRAIN, "--epochs", "2", "--plain")[1]
    told = " ".join(out.split())
    assert (
        "(taken for no value: 'None' 60; if they are classes, keep them with --missing '')" in told
    )
    assert "% missing ('NA')" in out
    out = run(*TRAIN, "--epochs", "2", "--plain", "--missing", "")[1]
    assert "3 classes (task classify): None 60" in out
    assert "3 categories: NA, blue, green" in out
    assert loaded().schema.missing == ("",)
    assert "missing (" not in out


def test_classes_that_all_look_like_no_value_are_named(run: Run) -> None:
    frame = people()
    for others, words in (
        (["None", "NA"], "is yes in every row that has one (taken for no value: 'None' 160, 'NA' "),
        (["None", "NA", "null"], "has no value in any row (taken for no value: 'None' 160, "),
    ):
        labels = [others[0]] * 160 + [others[1]] * 60 + [(*others, "yes")[2]] * 20
        frame.assign(label=labels).to_csv("people.csv", index=False)
        code, _, err = run(*TRAIN, "--epochs", "2", "--plain")
        assert code == 2
        assert words in err
        assert "if they are classes, keep them with --missing '')" in err
        assert run(*TRAIN, "--epochs", "2", "--plain", "--missing", "")[0] == 0


def test_a_narrow_range_is_said_with_all_digits(run: Run) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=200), "c": 5 + rng.uniform(-1e-9, 1e-9, 200)})
    frame.assign(y=3 * frame.a).to_csv("made.csv", index=False)
    run("train", "made.csv", "--target", "y", "--out", "model", "--epochs", "2")
    Path("new.csv").write_text("a,c\n0,5.1\n")
    err = run("predict", "model", "new.csv")[2]
    low, high = err.split("which hold ")[1].split(";")[0].split(" to ")
    kept = next(column for column in loaded().schema.columns if column.name == "c")
    assert (float(low), float(high)) == (kept.low[0], kept.high[0])
    assert 4.999999998 < float(low) < float(high) < 5.000000002


def test_predict_takes_new_texts_for_missing(run: Run) -> None:
    run(*TRAIN, "--epochs", "2", "--missing", "unknown")
    new = people(9, seed=1).astype({"age": object})
    new.loc[3, "age"] = "n.a."
    new.loc[4, "age"] = "unknown"  # which the model remembers
    new.to_csv("new.csv", index=False)
    code, _, err = run("predict", "model", "new.csv")
    assert code == 2
    assert "line 5, column 2 (age): 'n.a.' is not a usable number" in err
    code, out, _ = run("predict", "model", "new.csv", "--missing", "n.a.")
    assert code == 0
    new.loc[3:4, "age"] = None
    new.to_csv("new.csv", index=False)
    assert run("predict", "model", "new.csv")[1] == out
    new.loc[3, "age"] = "n.a."
    new.to_csv("new.csv", index=False)
    for command in (("explain", "model", "x[age]", "--row", "3"), ("check", "model")):
        assert "'n.a.' is not" in run(*command, "--data", "new.csv")[2]
        assert run(*command, "--data", "new.csv", "--missing", "n.a.")[0] == 0


def test_far_cells_are_named(run: Run) -> None:
    run(*TRAIN, "--epochs", "2")
    new = people(6, seed=1)
    new.loc[:, "age"] = [40, 1e30, 30, 50, -400, 35]
    new.to_csv("new.csv", index=False)
    code, out, err = run("predict", "model", "new.csv", "--json")
    assert code == 0
    assert [json.loads(row)["outside_training_range"] for row in out.splitlines()] == [
        [], ["age"], [], [], ["age"], [],
    ]  # fmt: skip
    assert "column 'age' has 2 values far outside the training rows, which hold " in err
    assert "The farthest is 1e+30 (new.csv, line 3, column 2 (age))" in err
    assert "outside_training_range" not in run("predict", "model", "new.csv")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "people.csv", "--target", "label", "--out", "m", "--out", "n"],
         "--out is given 2 times; give it once (see chainrule train --help)"),
        (["train", "people.csv", "--target", "label", "--target", "age", "--out", "m"],
         "the target 'label' has classes; several targets have to be numbers. Train a model"),
        (["predict", "m", "people.csv", "--out", "a", "--out", "b", "--out", "c"],
         "--out is given 3 times"),
        (["check", "m", "--data", "a", "--header", "--no-header"],
         "--header/--no-header is given 2 times"),
        (["explore", "--sizes", "2,1", "--sizes", "2,2,1"], "--sizes is given 2 times"),
        (["worksheet", "--sizes", "2,1", "--seed", "1", "--seed", "2", "--out", "m"],
         "--seed is given 2 times; give it once (see chainrule worksheet make --help)"),
        ([*TRAIN, "--date", "joined", "--date", "joined=%d"], "--date names the column 'joined'"),
    ],
)  # fmt: skip
def test_an_option_that_is_given_twice(arguments: list[str], message: str, run: Run) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in err


def test_options_that_may_be_repeated(run: Run) -> None:
    assert (
        run(*TRAIN, "--epochs", "1", "--plain", "--plain", "--drop", "id", "--drop", "note")[0] == 0
    )


def test_a_count_of_dates_that_is_right(run: Run) -> None:
    frame = people()
    frame["joined"] = frame.joined.dt.strftime("%Y-%m-%d")
    frame.loc[7, "joined"] = "2020-02-31"
    frame.to_csv("people.csv", index=False)
    err = run(*TRAIN)[2]
    assert "'2020-02-31' is not a date like the others, but 239 of 240 cells" in err


def test_tables_from_pipes_and_packed_files(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = people()
    frame.to_csv("people.csv.gz", index=False)
    frame.to_json("people.jsonl", orient="records", lines=True, date_format="iso")
    out = run(*TRAIN, "--epochs", "2")[1].split("columns", 1)[1]
    for name in ("people.csv.gz", "-"):
        stream = io.TextIOWrapper(io.BytesIO(Path("people.csv").read_bytes()))
        monkeypatch.setattr(sys, "stdin", stream)
        code, found, err = run("train", name, *TRAIN[2:], "--epochs", "2")
        assert (code, err) == (0, "")
        assert found.split("columns", 1)[1].split("trained")[0] == out.split("trained")[0]
    assert run("train", "people.jsonl", *TRAIN[2:], "--epochs", "2")[0] == 0
    assert {c.name for c in loaded().schema.columns} == {"age", "colour", "joined"}
    assert run("check", "model", "--data", "people.csv.gz", "--rows", "0:3")[0] == 0
