"""fit_many(on=): workers of Dask and Ray train to the bits of this process, and what is refused."""

from __future__ import annotations

import copy
import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.network import Network
from chainrule.training import placed, progress
from chainrule.training.callbacks import Run
from tests.clusters import ENGINES

N = 60
X = np.random.default_rng(0).normal(size=(N, 3))
Y = np.sin(X[:, :1])


def networks(count: int = 40, sizes: tuple[int, ...] = (3, 5, 1), **settings: Any) -> list[Network]:
    return [Network(list(sizes), hidden="tanh", seed=seed, **settings) for seed in range(count)]


def mixed() -> list[Network]:
    """Three shapes in turn, one too large to go side by side, and float32."""
    return [
        [
            Network([3, 5, 1], hidden="tanh", seed=i),
            Network([3, 4, 4, 1], seed=i, l2=0.01, dtype="float32"),
            Network([3, 200, 100, 1], seed=i, dropout=0.2),
        ][i % 3]
        for i in range(24)
    ]


def assert_same(one: list[Network], other: list[Network], a: list[Any], b: list[Any]) -> None:
    for i, (left, right) in enumerate(zip(one, other, strict=True)):
        np.testing.assert_array_equal(left.parameters, right.parameters, f"network {i}")
        assert left.seed == right.seed
    for left, right in zip(a, b, strict=True):
        assert list(left) == list(right)
        assert left.stop_reason == right.stop_reason
        for column in set(left) - {"seconds"}:
            assert left[column] == right[column], column


HOW: dict[str, dict[str, Any]] = {
    "plain": {},
    "seeds in common": {"seeds": 3},
    "seeds": {"seeds": list(range(100, 124))},
    "metrics": {"metrics": ["r2"], "validation_data": (X[:9], Y[:9])},
    "callback": {"callbacks": [cr.EarlyStopping(patience=1, min_delta=0.02)]},
    "rows": {"rows": [np.arange(i, N) for i in range(24)]},
    "rows and weights": {
        "rows": [np.arange(i, N) for i in range(24)],
        "sample_weight": np.arange(N) + 1.0,
    },
    "epochs": {"epochs": [1 + i % 3 for i in range(24)]},
    "optimizers": {"optimizer": [cr.Adam(10.0 ** -(1 + i % 4)) for i in range(24)]},
    "schedule": {"optimizer": cr.GradientDescent(cr.ReduceOnPlateau(0.1, patience=1))},
    "clip": {"clip_norm": 0.1},
}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("on", ENGINES, indirect=True)
def test_the_bits_are_those_of_one_process(on: Any, how: str) -> None:
    here, there = mixed(), mixed()
    arguments = {"epochs": 4, **HOW[how]}
    of_here = cr.fit_many(here, X, Y, **copy.deepcopy(arguments))
    of_there = cr.fit_many(there, X, Y, on=on, **copy.deepcopy(arguments))
    assert_same(here, there, of_here, of_there)
    assert not (there[0].parameters == mixed()[0].parameters).all()


@pytest.mark.parametrize("on", ENGINES, indirect=True)
def test_a_member_that_is_not_finite_is_named_and_the_others_go_on(on: Any) -> None:
    rules = [cr.GradientDescent(1e300 if i == 33 else 0.01) for i in range(40)]
    here, there = networks(), networks()
    with pytest.warns(RuntimeWarning) as of_here:
        a = cr.fit_many(here, X, Y, optimizer=rules, epochs=3)
    with pytest.warns(RuntimeWarning, match="network 33: training stopped") as of_there:
        b = cr.fit_many(there, X, Y, optimizer=rules, epochs=3, on=on)
    assert [str(w.message) for w in of_here] == [str(w.message) for w in of_there]
    assert_same(here, there, a, b)


class Failing(cr.Callback):
    """Fails in the network with a seed."""

    def __init__(self, seeds: list[int]) -> None:
        self.seeds = seeds

    def on_epoch_end(self, run: Run) -> None:
        if run.network.seed in self.seeds:
            raise LookupError("no such thing")


@pytest.mark.parametrize("on", ENGINES, indirect=True)
def test_a_member_that_fails_is_named_and_the_others_go_on(on: Any) -> None:
    here, there = networks(), networks()
    cr.fit_many(here, X, Y, epochs=2)
    with pytest.warns(RuntimeWarning, match="network 7: LookupError: no such thing; its param"):
        histories = cr.fit_many(there, X, Y, epochs=2, callbacks=[Failing([7])], on=on)
    for i, (left, right, history) in enumerate(zip(here, there, histories, strict=True)):
        if i == 7:
            assert history.stop_reason == "failed: LookupError: no such thing"
            assert history.epoch == []
            left = networks()[7]
        np.testing.assert_array_equal(left.parameters, right.parameters)
    with pytest.raises(RuntimeError, match=r"no network could be trained\. Network 0: LookupError"):
        cr.fit_many(networks(), X, Y, callbacks=[Failing(list(range(40)))], on=on)


class Killing(cr.Callback):
    """Kills the process that trains a network, once, or each time."""

    def __init__(self, path: Path, always: bool = False) -> None:
        self.path, self.always = path, always

    def on_epoch_end(self, run: Run) -> None:
        if run.network.seed == 5 and (self.always or not self.path.exists()):
            self.path.touch()
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("on", ENGINES, indirect=True)
def test_the_task_of_a_worker_that_died_starts_again(on: Any, tmp_path: Path) -> None:
    here, there = networks(), networks()
    a = cr.fit_many(here, X, Y, epochs=2)
    b = cr.fit_many(there, X, Y, epochs=2, callbacks=[Killing(tmp_path / "killed")], on=on)
    assert (tmp_path / "killed").exists()
    assert_same(here, there, a, b)


@pytest.mark.parametrize("on", ENGINES, indirect=True)
def test_a_task_that_kills_its_worker_each_time_is_named(on: Any, tmp_path: Path) -> None:
    there = networks(70)
    with pytest.warns(RuntimeWarning) as told:
        histories = cr.fit_many(there, X, Y, callbacks=[Killing(tmp_path / "x", True)], on=on)
    lost = {i for i, history in enumerate(histories) if history.stop_reason is not None}
    assert 5 in lost
    assert {str(warning.message) for warning in told} == {
        f"network {i}: its worker died 4 times; its parameters are those from before" for i in lost
    }
    assert len(lost) < 70
    for i, (network, start) in enumerate(zip(there, networks(70), strict=True)):
        assert (i in lost) == bool((network.parameters == start.parameters).all())


@pytest.mark.parametrize("on", ENGINES, indirect=True)
def test_ctrl_c_keeps_what_has_ended(on: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placed, "_PACK", 1)
    monkeypatch.setattr(placed, "_TASKS", 20)
    given, start = networks(), networks()
    assert threading.current_thread() is threading.main_thread()
    pressed: list[int] = []

    class Screen(progress.Screen):
        def step(self, steps: int, loss: float) -> None:
            if not pressed:
                pressed.append(steps)
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(progress, "screen", lambda *_: Screen())
    histories = cr.fit_many(given, X, Y, epochs=20, on=on)
    ended = [i for i, history in enumerate(histories) if history.stop_reason is None]
    assert 0 < len(ended) < 40
    whole = networks()
    cr.fit_many(whole, X, Y, epochs=20)
    for i, history in enumerate(histories):
        expected = whole[i] if i in ended else start[i]
        np.testing.assert_array_equal(given[i].parameters, expected.parameters)
        assert history.stop_reason == (None if i in ended else "interrupted")


def test_tasks_are_of_one_kind_and_cover_all() -> None:
    from chainrule.training.many import Call

    given = [Network([3, 4 + i % 2, 1], seed=i) for i in range(3000)]
    tasks = Call(given, X, Y, metrics=[]).checked().tasks
    chunks = placed.cut(tasks, 2)
    assert sorted(i for chunk in chunks for i in chunk) == list(range(3000))
    assert max(map(len, chunks)) == 384  # 3000 / (4 · 2), in packs of 16
    assert all(len({i % 2 for i in chunk}) == 1 for chunk in chunks)
    assert max(map(len, placed.cut(tasks, 1))) == 512
