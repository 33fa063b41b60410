"""Many files in micro-batches: whoever trains reads and encodes the rows, to the same model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chainrule.tables import training
from chainrule.tables.many_files import Files
from chainrule.tables.source import Reading
from tests.cli.people import Run, folder, run  # noqa: F401

SIZES = (0, 70, 3, 200, 1, 126)


@pytest.fixture
def table(run: Run) -> pd.DataFrame:
    """A table with columns and targets of many kinds, in uneven files."""
    rng = np.random.default_rng(0)
    n = sum(SIZES)
    made = pd.DataFrame({
        "size": rng.normal(40, 12, n), "day": np.datetime64("2020-01-01") + rng.integers(0, 900, n),
        "colour": rng.choice(["red", "green", "blue"], n), "weight": rng.uniform(0, 3, n),
    })  # fmt: skip
    made["price"] = made["size"] * 2 + 9 * (made.colour == "red") + rng.normal(size=n)
    made["rooms"] = np.round(made["size"].abs() / 9)
    made["sold"] = np.where(made.price > 85, "yes", "no")
    for name in ("price", "sold"):
        made.loc[rng.random(n) < 0.1, name] = None
    made.loc[rng.random(n) < 0.1, "size"] = np.nan
    start = 0
    Path("data").mkdir()
    for i, size in enumerate(SIZES):
        made.iloc[start : start + size].to_parquet(f"data/{i}.parquet", row_group_size=50)
        start += size
    made.dropna(subset="sold")[::5].to_parquet("own.parquet")
    return made


@pytest.mark.needs("dask")
@pytest.mark.parametrize(
    "how",
    [
        ("--target", "price", "--weight", "weight"),
        ("--target", "price", "--target", "rooms", "--task", "regress", "--no-refit"),
        ("--target", "sold", "--balanced", "--validation-data", "own.parquet"),
        ("--target", "rooms", "--task", "regress", "--loss", "poisson", "--dropout", "0.1"),
    ],
    ids=" ".join,
)
def test_the_same_model_whoever_reads_the_rows(
    how: tuple[str, ...], table: pd.DataFrame, run: Run, monkeypatch: Any,
) -> None:  # fmt: skip
    how = (*how, "--micro-batches", "4", "--epochs", "3", "--no-plot", "--hidden", "5", "--out")
    whole = training.prepare
    with monkeypatch.context() as patched:  # all rows read and encoded before the training
        patched.setattr(training, "prepare", lambda *a, apart=False: whole(*a))
        assert run("train", "data/*.parquet", *how, "one")[::2] == (0, "")
    assert run("train", "data/*.parquet", *how, "here")[0] == 0
    assert run("train", "data/*.parquet", *how, "there", "--workers", "dask://local:2")[0] == 0
    assert Path("here").read_bytes() == Path("one").read_bytes()
    assert Path("there").read_bytes() == Path("one").read_bytes()


@pytest.mark.needs("dask")
def test_a_run_goes_on_whoever_reads_the_rows(table: pd.DataFrame, run: Run) -> None:
    how = ("train", "data/*.parquet", "--target", "price", "--micro-batches", "4", "--no-plot")
    assert run(*how, "--epochs", "5", "--out", "whole")[0] == 0
    kept = (*how, "--checkpoint", "run", "--out", "kept")
    assert run(*kept, "--epochs", "2", "--workers", "dask://local:2")[0] == 0
    assert run(*kept, "--epochs", "5", "--resume")[0] == 0
    assert Path("kept").read_bytes() == Path("whole").read_bytes()


def test_training_rows_are_not_held(table: pd.DataFrame, monkeypatch: Any) -> None:
    files = Files([f"data/{i}.parquet" for i in range(len(SIZES))], Reading())
    settings = training.Settings("price")
    made = training.prepare(files, settings, apart=True)
    whole = training.prepare(files, settings)
    X = made.X[0]
    assert X.strides == (0, 0)
    assert X.shape == whole.X[0].shape
    assert made.encoded is not None
    found = list(made.encoded.read(range(40, 200)))
    np.testing.assert_array_equal(np.concatenate([s.X for s in found]), whole.X[0][40:200])
    np.testing.assert_array_equal(np.concatenate([s.y for s in found]), whole.targets(0)[40:200])
    for part in (1, 2):
        np.testing.assert_array_equal(made.X[part], whole.X[part])
