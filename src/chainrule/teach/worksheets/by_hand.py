"""The path of a hand: every number on the way rounded to a few digits, as a calculator is read."""

from __future__ import annotations

import math

from chainrule.equations.formulas import Add, Call, Cases, Div, Expr, Mul, Neg, Num, Pow, evaluate
from chainrule.explain.symbols import Factor
from chainrule.teach import answers

DIGITS = 4  # significant digits of what is printed, and of each number on a student's way
TOLERANCE = 0.01  # relative error up to which an answer is right
_PATH = TOLERANCE / 2  # and up to which the rounded path must lead there


def rounded(value: float) -> float:
    """Round to the digits that a sheet shows."""
    return float(f"{value:.{DIGITS}g}")


def follow(expr: Expr) -> float:
    """Compute an expression in numbers, and round each of them on the way.

    Raises ValueError where the expression holds something other than numbers.
    """
    match expr:
        case Num(value):
            return rounded(value)
        case Factor(body):
            return follow(body)
        case Neg(item):
            return -follow(item)
        case Add(items):
            return rounded(math.fsum(follow(item) for item in items))
        case Mul(items):
            product = 1.0
            for item in items:
                product = rounded(product * follow(item))
            return product
        case Div(numerator, denominator):
            lower = follow(denominator)
            if lower == 0:
                raise ValueError("a hand would divide by 0")
            return rounded(follow(numerator) / lower)
        case Pow(base, Num(exponent)):
            return rounded(follow(base) ** exponent)
        case Call(function, arguments):
            numbers = tuple(Num(follow(argument)) for argument in arguments)
            return rounded(float(evaluate(Call(function, numbers), {}, answers.functions(math))))
        case Cases(condition, then, otherwise):
            difference = follow(condition.left) - follow(condition.right)
            return follow(then if (difference > 0) == (">" in condition.relation) else otherwise)
    raise ValueError(f"{type(expr).__name__} is not arithmetic for a hand")


def leads_to(path: float, value: float) -> bool:
    """Return whether the rounded path ends close enough to the exact value."""
    return math.isclose(path, value, rel_tol=_PATH)
