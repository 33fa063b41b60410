"""Notations: numbers with a currency, a unit or thousands separators; times of day and durations.

A column has one notation, its *form*: ``$#,###`` for $1,200 and ``# kg`` for 12 kg, where # stands
for the digits; ``time`` for 14:30 and ``duration`` for 1 days 02:30:00. An empty form is a plain
number. A Unicode minus, and parentheses around a negative number, belong to every form.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

TIME, DURATION = "time", "duration"
_CURRENCY = (
    r"(?:(?:US|A|C|CA|AU|NZ|HK|S|R)?\$|[€£¥₹₽₩₺₪₫฿₴₱]|USD|EUR|GBP|CHF|JPY|CNY|INR|RUB|KRW|TRY|ILS"
    r"|SEK|NOK|DKK|PLN|CZK|HUF|BRL|CAD|AUD|NZD|HKD|SGD|MXN|ZAR|THB)"
)
_LETTER = r"[^\W\d_]"
_MARK = r"[%‰°µμΩ′″€£¥₹₽₩₺₪₫฿₴₱$]"  # what may begin a unit, beside a letter
_UNIT = rf"(?:{_LETTER}|{_MARK})(?:[\w/%²³°·^*$€£-]{{0,11}}(?: {_LETTER}{{1,8}}\.?)?)"
_DIGITS = r"(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_MINUS = "−–﹣－"  # besides the hyphen
_SIGN = f"[+{_MINUS}-]?"
_WRITTEN = re.compile(
    rf"(\()?\s*({_SIGN})\s*({_CURRENCY})?\s*({_SIGN})(\()?({_DIGITS})(\))?(\s*)({_UNIT})?(\))?"
)
_GROUPED = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?")
_ONE_LETTER = frozenset("mglsthxkKMWVALJNFC")  # units of one letter that stand close to a number
_MOST_PAIRS = 5  # currencies and units; a column with more of them is text
_TIME = r"^(?P<h>[01]?\d|2[0-3]):(?P<m>[0-5]\d)(?::(?P<s>[0-5]\d(?:\.\d+)?))?$"
_CLOCK = (
    r"^(?P<sign>[+-])?(?:(?P<d>\d+) days?,? *)?"
    r"(?:(?P<h>\d+):(?P<m>[0-5]\d)(?::(?P<s>[0-5]\d(?:\.\d+)?))?)?$"
)
_ISO = (
    r"^(?P<sign>[+-])?P(?:(?P<w>\d+)W)?(?:(?P<d>\d+(?:\.\d+)?)D)?"
    r"(?:T(?:(?P<h>\d+(?:\.\d+)?)H)?(?:(?P<m>\d+(?:\.\d+)?)M)?(?:(?P<s>\d+(?:\.\d+)?)S)?)?$"
)
_SECONDS = {"w": 604800.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}


@dataclass(frozen=True)
class _Read:
    """How one text writes its number."""

    prefix: str
    unit: str
    digits: str
    special: bool  # it has a Unicode minus, or parentheses


def _read(text: str) -> _Read | None:
    match = _WRITTEN.fullmatch(text)
    if match is None:
        return None
    opened, sign, prefix, inner, inside, digits, closing, blank, unit, closed = match.groups("")
    opens, closes = (opened + inside).count("("), (closing + closed).count(")")
    if opens != closes or opens > 1 or bool(sign) + bool(inner) + opens > 1:
        return None
    if len(unit) == 1 and unit.isalpha() and not blank and unit not in _ONE_LETTER:
        return None  # 12B is a code
    if "," in digits and not _GROUPED.fullmatch(digits):
        return None
    signs = set(sign + inner) & set(_MINUS)
    return _Read(prefix, unit, digits, bool(signs or opens))


class Notations:
    """The notations that have been seen in a column of text."""

    def __init__(self) -> None:
        self.cells = self.found = 0
        self.pairs: Counter[tuple[str, str]] = Counter()  # cells by currency and unit
        self.first: dict[tuple[str, str] | None, tuple[int, str]] = {}  # None: not a number
        self.grouped: str | None = None  # a text with thousands separators
        self.sure = False  # that its commas are not decimal marks
        self.special: str | None = None  # a text with parentheses or a Unicode minus
        self.times = self.durations = 0

    def see(self, strings: pa.Array, start: int) -> None:
        """Examine the texts of a batch, which begins at row ``start``, while most are numbers."""
        import pyarrow.compute as pc

        before, present = self.cells, len(strings) - strings.null_count
        self.cells += present
        if 2 * max(self.found, self.times, self.durations) < before:
            return
        if self.times == before:
            self.times += _matches(strings, TIME)
        if self.durations == before:
            self.durations += _matches(strings, DURATION)
        counted = pc.value_counts(strings.drop_null())
        texts, counts = counted.field(0).to_pylist(), counted.field(1).to_pylist()
        for text, count in zip(texts, counts, strict=True):
            read = _read(text)
            pair = None if read is None else (read.prefix, read.unit)
            if pair not in self.first and len(self.first) <= _MOST_PAIRS + 1:
                self.first[pair] = (start + pc.index(strings, text).as_py(), text)
            if read is None or pair is None:
                continue
            self.found += count
            self.pairs[pair] += count
            self.special = self.special or (text if read.special else None)
            if "," in read.digits:
                self.grouped = self.grouped or text
                money = re.fullmatch(_CURRENCY, read.prefix) or re.fullmatch(_CURRENCY, read.unit)
                self.sure |= bool(money) or read.digits.count(",") > 1 or "." in read.digits

    def see_plain(self, strings: pa.Array, start: int) -> None:
        """Count a batch of plain numbers."""
        if count := len(strings) - strings.null_count:
            self.cells += count
            self.found += count
            self.pairs["", ""] += count
            row = int(np.argmax(strings.is_valid().to_numpy(zero_copy_only=False)))
            self.first.setdefault(("", ""), (start + row, strings[row].as_py()))

    def join(self, later: Notations, rows: int) -> None:
        """Take in the notations of the next file, which begins at a row."""
        self.cells += later.cells
        self.found += later.found
        self.pairs += later.pairs
        for pair, (row, text) in later.first.items():
            if len(self.first) <= _MOST_PAIRS + 1:
                self.first.setdefault(pair, (rows + row, text))
        self.grouped = self.grouped or later.grouped
        self.special = self.special or later.special
        self.sure |= later.sure
        self.times += later.times
        self.durations += later.durations

    @property
    def form(self) -> str | None:
        """The form that all cells have, or None; plain numbers have none either."""
        if not self.cells:
            return None
        if self.times == self.cells:
            return TIME
        if self.durations == self.cells:
            return DURATION
        if self.found < self.cells or len(self.pairs) != 1 or (self.grouped and not self.sure):
            return None
        (prefix, unit), *_ = self.pairs
        digits = "#,###" if self.grouped else "#"
        blank = " " if unit and not unit.startswith("°") else ""
        form = f"{prefix}{digits}{blank}{unit}"
        return None if form == "#" else form

    @property
    def doubt(self) -> str | None:
        """What keeps cells that look like numbers with symbols from being read, or None."""
        if not self.cells or self.found < 0.9 * self.cells or len(self.pairs) > _MOST_PAIRS:
            return None
        if set(self.pairs) == {("", "")}:
            return None
        if self.grouped and not self.sure and self.found == self.cells:
            return (
                f"texts such as {self.grouped!r}, whose comma may be a thousands separator or a "
                "decimal mark. Remove the commas"
            )
        common = self.pairs.most_common(1)[0][0]
        others = [pair for pair in self.first if pair != common]
        if not others:
            return None
        usual, other = self.first[common][1], self.first[others[0]][1]
        return (
            f"texts such as {usual!r} and {other!r}, which are not written alike. Write all as "
            f"numbers with one unit, say which text stands for no value (--missing {other!r})"
        )

    @property
    def example(self) -> str:
        """A cell as it is written, if it can be one that is not plain digits."""
        shown = self.grouped or self.special
        return shown or next(
            (text for pair, (_, text) in self.first.items() if pair is not None), ""
        )


def is_symbolic(notations: Notations) -> bool:
    """Return whether most cells have a currency or a percent sign."""
    marked = sum(
        count for (prefix, unit), count in notations.pairs.items() if prefix or unit in ("%", "‰")
    )
    return 2 * marked > notations.cells


def plain(strings: pa.Array, form: str) -> pa.Array:
    """Return numbers of a form in plain notation, and an empty text for what does not have it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    prefix, grouped, unit = parts(form)
    comma = "," if grouped else ""
    number = rf"([\d{comma}]*\.?\d*(?:[eE][+-]?\d+)?)"
    pattern = (
        rf"^(\()?\s*({_SIGN})\s*{re.escape(prefix)}\s*({_SIGN})(\()?{number}(\))?\s*"
        rf"{re.escape(unit)}(\))?$"
    )
    fits = pc.match_substring_regex(strings, pattern)
    opened = pc.match_substring(strings, "(")
    fits = pc.and_(fits, pc.equal(opened, pc.match_substring(strings, ")")))
    made = pc.replace_substring_regex(strings, pattern, r"\1\2\3\4\5")
    made = pc.replace_substring_regex(made, rf"^[({_MINUS}]", "-")
    if grouped:
        whole = pc.match_substring_regex(made, rf"^[+-]?{_GROUPED.pattern}$")
        made = pc.if_else(whole, pc.replace_substring(made, ",", ""), made)
    return pc.if_else(fits, made, pa.scalar("", pa.string()))


def parts(form: str) -> tuple[str, bool, str]:
    """Return what stands before the digits, whether they are grouped, and what stands behind."""
    prefix, _, rest = (form or "#").partition("#")
    grouped = rest.startswith(",###")
    return prefix, grouped, rest.removeprefix(",###").strip()


def check_form(form: str, kind: str) -> None:
    """Raise ValueError for a form of a number that this version does not read."""
    if kind == "number" and form not in ("", DURATION) and form.count("#") not in (1, 4):
        raise ValueError(f"a number has the form {form!r}; expected one such as '$#' or '# kg'")


def is_known(form: str) -> bool:
    """Return whether a form is one that `Notations` finds in a column of numbers."""
    made = rf"(?:{_CURRENCY})?#(?:,###)?(?: ?{_UNIT})?"
    return form in ("", DURATION) or bool(re.fullmatch(made, form))


def example(form: str) -> str:
    """Return a cell as a form writes it, for messages."""
    if form in (TIME, DURATION):
        return "14:30" if form == TIME else "36:15:00"
    return form.replace("#,###", "1,200").replace("#", "12")


def seconds(strings: pa.Array, form: str) -> NDArray[np.float64]:
    """Return times of day or durations in seconds; NaN for no value and for what is neither."""
    found = np.full(len(strings), np.nan)
    for pattern in (_TIME,) if form == TIME else (_CLOCK, _ISO):
        values = _seconds(strings, pattern)
        found = np.where(np.isnan(found), values, found)
    return found


def _seconds(strings: pa.Array, pattern: str) -> NDArray[np.float64]:
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = pc.extract_regex(strings, pattern)
    total = np.zeros(len(strings))
    given = np.zeros(len(strings), dtype=bool)
    sign = np.ones(len(strings))
    for name in re.findall(r"\?P<(\w+)>", pattern):
        texts = pc.fill_null(pc.struct_field(parts, name), "")
        if name == "sign":
            sign = np.where(pc.equal(texts, "-").to_numpy(zero_copy_only=False), -1.0, 1.0)
            continue
        empty = pc.equal(texts, "")
        values = pc.cast(pc.if_else(empty, "0", texts), pa.float64())
        given |= ~empty.to_numpy(zero_copy_only=False)
        total += np.asarray(values.to_numpy(zero_copy_only=False)) * _SECONDS[name]
    return np.where(given, sign * total, np.nan)


def _matches(strings: pa.Array, form: str) -> int:
    return int((~np.isnan(seconds(strings, form))).sum())


def duration(value: float) -> str:
    """Return a number of seconds as hours, minutes and seconds."""
    whole, sign = abs(value), "-" if value < 0 else ""
    minutes, left = divmod(whole, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{sign}{hours}:{minutes:02}:{left:02.6g}" if left else f"{sign}{hours}:{minutes:02}"
