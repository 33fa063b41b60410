"""The whole worked example: one sample through a network, every gradient, every update.

The numbers are those of `backprop`; the formulas are the terms of explanations.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from chainrule.equations.backprop import Gradient
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.formulas import Expr, Name, Num, add, mul, parse
from chainrule.equations.targets import Bias, Target, Weight
from chainrule.explain import document
from chainrule.explain.counts import the_others
from chainrule.explain.derivative import Derivative
from chainrule.explain.document import Section
from chainrule.explain.notation import Notation
from chainrule.explain.pieces import Array, Pieces
from chainrule.explain.symbols import (
    Factor,
    LossSymbol,
    Partial,
    Quantity,
    Word,
    fill,
    put_numbers,
    quantity,
)
from chainrule.explain.terms import Equation, Term


@dataclass(frozen=True, eq=False)
class Step:
    """One step: the network before it, its gradient, and the loss after it."""

    network: FeedForward
    gradient: Gradient
    loss_after: float


class Worked:
    """One sample worked through a network, apart from any rendering; see `WorkedExample`."""

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
    ) -> None:
        self.network, self.x, self.y = network, x, y
        self.learning_rate, self.freeze_biases = learning_rate, freeze_biases
        self.notation = notation
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
            learning_rate=self.learning_rate, focus=0, notation=self.notation,
        )  # fmt: skip

    def sections(self) -> list[Section]:
        """Return the whole example: what is given, then each step from the inputs to the loss."""
        made = [self._given()]
        for number in range(len(self.steps)):
            start = f"Step {number + 1}. " if len(self.steps) > 1 else ""
            made += [Section(start + s.title, s.equations) for s in self._step(number)]
        return made

    def setting(self) -> str:
        """Return the network, the loss and the steps, in words."""
        network, count = self.network, len(self.steps)
        sizes = "-".join(map(str, network.sizes))
        functions = ", ".join(layer.activation.name for layer in network.weighted_layers)
        words = (
            f"One sample through the network {sizes} ({functions}) with the loss "
            f"{network.loss.name}: {'one step' if count == 1 else f'{count} steps'} of gradient "
            f"descent with η = {self.learning_rate:g}"
        )
        if network.l2:
            words += f" and the penalty ½ λ Σ w² with λ = {network.l2:g}"
        if any(layer.dropout for layer in network.layers[1:]):
            words += ", dropout off"
        return f"{words}, biases frozen" if self.freeze_biases and network.biases else words

    # --- what is given --------------------------------------------------------------------------

    def _given(self) -> Section:
        network, p = self.network, self._pieces(0)
        known: list[Quantity] = [quantity("a", 0, k) for k in range(network.sizes[0])]
        known += [_symbol(target) for l in _layers(network) for target in _targets(network, l)]
        known += [quantity("y", None, j) for j in range(network.sizes[-1])]
        equations = [Equation((q, Num(p.value_of(q)))) for q in known]
        equations.append(Equation((Name("eta"), Num(self.learning_rate))))
        return Section("The sample, the parameters and the learning rate", equations)

    # --- one step -------------------------------------------------------------------------------

    def _pieces(self, number: int) -> Pieces:
        at = self.steps[number]
        return Pieces(at.network, at.gradient, self.y, 0, self.notation)

    def _step(self, number: int) -> Iterator[Section]:
        p = self._pieces(number)
        for l in _layers(self.network):
            yield Section(f"Forward: layer {l}", list(_forward(p, l)))
        yield Section("The loss", list(_loss(p)))
        for l in reversed(_layers(self.network)):
            yield Section(f"Backward: layer {l}", list(self._backward(number, l)))
        yield Section("The updates", list(self._updates(number)))
        yield self._after(number)

    def _backward(self, number: int, l: int) -> Iterator[Equation]:
        known: set[Expr] = set()  # a term that several derivatives share is derived once
        for target in _targets(self.network, l):
            why = self.derivative(target, number)
            for term in why.terms:
                if term.symbol not in known:
                    known.add(term.symbol)
                    sides = dict.fromkeys((term.formula, *term.numbers.sides[1:]))  # 1 = 1
                    yield Equation((term.symbol, *sides))
            yield _product(why)
            yield from _flattened(why)
            if why.penalty is not None:
                yield why.penalty.numbers
                yield from document.of_whole_loss(why)

    def _updates(self, number: int) -> Iterator[Equation]:
        for l in reversed(_layers(self.network)):
            for target in _targets(self.network, l):
                if not (self.freeze_biases and isinstance(target, Bias)):
                    yield document.update(self.derivative(target, number))

    def _after(self, number: int) -> Section:
        at = self.steps[number]
        before, after = float(at.gradient.loss), at.loss_after
        change = "falls" if after < before else "rises" if after > before else "stays"
        digits = self.notation.digits
        lead = f"With the new parameters the loss {change}: before {before:.{digits}g}, now"
        loss = LossSymbol() if self.network.l2 else LossSymbol(0)
        return Section("The loss after the update", [Equation((loss, Num(after)), lead)])


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


def _forward(p: Pieces, l: int) -> Iterator[Equation]:
    activation, fan_in = p.network.layers[l].activation, range(p.network.sizes[l - 1])
    for j in range(p.network.sizes[l]):
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


def _loss(p: Pieces) -> Iterator[Equation]:
    parts = add(*(p.loss_of(j) for j in range(p.network.sizes[-1])))
    sides = [*p.definition_of_loss().sides, put_numbers(parts, p.value_of)]
    yield Equation((*sides, Num(float(p.g.sample_losses[0]))))
    if p.network.l2:
        numbers = add(Num(float(p.g.sample_losses[0])), Num(float(p.g.penalty)))
        whole_loss = add(p.C, LossSymbol(letter="R"))
        lead = "and with the penalty R = ½ λ Σ w²"
        yield Equation((LossSymbol(), whole_loss, numbers, Num(float(p.g.loss))), lead)


def _product(why: Derivative) -> Equation:
    """Return the derivative as the product of its terms, with their results and numbers."""
    symbol = Partial(LossSymbol(0), why.symbol)
    chain = mul(*(Factor(term.symbol) for term in why.terms))
    numbers = mul(*(Factor(Num(term.value)) for term in why.terms))
    return Equation((symbol, chain, numbers, Num(float(why.products[0]))), "and so")


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
    sides = (add(*symbols), add(*results), add(*numbers), Num(float(why.products[0])))
    yield Equation((Partial(LossSymbol(0), why.symbol), *sides), lead)
