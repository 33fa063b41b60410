"""What a student types: read as numbers or formulas, never executed."""

from __future__ import annotations

import math

import pytest

from chainrule.teach import answers


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-0.25", -0.25),
        ("−0,25", -0.25),
        ("0.5*0.2", 0.1),
        ("0.5·0.2 + 1/4", 0.35),
        ("2*(3)", 6.0),
        ("(1 - 0.5^2)*2", 1.5),
        ("2e-3", 0.002),
        ("tanh(0.4)", math.tanh(0.4)),
        ("sigma(0)", 0.5),
        ("½", 0.5),
    ],
)
def test_arithmetic_is_accepted_as_a_number(text, value):
    assert answers.number(text) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("about 3", "not a formula"),
        ("w + 1", "holds w"),
        ("1/0", "no value"),
        ("ln(-1)", "no value"),
        ("9^9^9", "exponent"),
        ("2**99", "exponent"),
        ("__import__('os').system('true')", "write \\* between"),
        ("(1).real", "only numbers"),
        ("[x for x in (1,)]", "not a formula|only numbers"),
        ("lambda: 1", "only numbers"),
        ("open(1)", "not a function"),
        ("1+" * 150 + "1", "at most 200"),
        ("-" * 60 + "1", "nested"),
        ("1e99", "too large"),
        ("2(3)", "side by side"),
        ("True", "only numbers"),
        ("exp(999)", "no value"),
    ],
)
def test_everything_else_is_refused_with_words(text, words):
    with pytest.raises(ValueError, match=words):
        answers.number(text)
