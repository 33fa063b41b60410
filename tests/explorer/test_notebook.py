"""The explorer as a widget: its messages, and in a real Jupyter with a real browser."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import chainrule as cr
from tests.tools import find_chromium

X, Y = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1, 0]


def net() -> cr.Network:
    return cr.Network(
        [2, 3, 1], hidden="tanh", output="sigmoid", loss="binary_cross_entropy", seed=2
    )


def test_the_widget_carries_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    explorer = net().explore(X, Y)
    widget = explorer.widget
    sent: list[Any] = []
    monkeypatch.setattr(widget, "send", sent.append)
    widget._receive(
        None, {"id": 1, "request": {"kind": "edit", "target": "w[1][0,1]", "value": 2}}, []
    )
    assert (sent[0]["id"], sent[0]["reply"]["kind"]) == (1, "frame")
    assert explorer.network.layers[1].W[0, 1] == 2
    widget._receive(None, {"id": 2, "request": {"kind": "nothing"}}, [])
    assert sent[1]["reply"]["kind"] == "error"
    for odd in (None, 1, {}, {"id": "x"}):
        widget._receive(None, odd, [])
    assert len(sent) == 2
    bundle = explorer._repr_mimebundle_()
    bundle = bundle[0] if isinstance(bundle, tuple) else bundle
    assert "application/vnd.jupyter.widget-view+json" in bundle


@pytest.fixture
def jupyter(tmp_path: Path) -> Iterator[str]:
    """The address of a JupyterLab with a notebook in it."""
    source = (
        "import chainrule as cr\n"
        "net = cr.Network([2, 3, 1], hidden='tanh', output='sigmoid',\n"
        "                 loss='binary_cross_entropy', seed=2)\n"
        f"explorer = net.explore({X}, {Y})\n"
        "explorer"
    )
    cells = [
        {"cell_type": "code", "id": f"c{i}", "execution_count": None, "metadata": {}, "outputs": [],
         "source": text}
        for i, text in enumerate([source, "print('weight', explorer.network.layers[1].W[0, 1])"])
    ]  # fmt: skip
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "explorer.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    folders = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
    environment = os.environ | {f"JUPYTER_{name}": str(tmp_path / name) for name in folders}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0",
               "--ServerApp.port_retries=0", f"--ServerApp.root_dir={tmp_path}",
               "--LabApp.news_url="]  # fmt: skip
    log = tmp_path / "log"
    with (
        log.open("w", encoding="utf-8") as out,
        subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=out, stderr=out, start_new_session=True
        ) as process,
    ):
        try:
            for _ in range(300):
                found = re.search(r"http://127\.0\.0\.1:(\d+)/lab\?token=(\w+)", log.read_text())
                if found or process.poll() is not None:
                    break
                import time

                time.sleep(0.1)
            assert found, log.read_text()
            yield f"http://127.0.0.1:{found[1]}/lab/tree/explorer.ipynb?token={found[2]}"
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)


@pytest.mark.slow
@pytest.mark.needs("chromium")
def test_in_jupyterlab(jupyter: str) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(
            executable_path=find_chromium(), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(120_000)
        page.goto(jupyter)
        page.wait_for_selector(".jp-Notebook .jp-Cell")
        page.wait_for_selector("text=Python 3 (ipykernel) | Idle")
        page.locator(".jp-Cell").first.click()
        page.keyboard.press("Shift+Enter")
        page.wait_for_selector(".cr-app .network .unit")
        app = page.locator(".cr-app")
        target = page.locator('.network [data-target="w[1][0,1]"]')
        target.focus()
        page.keyboard.press("Enter")
        page.wait_for_selector(".cr-app .headline")
        value = (
            net()
            .explain(
                "w[1][0,1]",
                X[:1],
                Y[:1],
            )
            .value
        )
        assert value == 0 or f"{value:.4g}".strip("-") in app.locator(".headline").inner_text()
        page.fill(".cr-app .editor input[type=number]", "1.75")
        page.press(".cr-app .editor input[type=number]", "Enter")
        page.wait_for_selector('.cr-app[aria-busy="false"]')
        page.locator(".jp-Cell").nth(1).locator(".cm-content").click()
        page.keyboard.press("Shift+Enter")
        page.wait_for_selector("text=weight 1.75")  # the kernel's network is the page's
        app.locator("text=▶ Train").click()
        page.wait_for_function(
            "parseInt(document.querySelector('.timeline .at').textContent.replace(/\\D/g, '')) > 5"
        )
        app.locator("text=⏸ Pause").click()
        app.locator("text=▶ Train").wait_for()
        if shot := os.environ.get("CHAINRULE_SHOT"):
            page.screenshot(path=shot)
        browser.close()
