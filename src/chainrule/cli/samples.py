"""Samples for a network from CSV, TSV and NumPy files, or one error that names the place.

Each line of a CSV or TSV file holds one sample: its inputs, then its target, which is one class
from 0 (for a network with several outputs) or one number for each output. The first line may name
the columns. A .npz file holds the arrays X and y. Rows count from 0, lines and columns from 1.
"""

from __future__ import annotations

import csv
import itertools
import os
import zipfile
import zlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.equations import data
from chainrule.tables.source import counted

if TYPE_CHECKING:
    from chainrule.equations.feedforward import FeedForward


@dataclass(frozen=True)
class Table:
    """Samples as a network takes them: ``X`` (n, units_0), ``y`` classes (n,) or (n, units_L)."""

    X: NDArray[Any]
    y: NDArray[Any]

    def __len__(self) -> int:
        return len(self.X)


def read(path: str | os.PathLike[str], network: FeedForward, header: bool | None = None) -> Table:
    """Return the samples of a file for a network.

    ``header`` says whether the first line names the columns; None finds out.
    Raises ValueError, with the file, line and column, for what does not fit, and OSError if the
    file cannot be read.
    """
    name = os.fspath(path)
    with open(name, "rb") as file:
        start = file.read(4)
        file.seek(0)
        try:
            if start == b"PK\x03\x04":
                return _read_npz(file, network)
            return _read_text(file, network, header)
        except _MisfitError as error:
            raise ValueError(f"{name}{error}") from None


class _MisfitError(Exception):
    """What is wrong with a file, to follow its name: ", line 3: ..." or " is empty"."""


_DAMAGED = (
    ValueError, TypeError, EOFError, OSError, RuntimeError, NotImplementedError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip

# --- NumPy files ----------------------------------------------------------------------------------


def _read_npz(file: IO[bytes], network: FeedForward) -> Table:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            for key in ("X", "y"):
                if key not in arrays:
                    found = ", ".join(arrays.files[:5])
                    raise _MisfitError(f" has no array {key!r}; expected X and y, found {found}")
            X, y = arrays["X"], arrays["y"]
        X = data.inputs(X, network.sizes[0])
        return Table(X, data.targets(y, len(X), network.sizes[-1], network.loss))
    except _DAMAGED as error:
        raise _MisfitError(f": {error}") from None


# --- text files -----------------------------------------------------------------------------------


def _read_text(file: IO[bytes], network: FeedForward, header: bool | None) -> Table:
    lines = _decoded(file)
    head: list[str] = []
    while not (head and head[-1].strip()):
        line = next(lines, None)
        if line is None:
            raise _MisfitError(" is empty; expected a sample in each line")
        head.append(line)
    units_0, units_L = network.sizes[0], network.sizes[-1]
    widths = (units_0 + units_L, units_0 + 1)
    reader = csv.reader(
        itertools.chain(head, lines), delimiter=_delimiter(head[-1], widths), skipinitialspace=True
    )

    names: list[str] = []
    width = 0
    numbers = array("d")
    try:
        for cells in reader:
            if len(cells) < 2 and not "".join(cells).strip():
                continue  # an empty line
            number = reader.line_num
            if not width:
                width = len(cells)
                _check_width(width, network, number)
                if header or (header is None and _is_header(cells, number)):
                    names = cells
                    continue
            if len(cells) != width:
                raise _MisfitError(
                    f", line {number}: found {counted(len(cells), 'column')}; expected {width}, as "
                    "in the first line"
                )
            try:
                numbers.extend(map(float, cells))
            except ValueError:
                raise _no_number(cells, names, number) from None
            if not np.isfinite(numbers[-width:]).all():
                raise _no_number(cells, names, number)
    except csv.Error as error:
        raise _MisfitError(f", line {reader.line_num}: {error}") from None
    rows = np.frombuffer(numbers, dtype=np.float64).reshape(-1, width)
    if not len(rows):
        raise _MisfitError(" has a header and no samples; expected at least one")
    X, y = rows[:, :units_0], rows[:, units_0:]
    if width == units_0 + 1 and units_L > 1:
        return Table(X, _classes(y[:, 0], units_L))
    try:
        return Table(X, data.targets(y, len(X), units_L, network.loss))
    except ValueError as error:
        raise _MisfitError(f": {error}") from None


def _decoded(file: IO[bytes]) -> Iterator[str]:
    number = 0
    for number, raw in enumerate(file, start=1):
        if number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")  # the mark that spreadsheets put first
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise _MisfitError(f", line {number} is not text in UTF-8; save it as UTF-8") from None
        if "\0" in line:
            raise _MisfitError(f", line {number} is not text; expected CSV, TSV or .npz")
        yield line


def _delimiter(line: str, widths: Sequence[int]) -> str:
    """Return the delimiter that splits the line into a wanted number of columns, or into most."""
    marks = (",", "\t", ";")
    fitting = [mark for mark in marks if line.count(mark) + 1 in widths]
    return fitting[0] if fitting else max(marks, key=line.count)


def _check_width(width: int, network: FeedForward, line: int) -> None:
    units_0, units_L = network.sizes[0], network.sizes[-1]
    if width == units_0 + units_L or width == units_0 + 1:
        return
    target = "1 target" if units_L == 1 else f"1 class or {units_L} targets"
    raise _MisfitError(
        f", line {line}: found {counted(width, 'column')}; the network needs "
        f"{counted(units_0, 'input')}, then {target}"
    )


def _is_header(cells: Sequence[str], line: int) -> bool:
    """Return whether a line holds names; raise _MisfitError if it could be either.

    A wrong guess would lose a row.
    """
    numbers = [(i, cell) for i, cell in enumerate(cells) if _number(cell) is not None]
    if all(cell.strip() == str(i) for i, cell in numbers):
        # No numbers at all, or 0, 1, 2, ..., as dataframes call columns without names.
        if len(numbers) < len(cells) or len(cells) > 4:
            return True
        raise _MisfitError(
            f", line {line}: {', '.join(cells)} may be names or numbers. Add --header if they are "
            "names, or --no-header if they are numbers."
        )
    if len(numbers) == len(cells):
        return False
    i, cell = next((i, cell) for i, cell in enumerate(cells) if _number(cell) is None)
    raise _MisfitError(
        f", line {line}, column {i + 1}: {cell!r} is not a number, but {numbers[0][1]!r} is. If "
        "this line names the columns, add --header."
    )


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _no_number(cells: Sequence[str], names: Sequence[str], line: int) -> _MisfitError:
    """Return the error for the first cell of a row that is not a finite number."""
    for i, cell in enumerate(cells):
        number = _number(cell)
        if number is None or not np.isfinite(number):
            what = f"{cell!r} is not a finite number" if cell.strip() else "the cell is empty"
            name = f" ({names[i]})" if names else ""
            return _MisfitError(f", line {line}, column {i + 1}{name}: {what}; expected a number")
    raise AssertionError("every cell is a finite number")


def _classes(column: NDArray[np.float64], units: int) -> NDArray[np.int64]:
    wrong = (column < 0) | (column >= units) | (column != np.floor(column))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise _MisfitError(
            f", row {row}, last column: {column[row]:.6g} is not a class; expected a whole number "
            f"from 0 to {units - 1}"
        )
    return column.astype(np.int64)
