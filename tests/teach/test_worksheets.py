"""Worksheets: proven keys, the same sheets from a seed, answers judged and diagnosed."""

from __future__ import annotations

import csv
import json
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from pylatexenc import latexwalker

import chainrule as cr
from chainrule import cli
from chainrule.teach.worksheets import grading, proofs
from chainrule.teach.worksheets.by_hand import follow, rounded
from chainrule.teach.worksheets.kinds import KINDS
from chainrule.verify import certify

W = [[[-0.1, 0.4], [1.0, -0.7]], [[0.8, 0.3]]]
B = [[-0.3, 0.2], [0.1]]
X, Y = np.array([[0.9, -1.2]]), np.array([[-0.4]])


def network(**changes):
    settings = {"hidden": "tanh", "output": "tanh", "loss": "squared_error", "W": W, "b": B}
    return cr.Network([2, 2, 1], **(settings | changes))


def loss(parameters):
    """C of the network above at complex parameters, written apart from the library."""
    W1, b1 = parameters[:4].reshape(2, 2), parameters[4:6]
    W2, b2 = parameters[6:8].reshape(1, 2), parameters[8:9]
    z1 = W1 @ X[0] + b1
    z2 = W2 @ np.tanh(z1) + b2
    return {"z": [z1, z2], "a": [np.tanh(z1), np.tanh(z2)], "C": (np.tanh(z2) - Y[0])[0] ** 2}


THETA = np.array([*np.ravel(W[0]), *B[0], *np.ravel(W[1]), *B[1]])
NAMES = [
    "w[1][0,0]", "w[1][0,1]", "w[1][1,0]", "w[1][1,1]", "b[1][0]", "b[1][1]",
    "w[2][0,0]", "w[2][0,1]", "b[2][0]",
]  # fmt: skip


def complex_step(target):
    """The derivative of C with respect to one parameter, to rounding, without a chain rule."""
    shifted = THETA.astype(complex)
    shifted[NAMES.index(target)] += 1e-30j
    return loss(shifted)["C"].imag / 1e-30


def questions(kind, level="middle", seeds=range(4), **more):
    for seed in seeds:
        sheet = cr.worksheet(
            network(), X, Y, exercises=3, seed=seed, level=level, kinds=[kind], **more
        )
        yield from sheet.variants[0].questions


def test_forward_answers_are_those_of_numpy():
    known = loss(THETA)
    for kind in ("z", "a"):
        for q in questions(kind):
            values = [v for layer in known[kind] for v in layer]
            assert min(abs(q.value - v) for v in values) < 1e-12
    for q in questions("loss"):
        assert q.value == pytest.approx(known["C"], rel=1e-12)


def test_gradients_updates_and_whole_steps_are_those_of_a_complex_step():
    for q in questions("gradient"):
        assert q.value == pytest.approx(complex_step(q.target), rel=1e-10)
    for kind in ("update", "step"):
        for q in questions(kind, learning_rate=0.25):
            new = THETA[NAMES.index(q.target)] - 0.25 * complex_step(q.target)
            assert q.value == pytest.approx(new, rel=1e-10)


def test_the_weight_that_moves_most_has_the_largest_derivative():
    for q in questions("moves"):
        text = [c.equation.sides[0] for c in q.choices]
        sizes = [abs(complex_step(f"w[{w.layer}][{w.units[0]},{w.units[1]}]")) for w in text]
        assert q.correct == int(np.argmax(sizes))


def test_one_line_alone_is_wrong():
    for q in questions("mistake"):
        lines = [c.equation.sides[-1].value for c in q.choices]
        exact = complex_step(q.target)
        factors = lines[:3]
        if q.correct == 3:
            assert np.prod(factors) == pytest.approx(exact, rel=1e-10)
            assert lines[3] != pytest.approx(exact, rel=1e-3)
        else:
            assert np.prod(factors) == pytest.approx(lines[3], rel=1e-12)
            assert lines[3] != pytest.approx(exact, rel=1e-3)


def test_each_kind_can_be_set_and_each_answer_is_judged_right():
    for kind in KINDS:
        q = next(iter(questions(kind)))
        assert q.kind == kind
        entry = grading._entry(q)
        answer = entry["answer"].strip("()") if q.form == "choice" else entry["answer"]
        assert grading.judge(entry, answer).right, (kind, answer)
        assert q.proof.startswith("Proven: ")


def test_a_key_that_is_not_proven_is_not_written(monkeypatch):
    monkeypatch.setattr(proofs, "certify", lambda *a, **k: certify(*a, **(k | {"analytic": 0.123})))
    with pytest.raises(ValueError, match="no exercise about gradient can be set"):
        cr.worksheet(network(), X, Y, exercises=1, kinds=["gradient"])


def test_a_forward_key_that_is_not_proven_is_not_written():
    with pytest.raises(proofs.NotProvenError, match="in many digits"):
        proofs.forward(network(), X[0], Y[0], "z[1][0]", 0.123)


def test_no_exercise_is_set_at_a_kink():
    net = cr.Network([1, 1, 1], hidden="relu", W=[[[0.5]], [[1.0]]], b=[[0.0], [0.0]])
    with pytest.raises(ValueError, match="stands on a kink"):
        cr.worksheet(net, [[0.0]], [1.0], exercises=1, level="hard")
    drawn = cr.worksheet(
        cr.Network([2, 3, 1], hidden="relu", seed=0), exercises=3, variants=4, draw_weights=True
    )
    assert len(drawn.variants) == 4


def test_a_hand_that_rounds_arrives_within_half_a_percent():
    for q in questions("z"):
        assert follow(q.derivation[0].equations[0].sides[-2]) == pytest.approx(q.value, rel=0.005)
    assert rounded(0.123456) == 0.1235


@pytest.mark.parametrize(
    "form", ["html", "latex", pytest.param("pdf", marks=pytest.mark.needs("typst"))]
)
def test_the_same_seed_makes_the_same_bytes(tmp_path, form):
    def files(seed, name):
        sheet = cr.worksheet(
            network(), exercises=4, variants=3, seed=seed, draw_weights=True, level="middle"
        )
        return [Path(p).read_bytes() for p in sheet.save(tmp_path / name, form)]

    assert files(7, "a") == files(7, "b")
    assert files(7, "a")[0] != files(8, "c")[0]


def test_students_get_different_numbers():
    sheet = cr.worksheet(network(), exercises=2, variants=5, seed=1, draw_weights=True)
    firsts = {v.questions[0].value for v in sheet.variants}
    assert len(firsts) > 1


def test_html_is_well_formed_and_needs_nothing(tmp_path):
    sheet = cr.worksheet(network(), exercises=11, seed=2, kinds=list(KINDS), level="middle")
    paths = sheet.save(tmp_path, "html")
    for path in paths[:3]:
        text = Path(path).read_text(encoding="utf-8")
        ET.fromstring(text.replace("<!DOCTYPE html>", ""))
        assert not re.search("src=|href=|<script", text)
    keys = (tmp_path / "keys.html").read_text(encoding="utf-8")
    assert keys.count("Proven: ") >= 11
    assert "Seed 2" in (tmp_path / "overview.html").read_text(encoding="utf-8")


@pytest.mark.needs("typst")
@pytest.mark.parametrize("kind", list(KINDS))
def test_pdf_typesets_every_kind_of_exercise(tmp_path, kind):
    for notation in ("default", "L-h", "C-a-L"):
        sheet = cr.worksheet(network(), X, Y, exercises=1, kinds=[kind], notation=notation)
        paths = sheet.save(tmp_path, "pdf")
        assert [Path(p).read_bytes()[:5] for p in paths[:3]] == [b"%PDF-"] * 3


@pytest.mark.needs("typst")
@pytest.mark.parametrize("hidden", ["relu", "gelu", "softplus", "elu", "silu", "leaky_relu"])
def test_pdf_typesets_every_formula(tmp_path, hidden):
    net = cr.Network([2, 2, 3], hidden=hidden, output="softmax", loss="cross_entropy", seed=0)
    paths = cr.worksheet(net, exercises=4, seed=1, draw_weights=True).save(tmp_path, "pdf")
    assert Path(paths[1]).read_bytes()[:5] == b"%PDF-"


def test_pdf_without_typst_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "typst", None)
    sheet = cr.worksheet(network(), X, Y, exercises=1)
    with pytest.raises(ImportError, match=r"pip install 'chainrule\[worksheets\]'"):
        sheet.save(tmp_path / "new", "pdf")
    assert not (tmp_path / "new").exists()


def test_latex_is_balanced_and_names_no_sign_that_it_lacks(tmp_path):
    sheet = cr.worksheet(network(), exercises=11, seed=2, kinds=list(KINDS))
    for path in sheet.save(tmp_path, "latex")[:3]:
        text = Path(path).read_text(encoding="utf-8")
        latexwalker.LatexWalker(text, tolerant_parsing=False).get_latex_nodes()
        assert set(re.findall(r"[^\x00-\x7f]", text)) <= {"’"}


# --- formulas -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chain():
    net = cr.Network(
        [1, 1, 1], hidden="tanh", output="sigmoid", loss="squared_error",
        W=[[[0.5]], [[0.8]]], b=[[0.1], [0.2]],
    )  # fmt: skip
    sheet = cr.worksheet(net, [[0.9]], [0.5], exercises=1, kinds=["chain"], level="easy")
    return sheet.variants[0].questions[0].key


@pytest.mark.parametrize(
    "text",
    [
        "2*(a2-y)*g'(z2)*a1",
        "a1 * g′(z2) * 2 * (a2 − y)",
        "-2*(y-a2)*g'(z2)*a1",
        "2*a1*g'(z2)*a2 - 2*y*a1*g'(z2)",
        "2*(a2-y)*a2*(1-a2)*a1",
        "2*(sigma(z2)-y)*sigma(z2)*(1-sigma(z2))*tanh(z1)",
        "2*(a[2][0]-y[0])*g'(z[2][0])*a[1][0]",
        "(a2-y)*g'(z2)*a1/0.5",
        "2*(g(z2)-y)*g'(z2)*a1",
    ],
)
def test_equal_forms_of_the_chain_rule_are_right(chain, text):
    assert chain.judge(text).right


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("2*(a2-y)*a1", "slope"),
        ("2*(a2-y)*g'(z2)", "input"),
        ("2*(y-a2)*g'(z2)*a1", "sign"),
        ("(a2-y)*g'(z2)*a1", "factor"),
        ("2*(a2-y)*g(z2)*a1", "value"),
        ("2*(a2-y)*g'(z2)*a1^2", "other"),
        ("2*(a2-q)*g'(z2)*a1", "unreadable"),
        ("g'(a1+1)", "unreadable"),
        ("exit()", "unreadable"),
        ("", "empty"),
    ],
)
def test_wrong_formulas_are_diagnosed(chain, text, fault):
    verdict = chain.judge(text)
    assert (verdict.right, verdict.fault) == (False, fault)


def test_a_hidden_weight_s_chain_goes_through_every_unit():
    net = cr.Network([1, 1, 2], hidden="relu", output="tanh", loss="squared_error", seed=3)
    sheet = cr.worksheet(
        net, [[0.9]], [[0.5, 0.1]], exercises=1, kinds=["chain"], level="hard", seed=1
    )
    key = sheet.variants[0].questions[0].key
    assert key.judge(
        "(2*(a2_0-y0)*(1-a2_0^2)*w2_00 + 2*(a2_1-y1)*(1-tanh(z2_1)^2)*w2_10)*g'(z1)*x"
    ).right
    assert not key.judge("2*(a2_0-y0)*(1-a2_0^2)*w2_00*g'(z1)*x").right


# --- a class --------------------------------------------------------------------------------------


def run(capsys, *arguments):
    code = cli.main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def test_the_answers_that_are_missing_are_named(tmp_path, capsys):
    code, out, err = run(capsys, "worksheet", "check", str(tmp_path / "nope.csv"))
    assert (code, out) == (2, "")
    assert "nope.csv" in err
    assert "key.json" not in err


def test_a_class_is_graded_and_diagnosed(tmp_path, capsys):
    folder = tmp_path / "class"
    code, out, err = run(
        capsys, "worksheet", "--sizes", "2,2,1", "--output", "tanh", "--exercises", "7",
        "--variants", "2", "--seed", "7", "--out", str(folder),
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert {Path(line).name for line in out.splitlines()} == {
        "sheets.html", "keys.html", "overview.html", "key.json", "answers.csv",
    }  # fmt: skip
    key = json.loads((folder / "key.json").read_text(encoding="utf-8"))
    ada = [entry["answer"].strip("()") if entry["form"] == "choice" else entry["answer"]
           for entry in key["variants"]["1"]]  # fmt: skip
    wrong = next(i for i, e in enumerate(key["variants"]["2"]) if e["form"] == "number")
    mistake = next(m for m in key["variants"]["2"][wrong]["mistakes"] if m["fault"] == "sign")
    bob = [""] * 7
    bob[wrong] = repr(mistake["value"])
    with (folder / "answers.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["student", "variant", *range(1, 8)])
        writer.writerow(["Ada", 1, *ada])
        writer.writerow(["Bob", 2, *bob])
    code, out, err = run(
        capsys, "worksheet", "check", str(folder / "answers.csv"), "--out", str(tmp_path / "g.csv")
    )
    assert (code, err) == (0, "")
    assert re.search(r"Ada +variant +1 +7 of 7", out)
    assert re.search(r"Bob +variant +2 +0 of 7", out)
    assert mistake["words"] in out
    assert "7 of 14 answers right; 6 not answered." in out
    rows = list(csv.reader((tmp_path / "g.csv").read_text(encoding="utf-8").splitlines()))
    assert rows[1][:4] == ["Ada", "1", "7", "7"]
    assert rows[2][4 + wrong] == "sign"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("name,1\nAda,2\n", "line 1: the columns are name, 1"),
        ("student,variant,1\nAda,9,2\n", "line 2: variant '9' is not in the key"),
        ("student,variant,1\nAda,1,2,3,4\n", "line 2: there are more cells"),
        ("student;variant;1\nAda;;2\n", "variant '' is not in the key"),
    ],
)
def test_a_wrong_table_of_answers_is_refused_with_its_line(tmp_path, content, words):
    sheet = cr.worksheet(network(), X, Y, exercises=1, kinds=["z"])
    sheet.save(tmp_path)
    (tmp_path / "answers.csv").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(words)):
        grading.check(tmp_path / "answers.csv", tmp_path / "key.json")


def test_a_file_that_is_no_key_is_refused(tmp_path):
    (tmp_path / "answers.csv").write_text("student,variant,1\n", encoding="utf-8")
    (tmp_path / "key.json").write_text("[]", encoding="utf-8")
    with pytest.raises(ValueError, match="is not a key; expected the file"):
        grading.check(tmp_path / "answers.csv", tmp_path / "key.json")


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"exercises": 0}, ValueError, "exercises is 0; expected a whole number from 1 to 50"),
        ({"variants": 501}, ValueError, "variants is 501"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"level": "expert"}, ValueError, "level is 'expert'; expected easy, middle, hard"),
        ({"kinds": ["essay"]}, ValueError, "kinds is ['essay']; expected some of z, a"),
        ({"kinds": "z"}, TypeError, "kinds is the text 'z'"),
        ({"network": 3}, TypeError, "network is int; expected a chainrule.Network"),
        ({"network": cr.Network([9, 1])}, ValueError, "a layer of 9 units"),
        ({"network": cr.Network([2, 1], l2=0.1)}, ValueError, "dropout or an L2 penalty"),
        ({"X": None}, ValueError, "only one of X and y"),
    ],
)
def test_wrong_arguments_are_refused(changes, error, words):
    arguments = {"network": network(), "X": X, "y": Y, "exercises": 1} | changes
    with pytest.raises(error, match=re.escape(words)):
        cr.worksheet(arguments.pop("network"), **arguments)


def test_an_unknown_format_is_refused_before_a_file_is_written(tmp_path):
    sheet = cr.worksheet(network(), X, Y, exercises=1)
    with pytest.raises(ValueError, match="format is 'docx'"):
        sheet.save(tmp_path / "new", "docx")
    assert not (tmp_path / "new").exists()


def test_the_command_wants_one_network(capsys, tmp_path):
    code, _, err = run(capsys, "worksheet", "--out", str(tmp_path / "x"))
    assert code == 2
    assert "choose a network: MODEL, or --sizes such as 2,2,1" in err
