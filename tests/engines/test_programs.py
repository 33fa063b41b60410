"""Programs: what the core computes of a formula, against mpmath, and how they are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from chainrule.engines.programs import (
    LONGEST,
    REGISTERS,
    TooLongError,
    computed,
    program,
    simplified,
)
from chainrule.equations.formulas import FUNCTIONS, Call, parse
from tests.settings import DTYPES

_native = pytest.importorskip("chainrule.engines._native", reason="a pure Python installation")
mp = pytest.importorskip("mpmath")
from tests.oracles import normal, phi, sigma, softplus, tanh_slope  # noqa: E402

Array = Any
EPS = 6  # allowed, relative, where no parts cancel
OPERATIONS = {name: i for i, name in enumerate(_native.operations)}


def by_core(written: Any, inputs: list[Array]) -> list[Array]:
    instructions = [(OPERATIONS[name], *rest) for name, *rest in written.instructions]
    results = [np.empty_like(inputs[0]) for _ in written.results]
    _native.formula((instructions, list(written.results)), inputs, results)
    return results


def points(dtype: str, low: float, high: float) -> Array:
    rng = np.random.default_rng(0)
    near = rng.uniform(-3, 3, 60)
    small = np.ldexp(rng.uniform(1, 2, 40), rng.integers(-40, 0, 40)) * rng.choice([-1, 1], 40)
    z = np.concatenate([near, small, rng.uniform(low, high, 120), [low, high, 0.0]])
    return z[(z >= low) & (z <= high)].astype(dtype)


# Where the value is a normal number in both dtypes.
EXACT: dict[str, tuple[Callable[[Any], Any], float, float]] = {
    "exp(z)": (mp.exp, -86, 88),
    "exp(z) - 1": (mp.expm1, -86, 88),
    "ln(z)": (mp.log, 1e-20, 1e20),
    "ln(1 + z)": (mp.log1p, -0.9, 1e5),
    "sqrt(z)": (mp.sqrt, 0, 1e20),
    "z**0.5": (mp.sqrt, 0, 1e20),
    "z**2.5": (lambda z: z ** mp.mpf(2.5), 0, 1e6),
    "z**7": (lambda z: z**7, -30, -0.01),
    "z**-3": (lambda z: z**-3, 1e-3, 1e3),
    "abs(z)": (abs, -1e9, 1e9),
    "sign(z)": (mp.sign, -1e9, 1e9),
    "atan(z)": (mp.atan, -1e9, 1e9),
    "tanh(z)": (mp.tanh, -20, 20),
    "1 - tanh(z)**2": (tanh_slope, -40, 40),
    "sinh(z)": (mp.sinh, -89, 89),
    "cosh(z)": (mp.cosh, -89, 89),
    "sigma(z)": (sigma, -80, 80),
    "1 - sigma(z)": (lambda z: sigma(-z), -80, 80),
    "1/(1 + exp(-z))": (sigma, -80, 80),
    "exp(z)/(1 + exp(z))": (sigma, -80, 80),
    "ln(1 + exp(z))": (softplus, -80, 200),
    "ln(exp(z))": (lambda z: z, -1e9, 1e9),
    "Phi(z)": (normal, -12, 12),
    "phi(z)": (phi, -12, 12),
    "max(z, 1/4)": (lambda z: max(z, mp.mpf(1) / 4), -9, 9),
    "min(z, 1/4, -2*z)": (lambda z: min(z, mp.mpf(1) / 4, -2 * z), -9, 9),
    "z if z > 0 else z/100": (lambda z: z if z > 0 else z / 100, -9, 9),
    "-z if z <= 1/2 else 3*z": (lambda z: -z if z <= 0.5 else 3 * z, -9, 9),
    "z if 1 < z else -1": (lambda z: z if z > 1 else mp.mpf(-1), -9, 9),
    "z if 1 >= z else 2": (lambda z: z if z <= 1 else mp.mpf(2), -9, 9),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("text", EXACT)
def test_functions(isa: str, text: str, dtype: str) -> None:
    function, low, high = EXACT[text]
    z = points(dtype, low, high)
    (found,) = by_core(program([parse(text)[0]], "z"), [z])
    with mp.workprec(120):
        for x, y in zip(z.tolist(), found.tolist(), strict=True):
            true = function(mp.mpf(x))
            allowed = EPS * float(np.finfo(dtype).eps) * abs(true)
            assert abs(mp.mpf(y) - true) <= allowed, (x, y, true)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("text", ["sin(z)", "cos(z)", "ln(cosh(z))"])
def test_functions_whose_parts_cancel(isa: str, text: str, dtype: str) -> None:
    """Near a root it is the absolute error that is small."""
    high = 80 if "cosh" in text else 9e5 if dtype == "float64" else 3e4
    z = np.concatenate([points(dtype, -high, high), points(dtype, -10, 10)])
    (found,) = by_core(program([parse(text)[0]], "z"), [z])
    true: dict[str, Any] = {
        "sin(z)": mp.sin, "cos(z)": mp.cos, "ln(cosh(z))": lambda z: mp.log(mp.cosh(z))
    }  # fmt: skip
    eps = float(np.finfo(dtype).eps)
    with mp.workprec(200):
        for x, y in zip(z.tolist(), found.tolist(), strict=True):
            exact = true[text](mp.mpf(x))
            assert abs(mp.mpf(y) - exact) <= EPS * eps * max(1, abs(exact)), (x, y)


def test_sines_of_large_numbers(isa: str) -> None:
    z = np.array([1.1e6, -3e9, 1e18, 1e300, np.inf, np.nan, 5e5, -1.5, 0.0])
    for text, function in (("sin(z)", np.sin), ("cos(z)", np.cos)):
        (found,) = by_core(program([parse(text)[0]], "z"), [z])
        with np.errstate(invalid="ignore"):
            np.testing.assert_allclose(found, function(z), rtol=0, atol=1e-15)


NAN = float("nan")
AT_ENDS = {  # of infinity, -infinity, NaN, 0
    "exp(z)": [np.inf, 0, NAN, 1], "exp(z) - 1": [np.inf, -1, NAN, 0],
    "ln(z)": [np.inf, NAN, NAN, -np.inf], "sqrt(z)": [np.inf, NAN, NAN, 0],
    "abs(z)": [np.inf, np.inf, NAN, 0], "sign(z)": [1, -1, NAN, 0], "tanh(z)": [1, -1, NAN, 0],
    "sinh(z)": [np.inf, -np.inf, NAN, 0], "cosh(z)": [np.inf, np.inf, NAN, 1],
    "ln(cosh(z))": [np.inf, np.inf, NAN, 0], "sigma(z)": [1, 0, NAN, 0.5],
    "ln(1 + exp(z))": [np.inf, 0, NAN, np.log(2)], "max(z, 1)": [np.inf, 1, NAN, 1],
    "max(1, z)": [np.inf, 1, NAN, 1], "min(1, z)": [1, -np.inf, NAN, 0],
    "1/z": [0, 0, NAN, np.inf], "z**2": [np.inf, np.inf, NAN, 0], "z**0": [1, 1, 1, 1],
    "atan(z)": [np.pi / 2, -np.pi / 2, NAN, 0],
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("text", AT_ENDS)
def test_functions_at_the_ends(isa: str, text: str, dtype: str) -> None:
    z = np.array([np.inf, -np.inf, np.nan, 0.0], dtype)
    (found,) = by_core(program([parse(text)[0]], "z"), [z])
    rtol, atol = 4 * np.finfo(dtype).eps, np.finfo(dtype).eps
    np.testing.assert_allclose(found, np.array(AT_ENDS[text], dtype), rtol=rtol, atol=atol)


def test_every_function_of_formulas_has_instructions() -> None:
    for name in FUNCTIONS:
        written = program([parse(f"{name}(z)")[0]], "z")
        assert all(step[0] in OPERATIONS for step in written.instructions), name


@pytest.mark.parametrize("dtype", DTYPES)
def test_numpy_computes_the_same(isa: str, dtype: str) -> None:
    """What formulas are compared with code by, and what trains, are one thing."""
    z, y = points(dtype, -20, 20), points(dtype, -20, 20)[::-1].copy()
    texts = [f"{name}(z)" for name in FUNCTIONS] + ["max(z, y, 0)", "min(z, y)", "z - y*2 + z/3"]
    texts += ["(z - y)**2 if abs(z - y) <= 1 else abs(z - y)", "ln(1 + exp(z*y))"]
    for text in texts:
        written = program([parse(text)[0], parse("z*y")[0]], "zy")
        with np.errstate(invalid="ignore"):
            ours, theirs = by_core(written, [z, y]), computed(written, [z, y], dtype)
        for one, other in zip(ours, theirs, strict=True):
            rtol = 16 * np.finfo(dtype).eps
            np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol, err_msg=text)


def test_common_parts_are_computed_once() -> None:
    part = "tanh(z*z + 1)"
    written = program([parse(part)[0], parse(f"1 + {part}")[0]], "z")
    assert [step[0] for step in written.instructions].count("tanh") == 1


def test_numbers_are_folded() -> None:
    written = program([parse("z + (1/2 - 3)*4")[0]], "z")
    assert [step[0] for step in written.instructions] == ["number", "add"]
    assert written.instructions[0][-1] == -10


def test_registers_are_used_again() -> None:
    text = "z"
    for i in range(100):
        text = f"tanh({text}*{i + 2} + z)"
    written = program([parse(text)[0]], "z")
    assert len(written.instructions) > 3 * REGISTERS
    (found,) = by_core(written, [np.array([0.3, -0.2])])
    expected = z = np.array([0.3, -0.2])
    for i in range(100):
        expected = np.tanh(expected * (i + 2) + z)
    np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_a_formula_that_is_too_long() -> None:
    with pytest.raises(TooLongError):
        program([parse(" + ".join(f"sin(z + {i})" for i in range(LONGEST)))[0]], "z")
    deep = parse("z")[0]
    for i in range(REGISTERS + 1):  # each level keeps a value until the innermost is there
        deep = Call("max", (parse(f"sin({i + 2}*z)")[0], deep))
    with pytest.raises(TooLongError):
        program([deep], "z")


def test_the_core_refuses_what_it_cannot_read() -> None:
    z, out = np.zeros(3), np.zeros(3)
    for instructions, results in (
        ([(99, 1, 0, 0, 0, 0.0)], [1]), ([(1, REGISTERS, 0, 0, 0, 0.0)], [0]),
        ([(1, 1, 0, -1, 0, 0.0)], [0]), ([], [REGISTERS]), ([], [0, 0]),
        ([(1, 1, 0, 0, 0, 0.0)] * (LONGEST + 1), [0]),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"no such|too many|number of results"):
            _native.formula((instructions, results), [z], [out])
    assert (_native.registers, _native.instructions) == (REGISTERS, LONGEST)


@pytest.mark.parametrize(
    ("text", "simple"),
    [("ln(exp(z) + 1)", "softplus(z)"), ("ln(cosh(z - 1))", "ln_cosh(z - 1)"),
     ("1/(exp(z) + 1)", "sigma(-z)"), ("ln(z + 1)", "log1p(z)"), ("z", "z")],
)  # fmt: skip
def test_simplified(text: str, simple: str) -> None:
    function = simple.partition("(")[0]
    written = program([parse(text)[0]], "z")
    last = written.instructions[-1][0] if written.instructions else "z"
    assert last == function
    assert simplified(parse(text)[0]) == simplified(simplified(parse(text)[0]))
