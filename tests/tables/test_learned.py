"""What a model has learned: importance, partial dependence, and what would change a prediction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import chainrule as cr
from chainrule.tables import training
from chainrule.tables.frames import TableModel
from chainrule.tables.opening import open_table
from chainrule.tables.schema import Column, Schema, Target
from chainrule.tables.training import Settings


def frame(n: int = 90) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    made = pd.DataFrame({
        "size": rng.normal(3, 2, n), "colour": rng.choice(["blue", "red", "green"], n),
        "day": pd.Timestamp("2022-01-08") + pd.to_timedelta(rng.integers(0, 900, n), "D"),
        "at": [f"{h:02}:{m:02}" for h, m in zip(rng.integers(0, 24, n), rng.integers(0, 60, n),
                                                strict=True)],
        "pay": [f"${x:,.2f}" for x in rng.uniform(900, 4000, n)],
    })  # fmt: skip
    made["y"] = np.round(made["size"] + (made.colour == "red") + rng.normal(0, 0.1, n), 3)
    made["kind"] = rng.choice(["bad", "fair", "good"], n)
    made.loc[[3, 20, 30, 40, 50, 60], "size"] = np.nan
    return made


CELLS = ["size", "colour", "day", "at", "pay"]


def model(folder: Path, target: str = "y") -> TableModel:
    """A model of that table, whose network has learned nothing."""
    data = frame().drop(columns="kind" if target == "y" else "y")
    data.to_csv(folder / "made.csv", index=False)
    source = open_table(folder / "made.csv")
    prepared = training.prepare(source, Settings(target, hidden=(9, 5), seed=4))
    return TableModel(training.make_network(prepared), prepared.schema)


def linear(*weights: float) -> TableModel:
    """y = Σ w x, in the columns' and the target's own units."""
    columns = tuple(
        Column(f"x{i}", "number", False, ("value",), (0.0,), (1.0,), (1.0,))
        for i in range(len(weights))
    )
    net = cr.Network([len(weights), 1], output="identity", W=[[list(weights)]], b=[[0.0]])
    return TableModel(net, Schema(columns, (), Target("y", "regress", "number"), ("",)))


# --- importance -----------------------------------------------------------------------------------


def test_the_importance_of_a_linear_model_is_that_of_the_formula() -> None:
    """Shuffled, w x brings ½ w² (x - x')² in the mean over all orders: w² Var(x)."""
    rng = np.random.default_rng(0)
    X, weights = rng.normal(size=(400, 3)) * [1.0, 3.0, 1.0], np.array([1.0, 0.5, 0.0])
    data = pd.DataFrame(X, columns=["x0", "x1", "x2"]).assign(y=X @ weights)
    found = linear(*weights).importance(data, repeats=40)
    assert list(found) == ["column", "importance", "deviation"]
    assert found.column.tolist() == ["x1", "x0", "x2"]
    expected = dict(zip(("x0", "x1", "x2"), weights**2 * X.var(axis=0), strict=True))
    for _, line in found.iterrows():
        assert abs(line.importance - expected[line.column]) <= 4 * line.deviation / 40**0.5 + 1e-12
    assert found.importance.tolist()[2] == 0
    again = linear(*weights).importance(pl.from_pandas(data), repeats=40)
    assert isinstance(again, pl.DataFrame)
    assert again["importance"].to_list() == found.importance.tolist()
    other = linear(*weights).importance(data, repeats=40, seed=1)
    assert other.importance[0] != found.importance[0]


def test_all_inputs_of_a_column_are_shuffled_together(tmp_path: Path) -> None:
    """Beside scikit-learn's importance of an estimator that takes the table as it is."""
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.inspection import permutation_importance

    table, data = model(tmp_path, "kind"), frame()
    classes = list(table.schema.target.classes)

    class Whole(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
        classes_ = np.array(classes)

        def fit(self, X: Any, y: Any) -> Any:
            return self

        def predict_proba(self, X: Any) -> Any:
            return table.predict(X)[[f"probability_{name}" for name in classes]].to_numpy()

    X = data[[column.name for column in table.schema.columns]]
    found = table.importance(data, repeats=30).set_index("column")
    beside = permutation_importance(
        Whole().fit(X, data.kind), X, data.kind, scoring="neg_log_loss", n_repeats=30,
        random_state=0,
    )  # fmt: skip
    for i, name in enumerate(X):
        error = np.hypot(beside.importances_std[i], found.deviation[name]) / 30**0.5
        assert abs(found.importance[name] - beside.importances_mean[i]) < 4 * error
        assert found.deviation[name] == pytest.approx(beside.importances_std[i], rel=0.7)


# --- partial dependence ---------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["y", "kind"])
def test_the_partial_dependence_is_the_mean_of_predictions(target: str, tmp_path: Path) -> None:
    table, data = model(tmp_path, target), frame()[CELLS]
    for name in ("size", "colour", "day", "at", "pay"):
        found = table.partial_dependence(data, name, points=6)
        assert 3 <= len(found) <= 6
        for _, line in found.iterrows():
            value = line[name]
            if name == "pay":
                value = f"${value:.2f}"
            changed = table.predict(data.assign(**{name: value}))
            for column in found.columns[1:]:
                assert line[column] == pytest.approx(changed[column].mean(), rel=1e-6)
    sizes = table.partial_dependence(data, "size", points=3)["size"].to_numpy()
    known = np.sort(data["size"].dropna())
    np.testing.assert_array_equal(sizes, known[[4, 41, 79]])
    colours = table.partial_dependence(data.to_dict("records"), "colour")
    assert [row["colour"] for row in colours] == ["blue", "green", "red"]


# --- sensitivity ----------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["y", "kind"])
def test_a_derivative_is_that_of_the_prediction_by_the_cell(target: str, tmp_path: Path) -> None:
    """Beside central differences, in float64, through the means and deviations of the columns."""
    table, data = model(tmp_path, target), frame().head(12)
    found = table.sensitivity(data)
    schema, net = table.schema, table.network
    source = open_table(tmp_path / "made.csv")
    X = table.preprocessing.transform(next(source.batches()).slice(0, 12), source, 0)
    units = {"size": 0, "pay": schema.inputs.index("pay, standardised")}
    for name, unit in units.items():
        column = next(c for c in schema.columns if c.name == name)
        lines = found[(found.column == name) & (found.change == "per 1")]
        assert lines.row.tolist() == [i for i in range(12) if name != "size" or i != 3]
        h = 1e-5 * column.scale[0]
        ends = []
        for sign in (1, -1):
            moved = X.astype(np.float64)
            moved[:, unit] += sign * h / column.scale[0]
            ends.append(net.forward(moved).a[len(net.sizes) - 1])
        slopes = (ends[0] - ends[1]) / (2 * h) * (schema.target.scale if target == "y" else 1)
        expected = slopes[lines.row.to_numpy()]
        np.testing.assert_allclose(lines.iloc[:, 4:].to_numpy(), expected, rtol=1e-6, atol=1e-12)


def test_a_derivative_passes_through_squeezed_numbers_and_pieces(tmp_path: Path) -> None:
    """Beside central differences of the encoding as its formulas say it, in float64."""
    frame()[[*CELLS, "y"]].to_csv(tmp_path / "made.csv", index=False)
    settings = Settings("y", hidden=(9, 5), seed=4, recipe="tuned")
    prepared = training.prepare(open_table(tmp_path / "made.csv"), settings)
    table = TableModel(training.make_network(prepared), prepared.schema)
    schema, net, data = table.schema, table.network, frame()[CELLS]
    found = table.sensitivity(data)
    source = open_table(tmp_path / "made.csv")
    X = table.preprocessing.transform(next(source.batches()), source, 0).astype(np.float64)
    checked = 0
    for name in ("size", "pay"):
        column = next(c for c in schema.columns if c.name == name)
        assert column.clip == 3
        assert len(column.bins) > 10
        values = data[name] if name == "size" else data[name].str.strip("$").str.replace(",", "")
        cell = values.astype(float).to_numpy()
        places = [i for i, unit in enumerate(schema.inputs) if unit.startswith(f"{name} from ")]
        h = 1e-6 * column.scale[0]
        ends = []
        for moved in (cell + h, cell - h):
            inputs = X.copy()
            z = (moved - column.mean[0]) / column.scale[0]
            inputs[:, schema.inputs.index(f"{name}, scaled")] = z / np.sqrt(1 + (z / 3) ** 2)
            for place, low, high in zip(places, column.bins, column.bins[1:], strict=False):
                inputs[:, place] = np.interp(moved, [low, high], [0, 1])
            inputs[np.isnan(inputs)] = 0
            ends.append(net.forward(inputs).a[3][:, 0])
        slopes = (ends[0] - ends[1]) / (2 * h) * schema.target.scale
        far = np.abs(cell[:, None] - column.bins).min(axis=1) > 2 * h  # from all kinks
        lines = found[(found.column == name) & (found.change == "per 1")].set_index("row")["y"]
        for row in np.flatnonzero(far):
            assert lines[row] == pytest.approx(slopes[row], rel=1e-4, abs=1e-7 * abs(slopes).max())
            checked += 1
    assert checked > 100


def test_several_networks_are_asked_for_their_mean(tmp_path: Path) -> None:
    first, data = model(tmp_path, "kind"), frame()[[*CELLS, "kind"]]
    others = []
    for seed in (7, 8):
        other = first.network.copy()
        other.parameters = np.random.default_rng(seed).normal(size=other.parameters.size) / 4
        others.append(other)
    table = TableModel(first.network, first.schema, others=tuple(others))
    each = [TableModel(network, first.schema) for network in table.networks]
    names = [f"probability_{name}" for name in first.schema.target.classes]
    for ask in (
        lambda one: one.partial_dependence(data.drop(columns="kind"), "size")[names],
        lambda one: one.sensitivity(data.drop(columns="kind").head(5))[names],
    ):
        found, parts = ask(table), [ask(one) for one in each]  # type: ignore[no-untyped-call]
        np.testing.assert_allclose(found, np.mean(parts, axis=0), rtol=1e-5, atol=2e-7)
    X, y, _, _ = table.samples(open_table(tmp_path / "made.csv"), slice(0, 90))
    p = np.mean([network.predict(X) for network in table.networks], axis=0)
    from chainrule.tables.learned import loss

    assert loss(table.networks, X, y) == pytest.approx(-np.log(p[np.arange(90), y]).mean())
    assert len(table.importance(data)) == 5


def test_a_derivative_is_that_of_automatic_differentiation(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    table, data = model(tmp_path, "kind"), frame().head(7)
    from chainrule.tables.sensitivity import slopes

    source = open_table(tmp_path / "made.csv")
    X = table.preprocessing.transform(next(source.batches()).slice(0, 7), source, 0)
    net = table.network.to_torch().double()
    expected = torch.autograd.functional.jacobian(net, torch.tensor(X, dtype=torch.float64))
    rows = np.arange(len(data))
    np.testing.assert_allclose(
        slopes(table.network, X), expected.numpy()[rows, :, rows], rtol=1e-9, atol=1e-15
    )


@pytest.mark.parametrize("target", ["y", "kind"])
def test_a_switch_is_the_change_of_the_prediction(target: str, tmp_path: Path) -> None:
    table, data = model(tmp_path, target), frame().head(8)[CELLS]
    now, found = table.predict(data), table.sensitivity(data)
    assert set(found.change) == {
        "per 1", "to blue", "to green", "to red", "one day later", "365 days later",
        "one hour later", f"to {table.schema.columns[0].mean[0]:.6g}",
    }  # fmt: skip
    hour = (pd.to_datetime(data["at"], format="%H:%M") + pd.Timedelta("1h")).dt.strftime("%H:%M")
    others = {
        "one day later": {"day": data.day + pd.Timedelta("1D")},
        "365 days later": {"day": data.day + pd.Timedelta("365D")},
        "one hour later": {"at": hour},
        f"to {table.schema.columns[0].mean[0]:.6g}": {"size": table.schema.columns[0].mean[0]},
        **{f"to {name}": {"colour": name} for name in ("blue", "green", "red")},
    }
    seen = 0
    for change, cells in others.items():
        then = table.predict(data.assign(**cells))
        for _, line in found[found.change == change].iterrows():
            for name in found.columns[4:]:
                move = then[name][line.row] - now[name][line.row]
                assert line[name] == pytest.approx(move, rel=1e-3, abs=2e-6)
            seen += 1
    assert seen == 8 * (2 + 1 + 1 + 1) + 1, "two other colours, two dates, an hour; one is missing"
    assert found.row.tolist() == sorted(found.row)
    assert found[(found.row == 0) & (found.column == "pay")]["value"].tolist() == [data.pay[0]]


# --- errors ---------------------------------------------------------------------------------------


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    table, data = model(tmp_path), frame()
    for call, error, words in (
        (lambda: table.importance(data, repeats=0), ValueError, "repeats must be at least 1"),
        (lambda: table.importance(data, repeats=1.5), TypeError, "repeats must be an integer"),
        (lambda: table.importance(data, seed=-1), ValueError, "seed must be at least 0"),
        (lambda: table.importance(data.drop(columns="y")), ValueError, "no column 'y', the target"),
        (lambda: table.importance(7), TypeError, "data is a int; expected a dataframe"),
        (lambda: table.partial_dependence(data, "sise"), ValueError,
         "the model has no column 'sise' .did you mean 'size'"),
        (lambda: table.partial_dependence(data, 3), TypeError, "column is a int; expected the"),
        (lambda: table.partial_dependence(data, "size", points=1), ValueError, "points must be at"),
        (lambda: table.partial_dependence(data[3:4], "size"), ValueError, "'size' has no value in"),
        (lambda: table.sensitivity(data.drop(columns="pay")), ValueError, "lacks column 'pay'"),
        (lambda: table.sensitivity(None), TypeError, "data is a NoneType"),
    ):  # fmt: skip
        with pytest.raises(error, match=words):
            call()  # type: ignore[no-untyped-call]
    odd = Schema(table.schema.columns, (), Target("size ", "regress", "number"), ("",))
    assert TableModel(table.network, odd).partial_dependence(data, "size", points=2) is not None


def test_many_rows_are_looked_at_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    from chainrule.tables import learned

    chosen = learned.some_rows(25_000, 3)
    assert chosen is not None
    assert len(chosen) == len(set(chosen.tolist())) == 10_000
    assert (np.diff(chosen) > 0).all()
    assert learned.some_rows(10_000, 3) is None
