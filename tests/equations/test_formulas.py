"""The language in which activations and losses state themselves."""

from __future__ import annotations

import math
from typing import Any

import pytest

from chainrule.equations.formulas import (
    Add,
    Call,
    Cases,
    Compare,
    Div,
    Mul,
    Name,
    Neg,
    Num,
    Pow,
    evaluate,
    names_in,
    parse,
)

MATH: dict[str, Any] = {
    "exp": math.exp, "ln": math.log, "sqrt": math.sqrt, "abs": abs, "max": max, "min": min,
    "sign": lambda z: (z > 0) - (z < 0),
}  # fmt: skip


def value(text: str, **letters: float) -> float:
    return float(evaluate(parse(text)[0], letters, MATH))


def test_a_formula_becomes_a_tree() -> None:
    z = Name("z")
    assert parse("(z - 1)**2") == (Pow(Add((z, Neg(Num(1)))), Num(2)),)
    assert parse("2*z*exp(-z)/3") == (Div(Mul((Num(2), z, Call("exp", (Neg(z),)))), Num(3)),)
    assert parse("z if z > 0 else z/100") == (Cases(Compare(z, ">", Num(0)), z, Div(z, Num(100))),)


def test_equal_forms_are_kept_in_order() -> None:
    assert parse("1 - z**2 = (1 - z)*(1 + z)")[0] == parse("1 - z**2")[0]
    assert len(parse("z = z = z")) == 3
    assert len(parse("z if z >= 0 else 0")) == 1  # the relation is not a joint


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("z - 1 - 2", 0.0),
        ("-z**2", -9.0),
        ("(-z)**2", 9.0),
        ("2*z/4/3", 0.5),
        ("z*(1 - z) + z", -3.0),
        ("2**z", 8.0),
        ("1/2*z", 1.5),
        ("max(0, z, 7) - min(z, 2)", 5.0),
        ("z if z <= 3 else 0", 3.0),
        ("z if z < 3 else 0", 0.0),
        ("ln(exp(z))", 3.0),
        ("sign(-z)*abs(-z)", -3.0),
        ("0.25*z", 0.75),
    ],
)
def test_values_are_those_of_arithmetic(text: str, expected: float) -> None:
    assert value(text, z=3.0) == pytest.approx(expected, rel=1e-15)


def test_only_the_branch_that_holds_is_computed() -> None:
    assert value("ln(z) if z > 0 else 0", z=-1.0) == 0


def test_arrays_choose_with_where() -> None:
    import numpy as np

    functions: dict[str, Any] = {"where": np.where, "exp": np.exp}
    z = np.array([-1.0, 2.0])
    found = evaluate(parse("z if z > 0 else exp(z) - 1")[0], {"z": z}, functions)
    np.testing.assert_allclose(found, [math.exp(-1) - 1, 2.0])


def test_letters_are_found() -> None:
    assert names_in(parse("-y*ln(a) if a > k else 0")[0]) == {"y", "a", "k"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("log(z)", "unknown function 'log'; known: exp, ln,"),
        ("z +", "formula 'z \\+'"),
        ("z @ z", "only \\+ - \\* / \\*\\* are known"),
        ("z.real", "'z.real' is not arithmetic"),
        ("__import__('os')", "unknown function '__import__'"),
        ("exp()", "not arithmetic"),
        ("True", "not arithmetic"),
        ("z if z == 0 else 1", "not arithmetic"),
        ("[z for z in z]", "not arithmetic"),
        ("", "formula ''"),
    ],
)
def test_other_texts_are_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse(text)
