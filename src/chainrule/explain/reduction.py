"""Reduction: ∂C/∂z at an output where ∂C/∂a · ∂a/∂z is summed over outputs and cancels.

After a softmax every output depends on every z, so that the chain rule is a sum over the row of the
Jacobian; for the cross-entropies what is left of it is a - y.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chainrule.equations.formulas import Call, Div, Expr, Neg, Num, add, mul, parse
from chainrule.equations.losses import CrossEntropy
from chainrule.explain.pieces import Array, Pieces
from chainrule.explain.symbols import Factor, Index, Iverson, Partial, Sum, fill, quantity
from chainrule.explain.terms import Contribution, Contributions, Equation, Term

TermOf = Callable[[int], Term]


def term(p: Pieces, j: int, dC_da: TermOf, da_dz: TermOf) -> Term:
    """Give ∂C/∂z_j^(L); the two functions make the factors of a contribution."""
    if p.softmax:
        formula, steps = _softmax(p, j)
    else:
        formula, steps = _sigmoid(p, j)
    parts = _parts(p, j)

    def contribution(position: int) -> Contribution:
        m = position if p.softmax else j
        a_m, z_j = quantity("a", p.L, m), quantity("z", p.L, j)
        symbol = mul(Factor(Partial(p.C, a_m)), Factor(Partial(a_m, z_j)))

        def factors() -> list[Term]:
            return [dC_da(m), _jacobian(p, m, j) if p.softmax else da_dz(j)]

        return Contribution(m, symbol, parts[:, position], p.focus, factors)

    contributions = Contributions(parts, p.focus, contribution)
    symbol = Partial(p.C, quantity("z", p.L, j))
    return p.term(symbol, formula, p.g.delta[p.L][:, j], steps, contributions)


def _sigmoid(p: Pieces, j: int) -> tuple[Expr, list[Equation]]:
    """∂C/∂z = (∂C/∂a)(∂a/∂z) = a - y for the binary cross-entropy."""
    z_j, a_j, y_j = quantity("z", p.L, j), quantity("a", p.L, j), quantity("y", None, j)
    g = p.network.layers[p.L].activation
    value = [fill(form, {"z": z_j}) for form in parse(g.formula)]
    da_dz = fill(parse(g.derivative_formula)[-1], {"z": z_j, "a": a_j})
    dC_da = p.loss_derivative(j)
    symbol, result = Partial(p.C, z_j), p.turned(add(a_j, Neg(y_j)))
    product = mul(Factor(Partial(p.C, a_j)), Factor(Partial(a_j, z_j)))
    together = mul(Factor(dC_da, True), Factor(da_dz, True))
    return result, [
        p.definition_of_loss(),
        Equation((a_j, *value), "with"),
        Equation((symbol, product), "Therefore"),
        Equation((Partial(p.C, a_j), dC_da), "where"),
        Equation((Partial(a_j, z_j), da_dz), "and"),
        Equation((symbol, together, result), "The denominators cancel, which leaves", True),
    ]


def _softmax(p: Pieces, j: int) -> tuple[Expr, list[Equation]]:
    """∂C/∂z_j = Σ_m (∂C/∂a_m)(∂a_m/∂z_j), the Jacobian's sum, and what it reduces to."""
    units = p.network.sizes[-1]
    m: Index = "next" if units > 1 else j
    z_j, a_j, y_j = quantity("z", p.L, j), quantity("a", p.L, j), quantity("y", None, j)
    z_m, a_m, y_m = quantity("z", p.L, m), quantity("a", p.L, m), quantity("y", None, m)
    symbol, dC_da = Partial(p.C, z_j), p.loss_derivative(m)
    jacobian = mul(a_m, add(Iverson(m, j), Neg(a_j)))
    total = Sum("other", p.L, units, Call("exp", (quantity("z", p.L, "other"),)))
    product = mul(Factor(Partial(p.C, a_m)), Factor(Partial(a_m, z_j)))
    together = mul(Factor(dC_da, True), Factor(jacobian, True))
    steps = [
        Equation((a_m, Div(Call("exp", (z_m,)), total)), "Softmax gives"),
        Equation(p.definition_of_loss().sides, "and the loss is"),
        Equation(
            (symbol, p.over_units(p.L, product)),
            "Every output depends on this z, and the chain rule sums over them",
        ),
        Equation((Partial(p.C, a_m), dC_da), "where"),
        Equation((Partial(a_m, z_j), jacobian), "and"),
        Equation((symbol, p.over_units(p.L, together)), "Together"),
    ]
    if isinstance(p.network.loss, CrossEntropy):
        left = p.over_units(p.L, mul(Neg(y_m), add(Iverson(m, j), Neg(a_j))))
        summed = add(mul(a_j, p.over_units(p.L, y_m)), Neg(y_j))
        result = p.turned(add(a_j, Neg(y_j)))
        lead = "The factors a cancel, and the targets sum to 1, which leaves"
        steps.append(Equation((symbol, left, summed, result), lead, True))
    else:
        mean = p.over_units(p.L, mul(Factor(Partial(p.C, a_m)), a_m))
        result = mul(a_j, add(Partial(p.C, a_j), Neg(mean)))
        lead = "[m = j] keeps one item of the sum, which leaves".replace(
            "[m = j]", f"[{p.notation.next_index} = {p.at(j)}]"
        )
        steps.append(Equation((symbol, result), lead, True))
    return result, steps


def _parts(p: Pieces, j: int) -> Array:
    """Give ∂C_i/∂a_m · ∂a_m/∂z_j for all m, (n, units), finite where a rounds to 0 or 1."""
    if not p.softmax:
        return p.g.delta[p.L][:, [j]]
    if isinstance(p.network.loss, CrossEntropy):
        parts: Array = -p.y * _same_minus_a(p, j)  # a_m cancelled
        return parts
    return p.dC_da_output * _column(p, j)


def _same_minus_a(p: Pieces, j: int) -> Array:
    """Give [m = j] - a_j for all m."""
    a = p.g.forward.a[-1]
    values: Array = np.eye(a.shape[1])[j] - a[:, [j]]
    return values


def _column(p: Pieces, j: int) -> Array:
    """Give ∂a_m/∂z_j for all m."""
    column: Array = p.g.forward.a[-1] * _same_minus_a(p, j)
    return column


def _jacobian(p: Pieces, m: int, j: int) -> Term:
    a_m, a_j, z_j = quantity("a", p.L, m), quantity("a", p.L, j), quantity("z", p.L, j)
    symbol = Partial(a_m, z_j)
    general = mul(a_m, add(Iverson(m, j), Neg(a_j)))
    result = mul(a_m, add(Num(1), Neg(a_m))) if m == j else Neg(mul(a_m, a_j))
    steps = [Equation((symbol, general, result), "The derivative of softmax is", True)]
    return p.term(symbol, result, _column(p, j)[:, m], steps)
