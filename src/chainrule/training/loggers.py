"""Loggers: callbacks that write each epoch's row to a file or a service, while the run goes on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from time import monotonic, time_ns
from typing import IO, TYPE_CHECKING, Any

from chainrule._exports import exported
from chainrule.equations.checks import warn
from chainrule.storage.atomic import write_atomically
from chainrule.training.callbacks import Callback, Run

if TYPE_CHECKING:
    from chainrule.diagnose.record import RunRecord

_PAUSE = 1.0  # seconds between two deliveries of rows, so that short epochs are not slowed down
_LONGEST = 500  # characters of a parameter, and 100 of them and 1,000 numbers at once: MLflow's own
_AT_ONCE = (100, 1000)


@exported("chainrule")
class CSVLogger(Callback):
    """Write the history to a CSV file, one row at the end of each epoch.

    The columns are those of the history, and numbers are written in full. A run that is resumed
    continues in its file; a new run replaces the one before.

    Args:
        path: The file.

    Raises:
        OSError: The file cannot be written.
        ValueError: At the start of a run: the file exists and is not such a log.

    Examples:
        >>> import os, tempfile
        >>> import chainrule as cr
        >>> path = os.path.join(tempfile.mkdtemp(), "log.csv")
        >>> net = cr.Network([1, 1], seed=0)
        >>> history = net.fit([[1.0]], [1.0], epochs=2, callbacks=[cr.CSVLogger(path)])
        >>> with open(path) as file:
        ...     print(file.readline().strip())
        epoch,loss,learning_rate,seconds
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._file: IO[str] | None = None

    def on_start(self, run: Run) -> None:
        """Write the header, and the rows of the epochs that a resumed run had."""
        if os.path.isfile(self.path) and os.path.getsize(self.path):
            with open(self.path, "rb") as file:
                start = file.readline(1000)
            if not start.startswith(b"epoch,"):
                raise ValueError(
                    f"{self.path!r} exists and was not written by CSVLogger; choose another path, "
                    "or delete it"
                )
        lines = [",".join(run.history), *(self._line(run, epoch) for epoch in range(run.epoch))]
        write_atomically(self.path, "".join(f"{line}\n" for line in lines).encode())
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115  until the run ends

    def on_epoch_end(self, run: Run) -> None:
        """Add the epoch's row."""
        if self._file is not None:
            self._file.write(f"{self._line(run, -1)}\n")
            self._file.flush()

    def on_end(self, run: Run) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _line(self, run: Run, epoch: int) -> str:
        return ",".join(repr(column[epoch]) for column in run.history._columns.values())


class _Deliverer(Callback):
    """Delivers rows at most once a second; what was not, when a run is killed, is when it resumes.

    A service that fails does not end the run: a warning tells it, once, and the rows wait.
    """

    def on_start(self, run: Run) -> None:
        """Forget earlier runs."""
        self._sent = 0  # epochs
        self._last = monotonic()
        self._warned = False

    def on_epoch_end(self, run: Run) -> None:
        """Deliver what there is, if it is time to."""
        if monotonic() - self._last >= _PAUSE:
            self._try(run)

    def on_end(self, run: Run) -> None:
        """Deliver the rest."""
        self._try(run)

    def save_state(self) -> Mapping[str, Any]:
        """Return how many epochs were delivered."""
        return {"sent": self._sent}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on after the last epoch that was delivered."""
        self._sent = state["sent"]

    def _try(self, run: Run) -> None:
        self._last = monotonic()
        count = len(run.history._columns["epoch"])
        try:
            self._deliver(run, range(self._sent, count))
        except Exception as error:
            if not self._warned:
                self._warned = True
                warn(
                    f"{type(self).__name__} could not deliver ({type(error).__name__}: {error}); "
                    "the run goes on, and what is missing is tried again"
                )
            return
        self._sent = count

    def _deliver(self, run: Run, rows: range) -> None:
        """Write rows of the history, counted from 0."""
        raise NotImplementedError


@exported("chainrule")
class TensorBoardLogger(_Deliverer):
    """Write each epoch's numbers as scalars that TensorBoard draws.

    ``folder`` gets two runs, ``train`` and ``validation``, so that TensorBoard draws loss and
    val_loss in one picture; the step is the epoch. Rows are delivered at most once a second. A run
    that is resumed continues its curves; a new run replaces the one before.

    Args:
        folder: The folder of the logs.

    Raises:
        ImportError: tensorboardX is not installed.

    Warns:
        UserWarning: Rows cannot be delivered. The run continues, and they are tried again.

    Examples:
        >>> import chainrule as cr
        >>> cr.TensorBoardLogger("logs/tanh")  # doctest: +SKIP
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._writers: dict[str, Any] = {}
        self._logged: dict[Path, int] = {}  # the last step of each recorded run
        _imported("tensorboardX", "TensorBoardLogger", "tensorboard")

    def log_run(self, run: RunRecord | str | os.PathLike[str]) -> None:
        """Write the steps of a recorded run as scalars; the step is that of the run.

        They go into the run ``steps`` in the folder: the loss and learning rate of each step, and
        where norms were recorded the gradient norm, the noise scale, and the norms of each
        parameter ("W[1]" is called "W.1", as tags have no brackets). Spikes are texts. Another
        call adds the steps that came since, so that it may be called while a run goes on.

        Args:
            run: What `watch` or `load_run` returns, or its folder.

        Raises:
            TypeError: ``run`` is neither.
            ValueError: The folder holds no recorded run.
            OSError: The log cannot be written.
        """
        from chainrule.training import run_log  # for runs that were recorded

        record = run_log.record_of(run)
        key = record.folder.resolve()
        done = self._logged.get(key, -1)
        self._logged[key] = run_log.to_tensorboard(self.folder / "steps", record, done)

    def on_start(self, run: Run) -> None:
        """Forget earlier runs."""
        super().on_start(run)
        self._writers = {}

    def on_end(self, run: Run) -> None:
        """Write the rest, and close the files."""
        super().on_end(run)
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def _deliver(self, run: Run, rows: range) -> None:
        tensorboard = import_module("tensorboardX")
        for name, column in run.history._columns.items():
            if name == "epoch":
                continue
            part = "validation" if name.startswith("val_") else "train"
            if part not in self._writers:
                # What an earlier run, or this one before a kill, has written of these epochs is
                # not drawn any more.
                self._writers[part] = tensorboard.SummaryWriter(
                    str(self.folder / part),
                    purge_step=self._sent + 1,
                    filename_suffix=f".{time_ns()}",  # files are read in the order of their names
                )
            for row in rows:
                self._writers[part].add_scalar(name.removeprefix("val_"), column[row], row + 1)
        for writer in self._writers.values():
            writer.flush()


@exported("chainrule")
class MLflowLogger(_Deliverer):
    """Send the settings of a run and each epoch's numbers to MLflow.

    Within ``with mlflow.start_run():`` the numbers go to that run. Otherwise each ``fit`` is a run
    of its own, which ends as finished, killed (interrupted) or failed. Rows are delivered at most
    once a second. A run that is resumed continues its MLflow run.

    Args:
        experiment: The experiment. None is MLflow's own setting, or its default experiment.
        run_name: The name of the run.
        tracking_uri: The address of the server. None is MLflow's own setting, such as
            MLFLOW_TRACKING_URI.

    Raises:
        ImportError: Neither mlflow nor mlflow-skinny is installed.

    Warns:
        UserWarning: The server fails during a run. The run continues, and what is missing is sent
            with the next row.

    Examples:
        >>> import chainrule as cr
        >>> cr.MLflowLogger("circles", run_name="tanh")  # doctest: +SKIP
    """

    def __init__(
        self,
        experiment: str | None = None,
        run_name: str | None = None,
        tracking_uri: str | None = None,
    ) -> None:
        self.experiment, self.run_name, self.tracking_uri = experiment, run_name, tracking_uri
        _imported("mlflow", "MLflowLogger", "mlflow")
        self._client: Any = None
        self._run_id: str | None = None
        self._logged: dict[Path, tuple[str, int]] = {}  # MLflow's run and the last step of each

    def log_run(self, run: RunRecord | str | os.PathLike[str]) -> None:
        """Send the steps of a recorded run to MLflow, as metrics; the step is that of the run.

        They are those of `TensorBoardLogger.log_run`. What was watched becomes parameters, and
        spikes a tag. Another call adds the steps that came since to the same MLflow run.

        Args:
            run: What `watch` or `load_run` returns, or its folder.

        Raises:
            TypeError: ``run`` is neither.
            ValueError: The folder holds no recorded run.
        """
        from chainrule.training import run_log  # for runs that were recorded

        record = run_log.record_of(run)
        key, joined = record.folder.resolve(), False
        self._client = import_module("mlflow").MlflowClient(tracking_uri=self.tracking_uri)
        run_id, done = self._logged.get(key, ("", -1))
        if not run_id:
            run_id, joined = self._created(_flat(run_log.about(record)))
        self._logged[key] = run_id, run_log.to_mlflow(self._client, run_id, record, done)
        if not joined:
            self._client.set_terminated(run_id, "FINISHED")

    def on_start(self, run: Run) -> None:
        """Begin an MLflow run; one that is resumed goes on instead."""
        super().on_start(run)
        self._run_id, self._joined = None, False
        self._client = import_module("mlflow").MlflowClient(tracking_uri=self.tracking_uri)
        if run.epoch == 0:
            self._begin(run)

    def save_state(self) -> Mapping[str, Any]:
        """Return which MLflow run it is, and how many epochs were sent."""
        return {**super().save_state(), "run_id": self._run_id}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on in the MLflow run."""
        super().load_state(state)
        self._run_id = state["run_id"]
        if self._run_id is not None:
            self._client.set_terminated(self._run_id, "RUNNING")

    def on_end(self, run: Run) -> None:
        """Send the rest, why the run ended, and the best epoch."""
        super().on_end(run)
        client, self._client = self._client, None
        if self._run_id is None:
            return
        try:
            for key in ("stop_reason", "best_epoch"):
                if (value := getattr(run.history, key)) is not None:
                    client.set_tag(self._run_id, key, str(value)[:_LONGEST])
            if not self._joined:
                client.set_terminated(self._run_id, _status(run))
        except Exception as error:
            warn(f"MLflowLogger could not end its run: {error}")

    def _begin(self, run: Run) -> None:
        told = [*_flat(run.settings), ("epochs", str(run.epochs))]
        self._run_id, self._joined = self._created(told)

    def _created(self, told: Iterable[tuple[str, str]]) -> tuple[str, bool]:
        """Return the MLflow run to log to, with these parameters, and whether it was active."""
        active = import_module("mlflow").active_run()
        own = (self.experiment, self.run_name, self.tracking_uri) != (None, None, None)
        joined = active is not None and not own
        begun = active if joined else None
        if begun is None:
            begun = self._client.create_run(self._experiment_id(), run_name=self.run_name)
        run_id: str = begun.info.run_id
        entities = import_module("mlflow.entities")
        params = [entities.Param(key, value) for key, value in told]
        for start in range(0, len(params), _AT_ONCE[0]):
            self._client.log_batch(run_id, params=params[start : start + _AT_ONCE[0]])
        return run_id, joined

    def _experiment_id(self) -> str:
        name = self.experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME")
        if name is None:
            return os.environ.get("MLFLOW_EXPERIMENT_ID", "0")  # 0 is MLflow's own default
        found = self._client.get_experiment_by_name(name)
        made: str = self._client.create_experiment(name) if found is None else found.experiment_id
        return made

    def _deliver(self, run: Run, rows: range) -> None:
        if self._run_id is None:
            self._begin(run)
        metric, now = import_module("mlflow.entities").Metric, time_ns() // 1_000_000
        numbers = [
            metric(name, column[row], now, row + 1)
            for name, column in run.history._columns.items()
            if name != "epoch"
            for row in rows
        ]
        for start in range(0, len(numbers), _AT_ONCE[1]):
            self._client.log_batch(self._run_id, metrics=numbers[start : start + _AT_ONCE[1]])


def _status(run: Run) -> str:
    if run.history.stop_reason is None:
        return "FINISHED" if run.epoch >= run.epochs else "FAILED"  # by an exception
    if run.history.stop_reason.startswith("not finite"):
        return "FAILED"
    return "FINISHED" if run.finished else "KILLED"


def _flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Return nested settings as pairs such as ("optimizer.beta1", "0.9")."""
    for key, value in settings.items():
        if before == "" and key in ("data", "validation_data", "columns"):
            continue
        if isinstance(value, Mapping):
            if "name" in value:
                yield f"{before}{key}", str(value["name"])
            rest = {k: v for k, v in value.items() if k not in ("name", "version")}
            yield from _flat(rest, f"{before}{key}.")
        else:
            yield f"{before}{key}", str(value)[:_LONGEST]


def _imported(package: str, logger: str, extra: str) -> None:
    try:
        import_module(package)
    except ImportError as error:
        raise ImportError(
            f"{logger} needs {package}, which is not installed: pip install 'chainrule[{extra}]'"
        ) from error
