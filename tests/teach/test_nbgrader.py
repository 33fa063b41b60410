"""Notebooks for nbgrader, which itself assigns them and grades a right and a wrong submission."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest

import chainrule as cr
from tests.tools import PROGRAMS

KINDS = ["z", "gradient", "moves", "chain"]
GRADED = ["z", "a", "loss", "term", "gradient", "update", "step", "mistake", "moves", "vanishes"]


@pytest.fixture(scope="module")
def sheet():
    net = cr.Network([2, 2, 1], hidden="tanh", output="tanh", seed=0)
    return cr.worksheet(net, exercises=4, seed=7, kinds=KINDS, draw_weights=True)


def test_a_notebook_holds_an_answer_and_a_test_for_each_exercise(sheet, tmp_path):
    path = Path(sheet.save(tmp_path, "nbgrader")[0])
    assert path.relative_to(tmp_path).as_posix() == "source/variant-1/worksheet.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    marks = [cell["metadata"]["nbgrader"] for cell in cells]
    assert len({mark["grade_id"] for mark in marks}) == len(cells)
    assert sum(mark.get("points", 0) for mark in marks) == 4
    assert [m["grade_id"] for m in marks if m["solution"]] == [f"answer-{i}" for i in range(1, 5)]
    value = sheet.variants[0].questions[0].value
    assert any(repr(value) in "".join(cell["source"]) for cell in cells)


@pytest.mark.needs("nbgrader")
def test_nbgrader_assigns_and_grades_every_kind_right_wrong_typed_and_missing(tmp_path):
    net = cr.Network([2, 2, 1], hidden="tanh", output="tanh", seed=0)
    sheet = cr.worksheet(net, exercises=11, seed=7, kinds=[*GRADED, "chain"], draw_weights=True)
    sheet.save(tmp_path, "nbgrader")
    (tmp_path / "nbgrader_config.py").write_text(
        f"c = get_config()\nc.CourseDirectory.root = {str(tmp_path)!r}\n"
        "c.CourseDirectory.course_id = 'course'\n",
        encoding="utf-8",
    )
    own = os.path.dirname(shutil.which("nbgrader", path=PROGRAMS))  # it runs others that it needs
    path = os.pathsep.join([own, PROGRAMS])

    def nbgrader(*arguments):
        env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        env |= {"JUPYTER_ALLOW_INSECURE_WRITES": "1", "HOME": str(tmp_path), "PATH": path}
        ran = subprocess.run(
            ["nbgrader", *arguments], cwd=tmp_path, env=env, capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stderr

    nbgrader("generate_assignment", "variant-1")
    released = (tmp_path / "release/variant-1/worksheet.ipynb").read_text(encoding="utf-8")
    content = json.loads(released)
    code = ["".join(c["source"]) for c in content["cells"] if c["cell_type"] == "code"]
    questions = sheet.variants[0].questions
    assert {q.kind for q in questions} == {*GRADED, "chain"}
    for question in questions:
        if question.form == "number":
            assert repr(question.value) not in "".join(code)  # the solution is not given away
    assert "HIDDEN" not in released

    def answers(number, choice):
        return {
            f"answer-{place}": f"answer_{place} = "
            + (number(q.value) if q.form == "number" else repr(choice(q)))
            for place, q in enumerate(questions, start=1)
            if q.form != "formula"
        }

    given = {
        "ada": answers(lambda v: repr(v * 1.004), lambda q: "abcdef"[q.correct]),
        "ben": answers(lambda v: repr(v * 1.02), lambda q: "abcdef"[q.correct - 1]),
        "cleo": answers(lambda v: f"2*({v / 2!r})", lambda q: f" ({'ABCDEF'[q.correct]}) "),
        "dora": {},  # nothing is filled in
    }
    for student, cells in given.items():
        copy = json.loads(released)
        for cell in copy["cells"]:
            name = cell["metadata"]["nbgrader"]["grade_id"]
            cell["source"] = cells.get(name, cell["source"])
        folder = tmp_path / "submitted" / student / "variant-1"
        folder.mkdir(parents=True)
        (folder / "worksheet.ipynb").write_text(json.dumps(copy), encoding="utf-8")
    nbgrader("autograde", "variant-1")
    with sqlite3.connect(tmp_path / "gradebook.db") as book:
        rows = book.execute(
            "select a.student_id, sum(g.auto_score) from grade g "
            "join submitted_notebook n on g.notebook_id = n.id "
            "join submitted_assignment a on n.assignment_id = a.id group by a.student_id"
        ).fetchall()
    book.close()
    assert dict(rows) == {"ada": 10.0, "ben": 0.0, "cleo": 10.0, "dora": 0.0}
