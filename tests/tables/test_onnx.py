"""The model of a table in ONNX: onnxruntime predicts from the columns what the model predicts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import chainrule as cr
from chainrule.tables.model import TableModel
from chainrule.tables.onnx import to_onnx
from chainrule.tables.opening import open_table
from chainrule.tables.prediction import Prediction
from chainrule.tables.schema import DATE_PARTS, Column, Schema, Target
from chainrule.tables.source import Reading

pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

MISSING = ("", "NA", "-999")
COLUMNS = (
    Column("size", "number", True, ("value",), (3.0,), (4.0,), (2.0,)),
    Column("weight", "number", False, ("value",), (-1.0,), (0.25,), (0.5,)),
    Column(
        "day",
        "date",
        True,
        DATE_PARTS,
        (1e4, *[0.1] * 6),
        (1e8, *[0.5] * 6),
        (1e4, *[0.7] * 6),
        clip=3.0,
        bins=(-1e5, 0.0, 2e4),
    ),
    Column(
        "robust",
        "number",
        True,
        ("value",),
        (3.0,),
        (4.0,),
        (2.0,),
        clip=2.0,
        bins=(-1.0, 0.5, 3.0, 4.25, 9.0),
    ),
    Column("colour", "category", True, categories=("blue", "red"), rare=True, rares=("pink",)),
    Column("plain", "category", categories=("False", "True")),
)


def model(target: Target, dtype: str = "float32", columns: Any = COLUMNS) -> TableModel:
    schema = Schema(columns, (), target, MISSING)
    many = target.task == "classify"
    more: Any = {"output": "softmax", "loss": "cross_entropy"} if many else {}
    sizes = [len(schema.inputs), 8, len(schema.outputs)]
    return TableModel(cr.Network(sizes, hidden="tanh", dtype=dtype, seed=4, **more), schema)


def frame(n: int = 400) -> pd.DataFrame:
    """Days of nine centuries, leap years among them; missing, rare and new values."""
    rng = np.random.default_rng(0)
    seconds = rng.integers(-370 * 31556952, 530 * 31556952, n)
    ends = ["1900-02-28", "1900-03-01", "2000-02-29", "2000-03-01", "2100-03-01"]
    ends += ["2000-01-01", "2000-12-31", "2001-12-31", "1600-01-01"]
    for i, day in enumerate(ends):  # rows 5 and 16 will have no date
        seconds[i + 17 if i > 3 else i] = np.datetime64(day, "s").astype(int)
    days = np.array(seconds, "datetime64[s]")
    made = pd.DataFrame({
        "size": np.round(rng.normal(3, 2, n), 3), "weight": np.round(rng.normal(-1, 0.5, n), 3),
        "day": pd.Series(days).dt.strftime("%Y-%m-%dT%H:%M:%S").to_numpy(object),
        "colour": rng.choice(["blue", "red", "pink", "new", "NA", ""], n),
        "plain": rng.choice(["True", "true", "FALSE", "other", ""], n), "seconds": seconds,
    })  # fmt: skip
    made["robust"] = np.round(rng.normal(3, 3, n), 3)
    made.loc[4::7, "robust"] = np.nan
    made.loc[5::70, "robust"] = 1e20
    made.loc[::7, "size"] = np.nan
    made.loc[1::7, "size"] = -999
    made.loc[3::9, "weight"] = np.nan
    made.loc[5::11, "day"] = ""
    return made


def both(table: TableModel, folder: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """What the model predicts for the rows, and what onnxruntime does."""
    rows = frame()
    rows.drop(columns="seconds").to_csv(folder / "rows.csv", index=False)
    source = open_table(str(folder / "rows.csv"), Reading())
    own = pd.concat(batch.to_pandas() for batch in Prediction(table, source).batches())
    to_onnx(table, folder / "table.onnx")
    session = runtime.InferenceSession(folder / "table.onnx")
    rows["day"] = np.where(rows.day == "", np.nan, rows.seconds)
    feed = {
        i.name: rows[i.name].to_numpy(object if i.type == "tensor(string)" else float)[:, None]
        for i in session.get_inputs()
    }
    assert list(feed) == [column.name for column in COLUMNS]
    names = [o.name for o in session.get_outputs()]
    return own, dict(zip(names, session.run(None, feed), strict=True))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("kind", "classes"), [
    ("text", ("no", "perhaps", "yes")), ("integer", ("0", "1", "2")), ("integer", ("-3", "5")),
    ("number", ("0.5", "1.25")),
])  # fmt: skip
def test_classes(kind: Any, classes: tuple[str, ...], dtype: str, tmp_path: Path) -> None:
    own, found = both(model(Target("what", "classify", kind, classes), dtype), tmp_path)
    assert list(found) == ["label", "probabilities"]
    assert found["label"].tolist() == own["what"].tolist()
    assert len(set(own["what"])) > 1
    expected = own[[f"probability_{name}" for name in classes]].to_numpy()
    np.testing.assert_allclose(found["probabilities"], expected, rtol=2e-5, atol=1e-6)


def test_a_number(tmp_path: Path) -> None:
    own, found = both(model(Target("what", "regress", "number", (), 50.0, 4.0)), tmp_path)
    assert own["what"].std() > 0.5
    np.testing.assert_allclose(found["variable"][:, 0], own["what"], rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_several_networks_predict_their_mean(dtype: str, tmp_path: Path) -> None:
    for target in (Target("what", "regress", "number", (), 50.0, 4.0),
                   Target("what", "classify", "text", ("a", "b", "c"))):  # fmt: skip
        one = model(target, dtype)
        others = tuple(one.network.copy() for _ in range(2))
        for i, network in enumerate(others):
            network.parameters[...] *= 0.2 * i
        whole = replace(one, others=others)
        own, found = both(whole, tmp_path)
        alone, _ = both(one, tmp_path)
        values = own.drop(columns="what") if target.classes else own[["what"]]
        np.testing.assert_allclose(list(found.values())[-1], values, rtol=2e-5, atol=1e-6)
        assert not np.allclose(values, alone[list(values)])


def test_a_column_named_like_an_output(tmp_path: Path) -> None:
    label = Column("label", "number", False, ("value",), (0.0,), (1.0,), (1.0,))
    table = model(Target("what", "classify", "text", ("a", "b")), columns=(label,))
    with pytest.raises(ValueError, match="column 'label' has the name of another part of the gra"):
        to_onnx(table, tmp_path / "table.onnx")
    assert not (tmp_path / "table.onnx").exists()
