"""The C that reads cells: texts as `cells` and `notation` read them, and numbers.

A reader returns BAD, VALUE or NONE. Each stands here with the names of those that it calls, so that
a file has what its columns need and nothing else.
"""

from __future__ import annotations

from chainrule.tables.c import numbers, times

_CATEGORY = r"""
typedef struct { const char *text; int input; } level;   /* -1: no input is 1 */
typedef struct { double number; int input; } numbered;

/* The input of a category: equal values are the same one, 1.0 as 1, and true as True. */
static int category(const name_cell *cell, const level *levels, size_t n, const numbered *numbers,
                    size_t m, int other, int none)
{
    size_t low = 0, middle;
    int order;
    const char *c;
    span s;
    if (cell->text == NULL) {
        if (cell->number != cell->number || cell->number - cell->number != 0.0)
            return none;
        for (; m > 0; --m)
            if (numbers[m - 1].number == cell->number)
                return numbers[m - 1].input;
        return other;
    }
    s = trimmed(cell->text);
    if (is_missing(s))
        return none;
    for (c = s.at + (s.at < s.end && (*s.at == '+' || *s.at == '-')); digit(c, s.end);)
        ++c;
    if (c > s.at && digit(c - 1, c) && c < s.end && *c == '.') {
        const char *point = c++;
        while (c < s.end && *c == '0')
            ++c;
        s.end = c == s.end ? point : s.end;
    }
    if (compared(s, "true") == 0 || compared(s, "TRUE") == 0)
        s = trimmed("True");
    else if (compared(s, "false") == 0 || compared(s, "FALSE") == 0)
        s = trimmed("False");
    if (is_missing(s))
        return none;
    while (low < n) {
        middle = low + (n - low) / 2;
        order = compared(s, levels[middle].text);
        if (order == 0)
            return levels[middle].input;
        if (order < 0)
            n = middle;
        else
            low = middle + 1;
    }
    return other;
}
"""

_SCALED = r"""
/* An input: standardised, and the mean where there is no value. */
static int scaled(int got, double value, double mean, double scale, TYPE *x)
{
    const double z = (value - mean) / scale;
    *x = (TYPE)0;
    if (got == NONE)
        return 1;
    if (!(z >= -(double)FLT_MAX && z <= (double)FLT_MAX))
        return 0;
    *x = (TYPE)(float)z;
    return 1;
}
"""

_SQUEEZED = r"""
/* As scaled, and bounded smoothly: z / sqrt(1 + (z / clip)^2). */
static int squeezed(int got, double value, double mean, double scale, double clip, TYPE *x)
{
    const double z = (value - mean) / scale, part = z / clip, square = 1.0 + part * part;
    double root = square, next = 0.5 * (square + 1.0);
    *x = (TYPE)0;
    if (got == NONE)
        return 1;
    if (!(z >= -(double)FLT_MAX && z <= (double)FLT_MAX))
        return 0;
    while (next < root) { /* Newton's steps fall towards the root */
        root = next;
        next = 0.5 * (root + square / root);
    }
    *x = (TYPE)(float)(z / root);
    return 1;
}
"""

_PIECES = r"""
/* Inputs: of each piece between two ends, how much of it lies below the value. */
static void pieces(int got, double value, const double *ends, int n, TYPE *x)
{
    int i;
    for (i = 0; i < n; ++i) {
        const double place = (value - ends[i]) / (ends[i + 1] - ends[i]);
        x[i] = (TYPE)0;
        if (got != NONE)
            x[i] = (TYPE)(float)(place > 1.0 ? 1.0 : place > 0.0 ? place : 0.0);
    }
}
"""

# What each reader is, behind what it calls.
PARTS = {
    "span": ((), numbers.SPAN),
    "decimal": (("span",), numbers.DECIMAL),
    "passed": ((), numbers.PASSED),
    "written": (("decimal", "passed"), numbers.NUMBER),
    "checked": (("span",), numbers.CHECKED),
    "number": (("written", "checked"), numbers.NUMBER_CELL),
    "digits": (("decimal",), times.DIGITS),
    "time_of_day": (("digits",), times.TIME_CELL),
    "duration": (("digits", "passed", "checked"), times.DURATION_CELL),
    "calendar": ((), times.CALENDAR),
    "iso": (("span", "calendar"), times.ISO + times.date_cell("iso_date", "iso(s, value)")),
    "formed": (
        ("span", "calendar"), times.DATE_FORM + times.date_cell("date_of", "formed(s, form, value)")
    ),
    "category": (("span",), _CATEGORY),
    "scaled": (("span",), _SCALED),
    "squeezed": (("span",), _SQUEEZED),
    "pieces": (("span",), _PIECES),
}  # fmt: skip


def code(wanted: list[str]) -> str:
    """Return the C of readers, each behind what it calls."""
    found: dict[str, None] = {}

    def add(name: str) -> None:
        for needed in PARTS[name][0]:
            add(needed)
        found.setdefault(name)

    for name in wanted:
        add(name)
    return "".join(PARTS[name][1] for name in found)
