"""Questions as a QTI 2.1 content package: an item for each question, a test for each variant.

Numbers are judged within the tolerance, choices by their letter; words about a mistake come as
feedback. QTI compares no formulas: these items are left to a person.
"""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
import zipfile

from chainrule.explain import Equation
from chainrule.explain.mathml import MathmlWriter
from chainrule.teach.worksheets.by_hand import TOLERANCE
from chainrule.teach.worksheets.deck import Deck, Variant
from chainrule.teach.worksheets.judging import LETTERS
from chainrule.teach.worksheets.questions import Question

_QTI = "http://www.imsglobal.org/xsd/imsqti_v2p1"
_PACKAGE = "http://www.imsglobal.org/xsd/imscp_v1p1"
_MATH = "http://www.w3.org/1998/Math/MathML"
_WHEN = (1980, 1, 1, 0, 0, 0)  # of every file in the package, so that a seed makes the same bytes


def package(deck: Deck) -> bytes:
    """Return the content package of a class, as a zip file with imsmanifest.xml.

    Specification: https://www.imsglobal.org/question/qtiv2p1/imsqti_infov2p1.html.
    """
    files: dict[str, bytes] = {}
    manifest = ET.Element(
        "manifest", {"xmlns": _PACKAGE, "identifier": f"chainrule-worksheet-{deck.seed}"}
    )
    metadata = ET.SubElement(manifest, "metadata")
    ET.SubElement(metadata, "schema").text = "QTIv2.1 Package"
    ET.SubElement(metadata, "schemaversion").text = "1.0.0"
    ET.SubElement(manifest, "organizations")
    resources = ET.SubElement(manifest, "resources")
    for variant in deck.variants:
        names = []
        for place, question in enumerate(variant.questions, start=1):
            name = f"v{variant.number}-{place}"
            files[f"{name}.xml"] = _item(name, place, question, deck, variant)
            _resource(resources, name, "imsqti_item_xmlv2p1")
            names.append(name)
        test = f"test-{variant.number}"
        files[f"{test}.xml"] = _test(test, variant, names)
        resource = _resource(resources, test, "imsqti_test_xmlv2p1")
        for name in names:
            ET.SubElement(resource, "dependency", identifierref=name)
    files = {"imsmanifest.xml": _bytes(manifest), **files}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, _WHEN)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return out.getvalue()


def _resource(resources: ET.Element, name: str, kind: str) -> ET.Element:
    resource = ET.SubElement(resources, "resource", identifier=name, type=kind, href=f"{name}.xml")
    ET.SubElement(resource, "file", href=f"{name}.xml")
    return resource


def _test(name: str, variant: Variant, items: list[str]) -> bytes:
    root = ET.Element(
        "assessmentTest", {"xmlns": _QTI, "identifier": name, "title": f"Variant {variant.number}"}
    )
    part = ET.SubElement(
        root, "testPart", identifier="part", navigationMode="nonlinear",
        submissionMode="individual",
    )  # fmt: skip
    section = ET.SubElement(
        part, "assessmentSection", identifier="section", title="Exercises", visible="true"
    )
    for item in items:
        ET.SubElement(section, "assessmentItemRef", identifier=item, href=f"{item}.xml")
    return _bytes(root)


def _item(name: str, place: int, question: Question, deck: Deck, variant: Variant) -> bytes:
    writer = MathmlWriter(deck.notation, variant.network.sizes, question.n_samples)
    title = f"Variant {variant.number}, exercise {place}: {question.kind}"
    root = ET.Element(
        "assessmentItem",
        {"xmlns": _QTI, "identifier": name, "title": title, "adaptive": "false",
         "timeDependent": "false"},
    )  # fmt: skip
    base = {"number": "float", "choice": "identifier", "formula": "string"}[question.form]
    declared = ET.SubElement(
        root, "responseDeclaration", identifier="RESPONSE", cardinality="single", baseType=base
    )
    right = ET.SubElement(ET.SubElement(declared, "correctResponse"), "value")
    if question.form == "choice":
        right.text = f"choice_{LETTERS[question.correct]}"
    elif question.key is not None:
        right.text = question.key.right
    else:
        right.text = repr(question.value)
    score = ET.SubElement(
        root, "outcomeDeclaration", identifier="SCORE", cardinality="single", baseType="float",
        normalMaximum="1", normalMinimum="0",
    )  # fmt: skip
    ET.SubElement(ET.SubElement(score, "defaultValue"), "value").text = "0"
    if question.form != "formula":
        ET.SubElement(
            root, "outcomeDeclaration", identifier="FEEDBACK", cardinality="single",
            baseType="identifier",
        )  # fmt: skip
    body = ET.SubElement(root, "itemBody")
    ET.SubElement(body, "p").text = question.words
    if question.symbol is not None:
        ET.SubElement(body, "p").append(_math(writer, Equation((question.symbol,))))
    if question.given:
        ET.SubElement(body, "p").text = "Given:"
        given = ET.SubElement(body, "ul")
        for equation in question.given:
            ET.SubElement(given, "li").append(_math(writer, equation))
    _interaction(body, question, writer)
    _processing(root, question)
    return _bytes(root)


def _interaction(body: ET.Element, question: Question, writer: MathmlWriter) -> None:
    if question.form == "choice":
        interaction = ET.SubElement(
            body, "choiceInteraction", responseIdentifier="RESPONSE", shuffle="false",
            maxChoices="1",
        )  # fmt: skip
        for letter, choice in zip(LETTERS, question.choices, strict=False):
            answer = ET.SubElement(interaction, "simpleChoice", identifier=f"choice_{letter}")
            answer.append(_math(writer, choice.equation))
    elif question.key is not None:
        names = ", ".join(dict.fromkeys(question.key.names.values()))
        ET.SubElement(body, "p").text = f"Write {names}, and * for times."
        ET.SubElement(
            body, "extendedTextInteraction", responseIdentifier="RESPONSE", expectedLength="120"
        )
    else:
        line = ET.SubElement(body, "p")
        line.text = "Answer: "
        ET.SubElement(
            line, "textEntryInteraction", responseIdentifier="RESPONSE", expectedLength="12"
        )


def _processing(root: ET.Element, question: Question) -> None:
    """Judge the answer, and say with it what it means."""
    if question.form == "formula":
        return
    processing = ET.SubElement(root, "responseProcessing")
    condition = ET.SubElement(processing, "responseCondition")
    then = ET.SubElement(condition, "responseIf")
    if question.form == "choice":
        match = ET.SubElement(then, "match")
        ET.SubElement(match, "variable", identifier="RESPONSE")
        ET.SubElement(match, "correct", identifier="RESPONSE")
        _set(then, "SCORE", "float", "1")
        said = ET.SubElement(processing, "setOutcomeValue", identifier="FEEDBACK")
        ET.SubElement(said, "variable", identifier="RESPONSE")
        for letter, choice in zip(LETTERS, question.choices, strict=False):
            _feedback(root, f"choice_{letter}", choice.words)
        return
    ET.SubElement(_equal(then, question.value), "correct", identifier="RESPONSE")
    _set(then, "SCORE", "float", "1")
    _set(then, "FEEDBACK", "identifier", "right")
    _feedback(root, "right", "Right.")
    for i, mistake in enumerate(question.mistakes, start=1):
        otherwise = ET.SubElement(condition, "responseElseIf")
        wrong = ET.SubElement(_equal(otherwise, mistake.value), "baseValue", baseType="float")
        wrong.text = repr(mistake.value)
        _set(otherwise, "FEEDBACK", "identifier", f"mistake_{i}")
        _feedback(root, f"mistake_{i}", mistake.words)


def _equal(condition: ET.Element, value: float) -> ET.Element:
    """Compare the answer with a number, which is yet to be put in.

    In the mode "relative" common players take the limits of a negative number the wrong way round,
    and nothing is equal to it.
    """
    size = repr(TOLERANCE * abs(value))
    equal = ET.SubElement(condition, "equal", toleranceMode="absolute", tolerance=f"{size} {size}")
    ET.SubElement(equal, "variable", identifier="RESPONSE")
    return equal


def _set(where: ET.Element, outcome: str, base: str, value: str) -> None:
    found = ET.SubElement(where, "setOutcomeValue", identifier=outcome)
    ET.SubElement(found, "baseValue", baseType=base).text = value


def _feedback(root: ET.Element, name: str, words: str) -> None:
    feedback = ET.SubElement(
        root, "modalFeedback", outcomeIdentifier="FEEDBACK", identifier=name, showHide="show"
    )
    ET.SubElement(feedback, "p").text = words


def _math(writer: MathmlWriter, equation: Equation) -> ET.Element:
    inside = writer.write_equation(equation.sides, equation.relation)
    return ET.fromstring(f'<math xmlns="{_MATH}">{inside}</math>')


def _bytes(root: ET.Element) -> bytes:
    ET.register_namespace("m", _MATH)
    made: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return made + b"\n"
