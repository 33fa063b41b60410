"""Pieces: the symbols and numbers from which every derivation is built."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from chainrule._forks import cached_property
from chainrule.equations.activations import Softmax
from chainrule.equations.backprop import Gradient
from chainrule.equations.formulas import Div, Expr, Num, add, evaluate, mul, parse
from chainrule.equations.losses import BinaryCrossEntropy, CrossEntropy, Poisson
from chainrule.explain.counts import the_others
from chainrule.explain.notation import Notation
from chainrule.explain.symbols import (
    Dots,
    Factor,
    Index,
    LossSymbol,
    Partial,
    Quantity,
    Sum,
    Word,
    fill,
    put_numbers,
    quantity,
    turn_residual,
)  # fmt: skip
from chainrule.explain.terms import Contributions, Equation, Term

if TYPE_CHECKING:
    from chainrule.equations.feedforward import FeedForward

Array = NDArray[Any]
T = TypeVar("T")
_MADE = 64  # terms kept for other explanations
_WRITTEN_OUT = 5  # items up to which a sum is written out whole


class Pieces:
    """Symbols and numbers of one network on one set of samples, in one notation."""

    def __init__(
        self, network: FeedForward, gradient: Gradient, y: Array, focus: int, notation: Notation
    ) -> None:
        self.network, self.g, self.y = network, gradient, y
        self.focus, self.notation = focus, notation
        self.L = len(network.sizes) - 1
        self.C = LossSymbol(focus)
        self._made: dict[tuple[object, ...], Any] = {}

    def once(self, key: tuple[object, ...], make: Callable[[], T]) -> T:
        """Return what ``make`` makes for a key: the same object, as long as it is kept."""
        if key not in self._made:
            if len(self._made) >= _MADE:
                self._made.clear()
            self._made[key] = make()
        made: T = self._made[key]
        return made

    # --- numbers --------------------------------------------------------------------------------

    def weights(self, l: int, index: Any) -> Array:
        """Return weights of layer l as float64."""
        values: Array = np.asarray(self.network.layers[l].W[index], dtype=np.float64)
        return values

    @cached_property
    def dC_da_output(self) -> Array:
        """Return ∂C_i/∂a_j^(L) of every sample and output, (n, units_L)."""
        passed = self.g.forward
        with np.errstate(over="ignore"):
            return self.network.loss.derivative_at_output(passed.z[-1], passed.a[-1], self.y)

    def value_of(self, q: Quantity) -> float:
        """Return the value of a quantity for the sample in focus."""
        units = tuple(unit for unit in q.units if isinstance(unit, int))
        if q.letter == "y":
            return float(self.y[self.focus, units[0]])
        assert isinstance(q.layer, int)
        if q.letter == "w":
            return float(self.weights(q.layer, units))
        if q.letter == "b":
            b = self.network.layers[q.layer].b
            return float(b[units]) if b is not None else 0.0
        passed = self.g.forward
        arrays: dict[str, Any] = {"z": passed.z, "a": passed.a, "m": passed.masks}
        return float(arrays[q.letter][q.layer][(self.focus, *units)])

    def _number_of_partial(self, node: Expr) -> Expr | None:
        """Return the value of a ∂C/∂z or ∂C/∂a that stands in a formula, else None."""
        match node:
            case Partial(_, Quantity("z", int(l), (int(j),))):
                return Num(float(self.g.delta[l][self.focus, j]))
            case Partial(_, Quantity("a", self.L, (int(j),))):
                return Num(float(self.dC_da_output[self.focus, j]))
        return None

    # --- the network ----------------------------------------------------------------------------

    @property
    def softmax(self) -> bool:
        """Return whether the output activation is softmax."""
        return isinstance(self.network.layers[self.L].activation, Softmax)

    def is_reduced(self, l: int) -> bool:
        """Return whether ∂C/∂z of layer l is one term: after softmax, or where a cancels."""
        loss, g = self.network.loss, self.network.layers[l].activation
        cancels = isinstance(loss, CrossEntropy | BinaryCrossEntropy)
        cancels |= isinstance(loss, Poisson) and g.log_derivative_formula is not None
        return l == self.L and (self.softmax or cancels)

    def at(self, unit: int) -> int:
        """Return the index of a unit as it is printed."""
        return unit + self.notation.first_index

    def layer_words(self, l: int) -> str:
        """Return the name of a layer for a sentence."""
        if self.notation.layer_names == "number":
            return f"layer {l}"
        return f"layer L-{self.L - l}" if l < self.L else "the output layer L"

    # --- symbols --------------------------------------------------------------------------------

    def definition_of_loss(self) -> Equation:
        """Return C_i = Σ_j c(a_j, y_j)."""
        units = self.network.sizes[-1]
        whole = Sum("to", self.L, units, self.loss_of("to")) if units > 1 else self.loss_of(0)
        return Equation((self.C, whole), "We know that")

    def loss_of(self, j: Index) -> Expr:
        """Return c(a_j, y_j)."""
        return self._loss_formula(self.network.loss.formula, j)

    def loss_derivative(self, j: Index) -> Expr:
        """Return ∂C_i/∂a_j."""
        return self._loss_formula(self.network.loss.derivative_formula, j)

    def _loss_formula(self, text: str, j: Index) -> Expr:
        letters: dict[str, Expr] = {"a": quantity("a", self.L, j), "y": quantity("y", None, j)}
        return self.turned(fill(parse(text)[-1], letters))

    def turned(self, expr: Expr) -> Expr:
        """Return a formula with the residual in the order of the notation."""
        return turn_residual(expr) if self.notation.residual == "y - a" else expr

    def over_units(self, l: int, body: Expr) -> Expr:
        """Return Σ_m over the units of layer l, or the body alone if the layer has one unit."""
        units = self.network.sizes[l]
        return Sum("next", l, units, body) if units > 1 else body

    def product_symbol(self, l: int, j: Index, last: Expr) -> Expr:
        """Return (∂C/∂a_j)(∂a_j/∂z_j)(last), with the first two as one where they cancel."""
        a_j, z_j = quantity("a", l, j), quantity("z", l, j)
        if self.is_reduced(l):
            return mul(Factor(Partial(self.C, z_j)), Factor(last))
        return mul(Factor(Partial(self.C, a_j)), Factor(Partial(a_j, z_j)), Factor(last))

    def written_out(self, count: int, special: int, make: Callable[[int], Expr]) -> list[Expr]:
        """Return the items of a sum; of a long one, the first two, the special one and the last."""
        if count <= _WRITTEN_OUT:
            return [make(i) for i in range(count)]
        shown = sorted({0, 1, special, count - 1})
        items: list[Expr] = []
        for i, before in zip(shown, [-1, *shown], strict=False):
            if i > before + 1:
                items.append(Dots())
            items.append(make(i))
        return items

    def term(
        self,
        symbol: Expr,
        formula: Expr,
        values: Array,
        steps: list[Equation],
        contributions: Contributions | None = None,
    ) -> Term:
        """Return a term, with the numbers of the sample in focus in its formula."""
        value = Num(float(values[self.focus]))
        put: Expr
        if isinstance(symbol, Div):
            put = value
        elif contributions is not None and _has_sum(formula):
            shown, rest = contributions.largest(self.notation.max_terms)
            put = add(*(Num(part.value) for part in shown))
            if left := len(contributions) - len(shown):
                put = add(put, mul(Num(rest), Word(f"({the_others(left)})")))
        else:
            put = put_numbers(formula.replace(self._number_of_partial), self.value_of)
        hide = put == value or _divides_by_zero(put)
        numbers = Equation((symbol, value) if hide else (symbol, put, value))
        return Term(symbol, formula, values, self.focus, tuple(steps), numbers, contributions)


def _divides_by_zero(numbers: Expr) -> bool:
    """Return whether a denominator is 0, such as that of -y/a where a rounds to 0."""
    if isinstance(numbers, Div):
        try:
            if evaluate(numbers.denominator, {}, {}) == 0:
                return True
        except KeyError:  # a denominator with functions, of a user's own formula
            return False
    return any(map(_divides_by_zero, numbers.children()))


def _has_sum(formula: Expr) -> bool:
    return isinstance(formula, Sum) or any(map(_has_sum, formula.children()))
