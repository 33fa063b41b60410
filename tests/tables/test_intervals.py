"""Intervals of numbers: their coverage on fresh rows beside the guarantee; files, errors."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import chainrule as cr
from chainrule.tables.held_out import HeldOut
from chainrule.tables.intervals import Intervals, of_rows
from tests.cli.people import TRAIN, Run, folder, loaded, run  # noqa: F401

# --- the guarantee --------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "level"), [(9, 0.9), (20, 0.8), (60, 0.9), (39, 0.5)])
def test_the_coverage_is_that_of_the_theory(n: int, level: float) -> None:
    """For continuous errors it is ⌈(n + 1) level⌉ / (n + 1) in the mean (Lei et al., 2018)."""
    rng = np.random.default_rng(n)
    times, fresh = 1500, 200
    covered = np.empty(times)
    for i in range(times):
        errors = rng.standard_t(3, n + fresh)  # heavy tails, around a prediction of 5
        low, high = of_rows(5 + errors[:n], np.full(n, 5.0)).around(np.full(fresh, 5.0), level)
        covered[i] = ((low <= 5 + errors[n:]) & (5 + errors[n:] <= high)).mean()
    expected = math.ceil((n + 1) * level - 1e-9) / (n + 1)
    assert covered.mean() == pytest.approx(expected, abs=4 * covered.std() / times**0.5)
    assert expected >= level


def test_of_many_rows_some_errors_are_kept_and_none_is_too_small() -> None:
    rng = np.random.default_rng(0)
    errors = rng.exponential(size=30_001)
    found = of_rows(errors, np.zeros(len(errors)))
    assert len(found.errors) <= 500
    for level in (0.01, 0.5, 0.8, 0.9, 0.99, 0.999, 0.9999):
        exact = np.sort(errors)[math.ceil(30_002 * level - 1e-9) - 1]
        more = np.sort(errors)[min(30_000, math.ceil(30_002 * (level + 0.003)))]
        assert exact <= found.width(level) <= more
        assert level < 0.99 or found.width(level) <= 1.01 * exact or level == 0.99


def test_a_weight_is_so_many_rows() -> None:
    rng = np.random.default_rng(0)
    errors, times = rng.random(200), rng.integers(0, 4, 200)
    found = of_rows(errors, np.zeros(200), times.astype(float))
    every = np.sort(np.repeat(errors, times))
    mean = times[times > 0].mean()
    for level in (0.5, 0.8, 0.9, 0.95):
        assert found.width(level) == every[math.ceil((len(every) + mean) * level - 1e-9) - 1]
    assert found.rows == (times > 0).sum()


def test_intervals_are_wider_where_the_networks_disagree() -> None:
    """The coverage stays, and the widths follow the spread."""
    rng = np.random.default_rng(0)
    times, n, fresh = 400, 60, 200
    covered = []
    for _ in range(times):
        spread = rng.uniform(0.1, 3.0, n + fresh)
        y = rng.normal(size=n + fresh) * spread
        made = of_rows(y[:n], np.zeros(n), spread=spread[:n])
        low, high = made.around(np.zeros(fresh), 0.8, spread[n:])
        covered.append(((low <= y[n:]) & (y[n:] <= high)).mean())
    expected = math.ceil(61 * 0.8) / 61
    assert np.mean(covered) == pytest.approx(expected, abs=4 * np.std(covered) / times**0.5)
    width = high - low
    order = np.argsort(spread[n:])
    assert (np.diff(width[order]) > 0).all()
    assert width.max() / width.min() == pytest.approx(
        (spread[n:].max() + made.floor) / (spread[n:].min() + made.floor)  # type: ignore[operator]
    )
    with pytest.raises(ValueError, match="pass spread="):
        made.around(np.zeros(3), 0.8)


def table(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": rng.normal(size=n), "b": rng.choice(["x", "y"], n)})
    frame["y"] = np.round(
        100 + 20 * np.sin(2 * frame.a) + 9 * (frame.b == "x") + rng.normal(0, 3, n), 2
    )
    return frame


OF_Y = ("train", "made.csv", "--target", "y", "--out", "model", "--epochs", "30", "--no-plot",
        "--recipe", "plain")  # fmt: skip


@pytest.mark.parametrize("refit", ["--refit", "--no-refit"])
def test_fresh_rows_are_inside(refit: str, run: Run) -> None:
    """For n held-out rows the coverage is Beta(k, n + 1 - k); refitted, it is as good or better."""
    table(1500, 0).to_csv("made.csv", index=False)
    assert run(*OF_Y, refit)[0] == 0
    fresh = table(4000, 1)
    fresh.to_csv("fresh.csv", index=False)
    for level in (0.5, 0.9, 0.95):
        code, _, err = run("predict", "model", "fresh.csv", "--intervals", str(level), "--out",
                           "p.csv")  # fmt: skip
        assert code == 0
        found = pd.read_csv("p.csv")
        assert list(found) == ["y", "lower", "upper"]
        inside = ((found.lower <= fresh.y) & (fresh.y <= found.upper)).to_numpy()
        k = math.ceil(301 * level - 1e-9)
        mean = k / 301
        deviation = math.sqrt(mean * (1 - mean) * (1 / 302 + 1 / 4000))
        assert abs(inside.mean() - mean) < 4 * deviation
        assert f"{inside.sum():,} of these 4,000 are inside their intervals" in err
        np.testing.assert_allclose((found.lower + found.upper) / 2, found.y, rtol=1e-6)


def test_those_of_several_networks_follow_their_spread(run: Run) -> None:
    table(1500, 0).to_csv("made.csv", index=False)
    assert run(*OF_Y, "--members", "3")[0] == 0
    model, fresh = cr.load_table("model"), table(4000, 1)
    made = model.held_out.intervals
    assert made is not None
    assert made.floor is not None
    found = model.predict(fresh.drop(columns="y"), spread=True, intervals=0.9)
    assert list(found) == ["y", "lower", "upper", "spread"]
    half = (found.upper - found.lower) / 2
    np.testing.assert_allclose(half, made.width(0.9) * (found.spread + made.floor), rtol=1e-4)
    inside = ((found.lower <= fresh.y) & (fresh.y <= found.upper)).mean()
    assert abs(inside - 0.9) < 4 * math.sqrt(0.9 * 0.1 * (1 / 302 + 1 / 4000)) + 1 / 301
    assert f"intervals: {made.words()}" in " ".join(run("inspect", "model")[1].split())
    assert "90 % within ± " in made.words()
    assert " times the spread" in made.words()


def test_each_group_has_its_own(run: Run) -> None:
    made = table(900, 0)
    made.loc[made.b == "y", "y"] *= 10
    made.to_csv("made.csv", index=False)
    command = ("train", "made.csv", "--target", "y", "--out", "model", "--epochs", "30", "--by")
    assert run(*command, "b")[0] == 0
    groups = cr.load_groups("model")
    fresh = table(100, 1)
    found = groups.predict(fresh.drop(columns="y"), intervals=0.8)
    for name in ("x", "y"):
        here = (fresh.b == name).to_numpy()
        half = (found.upper - found.lower)[here] / 2
        own = groups[name].held_out.intervals
        assert own is not None
        np.testing.assert_allclose(half, own.width(0.8), rtol=1e-4)
    fresh.loc[0, "b"] = "z"
    fresh.to_csv("fresh.csv", index=False)
    code, _, err = run("predict", "model", "fresh.csv", "--intervals", "0.8", "--new-groups",
                       "empty", "--out", "p.csv")  # fmt: skip
    assert code == 0
    assert "of these 99 are inside their intervals" in err
    assert pd.read_csv("p.csv").lower.isna().tolist() == [True] + [False] * 99
    fresh.assign(b="z").to_csv("none.csv", index=False)
    code, _, err = run("predict", "model", "none.csv", "--intervals", "0.8", "--new-groups",
                       "empty", "--out", "p.csv")  # fmt: skip
    assert code == 0
    assert "100 rows without a prediction" in err
    code, _, err = run("predict", "model", "fresh.csv", "--intervals", "0.999")
    assert code == 2
    assert "b x: intervals of 0.999 need 999 held-out rows or more" in err


# --- files, words, errors -------------------------------------------------------------------------


def test_they_are_told_saved_and_given_in_python(run: Run) -> None:
    table(200, 0).to_csv("made.csv", index=False)
    code, out, _ = run(*OF_Y, "--plain")
    assert code == 0
    made = loaded().held_out.intervals
    assert made is not None
    assert (made.rows, made.floor, made.least) == (40, None, None)
    told = " ".join(out.split())
    assert "intervals: 50 % within ± " in told
    assert "99 %" not in told, "40 rows are not enough"
    assert told.split("intervals: ")[1].split(" refit")[0] in " ".join(
        run("inspect", "model")[1].split()
    )
    about = json.loads(run("inspect", "model", "--json")[1])["table"]["held_out"]["intervals"]
    assert about["width"]["0.9"] == made.width(0.9)
    model, fresh = cr.load_table("model"), table(5, 1)
    assert model.held_out.intervals == made
    found = model.predict(fresh, intervals=0.9)
    assert list(found) == ["y", "lower", "upper"]
    assert list(model.predict(fresh)) == ["y"]
    np.testing.assert_allclose(found.upper - found.y, made.width(0.9), rtol=1e-5)
    fresh.to_csv("fresh.csv", index=False)
    run("predict", "model", "fresh.csv", "--json", "--intervals", "0.9", "--out", "p.jsonl")
    lines = [json.loads(line) for line in Path("p.jsonl").read_text().splitlines()]
    assert [line["lower"] for line in lines] == found.lower.tolist()
    model.save("again")
    assert Path("again").read_bytes() == Path("model").read_bytes()


def test_counts_are_not_below_0(run: Run) -> None:
    frame = table(200, 0)
    frame["y"] = np.random.default_rng(2).poisson(np.exp(frame.a))
    frame.to_csv("made.csv", index=False)
    assert run(*OF_Y, "--loss", "poisson", "--task", "regress")[0] == 0
    found = cr.load_table("model").predict(table(50, 1), intervals=0.9)
    assert found.lower.min() == 0
    assert (found.upper > found.y).all()


def test_levels_that_no_model_has(run: Run) -> None:
    table(200, 0).to_csv("made.csv", index=False)
    run(*OF_Y)
    model, fresh = cr.load_table("model"), table(5, 1)
    for level, error, words in (
        (0.99, ValueError, r"of 0\.99 need 99 held-out rows.* 40, enough for 0\.975\. Ask"),
        (1.0, ValueError, "intervals is 1; expected a level between 0 and 1, such as 0.9"),
        (90, ValueError, "intervals is 90; expected"),
        (float("nan"), ValueError, "intervals is nan; expected"),
        (True, TypeError, "intervals is a bool; expected a level"),
        ("0.9", TypeError, "intervals is a str; expected a level"),
    ):  # fmt: skip
        with pytest.raises(error, match=words):
            model.predict(fresh, intervals=level)
    fresh.to_csv("fresh.csv", index=False)
    code, out, err = run("predict", "model", "fresh.csv", "--intervals", "0.99")
    assert (code, out) == (2, "")
    assert "need 99 held-out rows" in err
    assert run("predict", "model", "fresh.csv", "--intervals", "1.5")[0] == 2


def test_models_without_intervals(run: Run) -> None:
    table(200, 0).rename(columns={"y": "lower"}).to_csv("made.csv", index=False)
    of_lower = ["lower" if word == "y" else word for word in OF_Y]
    run(*of_lower)
    code, _, err = run("predict", "model", "made.csv", "--intervals", "0.9")
    assert code == 2
    assert "a target is named 'lower', as an end of the intervals is" in err
    table(200, 0).to_csv("made.csv", index=False)
    run(*OF_Y, "--test", "0")
    code, _, err = run("predict", "model", "made.csv", "--intervals", "0.9")
    assert code == 2
    assert "the model has no intervals, because no rows were held out" in err
    run(*TRAIN, "--epochs", "2")
    code, _, err = run("predict", "model", "people.csv", "--intervals", "0.9")
    assert code == 2
    assert "the target 'label' has classes, whose probabilities stand beside" in err
    with pytest.raises(ValueError, match="this model has 0, not enough"):
        of_rows(np.zeros(3), np.ones(3), np.zeros(3)).width(0.5)


@pytest.mark.parametrize(
    "change",
    [{"levels": [0.5]}, {"errors": [2.0, 1.0]}, {"levels": [0.7, 0.2]}, {"rows": "2"},
     {"errors": [1.0, float("inf")]}, {"floor": -1.0}, {"least": "0"}, {"levels": [0.2, 1.0]},
     {"errors": [-1.0, 1.0]}],
)  # fmt: skip
def test_what_is_malformed_is_refused(change: dict[str, Any]) -> None:
    good = of_rows(np.array([1.0, 3.0]), np.zeros(2)).to_dict()
    read = json.loads(json.dumps(good))
    assert Intervals.from_dict(read) == of_rows(np.array([1.0, 3.0]), np.zeros(2))
    assert HeldOut.from_dict({"intervals": read}).intervals is not None
    with pytest.raises(ValueError, match="its intervals are malformed; expected rows, levels"):
        Intervals.from_dict({**good, **change})
