"""One sample of a network, from which questions are made, and the parts of their keys."""

from __future__ import annotations

from dataclasses import replace

from chainrule.equations.activations import Softmax
from chainrule.equations.formulas import Call, Div, Expr, Num, add, mul, parse
from chainrule.equations.targets import Weight
from chainrule.explain import Equation, Explanation, Term
from chainrule.explain.symbols import (
    Factor,
    Function,
    LossSymbol,
    Quantity,
    fill,
    put_numbers,
    quantity,
)
from chainrule.teach.exercises import Examiner
from chainrule.teach.worksheets import by_hand
from chainrule.teach.worksheets.questions import Part

APART = 3 * by_hand.TOLERANCE  # mistakes are this far from the answer
SMALLEST = 0.001  # answers nearer to 0 have too few digits on the way


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
        units = [*range(self.network.sizes[-1])]
        if self.network.loss.name == "cross_entropy":
            units = [j for j in units if self.y[j] > 0]  # 0 ln a is 0
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


def product(why: Explanation) -> Expr:
    """Return the product of the terms in numbers."""
    return mul(*(Factor(numbers(term)) for term in why.terms))


def numbers(term: Term) -> Expr:
    """Return a term in numbers; where its notation keeps g′(z) abstract, its value alone."""
    found = term.numbers.sides[1]
    return Num(term.value) if _has_function(found) else found


def _has_function(expr: Expr) -> bool:
    return isinstance(expr, Function) or any(map(_has_function, expr.children()))


def derivation(why: Explanation) -> tuple[Part, ...]:
    """Return a whole derivation as parts of a key."""
    return tuple(
        Part(section.title, tuple(replace(e, tag="") for e in section.equations))
        for section in why.sections()
    )
