"""Estimators whose runs are recorded: the same bits, rows of X, moves and replays."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
import scipy.sparse
from sklearn.base import clone

import chainrule as cr
from chainrule.sklearn import MLPClassifier, MLPRegressor, networks

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4))
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.3)
MANY = np.stack([X[:, 0] * X[:, 1], X[:, 2]], axis=1)
OPTIONS: dict[str, Any] = {
    "hidden_layer_sizes": (7,), "batch_size": 10, "random_state": 0, "max_iter": 30, "alpha": 0.1,
    "learning_rate_init": 0.02, "n_iter_no_change": 100,
}  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "more",
    [
        {"early_stopping": True, "dropout": 0.2},
        {"solver": "sgd"},
        {"solver": "sgd", "learning_rate": "invscaling", "nesterovs_momentum": False},
        {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 1, "tol": 1.0},
        {"shuffle": False},
    ],
    ids=str,
)
def test_a_recorded_fit(kind: Any, dtype: Any, more: Any, tmp_path: Path) -> None:
    x, y = X.astype(dtype), Y if kind is MLPClassifier else MANY
    plain = kind(**{**OPTIONS, **more}).fit(x, y)
    watched = clone(kind(**{**OPTIONS, **more}, watch=cr.Watch(tmp_path / "run", every=3)))
    watched.fit(x, y)
    for one, other in zip(plain.coefs_ + plain.intercepts_,
                          watched.coefs_ + watched.intercepts_, strict=True):  # fmt: skip
        np.testing.assert_array_equal(one, other)
    assert plain.loss_curve_ == watched.loss_curve_
    run = cr.load_run(tmp_path / "run")
    last = len(run.steps) - 1
    assert [line["step"] for line in run.steps] == list(range(last + 1))
    near = 3e-6 if dtype is np.float32 else 1e-14
    for step in (last - 2, last):
        again = run.replay(step)
        assert again.same
        np.testing.assert_array_equal(again.x, x[again.rows])
        gradient = again.gradient["W[1]"]
        move = run.why_moved("w[1][2,3]", step)
        assert move.before == again.network.layers[1].W[2, 3]
        assert move.gradient == pytest.approx(gradient[2, 3], rel=1e-3, abs=1e-6)
        assert math.fsum(s.value for s in move.shares) == pytest.approx(move.value, rel=1e-13)
        size = abs(move.before) + 8 * sum(abs(s.value) for s in move.shares)
        assert abs(move.of("rounding")) <= near * size
        assert move.of("penalty") != 0
    if not more.get("early_stopping"):  # else the best epoch's are put back
        assert move.after == watched.coefs_[0][3, 2]
    seen = {suspect.row for suspect in run.suspects(90)}
    assert len(seen) == (81 if more.get("early_stopping") else 90)
    assert seen <= set(range(90))


def test_rows_of_the_setting_are_those_of_x(tmp_path: Path) -> None:
    numbers = RNG.permutation(1000)[:90]
    watch = cr.Watch(tmp_path / "run", rows=numbers)
    MLPClassifier(**OPTIONS, watch=watch, early_stopping=True).fit(X, Y)
    again = cr.load_run(tmp_path / "run").replay(3)
    back = {int(number): i for i, number in enumerate(numbers)}
    np.testing.assert_array_equal(again.x, X[[back[int(row)] for row in again.rows]])


def test_the_setting_is_a_parameter_like_others(tmp_path: Path) -> None:
    m = MLPClassifier(**OPTIONS, watch=str(tmp_path / "run"))
    assert m.get_params()["watch"] == str(tmp_path / "run")
    m.set_params(watch=tmp_path / "other").fit(X, Y)
    assert (tmp_path / "other" / "run.json").is_file()
    assert not (tmp_path / "run").exists()
    assert pickle.loads(pickle.dumps(m)).watch == tmp_path / "other"
    m.set_params(watch=None).partial_fit(X, Y)
    small = scipy.sparse.csr_matrix(X)
    MLPClassifier(**OPTIONS, watch=tmp_path / "sparse").fit(small, Y)
    assert len(cr.load_run(tmp_path / "sparse").steps) == 270


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    with pytest.raises(ValueError, match="watch needs solver='adam' or 'sgd'; 'lbfgs' has no ep"):
        MLPClassifier(**OPTIONS, solver="lbfgs", watch=folder).fit(X, Y)
    with pytest.raises(ValueError, match="watch does not work with partial_fit, where each call"):
        MLPRegressor(**OPTIONS, watch=folder).partial_fit(X, MANY)
    with pytest.raises(TypeError, match="watch is 3; expected the path of a folder, or Watch"):
        MLPClassifier(**OPTIONS, watch=3).fit(X, Y)
    with pytest.raises(ValueError, match=r"rows has shape \(2,\); expected \(90,\)"):
        MLPClassifier(**OPTIONS, watch=cr.Watch(folder, rows=[1, 2])).fit(X, Y)
    monkeypatch.setattr(networks, "DENSE", 100)
    with pytest.raises(ValueError, match=r"watch needs a dense X.*with shape \(90, 4\)"):
        MLPClassifier(**OPTIONS, watch=folder).fit(scipy.sparse.csr_matrix(X), Y)
    assert not folder.exists()
