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
from chainrule.equations.formulas import Div, Expr, Name, Neg, Num, add, mul, parse
from chainrule.equations.targets import Bias, PreActivation, Weight
from chainrule.explain import Explanation
from chainrule.explain.counts import the_others
from chainrule.explain.derivation import _weighted_sum
from chainrule.explain.notation import Notation
from chainrule.explain.pieces import Array, Pieces
from chainrule.explain.scribe import EquationView, Scribe
from chainrule.explain.symbols import (
    Factor,
    LossSymbol,
    Partial,
    Quantity,
    Sum,
    Word,
    fill,
    quantity,
)  # fmt: skip
from chainrule.explain.terms import Equation

_UPDATES = 8  # parameters that the last step lists
_MOST = 4  # equations in a step; also items of a sum written out in numbers


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
        first_sample: int = 0,
    ) -> None:
        self.network, self.g, self.y, self.focus = network, gradient, y, focus
        self.shown, self.eta = shown, learning_rate
        self.pieces = Pieces(network, gradient, y, focus, notation)
        self.scribe = Scribe(notation, network.sizes, len(y), first_sample)
        self.L = len(network.sizes) - 1

    def views(self) -> list[StepView]:
        """Return all steps in order."""
        return list(self._all())

    def _all(self) -> Iterator[StepView]:
        yield {
            "phase": "input", "layer": 0, "title": "The sample",
            "words": "The inputs of this sample enter on the left. Its target is on the right.",
            "equations": [],
        }  # fmt: skip
        for l in range(1, self.L + 1):
            yield self._forward(l)
        yield self._loss()
        for l in range(self.L, 0, -1):
            yield self._backward(l)
            yield self._gradient(l)
        if len(self.y) > 1:
            for l in range(self.L, 0, -1):
                yield self._mean(l)
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
            why = Explanation(
                self.network, PreActivation(l, j), self.g, self.y, sample_weight=None,
                dropout_step=None, learning_rate=None, focus=self.focus,
                notation=self.scribe.notation,
            )  # fmt: skip
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

    def _gradient(self, l: int) -> StepView:
        whole = self.network.sizes[l] * self.network.sizes[l - 1]
        places = [(j, k) for j in self._units(l) for k in self._units(l - 1)][:_MOST]
        equations = [self._of_weight(l, j, k) for j, k in places]
        left = _left(whole - len(places), "weight")
        named = "weights"
        words = (
            "The derivative of a weight is δ of the unit at its end times the activation at its "
            "start"
        )
        if self.network.biases:
            named, units = "weights and biases", self._units(l)
            words += ", and that of a bias is δ of its unit"
            equations += [self._of_bias(l, j) for j in units]
            left += _left(self.network.sizes[l] - len(units), "bias")
        return {
            "phase": "gradient", "layer": l, "title": f"Gradient: {named} of layer {l}",
            "words": f"{words}. Click one for the whole derivation.{_and(left)}",
            "equations": equations,
        }  # fmt: skip

    def _of_weight(self, l: int, j: int, k: int) -> EquationView:
        w, z, a_k = quantity("w", l, j, k), quantity("z", l, j), quantity("a", l - 1, k)
        delta, a = (float(x[self.focus]) for x in (self.g.delta[l][:, j], self._a(l - 1)[:, k]))
        product = mul(Factor(Num(delta)), Factor(Num(a)))
        sides = (Partial(self.pieces.C, w), mul(Factor(Partial(self.pieces.C, z)), a_k), product,
                 Num(delta * a))  # fmt: skip
        return self.scribe.equation(*sides, target=f"w[{l}][{j},{k}]")

    def _of_bias(self, l: int, j: int) -> EquationView:
        symbols = (Partial(self.pieces.C, quantity(letter, l, j)) for letter in "bz")
        sides = (*symbols, Num(float(self.g.delta[l][self.focus, j])))
        return self.scribe.equation(*sides, target=f"b[{l}][{j}]")

    def _a(self, l: int) -> Array:
        return self.g.forward.a[l]

    def _mean(self, l: int) -> StepView:
        """Return the gradients of the batch: means over its samples, which training uses."""
        n, C = len(self.y), self.scribe.notation.loss
        equations: list[EquationView] = []
        weights = [Weight(l, j, k) for j in self._units(l) for k in self._units(l - 1)]
        shown: list[Weight | Bias] = [*weights[:_MOST]]
        count = self.network.sizes[l] * self.network.sizes[l - 1]
        left = _left(count - len(shown), "weight")
        if self.network.biases:
            shown += [Bias(l, j) for j in self._units(l)]
            left += _left(self.network.sizes[l] - len(self._units(l)), "bias")
        for target in shown:
            q, value = self._known(target)
            mean = mul(
                Div(Num(1), Num(n)), Sum("sample", None, n, Partial(LossSymbol("sample"), q))
            )
            sides = (Partial(LossSymbol(), q), mean, *self._first_parts(target), Num(value))
            equations.append(self.scribe.equation(*sides, target=str(target)))
        return {
            "phase": "gradient", "layer": l, "title": f"The mean over the batch: layer {l}",
            "words": f"Every sample asks for its own change. ∂{C}/∂w of the batch is the mean over "
                     f"its {n} samples, and the update uses it.{_and(left)}",
            "equations": equations,
        }  # fmt: skip

    def _first_parts(self, target: Weight | Bias) -> list[Expr]:
        """Return the mean in numbers, of a small batch."""
        n = len(self.y)
        if n > _MOST or self.network.l2:
            return []
        l, j = target.layer, target.j
        parts = self.g.delta[l][:, j]
        if isinstance(target, Weight):
            parts = parts * self._a(l - 1)[:, target.k]
        return [mul(Div(Num(1), Num(n)), Factor(add(*(Num(float(part)) for part in parts))))]

    # --- update ---------------------------------------------------------------------------------

    def _update(self) -> StepView:
        n = len(self.y)
        words = "Every weight and bias moves against its derivative, by η times the derivative."
        if n > 1:
            words += f" The derivative is the mean over {n} samples."
        shown: list[Weight | Bias] = []
        for l in range(self.L, 0, -1):
            for j in self._units(l)[:1]:
                shown += [Weight(l, j, k) for k in self._units(l - 1)[:2]]
                shown += [Bias(l, j)] if self.network.biases else []
        shown = shown[:_UPDATES]
        left = self.network.parameters.size - len(shown)
        return {
            "phase": "update", "layer": 0, "title": "The update",
            "words": words + _and(_left(left, "parameter")),
            "equations": [self._moved(target) for target in shown],
        }  # fmt: skip

    def _known(self, target: Weight | Bias) -> tuple[Quantity, float]:
        """Return the symbol of a parameter, and its derivative over the batch."""
        l, j = target.layer, target.j
        if isinstance(target, Weight):
            return quantity("w", l, j, target.k), float(self.g.dW[l][j, target.k])
        db = self.g.db[l]
        assert db is not None
        return quantity("b", l, j), float(db[j])

    def _moved(self, target: Weight | Bias) -> EquationView:
        q, slope = self._known(target)
        old = self.pieces.value_of(q)
        rule = add(q, Neg(mul(Name("eta"), Partial(LossSymbol(), q))))
        numbers = add(Num(old), Neg(mul(Num(self.eta), Factor(Num(slope)))))
        sides = (q, rule, numbers, Num(old - self.eta * slope))
        arrow = self.scribe.notation.assign
        return self.scribe.view(Equation(sides, "", relation=arrow), str(target))


def _left(count: int, name: str) -> list[str]:
    """Return how many things are not shown, in words, as a list of none or one."""
    plural = {"bias": "biases"}.get(name, name + "s")
    return [f"{count} more {name if count == 1 else plural}"] if count > 0 else []


def _and(left: list[str]) -> str:
    return f" … and {' and '.join(left)}." if left else ""
