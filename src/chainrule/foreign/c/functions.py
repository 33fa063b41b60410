"""The C of the activation functions: without branches, so that compilers vectorise their loops.

They work as those of the core do (native/vecmath.h), with its polynomials (native/coefficients.py
makes them again), but use neither fused multiply-adds nor a library, so that the bits of a result
do not depend on the machine.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from chainrule.equations import normal


def _horner(coefficients: str, x: str) -> str:
    """Return a polynomial, powers ascending, as Horner's scheme."""
    first, *between, last = coefficients.split()
    text = f"R({last})"
    for c in reversed(between):
        text = f"({text} * {x} + R({c}))"
    return f"{text} * {x} + R({first})"


# Of each type: what e^x is made of. Below LOW, x e^x rounds to 0; PLACE and UNLIFT keep powers of 2
# normal. LIMIT is where the normal distribution rounds to 0, SPLIT halves the digits of a number.
_CONSTANTS = {
    "float32": {
        "WORD": "uint32_t", "LOW": "-113.0", "LOG2_E": "1.44269504089",
        "PLACE": "12583103.0",  # 1.5 * 2^23 + 127 + 64
        "MANTISSA": "23", "LIFT": "64", "UNLIFT": "0x1p-64",
        "LN2_HIGH": "0.693359375", "LN2_LOW": "-2.12194440e-4",
        "LIMIT": "15.0", "SPLIT": "4097.0",
        "TAIL": _horner(
            "0.5 0.1666657667 0.04166655421 0.008363232884 0.001392625083", "r"),
        "ATANH": _horner(
            "0.6666666732 0.3999970633 0.2859235799 0.217065758 0.2322432922", "s2"),
        "ABOVE_HALF": _horner(
            "-0.0279467846 -0.06875666493 0.08275587249 -0.05415690288 0.02196175489 "
            "-0.004014297058 -0.0009909772164 0.0006722485945 1.341677018e-5 -6.654942131e-5", "t"),
    },
    "float64": {
        "WORD": "uint64_t", "LOW": "-761.0", "LOG2_E": "1.4426950408889634074",
        "PLACE": "6755399441057279.0",  # 1.5 * 2^52 + 1023 + 512
        "MANTISSA": "52", "LIFT": "512", "UNLIFT": "0x1p-512",
        "LN2_HIGH": "6.93147180369123816490e-01", "LN2_LOW": "1.90821492927058770002e-10",
        "LIMIT": "39.0", "SPLIT": "134217729.0",
        "TAIL": _horner(
            "0.5000000000000001031 0.1666666666666666746 0.04166666666662382053 "
            "0.008333333333330038197 0.001388888891736708056 0.0001984126986317155603 "
            "0.0000248015210578682052 2.755726827690569619e-6 2.762020159103154879e-7 "
            "2.5100472505694996e-8", "r"),
        "ATANH": _horner(
            "0.66666666666666666661 0.40000000000000015496 0.28571428571421936219 "
            "0.22222222223333060497 0.18181818085922600213 0.15384620257534106314 "
            "0.13333176845154815784 0.11767999621908994712 0.10480378055059916646 "
            "0.099421746268553625476 0.063335142575231039087 0.15232286637463645911", "s2"),
        "ABOVE_HALF": _horner(" ".join(map(repr, normal.COEFFICIENTS)), "t"),
    },
}  # fmt: skip

# What needs the bits of IEEE arithmetic says so.
EXACT = """\
#if defined(__FAST_MATH__)
#error "Compile without -ffast-math: it changes the results of this file."
#endif
#if FLT_EVAL_METHOD != 0
#error "Compile for arithmetic without excess precision, such as -msse2 -mfpmath=sse on x86."
#endif"""

_POWER = """\
/* e^x = 2^k (1 + m) for x <= 0: returns m and 2^(k + LIFT), which is normal unless e^x is 0. */
static inline real power(real x, real *lifted)
{
    union { real number; WORD bits; } scale;
    real n, r, high, low;
    x = x < R(LOW) ? R(LOW) : x;
    scale.number = x * R(LOG2_E) + R(PLACE);
    n = scale.number - R(PLACE);
    scale.bits <<= MANTISSA;
    *lifted = scale.number;
    high = x - n * R(LN2_HIGH);
    low = n * R(LN2_LOW);
    r = high - low;
    return r + (r * r * (TAIL) + ((high - r) - low)); /* with what rounding took from r */
}
"""

_EXP = """\
/* e^x for x <= 0 */
static inline real exp_below(real x)
{
    real lifted, m = power(x, &lifted);
    return (m * lifted + lifted) * R(UNLIFT);
}
"""

_LOG = """\
/* ln(1 + u) for u from 0 to 1 */
static inline real log_above(real u)
{
    const real s = u / (u + R(2.0)), s2 = s * s;
    return s * (s2 * (ATANH)) + R(2.0) * s;
}
"""

_NORMAL = """\
/* What rounding took from the product p of a and b (Dekker). */
static inline real rest_of(real a, real b, real p)
{
    const real as = R(SPLIT) * a, ah = as - (as - a), al = a - ah;
    const real bs = R(SPLIT) * b, bh = bs - (bs - b), bl = b - bh;
    return ((ah * bh - p) + ah * bl + al * bh) + al * bl;
}

/* f times the distribution function of the standard normal: together, since that may be denormal.
 * That of -x is e^(-x^2/2) (1/2 + p) / (1 + x). What rounding takes from x^2, sums and the quotient
 * is put back. */
static inline real normal(real z, real f)
{
    const real size = z < R(0.0) ? -z : z, x = size > R(LIMIT) ? R(LIMIT) : size;
    const real t = (x - R(4.0)) / (x + R(4.0)), p = (ABOVE_HALF) * ((x + x) / (x + R(4.0)));
    const real top = R(0.5) + p, top_rest = p - (top - R(0.5));
    const real under = R(1.0) + x;
    const real under_rest = x < R(1.0) ? (R(1.0) - under) + x : (x - under) + R(1.0);
    const real q = top / under, again = q * under;
    const real q_rest = (((top - again) - rest_of(q, under, again))
                         + (top_rest - q * under_rest)) / under;
    const real square = x * x;
    real lifted, m, e, tail, tail_rest, below, cut, above;
    m = power(square * R(-0.5), &lifted);
    m = m - (R(1.0) + m) * (rest_of(x, x, square) * R(0.5));
    e = R(1.0) + m;
    tail = e * q;
    tail_rest = e * q_rest + (m - (e - R(1.0))) * q;
    below = (f > R(LIMIT) ? R(LIMIT) : f < -R(LIMIT) ? -R(LIMIT) : f) * lifted;
    below = (below * tail + below * tail_rest) * R(UNLIFT);
    lifted *= R(UNLIFT);
    cut = f * (tail * lifted);
    above = f - cut;
    above = above + (((f - above) - cut) - f * (tail_rest * lifted));
    return z < R(0.0) ? below : above;
}
"""

_HELPERS = {"power": _POWER, "exp": _EXP, "log": _LOG, "normal": _NORMAL}
_NEEDS = {"exp": ("power",), "log": ("power", "exp"), "normal": ("power",)}

# Of each activation that acts on units alone: the helpers, and the body of real g(real z).
_BODIES = {
    "sigmoid": (("exp",), """\
    const real e = exp_below(z < R(0.0) ? z : -z);
    return (z < R(0.0) ? e : R(1.0)) / (e + R(1.0));"""),
    "tanh": (("power",), """\
    /* with e = e^(-2|z|), (1 - e) / (1 + e), or 1 - 2 e / (1 + e) where that is above 1/2 */
    real lifted, m, s, e, q;
    m = power(z < R(0.0) ? z + z : -(z + z), &lifted);
    s = lifted * R(UNLIFT);
    e = m * s + s;
    q = (e < R(0.33) ? e + e : (R(1.0) - s) - m * s) / (e + R(1.0));
    q = e < R(0.33) ? R(1.0) - q : q;
    return z < R(0.0) ? -q : q;"""),
    "relu": ((), "    return z < R(0.0) ? R(0.0) : z;"),
    "leaky_relu": ((), "    return z > R(0.0) ? z : z / R(100.0);"),
    "step": ((), "    return z > R(0.0) ? R(1.0) : z <= R(0.0) ? R(0.0) : z;"),
    "elu": (("power",), """\
    real lifted, m, s;
    m = power(z > R(0.0) ? R(0.0) : z, &lifted);
    s = lifted * R(UNLIFT);
    return z > R(0.0) ? z : m * s + (s - R(1.0));"""),
    "gelu": (("normal",), "    return normal(z, z);"),
    "silu": (("power",), """\
    const real x = z < R(0.0) ? (z < R(LOW) ? R(LOW) : z) : -z;
    real lifted, m, e;
    m = power(x, &lifted);
    e = m * lifted + lifted; /* z e^z may be normal where e^z is not */
    return (z < R(0.0) ? x * e * R(UNLIFT) : z) / (e * R(UNLIFT) + R(1.0));"""),
    "softplus": (("log",), """\
    return (z < R(0.0) ? R(0.0) : z) + log_above(exp_below(z < R(0.0) ? z : -z));"""),
}  # fmt: skip

_SOFTMAX = """\
static void softmax_layer(real *z, size_t units)
{
    real largest = z[0], sum = R(0.0);
    size_t j;
    for (j = 1; j < units; ++j)
        largest = z[j] > largest ? z[j] : largest;
    for (j = 0; j < units; ++j)
        z[j] = exp_below(z[j] - largest);
    for (j = 0; j < units; ++j)
        sum += z[j];
    for (j = 0; j < units; ++j)
        z[j] = z[j] / sum;
}
"""


def known(name: str) -> bool:
    """Return whether there is C for an activation of this name."""
    return name in _BODIES or name in ("softmax", "identity")


def code(of_layers: Sequence[str], of_units: Sequence[str], real: str) -> str:
    """Return the C of activations.

    Those of layers are ``void name_layer(real *z, size_t units)``; those of units, which formulas
    call, ``real name_unit(real z)``, or "normal".
    """
    layers = [name for name in dict.fromkeys(of_layers) if name != "identity"]
    units = dict.fromkeys([*of_units, *(name for name in layers if name in _BODIES)])
    parts = [_HELPERS[helper] for helper in _helpers([*units, *layers])]
    parts += [on_unit(name, _BODIES[name][1]) for name in units if name in _BODIES]
    parts += [_SOFTMAX if name == "softmax" else on_layer(name) for name in layers]
    constants = _CONSTANTS[real]
    return re.sub(r"\b[A-Z][A-Z0-9_]+\b", lambda m: constants.get(m[0], m[0]), "\n".join(parts))


def reads_bits(of_layers: Sequence[str], of_units: Sequence[str]) -> bool:
    """Return whether the C of activations reads the bits of numbers."""
    return "power" in _helpers([*of_layers, *of_units])


def on_unit(name: str, body: str) -> str:
    """Return a function of one number."""
    return f"static inline real {name}_unit(real z)\n{{\n{body}\n}}\n"


def on_layer(name: str) -> str:
    """Return a function that applies that of one number to a layer."""
    return (
        f"static void {name}_layer(real *z, size_t units)\n{{\n    size_t j;\n"
        f"    for (j = 0; j < units; ++j)\n        z[j] = {name}_unit(z[j]);\n}}\n"
    )


def _helpers(names: Sequence[str]) -> list[str]:
    """Return the helpers of activations, each behind those that it needs."""
    wanted: dict[str, None] = {}
    for name in names:
        own = {"softmax": ("exp",), "normal": ("normal",)}.get(name)
        for helper in own or (_BODIES[name][0] if name in _BODIES else ()):
            wanted.update(dict.fromkeys((*_NEEDS.get(helper, ()), helper)))
    return list(wanted)
