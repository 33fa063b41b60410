"""The C that reads numbers of a text, as `cells` and `notation` do; see `reading`."""

from __future__ import annotations

SPAN = r"""
enum { BAD, VALUE, NONE }; /* what a cell is: not usable, a value, no value */
typedef struct { const char *at, *end; } span;

static inline int digit(const char *c, const char *end)
{
    return c < end && *c >= '0' && *c <= '9';
}

/* The length of the white space of Unicode that begins at c, in UTF-8; 0 if there is none. */
static size_t blank(const char *c, const char *end)
{
    const unsigned char *u = (const unsigned char *)c;
    const size_t n = (size_t)(end - c);
    if (n > 0 && ((u[0] >= 0x09 && u[0] <= 0x0D) || (u[0] >= 0x1C && u[0] <= 0x20)))
        return 1;
    if (n > 1 && u[0] == 0xC2 && (u[1] == 0x85 || u[1] == 0xA0))
        return 2;
    if (n > 2 && u[0] == 0xE2 && u[1] == 0x80
        && ((u[2] >= 0x80 && u[2] <= 0x8A) || u[2] == 0xA8 || u[2] == 0xA9 || u[2] == 0xAF))
        return 3;
    return n > 2 && ((u[0] == 0xE1 && u[1] == 0x9A && u[2] == 0x80)
                     || (u[0] == 0xE2 && u[1] == 0x81 && u[2] == 0x9F)
                     || (u[0] == 0xE3 && u[1] == 0x80 && u[2] == 0x80)) ? 3 : 0;
}

static span trimmed(const char *text)
{
    span s;
    size_t n;
    s.at = s.end = text;
    while (*s.end != '\0')
        ++s.end;
    while ((n = blank(s.at, s.end)) != 0)
        s.at += n;
    for (n = 1; n <= 3;)
        if ((size_t)(s.end - s.at) >= n && blank(s.end - n, s.end) == n) {
            s.end -= n;
            n = 1;
        } else
            ++n;
    return s;
}

/* Below 0, 0 or above 0, as the bytes of a text stand before, equal or behind those of another. */
static int compared(span s, const char *other)
{
    for (; s.at < s.end && *s.at == *other; ++s.at, ++other)
        ;
    if (s.at == s.end)
        return *other == '\0' ? 0 : -1;
    return (unsigned char)*s.at < (unsigned char)*other ? -1 : 1;
}

static int is_missing(span s)
{
    size_t i;
    for (i = 0; MISSING[i] != NULL; ++i)
        if (compared(s, MISSING[i]) == 0)
            return 1;
    return 0;
}
"""

DECIMAL = r"""
typedef struct { double high, low; } pair; /* a number in twice as many digits */
static const pair POWERS[] = {POWERS_OF_TEN};

static pair product(pair a, pair b)
{
    const double s = 134217729.0 * a.high, t = 134217729.0 * b.high, p = a.high * b.high;
    const double h = s - (s - a.high), l = a.high - h, g = t - (t - b.high), m = b.high - g;
    const double rest = (((h * g - p) + h * m + l * g) + l * m) + (a.high * b.low + a.low * b.high);
    pair made;
    made.high = p + rest;
    made.low = rest - (made.high - p);
    return made;
}

/* Reads ^(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$, and passes over commas. */
static int decimal(span s, double *value)
{
    uint64_t digits = 0, above;
    long power = 0, more = 0, size = 0;
    int any = 0, point = 0, negative;
    pair made;
    size_t i;
    for (; s.at < s.end && *s.at != 'e' && *s.at != 'E'; ++s.at) {
        if (*s.at == ',')
            continue;
        if (*s.at == '.' && !point) {
            point = 1;
            continue;
        }
        if (!digit(s.at, s.end))
            return BAD;
        any = 1;
        if (digits < UINT64_C(1000000000000000000)) {
            digits = 10 * digits + (uint64_t)(*s.at - '0');
            size += digits > 0;
            power -= point;
        } else
            power += !point; /* the 20th digit does not count */
    }
    if (!any)
        return BAD;
    if (s.at < s.end) {
        negative = ++s.at < s.end && *s.at == '-';
        s.at += s.at < s.end && (*s.at == '-' || *s.at == '+');
        if (s.at == s.end)
            return BAD;
        for (; s.at < s.end; ++s.at) {
            if (!digit(s.at, s.end))
                return BAD;
            more = more < 100000 ? 10 * more + (*s.at - '0') : more;
        }
        power += negative ? -more : more;
    }
    if (digits == 0 || size + power < -330) {
        *value = 0.0;
        return VALUE;
    }
    if (size + power > 160) {
        *value = DBL_MAX; /* too large for any column */
        return VALUE;
    }
    made.high = (double)digits;
    above = (uint64_t)made.high;
    made.low = digits < above ? -(double)(above - digits) : (double)(digits - above);
    negative = power < 0;
    for (i = 0, more = negative ? -power : power; more > 0; ++i, more >>= 1)
        if (more & 1)
            made = product(made, POWERS[i + (negative ? 9 : 0)]);
    *value = made.high;
    return VALUE;
}
"""

PASSED = r"""
/* Passes over a text if it stands here. */
static int passed(const char **c, const char *end, const char *text)
{
    const char *at = *c;
    for (; *text != '\0'; ++at, ++text)
        if (at == end || *at != *text)
            return 0;
    *c = at;
    return 1;
}

"""

NUMBER = r"""
static void spaces(const char **c, const char *end)
{
    while (*c < end && (**c == ' ' || **c == '\t' || **c == '\n' || **c == '\f' || **c == '\r'))
        ++*c;
}

/* What says that a number is below 0: a hyphen, a minus of Unicode. Adds 1 to n for a sign. */
static int sign(const char **c, const char *end, int *n)
{
    static const char *const MINUS[] = {
        "-", "\xE2\x88\x92", "\xE2\x80\x93", "\xEF\xB9\xA3", "\xEF\xBC\x8D"};
    size_t i;
    for (i = 0; i < sizeof MINUS / sizeof *MINUS; ++i)
        if (passed(c, end, MINUS[i])) {
            ++*n;
            return 1;
        }
    *n += passed(c, end, "+");
    return 0;
}

/* Whether commas stand before each three digits of the whole part. */
static int grouped_well(span s)
{
    const char *c = s.at;
    size_t n = 0;
    if (!digit(c, s.end) || *c == '0')
        return 0;
    for (; n < 3 && digit(c, s.end); ++n)
        ++c;
    for (n = 0; c < s.end && *c == ','; ++n, c += 4)
        if (!(digit(c + 1, s.end) && digit(c + 2, s.end) && digit(c + 3, s.end)))
            return 0;
    if (c < s.end && *c == '.')
        for (++c; digit(c, s.end);)
            ++c;
    return n > 0 && c == s.end;
}

/* A number with a prefix before it and a unit behind it, and commas if it is grouped. */
static int written(span s, const char *prefix, int grouped, const char *unit, double *value)
{
    const char *c = s.at, *rest, *end = s.end;
    span number;
    int n = 0, opened, closed, below, commas = 0;
    n = opened = passed(&c, end, "(");
    spaces(&c, end);
    below = sign(&c, end, &n);
    spaces(&c, end);
    if (!passed(&c, end, prefix))
        return BAD;
    spaces(&c, end);
    below |= sign(&c, end, &n);
    if (passed(&c, end, "(")) {
        ++n;
        opened = 1;
    }
    if (n > 1)
        return BAD;
    for (number.at = c; digit(c, end) || (grouped && c < end && *c == ','); ++c)
        commas |= *c == ',';
    for (c += c < end && *c == '.'; digit(c, end);)
        ++c;
    number.end = c;
    if (c < end && (*c == 'e' || *c == 'E')) {
        ++c;
        c += c < end && (*c == '+' || *c == '-');
        for (rest = c; digit(c, end);)
            ++c;
        number.end = c > rest ? c : number.end;
    }
    for (;;) { /* with the exponent, or what looks like it is part of the unit */
        c = number.end;
        closed = passed(&c, end, ")");
        spaces(&c, end);
        if (passed(&c, end, unit)) {
            closed |= passed(&c, end, ")");
            if (c == end)
                break;
        }
        for (rest = number.at; rest < number.end && *rest != 'e' && *rest != 'E';)
            ++rest;
        if (rest == number.end)
            return BAD;
        number.end = rest;
    }
    if (opened != closed || (commas && !grouped_well(number)) || decimal(number, value) == BAD)
        return BAD;
    *value = below || opened ? -*value : *value;
    return VALUE;
}
"""

CHECKED = r"""
/* The value of a number column: the missing ones are named by their text, or by their number. */
static int checked(double value, double *found)
{
    if (IS_MISSING)
        return NONE;
    *found = value;
    return value >= -1e150 && value <= 1e150 ? VALUE : value != value ? NONE : BAD;
}
"""

NUMBER_CELL = r"""
static int number(const name_cell *cell, const char *prefix, int grouped, const char *unit,
                  double *value)
{
    span s;
    if (cell->text == NULL)
        return checked(cell->number, value);
    s = trimmed(cell->text);
    if (is_missing(s))
        return NONE;
    return written(s, prefix, grouped, unit, value) == BAD ? BAD : checked(*value, value);
}
"""
