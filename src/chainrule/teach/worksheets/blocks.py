"""Blocks: sheets, keys and the teacher's overview as parts that formats render."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from chainrule.equations.activations import Softmax
from chainrule.equations.formulas import Call, Div, parse
from chainrule.equations.numbers import format_number
from chainrule.explain import Equation
from chainrule.explain.symbols import Function, LossSymbol, Sum, fill, quantity
from chainrule.teach.worksheets.by_hand import DIGITS
from chainrule.teach.worksheets.deck import Deck, Variant
from chainrule.teach.worksheets.judging import LETTERS
from chainrule.teach.worksheets.questions import Question


@dataclass(frozen=True)
class Heading:
    """A heading; one of level 1 begins a page."""

    words: str
    level: int


@dataclass(frozen=True)
class Paragraph:
    """Words."""

    words: str


@dataclass(frozen=True)
class Display:
    """An equation on lines of its own."""

    equation: Equation
    n_samples: int = 1


@dataclass(frozen=True)
class Given:
    """Short equations in a row, after words."""

    words: str
    equations: tuple[Equation, ...]
    n_samples: int = 1


@dataclass(frozen=True)
class Options:
    """Equations to choose from, with letters."""

    equations: tuple[Equation, ...]


@dataclass(frozen=True)
class Answer:
    """Room to work, and a line for the answer."""

    tall: bool


@dataclass(frozen=True)
class Together:
    """Blocks that stay on one page."""

    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Table:
    """A table of texts."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Block = Heading | Paragraph | Display | Given | Options | Answer | Together | Table
_RULE = (
    f"Round every number on the way to {DIGITS} significant digits. A number within 1 % of the "
    "exact one is right."
)


def sheets(worksheet: Deck) -> Iterator[Block]:
    """Return the sheets of all students."""
    for variant in worksheet.variants:
        yield Heading(f"Worksheet, variant {variant.number}", 1)
        yield Paragraph("Name: ______________________________   Date: ______________")
        yield from _setting(variant)
        yield Paragraph(_RULE)
        for place, question in enumerate(variant.questions, start=1):
            body = [*_question(question), Answer(question.kind == "step")]
            yield Together((Heading(f"Exercise {place}", 2), *body))


def keys(worksheet: Deck) -> Iterator[Block]:
    """Return the keys, with the whole derivation and the proof of each answer."""
    for variant in worksheet.variants:
        yield Heading(f"Key, variant {variant.number}", 1)
        yield from _setting(variant)
        for place, question in enumerate(variant.questions, start=1):
            answer = Paragraph(f"Answer: {answer_text(question)}")
            head = Heading(f"Exercise {place}", 2)
            yield Together((head, *_question(question), answer))
            for part in question.derivation:
                yield Heading(part.title, 3)
                for equation in part.equations:
                    yield Display(equation, question.n_samples)
            for i, choice in enumerate(question.choices):
                yield Paragraph(f"({LETTERS[i]}) {choice.words}")
            yield Paragraph(question.proof)


def overview(worksheet: Deck) -> Iterator[Block]:
    """Return the teacher's overview: the seed, all answers, and what each wrong answer means."""
    count = len(worksheet.variants)
    yield Heading("Overview for the teacher", 1)
    yield Paragraph(
        f"Seed {worksheet.seed}, level {worksheet.level}, "
        f"{count} variant{'s' if count > 1 else ''}, "
        f"η = {worksheet.learning_rate:g}. The same network, samples, options and seed make the "
        f"same sheets again. {_RULE} Every answer was proven before it was written."
    )
    for variant in worksheet.variants:
        yield Heading(f"Variant {variant.number}", 2)
        rows = []
        for place, question in enumerate(variant.questions, start=1):
            wrong = "\n".join(f"{answer}: {words}" for answer, words in _mistakes(question))
            row = (str(place), question.kind, question.target, answer_text(question), wrong)
            rows.append(row)
        heads = ("Exercise", "Kind", "About", "Answer", "What a wrong answer means")
        yield Table(heads, tuple(rows))


def answer_text(question: Question) -> str:
    """Return the right answer as a text."""
    if question.key is not None:
        return question.key.right
    if question.form == "choice":
        return f"({LETTERS[question.correct]})"
    return short(question.value)


def breakable(text: str, mark: str) -> str:
    """Put a mark at which a line may end after each operator of a typed formula."""
    return re.sub(r"(?<=[*+/)])(?=[^\s)*.,:])", lambda _: mark, text)


def short(value: float) -> str:
    """Write a number with the digits of a sheet."""
    return format_number(value, DIGITS).replace("-", "−")


def _mistakes(question: Question) -> Iterator[tuple[str, str]]:
    for mistake in question.mistakes:
        yield short(mistake.value), mistake.words
    if question.key is not None:
        for _, formula, words in question.key.wrong:
            yield formula, words
    for i, choice in enumerate(question.choices):
        if i != question.correct:
            yield f"({LETTERS[i]})", choice.words


def _question(question: Question) -> Iterator[Block]:
    yield Paragraph(question.words)
    if question.symbol is not None:
        yield Given("Wanted:", (Equation((question.symbol,)),), question.n_samples)
    if question.given:
        yield Given("Given:", question.given, question.n_samples)
    if question.choices:
        yield Options(tuple(choice.equation for choice in question.choices))
    if question.key is not None:
        names = dict.fromkeys(question.key.names.values())
        yield Paragraph(f"To type the formula, write {', '.join(names)}, and * for times.")


def _setting(variant: Variant) -> Iterator[Block]:
    """Return the formulas of the network: its sums, activations and loss."""
    network = variant.network
    sizes = "-".join(map(str, network.sizes))
    yield Paragraph(f"A network of {sizes} units, with these formulas for each unit:")
    for l, layer in enumerate(network.weighted_layers, start=1):
        g, z, a = layer.activation, quantity("z", l, "to"), quantity("a", l, "to")
        if isinstance(g, Softmax):
            top, each = Call("exp", (z,)), Call("exp", (quantity("z", l, "next"),))
            yield Display(Equation((a, Div(top, Sum("next", l, network.sizes[l], each)))))
            continue
        value = fill(parse(g.formula)[0], {"z": z})
        slopes = [fill(form, {"z": z, "a": a}) for form in parse(g.derivative_formula)]
        yield Display(Equation((a, value)))
        yield Display(Equation((Function(l, z, prime=True), *slopes)))
    last, units = len(network.sizes) - 1, network.sizes[-1]
    loss = parse(network.loss.formula)[-1]
    j = "to" if units > 1 else 0
    body = fill(loss, {"a": quantity("a", last, j), "y": quantity("y", None, j)})
    whole = Sum("to", last, units, body) if units > 1 else body
    yield Display(Equation((LossSymbol(0), whole)))
