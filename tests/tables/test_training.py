"""Training on tables: the target, the split, real tables from their files, and the model's file."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import datasets, metrics

import chainrule
from chainrule.cli.inspect import tell
from chainrule.cli.shared import Page
from chainrule.storage import mapped, models
from chainrule.storage.container import opened
from chainrule.tables import measures, model, rows, training
from chainrule.tables.measures import of_classes, of_numbers
from chainrule.tables.opening import open_table
from chainrule.tables.prediction import Prediction
from chainrule.tables.schema import Schema, Target
from chainrule.tables.source import MISSING, TableError
from chainrule.tables.split import NONE, TEST, TRAIN, VALIDATION, split
from chainrule.tables.target import understand
from chainrule.tables.training import Prepared, Settings


def csv(folder: Path, frame: pd.DataFrame, name: str = "data.csv") -> Path:
    frame.to_csv(folder / name, index=False)
    return folder / name


def prepared(path: Path, **settings: Any) -> Prepared:
    return training.prepare(open_table(path), Settings("y", **settings))


def with_target(values: list[object], n: int = 40) -> pd.DataFrame:
    cells = (values * n)[:n]
    return pd.DataFrame({"x": np.random.default_rng(0).normal(size=n), "y": cells})


# --- the target -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "task", "expected"),
    [
        (["b", "a", ""], None, ("classify", "text", ("a", "b"))),
        ([1, 0], None, ("classify", "integer", ("0", "1"))),
        ([10, 9, 2], None, ("classify", "integer", ("2", "9", "10"))),
        ([True, False], None, ("classify", "text", ("False", "True"))),
        ([1.5, 2.5], None, ("regress", "number", ())),
        (list(range(30)), None, ("regress", "integer", ())),
        ([1, 2, 3], "regress", ("regress", "integer", ())),
        ([1.5, 2.5], "classify", ("classify", "number", ("1.5", "2.5"))),
    ],
)
def test_the_task_is_found_out(
    values: list[object], task: Any, expected: tuple[object, ...], tmp_path: Path
) -> None:
    target = prepared(csv(tmp_path, with_target(values)), task=task).schema.target
    assert (target.task, target.kind, target.classes) == expected


@pytest.mark.parametrize(
    ("values", "settings", "message"),
    [
        (["yes"], {}, "the target 'y' is yes in every row, so there is nothing to learn"),
        ([7], {}, "the target 'y' is 7 in every row"),
        ([""], {}, "the target 'y' has no value in any row"),
        ([f"name {i}" for i in range(40)], {},
         "the target 'y' has a different class in each of its 40 rows"),
        ([i + 0.5 for i in range(40)], {"task": "classify"},
         "expected several rows of a class. If it is a quantity, add --task regress."),
        (["1.5", "2.5", "many"], {"task": "regress"},
         "data.csv, line 4, column 2 (y): 'many' is not a number; --task regress needs numbers"),
        ([*range(39), "unknown"], {},
         ("data.csv, line 41, column 2 (y): 'unknown' is not a finite number, but 39 of 40 targets "
          "are. Correct it, or say what it is: --missing unknown (no value) or --task classify")),
        ([1, 2, 3] * 12 + ["", "inf"], {}, "'inf' is not a finite number, but 38 of 39"),
        (["1,5", "2,5", "3,5"], {},
         "holds texts such as '1,5', which look like numbers with a decimal comma"),
        (["1,5", "2,5", "3,5"], {"task": "regress"}, "Read them as numbers (--decimal ,), or keep"),
        ([1.5, 2.5, 3.5], {"balanced": True}, "'y' is a number; --balanced needs classes"),
        (["a", "b"], {"loss": "huber"}, "'y' has classes, whose loss is cross-entropy"),
        ([1.5, 2.5, -3], {"loss": "poisson"},
         "line 4, column 2 (y): the target is -3; --loss poisson needs counts, 0 or more"),
        (["a", "b", *[""] * 38], {}, "the target 'y' has a different class in each of its 2 rows"),
        (["a", "a", "b", *[""] * 37], {},
         "3 rows have a target; training, validation and test need 10 or more"),
    ],
)  # fmt: skip
def test_targets_that_teach_nothing(
    values: list[object], settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(TableError) as error:
        prepared(csv(tmp_path, with_target(values)), **settings)
    assert message in str(error.value)


def test_each_loss_learns_its_own_middle(tmp_path: Path) -> None:
    """Squares and counts lead to the mean of each group, absolute errors to its median."""
    rng = np.random.default_rng(0)
    n = 4000
    group = rng.integers(0, 2, n)
    y = np.rint(np.exp(rng.normal(1 + group, 1.0)))  # skewed: median and mean are far apart
    path = csv(tmp_path, pd.DataFrame({"x": np.where(group == 1, "p", "q"), "y": y}))
    for loss, middle in (
        ("squared", np.mean), ("poisson", np.mean), ("absolute", np.median),
    ):  # fmt: skip
        table = prepared(path, loss=loss, hidden=(), l2=0.0, task="regress")
        network = training.make_network(table)
        training.fit(network, table)
        target = table.schema.target
        a = network.predict(table.X[TRAIN])[:, 0] * target.scale + target.mean
        assert (a > 0).all() or loss != "poisson"
        first = table.X[TRAIN][:, 0] > 0
        for rows_of in (first, ~first):
            assert a[rows_of] == pytest.approx(middle(table.y[TRAIN][rows_of]), rel=0.15)


@pytest.mark.parametrize("written", [("true", "false"), ("TRUE", "FALSE"), ("True", "False")])
def test_true_and_false_are_the_same_classes_in_every_format(
    written: tuple[str, str], tmp_path: Path
) -> None:
    path = csv(tmp_path, with_target([*written]))
    with_target([True, False]).to_parquet(tmp_path / "a.parquet")
    one, other = prepared(path), prepared(tmp_path / "a.parquet")
    assert one.schema.target == other.schema.target
    assert one.schema.target.classes == ("False", "True")
    assert np.array_equal(one.y[TRAIN], other.y[TRAIN])


def test_a_few_texts_among_numbers_may_be_meant(tmp_path: Path) -> None:
    path = csv(tmp_path, with_target([*range(1, 10), "unknown"], 200))
    assert prepared(path, task="classify").schema.target.classes[-1] == "unknown"
    target = prepared(path, missing=("unknown",)).schema.target
    assert (target.task, target.classes) == ("classify", tuple("123456789"))
    path = csv(tmp_path, with_target(["1", "2", "3", "4", "5 or more"], 100))
    assert prepared(path).schema.target.kind == "text"


def test_an_infinite_target_of_a_typed_column(tmp_path: Path) -> None:
    with_target([1.5, 2.5, math.inf]).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(
        TableError, match=r"a\.parquet, row 2, column 2 \(y\): 'inf' is not a finite"
    ):
        prepared(tmp_path / "a.parquet")


def test_targets_that_are_too_large_or_alike(tmp_path: Path) -> None:
    """In true words, and no warning, which would be an error here."""
    path = csv(tmp_path, with_target([1e200 * i for i in range(40)]))
    message = r"data\.csv, line 3, column 2 \(y\): 1e\+200 is too large for a target; expected"
    with pytest.raises(TableError, match=message):
        prepared(path)
    path = csv(tmp_path, with_target([1e-300 * i for i in range(40)]))
    with pytest.raises(TableError, match=r"'y' varies too little, by \d\.?\d*e-299\. Write"):
        prepared(path)
    made = prepared(csv(tmp_path, with_target([1e-90 * i for i in range(40)])))
    assert made.schema.target.scale == pytest.approx(1e-89, rel=0.5)


def test_inputs_that_are_too_far_or_alike(tmp_path: Path) -> None:
    frame = with_target(["a", "b"])
    frame["small"] = frame.x * 1e-120
    made = prepared(csv(tmp_path, frame))
    assert [c.why[:27] for c in made.schema.left_out] == ["its numbers vary too little"]
    network = training.make_network(made)
    history = training.fit(network, made)
    trained = training.model(network, made, history, {}, {})
    frame.loc[5, "x"] = 1e100
    new = Prediction(trained, open_table(csv(tmp_path, frame, "new.csv")))
    with pytest.raises(
        TableError, match=r"new\.csv, line 7, column 1 \(x\): the value is .*e\+.* st"
    ):
        next(new.batches())


def test_too_many_classes(tmp_path: Path) -> None:
    frame = with_target([f"c{i // 2}" for i in range(2004)], 2004)
    with pytest.raises(TableError, match="has 1,002 classes; expected at most 1,000"):
        prepared(csv(tmp_path, frame))


def test_rows_without_a_target_are_left_out(tmp_path: Path) -> None:
    made = prepared(csv(tmp_path, with_target(["a", "b", ""], 60)))
    assert (made.n_rows, made.without_target) == (60, 20)


def test_a_table_of_one_column(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"data.csv has one column, 'y'; .*name it with --delim"):
        prepared(csv(tmp_path, with_target(["a", "b"])[["y"]]))


def test_more_columns_than_a_model_file_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "_LONGEST", models._ROOM + 100)
    with pytest.raises(TableError, match=r"has 1 columns that make 1 inputs, too many for a model"):
        prepared(csv(tmp_path, with_target(["a", "b"])))


def test_a_header_and_no_rows(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("x,y\n")
    with pytest.raises(TableError, match=r"data\.csv has a header and no rows; expected"):
        prepared(tmp_path / "data.csv")


def test_a_target_of_lists(tmp_path: Path) -> None:
    with_target([1]).assign(y=[[1, 2]] * 40).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(TableError, match=r"the target 'y' has type list.*; expected classes or n"):
        prepared(tmp_path / "a.parquet")


# --- the split ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
def test_every_class_has_its_share(seed: int) -> None:
    y = np.repeat([0, 1, 2, -1], [500, 200, 50, 30])
    parts = split(y, True, 0.2, 0.1, seed)
    assert (parts[y < 0] == NONE).all()
    for c, n in ((0, 500), (1, 200), (2, 50)):
        counts = [int((parts[y == c] == part).sum()) for part in (TRAIN, VALIDATION, TEST)]
        assert sum(counts) == n
        assert abs(counts[2] - 0.2 * n) <= 1
        assert abs(counts[1] - 0.1 * n) <= 1.5


def test_the_seed_makes_the_split() -> None:
    y = np.random.default_rng(0).normal(size=1000)
    first = split(y, False, 0.2, 0.1, 3)
    assert np.array_equal(first, split(y, False, 0.2, 0.1, 3))
    assert not np.array_equal(first, split(y, False, 0.2, 0.1, 4))
    assert np.bincount(first).tolist() == [700, 100, 200]
    test = np.flatnonzero(first == TEST)
    assert len(set(np.diff(test).tolist())) > 5  # drawn, not every fifth


def test_a_class_of_one_row_is_learned_from() -> None:
    for seed in range(20):
        y = np.array([0] * 30 + [1] * 9 + [2])
        assert split(y, True, 0.4, 0.2, seed)[-1] == TRAIN


def test_few_rows_are_watched_of_many() -> None:
    parts = split(np.arange(2_000_000) % 2, True, 0.2, 0.1, 0)
    counts = np.bincount(parts)
    assert counts[TEST] == 400_000
    assert abs(counts[VALIDATION] - 50_000) <= 1


# --- real tables ----------------------------------------------------------------------------------

REAL = {  # the least of accuracy or R² that a sound model reaches on the test rows, for seed 0
    "iris": 0.93, "wine": 0.94, "breast_cancer": 0.93, "digits": 0.95, "diabetes": 0.35,
}  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_real_tables_from_csv_and_parquet(name: str, tmp_path: Path) -> None:
    load: Callable[..., Any] = getattr(datasets, f"load_{name}")
    frame = load(as_frame=True, **({"scaled": False} if name == "diabetes" else {})).frame
    frame = frame.rename(columns={"target": "y"})
    frame.to_parquet(tmp_path / "data.parquet")
    models = []
    for path in (csv(tmp_path, frame), tmp_path / "data.parquet"):
        made = prepared(path)
        network = training.make_network(made)
        training.fit(network, made)
        measured, beside = training.assess(network, made)
        key = "r2" if name == "diabetes" else "accuracy"
        value, other = measured[key], beside[key]
        assert value is not None
        assert other is not None
        assert value > max(REAL[name], other)
        models.append(network.parameters)
    assert np.array_equal(models[0], models[1])  # the file's format changes nothing


def test_large_training_rows_are_shuffled_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "_DEALT", 1000)
    frame = pd.DataFrame({"x": np.random.default_rng(0).normal(size=500)})
    frame["y"] = 3 * frame.x
    path = csv(tmp_path, frame)
    in_order = prepared(path)
    monkeypatch.setattr(rows, "_LARGE", 100)
    made = prepared(path)
    assert (in_order.shuffled, made.shuffled) == (False, True)
    np.testing.assert_allclose(made.X[TRAIN][:, 0], made.targets(TRAIN)[:, 0], rtol=1e-5)
    assert not np.array_equal(made.X[TRAIN], in_order.X[TRAIN])
    assert np.array_equal(np.sort(made.X[TRAIN], axis=0), np.sort(in_order.X[TRAIN], axis=0))
    assert np.array_equal(made.X[TEST], in_order.X[TEST])
    assert np.array_equal(prepared(path).X[TRAIN], made.X[TRAIN])
    network = training.make_network(made)
    training.fit(network, made)
    r2 = training.assess(network, made)[0]["r2"]
    assert r2 is not None
    assert r2 > 0.99


def test_maps_are_released_while_they_are_read(tmp_path: Path) -> None:
    X = mapped.Rows(1024)
    block = np.ones((4096, 1024), dtype=np.float32)
    for i in range(6):
        X.append(block * i)
    made = X.finish()
    with mapped.released([made, block]):
        assert made.sum(dtype=np.float64) == 15 * block.size
        assert made[-1, -1] == 5


# --- measures -------------------------------------------------------------------------------------


def test_measures_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 200)
    a = rng.dirichlet([1, 1, 1], 200)
    measured = of_classes(y, a, 3)
    assert measured == {
        "accuracy": metrics.accuracy_score(y, a.argmax(1)),
        "balanced_accuracy": pytest.approx(metrics.balanced_accuracy_score(y, a.argmax(1))),
        "log_loss": pytest.approx(metrics.log_loss(y, a)),
    }
    p = rng.random(200)
    measured = of_classes(y % 2, np.column_stack([1 - p, p]), 2)
    assert measured["roc_auc"] == pytest.approx(metrics.roc_auc_score(y % 2, p))
    assert of_classes(y * 0, np.column_stack([1 - p, p]), 2)["roc_auc"] is None
    t, q = rng.normal(size=50), rng.normal(size=50)
    assert of_numbers(t, q) == {
        "r2": pytest.approx(metrics.r2_score(t, q)),
        "mae": pytest.approx(metrics.mean_absolute_error(t, q)),
        "rmse": pytest.approx(metrics.root_mean_squared_error(t, q)),
    }
    assert of_numbers(t * 0, q)["r2"] is None


def test_baselines_know_the_training_rows_only() -> None:
    target = Target("y", "classify", "text", ("a", "b"))
    measured = measures.baseline(target, np.array([0, 0, 0, 1]), np.array([1, 1, 1, 0]))
    assert measured["accuracy"] == 0.25
    assert measured["balanced_accuracy"] == measured["roc_auc"] == 0.5
    assert measured["log_loss"] == pytest.approx(-(3 * math.log(0.25) + math.log(0.75)) / 4)
    target = Target("y", "regress", "number")
    measured = measures.baseline(target, np.array([1.0, 3.0]), np.array([4.0, 6.0]))
    assert (measured["mae"], measured["r2"]) == (3, -9)
    lines = measures.lines({"r2": 0.5, "rmse": 12345.6}, measured, "mean")
    assert [line.split() for line in lines] == [
        ["model", "mean"], ["R²", "0.5000", "-9.0000"], ["RMSE", "12,345.6", "3.1623"]
    ]  # fmt: skip


# --- the model's file -----------------------------------------------------------------------------


@pytest.fixture
def trained(tmp_path: Path) -> model.TableModel:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.normal(40, 10, 80), "hue": rng.choice(["red", "blue"], 80)})
    frame["y"] = np.where((frame.age > 40) ^ (frame.hue == "red"), "yes", "no")
    made = prepared(csv(tmp_path, frame), epochs=5)
    network = training.make_network(made)
    history = training.fit(network, made)
    return training.model(network, made, history, *training.assess(network, made))


def test_a_model_comes_back_whole(trained: model.TableModel, tmp_path: Path) -> None:
    path = tmp_path / "model"
    trained.save(path)
    again = model.load(path)
    assert again is not None
    assert np.array_equal(again.network.parameters, trained.network.parameters)
    assert (again.schema, again.training, again.measures) == (
        trained.schema, trained.training, trained.measures
    )  # fmt: skip
    assert again.training["rows"] == {"training": 56, "validation": 8, "test": 16}
    again.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()
    assert str(chainrule.load(path)) == str(trained.network)  # as a network, too
    assert b"pickle" not in path.read_bytes()


def test_a_network_alone_is_no_model_of_a_table(tmp_path: Path) -> None:
    chainrule.Network([2, 1], seed=0).save(tmp_path / "net")
    assert model.load(tmp_path / "net") is None


def rewrite(trained: model.TableModel, path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Write the model as a stranger would: changed, with a digest that is right."""
    trained.save(path)
    with opened(path) as file:
        about = json.loads(json.dumps(models.check(file)[0]["table"]))
    changed = change(about) or about
    network = trained.network
    path.write_bytes(models.content(network, network.parameters, {"table": changed}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("version"), "has no version"),
        (lambda t: t.update(version=5), "written by a newer chainrule, in format 5"),
        (lambda t: t.pop("measures"), "lacks 'measures'"),
        (lambda t: t.update(schema=[]), "lacks 'schema'"),
        (lambda t: t["schema"]["columns"].pop(), "1 inputs and 2 outputs; its network has 3 and 2"),
        (lambda t: t["schema"]["columns"][0].update(scale=[-1.0]), "a scale that is not above 0"),
        (lambda t: t["schema"]["columns"][0].update(name="hue"), "two columns have the same name"),
        (lambda t: t["schema"]["target"].update(classes=["yes"]), "has 1 classes"),
        (lambda t: t["schema"]["target"].update(task="x"), "its task is 'x'; expected classify"),
        (lambda t: t["schema"].update(columns=[["c"]]), "its column is malformed; expected"),
        (lambda t: t["schema"]["target"].update(kind="integer"), "class 'no'; its kind is integer"),
        (lambda t: t["schema"]["target"].update(kind="number"), "class 'no'; its kind is number"),
        (lambda t: t["schema"]["target"].update(classes=["no", "no"]), "has a class twice"),
        (lambda t: t["schema"]["target"].update(scale=1e-300), "scale that is too small: 1e-300"),
        (lambda t: t["schema"]["target"].update(scale=1e300), "scale that is too large: 1e\\+300"),
        (lambda t: t["schema"]["target"].update(mean=1e300), "mean that is too large: 1e\\+300"),
        (lambda t: t["schema"]["target"].update(task="regress", classes=[]), "1 outputs; its netw"),
        (lambda t: t["schema"]["columns"][0].update(scale=[1e-300]), "scale that is too small"),
        (lambda t: t["schema"]["columns"][0].update(mean=[1e300]), "mean that is too large"),
        (lambda t: t["schema"]["columns"][1].update(categories=["\0rare", "x"]), "begins with NUL"),
        (lambda t: t["training"].update(rows=3), "its training, 'rows' is 3; expected the num"),
        (
            lambda t: t["training"].update(rows={"test": "x"}),
            "its training, 'rows' is {'test': 'x'}",
        ),
        (lambda t: t["training"].update(rows={"test": -1}), "its training, 'rows' is {"),
        (lambda t: t["training"].update(epochs=[1]), "its training, 'epochs' is \\[1\\]; ex"),
        (lambda t: t["measures"].update(model={"nonsense": 1}), "of model, 'nonsense' is 1; exp"),
        (lambda t: t["measures"].update(model=[1]), "its measures, 'model' is \\[1\\]; expected"),
        (lambda t: t["measures"].update(model={"accuracy": "x"}), "of model, 'accuracy' is 'x'"),
        (lambda t: t["measures"].update(baseline={"r2": 10**400}), "of baseline, 'r2' is 1000"),
        (lambda t: t["measures"].update(other={}), "its measures, 'other' is {}"),
    ],
)
def test_files_of_strangers(
    change: Callable[[dict[str, Any]], Any],
    message: str,
    trained: model.TableModel,
    tmp_path: Path,
) -> None:
    def apply(about: dict[str, Any]) -> None:
        change(about)

    rewrite(trained, tmp_path / "model", apply)
    with pytest.raises(ValueError, match=message) as error:
        model.load(tmp_path / "model")
    assert str(error.value).startswith(str(tmp_path / "model"))


def test_classes_of_a_network_for_numbers(trained: model.TableModel) -> None:
    network = chainrule.Network([3, 2], seed=0)
    with pytest.raises(ValueError, match="ends in identity and half_squared_error; expected softm"):
        replace(trained, network=network)


def test_damage_is_noticed(trained: model.TableModel, tmp_path: Path) -> None:
    path = tmp_path / "model"
    trained.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'\\"hue\\"', b'\\"hut\\"'))
    with pytest.raises(ValueError, match="it is damaged"):
        model.load(path)


def test_the_network_learns_in_the_targets_scale(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=400)})
    frame["y"] = 1e6 + 1000 * frame.x
    made = prepared(csv(tmp_path, frame))
    network = training.make_network(made)
    training.fit(network, made)
    target = made.schema.target
    predicted = measures.predicted_numbers(target, network.predict(made.X[TEST]))
    assert np.abs(predicted - made.y[TEST]).max() < 300
    assert abs(target.mean - 1e6) < 200
    assert np.concatenate([made.targets(TRAIN)]).std() == pytest.approx(1, rel=1e-4)


def test_settings_of_the_network(tmp_path: Path) -> None:
    made = prepared(csv(tmp_path, with_target(["a", "b"])), hidden=(), l2=0.5)
    network = training.make_network(made)
    assert (network.sizes, network.l2) == ((1, 2), 0.5)
    many = replace(made.settings, l2=None)
    assert [training.penalty(many, n) for n in (10, 3000)] == [0.01, 0.001]
    assert [training.batch_size(many, n) for n in (10, 5001, 10**6)] == [32, 128, 1024]
    assert training.batch_size(replace(many, batch_size=7), 10) == 7


def test_understand_reads_texts_that_are_numbers(tmp_path: Path) -> None:
    source = open_table(csv(tmp_path, with_target(["1.0", "2.50"])))
    target, y = understand(source, "y", pa.array(["1.0", "2.50", None, "1"]), "classify")
    assert target.classes == ("1", "2.5")
    assert y.tolist() == [0, 1, -1, 0]
    assert MISSING[0] == ""


GOLDEN = Path(__file__).parents[1] / "data" / "tables"


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.model")), ids=lambda path: path.stem)
def test_models_of_earlier_releases_predict_as_they_did(path: Path) -> None:
    expected = json.loads(path.with_suffix(".json").read_text())
    archived, source = model.load(path), open_table(GOLDEN / "new.csv")
    assert archived is not None
    table = pa.concat_tables(Prediction(archived, source).batches()).to_pydict()
    assert table["label"] == expected["label"]
    np.testing.assert_allclose(table["probability_yes"], expected["probability_yes"], atol=2e-6)


JSON = st.recursive(
    st.sampled_from([None, True, 10**400, -1, math.nan, "", "a"]) | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)  # fmt: skip


@settings(max_examples=300)
@given(st.data())
def test_a_description_of_any_kind_is_read_or_one_error(data: st.DataObject) -> None:
    """A value anywhere in a model's description of its table is replaced by any other."""
    path = GOLDEN / "v1.model"
    with opened(path) as file:
        about: Any = models.check(file)[0]
    about, place, key = about["table"], about, "table"
    while isinstance(place[key], dict | list) and place[key] and data.draw(st.integers(0, 4)):
        place = place[key]
        keys = sorted(place) if isinstance(place, dict) else range(len(place))
        key = data.draw(st.sampled_from(keys))
    place[key] = data.draw(JSON)
    network = chainrule.load(path)
    try:
        found = model.read(place["table"] if key == "table" else about, network)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - it may be one
        return
    schema = found.schema
    assert Schema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema
    tell(Page(plain=True), found)
    try:
        prediction = Prediction(found, open_table(GOLDEN / "new.csv"))
        for batch in prediction.batches():
            assert len(batch)
        prediction.score()
        prediction.notes.words(schema, prediction.source)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - new.csv may not fit
