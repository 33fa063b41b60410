"""Steps: the forward pass, the backward pass and the update of one sample, one layer at a time.

Every number comes from the result of `backprop`. The formulas are built from the symbols of
explanations, and the derivatives are their terms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, TypedDict

import numpy as np

from chainrule.equations.backprop import Gradient
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.formulas import Expr, Name, Neg, Num, add, mul, parse
from chainrule.equations.targets import Bias, PreActivation, Weight
from chainrule.explain import Explanation
from chainrule.explain.counts import the_others
from chainrule.explain.derivation import _weighted_sum
from chainrule.explain.document import of_whole_loss
from chainrule.explain.names import Names
from chainrule.explain.notation import Notation
from chainrule.explain.pieces import Array, Pieces
from chainrule.explain.scribe import EquationView, scribe_for
from chainrule.explain.symbols import (
    Factor,
    LossSymbol,
    Partial,
    Quantity,
    Word,
    fill,
    quantity,
)
from chainrule.explain.terms import Equation

_MOST = 4  # units or parameters in a step; also items of a sum written out in numbers
_MOST_MOVED = 40  # parameters in the update


class StepView(TypedDict):
    """One step: what is computed, from what, and the equations in numbers."""

    phase: Literal["input", "forward", "loss", "backward", "gradient", "update"]
    layer: int
    title: str
    words: str
    equations: list[EquationView]


class Steps:
    """The steps for one sample (``focus``) of a gradient."""

    def __init__(
        self,
        network: FeedForward,
        gradient: Gradient,
        y: Array,
        focus: int,
        notation: Notation,
        shown: Sequence[Sequence[int]],
        learning_rate: float,
        names: Names | None = None,
        first_sample: int = 0,
    ) -> None:
        self.network, self.g, self.y, self.focus = network, gradient, y, focus
        self.shown, self.eta, self.first_sample = shown, learning_rate, first_sample
        self.pieces = Pieces(network, gradient, y, focus, notation)
        self.scribe = scribe_for(notation, network.sizes, len(y), first_sample)
        self.L = len(network.sizes) - 1
        self.origins = {} if names is None else names.origins

    def views(self) -> list[StepView]:
        """Return all steps in order."""
        return list(self._all())

    def _all(self) -> Iterator[StepView]:
        words = "The inputs of this sample enter on the left. Its target is on the right."
        if self.origins:
            words += " Some inputs are computed from the others."
        yield {
            "phase": "input", "layer": 0, "title": "The sample", "words": words,
            "equations": [
                self.scribe.equation(q, origin, self._num(q)) for q, origin in self.origins.items()
            ],
        }  # fmt: skip
        for l in range(1, self.L + 1):
            yield self._forward(l)
        yield self._loss()
        for l in range(self.L, 0, -1):
            yield self._backward(l)
            yield self._gradient(l)
        yield self._update()

    def _units(self, l: int) -> list[int]:
        """Return the units to write about: the first few of those drawn."""
        return list(self.shown[l])[:_MOST]

    def _more(self, l: int, shown: int) -> str:
        left = self.network.sizes[l] - shown
        if not left:
            return ""
        return (
            f" The other {left} units do the same."
            if left > 1
            else " The other unit does the same."
        )

    # --- forward --------------------------------------------------------------------------------

    def _forward(self, l: int) -> StepView:
        equations = []
        for j in self._units(l):
            z = quantity("z", l, j)
            target = f"z[{l}][{j}]"
            equations.append(self.scribe.equation(z, _weighted_sum(self.pieces, l, j),
                                                  self._sum_in_numbers(l, j), self._num(z),
                                                  target=target))  # fmt: skip
            equations.append(self._activation(l, j, f"a[{l}][{j}]"))
        name = self.network.layers[l].activation.name
        added = "adds them and its bias," if self.network.biases else "adds them"
        return {
            "phase": "forward", "layer": l, "title": f"Forward: layer {l}",
            "words": f"Each unit of layer {l} multiplies its inputs by its weights, {added} and "
                     f"applies {name}.{self._more(l, len(self._units(l)))}",
            "equations": equations,
        }  # fmt: skip

    def _num(self, q: Expr) -> Num:
        return Num(self.pieces.value_of(q))  # type: ignore[arg-type]

    def _sum_in_numbers(self, l: int, j: int) -> Expr:
        """Return Σ_k w_jk a_k + b_j in numbers: all items, or the largest and the others as one."""
        w = np.asarray(self.network.layers[l].W[j], dtype=np.float64)
        a = self.g.forward.a[l - 1][self.focus]
        products = w * a
        order = np.argsort(-np.abs(products), kind="stable")
        chosen = sorted(order[:_MOST].tolist()) if len(w) > _MOST + 1 else list(range(len(w)))
        items: list[Expr] = [
            mul(Factor(Num(float(w[k]))), Factor(Num(float(a[k])))) for k in chosen
        ]
        if left := len(w) - len(chosen):
            rest = float(np.delete(products, chosen).sum())
            items.append(mul(Num(rest), Word(f"({the_others(left)})")))
        if self.network.biases:
            items.append(self._num(quantity("b", l, j)))
        return add(*items)

    def _activation(self, l: int, j: int, target: str) -> EquationView:
        a, z = quantity("a", l, j), quantity("z", l, j)
        g = self.network.layers[l].activation
        if g.name == "softmax":
            return self.scribe.equation(a, Word("softmax over all z"), self._num(a), target=target)
        form = parse(g.formula)[0]
        symbolic = fill(form, {"z": z})
        return self.scribe.equation(a, symbolic, self._num(a), target=target)

    def _loss(self) -> StepView:
        p = self.pieces
        definition = p.definition_of_loss()
        value = Num(float(self.g.sample_losses[self.focus]))
        sides = (*definition.sides, value)
        return {
            "phase": "loss", "layer": self.L, "title": "The loss",
            "words": "The loss compares the outputs with the target. It is one number that says "
                     "how wrong the network is on this sample.",
            "equations": [self.scribe.equation(*sides)],
        }  # fmt: skip

    # --- backward -------------------------------------------------------------------------------

    def _backward(self, l: int) -> StepView:
        equations = []
        units = self._units(l)[: _MOST // 2 if l < self.L else _MOST]
        for j in units:
            why = self._why(PreActivation(l, j))
            target = f"z[{l}][{j}]"
            equations += [self.scribe.view(term.numbers, target) for term in why.terms]
            if len(why.terms) > 1:
                delta = Num(float(self.g.delta[l][self.focus, j]))
                symbol = Partial(self.pieces.C, quantity("z", l, j))
                chain = mul(*(Factor(term.symbol) for term in why.terms))
                equations.append(self.scribe.equation(symbol, chain, delta, target=target))
        where = "from the loss" if l == self.L else f"through the weights of layer {l + 1}"
        return {
            "phase": "backward", "layer": l, "title": f"Backward: layer {l}",
            "words": f"The derivative arrives {where} and passes through the activation: how "
                     f"much would the loss change if a z of layer {l} changed?"
                     f"{self._more(l, len(units))}",
            "equations": equations,
        }  # fmt: skip

    def _why(self, target: PreActivation | Weight | Bias) -> Explanation:
        return Explanation(
            self.network, target, self.g, self.y, sample_weight=None, dropout_step=None,
            learning_rate=None, focus=self.focus, notation=self.scribe.notation,
            first_sample=self.first_sample,
        )  # fmt: skip

    def _gradient(self, l: int) -> StepView:
        listed = list(self._parameters(l))
        equations: list[EquationView] = []
        for target in listed[:_MOST]:
            equations += self._derivative(target)
        b = "; that of a bias is δ itself" if self.network.biases else ""
        words = (
            "The derivative of a weight is δ of the unit at its end times the activation at its "
            f"start{b}."
        )
        if (n := len(self.y)) > 1:
            words += f" Of the loss of all {n} samples it is the mean."
        words += self._left(self._count(l) - min(len(listed), _MOST), "follow", "follows")
        return {
            "phase": "gradient", "layer": l, "title": f"Gradient: layer {l}",
            "words": f"{words} Click one for the whole derivation.", "equations": equations,
        }  # fmt: skip

    def _parameters(self, l: int) -> Iterator[Weight | Bias]:
        """Yield the parameters of the units that are drawn: of each its weights, then its bias."""
        for j in self.shown[l]:
            yield from (Weight(l, j, k) for k in self.shown[l - 1])
            if self.network.biases:
                yield Bias(l, j)

    def _count(self, l: int) -> int:
        units, before = self.network.sizes[l], self.network.sizes[l - 1]
        return units * (before + self.network.biases)

    def _left(self, count: int, verb: str, verb_of_one: str) -> str:
        """Return a sentence about the parameters that are not listed."""
        if not count:
            return ""
        if count == 1:
            return f" The other parameter {verb_of_one} in the same way."
        return f" The other {count:,} parameters {verb} in the same way."

    def _derivative(self, target: Weight | Bias) -> Iterator[EquationView]:
        """Yield ∂C_i/∂w of the sample, then that of the mean over several, with the penalty."""
        l, j = target.layer, target.j
        q, delta = self._symbol(target), float(self.g.delta[l][self.focus, j])
        of_z = Partial(self.pieces.C, quantity("z", l, j))
        sides: tuple[Expr, ...]
        if isinstance(target, Weight):
            a = float(self.g.forward.a[l - 1][self.focus, target.k])
            sides = (
                mul(Factor(of_z), quantity("a", l - 1, target.k)),
                mul(Factor(Num(delta)), Factor(Num(a))), Num(delta * a),
            )  # fmt: skip
        else:
            sides = (of_z, Num(delta))
        yield self.scribe.equation(Partial(self.pieces.C, q), *sides, target=str(target))
        for whole in of_whole_loss(self._why(target)):
            yield self.scribe.view(whole, str(target), lead="")

    def _symbol(self, target: Weight | Bias) -> Quantity:
        if isinstance(target, Weight):
            return quantity("w", target.layer, target.j, target.k)
        return quantity("b", target.layer, target.j)

    def _slope(self, target: Weight | Bias) -> float:
        """Return ∂C/∂w of the whole gradient."""
        if isinstance(target, Weight):
            return float(self.g.dW[target.layer][target.j, target.k])
        db = self.g.db[target.layer]
        assert db is not None  # a bias that does not exist is not listed
        return float(db[target.j])

    # --- update ---------------------------------------------------------------------------------

    def _update(self) -> StepView:
        n, layers = len(self.y), range(self.L, 0, -1)
        words = "Every weight and bias moves against its derivative, by η times the derivative."
        if not self.network.biases:
            words = "Every weight moves against its derivative, by η times the derivative."
        if n > 1:
            words += f" The derivative is the mean over {n} samples."
        listed = [target for l in layers for target in self._parameters(l)][:_MOST_MOVED]
        words += self._left(sum(map(self._count, layers)) - len(listed), "move", "moves")
        return {
            "phase": "update", "layer": 0, "title": "The update", "words": words,
            "equations": [self._moved(target) for target in listed],
        }  # fmt: skip

    def _moved(self, target: Weight | Bias) -> EquationView:
        q, slope = self._symbol(target), self._slope(target)
        old = self.pieces.value_of(q)
        rule = add(q, Neg(mul(Name("eta"), Partial(LossSymbol(), q))))
        numbers = add(Num(old), Neg(mul(Num(self.eta), Factor(Num(slope)))))
        sides = (q, rule, numbers, Num(old - self.eta * slope))
        arrow = self.scribe.notation.assign
        return self.scribe.view(Equation(sides, "", relation=arrow), str(target))
