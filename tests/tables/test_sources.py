"""Tables in files: batches of every format, and what is said of a file that can't be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chainrule.tables import csv_source
from chainrule.tables import source as sources
from chainrule.tables.opening import open_table
from chainrule.tables.source import Reading, TableError


def write(folder: Path, content: str | bytes, name: str = "data.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path: Path, **reading: object) -> dict[str, list[object]]:
    table = pa.concat_tables(open_table(path, Reading(**reading)).batches())  # type: ignore[arg-type]
    return table.to_pydict()


ROWS = {"age": ["41", "", "7.5"], "colour, or hue": ["red", 'a "b"\nc', ""]}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('age,"colour, or hue"\n41,red\n,"a ""b""\nc"\n7.5,\n', "data.csv"),
        ('\ufeffage,"colour, or hue"\r\n41,red\r\n,"a ""b""\nc"\r\n7.5,\r\n', "data.csv"),
        ('\n\nage;"colour, or hue"\n41;red\n\n;"a ""b""\nc"\n7.5;\n', "data.txt"),
        ('age\t"colour, or hue"\n41\tred\n\t"a ""b""\nc"\n7.5\t\n', "data.tsv"),
        ('age|"colour, or hue"\n41|red\n|"a ""b""\nc"\n7.5|', "data"),
    ],
)
def test_text_in_its_dialects(text: str, name: str, tmp_path: Path) -> None:
    assert read(write(tmp_path, text, name)) == ROWS


def test_what_is_said_goes_before_what_is_found_out(tmp_path: Path) -> None:
    path = write(tmp_path, "1,2;3\n4,5;6\n")
    assert read(path, header=False, delimiter=";") == {"column_1": ["1,2", "4,5"],
                                                       "column_2": ["3", "6"]}  # fmt: skip
    assert read(path, header=True, delimiter=",") == {"1": ["4"], "2;3": ["5;6"]}
    path = write(tmp_path, "größe,x\n1,é\n".encode("latin-1"))
    assert read(path, encoding="latin-1") == {"größe": ["1"], "x": ["é"]}
    path = write(tmp_path, "größe,x\n1,é\n".encode("utf-16"))
    assert read(path, encoding="utf-16") == {"größe": ["1"], "x": ["é"]}


def test_decimal_commas(tmp_path: Path) -> None:
    path = write(tmp_path, "a;b\n1,5;x,y\n-,25;1,5,7\n2;+3,0e2\n")
    assert read(path, decimal=",") == {"a": ["1.5", "-.25", "2"], "b": ["x,y", "1,5,7", "+3.0e2"]}


def test_a_long_cell(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b\n1," + "x" * 1_000_000 + "\n2,y\n")
    assert [len(str(cell)) for cell in read(path)["b"]] == [1_000_000, 1]


def test_names_that_are_missing_or_count(tmp_path: Path) -> None:
    assert open_table(write(tmp_path, ",age, b \n0,1,2\n")).names == ["column_1", "age", "b"]
    assert open_table(write(tmp_path, "0,1,2,3,label\n5,6,7,8,9\n")).names[0] == "0"


def test_every_format_gives_the_same_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "BATCH", 4)
    frame = pd.DataFrame({"n": np.arange(10) + 0.5, "t": list("abcdefghij")})
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet", row_group_size=3)
    pl.from_pandas(frame).write_ipc(tmp_path / "a.arrow")
    pl.from_pandas(frame).write_ipc_stream(tmp_path / "a.arrows")
    for name in ("a.csv", "a.parquet", "a.arrow", "a.arrows"):
        batches = list(open_table(tmp_path / name).batches(["t", "n"]))
        assert [len(batch) for batch in batches] == [4, 4, 2]
        whole = pa.concat_tables(batches)
        assert whole.column_names == ["t", "n"]
        assert [float(n) for n in whole.column("n").to_pylist()] == list(frame.n)
        assert whole.column("t").cast(pa.string()).to_pylist() == list(frame.t)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "data.csv is empty; expected a header and rows"),
        ("\n \n", "data.csv is empty"),
        ("a,b\n1,2\n3,4,5\n", "data.csv, line 3: found 3 columns; expected 2, as in the header"),
        ("a,b\n1,2\n\n3\n4,5\n",
         "data.csv, line 4: found 1 column; expected 2, as in the header"),
        ("a,b\n1,2\n\n   \n4,5\n",
         "data.csv, line 4: only blanks; expected 2 columns. Delete the line, or empty it."),
        ("a,b\n1,2\n3,4\n \t", "data.csv, line 4: only blanks"),
        ('a,b\n1,"2\n2"\n3\n', "data.csv, line 4: found 1 column; expected 2, as in the header"),
        ("5.1,3.5,setosa\n4.9,3.0,setosa\n",
         ("data.csv seems to have no header: its first line is 5.1, 3.5, setosa, and 5.1 looks "
          "like a value. Add --no-header if")),
        ("1,2\n3,4\n", "data.csv seems to have no header"),
        ("age,b,age\n1,2,3\n", "columns 1 and 3 are both named 'age'; every column needs"),
        (b"a,b\n1,2\n3,caf\xe9\n",
         ("data.csv, line 3 is not text in UTF-8 (byte 0xe9 near '3,caf\xe9'). Name its encoding, "
          "such as --encoding latin-1.")),
        (b"caf\xe9,b\n1,2\n", "data.csv, line 1 is not text in UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "data.csv is not text in UTF-8; it looks like UTF-16. Add"),
        ('a,b\n1,2\n3,"4\n5,6\n', "data.csv: a quote opened after line 2 is never closed"),
        (b"a,b\0\n1,2\n", "data.csv, line 1 is not text; expected CSV, TSV, Parquet or Arrow"),
        (b"PK\x03\x04rest",
         ("data.csv is a zip archive; expected CSV, TSV, Parquet or Arrow. If it is a spreadsheet, "
          "save it as CSV.")),
        (b"\x80\x04rest", "data.csv is a Python pickle, which could run code and is never read"),
        (b"PAR1rest", "data.csv is damaged or cut short"),
        (b"ARROW1\0\0rest", "data.csv is damaged or cut short"),
        (b"\xff\xff\xff\xffrest", "data.csv is damaged or cut short"),
    ],
)  # fmt: skip
def test_bad_files_are_named(content: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(TableError) as error:
        read(write(tmp_path, content))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_line_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_source, "_BLOCK", 1 << 12)
    path = write(tmp_path, "a,b\n" + "1,2\n" * 2000 + "1," + "x" * 20_000 + "\n" + "1,2\n" * 2000)
    with pytest.raises(TableError, match=r"a line is longer than 0 MB, or a quote is never closed"):
        read(path)


def test_an_encoding_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="unknown encoding 'klingon'; expected one such as utf-8"):
        read(write(tmp_path, "a,b\n1,2\n"), encoding="klingon")
    with pytest.raises(TableError, match=r"data\.csv is not text in UTF-16\. Name its"):
        read(write(tmp_path, "a,b\n".encode("utf-16") + b"\0\xd8\n\0"), encoding="utf-16")


def test_a_damaged_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": np.random.default_rng(0).normal(size=5000)}), path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(TableError, match="damaged or cut short"):
        read(path)
    path.write_bytes(whole[:500] + b"\0" * 500 + whole[1000:-1000] + whole[-1000:])
    source = open_table(path)
    path.write_bytes(b"gone")
    with pytest.raises(TableError, match="changed while it was being read"):
        list(source.batches())


@pytest.mark.parametrize("change", ["longer", "replaced", "rewritten"])
def test_a_file_that_changes_while_it_is_read(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "BATCH", 2)
    path = write(tmp_path, "a,b\n" + "1,2\n" * 5)
    batches = open_table(path).batches()
    next(batches)
    if change == "longer":
        with path.open("a") as file:
            file.write("3,4\n")
    elif change == "replaced":
        write(tmp_path, path.read_text(), "new.csv").replace(path)
    else:
        path.write_text("a,b\n" + "1,2,3\n" * 5)
    with pytest.raises(TableError, match=r"data.csv changed while it was being read\. Start"):
        list(batches)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_table(tmp_path / "none.csv")
    with pytest.raises(IsADirectoryError):
        open_table(tmp_path)
    with pytest.raises(
        TableError, match="/dev/null is not a regular file; a table is read more than"
    ):
        open_table("/dev/null")


def test_places(tmp_path: Path) -> None:
    path = write(tmp_path, '\na,b\n1,"2\n2"\n\n3,4\n')
    assert open_table(path).place(0, "b").endswith("data.csv, line 3, column 2 (b)")
    assert open_table(path).place(1, "a").endswith("data.csv, line 6, column 1 (a)")
    pq.write_table(pa.table({"a": [1, 2]}), tmp_path / "a.parquet")
    assert open_table(tmp_path / "a.parquet").place(1, "a").endswith("row 1, column 1 (a)")


def test_places_after_lines_of_blanks(tmp_path: Path) -> None:
    source = open_table(write(tmp_path, "a\n1\n\n  \nx\n"))
    assert read(tmp_path / "data.csv") == {"a": ["1", "  ", "x"]}
    assert source.place(2, "a").endswith("data.csv, line 5, column 1 (a)")


def test_without_the_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"tables need PyArrow: pip install 'ch"):
        open_table(write(tmp_path, "a,b\n1,2\n"))
