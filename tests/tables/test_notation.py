"""Numbers with symbols, codes, times: read where they are sure, else refused by name."""

from __future__ import annotations

import gzip
import math
from datetime import timedelta
from pathlib import Path
from statistics import fmean, pstdev

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from chainrule.tables import cells, profile, rows
from chainrule.tables.cells import CellError
from chainrule.tables.fitting import Fitting, mean_and_deviation, most_categories
from chainrule.tables.notation import Notations
from chainrule.tables.notes import Notes
from chainrule.tables.opening import open_table
from chainrule.tables.preprocessing import Preprocessing
from chainrule.tables.profile import Wishes
from chainrule.tables.schema import Column, LeftOut, Schema, Target
from chainrule.tables.source import MISSING, TableError
from chainrule.tables.target import encode, understand

TARGET = Target("y", "classify", "text", ("no", "yes"))


def written(values: list[str | None]) -> Notations:
    seen = Notations()
    seen.see(pa.array(values, pa.string()), 0)
    return seen


def schema_of(path: Path, wishes: Wishes | None = None, most: int | None = None) -> Schema:
    source = open_table(path)
    found = profile.look(source, "y", MISSING, wishes or Wishes())
    fitting = Fitting(source, found.findings, MISSING)
    rows.fit(source, fitting, np.zeros(found.n_rows, dtype=np.int8))
    columns, left_out = fitting.finish(most)
    return Schema(tuple(columns), tuple(left_out), TARGET, MISSING)


def one_column(folder: Path, values: list[str], n: int = 60) -> Path:
    cells_ = [values[i % len(values)] for i in range(n)]
    frame = pd.DataFrame({"c": cells_, "x": np.arange(n) % 7 + 0.5, "y": ["no", "yes"] * (n // 2)})
    frame.to_csv(folder / "data.csv", index=False)
    return folder / "data.csv"


def column(schema: Schema, name: str = "c") -> Column | LeftOut:
    both: list[Column | LeftOut] = [*schema.columns, *schema.left_out]
    return next(c for c in both if c.name == name)


@pytest.mark.parametrize(
    ("values", "form", "numbers"),
    [
        (["$1,200", "$15", "-$3.5", "$-2", "($4)"], "$#,###", [1200, 15, -3.5, -2, -4]),
        (["45 %", "4%", "-3.5 %"], "# %", [45, 4, -3.5]),
        (["12 kg", "3kg", "1.5e2 kg"], "# kg", [12, 3, 150]),
        (["1,200 €", "3.50 €"], "#,### €", [1200, 3.5]),
        (["EUR 3", "EUR5"], "EUR#", [3, 5]),
        (["18°C", "−3 °C"], "#°C", [18, -3]),
        (["5 sq ft", "7 sq ft"], "# sq ft", [5, 7]),
        (["10 m2", "20 m2"], "# m2", [10, 20]),
        (["1,234,567", "1,574", "15"], "#,###", [1234567, 1574, 15]),
        (["1,574.50", "2,000"], "#,###", [1574.5, 2000]),
        (["36:15", "1:00:01.5"], "duration", [130500, 3601.5]),
        (["PT1H30M", "-P2D"], "duration", [5400, -172800]),
        (["1 days 02:03:04", "0 days 00:00:01.5"], "duration", [93784, 1.5]),
    ],
)  # fmt: skip
def test_symbols_are_read(values: list[str], form: str, numbers: list[float]) -> None:
    assert written(values).form == form
    assert cells.numbers(pa.array([*values, None]), (), form)[:-1].tolist() == numbers


def test_signs_of_all_kinds_need_no_form() -> None:
    values = pa.array(["(1.2)", "3", "−5", "–6", "+7", "(−8)", "(9", None])
    found, wrong = cells.numbers_or_none(values, ())
    np.testing.assert_array_equal(found, [-1.2, 3, -5, -6, 7, np.nan, np.nan, np.nan])
    assert wrong == ["(−8)", "(9"]


@pytest.mark.parametrize(
    "values",
    [["12A", "13B"], ["1st", "2nd"], ["10+ years", "1 year", "2 years"], ["PC 17", "PC 18"],
     ["100k", "x"], ["12 kg", "300 g"], ["12 kg", "12"], ["1,574", "980"], ["$1,20", "$5"],
     ["No. 5", "No. 6"], ["", " "], ["2020 Q1", "2020 Q2"]],
)  # fmt: skip
def test_what_is_not_sure_has_no_form(values: list[str]) -> None:
    assert written(values).form is None


@pytest.mark.parametrize("text", ["12", "12 g", "kg", "1,2 kg", "(12 kg", "12 kg)"])
def test_new_cells_need_the_same_form(text: str) -> None:
    with pytest.raises(CellError) as error:
        cells.numbers(pa.array(["1 kg", text]), (), "# kg")
    assert (error.value.row, error.value.text) == (1, text)


def test_a_column_of_money_is_a_number_and_said(tmp_path: Path) -> None:
    prices = [f"${1000 + 7 * i:,}" for i in range(60)]
    found = column(schema_of(one_column(tmp_path, prices)))
    assert isinstance(found, Column)
    assert (found.kind, found.form) == ("number", "$#,###")
    assert found.mean == (pytest.approx(1000 + 7 * 29.5),)
    assert found.words.endswith("; written as '$1,000'")
    assert (found.low, found.high) == ((1000,), (1413,))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([f"{i} kg" for i in range(1, 59)] + ["300 g", "5 kg"], "'1 kg' and '300 g', which are"),
        ([f"{i} kg" for i in range(1, 60)] + ["soon"], "'1 kg' and 'soon', which are not written"),
        ([f"{i},200 kg" for i in range(1, 60)] + ["5 kg"], "'1,200 kg', whose comma may be a"),
        ([f"1.{i}34,56" for i in range(10)] * 6, "'1.034,56', which look like numbers with thous"),
        ([f"{i} 234" for i in range(1, 61)], "'1 234', which look like numbers with thousands"),
        (["5 %", "6 %", "7"] + ["8 %"] * 57, "'5 %' and '7', which are not written alike"),
    ],
)  # fmt: skip
def test_what_looks_like_numbers_is_never_lost(
    values: list[str], message: str, tmp_path: Path
) -> None:
    path = one_column(tmp_path, values)
    with pytest.raises(TableError, match=r"column 'c' holds texts such as ") as error:
        schema_of(path)
    assert message in str(error.value)
    assert str(error.value).endswith(", or keep them as categories (--categorical c).")
    kept = column(schema_of(path, Wishes(categorical=("c",))))
    assert isinstance(kept, Column)
    assert kept.kind == "category"


def test_free_text_that_begins_with_numbers_is_left_out(tmp_path: Path) -> None:
    streets = ["Oak", "Elm", "Main", "Birch", "Cedar", "Ash", "Fir"]
    values = [f"{i} {streets[i % 7]} Street" for i in range(60)]
    assert isinstance(column(schema_of(one_column(tmp_path, values))), LeftOut)


def test_numeric_reads_symbols_or_names_the_cell(tmp_path: Path) -> None:
    wish = Wishes(numeric=("c",))
    found = column(schema_of(one_column(tmp_path, ["3 kg", "4 kg"]), wish))
    assert isinstance(found, Column)
    assert (found.kind, found.form) == ("number", "# kg")
    with pytest.raises(TableError, match=r"line 2, column 1 \(c\): '3 kg' is not a finite number"):
        schema_of(one_column(tmp_path, ["3 kg", "4 g"]), wish)


def test_codes_with_leading_zeros_stay_codes(tmp_path: Path) -> None:
    path = one_column(tmp_path, ["01067", "80331", "04109"])
    found = column(schema_of(path))
    assert isinstance(found, Column)
    assert (found.kind, found.categories) == ("category", ("01067", "04109", "80331"))
    assert "codes with leading zeros, such as 01067" in found.words
    as_number = column(schema_of(path, Wishes(numeric=("c",))))
    assert isinstance(as_number, Column)
    assert as_number.kind == "number"
    many = [f"{i * 37 % 997:04}" for i in range(60)]
    left = column(schema_of(one_column(tmp_path, many)))
    assert isinstance(left, LeftOut)
    assert "--numeric c reads numbers" in left.why
    for decimals in (["0.5", "00.7"], ["0", "10"], ["-01", "5"]):
        kind = column(schema_of(one_column(tmp_path, decimals)))
        assert isinstance(kind, Column)
        assert kind.kind == "number"


# --- the target -----------------------------------------------------------------------------------


def target_of(values: list[str], folder: Path, task: str | None = None) -> Target:
    path = one_column(folder, values)
    texts = pa.array([values[i % len(values)] for i in range(60)])
    return understand(open_table(path), "c", texts, task)[0]  # type: ignore[arg-type]


def test_a_target_of_money_is_a_number(tmp_path: Path) -> None:
    prices = [f"${1000 + 7 * i}.5" for i in range(60)]
    target = target_of(prices, tmp_path)
    assert (target.task, target.form) == ("regress", "$#")
    assert encode(target, pa.array(["$12.25", "-$3", None]), MISSING).tolist()[:2] == [12.25, -3]
    with pytest.raises(CellError):
        encode(target, pa.array(["12.25"]), MISSING)


def test_a_target_of_few_percentages_keeps_its_texts(tmp_path: Path) -> None:
    target = target_of(["5 %", "10 %"], tmp_path)
    assert (target.task, target.classes, target.form) == ("classify", ("10 %", "5 %"), "")


def test_a_target_of_codes_keeps_its_zeros(tmp_path: Path) -> None:
    target = target_of(["007", "010", "100"], tmp_path)
    assert (target.task, target.kind, target.classes) == ("classify", "text", ("007", "010", "100"))
    assert target_of(["007", "010", "100"], tmp_path, "regress").task == "regress"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([f"{i} kg" for i in range(59)] + ["3 g"], "'c' holds texts such as '0 kg' and '3 g'"),
        ([f"1{i % 10}:3{i % 7}" for i in range(60)], "'c' holds times of day. Write them as numb"),
    ],
)
def test_a_target_that_is_not_sure_is_refused(
    values: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(TableError) as error:
        target_of(values, tmp_path)
    assert message in str(error.value)
    assert str(error.value).endswith("or keep them as classes (--task classify).")


# --- times ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "texts",
    [["2024-02-01 10:00:00 UTC", "2024-02-02 00:30:00 UTC"],
     ["2024-02-01 11:00:00 +0100", "2024-02-02 01:30:00 +0100"],
     ["2024-02-01T08:30-01:30", "2024-02-01T23:00 -0130"],
     ["2024-02-01 10:00 GMT", "2024-02-02 00:30 GMT"]],
)  # fmt: skip
def test_time_zones(texts: list[str]) -> None:
    expected = np.array(["2024-02-01T10:00", "2024-02-02T00:30"], dtype="datetime64[s]")
    found = cells.dates(pa.array([*texts, None]), (), "")
    np.testing.assert_array_equal(found[:2], expected.astype(np.int64))
    assert math.isnan(found[2])
    assert cells.count_dates(pa.array(texts)) == 2


def test_times_of_day_turn_in_a_circle(tmp_path: Path) -> None:
    found = column(schema_of(one_column(tmp_path, ["00:00", "06:00", "18:30:30"])))
    assert isinstance(found, Column)
    assert (found.kind, found.form) == ("date", "time")
    assert found.parts == ("days", "day sin", "day cos")
    assert found.words == "0:00 to 18:30:30; a time of day"
    mean = (0 + 0.25 + (18.5 * 3600 + 30) / 86400) / 3
    assert found.mean[0] == pytest.approx(mean)


def test_durations_are_seconds(tmp_path: Path) -> None:
    found = column(schema_of(one_column(tmp_path, ["30:00", "1:30:00"])))
    assert isinstance(found, Column)
    assert (found.kind, found.form) == ("number", "duration")
    assert found.mean == (pytest.approx((30 * 3600 + 5400) / 2),)


def test_times_and_durations_by_type(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    when = pd.Timestamp("2024-01-01 06:00").time()
    later = pd.Timestamp("2024-01-01 18:00").time()
    frame = pd.DataFrame({
        "c": [when, later] * 30, "d": [timedelta(hours=1), timedelta(days=2)] * 30,
        "y": ["no", "yes"] * 30,
    })  # fmt: skip
    frame.to_parquet(path)
    schema = schema_of(path)
    time, span = column(schema), column(schema, "d")
    assert isinstance(time, Column)
    assert isinstance(span, Column)
    assert (time.kind, time.form, time.mean[0]) == ("date", "time", 0.5)
    assert (span.kind, span.form, span.low, span.high) == ("number", "duration", (3600,), (172800,))


# --- numbers far from 0, and far from the others --------------------------------------------------


def test_the_deviation_of_large_numbers(tmp_path: Path) -> None:
    values = [f"{10**15 + i % 50}" for i in range(300)]
    found = column(schema_of(one_column(tmp_path, values, 300)))
    assert isinstance(found, Column)
    exact = pstdev(range(50))  # 14.43: every number occurs 6 times
    assert found.scale == (pytest.approx(exact, rel=1e-14),)
    assert found.mean == (10**15 + 24.5,)
    assert found.words.startswith("1000000000000000 to 1000000000000049, ")
    numbers = 1e15 + np.arange(300) % 50
    assert mean_and_deviation(numbers) == (1e15 + 24.5, pytest.approx(exact, rel=1e-14))


def test_a_constant_far_from_0_is_left_out(tmp_path: Path) -> None:
    found = column(schema_of(one_column(tmp_path, ["1e15"])))
    assert isinstance(found, LeftOut)
    assert "in every training row" in found.why


def test_numbers_that_hardly_vary(tmp_path: Path) -> None:
    values = [5 - 1e-9, 5 + 1e-9, 5.0]
    found = column(schema_of(one_column(tmp_path, [repr(v) for v in values])))
    assert isinstance(found, Column)
    exact = math.sqrt(fmean((v - 5) ** 2 for v in values))
    assert found.scale == (pytest.approx(exact, rel=1e-6),)


def test_far_values_are_noted(tmp_path: Path) -> None:
    schema = schema_of(one_column(tmp_path, ["10", "20", "15"]))
    new = tmp_path / "new.csv"
    new.write_text("c,x\n31,1\n29,1\n1e30,1\n-1,1\n,1\n")
    source = open_table(new)
    notes = Notes()
    Preprocessing(schema).transform(next(source.batches()), source, 0, notes)
    assert notes.far["c"].rows == [0, 2, 3]  # beyond 10 to 20 by more than 10
    words = notes.words(schema, source)[0]
    assert words.startswith("column 'c' has 3 values far outside the training rows, which hold 10 ")
    assert words.endswith(f"The farthest is 1e+30 ({new}, line 4, column 1 (c))")


def test_an_outlier_among_the_training_rows_is_said(tmp_path: Path) -> None:
    values = [str(i % 5) for i in range(299)] + ["1000"]
    found = column(schema_of(one_column(tmp_path, values, 300)))
    assert isinstance(found, Column)
    assert "; the farthest lies 17.3 std from the mean" in found.words


# --- categories -----------------------------------------------------------------------------------


def test_a_category_of_five_rows_has_an_input(tmp_path: Path) -> None:
    values = [f"seller {i:03}" for i in range(300)]
    found = column(schema_of(one_column(tmp_path, values, 3000)))
    assert isinstance(found, Column)
    assert len(found.categories) == 300
    few = column(schema_of(tmp_path / "data.csv", most=50))
    assert isinstance(few, Column)
    assert len(few.categories) == 50


@pytest.mark.parametrize(
    ("n", "most"), [(10, 1000), (67_108, 1000), (134_217, 500), (2_000_000, 50)]
)
def test_the_most_categories(n: int, most: int) -> None:
    assert most_categories(n) == most


def test_what_was_taken_for_missing_is_named(tmp_path: Path) -> None:
    found = column(schema_of(one_column(tmp_path, ["red", "None", "blue", "NA", "None"])))
    assert isinstance(found, Column)
    assert found.words == "2 categories: blue, red; 60.0 % missing ('None', 'NA')"


# --- files ----------------------------------------------------------------------------------------


LINES = """{"zip": "01067", "n": 12345678901234567, "on": true, "y": "no"}

{"n": 1.50, "zip": null, "y": "yes", "more": "x"}
"""


def test_json_lines_are_a_table(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(LINES)
    source = open_table(path)
    assert source.names == ["zip", "n", "on", "y", "more"]
    assert next(source.batches()).to_pydict() == {
        "zip": ["01067", None], "n": ["12345678901234567", "1.50"], "on": ["True", None],
        "y": ["no", "yes"], "more": [None, "x"],
    }  # fmt: skip
    assert source.place(1, "n") == f"{path}, line 3, key 'n'"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}\n{"a": 2\n', "line 2: .*; expected a JSON object in each line"),
        ('{"a": 1}\n[2]\n', "line 2 is not an object; expected a JSON object"),
        ('{"a": 1, "b": [1]}\n', "line 1, key 'b': the value is a list; expected text"),
        ('{"a": {"b": 1}}\n', "line 1, key 'a': the value is an object"),
        ('{"a": 1}\n{"a": 1, "a": 2}\n', "line 2: the key 'a' occurs twice"),
        ('[{"a": 1}, {"a": 2}]', "is JSON, but not JSON Lines; expected an object in each line"),
        ('{\n "a": 1}\n', "is JSON, but not JSON Lines"),
        ('{"a": 1}\n' + '{"a": ' * 100_000, "line 2"),
    ],
)
def test_json_that_is_no_table(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(text)
    with pytest.raises(TableError, match=message):
        list(open_table(path).batches())


@pytest.mark.parametrize("codec", ["gzip", "zstd", "bz2", "lz4"])
def test_compressed_tables(codec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    path = one_column(tmp_path, ["a", "b", "1"])
    packed = tmp_path / "packed"
    with pa.CompressedOutputStream(pa.OSFile(str(packed), "wb"), codec) as file:
        file.write(path.read_bytes())
    source, plain = open_table(packed), open_table(path)
    assert source.names == plain.names
    assert next(source.batches()) == next(plain.batches())
    assert source.place(3, "c") == f"{packed}, line 5, column 1 (c)"
    assert len(list(temporary.iterdir())) == 1
    del source
    assert not list(temporary.iterdir())
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(TableError, match="packed is damaged or cut short"):
        open_table(packed)
    assert not list(temporary.iterdir())


def test_gzip_in_parts_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "data.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n1,2\n") + gzip.compress(b"3,4\n"))
    assert next(open_table(path).batches()).to_pydict() == {"a": ["1", "3"], "b": ["2", "4"]}
