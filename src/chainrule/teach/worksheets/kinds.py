"""Kinds of exercise: makers of one question each, for a network, samples and a generator."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from chainrule.equations.activations import Softmax
from chainrule.equations.formulas import Call, Div, Expr, Name, Neg, Num, add, mul, parse
from chainrule.equations.targets import Weight
from chainrule.explain import Equation, Explanation, Term
from chainrule.explain.symbols import (
    Factor,
    Function,
    LossSymbol,
    Partial,
    Quantity,
    fill,
    put_numbers,
    quantity,
)
from chainrule.teach.exercise import Exercise, Mistake
from chainrule.teach.exercises import Examiner
from chainrule.teach.worksheets import by_hand, formulas, proofs
from chainrule.teach.worksheets.questions import Choice, Part, Question

Maker = Callable[["Setter", np.random.Generator], "Question | None"]
_APART = 3 * by_hand.TOLERANCE  # mistakes are this far from the answer
_SMALLEST = 0.001  # answers nearer to 0 have too few digits on the way
_SIGN = "The size is right, but the sign is wrong."


class Setter:
    """One sample of a network, from which questions are made."""

    def __init__(self, examiner: Examiner, layers: list[int]) -> None:
        self.examiner, self.layers = examiner, layers
        self.network, self.eta = examiner.network, examiner.eta
        self.L = len(self.network.sizes) - 1
        self.x, self.y = examiner.X[examiner.sample], examiner.y[examiner.sample]
        self.passed = self.network.forward(self.x[None, :])

    def explain(self, target: str | Weight) -> Explanation:
        """Explain the derivative of this sample's loss."""
        return self.examiner.explain_sample(target)

    def value(self, q: Quantity) -> float:
        """Return the value of a quantity of this sample."""
        if q.letter == "y":
            return float(self.y[int(q.units[0])])
        layer = self.network.layers[int(q.layer or 0)]
        if q.letter == "w":
            return float(layer.W[int(q.units[0]), int(q.units[1])])
        if q.letter == "b":
            return 0.0 if layer.b is None else float(layer.b[int(q.units[0])])
        rows = self.passed.z if q.letter == "z" else self.passed.a
        return float(rows[int(q.layer or 0)][0, int(q.units[0])])

    def is_number(self, q: Quantity) -> Equation:
        """Return the equation that gives the value of a quantity."""
        return Equation((q, Num(self.value(q))))

    # --- the forward pass as equations ----------------------------------------------------------

    def sum_of(self, l: int, j: int) -> Equation:
        """Return z_j = Σ w a + b, in symbols, in numbers and its value."""
        z = quantity("z", l, j)
        items: list[Expr] = [
            mul(quantity("w", l, j, k), quantity("a", l - 1, k))
            for k in range(self.network.sizes[l - 1])
        ]
        if self.network.biases:
            items.append(quantity("b", l, j))
        return self.computed(z, add(*items))

    def computed(self, symbol: Expr, formula: Expr, value: float | None = None) -> Equation:
        """Return a quantity as its formula, as numbers and as its value."""
        if value is None:
            assert isinstance(symbol, Quantity)
            value = self.value(symbol)
        return Equation((symbol, formula, put_numbers(formula, self.value), Num(value)))

    def activation_of(self, l: int, j: int) -> Equation:
        """Return a_j = g(z_j), in symbols, in numbers and its value."""
        a, z = quantity("a", l, j), quantity("z", l, j)
        g = self.network.layers[l].activation
        if isinstance(g, Softmax):
            powers = [Call("exp", (quantity("z", l, m),)) for m in range(self.network.sizes[l])]
            return self.computed(a, Div(powers[j], add(*powers)))
        return self.computed(a, fill(parse(g.formula)[0], {"z": z}))

    def loss_of(self) -> Equation:
        """Return C_i, in symbols, in numbers and its value."""
        formula = parse(self.network.loss.formula)[-1]
        units = range(self.network.sizes[-1])
        if self.network.loss.name == "cross_entropy":
            units = range(int(np.argmax(self.y)), int(np.argmax(self.y)) + 1)
        items = [
            fill(formula, {"a": quantity("a", self.L, j), "y": quantity("y", None, j)})
            for j in units
        ]
        value = float(self.network.gradient(self.x[None, :], self.y[None, :]).sample_losses[0])
        return self.computed(LossSymbol(0), add(*items), value)

    def forward_parts(self) -> list[Part]:
        """Return the whole forward pass, layer by layer."""
        parts = []
        for l in range(1, self.L + 1):
            units = range(self.network.sizes[l])
            lines = [line for j in units for line in (self.sum_of(l, j), self.activation_of(l, j))]
            parts.append(Part(f"Forward, layer {l}", tuple(lines)))
        return parts


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
        Mistake("sign", -value, "A loss of this kind is not negative. Check the sign."),
    ]
    residual = float(np.sum(s.passed.a[-1][0] - s.y))
    mistakes.append(Mistake("residual", residual, "That is a − y. The loss is a function of it."))
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
        why, view = exercise.why, exercise.view
        return Question(
            kind, view["words"], exercise.symbol, exercise.given, "number", view["hint"],
            _derivation(why), proofs.derivative(why), view["target"], value=exercise.value,
            mistakes=exercise.mistakes, n_samples=why.n_samples,
        )  # fmt: skip

    return make


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
        return by_hand.follow(_numbers(term))
    return by_hand.follow(_product(why))


def _product(why: Explanation) -> Expr:
    return mul(*(Factor(_numbers(term)) for term in why.terms))


def _numbers(term: Term) -> Expr:
    """Return a term in numbers; where its notation keeps g′(z) abstract, its value alone."""
    found = term.numbers.sides[1]
    return Num(term.value) if _has_function(found) else found


def _has_function(expr: Expr) -> bool:
    return isinstance(expr, Function) or any(map(_has_function, expr.children()))


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
    gradient = by_hand.follow(_product(why))
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
        Mistake("rate", old - why.value, "The factor η is missing in the step."),
        Mistake("step", why.value, "That is the derivative. The question is about the weight "
                                   "after the step."),
        Mistake("step", -step, "That is the step. The question is about the weight after it."),
    ]  # fmt: skip
    rule = add(why.symbol, Neg(mul(Name("eta"), Partial(LossSymbol(), why.symbol))))
    line = Equation((rule, Num(old - step)))
    return _number(
        "step", "Do a whole step of gradient descent for this sample: forward pass, derivative, "
        "update. What is the weight after it?", line, given, mistakes, str(w),
        proofs.derivative(why), "Compute z and a of each layer, then the chain rule from the loss "
        "back to the weight, then w − η ∂C/∂w.", (*parts, *_derivation(why)), checked=True,
    )  # fmt: skip


def _chain(s: Setter, rng: np.random.Generator) -> Question | None:
    w = s.examiner.draw(rng, s.layers)
    why = s.explain(w)
    arriving = _to_a(s, w.layer, w.j)
    if arriving is None:
        return None
    a_k, z = quantity("a", w.layer - 1, w.k), quantity("z", w.layer, w.j)
    slope = Function(w.layer, z, prime=True)
    right = mul(arriving, slope, a_k)
    no_slope = "The factor g′(z) is missing: the derivative must pass through the activation."
    no_input = "The activation at the start of the weight is missing as a factor."
    wrong = [
        ("slope", mul(arriving, a_k), no_slope),
        ("input", mul(arriving, slope), no_input),
        ("sign", Neg(right), _SIGN),
        ("factor", mul(Num(2), right), "That is twice the right product."),
        ("factor", Div(right, Num(2)), "That is half the right product."),
        (
            "value",
            mul(arriving, Function(w.layer, z), a_k),
            "g stands where its slope g′ belongs.",
        ),
    ]
    symbol = Partial(LossSymbol(0), why.symbol)
    line = Equation((symbol, right))
    key = formulas.key(s.examiner, right, wrong)
    if key is None:
        return None
    return Question(
        "chain", "Write down the chain rule for this weight as one product of factors, in symbols. "
        f"The loss is {s.network.loss.name}; write g'(z) for the slope of an activation.",
        symbol, (), "formula", "Follow the path from the loss back to the weight: each unit gives "
        "a slope g′(z), each connection its weight, and the last factor is the activation at the "
        "start.", (Part("The product", (line,)), *_derivation(why)), proofs.derivative(why), str(w),
        key=key,
    )  # fmt: skip


def _to_a(s: Setter, l: int, j: int) -> Expr | None:
    """Return ∂C/∂a_j^(l) as a product of symbols down to the loss, or None if it is reduced."""
    if l == s.L:
        g, loss = s.network.layers[l].activation, s.network.loss
        if isinstance(g, Softmax) or loss.name in ("binary_cross_entropy", "poisson"):
            return None
        letters: dict[str, Expr] = {"a": quantity("a", l, j), "y": quantity("y", None, j)}
        return fill(parse(loss.derivative_formula)[-1], letters)
    paths = []
    for m in range(s.network.sizes[l + 1]):
        arriving = _to_a(s, l + 1, m)
        if arriving is None:
            return None
        slope = Function(l + 1, quantity("z", l + 1, m), prime=True)
        paths.append(mul(arriving, slope, quantity("w", l + 1, m, j)))
    return add(*paths) if math.prod(s.network.sizes[l + 1 :]) <= 4 else None


# --- questions with choices -----------------------------------------------------------------------


def _mistake(s: Setter, rng: np.random.Generator) -> Question | None:
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
    if math.isclose(shown[at], wrong, rel_tol=_APART, abs_tol=_SMALLEST):
        return None
    if at < 3:
        shown[at] = wrong
        shown[3] = math.prod(shown[:3])
    else:
        shown[3] = wrong
    if min(map(abs, shown)) < _SMALLEST:
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
        "then compare.", _derivation(why), proofs.derivative(why), str(w), correct=at,
        choices=choices,
    )  # fmt: skip


def _moves(s: Setter, rng: np.random.Generator) -> Question | None:
    weights = _some(s, rng, 4)
    if len(weights) < 2:
        return None
    found = [s.explain(w) for w in weights]
    sizes = [abs(why.value) for why in found]
    order = np.argsort(sizes)
    best = int(order[-1])
    if sizes[best] < _SMALLEST or sizes[best] < 1.1 * sizes[int(order[-2])]:
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


def _vanishes(s: Setter, rng: np.random.Generator) -> Question | None:
    """Ask which factor makes a derivative small."""
    w = s.examiner.draw(rng, s.layers)
    why = s.explain(w)
    if len(why.terms) < 2:
        return None
    sizes = [abs(term.value) for term in why.terms]
    order = np.argsort(sizes)
    least = int(order[0])
    if sizes[least] > 0.5 * sizes[int(order[1])]:
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
    product = Partial(LossSymbol(0), why.symbol)
    lines.append(Equation((product, _product(why), Num(why.value))))
    return Question(
        "vanishes", "Which factor makes this derivative small? The activation is "
        f"{s.network.layers[w.layer].activation.name}, the loss {s.network.loss.name}.",
        product, tuple(given), "choice", "Compute each factor of the chain rule, and compare their "
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
    if abs(value) < _SMALLEST:
        return None
    if not checked and not by_hand.leads_to(by_hand.follow(line.sides[-2]), value):
        return None
    if any(math.isclose(m.value, value, rel_tol=_APART) for m in mistakes):
        return None
    return Question(
        kind, words, line.sides[0], tuple(given), "number", hint, derivation, proof, target,
        value=value, mistakes=tuple(mistakes),
    )  # fmt: skip


def _derivation(why: Explanation) -> tuple[Part, ...]:
    return tuple(
        Part(section.title, tuple(replace(e, tag="") for e in section.equations))
        for section in why.sections()
    )


KINDS: dict[str, Maker] = {
    "z": _z, "a": _a, "loss": _loss, "term": _practice("term"), "gradient": _practice("gradient"),
    "update": _practice("update"), "step": _step, "chain": _chain, "mistake": _mistake,
    "moves": _moves, "vanishes": _vanishes,
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
