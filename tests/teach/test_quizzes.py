"""Quizzes for learning platforms: Moodle XML and QTI, read by programs that are not ours."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import pytest

import chainrule as cr
from chainrule.teach.worksheets.kinds import KINDS

QTI = "{http://www.imsglobal.org/xsd/imsqti_v2p1}"


@pytest.fixture(scope="module")
def sheet():
    net = cr.Network([2, 2, 1], hidden="tanh", output="tanh", seed=0)
    kinds = [kind for kind in KINDS if kind != "step"]
    return cr.worksheet(net, exercises=10, variants=2, seed=7, kinds=kinds, draw_weights=True)


@pytest.fixture(scope="module")
def folder(sheet, tmp_path_factory):
    path = tmp_path_factory.mktemp("quiz")
    sheet.save(path, "moodle")
    sheet.save(path, "qti")
    return path


def asked(sheet, form):
    return [q for v in sheet.variants for q in v.questions if q.form == form]


def test_moodle_judges_numbers_and_knows_the_mistakes(sheet, folder):
    root = ET.parse(folder / "moodle.xml").getroot()
    categories = root.findall("question[@type='category']/category/text")
    assert [c.text.rsplit("/")[-1] for c in categories] == ["Variant 1", "Variant 2"]
    numbers = root.findall("question[@type='numerical']")
    for node, question in zip(numbers, asked(sheet, "number"), strict=True):
        right, *wrong = node.findall("answer")
        assert right.get("fraction") == "100"
        assert float(right.findtext("text")) == question.value
        assert float(right.findtext("tolerance")) == pytest.approx(0.01 * abs(question.value))
        assert [float(w.findtext("text")) for w in wrong] == [m.value for m in question.mistakes]
        assert all(w.get("fraction") == "0" for w in wrong)
    essays = root.findall("question[@type='essay']")
    for node, question in zip(essays, asked(sheet, "formula"), strict=True):
        assert question.key.right in node.findtext("graderinfo/text").replace("&#x27;", "'")


@pytest.mark.needs("moodle")
def test_a_reader_of_moodle_xml_finds_the_choices(sheet, folder):
    from moodle_xml_parser.parser import parse_file

    read = parse_file(str(folder / "moodle.xml"))["multichoice"]
    for found, question in zip(read, asked(sheet, "choice"), strict=True):
        assert found.single
        assert [option.score_fraction > 0 for option in found.options] == [
            i == question.correct for i in range(len(question.choices))
        ]


def test_the_qti_package_is_complete(sheet, folder):
    with zipfile.ZipFile(folder / "qti.zip") as archive:
        names = archive.namelist()
        manifest = ET.fromstring(archive.read("imsmanifest.xml"))
        listed = [node.get("href") for node in manifest.iter() if node.tag.endswith("resource")]
        assert sorted(listed) == sorted(set(names) - {"imsmanifest.xml"})
        for variant in sheet.variants:
            for place, question in enumerate(variant.questions, start=1):
                item = ET.fromstring(archive.read(f"v{variant.number}-{place}.xml"))
                value = item.findtext(f".//{QTI}correctResponse/{QTI}value")
                if question.form == "number":
                    assert float(value) == question.value
                    equal = item.find(f".//{QTI}equal")
                    assert equal.get("toleranceMode") == "absolute"
                    sizes = [float(size) for size in equal.get("tolerance").split()]
                    assert sizes == pytest.approx([0.01 * abs(question.value)] * 2)
                elif question.form == "choice":
                    choices = item.findall(f".//{QTI}simpleChoice")
                    assert choices[question.correct].get("identifier") == value


@pytest.mark.needs("qti")
def test_a_converter_reads_the_qti_package_as_qti_3(sheet, folder, tmp_path):
    from qti_convert import upgrade_package

    upgrade_package(str(folder / "qti.zip"), str(tmp_path / "qti3.zip"))
    three = "{http://www.imsglobal.org/xsd/imsqtiasi_v3p0}"
    with zipfile.ZipFile(tmp_path / "qti3.zip") as archive:
        for variant in sheet.variants:
            for place, question in enumerate(variant.questions, start=1):
                item = ET.fromstring(archive.read(f"v{variant.number}-{place}.xml"))
                assert item.tag == f"{three}qti-assessment-item"
                value = item.findtext(f".//{three}qti-correct-response/{three}qti-value")
                if question.form == "number":
                    assert float(value) == question.value
                found = item.findall(f".//{three}qti-simple-choice")
                assert len(found) == len(question.choices)


def test_the_same_seed_makes_the_same_package(sheet, folder, tmp_path):
    paths = sheet.save(tmp_path, "qti")
    assert Path(paths[0]).read_bytes() == (folder / "qti.zip").read_bytes()
    assert zipfile.ZipFile(io.BytesIO(Path(paths[0]).read_bytes())).testzip() is None
