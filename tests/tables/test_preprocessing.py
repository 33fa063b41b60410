"""From columns to inputs: against scikit-learn's own objects, fitted on the training rows."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from chainrule.tables import profile, rows
from chainrule.tables import source as sources
from chainrule.tables.fitting import Fitting
from chainrule.tables.moments import Moments
from chainrule.tables.notes import Notes
from chainrule.tables.opening import open_table
from chainrule.tables.preprocessing import Preprocessing, date_parts
from chainrule.tables.profile import Wishes
from chainrule.tables.schema import Column, Schema, Target
from chainrule.tables.source import MISSING, TableError
from chainrule.tables.target import understand

TARGET = Target("y", "classify", "text", ("no", "yes"))


def table(folder: Path, frame: pd.DataFrame, form: str = "csv") -> sources.Source:
    path = folder / f"data.{form}"
    if form == "csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)
    return open_table(path)


def fitting_of(source: sources.Source, parts: np.ndarray, wishes: Wishes | None = None) -> Fitting:
    found = profile.look(source, "y", MISSING, wishes or Wishes())
    fitting = Fitting(source, found.findings, MISSING)
    rows.fit(source, fitting, parts)
    return fitting


def fitted(
    source: sources.Source, parts: np.ndarray, most: int = 50, wishes: Wishes | None = None
) -> Schema:
    fitting = fitting_of(source, parts, wishes)
    columns, left_out = fitting.finish(most)
    return Schema(tuple(columns), tuple(left_out), TARGET, MISSING)


def mixed(n: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({
        "income": np.exp(rng.normal(10, 1, n)),
        "age": np.where(rng.random(n) < 0.2, np.nan, rng.normal(40, 9, n)),
        "colour": rng.choice(["red", "green", "blue"], n),
        "size": np.where(rng.random(n) < 0.1, np.array(None), rng.choice(["S", "M", "L"], n)),
        "y": rng.choice(["yes", "no"], n),
    })  # fmt: skip


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_inputs_are_scikit_learns_to_the_bit(form: str, tmp_path: Path) -> None:
    frame = mixed()
    parts = np.where(np.arange(len(frame)) % 3 == 0, 2, 0).astype(np.int8)
    schema = fitted(table(tmp_path, frame, form), parts)
    source = open_table(tmp_path / f"data.{form}")
    ours, _ = rows.transform(source, Preprocessing(schema), parts)

    zero = SimpleImputer(strategy="constant", fill_value=0)
    numbers = FeatureUnion([
        ("values", make_pipeline(StandardScaler(), zero)),
        ("missing", MissingIndicator()),
    ])  # fmt: skip
    categories = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="~missing", missing_values=None),
        OneHotEncoder(sparse_output=False),
    )
    whole = ColumnTransformer(
        [("numbers", numbers, ["income", "age"]), ("categories", categories, ["colour", "size"])]
    )
    frame["size"] = frame["size"].astype(object).where(frame["size"].notna(), None)
    frame["colour"] = frame["colour"].astype(object)
    train, test = frame[parts == 0], frame[parts == 2]
    expected = whole.fit(train)
    for part, of in ((0, train), (2, test)):
        theirs = np.asarray(expected.transform(of), dtype=np.float32)
        assert np.array_equal(ours[part], theirs)
    assert schema.inputs == [
        "income, standardised", "age, standardised", "age is missing", "colour=blue",
        "colour=green", "colour=red", "size=L", "size=M", "size=S", "size=(missing)",
    ]  # fmt: skip


def test_rebuilt_from_json_it_is_the_same_to_the_bit(tmp_path: Path) -> None:
    frame = mixed()
    frame["when"] = pd.date_range("2020-02-28", periods=len(frame), freq="7h").astype(str)
    source = table(tmp_path, frame)
    parts = np.zeros(len(frame), dtype=np.int8)
    schema = fitted(source, parts)
    again = Schema.from_dict(json.loads(json.dumps(schema.to_dict())))
    assert again == schema
    first, second = (Preprocessing(of) for of in (schema, again))
    batch = next(source.batches())
    assert np.array_equal(first.transform(batch, source, 0), second.transform(batch, source, 0))
    assert np.array_equal(first.mean, second.mean)
    assert np.array_equal(first.scale, second.scale)


@pytest.mark.parametrize("batches", [1, 7, 50])
def test_moments_are_scikit_learns(batches: int) -> None:
    """In one batch or many; with NaN, constant columns, and a column of nothing but NaN."""
    rng = np.random.default_rng(3)
    X = np.exp(rng.normal(size=(400, 6))) * [1, 1e-60, 1e60, 1, 1, 1] + [0, 0, 0, 1e4, 0, 0]
    X[rng.random(X.shape) < 0.2] = np.nan
    X[:, 4], X[:, 5], X[:200, 0] = 0.1, np.nan, np.nan
    moments = Moments()
    for part in np.array_split(X, batches):
        moments.see(part)
    expected = StandardScaler().fit(X[:, :5])
    np.testing.assert_allclose(moments.mean[:5], expected.mean_, rtol=1e-14)
    np.testing.assert_allclose(moments.scale[:5], expected.scale_, rtol=1e-13)
    assert (moments.mean[5], moments.variance[5], moments.scale[5]) == (0, 0, 1)
    if batches == 1:
        assert np.array_equal(moments.mean[:5], expected.mean_)
        assert np.array_equal(moments.scale[:5], expected.scale_)


def test_batches_change_nothing_but_rounding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame, parts = mixed(), np.zeros(300, dtype=np.int8)
    whole = fitted(table(tmp_path, frame), parts)
    monkeypatch.setattr(sources, "BATCH", 37)
    pieces = fitted(table(tmp_path, frame), parts)
    for one, other in zip(whole.columns, pieces.columns, strict=True):
        np.testing.assert_allclose(one.mean, other.mean, rtol=1e-13)
        np.testing.assert_allclose(one.scale, other.scale, rtol=1e-13)
        assert (one.categories, one.missing) == (other.categories, other.missing)


def test_only_training_rows_are_learned_from(tmp_path: Path) -> None:
    frame = mixed()
    parts = np.where(np.arange(len(frame)) < 200, 0, 2).astype(np.int8)
    before = fitted(table(tmp_path, frame), parts)
    frame.loc[200:, ["income", "age"]] = 1e6
    frame.loc[200:, "colour"] = "purple"
    assert fitted(table(tmp_path, frame), parts).columns == before.columns


def test_dates_are_taken_apart() -> None:
    days = np.array(["1970-01-01T12:00", "2024-02-29", "1969-12-31", "NaT"], dtype="datetime64[s]")
    seconds = np.where(np.isnat(days), np.nan, days.astype(np.int64).astype(float))
    parts = dict(zip(sources_parts(), date_parts(seconds), strict=True))
    assert parts["days"][:3].tolist() == [0.5, 19782, -1]
    assert np.isnan(parts["days"][3])
    for i, (year, week, time) in enumerate([(0, 3, 0.5), (59, 3, 0), (364, 2, 0)]):
        # Thursday, Thursday, Wednesday; weeks begin on Monday
        angle = 2 * np.pi * np.array([year / 365.2425, week / 7, time])
        sines = [parts[f"{name} sin"][i] for name in ("year", "week", "day")]
        cosines = [parts[f"{name} cos"][i] for name in ("year", "week", "day")]
        np.testing.assert_allclose(sines, np.sin(angle), atol=1e-12)
        np.testing.assert_allclose(cosines, np.cos(angle), atol=1e-12)


def sources_parts() -> Sequence[str]:
    from chainrule.tables.schema import DATE_PARTS

    return DATE_PARTS


def one_column(values: Sequence[object], n: int = 60) -> pd.DataFrame:
    cells = (list(values) * n)[:n] or [None] * n
    return pd.DataFrame(
        {"c": cells, "other": np.arange(n) % 7 + 0.5, "y": ["yes", "no"] * (n // 2)}
    )


@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        ([1, 2.5, None], "number", "1 to 2.5"),
        (["1", "+2", " 3 ", "1e3", "?"], "number", "1 to 1000, mean 251.5"),
        ([True, False], "category", "2 categories"),
        (["a", "b"], "category", "2 categories: a, b"),
        (["2024-01-31", "2024-02-01", ""], "date", "2024-01-31 to 2024-02-01"),
        (["2024-01-31T10:00:00Z", "2024-02-01T11:30:00Z"], "date", "2024-01-31 to 2024-02-01"),
        (["1", "2", "x", "y"], "category", "4 categories: 1, 2, x, y"),
        (["same"], "left out", "it is 'same' in every training row"),
        ([5], "left out", "it is 5 in every training row"),
        (["2024-01-31"], "left out", "it is 2024-01-31 in every training row"),
        (["", "NA", "null", "None"], "left out", "it has no value in any row"),
        (range(60), "left out", "it numbers the rows"),
        (range(1, 61), "left out", "it numbers the rows"),
        ([f"text {i}" for i in range(60)], "left out", "free text or names: 60 different texts"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_what_columns_are_taken_for(
    values: Sequence[object], kind: str, words: str, form: str, tmp_path: Path
) -> None:
    schema = fitted(table(tmp_path, one_column(values), form), np.zeros(60, dtype=np.int8))
    found: dict[str, Any] = {c.name: (c.kind, c.words) for c in schema.columns}
    found |= {c.name: ("left out", c.why) for c in schema.left_out}
    assert found["c"][0] == kind
    assert words in found["c"][1]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_ids_are_known_by_name_and_by_differing(form: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = one_column(["a", "b"])
    frame["user_id"] = rng.permutation(10**6)[:60]
    frame["malic_acid"] = rng.permutation(10**6)[:60]
    frame["grid"] = rng.permutation(10**6)[:60]
    frame["plan id"] = [1, 2, 3] * 20
    frame["uv index"] = [1.5, 2.0, 3.0] * 20
    frame["pain_index"] = [1.0, 2.0, None] * 20
    schema = fitted(table(tmp_path, frame, form), np.zeros(60, dtype=np.int8))
    assert [c.name for c in schema.left_out] == ["user_id"]


@pytest.mark.parametrize("form", ["csv", "csv again", "parquet"])
def test_the_index_of_a_dataframe_is_left_out(form: str, tmp_path: Path) -> None:
    frame = one_column([1.5, 2.5, 3.5]).sample(frac=0.8, random_state=0)  # no permutation, even
    path = tmp_path / "data"
    if form == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path)
    if form == "csv again":
        pd.read_csv(path).to_csv(path, index=False)
    source, parts = open_table(path), np.zeros(len(frame), dtype=np.int8)
    left_out = fitted(source, parts).left_out
    assert [c.name for c in left_out] == [
        {"csv": "column_1", "csv again": "Unnamed: 0"}.get(form, "__index_level_0__")
    ]
    assert left_out[0].why == {"parquet": "the index of a dataframe"}.get(
        form, "probably a dataframe's index: it has no name"
    )
    asked = Wishes(numeric=(left_out[0].name,))
    assert fitted(source, parts, wishes=asked).left_out == ()


def test_a_first_column_without_a_name_may_be_a_feature(tmp_path: Path) -> None:
    frame = one_column([1, 2, 3]).rename(columns={"c": ""})
    assert fitted(table(tmp_path, frame), np.zeros(60, dtype=np.int8)).left_out == ()
    path = tmp_path / "data.csv"
    rows = [f"{i},{i % 7}.5,{'yes' if i % 2 else 'no'}" for i in range(0, 120, 2)]
    path.write_text("\n".join(rows))
    source = open_table(path, sources.Reading(header=False))  # no name is empty here
    findings = profile.look(source, "column_3", MISSING, Wishes()).findings
    assert [finding.kind for finding in findings] == ["number", "number"]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_ids_of_many_rows_are_counted_so_far_only(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profile, "_MOST_DISTINCT", 100)
    monkeypatch.setattr(sources, "BATCH", 50)
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"user_id": rng.permutation(10**6)[:600], "y": ["yes", "no"] * 300})
    frame["plan_id"] = rng.integers(0, 40, 600)
    schema = fitted(table(tmp_path, frame, form), np.zeros(600, dtype=np.int8))
    assert [c.name for c in schema.left_out] == ["user_id"]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_number_that_stands_for_no_value(form: str, tmp_path: Path) -> None:
    frame = one_column([1.5, -999, 3.5])
    frame["whole"], frame["y"] = [1, -999, 3] * 20, [4.5, 5.5, -999] * 20
    source = table(tmp_path, frame, form)
    found = profile.look(source, "y", (*MISSING, "-999"), Wishes())
    fitting = Fitting(source, found.findings, (*MISSING, "-999"))
    rows.fit(source, fitting, np.zeros(60, dtype=np.int8))
    columns = {column.name: column for column in fitting.finish(50)[0]}
    assert (columns["c"].missing, columns["c"].mean) == (True, (2.5,))
    assert (columns["whole"].missing, columns["whole"].mean) == (True, (2.0,))
    target, y = understand(source, "y", found.target, None)
    assert (target.task, np.isnan(y).sum()) == ("regress", 20)


@pytest.mark.parametrize(
    ("as_text", "typed", "categories"),
    [
        (["True", "False"], [True, False], ("False", "True")),
        (["TRUE", "FALSE"], [True, False], ("False", "True")),
        (["true", "false"], [True, False], ("False", "True")),
        (["1.0", "2"], [1, 2], ("1", "2")),
        (["1.0", "2.", "30.0"], [1.0, 2.0, 30.0], ("1", "2", "30")),
        (["1.0", "2.5", "123456789012.0"], [1.0, 2.5, 123456789012.0],
         ("1", "123456789012", "2.5")),
        (["1e+20", "1"], [1e20, 1.0], ("1", "1e+20")),
    ],
)  # fmt: skip
def test_the_same_value_is_the_same_category(
    as_text: list[str], typed: list[object], categories: tuple[str, ...], tmp_path: Path
) -> None:
    parts, asked = np.zeros(60, dtype=np.int8), Wishes(categorical=("c",))
    schema = fitted(table(tmp_path, one_column(as_text)), parts, wishes=asked)
    again = fitted(table(tmp_path, one_column(typed), "parquet"), parts, wishes=asked)
    assert schema.columns[0].categories == again.columns[0].categories == categories


def test_wishes_come_first(tmp_path: Path) -> None:
    frame = one_column([1, 2, 3])
    frame["when"] = ["31/12/2023", "01/02/2024"] * 30
    wishes = Wishes(categorical=("c",), dates={"when": "%d/%m/%Y"}, drop=("other",))
    schema = fitted(table(tmp_path, frame), np.zeros(60, dtype=np.int8), wishes=wishes)
    assert [(c.name, c.kind) for c in schema.columns] == [("c", "category"), ("when", "date")]
    assert schema.columns[0].categories == ("1", "2", "3")
    assert schema.columns[1].words == "2023-12-31 to 2024-02-01"
    assert [(c.name, c.why) for c in schema.left_out] == [("other", "as requested")]


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        (Wishes(numeric=("c",)), r"data.csv, line 2, column 1 \(c\): 'red' is not a finite number"),
        (Wishes(dates={"c": ""}), "'red' is not a date; expected ISO 8601"),
        (Wishes(dates={"c": "%Y"}), "'red' is not a date; expected %Y"),
        (Wishes(drop=("x",)), "there is no column 'x'; .*data.csv has 'c', 'other', 'y'"),
        (Wishes(drop=("Othr",)), r"no column 'Othr' \(did you mean 'other'\?\); "),
        (Wishes(drop=("y",)), "'y' is the target; .* expect another column"),
        (Wishes(numeric=("c",), drop=("c",)), "column 'c' is named twice in --numeric"),
        (Wishes(drop=("c", "other")), "no column is left to learn from"),
    ],
)
def test_wishes_that_cannot_be(wishes: Wishes, message: str, tmp_path: Path) -> None:
    source = table(tmp_path, one_column(["red", "blue"]))
    with pytest.raises(TableError, match=message):
        fitted(source, np.zeros(60, dtype=np.int8), wishes=wishes)


@pytest.mark.parametrize("text", ["many", "inf", "1_000", "0x1F"])
def test_a_text_among_numbers_is_named(text: str, tmp_path: Path) -> None:
    frame = one_column([1, 2, 3]).astype({"c": object})
    frame.loc[41, "c"] = text
    source = table(tmp_path, frame)
    with pytest.raises(TableError) as error:
        fitted(source, np.zeros(60, dtype=np.int8))
    assert (
        f"data.csv, line 43, column 1 (c): '{text}' is not a finite number, but 59 of 60 cells"
        in str(error.value)
    )
    assert f"--missing {text}" in str(error.value)


@pytest.mark.parametrize("values", [["1,5", "2,25", ",5"], [f"{i},5" for i in range(60)]])
def test_decimal_commas_are_asked_about(values: list[str], tmp_path: Path) -> None:
    source = table(tmp_path, one_column(values))
    with pytest.raises(
        TableError, match=r"column 'c' holds texts such as '.*,5', .* \(--decimal ,\)"
    ):
        fitted(source, np.zeros(60, dtype=np.int8))
    schema = fitted(source, np.zeros(60, dtype=np.int8), wishes=Wishes(categorical=("c",)))
    assert schema.columns[0].kind == "category"


def test_thousands_are_no_decimals(tmp_path: Path) -> None:
    source = table(tmp_path, one_column(["1,574", "12,000", "980"]))
    with pytest.raises(
        TableError,
        match=r"column 'c' holds texts such as '1.*', which look like numbers with "
        r"thousands separators; .* Remove the commas",
    ) as error:
        fitted(source, np.zeros(60, dtype=np.int8))
    assert "read them as decimal marks (--decimal ,)" in str(error.value)
    assert str(error.value).endswith(", or keep them as categories (--categorical c).")


@pytest.mark.parametrize("values", [["1,574", "0,250"], ["1,574", "2,5"], [",125", "1,500"]])
def test_three_decimals_are_no_thousands(values: list[str], tmp_path: Path) -> None:
    source = table(tmp_path, one_column(values))
    with pytest.raises(TableError, match=r"numbers with a decimal comma\. Read them as"):
        fitted(source, np.zeros(60, dtype=np.int8))


@pytest.mark.parametrize("text", ["31/12/2020", "soon", "2020-02-31", "2020-01-01T00:00:00Z"])
@pytest.mark.parametrize("batch", [20, 100])
def test_a_text_among_dates_is_named(
    batch: int, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "BATCH", batch)
    frame = one_column(["2020-12-30", "2020-12-31", None, "2021-01-01"])
    frame.loc[41, "c"] = text
    source = table(tmp_path, frame)
    with pytest.raises(TableError) as error:
        fitted(source, np.zeros(60, dtype=np.int8))
    assert (
        f"data.csv, line 43, column 1 (c): '{text}' is not a date like the others, but 44 of "
        "45 cells of this column are."
    ) in str(error.value)
    assert f"--missing {profile.quoted(text)} (no value) or --categorical c" in str(error.value)


@pytest.mark.parametrize(
    ("form", "hint"),
    [("%d/%m/%Y", "--date 'c=%d/%m/%Y'"), ("%m/%d/%Y", "--date 'c=%m/%d/%Y'"),
     ("%d.%m.%Y %H:%M", "--date 'c=%d.%m.%Y %H:%M'")],
)  # fmt: skip
def test_dates_of_another_form_are_asked_about(form: str, hint: str, tmp_path: Path) -> None:
    frame = one_column([])
    frame["c"] = pd.date_range("2020-01-01", periods=60, freq="9h").strftime(form)
    if " " not in form:
        frame["c"] = pd.date_range("2020-01-01", periods=60).strftime(form)
    schema = fitted(table(tmp_path, frame), np.zeros(60, dtype=np.int8))
    assert [(c.name, c.why) for c in schema.left_out] == [
        ("c", f"probably dates; read them with {hint}")
    ]


def test_rare_and_unknown_categories(tmp_path: Path) -> None:
    letters = ["a"] * 300 + ["b"] * 200 + ["c"] * 90 + ["d"] * 6 + ["e"] * 4
    frame = pd.DataFrame({"c": letters, "k": (["u", "v"] * 300), "y": ["yes", "no"] * 300})
    parts = np.zeros(600, dtype=np.int8)
    schema = fitted(table(tmp_path, frame), parts, most=3)
    column = schema.columns[0]
    assert (column.categories, column.rare, column.rares) == (("a", "b", "c"), True, ("d", "e"))
    assert column.words == "3 categories: a, b, c; 2 others, counted as rare"
    assert fitted(table(tmp_path, frame), parts).columns[0].categories == ("a", "b", "c", "d")

    new = pd.DataFrame({"c": ["b", "d", "z", None], "k": ["v", "w", "w", None], "y": ["yes"] * 4})
    source, notes = table(tmp_path, new), Notes()
    X = Preprocessing(schema).transform(next(source.batches()), source, 0, notes)
    assert schema.inputs == ["c=a", "c=b", "c=c", "c=(rare)", "k=u", "k=v"]
    assert X.tolist() == [
        [0, 1, 0, 0, 0, 1], [0, 0, 0, 1, 0, 0], [0, 0, 0, 1, 0, 0], [0, 0, 0, 1, 0, 0]
    ]  # fmt: skip
    assert notes.words(schema, source) == [
        "column 'c' has new categories, treated as rare: 'z' (1 row)",
        "column 'c' has no value in 1 row, but had one in every training row; treated as rare",
        "column 'k' has new categories, treated as none of the known categories: 'w' (2 rows)",
        (
            "column 'k' has no value in 1 row, but had one in every training row; treated as none "
            "of the known categories"
        ),
    ]


def test_missing_numbers_that_training_never_lacked_are_the_mean(tmp_path: Path) -> None:
    source = table(tmp_path, one_column([1, 2, 3]))
    schema = fitted(source, np.zeros(60, dtype=np.int8))
    batch, notes = pa.table({"c": [None, 2.0], "other": ["", "0.5"]}), Notes()
    X = Preprocessing(schema).transform(batch, source, 0, notes)
    assert X[0].tolist() == [0, 0]
    assert len(notes.words(schema, source)) == 2
    assert "treated as the mean" in notes.words(schema, source)[0]


def test_a_number_too_large_is_named(tmp_path: Path) -> None:
    frame = one_column([1.0, 2.0])
    frame.loc[7, "c"] = 1e200
    with pytest.raises(
        TableError, match=r"line 9, column 1 .*'1e.200' is not a usable number; exp"
    ):
        fitted(table(tmp_path, frame), np.zeros(60, dtype=np.int8))


def test_a_column_without_values_in_the_training_rows(tmp_path: Path) -> None:
    frame = one_column([1.0, 2.0])
    frame["late"] = [None] * 30 + [1.5] * 30
    frame["text"] = [None] * 30 + ["a"] * 30
    parts = np.where(np.arange(60) < 30, 0, 2).astype(np.int8)
    schema = fitted(table(tmp_path, frame), parts)
    assert [c.why for c in schema.left_out] == ["it has no value in any training row"] * 2


def test_a_first_batch_without_values_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = one_column([1.0, 2.0])
    frame["late"] = [None] * 30 + [1.5, 2.5, 5.0] * 10
    monkeypatch.setattr(sources, "BATCH", 10)
    late = fitted(table(tmp_path, frame), np.zeros(60, dtype=np.int8)).columns[-1]
    assert (late.mean, late.missing) == ((pytest.approx(3.0),), True)
    assert late.scale == (pytest.approx(np.std([1.5, 2.5, 5.0])),)


@pytest.mark.parametrize(
    "change",
    [
        {"columns": 7}, {"missing": [1]}, {"target": None}, {"more": 1}, {"columns": []},
        {"columns": [{"name": "c"}]},
    ],
)  # fmt: skip
def test_a_schema_of_the_wrong_kind_is_an_error(change: dict[str, object]) -> None:
    column = Column("c", "number", parts=("value",), mean=(0.0,), variance=(1.0,), scale=(1.0,))
    good = Schema((column,), (), TARGET, MISSING).to_dict()
    assert Schema.from_dict(json.loads(json.dumps(good))).columns == (column,)
    with pytest.raises(ValueError, match=r"its|no column"):
        Schema.from_dict(json.loads(json.dumps(good | change)))
    wrongs = [
        ("mean", [math.nan]), ("mean", [10**400]), ("scale", [0.0]), ("kind", "x"), ("parts", []),
        ("missing", 1), ("words", 3), ("scale", [1.0, 2.0]),
        ("words", "\ud800"), ("parts", ["value", "value"]), ("scale", [1e-200]), ("mean", [1e200]),
    ]  # fmt: skip
    for key, value in wrongs:
        wrong = dict(good["columns"][0]) | {key: value}
        with pytest.raises(ValueError, match=r"column|its"):
            Schema.from_dict(good | {"columns": [wrong]})
