"""`train --by`: a model for each group of a table, in one file."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

import chainrule as cr
from chainrule.storage import archive
from chainrule.tables import by, groups, training
from chainrule.tables.groups import GroupedModel
from chainrule.tables.opening import open_table
from chainrule.tables.roles import Roles
from chainrule.tables.training import Settings
from tests.cli.people import Run, folder, run  # noqa: F401

SHORT = ("--epochs", "12", "--patience", "3", "--hidden", "5", "--plain")
SALES = ("train", "sales.csv", "--target", "units", "--by", "store", "--out", "m", *SHORT)
LABELS = ("train", "labels.csv", "--target", "label", "--by", "store", "--out", "m", *SHORT)


def sales() -> pd.DataFrame:
    """Three stores of very different size, one with too few rows, and one without any change."""
    rng = np.random.default_rng(0)
    parts = []
    for store, n, base in (
        ("Bonn", 150, 100.0), ("Celle", 90, 1e4), ("Aachen", 60, 5.0), ("Deil", 4, 3.0),
        ("Ems", 40, 7.0),
    ):  # fmt: skip
        part = pd.DataFrame({
            "store": store, "x": np.round(rng.normal(size=n), 3),
            "kind": rng.choice(["a", "b", "c"][: 2 if store == "Celle" else 3], n),
        })  # fmt: skip
        part["units"] = np.round(base * (1 + 0.3 * part.x + 0.1 * (part.kind == "a")), 4)
        parts.append(part)
    frame = pd.concat(parts).sample(frac=1, random_state=1).reset_index(drop=True)
    frame.loc[frame.store == "Ems", "units"] = 7.0
    high = np.where(frame.x > 0, "high", "mid")
    frame["label"] = np.where((frame.x < -0.8) & (frame.store != "Bonn"), "low", high)
    return frame


@pytest.fixture(autouse=True)
def tables(folder: Path) -> None:
    frame = sales()
    frame.drop(columns="label").to_csv("sales.csv", index=False)
    frame.drop(columns="units").to_csv("labels.csv", index=False)


def model(path: str = "m") -> GroupedModel:
    found = groups.load(path)
    assert isinstance(found, GroupedModel)
    return found


# --- training -------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [(), ("--members", "2"), ("--no-refit", "--dropout", "0.1")])
@pytest.mark.parametrize("command", [SALES, LABELS], ids=["number", "classes"])
def test_each_model_is_that_of_its_rows_alone_to_the_bit(
    command: tuple[str, ...], more: tuple[str, ...], run: Run
) -> None:
    code, _, err = run(*command, *more)
    assert (code, err) == (0, "")
    frame = pd.read_csv(command[1])
    found = model()
    assert list(found) == ["Aachen", "Bonn", "Celle", *(["Ems"] if command is LABELS else [])]
    for store, one in found.items():
        part = frame[frame.store == store].drop(columns="store")
        part.to_csv("part.csv", index=False)
        run("train", "part.csv", *command[2:4], "--out", "alone", "--no-plot", *SHORT, *more)
        alone = groups.load("alone")
        assert not isinstance(alone, GroupedModel)
        assert alone is not None
        for own, other in zip(one.networks, alone.networks, strict=True):
            assert np.array_equal(own.parameters, other.parameters)
        assert one.schema.columns == alone.schema.columns
        assert one.schema.target == alone.schema.target
        assert one.training == alone.training
        assert one.measures == alone.measures


def test_the_whole_table_decides_what_columns_are(tmp_path: Path) -> None:
    """A group may look like numbers, or classes, where the table is not."""
    frame = sales()
    bonn = frame.store == "Bonn"
    frame["code"] = np.where(bonn, frame.index % 4, frame.kind)
    frame["y"] = np.where(bonn, frame.x > 0, frame.x * 10).astype(float)
    frame[["store", "x", "code", "y"]].to_csv("c.csv", index=False)
    settings = Settings("y", roles=Roles(by="store"))
    ready = by.prepare(open_table("c.csv"), settings).prepared
    assert {p.schema.target.task for p in ready.values()} == {"regress"}
    assert {c.kind for p in ready.values() for c in p.schema.columns if c.name == "code"} == {
        "category"
    }
    alone = frame[bonn][["x", "code", "y"]]
    alone.to_csv("b.csv", index=False)
    other = training.prepare(open_table("b.csv"), Settings("y")).schema
    assert other.target.task == "classify"
    assert {c.kind for c in other.columns} == {"number"}


def test_groups_with_too_few_rows_are_named(run: Run) -> None:
    code, out, err = run(*SALES)
    assert (code, err) == (0, "")
    told = " ".join(out.split())
    assert "by store: 5 groups" in told
    assert "no model for Deil: 4 rows have a target; training, validation and test need 10" in told
    assert "no model for Ems: the target 'units' is 7 in every row, so there is nothing to" in told
    assert re.search(r"store rows epochs R² baseline Aachen 60 \d+ -?0\.\d+ -?\d", told)
    found = model()
    assert set(found.left_out) == {"Deil", "Ems"}
    assert found.left_out["Deil"].startswith("4 rows have a target")


def test_all_are_measured_together(run: Run) -> None:
    out = run(*SALES)[1]
    settings = Settings("units", epochs=12, patience=3, hidden=(5,), roles=Roles(by="store"))
    ready = by.prepare(open_table("sales.csv"), settings)
    by.fit(ready)
    truth, predicted, mean = [], [], []
    for name, prepared in ready.prepared.items():
        target = prepared.schema.target
        a = ready.networks[name][0].predict(prepared.X[2])[:, 0].astype(float)
        predicted += (a * target.scale + target.mean).tolist()
        truth += prepared.y[2].tolist()
        mean += [prepared.y[0].mean()] * len(prepared.y[2])
    found = model().measures
    assert found["model"]["r2"] == pytest.approx(metrics.r2_score(truth, predicted), rel=1e-6)
    assert found["baseline"]["mae"] == pytest.approx(
        metrics.mean_absolute_error(truth, mean), rel=1e-9
    )
    assert f"All on the {len(truth)} test rows" in out


def test_what_is_asked_of_the_table(run: Run) -> None:
    frame = sales().drop(columns="label")
    frame.loc[7, "store"] = None
    frame.to_csv("hole.csv", index=False)
    for arguments, message in (
        (("hole.csv", "--by", "store"),
         "hole.csv, line 9, column 1 (store): an empty cell is not a group; expected a text or"),
        (("sales.csv", "--by", "shop"), "there is no column 'shop'"),
        (("sales.csv", "--by", "units"), "--by names the column 'units', and so does --target"),
        (("sales.csv", "--by", "store", "--group", "store"),
         "--by names the column 'store', and so does --group"),
        (("sales.csv", "--by", "store", "--numeric", "store"), "--by names the column 'store'"),
        (("sales.csv", "--by", "store", "--validation-data", "hole.csv"),
         "--by and --validation-data contradict each other"),
        (("sales.csv", "--by", "store", "--plot"), "--by and --plot contradict each other"),
    ):  # fmt: skip
        code, out, err = run("train", *arguments, "--target", "units", "--out", "m", *SHORT)
        assert (code, out) == (2, "")
        assert message in err
    frame[frame.store.isin(["Ems", "Deil"])].to_csv("few.csv", index=False)
    err = run("train", "few.csv", "--target", "units", "--by", "store", "--out", "m", *SHORT)[2]
    assert "few.csv: no group of 'store' can be learned from. 'Deil', for one: 4 rows have" in err
    assert not Path("m").exists()


def test_a_bad_cell_is_named_where_it_stands(run: Run) -> None:
    frame = sales().drop(columns="label").astype({"x": object})
    frame.loc[11, "x"] = "many"
    frame.to_csv("sales.csv", index=False)
    assert "sales.csv, line 13, column 2 (x): 'many' is not a finite number" in run(*SALES)[2]
    frame = sales().drop(columns="label")
    frame.to_csv("sales.csv", index=False)
    run(*SALES)
    frame = frame.astype({"x": object})
    frame.loc[20, "x"] = "some"
    frame.to_csv("new.csv", index=False)
    err = run("predict", "m", "new.csv", "--new-groups", "empty")[2]
    assert "new.csv, line 22, column 2 (x): 'some' is not a" in err


def test_a_group_that_diverges_is_left_out() -> None:
    settings = Settings("units", epochs=3, hidden=(5,), roles=Roles(by="store"))
    ready = by.prepare(open_table("sales.csv"), settings)
    ready.prepared["Bonn"].X[0].base  # noqa: B018 - it is a map
    huge = np.array(ready.prepared["Bonn"].X[0])
    huge[3] = 3e38
    ready.prepared["Bonn"].X[0] = huge
    by.fit(ready)
    assert list(ready.prepared) == ["Aachen", "Celle"]
    assert "training stopped in epoch 1" in ready.left_out["Bonn"]


def test_killed_and_resumed_it_ends_in_the_same_bits(run: Run) -> None:
    command = (*SALES[:8], "--hidden", "5", "--plain", "--members", "2")
    keeping = ("--checkpoint", "kept")
    assert run(*command, "--epochs", "6")[0] == 0
    whole = Path("m").read_bytes()
    assert run(*command, "--epochs", "3", *keeping)[0] == 0
    assert "kept holds a run that reached epoch 3" in run(*command, "--epochs", "6", *keeping)[2]
    other = ("train", "sales.csv", "--target", "units", "--out", "m", "--resume", *keeping)
    assert "kept holds a run with --by and --members 2; this one has --members 1" in run(*other)[2]
    assert run(*command, "--epochs", "6", *keeping, "--resume")[0] == 0
    assert Path("m").read_bytes() == whole


# --- prediction -----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [SALES, LABELS], ids=["number", "classes"])
def test_each_row_is_predicted_by_the_model_of_its_group(
    command: tuple[str, ...], run: Run
) -> None:
    run(*command, "--members", "2")
    frame = pd.read_csv(command[1])
    known = frame[frame.store.isin(list(model()))]
    known.to_csv("known.csv", index=False)
    code, _, err = run("predict", "m", "known.csv", "--spread", "--out", "p.csv")
    assert code == 0
    assert f"{len(known)} rows have the target; on these: " in err
    found = pd.read_csv("p.csv")
    every = cr.load_groups("m")
    for store, part in known.reset_index(drop=True).groupby("store"):
        own = every[str(store)].predict(part.drop(columns="store"), spread=True)
        here = found.loc[part.index]
        for column in own:
            if column == "label":
                assert list(here[column]) == list(own[column])
            else:
                np.testing.assert_allclose(here[column], own[column], rtol=2e-6)
        for column in set(found) - set(own):
            assert (here[column] == 0).all()
    if command is LABELS:
        assert list(found)[1:4] == ["probability_high", "probability_low", "probability_mid"]
        np.testing.assert_allclose(found.iloc[:, 1:4].sum(axis=1), 1, rtol=1e-5)
        assert (found.probability_low[known.store.to_numpy() == "Bonn"] == 0).all()
        accuracy = (found.label == known.label.to_numpy()).mean()
        assert f"accuracy {accuracy:.4f}" in err
    else:
        r2 = metrics.r2_score(known.units, found.units)
        assert f"R² {r2:.4f}" in err


def test_groups_without_a_model(run: Run) -> None:
    run(*SALES)
    frame = sales().drop(columns="label").head(6)
    frame["store"] = ["Bonn", "Rome", "Deil", "Celle", None, "Rome"]
    frame.to_csv("new.csv", index=False)
    code, out, err = run("predict", "m", "new.csv")
    assert (code, out) == (2, "")
    assert "new.csv, line 3, column 1 (store): 'Rome' has no model" in err
    assert "To leave such predictions empty, add --new-groups empty" in err
    code, _, err = run("predict", "m", "new.csv", "--new-groups", "empty", "--keep", "store",
                       "--out", "p.jsonl")  # fmt: skip
    assert code == 0
    assert "4 rows without a prediction: no model for store 'Rome', 'Deil', 'no value'" in err
    assert "2 rows have the target" in err
    lines = [json.loads(line) for line in Path("p.jsonl").read_text().splitlines()]
    assert [line["units"] is None for line in lines] == [False, True, True, False, True, True]
    assert lines[0]["outside_training_range"] == []
    frame.iloc[[2]].to_csv("few.csv", index=False)
    assert "'Deil' has no model: 4 rows have a target" in run("predict", "m", "few.csv")[2]
    frame.iloc[[4]].to_csv("none.csv", index=False)
    assert "no value of 'store', which chooses the model" in run("predict", "m", "none.csv")[2]
    frame.iloc[[1]].to_csv("all.csv", index=False)
    code, out, _ = run("predict", "m", "all.csv", "--new-groups", "empty")
    assert (code, out) == (0, '"units"\n\n')
    frame.drop(columns="store").to_csv("less.csv", index=False)
    err = run("predict", "m", "less.csv")[2]
    assert "less.csv lacks column 'store', which chooses the model of a row" in err


def test_what_is_new_is_said_for_each_group(run: Run) -> None:
    run(*SALES)
    frame = pd.DataFrame({"store": ["Celle", "Bonn", "Bonn"], "x": [0.0, 900.0, 0.0],
                          "kind": ["c", "a", "b"], "more": 1})  # fmt: skip
    frame.to_csv("new.csv", index=False)
    code, out, err = run("predict", "m", "new.csv", "--json")
    assert code == 0
    assert "columns that the model does not know are ignored: more" in err
    assert "store Celle: column 'kind' has new categories" in err
    assert "store Bonn: column 'x' has 1 value far outside the training rows" in err
    assert "(new.csv, line 3, column 2 (x))" in err
    assert [json.loads(line)["outside_training_range"] for line in out.splitlines()] == [
        [], ["x"], [],
    ]  # fmt: skip


def test_groups_are_texts_in_every_format(run: Run) -> None:
    frame = sales().drop(columns="label")
    numbers = {"Bonn": 10.0, "Celle": 9.0, "Aachen": 101.0, "Deil": 5.0, "Ems": 6.0}
    frame["store"] = frame.store.map(numbers)
    frame.to_parquet("sales.parquet")
    frame.to_csv("sales.csv", index=False)
    run(*SALES)
    whole = Path("m").read_bytes()
    assert list(model()) == ["9", "10", "101"]
    run("train", "sales.parquet", *SALES[2:])
    assert Path("m").read_bytes() == whole
    frame["store"] = frame.store.astype(int)
    known = frame[frame.store > 8]
    assert cr.load_groups("m").predict(known).units.notna().all()


# --- in Python, and other commands ----------------------------------------------------------------


def test_in_python(run: Run) -> None:
    run(*SALES)
    every = cr.load_groups("m")
    assert (every.by, list(every), len(every)) == ("store", ["Aachen", "Bonn", "Celle"], 3)
    row = {"store": "Bonn", "x": 0.5, "kind": "a"}
    alone = every["Bonn"].predict([{"x": 0.5, "kind": "a"}])
    assert every.predict([row]) == alone
    with pytest.raises(ValueError, match="row 0, column 'store': 'Rome' has no model; the file"):
        every.predict([{**row, "store": "Rome"}])
    with pytest.warns(UserWarning, match="1 row without a prediction: no model for store 'Rome'"):
        assert every.predict([{**row, "store": "Rome"}, row], new_groups="empty") == [
            {"units": None}, alone[0]
        ]  # fmt: skip
    with pytest.raises(ValueError, match="new_groups is 'skip'; expected 'refuse' or 'empty'"):
        every.predict([row], new_groups="skip")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one network each, and the spread is over several"):
        every.predict([row], spread=True)
    why = every["Bonn"].explain("x[x]", [{**row, "units": 100.0}])
    assert np.isfinite(why.value)
    with pytest.raises(
        ValueError, match=r"m has a model for each store; read it with chainrule\.lo"
    ):
        cr.load_table("m")
    run("train", "sales.csv", "--target", "units", "--out", "one", "--no-plot", *SHORT)
    with pytest.raises(ValueError, match=r"one has one model; read it with chainrule\.load_table"):
        cr.load_groups("one")


def test_other_commands_take_one_group(run: Run) -> None:
    run(*SALES)
    data = ("--data", "sales.csv", "--row", "0")
    err = run("explain", "m", "x[x]", *data)[2]
    assert "the file has a model for each store; choose one with --of, such as --of Aachen" in err
    err = run("explain", "m", "x[x]", *data, "--of", "Rome")[2]
    assert "'Rome' has no model; the file has" in err
    code, out, _ = run("explain", "m", "x[x]", *data, "--of", "Bonn", "--format", "json")
    assert code == 0
    one = model()["Bonn"]
    X, y, _, _ = one.samples(open_table("sales.csv"), slice(0, 1))
    assert json.loads(out)["value"] == pytest.approx(float(one.network.explain("x[0]", X, y).value))
    assert run("check", "m", "--data", "sales.csv", "--of", "Celle", "--rows", "0:9")[0] == 0
    assert run("export", "m", "--to", "c", "--out", "m.c", "--of", "Celle")[0] == 0
    assert "choose one with --of" in run("export", "m", "--to", "c", "--out", "n.c")[2]
    out = run("inspect", "m")[1]
    assert "m: 3 models, one for each store" in out
    assert "no model for Deil" in out
    assert "network  Network(4-5-1" in run("inspect", "m", "--of", "Bonn")[1]
    told = json.loads(run("inspect", "m", "--json")[1])
    assert list(told["groups"]) == ["Aachen", "Bonn", "Celle"]
    assert told["groups"]["Bonn"]["measures"] == one.measures
    printed = json.loads(run(*SALES, "--json")[1])
    assert printed["groups"] == told["groups"]
    assert set(printed["left_out"]) == {"Deil", "Ems"}
    run("train", "sales.csv", "--target", "units", "--out", "one", "--no-plot", *SHORT)
    for command in (("explain", "one", "x[x]", *data), ("inspect", "one")):
        err = run(*command, "--of", "Bonn")[2]
        assert "--of is for models from train --by, but one has one model" in err


# --- the file -------------------------------------------------------------------------------------


def rewritten(change: Any, name: str = "groups.json") -> None:
    with zipfile.ZipFile("m") as file:
        entries = {entry: file.read(entry) for entry in file.namelist()}
    if name == "groups.json":
        about = json.loads(entries[name])
        change(about)
        entries[name] = json.dumps(about).encode()
    else:
        change(entries)
    archive.write("m", entries)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.update(version=2), "written by a newer chainrule, in format 2"),
        (lambda a: a.pop("version"), "has no version"),
        (lambda a: a.pop("by"), "lacks 'by', of type str"),
        (lambda a: a.update(groups=["a", "a", "b"]), "has no group, or one twice"),
        (lambda a: a.update(groups=["a"]), "it has 3 model files; its description has 1 groups"),
        (lambda a: a.update(groups=[1, 2, 3]), "its groups are not texts"),
        (lambda a: a.update(left_out={"Bonn": "x"}), "has no group, or one twice"),
        (lambda a: a.update(measures={"model": 3}), "in its measures, 'model' is 3"),
    ],
)
def test_files_of_strangers(change: Any, message: str, run: Run) -> None:
    run(*SALES, "--no-refit")
    rewritten(change)
    with pytest.raises(ValueError, match=message) as error:
        cr.load_groups("m")
    assert str(error.value).startswith("m: ")


def test_damage_is_noticed(run: Run) -> None:
    run(*SALES, "--no-refit")
    whole = Path("m").read_bytes()
    again = cr.load_groups("m")
    again.save("n")
    assert Path("n").read_bytes() == whole
    rewritten(lambda entries: entries.pop("00001.safetensors"), "")
    with pytest.raises(ValueError, match="it has 2 model files; its description has 3 groups"):
        cr.load_groups("m")
    place = whole.index(b"layers.1.W") + 5000
    damaged = bytearray(whole)
    damaged[place] ^= 1
    Path("m").write_bytes(bytes(damaged))
    with pytest.raises(ValueError, match=r"^m"):
        cr.load_groups("m")
    with zipfile.ZipFile("m", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("groups.json", b"{}" * 100)
    with pytest.raises(ValueError, match=r"groups\.json is compressed"):
        cr.load_groups("m")
    Path("m").write_bytes(whole[:900])
    with pytest.raises(ValueError, match="is not a file of models that chainrule wrote"):
        cr.load_groups("m")
