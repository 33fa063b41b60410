"""A class of 30: the teacher's overview, and answers right, wrong, missing and malformed."""

from __future__ import annotations

import csv
import html
import json
import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule import cli
from chainrule.teach.worksheets import grading

PLACES = [f"w[1][{j},{k}]" for j in range(2) for k in range(2)] + ["w[2][0,0]", "w[2][0,1]"]


def loss(parameters, x, y):
    """C of a 2-2-1 network of tanh with half the squared error, written apart from the library."""
    W1, b1, W2, b2 = parameters[:4].reshape(2, 2), parameters[4:6], parameters[6:8], parameters[8]
    return (np.tanh(W2 @ np.tanh(W1 @ x + b1) + b2) - y) ** 2 / 2


def derivative(network, target, x, y):
    """The complex-step derivative of that loss: exact to rounding, without a chain rule."""
    first, second = network.layers[1:]
    theta = np.concatenate([first.W.ravel(), first.b, second.W.ravel(), second.b]).astype(complex)
    at = PLACES.index(target)
    theta[at if at < 4 else at + 2] += 1e-30j
    return loss(theta, x, y).imag / 1e-30


@pytest.fixture(scope="module")
def sheet():
    net = cr.Network([2, 2, 1], hidden="tanh", output="tanh", loss="half_squared_error", seed=0)
    kinds = ["gradient", "moves", "chain", "update"]
    x, y = [[0.9, -1.2]], [-0.4]
    return cr.worksheet(
        net, x, y, exercises=4, variants=30, seed=11, kinds=kinds, draw_weights=True,
        learning_rate=0.3,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(sheet, tmp_path_factory):
    path = tmp_path_factory.mktemp("class")
    sheet.save(path)
    return path


def number(text):
    """A number of a sheet; ×10 and a superscript may follow."""
    mantissa, _, power = html.unescape(text).replace("−", "-").partition("×10")
    signs = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
    return float(mantissa) * 10.0 ** float(power.translate(signs) or 0)


def test_the_overview_holds_the_seed_the_answers_and_what_a_wrong_answer_means(sheet, folder):
    text = (folder / "overview.html").read_text(encoding="utf-8")
    root = ET.fromstring(text.replace("<!DOCTYPE html>", ""))
    said = " ".join(root.itertext())
    assert "Seed 11, level middle, 30 variants, η = 0.3." in said
    tables = root.findall(".//table")
    assert len(tables) == 30
    x, y = np.array([0.9, -1.2]), -0.4
    checked = 0
    for variant, table in zip(sheet.variants, tables, strict=True):
        rows = [["".join(cell.itertext()) for cell in row] for row in table.iter("tr")][1:]
        assert [row[0] for row in rows] == ["1", "2", "3", "4"]
        for (_, kind, target, answer, meanings), q in zip(rows, variant.questions, strict=True):
            assert (kind, target) == (q.kind, q.target)
            exact = derivative(variant.network, target, x, y)
            wrong = dict(line.rsplit(": ", 1)[0].split(": ", 1) if line.count(": ") > 1
                         else line.split(": ", 1) for line in meanings.splitlines())  # fmt: skip
            if kind == "gradient":
                assert number(answer) == pytest.approx(exact, rel=6e-4)
                values = {number(k): v for k, v in wrong.items()}
                signs = [v for v, words in values.items() if "sign is wrong" in words]
                assert signs == [pytest.approx(-exact, rel=6e-4)]
                twice = [v for v, words in values.items() if words.startswith("That is twice")]
                assert twice == [pytest.approx(2 * exact, rel=6e-4)]
            elif kind == "update":
                layer, units = re.fullmatch(r"w\[(\d)\]\[(.*)\]", target).groups()
                old = variant.network.layers[int(layer)].W[tuple(map(int, units.split(",")))]
                assert number(answer) == pytest.approx(old - 0.3 * exact, rel=6e-4)
                climbed = [number(k) for k, words in wrong.items() if "climbs" in words]
                assert climbed == [pytest.approx(old + 0.3 * exact, rel=6e-4)]
            elif kind == "moves":
                names = [str(choice.equation.sides[0]) for choice in q.choices]
                assert len(names) == len(wrong) + 1
                assert answer not in wrong
            checked += 1
    assert checked == 120


def right_answers(key, variant):
    return [entry["answer"].strip("()") if entry["form"] == "choice" else entry["answer"]
            for entry in key["variants"][str(variant)]]  # fmt: skip


def write(path, rows, delimiter=","):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(["student", "variant", "1", "2", "3", "4"])
        writer.writerows(rows)


def test_a_class_of_30_is_graded(folder, tmp_path, capsys):
    key = json.loads((folder / "key.json").read_text(encoding="utf-8"))
    rows = []
    for variant in range(1, 31):
        cells = right_answers(key, variant)
        entries = key["variants"][str(variant)]
        if variant % 5 == 1:  # a wrong sign
            cells[0] = repr(-entries[0]["value"])
        elif variant % 5 == 2:  # nothing
            cells = [""] * 4
        elif variant % 5 == 3:  # what nobody can read
            cells = ["0.5.1", "z", "2**", "three"]
        elif variant % 5 == 4:  # within the tolerance, in other forms
            cells[0] = f"{1.008 * entries[0]['value']!r}*1"
            cells[1] = f"({cells[1].upper()})"
            cells[3] = repr(entries[3]["value"]).replace(".", ",")
        rows.append([f"=Student {variant}", variant, *cells])
    write(tmp_path / "answers.csv", rows, ";")
    code = cli.main(["worksheet", "check", str(tmp_path / "answers.csv"), "--key",
                     str(folder / "key.json"), "--out", str(tmp_path / "grades.csv")])  # fmt: skip
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    assert f"{6 * 3 + 0 + 0 + 6 * 4 + 6 * 4} of 120 answers right; 24 not answered." in out
    assert re.search(r"^ +6 × The size is right, but the sign is wrong\.", out, re.MULTILINE)
    text = (tmp_path / "grades.csv").read_text(encoding="utf-8")
    grades = list(csv.DictReader(text.splitlines()))
    assert [g["right"] for g in grades] == ["3", "0", "0", "4", "4"] * 6
    assert {g["1"] for g in grades[0::5]} == {"sign"}
    assert {g["2"] for g in grades[1::5]} == {"empty"}
    assert {g[place] for g in grades[2::5] for place in "1234"} == {"unreadable"}
    assert grades[0]["student"] == "'=Student 1"  # no formula of a spreadsheet


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("student,variant,1,2,4", "line 1: column 3 is missing; the key has exercises 1 to 4"),
        ("student,variant,1,2,3,3,4", "line 1: there are two columns 3"),
        ("student,1,2,3,4", "line 1: the columns are student, 1, 2, 3, 4"),
    ],
)
def test_a_table_whose_columns_are_not_the_exercises_is_refused(folder, tmp_path, head, words):
    (tmp_path / "answers.csv").write_text(f"{head}\nAda,1,1,1,1,1\n", encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(words)):
        grading.check(tmp_path / "answers.csv", folder / "key.json")


@pytest.mark.parametrize("form", ["number", "choice", "formula", None])
def test_a_damaged_key_is_named(folder, tmp_path, capsys, form):
    key = json.loads((folder / "key.json").read_text(encoding="utf-8"))
    for entry in key["variants"]["1"]:
        if form is None:
            del entry["form"]
        elif entry["form"] == form:
            entry.pop({"number": "value", "choice": "words", "formula": "key"}[form])
    (tmp_path / "key.json").write_text(json.dumps(key), encoding="utf-8")
    write(tmp_path / "answers.csv", [["Ada", 1, "1", "a", "x", "1"]])
    code = cli.main(["worksheet", "check", str(tmp_path / "answers.csv")])
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert "key.json is damaged: an exercise in it is not whole" in err


def test_an_answer_just_inside_the_tolerance_is_right_and_just_outside_wrong(folder):
    key = json.loads((folder / "key.json").read_text(encoding="utf-8"))
    entry = key["variants"]["1"][0]
    for factor, right in ((1.0099, True), (0.9901, True), (1.0102, False), (0.9898, False)):
        verdict = grading.judge(entry, repr(factor * entry["value"]))
        assert verdict.right is right
        assert right or verdict.fault == "digits"
    assert not grading.judge(entry, repr(math.inf)).right


def test_the_empty_table_has_a_row_for_each_variant(folder):
    text = Path(folder / "answers.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["variant"] for row in rows] == [str(v) for v in range(1, 31)]
    assert {row["student"] for row in rows} == {""}
