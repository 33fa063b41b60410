"""Recorded runs in TensorBoard and MLflow, as these read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.training.loggers import MLflowLogger, TensorBoardLogger

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 4))
Y = (X[:, 0] > 0).astype(int)
Y[[4, 9]] = 1 - Y[[4, 9]]


def own(folder: Path) -> Any:
    """A run of our own network, of 40 steps."""
    X_bad = X.copy()
    X_bad[40] = 1e3
    net = cr.Network([4, 5, 2], output="softmax", loss="cross_entropy", hidden="relu", seed=0)
    net.fit(
        X_bad, Y, optimizer=cr.Adam(cr.Cosine(1e-5, epochs=5)), epochs=5, batch_size=8, verbose=0,
        watch=cr.Watch(folder, every=3),
    )  # fmt: skip
    return cr.load_run(folder)


def of_torch(folder: Path, steps: int = 40) -> Any:
    """A run of PyTorch."""
    import torch

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    loss_fn = torch.nn.CrossEntropyLoss()
    run = cr.watch(model, optimizer, loss_fn, folder=folder, every=3)
    loop(run, steps)
    return run


def loop(run: Any, steps: int) -> None:
    import torch

    x, y = torch.tensor(X, dtype=torch.float32), torch.tensor(Y)
    for _ in range(steps):
        with run.step(x, y, rows=range(64)):
            run.optimizer.zero_grad()
            run.loss_fn(run.model(x), y).backward()
            run.optimizer.step()


KINDS = [own, pytest.param(of_torch, marks=pytest.mark.needs("torch"))]


def expected(run: Any) -> dict[str, list[tuple[int, float]]]:
    """What a log of the run has to hold, from the run as users read it."""
    found: dict[str, list[tuple[int, float]]] = {"loss": [], "learning_rate": []}
    for line in run.steps:
        found["loss"].append((line["step"], line["loss"]))
        found["learning_rate"].append((line["step"], line["rates"][0]))
        if line["step"] % 3 == 0:
            found.setdefault("gradient_norm", []).append((line["step"], line["norm"]))
            for layer in run.layers(line["step"]):
                for kind, value in (("weight", layer.weight), ("gradient", layer.gradient),
                                    ("update_ratio", layer.ratio)):  # fmt: skip
                    if kind != "update_ratio" or layer.weight:
                        name = layer.name.replace("[", ".").replace("]", "")
                        found.setdefault(f"{kind}/{name}", []).append((line["step"], value))
    return found


def scalars(folder: Path) -> tuple[dict[str, list[tuple[int, float]]], list[str]]:
    """What TensorBoard itself reads."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), {"scalars": 0, "tensors": 0}).Reload()
    found = {
        tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]
    }
    texts = [
        e.tensor_proto.string_val[0].decode()
        for tag in events.Tags()["tensors"]
        for e in events.Tensors(tag)
    ]
    return found, texts


def same(found: Any, wanted: Any, rel: float) -> None:
    assert found.keys() == wanted.keys()
    for name, points in wanted.items():
        assert [step for step, _ in found[name]] == [step for step, _ in points], name
        values = [value for _, value in points]
        np.testing.assert_allclose([v for _, v in found[name]], values, rel, 1e-30, err_msg=name)


@pytest.mark.needs("tensorboard")
@pytest.mark.filterwarnings("ignore")  # of TensorBoard's own packages
@pytest.mark.parametrize("make", KINDS)
def test_tensorboard_reads_each_step(make: Any, tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    TensorBoardLogger(tmp_path / "logs").log_run(tmp_path / "run" if make is own else run)
    found, texts = scalars(tmp_path / "logs" / "steps")
    noise = found.pop("noise_scale")
    assert [step for step, _ in noise] == list(range(0, 40, 3))
    assert noise[-1][1] == pytest.approx(run.noise_scale, rel=1e-6)
    same(found, expected(run), 1e-6)
    assert texts == [str(spike) for spike in run.spikes()]
    if make is own:
        assert len(texts) == 1
        assert "row 40 has the largest loss" in texts[0]


@pytest.mark.needs("tensorboard", "torch")
@pytest.mark.filterwarnings("ignore")
def test_a_second_call_adds_what_came_since(tmp_path: Path) -> None:
    run = of_torch(tmp_path / "run", 10)
    logger = TensorBoardLogger(tmp_path / "logs")
    logger.log_run(run)
    loop(run, 11)
    logger.log_run(run)
    found, _ = scalars(tmp_path / "logs" / "steps")
    found.pop("noise_scale")
    same(found, expected(run), 1e-6)


@pytest.mark.needs("mlflow")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", KINDS)
def test_mlflow_has_each_step(make: Any, tmp_path: Path) -> None:
    import mlflow

    run = make(tmp_path / "run")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    logger = MLflowLogger("watched", run_name="first", tracking_uri=uri)
    logger.log_run(run)
    if make is of_torch:
        loop(run, 7)
        logger.log_run(run)
    client = mlflow.MlflowClient(tracking_uri=uri)
    (there,) = client.search_runs([client.get_experiment_by_name("watched").experiment_id])
    assert (there.info.status, there.info.run_name) == ("FINISHED", "first")
    found = {}
    for name in there.data.metrics:
        history = sorted(client.get_metric_history(there.info.run_id, name), key=lambda m: m.step)
        found[name] = [(m.step, m.value) for m in history]
    assert found.pop("noise_scale")[-1][1] == pytest.approx(run.noise_scale)
    same(found, expected(run), 1e-12)
    params = there.data.params
    assert params["optimizer"] == ("Adam" if make is own else "SGD")
    if make is own:
        assert params["model"] == "Network 4-5-2"
        assert params["plan.batch_size"] == "8"
        assert "row 40 has the largest loss" in there.data.tags["spikes"]


@pytest.mark.needs("mlflow")
@pytest.mark.filterwarnings("ignore")
def test_an_active_run_of_mlflow_is_joined(tmp_path: Path) -> None:
    import mlflow

    own(tmp_path / "run")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_experiment("tests")
    try:
        with mlflow.start_run() as mine:
            MLflowLogger().log_run(tmp_path / "run")
            assert mlflow.active_run().info.status == "RUNNING"
        assert "gradient/W.1" in mlflow.get_run(mine.info.run_id).data.metrics
    finally:
        mlflow.set_tracking_uri(before)


@pytest.mark.needs("tensorboard")
@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (3, TypeError, "run is 3; expected a recorded run, or its folder"),
        ("nowhere", ValueError, "which holds no watched run"),
    ],
)
def test_bad_runs(run: Any, error: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        TensorBoardLogger(tmp_path / "logs").log_run(run)
    assert not (tmp_path / "logs").exists()


@pytest.mark.needs("tensorboard", "mlflow")
@pytest.mark.filterwarnings("ignore")
def test_the_command_writes_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import mlflow

    from chainrule import cli

    run, uri = own(tmp_path / "run"), f"sqlite:///{tmp_path}/mlflow.db"
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    logs = ["--tensorboard", str(tmp_path / "logs"), "--mlflow", "from the shell"]
    try:
        assert cli.main(["watch", str(tmp_path / "run"), *logs]) == 0
    finally:
        mlflow.set_tracking_uri(before)
    assert capsys.readouterr().out == ""
    found, _ = scalars(tmp_path / "logs" / "steps")
    found.pop("noise_scale")
    same(found, expected(run), 1e-6)
    client = mlflow.MlflowClient(tracking_uri=uri)
    there = client.search_runs([client.get_experiment_by_name("from the shell").experiment_id])
    assert [one.data.params["model"] for one in there] == ["Network 4-5-2"]
