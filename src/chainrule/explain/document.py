"""The document: an explanation as sections with equations, which every rendering writes down."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from chainrule.equations.feedforward import FeedForward
from chainrule.equations.formulas import Div, Expr, Name, Neg, Num, add, mul
from chainrule.equations.targets import Bias, Target, UnitOutput, Weight
from chainrule.explain.derivative import Derivative
from chainrule.explain.symbols import Factor, LossSymbol, Partial, Quantity, Sum, quantity
from chainrule.explain.terms import Contributions, Equation, Term

Phase = Literal["input", "forward", "loss", "backward", "update"]
_ORDINALS = ("First", "Second", "Third", "Fourth")


@dataclass(frozen=True, eq=False)
class Section:
    """A heading with its equations, and the term that they derive, if they derive one."""

    title: str
    equations: Sequence[Equation]
    symbol: Expr | None = None
    term: Term | None = None
    has_samples: bool = False  # the table of all samples belongs here
    in_letters: bool = False  # no number of the network or its data is in it


@dataclass(frozen=True, eq=False)
class Passage:
    """Equations that belong together: of a unit, a derivative, or a layer.

    Attributes:
        title: The title of the section that it belongs to.
        equations: The equations in order.
        phase: The part of the step.
        layer: The layer, or 0.
        symbol: What it computes, where that is one number.
        target: The quantity whose derivation says more, or "".
        light: What it reads and computes: "w[1][0,1]", "a[1][0]", "x[0]", "y[0]" or "loss".
        is_matrix: Whether it is the matrix form of the passages of its phase and layer.
        step: The step, from 0.
    """

    title: str
    equations: Sequence[Equation]
    phase: Phase
    layer: int = 0
    symbol: Expr | None = None
    target: str = ""
    light: tuple[str, ...] = ()
    is_matrix: bool = False
    step: int = 0


def as_matrices(title: str, equations: Iterable[Equation], phase: Phase, layer: int) -> Passage:
    """Return the matrix form of a layer."""
    return Passage(title, list(equations), phase, layer, is_matrix=True)


def joined(passages: Iterable[Passage]) -> list[Section]:
    """Return the passages as sections: those in a row with one title make one."""
    return [
        Section(title, [equation for passage in group for equation in passage.equations])
        for title, group in groupby(passages, key=lambda passage: passage.title)
    ]


def sections(why: Derivative) -> list[Section]:
    """Return the chain rule, its terms, their combination, the numbers, the mean, the update."""
    return _named(why, [*_terms(why), *_penalty(why), *_mean(why), *_update(why)])


def _named(why: Derivative, made: list[Section]) -> list[Section]:
    """Add, before the numbers, the names of the inputs and outputs in the formulas."""
    shown = [equation for section in made for equation in section.equations]
    equations = _equations(why, shown)
    if equations:
        at = next(i for i, section in enumerate(made) if section.title.startswith("The numbers"))
        made.insert(at, Section("The names", equations))
    return made


def _terms(why: Derivative) -> list[Section]:
    terms = _numbered(why)
    title = "The numbers"
    if why.n_samples > 1:
        title += f" of sample {why.printed(why.focus)}"
    numbers = [replace(term.numbers, lead=meaning(term.symbol)) for term in terms]
    if len(terms) == 1:
        steps, symbol = terms[0].derivation, terms[0].symbol
        derivation = Section("The derivative", steps, symbol, terms[0], in_letters=True)
        return [derivation, Section(title, numbers)]

    of_sample: Expr = Partial(LossSymbol(why.focus), why.symbol)
    if why.sample_weight is not None:
        of_sample = mul(terms[-1].symbol, of_sample)
    chain = mul(*(Factor(term.symbol) for term in terms))
    results = mul(*(Factor(term.formula, result=True) for term in terms))
    values = mul(*(Factor(Num(term.value)) for term in terms))
    product = Num(float(why.products[why.focus]))
    numbers.append(Equation((of_sample, values, product), _and_so(of_sample)))
    return [
        Section(
            "The chain rule", [Equation((of_sample, chain), _dependence(terms))], in_letters=True
        ),
        *(
            Section(f"{ordinal} term", term.derivation, term.symbol, term, in_letters=True)
            for ordinal, term in zip(_ORDINALS, terms, strict=False)
        ),
        Section(
            "Combining the terms",
            [Equation((of_sample, chain, results), _hence(why))],
            in_letters=True,
        ),
        Section(title, numbers),
    ]


def _numbered(why: Derivative) -> list[Term]:
    """Return the terms, with their results numbered (1), (2), ... if the notation has tags."""
    if not why.notation.tags:
        return list(why.terms)
    numbered = []
    for number, term in enumerate(why.terms, start=1):
        steps = (replace(e, tag=f"({number})") if e.is_result else e for e in term.derivation)
        numbered.append(replace(term, derivation=tuple(steps)))
    return numbered


def _hence(why: Derivative) -> str:
    if not why.notation.tags:
        return "Combining all terms, we have"
    return from_expressions(range(1, len(why.terms) + 1))


def from_expressions(numbers: Sequence[int]) -> str:
    """Return the words that refer to tagged results."""
    *first, last = (f"({number})" for number in numbers)
    if not first:
        return f"Hence, from expression {last}, we get"
    return f"Hence, from expressions {', '.join(first)} and {last}, we get"


_NAMES = {
    "a": "the activation", "z": "the pre-activation", "w": "this weight", "b": "this bias",
}  # fmt: skip


def _named_in_words(expr: Expr) -> str:
    """Return what a symbol stands for; of a layer other than the one before, with the layer."""
    match expr:
        case LossSymbol():
            return "the loss"
        case Quantity("a", 0):
            return "the input"
        case Quantity(letter) if letter in _NAMES:
            return _NAMES[letter]
    return ""


def meaning(symbol: Expr) -> str:
    """Return what a derivative says about a small change, to stand before its number, or ""."""
    if not isinstance(symbol, Partial):
        return ""
    of, by = _named_in_words(symbol.of), _named_in_words(symbol.by)
    if not of or not by:
        return ""
    return f"a small change in {by} changes {of} by this many times as much".capitalize()


def _and_so(symbol: Expr) -> str:
    words = meaning(symbol)
    return f"and so {words[0].lower()}{words[1:]}" if words else "and so"


def _dependence(terms: Sequence[Term]) -> str:
    """Return what depends on what, which is why the derivatives are multiplied."""
    pairs = [
        (_named_in_words(t.symbol.of), _named_in_words(t.symbol.by))
        for t in terms
        if isinstance(t.symbol, Partial)
    ]
    if len(pairs) < 2 or not all(map(all, pairs)):
        return ""
    (of, by), *others = pairs
    parts = [f"{of} depends on {by}".capitalize(), *(f"{of} on {by}" for of, by in others)]
    return f"{', '.join(parts[:-1])}, and {parts[-1]}, so the chain rule multiplies"


def _penalty(why: Derivative) -> list[Section]:
    if why.penalty is None:
        return []
    steps = [*why.penalty.derivation, why.penalty.numbers]
    return [Section("The penalty", steps, why.penalty.symbol, why.penalty)]


def opened(term: Term) -> Contributions | None:
    """Return the contributions through the layer after, also through its one unit, or None.

    None, too, where the sum over outputs has one item: the derivation shows its two factors.
    """
    parts = term.contributions
    return parts if parts is None or len(parts) > 1 or leads_down(term) else None


def leads_down(term: Term) -> bool:
    """Return whether a term is ∂C/∂a, whose contributions go through the layer after."""
    match term.symbol:
        case Partial(_, Quantity("a")):
            return True
    return False


def is_itself(term: Term) -> str:
    """Return what a term with contributions is: a sum, or a product through one unit."""
    return "a product" if term.contributions is None or len(term.contributions) < 2 else "a sum"


def title_of(parts: Contributions, shown: int) -> str:
    """Return the words above the contributions that are shown."""
    if shown < len(parts):
        return f"The {shown} largest of {len(parts)} contributions"
    return "The contributions" if len(parts) > 1 else "The contribution of the one unit"


def of_whole_loss(why: Derivative) -> list[Equation]:
    """Return the derivative of the whole loss C: the mean over the samples, and the penalty."""
    return [equation for section in _mean(why) for equation in section.equations]


def _mean(why: Derivative) -> list[Section]:
    """Return ∂C/∂w = (1/n) Σ_i ∂C_i/∂w, with sample weights and the penalty where they exist."""
    n = why.n_samples
    if n == 1 and why.penalty is None:
        return []
    mean: Expr = Partial(LossSymbol(why.focus), why.symbol)
    if n > 1:
        of_i: Expr = Partial(LossSymbol("sample"), why.symbol)
        if why.sample_weight is not None:
            of_i = mul(Div(quantity("s", None, "sample"), Name("mean_s")), of_i)
        count = Name("n") if why.notation.counts == "n" else Num(n)
        mean = mul(Div(Num(1), count), Sum("sample", None, n, of_i))
    sides: list[Expr] = [Partial(LossSymbol(), why.symbol), mean]
    if why.penalty is not None:
        numbers = add(Num(float(why.products.mean())), Num(why.penalty.value))
        sides[1:] = [add(mean, why.penalty.symbol), numbers]
    title = f"The mean over {n} samples" if n > 1 else "The derivative of the loss"
    return [Section(title, [Equation((*sides, Num(why.value)))], has_samples=n > 1)]


def _update(why: Derivative) -> list[Section]:
    """Return w ← w - η ∂C/∂w for any parameter, for this one, and in numbers."""
    if not isinstance(why.target, Weight | Bias):
        return []
    arrow = why.notation.assign
    units = ("to", "from") if isinstance(why.target, Weight) else ("to",)
    general = quantity(why.symbol.letter, "l", *units)

    def rule(q: Expr, lead: str) -> Equation:
        step = add(q, Neg(mul(Name("eta"), Partial(LossSymbol(), q))))
        return Equation((q, step), lead, relation=arrow)

    equations = [
        rule(general, "Gradient descent with learning rate η updates every parameter by"),
        rule(why.symbol, "and so this one by"),
    ]
    if why.learning_rate is not None:
        old = why.target_value
        step = mul(Num(why.learning_rate), Factor(Num(why.value)))
        new = Num(old - why.learning_rate * why.value)
        sides = (why.symbol, add(Num(old), Neg(step)), new)
        equations.append(Equation(sides, "in numbers", relation=arrow))
    return [Section("The update", equations)]


def update(why: Derivative) -> Equation:
    """Return w ← w - η ∂C/∂w of the target, with its numbers if there is a learning rate."""
    (section,) = _update(why)
    _, rule, *numbers = section.equations
    sides = (*rule.sides, *(side for equation in numbers for side in equation.sides[1:]))
    return Equation(sides, relation=rule.relation)


def _equations(why: Derivative, shown: Sequence[Equation]) -> list[Equation]:
    """Return an equation for each named quantity in some equations: its name and its value."""
    if not why.names:
        return []
    found: dict[Quantity, str] = {}
    last = len(why.network.sizes) - 1
    for equation in shown:
        for side in equation.sides:
            for q in _quantities(side):
                if name := why.names.of(q, last):
                    found[q] = name
    made = []
    for q in sorted(found, key=_order):
        origin = why.names.origins.get(q)
        sides = [q, *([] if origin is None else [origin]), Num(why.value_of(q))]
        made.append(Equation(tuple(sides), f"{found[q]}:"))
    return made


def _order(q: Quantity) -> tuple[bool, int, str]:
    return q.letter == "y", q.layer if isinstance(q.layer, int) else 0, f"{q.units[0]:>9}"


def _quantities(expr: Expr) -> Iterator[Quantity]:
    if isinstance(expr, Quantity):
        yield expr
    for child in expr.children():
        yield from _quantities(child)


# --- what a passage reads and computes ---------------------------------------------------------


def lit_at_the_start(network: FeedForward) -> tuple[str, ...]:
    """Return the inputs and the targets."""
    return (*_units(network, 0), *_y(network))


def lit_by_unit(network: FeedForward, l: int, j: int) -> tuple[str, ...]:
    """Return what the forward pass of a unit reads, and the unit."""
    weights = (str(Weight(l, j, k)) for k in range(network.sizes[l - 1]))
    bias = (str(Bias(l, j)),) if network.biases else ()
    return (*_units(network, l - 1), *weights, *bias, str(UnitOutput(l, j)))


def lit_by_loss(network: FeedForward) -> tuple[str, ...]:
    """Return the outputs, the targets and the loss."""
    return (*_units(network, len(network.sizes) - 1), *_y(network), "loss")


def lit_by_target(network: FeedForward, target: Target) -> tuple[str, ...]:
    """Return a weight or bias, and every path from it to the loss."""
    l, j = target.layer, target.j
    before = (str(UnitOutput(l - 1, target.k)),) if isinstance(target, Weight) else ()
    found = [*before, str(target), str(UnitOutput(l, j))]
    starts: Sequence[int] = [j]
    for m in range(l + 1, len(network.sizes)):
        units = range(network.sizes[m])
        found += [str(Weight(m, to, start)) for to in units for start in starts]
        found += _units(network, m)
        starts = units
    return (*found, "loss")


def lit_by_layer(network: FeedForward, l: int, biases: bool) -> tuple[str, ...]:
    """Return the weights of a layer, and its biases if they are asked for."""
    units, before = range(network.sizes[l]), range(network.sizes[l - 1])
    weights = (str(Weight(l, j, k)) for j in units for k in before)
    return (*weights, *((str(Bias(l, j)) for j in units) if network.biases and biases else ()))


def _units(network: FeedForward, l: int) -> Iterator[str]:
    return (str(UnitOutput(l, j)) for j in range(network.sizes[l]))


def _y(network: FeedForward) -> Iterator[str]:
    return (f"y[{j}]" for j in range(network.sizes[-1]))
