"""fit_many: the runs of many networks are the runs of each, and what is refused."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.network import Network
from chainrule.training.history import History

N = 60
X = np.random.default_rng(0).normal(size=(N, 3))
Y = np.sin(X[:, :1])
CLASSES = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.3)


def networks(count: int = 12, sizes: tuple[int, ...] = (3, 5, 1), **settings: Any) -> list[Network]:
    return [Network(list(sizes), hidden="tanh", seed=seed, **settings) for seed in range(count)]


def assert_same(
    together: list[Network], alone: list[Network], of_many: list[History], of_each: list[History]
) -> None:
    for i, (one, other) in enumerate(zip(together, alone, strict=True)):
        np.testing.assert_array_equal(one.parameters, other.parameters, f"network {i}")
    for a, b in zip(of_many, of_each, strict=True):
        assert (a.epoch, a.stop_reason) == (b.epoch, b.stop_reason)
        assert list(a) == list(b)
        for column in set(a) - {"seconds"}:
            np.testing.assert_allclose(a[column], b[column], rtol=1e-12, err_msg=column)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"metrics": ["r2"]},
        {"validation_data": (X[:9], Y[:9])},
        {"callbacks": [cr.EarlyStopping(patience=1, min_delta=0.02)]},
        {"shuffle": False},
        {"batch_size": 7},
        {"batch_size": 1000},
        {"sample_weight": np.arange(N) + 1.0},
        {"optimizer": cr.GradientDescent(cr.StepDecay(0.1, every=2), momentum=0.9)},
        {"optimizer": cr.GradientDescent(cr.ReduceOnPlateau(0.1, patience=1))},
        {"optimizer": cr.Adam(cr.WarmUp(2, then=cr.ReduceOnPlateau(0.1, patience=1)))},
    ],
    ids=lambda how: " ".join(how) or "plain",
)
@pytest.mark.parametrize("engine", ["auto", "reference"])
def test_each_as_its_own_fit(how: dict[str, Any], engine: str) -> None:
    together, alone = networks(engine=engine), networks(engine=engine)
    of_many = cr.fit_many(together, X, Y, epochs=6, **copy.deepcopy(how))
    of_each = [network.fit(X, Y, epochs=6, **copy.deepcopy(how)) for network in alone]
    assert_same(together, alone, of_many, of_each)


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_classes(class_weight: Any) -> None:
    how: dict[str, Any] = {"sizes": (3, 4, 3), "output": "softmax", "loss": "cross_entropy"}
    together, alone = networks(**how), networks(**how)
    of_many = cr.fit_many(together, X, CLASSES, epochs=3, class_weight=class_weight)
    of_each = [n.fit(X, CLASSES, epochs=3, class_weight=class_weight) for n in alone]
    assert_same(together, alone, of_many, of_each)
    assert all(history.accuracy[-1] > 0 for history in of_many)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("metrics", [[], ["r2"]])
def test_rows(weighted: bool, metrics: list[str]) -> None:
    rng = np.random.default_rng(1)
    rows = [rng.integers(0, N, size=30 + i % 3) for i in range(24)]  # with repeats
    s = rng.random(N) if weighted else None
    together, alone = networks(24), networks(24)
    of_many = cr.fit_many(together, X, Y, rows=rows, sample_weight=s, epochs=3, metrics=metrics)
    of_each = [
        network.fit(
            X[of], Y[of], sample_weight=None if s is None else s[of], epochs=3, metrics=metrics
        )
        for network, of in zip(alone, rows, strict=True)
    ]
    assert_same(together, alone, of_many, of_each)


def test_each_its_own_rate_decay_and_shape() -> None:
    def some() -> list[Network]:
        small = [Network([3, 4, 1], seed=s, l2=0.01 * (s % 3)) for s in range(10)]
        return [*small, Network([3, 300, 200, 1], seed=1), *networks(5, dtype="float32")]

    together, alone = some(), some()
    rules = [cr.Adam(10.0 ** -(1 + i % 4)) for i in range(16)]
    rules[3] = cr.AdamW(0.01)  # type: ignore[call-overload]
    of_many = cr.fit_many(together, X, Y, optimizer=rules, epochs=2)
    of_each = [
        network.fit(X, Y, optimizer=rule, epochs=2)
        for network, rule in zip(alone, rules, strict=True)
    ]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.parameters, other.parameters)
    assert [len(history.epoch) for history in of_many] == [len(h.epoch) for h in of_each]


@pytest.mark.parametrize("count", [1, 2, 3, 16, 17, 40])
def test_neighbours_change_nothing(count: int) -> None:
    one = networks(1)
    cr.fit_many(one, X, Y, epochs=2)
    many = networks(count)
    cr.fit_many(many, X, Y, epochs=2)
    np.testing.assert_array_equal(many[0].parameters, one[0].parameters)


@pytest.mark.parametrize("count", [1, 2, 9])
def test_neighbours_change_nothing_where_the_norm_is_another_sum(count: int) -> None:
    one, many = networks(1), networks(count)
    for group in (one, many):
        cr.fit_many(group, X, Y, epochs=2, clip_norm=0.01)
    np.testing.assert_array_equal(many[0].parameters, one[0].parameters)


def test_seeds_in_common() -> None:
    together, alone = networks(dropout=0.2), networks(dropout=0.2)
    of_many = cr.fit_many(together, X, Y, seeds=7, epochs=3)
    for network in alone:
        network.seed = 7
    assert_same(together, alone, of_many, [network.fit(X, Y, epochs=3) for network in alone])
    assert {network.seed for network in together} == {7}


def test_what_stops_being_finite_is_named_and_the_others_go_on() -> None:
    rules = [cr.GradientDescent(1e300 if i == 4 else 0.01) for i in range(12)]
    together, alone = networks(), networks()
    with pytest.warns(RuntimeWarning, match=r"network 4: training stopped in epoch 1, step 1"):
        histories = cr.fit_many(together, X, Y, optimizer=rules, epochs=3)
    for i, (network, rule) in enumerate(zip(alone, rules, strict=True)):
        if i == 4:
            with pytest.raises(cr.NonFiniteError) as error:
                network.fit(X, Y, optimizer=rule, epochs=3)
            assert histories[4].stop_reason == error.value.history.stop_reason
        else:
            network.fit(X, Y, optimizer=rule, epochs=3)
            assert len(histories[i].epoch) == 3
        np.testing.assert_array_equal(network.parameters, together[i].parameters)


def test_each_has_its_own_callback() -> None:
    stopping, seen = cr.EarlyStopping(patience=2), list[tuple[int, int]]()
    given = networks()
    cr.fit_many(
        given,
        X,
        Y,
        epochs=2,
        callbacks=[stopping, lambda run: seen.append((run.network.seed, run.epoch))],
    )
    assert sorted(seen) == [(seed, epoch) for seed in range(12) for epoch in (1, 2)]
    assert not hasattr(stopping, "_best")  # copies did the work


def test_checkpoints(tmp_path: Path) -> None:
    whole, parts = networks(), networks()
    cr.fit_many(whole, X, Y, epochs=4)
    cr.fit_many(parts, X, Y, epochs=2, checkpoint=tmp_path)
    assert sorted(int(folder.name) for folder in tmp_path.iterdir()) == list(range(12))
    again = networks()
    histories = cr.fit_many(again, X, Y, epochs=4, checkpoint=tmp_path, resume=True)
    for one, other in zip(whole, again, strict=True):
        np.testing.assert_array_equal(one.parameters, other.parameters)
    assert all(history.epoch == [1, 2, 3, 4] for history in histories)


def test_ctrl_c_leaves_whole_epochs() -> None:
    given, before = networks(40), networks(40)

    def press(run: Any) -> None:
        if run.epoch == 2 and run.network.seed == 0:
            signal.raise_signal(signal.SIGINT)

    assert threading.current_thread() is threading.main_thread()
    histories = cr.fit_many(given, X, Y, epochs=1000, callbacks=[press])
    assert {len(history.epoch) for history in histories} <= {1, 2, 3}
    assert {history.stop_reason for history in histories} == {"interrupted"}
    for network, start, history in zip(given, before, histories, strict=True):
        start.fit(X, Y, epochs=len(history.epoch))
        np.testing.assert_array_equal(network.parameters, start.parameters)


def test_no_networks() -> None:
    assert cr.fit_many([], X, Y) == []


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ({"rows": [[0], [1]]}, ValueError, "one for each of the 12 networks, got 2 lists of rows"),
        (
            {"rows": [[0]] * 11 + [[N]]},
            ValueError,
            rf"rows\[11\] has the row {N}; X has the rows 0",
        ),
        ({"rows": [[-1]] * 12}, ValueError, r"rows\[0\] has the row -1"),
        ({"rows": [[]] * 12}, ValueError, r"rows\[0\] must be a list of row numbers"),
        ({"rows": [[0.5]] * 12}, ValueError, "got an array of dtype float64"),
        ({"rows": "all"}, TypeError, "rows must be a list of rows for each network"),
        ({"optimizer": [cr.Adam()]}, ValueError, "got 1 optimizers"),
        ({"optimizer": "adam"}, TypeError, "optimizer must be one such as"),
        ({"optimizer": ["adam"] * 12}, TypeError, "optimizer must be one such as"),
        ({"seeds": [1, 2]}, ValueError, "got 2 seeds"),
        ({"seeds": -1}, ValueError, r"seeds\[0\] must be at least 0"),
        ({"seeds": 1.5}, TypeError, "seeds must be an integer"),
        ({"epochs": 0}, ValueError, "epochs"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"y": Y[:5]}, ValueError, r"networks\[0\]: "),
        ({"X": X * np.nan}, ValueError, r"networks\[0\]: "),
        ({"callbacks": [3]}, TypeError, r"callbacks\[0\]"),
        ({"verbose": "no"}, TypeError, "verbose"),
    ],
)
def test_refusals(how: dict[str, Any], kind: type[Exception], message: str) -> None:
    given = networks()
    before = [network.parameters.copy() for network in given]
    arguments: dict[str, Any] = {"X": X, "y": Y, **how}
    with pytest.raises(kind, match=message):
        cr.fit_many(given, **arguments)
    for network, parameters in zip(given, before, strict=True):
        np.testing.assert_array_equal(network.parameters, parameters)


def test_networks_are_checked() -> None:
    given = networks(3)
    with pytest.raises(ValueError, match=r"networks\[3\] is in the list twice"):
        cr.fit_many([*given, given[1]], X, Y)
    with pytest.raises(TypeError, match=r"networks\[1\] must be a Network, got a str"):
        cr.fit_many([given[0], "net"], X, Y)  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"networks\[3\]: "):
        cr.fit_many([*given, Network([4, 2, 1])], X, Y)


def test_a_member_that_does_not_fit_leaves_the_seeds_alone() -> None:
    given = [*networks(3), Network([4, 2, 1])]
    with pytest.raises(ValueError, match=r"networks\[3\]"):
        cr.fit_many(given, X, Y, seeds=9)
    assert [network.seed for network in given[:3]] == [0, 1, 2]


def test_a_folder_that_holds_a_run_leaves_the_seeds_alone(tmp_path: Path) -> None:
    cr.fit_many(networks(3), X, Y, epochs=1, checkpoint=tmp_path)
    given = networks(3)
    with pytest.raises(ValueError, match="holds a run"):
        cr.fit_many(given, X, Y, seeds=9, epochs=1, checkpoint=tmp_path)
    assert [network.seed for network in given] == [0, 1, 2]


def test_each_network_has_its_own_number_of_epochs() -> None:
    lengths = [3, 9, 1, 9, 4] * 5
    together, alone = networks(25), networks(25)
    of_many = cr.fit_many(together, X, Y, epochs=lengths)
    of_each = [net.fit(X, Y, epochs=n) for net, n in zip(alone, lengths, strict=True)]
    assert_same(together, alone, of_many, of_each)
    with pytest.raises(ValueError, match="one for each of the 25 networks, got 2 numbers of epo"):
        cr.fit_many(together, X, Y, epochs=[1, 2])
    with pytest.raises(ValueError, match=r"epochs\[1\]"):
        cr.fit_many(together[:2], X, Y, epochs=[1, 0])
    assert [len(history.epoch) for history in of_many] == lengths


MEASURE = """
import tracemalloc
import numpy as np
import chainrule as cr

M = 3000
rng = np.random.default_rng(0)
X = rng.normal(size=(100, 2)).astype("float32")
y = np.sin(X[:, :1])
networks = [cr.Network([2, 8, 8, 1], seed=s, dtype="float32") for s in range(M)]
rows = [np.sort(rng.permutation(100)[:90]) for _ in range(M)] if ROWS else None
lists = 0 if rows is None else sum(map(np.size, rows)) * 8
cr.fit_many(networks[:9], X, y, epochs=1, metrics=[])
tracemalloc.start()
histories = cr.fit_many(networks, X, y, epochs=20, seeds=SEEDS, rows=rows, metrics=[])
peak = tracemalloc.get_traced_memory()[1]
parameters = M * networks[0].parameters.nbytes
share = (parameters + peak - lists) / (3 * parameters)
print(share, histories[7].loss == histories[7]["loss"])
"""


@pytest.mark.parametrize(("seeds", "rows"), [("0", "False"), ("None", "False"), ("None", "True")])
def test_memory(seeds: str, rows: str) -> None:
    """At most twice the parameters and slots, for what is on the way and what is kept of it."""
    code = MEASURE.replace("SEEDS", seeds).replace("ROWS", rows)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    share, same = done.stdout.split()
    assert same == "True"
    # Twice, and what a block of 512 networks takes, which 3000 small ones are too few to hide.
    assert float(share) < 2 + 12e6 / (3000 * 12 * 105)


def test_many_blocks_and_the_copies_of_histories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainrule.training.together._BLOCK", 17)
    monkeypatch.setattr("chainrule.training.together._BYTES", 17 * 8 * 70 * 2)
    together, alone = networks(60), networks(60)
    of_many = cr.fit_many(together, X, Y, epochs=7, metrics=[])
    of_each = [net.fit(X, Y, epochs=7, metrics=[]) for net in alone]
    assert_same(together, alone, copy.deepcopy(of_many), of_each)
    assert_same(together, alone, pickle.loads(pickle.dumps(of_many)), of_each)
    assert_same(together, alone, of_many, of_each)
    assert repr(of_many[3]).startswith("History(7 epochs in ")
    assert of_many[3].best_epoch is None
