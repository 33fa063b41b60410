"""Reduction: ∂C/∂z at an output where ∂C/∂a · ∂a/∂z is summed over outputs and cancels.

After softmax every output depends on every z, so the chain rule is a sum over a row of the
Jacobian. For the cross-entropies this leaves a - y, for Poisson's loss (a - y) g'(z)/a.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chainrule.equations.activations import others
from chainrule.equations.formulas import Call, Div, Expr, Neg, Num, add, mul, parse
from chainrule.equations.losses import CrossEntropy, Poisson
from chainrule.explain.pieces import Array, Pieces
from chainrule.explain.symbols import Factor, Index, Iverson, Partial, Sum, fill, quantity
from chainrule.explain.terms import Contribution, Contributions, Equation, Term

TermOf = Callable[[int], Term]
_UNDERFLOW = 1e-290  # a ∂a/∂z below this has lost digits, or is 0


def term(p: Pieces, j: int, dC_da: TermOf, da_dz: TermOf) -> Term:
    """Return ∂C/∂z_j^(L); ``dC_da`` and ``da_dz`` make the factors of a contribution."""
    if p.softmax:
        formula, steps = _softmax(p, j)
    else:
        formula, steps = _elementwise(p, j)
    parts = _parts(p, j)

    def contribution(position: int) -> Contribution:
        m = position if p.softmax else j
        a_m, z_j = quantity("a", p.L, m), quantity("z", p.L, j)
        symbol = mul(Factor(Partial(p.C, a_m)), Factor(Partial(a_m, z_j)))

        def factors() -> list[Term]:
            steep, slope = dC_da(m), _jacobian(p, m, j) if p.softmax else da_dz(j)
            lost = (np.abs(slope.values) < _UNDERFLOW) & ~(np.abs(steep.values) <= 1)
            if not lost.any():
                return [steep, slope]
            product = mul(Factor(steep.formula, True), Factor(slope.formula, True))
            left = _left(p, m, j)
            lead = "Where an activation rounds to 0 or 1, the product is computed as a whole"
            steps = [*steep.derivation, *slope.derivation]
            steps.append(Equation((symbol, product, left), lead, True))
            return [p.term(symbol, left, parts[:, position], steps)]

        return Contribution(m, symbol, parts[:, position], p.focus, factors)

    contributions = Contributions(parts, p.focus, contribution)
    symbol = Partial(p.C, quantity("z", p.L, j))
    return p.term(symbol, formula, p.g.delta[p.L][:, j], steps, contributions)


def _elementwise(p: Pieces, j: int) -> tuple[Expr, list[Equation]]:
    """Return (∂C/∂a)(∂a/∂z) and its reduction: a - y for the binary cross-entropy."""
    z_j, a_j = quantity("z", p.L, j), quantity("a", p.L, j)
    g = p.network.layers[p.L].activation
    value = [fill(form, {"z": z_j}) for form in parse(g.formula)]
    da_dz = fill(parse(g.derivative_formula)[-1], {"z": z_j, "a": a_j})
    dC_da = p.loss_derivative(j)
    symbol, result = Partial(p.C, z_j), _left(p, j, j)
    product = mul(Factor(Partial(p.C, a_j)), Factor(Partial(a_j, z_j)))
    together = mul(Factor(dC_da, True), Factor(da_dz, True))
    lead = "The denominators cancel, which leaves"
    if isinstance(p.network.loss, Poisson):
        lead = (
            "With the activation taken out of the first factor, the product stays finite where the "
            "activation rounds to 0"
        )
    return result, [
        p.definition_of_loss(),
        Equation((a_j, *value), "with"),
        Equation((symbol, product), "Therefore"),
        Equation((Partial(p.C, a_j), dC_da), "where"),
        Equation((Partial(a_j, z_j), da_dz), "and"),
        Equation((symbol, together, result), lead, True),
    ]


def _left(p: Pieces, m: int, j: int) -> Expr:
    """Return (∂C/∂a_m)(∂a_m/∂z_j) with the factors a cancelled."""
    z_j, a_j, y_m = quantity("z", p.L, j), quantity("a", p.L, j), quantity("y", None, m)
    a_m = quantity("a", p.L, m)
    poisson, residual = isinstance(p.network.loss, Poisson), add(a_m, Neg(y_m))
    if p.softmax:
        rest = add(Num(1), Neg(a_j)) if m == j else a_j
        product = mul(residual if poisson else y_m, rest)
        return p.turned(product if poisson == (m == j) else Neg(product))
    formula = p.network.layers[p.L].activation.log_derivative_formula
    if not poisson or formula is None or formula == "1":
        return p.turned(residual)
    return p.turned(mul(residual, fill(parse(formula)[-1], {"z": z_j, "a": a_j})))


def _softmax(p: Pieces, j: int) -> tuple[Expr, list[Equation]]:
    """Return Σ_m (∂C/∂a_m)(∂a_m/∂z_j), the sum over the Jacobian, and its reduction."""
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
            "Every output depends on this z, so the chain rule sums over all outputs",
        ),
        Equation((Partial(p.C, a_m), dC_da), "where"),
        Equation((Partial(a_m, z_j), jacobian), "and"),
        Equation((symbol, p.over_units(p.L, together)), "Together"),
    ]
    y_sum = p.over_units(p.L, y_m)
    sides: list[Expr] = [symbol]
    if isinstance(p.network.loss, CrossEntropy):
        left = p.over_units(p.L, mul(Neg(y_m), add(Iverson(m, j), Neg(a_j))))
        result = p.turned(add(a_j, Neg(y_j)))
        lead = "The factors a cancel, and the targets sum to 1, which leaves"
        sides += [left, add(mul(a_j, y_sum), Neg(y_j)), result]
    elif isinstance(p.network.loss, Poisson):
        residual = add(a_m, Neg(y_m))
        left = p.over_units(p.L, mul(residual, add(Iverson(m, j), Neg(a_j))))
        result = add(mul(a_j, y_sum), Neg(y_j))
        lead = "The factors a cancel, and the outputs sum to 1, which leaves"
        sides += [p.turned(left), result]
    else:
        mean = p.over_units(p.L, mul(Factor(Partial(p.C, a_m)), a_m))
        result = mul(a_j, add(Partial(p.C, a_j), Neg(mean)))
        lead = "[m = j] keeps one item of the sum, which leaves".replace(
            "[m = j]", f"[{p.notation.next_index} = {p.at(j)}]"
        )
        sides += [result]
    return result, [*steps, Equation(tuple(sides), lead, True)]


def _parts(p: Pieces, j: int) -> Array:
    """Return ∂C_i/∂a_m · ∂a_m/∂z_j for all m, (n, units); finite where a rounds to 0 or 1."""
    if not p.softmax:
        return p.g.delta[p.L][:, [j]]
    a, same_minus_a = p.g.forward.a[-1], _same_minus_a(p, j)
    if isinstance(p.network.loss, CrossEntropy):
        return np.asarray(-p.y * same_minus_a)  # a_m cancelled
    if isinstance(p.network.loss, Poisson):
        return np.asarray((a - p.y) * same_minus_a)  # a_m cancelled here, too
    return np.asarray(p.dC_da_output * a * same_minus_a)


def _same_minus_a(p: Pieces, j: int) -> Array:
    """Return [m = j] - a_j for all m; 1 - a_j is the sum of the other outputs."""
    a = p.g.forward.a[-1]
    values = np.repeat(-a[:, [j]], a.shape[1], axis=1)
    values[:, j] = others(a)[:, j]
    return values


def _jacobian(p: Pieces, m: int, j: int) -> Term:
    a_m, a_j, z_j = quantity("a", p.L, m), quantity("a", p.L, j), quantity("z", p.L, j)
    symbol = Partial(a_m, z_j)
    general = mul(a_m, add(Iverson(m, j), Neg(a_j)))
    result = mul(a_m, add(Num(1), Neg(a_m))) if m == j else Neg(mul(a_m, a_j))
    steps = [Equation((symbol, general, result), "The derivative of softmax is", True)]
    values = p.g.forward.a[-1][:, m] * _same_minus_a(p, j)[:, m]  # ∂a_m/∂z_j
    return p.term(symbol, result, values, steps)
