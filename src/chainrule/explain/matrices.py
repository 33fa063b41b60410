"""Matrix form: the equations of backpropagation for whole layers, with shapes and numbers.

A row of x, z, a and δ is a sample, as in `backprop`; products of matrices stand without a sign, and
⊙ multiplies element by element.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from chainrule.equations.formulas import Add, Div, Expr, Mul, Name, Neg, Num, add, mul, parse
from chainrule.explain import reduction
from chainrule.explain.pieces import Array, Pieces
from chainrule.explain.symbols import (
    Dots,
    Function,
    Grid,
    Hadamard,
    Iverson,
    LossSymbol,
    Partial,
    Quantity,
    Shape,
    Sum,
    Transpose,
    fill,
    quantity,
)  # fmt: skip
from chainrule.explain.terms import Equation

MOST = 6  # rows and columns of a matrix that are written; of more, the first five and the last
_SHAPES = "with the shapes"


class MatrixForm:
    """The equations of a network on a batch, layer by layer, as matrices."""

    def __init__(self, p: Pieces, *, weighted: bool = False) -> None:
        self.p, self.n, self.weighted = p, len(p.y), weighted
        self.masks = p.g.forward.masks

    # --- equations ------------------------------------------------------------------------------

    def forward(self, l: int) -> Iterator[Equation]:
        """Return z = a Wᵀ + b and a = g(z) of layer l."""
        z, a, g = _of("z", l), _of("a", l), self.p.network.layers[l].activation
        product = mul(_of("a", l - 1), Transpose(_of("W", l)))
        yield from self._with_numbers(z, add(product, *self._b(l)), f"Layer {l}:")
        if self.p.softmax and l == self.p.L:
            lead = "Softmax turns each row of z into probabilities"
            yield Equation((a, Function(l, z), self.grid(self._value(a))), lead)
            return
        formula = elementwise(fill(parse(g.formula)[0], {"z": z}))
        if self.masks[l] is not None:
            formula = Hadamard((_of("m", l), Function(l, z)))
        yield Equation((a, formula, self.grid(self._value(a))), "and, element by element,")

    def backward(self, l: int) -> Iterator[Equation]:
        """Return δ of layer l: from the loss at the output, else from layer l + 1."""
        p, delta, z = self.p, _of("δ", l), _of("z", l)
        if l == p.L:
            lead = f"A row of δ holds ∂{p.notation.loss}/∂z of one sample:"
            yield Equation((delta, Partial(LossSymbol("sample"), z)), lead)
            yield from self._at_output()
            return
        factors: list[Expr] = [mul(_of("δ", l + 1), _of("W", l + 1))]
        if self.masks[l] is not None:
            factors.append(_of("m", l))
        product = Hadamard((*factors, Function(l, z, prime=True)))
        yield from self._with_numbers(delta, product, f"From layer {l + 1} to layer {l}:")

    def gradient(self, l: int) -> Iterator[Equation]:
        """Return ∂C/∂W and ∂C/∂b of layer l."""
        yield from self.of_weights(l)
        if self.p.network.biases:
            yield from self.of_biases(l)

    def of_weights(self, l: int) -> Iterator[Equation]:
        """Return ∂C/∂W = (1/n) δᵀ a, with sample weights and the penalty where they exist."""
        p, W, a = self.p, _of("W", l), _of("a", l - 1)
        symbol, delta = Partial(LossSymbol(), W), _of("δ", l)
        formula, scaled = mul(*self._mean(), Transpose(delta), a), p.g.delta[l]
        if self.weighted:
            rows = (Transpose(_of("δ", l, "sample")), _of("a", l - 1, "sample"))
            formula = self._weighted_sum(mul(*rows))
            scaled = (p.g.shares * self.n)[:, None] * scaled
        grids = (Transpose(self.grid(scaled)), self.grid(self._value(a)))
        numbers = mul(*self._mean(), *grids)
        if p.network.l2:
            formula = add(formula, mul(Name("lambda"), W))
            numbers = add(numbers, mul(Num(p.network.l2), self.grid(self._value(W))))
        lead = (
            "Weighted, a row for each sample:" if self.weighted else "The gradient of the weights"
        )
        yield Equation((symbol, formula, numbers, self.grid(p.g.dW[l])), lead)
        if not self.weighted:
            yield Equation((self._shape(W), self._shapes(formula)), _SHAPES)

    def of_biases(self, l: int) -> Iterator[Equation]:
        """Return ∂C/∂b = (1/n) Σ_i δ_i."""
        row, db = _of("δ", l, "sample"), self.p.g.db[l]
        assert db is not None
        formula = self._weighted_sum(row) if self.weighted else self._sum(row)
        if self.n == 1 and not self.weighted:
            formula = _of("δ", l)
        symbol = Partial(LossSymbol(), _of("b", l))
        lead = "The gradient of the biases" + (", the mean of the rows of δ" * (self.n > 1))
        yield Equation((symbol, formula, self.grid(db[None])), lead)

    def element(self, l: int, weights: bool) -> Equation:
        """Return one element of a gradient: the index form of the same equation."""
        delta = _of("δ", l, "sample", "to")
        if not weights:
            return Equation((Partial(LossSymbol(), _of("b", l, "to")), self._element(delta)))
        product = mul(delta, _of("a", l - 1, "sample", "from"))
        formula = self._element(product)
        if self.p.network.l2:
            formula = add(formula, mul(Name("lambda"), _of("w", l, "to", "from")))
        return Equation((Partial(LossSymbol(), _of("w", l, "to", "from")), formula))

    def update(
        self, l: int, learning_rate: float | None, biases: bool = True
    ) -> Iterator[Equation]:
        """Return W ← W − η ∂C/∂W and the same for b, with numbers if there is a learning rate."""
        gradients: list[tuple[Quantity, Array | None]] = [(_of("W", l), self.p.g.dW[l])]
        if biases:
            gradients.append((_of("b", l), self.p.g.db[l]))
        for q, found in gradients:
            if found is not None:
                yield self.moved(q, np.atleast_2d(found), learning_rate)

    def moved(self, q: Quantity, gradient: Array, learning_rate: float | None) -> Equation:
        """Return the update of one array."""
        sides: list[Expr] = [q, add(q, Neg(mul(Name("eta"), Partial(LossSymbol(), q))))]
        if learning_rate is not None:
            old = self._value(q)
            step = mul(Num(learning_rate), self.grid(gradient))
            new = self.grid(old - learning_rate * gradient)
            sides += [add(self.grid(old), Neg(step)), new]
        return Equation(tuple(sides), relation=self.p.notation.assign)

    # --- at the output --------------------------------------------------------------------------

    def _at_output(self) -> Iterator[Equation]:
        p, l = self.p, self.p.L
        delta, z, result = _of("δ", l), _of("z", l), self.grid(p.g.delta[l])
        if not p.is_reduced(l):
            steep = elementwise(_whole(p.loss_derivative(0)))
            slope = Function(l, z, prime=True)
            numbers = Hadamard((self.grid(p.dC_da_output), self._numbers(slope)))
            made = (delta, Hadamard((steep, slope)), numbers, result)
            yield Equation(made, "At the output:")
            yield self._shapes_of(delta, Hadamard((_of("a", l), z)))
            return
        unused: Callable[[int], Any] = lambda _: None  # noqa: E731  factors that are not opened
        formula = elementwise(_whole(reduction.term(p, 0, unused, unused).formula))
        if _has(formula, Sum, Iverson, Partial):
            lead = "At the output, where each row goes through the derivative of softmax:"
            yield Equation((delta, result), lead)
            return
        simple = not any(map(_is_complex, _nodes(formula)))
        sides = (delta, formula, *([self._numbers(formula)] if simple else []), result)
        yield Equation(sides, "At the output, where factors cancel:")
        yield self._shapes_of(delta, formula)

    # --- parts ----------------------------------------------------------------------------------

    def _with_numbers(self, q: Quantity, formula: Expr, lead: str) -> Iterator[Equation]:
        sides = (q, formula, self._numbers(formula), self.grid(self._value(q)))
        yield Equation(sides, lead)
        yield self._shapes_of(q, formula)

    def _shapes_of(self, q: Quantity, formula: Expr) -> Equation:
        return Equation((self._shape(q), self._shapes(formula)), _SHAPES)

    def _b(self, l: int) -> list[Expr]:
        return [_of("b", l)] if self.p.network.biases else []

    def _mean(self) -> list[Expr]:
        """Return the factor 1/n, or nothing for one sample."""
        count = Name("n") if self.p.notation.counts == "n" else Num(self.n)
        return [Div(Num(1), count)] if self.n > 1 else []

    def _sum(self, body: Expr) -> Expr:
        return mul(*self._mean(), Sum("sample", None, self.n, body))

    def _weighted_sum(self, body: Expr) -> Expr:
        return self._sum(mul(Div(quantity("s", None, "sample"), Name("mean_s")), body))

    def _element(self, body: Expr) -> Expr:
        return self._weighted_sum(body) if self.weighted else self._sum(body)

    def _value(self, q: Quantity) -> Array:
        p = self.p
        if q.letter == "y":
            return p.y
        assert isinstance(q.layer, int)
        if q.letter == "W":
            return p.weights(q.layer, np.s_[:])
        if q.letter == "b":
            b = p.network.layers[q.layer].b
            assert b is not None
            return np.asarray(b, dtype=np.float64)[None]
        arrays: dict[str, Any] = {"z": p.g.forward.z, "a": p.g.forward.a, "m": self.masks,
                                  "δ": p.g.delta}  # fmt: skip
        found: Array = arrays[q.letter][q.layer]
        return found

    def _slope(self, l: int) -> Array:
        g, z, a = self.p.network.layers[l].activation, self.p.g.forward.z[l], self.p.g.forward.a[l]
        return g.derivative(z, a if self.masks[l] is None else g.value(z))

    def _numbers(self, expr: Expr) -> Expr:
        def change(node: Expr) -> Expr | None:
            match node:
                case Quantity():
                    return self.grid(self._value(node))
                case Function(int(l), _, True):
                    return self.grid(self._slope(l))
            return None

        return expr.replace(change)

    def _shape(self, q: Quantity) -> Shape:
        return Shape(*self._value(q).shape)

    def _shapes(self, expr: Expr) -> Expr:
        def change(node: Expr) -> Expr | None:
            match node:
                case Transpose(Quantity() as q):
                    shape = self._shape(q)
                    return Shape(shape.columns, shape.rows)
                case Quantity():
                    return self._shape(node)
                case Function(_, Quantity() as z):
                    return self._shape(z)
                case Mul(items) if any(_is_scalar(item) for item in items):
                    return mul(*(item.replace(change) for item in items if not _is_scalar(item)))
            return None

        return expr.replace(change)

    @staticmethod
    def grid(values: Array) -> Grid:
        """Return a matrix of numbers, of a large one its first five rows and columns and the last.

        Args:
            values: The numbers, (rows, columns).
        """
        rows, columns = (_places(count) for count in values.shape)
        return Grid(
            tuple(
                tuple(
                    Dots() if i is None or k is None else Num(float(values[i, k])) for k in columns
                )
                for i in rows
            )
        )


def _of(letter: str, layer: int, *units: str) -> Quantity:
    return quantity(letter, layer, *units)


def _places(count: int) -> Sequence[int | None]:
    return range(count) if count <= MOST else [*range(MOST - 1), None, count - 1]


def _whole(expr: Expr) -> Expr:
    """Return a formula of unit 0 as one of the whole layer."""
    return expr.replace(
        lambda node: Quantity(node.letter, node.layer, ()) if isinstance(node, Quantity) else None
    )


def elementwise(expr: Expr) -> Expr:
    """Return a formula of numbers as one of matrices: ⊙ between factors that are matrices."""
    if isinstance(expr, Mul):
        items = [elementwise(item) for item in expr.items]
        arrays = tuple(item for item in items if not _is_scalar(item))
        if len(arrays) > 1:
            return mul(*(item for item in items if _is_scalar(item)), Hadamard(arrays))
        return mul(*items)
    if isinstance(expr, Add):
        return Add(tuple(map(elementwise, expr.items)))
    if isinstance(expr, Neg):
        return Neg(elementwise(expr.item))
    return expr


def _nodes(expr: Expr) -> Iterator[Expr]:
    yield expr
    for child in expr.children():
        yield from _nodes(child)


def _has(expr: Expr, *kinds: type[Expr]) -> bool:
    return any(isinstance(node, kinds) for node in _nodes(expr))


def _is_scalar(expr: Expr) -> bool:
    return not _has(expr, Quantity, Grid)


def _is_complex(node: Expr) -> bool:
    """Return whether a node is more than a sum or product, so that grids in it are hard to read."""
    return not isinstance(node, Add | Mul | Neg | Num | Quantity | Hadamard)
