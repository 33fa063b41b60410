"""Clusters that the commands of Dask and Ray have started, at the addresses that users pass."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import chainrule as cr
from chainrule import distributed
from chainrule.cli import main
from tests.live import ENVIRONMENT, Live, LiveRay, live

# Each address is used in a process of its own, as that of a user: Ray remembers the first token.
SCRIPT = """
import sys
from pathlib import Path
sys.path[:0] = [sys.argv[1]]
from tests.places import test_live
test_live.train(sys.argv[2], Path(sys.argv[3]))
"""
ROOT = Path(__file__).parent.parent.parent
X = np.random.default_rng(0).normal(size=(300, 4))
SETTINGS: dict[str, Any] = {"epochs": 3, "batch_size": 24, "micro_batches": 6, "verbose": 0}


def digests(on: Any) -> list[str]:
    """Train one network, and many."""
    one = cr.Network([4, 6, 4], seed=1, dropout=0.1, dtype="float32")
    distributed.fit(one, (X, X), on=on, workers=(1, 2), **SETTINGS)
    many = [cr.Network([4, 5, 4], seed=seed) for seed in range(4)]
    cr.fit_many(many, X, X, epochs=2, on=on, verbose=0)
    return [hashlib.sha256(net.parameters.tobytes()).hexdigest() for net in (one, *many)]


def train(on: str, folder: Path) -> None:
    """Do all that takes an address, and say what came of it."""
    parts, out = str(folder / "data" / "*.csv"), str(folder / "out")
    model = str(folder / "model")
    codes = [main(["predict", model, parts, "--workers", on, "--out", out])]
    print(json.dumps({"codes": codes, "digests": digests(on)}), flush=True)


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[Live]:
    """A cluster of two nodes."""
    with live(request.param, 2) as cluster:
        yield cluster


def called(cluster: Live, on: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Use an address in another process."""
    script = folder / "script.py"
    script.write_text(SCRIPT)
    return subprocess.run(
        [sys.executable, script, str(ROOT), on, str(folder)], capture_output=True, text=True,
        env=ENVIRONMENT | cluster.env | env, timeout=300,
    )  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A model, and two files to predict."""
    table = pd.DataFrame(X[:60], columns=[*"abcd"])
    (tmp_path / "data").mkdir()
    for i in range(2):
        table[i * 30 : i * 30 + 30].to_csv(tmp_path / "data" / f"{i}.csv", index=False)
    table.to_csv(tmp_path / "all.csv", index=False)
    paths = ["train", str(tmp_path / "all.csv"), "--out", str(tmp_path / "model")]
    assert main([*paths, "--target", "d", "--epochs", "2", "--no-plot"]) == 0
    return tmp_path


@pytest.mark.parametrize(
    ("cluster", "way"),
    [
        pytest.param("dask", "HOST:PORT", marks=pytest.mark.needs("dask")),
        pytest.param("ray", "HOST:PORT", marks=pytest.mark.needs("ray-client")),
        pytest.param("ray", "auto", marks=pytest.mark.needs("ray")),
    ],
    indirect=["cluster"],
)
def test_an_address_gives_the_bits_of_this_process(way: str, cluster: Live, files: Path) -> None:
    """From outside of the cluster (with Ray, through Ray Client), and from one of its machines."""
    on, env = cluster.address, dict[str, str]()
    if isinstance(cluster, LiveRay) and way == "auto":
        on, env = "ray://auto", {"RAY_ADDRESS": cluster.inside}
    run = called(cluster, on, files, **env)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout.splitlines()[-1]) == {"codes": [0], "digests": digests(None)}
    out = {file.name: len(pd.read_csv(file)) for file in (files / "out").glob("*.csv")}
    assert out == {"0.csv": 30, "1.csv": 30}
