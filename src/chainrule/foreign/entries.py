"""Entries: what calls compute and their derivatives, element by element, in any library."""

from __future__ import annotations

from collections.abc import Sequence

Index = tuple[int, ...]
Found = tuple[str, dict[str, float]]  # a formula, and the numbers of its letters
ZERO: Found = ("0", {})
ONE: Found = ("1", {})

# name: result, derivative; x is the element, a the result
PLAIN: dict[str, tuple[str, str]] = {
    "relu": ("max(0, x)", "1 if x > 0 else 0"),
    "sigmoid": ("1 / (1 + exp(-x))", "a * (1 - a)"),
    "tanh": ("tanh(x)", "1 - a**2"),
    "silu": ("x σ(x)", "sigma(x) * (1 + x * (1 - sigma(x)))"),
    "softsign": ("x / (1 + |x|)", "1 / (1 + abs(x))**2"),
    "logsigmoid": ("ln σ(x)", "1 - sigma(x)"),
    "tanhshrink": ("x - tanh(x)", "tanh(x)**2"),
    "relu6": ("min(max(0, x), 6)", "(1 if x < 6 else 0) if x > 0 else 0"),
    "hardsigmoid": ("min(max(0, x / 6 + 1/2), 1)", "(1 / 6 if x < 3 else 0) if x > -3 else 0"),
    "hardswish": (
        "x min(max(0, x + 3), 6) / 6",
        "((2 * x + 3) / 6 if x < 3 else 1) if x > -3 else 0",
    ),
    "selu": (
        "1.0507 x if x > 0, else 1.758 (exp(x) - 1)",
        "1.0507009873554805 if x > 0 else 1.7580993408473766 * exp(x)",
    ),
    "mish": ("x tanh(ln(1 + exp(x)))", "t + x * (1 - t**2) * sigma(x)"),
    "exp": ("exp(x)", "exp(x) = a"),
    "expm1": ("exp(x) - 1", "exp(x)"),
    "log": ("ln x", "1 / x"),
    "log1p": ("ln(1 + x)", "1 / (1 + x)"),
    "log2": ("ln x / ln 2", "1 / (x * ln(2))"),
    "log10": ("ln x / ln 10", "1 / (x * ln(10))"),
    "sqrt": ("√x", "1 / (2 * sqrt(x)) = 1 / (2 * a)"),
    "rsqrt": ("1 / √x", "-a / (2 * x)"),
    "reciprocal": ("1 / x", "-a**2"),
    "square": ("x²", "2 * x"),
    "abs": ("|x|", "sign(x)"),
    "neg": ("-x", "-1"),
    "sin": ("sin x", "cos(x)"),
    "cos": ("cos x", "-sin(x)"),
    "erf": ("erf x", "2 * exp(-x**2) / sqrt(p)"),
    "atan": ("atan x", "1 / (1 + x**2)"),
    "sinh": ("sinh x", "cosh(x)"),
    "cosh": ("cosh x", "sinh(x)"),
    "sign": ("sign of x", "0"),
    "floor": ("the largest whole number not above x", "0"),
    "round": ("the nearest whole number", "0"),
}
# name: result, derivative by x, derivative by y
TWO: dict[str, tuple[str, str, str]] = {
    "add": ("a = x + y", "1", "1"),
    "sub": ("a = x - y", "1", "-1"),
    "mul": ("a = x y", "y", "x"),
    "div": ("a = x / y", "1 / y", "-x / y**2"),
    "pow": ("a = x to the power of y", "y * x**(y - 1)", "x**y * ln(x)"),
}


def spread(out: Index, shape: Sequence[int]) -> Index:
    """Return which element of a broadcast argument stands at a place of the result."""
    tail = out[len(out) - len(shape) :] if shape else ()
    return tuple(0 if size == 1 else i for i, size in zip(tail, shape, strict=True))
