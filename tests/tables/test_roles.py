"""Weights of rows, a validation file, and splits by group and by time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from chainrule.equations.optimizers import Adam
from chainrule.equations.schedules import ReduceOnPlateau
from chainrule.tables import measures, training
from chainrule.tables.opening import open_table
from chainrule.tables.profile import Wishes
from chainrule.tables.roles import Roles, collect
from chainrule.tables.schema import Target
from chainrule.tables.source import MISSING, TableError
from chainrule.tables.split import TEST, TRAIN, VALIDATION, split_by_group, split_by_time
from chainrule.tables.training import Prepared, Settings
from chainrule.training.callbacks import EarlyStopping
from tests.cli.people import TRAIN as COMMAND
from tests.cli.people import Run, folder, loaded, people, run  # noqa: F401


def table(folder: Path) -> pd.DataFrame:
    frame = people()
    rng = np.random.default_rng(1)
    frame["w"] = rng.integers(0, 4, len(frame)) + 0.5
    frame["shop"] = [f"shop {k}" for k in rng.integers(0, 30, len(frame))]
    frame.to_csv(folder / "people.csv", index=False)
    return frame


def prepared(folder: Path, roles: Roles, **settings: Any) -> Prepared:
    wanted: dict[str, Any] = {"epochs": 4, "hidden": (5,), "roles": roles, **settings}
    return training.prepare(open_table(folder / "people.csv"), Settings("label", **wanted))


# --- weights --------------------------------------------------------------------------------------


def test_weights_reach_training_validation_and_test(tmp_path: Path) -> None:
    frame = table(tmp_path)
    ready = prepared(tmp_path, Roles(weight="w"))
    assert "w" not in [column.name for column in ready.schema.columns]
    assert {c.name: c.why for c in ready.schema.left_out}["w"] == "the weight of each row"
    weights = [ready.weight[part] for part in (TRAIN, VALIDATION, TEST)]
    assert sorted(np.concatenate(weights)) == sorted(frame.w)
    network = training.make_network(ready)
    history = training.fit(network, ready)

    other = training.make_network(ready)
    expected = other.fit(
        ready.X[TRAIN], ready.y[TRAIN], sample_weight=weights[0],
        validation_data=(ready.X[VALIDATION], ready.y[VALIDATION], weights[1]),
        optimizer=Adam(ReduceOnPlateau(0.003, patience=6)), epochs=4, batch_size=32,
        callbacks=[EarlyStopping(patience=20)],
    )  # fmt: skip
    assert np.array_equal(network.parameters, other.parameters)
    assert history["val_loss"] == expected["val_loss"]
    a, y = network.predict(ready.X[TEST]), ready.y[TEST]
    measured, beside = training.assess(network, ready)
    loss = metrics.log_loss(y, a / a.sum(axis=1, keepdims=True), sample_weight=weights[2])
    assert measured["log_loss"] == pytest.approx(loss)
    share = np.average(ready.y[TRAIN], weights=weights[0])
    flat = np.tile([1 - share, share], (len(y), 1))
    assert beside["log_loss"] == pytest.approx(metrics.log_loss(y, flat, sample_weight=weights[2]))
    again, _ = training.refit(ready, history)
    assert np.isfinite(again.parameters).all()


def test_a_weight_of_2_is_the_row_twice() -> None:
    rng = np.random.default_rng(0)
    y, p, w = rng.integers(0, 2, 40), rng.random(40), rng.integers(0, 3, 40).astype(float)
    a = np.column_stack([1 - p, p])
    often = np.repeat(np.arange(40), w.astype(int))
    weighted = measures.of_classes(y, a, 2, w)
    assert weighted == pytest.approx(measures.of_classes(y[often], a[often], 2))
    numbers = rng.normal(size=40)
    weighted = measures.of_numbers(numbers, p, w)
    assert weighted == pytest.approx(measures.of_numbers(numbers[often], p[often]))
    target = Target("y", "regress", "number")
    found = measures.baseline(target, numbers, numbers, w, w)
    assert found == pytest.approx(measures.baseline(target, numbers[often], numbers[often]))


@pytest.mark.parametrize(
    ("value", "what"), [("-1", "'-1'"), ("", "an empty cell"), ("many", "'many'"), ("inf", "'inf'")]
)
def test_a_bad_weight_is_named(value: str, what: str, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text(f"w,y\n1,2\n{value},3\n")
    with pytest.raises(TableError) as error:
        collect(open_table(path), Roles(weight="w"), MISSING, Wishes())
    place = f"data.csv, line 3, column 1 (w): {what} is not a weight; expected a number"
    assert place in str(error.value)


# --- splits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_a_group_is_never_split(seed: int) -> None:
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 50, 1000)
    y = rng.normal(size=1000)
    y[:7] = np.nan
    parts = split_by_group(y, False, 0.2, 0.1, seed, group)
    assert (parts[:7] == -1).all()
    for g in range(50):
        assert len(np.unique(parts[7:][group[7:] == g])) == 1
    shares = [np.mean(parts[7:] == part) for part in (TRAIN, VALIDATION, TEST)]
    np.testing.assert_allclose(shares, [0.7, 0.1, 0.2], atol=0.03)
    assert np.array_equal(parts, split_by_group(y, False, 0.2, 0.1, seed, group))


def test_the_latest_rows_are_the_test() -> None:
    time = np.random.default_rng(0).permutation(100).astype(float)
    parts = split_by_time(np.zeros(100), False, 0.2, 0.1, time)
    assert sorted(time[parts == TEST]) == list(range(80, 100))
    assert sorted(time[parts == VALIDATION]) == list(range(70, 80))
    equal = split_by_time(np.zeros(100), False, 0.2, 0.1, time // 10)
    for t in range(10):
        assert len(np.unique(equal[time // 10 == t])) == 1


def test_splits_that_leave_nothing() -> None:
    y = np.zeros(20)
    for parts in (
        lambda: split_by_group(y, False, 0.2, 0.1, 0, np.zeros(20, dtype=int)),
        lambda: split_by_time(y, False, 0.2, 0.1, np.zeros(20)),
    ):
        with pytest.raises(TableError, match=r"leaves no row for the \w+: the rows with a target"):
            parts()
    classes = np.arange(20) // 15
    with pytest.raises(TableError, match="by time leaves 1 of the classes without a training row"):
        split_by_time(classes, True, 0.2, 0.1, np.arange(20.0))


def test_groups_and_times_from_the_command_line(run: Run) -> None:
    table(Path())
    code, out, _ = run(*COMMAND, "--epochs", "2", "--group", "shop")
    assert code == 0
    assert "whole groups of shop, seed 0" in " ".join(out.split())
    assert "shop" not in [column.name for column in loaded().schema.columns]
    assert loaded().training["split_by"] == "shop"
    assert run("predict", "model", "people.csv")[2].count("do not know") == 0
    out = run(*COMMAND, "--epochs", "2", "--time", "joined", "--plain")[1]
    assert "the latest by joined are the test" in " ".join(out.split())
    ready = prepared(Path(), Roles(time="joined"))
    days = [column.name for column in ready.schema.columns].index("joined")
    assert days == 2
    unit = ready.schema.inputs.index("joined (days), standardised")
    assert ready.X[TRAIN][:, unit].max() < ready.X[VALIDATION][:, unit].min()
    assert ready.X[VALIDATION][:, unit].max() < ready.X[TEST][:, unit].min()


# --- a validation file ----------------------------------------------------------------------------


def test_a_validation_file_decides_when_to_stop(run: Run) -> None:
    people(50, seed=9).to_csv("held.csv", index=False)
    arguments = (*COMMAND, "--epochs", "3", "--validation-data", "held.csv", "--plain")
    code, out, _ = run(*arguments)
    assert code == 0
    told = " ".join(out.split())
    assert "192 for training, 50 for validation, 48 for the test" in told
    assert "the validation is a file of its own" in told
    assert "has learned again, from all 240 rows" in told
    assert "no target" not in told
    assert loaded().training["rows"] == {"training": 192, "validation": 50, "test": 48}
    source = open_table("people.csv")
    ready = training.prepare(source, Settings("label"), open_table("held.csv"))
    model = loaded()
    X, y, _, _ = model.samples(open_table("held.csv"), slice(0, 50))
    assert np.array_equal(ready.X[VALIDATION], X)
    assert np.array_equal(ready.y[VALIDATION], y)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--validation-data", "bad.csv"], "bad.csv lacks column 'label'; a validation file needs"),
        (["--validation-data", "none.csv"], "none.csv, line 3, column 8 (label): the target is"),
        (["--validation-data", "held.csv", "--validation", "0.2"], "contradict each other"),
        (["--group", "colour", "--time", "joined"], "--group and --time contradict each other"),
        (["--group", "color"], "there is no column 'color' (did you mean 'colour'?)"),
        (["--weight", "label"], "--weight names the column 'label', and so does --target"),
        (["--weight", "age", "--numeric", "age"], "and so does --numeric, --categorical, --date"),
        (["--weight", "age", "--group", "age"], "--group names the column 'age', and so does --w"),
        (["--time", "note"], "line 2, column 5 (note): 'note 0 of 865919172' is not a time; expec"),
        (["--group", "empty"], "line 2, column 7 (empty): an empty cell is not a group; expected"),
    ],
)  # fmt: skip
def test_roles_that_do_not_fit(options: list[str], message: str, run: Run) -> None:
    frame = people(50, seed=9)
    frame.to_csv("held.csv", index=False)
    frame.drop(columns="label").to_csv("bad.csv", index=False)
    frame.loc[1, "label"] = None
    frame.to_csv("none.csv", index=False)
    code, out, err = run(*COMMAND, *options)
    assert (code, out) == (2, "")
    assert message in err
