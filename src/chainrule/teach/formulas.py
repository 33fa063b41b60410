"""Formulas as answers: names for a network's quantities, and whether two formulas are equal.

Equal are formulas with the same values, in 50 digits, at points drawn at random: so any order and
any equal form is right, and a wrong formula would have to agree with the right one at every point
by chance. The same comparison serves sheets and every page, in a browser too, where there is mpmath
but no computer algebra.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chainrule.equations.activations import Softmax
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.formulas import (
    Add,
    Call,
    Div,
    Expr,
    Mul,
    Name,
    Neg,
    Num,
    Pow,
    evaluate,
    parse,
)
from chainrule.explain import Notation
from chainrule.explain.symbols import Function, Quantity, fill
from chainrule.teach import answers
from chainrule.teach.answers import Verdict

LONGEST = 120  # characters of a formula that is asked for
_POINTS = 24  # on half of them every quantity is positive, as ln and roots need it
_FEWEST = 4  # of them have to have a value
_DIGITS = 50
_AGREE = 35  # digits in which equal formulas agree, whatever cancels


@dataclass(frozen=True)
class FormulaKey:
    """The key of a formula, as text in the grammar of `chainrule.teach.answers`.

    Attributes:
        right: The right formula.
        wrong: For each mistake its name, the formula that it leads to, and words.
        names: The names that may occur, each with the one that it stands for.
        activations: For each z its activation function and the derivative, as formulas in z.
        outputs: For each a the z that it is computed from.
    """

    right: str
    wrong: tuple[tuple[str, str, str], ...]
    names: dict[str, str]
    activations: dict[str, tuple[str, str]]
    outputs: dict[str, str]

    def judge(self, text: str) -> Verdict:
        """Judge a formula: any order of the factors and any equal form is right."""
        if not text.strip():
            return Verdict(False, "empty", "No answer.")
        try:
            given = self._read(text)
        except ValueError as error:
            return Verdict(False, "unreadable", f"This can't be read: {error}.")
        if _equal(given, self._read(self.right)):
            return Verdict(True, "", "Right.")
        for fault, formula, words in self.wrong:
            if _equal(given, self._read(formula)):
                return Verdict(False, fault, words)
        return Verdict(False, "other", "Not right, and not one of the common mistakes.")

    def _read(self, text: str) -> Expr:
        """Read a formula, with g, g' and each a written out in z."""
        names: dict[str, Expr] = {alias: Name(name) for alias, name in self.names.items()}
        return self._written_out(answers.expression(text, names))

    def _written_out(self, expr: Expr) -> Expr:
        def change(node: Expr) -> Expr | None:
            match node:
                case Call("g" | "g'" as g, (Name(z),)):
                    if z not in self.activations:
                        raise ValueError(f"{g}({z}) is not known; put a z into {g}")
                    formula = self.activations[z][g == "g'"]
                    return fill(parse(formula)[0], {"z": Name(z)})
                case Call("g" | "g'" as g, _):
                    raise ValueError(f"put the name of a single z into {g}")
                case Name(a) if a in self.outputs:
                    z = self.outputs[a]
                    return fill(parse(self.activations[z][0])[0], {"z": Name(z)})
            return None

        return expr.replace(change)


def key(
    network: FeedForward, notation: Notation, right: Expr, wrong: Sequence[tuple[str, Expr, str]]
) -> FormulaKey | None:
    """Return the key of a formula, or None if the formula is too long to be asked for.

    Args:
        network: The network whose quantities occur.
        notation: How these are written.
        right: The right formula.
        wrong: For each mistake its name, the formula that it leads to, and words.
    """
    names: dict[str, str] = {}
    activations: dict[str, tuple[str, str]] = {}
    outputs: dict[str, str] = {}
    written_down = (right, *(formula for _, formula, _ in wrong))
    for q in dict.fromkeys(q for formula in written_down for q in quantities(formula)):
        layer = q.layer if isinstance(q.layer, int) else 0
        spelled = {q.letter: spellings(q, network, notation)}
        if q.letter in "az" and layer and not isinstance(network.layers[layer].activation, Softmax):
            for letter in "az":  # a = g(z): whoever may write one may write the other
                spelled[letter] = spellings(Quantity(letter, layer, q.units), network, notation)
            (z, *_), (a, *_) = spelled["z"], spelled["a"]
            g = network.layers[layer].activation
            derivative = fill(parse(g.derivative_formula)[0], {"a": parse(g.formula)[0]})
            activations[z] = (text(parse(g.formula)[0], None), text(derivative, None))
            outputs[a] = z
        for first, *others in spelled.values():
            names |= dict.fromkeys((first, *others), first)

    def written(expr: Expr) -> str:
        return text(expr, lambda q: spellings(q, network, notation)[0])

    try:
        made = FormulaKey(
            written(right), tuple((fault, written(expr), words) for fault, expr, words in wrong),
            names, activations, outputs,
        )  # fmt: skip
    except TypeError:
        return None
    return made if len(made.right) <= LONGEST else None


def quantities(expr: Expr) -> Iterator[Quantity]:
    """Return the quantities in an expression, from left to right."""
    if isinstance(expr, Quantity):
        yield expr
    for child in expr.children():
        yield from quantities(child)


def spellings(q: Quantity, network: FeedForward, notation: Notation) -> list[str]:
    """Return how a quantity is typed, the shortest first: a2 in a layer of one unit, else a2_0."""
    layer = q.layer if isinstance(q.layer, int) else None
    labels = [str(int(unit) + notation.first_index) for unit in q.units]
    between = "" if all(len(label) == 1 for label in labels) else "_"
    units = between.join(labels)
    letters = [notation.activation, "a"] if q.letter == "a" else [q.letter]
    if q.letter == "a" and layer == 0:
        letters, layer = ["x", *letters], 0
    last = len(network.sizes) - 1
    at = last if layer is None else layer
    alone = network.sizes[at] == 1 and (q.letter != "w" or network.sizes[at - 1] == 1)
    found = []
    for letter in dict.fromkeys(letters):
        bare = layer is None or letter == "x"
        long = f"{letter}{units}" if bare else f"{letter}{layer}_{units}"
        short = letter if bare else f"{letter}{layer}"
        found += [short, long] if alone else [long]
        if bare and alone:
            found.append(f"{letter}{at}")
    return list(dict.fromkeys(found))


def text(expr: Expr, name_of: Any) -> str:
    """Write an expression as a student types it; raise TypeError where that is not possible."""

    def write(node: Expr) -> str:
        match node:
            case Num(value):
                return f"{value:g}"
            case Name(name):
                return name
            case Quantity():
                return str(name_of(node))
            case Add(items):
                first, *rest = items
                signed = (
                    f" - {enclosed(i.item)}" if isinstance(i, Neg) else f" + {write(i)}"
                    for i in rest
                )  # fmt: skip
                return write(first) + "".join(signed)
            case Neg(item):
                return f"-{enclosed(item)}"
            case Mul(items):
                return "*".join(enclosed(item) for item in items)
            case Div(numerator, denominator):
                lower = enclosed(denominator)
                lower = f"({lower})" if isinstance(denominator, Mul | Div) else lower
                return f"{enclosed(numerator)}/{lower}"
            case Pow(base, exponent):
                inner = enclosed(base)
                inner = f"({inner})" if isinstance(base, Mul | Div | Pow) else inner
                return f"{inner}**{write(exponent)}"
            case Call(function, arguments):
                return f"{function}({', '.join(map(write, arguments))})"
            case Function(_, argument, prime):
                return f"g{chr(39) if prime else ''}({write(argument)})"
        if name_of is None:
            return write_cases(node)
        raise TypeError(f"{type(node).__name__} can't be typed")

    def write_cases(node: Any) -> str:
        c = node.condition
        condition = f"{write(c.left)} {c.relation} {write(c.right)}"
        return f"({write(node.then)} if {condition} else {write(node.otherwise)})"

    def enclosed(node: Expr) -> str:
        return f"({write(node)})" if isinstance(node, Add | Neg) else write(node)

    return write(expr)


def _equal(one: Expr, other: Expr) -> bool:
    """Return whether a formula has the values of another one, wherever that has one."""
    import mpmath  # only who is asked for a formula pays for it

    mp = mpmath.MPContext()
    mp.dps = _DIGITS
    known = {**answers.functions(mp), "number": lambda v: mp.mpf(str(v))}
    names = sorted({*_names_in(one), *_names_in(other)})
    drawn = random.Random(1)
    compared = 0
    for point in range(_POINTS):
        low = 1 if point % 2 else -(10**9)
        values = {name: mp.mpf(drawn.randint(low, 10**9)) / 10**9 for name in names}
        expected = _value(mp, other, values, known)
        if expected is None:
            continue
        found = _value(mp, one, values, known)
        if found is None or not mp.almosteq(found, expected, rel_eps=mp.mpf(10) ** -_AGREE):
            return False
        compared += 1
    return compared >= _FEWEST


def _value(
    mp: Any, expr: Expr, values: Mapping[str, Any], known: Mapping[str, Callable[..., Any]]
) -> Any:
    """Return the value of a formula, or None where it has none among the real numbers."""
    try:
        value = mp.mpmathify(evaluate(expr, values, known))
    except (ArithmeticError, ValueError):
        return None
    return value if isinstance(value, mp.mpf) and mp.isfinite(value) else None


def _names_in(expr: Expr) -> Iterator[str]:
    if isinstance(expr, Name):
        yield expr.name
    for child in expr.children():
        yield from _names_in(child)
