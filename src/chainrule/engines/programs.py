"""Programs: formulas of custom functions as lists of instructions, which the core computes.

A formula is simplified first: parts that overflow or cancel as they are written become functions
of the core that do not (ln(1 + exp(x)) is softplus(x), 1 - tanh(x)**2 has all its digits).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.equations import normal
from chainrule.equations.activations import ACTIVATIONS
from chainrule.equations.formulas import (
    Add,
    Call,
    Cases,
    Compare,
    Div,
    Expr,
    Mul,
    Name,
    Neg,
    Num,
    Pow,
    add,
    evaluate,
    mul,
)

Array = NDArray[Any]
Instruction = tuple[str, int, int, int, int, float]  # operation, to, x, y, z, number
REGISTERS, LONGEST = 32, 512  # of the core
_MOST_FACTORS = 16  # of a power that becomes products

# Functions of formulas that the core calls otherwise, and those that only `simplified` writes.
_NAMES = {"Phi": "distribution", "phi": "density", "max": "largest", "min": "smallest"}


class TooLongError(ValueError):
    """A formula that does not fit into the core's registers."""


@dataclass(frozen=True)
class Program:
    """Instructions, and the registers of the results; the inputs are in the first registers."""

    instructions: tuple[Instruction, ...]
    results: tuple[int, ...]


def program(results: Sequence[Expr], inputs: Sequence[str]) -> Program:
    """Return the program that computes expressions in some letters.

    Raises `TooLongError` if one is too long for the core.
    """
    found: dict[Expr, int] = {Name(letter): i for i, letter in enumerate(inputs)}
    steps: list[tuple[str, tuple[int, ...], float]] = []
    first = len(inputs)

    def of(operation: str, *operands: int, number: float = 0.0) -> int:
        steps.append((operation, operands, number))
        return first + len(steps) - 1

    def place(node: Expr) -> int:
        if node not in found:
            found[node] = _written(node, place, of)
        return found[node]

    values = [place(simplified(expr)) for expr in results]
    return _in_registers(steps, values, first)


def _written(node: Expr, place: Callable[[Expr], int], of: Callable[..., int]) -> int:
    """Write a node's instructions, and return the place of its value."""
    match node:
        case Num(value):
            return of("number", number=float(value))
        case Neg(item):
            return of("negate", place(item))
        case Add(items):
            total = place(items[0])
            for item in items[1:]:
                minus = isinstance(item, Neg)
                term = place(item.item if isinstance(item, Neg) else item)
                total = of("subtract" if minus else "add", total, term)
            return total
        case Mul(items):
            product = place(items[0])
            for item in items[1:]:
                product = of("multiply", product, place(item))
            return product
        case Div(numerator, denominator):
            return of("divide", place(numerator), place(denominator))
        case Pow(base, Num(exponent)) if _is_product(exponent):
            return _power(place(base), int(exponent), place, of)
        case Pow(base, exponent):
            return of("power", place(base), place(exponent))
        case Call(function, arguments):
            name = _NAMES.get(function, function)
            value = place(arguments[0])
            if name in ("largest", "smallest"):
                for argument in arguments[1:]:
                    value = of(name, value, place(argument))
                return value
            if len(arguments) != 1:
                raise ValueError(f"{function} takes one argument")
            return of(name, value)
        case Cases(Compare(left, relation, right), then, otherwise):
            sides = place(left), place(right)
            larger, smaller = sides if relation[0] == ">" else sides[::-1]
            holds = of("at_least" if relation[1:] else "above", larger, smaller)
            return of("choose", holds, place(then), place(otherwise))
    raise TypeError(f"{type(node).__name__} has no instructions")


def _is_product(exponent: float) -> bool:
    return float(exponent).is_integer() and abs(exponent) <= _MOST_FACTORS


def _power(base: int, exponent: int, place: Callable[[Expr], int], of: Callable[..., int]) -> int:
    """Write a whole power as products of squares."""
    square, result, left = base, None, abs(exponent)
    while left:
        if left % 2:
            result = square if result is None else of("multiply", result, square)
        left //= 2
        if left:
            square = of("multiply", square, square)
    if result is None:
        return place(Num(1))
    return result if exponent > 0 else of("divide", place(Num(1)), result)


def _in_registers(
    steps: list[tuple[str, tuple[int, ...], float]], values: list[int], inputs: int
) -> Program:
    """Put each value into a register, which is free again after its last use."""
    last = {value: i for i, (_, operands, _) in enumerate(steps) for value in operands}
    last |= dict.fromkeys([*range(inputs), *values], len(steps))
    register = {value: value for value in range(inputs)}
    free = list(range(REGISTERS - 1, inputs - 1, -1))
    instructions = list[Instruction]()
    for i, (operation, operands, number) in enumerate(steps):
        x, y, z = ([register[value] for value in operands] + [0, 0, 0])[:3]
        if not free or i == LONGEST:
            raise TooLongError("the formula is too long")
        to = register[inputs + i] = free.pop()
        instructions.append((operation, to, x, y, z, number))
        free += [register[value] for value in {*operands, inputs + i} if last.get(value, i) == i]
    return Program(tuple(instructions), tuple(register[value] for value in values))


# --- the same in a form that neither overflows nor cancels --------------------------------------


def simplified(expr: Expr) -> Expr:
    """Return an expression with the same value whose parts keep their digits."""
    values: dict[str, Any] = {}
    for name in expr.__dataclass_fields__:
        value = getattr(expr, name)
        if isinstance(value, Expr):
            value = simplified(value)
        elif isinstance(value, tuple):
            value = tuple(simplified(item) for item in value)
        values[name] = value
    return _folded(_rewritten(type(expr)(**values)))


def _rewritten(node: Expr) -> Expr:
    match node:
        case Neg(Neg(item)):
            return item
        case Add(items) if any(isinstance(item, Add) for item in items):
            return _rewritten(add(*items))
        case Mul(items) if any(isinstance(item, Mul) for item in items):
            return mul(*items)
        case Call("ln", (Call("exp", (x,)),)):
            return x
        case Call("ln", (Call("cosh", (x,)),)):
            return Call("ln_cosh", (x,))
        case Call("ln", (Add((a, b)),)) if Num(1) in (a, b):
            x = b if a == Num(1) else a
            power = isinstance(x, Call) and x.function == "exp"
            return Call("softplus", x.arguments) if power else Call("log1p", (x,))  # type: ignore[attr-defined]
        case Div(numerator, Add((a, b))) if Num(1) in (a, b):
            match numerator, b if a == Num(1) else a:
                case Num(1), Call("exp", (x,)):
                    return Call("sigma", (_rewritten(Neg(x)),))
                case Call("exp", (x,)), Call("exp", (same,)) if x == same:
                    return Call("sigma", (x,))
        case Add((Num(1), Neg(Call("sigma", (x,))))):
            return Call("sigma", (_rewritten(Neg(x)),))
        case Add((Num(1), Neg(Pow(Call("tanh", (x,)), Num(2))))):
            return Call("tanh_slope", (x,))
        case Add((Call("exp", (x,)), Num(-1))):
            return Call("expm1", (x,))
        case Pow(base, Num(value)) if value == 0.5:
            return Call("sqrt", (base,))
    return node


def _folded(node: Expr) -> Expr:
    """Return the number that an operation on numbers comes to."""
    if isinstance(node, Num | Name | Compare | Cases):
        return node
    if not all(isinstance(child, Num) for child in node.children()):
        return node
    try:
        value = float(evaluate(node, {}, {**_functions(np.float64), "where": np.where}))
    except (ArithmeticError, KeyError, TypeError, ValueError):
        return node
    return Num(value) if math.isfinite(value) else node


# --- in NumPy -----------------------------------------------------------------------------------


def _functions(dtype: Any) -> Mapping[str, Callable[..., Any]]:
    """Return the operations on arrays, as the core has them."""
    sigma = ACTIVATIONS["sigmoid"].value

    def real(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *given: function(*(np.asarray(array, dtype) for array in given))

    functions: dict[str, Callable[..., Any]] = {
        "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide,
        "negate": np.negative, "power": np.power, "exp": np.exp, "expm1": np.expm1, "ln": np.log,
        "log1p": np.log1p, "sqrt": np.sqrt, "abs": np.abs, "sign": np.sign, "sin": np.sin,
        "cos": np.cos, "atan": np.arctan, "tanh": np.tanh, "sinh": np.sinh, "cosh": np.cosh,
        "tanh_slope": lambda z: ACTIVATIONS["tanh"].derivative(z, z),
        "ln_cosh": lambda x: np.abs(x) + np.log1p(np.exp(-2 * np.abs(x))) - math.log(2),
        "sigma": sigma, "softplus": lambda x: np.logaddexp(x, 0),
        "distribution": normal.cdf, "density": normal.density, "Phi": normal.cdf,
        "phi": normal.density, "largest": np.maximum, "smallest": np.minimum,
        "max": lambda *a: np.maximum.reduce(a), "min": lambda *a: np.minimum.reduce(a),
        "above": lambda x, y: (x > y).astype(dtype),
        "at_least": lambda x, y: (x >= y).astype(dtype),
        "choose": lambda c, x, y: np.where(c != 0, x, y),
    }  # fmt: skip
    return {name: real(function) for name, function in functions.items()}


def computed(program: Program, inputs: Sequence[Array], dtype: Any) -> list[Array]:
    """Return the results of a program for arrays of one shape, as NumPy computes them."""
    functions = _functions(dtype)
    registers: dict[int, Array] = {i: np.asarray(x, dtype) for i, x in enumerate(inputs)}
    shape = registers[0].shape
    with np.errstate(all="ignore"):
        for operation, to, *operands, number in program.instructions:
            if operation == "number":
                registers[to] = np.full(shape, number, dtype)
                continue
            count = _OPERANDS.get(operation, 1)
            given = (registers[int(place)] for place in operands[:count])
            registers[to] = np.asarray(functions[operation](*given), dtype)
    return [registers[place] for place in program.results]


_OF_TWO = (
    "add", "subtract", "multiply", "divide", "power", "above", "at_least", "largest", "smallest",
)  # fmt: skip
_OPERANDS = dict.fromkeys(_OF_TWO, 2) | {"choose": 3}
