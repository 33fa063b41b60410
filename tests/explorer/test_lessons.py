"""Lessons as files: those of the package, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from chainrule.cli.explore import explore
from chainrule.explorer import snapshot
from chainrule.explorer.session import Session
from chainrule.explorer.touring import GIVEN, read_lesson
from chainrule.teach import lessons

MINE = """+++
title = "Mine"
[network]
sizes = [2, 1]
output = "sigmoid"
W = [[[2.0, -1.0]]]
b = [[0.5]]
[data]
X = [[0.5, 1.0], [0.0, 2.0]]
y = [[1.0], [0.0]]
sample = 1
+++
## Ask
```stop
mark = "w[1][0,1]"
show = ["numbers"]
[[button]]
label = "Train"
configure = {learning_rate = 0.5}
train = {steps = 2}
[question]
ask = "What is z?"
answer = "value z[1][0]"
```
Look at z.
"""


def asked(session: Session, kind: str, **fields: Any) -> dict[str, Any]:
    reply = session.handle({"kind": kind, **fields})
    assert reply["kind"] != "error", reply
    return reply


@pytest.mark.parametrize("language", list(lessons.LANGUAGES))
@pytest.mark.parametrize("name", lessons.NAMES)
def test_every_stop_of_the_package_plays(name: str, language: str) -> None:
    session = Session()
    reply = asked(session, "tour", lesson=name, language=language)
    assert len(reply["titles"]) >= 4
    parts = {"loss"}
    for l, units in enumerate(session.network.sizes):
        parts |= {f"a[{l}][{j}]" if l else f"x[{j}]" for j in range(units)}
        for j in range(units if l else 0):
            parts |= {f"b[{l}][{j}]"} | {
                f"w[{l}][{j},{k}]" for k in range(session.network.sizes[l - 1])
            }
    parts |= {f"target {j}" for j in range(session.network.sizes[-1])}
    for i in range(len(reply["titles"])):
        asked(session, "tour", lesson=name, language=language)
        stop = asked(session, "stop", at=i)
        assert set(stop["light"]) <= parts
        found = session._lesson.stops[i]  # type: ignore[union-attr]
        assert bool(stop["equations"]) == bool(found.show)
        for button in stop["buttons"]:
            for request in button["requests"]:
                asked(session, **request)
            asked(session, "stop", at=i)  # with the network as the button leaves it


def test_the_languages_say_the_same_things() -> None:
    assert lessons.words("en").keys() == lessons.words("de").keys()
    english, german = lessons.built_in("tanh chain"), lessons.built_in("tanh chain", "de")
    assert german.language == "de"
    assert [s.show for s in german.stops] == [s.show for s in english.stops]
    assert np.array_equal(german.network.parameters, english.network.parameters)
    assert german.stops[1].title == "Die Kettenregel"


def test_answers_are_judged_by_the_network_as_it_is() -> None:
    session = Session()
    asked(session, "tour", text=MINE)
    assert session.sample == 1
    z = 2.0 * 0.0 - 1.0 * 2.0 + 0.5
    assert asked(session, "respond", at=0, value=z * 1.005)["right"]
    assert not asked(session, "respond", at=0, value=z * 1.02)["right"]
    asked(session, "edit", target="b[1][0]", value=1.0)
    assert asked(session, "respond", at=0, value=-1.0)["right"]
    assert "missing" in session.handle({"kind": "respond", "at": 0})["message"]
    asked(session, "tour", lesson="tanh chain")
    h1 = math.tanh(0.6 * 0.5 + 0.1)
    h2 = math.tanh(-0.4 * h1 + 0.2)
    w2 = -0.4 - 0.1 * (-(0.7 - h2) * (1 - h2**2) * h1)
    assert asked(session, "respond", at=7, value=round(w2, 5))["right"]
    assert asked(session, "respond", at=3, choice=0)["right"]
    assert not asked(session, "respond", at=3, choice=1)["right"]
    assert "expected 0 to 2" in session.handle({"kind": "respond", "at": 3, "choice": 9})["message"]


def test_a_lesson_that_is_given_begins() -> None:
    session = Session()
    assert asked(session, "lessons")["start"] == ""
    session.given = read_lesson(MINE, "mine.md")
    reply = asked(session, "lessons")
    assert (reply["start"], reply["lessons"][0]["title"]) == (GIVEN, "Mine")
    assert asked(session, "tour", lesson=GIVEN)["titles"] == ["Ask"]
    assert "Begin one first" in Session().handle({"kind": "stop", "at": 0})["message"]


def test_a_lesson_of_a_file_travels_in_a_live_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Session] = []

    def page(session: Session, *rest: object) -> str:
        seen.append(snapshot.unpack(snapshot.pack(session)))
        return ""

    monkeypatch.setattr("chainrule.explorer.hosts.live.page", page)
    (tmp_path / "mine.md").write_text(MINE, encoding="utf-8")
    options = ["--lesson", str(tmp_path / "mine.md"), "--live", str(tmp_path / "mine.html")]
    assert CliRunner().invoke(explore, options, standalone_mode=False).exception is None
    reply = asked(seen[0], "lessons")
    assert (reply["start"], reply["lessons"][0]["title"]) == (GIVEN, "Mine")
    tour = asked(seen[0], "tour", lesson=GIVEN)
    assert (tour["titles"], tour["frame"]["sample"]["index"]) == (["Ask"], 1)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("+++\ntitle", "title", "mine.md, line 1: expected +++"),
        ("sizes = [2, 1]", "sizes = [2, 1", "is not TOML: "),
        ("sizes = [2, 1]", "sizes = [2, 1000]", "line 4: network.sizes is [2, 1000]; expected"),
        ("sizes = [2, 1]", 'sizes = "2-1"', "line 4: network.sizes is '2-1'; expected a list"),
        ("sizes = [2, 1]\n", "", "line 3: the field network.sizes is missing"),
        ('"sigmoid"', '"sigmoi"', "line 5: network.output is 'sigmoi'; expected one of identity"),
        ("W = [[[2.0, -1.0]]]", "W = [[[2.0]]]", "[network]"),
        ("W = [[[2.0, -1.0]]]", "W = [[[nan, 1.0]]]", "line 6: network.W is"),
        ("y = [[1.0], [0.0]]", "y = [[1.0]]", "line 9: [data]"),
        ("sample = 1", "sample = 2", "line 11: data.sample is 2; expected a whole"),
        ("title = ", "titel = ", "the field title is missing"),
        ('title = "Mine"', 'title = "Mine"\ncolour = 1', "line 3: colour is not a field;"),
        ("w[1][0,1]", "w[2][0,1]", "line 15: mark names w[2][0,1]: the network has layers 1 to 1"),
        ('["numbers"]', '["number"]', "line 16: show has 'number'; expected some of chain rule"),
        ("steps = 2", "steps = 0", "stop 'Ask', button 'Train': train: steps is 0"),
        ("value z", "new z", "answer is 'new z[1][0]'; expected a weight or a bias there"),
        ("value z", "worth z", "answer is 'worth z[1][0]'; expected value, gradient or new"),
        ("Look at z.", "Look <b>here</b>.", "line 25 has HTML"),
        ("Look at z.", "See [this](javascript:alert(1))", "line 25 has a link or an image"),
        ("Look at z.", "![x](y)", "has a link or an image"),
        ("Look at z.", "```js", "line 25 has a code block"),
        ("Look at z.", "Look\x07", "line 25 has a control character"),
        ("Look at z.", "", "line 13: a stop has a heading and a text below it"),
        ("## Ask", "# Ask", "mine.md has no stop"),
        ("Look at z.", "z" * 70_000, "bytes; expected at most 65,536"),
        ('title = "Mine"', 'of = "kinks"', "only built-in lessons have translations"),
    ],
)  # fmt: skip
def test_other_files_are_refused_with_their_line(old: str, new: str, complaint: str) -> None:
    assert old in MINE
    with pytest.raises(ValueError, match=r"mine\.md") as error:
        read_lesson(MINE.replace(old, new, 1), "mine.md")
    assert complaint in str(error.value)


def test_a_saved_file_has_the_sample_and_settings_that_were_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Session] = []

    def page(session: Session, *rest: object) -> str:
        seen.append(session)
        return ""

    monkeypatch.setattr("chainrule.explorer.hosts.offline.page", page)
    start = ["--sizes", "2,2,1", "--dataset", "xor table", "--save", str(tmp_path / "a.html")]
    options = ["--sample", "2", "--notation", "L-h", "--learning-rate", "0.25"]
    assert CliRunner().invoke(explore, [*start, *options], standalone_mode=False).exception is None
    s = seen[0].settings
    assert (seen[0].sample, s.notation, s.learning_rate) == (2, "L-h", 0.25)
    CliRunner().invoke(explore, start, standalone_mode=False)
    assert seen[1]._data.X[seen[1].sample].tolist() == [1.0, 1.0]
    assert seen[1].settings.learning_rate == 0.5
    result = CliRunner().invoke(explore, [*start, "--sample", "4"], standalone_mode=False)
    assert "sample is 4; expected 0 to 3" in str(result.exception)


def test_the_command_line_says_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "mine.md"
    path.write_text(MINE.replace("sigmoid", "sig"), encoding="utf-8")
    result = CliRunner().invoke(explore, ["--lesson", str(path), "--no-browser"])
    assert "mine.md, line 5: network.output is 'sig'" in str(result.exception)
    path.write_bytes(b"+++\xff")
    result = CliRunner().invoke(explore, ["--lesson", str(path), "--no-browser"])
    assert "is not UTF-8 text" in str(result.exception)
    result = CliRunner().invoke(explore, ["--lesson", str(path), "--sizes", "2,1"])
    assert "--lesson and --sizes exclude each other" in result.output
