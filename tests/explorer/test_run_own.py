"""Pages of a recorded run of a `Network`: complete from the folder alone; how its life is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import chainrule as cr
from chainrule.diagnose import folder as folders
from tests.explorer.pages_of import entered, number, points, rows, said

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 4))
Y = (X[:, 0] - X[:, 1] > 0).astype(float)
Y[17] = 1 - Y[17]


def fitted(folder: Path, epochs: int = 12, **options: Any) -> cr.Network:
    net = cr.Network(
        [4, 6, 1], hidden="tanh", output="sigmoid", loss="binary_cross_entropy", seed=1
    )
    settings: dict[str, Any] = {"optimizer": cr.Adam(0.02), "batch_size": 20, "verbose": 0}
    net.fit(X, Y, epochs=epochs, watch=folder, **{**settings, **options})
    return net


@pytest.fixture(scope="module")
def explorer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[cr.RunExplorer]:
    folder = tmp_path_factory.mktemp("watched") / "run"
    fitted(folder)
    explorer = cr.explore_run(folder)
    yield explorer
    explorer.stop()


@pytest.fixture
def client(explorer: cr.RunExplorer) -> Iterator[httpx.Client]:
    with entered(explorer) as client:
        yield client


def test_the_page_has_the_numbers_of_the_record(
    client: httpx.Client, explorer: cr.RunExplorer
) -> None:
    page, run = client.get("/"), explorer.run
    assert "Network 4-6-1" in said(page)
    assert "120 steps with Adam" in said(page)
    assert "The run has ended." in said(page)
    losses = points(page.text, "Loss of each batch")
    assert [(p[0], p[2]) for p in losses] == [(s["step"], number(s["loss"])) for s in run.steps]
    layers = [[r[0], r[2], r[4]] for r in rows(page, "Norms of the parameters")]
    assert layers == [[x.name, number(x.gradient), number(x.ratio)] for x in run.layers()]
    assert rows(page, "Rows that were hard")[0][0] == "17"


def test_weights_and_steps_open_without_anything_passed(
    client: httpx.Client, explorer: cr.RunExplorer
) -> None:
    move = explorer.run.why_moved("w[1][1,2]", 93)
    page = client.get("/find", params={"what": "w[1][1,2]"})
    assert "<h1>Why W[1][1,2] moved in step 119</h1>" in page.text
    page = client.get("/why", params={"target": "w[1][1,2]", "step": 93})
    assert move.reason in said(page)
    again = explorer.run.replay(93)
    page = client.get("/again", params={"step": 93})
    assert "The same bits as in the run" in said(page)
    found = {r[0]: r[1] for r in rows(page, "Norms of the gradients")}
    gradient = again.gradient
    assert found == {
        name: number(float(np.linalg.norm(gradient[name])))
        for name in ("W[1]", "b[1]", "W[2]", "b[2]")
    }
    for target in ("W[1][1,2]", "w[1][1,2]"):
        page = client.get("/explain", params={"target": target, "step": 93})
        assert "<h1>w[1][1,2]</h1>" in page.text
        assert f"{gradient['W[1]'][1, 2]:.6g}".lstrip("-") in said(page)
    page = client.get("/explain", params={"target": "W[1]", "step": 93})
    assert "Did you mean W[2] or W[1]? Frozen ones are not recorded. Back to step 93" in said(page)


class Broken(cr.Callback):
    """Ends a run with an error."""

    def on_epoch_end(self, run: Any) -> None:
        if run.epoch == 3:
            raise RuntimeError("the disk is full")


def test_a_run_that_an_error_ended_says_so(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="the disk is full"):
        fitted(tmp_path / "run", callbacks=[Broken()])
    explorer = cr.explore_run(tmp_path / "run")
    assert explorer.run.state == "ended"
    with entered(explorer) as client:
        page = said(client.get("/"))
        assert "The run ended with RuntimeError: the disk is full." in page
        assert "30 steps with Adam" in page
    explorer.stop()


def test_a_run_that_is_resumed_goes_on(tmp_path: Path) -> None:
    fitted(tmp_path / "run", 4, checkpoint=tmp_path / "kept")
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    about["writer"]["process"] = 2**22 + 1  # as if another process, which is gone, had written it
    (tmp_path / "run" / "run.json").write_text(json.dumps(about))
    states = []

    class Look(cr.Callback):
        def on_epoch_end(self, run: Any) -> None:
            states.append(cr.load_run(tmp_path / "run").state)

    assert cr.load_run(tmp_path / "run").state == "ended"
    (tmp_path / "run" / folders.END).unlink()
    assert cr.load_run(tmp_path / "run").state == "died"
    fitted(
        tmp_path / "run", 6, checkpoint=tmp_path / "kept", resume=True, callbacks=[Look()]
    )  # fmt: skip
    assert states[-1] == "running"
    assert cr.load_run(tmp_path / "run").state == "ended"
    assert len(cr.load_run(tmp_path / "run").steps) == 60
