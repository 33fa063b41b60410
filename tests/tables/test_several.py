"""Several targets: numbers that one network predicts together."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import r2_score

import chainrule as cr
from chainrule.tables import training
from chainrule.tables.frames import TableModel
from chainrule.tables.opening import open_table
from chainrule.tables.several import one
from chainrule.tables.split import TRAIN
from chainrule.tables.training import Settings
from tests.cli.people import Run, folder, loaded, run  # noqa: F401


def table(n: int = 500, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    made = pd.DataFrame({
        "a": rng.normal(size=n), "b": rng.normal(size=n), "c": rng.choice(["x", "y"], n)
    })  # fmt: skip
    made["price"] = np.round(100 + 30 * made.a - 10 * (made.c == "x") + rng.normal(0, 1, n), 2)
    made["rent"] = np.round(5 + 2 * made.b + 0.5 * made.a + rng.normal(0, 0.1, n), 3)
    made["kind"] = rng.choice(["u", "v"], n)
    return made


BOTH = ("train", "two.csv", "--target", "price", "--target", "rent", "--drop", "kind", "--out",
        "model", "--no-plot")  # fmt: skip


@pytest.fixture
def trained(run: Run) -> TableModel:
    table().to_csv("two.csv", index=False)
    assert run(*BOTH, "--recipe", "plain")[0] == 0
    return cr.load_table("model")


def test_each_target_is_standardised_by_its_own_rows(tmp_path: Path) -> None:
    data = table()
    data.loc[4, "price"], data.loc[9, "rent"] = np.nan, np.nan
    data.to_csv(tmp_path / "two.csv", index=False)
    settings = Settings("rent", more_targets=("price",))
    ready = training.prepare(open_table(tmp_path / "two.csv"), settings)
    assert [target.name for target in ready.schema.targets] == ["rent", "price"]
    assert ready.without_target == 2, "a row has all targets, or is left out"
    assert ready.schema.outputs == ["rent, standardised", "price, standardised"]
    assert {column.name for column in ready.schema.columns} == {"a", "b", "c", "kind"}
    y = ready.y[TRAIN]
    for j, target in enumerate(ready.schema.targets):
        assert target.mean == pytest.approx(y[:, j].mean(), rel=1e-12)
        assert target.scale == pytest.approx(y[:, j].std(), rel=1e-12)
        expected = (y[:, j] - y[:, j].mean()) / y[:, j].std()
        np.testing.assert_allclose(ready.targets(TRAIN)[:, j], expected, rtol=1e-5, atol=1e-6)
    known = data.dropna()
    assert set(map(tuple, y)) <= set(zip(known.rent, known.price, strict=True))


@pytest.mark.parametrize("more", [("--recipe", "plain"), ("--recipe", "tuned"), ("--members", "2")])
def test_both_are_learned_and_measured(more: tuple[str, ...], run: Run) -> None:
    table().to_csv("two.csv", index=False)
    code, out, _ = run(*BOTH, *more, "--plain")
    assert code == 0
    assert "target price: a number, mean" in " ".join(out.split())
    model = cr.load_table("model")
    fresh = table(2000, 1)
    found = model.predict(fresh[["a", "b", "c"]], intervals=0.9)
    names = ["price", "rent"]
    ends = [f"{end}_{name}" for name in names for end in ("lower", "upper")]
    assert list(found) == [*names, *ends]
    for name in names:
        assert r2_score(fresh[name], found[name]) > 0.98
        inside = (found[f"lower_{name}"] <= fresh[name]) & (fresh[name] <= found[f"upper_{name}"])
        assert 0.8 < inside.mean() < 0.98
        of = model.held_out.several[name]
        assert f"R² {of.model['r2']:.4f}" in " ".join(out.split())
        assert of.intervals.rows == 100
    mean = np.mean([model.held_out.several[name].model["r2"] or 0 for name in names])
    assert model.measures["model"] == {"r2": pytest.approx(mean)}
    told = " ".join(run("inspect", "model")[1].split())
    assert f"R² {model.held_out.several['rent'].model['r2']:.4f}" in told
    about = json.loads(run("inspect", "model", "--json")[1])["table"]
    assert [each["name"] for each in about["more"]] == ["rent"]
    assert about["held_out"]["several"]["rent"]["intervals"]["rows"] == 100
    model.save("again")
    assert Path("again").read_bytes() == Path("model").read_bytes()


def test_a_file_is_predicted_and_scored(trained: TableModel, run: Run) -> None:
    fresh = table(300, 1)
    fresh.loc[7, "rent"] = np.nan
    fresh.to_csv("fresh.csv", index=False)
    code, _, err = run("predict", "model", "fresh.csv", "--intervals", "0.9", "--keep", "kind",
                       "--out", "p.csv")  # fmt: skip
    assert code == 0
    found = pd.read_csv("p.csv")
    assert list(found)[:3] == ["kind", "price", "rent"]
    known = fresh.dropna().index
    r2 = np.mean([r2_score(fresh[n][known], found[n][known]) for n in ("price", "rent")])
    assert f"299 rows have the target; on these: R² {r2:.4f}" in err
    counts = [
        ((found[f"lower_{n}"] <= fresh[n]) & (fresh[n] <= found[f"upper_{n}"]))[known].sum()
        for n in ("price", "rent")
    ]
    assert f"{counts[0]} and {counts[1]} of these 299 are inside their intervals of price" in err


def test_one_of_them_is_the_model_of_that_target_alone(trained: TableModel) -> None:
    fresh = table(50, 1)[["a", "b", "c"]]
    both = trained.predict(fresh)
    for name in ("price", "rent"):
        alone = one(trained, name)
        assert isinstance(alone, TableModel)
        np.testing.assert_allclose(alone.predict(fresh)[name], both[name], rtol=1e-6, atol=1e-6)
        assert alone.measures["model"] == trained.held_out.several[name].model
        assert alone.held_out.intervals == trained.held_out.several[name].intervals
    with pytest.raises(ValueError, match="the model has the targets 'price', 'rent'; choose one"):
        one(trained, None)
    with pytest.raises(ValueError, match=r"no target 'rnt' \(did you mean 'rent'"):
        one(trained, "rnt")


def test_explanations_name_the_targets(trained: TableModel, run: Run) -> None:
    rows = table(5, 1)[["a", "b", "c", "price", "rent"]]
    why = trained.explain("x[a]", rows)
    assert why.certificate.verdict == "pass"
    _, y, _, _ = trained.samples(open_table("two.csv"), slice(0, 5))
    first = table()[:5]
    for j, target in enumerate(trained.schema.targets):
        np.testing.assert_allclose(y[:, j], (first[target.name] - target.mean) / target.scale)
    text = trained.explain("z[3][rent]", rows).text()
    assert "predicted rent, standardised" in text
    bare = rows.drop(columns=["price", "rent"])[:1]
    said = trained.explain("x[a]", bare, label="90.5,4").value
    assert said == trained.explain("x[a]", bare.assign(price=90.5, rent=4.0)).value
    with pytest.raises(ValueError, match=r"--label is '90\.5'; expected a number for each of"):
        trained.explain("x[a]", bare, label="90.5")
    with pytest.raises(ValueError, match="the data has no column 'rent', the target"):
        trained.explain("x[a]", rows.drop(columns="rent"))
    code, out, _ = run("check", "model", "--data", "two.csv")
    assert code == 0
    assert "gradient: pass" in out


def test_what_was_learned_is_of_both(trained: TableModel) -> None:
    rows = table(200, 1)[["a", "b", "c", "price", "rent"]]
    slopes = trained.sensitivity(rows[:1]).set_index("column")
    assert slopes.price["a"] == pytest.approx(30, rel=0.3)
    assert slopes.rent["b"] == pytest.approx(2, rel=0.3)
    partial = trained.partial_dependence(rows, "c")
    assert list(partial) == ["c", "price", "rent"]
    assert partial.price[1] - partial.price[0] == pytest.approx(10, rel=0.3)
    assert set(trained.importance(rows).column) == {"a", "b", "c"}


def test_a_report_is_of_one(trained: TableModel, run: Run) -> None:
    code, _, err = run("report", "model", "two.csv", "--out", "r.html")
    assert code == 2
    assert "the model has the targets 'price', 'rent'; choose one with --target" in err
    assert run("report", "model", "two.csv", "--target", "rent", "--out", "r.html")[0] == 0
    html = Path("r.html").read_text(encoding="utf-8")
    assert "<h1>Report: rent</h1>" in html
    assert f"{trained.held_out.several['rent'].model['r2']:.4f}" in html


def test_onnx_predicts_both(trained: TableModel, run: Run) -> None:
    runtime = pytest.importorskip("onnxruntime")
    assert run("export", "model", "--to", "onnx", "--out", "m.onnx")[0] == 0
    fresh = table(40, 1)
    fed: dict[str, Any] = {name: fresh[[name]].to_numpy() for name in ("a", "b")}
    fed["c"] = fresh[["c"]].to_numpy(dtype=object)
    (found,) = runtime.InferenceSession("m.onnx").run(None, fed)
    expected = trained.predict(fresh[["a", "b", "c"]])[["price", "rent"]]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_c_predicts_both(trained: TableModel, run: Run) -> None:
    assert run("export", "model", "--to", "c", "--main", "--out", "m.c")[0] == 0
    subprocess.run(["cc", "-std=c99", "-Wall", "-Werror", "-pedantic", "m.c", "-lm", "-o", "m"],
                   check=True)  # fmt: skip
    assert "double value[M_OUTPUTS]" in Path("m.h").read_text()
    assert "the targets, price, rent, each in its units" in Path("m.h").read_text()
    fresh = table(40, 1)[["a", "b", "c"]]
    fresh.to_csv("fresh.csv", index=False)
    cells = Path("fresh.csv").read_text()
    done = subprocess.run(["./m"], input=cells, capture_output=True, text=True, check=True)
    Path("c.csv").write_text(done.stdout)
    found, expected = pd.read_csv("c.csv"), trained.predict(fresh)
    assert list(found) == ["price", "rent"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_bad_targets(run: Run) -> None:
    data = table()
    data["count"] = np.arange(500) % 3
    data["same"] = 7.5
    data.to_csv("two.csv", index=False)
    command = ("train", "two.csv", "--out", "model", "--target", "price", "--target")
    for more, words in (
        (("price",), "--target names the column 'price' twice; name it once"),
        (("kind",), "the target 'kind' has classes; several targets have to be numbers. Train"),
        (("count",), "the target 'count' has classes; several targets have to be numbers."),
        (("same",), "the target 'same' is 7.5 in every row, so there is nothing to learn"),
        (("none",), "there is no column 'none'"),
        (("rent", "--drop", "rent"), "rent"),
        (("rent", "--by", "c"), "--by takes one --target; train a model for each"),
        (("rent", "--loss", "poisson"), "--loss poisson needs counts, 0 or more"),
    ):
        code, _, err = run(*command, *more)
        assert code == 2, more
        assert words in err
    assert run(*command, "count", "--task", "regress", "--epochs", "2", "--no-plot")[0] == 0
    code, _, err = run("train", "two.csv", "--out", "model", "--target", "kind", "--target", "rent")
    assert code == 2
    assert "the target 'kind' has classes" in err


def test_a_validation_file_has_both(run: Run) -> None:
    table().to_csv("two.csv", index=False)
    table(80, 2).to_csv("own.csv", index=False)
    assert run(*BOTH, "--validation-data", "own.csv", "--epochs", "3")[0] == 0
    assert loaded().training["rows"]["validation"] == 80
    table(80, 2).drop(columns="rent").to_csv("own.csv", index=False)
    code, _, err = run(*BOTH, "--validation-data", "own.csv", "--epochs", "3")
    assert code == 2
    assert "own.csv lacks column 'rent'" in err
