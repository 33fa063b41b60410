"""Data files of the command line: what is understood, and what is said where it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.cli import samples as tables
from chainrule.network import Network

REGRESSION = Network([2, 3, 1], seed=0)
TWO_OUTPUTS = Network([2, 3, 2], seed=0)
CLASSES = Network([2, 3, 3], output="softmax", loss="cross_entropy", seed=0)
X = [[0.5, -1.0], [2.0, 1e-3]]


def write(folder: Path, content: str | bytes, name: str = "samples.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "network", "y"),
    [
        ("0.5,-1,3\n2,1e-3,4\n", REGRESSION, [[3], [4]]),
        ("x,y,target\n0.5,-1,3\n2,1e-3,4\n", REGRESSION, [[3], [4]]),
        ("0.5\t-1\t3\n2\t1e-3\t4\n", REGRESSION, [[3], [4]]),
        ("0.5;-1;3\n2;1e-3;4", REGRESSION, [[3], [4]]),
        ('"x, y"\t"z\tz"\ty\n0.5\t-1\t3\n2\t1e-3\t4\n', REGRESSION, [[3], [4]]),
        ("\ufeff\r\n\r\nx,y,t\r\n0.5,-1,3\r\n\r\n2,1e-3,4\r\n\r\n", REGRESSION, [[3], [4]]),
        (' 0.5 , "-1" , 3\n2, 1e-3,4', REGRESSION, [[3], [4]]),
        ("0.5,-1,3,5\n2,1e-3,4,6\n", TWO_OUTPUTS, [[3, 5], [4, 6]]),
        ("0.5,-1,2\n2,1e-3,0\n", CLASSES, [2, 0]),
        ("0.5,-1,2.0\n2,1e-3,0.0\n", CLASSES, [2, 0]),
        ("0,1,label\n0.5,-1,2\n2,1e-3,0\n", CLASSES, [2, 0]),
        ("0.5,-1,0,0,1\n2,1e-3,1,0,0\n", CLASSES, [[0, 0, 1], [1, 0, 0]]),
    ],
)
def test_text_files(content: str, network: Network, y: list[object], tmp_path: Path) -> None:
    table = tables.read(write(tmp_path, content), network)
    assert table.X.tolist() == X
    assert table.y.tolist() == y
    assert len(table) == 2


def test_classes_are_integers(tmp_path: Path) -> None:
    table = tables.read(write(tmp_path, "0.5,-1,2\n"), CLASSES)
    assert table.y.dtype == np.int64


def test_the_header_can_be_said(tmp_path: Path) -> None:
    path = write(tmp_path, "0,1,2\n0.5,-1,2\n")
    assert len(tables.read(path, REGRESSION, header=True)) == 1
    assert len(tables.read(path, REGRESSION, header=False)) == 2
    path = write(tmp_path, "2019,2020,label\n0.5,-1,2\n")
    assert len(tables.read(path, REGRESSION, header=True)) == 1


def test_columns_numbered_by_a_dataframe_are_a_header(tmp_path: Path) -> None:
    path = write(tmp_path, "0,1,2,3,4\n5,6,7,8,9\n")
    assert tables.read(path, Network([4, 1])).X.tolist() == [[5, 6, 7, 8]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", " is empty; expected a sample in each line"),
        ("\n  \n", " is empty; expected"),
        ("x,y,t\n", " has a header and no samples; expected"),
        (
            "1,2\n",
            ", line 1: found 2 columns; the network needs 2 inputs, then 1 class or 3 targets",
        ),
        ("1\n", ", line 1: found 1 column; the network"),
        ("1,2,3,4\n", ", line 1: found 4 columns; the network"),
        ("\n1,2,2\n1,2\n", ", line 3: found 2 columns; expected 3, as in the first line"),
        (
            "x,y,t\n1,2,2\n1,two,2\n",
            ", line 3, column 2 (y): 'two' is not a finite number; expected",
        ),
        ("1,2,2\n1,,2\n", ", line 2, column 2: the cell is empty; expected a number"),
        ("1,2,2\n,,\n", ", line 2, column 1: the cell is empty"),
        ("1,2,2\n1,nan,2\n", ", line 2, column 2: 'nan' is not a finite number"),
        ("1,2,2\n1,1e999,2\n", ", line 2, column 2: '1e999' is not a finite number"),
        (
            "1,2,2\n1,2,3\n",
            ", row 1, last column: 3 is not a class; expected a whole number from 0 to 2",
        ),
        ("1,2,2\n1,2,-1\n", ", row 1, last column: -1 is not a class"),
        ("1,2,0.5\n", ", row 0, last column: 0.5 is not a class"),
        ("1,abc,2\n1,2,2\n", "line 1, column 2: 'abc' is not a number, but '1' is. If this line"),
        (
            "0,1,2\n1,2,2\n",
            ", line 1: 0, 1, 2 may be names or numbers. Add --header if they are names",
        ),
        ("1,2,1,1,1\n", ": y[0] sums to 3"),
        (b"1,2,2\n1,\xff,2\n", ", line 2 is not text in UTF-8; save it as UTF-8"),
        ("1,2,2\n".encode("utf-16"), ", line 1 is not text in UTF-8"),
        (b"\x00\x01\x02\x03\n", ", line 1 is not text; expected CSV, TSV or .npz"),
        ('1,2,"' + "9" * 200_000 + '"\n', ", line 1: field larger than field limit"),
        (b"PK\x03\x04 broken", ": File is not a zip file"),
    ],
)
def test_what_is_wrong_is_named(content: str | bytes, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, content)
    with pytest.raises(ValueError, match=r"samples\.csv") as caught:
        tables.read(path, CLASSES)
    assert str(caught.value).startswith(f"{path}")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        tables.read(tmp_path / "none.csv", CLASSES)
    with pytest.raises(IsADirectoryError):
        tables.read(tmp_path, CLASSES)


def test_numpy_files(tmp_path: Path) -> None:
    path = tmp_path / "samples.npz"
    np.savez(path, X=np.array(X), y=[2, 0])
    table = tables.read(path, CLASSES)
    assert table.X.tolist() == X
    assert table.y.tolist() == [2, 0]
    np.savez_compressed(path, X=np.array(X), y=[[1.0], [2.0]])
    assert tables.read(path, REGRESSION).y.tolist() == [[1], [2]]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros(3)}, "samples.npz has no array 'X'; expected X and y, found x"),
        ({"X": np.zeros((1, 2))}, "samples.npz has no array 'y'; expected X and y, found X"),
        ({"X": np.zeros((2, 3)), "y": [0, 1]}, "X has 3 columns, the network expects 2"),
        ({"X": np.zeros((2, 2)), "y": [0, 3]}, r"y\[1\] is class 3"),
        ({"X": np.array([[None, 1]]), "y": [0]}, "Object arrays cannot be loaded"),
        ({"X": [["a", "b"]], "y": [0]}, "X has dtype <U1"),
    ],
)
def test_numpy_files_that_do_not_fit(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "samples.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        tables.read(tmp_path / "samples.npz", CLASSES)


def test_a_numpy_file_that_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "samples.npz"
    np.savez_compressed(path, X=np.random.default_rng(0).normal(size=(50, 2)), y=np.zeros(50, int))
    whole = path.read_bytes()
    for i in range(0, len(whole), 7):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 0xFF]) + whole[i + 1 :])
        try:
            tables.read(path, CLASSES)
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017  damage may also go unnoticed
