"""Spark: mapInPandas with the model of a table, as docs/how-to/cluster.md shows it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import cli
from tests.cli.people import TRAIN, people

DATA = people(60, seed=1)[["id", "age", "colour"]]


@pytest.fixture
def spark(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A session of two threads."""
    from pyspark.sql import SparkSession

    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    session = builder.getOrCreate()
    yield session
    session.stop()


@pytest.mark.needs("spark")
@pytest.mark.filterwarnings("ignore")  # those of PySpark itself
def test_map_in_pandas(spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    people()[["age", "colour", "label"]].to_csv("people.csv", index=False)
    assert cli.main([*TRAIN, "--epochs", "2", "--no-plot"]) == 0
    DATA.to_parquet("data.parquet", index=False)
    spark.sparkContext.addFile(str(tmp_path / "model"))

    def predict(frames: Iterator[Any]) -> Iterator[Any]:
        from pyspark import SparkFiles

        import chainrule

        model = chainrule.load_table(SparkFiles.get("model"))
        for frame in frames:
            yield model.predict(frame.drop(columns="id")).assign(id=frame["id"])

    schema = "label string, probability_no float, probability_yes float, id long"
    table = spark.read.parquet(str(tmp_path / "data.parquet")).repartition(3)
    found = table.mapInPandas(predict, schema=schema).toPandas().sort_values("id")
    expected = cr.load_table("model").predict(DATA.drop(columns="id"))
    assert list(found["label"]) == list(expected["label"])
    np.testing.assert_array_equal(found["probability_yes"], expected["probability_yes"])
