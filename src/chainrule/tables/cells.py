"""Cells: columns of a batch as numbers, texts and dates, or the first cell that does not fit.

Missing values are NaN among numbers and dates, null among texts. A column of text is read by its
content; a column of a Parquet or Arrow file by its type.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from chainrule.tables import notation

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_WITH_COMMA = re.compile(r"[+-]?\d*,\d+$")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?$")
_OTHER_THOUSANDS = re.compile(
    r"[+-]?[1-9]\d{0,2}(?:([ '’\u00a0\u202f]\d{3})+([.,]\d*)?|(\.\d{3})+,\d*|(\.\d{3}){2,})$"
)
_DATE = (
    r"^\d{4}-\d{2}-\d{2}([ T]\d{2}(:?\d{2}){0,2}(\.\d+)?(Z| ?(UTC|GMT)| ?[+-]\d{2}(:?\d{2})?)?)?$"
)
_BLANK_ZONE = r"(:\d{2}(?:\.\d+)?) (UTC|GMT|[+-]\d{2}(?::?\d{2})?)$"
DATE_FORMS = [
    f"{day}{time}"
    for day in ("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d")
    for time in ("", " %H:%M", " %H:%M:%S")
]


def is_known_date(form: str) -> bool:
    """Return whether dates of this form are found without an option, and are read by exported C."""
    return form in ("", notation.TIME, *DATE_FORMS)


class CellError(Exception):
    """A cell that does not fit its column: its row in the batch, and the start of its text."""

    def __init__(self, row: int, text: str) -> None:
        super().__init__(row, text)
        self.row, self.text = row, text if len(text) <= 60 else f"{text[:60]}..."


Family = Literal["text", "number", "date", "time", "duration", "category", "none", "other"]


def family(dtype: pa.DataType) -> Family:
    """Return how a column of a type is read; "none" if it holds only nulls."""
    from pyarrow import types

    if types.is_dictionary(dtype):
        dtype = dtype.value_type
    if types.is_string(dtype) or types.is_large_string(dtype) or types.is_string_view(dtype):
        return "text"
    if types.is_integer(dtype) or types.is_floating(dtype) or types.is_decimal(dtype):
        return "number"
    if types.is_date(dtype) or types.is_timestamp(dtype):
        return "date"
    if types.is_time(dtype):
        return "time"
    if types.is_duration(dtype):
        return "duration"
    if types.is_boolean(dtype):
        return "category"
    return "none" if types.is_null(dtype) else "other"


def with_commas(distinct: Iterable[str]) -> str | None:
    """Return what commas in texts seem to mean, and what to do; None if few texts have them.

    Callers add one more way out, which begins with ", or".
    """
    found = list(distinct)
    other = [text for text in found if _OTHER_THOUSANDS.match(text)]
    numbers = sum(bool(_WITH_COMMA.match(text) or re.match(_NUMBER, text)) for text in found)
    if other and len(other) + numbers > 0.9 * len(found):
        return (
            f"texts such as {min(other)!r}, which look like numbers with thousands separators; "
            "these cannot be read. Remove the separators"
        )
    commas = [text for text in found if _WITH_COMMA.match(text) or _THOUSANDS.match(text)]
    if len(commas) <= len(found) / 2:
        return None
    if all(map(_THOUSANDS.match, commas)):
        return (
            f"texts such as {min(commas)!r}, which look like numbers with thousands separators; "
            "these cannot be read. Remove the commas, read them as decimal marks (--decimal ,)"
        )
    return (
        f"texts such as {min(commas)!r}, which look like numbers with a decimal comma. Read them "
        "as numbers (--decimal ,)"
    )


def texts(column: pa.ChunkedArray, missing: Sequence[str]) -> pa.Array:
    """Return the cells as texts without surrounding blanks, null where they stand for no value.

    Equal values give equal texts in every format; see `alike`.
    """
    return _without(alike(stripped(column, missing)), missing)


def stripped(column: pa.ChunkedArray | pa.Array, missing: Sequence[str]) -> pa.Array:
    """Return the cells as `texts` does, but leave texts as they are written in the file."""
    import pyarrow as pa
    import pyarrow.compute as pc

    array = _one_chunk(column)
    if pa.types.is_floating(array.type) or pa.types.is_decimal(array.type):
        array = _written(pc.cast(array, pa.float64(), safe=False))
    return _without(pc.utf8_trim_whitespace(pc.cast(array, pa.string())), missing)


def missing_texts(column: pa.ChunkedArray | pa.Array, missing: Sequence[str]) -> Counter[str]:
    """Count the texts that stand for no value, except empty ones."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if family(column.type) != "text":
        return Counter()
    strings = pc.utf8_trim_whitespace(pc.cast(_one_chunk(column), pa.string()))
    said = pa.array([text for text in missing if text], pa.string())
    counted = pc.value_counts(strings.filter(pc.is_in(strings, value_set=said)))
    pairs = zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True)
    return Counter(dict(pairs))


def _without(strings: pa.Array, missing: Sequence[str]) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    none = pc.is_in(strings, value_set=pa.array(missing, pa.string()))
    return pc.if_else(none, pa.scalar(None, pa.string()), strings)


def alike(strings: pa.Array) -> pa.Array:
    """Return equal categories as equal texts: 1.0 as 1, true and TRUE as True.

    True and false are then the same, whether pandas, R or Arrow wrote them.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    strings = pc.replace_substring_regex(strings, r"^([+-]?\d+)\.0*$", r"\1")
    for truth in ("True", "False"):
        others = pa.array([truth.lower(), truth.upper()])
        strings = pc.if_else(pc.is_in(strings, value_set=others), truth, strings)
    return strings


def number_text(value: float) -> str:
    """Return a number as the text that the category of a column of numbers has."""
    import pyarrow as pa

    return str(_written(pa.array([value], pa.float64()))[0].as_py())


def _written(values: pa.Array) -> pa.Array:
    """Return numbers as texts, whole ones without a decimal point; null where not finite."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = pc.if_else(pc.is_finite(values), values, pa.scalar(None, pa.float64()))
    whole = pc.and_(pc.equal(pc.floor(values), values), pc.less(pc.abs(values), 2.0**53))
    as_whole = pc.cast(pc.if_else(whole, values, 0.0), pa.int64())
    return pc.if_else(whole, pc.cast(as_whole, pa.string()), pc.cast(values, pa.string()))


def numbers(column: pa.ChunkedArray | pa.Array, missing: Sequence[str], form: str = "") -> Floats:
    """Return the cells as numbers, NaN where there is no value; durations in seconds.

    Text is read in a form (see `notation`). Raises CellError for the first cell that is not a
    number, or is infinite.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    array = _one_chunk(column)
    if (kind := family(column.type)) == "number":
        array = pc.cast(array, pa.float64(), safe=False)
        values = np.array(array.to_numpy(zero_copy_only=False), dtype=np.float64)
        bad = np.isinf(values)
    elif kind == "duration":
        values = _microseconds(array, pa.duration("us"))
        bad = np.isinf(values)
    else:
        array = stripped(array, missing)
        values, bad = _floats(array, form)
    if none := missing_numbers(missing):
        values[np.isin(values, none)] = np.nan  # -999.0, too, where -999 stands for no value
    if bad.any():
        row = int(np.argmax(bad))
        raise CellError(row, str(array[row]))
    return values


def missing_numbers(missing: Sequence[str]) -> list[float]:
    """Return the numbers that stand for no value."""
    return [float(text) for text in missing if re.match(_NUMBER, text)]


def numbers_or_none(
    column: pa.ChunkedArray | pa.Array, missing: Sequence[str], form: str = ""
) -> tuple[Floats, list[str]]:
    """Return the cells as numbers, NaN where there is none, and the texts that are not numbers."""
    import pyarrow as pa

    array = texts(column, missing)
    values, bad = _floats(array, "" if family(column.type) == "number" else form)
    values[bad] = np.nan
    return values, array.filter(pa.array(bad)).to_pylist()


def count_numbers(strings: pa.Array) -> int:
    """Count the texts that are finite numbers."""
    return int(len(strings) - strings.null_count - _floats(strings, "")[1].sum())


def is_plain(strings: pa.Array) -> bool:
    """Return whether all texts are plain numbers."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        pc.cast(strings, pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _floats(strings: pa.Array, form: str) -> tuple[Floats, NDArray[np.bool_]]:
    """Return texts as numbers, and a mark where one is not a finite number."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if form == notation.DURATION:
        values = notation.seconds(strings, form)
        return values, np.isnan(values) & strings.is_valid().to_numpy(zero_copy_only=False)
    if form or not is_plain(strings):
        strings = notation.plain(strings, form)
    bad = _differs(strings, _NUMBER)
    if bad.any():
        strings = pc.if_else(pa.array(bad), pa.scalar(None, pa.string()), strings)
    values = pc.cast(strings, pa.float64()).to_numpy(zero_copy_only=False)
    values = np.array(values, dtype=np.float64)
    return values, bad | np.isinf(values)


def count_dates(strings: pa.Array) -> int:
    """Count the texts that look like dates in ISO 8601."""
    return int(len(strings) - strings.null_count - _differs(strings, _DATE).sum())


def count_true_dates(strings: pa.Array) -> int:
    """Count the dates in ISO 8601, with a zone or without, whichever are more; not 2024-02-31."""
    import pyarrow.compute as pc

    counted = pc.value_counts(strings.drop_null())
    each, counts = counted.field(0), counted.field(1).to_pylist()
    one = [each.slice(i, 1) for i in range(len(each))]
    return max(
        sum(n for text, n in zip(one, counts, strict=True) if _stamps(text, zone) is not None)
        for zone in (None, "UTC")
    )


def _differs(strings: pa.Array, form: str) -> NDArray[np.bool_]:
    """Mark the texts that do not match a pattern; missing values are not marked."""
    import pyarrow.compute as pc

    matched = pc.match_substring_regex(strings, form)
    return ~np.asarray(pc.fill_null(matched, True).to_numpy(zero_copy_only=False), dtype=bool)


def date_form(distinct: Iterable[str]) -> str | None:
    """Return a strptime format that reads all texts as dates, or None."""
    import pyarrow as pa

    strings = pa.array(distinct, pa.string())
    return next((form for form in DATE_FORMS if _parsed(strings, form) is not None), None)


def dates(column: pa.ChunkedArray | pa.Array, missing: Sequence[str], form: str) -> Floats:
    """Return the cells as seconds since 1970, NaN where there is no value.

    Text is read as ISO 8601, or in the strptime format ``form`` if that is not empty. A time with a
    zone is converted to UTC. A time of day (``form`` "time") counts from
    midnight. Raises CellError for the first cell that is not a date.
    """
    import pyarrow as pa

    array = _one_chunk(column)
    if (kind := family(array.type)) == "time":
        return _microseconds(array, pa.time64("us"))
    if form == notation.TIME:
        array = stripped(column, missing)
        values = notation.seconds(array, form)
        bad = np.isnan(values) & array.is_valid().to_numpy(zero_copy_only=False)
        if bad.any():
            row = int(np.argmax(bad))
            raise CellError(row, str(array[row]))
        return values
    if kind != "date":
        array = stripped(column, missing)
        stamps = _parsed(array, form)
        if stamps is None:
            row = _first_that_fails(array, form)
            raise CellError(row, str(array[row]))
        array = stamps
    return _microseconds(array, pa.timestamp("us"))


def _microseconds(array: pa.Array, as_type: pa.DataType) -> Floats:
    """Return points in time, or durations, in seconds."""
    import pyarrow as pa
    import pyarrow.compute as pc

    micro = pc.cast(pc.cast(array, as_type, safe=False), pa.int64())
    return np.array(
        pc.divide(pc.cast(micro, pa.float64(), safe=False), 1e6).to_numpy(zero_copy_only=False),
        dtype=np.float64,
    )


def _parsed(strings: pa.Array, form: str) -> pa.Array | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    if form:
        try:
            return pc.strptime(strings, format=form, unit="us")
        except pa.ArrowInvalid:
            return None
    found = _stamps(strings, None)
    return _stamps(strings, "UTC") if found is None else found


def _stamps(strings: pa.Array, zone: str | None) -> pa.Array | None:
    """Return points in time in UTC; None unless all texts are in ISO 8601, all with a zone or none.

    A zone may stand behind a blank.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if zone is not None:
        strings = pc.replace_substring_regex(strings, _BLANK_ZONE, r"\1\2")
        strings = pc.replace_substring_regex(strings, r"(:\d{2}(?:\.\d+)?)(?:UTC|GMT)$", r"\1Z")
    try:
        return pc.cast(pc.cast(strings, pa.timestamp("us", zone)), pa.timestamp("us"))
    except pa.ArrowInvalid:
        return None


def _first_that_fails(strings: pa.Array, form: str) -> int:
    """Return the first text that is not a date: the rows before it parse, those up to it do not."""
    low, high = 0, len(strings)  # [:low] parses, [:high] does not
    while high - low > 1:
        middle = (low + high) // 2
        if _parsed(strings.slice(0, middle), form) is None:
            high = middle
        else:
            low = middle
    return high - 1


def _one_chunk(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # with no chunk or several, in some versions
        column = pa.concat_arrays(column.chunks)
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    return column
