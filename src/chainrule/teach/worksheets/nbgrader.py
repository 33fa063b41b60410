"""Questions as notebooks for nbgrader: one for each variant, graded by hidden tests.

Numbers and choices are graded by nbgrader; a formula is left to a person, with the key beside it.
"""

from __future__ import annotations

import json
from typing import Any

from chainrule.explain import Equation, Notation
from chainrule.explain.latex import LatexWriter
from chainrule.teach.worksheets import blocks
from chainrule.teach.worksheets.by_hand import TOLERANCE
from chainrule.teach.worksheets.deck import Deck, Variant
from chainrule.teach.worksheets.judging import LETTERS
from chainrule.teach.worksheets.questions import Question

_SCHEMA = 3  # of nbgrader's cell metadata


def notebooks(deck: Deck) -> dict[str, bytes]:
    """Return the instructor's notebook of each variant, by its path in a course folder."""
    return {
        f"source/variant-{variant.number}/worksheet.ipynb": _notebook(deck, variant)
        for variant in deck.variants
    }


def _notebook(deck: Deck, variant: Variant) -> bytes:
    cells = [_cell("markdown", "start", f"# Worksheet, variant {variant.number}", locked=True)]
    for place, question in enumerate(variant.questions, start=1):
        words = _words(place, question, deck.notation, variant.network.sizes)
        cells.append(_cell("markdown", f"question-{place}", words, locked=True))
        cells += _answer(place, question)
    content = {
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def _words(place: int, question: Question, notation: Notation, sizes: tuple[int, ...]) -> str:
    writer = LatexWriter(notation, sizes, question.n_samples)

    def math(equation: Equation) -> str:
        return f"${writer.write_equation(equation.sides, equation.relation)}$"

    lines = [f"## Exercise {place}", question.words]
    if question.symbol is not None:
        lines.append(f"Wanted: {math(Equation((question.symbol,)))}")
    if question.given:
        lines.append("Given: " + ",  ".join(map(math, question.given)))
    lines += [
        f"({letter}) {math(choice.equation)}"
        for letter, choice in zip(LETTERS, question.choices, strict=False)
    ]
    if question.key is not None:
        names = ", ".join(dict.fromkeys(question.key.names.values()))
        lines.append(f"Write {names}, and * for times.")
    return "\n\n".join(lines)


def _answer(place: int, question: Question) -> list[dict[str, Any]]:
    """Return the cell for the answer, and the one that grades it unless a person does."""
    name = f"answer_{place}"
    right = blocks.answer_text(question)
    if question.key is not None:
        text = f"### BEGIN SOLUTION\n{name} = {right!r}\n### END SOLUTION"
        return [_cell("code", f"answer-{place}", text, solution=True, points=1)]
    if question.form == "choice":
        value = repr(LETTERS[question.correct])
        test = f"assert str({name}).strip().strip('()').lower() == {value}"
        hint = "# A letter, such as 'a'"
    else:
        value = repr(question.value)
        test = f"assert abs({name} - {value}) <= {TOLERANCE * abs(question.value)!r}"
        hint = "# A number, or arithmetic such as 0.5*0.2"
    solution = f"{hint}\n### BEGIN SOLUTION\n{name} = {value}\n### END SOLUTION"
    tests = f"### BEGIN HIDDEN TESTS\n{test}\n### END HIDDEN TESTS"
    return [
        _cell("code", f"answer-{place}", solution, solution=True),
        _cell("code", f"grade-{place}", tests, points=1, locked=True),
    ]


def _cell(
    kind: str,
    name: str,
    source: str,
    *,
    solution: bool = False,
    points: int | None = None,
    locked: bool = False,
) -> dict[str, Any]:
    marks: dict[str, Any] = {
        "grade": points is not None, "grade_id": name, "locked": locked,
        "schema_version": _SCHEMA, "solution": solution, "task": False,
    }  # fmt: skip
    if points is not None:
        marks["points"] = points
    cell: dict[str, Any] = {
        "cell_type": kind, "id": name, "metadata": {"nbgrader": marks},
        "source": source.splitlines(keepends=True),
    }  # fmt: skip
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})
