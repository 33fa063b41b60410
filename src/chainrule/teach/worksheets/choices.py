"""Kinds of exercise that are answered by a choice: the mistake, what moves, what vanishes."""

from __future__ import annotations

import math

import numpy as np

from chainrule.equations.formulas import Num, mul
from chainrule.equations.targets import Weight
from chainrule.explain import Equation
from chainrule.explain.symbols import (
    Factor,
    LossSymbol,
    Partial,
    quantity,
)
from chainrule.teach.worksheets import proofs
from chainrule.teach.worksheets.questions import Choice, Part, Question
from chainrule.teach.worksheets.setter import APART, SMALLEST, Setter, derivation, product

_SMALL = 0.5  # no larger is a factor, or a derivative, that is called small


def mistake(s: Setter, rng: np.random.Generator) -> Question | None:
    """Return a derivation with a usual mistake planted in one of its lines."""
    w = s.examiner.draw(rng, s.layers)
    why = s.explain(w)
    if len(why.terms) != 3:
        return None
    values = [term.value for term in why.terms]
    passed = why.gradient.forward
    planted: list[tuple[int, float, str]] = [
        (0, -values[0], "the sign is wrong"),
        (1, float(passed.a[w.layer][0, w.j]), "a = g(z) stands where its slope g′(z) belongs"),
        (2, why.target_value, "the weight stands where the activation at its start belongs"),
        (3, math.prod(values[:2]), "the last factor is missing in the product"),
        (3, sum(values), "the factors are added; the chain rule multiplies them"),
    ]
    at, wrong, words = planted[int(rng.integers(len(planted)))]
    shown = [*values, math.prod(values)]
    if math.isclose(shown[at], wrong, rel_tol=APART, abs_tol=SMALLEST):
        return None
    if at < 3:
        shown[at] = wrong
        shown[3] = math.prod(shown[:3])
    else:
        shown[3] = wrong
    if min(map(abs, shown)) < SMALLEST:
        return None
    symbols = [*(term.symbol for term in why.terms), Partial(LossSymbol(0), why.symbol)]
    factors = mul(*(Factor(Num(v)) for v in shown[:3]))
    lines = [Equation((symbol, Num(v))) for symbol, v in zip(symbols[:3], shown, strict=False)]
    lines.append(Equation((symbols[3], factors, Num(shown[3]))))
    verdicts = [
        f"Right: {words}."
        if i == at
        else "This line is right, or follows from the lines before it."
        for i in range(4)
    ]
    choices = tuple(Choice(line, text) for line, text in zip(lines, verdicts, strict=True))
    given = [s.is_number(quantity("z", w.layer, w.j)), s.is_number(quantity("a", w.layer, w.j))]
    if w.layer == s.L:
        given.append(s.is_number(quantity("y", None, w.j)))
    else:
        given.append(Equation((why.terms[0].symbol, Num(values[0]))))
        if at == 0:
            return None  # what is given can't be found wrong
    given += [s.is_number(quantity("a", w.layer - 1, w.k)), s.is_number(why.symbol)]
    return Question(
        "mistake", "One of these lines is wrong; the lines after it follow from it. Which one? "
        f"The activation is {s.network.layers[w.layer].activation.name}, the loss "
        f"{s.network.loss.name}.", None, tuple(given), "choice", "Compute each factor on its own, "
        "then compare.", derivation(why), proofs.derivative(why), str(w), correct=at,
        choices=choices,
    )  # fmt: skip


def moves(s: Setter, rng: np.random.Generator) -> Question | None:
    """Ask which of some weights moves most in one step."""
    weights = _some(s, rng, 4)
    if len(weights) < 2:
        return None
    found = [s.explain(w) for w in weights]
    sizes = [abs(why.value) for why in found]
    order = np.argsort(sizes)
    best = int(order[-1])
    if sizes[best] < SMALLEST or sizes[best] < 1.1 * sizes[int(order[-2])]:
        return None
    largest = int(np.argmax([abs(why.target_value) for why in found]))
    highest = int(np.argmax([why.value for why in found]))
    words = []
    for i in range(len(found)):
        reason = "Its derivative is smaller in size than that of another weight."
        if i == largest:
            reason = "It is the largest weight. How far a weight moves depends on its derivative."
        elif i == highest:
            reason = "Its derivative is the largest number, but not the largest in size."
        words.append("Right: its derivative is the largest in size." if i == best else reason)
    lines = [Equation((Partial(LossSymbol(0), why.symbol), Num(why.value))) for why in found]
    given = [s.is_number(why.symbol) for why in found]
    for w in weights:
        if (line := s.is_number(quantity("a", w.layer - 1, w.k))) not in given:
            given.append(line)
        delta = Partial(LossSymbol(0), quantity("z", w.layer, w.j))
        number = Num(float(found[0].gradient.delta[w.layer][0, w.j]))
        if (line := Equation((delta, number))) not in given:
            given.append(line)
    choices = tuple(
        Choice(Equation((why.symbol,)), text) for why, text in zip(found, words, strict=True)
    )
    proof = " ".join(proofs.derivative(why) for why in found)
    return Question(
        "moves", "Which of these weights moves most in one step of gradient descent?", None,
        tuple(given), "choice", "A weight moves by η times its derivative, which is ∂C/∂z of its "
        "unit times the activation at its start.", (Part("The derivatives", tuple(lines)),), proof,
        str(weights[best]), correct=best, choices=choices,
    )  # fmt: skip


def vanishes(s: Setter, rng: np.random.Generator) -> Question | None:
    """Ask which factor makes a derivative small."""
    w = s.examiner.draw(rng, s.layers)
    why = s.explain(w)
    if len(why.terms) < 2:
        return None
    sizes = [abs(term.value) for term in why.terms]
    order = np.argsort(sizes)
    least = int(order[0])
    if sizes[least] > 0.5 * sizes[int(order[1])] or max(sizes[least], abs(why.value)) > _SMALL:
        return None
    lines = [term.numbers for term in why.terms]
    choices = []
    for i, term in enumerate(why.terms):
        small = (
            "Right: it is the smallest factor in size, and a product is as small as it makes it."
        )
        text = small if i == least else "Another factor is smaller in size."
        choices.append(Choice(Equation((term.symbol,)), text))
    given = [s.is_number(quantity("z", w.layer, w.j)), s.is_number(quantity("a", w.layer, w.j))]
    given.append(s.is_number(quantity("a", w.layer - 1, w.k)))
    if w.layer == s.L:
        given.append(s.is_number(quantity("y", None, w.j)))
    else:
        given.append(Equation((why.terms[0].symbol, Num(why.terms[0].value))))
    symbol = Partial(LossSymbol(0), why.symbol)
    lines.append(Equation((symbol, product(why), Num(why.value))))
    return Question(
        "vanishes", "Which factor makes this derivative small? The activation is "
        f"{s.network.layers[w.layer].activation.name}, the loss {s.network.loss.name}.",
        symbol, tuple(given), "choice", "Compute each factor of the chain rule, and compare their "
        "sizes.", (Part("The factors", tuple(lines)),), proofs.derivative(why), str(w),
        correct=least, choices=tuple(choices),
    )  # fmt: skip


def _some(s: Setter, rng: np.random.Generator, most: int) -> list[Weight]:
    drawn: list[Weight] = []
    for _ in range(8 * most):
        w = s.examiner.draw(rng, s.layers)
        if w not in drawn:
            drawn.append(w)
        if len(drawn) == most:
            break
    return drawn
