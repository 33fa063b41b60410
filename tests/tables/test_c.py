"""The model of a table in C: compiled without a warning, it predicts what the model predicts."""

from __future__ import annotations

import csv
import ctypes
import datetime
import io
import math
import shutil
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.tables import cells
from chainrule.tables.c.reading import PARTS
from chainrule.tables.model import TableModel
from chainrule.tables.schema import DATE_PARTS, Column, Schema, Target
from chainrule.tables.source import TableError
from tests.cli.people import TRAIN, Run, folder, people, run
from tests.foreign.compiled import compile

__all__ = ["folder", "run"]
pytestmark = pytest.mark.needs("cc")

MISSING = ("", "NA", "-999")
NUMBER = Target("what", "regress", "number", (), 50.0, 4.0)
CLASSES = Target("what", "classify", "text", ("no", 'per"haps,', "yes"))


def number(name: str, form: str = "", missing: bool = True) -> Column:
    return Column(name, "number", missing, ("value",), (3.0,), (4.0,), (2.0,), form)


def date(name: str, form: str = "", parts: Any = DATE_PARTS) -> Column:
    n = len(parts) - 1
    return Column(
        name, "date", True, parts, (1e4, *[0.1] * n), (1e8, *[0.5] * n), (1e4, *[0.7] * n), form
    )


# Of each kind of column, cells that it has.
KINDS: dict[str, tuple[Column, list[str]]] = {
    "plain": (number("plain"), ["12", "-3.5e-3", "(1.2)", "−5", "+7", ".5", "5.", "- 4", "1e400",
        "1e-400", "12345678901234567890123", "-999.0", "NA", "1e150", "9007199254740993"]),
    "money": (number("money", "$#,###"),
        ["$1,200", "-$3.5", "$-2", "($4)", "$(5)", "$1,234,567.25", "$ 1,200", "$1e3", "$-999"]),
    "unit": (number("unit", "# kg"), ["12 kg", "3kg", "1.5e2 kg", "-4 kg", "(4) kg", "(4 kg)"]),
    "exponent": (number("exponent", "# E3"), ["12 E3", "3E3", "3E2E3", "3E2 E3"]),
    "degrees": (number("degrees", "#°C", False), ["18°C", "−3 °C", ""]),
    "both": (number("both", "EUR#,### sq ft"), ["EUR5 sq ft", "EUR 1,200.5sq ft"]),
    "duration": (number("duration", "duration"), ["36:15", "1:00:01.5", "PT1H30M", "-P2D",
        "1 days 02:03:04", "2 days", "+1 day, 3:04", "P1W2DT3.5H", "1 days,3:00"]),
    "iso": (date("iso"), ["2024-02-29", "2024-02-01 10:00:00 UTC", "2024-02-01T08:30-01:30",
        "2024-02-01T23:00 -0130", "2024-02-01 10:00:00.123456", "2024-02-01T10Z", "1900-03-01",
        "2024-02-01T10:00:00.5GMT", "0000-01-01", "9999-12-31T23:59:59+23", "2023-02-29"]),
    "time": (date("time", "time", ("days", "day sin", "day cos")),
        ["14:30", "0:00", "23:59:59.25", "7:05:09", "24:00"]),
    "day": (date("day", "%d/%m/%Y"), ["31/12/2024", "1/2/24", " 1/ 2/2024", "31/02/2024"]),
    "moment": (date("moment", "%m/%d/%Y %H:%M:%S", ("days", "week cos")),
        ["12/31/2024 10:11:12", "1/2/24  3:4:61", "1/2/2024 10:11:62"]),
    "robust": (replace(number("robust"), clip=2.5, bins=(-1.0, 0.5, 2.0, 7.25)),
        ["12", "-3.5", "0.5", "2", "1.999", "7.25", "-1", "1e30", "-1e38", "NA", "", "4.1"]),
    "pieces of days": (replace(date("pieces of days"), clip=3.0, bins=(-4e5, 0.0, 19000.0, 2e4)),
        ["2024-02-29", "2022-01-08 06:00:00", "1900-03-01", "9999-12-31", "", "1970-01-01"]),
    "category": (Column("category", "category", True, rare=True,
            categories=("1", "2.5", "False", "True", "blue", "red é", "-3", "??=", "name_TYPE")),
        ["1", "1.0", "1.", "true", "TRUE", "False", "blue", "pink", "red é", "", "2.50", "2.5",
         "-3.00", "-999.0", "??=", "name_TYPE", "na"]),
    "few": (Column("few", "category", categories=("a", "b")), ["a", "b", "", "NA", "c"]),
}  # fmt: skip
COLUMNS = tuple(column for column, _ in KINDS.values())
ALPHABET = "0123456789+-−–()，.,eE$kg:PTDHWMSdays UTCGMZ/\t\u00a0\u2003é°\n\x1f\x0b?"


def model(target: Target = NUMBER, columns: Any = COLUMNS, dtype: str = "float32") -> TableModel:
    schema = Schema(columns, (), target, MISSING)
    many = target.task == "classify"
    more: Any = {"output": "softmax", "loss": "cross_entropy"} if many else {}
    sizes = [len(schema.inputs), 8, len(schema.outputs)]
    return TableModel(cr.Network(sizes, hidden="tanh", dtype=dtype, seed=4, **more), schema)


class Cell(ctypes.Structure):
    _fields_ = [("text", ctypes.c_char_p), ("number", ctypes.c_double)]


class Nowhere:
    """A source that knows of no file."""

    def place(self, row: int, column: str) -> str:
        return f"row {row}, column {column}"


def library(source: Path, compiler: str = "") -> ctypes.CDLL:
    to = source.with_suffix(".so")
    return ctypes.CDLL(str(compile(source, to, compiler, "-O2", "-shared", "-fPIC")))


@cache
def exported(kind: str) -> tuple[TableModel, Any]:
    """A model of one column, and NAME_inputs of it in C."""
    table = model(columns=(KINDS[kind][0],))
    source = Path(mkdtemp()) / "m.c"
    table.to_c(source)
    call = library(source).m_inputs
    shutil.rmtree(source.parent)

    def inputs(cell: Cell) -> Any:
        x = (ctypes.c_float * len(table.schema.inputs))()
        status = call(ctypes.byref(cell), x)
        assert status in (0, 1)
        return None if status else np.array(x, dtype="float32")

    return table, inputs


def expected(table: TableModel, cell: Any) -> Any:
    """What the preprocessing makes of a cell; None if it refuses it."""
    array = cell if isinstance(cell, pa.Array) else pa.array([cell], pa.string())
    batch = pa.table({table.schema.columns[0].name: array})
    try:
        return table.preprocessing.transform(batch, Nowhere(), 0)[0]
    except TableError:
        return None


def check(kind: str, cell: Any, of: Cell) -> None:
    table, inputs = exported(kind)
    want, found = expected(table, cell), inputs(of)
    assert (want is None) == (found is None), (cell, want, found)
    if want is not None:
        # numbers to the bit, circles to the rounding of a sine
        np.testing.assert_allclose(found, want, rtol=1e-7 if "date" in kind else 0, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_cells(kind: str) -> None:
    for text in [*KINDS[kind][1], "x", "", " NA\u2003", "-999"]:
        check(kind, text, Cell(text.encode(), 0.0))


@st.composite
def malformed(draw: Any, examples: list[str]) -> str:
    """A cell with up to three characters changed."""
    text = list(draw(st.sampled_from(examples)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        text[at : at + draw(st.integers(0, 1))] = draw(st.sampled_from(["", *ALPHABET]))
    return "".join(text)


@pytest.mark.parametrize("kind", KINDS)
def test_malformed_cells(kind: str) -> None:
    @settings(max_examples=50)
    @given(
        malformed(KINDS[kind][1]) | st.text(st.characters(codec="utf-8", exclude_characters="\0"))
    )
    def drawn(text: str) -> None:
        check(kind, text, Cell(text.encode(), 0.0))

    drawn()


def typed(kind: str) -> list[tuple[pa.Array, float]]:
    """Cells of other types than text, and the number that C takes for each."""
    nan = math.nan
    if kind == "duration":
        spans = [datetime.timedelta(hours=3, microseconds=5), datetime.timedelta(-2)]
        return [(pa.array([span]), span.total_seconds()) for span in spans]
    if kind == "time":
        return [
            (pa.array([datetime.time(14, 30, 1)]), 52201.0),
            (pa.array([None], pa.time64("us")), nan),
        ]
    if KINDS[kind][0].kind == "date":
        days = [datetime.datetime(*d) for d in ((1900, 3, 1, 4), (2024, 12, 31, 23, 59), (1, 1, 1))]
        since = datetime.datetime(1970, 1, 1)
        stamps = [
            (pa.array([day], pa.timestamp("us")), (day - since).total_seconds()) for day in days
        ]
        return [*stamps, (pa.array([None], pa.timestamp("us")), nan)]
    numbers = [0.0, -0.0, 1.0, 2.5, -3.0, -999.0, 1e-7, 1e150, 1.1e150, 2.0**53, 1e300, nan]
    cells_ = [(pa.array([x], pa.float64()), x) for x in numbers]
    return [*cells_, (pa.array([math.inf]), math.inf), (pa.array([7], pa.int8()), 7.0)]


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_and_dates_by_type(kind: str) -> None:
    for array, value in typed(kind):
        check(kind, array, Cell(None, value))


def test_powers_of_ten() -> None:
    """Numbers of all sizes and digits are the doubles that Python reads."""
    columns = (Column("c", "number", False, ("value",), (0.0,), (1.0,), (1.0,)),)
    folder = Path(mkdtemp())
    model(columns=columns, dtype="float64").to_c(folder / "m.c")
    # the reader itself, since inputs are rounded to float32
    with open(folder / "m.c", "a") as file:
        file.write("int shown(span, double *);\nint shown(span s, double *x) "
                   "{ return decimal(s, x); }\n")  # fmt: skip
    call = library(folder / "m.c").shown
    shutil.rmtree(folder)

    class Span(ctypes.Structure):
        _fields_ = [("at", ctypes.c_void_p), ("end", ctypes.c_void_p)]

    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**63, 4000, dtype=np.uint64)
    numbers = [x for x in bits.view(np.float64).tolist() if 1e-280 < x < 1e150]
    for x in numbers:
        for text in (repr(x), f"{x:.17e}", f"{x:.3e}"):
            held = ctypes.create_string_buffer(text.encode())
            at = ctypes.addressof(held)
            value = ctypes.c_double()
            assert call(Span(at, at + len(text)), ctypes.byref(value)) == 1
            assert value.value == float(text), text


@cache
def usable(kind: str) -> list[str]:
    """The cells of a kind that a file may have; of dates, either all have a zone, or none."""
    texts = [text for text in KINDS[kind][1] if expected(exported(kind)[0], text) is not None]
    return [*(text for text in texts if kind != "iso" or len(text) == 10), ""]


def rows_of(n: int = 60) -> list[dict[str, str]]:
    rng = np.random.default_rng(0)
    return [{kind: str(rng.choice(usable(kind))) for kind in KINDS} for _ in range(n)]


def written(rows: list[dict[str, str]], delimiter: str = ",", end: str = "\r\n") -> str:
    """Rows as CSV, with columns in another order and one that the model does not know."""
    out = io.StringIO()
    names = ["un,known", *reversed(KINDS)]
    made = csv.DictWriter(out, names, lineterminator=end, delimiter=delimiter, restval='a\n"b",;c')
    made.writeheader()
    made.writerows(rows)
    return out.getvalue()


def both(table: TableModel, folder: Path, text: str, run: Run) -> tuple[list[Any], list[Any]]:
    """What `chainrule predict` prints for rows, and what the program does."""
    table.save(folder / "table.model")
    (folder / "rows.csv").write_bytes(text.encode())
    code, out, _ = run("predict", "table.model", "rows.csv")
    assert code == 0
    table.to_c(folder / "m.c", main=True)
    program = compile(folder / "m.c", folder / "program")
    done = subprocess.run([program], input=text.encode(), capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    return list(csv.reader(io.StringIO(out))), list(csv.reader(io.StringIO(done.stdout.decode())))


@pytest.mark.parametrize(("delimiter", "end"), [(",", "\r\n"), (";", "\n"), ("\t", "\n")])
def test_main_is_predict(delimiter: str, end: str, folder: Path, run: Run) -> None:
    text = "\ufeff" + written(rows_of(), delimiter, end) + end
    ours, found = both(model(CLASSES), folder, text, run)
    assert found[0] == ours[0]
    assert [row[0] for row in found] == [row[0] for row in ours]
    assert len({row[0] for row in found}) > 2
    values = [np.array([row[1:] for row in each[1:]], float) for each in (found, ours)]
    np.testing.assert_allclose(values[0], values[1], rtol=3e-6)


@pytest.mark.parametrize("scale", [4.0, 3e-9, 2e12])
def test_a_number_is_rounded_as_predict_does(scale: float, folder: Path, run: Run) -> None:
    target = Target("what", "regress", "number", (), 50.0, scale)
    ours, found = both(model(target), folder, written(rows_of()), run)
    assert found[0] == ours[0] == ["what"]
    values = [np.array(each[1:], float) for each in (found, ours)]
    assert values[1].std() > scale / 10
    np.testing.assert_allclose(values[0], values[1], atol=4e-6 * scale, rtol=0)
    step = 10.0 ** (math.floor(math.log10(scale)) - 7)
    np.testing.assert_allclose(values[0] / step, np.rint(values[0] / step), rtol=1e-15)


@pytest.mark.parametrize("target", [
    Target("what", "classify", "integer", ("-3", "5")),
    Target("what", "classify", "number", ("0.5", "1.25", "1e-07")),
])  # fmt: skip
def test_labels_that_are_numbers(target: Target, folder: Path, run: Run) -> None:
    ours, found = both(model(target), folder, written(rows_of()), run)
    assert [row[0] for row in found] == [row[0] for row in ours]


def test_a_trained_model(run: Run, folder: Path) -> None:
    assert run(*TRAIN, "--epochs", "20")[0] == 0
    new = people(100, seed=1)
    new.loc[3, "colour"], new.loc[4, "age"] = "pink", None
    new.drop(columns="label").to_csv("new.csv", index=False)
    ours = run("predict", "model", "new.csv")[1]
    assert run("export", "model", "--to", "c", "--out", "m.c", "--main")[0] == 0
    program = compile(folder / "m.c", folder / "m")
    found = subprocess.run([program], input=Path("new.csv").read_bytes(), capture_output=True)
    rows = [list(csv.reader(text.splitlines())) for text in (ours, found.stdout.decode())]
    assert [row[0] for row in rows[0]] == [row[0] for row in rows[1]]
    values = [np.array([row[1:] for row in each[1:]], float) for each in rows]
    np.testing.assert_allclose(values[0], values[1], rtol=3e-6)


@pytest.mark.parametrize(("text", "message"), [
    ("", "line 1: the header lacks the column plain"),
    ("plain,few\n", "line 2: expected at least one row below the header"),
    ("plain\n1\n", "line 1: the header lacks the column few"),
    ("plain,few,plain\n", "line 1: two columns are named plain"),
    ('plain,few\n1,a\n"x\ny",a\n', "line 4: column plain: 'x\ny' is not usable"),
    ("plain,few\n1,a\n\n1\n", "line 4: found 1 columns; expected 2, as in the header"),
    ('plain,few\n1,"a\n', "line 3: a quote is never closed"),
    ("plain,few\n1,a\0\n", "line 2: the file is not text"),
])  # fmt: skip
def test_what_main_refuses(text: str, message: str, tmp_path: Path) -> None:
    table = model(columns=tuple(KINDS[kind][0] for kind in ("plain", "few")))
    table.to_c(tmp_path / "m.c", main=True)
    program = compile(tmp_path / "m.c", tmp_path / "m")
    done = subprocess.run([program], input=text, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, f"{message}\n")


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_reader_stands_alone(kind: str, compiler: str, tmp_path: Path) -> None:
    """No function is there in vain, which compilers warn about."""
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not there")
    model(columns=(KINDS[kind][0],)).to_c(tmp_path / "m.c", main=True)
    compile(tmp_path / "m.c", tmp_path / "m", compiler)


def test_nothing_is_shared_or_called(tmp_path: Path) -> None:
    """No heap, no state: nothing is undefined, and no data can be written."""
    model(CLASSES).to_c(tmp_path / "m.c")
    compile(tmp_path / "m.c", tmp_path / "m.o", "", "-Os", "-c", "-fno-pic")
    symbols = subprocess.run(["nm", tmp_path / "m.o"], capture_output=True, text=True).stdout
    kinds = {line.split()[-2] for line in symbols.splitlines()}
    assert not kinds & {"U", "B", "b", "D", "d", "C"}, symbols
    text = (tmp_path / "m.c").read_text()
    assert all(part.replace("name_", "m_").replace("TYPE", "float")[:40] in text
               for _, part in PARTS.values())  # fmt: skip


def test_bytes_and_doubles(tmp_path: Path) -> None:
    table = model(CLASSES, dtype="float64")
    rounded = table.to_c(tmp_path / "tiny.c", dtype="float32", quantize="int8", name="other")
    assert 0 < np.abs(rounded.parameters - table.network.parameters).max() < 0.01
    assert "int other_predict_row(const other_cell row" in (tmp_path / "tiny.h").read_text()
    compile(tmp_path / "tiny.c", tmp_path / "tiny.o", "", "-c")  # its header is found by the file


def form(column: Column, text: str) -> Column:
    return Column(column.name, column.kind, column.missing, column.parts, column.mean,
                  column.variance, column.scale, text)  # fmt: skip


@pytest.mark.parametrize(("columns", "message"), [
    ((form(number("c"), "(#"),), r"column 'c' is written as '\(#', which C does not read"),
    ((form(date("c"), "%d of %B %Y"),), "column 'c' has dates of the form '%d of %B %Y', which C"),
    ((Column("c", "category", categories=("a\0b", "c")),), "column 'c' has the text .* with NUL"),
    ((Column("c", "category", categories=("é" * 3000,)),), "with more than 4,000 bytes, which C"),
])  # fmt: skip
def test_what_cannot_be_exported_is_named(columns: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        model(columns=columns).to_c(tmp_path / "m.c")
    assert list(tmp_path.iterdir()) == []


def test_forms_that_are_found_can_be_exported() -> None:
    assert all(map(cells.is_known_date, ["", "time", *cells.DATE_FORMS]))
