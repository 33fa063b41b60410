"""Tables in many files: the statistics of one file after another, whoever has looked at each."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from chainrule.places import Outcome
from chainrule.places.here import Here
from chainrule.tables import profile, training
from chainrule.tables.many_files import Files
from chainrule.tables.opening import open_table
from chainrule.tables.source import BATCH, MISSING, Reading, Source, TableError
from tests.cli.people import Run, folder, run  # noqa: F401
from tests.clusters import ENGINES

SETTINGS = training.Settings("label", epochs=1)


def frame(n: int = 400, seed: int = 0) -> pd.DataFrame:
    """Columns of every kind, with what makes the profile think."""
    rng = np.random.default_rng(seed)
    made = pd.DataFrame({
        "number": rng.normal(40, 12, n),
        "far": 1e15 + rng.integers(0, 9, n),
        "price": [f"{x:.2f} €" for x in rng.uniform(1, 99, n)],
        "counter": np.arange(n),
        "later": np.arange(5, n + 5),
        "day": [str(d) for d in np.datetime64("2020-01-01") + rng.integers(0, 900, n)],
        "colour": rng.choice(["red", "green", "blue", "n/a"], n, p=[0.5, 0.3, 0.1, 0.1]),
        "note": [f"note {i} of {k}" for i, k in enumerate(rng.integers(0, 10**9, n))],
        "code": [f"{k:05d}" for k in rng.integers(0, 12, n)],
        "none": None,
    })  # fmt: skip
    made["label"] = np.where(made.number + 9 * (made.colour == "red") > 42, "yes", "no")
    made.loc[rng.random(n) < 0.1, "number"] = np.nan
    return made


def written(folder: Path, whole: pd.DataFrame, sizes: Sequence[int], form: str) -> list[str]:
    """The rows in so many files."""
    files, start = [], 0
    for i, size in enumerate(sizes):
        part = whole.iloc[start : start + size]
        path = folder / f"{i:02d}.{form}"
        if form == "parquet":
            part.drop(columns="none").to_parquet(path, index=False)
        else:
            part.to_csv(path, index=False)
        files.append(str(path))
        start += size
    assert start == len(whole)
    return files


class Shuffled(Here):
    """Workers that end in any order."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def run(
        self,
        task: Callable[..., Any],
        shared: object,
        items: Iterable[Any],
        stop: Callable[[], bool] = lambda: False,
    ) -> Generator[Outcome, None, None]:
        outcomes = list(super().run(task, shared, items, stop))
        self._random.shuffle(outcomes)
        yield from outcomes


def schema(source: Source) -> str:
    """Everything that the statistics decide, to the last digit."""
    prepared = training.prepare(source, SETTINGS)
    digest = [prepared.X[part].tobytes() for part in sorted(prepared.X)]
    return json.dumps(prepared.schema.to_dict()) + repr(hash(tuple(digest)))


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_whoever_looks_at_a_file(form: str, tmp_path: Path) -> None:
    files = written(tmp_path, frame(), [150, 1, 99, 150], form)
    expected = schema(Files(files, Reading()))
    for seed in range(3):
        source = Files(files, Reading())
        with source.on(Shuffled(seed)):
            assert schema(source) == expected


@pytest.mark.parametrize("engine", ENGINES)
def test_on_workers(engine: str, tmp_path: Path) -> None:
    from chainrule import places

    files = written(tmp_path, frame(), [150, 1, 99, 150], "csv")
    expected = schema(Files(files, Reading()))
    for workers in (1, 2):
        source = Files(files, Reading())
        with places.opened(f"{engine}://local:{workers}") as place, source.on(place):
            assert schema(source) == expected


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize(
    "sizes", [[400], [200, 200], [0, 400], [133, 0, 134, 133], [*[1] * 20, 380]]
)
def test_what_is_found_is_that_of_one_file(sizes: list[int], form: str, tmp_path: Path) -> None:
    """The same columns with the same numbers, to rounding."""
    whole = frame()
    (tmp_path / "parts").mkdir()
    (one,) = written(tmp_path, whole, [400], form)
    several = written(tmp_path / "parts", whole, sizes, form)
    of_one = training.prepare(open_table(one), SETTINGS).schema
    of_many = training.prepare(Files(several, Reading()), SETTINGS).schema
    assert of_many.left_out == of_one.left_out
    assert of_many.target == of_one.target
    for a, b in zip(of_many.columns, of_one.columns, strict=True):
        assert (a.name, a.kind, a.words, a.form) == (b.name, b.kind, b.words, b.form)
        assert (a.categories, a.rares, a.low, a.high) == (b.categories, b.rares, b.low, b.high)
        np.testing.assert_allclose(a.mean, b.mean, rtol=1e-14)
        np.testing.assert_allclose(a.scale, b.scale, rtol=1e-12)
    if sizes == [400]:
        assert of_many.columns == of_one.columns  # to the bit


def test_the_mean_is_that_of_numpy(tmp_path: Path) -> None:
    whole = frame(1000)
    files = written(tmp_path, whole, [300, 700], "csv")
    prepared = training.prepare(Files(files, Reading()), SETTINGS)
    column = next(c for c in prepared.schema.columns if c.name == "far")
    parts = training.prepare(open_table(written_one(tmp_path, whole)), SETTINGS)
    again = next(c for c in parts.schema.columns if c.name == "far")
    assert column.mean == again.mean
    np.testing.assert_allclose(column.scale, again.scale, rtol=1e-14)
    assert abs(column.mean[0] - (1e15 + 4)) < 0.5


def written_one(folder: Path, whole: pd.DataFrame) -> str:
    whole.to_csv(folder / "whole.csv", index=False)
    return str(folder / "whole.csv")


FAULTS = {
    "a text among numbers": ("number", 3, "many"),
    "an impossible date": ("day", 2, "2024-02-31"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_place_of_a_fault_is_in_its_file(fault: str, tmp_path: Path) -> None:
    name, row, text = FAULTS[fault]
    whole = frame().astype({name: object})
    whole.loc[200 + row, name] = text
    files = written(tmp_path, whole, [100, 100, 200], "csv")
    with pytest.raises(TableError, match=rf"02\.csv, line {row + 2}, column .*{text}"):
        profile.look(Files(files, Reading()), "label", MISSING, profile.Wishes())


def test_the_fault_of_the_first_file_is_told_whoever_is_faster(tmp_path: Path) -> None:
    files = written(tmp_path, frame(), [100, 100, 200], "csv")
    for file in files[1:]:
        with open(file, "a", encoding="utf-8") as opened:
            opened.write("1,2\n")
    for seed in range(4):
        source = Files(files, Reading())
        with source.on(Shuffled(seed)), pytest.raises(TableError, match=r"01\.csv, line 102"):
            schema(source)


def test_files_that_are_not_of_one_table(tmp_path: Path) -> None:
    files = written(tmp_path, frame(), [200, 200], "csv")
    pd.read_csv(files[1]).drop(columns="day").to_csv(files[1], index=False)
    with pytest.raises(TableError, match=r"01\.csv lacks 'day'; the first file has 'number'"):
        schema(Files(files, Reading()))
    pd.read_csv(files[0]).assign(more=1).to_csv(files[1], index=False)
    with pytest.raises(TableError, match=r"01\.csv has more columns, 'more'"):
        schema(Files(files, Reading()))
    numbers = frame(200).assign(label=1.0).drop(columns="none")
    numbers.to_parquet(tmp_path / "a.parquet")
    frame(200).drop(columns="none").to_parquet(tmp_path / "b.parquet")
    both = [str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet")]
    with pytest.raises(TableError, match=r"is a number in some files of .* and a text in others"):
        schema(Files(both, Reading()))


def test_columns_may_stand_in_another_order_and_have_other_types(tmp_path: Path) -> None:
    whole = frame()
    files = written(tmp_path, whole, [200, 200], "parquet")
    expected = training.prepare(Files(files, Reading()), SETTINGS).schema
    part = pd.read_parquet(files[1])
    part["counter"] = part["counter"].astype(float)  # as pandas writes whole numbers with gaps
    part[sorted(part)].to_parquet(files[1], index=False)
    assert str(pq.read_schema(files[1]).field("counter").type) == "double"
    assert training.prepare(Files(files, Reading()), SETTINGS).schema == expected


def test_more_rows_than_a_batch(tmp_path: Path) -> None:
    n = BATCH + 1000
    rng = np.random.default_rng(0)
    whole = pd.DataFrame({"x": rng.normal(size=n), "label": rng.choice(["a", "b"], n)})
    whole.to_parquet(tmp_path / "a.parquet", index=False)
    whole.to_parquet(tmp_path / "b.parquet", index=False)
    source = Files([str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet")], Reading())
    found = profile.look(source, "label", MISSING, profile.Wishes())
    assert (found.n_rows, source.counts) == (2 * n, [n, n])
    assert source.place(n + 3, "x").endswith("b.parquet, row 3, column 1 (x)")


def test_train_on_a_pattern(run: Run, tmp_path: Path) -> None:
    Path("parts").mkdir()
    written(Path("parts"), frame(), [100, 300], "csv")
    command = ("train", "parts/*.csv", "--target", "label", "--epochs", "2", "--no-plot")
    code, out, err = run(*command, "--out", "model")
    assert code == 0, err
    assert "parts/00.csv and 1 more file: 400 rows" in out
    code, _, err = run(*command, "--out", "other", "--workers", "nowhere")
    assert (code, "--workers is 'nowhere'" in err) == (2, True)
    code, _, err = run("train", "parts/00.csv", *command[2:], "--out", "o", "--workers", "dask://x")
    assert code == 2
    assert "--workers shares files out; expected a pattern" in err


@pytest.mark.needs("dask")
def test_train_on_workers(run: Run) -> None:
    Path("parts").mkdir()
    written(Path("parts"), frame(), [100, 300], "csv")
    command = ("train", "parts/*.csv", "--target", "label", "--epochs", "2", "--no-plot")
    assert run(*command, "--out", "here")[0] == 0
    code, _, err = run(*command, "--out", "there", "--workers", "dask://local:2")
    assert code == 0, err
    assert Path("here").read_bytes() == Path("there").read_bytes()
