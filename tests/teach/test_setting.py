"""What exercises may not be: answered by a mistake, impossible, unfair to a hand, or misleading."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.equations.formulas import Num
from chainrule.explain import notation
from chainrule.explain.symbols import Partial, Quantity
from chainrule.teach.exercises import Examiner
from chainrule.teach.worksheets.kinds import KINDS, LEVELS


def last(equation):
    """The number that an equation ends with."""
    number = equation.sides[-1]
    assert isinstance(number, Num)
    return number.value


def network(**changes):
    return cr.Network(
        **({"sizes": [2, 2, 1], "hidden": "tanh", "output": "tanh", "seed": 0} | changes)
    )


@pytest.mark.parametrize("level", list(LEVELS))
def test_no_common_mistake_leads_to_the_right_answer(level):
    for seed in range(12):
        sheet = cr.worksheet(network(), exercises=7, seed=seed, level=level, draw_weights=True)
        for q in sheet.variants[0].questions:
            for mistake in q.mistakes:
                close = math.isclose(mistake.value, q.value, rel_tol=0.0101)
                assert not close, (seed, q.kind, q.target, mistake)


@pytest.mark.parametrize("kind", ["update", "step"])
def test_a_learning_rate_of_1_can_be_asked_about(kind):
    sheet = cr.worksheet(
        network(), exercises=3, seed=1, kinds=[kind], learning_rate=1.0, draw_weights=True
    )
    for q in sheet.variants[0].questions:
        assert "rate" not in {mistake.fault for mistake in q.mistakes}  # nothing is left out


def test_a_derivative_that_is_called_small_is_small():
    for seed in range(25):
        sheet = cr.worksheet(
            network(), exercises=3, seed=seed, kinds=["vanishes"], draw_weights=True
        )
        for q in sheet.variants[0].questions:
            *factors, whole = (abs(last(e)) for e in q.derivation[0].equations)
            assert math.prod(factors) == pytest.approx(whole, abs=1e-12)
            assert q.correct == int(np.argmin(factors))
            assert factors[q.correct] <= 0.5
            assert whole <= 0.5


def test_a_loss_below_0_is_not_called_impossible():
    net = cr.Network([1, 1], output="softplus", loss="poisson", W=[[[1.0]]], b=[[0.0]])
    sheet = cr.worksheet(net, [[3.0]], [5.0], exercises=1, kinds=["loss"])
    (q,) = sheet.variants[0].questions
    a = math.log(1 + math.exp(3))
    assert q.value == pytest.approx(a - 5 * math.log(a), rel=1e-12)
    assert q.value < 0
    assert {m.fault: m.words for m in q.mistakes}["sign"].startswith("The size is right")
    assert "residual" not in {m.fault for m in q.mistakes}  # this loss is not a function of a - y


def test_the_loss_of_soft_targets_adds_all_of_them():
    net = network(sizes=[2, 2, 3], output="softmax", loss="cross_entropy")
    y = [[0.2, 0.3, 0.5]]
    sheet = cr.worksheet(net, [[1.0, -0.5]], y, exercises=1, kinds=["loss"])
    (q,) = sheet.variants[0].questions
    own = sheet.variants[0].network
    W, b = [layer.W for layer in own.layers[1:]], [layer.b for layer in own.layers[1:]]
    z = W[1] @ np.tanh(W[0] @ [1.0, -0.5] + b[0]) + b[1]
    assert q.value == pytest.approx(-float(y[0] @ (z - np.log(np.exp(z).sum()))), rel=1e-12)


def test_targets_that_2_decimals_do_not_hold_are_refused():
    net = network(sizes=[2, 2, 3], output="softmax", loss="cross_entropy")
    with pytest.raises(ValueError, match=r"row 1 of y.* add up to 0\.99.*to 1"):
        cr.worksheet(
            net, [[1.0, -0.5]] * 2, [[0, 1, 0], [1 / 3, 1 / 3, 1 / 3]], exercises=1, kinds=["z"]
        )


def test_no_unit_is_near_a_kink_in_any_exercise():
    net = network(sizes=[2, 3, 1], hidden="relu", output="identity", loss="huber")
    sheet = cr.worksheet(net, exercises=7, variants=6, seed=3, draw_weights=True)
    for variant in sheet.variants:
        numbers = [q for q in variant.questions if q.form == "number"]
        for q in numbers:
            for given in q.given:
                symbol = given.sides[0]
                if isinstance(symbol, Quantity) and (symbol.letter, symbol.layer) == ("z", 1):
                    assert abs(last(given)) >= 0.02


@pytest.mark.parametrize("kind", list(KINDS))
def test_ties_are_not_asked_about(kind):
    net = cr.Network(
        [2, 2, 1], hidden="identity", output="identity", loss="half_squared_error",
        W=[[[1.0, 1.0], [1.0, 1.0]], [[1.0, 1.0]]], b=[[0.0, 0.0], [0.0]],
    )  # fmt: skip
    if kind in ("moves", "vanishes", "a"):
        with pytest.raises(ValueError, match=f"no exercise about {kind} can be set"):
            cr.worksheet(net, [[1.0, 1.0]], [3.0], exercises=1, kinds=[kind], level="easy")
    else:
        cr.worksheet(net, [[1.0, 2.0]], [3.0], exercises=1, kinds=[kind])


@pytest.mark.parametrize(
    ("changes", "y"), [({"hidden": "leaky_relu"}, 0.5), ({"loss": "absolute_error"}, 0.0)]
)
def test_practice_asks_about_no_kink(changes, y):
    settings = {"hidden": "tanh", "output": "identity", "seed": 0} | changes
    net = cr.Network([2, 2, 1], **settings)  # biases of 0: at (0, 0) every z is 0
    X, targets = np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([[y], [1.0]])
    examiner = Examiner(net, X, targets, 0, notation.get("default"), 0.1)
    rng = np.random.default_rng(0)
    found = []
    for about in ("term", "gradient", "update"):
        for _ in range(15):
            with suppress(ValueError):
                exercise = examiner.ask(about, rng)
                found.append((str(exercise.why.target), exercise.why.n_samples))
    through_hidden = {(t, n) for t, n in found if t.startswith("w[1]")}
    if "hidden" in changes:
        assert found  # those behind the kink can be asked
        assert not through_hidden
    else:
        assert not found


def hand(number):
    """A number as a hand has it after each step: 4 significant digits."""
    return float(f"{number:.4g}")


def by_hand(q):
    """The derivative of a weight from what the sheet gives, as a student with a calculator.

    For tanh in all layers and half the squared error, so that g' = 1 - a².
    """
    delta: dict[Any, float] = {}
    known: dict[str, dict[Any, float]] = {"a": {}, "w": {}, "y": {}, "z": {}}
    for equation in q.given:
        symbol, value = equation.sides[0], hand(last(equation))
        if isinstance(symbol, Partial):
            assert isinstance(symbol.by, Quantity)
            delta[symbol.by.layer, symbol.by.units] = value
        else:
            known[symbol.letter][symbol.layer, symbol.units] = value
    a, w, y = known["a"], known["w"], known["y"]
    layer, units = re.fullmatch(r"w\[(\d)\]\[(.*)\]", q.target).groups()
    layer, (j, k) = int(layer), [int(unit) for unit in units.split(",")]
    slope = hand(1 - hand(a[layer, (j,)] ** 2))
    if y:
        arriving = hand(a[layer, (j,)] - y[None, (j,)])
    else:
        parts = [hand(d * w[layer + 1, (*unit, j)]) for (_, unit), d in delta.items()]
        arriving = hand(sum(parts))
    return hand(hand(arriving * slope) * a[layer - 1, (k,)])


def test_a_student_who_rounds_at_every_step_arrives_within_half_a_percent():
    compared = 0
    for seed in range(40):
        sheet = cr.worksheet(
            network(), exercises=4, seed=seed, kinds=["gradient"], draw_weights=True
        )
        for q in sheet.variants[0].questions:
            if q.n_samples == 1:
                assert by_hand(q) == pytest.approx(q.value, rel=0.005), (seed, q.target)
                compared += 1
    assert compared > 50
