"""The C that reads dates, times and durations, as `cells` and `notation` do; see `reading`."""

from __future__ import annotations

DIGITS = r"""
/* Reads digits, with a fraction if that is allowed, and a mark behind them, or up to the end. */
static int digits_to(const char **c, const char *end, int fraction, char mark, double *value)
{
    span s;
    s.at = *c;
    for (s.end = s.at; digit(s.end, end);)
        ++s.end;
    if (s.end == s.at)
        return 0;
    if (fraction && s.end < end && *s.end == '.' && digit(s.end + 1, end))
        for (++s.end; digit(s.end, end);)
            ++s.end;
    if (mark == '\0' ? s.end != end : s.end == end || *s.end != mark)
        return 0;
    *c = s.end + (mark != '\0');
    return decimal(s, value) == VALUE;
}

/* Reads mm or mm:ss, with a fraction of a second, up to the end. */
static int minutes(const char *c, const char *end, double *m, double *s)
{
    *s = 0.0;
    if (!(digit(c, end) && *c < '6' && digit(c + 1, end)))
        return 0;
    *m = 10.0 * (*c - '0') + (c[1] - '0');
    c += 2;
    if (c == end)
        return 1;
    if (*c != ':' || !(digit(c + 1, end) && c[1] < '6' && digit(c + 2, end))
        || digit(c + 3, end))
        return 0;
    ++c;
    return digits_to(&c, end, 1, '\0', s);
}
"""

TIME_CELL = r"""
/* A time of day in seconds: 14:30, 14:30:00.5. */
static int time_of_day(const name_cell *cell, double *value)
{
    span s;
    double h, m, seconds;
    if (cell->text == NULL) {
        *value = cell->number;
        return *value != *value ? NONE : *value >= -9.2e12 && *value <= 9.2e12 ? VALUE : BAD;
    }
    s = trimmed(cell->text);
    if (is_missing(s))
        return NONE;
    if (s.end - s.at > 2 && digit(s.at + 1, s.end) && digit(s.at + 2, s.end))
        return BAD;
    if (!digits_to(&s.at, s.end, 0, ':', &h) || h > 23.0 || !minutes(s.at, s.end, &m, &seconds))
        return BAD;
    *value = h * 3600.0 + m * 60.0 + seconds;
    return VALUE;
}
"""

DURATION_CELL = r"""
/* A duration in seconds: 1 days 02:30:00, 36:15, PT1H30M. */
static int duration(const name_cell *cell, double *value)
{
    static const struct { char mark; double seconds; } PARTS[] = {
        {'W', 604800.0}, {'D', 86400.0}, {'T', 0.0}, {'H', 3600.0}, {'M', 60.0}, {'S', 1.0}};
    span s;
    const char *c;
    double x, total = 0.0, m, seconds;
    int below, given = 0, timed = 0;
    size_t i;
    if (cell->text == NULL)
        return checked(cell->number, value);
    s = trimmed(cell->text);
    if (is_missing(s))
        return NONE;
    below = s.at < s.end && *s.at == '-';
    s.at += s.at < s.end && (*s.at == '-' || *s.at == '+');
    if (s.at < s.end && *s.at == 'P') {
        ++s.at;
        for (i = 0; i < 6; ++i)
            if (i == 2) {
                timed = s.at < s.end && *s.at == 'T';
                s.at += timed;
            } else if ((i < 2 || timed) && digits_to(&s.at, s.end, i > 0, PARTS[i].mark, &x)) {
                given = 1;
                total += x * PARTS[i].seconds;
            }
        if (!given || s.at != s.end)
            return BAD;
    } else {
        c = s.at;
        if (digits_to(&c, s.end, 0, ' ', &x) && passed(&c, s.end, "day")) {
            passed(&c, s.end, "s");
            passed(&c, s.end, ",");
            while (c < s.end && *c == ' ')
                ++c;
            s.at = c;
            given = 1;
            total += x * 86400.0;
        }
        if (s.at < s.end || !given) {
            if (!digits_to(&s.at, s.end, 0, ':', &x) || !minutes(s.at, s.end, &m, &seconds))
                return BAD;
            total += x * 3600.0;
            total += m * 60.0;
            total += seconds;
        }
    }
    return checked(below ? -total : total, value);
}
"""

CALENDAR = r"""
/* The days from 1 January 1970 to a day (Hinnant, 2013). */
static int64_t days_to(int64_t year, int month, int64_t day)
{
    const int64_t y = year - (month <= 2), era = (y >= 0 ? y : y - 399) / 400;
    const int64_t of_era = y - era * 400;
    const int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int64_t floored(double x)
{
    const int64_t n = (int64_t)x;
    return n - ((double)n > x);
}

/* The sine of an angle from 0 to 7. */
static double sine(double angle)
{
    const int quarter = (int)(angle * 0.63661977236758134308 + 0.5);
    const double r
        = (angle - quarter * 1.57079632673412561417) - quarter * 6.07710050650619224932e-11;
    const double s = r * r;
    double x;
    if (quarter & 1)
        x = ((((((((s / 240 - 1) * s / 182 + 1) * s / 132 - 1) * s / 90 + 1) * s / 56 - 1) * s / 30
               + 1) * s / 12 - 1) * s / 2 + 1);
    else
        x = r * ((((((((s / 272 - 1) * s / 210 + 1) * s / 156 - 1) * s / 110 + 1) * s / 72 - 1) * s
                   / 42 + 1) * s / 20 - 1) * s / 6 + 1);
    return quarter & 2 ? -x : x;
}

/* Days, and the day of the year, the day of the week and the time of the day as sine and cosine. */
static void date_parts(double seconds, double parts[7])
{
    const double days = seconds / 86400.0;
    const int64_t whole = floored(days), day = whole + 719468;
    const int64_t era = (day >= 0 ? day : day - 146096) / 146097, of_era = day - era * 146097;
    const int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    const int64_t of_march = of_era - (365 * y + y / 4 - y / 100);
    const int64_t year = y + era * 400 + (of_march >= 306);
    double turns[3], week = (double)(whole + 3) / 7.0;
    int i;
    turns[0] = (double)(whole - days_to(year, 1, 1)) / 365.2425;
    turns[1] = week - (double)floored(week); /* 1970 began on a Thursday */
    turns[2] = days - (double)whole;
    parts[0] = days;
    for (i = 0; i < 3; ++i) {
        parts[1 + 2 * i] = sine(6.283185307179586 * turns[i]);
        parts[2 + 2 * i] = sine(6.283185307179586 * turns[i] + 1.5707963267948966);
    }
}
"""

ISO = r"""
/* Reads two digits of a number below a limit. */
static int two(const char *c, int limit, int *value)
{
    if (!(digit(c, c + 1) && digit(c + 1, c + 2)))
        return 0;
    *value = 10 * (c[0] - '0') + (c[1] - '0');
    return *value < limit;
}

/* Whether :ss, or :ss with a fraction, stands before the end. */
static int clock_before(const char *at, const char *end)
{
    const char *c = end;
    while (c > at && digit(c - 1, c))
        --c;
    if (c > at && c < end && c[-1] == '.')
        end = c - 1;
    return end - at >= 3 && digit(end - 1, end) && digit(end - 2, end) && end[-3] == ':';
}

/* A date in ISO 8601, with a time and a zone or without, in seconds since 1970 in UTC. */
static int iso(span s, double *value)
{
    int h = 0, m = 0, second = 0, month, day, hours = 0, offset = 0, ahead = 0, n, zoned = 0;
    const char *c = s.at, *end = s.end, *zone;
    int64_t year = 0, micro = 0, unit = 100000;
    static const int DAYS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (end - c < 10)
        return BAD;
    for (n = 0; n < 4; ++n) {
        if (!digit(c + n, end))
            return BAD;
        year = 10 * year + (c[n] - '0');
    }
    if (c[4] != '-' || !two(c + 5, 13, &month) || c[7] != '-' || !two(c + 8, 32, &day) || month < 1
        || day < 1 || day > DAYS[month - 1]
               + (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)))
        return BAD;
    if (end - c > 10) {
        if ((c[10] != ' ' && c[10] != 'T') || end - c < 13)
            return BAD;
        zone = end;
        if (end[-1] == 'Z')
            zone = end - 1;
        else if (end[-1] == 'C' || end[-1] == 'T') {
            zone = end - 3;
            if (!((zone[0] == 'U' && zone[1] == 'T' && zone[2] == 'C')
                  || (zone[0] == 'G' && zone[1] == 'M' && zone[2] == 'T')))
                return BAD;
            zoned = 1; /* behind a clock alone */
        } else
            for (n = 3; n <= 6 && zone == end; ++n)
                if (n != 4 && end - c - n >= 11 && (end[-n] == '+' || end[-n] == '-')
                    && (n < 6 || end[-3] == ':')) {
                    zone = end - n;
                    ahead = *zone == '+';
                    if (!two(zone + 1, 24, &hours) || (n > 3 && !two(end - 2, 60, &offset)))
                        return BAD;
                }
        if (zone < end && *zone != 'Z' && zone[-1] == ' ') {
            --zone;
            zoned = 1;
        }
        if (zoned && !clock_before(c, zone))
            return BAD;
        end = zone;
        n = (int)(end - c);
        if (end - c > 26 || n < 13 || (n != 13 && n != 16 && n != 19 && n < 21)
            || !two(c + 11, 24, &h)
            || (n >= 16 && (c[13] != ':' || !two(c + 14, 60, &m)))
            || (n >= 19 && (c[16] != ':' || !two(c + 17, 60, &second)))
            || (n >= 21 && c[19] != '.'))
            return BAD;
        for (c += 20; c < end; ++c, unit /= 10) {
            if (!digit(c, end))
                return BAD;
            micro += unit * (*c - '0');
        }
    }
    second += 60 * (m + 60 * h) + (ahead ? -60 : 60) * (offset + 60 * hours);
    *value = (double)((days_to(year, month, day) * 86400 + second) * 1000000 + micro) / 1e6;
    return VALUE;
}
"""

DATE_FORM = r"""
static int is_space(const char *c, const char *end)
{
    return c < end && (*c == ' ' || (*c >= '\t' && *c <= '\r'));
}

/* A date in a form, as strptime reads it: white space may stand before a number. */
static int formed(span s, const char *form, double *value)
{
    int64_t year = 1900;
    int part[5] = {1, 1, 0, 0, 0}; /* day, month, hour, minute, second */
    static const char NAMES[] = "dmHMSY";
    static const int MOST[] = {31, 12, 23, 59, 61, 9999};
    int i, n, x;
    for (; *form != '\0'; ++form) {
        if (*form == ' ') {
            while (is_space(s.at, s.end))
                ++s.at;
            continue;
        }
        if (*form != '%') {
            if (s.at == s.end || *s.at++ != *form)
                return BAD;
            continue;
        }
        for (i = 0, ++form; NAMES[i] != *form;)
            ++i;
        while (is_space(s.at, s.end))
            ++s.at;
        if (!digit(s.at, s.end))
            return BAD;
        for (x = 0, n = 0; n < (i < 5 ? 2 : 4) && digit(s.at, s.end) && 10 * x <= MOST[i]; ++n)
            x = 10 * x + (*s.at++ - '0');
        if (x > MOST[i] || (i < 2 && x < 1))
            return BAD;
        if (i < 5)
            part[i] = x;
        else
            year = x;
    }
    if (s.at != s.end)
        return BAD;
    *value = (double)(days_to(year, part[1], part[0]) * 86400 + part[2] * 3600 + part[3] * 60
                      + part[4]);
    return VALUE;
}
"""


def date_cell(name: str, call: str) -> str:
    """Return the function that reads the cell of a date by a call."""
    form = ", const char *form" if "form" in call else ""
    return f"""
static int {name}(const name_cell *cell{form}, double *value)
{{
    span s;
    if (cell->text == NULL) {{
        *value = cell->number;
        return *value != *value ? NONE : *value >= -9.2e12 && *value <= 9.2e12 ? VALUE : BAD;
    }}
    s = trimmed(cell->text);
    return is_missing(s) ? NONE : {call};
}}
"""
