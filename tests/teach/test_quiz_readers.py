"""Quizzes held to the rules of their formats, and answered in a player certified for QTI 3.

No package index carries the schemas of 1EdTech, and Moodle publishes none. The rules of the
elements that worksheets use are written down from the specifications, as RELAX NG, in schemas/.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

import chainrule as cr
from chainrule.teach.worksheets.kinds import KINDS, LEVELS
from tests.conftest import ROOT
from tests.tools import find_chromium

SCHEMAS = Path(__file__).parent / "schemas"
NETWORKS: dict[str, dict[str, Any]] = {
    "tanh": {"sizes": [2, 2, 1], "hidden": "tanh", "output": "tanh"},
    "softmax": {"sizes": [2, 3, 3], "output": "softmax", "loss": "cross_entropy"},
    "sigmoid": {
        "sizes": [2, 2, 2, 1], "hidden": "gelu", "output": "sigmoid",
        "loss": "binary_cross_entropy",
    },
}  # fmt: skip


def sheet(name: str, level: str, variants: int = 2) -> cr.Worksheet:
    """Variants with every kind of exercise that the network and the level allow."""
    net = cr.Network(**{"hidden": "relu", "seed": 0} | NETWORKS[name])
    kinds = list(KINDS) if name == "tanh" else list(LEVELS[level])
    return cr.worksheet(
        net, exercises=len(kinds), variants=variants, seed=7, level=level, kinds=kinds,
        draw_weights=True,
    )  # fmt: skip


def schema(name: str) -> Any:
    from lxml import etree

    return etree.RelaxNG(etree.parse(SCHEMAS / f"{name}.rng"))


def parsed(content: bytes) -> Any:
    from lxml import etree

    return etree.fromstring(content)


@pytest.mark.needs("qti")  # it brings lxml
@pytest.mark.parametrize("level", list(LEVELS))
@pytest.mark.parametrize("name", list(NETWORKS))
def test_quizzes_keep_the_rules_of_their_formats(tmp_path: Path, name: str, level: str) -> None:
    made = sheet(name, level)
    moodle, item, manifest = schema("moodle"), schema("qti21"), schema("package")
    moodle.assertValid(parsed(Path(made.save(tmp_path, "moodle")[0]).read_bytes()))
    with zipfile.ZipFile(made.save(tmp_path, "qti")[0]) as archive:
        for file in archive.namelist():
            rules = manifest if file == "imsmanifest.xml" else item
            rules.assertValid(parsed(archive.read(file)))
    if name == "tanh":
        assert {q.kind for v in made.variants for q in v.questions} == set(KINDS)


@pytest.mark.needs("qti")
@pytest.mark.parametrize(
    ("rules", "content"),
    [
        ("qti21", "<assessmentItem identifier='a' title='' adaptive='no' timeDependent='false'/>"),
        ("qti21", "<assessmentItem identifier='1' title='' adaptive='0' timeDependent='false'/>"),
        ("moodle", "<quiz><question type='numerical'><name><text/></name></question></quiz>"),
        ("package", "<manifest identifier='a'><resources/></manifest>"),
    ],
)  # fmt: skip
def test_the_rules_refuse_what_is_wrong(rules: str, content: str) -> None:
    spaces = {
        "qti21": "http://www.imsglobal.org/xsd/imsqti_v2p1",
        "package": "http://www.imsglobal.org/xsd/imscp_v1p1",
    }
    if rules in spaces:
        content = re.sub(r"<(\w+) ", rf"<\1 xmlns='{spaces[rules]}' ", content, count=1)
    assert not schema(rules).validate(parsed(content.encode()))


# --- the player -----------------------------------------------------------------------------------

_MOUNT = """() => new Promise(ready => {
  const told = name => data => window[name](data);
  const on = {
    notifyQti3PlayerReady: player => { window.player = player; ready(); },
    notifyQti3ItemReady: told("shown"), notifyQti3EndAttemptCompleted: told("ended"),
  };
  new Vue({render: h => h(qti3Player, {on})}).$mount("#app");
})"""
_LOAD = """xml => new Promise(done => {
  window.shown = done;
  const sessionControl = {max_attempts: 0, show_feedback: false, validate_responses: false};
  player.loadItemFromXml(xml, {status: "interacting", sessionControl});
})"""
_END = """() => new Promise(done => {
  window.ended = data => done(
    Object.fromEntries(data.state.outcomeVariables.map(each => [each.identifier, each.value])));
  player.endAttempt("end");
})"""


class Player:
    """A page with the player in it."""

    def __init__(self, page: Any) -> None:
        self.page = page
        page.set_content('<div id="app"></div>')
        for script in ("vue/dist/vue.min.js", "qti3-item-player/dist/qti3Player.umd.min.js"):
            page.add_script_tag(path=ROOT / "node_modules" / script)
        page.evaluate(_MOUNT)

    def load(self, xml: str) -> None:
        """Show an item."""
        self.page.evaluate(_LOAD, xml)

    def score(self, answer: str) -> float:
        """Answer the item as a student does, and return the score that the player gives."""
        if answer.startswith("choice_"):
            self.page.locator(f"[role=radio][data-identifier='{answer}']").click()
        elif not self.page.locator("[role=radio]").count():
            self.page.locator("input[type=text], textarea").fill(answer)
        found: dict[str, Any] = self.page.evaluate(_END)
        self.feedback = found.get("FEEDBACK") or ""
        return float(found["SCORE"])


def words(player: Player, archive: zipfile.ZipFile, item: str) -> str:
    """What the item says with the feedback that the player chose."""
    (found,) = (
        node for node in parsed(archive.read(item)).iter("{*}qti-modal-feedback")
        if node.get("identifier") == player.feedback
    )  # fmt: skip
    return " ".join("".join(found.itertext()).split())


@pytest.mark.needs("qti", "qti-player", "chromium")
@pytest.mark.parametrize(("name", "level"), [("tanh", "middle"), ("softmax", "easy")])
def test_a_certified_player_gives_a_point_for_a_right_answer_alone(
    tmp_path: Path, name: str, level: str
) -> None:
    from qti_convert import upgrade_package

    playwright = pytest.importorskip("playwright.sync_api")
    made = sheet(name, level, variants=1)
    upgrade_package(made.save(tmp_path, "qti")[0], str(tmp_path / "qti3.zip"))
    questions = [q for v in made.variants for q in v.questions]
    assert {q.value > 0 for q in questions if q.form == "number"} == {True, False}
    with zipfile.ZipFile(tmp_path / "qti3.zip") as archive, playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        player = Player(browser.new_page())
        for variant in made.variants:
            for place, q in enumerate(variant.questions, start=1):
                item = f"v{variant.number}-{place}.xml"
                player.load(archive.read(item).decode())
                right: list[str] = []
                wrong = [""]
                if q.form == "number":
                    right = [repr(q.value * 1.009), repr(q.value * 0.991)]
                    wrong += [repr(q.value * 1.011), repr(-q.value), repr(q.mistakes[-1].value)]
                elif q.form == "choice":
                    letters = [f"choice_{letter}" for letter in "abcdefgh"[: len(q.choices)]]
                    right = [letters.pop(q.correct)]
                    wrong += letters
                for answer in wrong:
                    assert player.score(answer) == 0, (q.kind, q.value, answer)
                if q.form == "number":
                    assert words(player, archive, item) == q.mistakes[-1].words
                for answer in right:
                    assert player.score(answer) == 1, (q.kind, q.value, answer)
                if q.form == "number":
                    assert words(player, archive, item) == "Right."
                elif q.form == "choice":
                    assert words(player, archive, item) == q.choices[q.correct].words
        browser.close()
