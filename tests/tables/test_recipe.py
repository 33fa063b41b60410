"""The recipe of tables: encodings, candidates on folds, and members as one network."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.preprocessing import RobustScaler

import chainrule as cr
from chainrule.tables import encoding, recipe, training, tuning
from chainrule.tables.averaging import as_one
from chainrule.tables.frames import TableModel
from chainrule.tables.many_files import Files
from chainrule.tables.memory import memory
from chainrule.tables.opening import open_table
from chainrule.tables.preprocessing import Preprocessing
from chainrule.tables.recipe import FOLDS, Candidate, Task, candidates, learn, search
from chainrule.tables.roles import Roles
from chainrule.tables.source import Reading
from chainrule.tables.tuning import Tuned
from tests.tables.test_many_files import frame, written


def steps(n: int = 300) -> pd.DataFrame:
    """A number that jumps where another passes -1, 0 and 1; missing values, a category, a date."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=n)
    frame = pd.DataFrame({
        "x": np.round(x, 4), "town": rng.choice(["a", "b", "c"], n), "more": rng.normal(size=n),
        "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 700, n), "D"),
    })  # fmt: skip
    frame["y"] = 3.0 * np.digitize(x, [-1, 0, 1]) + (frame.town == "b") + rng.normal(0, 0.1, n)
    frame.loc[::9, "more"] = np.nan
    return frame


def prepared(frame: pd.DataFrame, **settings: Any) -> training.Prepared:
    settings = {"test": 0.0, "recipe": "tuned", "epochs": 30} | settings
    source = memory(frame, list(frame.columns))
    return training.prepare(source, training.Settings("y", **settings))


@pytest.fixture(scope="module")
def tuned() -> Tuned:
    return tuning.tune(prepared(steps()))


def model(tuned: Tuned) -> TableModel:
    made = training.model(tuned.network, tuned.prepared, tuned.histories[0], {}, {})
    return TableModel(made.network, made.schema, made.training | tuned.facts, {})


# --- encoding ------------------------------------------------------------------------------------


def test_numbers_are_scaled_by_median_and_quartiles() -> None:
    values = np.random.default_rng(0).gamma(2.0, size=501)
    middle, scale = encoding.robust(values)
    peer = RobustScaler(unit_variance=True).fit(values[:, None])
    assert middle == pytest.approx(peer.center_[0], rel=1e-12)
    assert scale == pytest.approx(peer.scale_[0], rel=1e-12)


@pytest.mark.parametrize(("values", "expected"), [
    ([5.0] * 9, (5.0, 1.0)), ([0.0] * 9 + [12.0], (0.0, 12 / math.sqrt(12))),
])  # fmt: skip
def test_numbers_that_are_mostly_one(values: list[float], expected: tuple[float, float]) -> None:
    assert encoding.robust(np.array(values)) == pytest.approx(expected)


def test_few_wild_values_do_not_decide_the_scale() -> None:
    values = np.random.default_rng(0).normal(size=300)
    mean, deviation = float(values.mean()), float(values.std())
    assert encoding.scaling(values, mean, deviation) == (mean, deviation)
    wild = np.concatenate([values, [1000.0] * 3])
    middle, scale = encoding.scaling(wild, float(wild.mean()), float(wild.std()))
    assert middle == pytest.approx(np.median(wild))
    quartiles = np.subtract(*np.quantile(wild, [0.75, 0.25])) / (2 * norm.ppf(0.75))
    assert scale == pytest.approx(3 * quartiles)


def test_far_numbers_are_squeezed() -> None:
    z = np.array([0.0, 0.01, 3.0, -4.0, 1e30])
    expected = [0.0, 0.01 / math.sqrt(1 + 1e-4 / 9), 3 / math.sqrt(2), -2.4, 3.0]
    np.testing.assert_allclose(encoding.squeeze(z, 3.0), expected, rtol=1e-12)


def test_pieces_add_up_to_the_place_between_the_ends() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=400)
    ends = encoding.edges(values, 16)
    assert len(ends) == 17
    counts = np.histogram(values, ends)[0]
    assert counts.sum() == 400
    assert set(counts.tolist()) <= {24, 25, 26}
    x = np.array([-9.0, *values[:50], 0.3, 9.0])
    pieces = encoding.piecewise(x, ends)
    np.testing.assert_allclose(pieces.sum(axis=1), np.interp(x, ends, range(17)), atol=1e-9)
    assert ((pieces[:, :-1] == 1) | (pieces[:, 1:] == 0)).all()  # a piece begins where one is full
    assert (encoding.piecewise(np.array([np.nan]), ends) == 0).all()


def test_few_values_have_few_pieces_or_none() -> None:
    assert encoding.edges(np.array([0.0, 1.0] * 50), 16) == ()
    assert encoding.edges(np.array([0.0, 1.0, 2.0] * 50), 16) == (0.0, 1.0, 2.0)


@pytest.mark.parametrize("batches", [1, 7, 60])
def test_a_sample_is_the_same_for_all_batches(
    batches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "_ROWS", 1000)
    X = np.arange(6000.0)[:, None] * [1.0, 2.0]
    whole, parts = encoding.Sample(), encoding.Sample()
    whole.see(X)
    for batch in np.array_split(X, batches):
        parts.see(batch)
    assert len(whole.rows) == 1000
    assert (whole.rows == parts.rows).all()
    assert abs(whole.rows[:, 0].mean() - X[:, 0].mean()) < 4 * X[:, 0].std() / math.sqrt(1000)


def test_samples_of_files_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "_ROWS", 1000)
    X = np.arange(6000.0)[:, None] * [1.0, 2.0]
    whole = encoding.Sample()
    for rows in (X[:2000], X[2000:2000], X[2000:]):
        part = encoding.Sample()
        part.see(rows)
        whole.join(part)
    assert len(whole.rows) == 1000
    assert abs(whole.rows[:, 0].mean() - X[:, 0].mean()) < 4 * X[:, 0].std() / math.sqrt(1000)


# --- members -------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [[4, 5, 3, 2], [4, 2]])
@pytest.mark.parametrize("output", ["identity", "softmax"])
def test_members_become_one_network(sizes: list[int], output: str) -> None:
    loss = "cross_entropy" if output == "softmax" else "half_squared_error"
    networks = [
        cr.Network(sizes, hidden="silu", output=output, loss=loss, seed=i) for i in range(3)
    ]
    for network in networks:
        network.parameters[...] = np.random.default_rng(network.seed).normal(
            size=network.parameters.size
        )
    inputs = [np.array([0, 1, 2, 3]), np.array([1, 2, 3, 5]), np.array([5, 4, 3, 2])]
    whole = as_one(list(zip(networks, inputs, strict=True)), 6)
    X = np.random.default_rng(9).normal(size=(20, 6))
    outputs = [network.predict(X[:, of]) for network, of in zip(networks, inputs, strict=True)]
    if output == "identity":
        expected = np.mean(outputs, axis=0)
    else:
        expected = np.prod(outputs, axis=0) ** (1 / 3)
        expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(whole.predict(X), expected, rtol=1e-9)
    assert whole.sizes == (6, *(3 * units for units in sizes[1:-1]), 2)


# --- candidates ----------------------------------------------------------------------------------


def test_pieces_are_chosen_where_a_number_jumps(tuned: Tuned) -> None:
    assert tuned.found.best.candidate.pieces
    assert tuned.found.pieces
    losses = {one.candidate: one.loss for one in tuned.found.tried}
    assert len(losses) == 8
    of = [min(losses[c] for c in losses if c.pieces == pieces) for pieces in (True, False)]
    assert of[0] < of[1]
    assert "pieces of numbers" in tuned.words()
    assert "the best of 8 candidates" in tuned.words()
    assert tuned.facts["pieces"] is True


def test_pieces_that_are_not_chosen_are_not_inputs() -> None:
    ready = prepared(steps())
    made = tuning.tune(ready, [Candidate(False, 1e-3)])
    assert not any(column.bins for column in made.prepared.schema.columns)
    assert made.network.sizes[0] == len(made.prepared.schema.inputs) < len(ready.schema.inputs)
    assert any(name == "x, scaled" for name in made.prepared.schema.inputs)


def test_each_row_is_predicted_by_a_network_that_has_not_learned_from_it(tuned: Tuned) -> None:
    found, X = tuned.found, np.asarray(tuned.prepared.X[0])
    assert sorted(np.bincount(found.task.folds).tolist()) == [60] * FOLDS
    outputs = []
    for one in found.chosen:
        of = X[:, found.task.inputs(one.candidate)]
        for k, network in one.networks.items():
            rows = found.task.folds == k
            wrong = network.predict(of[rows]) - tuned.prepared.targets(0)[rows]
            assert one.losses[k] == pytest.approx(np.mean(wrong**2) / 2, rel=1e-5)
            outputs.append(network.predict(of))
    mean = np.mean(outputs, axis=0)
    np.testing.assert_allclose(tuned.network.predict(X), mean, rtol=1e-4, atol=1e-5)


def test_two_candidates_are_averaged_if_that_is_better(tuned: Tuned) -> None:
    found, y = tuned.found, tuned.prepared.targets(0)
    fold = found.task.folds
    last = [one for one in found.tried if len(one.losses) == FOLDS]
    assert len(last) == 4
    outputs = []
    for one in last:
        of = found.task.X[:, found.task.inputs(one.candidate)]
        made = np.empty_like(y)
        for k, network in one.networks.items():
            made[fold == k] = network.predict(np.ascontiguousarray(of[fold == k]))
        outputs.append(made)
    losses = {
        (i, j): np.mean(((outputs[i] + outputs[j]) / 2 - y) ** 2)
        for i in range(4) for j in range(i, 4)
    }  # fmt: skip
    best = min(losses, key=lambda pair: losses[pair])
    assert {one.candidate for one in found.chosen} == {last[i].candidate for i in best}
    assert len(tuned.histories) == 5 * len(found.chosen)


def test_one_candidate_alone_is_chosen_if_no_mean_is_better() -> None:
    """The others do not learn: a penalty of 1e4 keeps them at the mean."""
    given = [Candidate(False, 1e-3), Candidate(False, 1e4), Candidate(True, 1e4)]
    made = tuning.tune(prepared(steps()), given)
    assert [one.candidate for one in made.found.chosen] == given[:1]
    assert made.found.best.losses.keys() == set(range(FOLDS))
    assert not any(column.bins for column in made.prepared.schema.columns)


def of_classes(y: np.ndarray, seed: int = 0) -> Task:
    X = np.zeros((len(y), 1), np.float32)

    def make(inputs: int, member: int, l2: float) -> cr.Network:
        return cr.Network([inputs, 2], output="softmax", loss="cross_entropy", seed=member, l2=l2)

    return Task(X, y, None, 1, make, 200, lambda n: 32, 0.1, seed)


def test_epochs_follow_from_the_rows() -> None:
    """As many as 5,000 steps of 32 rows make, but 25 to 150."""
    counts = {n: of_classes(np.arange(n) % 2).epochs for n in (100, 2000, 4000, 10**5)}
    assert counts == {100: 150, 2000: 80, 4000: 40, 10**5: 25}


def test_some_rows_have_the_shares_of_all() -> None:
    y = np.array([0] * 900 + [1] * 90 + [2] * 10)
    some = of_classes(y).some(200)
    assert np.bincount(some.y).tolist() == pytest.approx([180, 18, 2], abs=2)


def test_a_large_table_chooses_on_some_of_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "_PROBED_ROWS", 100)
    made = tuning.tune(prepared(steps()))
    assert len(made.found.task.X) == 300
    assert len(made.found.best.networks) == FOLDS
    assert len(made.found.tried) == 8
    probed = min(
        (one for one in made.found.tried if len(one.losses) == FOLDS), key=lambda one: one.loss
    )
    assert made.found.best.candidate.l2 == pytest.approx(probed.candidate.l2 / 3)
    assert made.found.best.candidate.pieces == probed.candidate.pieces


def test_work_is_counted() -> None:
    """Three multiplications for each weight and sample: the output, and two derivatives."""
    task = of_classes(np.arange(100) % 2)
    given = [Candidate(False, 0.0)] * 2
    assert task.work(given) == 2 * 3 * 4 * (80 * 150)  # 4 parameters, 80 rows, 150 epochs


def test_a_search_that_takes_too_long_tries_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "_WORK", 1.0)
    made = tuning.tune(prepared(steps()))
    assert len(made.found.tried) == 4
    assert {one.candidate.l2 for one in made.found.tried} == {1e-3, 1e-2}
    assert sorted(len(one.losses) for one in made.found.tried) == [2, 2, 5, 5]
    wide = tuning.tune(prepared(steps(60), epochs=2))  # more inputs than rows
    assert {one.candidate.l2 for one in wide.found.tried} == {1e-2, 5e-2}
    given = [Candidate(False, 0.3), Candidate(True, 0.3)]  # a λ that the user has set
    assert len(tuning.tune(prepared(steps()), given).found.tried) == 2


def test_a_large_table_that_takes_too_long_has_few_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "_PROBED_ROWS", 100)
    monkeypatch.setattr(recipe, "_WORK", 1.0)
    first = tuning.tune(prepared(steps(), test=0.2))
    assert len(first.histories) == 3
    assert first.facts["members"] == 3
    again = tuning.tune_again(first)
    assert len(again.histories) == 3
    assert again.network.sizes == first.network.sizes


def test_each_class_is_in_every_fold() -> None:
    y = np.array([0] * 50 + [1] * 7)
    task = of_classes(y, seed=3)
    counts = [np.bincount(y[task.folds == k]) for k in range(FOLDS)]
    assert {tuple(of) for of in counts} <= {(10, 1), (10, 2)}


def test_a_member_is_the_network_of_its_best_epoch() -> None:
    ready = prepared(steps(120), epochs=12)
    task = tuning.task_of(ready, [0], len(ready.schema.inputs), (), 0)
    found = search(task, [Candidate(False, 1e-3)])
    k = 2
    network = task.make(task.X.shape[1], k, 1e-3)
    rows = task.folds != k
    best, losses = None, []

    def look(run: cr.Run) -> None:  # type: ignore[name-defined]
        nonlocal best
        a = run.network.predict(task.X[~rows])
        losses.append(float(np.mean((a - task.y[~rows]) ** 2) / 2))
        if losses[-1] == min(losses):
            best = run.network.parameters.copy()

    schedule = cr.Cosine(0.006, epochs=12, final=0.003 * 0.02)
    network.fit(
        task.X[rows], task.y[rows], optimizer=cr.Adam(schedule), epochs=12,
        batch_size=task.batch_size, callbacks=[look],
    )  # fmt: skip
    assert (found.best.networks[k].parameters == best).all()
    assert found.best.histories[k].best_epoch == int(np.argmin(losses)) + 1


def test_the_same_rows_give_the_same_network(tuned: Tuned) -> None:
    again = tuning.tune(prepared(steps()))
    assert (again.network.parameters == tuned.network.parameters).all()


def test_candidates_follow_from_what_there_is() -> None:
    assert len(candidates(True, None)) == 8
    assert candidates(False, 0.5) == [Candidate(False, 0.5)]


def test_weights_of_rows_count() -> None:
    frame = steps(200)
    frame["w"] = np.where(frame.town == "c", 0.0, 2.0)
    frame.loc[frame.town == "c", "y"] = 1e3  # which nobody is to learn
    ready = prepared(frame, roles=Roles(weight="w"))
    made = tuning.tune(ready, [Candidate(False, 1e-3)])
    predicted = made.network.predict(ready.X[0][:, : made.network.sizes[0]])[:, 0]
    target = ready.schema.target
    others = (frame.town != "c").to_numpy()
    error = predicted[others] * target.scale + target.mean - frame.y[others]
    assert np.abs(error).mean() < 0.1 * np.abs(frame.y - frame.y.mean()).mean()


def test_balanced_classes_count_the_same() -> None:
    frame = steps(300)
    rng = np.random.default_rng(5)
    frame["y"] = np.where(rng.random(300) < 0.1, "rare", "usual")  # nothing to learn but shares
    shares = {}
    for balanced in (False, True):
        ready = prepared(frame, balanced=balanced, epochs=6)
        made = tuning.tune(ready, [Candidate(False, 5e-3)])
        a = made.network.predict(ready.X[0][:, : made.network.sizes[0]])
        shares[balanced] = float(a[:, 0].mean())
    assert shares[False] < 0.2
    assert 0.35 < shares[True] < 0.65


def test_all_rows_are_learned_from_again() -> None:
    first = tuning.tune(prepared(steps(), test=0.2), [Candidate(True, 1e-3)])
    again = tuning.tune_again(first)
    assert len(first.found.task.X) == 240
    assert len(again.found.task.X) == 300
    assert again.found.best.candidate == first.found.best.candidate
    assert again.network.sizes == first.network.sizes


def test_both_candidates_learn_from_all_rows_again() -> None:
    first = tuning.tune(prepared(steps(), test=0.2), [Candidate(False, 1e-3)])
    whole = prepared(steps(), test=0.2)
    both = [Candidate(True, 1e-3), Candidate(False, 1e-2)]
    task = tuning.task_of(whole, [0], first.network.sizes[0], (), 0)
    found = learn(task, both)
    again = tuning.tune_again(Tuned(whole, found.network(task.X.shape[1]), found))
    assert [one.candidate for one in again.found.chosen] == both
    assert again.network.sizes == (task.X.shape[1], 10 * 64, 10 * 32, 1)
    assert len(again.found.task.X) == 300
    assert again.facts["members"] == 10
    assert ", and numbers alone, λ = 0.01" in again.words()


# --- models --------------------------------------------------------------------------------------


def test_a_model_comes_back_and_explains_what_it_takes(tuned: Tuned, tmp_path: Path) -> None:
    table = model(tuned)
    table.save(tmp_path / "model")
    back = cr.load_table(tmp_path / "model")
    assert back.schema == table.schema
    rows = steps().drop(columns="y")[:20]
    pd.testing.assert_frame_equal(back.predict(rows), table.predict(rows))
    ends = next(c.bins for c in table.schema.columns if c.name == "x")
    inside = next(i for i, x in enumerate(rows.x) if ends[0] < x < ends[-1] and x not in ends)
    frame = steps()[inside : inside + 1]
    x = float(frame.x.iloc[0])
    text = back.explain("x[x]", frame).text()
    assert "x, scaled" in text
    low, high = next(pair for pair in itertools.pairwise(ends) if pair[0] < x < pair[1])
    source = memory(frame, [])
    place = back.preprocessing.transform(next(source.batches()), source, 0)[0]
    unit = table.schema.inputs.index(f"x from {low:.12g} to {high:.12g}")
    assert place[unit] == pytest.approx((x - low) / (high - low), rel=1e-5)


def test_files_say_what_they_need(tuned: Tuned) -> None:
    about = tuned.prepared.schema.to_dict()
    assert about["columns"][0]["clip"] == encoding.CLIP
    plain = prepared(steps(), recipe="plain").schema
    assert not {"clip", "bins"} & set(plain.to_dict()["columns"][0])
    assert type(plain).from_dict(plain.to_dict()) == plain
    assert type(plain).from_dict(about) == tuned.prepared.schema


def test_files_with_another_bound_are_read_as_they_are(tuned: Tuned) -> None:
    """Models were once written with a bound of 3."""
    about = tuned.prepared.schema.to_dict()
    for column in about["columns"]:
        column.update({"clip": 3.0} if "clip" in column else {})
    schema = type(tuned.prepared.schema).from_dict(about)
    rows = steps()[:3].assign(x=[-1e30, 1e30, 0.0])
    source = memory(rows, [])
    X = Preprocessing(schema).transform(next(source.batches()), source, 0)
    assert X[:2, schema.inputs.index("x, scaled")].tolist() == [-3.0, 3.0]


# --- tables in many files -------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [[400], [200, 200], [0, 399, 1], [40] * 10])
def test_a_table_in_files_is_cut_as_one(sizes: list[int], tmp_path: Path) -> None:
    settings = training.Settings("label", recipe="tuned")
    whole = frame()
    (tmp_path / "parts").mkdir()
    (of_one,) = written(tmp_path, whole, [400], "csv")
    files = written(tmp_path / "parts", whole, sizes, "csv")
    one = training.prepare(open_table(of_one), settings).schema
    many = training.prepare(Files(files, Reading()), settings).schema
    assert sum(len(column.bins) > 10 for column in one.columns) >= 3
    for a, b in zip(many.columns, one.columns, strict=True):
        assert (a.bins, a.clip, a.mean[:1]) == (b.bins, b.clip, b.mean[:1])


def test_samples_of_large_files_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "_ROWS", 1000)
    rng = np.random.default_rng(0)
    whole, joined = encoding.Sample(), encoding.Sample()
    for i in range(4):
        X = rng.normal(size=(3000, 1)) + i
        whole.see(X)
        part = encoding.Sample()
        part.see(X)
        joined.join(part)
        joined.join(encoding.Sample())
    assert (joined.n, len(joined.rows)) == (12_000, 1000)
    counts = np.histogram(joined.rows, 4, (-1, 4))[0]
    expected = np.histogram(whole.rows, 4, (-1, 4))[0]
    assert (abs(counts - expected) < 0.2 * expected + 30).all()
