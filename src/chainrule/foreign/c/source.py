"""The text of the file and of its header: parameters, layers, and the functions to call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule._version import __version__
from chainrule.equations.feedforward import FeedForward
from chainrule.foreign.c import functions
from chainrule.foreign.c.formulas import Translated, translate
from chainrule.foreign.c.quantize import Quantized

MARK = "/* Written by chainrule "  # with which every file begins
TYPES = {"float32": "float", "float64": "double"}

_DENSE = """\
/* z = x W + b; W is (inputs, units), so that the loop over units can be vectorised. */
static void dense(const PARAMETER *W, const PARAMETER *b, const real *x, real *z, size_t inputs,
                  size_t units)
{
    size_t j, k;
    for (j = 0; j < units; ++j)
        z[j] = b[j];
    for (k = 0; k < inputs; ++k, W += units)
        for (j = 0; j < units; ++j)
            z[j] += (real)W[j] * x[k];
}
"""
_DENSE_INT8 = """\
/* z = s (x W) + b; W is (inputs, units), in whole numbers, and s the scale of a unit. */
static void dense(const signed char *W, const PARAMETER *s, const PARAMETER *b, const real *x,
                  real *z, size_t inputs, size_t units)
{
    size_t j, k;
    for (j = 0; j < units; ++j)
        z[j] = R(0.0);
    for (k = 0; k < inputs; ++k, W += units)
        for (j = 0; j < units; ++j)
            z[j] += (real)W[j] * x[k];
    for (j = 0; j < units; ++j)
        z[j] = z[j] * (real)s[j] + (real)b[j];
}
"""

# Reads numbers from the standard input; a first line without numbers names the columns.
_MAIN = """\

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reads lines of NAME_INPUTS numbers with commas between them, and prints the outputs of each. */
int main(void)
{
    static char line[1 << 20];
    unsigned long n = 0;
    while (fgets(line, sizeof line, stdin) != NULL) {
        TYPE x[NAME_INPUTS], y[NAME_OUTPUTS];
        char *at = line, *end;
        size_t k;
        ++n;
        if (strchr(line, '\\n') == NULL && !feof(stdin)) {
            fprintf(stderr, "line %lu is longer than %lu bytes\\n", n, (unsigned long)sizeof line);
            return 2;
        }
        if (line[strspn(line, " \\t\\r\\n")] == '\\0')
            continue;
        for (k = 0; k < NAME_INPUTS; ++k) {
            errno = 0;
            x[k] = (TYPE)strtod(at, &end);
            end += strspn(end, " \\t\\r\\n");
            if (end == at || *end != (k + 1 < NAME_INPUTS ? ',' : '\\0'))
                break;
            at = end + 1;
        }
        if (k < NAME_INPUTS) {
            if (n == 1 && k == 0 && end == at)
                continue; /* the names of the columns */
            fprintf(stderr, "line %lu, column %lu: expected %d numbers with commas\\n", n,
                    (unsigned long)k + 1, NAME_INPUTS);
            return 2;
        }
        NAME_predict(x, y);
        for (k = 0; k < NAME_OUTPUTS; ++k)
            printf("%.DIGITSg%c", (double)y[k], k + 1 < NAME_OUTPUTS ? ',' : '\\n');
    }
    return 0;
}
"""


@dataclass(frozen=True)
class Settings:
    """What a file is to hold: what names begin with, its header, the types, a main."""

    name: str
    header: str  # the name of that file
    dtype: str
    arithmetic: str
    main: bool = False


@dataclass(frozen=True)
class Around:
    """The C around a network: declarations for the header, functions that call it, and a main."""

    header: str = ""
    code: str = ""
    main: str = ""


def source(
    net: FeedForward, settings: Settings, quantized: Quantized | None, around: Around
) -> str:
    """Return the C of a network."""
    name, io = settings.name, TYPES[settings.dtype]
    own: dict[int, Translated] = {}
    of_layers: list[str] = []
    of_units: list[str] = []
    helpers: list[str] = []
    for l, layer in enumerate(net.layers[1:], start=1):
        g = layer.activation
        if functions.known(g.name) and type(g).__module__.startswith("chainrule.equations"):
            of_layers.append(g.name)
        else:
            own[l] = translate(g, settings.arithmetic)
            of_units += own[l].units
            helpers += own[l].helpers
    library = any(formula.library for formula in own.values())
    lines = [
        f"{MARK}{__version__}: {safe(repr(net))}",
        " * Compile as C99 or later, without -ffast-math. The results are the same bits on every",
        " * machine with IEEE arithmetic if nothing is fused: -std=c99, or -ffp-contract=off. */",
        f'#include "{settings.header}"',
    ]
    if exact := functions.reads_bits(of_layers, of_units) or bool(around.code):
        lines += ["#include <float.h>", "#include <stdint.h>"]
    lines += ["#include <math.h>"] if library else []
    lines += [
        "#include <stddef.h>",
        "",
        "#ifdef __clang__",
        "#pragma STDC FP_CONTRACT OFF",
        "#endif",
        *([functions.EXACT] if exact else []),
        "",
        f"typedef {TYPES[settings.arithmetic]} real;",
        f"#define R(x) x{'##f' if settings.arithmetic == 'float32' else ''}",
        "",
    ]
    parts = ["\n".join(lines)]
    parts += [_layer_parameters(net, l, settings, quantized) for l in range(1, len(net.layers))]
    parts.append((_DENSE if quantized is None else _DENSE_INT8).replace("PARAMETER", io))
    parts.append(functions.code(of_layers, of_units, settings.arithmetic))
    parts += dict.fromkeys(helpers)
    for l, formula in own.items():
        parts.append(f"/* {safe(net.layers[l].activation.name)}: a custom activation */\n")
        parts.append(functions.on_unit(f"custom_{l}", f"    return {formula.expression};"))
        parts.append(functions.on_layer(f"custom_{l}"))
    parts.append(_predict(net, settings, quantized, own) + around.code)
    text = "\n".join(part for part in parts if part)
    if settings.main and around.main:
        text += around.main
    elif settings.main:
        main = _MAIN.replace("DIGITS", "9" if settings.dtype == "float32" else "17")
        text += _named(main.replace("TYPE", io), name)
    return text


def header(net: FeedForward, settings: Settings, around: Around) -> str:
    """Return the header of that file."""
    text = (
        _HEADER.replace("TYPE", TYPES[settings.dtype])
        .replace("N_IN", str(net.sizes[0]))
        .replace("N_OUT", str(net.sizes[-1]))
    )
    first = f"{MARK}{__version__}: {safe(repr(net))} */\n"
    return first + _named(text, settings.name).replace("\nMORE", around.header)


_HEADER = """\
#ifndef NAME_H
#define NAME_H

#define NAME_INPUTS N_IN
#define NAME_OUTPUTS N_OUT

#ifdef __cplusplus
extern "C" {
#endif

/* Computes the outputs y of the inputs x, which must not overlap. Allocates nothing and keeps
 * nothing, so that threads may call it at the same time. A NaN in x gives NaN. */
void NAME_predict(const TYPE x[NAME_INPUTS], TYPE y[NAME_OUTPUTS]);

/* Returns the class: the index of the largest output; of a single one, if it is 0.5 or more. */
int NAME_predict_class(const TYPE x[NAME_INPUTS]);
MORE
#ifdef __cplusplus
}
#endif
#endif
"""


def _predict(
    net: FeedForward, settings: Settings, quantized: Quantized | None, own: dict[int, Translated]
) -> str:
    """Return the functions to call."""
    name, io, L = settings.name, TYPES[settings.dtype], len(net.sizes) - 1
    direct = settings.dtype == settings.arithmetic  # else x and y are converted
    widths = [0, 0]  # of the two buffers, which the layers take in turn
    last = L if not direct else L - 1
    for l in range(0 if not direct else 1, last + 1):
        widths[l % 2] = max(widths[l % 2], net.sizes[l])
    used = [f"{'ab'[i]}[{width}]" for i, width in enumerate(widths) if width]
    lines = [
        f"void {name}_predict(const {io} x[{name.upper()}_INPUTS], {io} y[{name.upper()}_OUTPUTS])",
        "{",
    ]
    lines += [f"    real {', '.join(used)};"] if used else []
    if not direct:
        lines += [
            "    size_t j;",
            f"    for (j = 0; j < {name.upper()}_INPUTS; ++j)",
            "        a[j] = x[j];",
        ]

    def buffer(l: int) -> str:
        if direct and l in (0, L):
            return "x" if l == 0 else "y"
        return "ab"[l % 2]

    for l in range(1, L + 1):
        tables = f"W{l}, b{l}" if quantized is None else f"W{l}, s{l}, b{l}"
        z = buffer(l)
        lines.append(
            f"    dense({tables}, {buffer(l - 1)}, {z}, {net.sizes[l - 1]}, {net.sizes[l]});"
        )
        g = f"custom_{l}" if l in own else net.layers[l].activation.name
        lines += [f"    {g}_layer({z}, {net.sizes[l]});"] if g != "identity" else []
    if not direct:
        lines += [
            f"    for (j = 0; j < {name.upper()}_OUTPUTS; ++j)",
            f"        y[j] = ({io}){buffer(L)}[j];",
        ]
    of_class = _CLASS if net.sizes[-1] > 1 else _CLASS_OF_ONE
    return "\n".join([*lines, "}", "", _named(of_class.replace("TYPE", io), name)])


_CLASS = """\
int NAME_predict_class(const TYPE x[NAME_INPUTS])
{
    TYPE y[NAME_OUTPUTS];
    int j, largest = 0;
    NAME_predict(x, y);
    for (j = 1; j < NAME_OUTPUTS; ++j)
        if (y[j] > y[largest])
            largest = j;
    return largest;
}
"""
_CLASS_OF_ONE = """\
int NAME_predict_class(const TYPE x[NAME_INPUTS])
{
    TYPE y[NAME_OUTPUTS];
    NAME_predict(x, y);
    return y[0] >= (TYPE)0.5;
}
"""


def _layer_parameters(
    net: FeedForward, l: int, settings: Settings, quantized: Quantized | None
) -> str:
    """Return the weights and biases of a layer as constants."""
    layer, io = net.layers[l], TYPES[settings.dtype]
    b = np.zeros(net.sizes[l]) if layer.b is None else layer.b
    if quantized is None:
        tables = [(io, f"W{l}", _numbers(layer.W.T, settings.dtype))]
    else:
        q, s = quantized.layers[l - 1]
        tables = [
            ("signed char", f"W{l}", (str(v) for v in q.T.ravel().tolist())),
            (io, f"s{l}", _numbers(s, settings.dtype)),
        ]
    tables.append((io, f"b{l}", _numbers(b, settings.dtype)))
    return "".join(
        f"static const {kind} {name}[] = {{\n{_wrapped(numbers)}\n}};\n"
        for kind, name, numbers in tables
    )


def _numbers(values: NDArray[Any], dtype: str) -> Iterator[str]:
    """Yield constants that give the same bits again."""
    for value in np.ascontiguousarray(values, dtype=dtype).ravel().tolist():
        text = f"{value:.9g}" if dtype == "float32" else repr(value)
        text += "" if any(mark in text for mark in ".en") else ".0"
        yield text + ("f" if dtype == "float32" else "")


def _wrapped(numbers: Iterator[str]) -> str:
    """Return constants in lines of up to 100 characters."""
    lines, line = [], "   "
    for number in numbers:
        if len(line) + len(number) > 97:
            lines.append(line)
            line = "   "
        line += f" {number},"
    return "\n".join([*lines, line])


def _named(text: str, name: str) -> str:
    """Return a text with the name of the file put in."""
    return text.replace("NAME_predict", f"{name}_predict").replace("NAME", name.upper())


def safe(text: str) -> str:
    """Return a text that does not end a comment or a line."""
    return "".join(c if c.isprintable() and c.isascii() else "?" for c in text).replace("*/", "* /")
