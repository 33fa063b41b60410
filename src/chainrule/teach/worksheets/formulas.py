"""Formulas as answers: names for a network's quantities, and whether two formulas are equal.

SymPy, of the extra ``worksheets``, compares. It gets trees that `chainrule.teach.answers` has read,
never a text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from chainrule.teach.exercises import Examiner
from chainrule.teach.worksheets.judging import Verdict

LONGEST = 120  # characters of a formula that is asked for
_POINTS = 5  # where two formulas that do not reduce to each other are compared
_DIGITS = 30


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
        """Judge a formula: any order of the factors and any equal form is right.

        Raises ImportError if SymPy is not installed.
        """
        if not text.strip():
            return Verdict(False, "empty", "No answer.")
        try:
            given = self._read(text)
        except ValueError as error:
            return Verdict(False, "unreadable", f"This can't be read: {error}.")
        if self._equal(given, self._read(self.right)):
            return Verdict(True, "", "Right.")
        for fault, formula, words in self.wrong:
            if self._equal(given, self._read(formula)):
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

    @staticmethod
    def _equal(one: Expr, other: Expr) -> bool:
        """Return whether two formulas are equal: expanded, or else at several points."""
        sympy = _sympy()
        difference = _as_sympy(sympy, one) - _as_sympy(sympy, other)
        if difference == 0 or sympy.expand(difference) == 0:
            return True
        symbols = sorted(difference.free_symbols, key=str)
        for point in range(_POINTS):
            values = {
                s: sympy.Rational(2 * ((7 * i + 5 * point + 3 * i * point) % 23) - 21, 29)
                for i, s in enumerate(symbols)
            }
            left, right = (_as_sympy(sympy, e).subs(values).evalf(_DIGITS) for e in (one, other))
            if not (left.is_finite and right.is_finite):
                continue
            size = abs(left) + abs(right)
            if abs(left - right) > sympy.Float(10) ** (8 - _DIGITS) * (1 + size):
                return False
        return True


def key(
    examiner: Examiner, right: Expr, wrong: Sequence[tuple[str, Expr, str]]
) -> FormulaKey | None:
    """Return the key of a formula, or None if the formula is too long to be asked for."""
    network, notation = examiner.network, examiner.notation
    names: dict[str, str] = {}
    activations: dict[str, tuple[str, str]] = {}
    outputs: dict[str, str] = {}
    for q in quantities(right):
        first, *others = spellings(q, network, notation)
        names |= dict.fromkeys((first, *others), first)
        layer = q.layer if isinstance(q.layer, int) else 0
        if q.letter not in ("a", "z") or not layer:
            continue
        g = network.layers[layer].activation
        if isinstance(g, Softmax):
            continue
        z_q = Quantity("z", layer, q.units)
        z, *more = spellings(z_q, network, notation)
        names |= dict.fromkeys((z, *more), z)
        derivative = parse(g.derivative_formula)[0]
        in_z = fill(derivative, {"a": parse(g.formula)[0]})
        activations[z] = (text(parse(g.formula)[0], None), text(in_z, None))
        if q.letter == "a":
            outputs[first] = z

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


def _sympy() -> Any:
    try:
        import sympy
    except ImportError:
        raise ImportError(
            "formulas as answers need SymPy, which is not installed: "
            "pip install 'chainrule[worksheets]'"
        ) from None
    return sympy


def _as_sympy(sympy: Any, expr: Expr) -> Any:
    """Build a SymPy expression from a tree; nothing is parsed or evaluated by SymPy."""
    functions = {
        "number": lambda v: sympy.Rational(str(v)), "exp": sympy.exp, "ln": sympy.log,
        "sqrt": sympy.sqrt, "abs": sympy.Abs, "sign": sympy.sign, "sin": sympy.sin,
        "cos": sympy.cos, "tanh": sympy.tanh, "sinh": sympy.sinh, "cosh": sympy.cosh,
        "atan": sympy.atan, "sigma": lambda z: 1 / (1 + sympy.exp(-z)),
        "Phi": lambda z: (1 + sympy.erf(z / sympy.sqrt(2))) / 2,
        "phi": lambda z: sympy.exp(-(z**2) / 2) / sympy.sqrt(2 * sympy.pi),
        "max": sympy.Max, "min": sympy.Min,
        "where": lambda holds, then, other: sympy.Piecewise((then, holds), (other, True)),
    }  # fmt: skip
    symbols = {name: sympy.Symbol(name, real=True) for name in _names_in(expr)}
    return sympy.sympify(evaluate(expr, symbols, functions))


def _names_in(expr: Expr) -> Iterator[str]:
    if isinstance(expr, Name):
        yield expr.name
    for child in expr.children():
        yield from _names_in(child)
