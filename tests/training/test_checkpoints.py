"""Checkpoints: a run that is cut short and resumed ends in the bits of one that was not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.engines import EngineWarning
from chainrule.equations.activations import Tanh
from chainrule.equations.optimizers import (
    AdaGrad,
    Adam,
    AdamW,
    GradientDescent,
    Optimizer,
    RMSProp,
)
from chainrule.equations.schedules import Cosine, ReduceOnPlateau, StepDecay, WarmUp
from chainrule.network import Network
from chainrule.training import checkpoints
from chainrule.training.callbacks import Callback, EarlyStopping, Run
from chainrule.training.checkpoints import CheckpointWarning
from chainrule.training.errors import NonFiniteError
from chainrule.training.history import History

X = np.random.default_rng(0).normal(size=(60, 4))
Y = (X[:, 0] * X[:, 1] > 0).astype(int)
VALIDATION = (X[:20] + 0.1, Y[:20])


def net(seed: int | None = 3, **options: Any) -> Network:
    given: dict[str, Any] = {
        "sizes": [4, 8, 2], "output": "softmax", "loss": "cross_entropy", "dropout": 0.1,
        "dtype": "float32", "seed": seed,
    }  # fmt: skip
    return Network(**given | options)


def fit(network: Network, epochs: int = 6, **options: Any) -> History:
    given: dict[str, Any] = {
        "X": X, "y": Y, "batch_size": 16, "validation_data": VALIDATION, "verbose": 0,
    }  # fmt: skip
    return network.fit(epochs=epochs, **given | options)


def same_history(one: History, two: History) -> bool:
    """All but the time that it took; NaN is like NaN."""
    names = [name for name in one if name != "seconds"]
    return (
        list(one) == list(two)
        and all(np.array_equal(one[name], two[name], equal_nan=True) for name in names)
        and (one.stop_reason, one.best_epoch) == (two.stop_reason, two.best_epoch)
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def names_of(*epochs: int) -> list[str]:
    return ["best.safetensors", *(f"epoch-{epoch:06d}.safetensors" for epoch in epochs)]


def flip(path: Path, place: int) -> None:
    """Damage one byte."""
    content = bytearray(path.read_bytes())
    content[place] ^= 0x10
    path.write_bytes(content)


# --- the same bits --------------------------------------------------------------------------------

OPTIMIZERS: list[Callable[[], Optimizer]] = [
    lambda: GradientDescent(0.1),
    lambda: GradientDescent(StepDecay(0.1, every=2), momentum=0.9, nesterov=True),
    lambda: AdaGrad(0.05),
    lambda: RMSProp(WarmUp(3, Cosine(0.01, epochs=5))),
    lambda: Adam(ReduceOnPlateau(0.05, patience=1)),
    lambda: AdamW(0.01),
]


@pytest.mark.parametrize("engine", ["reference", "native"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_in_pieces_is_the_run_in_one(
    optimizer: Callable[[], Optimizer], dtype: str, engine: str, tmp_path: Path
) -> None:
    def piece(epochs: int, **options: Any) -> tuple[Network, History]:
        network = net(engine=engine, dtype=dtype, l2=0.001)
        return network, fit(
            network, epochs, optimizer=optimizer(), clip_norm=1.0, class_weight="balanced",
            metrics=["accuracy", "mean_squared_error"], **options,
        )  # fmt: skip

    whole, history = piece(7, checkpoint=tmp_path / "whole")
    for epochs in (1, 3, 4, 7):
        part, part_history = piece(epochs, checkpoint=tmp_path / "parts", resume=True)
    assert part.parameters.tobytes() == whole.parameters.tobytes()
    assert same_history(part_history, history)
    assert names(tmp_path / "parts") == names(tmp_path / "whole") == names_of(6, 7)
    for name in names_of(6, 7):
        one, two = (cr.load(tmp_path / folder / name) for folder in ("whole", "parts"))
        assert one.parameters.tobytes() == two.parameters.tobytes()


def test_without_validation_weights_or_metrics(tmp_path: Path) -> None:
    options: dict[str, Any] = {"validation_data": None, "metrics": [], "shuffle": False}
    whole, part = net(), net()
    history = fit(whole, **options)
    fit(part, 2, checkpoint=tmp_path, **options)
    part = net()
    assert same_history(fit(part, checkpoint=tmp_path, resume=True, **options), history)
    assert part.parameters.tobytes() == whole.parameters.tobytes()
    best = int(np.argmin(history.loss)) + 1  # of the training, where there is no validation
    twin = net()
    fit(twin, best, **options)
    load = cr.load(tmp_path / "best.safetensors")
    assert load.parameters.tobytes() == twin.parameters.tobytes()


def test_data_from_a_memory_map(tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", X)
    whole, part = net(), net()
    fit(whole)
    fit(part, 3, checkpoint=tmp_path / "run")
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    fit(part, X=mapped, checkpoint=tmp_path / "run", resume=True)
    assert part.parameters.tobytes() == whole.parameters.tobytes()


def test_early_stopping_goes_on_where_it_was(tmp_path: Path) -> None:
    def stopping() -> list[Callback]:
        return [EarlyStopping(patience=3), EarlyStopping("accuracy", patience=40)]

    whole = net()
    options: dict[str, Any] = {"optimizer": Adam(0.3), "epochs": 50}
    history = fit(whole, callbacks=stopping(), **options)
    assert history.stop_reason
    assert history.best_epoch
    assert 4 < len(history.epoch) < 50
    for epochs in [*range(1, len(history.epoch) + 3), 50]:  # also once it has stopped
        part = net()
        resumed = fit(
            part, callbacks=stopping(), checkpoint=tmp_path, resume=True,
            **options | {"epochs": epochs},
        )  # fmt: skip
    assert same_history(resumed, history)
    assert part.parameters.tobytes() == whole.parameters.tobytes()
    best = cr.load(tmp_path / "best.safetensors")
    assert best.parameters.tobytes() == whole.parameters.tobytes()


def test_callbacks_with_a_state_of_their_own(tmp_path: Path) -> None:
    class Mean(Callback):
        """The mean of the parameters over the epochs, which it puts in at the end."""

        def on_start(self, run: Run) -> None:
            self.sum, self.count = np.zeros_like(run.network.parameters), 0
            self.rate = run.network.l2

        def on_epoch_end(self, run: Run) -> None:
            self.sum += run.network.parameters
            self.count += 1

        def on_end(self, run: Run) -> None:
            run.network.parameters[...] = self.sum / self.count

        def save_state(self) -> Mapping[str, Any]:
            return {"sum": self.sum, "count": self.count, "nan": float("nan"), "0-d": np.array(0.1)}

        def load_state(self, state: Mapping[str, Any]) -> None:
            assert np.isnan(state["nan"])
            assert state["0-d"].shape == ()
            self.sum, self.count = state["sum"], state["count"]

    whole, part = net(), net()
    fit(whole, callbacks=[Mean()])
    fit(part, 4, callbacks=[Mean()], checkpoint=tmp_path, every=3)
    fit(part, callbacks=[lambda run: None, Mean()], checkpoint=tmp_path, resume=True)
    assert part.parameters.tobytes() == whole.parameters.tobytes()


def test_a_state_that_can_not_be_kept(tmp_path: Path) -> None:
    class Odd(Callback):
        def save_state(self) -> Mapping[str, Any]:
            return {"thing": object()}

    with pytest.raises(
        TypeError, match=r"Odd.save_state returned thing = <object .*what JSON knows"
    ):
        fit(net(), callbacks=[Odd()], checkpoint=tmp_path)


def test_early_stopping_that_watches_another_column(tmp_path: Path) -> None:
    fit(net(), 2, callbacks=[EarlyStopping("loss")], checkpoint=tmp_path)
    network = net(seed=None)
    before, seed = network.parameters.copy(), network.seed
    with pytest.raises(ValueError, match=r"EarlyStopping watched 'loss' so far; .*'val_loss'"):
        fit(network, callbacks=[EarlyStopping()], checkpoint=tmp_path, resume=True)
    assert (network.parameters == before).all()
    assert network.seed == seed


def test_own_activations_and_optimizers(tmp_path: Path) -> None:
    class Softer(Tanh):
        name = "softer"

    class Signs(Optimizer):
        slot_names = ("last",)

        def __init__(self, learning_rate: float, other: object = None) -> None:
            self.learning_rate, self.other = learning_rate, other

        def update(self, theta: Any, g: Any, slots: Any, eta: float, t: int) -> None:
            slots["last"] += np.sign(g)
            theta -= eta * slots["last"]

    whole, part = (net(hidden=Softer()) for _ in range(2))
    with pytest.warns(EngineWarning):
        fit(whole, optimizer=Signs(0.01, object()))
    fit(part, 3, optimizer=Signs(0.01, object()), checkpoint=tmp_path)
    fit(part, optimizer=Signs(0.01, object()), checkpoint=tmp_path, resume=True)
    assert part.parameters.tobytes() == whole.parameters.tobytes()
    with pytest.raises(ValueError, match=r"optimizer learning_rate 0\.01 there, 0\.02 here"):
        fit(part, optimizer=Signs(0.02, object()), checkpoint=tmp_path, resume=True)


# --- which are kept -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("every", "keep", "epochs", "kept"),
    [
        (1, 2, 6, [5, 6]),
        (1, 1, 6, [6]),
        (1, 9, 3, [1, 2, 3]),
        (2, 2, 7, [6, 7]),  # the last is kept, whether its turn has come or not
        (4, 2, 9, [8, 9]),
        (100, 3, 5, [5]),
        (timedelta(0), 2, 4, [3, 4]),
        (timedelta(hours=1), 2, 4, [4]),
    ],
)
def test_the_last_and_the_best(every: Any, keep: int, epochs: int, kept: list[int]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        network = net()
        history = fit(
            network, epochs, optimizer=Adam(0.3), checkpoint=folder / "new/run", every=every,
            keep=keep,
        )  # fmt: skip
        assert names(folder / "new/run") == names_of(*kept)
        best = cr.load(folder / "new/run/best.safetensors")
        assert np.isclose(best.loss_value(*VALIDATION), min(history.val_loss), rtol=1e-6)
        last = cr.load(folder / f"new/run/epoch-{epochs:06d}.safetensors")
        assert last.parameters.tobytes() == network.parameters.tobytes()


def test_best_is_the_best_of_all_epochs_not_only_of_those_kept(tmp_path: Path) -> None:
    one, two = net(), net()
    for network, every in ((one, 1), (two, 5)):
        history = fit(
            network, 14, optimizer=Adam(1.0), checkpoint=tmp_path / str(every), every=every
        )
    assert history.best_epoch is not None
    assert history.best_epoch not in (5, 10, 14)
    paths = (tmp_path / every / "best.safetensors" for every in "15")
    assert len({path.read_bytes() for path in paths}) == 1


def test_what_a_checkpoint_says(tmp_path: Path) -> None:
    history = fit(net(), 3, optimizer=Adam(0.02), checkpoint=tmp_path)
    found = checkpoints.read(tmp_path / "epoch-000003.safetensors")
    assert (found.epoch, found.step, found.finished) == (3, 12, False)
    assert same_history(found.history, history)
    assert found.history.seconds == history.seconds
    assert found.settings["optimizer"] == {
        "name": "Adam", "learning_rate": 0.02, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8,
    }  # fmt: skip
    assert found.settings["network"]["sizes"] == [4, 8, 2]
    with pytest.raises(ValueError, match=r"best\.safetensors: the best network of a run, but no"):
        checkpoints.read(tmp_path / "best.safetensors")
    net().save(tmp_path / "net")
    with pytest.raises(ValueError, match="a model file, but no checkpoint"):
        checkpoints.read(tmp_path / "net")


def test_one_number_of_many_that_differs_is_seen(tmp_path: Path) -> None:
    many = np.random.default_rng(0).normal(size=(20_000, 30))
    how: dict[str, Any] = {"epochs": 1, "verbose": 0, "checkpoint": tmp_path}
    Network([30, 1], seed=0).fit(many, many[:, 0], **how)
    for change in ((19_998, 29), (0, 1), (12_345, 6)):
        other = many.copy()
        other[change] += 1e-9
        with pytest.raises(ValueError, match="X, y or their weights with other numbers here"):
            Network([30, 1], seed=0).fit(other, many[:, 0], **how, resume=True)
    Network([30, 1], seed=0).fit(many, many[:, 0], **how, resume=True)


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    others = {"epoch-1.safetensors": "mine", "notes.txt": "", ".chainrule-0.tmp": "a save"}
    for name, text in others.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "plots").mkdir()
    (tmp_path / ".chainrule-checkpoint-0123.tmp").write_text("what a kill has left")
    fit(net(), 4, checkpoint=tmp_path, keep=1)
    assert names(tmp_path) == sorted([*others, "plots", *names_of(4)])
    assert all((tmp_path / name).read_text() == text for name, text in others.items())


def test_a_best_of_others_is_not_written_over(tmp_path: Path) -> None:
    """A kill can leave the best of a run before its first checkpoint; that one may be."""
    fit(net(), checkpoint=tmp_path / "run", keep=1)
    best = (tmp_path / "run/best.safetensors").read_bytes()
    net().save(tmp_path / "net")
    for i, content in enumerate([best, (tmp_path / "net").read_bytes(), b"my notes"]):
        folder = tmp_path / str(i)
        folder.mkdir()
        (folder / "best.safetensors").write_bytes(content)
        for resume in (False, True):
            if content is best and resume:
                fit(net(), checkpoint=folder, resume=True)
                assert (folder / "best.safetensors").read_bytes() == best
                continue
            with pytest.raises(ValueError, match=r"holds a best\.safetensors, which would be wr"):
                fit(net(), checkpoint=folder, resume=resume)
            assert (folder / "best.safetensors").read_bytes() == content


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
    whole = net(hidden=CtrlC(), dropout=0)
    history = fit(whole)
    part = net(hidden=CtrlC(*passes), dropout=0)
    if len(passes) == 1:
        cut = fit(part, checkpoint=tmp_path, every=every)
        assert cut.stop_reason == "interrupted"
    else:
        with pytest.raises(KeyboardInterrupt):
            fit(part, checkpoint=tmp_path, every=every)
    assert checkpoints.checkpoints(tmp_path)[-1][0] == whole_epochs
    part = net(hidden=CtrlC(), dropout=0)
    resumed = fit(part, checkpoint=tmp_path, resume=True)
    assert same_history(resumed, history)
    assert part.parameters.tobytes() == whole.parameters.tobytes()


def test_ctrl_c_in_a_long_validation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its epoch was not measured, so it is taken again."""
    data = np.tile(VALIDATION[0], (60, 1)), np.tile(VALIDATION[1], 60)
    whole = net(hidden=CtrlC(), dropout=0)
    history = fit(whole, validation_data=data)
    with monkeypatch.context() as patch:
        patch.setattr("chainrule.training.interrupt._PATIENCE", 0.0)
        part = net(hidden=CtrlC(11), dropout=0)  # the first of the two passes of validation
        fit(part, validation_data=data, checkpoint=tmp_path)
    assert checkpoints.checkpoints(tmp_path)[-1][0] == 1
    part = net(hidden=CtrlC(), dropout=0)
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


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        ({"sizes": [4, 9, 2]}, {}, r"network sizes \[4, 8, 2\] there, \[4, 9, 2\] here"),
        ({"dtype": "float64"}, {}, r"network dtype 'float32' there, 'float64' here"),
        ({"hidden": "tanh"}, {}, r"network activations \['relu', 'softmax'\] there, \['tanh', "),
        ({"seed": 4}, {}, "network seed 3 there, 4 here"),
        ({"dropout": 0.2}, {}, r"network dropout \[0\.1\] there, \[0\.2\] here"),
        ({"l2": 0.1}, {}, r"network l2 0\.0 there, 0\.1 here"),
        ({}, {"optimizer": Adam(0.1)}, r"optimizer learning_rate 0\.001 there, 0\.1 here"),
        ({}, {"optimizer": AdaGrad()}, r"optimizer Adam\(.*\) there, AdaGrad\(.*epsilon=1e-10\)"),
        ({}, {"optimizer": Adam(Cosine(0.1, 9))}, r"0\.001 there, Cosine\(initial=0\.1, epochs=9"),
        ({}, {"batch_size": 15}, "batch_size 16 there, 15 here"),
        ({}, {"clip_norm": 2.0}, r"clip_norm None there, 2\.0 here"),
        ({}, {"shuffle": False}, "shuffle True there, False here"),
        ({}, {"X": X[:50], "y": Y[:50]}, "samples 60 there, 50 here"),
        ({}, {"X": X[::-1]}, "X, y or their weights with other numbers here .*without a seed"),
        ({}, {"y": 1 - Y}, "X, y or their weights with other numbers"),
        ({}, {"sample_weight": X[:, 0] ** 2}, "X, y or their weights with other numbers"),
        ({}, {"validation_data": None}, "val_loss is measured there, not here"),
        ({}, {"validation_data": (X, Y)}, "validation_data with other numbers here"),
        ({}, {"metrics": ["r2"]}, "accuracy is measured there, not here; .*r2 is measured here"),
    ],
)
def test_another_run_is_refused(
    network: dict[str, Any], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    fit(net(), 2, checkpoint=tmp_path)
    before = names(tmp_path)
    other = net(**network)
    parameters = other.parameters.copy()
    with pytest.raises(ValueError, match=message) as raised:
        fit(other, checkpoint=tmp_path, resume=True, **options)
    assert "epoch-000002.safetensors is of another run" in str(raised.value)
    assert (other.parameters == parameters).all()
    assert names(tmp_path) == before


def test_another_engine_is_told(tmp_path: Path) -> None:
    fit(net(engine="native"), 2, checkpoint=tmp_path)
    with pytest.warns(CheckpointWarning, match="native engine and goes on with the reference"):
        history = fit(net(engine="reference"), checkpoint=tmp_path, resume=True)
    assert len(history.epoch) == 6


def test_a_folder_that_holds_a_run_is_not_written_over(tmp_path: Path) -> None:
    fit(net(), 2, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"holds a run, which reached epoch 2: .*resume=True"):
        fit(net(), checkpoint=tmp_path)
    assert names(tmp_path) == names_of(1, 2)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"resume": True}, ValueError, "resume=True needs checkpoint="),
        ({"checkpoint": 3}, TypeError, "checkpoint must be the path of a folder, got 3"),
        ({"checkpoint": "run", "resume": "yes"}, TypeError, "resume must be True or False"),
        ({"checkpoint": "run", "every": 0}, ValueError, "every must be at least 1, got 0"),
        ({"checkpoint": "run", "every": 1.5}, TypeError, "a number of epochs or a timedelta"),
        ({"checkpoint": "run", "every": True}, TypeError, "a number of epochs or a timedelta"),
        ({"checkpoint": "run", "every": timedelta(-1)}, ValueError, "must not be negative"),
        ({"checkpoint": "run", "keep": 0}, ValueError, "keep must be at least 1, got 0"),
        ({"checkpoint": "run", "callbacks": [EarlyStopping("x")]}, ValueError, "no column 'x'"),
        ({"checkpoint": "run", "batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"every": 2}, ValueError, "every and keep need checkpoint="),
        ({"keep": 3}, ValueError, "every and keep need checkpoint="),
    ],
)
def test_bad_arguments(
    options: dict[str, Any],
    error: type[Exception],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    network = net()
    before = network.parameters.copy()
    with pytest.raises(error, match=message):
        fit(network, **options)
    assert (network.parameters == before).all()
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_folders_that_can_not_be_had(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in ("file", "file/run"):
        with pytest.raises(OSError, match="file"):
            fit(net(), checkpoint=tmp_path / path)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are those of POSIX")
def test_a_folder_without_permission_is_told_before_anything_is_trained() -> None:
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    if root := os.geteuid() == 0:
        os.seteuid(65534)  # root may write anywhere
    try:
        network = net()
        before = network.parameters.copy()
        with pytest.raises(PermissionError, match="Permission denied"):
            fit(network, checkpoint=folder)
        assert (network.parameters == before).all()
    finally:
        if root:
            os.seteuid(0)
        folder.rmdir()


@pytest.mark.skipif(sys.platform == "win32", reason="locks are those of POSIX")
def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    def second(run: Run) -> None:
        with pytest.raises(ValueError, match="in use: another fit writes into it"):
            fit(net(), checkpoint=tmp_path, resume=True)

    fit(net(), 2, callbacks=[second], checkpoint=tmp_path)
    fit(net(), 3, checkpoint=tmp_path, resume=True)  # free again


def test_in_a_thread(tmp_path: Path) -> None:
    whole, part = net(), net()
    fit(whole)
    threads = []
    for epochs in (2, 6):
        thread = threading.Thread(
            target=fit, args=(part, epochs), kwargs={"checkpoint": tmp_path, "resume": True}
        )
        thread.start()
        thread.join()
        threads.append(thread)
    assert part.parameters.tobytes() == whole.parameters.tobytes()


# --- damage ---------------------------------------------------------------------------------------


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path: Path) -> None:
    whole = net()
    history = fit(whole)
    fit(net(), 4, checkpoint=tmp_path / "good")
    size = (tmp_path / "good/epoch-000004.safetensors").stat().st_size
    damages: list[Callable[[Path], object]] = [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[: size // 2]),
        lambda path: path.write_bytes(bytes(size)),
        *(lambda path, place=place: flip(path, place) for place in range(0, size, size // 12)),
        lambda path: flip(path, size - 1),
    ]
    for i, damage in enumerate(damages):
        folder = tmp_path / str(i)
        shutil.copytree(tmp_path / "good", folder)
        damage(folder / "epoch-000004.safetensors")
        part = net()
        message = r"epoch-000004\.safetensors.*; the run goes on from epoch-000003\.safetensors"
        with pytest.warns(CheckpointWarning, match=message) as caught:
            resumed = fit(part, checkpoint=folder, resume=True)
        assert caught[0].filename == __file__
        assert same_history(resumed, history)
        assert part.parameters.tobytes() == whole.parameters.tobytes()
        assert names(folder) == names_of(5, 6)


def test_where_all_are_damaged_nothing_is_begun(tmp_path: Path) -> None:
    fit(net(), 4, checkpoint=tmp_path)
    for _, path in checkpoints.checkpoints(tmp_path):
        flip(path, -1)
    with pytest.raises(ValueError, match=r"no checkpoint in .* can be read \(.*4.*; .*3.*\); to"):
        fit(net(), checkpoint=tmp_path, resume=True)
    assert names(tmp_path) == names_of(3, 4)


def test_the_best_that_is_lost(tmp_path: Path) -> None:
    """It is written again if its epoch is among those kept, else the best that follows is kept."""
    fit(net(), 4, optimizer=Adam(0.01), checkpoint=tmp_path)
    found = checkpoints.read(tmp_path / "epoch-000004.safetensors")
    assert found.best is not None
    assert found.best[0] == 4
    best = (tmp_path / "best.safetensors").read_bytes()
    (tmp_path / "best.safetensors").unlink()
    fit(net(), 4, optimizer=Adam(0.01), checkpoint=tmp_path, resume=True)
    assert (tmp_path / "best.safetensors").read_bytes() == best

    worse = tmp_path / "worse"
    fit(net(), 8, optimizer=GradientDescent(5.0), checkpoint=worse, keep=1)
    found = checkpoints.read(worse / "epoch-000008.safetensors")
    assert found.best is not None
    assert found.best[0] < 8
    flip(worse / "best.safetensors", -1)
    with pytest.warns(CheckpointWarning, match="best network so far is lost .*is damaged"):
        fit(net(), 9, optimizer=GradientDescent(5.0), checkpoint=worse, resume=True)
    assert cr.load(worse / "best.safetensors").parameters.tobytes() == (
        cr.load(worse / "epoch-000009.safetensors").parameters.tobytes()
    )


def test_a_checkpoint_of_a_newer_version_is_named(tmp_path: Path) -> None:
    fit(net(), 1, checkpoint=tmp_path)
    path = tmp_path / "epoch-000001.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "VERSION", 2)
        path.write_bytes(checkpoints.serialize(net(), checkpoints.read(path)))
    with pytest.raises(ValueError, match="written by a newer chainrule, as checkpoint 2"):
        fit(net(), checkpoint=tmp_path, resume=True)
    cr.load(path)  # the network in it can be read all the same


# --- the disk -------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="limits are those of POSIX")
def test_disk_full_leaves_the_last_checkpoint_and_a_clear_error(tmp_path: Path) -> None:
    code = """
        import resource, sys
        import numpy as np
        from chainrule.network import Network

        X = np.random.default_rng(0).normal(size=(50, 30))
        net = Network([30, 40, 1], seed=0)
        def limit(run):
            if run.epoch == 3:
                resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        options = dict(checkpoint=sys.argv[1], resume=True)
        try:
            net.fit(X, X[:, :1], epochs=6, callbacks=[limit] * (len(sys.argv) > 2), **options)
        except OSError as error:
            print(error)
        print(net.parameters.tobytes().hex())
    """

    def run(folder: str, *full: str) -> list[str]:
        ran = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / folder), *full],
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert (ran.returncode, ran.stderr) == (0, "")
        return ran.stdout.splitlines()

    error, _ = run("run", "full")
    assert "File too large: '" in error
    assert "safetensors'" in error
    assert names(tmp_path / "run") == names_of(1, 2)
    assert run("run") == run("other")


def test_a_write_that_fails_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def full(*_: object) -> None:
        calls.append(1)
        raise OSError(28, "No space left on device")

    network = net()
    fit(network, 2, checkpoint=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=r"No space left on device: '.*safetensors'"):
            fit(network, checkpoint=tmp_path, resume=True)
    assert len(calls) == 1
    assert names(tmp_path) == names_of(1, 2)
