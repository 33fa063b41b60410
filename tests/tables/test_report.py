"""The report: predictions by folds, the rows that it names, and the page."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import chainrule as cr
from chainrule.tables import folds
from chainrule.tables.opening import open_table
from chainrule.tables.report.found import look
from tests.cli.people import TRAIN, Run, folder, loaded, people, run  # noqa: F401
from tests.tools import find_chromium

ROOT = next(p for p in Path(__file__).resolve().parents if (p / "pyproject.toml").exists())

# --- folds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [True, False])
def test_each_fold_has_its_share_of_every_target(classes: bool) -> None:
    rng = np.random.default_rng(0)
    y = rng.choice(4, 203, p=[0.5, 0.3, 0.15, 0.05]) if classes else rng.normal(size=203)
    fold = folds.deal(y, 5, 0)
    assert np.bincount(fold).tolist() == [41, 41, 41, 40, 40]
    if classes:
        counts = np.array([np.bincount(y[fold == i], minlength=4) for i in range(5)])
        assert (np.ptp(counts, axis=0) <= 1).all()
    else:
        means = [y[fold == i].mean() for i in range(5)]
        assert np.ptp(means) < 0.1 * y.std()
    assert not np.array_equal(fold, folds.deal(y, 5, 1))


def test_a_group_is_in_one_fold() -> None:
    group = np.repeat(np.arange(17), np.arange(1, 18))
    fold = folds.deal(np.zeros(len(group)), 5, 0, group)
    assert all(len(set(fold[group == g])) == 1 for g in range(17))
    assert np.ptp(np.bincount(fold, minlength=5)) <= 4


def test_no_row_is_predicted_by_a_network_that_has_seen_it() -> None:
    """Labels by chance are learned by heart, and predicted no better than by chance."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 6)).astype(np.float32)
    y = rng.integers(0, 2, 300)
    net = cr.Network([6, 40, 2], hidden="relu", output="softmax", loss="cross_entropy",
                     dtype="float32", seed=0)  # fmt: skip
    facts = {"best_epoch": 150, "learning_rate": 0.01, "batch_size": 32}
    fold = folds.deal(y, 5, 0)
    found = folds.out_of_fold(net, facts, X, y, fold)
    for i, each in enumerate(found.networks):
        assert (each.predict_classes(X[fold != i]) == y[fold != i]).mean() > 0.8
        np.testing.assert_array_equal(found.outputs[fold == i], each.predict(X[fold == i]))
    assert abs((found.outputs.argmax(axis=1) == y).mean() - 0.5) < 0.12
    again = folds.out_of_fold(net, facts, X, y, fold)
    assert np.array_equal(found.outputs, again.outputs)


def test_the_networks_are_like_that_of_the_model() -> None:
    net = cr.Network([3, 5, 4, 1], hidden=["tanh", "relu"], output="softplus", loss="poisson",
                     dtype="float32", seed=7, dropout=[0.1, 0.2], l2=0.01)  # fmt: skip
    X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    y = np.ones((40, 1), dtype=np.float32)
    found = folds.out_of_fold(net, {"best_epoch": 1}, X, y, folds.deal(y[:, 0], 2, 0))
    for each in found.networks:
        assert (each.sizes, each.l2, each.dtype) == (net.sizes, net.l2, net.dtype)
        assert each.loss.name == "poisson"
        assert [layer.activation.name for layer in each.weighted_layers] == [
            "tanh", "relu", "softplus",
        ]  # fmt: skip
        assert [layer.dropout for layer in each.layers] == [layer.dropout for layer in net.layers]


# --- what is found --------------------------------------------------------------------------------


def wrong_labels(run: Run) -> tuple[pd.DataFrame, list[int]]:
    """People, of whom two clear cases have the other label; a model that learned from the rest."""
    data = people(1000, seed=3)
    clear = (data.age - 40) / 6 + 2.0 * (data.colour == "red")
    rows = data.index[(clear < -2.5) & data.age.notna()][[10, 40]].tolist()
    data.loc[rows, "label"] = "yes"
    data.to_csv("wrong.csv", index=False)
    run("train", "wrong.csv", "--target", "label", "--out", "model", "--epochs", "60", "--no-plot")
    return data, rows


def test_planted_labels_are_suspected_although_the_model_has_learned_them(run: Run) -> None:
    data, rows = wrong_labels(run)
    found = look(loaded(), open_table("wrong.csv"))
    assert {row.row for row in found.suspects} >= set(rows)
    assert len(found.suspects) < 20
    for row in found.suspects:
        assert row.said == data.label[row.row] != row.predicted
        assert row.p >= 0.99
    assert {row.row for row in found.wrong[:8]} >= set(rows)
    names = [name for name, _, _ in found.importance]
    assert set(names[:2]) == {"age", "colour"}
    assert found.calibration is not None
    assert found.calibration.rows == 1000


def test_planted_numbers_are_suspected(run: Run) -> None:
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"a": rng.normal(size=500), "b": rng.normal(size=500)})
    data["y"] = (100 + 30 * data.a - 20 * data.b + rng.normal(size=500)).round(2)
    data.loc[[17, 301], "y"] *= 10
    data.to_csv("made.csv", index=False)
    run("train", "made.csv", "--target", "y", "--out", "model", "--epochs", "80", "--no-plot")
    found = look(loaded(), open_table("made.csv"))
    assert {17, 301} <= {row.row for row in found.suspects}
    assert {row.row for row in found.wrong[:2]} == {17, 301}
    assert found.wrong[0].said == f"{data.y[found.wrong[0].row]:.6g}"
    assert found.inside[0.9] > 0.8
    _, _, changes = found.changes[0]
    slopes = dict(zip(changes["column"].to_pylist(), changes["y"].to_pylist(), strict=True))
    assert slopes["a"] == pytest.approx(30, rel=0.5)
    assert slopes["b"] == pytest.approx(-20, rel=0.5)


def test_rows_without_a_target_are_left_out(run: Run) -> None:
    run(*TRAIN, "--epochs", "5")
    data = people(300, seed=1)
    data.loc[:19, "label"] = None
    data.loc[20:24, "label"] = "perhaps"
    data.to_csv("new.csv", index=False)
    found = look(loaded(), open_table("new.csv"))
    assert (found.sample.n_rows, found.sample.n_known) == (300, 275)
    assert found.sample.rows.tolist() == list(range(25, 300))
    assert found.sample.others == {"perhaps": 5}
    data.drop(columns="label").to_csv("new.csv", index=False)
    found = look(loaded(), open_table("new.csv"))
    assert found.out is None
    assert found.why_not == "the table has no column 'label', the target"
    assert (len(found.sample.rows), found.importance, found.wrong) == (300, [], [])
    assert found.dependence
    few = people(30)
    few.to_csv("new.csv", index=False)
    assert look(loaded(), open_table("new.csv")).why_not.startswith("30 rows have a target; 50")


def test_of_many_rows_some_are_looked_at(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from chainrule.tables.report import sample

    monkeypatch.setattr(sample, "MOST", 100)
    run(*TRAIN, "--epochs", "5")
    found = look(loaded(), open_table("people.csv"))
    rows = found.sample.rows
    assert len(rows) == len(set(rows.tolist())) == 100
    data = pd.read_csv("people.csv")
    assert found.sample.batch["age"].to_pylist() == [
        "" if age != age else str(age) for age in data.age[rows]
    ]
    assert [("no", "yes")[i] for i in found.sample.y] == data.label[rows].tolist()


def test_groups_stay_together_and_weights_count(run: Run) -> None:
    data = people(300)
    data["team"], data["copies"] = np.arange(300) // 6, np.arange(300) % 3
    data.to_csv("teams.csv", index=False)
    run("train", "teams.csv", "--target", "label", "--group", "team", "--weight", "copies", "--out",
        "model", "--epochs", "3", "--no-plot")  # fmt: skip
    found = look(loaded(), open_table("teams.csv"))
    assert found.out is not None
    assert all(len(set(found.out.fold[i : i + 6].tolist())) == 1 for i in range(0, 300, 6))
    assert found.sample.weight is not None
    assert found.sample.weight.tolist() == data.copies.tolist()


# --- the page -------------------------------------------------------------------------------------

VOID = {"meta", "br", "img", "input", "link", "hr"}


class Tags(HTMLParser):
    """Elements that are open, headings, and addresses of other files."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        given = dict(attributes)
        self.addresses += [v for k, v in given.items() if k in ("src", "href") and v[0] != "#"]
        self.ids += [given["id"]] if "id" in given else []
        if tag not in VOID and not self.get_starttag_text().endswith("/>"):  # type: ignore[union-attr]
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: Any) -> None:
        self.handle_starttag(tag, attributes)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings.append(data)


def written(run: Run, target: str = "label", data: str = "people.csv", *more: str) -> str:
    assert run("train", data, "--target", target, "--out", "model", "--epochs", "20",
               "--no-plot", *more)[0] == 0  # fmt: skip
    code, out, err = run("report", "model", data, "--out", "report.html")
    assert (code, out, err) == (0, "Saved: report.html\n", "")
    return Path("report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("target", "more", "absent"),
    [("label", (), {"Intervals"}), ("colour", (), {"Intervals"}),
     ("age", ("--missing", "nan"), {"Calibration"})],
)  # fmt: skip
def test_the_page_is_whole_and_needs_nothing(
    target: str, more: tuple[str, ...], absent: set[str], run: Run
) -> None:
    html = written(run, target, "people.csv", *more)
    tags = Tags(html)
    assert tags.open == []
    assert tags.addresses == []
    assert "http" not in html.replace("http://www.w3.org/2000/svg", "")
    assert "<script" not in html
    assert len(tags.ids) == len(set(tags.ids))
    every = {
        f"Report: {target}", "The data", "The columns", "Quality", "Calibration", "Intervals",
        "Importance of the columns", "How the prediction depends on a column",
        "What would change a prediction", "The predictions that are most wrong", "Suspect labels",
        "The model",
    }  # fmt: skip
    assert set(tags.headings) == every - absent
    model = loaded()
    for column in model.schema.columns:
        assert f">{column.name}</th>" in html
    assert f"{model.measures['model']['mae' if target == 'age' else 'log_loss']:.4f}" in html
    assert "nan" not in re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)
    assert "\\u" not in html


def test_texts_of_a_table_cannot_become_html(run: Run) -> None:
    data = people(200).rename(columns={"age": "<script>alert(1)</script>"})
    data["colour"] = data.colour.replace("red", "<b>&red")
    data["label"] = data.label.replace("yes", '"><i>yes')
    data.to_csv("people.csv", index=False)
    html = written(run)
    assert "<script" not in html
    assert "<i>" not in html
    assert "<b>&red" not in html
    assert "&lt;b&gt;&amp;red" in html
    assert Tags(html).open == []


def test_the_same_page_each_time(run: Run) -> None:
    first = written(run)
    run("report", "model", "people.csv", "--out", "again.html")
    assert Path("again.html").read_text(encoding="utf-8") == first
    run("report", "model", "people.csv", "--out", "again.html", "--seed", "1")
    assert Path("again.html").read_text(encoding="utf-8") != first


def test_bad_calls(run: Run) -> None:
    run(*TRAIN, "--epochs", "2", "--no-plot")
    cr.Network([2, 1], seed=0).save("net")
    people(20).drop(columns="colour").to_csv("less.csv", index=False)
    for arguments, words in (
        (("model", "people.csv"), "Missing option '--out'"),
        (("model", "people.csv", "--out", "report.pdf"), "expected a name that ends in .html"),
        (("net", "people.csv", "--out", "r.html"), "net is a network without columns; expected a"),
        (("model", "less.csv", "--out", "r.html"), "less.csv lacks column 'colour', which"),
        (("model", "none.csv", "--out", "r.html"), "none.csv: No such file"),
        (("model", "people.csv", "--out", "no/r.html"), "no/r.html: No such file"),
    ):  # fmt: skip
        code, out, err = run("report", *arguments)
        assert (code, out) == (2, "")
        assert words in err
        assert err.count("\n") == 1
    assert not Path("r.html").exists()


@pytest.mark.needs("chromium", "axe-core")
@pytest.mark.parametrize("target", ["label", "colour", "age"])
def test_axe_finds_nothing(target: str, run: Run, tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    axe = (ROOT / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    written(run, target)
    nodes = "r.violations.flatMap((v) => v.nodes.map((n) => v.id + n.html + n.failureSummary))"
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        for scheme, width in (("light", 1366), ("dark", 400)):
            page = browser.new_page(
                viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True
            )
            asked: list[str] = []
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            page.goto((tmp_path / "report.html").as_uri())
            page.evaluate("document.querySelectorAll('details').forEach((d) => d.open = true)")
            page.evaluate(axe)
            assert page.evaluate(f"axe.run().then((r) => {nodes})") == []
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert len(asked) == 1
            page.close()
        browser.close()
