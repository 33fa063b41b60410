"""Loggers: what they write is read again by other programs; a resumed run goes on in its log."""

from __future__ import annotations

import copy
import csv
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule.training.loggers
from chainrule.equations.optimizers import Adam, GradientDescent
from chainrule.equations.schedules import Cosine
from chainrule.network import Network
from chainrule.training.callbacks import Run
from chainrule.training.errors import NonFiniteError
from chainrule.training.history import History
from chainrule.training.loggers import CSVLogger, MLflowLogger, TensorBoardLogger

X = np.random.default_rng(0).normal(size=(60, 4))
Y = (X[:, 0] * X[:, 1] > 0).astype(int)


def fit(*callbacks: Any, epochs: int = 4, **options: Any) -> History:
    net = Network([4, 8, 2], output="softmax", loss="cross_entropy", seed=3)
    given: dict[str, Any] = {"validation_data": (X[:20], Y[:20]), "verbose": 0, "epochs": epochs}
    return net.fit(X, Y, callbacks=callbacks, **given | options)


def fail_in(epoch: int) -> Callable[[Run], None]:
    def fail(run: Run) -> None:
        if run.epoch == epoch:
            raise RuntimeError("killed")

    return fail


@pytest.fixture(params=["each", "late"])
def pace(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Rows are delivered at each epoch's end, or when the run has ended."""
    monkeypatch.setattr(
        chainrule.training.loggers, "_PAUSE", 0.0 if request.param == "each" else 1e9
    )
    return request.param


# --- CSV ------------------------------------------------------------------------------------------


def rows(path: Path) -> dict[str, list[float]]:
    with open(path, encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in read] for name in read[0]}


def test_csv_has_the_history_to_the_bit(tmp_path: Path) -> None:
    history = fit(CSVLogger(tmp_path / "log.csv"))
    assert rows(tmp_path / "log.csv") == dict(history)
    assert (tmp_path / "log.csv").read_text().startswith("epoch,loss,accuracy,val_loss,")
    history = fit(CSVLogger(str(tmp_path / "log.csv")), epochs=2)  # takes the place of the first
    assert rows(tmp_path / "log.csv") == dict(history)


def test_csv_while_the_run_goes_on(tmp_path: Path) -> None:
    def look(run: Run) -> None:
        assert rows(tmp_path / "log.csv") == dict(run.history)

    fit(CSVLogger(tmp_path / "log.csv"), look)


def test_csv_goes_on_when_a_run_is_resumed(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    with pytest.raises(RuntimeError, match="killed"):
        fit(CSVLogger(path), fail_in(3), checkpoint=tmp_path / "run", every=2)
    assert len(rows(path)["epoch"]) == 3
    path.write_text(path.read_text() + "4,0.1")  # a kill in the middle of a row
    history = fit(CSVLogger(path), checkpoint=tmp_path / "run", resume=True)
    assert rows(path) == dict(history)
    again = fit(CSVLogger(path), checkpoint=tmp_path / "run", resume=True)
    assert rows(path) == dict(again) == dict(history)


def test_csv_does_not_take_the_place_of_other_files(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("x,y\n1,2\n")
    with pytest.raises(ValueError, match=r"data\.csv' exists and was not written by CSVLogger"):
        fit(CSVLogger(tmp_path / "data.csv"))
    assert (tmp_path / "data.csv").read_text() == "x,y\n1,2\n"
    with pytest.raises(FileNotFoundError, match="none/log"):
        fit(CSVLogger(tmp_path / "none/log.csv"))
    with pytest.raises(IsADirectoryError):
        fit(CSVLogger(tmp_path))


# --- TensorBoard ----------------------------------------------------------------------------------


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard itself reads, in the names of the history."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = {}
    for part, before in (("train", ""), ("validation", "val_")):
        if (folder / part).exists():
            events = EventAccumulator(str(folder / part)).Reload()
            for tag in events.Tags()["scalars"]:
                found[before + tag] = [(e.step, e.value) for e in events.Scalars(tag)]
    return found


def expected(history: History) -> dict[str, list[tuple[int, float]]]:
    return {
        name: [(i, float(np.float32(x))) for i, x in enumerate(history[name], start=1)]
        for name in history
        if name != "epoch"
    }


@pytest.mark.needs("tensorboard")
@pytest.mark.filterwarnings("ignore")  # of TensorBoard's own packages
def test_tensorboard_reads_the_history(tmp_path: Path, pace: str) -> None:
    history = fit(TensorBoardLogger(tmp_path))
    assert scalars(tmp_path) == expected(history)
    history = fit(TensorBoardLogger(str(tmp_path)), epochs=6)  # takes the place of the first
    assert scalars(tmp_path) == expected(history)
    history = fit(TensorBoardLogger(tmp_path / "other"), validation_data=None, metrics=[])
    assert scalars(tmp_path / "other") == expected(history)


@pytest.mark.needs("tensorboard")
@pytest.mark.filterwarnings("ignore")
def test_tensorboard_goes_on_when_a_run_is_resumed(tmp_path: Path, pace: str) -> None:
    logs, run = tmp_path / "logs", tmp_path / "run"
    with pytest.raises(RuntimeError, match="killed"):
        fit(TensorBoardLogger(logs), fail_in(4), epochs=6, checkpoint=run, every=2)
    history = fit(TensorBoardLogger(logs), epochs=6, checkpoint=run, resume=True)
    assert scalars(logs) == expected(history)


@pytest.mark.needs("tensorboard")
@pytest.mark.filterwarnings("ignore")
def test_a_logger_that_comes_late_has_the_whole_history(tmp_path: Path) -> None:
    fit(epochs=2, checkpoint=tmp_path / "run")
    history = fit(TensorBoardLogger(tmp_path / "logs"), checkpoint=tmp_path / "run", resume=True)
    assert scalars(tmp_path / "logs") == expected(history)


@pytest.mark.needs("tensorboard")
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
def test_a_log_that_fails_does_not_end_the_run(tmp_path: Path, pace: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="TensorBoardLogger could not deliver .*the run goes on"):
        history = fit(TensorBoardLogger(tmp_path / "file/logs"))
    assert history.epoch == [1, 2, 3, 4]


# --- MLflow ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


def client(uri: str) -> Any:
    import mlflow

    return mlflow.MlflowClient(tracking_uri=uri)


def runs(uri: str, experiment: str) -> list[Any]:
    found = client(uri).get_experiment_by_name(experiment)
    return list(client(uri).search_runs([found.experiment_id]))


def metrics(uri: str, run: Any, history: History) -> dict[str, list[float]]:
    """Each epoch's numbers, once each."""
    found = {}
    for name in history:
        if name != "epoch":
            entries = client(uri).get_metric_history(run.info.run_id, name)
            found[name] = [m.value for m in sorted(entries, key=lambda m: m.step)]
            assert sorted({m.step for m in entries}) == list(range(1, len(history["epoch"]) + 1))
    return found


def measured(history: History) -> dict[str, list[float]]:
    return {name: column for name, column in history.items() if name != "epoch"}


mlflow_test = [pytest.mark.needs("mlflow"), pytest.mark.filterwarnings("ignore")]


class TestMLflow:
    pytestmark = mlflow_test

    def test_settings_and_numbers(self, uri: str, pace: str) -> None:
        name = f"all {pace}"
        history = fit(
            MLflowLogger(name, run_name="first", tracking_uri=uri),
            optimizer=Adam(Cosine(0.01, epochs=4)), batch_size=16,
        )  # fmt: skip
        (run,) = runs(uri, name)
        assert metrics(uri, run, history) == measured(history)
        assert (run.info.status, run.info.run_name) == ("FINISHED", "first")
        assert run.data.params.items() >= {
            "network.sizes": "[4, 8, 2]", "network.activations": "['relu', 'softmax']",
            "network.loss": "cross_entropy", "network.seed": "3", "optimizer": "Adam",
            "optimizer.beta1": "0.9", "optimizer.learning_rate": "Cosine",
            "optimizer.learning_rate.initial": "0.01", "batch_size": "16", "samples": "60",
            "epochs": "4",
        }.items()  # fmt: skip
        assert run.data.tags["best_epoch"] == str(history.best_epoch)

    def test_a_resumed_run_goes_on_in_its_own(self, uri: str, tmp_path: Path, pace: str) -> None:
        name = f"resumed {pace}"
        with pytest.raises(RuntimeError, match="killed"):
            fit(MLflowLogger(name, tracking_uri=uri), fail_in(3), checkpoint=tmp_path)
        assert runs(uri, name)[0].info.status == "FAILED"
        history = fit(MLflowLogger(name, tracking_uri=uri), checkpoint=tmp_path, resume=True)
        (run,) = runs(uri, name)
        assert run.info.status == "FINISHED"
        found = metrics(uri, run, history)
        for column in history:  # epoch 3 was sent twice, the same but for its time
            if column not in ("epoch", "seconds"):
                assert [*dict.fromkeys(found[column])] == [*dict.fromkeys(history[column])]

    def test_how_runs_end(self, uri: str) -> None:
        logger = MLflowLogger("ends", tracking_uri=uri)
        fit(logger, lambda run: run.stop("enough"))
        fit(logger, lambda run: run.stop("interrupted", finished=False))
        with pytest.raises(NonFiniteError):
            fit(logger, optimizer=GradientDescent(1.7e308))
        ends = {run.data.tags["stop_reason"]: run.info.status for run in runs(uri, "ends")}
        assert ends.pop("enough") == "FINISHED"
        assert ends.pop("interrupted") == "KILLED"
        assert [*ends.values()] == ["FAILED"]

    def test_a_run_that_is_open_is_joined(self, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
        import mlflow

        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        mlflow.set_experiment("mine")
        with mlflow.start_run() as mine:
            history = fit(MLflowLogger())
            assert mlflow.active_run().info.run_id == mine.info.run_id
            assert client(uri).get_run(mine.info.run_id).info.status == "RUNNING"
        (run,) = runs(uri, "mine")
        assert metrics(uri, run, history) == measured(history)

    def test_a_server_that_fails_for_a_while(
        self, uri: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import mlflow

        monkeypatch.setattr(chainrule.training.loggers, "_PAUSE", 0.0)
        log_batch, calls = mlflow.MlflowClient.log_batch, []

        def failing(*args: Any, **kwargs: Any) -> Any:
            calls.append(kwargs)
            if 1 < len(calls) < 4:
                raise ConnectionError("no route to host")
            return log_batch(*args, **kwargs)

        monkeypatch.setattr(mlflow.MlflowClient, "log_batch", failing)
        with pytest.warns(UserWarning, match="MLflowLogger could not deliver") as caught:
            history = fit(MLflowLogger("failing", tracking_uri=uri))
        told = [w for w in caught if "could not deliver" in str(w.message)]
        assert len(told) == 1
        assert "ConnectionError: no route to host" in str(told[0].message)
        (run,) = runs(uri, "failing")
        assert metrics(uri, run, history) == measured(history)


# --- all ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("logger", "package", "extra"),
    [
        (lambda: TensorBoardLogger("logs"), "tensorboardX", "tensorboard"),
        (MLflowLogger, "mlflow", "mlflow"),
    ],
)
def test_without_the_package(
    logger: Callable[[], object], package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"{package}, .*pip install 'chainrule\[{extra}\]'"):
        logger()


@pytest.mark.needs("tensorboard", "mlflow")
@pytest.mark.filterwarnings("ignore")
def test_loggers_can_be_copied(tmp_path: Path, uri: str) -> None:
    """As estimators that hold them are, by `clone` and by joblib."""
    loggers = [
        CSVLogger(tmp_path / "log.csv"),
        TensorBoardLogger(tmp_path / "logs"),
        MLflowLogger("copied", tracking_uri=uri),
    ]
    for _ in range(2):
        fit(*(pickle.loads(pickle.dumps(logger)) for logger in loggers))
        fit(*copy.deepcopy(loggers))
        fit(*loggers)
