"""Ctrl-C: the first ends the run after its step, the second at once; the handler is put back."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from chainrule.equations.activations import Tanh
from chainrule.equations.optimizers import GradientDescent
from chainrule.equations.schedules import Schedule
from chainrule.network import Network
from chainrule.random import epoch_order
from chainrule.training.callbacks import Callback, EarlyStopping, Run
from chainrule.training.errors import NonFiniteError

X = np.random.default_rng(0).normal(size=(20, 2))
Y = (X[:, 0] > X[:, 1]).astype(int)


class CtrlC(Tanh):
    """A tanh in whose passes someone types Ctrl-C; five a step-by-step epoch of 20 samples."""

    def __init__(self, *passes: int) -> None:
        self.passes, self.count = passes, 0

    def value(self, z: np.ndarray) -> np.ndarray:
        self.count += 1
        if self.count in self.passes:
            signal.raise_signal(signal.SIGINT)
        return super().value(z)


class Until(Schedule):
    """η = 0.1 for some steps of five an epoch, then 0."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def rate(self, epoch: float, losses: Sequence[float] = ()) -> float:
        return 0.1 if epoch * 5 < self.steps else 0.0


def net(*passes: int) -> Network:
    hidden: Any = CtrlC(*passes)
    return Network(
        [2, 4, 2], hidden=hidden, output="softmax", loss="cross_entropy", seed=1,
        engine="reference",  # the core would compute its formula, without its code
    )  # fmt: skip


RUN: dict[str, Any] = {
    "optimizer": GradientDescent(0.1),
    "batch_size": 4,
    "epochs": 4,
    "verbose": 0,
}


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    """What stood before must stand after."""
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("shuffle", [False, True])
def test_the_run_ends_after_the_step(shuffle: bool) -> None:
    steps: list[int] = []
    measured: list[tuple[np.ndarray, np.ndarray]] = []

    def keep(y_true: np.ndarray, y_pred: np.ndarray) -> float:
        measured.append((y_true.copy(), y_pred.copy()))
        return 0.0

    network, twin = net(8), net()
    history = network.fit(
        X, Y, shuffle=shuffle, metrics=[keep],
        callbacks=[lambda run: steps.append(run.state.step)], **RUN,
    )  # fmt: skip
    assert history.stop_reason == "interrupted"
    assert steps == [5, 8]
    optimizer = GradientDescent(Until(8))
    full = twin.fit(X, Y, shuffle=shuffle, metrics=[keep], **RUN | {"optimizer": optimizer})
    assert (network.parameters == twin.parameters).all()
    # the epoch that was cut short counts for the samples that it has seen, here 12 of 20
    assert history.epoch == [1, 2]
    assert history.loss[0] == full.loss[0]
    assert history.loss[1] != full.loss[1]
    seen = epoch_order(1, 1, 20)[:12] if shuffle else np.arange(12)
    (y_true, y_pred), (_, all_pred) = measured[1], measured[3]
    assert (y_true == Y[seen]).all()
    assert (y_pred == all_pred[seen]).all()


def test_during_the_last_step_of_an_epoch() -> None:
    history = net(10).fit(X, Y, **RUN)
    assert (history.epoch, history.stop_reason) == ([1, 2], "interrupted")


def test_during_validation() -> None:
    history = net(6).fit(X, Y, validation_data=(X, Y), **RUN)
    assert (history.epoch, history.stop_reason) == ([1], "interrupted")


def test_a_long_validation_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two batches, the second is left: five steps, and the pass that Ctrl-C falls into."""
    monkeypatch.setattr("chainrule.training.interrupt._PATIENCE", 0.0)
    validation = np.tile(X, (60, 1)), np.tile(Y, 60)
    network = net(13)  # seven passes an epoch
    history = network.fit(X, Y, validation_data=validation, **RUN)
    assert (history.epoch, history.stop_reason) == ([1, 2], "interrupted")
    assert np.isfinite(history.loss).all()
    assert np.isfinite([history.val_loss[0], history.val_accuracy[0]]).all()
    assert np.isnan([history.val_loss[1], history.val_accuracy[1]]).all()
    assert history.best_epoch == 1


def test_in_a_callback() -> None:
    def ctrl_c(run: Run) -> None:
        signal.raise_signal(signal.SIGINT)

    history = net().fit(X, Y, callbacks=[ctrl_c], **RUN)
    assert (history.epoch, history.stop_reason) == ([1], "interrupted")


def test_the_second_raises() -> None:
    class Wait(Callback):
        def on_epoch_end(self, run: Run) -> None:
            if run.epoch == 2:
                self.parameters = run.network.parameters.copy()
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)
                pytest.fail("still here")

    network, wait = net(), Wait()
    with pytest.raises(KeyboardInterrupt):
        network.fit(X, Y, callbacks=[wait], **RUN)
    assert (network.parameters == wait.parameters).all()


def test_the_best_parameters_are_restored() -> None:
    class Worse(Callback):
        def on_epoch_end(self, run: Run) -> None:
            run.history._columns["loss"][-1] = float(run.epoch)
            if run.epoch == 1:
                self.parameters = run.network.parameters.copy()

    network, worse = net(13), Worse()
    history = network.fit(X, Y, callbacks=[worse, EarlyStopping()], **RUN)
    assert (history.stop_reason, history.best_epoch) == ("interrupted", 1)
    assert (network.parameters == worse.parameters).all()


def test_the_handler_is_put_back_after_an_error() -> None:
    with pytest.raises(NonFiniteError):
        net().fit(X, Y, **RUN | {"optimizer": GradientDescent(1.7e308)})


def test_a_handler_of_ones_own_is_put_back() -> None:
    def mine(*_: object) -> None: ...

    before = signal.signal(signal.SIGINT, mine)
    try:
        assert net(8).fit(X, Y, **RUN).stop_reason == "interrupted"
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_process_that_ignores_it_goes_on() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert net(8).fit(X, Y, **RUN).stop_reason is None
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_a_thread() -> None:
    handlers, histories = [], []

    def look(run: Run) -> None:
        handlers.append(signal.getsignal(signal.SIGINT))

    def fit() -> None:
        histories.append(net().fit(X, Y, callbacks=[look], **RUN))

    thread = threading.Thread(target=fit)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGINT)] * 4
    assert histories[0].stop_reason is None


if sys.platform != "win32":  # where one cannot send it to a single process

    @pytest.mark.parametrize("times", [1, 2])
    def test_a_real_signal(times: int) -> None:
        """Typed while a process trains on and on; the second while its callback sleeps."""
        program = """
            import numpy as np, sys, time
            from chainrule.network import Network

            def callback(run):
                print("trains", flush=True)
                while len(sys.argv) > 1 and run.epoch == 2:
                    time.sleep(0.01)

            X = np.random.default_rng(0).normal(size=(2000, 2))
            net = Network([2, 4, 1], seed=0)
            history = net.fit(X, X[:, :1], epochs=10**9, callbacks=[callback])
            print(history.stop_reason, np.isfinite(net.parameters).all())
        """
        command = [sys.executable, "-c", textwrap.dedent(program), *["sleep"] * (times - 1)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
            try:
                assert process.stdout is not None
                for _ in range(2):
                    assert process.stdout.readline() == "trains\n"
                process.send_signal(signal.SIGINT)
                if times == 2:
                    threading.Event().wait(0.3)  # signals sent at once may be taken for one
                    process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=300)
            finally:
                process.kill()
        if times == 1:
            assert (out.splitlines()[-1], err, process.returncode) == ("interrupted True", "", 0)
        else:
            assert "KeyboardInterrupt" in err
            assert process.returncode in (-signal.SIGINT, 130)
