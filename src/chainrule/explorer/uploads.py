"""Uploads: samples from the text of a CSV file, as data only."""

from __future__ import annotations

import csv
import re
from dataclasses import replace

import numpy as np

from chainrule.explorer.protocol.requests import MAX_NAME, MAX_UNITS
from chainrule.teach.datasets import Dataset, scaled, split

_MOST_CLASSES = 20  # more would not fit into the confusion matrix of the page
_COMMA = re.compile(r"^(\s*[+-]?\d+),(\d+(?:[eE][+-]?\d+)?\s*)$")  # a decimal comma
_DOT = re.compile(r"[+-]?\d*\.\d+(?:[eE][+-]?\d+)?")
_MOST_ROWS = 20_000
_FEWEST = 20  # samples from which on some are kept for validation


def read(text: str, name: str, targets: int = 1) -> Dataset:
    """Return the samples of a text: the inputs, then one column with the target, or more.

    Between columns stands a comma, a semicolon or a tab; with the latter two, numbers may have a
    decimal comma, if none has a point. The first line may name the columns. Targets are classes if
    they are words or integers from 0 to 19, and numbers otherwise; several ``targets``, the last
    columns, are numbers. The inputs are scaled. Raises ValueError, with line and column, for text
    that is not like this.
    """
    lines = [line for line in text.removeprefix("\ufeff").splitlines() if line.strip()]
    if not lines:
        raise ValueError("The file is empty; expected lines of numbers")
    delimiter = next((d for d in ";\t" if _separates(d, lines)), ",")
    try:
        rows = list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True))
    except csv.Error as error:
        raise ValueError(f"The file is not CSV: {error}") from None
    if delimiter != "," and not any(_DOT.fullmatch(c.strip()) for row in rows for c in row):
        rows = [[_COMMA.sub(r"\1.\2", cell) for cell in row] for row in rows]
    width = len(rows[0])
    if width < 2 or width <= targets:
        have = "1 column" if width == 1 else f"{width} columns"
        what = "a target" if targets == 1 else f"{targets} targets"
        raise ValueError(f"The first line has {have}; expected inputs and then {what}")
    if width - 1 > MAX_UNITS:
        raise ValueError(f"The file has {width - 1:,} inputs; expected at most {MAX_UNITS:,}")
    first = 1
    columns: list[str] = []
    if any(_number(cell) is None for cell in rows[0][:-1]):
        columns, rows, first = rows[0][:-targets], rows[1:], 2  # a line of names
    if len(rows) < 2:
        raise ValueError(f"The file has {len(rows)} sample{'s' * (not rows)}; expected at least 2")
    if len(rows) > _MOST_ROWS:
        raise ValueError(f"The file has {len(rows):,} samples; expected at most {_MOST_ROWS:,}")
    numbers = np.empty((len(rows), width if targets > 1 else width - 1))
    for i, cells in enumerate(rows):
        if len(cells) != width:
            count = "1 column" if len(cells) == 1 else f"{len(cells)} columns"
            raise ValueError(
                f"Line {i + first} has {count}; expected {width}, as in the first line"
            )
        for j, cell in enumerate(cells[: numbers.shape[1]]):
            value = _number(cell)
            if value is None:
                raise ValueError(_not_a_number(cell, i + first, f"column {j + 1}"))
            numbers[i, j] = value
    X, y = numbers[:, : width - targets], numbers[:, width - targets :]
    classes, labels = 0, list[str]()
    if targets == 1:
        y, classes, labels = _targets([cells[-1].strip() for cells in rows], first)
    rng = np.random.default_rng(0)
    dataset = Dataset(name, X, y, X[:0], y[:0], classes)
    if len(X) >= _FEWEST:
        dataset = split(name, X, y, classes, rng)
    named = replace(dataset, columns=_short(columns), labels=_short(labels), source=text)
    return scaled(named)


def _separates(delimiter: str, lines: list[str]) -> bool:
    """Return whether a sign stands equally often in every line, as one between columns does."""
    counts = {line.count(delimiter) for line in lines}
    return len(counts) == 1 and counts != {0}


def _short(names: list[str]) -> tuple[str, ...]:
    return tuple(name.strip()[:MAX_NAME] for name in names)


def _targets(cells: list[str], first: int) -> tuple[np.ndarray, int, list[str]]:
    """Return the targets as rows, the number of classes (0: numbers), and their names."""
    names: list[str] = []
    numbers = [_number(cell) for cell in cells]
    if all(value is None for value in numbers):
        names = sorted(set(cells))
        indices = np.array([names.index(cell) for cell in cells])
    else:
        if None in numbers:
            i = numbers.index(None)
            raise ValueError(_not_a_number(cells[i], i + first, "last column"))
        values = np.array(numbers, dtype=float)
        whole = bool((values == np.floor(values)).all() and values.min() >= 0)
        if not whole or values.max() >= _MOST_CLASSES:
            return values[:, None], 0, []
        indices = values.astype(int)
    count = int(indices.max()) + 1
    if count > _MOST_CLASSES:
        raise ValueError(f"The last column has {count} classes; expected at most {_MOST_CLASSES}")
    if count < 2:
        raise ValueError("The last column has one class; expected at least 2")
    if count == 2:
        return indices.astype(float)[:, None], 2, names
    return np.eye(count)[indices], count, names


def _not_a_number(cell: str, line: int, column: str) -> str:
    return f"Line {line}, {column} is {cell[:MAX_NAME]!r}; expected a finite number"


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if np.isfinite(value) else None
