"""Calibration of probabilities on held-out rows, beside scikit-learn and simulations."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from chainrule.tables.calibration import Calibration, of_rows
from chainrule.tables.held_out import HeldOut
from tests.cli.people import TRAIN, Run, folder, loaded, run  # noqa: F401


def drawn(k: int, n: int = 500, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(k, 0.7), n)
    return (rng.random(n)[:, None] > p.cumsum(axis=1)).sum(axis=1), p


def names(k: int) -> tuple[str, ...]:
    return tuple("abcdef"[:k])


def test_it_is_that_of_scikit_learn() -> None:
    y, p = drawn(2)
    found = of_rows(y, p, names(2))
    observed, predicted = calibration_curve(y, p[:, 1], n_bins=10)
    np.testing.assert_allclose([b.observed for b in found.bins], observed, rtol=1e-12)
    np.testing.assert_allclose([b.predicted for b in found.bins], predicted, rtol=1e-12)
    assert found.brier == pytest.approx(brier_score_loss(y, p[:, 1]), rel=1e-12)
    counts = np.histogram(p[:, 1], np.linspace(0, 1, 11))[0]
    assert [b.rows for b in found.bins] == counts.tolist()
    error = (counts / len(y) * np.abs(observed - predicted)).sum()
    assert found.error == pytest.approx(error, rel=1e-12)
    assert (found.of, found.rows) == ("b", 500)


def test_of_many_classes_it_is_that_of_the_predicted_class() -> None:
    y, p = drawn(4)
    best = p.argmax(axis=1)
    observed, predicted = calibration_curve(best == y, p.max(axis=1), n_bins=10)
    found = of_rows(y, p, names(4))
    np.testing.assert_allclose([b.observed for b in found.bins], observed, rtol=1e-12)
    np.testing.assert_allclose([b.predicted for b in found.bins], predicted, rtol=1e-12)
    assert found.brier == pytest.approx(((p - np.eye(4)[y]) ** 2).sum(axis=1).mean(), rel=1e-12)
    assert found.of == ""


def test_exact_probabilities_have_the_error_of_chance() -> None:
    errors, chances = [], []
    for seed in range(200):
        y, p = drawn(2, 300, seed)
        found = of_rows(y, p, names(2))
        errors.append(found.error)
        chances.append(found.chance)
    assert np.mean(errors) == pytest.approx(np.mean(chances), rel=0.05)
    sharp = np.where(p > 0.5, 0.99, 0.01)  # too sure
    assert of_rows(y, sharp, names(2)).error > 4 * np.mean(chances)


def test_a_weight_is_so_many_rows() -> None:
    y, p = drawn(3, 60)
    times = np.random.default_rng(1).integers(0, 4, 60)
    found = of_rows(y, p, names(3), times.astype(float))
    each = of_rows(np.repeat(y, times), np.repeat(p, times, axis=0), names(3))
    assert found.brier == pytest.approx(each.brier, rel=1e-12)
    assert found.error == pytest.approx(each.error, rel=1e-12)
    assert [b.observed for b in found.bins] == pytest.approx([b.observed for b in each.bins])
    assert found.rows == (times > 0).sum()


def test_it_is_told_and_saved(run: Run) -> None:
    code, out, _ = run(*TRAIN, "--epochs", "5", "--plain", "--no-plot")
    assert code == 0
    model = loaded()
    found = model.held_out.calibration
    assert found is not None
    assert found.rows == 48
    assert found.words() in " ".join(out.split())
    assert model.held_out.intervals is None
    told = " ".join(run("inspect", "model")[1].split())
    assert found.words() in told
    assert "predicted probability of yes observed share rows" in told
    about = json.loads(run("inspect", "model", "--json")[1])["table"]["held_out"]
    assert Calibration.from_dict(about["calibration"]) == found


def test_it_is_that_of_the_network_before_the_refit(run: Run) -> None:
    run(*TRAIN, "--epochs", "5")
    first = loaded()
    run(*TRAIN, "--epochs", "5", "--no-refit")
    assert loaded().held_out == first.held_out
    run(*TRAIN, "--epochs", "2", "--test", "0")
    assert loaded().held_out == HeldOut()
    assert json.loads(run("inspect", "model", "--json")[1])["table"]["held_out"] == {}


@pytest.mark.parametrize(
    "change",
    [{"bins": 3}, {"rows": -1}, {"rows": 1.5}, {"error": "none"}, {"brier": float("nan")},
     {"of": 1}, {"bins": [{"rows": 1, "share": 2.0, "predicted": 0.5, "observed": 0.5}]}],
)  # fmt: skip
def test_what_is_malformed_is_refused(change: dict[str, Any]) -> None:
    good = of_rows(*drawn(2), names(2)).to_dict()
    assert Calibration.from_dict(json.loads(json.dumps(good))) == of_rows(*drawn(2), names(2))
    with pytest.raises(ValueError, match="its calibration is malformed; expected rows, of, error"):
        Calibration.from_dict({**good, **change})
    wrongs: list[Any] = [[], {"other": {}}, None]
    for wrong in wrongs:
        with pytest.raises(ValueError, match="expected calibration or intervals"):
            HeldOut.from_dict(wrong)
