"""Chains: ∂C/∂w as one product of symbols down to the loss, and what common mistakes make of it."""

from __future__ import annotations

import math

from chainrule.equations.activations import Softmax
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.formulas import Div, Expr, Neg, Num, add, mul, parse
from chainrule.equations.targets import Weight
from chainrule.explain.symbols import Function, fill, quantity

ASKED = (
    "Write down the chain rule for this weight as one product of factors, in symbols. The loss is "
    "{loss}; write g'(z) for the slope of an activation."
)
HINT = (
    "Follow the path from the loss back to the weight: each unit gives a slope g′(z), each "
    "connection its weight, and the last factor is the activation at the start."
)
_MOST_PATHS = 4  # from a unit to the loss, that a formula can hold
_CANCELS = ("cross_entropy", "binary_cross_entropy")  # with the activation of the output

Wrong = tuple[str, Expr, str]  # the name of a mistake, the formula that it leads to, words


def product(network: FeedForward, w: Weight) -> tuple[Expr, list[Wrong]] | None:
    """Return ∂C_i/∂w in symbols, and the wrong formulas; None where it is too long to be typed."""
    l, j, k = w.layer, w.j, w.k
    z, a_k = quantity("z", l, j), quantity("a", l - 1, k)
    g, slope = Function(l, z), Function(l, z, prime=True)
    wrong: list[Wrong] = []
    if _is_reduced(network, l):
        arriving = add(quantity("a", l, j), Neg(quantity("y", None, j)))
        right = mul(arriving, a_k)
        wrong.append(("input", arriving, "The activation at the start of the weight is missing."))
        if not isinstance(network.layers[l].activation, Softmax):
            twice = "The factor g′(z) is there twice: with this loss, ∂C/∂z is already a − y."
            wrong.append(("slope", mul(arriving, slope, a_k), twice))
    else:
        found = _to_a(network, l, j)
        if found is None:
            return None
        arriving = found
        right = mul(arriving, slope, a_k)
        no_slope = "The factor g′(z) is missing: the derivative must pass through the activation."
        no_input = "The activation at the start of the weight is missing as a factor."
        wrong += [
            ("slope", mul(arriving, a_k), no_slope),
            ("input", mul(arriving, slope), no_input),
            ("value", mul(arriving, g, a_k), "g stands where its slope g′ belongs."),
        ]
        for other in range(min(network.sizes[l], _MOST_PATHS)):
            if other != j:
                elsewhere = Function(l, quantity("z", l, other), prime=True)
                words = "The slope g′ is that of another unit. The weight leads to one unit alone."
                wrong.append(("unit", mul(arriving, elsewhere, a_k), words))
    wrong += [
        ("sign", Neg(right), "The size is right, but the sign is wrong."),
        ("factor", mul(Num(2), right), "That is twice the right product."),
        ("factor", Div(right, Num(2)), "That is half the right product."),
    ]
    for other in range(min(network.sizes[l - 1], _MOST_PATHS)):
        if other != k:
            start = quantity("a", l - 1, other)
            factors = (arriving, start) if _is_reduced(network, l) else (arriving, slope, start)
            words = "The last factor is the activation at the start of another weight."
            wrong.append(("index", mul(*factors), words))
    return right, wrong


def _to_a(network: FeedForward, l: int, j: int) -> Expr | None:
    """Return ∂C_i/∂a_j^(l) as a product of symbols down to the loss."""
    if l == len(network.sizes) - 1:
        g, loss = network.layers[l].activation, network.loss
        if isinstance(g, Softmax) or loss.name == "poisson":
            return None
        letters: dict[str, Expr] = {"a": quantity("a", l, j), "y": quantity("y", None, j)}
        return fill(parse(loss.derivative_formula)[-1], letters)
    if math.prod(network.sizes[l + 1 :]) > _MOST_PATHS:
        return None
    paths = []
    for m in range(network.sizes[l + 1]):
        weight = quantity("w", l + 1, m, j)
        if _is_reduced(network, l + 1):
            delta = add(quantity("a", l + 1, m), Neg(quantity("y", None, m)))
            paths.append(mul(delta, weight))
            continue
        arriving = _to_a(network, l + 1, m)
        if arriving is None:
            return None
        slope = Function(l + 1, quantity("z", l + 1, m), prime=True)
        paths.append(mul(arriving, slope, weight))
    return add(*paths)


def _is_reduced(network: FeedForward, l: int) -> bool:
    """Return whether ∂C/∂z of a layer is a − y."""
    return l == len(network.sizes) - 1 and network.loss.name in _CANCELS
