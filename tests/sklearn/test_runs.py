"""Validation, early stopping and callbacks of the estimators."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn.neural_network as theirs

import chainrule as cr
from tests.sklearn.beyond import IRIS, KINDS, MANY, NAMES, classifier, regressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


# --- validation, early stopping, callbacks --------------------------------------------------------


def test_validation_losses_are_those_of_the_held_out_rows() -> None:
    X, y, X_val, y_val = IRIS[::2], NAMES[::2], IRIS[1::2], NAMES[1::2]
    weights = np.linspace(0, 1, len(X_val))
    m = classifier(alpha=0.2, batch_size=25).fit(X, y, validation_data=(X_val, y_val, weights))
    assert len(m.validation_loss_curve_) == m.n_iter_ == 20
    losses = -np.log(m.predict_proba(X_val)[np.arange(75), KINDS[1::2]])
    squares = sum((W**2).sum() for W in m.coefs_)
    expected = np.average(losses, weights=weights) + 0.2 / 25 / 2 * squares
    assert m.validation_loss_curve_[-1] == pytest.approx(expected, rel=1e-12)
    assert m.history_.val_loss == m.validation_loss_curve_
    assert m.history_.loss == m.loss_curve_
    assert m.validation_scores_ is None  # it does not decide when to stop
    same = classifier(alpha=0.2, batch_size=25).fit(X, y)
    np.testing.assert_array_equal(m.predict_proba(X), same.predict_proba(X))
    assert same.validation_loss_curve_ is None


def test_the_rows_that_early_stopping_splits_off_have_a_loss_curve_too() -> None:
    m = classifier(early_stopping=True, max_iter=7).fit(IRIS, NAMES)
    assert len(m.validation_loss_curve_) == len(m.validation_scores_) == 7
    assert m.history_.val_score == m.validation_scores_


@pytest.mark.parametrize("make", [classifier, regressor])
def test_early_stopping_on_rows_that_were_handed_in(make: Any) -> None:
    y = NAMES if make is classifier else MANY[:, 0]
    validation = (IRIS[::3], y[::3])
    m = make(early_stopping=True, max_iter=300, learning_rate_init=0.05, n_iter_no_change=5)
    m.fit(IRIS, y, validation_data=validation)
    assert m.stopped_
    assert m.n_iter_ < 300
    assert m.best_validation_score_ == max(m.validation_scores_)
    assert m.history_.best_epoch == m.validation_scores_.index(max(m.validation_scores_)) + 1
    assert m.score(*validation) == pytest.approx(m.best_validation_score_, rel=1e-12)


@pytest.mark.parametrize("make", [classifier, regressor])
def test_early_stopping_with_partial_fit(make: Any) -> None:
    y = NAMES if make is classifier else MANY[:, 0]
    first = {"classes": np.unique(NAMES)} if make is classifier else {}
    validation = (IRIS[::3], y[::3])
    m = make(early_stopping=True, learning_rate_init=0.05, n_iter_no_change=5)
    with pytest.raises(ValueError, match=r"Pass it: partial_fit\(X, y, validation_data="):
        m.partial_fit(IRIS, y, **first)
    calls = 0
    while calls < 300:
        calls += 1
        m.partial_fit(IRIS, y, validation_data=validation, **first)
        if m.stopped_:
            break
    assert 5 < calls < 300
    assert len(m.validation_scores_) == len(m.history_.epoch) == calls
    assert m.score(*validation) == pytest.approx(max(m.validation_scores_), rel=1e-12)
    m.partial_fit(IRIS, y, validation_data=validation)  # who wants more can have more
    assert len(m.validation_scores_) == calls + 1


def test_callbacks_see_the_run_and_can_end_it() -> None:
    seen: list[tuple[int, float]] = []

    def watch(run: Any) -> None:
        seen.append((run.epoch, run.history.loss[-1]))
        if run.epoch == 4:
            run.stop("enough")

    m = classifier(callbacks=[watch]).fit(IRIS, NAMES)
    assert seen == list(enumerate(m.loss_curve_, start=1))
    assert m.n_iter_ == 4
    assert m.history_.stop_reason == "enough"
    assert m.stopped_
    assert not classifier(max_iter=2).fit(IRIS, NAMES).stopped_


def test_a_callback_can_tell_partial_fit_that_it_is_enough() -> None:
    m = regressor(callbacks=[lambda run: run.stop("enough") if run.epoch == 3 else None])
    stopped = [m.partial_fit(IRIS, MANY).stopped_ for _ in range(4)]
    assert stopped == [False, False, True, False]  # who goes on after it has gone on
    assert m.history_.stop_reason is None


class Memory(cr.Callback):
    """Has seen so many epochs of a run; what a logger has delivered, say."""

    def on_start(self, run: Any) -> None:
        self.seen, self.ended = 0, False

    def on_epoch_end(self, run: Any) -> None:
        self.seen += 1

    def on_end(self, run: Any) -> None:
        self.ended = True

    def save_state(self) -> dict[str, Any]:
        return {"seen": self.seen, "ended": self.ended}

    def load_state(self, state: Any) -> None:
        assert state["ended"]
        self.seen = state["seen"]


def test_callbacks_go_on_with_their_state_in_partial_fit() -> None:
    memory = Memory()
    m = regressor(callbacks=[memory], max_iter=3).fit(IRIS, MANY)
    for epochs in (4, 5):
        m.partial_fit(IRIS, MANY)
        assert memory.seen == len(m.history_.epoch) == epochs
    again = pickle.loads(pickle.dumps(m)).partial_fit(IRIS, MANY)
    assert again.callbacks[0].seen == 6
    m.set_params(callbacks=[print, Memory()]).partial_fit(IRIS, MANY)
    assert m.callbacks[1].seen == 1  # others than before start anew
    assert m.fit(IRIS, MANY).callbacks[1].seen == 3


@pytest.mark.parametrize("make", [classifier, regressor])
def test_a_callback_that_needs_a_run_of_epochs_is_refused_by_partial_fit(make: Any) -> None:
    first = {"classes": np.unique(NAMES)} if make is classifier else {}
    m = make(callbacks=[print, cr.EarlyStopping("loss", patience=2)])
    with pytest.raises(ValueError, match=r"early_stopping=True.*validation_data=.*stopped_"):
        m.partial_fit(IRIS, NAMES if first else MANY, **first)
    assert not hasattr(m, "coefs_")


def test_the_history_keeps_its_rows_when_validation_comes_and_goes() -> None:
    held = (IRIS[:9], MANY[:9])
    m = regressor().partial_fit(IRIS, MANY)
    m.partial_fit(IRIS, MANY, validation_data=held)
    m.partial_fit(IRIS, MANY)
    m.set_params(early_stopping=True).partial_fit(IRIS, MANY, validation_data=held)
    h, nan = m.history_, np.nan
    assert h.epoch == [1, 2, 3, 4]
    assert h.loss == m.loss_curve_
    first, last = m.validation_loss_curve_
    np.testing.assert_array_equal(h.val_loss, [nan, first, nan, last])
    np.testing.assert_array_equal(h.val_score, [nan, nan, nan, *m.validation_scores_])
    assert list(h) == ["epoch", "loss", "val_loss", "val_score", "learning_rate", "seconds"]
    assert h.best_epoch == 4
    assert all(s > 0 for s in h.seconds)
    m.fit(IRIS, MANY)
    assert len(m.history_.epoch) == m.n_iter_  # a new fit, a new history


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"beta_2": 0.5}, [0.001] * 4),
        ({"solver": "sgd", "learning_rate": "constant"}, [0.001] * 4),
        (
            {"solver": "sgd", "learning_rate": "invscaling"},
            [0.001, *(0.001 / (150 * k + 1) ** 0.5 for k in (1, 2, 3))],
        ),
    ],
)
@pytest.mark.peer
def test_the_learning_rate_in_the_history_is_the_nominal_one(
    options: Any, expected: list[float], tmp_path: Path
) -> None:
    log = cr.CSVLogger(tmp_path / "log.csv")
    m = classifier(max_iter=4, callbacks=[log], **options).fit(IRIS, NAMES)
    assert m.history_.learning_rate == pytest.approx(expected, rel=1e-15)
    assert pd.read_csv(log.path)["learning_rate"].tolist() == m.history_.learning_rate
    more = classifier(**options)
    for _ in range(2):
        more.partial_fit(IRIS, NAMES, classes=np.unique(NAMES))
    assert more.history_.learning_rate == pytest.approx(expected[:2], rel=1e-15)
    if more.solver == "adam":  # scikit-learn's own attribute stays what it is there
        same = theirs.MLPClassifier((6, 4), max_iter=4, random_state=0, **options)
        rate = same.fit(IRIS, NAMES)._optimizer.learning_rate
        assert m._optimizer.learning_rate == pytest.approx(rate, rel=1e-12)


def test_the_packages_early_stopping_puts_the_best_weights_back() -> None:
    stop = cr.EarlyStopping("val_loss", patience=3)
    m = classifier(callbacks=[stop], max_iter=400, learning_rate_init=0.05)
    m.fit(IRIS[::2], NAMES[::2], validation_data=(IRIS[1::2], NAMES[1::2]))
    best = min(m.validation_loss_curve_)
    assert m.n_iter_ == 3 + m.history_.best_epoch < 400
    y = KINDS[1::2]
    loss = -np.log(m.predict_proba(IRIS[1::2])[np.arange(75), y]).mean() + m.network_.penalty()
    assert loss == pytest.approx(best, rel=1e-9)


def test_ctrl_c_keeps_what_was_learned() -> None:
    def interrupt(run: Any) -> None:
        if run.epoch == 3:
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="Training interrupted by user"):
        m = classifier(callbacks=[interrupt]).fit(IRIS, NAMES)
    same = classifier(max_iter=3).fit(IRIS, NAMES)
    np.testing.assert_array_equal(m.predict_proba(IRIS), same.predict_proba(IRIS))


def test_losses_are_numpys_numbers_as_theirs() -> None:
    for options in ({}, {"early_stopping": True}, {"solver": "lbfgs"}):
        m = classifier(**options).fit(IRIS, NAMES)
        found = [m.loss_, *getattr(m, "loss_curve_", []), getattr(m, "best_loss_", None)]
        assert {type(loss) for loss in found if loss is not None} == {np.float64}
        if not options:
            assert type(m.best_loss_) is np.float64
            assert {type(value) for value in m.history_.loss} == {float}  # for files and services
    with pytest.raises(ValueError, match="non-finite"):
        regressor(solver="sgd", learning_rate_init=1e200).fit(IRIS, MANY)
