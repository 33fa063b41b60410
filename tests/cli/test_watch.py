"""`chainrule watch`, and the page of a run."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

import chainrule as cr
from chainrule import cli
from tests.tools import find_chromium

pytestmark = pytest.mark.needs("torch")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    X, y = torch.randn(64, 4), torch.randint(0, 2, (64,))
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 2))
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    loss_fn = torch.nn.CrossEntropyLoss()
    folder = tmp_path_factory.mktemp("watched") / "run"
    with cr.watch(model, optimizer, loss_fn, folder=folder, every=10, dense=True) as run:
        for k in range(60):
            rows = torch.arange(16) + 16 * (k % 4)
            x = X[rows] * (1e3 if k == 50 else 1)
            with run.step(x, y[rows], rows=rows):
                optimizer.zero_grad()
                loss_fn(model(x), y[rows]).backward()
                optimizer.step()
    return run


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(["watch", *arguments]) == 0
    return capsys.readouterr().out


def test_what_happened_is_printed(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(run.folder)
    text = said(capsys, folder)
    assert text.startswith("60 steps of Sequential with SGD; loss 0.")
    assert "step 50: the loss is" in text
    assert "0.weight" in text
    assert said(capsys, folder, "--why", "0.weight[1,2]", "--step", "49").rstrip() == (
        run.why_moved("0.weight[1,2]", 49).text()
    )
    assert len(said(capsys, folder, "--suspects", "3").splitlines()) == 3
    move = json.loads(said(capsys, folder, "--why", "0.weight[1,2]", "--json"))
    assert sum(share["value"] for share in move["shares"]) == pytest.approx(move["value"])
    assert json.loads(said(capsys, folder, "--suspects", "2", "--json"))[0]["visits"] == 15
    about = json.loads(said(capsys, folder, "--json"))
    assert about["spikes"][0]["step"] == 50
    assert len(about["steps"]) == 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none"], "holds no watched run"),
        (["RUN", "--step", "3"], "--step needs --why TARGET"),
        (["RUN", "--why", "fc.weight[0]"], "there is no parameter 'fc.weight'"),
        (["RUN", "--why", "0.bias[0]", "--step", "99"], "this run has the steps 0 to 59"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(run.folder)
    assert cli.main(["watch", *[folder if a == "RUN" else a for a in arguments]]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.needs("chromium")
def test_the_page_opens_steps(run: Any, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    path = tmp_path / "run.html"
    assert cli.main(["watch", str(run.folder), "--html", str(path)]) == 0
    assert "http" not in path.read_text(encoding="utf-8")  # self-contained
    with warnings.catch_warnings(), sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 400, "height": 800})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(path.as_uri())
        assert page.locator("#layers tbody tr").count() == 4
        assert page.locator("#samples tbody tr").count() == 16
        assert page.locator("#step").input_value() == "50"
        page.locator(".box").first.click(position={"x": 2, "y": 20})
        assert page.locator("#step").input_value() == "0"
        norms = page.locator("#samples tbody tr td:last-child").all_inner_texts()
        expected = sorted(run.samples(0).norms, reverse=True)
        assert [float(norm) for norm in norms] == pytest.approx(expected, rel=1e-3)
        assert page.locator(".dot title").first.text_content() == "spike in step 50"
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        assert errors == []
        browser.close()
