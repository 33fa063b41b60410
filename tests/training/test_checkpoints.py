"""A resumed run ends in the same bits; which checkpoints are kept."""

from __future__ import annotations

import tempfile
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
from chainrule.training.history import History
from tests.training.checkpointed import VALIDATION, X, fit, names, names_of, net, same_history

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
