"""Callbacks, early stopping, and the history that a run leaves."""

from __future__ import annotations

import copy
import math
import pickle
import sys
from typing import Any

import numpy as np
import pytest

from chainrule.equations.optimizers import GradientDescent
from chainrule.network import Network
from chainrule.training.callbacks import Callback, EarlyStopping, Run
from chainrule.training.errors import NonFiniteError
from chainrule.training.history import History, duration, number

X = np.random.default_rng(0).normal(size=(20, 2))
Y = np.sin(X).sum(axis=1, keepdims=True)


def net() -> Network:
    return Network([2, 4, 1], hidden="tanh", seed=1)


class Log(Callback):
    """Notes what was called, and the parameters then."""

    def __init__(self, notes: list[str], name: str = "") -> None:
        self.notes, self.name = notes, name

    def on_start(self, run: Run) -> None:
        self.notes.append(f"{self.name}start {run.epoch}/{run.epochs}, step {run.state.step}")

    def on_epoch_end(self, run: Run) -> None:
        assert len(run.history.loss) == run.epoch
        self.notes.append(f"{self.name}epoch {run.epoch}/{run.epochs}, step {run.state.step}")

    def on_end(self, run: Run) -> None:
        self.notes.append(f"{self.name}end")


# --- callbacks ----------------------------------------------------------------------------------


def test_what_is_called_when() -> None:
    notes: list[str] = []
    network = net()

    def function(run: Run) -> None:
        assert run.network is network
        notes.append("function")

    network.fit(X, Y, epochs=2, batch_size=5, callbacks=[Log(notes), function], verbose=0)
    assert notes == [
        "start 0/2, step 0",
        "epoch 1/2, step 4",
        "function",
        "epoch 2/2, step 8",
        "function",
        "end",
    ]


def test_a_callback_can_stop_the_run() -> None:
    def second(run: Run) -> None:
        if run.epoch == 2:
            run.stop("it is late")
            run.stop("not this one")

    history = net().fit(X, Y, epochs=5, callbacks=[second], verbose=0)
    assert (history.epoch, history.stop_reason) == ([1, 2], "it is late")
    assert net().fit(X, Y, epochs=2, verbose=0).stop_reason is None
    unsaid = net().fit(X, Y, epochs=5, callbacks=[lambda run: run.stop()], verbose=0)
    assert (unsaid.epoch, unsaid.stop_reason) == ([1], "stopped by a callback")


def test_a_run_can_be_stopped_before_it_starts() -> None:
    class No(Callback):
        def on_start(self, run: Run) -> None:
            run.stop("not today")

    network = net()
    history = network.fit(X, Y, callbacks=[No()], verbose=0)
    assert (network.parameters == net().parameters).all()
    assert dict(history) == {name: [] for name in ("epoch", "loss", "learning_rate", "seconds")}
    assert repr(history) == "History(0 epochs; not today)"


def test_a_callback_may_set_parameters() -> None:
    def zero(run: Run) -> None:
        run.network.layers[1].W[0, 0] = 0

    network = net()
    network.fit(X, Y, epochs=2, callbacks=[zero], verbose=0)
    assert network.layers[1].W[0, 0] == 0


def test_an_exception_in_a_callback() -> None:
    """It reaches the caller, the others end in their order, and the network has its last step."""
    notes: list[str] = []
    kept: list[np.ndarray] = []

    def fail(run: Run) -> None:
        kept.append(run.network.parameters.copy())
        if run.epoch == 2:
            raise LookupError("disk on fire")

    class BadEnd(Callback):
        def on_end(self, run: Run) -> None:
            raise RuntimeError("and no end")

    network = net()
    callbacks: list[Any] = [Log(notes, "a "), BadEnd(), fail, Log(notes, "b ")]
    with pytest.raises(RuntimeError, match="and no end") as raised:
        network.fit(X, Y, epochs=3, callbacks=callbacks, verbose=0)
    assert str(raised.value.__context__) == "disk on fire"
    assert notes[-2:] == ["a end", "b end"]
    assert (network.parameters == kept[-1]).all()
    network.fit(X, Y, epochs=1, verbose=0)


def test_only_callbacks_that_started_are_ended() -> None:
    class BadStart(Callback):
        def on_start(self, run: Run) -> None:
            raise LookupError("no start")

    notes: list[str] = []
    network = net()
    callbacks = [Log(notes, "a "), BadStart(), Log(notes, "b ")]
    with pytest.raises(LookupError, match="no start"):
        network.fit(X, Y, callbacks=callbacks, verbose=0)
    assert notes == ["a start 0/10, step 0", "a end"]
    assert (network.parameters == net().parameters).all()


# --- early stopping -----------------------------------------------------------------------------


class Losses(Callback):
    """Makes the loss, or the value of a metric, of each epoch what a test wants."""

    def __init__(self, column: str, values: list[float]) -> None:
        self.column, self.values = column, values
        self.parameters: list[np.ndarray] = []

    def on_epoch_end(self, run: Run) -> None:
        run.history._columns[self.column][-1] = self.values[run.epoch - 1]
        self.parameters.append(run.network.parameters.copy())


VALUES = [5.0, 3.0, 3.5, 2.9, 4.0, math.nan, 2.95, 2.0]


@pytest.mark.parametrize(
    ("options", "epochs", "best"),
    [
        ({"patience": 3}, 7, 4),
        ({"patience": 1}, 3, 2),
        ({"patience": 4}, 8, 8),
        ({"patience": 3, "min_delta": 0.2}, 5, 2),  # 2.9 is not better than 3 by more than 0.2
        ({"patience": 1, "mode": "max"}, 2, 1),
    ],
    ids=str,
)
@pytest.mark.parametrize("restore", [True, False])
def test_when_it_stops_and_what_it_restores(
    options: dict[str, Any], epochs: int, best: int, restore: bool
) -> None:
    network, losses = net(), Losses("loss", VALUES)
    stopping = EarlyStopping(restore_best=restore, **options)
    history = network.fit(X, Y, epochs=8, callbacks=[losses, stopping], verbose=0)
    assert (len(history.loss), history.best_epoch) == (epochs, best)
    assert (network.parameters == losses.parameters[best - 1 if restore else -1]).all()
    if epochs == 8:
        assert history.stop_reason is None
    else:
        waited = options["patience"]
        assert history.stop_reason == (
            f"early stopping: loss has not improved for {waited} epochs "
            f"(best {VALUES[best - 1]:g} in epoch {best})"
        )


def test_it_can_be_used_again() -> None:
    stopping = EarlyStopping(patience=2)
    histories = [
        net().fit(X, Y, epochs=9, callbacks=[Losses("loss", values), stopping], verbose=0)
        for values in ([1.0] * 9, [9.0] * 9)
    ]
    assert [len(history.loss) for history in histories] == [3, 3]


def test_without_any_number_it_restores_nothing() -> None:
    network, losses = net(), Losses("loss", [math.nan] * 9)
    history = network.fit(X, Y, callbacks=[losses, EarlyStopping(patience=2)], verbose=0)
    assert history.stop_reason == "early stopping: loss has not improved for 2 epochs"
    assert (network.parameters == losses.parameters[-1]).all()


@pytest.mark.parametrize(
    ("monitor", "mode", "values", "best"),
    [
        (None, "auto", [2.0, 1.0, 3.0], 2),  # val_loss
        ("loss", "auto", [2.0, 1.0, 3.0], 2),
        ("val_r2", "auto", [2.0, 1.0, 3.0], 3),  # more is better
        ("mean_absolute_error", "auto", [2.0, 1.0, 3.0], 2),
        ("val_mine", "max", [2.0, 1.0, 3.0], 3),
        ("mine", "min", [2.0, 1.0, 3.0], 2),
    ],
)
def test_which_column_and_which_way(
    monitor: str | None, mode: Any, values: list[float], best: int
) -> None:
    def mine(y_true: np.ndarray, y_pred: np.ndarray) -> float:
        return 1.0

    network, losses = net(), Losses(monitor or "val_loss", values)
    history = network.fit(
        X, Y, epochs=3, validation_data=(X, Y), metrics=["r2", "mean_absolute_error", mine],
        callbacks=[losses, EarlyStopping(monitor, mode=mode)], verbose=0,
    )  # fmt: skip
    assert history.best_epoch == best
    assert (network.parameters == losses.parameters[best - 1]).all()


def test_a_metric_of_ones_own_needs_a_direction() -> None:
    def mine(y_true: np.ndarray, y_pred: np.ndarray) -> float:
        return 1.0

    with pytest.raises(
        ValueError, match="say with mode='min' or mode='max' which 'mine' is better"
    ):
        net().fit(X, Y, metrics=[mine], callbacks=[EarlyStopping("mine")], verbose=0)


@pytest.mark.parametrize("monitor", ["val_loss", "epoch", "learning_rate", "acuracy"])
def test_a_column_that_is_not_there(monitor: str) -> None:
    hint = "; there is no validation data"
    with pytest.raises(
        ValueError, match=f"no column '{monitor}' to monitor; this run has loss{hint}"
    ):
        net().fit(X, Y, callbacks=[EarlyStopping(monitor)], verbose=0)


def test_the_best_is_restored_when_the_run_ends_otherwise() -> None:
    def fail(run: Run) -> None:
        if run.epoch == 3:
            raise LookupError

    network, losses = net(), Losses("loss", [1.0, 2.0, 3.0])
    with pytest.raises(LookupError):
        network.fit(X, Y, callbacks=[losses, EarlyStopping(), fail], verbose=0)
    assert (network.parameters == losses.parameters[0]).all()


def test_the_best_is_restored_when_numbers_are_not_finite() -> None:
    network, losses = net(), Losses("loss", [1.0, 2.0, 3.0])

    def spoil(run: Run) -> None:
        if run.epoch == 3:
            run.network.parameters[...] *= 1e200

    message = "the parameters of the best epoch, 1, are put back"
    with pytest.raises(NonFiniteError, match=message):
        network.fit(
            X, Y, optimizer=GradientDescent(), callbacks=[losses, EarlyStopping(), spoil], verbose=0
        )
    assert (network.parameters == losses.parameters[0]).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"monitor": 3}, TypeError, "monitor must be the name of a column, got 3"),
        ({"patience": 0}, ValueError, "patience must be at least 1, got 0"),
        ({"patience": 1.5}, TypeError, r"patience must be an integer, got 1\.5"),
        ({"min_delta": -1}, ValueError, "min_delta must be 0 or more, got -1"),
        ({"min_delta": "x"}, TypeError, "min_delta must be a number, got 'x'"),
        ({"mode": "up"}, ValueError, "mode must be 'auto', 'min' or 'max', got 'up'"),
    ],
)
def test_bad_options(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        EarlyStopping(**options)


# --- history ------------------------------------------------------------------------------------


def history_of(losses: list[float], val_losses: list[float] | None = None) -> History:
    history = History(["epoch", "loss", *(["val_loss"] if val_losses else []), "seconds"])
    for i, loss in enumerate(losses):
        val_loss = val_losses[i] if val_losses else math.nan
        history.append({"epoch": i + 1, "loss": loss, "val_loss": val_loss, "seconds": 0.5})
    return history


def test_columns_as_attributes_and_as_a_mapping() -> None:
    history = history_of([3, 2], [4, 3])
    assert history["val_loss"] == history.val_loss == [4, 3]
    assert dict(history) == {
        "epoch": [1, 2], "loss": [3, 2], "val_loss": [4, 3], "seconds": [0.5, 0.5],
    }  # fmt: skip
    assert "loss" in history
    assert "accuracy" not in history
    assert "val_loss" in dir(history)
    for its_own in (history.loss, history["loss"]):
        its_own.append(7)
    assert history.loss == [3, 2]
    for twin in (copy.deepcopy(history), pickle.loads(pickle.dumps(history))):
        assert twin == history


def test_an_unknown_column_names_those_that_are_there() -> None:
    message = "no column 'acc'; this history has epoch, loss, seconds"
    with pytest.raises(KeyError, match=message):
        history_of([1])["acc"]
    with pytest.raises(AttributeError, match=message):
        _ = history_of([1]).acc


def test_the_best_epoch() -> None:
    assert history_of([3, 2, 1]).best_epoch is None
    assert history_of([3, 2, 1], [4, 3, 5]).best_epoch == 2
    assert history_of([3, 2, 1], [math.nan, 3, 3]).best_epoch == 2
    assert history_of([3, 2], [math.nan, math.nan]).best_epoch is None
    history = history_of([3, 2, 1], [4, 3, 5])
    history.best_epoch = 3
    assert history.best_epoch == 3


def test_repr() -> None:
    assert repr(history_of([3])) == "History(1 epoch in 0.50 s: loss 3.000)"
    history = history_of([3, 2, 0.01234], [4, 3, 5])
    text = "History(3 epochs in 1.50 s: loss 0.01234, val_loss 5.000; best epoch 2"
    assert repr(history) == f"{text})"
    history.stop_reason = "interrupted"
    assert repr(history) == f"{text}; interrupted)"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.1234, "0.12 s"), (9.96, "9.96 s"), (42.4, "42 s"), (59.7, "1:00 min"), (7805, "2:10:05 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.5000"), (1234.4, "1234"), (1e-7, "1.000e-07"), (math.nan, "nan"), (math.inf, "inf")],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


def test_a_frame_of_pandas_or_polars() -> None:
    import pandas as pd
    import polars as pl

    history = history_of([3, 2], [4, math.nan])
    frame = history.to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns) == ["epoch", "loss", "val_loss", "seconds"]
    assert frame["epoch"].dtype == "int64"
    assert frame["loss"].tolist() == [3, 2]
    frame = history.to_frame(backend="polars")
    assert isinstance(frame, pl.DataFrame)
    assert frame["epoch"].to_list() == [1, 2]
    assert frame.schema["loss"] == pl.Float64


def test_a_frame_that_can_not_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="unknown backend 'excel'; known: pandas, polars, pyarrow"):
        history_of([1]).to_frame("excel")
    for backend in ("pandas", "polars", "pyarrow"):
        monkeypatch.setitem(sys.modules, backend, None)
        with pytest.raises(
            ImportError, match=f"needs {backend}, which is .*: pip install {backend}"
        ):
            history_of([1]).to_frame(backend)


def test_plot() -> None:
    from matplotlib import pyplot

    history = history_of([3, 2, 1], [4, 3, 5])
    ax = history.plot()
    lines = {line.get_label(): line for line in ax.get_lines()}
    assert list(lines) == ["loss", "val_loss", "best epoch: 2"]
    assert np.asarray(lines["val_loss"].get_xydata()).tolist() == [[1, 4], [2, 3], [3, 5]]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss")
    assert history.plot(ax=ax, columns=["seconds"]) is ax
    pyplot.close(ax.figure)
    with pytest.raises(KeyError, match="no column 'r2'"):
        history.plot(columns=["r2"])
    assert not pyplot.get_fignums()


def test_a_plot_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install 'chainrule\[plot\]'"):
        history_of([1]).plot()
