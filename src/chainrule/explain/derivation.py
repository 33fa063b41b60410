"""Derivations: from a network and its numbers to the terms of a chain rule.

The order is the one in which it is taught: the definition, the sum written out, what is left of it,
the result. Numbers come from `backprop` alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chainrule.equations.activations import Activation
from chainrule.equations.formulas import Div, Expr, Name, Num, add, mul, parse
from chainrule.equations.targets import Bias, PreActivation, Target, UnitOutput, Weight
from chainrule.explain import reduction
from chainrule.explain.pieces import Array, Pieces
from chainrule.explain.symbols import (
    Differentiate,
    Dots,
    Factor,
    Function,
    Index,
    LossSymbol,
    Partial,
    Quantity,
    Sum,
    fill,
    put_numbers,
    quantity,
)  # fmt: skip
from chainrule.explain.terms import Contribution, Contributions, Equation, Term


def chain(p: Pieces, target: Target) -> list[Term]:
    """Return the terms whose product is the derivative of C_i with respect to the target."""
    match target:
        case Weight(l, j, k):
            return [*_to_z(p, l, j), _dz_dw(p, l, j, k)]
        case Bias(l, j):
            return [*_to_z(p, l, j), _dz_db(p, l, j)]
        case PreActivation(l, j):
            return [*_to_z(p, l, j)]
        case UnitOutput(l, j):
            return [_dC_da(p, l, j)]


def _to_z(p: Pieces, l: int, j: int) -> Sequence[Term]:
    """Return the terms down to z_j^(l): ∂C/∂a and ∂a/∂z, or ∂C/∂z where these cancel."""

    def make() -> tuple[Term, ...]:
        if p.is_reduced(l):
            output = reduction.term(p, j, lambda m: _dC_da_output(p, m), lambda i: _da_dz(p, l, i))
            return (output,)
        return _dC_da(p, l, j), _da_dz(p, l, j)

    return p.once(("to z", l, j), make)


# --- ∂C/∂a --------------------------------------------------------------------------------------


def _dC_da(p: Pieces, l: int, j: int) -> Term:
    def make() -> Term:
        return _dC_da_output(p, j) if l == p.L else _dC_da_hidden(p, l, j)

    return p.once(("to a", l, j), make)


def _dC_da_output(p: Pieces, j: int) -> Term:
    a_j, units = quantity("a", p.L, j), p.network.sizes[-1]
    symbol, result, known = Partial(p.C, a_j), p.loss_derivative(j), p.definition_of_loss()
    if units == 1:
        alone = Differentiate(a_j, p.loss_of(0))
        steps = [Equation((symbol, alone, result), is_result=True)]
    else:
        whole, items = known.sides[1], p.written_out(units, j, p.loss_of)
        steps = _expanded(symbol, a_j, whole, items, result)
    return p.term(symbol, result, p.dC_da_output[:, j], [known, *steps])


def _dC_da_hidden(p: Pieces, l: int, j: int) -> Term:
    """Return ∂C/∂a_j^(l), the sum over the units m of layer l+1 that the unit feeds."""
    a_j, units = quantity("a", l, j), p.network.sizes[l + 1]
    m: Index = "next" if units > 1 else 0
    z_m, w_mj = quantity("z", l + 1, m), quantity("w", l + 1, m, j)
    symbol = Partial(p.C, a_j)
    product = p.product_symbol(l + 1, m, Partial(z_m, a_j))
    left = p.over_units(l + 1, mul(Factor(Partial(p.C, z_m)), w_mj))
    through = f"The loss depends on this activation through the one unit of layer {l + 1}"
    if units > 1:
        through = (
            f"The loss depends on this activation through every unit of layer {l + 1}, and the "
            "chain rule sums over them"
        )
    steps = [
        Equation((symbol, p.over_units(l + 1, product)), through),
        Equation((Partial(z_m, a_j), w_mj), "where"),
        Equation((symbol, left), "and so, with the factors down to z combined", True),
    ]
    parts = p.g.delta[l + 1] * p.weights(l + 1, np.s_[:, j])

    def contribution(m: int) -> Contribution:
        last = Partial(quantity("z", l + 1, m), a_j)
        symbol = p.product_symbol(l + 1, m, last)
        return Contribution(
            m, symbol, parts[:, m], p.focus, lambda: [*_to_z(p, l + 1, m), _dz_da(p, l + 1, m, j)]
        )

    contributions = Contributions(parts, p.focus, contribution)
    return p.term(symbol, left, parts.sum(axis=1), steps, contributions)


# --- ∂a/∂z --------------------------------------------------------------------------------------


def _da_dz(p: Pieces, l: int, j: int) -> Term:
    """Return ∂a_j/∂z_j = g'(z_j); with dropout a = m g(z), and the term is m g'(z)."""
    a_j, z_j, style = quantity("a", l, j), quantity("z", l, j), p.notation.function
    activation, mask = p.network.layers[l].activation, p.g.forward.masks[l]
    z, a = p.g.forward.z[l][:, j], p.g.forward.a[l][:, j]
    if mask is None:
        values = activation.derivative(z, a)
    else:
        values = mask[:, j] * activation.derivative(z, activation.value(z))

    def masked(expr: Expr, unit: Index = j) -> Expr:
        return expr if mask is None else mul(quantity("m", l, unit), expr)

    letters: dict[str, Expr] = {"z": z_j, "a": a_j}
    forms = parse(activation.derivative_formula)
    if mask is not None:
        forms = forms[:1]  # the later ones use a = g(z), but with dropout a = m g(z)
    g, g_prime = masked(Function(l, z_j)), masked(Function(l, z_j, prime=True))
    named = [masked(fill(form, letters)) for form in parse(activation.formula)]
    results = [masked(fill(form, letters)) for form in forms]

    steps: list[Equation] = []
    lead = "The activation is"
    if style != "name" and p.network.sizes[l] > 1:
        to = p.notation.to_index
        a_to, g_to = quantity("a", l, "to"), masked(Function(l, quantity("z", l, "to")), "to")
        steps.append(Equation((a_to, g_to), f"For each unit {to} of {p.layer_words(l)} we have"))
        lead = f"and since {to} = {p.at(j)}, we have"
    value = {"g": [g], "name": named, "both": [g, *named]}[style]
    derivative = {
        "g": [Differentiate(z_j, g), g_prime],
        "name": results,
        "both": [g_prime, *results],
    }[style]
    symbol = Partial(a_j, z_j)
    steps.append(Equation((a_j, *value), lead))
    lead = _why_slope(activation, float(z[p.focus]))
    steps.append(Equation((symbol, *derivative), lead, is_result=True))
    return p.term(symbol, g_prime if style == "g" else results[-1], values, steps)


def _why_slope(g: Activation, z: float) -> str:
    """Return the words before g'(z), which say what they mean at a kink and where g is flat."""
    if z in g.kinks:
        what = "jumps" if g.is_flat else "has a kink"
        return f"At z = {z:g} the function {what} and has no derivative; by convention"
    if g.is_flat:
        return f"The {g.name} function is flat on both sides of its jump, so no gradient passes"
    return "Therefore"


# --- ∂z/∂w, ∂z/∂b, ∂z/∂a ------------------------------------------------------------------------


def _dz_dw(p: Pieces, l: int, j: int, k: int) -> Term:
    a_k = quantity("a", l - 1, k)
    return _dz(p, l, j, quantity("w", l, j, k), a_k, k, p.g.forward.a[l - 1][:, k])


def _dz_db(p: Pieces, l: int, j: int) -> Term:
    return _dz(p, l, j, quantity("b", l, j), Num(1), 0, np.ones(len(p.y)))


def _dz_da(p: Pieces, l: int, j: int, k: int) -> Term:
    w_jk = quantity("w", l, j, k)
    values = np.full(len(p.y), p.value_of(w_jk))
    return _dz(p, l, j, quantity("a", l - 1, k), w_jk, k, values)


def _dz(p: Pieces, l: int, j: int, by: Quantity, result: Expr, k: int, values: Array) -> Term:
    """Return ∂z_j/∂by for z_j = Σ_k w_jk a_k + b_j, where only one item depends on ``by``."""
    z_j, fan_in, units = quantity("z", l, j), p.network.sizes[l - 1], p.network.sizes[l]
    symbol, whole = Partial(z_j, by), _weighted_sum(p, l, j)
    if fan_in == 1:
        steps = [
            Equation((z_j, whole), "The pre-activation is"),
            Equation((symbol, result), "Therefore", is_result=True),
        ]
        return p.term(symbol, result, values, steps)
    lead, steps = "The pre-activation is", []
    if units > 1:
        to, z_to = p.notation.to_index, quantity("z", l, "to")
        general = f"For each unit {to} of {p.layer_words(l)} we have"
        steps.append(Equation((z_to, _weighted_sum(p, l, "to")), general))
        lead = f"Since {to} = {p.at(j)}, we have"
    steps.append(Equation((z_j, whole), lead))
    items = p.written_out(fan_in, k, lambda i: mul(quantity("w", l, j, i), quantity("a", l - 1, i)))
    if p.network.biases:
        items.append(quantity("b", l, j))
    return p.term(symbol, result, values, steps + _expanded(symbol, by, whole, items, result))


def _weighted_sum(p: Pieces, l: int, j: Index) -> Expr:
    """Return Σ_k w_jk a_k + b_j."""
    fan_in = p.network.sizes[l - 1]
    k: Index = "from" if fan_in > 1 else 0
    body = mul(quantity("w", l, j, k), quantity("a", l - 1, k))
    total: Expr = Sum("from", l - 1, fan_in, body) if fan_in > 1 else body
    return add(total, quantity("b", l, j)) if p.network.biases else total


def _expanded(
    symbol: Expr, by: Quantity, whole: Expr, items: list[Expr], result: Expr
) -> list[Equation]:
    """Differentiate a sum: as it stands, written out, item by item, and what is left."""
    each = [item if isinstance(item, Dots) else Differentiate(by, item) for item in items]
    of_whole, of_items = Differentiate(by, whole), Differentiate(by, add(*items))
    return [
        Equation((symbol, of_whole), "Therefore"),
        Equation(
            (of_whole, of_items, add(*each), result), "Expanding the sum, we see", is_result=True
        ),
    ]


# --- weights of samples and penalty --------------------------------------------------------------


def weight_of_sample(p: Pieces) -> Term:
    """Return the factor s_i / s̄ of a weighted sample; s̄ is the mean weight."""
    s_i, n = quantity("s", None, "sample"), len(p.y)
    symbol = Div(quantity("s", None, p.focus), Name("mean_s"))
    weighted = Sum("sample", None, n, mul(s_i, LossSymbol("sample")))
    mean = Div(weighted, Sum("sample", None, n, s_i))
    lead = "The loss is a weighted mean: each sample counts by its weight over the mean weight"
    return p.term(symbol, symbol, p.g.shares * n, [Equation((LossSymbol(), mean), lead)])


def penalty(p: Pieces, target: Target) -> Term | None:
    """Return ∂R/∂w = λ w for a weight of a network with an L2 penalty, else None."""
    if not (p.network.l2 and isinstance(target, Weight)):
        return None
    w, rate, R = (
        quantity("w", target.layer, target.j, target.k),
        Name("lambda"),
        LossSymbol(letter="R"),
    )
    symbol, result = Partial(R, w), mul(rate, w)
    value = p.network.l2 * p.value_of(w)
    half = mul(Div(Num(1), Num(2)), rate, Name("sum_w2"))
    steps = (
        Equation((R, half), "The penalty on large weights is"),
        Equation((symbol, result), "Therefore", is_result=True),
    )
    product = mul(Factor(Num(p.network.l2)), Factor(put_numbers(w, p.value_of)))
    numbers = Equation((symbol, product, Num(value)))
    return Term(symbol, result, np.full(len(p.y), value), p.focus, steps, numbers)
