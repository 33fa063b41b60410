"""The model that is saved learns from all rows, after it was measured on those held out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.equations.optimizers import Adam
from chainrule.equations.schedules import Schedule
from chainrule.network import Network
from chainrule.tables import rows, training
from chainrule.tables.opening import open_table
from chainrule.tables.split import TEST, TRAIN, VALIDATION
from chainrule.tables.training import Prepared, Settings
from tests.cli.people import TRAIN as COMMAND
from tests.cli.people import Run, folder, loaded, people, run  # noqa: F401


def prepared(folder: Path, **settings: Any) -> Prepared:
    people().to_csv(folder / "people.csv", index=False)
    wanted = {"epochs": 6, "hidden": (5,), **settings}
    return training.prepare(open_table(folder / "people.csv"), Settings("label", **wanted))


class Rates(Schedule):
    def __init__(self, rates: list[float]) -> None:
        self.of_epochs = rates

    def rate(self, epoch: float, losses: Any = ()) -> float:
        return self.of_epochs[int(epoch)]


@pytest.mark.parametrize("patience", [1, 20])
def test_it_is_a_fit_of_all_rows_to_the_bit(patience: int, tmp_path: Path) -> None:
    ready = prepared(tmp_path, epochs=40, patience=patience, learning_rate=0.1)
    history = training.fit(training.make_network(ready), ready)
    best = history.best_epoch
    assert best is not None
    assert best < 40
    network, again = training.refit(ready, history)
    X = np.concatenate([ready.X[part] for part in (TRAIN, VALIDATION, TEST)])
    y = np.concatenate([ready.y[part] for part in (TRAIN, VALIDATION, TEST)])
    assert len(X) == 240
    other: Network = training.make_network(ready)
    rates = Rates(list(history["learning_rate"]))
    other.fit(X, y, optimizer=Adam(rates), epochs=best, batch_size=32)
    assert np.array_equal(network.parameters, other.parameters)
    assert again["learning_rate"] == history["learning_rate"][:best]


def test_many_rows_are_joined_in_a_random_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "_LARGE", 1000)
    monkeypatch.setattr(rows, "_DEALT", 500)
    monkeypatch.setattr(rows, "_AT_ONCE", 7)
    ready = prepared(tmp_path)
    parts = [ready.X[part] for part in (TRAIN, VALIDATION, TEST)]
    X, order = rows.joined(parts, 3)
    assert order is not None
    assert sorted(order.tolist()) == list(range(240))
    assert not np.array_equal(order, np.arange(240))
    assert np.array_equal(X, np.concatenate(parts)[order])
    network, _ = training.refit(ready, training.fit(training.make_network(ready), ready))
    assert np.isfinite(network.parameters).all()


@pytest.mark.parametrize("epoch", [1, 3, 5])
def test_killed_and_resumed_it_ends_in_the_same_bits(epoch: int, tmp_path: Path) -> None:
    ready = prepared(tmp_path)
    history = training.fit(training.make_network(ready), ready)
    whole, _ = training.refit(ready, history)

    def kill(now: Any) -> None:
        if now.epoch == epoch:
            raise RuntimeError("killed")

    keeping = {"checkpoint": str(tmp_path / "run"), "every": 1, "keep": 2}
    with pytest.raises(RuntimeError, match="killed"):
        training.refit(ready, history, callbacks=[kill], **keeping)  # type: ignore[arg-type]
    resumed, _ = training.refit(ready, history, resume=True, **keeping)  # type: ignore[arg-type]
    assert np.array_equal(resumed.parameters, whole.parameters)


def test_the_test_rows_reach_the_saved_model_and_not_its_measures(run: Run) -> None:
    out = run(*COMMAND, "--epochs", "5", "--plain")[1]
    told = " ".join(out.split())
    assert re.search(
        r"refit the saved model has learned again, from all 240 rows, for \d epochs; the measures "
        r"are of the model before that", told,
    )  # fmt: skip
    first = loaded()
    assert first.training["refit_rows"] == 240
    assert run(*COMMAND, "--epochs", "5", "--no-refit")[0] == 0
    alone = loaded()
    assert (alone.training["refit_rows"], alone.measures) == (0, first.measures)
    assert not np.array_equal(alone.network.parameters, first.network.parameters)


def test_a_run_continues_with_its_refit(run: Run) -> None:
    keeping = ("--checkpoint", "kept", "--no-plot")
    assert run(*COMMAND, "--epochs", "8", "--no-plot")[0] == 0
    whole = Path("model").read_bytes()
    assert run(*COMMAND, "--epochs", "4", *keeping)[0] == 0
    assert run(*COMMAND, "--epochs", "8", *keeping, "--resume")[0] == 0
    assert Path("model").read_bytes() == whole
    assert run(*COMMAND, "--epochs", "8", *keeping, "--resume")[0] == 0
    assert Path("model").read_bytes() == whole


def test_without_held_out_rows_there_is_nothing_to_refit(run: Run) -> None:
    code, out, _ = run(*COMMAND, "--epochs", "2", "--test", "0", "--validation", "0")
    assert code == 0
    assert "refit" not in out
    assert loaded().training["refit_rows"] == 0
