"""A table of people, and the command line in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chainrule import cli
from chainrule.tables import model as models

Result = tuple[int, str, str]
Run = Callable[..., Result]
TRAIN = ("train", "people.csv", "--recipe", "plain", "--target", "label", "--out", "model")
TUNED = ("train", "people.csv", "--target", "label", "--out", "model")


def people(n: int = 240, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({
        "id": np.arange(n),
        "age": np.round(rng.normal(40, 12, n), 1),
        "colour": rng.choice(["red", "green", "blue"], n),
        "joined": pd.to_datetime("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), "D"),
        "note": [f"note {i} of {k}" for i, k in enumerate(rng.integers(0, 10**9, n))],
        "planet": "earth",
        "empty": None,
    })  # fmt: skip
    z = (frame.age - 40) / 6 + 2.0 * (frame.colour == "red")
    frame["label"] = np.where(z + rng.normal(0, 0.3, n) > 0.7, "yes", "no")
    frame.loc[rng.random(n) < 0.1, "age"] = np.nan
    return frame


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    people().to_csv("people.csv", index=False)
    return tmp_path


@pytest.fixture
def run(folder: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command line in this process; give exit code, output and errors."""

    def run(*arguments: str) -> Result:
        code = cli.main(arguments)
        printed = capfd.readouterr()
        return code, printed.out, printed.err

    return run


def loaded(path: str = "model") -> models.TableModel:
    model = models.load(path)
    assert model is not None
    return model


def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "chainrule", *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
        env=os.environ | {"TMPDIR": "temporary"}, **options,
    )  # fmt: skip
