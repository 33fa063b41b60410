"""What is left when a run with checkpoints ends."""

from __future__ import annotations

import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.equations.activations import Tanh
from chainrule.equations.optimizers import (
    GradientDescent,
)
from chainrule.equations.schedules import StepDecay
from chainrule.training import folders
from chainrule.training.callbacks import Run
from chainrule.training.errors import NonFiniteError
from tests.training.checkpointed import VALIDATION, fit, names, names_of, net, same_history

# --- ends of all kinds ----------------------------------------------------------------------------


class CtrlC(Tanh):
    """A tanh in whose passes someone types Ctrl-C, once."""

    def __init__(self, *passes: int) -> None:
        self.passes, self.count = passes, 0

    def value(self, z: np.ndarray) -> np.ndarray:
        self.count += 1
        if self.count in self.passes:
            signal.raise_signal(signal.SIGINT)
        return super().value(z)


@pytest.mark.parametrize("every", [1, 4, timedelta(hours=1)])
@pytest.mark.parametrize(
    ("passes", "whole_epochs"),  # of an epoch's five passes four are steps, the last is validation
    [([2], 0), ([8], 1), ([9], 2), ([10], 2), ([23], 4), ([9, 10], 1)],
)
def test_ctrl_c_ends_with_a_checkpoint(
    passes: list[int], whole_epochs: int, every: Any, tmp_path: Path
) -> None:
    """Of the last whole epoch; a second one raises, here before the epoch is measured."""
    whole = net(engine="reference", hidden=CtrlC(), dropout=0)
    history = fit(whole)
    part = net(engine="reference", hidden=CtrlC(*passes), dropout=0)
    if len(passes) == 1:
        cut = fit(part, checkpoint=tmp_path, every=every)
        assert cut.stop_reason == "interrupted"
    else:
        with pytest.raises(KeyboardInterrupt):
            fit(part, checkpoint=tmp_path, every=every)
    assert folders.epochs(folders.folder_of(tmp_path))[-1][0] == whole_epochs
    part = net(engine="reference", hidden=CtrlC(), dropout=0)
    resumed = fit(part, checkpoint=tmp_path, resume=True)
    assert same_history(resumed, history)
    assert part.parameters.tobytes() == whole.parameters.tobytes()


def test_ctrl_c_in_a_long_validation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its epoch was not measured, so it is taken again."""
    data = np.tile(VALIDATION[0], (60, 1)), np.tile(VALIDATION[1], 60)
    whole = net(engine="reference", hidden=CtrlC(), dropout=0)
    history = fit(whole, validation_data=data)
    with monkeypatch.context() as patch:
        patch.setattr("chainrule.training.interrupt._PATIENCE", 0.0)
        part = net(
            engine="reference", hidden=CtrlC(11), dropout=0
        )  # the first of the two passes of validation
        fit(part, validation_data=data, checkpoint=tmp_path)
    assert folders.epochs(folders.folder_of(tmp_path))[-1][0] == 1
    part = net(engine="reference", hidden=CtrlC(), dropout=0)
    assert same_history(fit(part, validation_data=data, checkpoint=tmp_path, resume=True), history)
    assert part.parameters.tobytes() == whole.parameters.tobytes()


def test_ctrl_c_between_epochs_keeps_that_epoch(tmp_path: Path) -> None:
    def ctrl_c(run: Run) -> None:
        if run.epoch == 2:
            signal.raise_signal(signal.SIGINT)

    whole, part = net(), net()
    history = fit(whole)
    assert fit(part, callbacks=[ctrl_c], checkpoint=tmp_path, every=9).epoch == [1, 2]
    assert names(tmp_path) == names_of(2)
    assert same_history(fit(part, checkpoint=tmp_path, resume=True), history)
    assert part.parameters.tobytes() == whole.parameters.tobytes()


def test_an_error_in_a_callback(tmp_path: Path) -> None:
    def fail(run: Run) -> None:
        if run.epoch == 3:
            raise RuntimeError("no luck")

    whole, part = net(), net()
    fit(whole)
    with pytest.raises(RuntimeError, match="no luck"):
        fit(part, callbacks=[fail], checkpoint=tmp_path, every=2)
    assert names(tmp_path) == names_of(2)
    fit(part, checkpoint=tmp_path, resume=True)
    assert part.parameters.tobytes() == whole.parameters.tobytes()


def test_numbers_that_are_not_finite(tmp_path: Path) -> None:
    class Burst(StepDecay):
        def rate(self, epoch: float, losses: Any = ()) -> float:
            return 1e38 if epoch >= 3 else 0.1

    optimizer = GradientDescent(Burst(0.1, every=1))
    for _ in range(2):
        with pytest.raises(NonFiniteError, match="epoch 4"):
            fit(net(), optimizer=optimizer, checkpoint=tmp_path, every=2, resume=True)
        assert names(tmp_path) == names_of(2, 3)


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    network = net()
    history = fit(network, checkpoint=tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    for epochs in (6, 2):
        again = net()
        assert same_history(fit(again, epochs, checkpoint=tmp_path, resume=True), history)
        assert again.parameters.tobytes() == network.parameters.tobytes()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("finished", [True, False])
def test_a_callback_ends_the_run_or_lets_it_pause(finished: bool, tmp_path: Path) -> None:
    def stop(run: Run) -> None:
        if run.epoch == 2:
            run.stop("time is up", finished=finished)

    fit(net(), callbacks=[stop], checkpoint=tmp_path)
    history = fit(net(), checkpoint=tmp_path, resume=True)
    assert history.epoch == ([1, 2] if finished else [1, 2, 3, 4, 5, 6])
    assert history.stop_reason == ("time is up" if finished else None)


def test_resume_where_there_is_nothing_begins(tmp_path: Path) -> None:
    whole, part = net(), net()
    history = fit(whole)
    for folder in (tmp_path, tmp_path / "not/there"):
        part = net()
        assert same_history(fit(part, checkpoint=folder, resume=True), history)
        assert part.parameters.tobytes() == whole.parameters.tobytes()


def test_a_network_without_a_seed_takes_that_of_the_run(tmp_path: Path) -> None:
    whole = net(seed=None)
    twin = whole.copy()
    fit(whole, 2, checkpoint=tmp_path)
    other = net(seed=None)
    assert other.seed != whole.seed
    fit(other, checkpoint=tmp_path, resume=True)
    fit(twin)
    assert other.seed == twin.seed
    assert other.parameters.tobytes() == twin.parameters.tobytes()


def test_a_network_from_a_checkpoint_goes_on(tmp_path: Path) -> None:
    whole = net()
    fit(whole)
    fit(net(), 2, checkpoint=tmp_path)
    network = cr.load(tmp_path / "epoch-000002.safetensors")
    fit(network, checkpoint=tmp_path, resume=True)
    assert network.parameters.tobytes() == whole.parameters.tobytes()
