"""The explorer's page: lessons and practice."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import chainrule as cr
from chainrule.explorer.protocol import requests
from chainrule.explorer.session import Session

playwright = pytest.importorskip("playwright.sync_api")
from tests.explorer.reader import Person, browser, expect, person, site, small  # noqa: E402, F401

pytestmark = pytest.mark.needs("chromium")


# --- learning by doing --------------------------------------------------------------------------


@pytest.mark.parametrize("which", [0, 1])
def test_the_tour(person: Person, which: int) -> None:
    session = person.visit()
    page = person.page
    page.click("text=Lessons")
    page.locator(".choice").nth([1, 4][which]).click()
    page.wait_for_selector(".lesson progress")
    person.settled()
    target = ["w[2][1,2]", "w[2][0,0]"][which]
    assert page.locator(f'[data-target="{target}"].selected').count() == 1
    titles = []
    while True:
        titles.append(person.text(".lesson h2"))
        if titles[-1] == "The update":
            loss = session.network.loss_value(session._data.X, session._data.y)
            page.click("text=Make the update")
            page.wait_for_selector("text=; now it is")
            person.settled()
            assert session.network.loss_value(session._data.X, session._data.y) < loss
        if titles[-1] == "The proof":
            break
        page.click(".lesson button.main >> text=Next")
        expect(page.locator(".lesson .small")).to_contain_text(f"{len(titles) + 1} of")
        person.settled()
    assert titles[:3] == ["The question", "The chain rule", "First term"]
    person.settled()
    page.locator(".lesson >> text=Prove it").click()
    page.wait_for_selector(".verdict.pass")
    assert session.settings.notation == ["C-a-L", "L-h"][which]
    page.click(".lesson >> text=Done")
    person.settled()
    page.click("[aria-label='Close the derivation']")
    assert_nothing_is_lit(page)
    assert (session.settings.notation, session.settings.scope) == ("default", "sample")
    page.click("[aria-label=Undo]")
    person.settled()
    assert_nothing_is_lit(page)
    assert session.settings.notation == "default"


def assert_nothing_is_lit(page: Any) -> None:
    assert page.locator(".network.haspath").count() == 0
    assert page.locator(".network .selected, .network .onpath").count() == 0


def test_a_number_that_is_not_resolved_says_so(person: Person) -> None:
    net = cr.Network([2, 2, 1], hidden="tanh", seed=0)
    X = [[0.5, -1.0], [1.5, 0.3]]
    person.visit(lambda: Session(net, X, net.forward(X).a[-1]))
    person.open("w[2][0,1]")
    person.page.click("text=Prove it")
    person.page.wait_for_selector(".verdict.not-resolved")
    assert "not resolved: the values do not have enough digits" in person.text(".verdict")
    assert "hardly" in person.text(".proof") or "rounding" in person.text(".proof").lower()


def test_a_lesson_that_is_left_early_leaves_nothing_lit(person: Person) -> None:
    session = person.visit()
    page = person.page
    page.select_option("[aria-label=Notation]", "L-h")
    person.settled()
    page.click("text=Lessons")
    page.locator(".choice").nth(1).click()
    page.wait_for_selector(".lesson progress")
    person.settled()
    assert page.locator('[data-target="w[2][1,2]"].selected').count() == 1
    names = page.locator(".network .name").all_text_contents()
    assert {"a₀⁽ᴸ⁻²⁾", "a₅⁽ᴸ⁻¹⁾", "a₁⁽ᴸ⁾"} <= set(names)  # as the lesson writes them
    page.click(".lesson >> text=Next")
    person.open("w[1][0,1]")
    page.keyboard.press("Escape")  # the lesson goes on, and with it its weight
    assert page.locator('[data-target="w[2][1,2]"].selected').count() == 1
    page.click("[aria-label='Close the lesson']")
    person.settled()
    assert_nothing_is_lit(page)
    assert session.settings.notation == "L-h"
    page.click("text=Practise")
    page.wait_for_selector(".question math")
    person.settled()
    assert page.locator(".network .selected").count() == 1
    page.click("[aria-label='Close practice']")
    assert_nothing_is_lit(page)


def test_what_is_opened_while_the_next_stop_is_on_its_way_stays_open(person: Person) -> None:
    session = person.visit()
    page = person.page
    page.click("text=Lessons")
    page.locator(".choice").nth(1).click()
    page.wait_for_selector(".lesson progress")
    person.settled()
    answer, go_on = session.answer, threading.Event()

    def held(request: Any) -> Any:
        if isinstance(request, requests.Stop):
            assert go_on.wait(60)
        return answer(request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "answer", held)
        page.click(".lesson >> text=Next")
        page.focus('.network [data-target="w[1][0,1]"]')
        page.keyboard.press("Enter")
        go_on.set()
        person.settled()
    assert page.locator(".lesson progress").get_attribute("value") == "2"
    assert page.locator(".headline").count() == 1
    assert page.locator('[data-target="w[1][0,1]"].selected').count() == 1


MINE = """+++
title = "Mine"
summary = "One sigmoid unit"
[network]
sizes = [1, 1]
output = "sigmoid"
W = [[[2.0]]]
b = [[0.0]]
[data]
X = [[0.5]]
y = [[1.0]]
+++
## Ask
```stop
mark = "w[1][0,0]"
light = ["w[1][0,0]", "a[1][0]"]
show = ["numbers"]
[[button]]
label = "Weight 3"
edit = {target = "w[1][0,0]", value = 3.0}
[question]
ask = "What is z?"
answer = "value z[1][0]"
because = "Weight **times** input."
```
Read *z*, a sum.

- first
- second
"""


def test_a_lesson_of_a_file_plays(person: Person, tmp_path: Path) -> None:
    session = person.visit()
    page = person.page
    page.click("text=Lessons")
    path = tmp_path / "mine.md"
    path.write_text(MINE, encoding="utf-8")
    page.set_input_files(".lesson input[type=file]", str(path))
    page.wait_for_selector(".lesson progress")
    person.settled()
    assert page.locator(".lesson ul.items li").all_text_contents() == ["first", "second"]
    assert page.locator(".network .onpath").count() == 2
    for answer, kind in (("1.5", "fail"), ("1", "pass")):
        page.fill(".lesson .answer input", answer)
        page.click("text=Check")
        page.wait_for_selector(f".lesson .verdict.{kind}")
    assert person.text(".lesson .ask strong") == "times"
    before = person.formulas(".lesson .formulas")
    page.click("text=Weight 3")
    page.wait_for_selector("text=; now it is")
    person.settled()
    assert session.network.layers[1].W[0, 0] == 3.0
    assert person.formulas(".lesson .formulas") != before  # the numbers are those of the network
    page.click("text=Done")
    person.settled()
    page.click("text=Lessons")
    page.select_option("[aria-label='Language of the lessons']", "de")
    page.click("text=Der Vorwärtsdurchlauf")
    page.wait_for_selector(".lesson >> text=Weiter")
    person.settled()
    path.write_text(MINE.replace("Read *z*", "<script>alert(1)</script>"), encoding="utf-8")
    page.click("[aria-label='Lektion schließen']")
    page.click("text=Lessons")
    page.set_input_files(".lesson input[type=file]", str(path))
    page.wait_for_selector(".toast.shown >> text=has HTML")
    person.errors.clear()  # the refused request itself


def test_practice_takes_right_answers_and_names_mistakes(person: Person) -> None:
    session = person.visit(small)
    page = person.page
    page.click("text=Practise")
    page.wait_for_selector(".question math")
    page.select_option("[aria-label='Exercises about']", "gradient")
    faults: set[str] = set()
    for _ in range(60):
        person.settled()
        found = session._exercise
        assert found is not None
        for mistake in found.mistakes:
            judged = found.judge(mistake.value)
            if judged["right"] or judged["fault"] in faults:
                continue
            page.fill(".answer input", repr(mistake.value).replace("-", "−"))
            page.click("text=Check")
            page.wait_for_selector(f'.verdict.fail[data-fault="{judged["fault"]}"]')
            assert judged["words"] in person.text(".practice .out")
            faults.add(judged["fault"])
        if faults >= {"sign", "slope", "transposed", "sum"}:
            break
        page.click("text=Another")
    assert faults >= {"sign", "slope", "transposed", "sum"}
    page.fill(".answer input", str(session._exercise.value))
    page.click("text=Check")
    page.wait_for_selector(".practice .verdict.pass")
    page.fill(".answer input", "many")
    page.click("text=Check")
    page.wait_for_selector('.verdict.fail[data-fault="unreadable"]')


def test_a_score_counts_first_tries_once_and_survives_a_reload(person: Person) -> None:
    session = person.visit(small)
    page = person.page
    page.click("text=Practise")
    page.wait_for_selector(".question math")
    exercise = session._exercise
    assert exercise is not None
    page.fill(".answer input", f"2*({exercise.value / 2!r})")
    for _ in range(3):
        page.click("text=Check")
        page.wait_for_selector(".practice .verdict.pass")
        person.settled()
        assert "1 of 1 exercise right at the first try." in person.text(".practice")
    page.click("text=Another")
    person.settled()
    page.fill(".answer input", "1234")
    page.click("text=Check")
    page.wait_for_selector(".practice .verdict.fail")
    exercise = session._exercise
    assert exercise is not None
    page.fill(".answer input", str(exercise.value))
    page.click("text=Check")
    page.wait_for_selector(".practice .verdict.pass")
    assert "1 of 2 exercises right at the first try." in person.text(".practice")
    with page.expect_download() as waiting:
        page.click("text=Save results")
    rows = Path(waiting.value.path()).read_text(encoding="utf-8").splitlines()
    assert [row.split(",")[-6:-1] for row in rows[1:]] == [
        ["yes", "1", "0", "yes", "no"],
        ["no", "2", "0", "yes", "no"],
    ]
    page.reload()
    page.wait_for_selector("text=Practise")
    page.click("text=Practise")
    page.wait_for_selector(".question math")
    assert "1 of 2 exercises right at the first try." in person.text(".practice")


def test_hints_come_in_steps_and_the_solution_is_no_right_answer(person: Person) -> None:
    session = person.visit(small)
    page = person.page
    page.click("text=Practise")
    page.wait_for_selector(".question math")
    page.select_option("[aria-label='Exercises about']", "gradient")
    page.wait_for_selector(".hint button")
    person.settled()
    page.click(".hint button")
    assert page.locator(".hint-steps > *").count() == 1
    while page.locator(".hint button").is_enabled():
        page.click(".hint button")
    exercise = session._exercise
    assert exercise is not None
    assert page.locator(".hint-steps > *").count() == 1 + len(exercise.view["hints"]) > 2
    page.click("text=Show the solution")
    page.wait_for_selector(".practice .out math")
    assert "0 of 1 exercise right at the first try." in person.text(".practice")
    page.fill(".answer input", str(exercise.value))
    page.click("text=Check")
    page.wait_for_selector(".practice .verdict.pass")
    assert "0 of 1 exercise right at the first try." in person.text(".practice")


def test_hovering_does_not_answer_an_open_exercise(person: Person) -> None:
    session = person.visit(small)
    page = person.page
    edge = page.locator(".network [data-target^='w[']").first
    assert "∂C/∂w" in str(edge.get_attribute("aria-label"))
    page.click("text=Practise")
    page.wait_for_selector(".question math")
    person.settled()
    assert "∂" not in str(edge.get_attribute("aria-label"))
    edge.dispatch_event("focusin")
    exercise = session._exercise
    assert exercise is not None
    assert "∂" not in str(page.locator(".tip").text_content())
    page.fill(".answer input", str(exercise.value))
    page.click("text=Check")
    page.wait_for_selector(".practice .verdict.pass")
    assert "∂C/∂w" in str(edge.get_attribute("aria-label"))
