"""Roles of columns beside the target: the weight of each row, its group, and its time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.equations.checks import guess, listed
from chainrule.tables import cells
from chainrule.tables.cells import CellError, Floats
from chainrule.tables.profile import Wishes
from chainrule.tables.source import Source, TableError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Roles:
    """The columns that weigh the rows, and that split them: between parts, or between models.

    Of these, only the time is an input.
    """

    weight: str | None = None
    group: str | None = None
    time: str | None = None
    by: str | None = None

    @property
    def left_out(self) -> dict[str, str]:
        """The columns that are not inputs, and why."""
        every = {
            self.weight: "the weight of each row",
            self.group: "the group of each row",
            self.by: "each of its values has a model of its own",
        }
        return {name: why for name, why in every.items() if name is not None}

    def check(self, names: Sequence[str], target: str, wishes: Wishes, path: str) -> None:
        """Raise TableError for a column that does not exist, or has another role as well."""
        inputs = [*wishes.numeric, *wishes.categorical, *wishes.dates, *wishes.drop]
        taken = {target: "--target"}
        for option in ("weight", "group", "time", "by"):
            name = getattr(self, option)
            if name is None:
                continue
            if name not in names:
                meant = guess(name, names)
                raise TableError(f"there is no column {name!r}{meant}; {path} has {listed(names)}")
            if name in taken or (option != "time" and name in inputs):
                other = taken.get(name, "--numeric, --categorical, --date or --drop")
                raise TableError(
                    f"--{option} names the column {name!r}, and so does {other}; name another"
                )
            taken[name] = f"--{option}"


@dataclass(frozen=True)
class Given:
    """What the columns with roles hold for each row: weights, the numbers of groups, times."""

    weight: Floats | None = None
    group: NDArray[np.int64] | None = None
    time: Floats | None = None


def collect(source: Source, roles: Roles, missing: Sequence[str], wishes: Wishes) -> Given:
    """Read the columns with roles.

    Raises TableError, with the place, for a weight that is negative or missing, a row without a
    group, or a time that is neither a date nor a number.
    """
    names = [name for name in (roles.weight, roles.group, roles.time) if name is not None]
    if not names:
        return Given()
    held: dict[str, list[Any]] = {"weight": [], "group": [], "time": []}
    reading = _Times(wishes.dates.get(roles.time or "", ""), missing)
    start = 0
    for batch in source.batches(names):
        for role, parts in held.items():
            name = getattr(roles, role)
            if name is None:
                continue
            column = batch.column(name)
            try:
                if role == "weight":
                    parts.append(weights(column, missing))
                elif role == "group":
                    parts.append(_groups(column, missing))
                else:
                    parts.append(reading.read(column))
            except CellError as error:
                place, text = source.place(start + error.row, name), error.text
                what = repr(text) if text else "an empty cell"
                raise TableError(f"{place}: {what} is not a {_EXPECTED[role]}") from None
        start += batch.num_rows
    weight, group, time = (np.concatenate(parts) if parts else None for parts in held.values())
    codes = None if group is None else np.unique(group, return_inverse=True)[1]
    return Given(weight, codes, time)


_EXPECTED = {
    "weight": "weight; expected a number, 0 or more, in every row",
    "group": "group; expected a text or number in every row",
    "time": "time; expected a date in ISO 8601, a number, or the form that --date names, in every "
    "row",
}


def weights(column: pa.ChunkedArray, missing: Sequence[str]) -> Floats:
    """Return the weights of a batch; raise CellError for one that is negative or missing."""
    values = cells.numbers(column, missing)
    bad = ~(values >= 0)
    if bad.any():
        row = int(np.argmax(bad))
        raise CellError(row, "" if np.isnan(values[row]) else f"{values[row]:.6g}")
    return values


def _groups(column: pa.ChunkedArray, missing: Sequence[str]) -> NDArray[Any]:
    texts = cells.texts(column, missing)
    if texts.null_count:
        raise CellError(int(np.argmax(texts.is_null().to_numpy(zero_copy_only=False))), "")
    return np.asarray(texts.to_pylist(), dtype=object)


class _Times:
    """Reads times: dates if the first cells are dates, else numbers."""

    def __init__(self, form: str, missing: Sequence[str]) -> None:
        self.form, self.missing = form, missing
        self.dates: bool | None = True if form else None

    def read(self, column: pa.ChunkedArray) -> Floats:
        """Return the times of a batch as numbers in their order."""
        kind = cells.family(column.type)
        if self.dates is None and kind == "text":
            self.dates = cells.count_dates(cells.stripped(column, self.missing)[:1]) == 1
        if kind in ("date", "time") or self.dates:
            values = cells.dates(column, self.missing, self.form)
        else:
            values = cells.numbers(column, self.missing)
        if np.isnan(values).any():
            raise CellError(int(np.argmax(np.isnan(values))), "")
        return values
