"""Models of tables in Python: dataframes and rows, beside the same table in a file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import chainrule as cr
from chainrule.tables.frames import TableModel
from chainrule.tables.opening import open_table
from chainrule.tables.prediction import Prediction
from chainrule.tables.schema import Column, Schema, Target

COLUMNS = (
    Column("size", "number", True, ("value",), (3.0,), (4.0,), (2.0,), low=(-5.0,), high=(9.0,)),
    Column("weight", "number", False, ("value",), (-1.0,), (0.25,), (0.5,)),
    Column("day", "date", False, ("days",), (19000.0,), (1e4,), (100.0,)),
    Column("colour", "category", True, categories=("blue", "red"), rare=True, rares=("pink",)),
    Column("plain", "category", categories=("False", "True")),
)
CLASSES = Target("quality", "classify", "text", ("bad", "fair", "good"))
NUMBER = Target("price", "regress", "number", mean=10.0, scale=4.0)


def model(target: Target = CLASSES) -> TableModel:
    schema = Schema(COLUMNS, (), target, ("", "NA"))
    many = target.task == "classify"
    more: Any = {"output": "softmax", "loss": "cross_entropy"} if many else {}
    sizes = [len(schema.inputs), 8, len(schema.outputs)]
    net = cr.Network(sizes, hidden="tanh", dtype="float32", seed=4, **more)
    return TableModel(net, schema)


def frame(n: int = 20) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    made = pd.DataFrame({
        "colour": rng.choice(["blue", "red", "pink"], n), "size": rng.normal(3, 2, n),
        "weight": rng.normal(-1, 0.5, n),
        "day": pd.Timestamp("2022-01-08") + pd.to_timedelta(rng.integers(0, 99, n), "D"),
        "plain": rng.choice([True, False], n),
    })  # fmt: skip
    made.loc[3, "size"] = np.nan
    made.loc[4, "colour"] = None
    made.index = pd.Index(range(100, 100 + n), name="id")
    return made


def of_file(table: TableModel, data: pd.DataFrame, folder: Path) -> pa.Table:
    path = folder / "data.parquet"
    data.to_parquet(path, index=False)
    return pa.concat_tables(Prediction(table, open_table(path)).batches())


@pytest.mark.parametrize("target", [CLASSES, NUMBER])
def test_every_kind_of_table_is_predicted_as_a_file_is(target: Target, tmp_path: Path) -> None:
    table, data = model(target), frame()
    expected = of_file(table, data, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = table.predict(data)
        assert isinstance(found, pd.DataFrame)
        assert (found.index == data.index).all()
        assert found.to_dict("list") == expected.to_pydict()
        of_polars = table.predict(pl.from_pandas(data))
        assert isinstance(of_polars, pl.DataFrame)
        assert of_polars.to_dict(as_series=False) == expected.to_pydict()
        assert table.predict(pa.Table.from_pandas(data, preserve_index=False)) == expected
        rows = data.to_dict("records")
        assert table.predict(rows) == expected.to_pylist()
        assert table.predict(rows[0]) == expected.to_pylist()[:1]
        for row in rows:
            row["day"] = row["day"].isoformat()
        assert table.predict(rows) == expected.to_pylist(), "as JSON has them"


def test_a_file_is_loaded_with_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "quality.model"
    model().save(path)
    loaded = cr.load_table(path)
    assert loaded.schema == model().schema
    assert loaded.predict(frame()).equals(model().predict(frame()))
    loaded.save(tmp_path / "again.model")
    assert (tmp_path / "again.model").read_bytes() == path.read_bytes()
    cr.Network([2, 1], seed=0).save(tmp_path / "net")
    with pytest.raises(ValueError, match=r"net is a network without columns; .*cr\.load reads"):
        cr.load_table(tmp_path / "net")


def test_what_is_new_is_a_warning() -> None:
    data = frame()
    data["other"] = 1
    data.loc[105, "colour"] = "mauve"
    data.loc[106, "size"] = 1000.0
    data.loc[107, "weight"] = np.nan
    with pytest.warns(UserWarning, match="column") as caught:
        model().predict(data)
    said = "\n".join(str(warning.message) for warning in caught)
    assert {Path(warning.filename).name for warning in caught} == {"test_frames.py"}
    for words in ("does not know are ignored: 'other'", "new categories, treated as rare: 'mauve'",
                  "1 value far outside", "row 6, column 'size'",
                  "'weight' has no value in 1 row"):  # fmt: skip
        assert words in said, said


def test_bad_data_are_named() -> None:
    table, data = model(), frame()
    rows = data.to_dict("records")
    text = data.astype({"weight": object})
    text.loc[102, "weight"] = "heavy"
    for wrong, words in (
        (data.drop(columns=["weight", "day"]), "the data lacks columns 'weight', 'day'"),
        (data[:0], "the data has no rows"),
        ([], "the data has no rows"),
        (text, "row 2, column 'weight': .*'heavy'"),
        ([rows[0], {**rows[1], "weight": "heavy"}], "row 1, column 'weight': .*'heavy'"),
        ([{**rows[0], "weight": "heavy"}], "row 0, column 'weight': 'heavy' is not a usable numb"),
        ([rows[0], {**rows[1], "weight": True}], "row 1, column 'weight': .*'True', a bool"),
        ([{**rows[0], "weight": [1, 2]}], "column 'weight' holds values of type list"),
        ([{**rows[0], "weight": object()}], "column 'weight' holds a object"),
        ([{**rows[0], "weight": np.inf}], "row 0, column 'weight': 'inf'"),
        ([rows[0], {"size": 1.0}], "row 1 lacks columns 'weight', 'day', 'colour'"),
        ([{**rows[0], "day": "yesterday"}], "row 0, column 'day': 'yesterday'"),
    ):
        with pytest.raises(ValueError, match=words):
            table.predict(wrong)
    for other, words in ((3, "data is a int"), ("x.csv", "data is a str"),
                         ([1], "row 0 of data is a int"),
                         (np.zeros((2, 5)), "data is a ndarray")):  # fmt: skip
        with pytest.raises(TypeError, match=words):
            table.predict(other)


def test_explanations_use_the_names_of_columns() -> None:
    table, data = model(), frame()
    data["quality"] = np.resize(["bad", "good"], len(data))
    why = table.explain("x[size]", data)
    assert why.certificate.verdict == "pass"
    assert "size" in why.text()
    same = table.explain("x[size]", data[:1], label="bad")
    assert same.value == table.explain("x[0]", data[:1].assign(quality="bad")).value
    with pytest.raises(ValueError, match="has no column 'quality', the target"):
        table.explain("x[size]", frame())
