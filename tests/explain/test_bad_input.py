"""What explain and Notation refuse, each with its message."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.explain import Notation, explain

X, Y = [[0.1, 0.2], [0.3, 0.4]], [[1.0], [0.0]]


def network(**options: Any) -> cr.Network:
    return cr.Network([2, 3, 1], hidden="tanh", output="sigmoid", seed=0, **options)


# --- targets ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    ["", "w", "w[1]", "w[1][0,1", "v[1][0]", "w[1][0,1]]", "w[1][a,b]", "w1_01",
     "W[1][0,1]", "x[0][1]", "x[]", "w[1.0][0,1]", "w[1][0][1]", "w[1][0,1,2]", "x"],
)  # fmt: skip
def test_text_that_is_no_target(target: str) -> None:
    with pytest.raises(
        ValueError, match=r"' is not a target; write 'w\[2\]\[1,2\]', 'b\[2\]\[1\]'"
    ):
        network().explain(target, X, Y)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("w[1][0]", r"^'w\[1\]\[0\]' is not a target: w takes two unit indices, w\[l\]\[j,k\]$"),
        ("w[1][0 1]", r"^'w\[1\]\[0 1\]' is not a target: w takes two unit indices"),
        ("b[1][0,1]", r"^'b\[1\]\[0,1\]' is not a target: b takes one unit index, b\[l\]\[j\]$"),
        ("z[1][0,1]", r"z takes one unit index, z\[l\]\[j\]$"),
        ("a[1][0,1]", r"a takes one unit index, a\[l\]\[j\]$"),
        ("w[3][1,2]", r"^w\[3\]\[1,2\]: the network has layers 1 to 2$"),
        ("w[0][0,0]", r"^w\[0\]\[0,0\]: the network has layers 1 to 2$"),
        ("w[-1][0,0]", r"^w\[-1\]\[0,0\]: the network has layers 1 to 2$"),
        ("b[0][0]", r"^b\[0\]\[0\]: the network has layers 1 to 2$"),
        ("z[0][0]", r"^z\[0\]\[0\]: the network has layers 1 to 2$"),
        ("a[3][0]", r"^a\[3\]\[0\]: the network has layers 0 to 2$"),
        ("w[1][3,0]", r"^w\[1\]\[3,0\]: layer 1 has units 0 to 2, j is 3$"),
        ("w[1][0,2]", r"^w\[1\]\[0,2\]: layer 0 has units 0 to 1, k is 2$"),
        ("w[1][-1,0]", r"^w\[1\]\[-1,0\]: layer 1 has units 0 to 2, j is -1$"),
        ("w[2][0,-1]", r"^w\[2\]\[0,-1\]: layer 1 has units 0 to 2, k is -1$"),
        ("b[2][1]", r"^b\[2\]\[1\]: layer 2 has units 0 to 0, j is 1$"),
        ("z[1][3]", r"^z\[1\]\[3\]: layer 1 has units 0 to 2, j is 3$"),
        ("x[2]", r"^x\[2\]: layer 0 has units 0 to 1, j is 2$"),
        (cr.Weight(3, 0, 0), r"^w\[3\]\[0,0\]: the network has layers 1 to 2$"),
        (cr.UnitOutput(0, 5), r"^x\[5\]: layer 0 has units 0 to 1, j is 5$"),
    ],
)
def test_target_that_does_not_exist(target: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network().explain(target, X, Y)


@pytest.mark.parametrize("target", [None, 3, ("w", 1, 0, 0), ["w[1][0,0]"], b"w[1][0,0]"])
def test_target_of_another_type(target: Any) -> None:
    with pytest.raises(
        TypeError, match=r"^a target is 'w\[2\]\[1,2\]', .* or a chainrule.Weight, got"
    ):
        network().explain(target, X, Y)


@pytest.mark.parametrize("target", [cr.Weight(1, "0", 0), cr.Bias(1.0, 0), cr.Weight(1, True, 0)])
def test_target_with_indices_of_another_type(target: Any) -> None:
    with pytest.raises(TypeError, match=r"must be an integer, got"):
        network().explain(target, X, Y)


def test_indices_may_be_numpys() -> None:
    why = network().explain(cr.Weight(np.int64(1), np.int32(2), np.intp(1)), X, Y)
    assert why.value == network().explain("w[1][2,1]", X, Y).value
    assert str(why.target) == "w[1][2,1]"
    assert why.text()


def test_bias_without_biases() -> None:
    with pytest.raises(ValueError, match=r"^b\[1\]\[0\]: the network has no biases$"):
        network(biases=False).explain("b[1][0]", X, Y)


def test_spaces_do_not_matter() -> None:
    assert network().explain(" w[1] [2, 1] ", X, Y).target == cr.Weight(1, 2, 1)


# --- options ------------------------------------------------------------------------------------


@pytest.mark.parametrize("focus", [-1, 2, 100])
def test_focus_out_of_range(focus: int) -> None:
    with pytest.raises(
        ValueError, match=rf"^focus is {focus}; expected the index of a sample, 0 to 1$"
    ):
        network().explain("w[1][0,0]", X, Y, focus=focus)


@pytest.mark.parametrize("focus", [0.0, "0", None, True, [0]])
def test_focus_of_another_type(focus: Any) -> None:
    with pytest.raises(TypeError, match=r"^focus must be the index of a sample, got "):
        network().explain("w[1][0,0]", X, Y, focus=focus)


def test_unknown_notation() -> None:
    message = r"^unknown notation 'C-a-l'; known: default, C-a-L, L-h$"
    with pytest.raises(ValueError, match=message):
        network().explain("w[1][0,0]", X, Y, notation="C-a-l")
    with pytest.raises(ValueError, match=message):
        network().explain("w[1][0,0]", X, Y).in_notation("C-a-l")


@pytest.mark.parametrize("notation", [None, 1, {"loss": "E"}, Notation])
def test_notation_of_another_type(notation: Any) -> None:
    with pytest.raises(TypeError, match=r"^notation is .*; expected a name or a chainrule\.Not"):
        network().explain("w[1][0,0]", X, Y, notation=notation)


@pytest.mark.parametrize("rate", [0, -0.1, float("nan"), float("inf")])
def test_learning_rate_out_of_range(rate: float) -> None:
    with pytest.raises(ValueError, match=r"^learning_rate must be "):
        network().explain("w[1][0,0]", X, Y, learning_rate=rate)


@pytest.mark.parametrize("rate", ["0.1", True, [0.1]])
def test_learning_rate_of_another_type(rate: Any) -> None:
    with pytest.raises(TypeError, match=r"^learning_rate must be "):
        network().explain("w[1][0,0]", X, Y, learning_rate=rate)


@pytest.mark.parametrize(
    ("step", "error"), [(-1, ValueError), (0.5, TypeError), ("0", TypeError), (True, TypeError)]
)
def test_dropout_step(step: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^dropout_step must be "):
        network(dropout=0.5).explain("w[1][0,0]", X, Y, dropout_step=step)


# --- data ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([[1.0, 2.0, 3.0]], [[1.0]], r"^X has 3 columns, the network expects 2$"),
        ([1.0, 2.0, 3.0], [1.0], r"^X is 1-D with 3 numbers; one sample of this network has 2$"),
        ([[[1.0, 2.0]]], [[1.0]], r"^X has shape \(1, 1, 2\); expected \(samples, 2\)$"),
        (np.empty((0, 2)), np.empty((0, 1)), r"^X has zero samples$"),
        ([[1.0, np.nan]], [[1.0]], r"^X\[0, 1\] is nan; every number must be finite$"),
        ([[1.0, 2.0]], [[np.inf]], r"^y\[0, 0\] is inf; every number must be finite$"),
        (X, [[1.0]], r"^y has 1 samples, X has 2$"),
        (X, [[1.0, 2.0], [3.0, 4.0]], r"^y has shape \(2, 2\); expected \(2, 1\)"),
    ],
)
def test_data_that_does_not_fit(x: Any, y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network().explain("w[1][0,0]", x, y)


def test_data_that_is_not_numeric() -> None:
    with pytest.raises(TypeError, match=r"^X has dtype <U1; expected numbers$"):
        network().explain("w[1][0,0]", [["a", "b"]], [[1.0]])


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], r"^sample_weight has shape \(1,\); expected \(2,\)$"),
        ([1.0, -1.0], r"^sample_weight\[1\] is -1; weights are 0 or more$"),
        ([0.0, 0.0], r"^sample_weight is 0 for every sample; at least one must count$"),
    ],
)
def test_sample_weights(weights: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network().explain("w[1][0,0]", X, Y, sample_weight=weights)


def test_classes_out_of_range() -> None:
    net = cr.Network([2, 3], output="softmax", loss="cross_entropy", seed=0)
    with pytest.raises(ValueError, match=r"^y\[1\] is class 3; 3 outputs have classes 0 to 2$"):
        net.explain("w[1][0,0]", X, [0, 3])


def test_parameters_that_are_not_finite() -> None:
    net = network()
    net.layers[1].W[2, 1] = np.nan
    with pytest.raises(ValueError, match=r"^layers\[1\].W\[2, 1\] is nan; it must be finite$"):
        net.explain("w[1][0,0]", X, Y)


def test_the_function_refuses_as_the_method() -> None:
    with pytest.raises(ValueError, match=r"^focus is 2; expected the index of a sample, 0 to 1$"):
        explain(network(), "w[1][0,0]", X, Y, focus=2)


# --- notation -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "field",
    ["activation", "loss", "to_index", "from_index", "next_index", "other_index", "sample_index"],
)
@pytest.mark.parametrize("letter", ["", "ab", "1", "_", 3, None, "<", "∂"])
def test_letters(field: str, letter: Any) -> None:
    with pytest.raises(ValueError, match=rf"^Notation.{field} is .*; expected one letter$"):
        dataclasses.replace(Notation(), **{field: letter})


@pytest.mark.parametrize("letter", ["", "xy", "<", 1])
def test_input_letter(letter: Any) -> None:
    message = r"^Notation.input is .*; expected one letter or None$"
    with pytest.raises(ValueError, match=message):
        Notation(input=letter)


def test_index_letters_differ() -> None:
    message = (
        r"^The index letters of Notation are \['j', 'j', 'm', 'p', 'i'\]; "
        r"expected five different letters$"
    )
    with pytest.raises(ValueError, match=message):
        Notation(from_index="j")
    with pytest.raises(ValueError, match=r"are \['j', 'k', 'm', 'p', 'k'\]; expected"):
        Notation(sample_index="k")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("first_index", 2, r"^Notation.first_index is 2; expected 0 or 1$"),
        ("first_index", "0", r"^Notation.first_index is '0'; expected 0 or 1$"),
        ("digits", 0, r"^Notation.digits is 0; expected an integer from 1 to 17$"),
        ("digits", 18, r"^Notation.digits is 18; expected an integer from 1 to 17$"),
        ("digits", 2.5, r"^Notation.digits is 2.5; expected an integer from 1 to 17$"),
        ("digits", "6", r"^Notation.digits is '6'; expected an integer from 1 to 17$"),
        ("max_terms", 0, r"^Notation.max_terms is 0; expected an integer from 1 on$"),
        ("max_terms", 1.5, r"^Notation.max_terms is 1.5; expected an integer from 1 on$"),
        ("layer_above", "L", r"^Notation.layer_above is 'L'; expected '\(l\)' or 'l'$"),
        ("layer_names", "x", r"^Notation.layer_names is 'x'; expected 'number' or 'relative'$"),
        ("single_units", True, r"^Notation.single_units is True; expected 'show' or 'hide'$"),
        ("residual", "y-a", r"^Notation.residual is 'y-a'; expected 'a - y' or 'y - a'$"),
        ("function", "f", r"^Notation.function is 'f'; expected 'g', 'name' or 'both'$"),
        ("factors", "()", r"^Notation.factors is '\(\)'; expected '\( \)' or ''$"),
        ("results", "", r"^Notation.results is ''; expected '\( \)' or '\[ \]'$"),
        ("counts", "N", r"^Notation.counts is 'N'; expected 'number' or 'n'$"),
        ("assign", ":=", r"^Notation.assign is ':='; expected '←' or '='$"),
    ],
)
def test_choices(field: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Notation(**{field: value})
