"""TableModel.to_c: the cells of a row, the network, and the prediction, as a file of C."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from chainrule.foreign.c import export as networks
from chainrule.foreign.c.source import TYPES, Around, Settings, safe
from chainrule.tables import cells, notation
from chainrule.tables.c import program, reading
from chainrule.tables.c.literals import array, literal, number, pair, quoted, texts
from chainrule.tables.schema import DATE_PARTS, Column, Schema, Target, levels

if TYPE_CHECKING:
    from chainrule.network import Network

_LONGEST = 4000  # bytes of a text: compilers need not take more than 4095

_HEADER = """
#define NAME_COLUMNS {n}

/* A cell: a text in UTF-8, as a file has it; or NULL, and a number. The number is, of a number, its
 * value; of a date, the seconds since 1970 in UTC; of a time of day, those since midnight; of a
 * duration, its seconds; of a category, the number that it is. NaN says that there is no value. */
typedef struct {{
    const char *text;
    double number;
}} name_cell;

/* A row has these columns, in this order:
{columns}
 */
extern const char *const name_columns[NAME_COLUMNS]; /* their names, in UTF-8 */
{target}
/* Computes what the network takes, and returns 0; or the place, from 1, of the first column whose
 * cell is not usable. */
int name_inputs(const name_cell row[NAME_COLUMNS], TYPE x[NAME_INPUTS]);
"""
_OF_CLASSES = """
/* Computes the probability of each class, and the place of the most probable one in name_classes.
 * Returns 0; or the place, from 1, of the first column whose cell is not usable. */
int name_predict_row(const name_cell row[NAME_COLUMNS], TYPE y[NAME_OUTPUTS], int *label);
extern const char *const name_classes[NAME_OUTPUTS]; /* in UTF-8 */
"""
_OF_NUMBERS = """
/* Computes {about}. Returns 0; or the place, from 1, of the first column whose cell is not
 * usable. */
int name_predict_row(const name_cell row[NAME_COLUMNS], double {values});
"""
_PREDICT_CLASSES = """
int name_predict_row(const name_cell row[NAME_COLUMNS], TYPE y[NAME_OUTPUTS], int *label)
{
    TYPE x[NAME_INPUTS];
    int j, bad = name_inputs(row, x);
    if (bad != 0)
        return bad;
    name_predict(x, y);
    for (*label = 0, j = 1; j < NAME_OUTPUTS; ++j)
        if (y[j] > y[*label])
            *label = j;
    return 0;
}
"""
_PREDICT_NUMBER = """
int name_predict_row(const name_cell row[NAME_COLUMNS], double VALUES)
{
    TYPE x[NAME_INPUTS], y[NAME_OUTPUTS];
    const int bad = name_inputs(row, x);
    double whole, big; /* 2^52: beyond it, all numbers are whole */
    if (bad != 0)
        return bad;
    name_predict(x, y);
EACH    return 0;
}
"""
_EACH = """    whole = ((double)y[PLACE] * SCALE + MEAN) ROUNDED;
    big = whole < 0.0 ? -4503599627370496.0 : 4503599627370496.0;
    if (whole > -4503599627370496.0 && whole < 4503599627370496.0)
        whole = (whole + big) - big;
    value[PLACE] = whole RESTORED;
"""


def to_c(
    network: Network,
    schema: Schema,
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    dtype: str | None = None,
    arithmetic: str | None = None,
    quantize: str | None = None,
    main: bool = False,
) -> Network:
    """Write the model of a table as C99; see `chainrule.Network.to_c` for the arguments.

    The file has the function ``NAME_predict_row``, which takes the cells of a row, as texts or as
    numbers, and reads them as `chainrule predict` does. It allocates nothing.

    Raises OSError if a file cannot be written, TypeError or ValueError as `Network.to_c` does, and
    ValueError for a text that C cannot hold, or a form that it does not read; both are named.
    """
    _check(schema)

    def around(settings: Settings) -> Around:
        return _around(schema, settings)

    return networks.to_c(
        network, path, name=name, dtype=dtype, arithmetic=arithmetic, quantize=quantize,
        main=main, around=around,
    )  # fmt: skip


def _check(schema: Schema) -> None:
    """Raise ValueError for the first column that cannot be exported."""
    for column in schema.columns:
        if column.kind == "number" and not notation.is_known(column.form):
            raise ValueError(
                f"column {column.name!r} is written as {column.form!r}, which C does not read; "
                "expected a currency before the number, or a unit behind it"
            )
        if column.kind == "date" and not cells.is_known_date(column.form):
            raise ValueError(
                f"column {column.name!r} has dates of the form {column.form!r}, which C does not "
                f"read; expected ISO 8601 or one such as {cells.DATE_FORMS[0]!r}"
            )
        for text in (column.name, *column.categories):
            _check_text(text, f"column {column.name!r}")
    for target in schema.targets:
        for text in (target.name, *target.classes):
            _check_text(text, f"the target {target.name!r}")
    for text in schema.missing:
        _check_text(text, "what stands for no value")


def _check_text(text: str, whose: str) -> None:
    if "\0" in text or len(text.encode()) > _LONGEST:
        why = "NUL" if "\0" in text else f"more than {_LONGEST:,} bytes"
        raise ValueError(
            f"{whose} has the text {text[:60]!r} with {why}, which C cannot hold. Change it in the "
            "table, and train again."
        )


def _around(schema: Schema, settings: Settings) -> Around:
    target = schema.target
    many = target.task == "classify"
    real = TYPES[settings.dtype]

    def named(text: str) -> str:
        return re.sub(
            r"\b(name|NAME)_(?=[a-zA-Z])",
            lambda found: f"{settings.name if found[1] == 'name' else settings.name.upper()}_",
            text.replace("TYPE", real),
        )

    words = "\n".join(
        f" *   {i}: {safe(column.name)}, {_about(column)}"
        for i, column in enumerate(schema.columns)
    )
    told, values = _told(schema.targets)
    header = named(_HEADER).format(
        n=len(schema.columns),
        columns=words,
        target=named(_OF_CLASSES if many else _OF_NUMBERS).format(about=told, values=named(values)),
    )
    code = texts("name_columns", [column.name for column in schema.columns], "NAME_COLUMNS")
    code += texts("name_classes", target.classes, "NAME_OUTPUTS") if many else ""
    code += _readers(schema) + _inputs(schema)
    code += _PREDICT_CLASSES if many else _predict_numbers(schema.targets)
    columns = [each.name for each in schema.targets]
    columns += [f"probability_{name}" for name in target.classes]
    main = program.MAIN.replace("PREDICTION", program.CLASSES if many else program.NUMBER)
    main = main.replace("IS_FLOAT", str(int(settings.dtype == "float32")))
    main = main.replace("HEADER", literal(",".join(map(quoted, columns))))
    labels = [_printed(target, text) for text in target.classes]
    first = texts("LABELS", labels, "NAME_OUTPUTS", "static ") if many else ""
    return Around(header, named(code), named(first + main))


def _about(column: Column) -> str:
    """Return what a cell of a column is, for the header."""
    if column.kind == "category":
        return f"a category: {safe(', '.join(column.categories[:5])[:60])}, ..."
    if column.form in (notation.TIME, notation.DURATION):
        what = "a time of day" if column.form == notation.TIME else "a duration"
        return f"{what}, such as {notation.example(column.form)}"
    if column.kind == "date":
        return f"a date, {safe(column.form.replace('%', '')) or 'ISO 8601'}"
    return f"a number{', such as ' + safe(notation.example(column.form)) if column.form else ''}"


def _readers(schema: Schema) -> str:
    """Return the readers that the columns need, and what they know of missing values."""
    parts = [column.squeezed(part) for column in schema.numeric for part in column.parts]
    wanted = [["scaled", "squeezed"][squeezed] for squeezed in sorted(set(parts))]
    wanted += ["pieces"] if any(column.bins for column in schema.numeric) else []
    for column in schema.columns:
        wanted.append(_reader(column))
        wanted += ["calendar"] if column.kind == "date" else []
    none = cells.missing_numbers(schema.missing)
    is_missing = " || ".join(f"value == {number(value)}" for value in none) or "0"
    pairs = ", ".join(pair(sign * 2**i) for sign in (1, -1) for i in range(9))
    code = reading.code(wanted).replace("IS_MISSING", is_missing)
    code = code.replace("POWERS_OF_TEN", pairs)
    return texts("MISSING", schema.missing, "", "static ", end="NULL") + code


def _reader(column: Column) -> str:
    """Return the name of the reader of a column, as in `reading.PARTS`."""
    if column.kind == "category":
        return "category"
    if column.form in (notation.TIME, notation.DURATION):
        return "time_of_day" if column.form == notation.TIME else "duration"
    if column.kind == "date":
        return "formed" if column.form else "iso"
    return "number"


def _inputs(schema: Schema) -> str:
    """Return NAME_inputs."""
    tables: list[str] = []
    lines: list[str] = []
    values = 0
    marks = sum(len(column.parts) for column in schema.numeric)
    behind = len(schema.inputs) - sum(max(len(c.bins) - 1, 0) for c in schema.numeric)
    places = {id(column): i for i, column in enumerate(schema.columns)}
    for column in schema.numeric:
        i = places[id(column)]
        lines.append(f"    got = {_call(column, i)};")
        if column.kind == "date":
            lines += ["    if (got == VALUE)", "        date_parts(value, parts);"]
        puts = []
        for part, mean, scale in zip(column.parts, column.mean, column.scale, strict=True):
            what = f"parts[{DATE_PARTS.index(part)}]" if column.kind == "date" else "value"
            how = f"{number(mean)}, {number(scale)}, "
            if column.squeezed(part):
                puts.append(f"squeezed(got, {what}, {how}{number(column.clip)}, x + {values})")
            else:
                puts.append(f"scaled(got, {what}, {how}x + {values})")
            values += 1
        passes = "\n        && ".join(puts)
        lines += [f"    if (!(got != BAD && {passes}))", f"        return {i + 1};"]
        if column.missing:
            lines.append(f"    x[{marks}] = (TYPE)(got == NONE);")
            marks += 1
        if column.bins:
            tables.append(
                array(f"static const double ENDS_{i}[]", [number(end) for end in column.bins])
            )
            base = "parts[0]" if column.kind == "date" else "value"
            n = len(column.bins) - 1
            lines.append(f"    pieces(got, {base}, ENDS_{i}, {n}, x + {behind});")
            behind += n
    at = marks
    for column in schema.categorical:
        i = places[id(column)]
        tables.append(_levels(column, i, schema.missing))
        k = len(column.categories)
        other = k if column.rare else -1
        none = k + column.rare if column.missing else other
        n = len(levels(column))
        numbered = f"NUMBERS_{i}, sizeof NUMBERS_{i} / sizeof *NUMBERS_{i}"
        numbered = numbered if f"NUMBERS_{i}[" in tables[-1] else "NULL, 0"
        lines += [
            f"    got = category(row + {i}, LEVELS_{i}, {k}, {numbered}, {other}, {none});",
            f"    for (i = 0; i < {n}; ++i)",
            f"        x[{at} + i] = (TYPE)(i == got);",
        ]
        at += n
    declared = ["int got"] + (["i"] if schema.categorical else [])
    head = [f"    {', '.join(declared)};"]
    dates = any(column.kind == "date" for column in schema.numeric)
    head += ["    double value = 0.0;"] if schema.numeric else []
    head += ["    double parts[7] = {0.0};"] if dates else []
    body = "\n".join([*head, *lines])
    return (
        f"{''.join(tables)}\nint name_inputs(const name_cell row[NAME_COLUMNS], "
        f"TYPE x[NAME_INPUTS])\n{{\n{body}\n    return 0;\n}}\n"
    )


def _call(column: Column, i: int) -> str:
    """Return the call that reads the cell of a column."""
    match _reader(column):
        case "number":
            prefix, grouped, unit = notation.parts(column.form)
            return f"number(row + {i}, {literal(prefix)}, {int(grouped)}, {literal(unit)}, &value)"
        case "formed":
            return f"date_of(row + {i}, {literal(column.form)}, &value)"
        case "iso":
            return f"iso_date(row + {i}, &value)"
        case reader:
            return f"{reader}(row + {i}, &value)"


def _levels(column: Column, i: int, missing: tuple[str, ...]) -> str:
    """Return the categories of a column in the order of their bytes, and those that are numbers."""
    keys = {text: j for j, text in enumerate(column.categories)}
    pairs = [f"{{{literal(text)}, {keys[text]}}}" for text in sorted(keys, key=str.encode)]
    k = len(keys)
    text = array(f"static const level LEVELS_{i}[]", pairs or ["{NULL, -1}"])
    none = k + column.rare if column.missing else k if column.rare else -1
    known = {**keys, **dict.fromkeys(missing, none)}
    counted = [
        (value, j)
        for text_, j in known.items()
        for value in cells.missing_numbers([text_])
        if cells.number_text(value) == text_
    ]
    if counted:
        numbers = [f"{{{number(value)}, {j}}}" for value, j in counted]
        text += array(f"static const numbered NUMBERS_{i}[]", numbers)
    return text


def _told(targets: Sequence[Target]) -> tuple[str, str]:
    """Return what the header says of the prediction, and what holds it."""
    names = safe(", ".join(target.name for target in targets))
    if len(targets) == 1:
        return f"the target, {names}, in its units", "*value"
    return f"the targets, {names}, each in its units", "value[NAME_OUTPUTS]"


def _predict_numbers(targets: Sequence[Target]) -> str:
    _, values = _told(targets)
    each = "".join(
        _predict_number(target).replace("PLACE", str(j)) for j, target in enumerate(targets)
    )
    return _PREDICT_NUMBER.replace("VALUES", values).replace("EACH", each)


def _predict_number(target: Target) -> str:
    digits = 7 - math.floor(math.log10(target.scale))  # as `prediction` rounds
    factor = number(10.0 ** abs(digits))
    there, back = ("*", "/") if digits >= 0 else ("/", "*")
    return (
        _EACH.replace("SCALE", number(target.scale))
        .replace("MEAN", number(target.mean))
        .replace("ROUNDED", f"{there} {factor}")
        .replace("RESTORED", f"{back} {factor}")
    )


def _printed(target: Target, text: str) -> str:
    """Return how `predict` prints a class in CSV."""
    if target.kind == "text":
        return quoted(text)
    return text if target.kind == "integer" else cells.number_text(float(text))
