"""Make the coefficients of vecmath.h and normal.py again: near-minimax fits in 60 digits.

Needs mpmath.
"""

from collections.abc import Callable
from typing import Any

from mpmath import atanh, chebyfit, cos, erfc, exp, log, mp, mpf, nstr, pi, sin, sqrt

Function = Callable[[Any], Any]

mp.dps = 60


def show(name: str, f: Function, low: Any, high: Any, terms: int, digits: int) -> None:
    """Print the coefficients of f on [low, high], powers ascending, and the error."""
    coefficients, error = chebyfit(f, [mpf(low), mpf(high)], terms, error=True)
    print(f"{name}, error {nstr(error, 3)}:")
    print("    " + ", ".join(nstr(c, digits) for c in reversed(coefficients)))


def exp_tail(r: Any) -> Any:
    """Give (e^r - 1 - r) / r^2."""
    return (exp(r) - 1 - r) / r**2 if abs(r) > mpf("1e-15") else mpf(1) / 2 + r / 6


def atanh_tail(u: Any) -> Any:
    """Give (2 atanh(s) / s - 2) / s^2 with u = s^2."""
    return (2 * atanh(sqrt(u)) / sqrt(u) - 2) / u if u > mpf("1e-20") else mpf(2) / 3


def erfcx(t: Any) -> Any:
    """Give e^(x^2) erfc(x) (1 + 2x) with t = (x - 2) / (x + 2)."""
    if t >= 1:
        return 2 / sqrt(pi)
    x = 2 * (1 + t) / (1 - t)
    if x < 40:
        return erfc(x) * exp(x * x) * (1 + 2 * x)
    total = term = mpf(1)  # the asymptotic series
    for k in range(1, 25):
        term *= -(2 * k - 1) / (2 * x * x)
        total += term
    return (1 + 2 * x) / (x * sqrt(pi)) * total


def above_half(t: Any) -> Any:
    """Give (f - 1/2) / (1 + t) for f = (1 + x) e^(x^2/2) Phi(-x) with t = (x - 4) / (x + 4)."""
    t = max(t, mpf("1e-15") - 1)
    if t >= 1:
        return (1 / sqrt(2 * pi) - mpf(1) / 2) / 2
    x = 4 * (1 + t) / (1 - t)
    y = x / sqrt(2)
    f = erfcx((y - 2) / (y + 2)) / (1 + 2 * y) * (1 + x) / 2
    return (f - mpf(1) / 2) / (1 + t)


def sin_tail(u: Any) -> Any:
    """Give (sin(r) / r - 1) / r^2 with u = r^2."""
    return (sin(sqrt(u)) / sqrt(u) - 1) / u if u > mpf("1e-15") else u / 120 - mpf(1) / 6


def cos_tail(u: Any) -> Any:
    """Give (cos(r) - 1 + r^2 / 2) / r^4 with u = r^2."""
    return (cos(sqrt(u)) - 1 + u / 2) / u**2 if u > mpf("1e-12") else mpf(1) / 24 - u / 720


half_ln2 = log(2) / 2 * mpf("1.001")
for name, terms, digits in (("float", 5, 10), ("double", 10, 19)):
    show(f"exp_tail, {name}", exp_tail, -half_ln2, half_ln2, terms, digits)
for name, terms, digits in (("float", 5, 10), ("double", 12, 20)):
    show(f"atanh_tail, {name}", atanh_tail, 0, mpf(1) / 9 * mpf("1.0001"), terms, digits)
for name, terms, digits in (("float", 12, 10), ("double", 28, 19)):
    show(f"erfcx, {name}", erfcx, -1, 1, terms, digits)
show("sin_tail", sin_tail, 0, (pi / 4 * mpf("1.001")) ** 2, 6, 20)
show("cos_tail", cos_tail, 0, (pi / 4 * mpf("1.001")) ** 2, 6, 20)
for name, terms, digits in (("float", 10, 10), ("double, normal.py", 25, 17)):
    show(f"above_half, {name}", above_half, -1, 1, terms, digits)
# tanh z = z P(u) / Q(u), u = z^2: a linearised least-squares fit of relative error on [0, 9.02],
# reweighted until the error is level (2e-8), both polynomials of degree 4.
