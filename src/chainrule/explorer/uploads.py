"""Uploads: samples from the text of a CSV file, as data only."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np

from chainrule.teach.datasets import Dataset, scaled, split

_MOST_CLASSES = 20
_MOST_INPUTS = 1024
_MOST_ROWS = 20_000
_LONGEST_NAME = 40


def read(text: str, name: str) -> Dataset:
    """Take the samples of a text: the inputs, then one column for the class or the number.

    The first line may name the columns. Classes are words, or integers from 0 to 19; other numbers
    are numbers to learn. The inputs are scaled. Raises ValueError with line and column for what
    does not fit.
    """
    lines = [line for line in text.removeprefix("\ufeff").splitlines() if line.strip()]
    if not lines:
        raise ValueError("the file is empty")
    delimiter = max(",\t;", key=lines[0].count)
    try:
        rows = list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True))
    except csv.Error as error:
        raise ValueError(f"this is no CSV file: {error}") from None
    width = len(rows[0])
    if width < 2:
        raise ValueError("the first line has 1 column; expected inputs and then a target")
    if width - 1 > _MOST_INPUTS:
        raise ValueError(f"the file has {width - 1} inputs; at most {_MOST_INPUTS} are taken")
    first = 1
    columns: list[str] = []
    if any(_number(cell) is None for cell in rows[0][:-1]):
        columns, rows, first = rows[0][:-1], rows[1:], 2  # a line of names
    if len(rows) < 2:
        raise ValueError("the file needs at least 2 samples")
    if len(rows) > _MOST_ROWS:
        raise ValueError(f"the file has {len(rows):,} samples; at most {_MOST_ROWS:,} are taken")
    X = np.empty((len(rows), width - 1))
    for i, cells in enumerate(rows):
        if len(cells) != width:
            raise ValueError(f"line {i + first} has {len(cells)} columns, the first has {width}")
        for j, cell in enumerate(cells[:-1]):
            value = _number(cell)
            if value is None:
                raise ValueError(f"line {i + first}, column {j + 1}: {cell[:40]!r} is no number")
            X[i, j] = value
    y, classes, labels = _targets([cells[-1].strip() for cells in rows], first)
    rng = np.random.default_rng(0)
    dataset = Dataset(name, X, y, X[:0], y[:0], classes)
    if len(X) >= 20:
        dataset = split(name, X, y, classes, rng)
    return scaled(replace(dataset, columns=_short(columns), labels=_short(labels)))


def _short(names: list[str]) -> tuple[str, ...]:
    return tuple(name.strip()[:_LONGEST_NAME] for name in names)


def _targets(cells: list[str], first: int) -> tuple[np.ndarray, int, list[str]]:
    """Return the targets as rows, the number of classes (0: numbers), and the words for them."""
    names: list[str] = []
    numbers = [_number(cell) for cell in cells]
    if all(value is None for value in numbers):
        names = sorted(set(cells))
        indices = np.array([names.index(cell) for cell in cells])
    else:
        if None in numbers:
            i = numbers.index(None)
            raise ValueError(f"line {i + first}, last column: {cells[i][:40]!r} is no number")
        values = np.array(numbers, dtype=float)
        whole = bool((values == np.floor(values)).all() and values.min() >= 0)
        if not whole or values.max() >= _MOST_CLASSES:
            return values[:, None], 0, []
        indices = values.astype(int)
    count = int(indices.max()) + 1
    if count > _MOST_CLASSES:
        raise ValueError(f"the last column has {count} classes; at most {_MOST_CLASSES} are taken")
    if count < 2:
        raise ValueError("the last column has one class; expected at least 2")
    if count == 2:
        return indices.astype(float)[:, None], 2, names
    return np.eye(count)[indices], count, names


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if np.isfinite(value) else None
