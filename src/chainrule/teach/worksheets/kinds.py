"""Kinds of exercise: makers of one question each, for a network, samples and a generator."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from chainrule.equations.activations import Softmax
from chainrule.equations.formulas import Div, Name, Neg, Num, add, mul
from chainrule.equations.losses import BinaryCrossEntropy, CrossEntropy, Poisson
from chainrule.explain import Equation
from chainrule.explain.symbols import (
    LossSymbol,
    Partial,
    quantity,
)
from chainrule.teach import chains, formulas
from chainrule.teach.exercise import Exercise, Mistake
from chainrule.teach.worksheets import by_hand, choices, proofs
from chainrule.teach.worksheets.questions import Part, Question
from chainrule.teach.worksheets.setter import APART, SMALLEST, Setter, derivation, numbers, product

Maker = Callable[[Setter, np.random.Generator], Question | None]
_SIGN = "The size is right, but the sign is wrong."


# --- the forward pass -----------------------------------------------------------------------------


def _z(s: Setter, rng: np.random.Generator) -> Question | None:
    w = s.examiner.draw(rng)
    l, j, units = w.layer, w.j, range(s.network.sizes[w.layer - 1])
    line = s.sum_of(l, j)
    value = s.value(quantity("z", l, j))
    given = [s.is_number(quantity("a", l - 1, k)) for k in units]
    given += [s.is_number(quantity("w", l, j, k)) for k in units]
    mistakes = [Mistake("sign", -value, _SIGN)]
    if s.network.biases:
        bias = quantity("b", l, j)
        given.append(s.is_number(bias))
        if s.value(bias):
            words = "The bias is missing. Add it to the sum."
            mistakes.append(Mistake("bias", value - s.value(bias), words))
    after = s.value(quantity("a", l, j))
    if s.network.layers[l].activation.name not in ("identity", "relu", "leaky_relu", "elu"):
        words = "That is a = g(z). The question is about z, before g."
        mistakes.append(Mistake("value", after, words))
    proof = proofs.forward(s.network, s.x, s.y, f"z[{l}][{j}]", value)
    return _number(
        "z", "What is this pre-activation?", line, given, mistakes, str(w), proof,
        "Multiply each input of the unit by its weight, add the products, then add the bias.",
        (Part("The pre-activation", (line,)),),
    )  # fmt: skip


def _a(s: Setter, rng: np.random.Generator) -> Question | None:
    w = s.examiner.draw(rng)
    l, j = w.layer, w.j
    g = s.network.layers[l].activation
    if g.name == "identity":
        return None
    line, value = s.activation_of(l, j), s.value(quantity("a", l, j))
    units = range(s.network.sizes[l]) if isinstance(g, Softmax) else [j]
    given = [s.is_number(quantity("z", l, m)) for m in units]
    z = s.value(quantity("z", l, j))
    mistakes = [Mistake("sign", -value, _SIGN)]
    if not (g.kinks or g.name == "elu"):  # these are z itself on one side
        words = "That is z itself. Put it through the activation function."
        mistakes.append(Mistake("input", z, words))
    if not isinstance(g, Softmax):
        slope = float(g.derivative(s.passed.z[l], s.passed.a[l])[0, j])
        words = "That is the slope g′(z). The question is about a = g(z)."
        mistakes.append(Mistake("slope", slope, words))
    proof = proofs.forward(s.network, s.x, s.y, f"a[{l}][{j}]", value)
    return _number(
        "a", f"What is this activation? The activation function is {g.name}.", line, given,
        mistakes, str(w), proof,
        "Put z into the activation function.", (Part("The activation", (line,)),),
    )  # fmt: skip


def _loss(s: Setter, rng: np.random.Generator) -> Question | None:
    line, units = s.loss_of(), range(s.network.sizes[-1])
    last = line.sides[-1]
    assert isinstance(last, Num)
    value = float(last.value)
    given = [s.is_number(quantity("a", s.L, j)) for j in units]
    given += [s.is_number(quantity("y", None, j)) for j in units]
    mistakes = [
        Mistake("factor", 2 * value, "That is twice the loss. Check the factor in front."),
        Mistake("factor", value / 2, "That is half the loss. Check the factor in front."),
    ]
    if isinstance(s.network.loss, Poisson):
        mistakes.append(Mistake("sign", -value, _SIGN))
    else:
        words = "A loss of this kind is not negative. Check the sign."
        mistakes.append(Mistake("sign", -value, words))
    if not isinstance(s.network.loss, (Poisson, CrossEntropy, BinaryCrossEntropy)):
        residual = float(np.sum(s.passed.a[-1][0] - s.y))
        words = "That is a − y. The loss is a function of it."
        mistakes.append(Mistake("residual", residual, words))
    proof = proofs.forward(s.network, s.x, s.y, "C", value)
    return _number(
        "loss", f"What is the loss ({s.network.loss.name}) of this sample?", line, given, mistakes,
        str(s.examiner.draw(rng)), proof, "Put the outputs and targets into the formula of the "
        "loss, and add over the outputs.", (Part("The loss", (line,)),),
    )  # fmt: skip


# --- the backward pass ----------------------------------------------------------------------------


def _practice(kind: str) -> Maker:
    """Return a maker of the exercises that the explorer's practice sets as well."""

    def make(s: Setter, rng: np.random.Generator) -> Question | None:
        exercise = s.examiner.ask(kind, rng, s.layers)
        if not by_hand.leads_to(_path(kind, exercise), exercise.value):
            return None
        mistakes = _told_apart(exercise)
        if mistakes is None:
            return None
        why, view = exercise.why, exercise.view
        return Question(
            kind, view["words"], exercise.symbol, exercise.given, "number", view["hint"],
            derivation(why), proofs.derivative(why), view["target"], value=exercise.value,
            mistakes=mistakes, n_samples=why.n_samples,
        )  # fmt: skip

    return make


def _told_apart(exercise: Exercise) -> tuple[Mistake, ...] | None:
    """Return the mistakes that lead elsewhere; None if one leads to the answer.

    The weights after a small step are close to those before it: that mistake is then left out.
    """
    close = [m for m in exercise.mistakes if _is_close(m, exercise.value)]
    if any(mistake.fault != "after" for mistake in close):
        return None
    return tuple(mistake for mistake in exercise.mistakes if mistake not in close)


def _is_close(mistake: Mistake, value: float) -> bool:
    return math.isclose(mistake.value, value, rel_tol=APART)


def _path(kind: str, exercise: Exercise) -> float:
    """Return where a hand that rounds arrives from the numbers that are given."""
    why = exercise.why
    if why.n_samples > 1:
        products = [Num(float(p)) for p in why.products]
        return by_hand.follow(Div(add(*products), Num(len(products))))
    if kind == "update":
        step = mul(Num(why.learning_rate or 0.0), Num(why.value))
        return by_hand.follow(add(Num(why.target_value), Neg(step)))
    if kind == "term":
        term = next(t for t in why.terms if t.symbol == exercise.symbol)
        return by_hand.follow(numbers(term))
    return by_hand.follow(product(why))


def _step(s: Setter, rng: np.random.Generator) -> Question | None:
    w = s.examiner.draw(rng, s.layers)
    why = s.explain(w)
    step = s.eta * why.value
    old = why.target_value
    if abs(step) < 4 * by_hand.TOLERANCE * abs(old):
        return None  # an answer within the tolerance would not need the step
    parts = s.forward_parts()
    for line in (line for part in parts for line in part.equations):
        path = by_hand.follow(line.sides[-2])
        last = line.sides[-1]
        assert isinstance(last, Num)
        if not math.isclose(path, last.value, rel_tol=by_hand.TOLERANCE / 2, abs_tol=5e-4):
            return None
    gradient = by_hand.follow(product(why))
    path = by_hand.follow(add(Num(old), Neg(mul(Num(s.eta), Num(gradient)))))
    if not by_hand.leads_to(path, old - step):
        return None
    given = [s.is_number(quantity("a", 0, k)) for k in range(s.network.sizes[0])]
    for l in range(1, s.L + 1):
        for j in range(s.network.sizes[l]):
            fan_in = range(s.network.sizes[l - 1])
            given += [s.is_number(quantity("w", l, j, k)) for k in fan_in]
            if s.network.biases:
                given.append(s.is_number(quantity("b", l, j)))
    given += [s.is_number(quantity("y", None, j)) for j in range(s.network.sizes[-1])]
    given.append(Equation((Name("eta"), Num(s.eta))))
    mistakes = [
        Mistake("sign", old + step, "That climbs the gradient. Subtract: w − η ∂C/∂w."),
        Mistake("step", why.value, "That is the derivative. The question is about the weight "
                                   "after the step."),
        Mistake("step", -step, "That is the step. The question is about the weight after it."),
    ]  # fmt: skip
    if s.eta != 1:
        rate = "The factor η is missing in the step."
        mistakes.append(Mistake("rate", old - why.value, rate))
    rule = add(why.symbol, Neg(mul(Name("eta"), Partial(LossSymbol(), why.symbol))))
    line = Equation((rule, Num(old - step)))
    return _number(
        "step", "Do a whole step of gradient descent for this sample: forward pass, derivative, "
        "update. What is the weight after it?", line, given, mistakes, str(w),
        proofs.derivative(why), "Compute z and a of each layer, then the chain rule from the loss "
        "back to the weight, then w − η ∂C/∂w.", (*parts, *derivation(why)), checked=True,
    )  # fmt: skip


def _chain(s: Setter, rng: np.random.Generator) -> Question | None:
    w = s.examiner.draw(rng, s.layers)
    why = s.explain(w)
    found = chains.product(s.network, w)
    if found is None:
        return None
    right, wrong = found
    symbol = Partial(LossSymbol(0), why.symbol)
    line = Equation((symbol, right))
    key = formulas.key(s.network, s.examiner.notation, right, wrong)
    if key is None:
        return None
    return Question(
        "chain", chains.ASKED.format(loss=s.network.loss.name), symbol, (), "formula", chains.HINT,
        (Part("The product", (line,)), *derivation(why)), proofs.derivative(why), str(w),
        key=key,
    )  # fmt: skip


# --- parts ----------------------------------------------------------------------------------------


def _number(
    kind: str,
    words: str,
    line: Equation,
    given: list[Equation],
    mistakes: list[Mistake],
    target: str,
    proof: str,
    hint: str,
    derivation: tuple[Part, ...],
    checked: bool = False,
) -> Question | None:
    """Return a question about a number, or None where a hand or a mistake would go astray."""
    last = line.sides[-1]
    assert isinstance(last, Num)
    value = float(last.value)
    if abs(value) < SMALLEST:
        return None
    if not checked and not by_hand.leads_to(by_hand.follow(line.sides[-2]), value):
        return None
    if any(_is_close(mistake, value) for mistake in mistakes):
        return None
    return Question(
        kind, words, line.sides[0], tuple(given), "number", hint, derivation, proof, target,
        value=value, mistakes=tuple(mistakes),
    )  # fmt: skip


KINDS: dict[str, Maker] = {
    "z": _z, "a": _a, "loss": _loss, "term": _practice("term"), "gradient": _practice("gradient"),
    "update": _practice("update"), "step": _step, "chain": _chain, "mistake": choices.mistake,
    "moves": choices.moves, "vanishes": choices.vanishes,
}  # fmt: skip
LEVELS: dict[str, tuple[str, ...]] = {
    "easy": ("z", "a", "loss", "term", "update"),
    "middle": ("term", "gradient", "update", "chain", "mistake", "moves", "vanishes"),
    "hard": ("gradient", "chain", "step", "mistake", "vanishes"),
}


def layers(level: str, last: int) -> Iterator[int]:
    """Return the layers whose weights a level asks about: the last, any, or the hidden ones."""
    if level == "easy" or last == 1:
        return iter([last])
    return iter(range(1, last + 1) if level == "middle" else range(1, last))
