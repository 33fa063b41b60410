"""Derivations: from a network and its numbers to the terms of a chain rule.

The order is the one in which it is taught: the definition, the sum written out, what is left of it,
the result. Numbers come from `chainrule.backprop` alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.activations import Softmax
from chainrule.backprop import Gradient
from chainrule.explain.notation import Notation
from chainrule.explain.symbols import (
    Differentiate,
    Dots,
    Factor,
    Function,
    Index,
    Iverson,
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
from chainrule.explain.terms import Contribution, Contributions, Equation, Term
from chainrule.formulas import Call, Div, Expr, Name, Neg, Num, add, mul, parse
from chainrule.losses import CrossEntropy, LossFromZ
from chainrule.targets import Bias, PreActivation, Target, UnitOutput, Weight

if TYPE_CHECKING:
    from chainrule.network import Network

Array = NDArray[Any]
_WRITTEN_OUT = 5  # a sum of up to this many items is written out whole


class Derivation:
    """Makes the terms of any derivative of one network on one set of samples."""

    def __init__(
        self, network: Network, gradient: Gradient, y: Array, focus: int, notation: Notation
    ) -> None:
        self.network, self.g, self.y, self.focus, self.notation = (
            network,
            gradient,
            y,
            focus,
            notation,
        )
        self.L = len(network.sizes) - 1
        self.C = LossSymbol(focus)

    # --- the chain ------------------------------------------------------------------------------

    def chain(self, target: Target) -> list[Term]:
        """Give the terms whose product is the derivative of C_i with respect to the target."""
        match target:
            case Weight(l, j, k):
                return [*self._to_z(l, j), self._dz_dw(l, j, k)]
            case Bias(l, j):
                return [*self._to_z(l, j), self._dz_db(l, j)]
            case PreActivation(l, j):
                return self._to_z(l, j)
            case UnitOutput(l, j):
                return [self._dC_da(l, j)]

    def _to_z(self, l: int, j: int) -> list[Term]:
        """Give the terms down to z_j^(l): ∂C/∂a and ∂a/∂z, or ∂C/∂z where they are reduced."""
        if self._reduced(l):
            return [self._dC_dz(j)]
        return [self._dC_da(l, j), self._da_dz(l, j)]

    def _reduced(self, l: int) -> bool:
        """Say whether ∂C/∂z of layer l is one term: after a softmax, or for a cross-entropy."""
        output = self.network.layers[self.L].activation
        return (l == self.L and isinstance(output, Softmax)) or (
            l == self.L and isinstance(self.network.loss, LossFromZ)
        )

    # --- ∂C/∂a ----------------------------------------------------------------------------------

    def _dC_da(self, l: int, j: int) -> Term:
        return self._dC_da_output(j) if l == self.L else self._dC_da_hidden(l, j)

    def _dC_da_output(self, j: int) -> Term:
        a_j, units = quantity("a", self.L, j), self.network.sizes[-1]
        result = self._loss_derivative(j)
        symbol = Partial(self.C, a_j)
        known = self._definition_of_loss()
        if units == 1:
            steps = [
                Equation((symbol, Differentiate(a_j, self._loss_of(0)), result), is_result=True)
            ]
        else:
            whole = known.sides[1]
            items = self._written_out(units, j, self._loss_of)
            each = [x if isinstance(x, Dots) else Differentiate(a_j, x) for x in items]
            steps = [
                Equation((symbol, Differentiate(a_j, whole)), "Therefore"),
                Equation(
                    (
                        Differentiate(a_j, whole),
                        Differentiate(a_j, add(*items)),
                        add(*each),
                        result,
                    ),
                    "Expanding the sum, we see",
                    True,
                ),
            ]
        return self._term(symbol, result, self._dC_da_values[:, j], [known, *steps])

    def _dC_da_hidden(self, l: int, j: int) -> Term:
        """∂C/∂a_j^(l) = Σ_m over the units of layer l+1 that it feeds."""
        a_j, units = quantity("a", l, j), self.network.sizes[l + 1]
        symbol = Partial(self.C, a_j)
        m: Index = "next" if units > 1 else 0
        z_m, w_mj = quantity("z", l + 1, m), quantity("w", l + 1, m, j)
        product = self._product_symbol(l + 1, m, Partial(z_m, a_j))
        left = mul(Factor(Partial(self.C, z_m)), w_mj)
        dots = Contributions(
            self.g.delta[l + 1] * self._W(l + 1)[:, j],
            self.focus,
            lambda unit: self._contribution_hidden(l, j, unit),
        )
        through = (
            f"The loss depends on unit {self._at(j)} of layer {l} through every unit of layer {l + 1}"
            if units > 1
            else f"The loss depends on it through the unit of layer {l + 1}"
        )
        steps = [
            Equation((symbol, self._over_units(l + 1, product)), through),
            Equation((Partial(z_m, a_j), w_mj), "where"),
            Equation(
                (symbol, self._over_units(l + 1, left)),
                "and so, with the first two factors as one",
                True,
            ),
        ]
        values = dots.values.sum(axis=1)
        return self._term(symbol, self._over_units(l + 1, left), values, steps, dots)

    def _contribution_hidden(self, l: int, j: int, m: int) -> Contribution:
        values = self.g.delta[l + 1][:, m] * self._W(l + 1)[m, j]
        symbol = self._product_symbol(
            l + 1, m, Partial(quantity("z", l + 1, m), quantity("a", l, j))
        )
        return Contribution(
            m, symbol, values, self.focus, lambda: [*self._to_z(l + 1, m), self._dz_da(l + 1, m, j)]
        )

    def _product_symbol(self, l: int, j: Index, last: Expr) -> Expr:
        a_j, z_j = quantity("a", l, j), quantity("z", l, j)
        if self._reduced(l):
            return mul(Factor(Partial(self.C, z_j)), Factor(last))
        return mul(Factor(Partial(self.C, a_j)), Factor(Partial(a_j, z_j)), Factor(last))

    # --- ∂a/∂z ----------------------------------------------------------------------------------

    def _da_dz(self, l: int, j: int) -> Term:
        a_j, z_j = quantity("a", l, j), quantity("z", l, j)
        activation, mask = self.network.layers[l].activation, self.g.forward.masks[l]
        style = self.notation.function
        values_of, forms = parse(activation.formula), parse(activation.derivative_formula)
        if mask is not None:
            forms = forms[:1]  # later forms use a = g(z), but here a = m g(z)
        letters: dict[str, Expr] = {"z": z_j, "a": a_j}

        def times_mask(expr: Expr, unit: Index = j) -> Expr:
            return expr if mask is None else mul(quantity("m", l, unit), expr)

        g, g_prime = times_mask(Function(l, z_j)), times_mask(Function(l, z_j, prime=True))
        named = [times_mask(fill(form, letters)) for form in values_of]
        results = [times_mask(fill(form, letters)) for form in forms]

        symbol = Partial(a_j, z_j)
        steps: list[Equation] = []
        if style != "name" and self.network.sizes[l] > 1:
            a_to, z_to = quantity("a", l, "to"), quantity("z", l, "to")
            lead = f"For each unit {self.notation.to_index} of {self._layer_words(l)} we have"
            steps.append(Equation((a_to, times_mask(Function(l, z_to), "to")), lead))
            lead = f"and since {self.notation.to_index} = {self._at(j)}, we have"
        else:
            lead = "The activation is"
        definition = {"g": [g], "name": named, "both": [g, *named]}[style]
        steps.append(Equation((a_j, *definition), lead))
        derivative = {
            "g": [Differentiate(z_j, g), g_prime],
            "name": results,
            "both": [g_prime, *results],
        }[style]
        steps.append(Equation((symbol, *derivative), "Therefore", True))
        if mask is None:
            values = activation.derivative(self.g.forward.z[l][:, j], self.g.forward.a[l][:, j])
        else:
            z = self.g.forward.z[l][:, j]
            values = mask[:, j] * activation.derivative(z, activation.value(z))
        formula = g_prime if style == "g" else results[-1]
        return self._term(symbol, formula, values, steps)

    # --- ∂z/∂w, ∂z/∂b, ∂z/∂a --------------------------------------------------------------------

    def _dz_dw(self, l: int, j: int, k: int) -> Term:
        w_jk = quantity("w", l, j, k)
        return self._dz(l, j, w_jk, quantity("a", l - 1, k), k, self.g.forward.a[l - 1][:, k])

    def _dz_db(self, l: int, j: int) -> Term:
        return self._dz(l, j, quantity("b", l, j), Num(1), 0, np.ones(len(self.y)))

    def _dz_da(self, l: int, j: int, k: int) -> Term:
        w = np.full(len(self.y), float(self._W(l)[j, k]))
        return self._dz(l, j, quantity("a", l - 1, k), quantity("w", l, j, k), k, w)

    def _dz(self, l: int, j: int, by: Quantity, result: Expr, k: int, values: Array) -> Term:
        """∂z_j/∂by for the sum z_j = Σ_k w_jk a_k + b_j, of which only one item depends on it."""
        z_j, fan_in = quantity("z", l, j), self.network.sizes[l - 1]
        symbol = Partial(z_j, by)
        if fan_in == 1:
            steps = [
                Equation((z_j, self._weighted_sum(l, j)), "The pre-activation is"),
                Equation((symbol, result), "Therefore", True),
            ]
            return self._term(symbol, result, values, steps)
        whole = self._weighted_sum(l, j)
        items = self._written_out(
            fan_in, k, lambda i: mul(quantity("w", l, j, i), quantity("a", l - 1, i))
        )
        if self.network.biases:
            items.append(quantity("b", l, j))
        each = [x if isinstance(x, Dots) else Differentiate(by, x) for x in items]
        steps = [
            Equation(
                (quantity("z", l, "to"), self._weighted_sum(l, "to")),
                f"For each unit {self.notation.to_index} of {self._layer_words(l)} we have",
            ),
            Equation((z_j, whole), f"Since {self.notation.to_index} = {self._at(j)}, we have"),
            Equation((symbol, Differentiate(by, whole)), "Therefore"),
            Equation(
                (Differentiate(by, whole), Differentiate(by, add(*items)), add(*each), result),
                "Expanding the sum, we see",
                True,
            ),
        ]
        if self.network.sizes[l] == 1:
            del steps[0]
            steps[0] = Equation((z_j, whole), "The pre-activation is")
        return self._term(symbol, result, values, steps)

    def _weighted_sum(self, l: int, j: Index) -> Expr:
        fan_in = self.network.sizes[l - 1]
        k: Index = "from" if fan_in > 1 else 0
        body = mul(quantity("w", l, j, k), quantity("a", l - 1, k))
        total: Expr = Sum("from", l - 1, fan_in, body) if fan_in > 1 else body
        return add(total, quantity("b", l, j)) if self.network.biases else total

    # --- ∂C/∂z where ∂C/∂a · ∂a/∂z is reduced -----------------------------------------------------

    def _dC_dz(self, j: int) -> Term:
        """∂C/∂z_j = Σ_m ∂C/∂a_m ∂a_m/∂z_j over the outputs, and what it reduces to."""
        L, units = self.L, self.network.sizes[-1]
        loss, output = self.network.loss, self.network.layers[L].activation
        z_j, a_j, y_j = quantity("z", L, j), quantity("a", L, j), quantity("y", None, j)
        symbol = Partial(self.C, z_j)
        m: Index = "next" if isinstance(output, Softmax) and units > 1 else j
        a_m, z_m = quantity("a", L, m), quantity("z", L, m)
        dC_da = self._loss_derivative(m)
        result: Expr = self._turned(add(a_j, Neg(y_j)))
        known = self._definition_of_loss()
        if not isinstance(output, Softmax):  # sigmoid before a binary cross-entropy
            forms = parse(output.derivative_formula)
            da_dz = fill(forms[-1], {"z": z_j, "a": a_j})
            value = [fill(form, {"z": z_j}) for form in parse(output.formula)]
            steps = [
                known,
                Equation((a_j, *value), "with"),
                Equation(
                    (symbol, mul(Factor(Partial(self.C, a_j)), Factor(Partial(a_j, z_j)))),
                    "Therefore",
                ),
                Equation((Partial(self.C, a_j), dC_da), "where"),
                Equation((Partial(a_j, z_j), da_dz), "and"),
                Equation(
                    (symbol, mul(Factor(dC_da, True), Factor(da_dz, True)), result),
                    "The denominators cancel, and what is left is",
                    True,
                ),
            ]
        else:
            jacobian = mul(a_m, add(Iverson(m, j), Neg(a_j)))
            power = Call("exp", (quantity("z", L, "other"),))
            softmax = Div(Call("exp", (z_m,)), Sum("other", L, units, power))
            product = mul(Factor(Partial(self.C, a_m)), Factor(Partial(a_m, z_j)))
            steps = [
                Equation((a_m, softmax), "Softmax gives"),
                Equation(known.sides, "and the loss is"),
                Equation(
                    (symbol, self._over_outputs(product)),
                    "Every output depends on this z, so the chain rule sums over all",
                ),
                Equation((Partial(self.C, a_m), dC_da), "where"),
                Equation((Partial(a_m, z_j), jacobian), "and"),
                Equation(
                    (symbol, self._over_outputs(mul(Factor(dC_da, True), Factor(jacobian, True)))),
                    "Together",
                ),
            ]
            if isinstance(loss, CrossEntropy):
                left = self._over_outputs(
                    mul(Neg(quantity("y", None, m)), add(Iverson(m, j), Neg(a_j)))
                )
                summed = add(mul(a_j, self._over_outputs(quantity("y", None, m))), Neg(y_j))
                lead = "The factors a cancel, and the targets sum to 1, which leaves"
                steps.append(Equation((symbol, left, summed, result), lead, True))
            else:
                mean = self._over_outputs(mul(Factor(Partial(self.C, a_m)), a_m))
                result = mul(a_j, add(Partial(self.C, a_j), Neg(mean)))
                lead = "Only the item with equal units keeps the 1, which leaves"
                steps.append(Equation((symbol, result), lead, True))
        parts = Contributions(
            self._output_parts(j), self.focus, lambda i: self._contribution_output(j, i)
        )
        return self._term(symbol, result, self.g.delta[L][:, j], steps, parts)

    def _output_parts(self, j: int) -> Array:
        """Give ∂C_i/∂a_m · ∂a_m/∂z_j for all m, (n, units), finite where a rounds to 0 or 1."""
        a, y = self.g.forward.a[-1], self.y
        if not isinstance(self.network.layers[self.L].activation, Softmax):
            return self.g.delta[self.L][:, [j]]
        if isinstance(self.network.loss, CrossEntropy):
            return -y * (np.eye(a.shape[1])[j] - a[:, [j]])  # a_m cancelled
        return self._dC_da_values * self._jacobian_column(j)

    def _jacobian_column(self, j: int) -> Array:
        a = self.g.forward.a[-1]
        return a * (np.eye(a.shape[1])[j] - a[:, [j]])

    def _contribution_output(self, j: int, position: int) -> Contribution:
        """Give the part of ∂C/∂z_j that goes through one output."""
        softmax = isinstance(self.network.layers[self.L].activation, Softmax)
        m = position if softmax else j
        a_m, z_j = quantity("a", self.L, m), quantity("z", self.L, j)
        symbol = mul(Factor(Partial(self.C, a_m)), Factor(Partial(a_m, z_j)))

        def terms() -> list[Term]:
            return [
                self._dC_da_output(m),
                self._da_dz_softmax(m, j) if softmax else self._da_dz(self.L, j),
            ]

        return Contribution(m, symbol, self._output_parts(j)[:, position], self.focus, terms)

    def _da_dz_softmax(self, m: int, j: int) -> Term:
        a_m, a_j, z_j = quantity("a", self.L, m), quantity("a", self.L, j), quantity("z", self.L, j)
        symbol = Partial(a_m, z_j)
        general = mul(a_m, add(Iverson(m, j), Neg(a_j)))
        result = mul(a_m, add(Num(1), Neg(a_m))) if m == j else Neg(mul(a_m, a_j))
        steps = [Equation((symbol, general, result), "The derivative of softmax is", True)]
        return self._term(symbol, result, self._jacobian_column(j)[:, m], steps)

    # --- pieces ---------------------------------------------------------------------------------

    def weight_of_sample(self) -> Term:
        """Give the factor s_i / s̄ of a weighted sample, s̄ the mean weight."""
        s, mean = quantity("s", None, "sample"), Name("mean_s")
        symbol = Div(quantity("s", None, self.focus), mean)
        values = self.g.shares * len(self.g.shares)
        total = Sum("sample", None, len(values), s)
        steps = [
            Equation(
                (
                    LossSymbol(),
                    Div(Sum("sample", None, len(values), mul(s, LossSymbol("sample"))), total),
                ),
                "The loss is the weighted mean, so each sample counts by its weight beside the mean weight",
            ),
        ]
        return self._term(symbol, symbol, values, steps)

    def penalty(self, target: Target) -> Term | None:
        """Give ∂R/∂w = λ w for a weight of a network with l2, else None."""
        if not (self.network.l2 and isinstance(target, Weight)):
            return None
        w = quantity("w", target.layer, target.j, target.k)
        R, rate = LossSymbol(letter="R"), Name("lambda")
        symbol, result = Partial(R, w), mul(rate, w)
        value = self.network.l2 * float(self._W(target.layer)[target.j, target.k])
        half = mul(Div(Num(1), Num(2)), rate, Name("sum_w2"))
        steps = [
            Equation((R, half), "The penalty on large weights is"),
            Equation((symbol, result), "Therefore", True),
        ]
        numbers = Equation(
            (
                symbol,
                mul(Factor(Num(self.network.l2)), Factor(put_numbers(w, self.value_of))),
                Num(value),
            )
        )
        values = np.full(len(self.y), value)
        return Term(symbol, result, values, self.focus, tuple(steps), numbers)

    def value_of(self, q: Quantity) -> float:
        """Give the number of a quantity for the sample in focus."""
        units = tuple(unit for unit in q.units if isinstance(unit, int))
        i, l = self.focus, q.layer
        if q.letter == "y":
            return float(self.y[i, units[0]])
        if q.letter == "s":
            return float(self.g.shares[i] * len(self.g.shares))
        assert isinstance(l, int)
        if q.letter == "w":
            return float(self._W(l)[units])
        if q.letter == "b":
            b = self.network.layers[l].b
            return float(b[units]) if b is not None else 0.0
        arrays: dict[str, Any] = {
            "z": self.g.forward.z,
            "a": self.g.forward.a,
            "m": self.g.forward.masks,
        }
        return float(arrays[q.letter][l][(i, *units)])

    def _term(
        self,
        symbol: Expr,
        formula: Expr,
        values: Array,
        steps: list[Equation],
        contributions: Contributions | None = None,
    ) -> Term:
        value = Num(float(values[self.focus]))
        if contributions is not None and not self._is_plain(formula):
            shown, rest = contributions.largest(self.notation.max_terms)
            items: list[Expr] = [Num(part.value) for part in shown]
            if left := len(contributions) - len(shown):
                items.append(mul(Num(rest), Word(f"(rest of {left})")))
            numbers = Equation((symbol, add(*items), value) if len(items) > 1 else (symbol, value))
        elif isinstance(symbol, Div):
            numbers = Equation((symbol, value))
        else:
            put = put_numbers(formula, self.value_of)
            numbers = Equation((symbol, value) if put == value else (symbol, put, value))
        return Term(symbol, formula, values, self.focus, tuple(steps), numbers, contributions)

    def _is_plain(self, formula: Expr) -> bool:
        """Say whether a formula holds nothing but quantities of units that are numbers."""
        if isinstance(formula, Partial | Sum):
            return False
        return all(self._is_plain(child) for child in formula.children())

    def _definition_of_loss(self) -> Equation:
        units = self.network.sizes[-1]
        whole = Sum("to", self.L, units, self._loss_of("to")) if units > 1 else self._loss_of(0)
        return Equation((self.C, whole), "We know that")

    def _loss_of(self, j: Index) -> Expr:
        return self._loss_formula(self.network.loss.formula, j)

    def _loss_derivative(self, j: Index) -> Expr:
        return self._loss_formula(self.network.loss.derivative_formula, j)

    def _loss_formula(self, text: str, j: Index) -> Expr:
        letters: dict[str, Expr] = {"a": quantity("a", self.L, j), "y": quantity("y", None, j)}
        return self._turned(fill(parse(text)[-1], letters))

    def _turned(self, expr: Expr) -> Expr:
        return turn_residual(expr) if self.notation.residual == "y - a" else expr

    @cached_property
    def _dC_da_values(self) -> Array:
        with np.errstate(over="ignore"):
            return self.network.loss.derivative(self.g.forward.a[-1], self.y)

    def _W(self, l: int) -> Array:
        return self.network.layers[l].W.astype(np.float64, copy=False)

    def _over_units(self, l: int, body: Expr) -> Expr:
        units = self.network.sizes[l]
        return Sum("next", l, units, body) if units > 1 else body

    def _over_outputs(self, body: Expr) -> Expr:
        return self._over_units(self.L, body)

    def _written_out(self, count: int, special: int, make: Callable[[int], Expr]) -> list[Expr]:
        """Give the items of a sum; of a long one the first, the special one and the last."""
        if count <= _WRITTEN_OUT:
            return [make(i) for i in range(count)]
        shown = sorted({0, 1, special, count - 1})
        items: list[Expr] = []
        for i, before in zip(shown, [-1, *shown], strict=False):
            if i > before + 1:
                items.append(Dots())
            items.append(make(i))
        return items

    def _at(self, unit: int) -> int:
        return unit + self.notation.first_index

    def _layer_words(self, l: int) -> str:
        if self.notation.layer_names == "number":
            return f"layer {l}"
        return f"layer L-{self.L - l}" if l < self.L else "the output layer L"
