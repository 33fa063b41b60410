"""How quick the live page is, in which Python runs: in Chromium from disk, beside its bars.

Run with ``python -m benchmarks.live``. Needs Chromium, ``playwright`` and the parts of Pyodide (in
the cache, or the folder of CHAINRULE_RUNTIME). Exits 1 where a median is above its bar.

- open: from opening the file to the frame in which the network is drawn and can be clicked;
- click: from the click on a weight to the frame in which its derivation is drawn;
- edit: from a new value of a weight of 2-8-8-1 to the frame in which all is redrawn;
- memory: private memory of the page's process after the above (Linux only);
- file: the size of the file.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from benchmarks.explorer import TIMED, deep, wide
from chainrule.explorer.hosts import live
from chainrule.explorer.session import Session

_CLICK = "document.querySelector('[data-target=\"{}\"]')"
_CLICK += ".dispatchEvent(new MouseEvent('click', {{bubbles: true}}))"
_EDIT = (
    "const box = document.querySelector('.editor input[type=number]');"
    "box.value = '{}'; box.dispatchEvent(new Event('change'))"
)


def opened(browser: Any, path: Path) -> tuple[Any, float]:
    """Return the page of a file, and the milliseconds until it can be used."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, bypass_csp=True)
    context.set_offline(True)
    page = context.new_page()
    page.set_default_timeout(120_000)
    start = time.perf_counter()
    page.goto(path.as_uri(), wait_until="commit")
    page.wait_for_selector('.cr-app[aria-busy="false"] .network .unit')
    page.evaluate("new Promise((r) => requestAnimationFrame(() => setTimeout(r, 0)))")
    return page, (time.perf_counter() - start) * 1e3


def clicks(page: Any, count: int) -> list[float]:
    """Return the milliseconds from clicks on weights to their derivations."""
    targets = page.evaluate("[...document.querySelectorAll('.edge')].map((e) => e.dataset.target)")
    chosen = [targets[i * len(targets) // (count + 2)] for i in range(count + 2)]
    return [page.evaluate(TIMED, _CLICK.format(target)) for target in chosen][2:]


def edits(page: Any, count: int) -> list[float]:
    """Return the milliseconds from edits of an opened weight to the redrawn page."""
    page.evaluate(TIMED, _CLICK.format("w[2][3,4]"))
    values = [0.1 + i / 50 for i in range(count + 2)]
    return [page.evaluate(TIMED, _EDIT.format(value)) for value in values][2:]


def memory(browser: Any) -> float:
    """Return the megabytes of private memory of the largest renderer, or NaN where unknown."""
    processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    found = []
    for process in processes:
        file = Path(f"/proc/{process['id']}/smaps_rollup")
        if process["type"] == "renderer" and file.exists():
            lines = [line.split() for line in file.read_text().splitlines()]
            found.append(sum(int(line[1]) for line in lines if line[0].startswith("Private_")))
    return max(found) / 1e3 if found else float("nan")


def main() -> int:
    """Measure and print; exit 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    count = 10 if parser.parse_args().quick else 30
    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next(path for name in names if (path := shutil.which(name)))
    missed = False

    def say(what: str, values: list[float], unit: str, bar: float) -> None:
        nonlocal missed
        value = statistics.median(values)
        missed = missed or not value <= bar
        more = "" if value <= bar else "  MISSED"
        largest = f" (largest {max(values):.0f})" if len(values) > 1 else ""
        print(f"{what:<34} {value:8.1f} {unit:<3} bar {bar:g}{more}{largest}", flush=True)

    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    makers: dict[str, Callable[[], Session]] = {"2-8-8-1": deep, "784-128-10": wide}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as p:
        paths = {name: Path(folder) / f"{name}.html" for name in makers}
        for name, make in makers.items():
            paths[name].write_text(live.page(make()), encoding="utf-8")
        flags = ["--no-sandbox", "--disable-gpu"]
        browser = p.chromium.launch(executable_path=chromium, args=flags)
        times = []
        for _ in range(max(count // 5, 3)):
            page, taken = opened(browser, paths["2-8-8-1"])
            times.append(taken)
            page.context.close()
        say("open 2-8-8-1", times, "ms", 5000)
        page, _ = opened(browser, paths["2-8-8-1"])
        say("click on a weight of 2-8-8-1", clicks(page, count), "ms", 150)
        say("edit of a weight of 2-8-8-1", edits(page, count), "ms", 80)
        say("memory", [memory(browser)], "MB", 400)
        page.context.close()
        page, _ = opened(browser, paths["784-128-10"])
        say("click on a weight of 784-128-10", clicks(page, count), "ms", 500)
        browser.close()
        say("file", [paths["2-8-8-1"].stat().st_size / 1e6], "MB", 12)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
