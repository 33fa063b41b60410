"""chainrule.ray.Predictor: batches of every format, and a dataset of Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import chainrule as cr
from chainrule import cli
from chainrule.ray import Predictor
from tests.cli.people import TRAIN, people
from tests.clusters import Clusters

DATA = people(90, seed=1).drop(columns=["label", "empty"])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        frame = people().drop(columns=["empty"])
        frame.to_csv("people.csv", index=False)
        assert cli.main([*TRAIN, "--epochs", "2", "--no-plot"]) == 0
    return str(folder / "model")


def test_batches_of_each_format(model: str) -> None:
    expected = cr.load_table(model).predict(DATA)
    predictor = Predictor(model, keep=["id"])
    frame = predictor(DATA)
    assert list(frame) == ["id", "label", "probability_no", "probability_yes"]
    pd.testing.assert_frame_equal(frame.drop(columns="id"), expected)
    assert list(frame.id) == list(DATA.id)
    table = predictor(pa.Table.from_pandas(DATA, preserve_index=False))
    assert isinstance(table, pa.Table)
    assert table.to_pandas().equals(frame.reset_index(drop=True).astype(table.to_pandas().dtypes))
    arrays = predictor({name: DATA[name].to_numpy() for name in DATA})
    assert set(arrays) == set(frame)
    np.testing.assert_array_equal(arrays["probability_yes"], expected["probability_yes"])


def test_refusals(model: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="model is a int; expected a model that cr"):
        Predictor(3)
    with pytest.raises(FileNotFoundError):
        Predictor(tmp_path / "none")
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        Predictor(model, threads=0)
    with pytest.raises(ValueError, match="there is no column 'nope' to keep; there is 'id'"):
        Predictor(model, keep=["nope"])(DATA)
    with pytest.raises(ValueError, match="lacks column 'age'"):
        Predictor(model)(DATA.drop(columns="age"))


@pytest.mark.needs("ray")
@pytest.mark.filterwarnings("ignore")  # those of Ray Data itself
@pytest.mark.parametrize("form", ["pyarrow", "pandas", "numpy"])
def test_a_dataset_of_ray(form: str, model: str, clusters: Clusters, tmp_path: Path) -> None:
    import ray

    DATA.to_parquet(tmp_path / "data.parquet")
    assert clusters["ray"] is not None
    dataset = ray.data.read_parquet(str(tmp_path / "data.parquet")).repartition(3)
    options: dict[str, Any] = {"batch_format": form, "concurrency": 1}
    found = dataset.map_batches(
        Predictor, fn_constructor_args=[model], fn_constructor_kwargs={"keep": ["id"]}, **options
    ).to_pandas()
    found = found.sort_values("id", ignore_index=True)
    expected = cr.load_table(model).predict(DATA)
    np.testing.assert_array_equal(found["probability_yes"], expected["probability_yes"])
    assert list(found["label"]) == list(expected["label"])
