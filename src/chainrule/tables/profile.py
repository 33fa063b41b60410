"""Profile: one pass over a table that finds what each column holds, and collects the target."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from chainrule.equations.checks import guess, listed
from chainrule.tables import cells, notation
from chainrule.tables.cells import CellError
from chainrule.tables.notation import DURATION, TIME, Notations
from chainrule.tables.source import Source, TableError, no_rows

if TYPE_CHECKING:
    import pyarrow as pa

NUMBERS_FROM = 0.9  # with this share of numbers, the other cells are mistakes
_MOST_DISTINCT = 10_000  # texts; a column with more is not categorical
_NEAR_UNIQUE = (
    0.5  # distinct texts for each row; a column with more is free text, or names its rows
)
_FEW = 20  # different texts; with so few, a column is never left out
_CODE = r"^[+-]?0\d+$"  # digits after a zero in front, as codes have them
_ID = re.compile(r"(?:^|[\W_])(?i:id|uuid|guid|index|rownames?|row)$|[a-z]I[Dd]$")
_INDEX = re.compile(r"__index_level_\d+__")  # of a dataframe, in Parquet
_UNNAMED = "Unnamed: 0"  # and one that went through CSV


@dataclass(frozen=True)
class Wishes:
    """What a user says about columns: what they are, whatever they hold, or to leave them out."""

    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    dates: Mapping[str, str] = field(default_factory=dict)  # the form of each, or ""
    drop: tuple[str, ...] = ()

    def check(self, names: Sequence[str], target: str, path: str) -> None:
        """Raise TableError for a column that does not exist, or is named twice."""
        named = [*self.numeric, *self.categorical, *self.dates, *self.drop]
        for name in (target, *named):
            if name not in names:
                meant = guess(name, names)
                raise TableError(f"there is no column {name!r}{meant}; {path} has {listed(names)}")
        for name in named:
            if name == target:
                raise TableError(
                    f"{name!r} is the target; --numeric, --categorical, --date and --drop expect "
                    "another column"
                )
            if named.count(name) > 1:
                raise TableError(
                    f"column {name!r} is named twice in --numeric, --categorical, --date and "
                    "--drop; name it once"
                )


@dataclass(frozen=True)
class Finding:
    """What a column is: its kind, or "left out"; ``words`` say why, or how it is read."""

    name: str
    kind: Literal["number", "date", "category", "left out"]
    words: str = ""
    form: str = ""


@dataclass(frozen=True)
class Profile:
    """What a table holds: its columns except the target, the target's cells, the number of rows.

    ``target`` holds numbers if the types of the file say so, otherwise texts; ``none`` counts the
    texts of the target that were taken for no value.
    """

    findings: tuple[Finding, ...]
    target: pa.Array
    n_rows: int
    none: Counter[str]


def look(
    source: Source,
    target: str,
    missing: Sequence[str],
    wishes: Wishes,
    why: Mapping[str, str] | None = None,
) -> Profile:
    """Read a table once and return what every column holds.

    ``why`` says why a column is dropped, if it was not requested.
    Raises TableError for a table without rows, for wishes that do not fit it, and for a mistake in
    a column of numbers or dates.
    """
    import pyarrow as pa

    wishes.check(source.names, target, source.path)
    task = partial(examine, target=target, missing=missing, wishes=wishes)
    first, *others = source.each(task)
    source.counts = [first.n, *(seen.n for seen in others)]
    for seen in others:
        first.join(seen)
    if not first.n:
        raise no_rows(source.path)
    findings = {name: one.decide(source) for name, one in first.looks.items()}
    for name in wishes.drop:
        findings[name] = Finding(name, "left out", (why or {}).get(name, "as requested"))
    ordered = tuple(findings[name] for name in source.names if name != target)
    if len({part.type for part in first.labels}) > 1:
        raise TableError(
            f"the target {target!r} is a number in some files of {source.path} and a text in "
            "others. Write it alike in all"
        )
    return Profile(ordered, pa.concat_arrays(first.labels), first.n, first.none)


@dataclass
class Seen:
    """What has been seen of a table, or of one file of it."""

    looks: dict[str, _Look]
    labels: list[pa.Array]
    none: Counter[str]
    n: int

    def join(self, later: Seen) -> None:
        """Take in what has been seen of the next file."""
        for name, look in later.looks.items():
            self.looks[name].join(look)
        self.labels += later.labels
        self.none += later.none
        self.n += later.n


def examine(source: Source, _: object, target: str, missing: Sequence[str], wishes: Wishes) -> Seen:
    """Read a table, or one file of it, once."""
    import pyarrow as pa

    names = [name for name in source.names if name != target and name not in wishes.drop]
    looks = {name: _Look(source, name, missing, wishes) for name in names}
    labels: list[Any] = []
    none: Counter[str] = Counter()
    n = 0
    for batch in source.batches([name for name in source.names if name not in wishes.drop]):
        for name in names:
            looks[name].see(batch.column(name), n)
        column = batch.column(target)
        none += cells.missing_texts(column, missing)
        kind = cells.family(column.type)
        if kind in ("other", "time"):
            raise TableError(
                f"the target {target!r} has type {column.type}; expected classes or numbers"
            )
        try:
            labels.append(
                cells.numbers(column, missing)
                if kind in ("number", "duration")
                else cells.texts(column, missing)
            )
        except CellError as error:
            place = source.place(n + error.row, target)
            raise TableError(f"{place}: {error.text!r} is not a finite number") from None
        n += batch.num_rows
    for look in looks.values():
        del look.source  # which stays where the file is
    return Seen(looks, [pa.array(part) for part in labels], none, n)


class _Look:
    """What has been seen of one column."""

    def __init__(self, source: Source, name: str, missing: Sequence[str], wishes: Wishes) -> None:
        self.source, self.name, self.missing, self.wishes = source, name, missing, wishes
        self.family = "none"
        self.rows = self.values = self.numbers = self.dates = 0
        self.first_text: tuple[int, str] | None = None
        self.distinct: set[Any] = set()  # texts, or numbers of a column that may be an id
        self.distinct_rows: int | None = None  # after how many values there were too many
        self.all_dates = True
        self.first_no_date: tuple[int, str] | None = None  # where most are dates
        self.no_dates = 0  # cells that look like dates, such as 2024-02-31
        self.counts_from: float | None = None  # the first cell of a column that numbers the rows
        self.counts = self.whole = True  # as far as has been seen
        self.written = Notations()
        self.codes = True  # all are digits, and some begin with 0
        self.code: str | None = None

    def see(self, column: pa.ChunkedArray, start: int) -> None:
        """Examine a batch, which begins at row ``start``."""
        kind = cells.family(column.type)
        if kind != "none":
            self.family = kind
        if self.name in self.wishes.dates or (self.name in self.wishes.numeric and kind != "text"):
            self._try(column, start)
        if kind in ("number", "duration"):
            values = self._try(column, start)
            present = values[~np.isnan(values)]
            self.values += len(present)
            self.numbers += len(present)
            self._count(values)
            if self.whole and (self._may_be_index() or _ID.search(self.name)):
                self._see_distinct(np.unique(present).tolist())
        elif kind == "text":
            self._see_texts(column, start)
        elif kind != "none":
            self.values += len(column) - column.null_count
        self.rows += len(column)

    def _try(self, column: pa.ChunkedArray, start: int) -> Any:
        """Read a batch as the user said; raise TableError for the first cell that does not fit."""
        form = self.wishes.dates.get(self.name)
        try:
            if form is not None:
                return cells.dates(column, self.missing, form)
            return cells.numbers(column, self.missing)
        except CellError as error:
            place = self.source.place(start + error.row, self.name)
            what = "finite number" if form is None else f"date; expected {form or 'ISO 8601'}"
            raise TableError(f"{place}: {error.text!r} is not a {what}") from None

    def _see_texts(self, column: pa.ChunkedArray, start: int) -> None:
        import pyarrow.compute as pc

        strings = cells.stripped(column, self.missing)
        present = strings.drop_null()
        self.values += len(present)
        self._see_codes(present)
        if cells.is_plain(strings):
            self.written.see_plain(strings, start)
        else:
            self.written.see(strings, start)
        try:
            values = cells.numbers(strings, ())
            self.numbers += len(present)
            self._count(values)
        except CellError as error:
            self.counts = False
            if self.first_text is None:
                self.first_text = (start + error.row, error.text)
            self.numbers += cells.count_numbers(present)
        if self.distinct_rows is None:
            self._see_distinct(cells.alike(pc.unique(present)).to_pylist())
        self._see_dates(strings, start)

    def _see_codes(self, present: pa.Array) -> None:
        """Look for digits with leading zeros, while all cells are digits."""
        import pyarrow.compute as pc

        if not self.codes or not len(present):
            return
        if not pc.all(pc.match_substring_regex(present, r"^\d+$")).as_py():
            self.codes, self.code = False, None
        elif self.code is None:
            found = present.filter(pc.match_substring_regex(present, _CODE))
            self.code = found[0].as_py() if len(found) else None

    def _see_dates(self, strings: pa.Array, start: int) -> None:
        """Count dates, and find the first text that is not one, while most texts are dates."""
        present = len(strings) - strings.null_count
        if 2 * self.dates < self.values - present:
            return
        alike = cells.count_dates(strings)
        self.dates += alike
        if 2 * self.dates < self.values:
            self.all_dates = False
            return
        try:
            cells.dates(strings, (), "")
        except CellError as error:
            self.all_dates = False
            self.first_no_date = self.first_no_date or (start + error.row, error.text)
            self.no_dates += alike - cells.count_true_dates(strings)

    def _see_distinct(self, found: list[Any]) -> None:
        if self.distinct_rows is None:
            self.distinct.update(found)
            if len(self.distinct) > _MOST_DISTINCT:
                self.distinct_rows = self.values

    def _count(self, values: Any) -> None:
        """Check whether numbers are whole, and number the rows: 0, 1, 2, ... or 1, 2, 3, ..."""
        present = values[~np.isnan(values)]
        self.whole = self.whole and bool((present == np.floor(present)).all())
        if not self.counts or not len(values):
            return
        if self.counts_from is None:
            self.counts_from = float(values[0])
        first = self.counts_from + self.rows
        self.counts = bool((values == first + np.arange(len(values))).all())

    def join(self, later: _Look) -> None:
        """Take in what has been seen of the column in the next file."""

        def moved(place: tuple[int, str] | None) -> tuple[int, str] | None:
            return None if place is None else (self.rows + place[0], place[1])

        if self.counts_from is None:
            self.counts_from = later.counts_from
        elif later.counts_from is not None:
            self.counts = self.counts and later.counts_from == self.counts_from + self.rows
        self.counts = self.counts and later.counts
        self.whole = self.whole and later.whole
        self.family = self.family if later.family == "none" else later.family
        self.first_text = self.first_text or moved(later.first_text)
        self.first_no_date = self.first_no_date or moved(later.first_no_date)
        self.all_dates = self.all_dates and later.all_dates
        self.codes, self.code = self.codes and later.codes, self.code or later.code
        self.code = self.code if self.codes else None
        if self.distinct_rows is None:
            self.distinct |= later.distinct
            if later.distinct_rows is not None:
                self.distinct_rows = self.values + later.distinct_rows
            elif len(self.distinct) > _MOST_DISTINCT:
                self.distinct_rows = self.values + later.values
        self.written.join(later.written, self.rows)
        self.rows += later.rows
        self.values += later.values
        self.numbers += later.numbers
        self.dates += later.dates
        self.no_dates += later.no_dates

    def decide(self, source: Source) -> Finding:
        """Return what the column of a table is."""
        self.source = source
        name, wishes = self.name, self.wishes
        if name in wishes.categorical:
            return Finding(name, "category")
        if name in wishes.numeric:
            return self._as_wished()
        if name in wishes.dates:
            return Finding(name, "date", form=wishes.dates[name])
        if _INDEX.fullmatch(name):
            return Finding(name, "left out", "the index of a dataframe")
        if self.family == "other":
            return Finding(name, "left out", "its type is not a number, text or date")
        if not self.values:
            return Finding(name, "left out", "it has no value in any row")
        numbers = self.family == "text" and self.numbers == self.values
        if self.family in ("number", "duration") or numbers:
            if self.counts and self.counts_from in (0, 1) and self.rows > _FEW:
                return Finding(name, "left out", "it numbers the rows")
            if self._may_be_index() and self.whole and self._all_differ():
                return Finding(name, "left out", "probably a dataframe's index: it has no name")
            if _ID.search(name) and self.whole and self._differs():
                return Finding(name, "left out", "an id: nearly every row has a different one")
            if numbers and self.code is not None:
                words = f"codes with leading zeros, such as {self.code}"
                if not self._differs():
                    return Finding(name, "category", words)
                words += f", nearly all different; --numeric {quoted(name)} reads numbers"
                return Finding(name, "left out", words)
            if self.family == "duration":
                return Finding(name, "number", "a duration in seconds", DURATION)
            return Finding(
                name, "number", self._reading() if self.written.special is not None else ""
            )
        if self.family == "time":
            return Finding(name, "date", "a time of day", TIME)
        if self.family in ("date", "category"):
            return Finding(name, "date" if self.family == "date" else "category")
        return self._decide_texts()

    def _as_wished(self) -> Finding:
        """Return a column of numbers, as the user said; raise TableError for another cell."""
        form = self.written.form
        if self.family == "text" and self.numbers < self.values and form in (None, TIME):
            assert self.first_text is not None
            row, text = self.first_text
            place = self.source.place(row, self.name)
            raise TableError(f"{place}: {text!r} is not a finite number")
        if self.family == "duration":
            form = DURATION
        return Finding(self.name, "number", self._reading() if form else "", form or "")

    def _reading(self) -> str:
        return f"written as {self.written.example!r}"

    def _decide_texts(self) -> Finding:
        if self.all_dates:
            return Finding(self.name, "date")
        if (form := self.written.form) is not None:
            told = {TIME: "a time of day", DURATION: "a duration in seconds"}
            kind: Literal["date", "number"] = "date" if form == TIME else "number"
            return Finding(self.name, kind, told.get(form, self._reading()), form)
        if self.numbers >= NUMBERS_FROM * self.values:
            assert self.first_text is not None
            raise self._mistake(self.first_text, "a finite number", self.numbers)
        if self.first_no_date is not None and self.dates >= NUMBERS_FROM * self.values:
            good = self.dates - self.no_dates
            raise self._mistake(self.first_no_date, "a date like the others", good)
        if (words := cells.with_commas(self.distinct)) is not None:
            raise TableError(
                f"{self.source.path}, column {self.name!r} holds {words}, or keep them as "
                f"categories (--categorical {quoted(self.name)})."
            )
        differs = self._differs()
        many = differs or len(self.distinct) > _FEW or notation.is_symbolic(self.written)
        if many and (words := self.written.doubt) is not None:
            raise TableError(
                f"{self.source.path}, column {self.name!r} holds {words}, or keep them as "
                f"categories (--categorical {quoted(self.name)})."
            )
        if differs:
            count = "more than 10,000" if self.distinct_rows else f"{len(self.distinct):,}"
            words = f"free text or names: {count} different texts"
            if (date := cells.date_form(self.distinct)) is not None:
                words = f"probably dates; read them with --date {quoted(f'{self.name}={date}')}"
            return Finding(self.name, "left out", words)
        return Finding(self.name, "category")

    def _mistake(self, first: tuple[int, str], what: str, good: int) -> TableError:
        """Return the error for the first cell that is not what most cells of its column are."""
        row, text = first
        return TableError(
            f"{self.source.place(row, self.name)}: {text!r} is not {what}, but {good:,} of "
            f"{self.values:,} cells of this column are. Correct it, or say what it is: --missing "
            f"{quoted(text)} (no value) or --categorical {quoted(self.name)} (all cells are "
            "categories)."
        )

    def _may_be_index(self) -> bool:
        return self.name == self.source.unnamed or self.name == _UNNAMED

    def _all_differ(self) -> bool:
        """Return whether all rows differ, as far as was counted."""
        return len(self.distinct) == (self.distinct_rows or self.rows)

    def _differs(self) -> bool:
        """Return whether nearly every row has a different text or id."""
        seen = self.values if self.distinct_rows is None else self.distinct_rows
        if self.distinct_rows is not None and self.numbers < self.values:
            return True
        return len(self.distinct) > max(_FEW, _NEAR_UNIQUE * seen)


def quoted(text: str) -> str:
    """Return a text quoted for a shell."""
    return text if re.fullmatch(r"[\w.@+-]+", text) else "'" + text.replace("'", "'\\''") + "'"
