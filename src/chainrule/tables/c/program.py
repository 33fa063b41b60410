"""The C of a main that predicts for the rows of a CSV file, as `chainrule predict` does."""

from __future__ import annotations

MAIN = r"""

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HELD = 1 << 20, MOST = 1 << 15 };
static char held[HELD]; /* the texts of a row */
static size_t used;
static unsigned long line = 1;
static const char *ahead; /* what of the header is to be read again */
static int returned = EOF; /* a character that is to be read again */
static int place[MOST];   /* of each column of the file: its place in a row of the model, or -1 */

static void stop(const char *form, ...)
{
    va_list given;
    va_start(given, form);
    fflush(stdout);
    fprintf(stderr, "line %lu: ", line);
    vfprintf(stderr, form, given);
    fprintf(stderr, "\n");
    va_end(given);
    exit(2);
}

static int next(void)
{
    const int c = returned;
    returned = EOF;
    if (c != EOF)
        return c;
    if (ahead != NULL && *ahead != '\0')
        return (unsigned char)*ahead++;
    return getchar();
}

static void keep(int c)
{
    if (used == HELD)
        stop("the row is longer than %lu bytes", (unsigned long)HELD);
    held[used++] = (char)c;
}

/* Reads a cell, and keeps its text; returns what ends it. A cell is empty without quotes, too. */
static int read_cell(int delimiter, int wanted, int *empty)
{
    int c = next(), quoted = c == '"';
    *empty = 1;
    for (c = quoted ? next() : c;; c = next()) {
        *empty = *empty && !quoted && (c == EOF || c == '\r' || c == '\n' || c == delimiter);
        if (quoted && c == EOF)
            stop("a quote is never closed");
        if (quoted && c == '"') {
            c = next();
            quoted = c == '"';
        }
        if (!quoted && c == '\r') {
            c = next();
            returned = c == '\n' ? EOF : c;
            c = '\n';
        }
        if (!quoted && (c == delimiter || c == '\n' || c == EOF))
            break;
        if (c == '\0')
            stop("the file is not text");
        line += c == '\n';
        if (wanted)
            keep(c);
    }
    if (wanted)
        keep('\0');
    return c;
}

/* Finds what separates columns: the mark that is most frequent in the first line. */
static int find_delimiter(void)
{
    static const char MARKS[] = ",\t;|";
    static char first[HELD];
    size_t counts[4] = {0, 0, 0, 0}, n = 0, i, best = 0;
    int c, quoted = 0;
    while ((c = getchar()) != EOF && n < HELD - 1) {
        if (n == 0 && (c == '\n' || c == '\r')) {
            line += c == '\n';
            continue;
        }
        first[n++] = (char)c;
        if (n == 3 && memcmp(first, "\xEF\xBB\xBF", 3) == 0)
            n = 0;
        quoted ^= c == '"';
        for (i = 0; i < 4; ++i)
            counts[i] += !quoted && c == MARKS[i];
        if (!quoted && (c == '\n' || c == '\r'))
            break;
    }
    for (i = 1; i < 4; ++i)
        best = counts[i] > counts[best] ? i : best;
    first[n] = '\0';
    ahead = first;
    return MARKS[best];
}

/* Prints the shortest text that is the same number again. */
static void print_number(double x, int is_float)
{
    char text[40], *c, *digits = text;
    int n, power;
    if (x == 0.0) {
        fputs("0", stdout);
        return;
    }
    for (n = 0; n < 17; ++n) {
        sprintf(text, "%.*e", n, x);
        if (is_float ? (float)strtod(text, NULL) == (float)x : strtod(text, NULL) == x)
            break;
    }
    c = strchr(text, 'e');
    power = atoi(c + 1);
    *c = '\0';
    if (*digits == '-') {
        ++digits;
        putchar('-');
    }
    if (power < -6 || power >= 10) {
        printf("%se%+d", digits, power);
        return;
    }
    if ((c = strchr(digits, '.')) != NULL)
        memmove(c, c + 1, strlen(c));
    n = (int)strlen(digits);
    if (power < 0)
        fputs("0.", stdout);
    for (; power < -1; ++power)
        putchar('0');
    for (c = digits; *c != '\0'; ++c) {
        if (power >= 0 && c - digits == power + 1)
            putchar('.');
        putchar(*c);
    }
    for (; n <= power; ++n)
        putchar('0');
}

/* Reads rows of CSV with a header from the standard input, and prints the prediction of each. */
int main(void)
{
    static name_cell row[NAME_COLUMNS];
    const int delimiter = find_delimiter();
    int found[NAME_COLUMNS] = {0}, c, i, empty, width = 0, n, rows = 0, bad;
    do {
        span s;
        used = 0;
        c = read_cell(delimiter, 1, &empty);
        s = trimmed(held);
        if (width == MOST)
            stop("the header has more than %d columns", MOST);
        for (place[width] = -1, i = 0; i < NAME_COLUMNS; ++i)
            if (compared(s, name_columns[i]) == 0) {
                if (found[i])
                    stop("two columns are named %s", name_columns[i]);
                found[i] = 1;
                place[width] = i;
            }
        ++width;
    } while (c == delimiter);
    for (i = 0; i < NAME_COLUMNS; ++i)
        if (!found[i])
            stop("the header lacks the column %s", name_columns[i]);
    puts(HEADER);
    while (c != EOF) {
        size_t starts[NAME_COLUMNS] = {0};
        ++line;
        used = 0;
        for (n = 0; n == 0 || c == delimiter; ++n) {
            i = n < width ? place[n] : -1;
            if (i >= 0)
                starts[i] = used;
            c = read_cell(delimiter, i >= 0, &empty);
        }
        if (n == 1 && empty)
            continue;
        if (n != width)
            stop("found %d columns; expected %d, as in the header", n, width);
        for (i = 0; i < NAME_COLUMNS; ++i)
            row[i].text = held + starts[i];
        PREDICTION
        ++rows;
    }
    if (rows == 0)
        stop("expected at least one row below the header");
    return 0;
}
"""

CLASSES = r"""{
            TYPE y[NAME_OUTPUTS];
            int label;
            if ((bad = name_predict_row(row, y, &label)) != 0)
                stop("column %s: '%s' is not usable", name_columns[bad - 1], row[bad - 1].text);
            fputs(LABELS[label], stdout);
            for (i = 0; i < NAME_OUTPUTS; ++i) {
                putchar(',');
                print_number((double)y[i], IS_FLOAT);
            }
            putchar('\n');
        }"""

NUMBER = r"""{
            double value[NAME_OUTPUTS];
            int j;
            if ((bad = name_predict_row(row, value)) != 0)
                stop("column %s: '%s' is not usable", name_columns[bad - 1], row[bad - 1].text);
            for (j = 0; j < NAME_OUTPUTS; ++j) {
                if (j > 0)
                    putchar(',');
                print_number(value[j], 0);
            }
            putchar('\n');
        }"""
