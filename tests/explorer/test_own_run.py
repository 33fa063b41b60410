"""The pages of a recorded run of our own network: they take its steps again by themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import chainrule as cr

pytest.importorskip("fastapi")
from tests.explorer.pages_of import entered, said


def test_pages_open_moves_steps_and_numbers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(48, 3))
    net = cr.Network([3, 4, 2], output="softmax", loss="cross_entropy", seed=0, hidden="tanh")
    net.fit(X, (X[:, 0] > 0).astype(int), batch_size=8, epochs=5, verbose=0,
            watch=tmp_path / "run")  # fmt: skip
    run = cr.load_run(tmp_path / "run")
    for given in (run, tmp_path / "run"):
        explorer = cr.explore_run(given)
        with entered(explorer) as client:
            assert "W[1]" in said(client.get("/"))
            why = said(client.get("/why", params={"target": "w[1][2,1]", "step": 20}))
            assert run.why_moved("w[1][2,1]", 20).reason in why
            again = said(client.get("/again", params={"step": 20}))
            assert "The same bits as in the run" in again
            assert "b[2]" in again
            number = client.get("/explain", params={"step": 20, "target": "W[1][2,1]"})
            assert number.status_code == 200
            value = run.replay(20).explain("w[1][2,1]").value
            assert f"{value:.6g}" in said(number)
        explorer.stop()
