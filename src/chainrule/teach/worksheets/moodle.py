"""Questions as Moodle XML: a category for each variant, feedback for each mistake.

Numbers become numerical questions and choices multiple-choice questions. Moodle compares no
formulas, so these become essays whose information for graders holds the key.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from html import escape

from chainrule.explain import Equation, Notation
from chainrule.explain.latex import LatexWriter
from chainrule.teach.worksheets import blocks
from chainrule.teach.worksheets.by_hand import TOLERANCE
from chainrule.teach.worksheets.deck import Deck
from chainrule.teach.worksheets.questions import Question


def quiz(deck: Deck) -> bytes:
    """Return all questions of a class as one Moodle XML file, for the import of its question bank.

    Format: https://docs.moodle.org/en/Moodle_XML_format.
    """
    root = ET.Element("quiz")
    for variant in deck.variants:
        category = ET.SubElement(root, "question", type="category")
        name = f"$course$/top/chainrule worksheet {deck.seed}/Variant {variant.number}"
        _text(category, "category", name)
        for place, question in enumerate(variant.questions, start=1):
            title = f"Variant {variant.number}, exercise {place}: {question.kind}"
            _question(root, title, question, deck.notation, variant.network.sizes)
    ET.indent(root)
    made: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return made + b"\n"


def _question(
    root: ET.Element, title: str, question: Question, notation: Notation, sizes: tuple[int, ...]
) -> None:
    writer = LatexWriter(notation, sizes, question.n_samples)
    kind = {"number": "numerical", "choice": "multichoice", "formula": "essay"}[question.form]
    node = ET.SubElement(root, "question", type=kind)
    _text(node, "name", title)
    _html(node, "questiontext", _words(question, writer))
    _html(node, "generalfeedback", _solution(question, writer))
    _plain(node, "defaultgrade", "1")
    _plain(node, "penalty", "0.3333333")
    if question.form == "number":
        tolerance = TOLERANCE * abs(question.value)
        _answer(node, repr(question.value), 100, "Right.", tolerance)
        for mistake in question.mistakes:
            size = TOLERANCE * abs(mistake.value)
            _answer(node, repr(mistake.value), 0, mistake.words, size)
    elif question.form == "choice":
        _plain(node, "single", "true")
        _plain(node, "shuffleanswers", "false")
        _plain(node, "answernumbering", "abc")
        for i, choice in enumerate(question.choices):
            shown = f"<p>{_math(writer, choice.equation)}</p>"
            _answer(node, shown, 100 if i == question.correct else 0, choice.words)
    else:
        _plain(node, "responseformat", "plain")
        _plain(node, "responserequired", "1")
        _plain(node, "responsefieldlines", "3")
        key = escape(blocks.answer_text(question))
        words = f"<p>Right is <code>{key}</code>, in any order and any equal form.</p>"
        _html(node, "graderinfo", words)
    if question.form != "formula":
        _html(node, "hint", f"<p>{escape(question.hint)}</p>")


def _words(question: Question, writer: LatexWriter) -> str:
    parts = [f"<p>{escape(question.words)}</p>"]
    if question.symbol is not None:
        parts.append(f"<p>{_math(writer, Equation((question.symbol,)))}</p>")
    if question.given:
        items = "".join(f"<li>{_math(writer, equation)}</li>" for equation in question.given)
        parts.append(f"<p>Given:</p><ul>{items}</ul>")
    if question.key is not None:
        names = ", ".join(dict.fromkeys(question.key.names.values()))
        parts.append(f"<p>Write {escape(names)}, and * for times.</p>")
    return "".join(parts)


def _solution(question: Question, writer: LatexWriter) -> str:
    parts = []
    for part in question.derivation:
        parts.append(f"<h4>{escape(part.title)}</h4>")
        for equation in part.equations:
            lead = f"{escape(equation.lead)} " if equation.lead else ""
            parts.append(f"<p>{lead}{_math(writer, equation)}</p>")
    return "".join([*parts, f"<p>{escape(question.proof)}</p>"])


def _math(writer: LatexWriter, equation: Equation) -> str:
    """Return an equation for Moodle's MathJax filter."""
    latex = writer.write_equation(equation.sides, equation.relation)
    return rf"\(\displaystyle {escape(latex)}\)"


def _answer(
    node: ET.Element, content: str, fraction: int, feedback: str, tolerance: float | None = None
) -> None:
    answer = ET.SubElement(node, "answer", fraction=str(fraction))
    answer.set("format", "moodle_auto_format" if tolerance is not None else "html")
    _plain(answer, "text", content)
    _html(answer, "feedback", f"<p>{escape(feedback)}</p>")
    if tolerance is not None:
        _plain(answer, "tolerance", repr(tolerance))


def _html(node: ET.Element, name: str, content: str) -> ET.Element:
    child = ET.SubElement(node, name, format="html")
    _plain(child, "text", content)
    return child


def _text(node: ET.Element, name: str, content: str) -> None:
    _plain(ET.SubElement(node, name), "text", content)


def _plain(node: ET.Element, name: str, content: str) -> None:
    ET.SubElement(node, name).text = content
