"""The whole worked example: samples through a network, every gradient, every update.

The numbers are those of `backprop`; the formulas are the terms of explanations. With several
samples, the unit by unit numbers are those of the sample in focus, and the gradients their mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from chainrule.equations.backprop import Gradient
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.formulas import Div, Expr, Name, Num, add, mul, parse
from chainrule.equations.targets import Bias, Target, Weight
from chainrule.explain import document
from chainrule.explain.counts import the_others
from chainrule.explain.derivative import Derivative
from chainrule.explain.document import Passage, Section, as_matrices
from chainrule.explain.notation import Notation
from chainrule.explain.pieces import Array, Pieces
from chainrule.explain.symbols import (
    Factor,
    Function,
    LossSymbol,
    Partial,
    Quantity,
    Sum,
    Word,
    fill,
    put_numbers,
    quantity,
)
from chainrule.explain.terms import Equation, Term

if TYPE_CHECKING:
    from chainrule.explain.sheet import Sheet


@dataclass(frozen=True, eq=False)
class Step:
    """One step: the network before it, its gradient, and the loss after it."""

    network: FeedForward
    gradient: Gradient
    loss_after: float


class Worked:
    """Samples worked through a network, apart from any rendering; see `WorkedExample`."""

    def __init__(
        self,
        network: FeedForward,
        x: Array,
        y: Array,
        *,
        learning_rate: float,
        steps: int,
        freeze_biases: bool,
        notation: Notation,
        first_sample: int = 0,
        focus: int = 0,
    ) -> None:
        self.network, self.x, self.y = network, x, y
        self.learning_rate, self.freeze_biases = learning_rate, freeze_biases
        self.notation, self.first_sample, self.focus = notation, first_sample, focus
        self.steps: list[Step] = []
        for _ in range(steps):
            gradient = network.gradient(x, y)
            moved = _moved(network, gradient, learning_rate, freeze_biases)
            self.steps.append(Step(network, gradient, float(moved.gradient(x, y).loss)))
            network = moved
        self.updated = network

    @property
    def losses(self) -> tuple[float, ...]:
        """Return the loss before each step, and after the last one."""
        before = (float(step.gradient.loss) for step in self.steps)
        return (*before, self.steps[-1].loss_after)

    def derivative(self, target: Target, step: int = 0) -> Derivative:
        """Return the derivative of the loss with respect to one quantity, before a step.

        Args:
            target: The quantity.
            step: The step, from 0.
        """
        at = self.steps[step]
        return Derivative(
            at.network, target, at.gradient, self.y, sample_weight=None, dropout_step=None,
            learning_rate=self.learning_rate, focus=self.focus, notation=self.notation,
            first_sample=self.first_sample,
        )  # fmt: skip

    @property
    def n_samples(self) -> int:
        """Return the number of samples."""
        return len(self.x)

    def passages(self) -> list[Passage]:
        """Return the whole example: what is given, then each step from the inputs to the loss."""
        rules = Passage("The rules", list(_rules(self._pieces(0))), "input")
        made = [self._given(), rules]
        for number in range(len(self.steps)):
            start = f"Step {number + 1}. " if len(self.steps) > 1 else ""
            made += [replace(p, title=start + p.title, step=number) for p in self._step(number)]
        return made

    def sections(self) -> list[Section]:
        """Return the passages as sections; those of one title are one section."""
        return document.joined(self.passages())

    def sheet(self) -> Sheet:
        """Return everything that is written down, with the network drawn before the first step."""
        from chainrule.explain.picture import picture
        from chainrule.explain.sheet import Sheet

        return Sheet(
            "A worked example", self.setting(), self.sections(), self.notation,
            self.network.sizes, self.n_samples, first_sample=self.first_sample,
            picture=picture(self._pieces(0)),
        )  # fmt: skip

    def setting(self) -> str:
        """Return the network, the loss and the steps, in words."""
        network, count = self.network, len(self.steps)
        sizes = "-".join(map(str, network.sizes))
        functions = ", ".join(layer.activation.name for layer in network.weighted_layers)
        words = (
            f"{self._samples()} through the network {sizes} ({functions}) with the loss "
            f"{network.loss.name}: {'one step' if count == 1 else f'{count} steps'} of gradient "
            f"descent with η = {self.learning_rate:g}"
        )
        if network.l2:
            words += f" and the penalty ½ λ Σ w² with λ = {network.l2:g}"
        if any(layer.dropout for layer in network.layers[1:]):
            words += ", dropout off"
        return f"{words}, biases frozen" if self.freeze_biases and network.biases else words

    def _samples(self) -> str:
        if self.n_samples == 1:
            return "One sample"
        place = self.first_sample + self.focus + self.notation.first_index
        return f"{self.n_samples} samples, unit by unit with the numbers of sample {place},"

    # --- what is given --------------------------------------------------------------------------

    def _given(self) -> Passage:
        network, p = self.network, self._pieces(0)
        inputs = [quantity("a", 0, k) for k in range(network.sizes[0])]
        targets = [quantity("y", None, j) for j in range(network.sizes[-1])]
        known = [_symbol(target) for l in _layers(network) for target in _targets(network, l)]
        equations = [Equation((q, Num(p.value_of(q)))) for q in (*inputs, *known, *targets)]
        equations.append(Equation((Name("eta"), Num(self.learning_rate))))
        title = "The sample, the parameters and the learning rate"
        return Passage(title, equations, "input", light=document.lit_at_the_start(network))

    # --- one step -------------------------------------------------------------------------------

    def _pieces(self, number: int) -> Pieces:
        at = self.steps[number]
        return Pieces(at.network, at.gradient, self.y, self.focus, self.notation)

    def _step(self, number: int) -> Iterator[Passage]:
        from chainrule.explain.matrices import MatrixForm

        p, network = self._pieces(number), self.network
        layers, form = _layers(network), MatrixForm(p)
        for l in layers:
            for j in range(network.sizes[l]):
                made, light = list(_forward(p, l, j)), document.lit_by_unit(network, l, j)
                a = quantity("a", l, j)
                yield Passage(f"Forward: layer {l}", made, "forward", l, a, light=light)
        for l in layers:
            yield as_matrices("Forward, as matrices", form.forward(l), "forward", l)
        yield Passage("The loss", list(self._loss(p)), "loss", light=document.lit_by_loss(network))
        for l in reversed(layers):
            known: dict[Expr, int] = {}  # a term that several derivatives share is derived once
            said: set[str] = set()
            for target in _targets(network, l):
                made = list(self._backward(number, target, known, said))
                symbol, light = (
                    Partial(p.C, _symbol(target)),
                    document.lit_by_target(network, target),
                )
                title = f"Backward: layer {l}"
                yield Passage(title, made, "backward", l, symbol, str(target), light)
        for l in reversed(layers):
            matrices = (*form.backward(l), *form.gradient(l))
            yield as_matrices("Backward, as matrices", matrices, "backward", l)
        for l in reversed(layers):
            updates = list(self._updates(number, l))
            light = document.lit_by_layer(network, l, not self.freeze_biases)
            yield Passage("The updates", updates, "update", l, light=light)
        for l in reversed(layers):
            moved = form.update(l, self.learning_rate, biases=not self.freeze_biases)
            yield as_matrices("The updates, as matrices", moved, "update", l)
        yield self._after(number)

    def _loss(self, p: Pieces) -> Iterator[Equation]:
        loss, of_sample = p.g, float(p.g.sample_losses[self.focus])
        parts = add(*(p.loss_of(j) for j in range(p.network.sizes[-1])))
        sides = [*p.definition_of_loss().sides, put_numbers(parts, p.value_of)]
        yield Equation((*sides, Num(of_sample)))
        n, l2 = self.n_samples, p.network.l2
        if n == 1 and not l2:
            return
        mean: Expr = p.C
        if n > 1:
            count = Name("n") if p.notation.counts == "n" else Num(n)
            mean = mul(Div(Num(1), count), Sum("sample", None, n, LossSymbol("sample")))
        whole: list[Expr] = [LossSymbol(), mean]
        lead = f"and the mean over the {n} samples" if n > 1 else ""
        if l2:
            data = Num(float(loss.loss) - float(loss.penalty)) if n > 1 else Num(of_sample)
            whole[1:] = [add(mean, LossSymbol(letter="R")), add(data, Num(float(loss.penalty)))]
            lead = f"{lead or 'and'} with the penalty R = ½ λ Σ w²"
        yield Equation((*whole, Num(float(loss.loss))), lead)

    def _backward(
        self, number: int, target: Target, known: dict[Expr, int], said: set[str]
    ) -> Iterator[Equation]:
        """Derive the terms that no derivative before has had, and the derivative from them."""
        why = self.derivative(target, number)
        for term in why.terms:
            if term.symbol not in known:
                known[term.symbol] = len(known) + 1
                sides = dict.fromkeys((term.formula, *term.numbers.sides[1:]))  # 1 = 1
                tag = f"({known[term.symbol]})" if self.notation.tags else ""
                words = document.meaning(term.symbol)
                lead = "" if words in said else words
                said.add(words)
                yield Equation((term.symbol, *sides), lead, tag=tag)
        yield _product(why, [known[term.symbol] for term in why.terms])
        yield from _flattened(why)
        if why.penalty is not None:
            yield why.penalty.numbers
        yield from document.of_whole_loss(why)

    def _updates(self, number: int, l: int) -> Iterator[Equation]:
        for target in _targets(self.network, l):
            if not (self.freeze_biases and isinstance(target, Bias)):
                yield document.update(self.derivative(target, number))

    def _after(self, number: int) -> Passage:
        at = self.steps[number]
        before, after = float(at.gradient.loss), at.loss_after
        change = "falls" if after < before else "rises" if after > before else "stays"
        digits = self.notation.digits
        lead = f"With the new parameters the loss {change}: before {before:.{digits}g}, now"
        whole = self.network.l2 or self.n_samples > 1
        equation = Equation((LossSymbol() if whole else LossSymbol(0), Num(after)), lead)
        return Passage("The loss after the update", [equation], "update", light=("loss",))


def _layers(network: FeedForward) -> range:
    return range(1, len(network.sizes))


def _targets(network: FeedForward, l: int) -> Iterator[Weight | Bias]:
    """Return the weights and biases of a layer, unit by unit."""
    for j in range(network.sizes[l]):
        for k in range(network.sizes[l - 1]):
            yield Weight(l, j, k)
        if network.biases:
            yield Bias(l, j)


def _symbol(target: Weight | Bias) -> Quantity:
    if isinstance(target, Weight):
        return quantity("w", target.layer, target.j, target.k)
    return quantity("b", target.layer, target.j)


def _moved(
    network: FeedForward, gradient: Gradient, learning_rate: float, freeze_biases: bool
) -> FeedForward:
    """Return a copy of the network after a step of gradient descent."""
    moved = network.copy()
    for l in _layers(network):
        layer, db = moved.layers[l], gradient.db[l]
        layer.W[...] = layer.W - learning_rate * gradient.dW[l]
        if db is not None and layer.b is not None and not freeze_biases:
            layer.b[...] = layer.b - learning_rate * db
    return moved


def _forward(p: Pieces, l: int, j: int) -> Iterator[Equation]:
    activation, fan_in = p.network.layers[l].activation, range(p.network.sizes[l - 1])
    z, a = quantity("z", l, j), quantity("a", l, j)
    factors = [(quantity("w", l, j, k), quantity("a", l - 1, k)) for k in fan_in]
    bias: list[Expr] = [quantity("b", l, j)] if p.network.biases else []
    items = add(*(mul(Factor(w), Factor(x)) for w, x in factors), *bias)
    written = add(*(mul(w, x) for w, x in factors), *bias)
    yield Equation((z, written, put_numbers(items, p.value_of), Num(p.value_of(z))))
    if p.softmax and l == p.L:
        yield Equation((a, Word("softmax over all z"), Num(p.value_of(a))))
    else:
        formula = fill(parse(activation.formula)[0], {"z": z})
        yield Equation((a, formula, Num(p.value_of(a))))


def _rules(p: Pieces) -> Iterator[Equation]:
    """Return the rules of the network for any layer, as the layers use them one by one."""
    units = max(p.network.sizes[:-1])
    z, a = quantity("z", "l", "to"), quantity("a", "l", "to")
    product = mul(quantity("w", "l", "to", "from"), quantity("a", "l-1", "from"))
    total: Expr = Sum("from", 0, units, product) if units > 1 else product
    if len(set(p.network.sizes[:-1])) > 1:
        total = Sum("from", 0, None, product)
    bias: list[Expr] = [quantity("b", "l", "to")] if p.network.biases else []
    lead = "A unit multiplies what arrives by its weights"
    yield Equation((z, add(total, *bias)), f"{lead}{' and adds its bias' if bias else ''}")
    activations = {layer.activation.name: layer.activation for layer in p.network.weighted_layers}
    formula: Expr = Function("l", z)
    if len(activations) == 1 and not p.softmax:
        (activation,) = activations.values()
        formula = fill(parse(activation.formula)[0], {"z": z})
    yield Equation((a, formula), "and applies its activation function")
    yield Equation(p.definition_of_loss().sides, "The loss compares the outputs with the targets")


def _product(why: Derivative, numbers: list[int]) -> Equation:
    """Return the derivative as the product of its terms, with their results and numbers.

    ``numbers`` are those of the terms, where the notation has tags.
    """
    symbol = Partial(LossSymbol(why.focus), why.symbol)
    chain = mul(*(Factor(term.symbol) for term in why.terms))
    values = mul(*(Factor(Num(term.value)) for term in why.terms))
    lead = document.from_expressions(numbers) if why.notation.tags else "and so"
    return Equation((symbol, chain, values, Num(float(why.products[why.focus]))), lead)


def paths(terms: tuple[Term, ...]) -> Iterator[tuple[Term, ...]]:
    """Return a product of terms as products of factors without sums, one for each path.

    A path leads from an output down to the target, through one unit of every layer. The derivative
    at an output where factors cancel stays one factor.
    """
    head, *rest = terms
    if head.contributions is None or not document.leads_down(head):
        yield terms
        return
    for part in head.contributions:
        for path in paths(part.terms):
            yield (*path, *rest)


def _flattened(why: Derivative) -> Iterator[Equation]:
    """Return the derivative with every factor down the layers, where it has a hidden layer."""
    l = why.target.layer
    count = math.prod(why.network.sizes[l + 1 :])
    if l == len(why.network.sizes) - 1:
        return
    found = [(path, math.prod(term.value for term in path)) for path in paths(why.terms)]
    found.sort(key=lambda pair: -abs(pair[1]))
    shown, left = found[: why.notation.max_terms], found[why.notation.max_terms :]
    symbols = [mul(*(Factor(term.symbol) for term in path)) for path, _ in shown]
    results = [mul(*(Factor(term.formula, result=True) for term in path)) for path, _ in shown]
    numbers = [mul(*(Factor(Num(term.value)) for term in path)) for path, _ in shown]
    if left:
        others = Word(f"({the_others(len(left))})")
        symbols, results = [*symbols, others], [*results, others]
        numbers.append(mul(Num(math.fsum(value for _, value in left)), others))
    lead = (
        f"Flattened: all factors down the layers, summed over the {count} paths to the loss"
        if len(found) > 1
        else "Flattened: one product of all factors down the layers"
    )
    sides = (add(*symbols), add(*results), add(*numbers), Num(float(why.products[why.focus])))
    yield Equation((Partial(LossSymbol(why.focus), why.symbol), *sides), lead)
