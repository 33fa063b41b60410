"""How quick the explorer is: clicks, edits, loading and training, in Chromium, beside its bars.

Run with ``python -m benchmarks.explorer``. Needs Chromium and the packages of ``[explorer]`` and
``playwright``. Exits 1 where a median is above its bar.

- click: from the click on a weight of 784-128-10 to the frame in which its derivation is drawn;
- edit: from the answer to a new value of a weight of 2-8-8-1 to the frame in which all is redrawn;
- load: from the request of the page to the frame in which the network is drawn;
- stream: frames a second while 2-8-8-1 trains, and how much slower the engine is than alone;
- file: the size of the offline file of 2-4-2 over 200 steps.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright

import chainrule as cr
from chainrule.explorer.hosts.server import Server, warm_up
from chainrule.explorer.session import Session
from chainrule.explorer.trainer import Trainer
from chainrule.teach import datasets

# Runs in the page: do something, wait until the page is no longer busy and has drawn a frame.
TIMED = """async (act) => {
  const app = document.querySelector(".cr-app");
  const drawn = () => new Promise((r) => requestAnimationFrame(() => setTimeout(r, 0)));
  const start = performance.now();
  eval(act);
  while (app.getAttribute("aria-busy") !== "false") await new Promise((r) => setTimeout(r, 1));
  await drawn();
  return performance.now() - start;
}"""


@contextmanager
def served(make: Any) -> Iterator[Server]:
    """Serve sessions of one kind."""
    server = Server(make)
    thread = threading.Thread(target=server._server.run, kwargs={"sockets": [server.listener]})
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()
        server.listener.close()


def wide() -> Session:
    """784-128-10 on images."""
    rng = np.random.default_rng(0)
    net = cr.Network([784, 128, 10], hidden="relu", output="softmax", loss="cross_entropy",
                     dtype="float32", seed=0)  # fmt: skip
    return Session(net, rng.uniform(size=(1000, 784)), rng.integers(10, size=1000))


def deep() -> Session:
    """2-8-8-1 on spirals."""
    data = datasets.make("spiral")
    net = cr.Network([2, 8, 8, 1], hidden="tanh", output="sigmoid", loss="binary_cross_entropy",
                     seed=0)  # fmt: skip
    return Session(net, data.X, data.y, validation_data=(data.X_val, data.y_val))


def visit(browser: Any, server: Server) -> Any:
    """Open the page, without its policy against eval."""
    page = browser.new_context(viewport={"width": 1280, "height": 800}, bypass_csp=True).new_page()
    page.goto(server.url)
    page.wait_for_selector('.cr-app[aria-busy="false"] .network .unit')
    return page


def clicks(browser: Any, count: int) -> list[float]:
    """Give the milliseconds from clicks to derivations."""
    with served(wide) as server:
        page = visit(browser, server)
        targets = page.evaluate(
            "[...document.querySelectorAll('.edge')].map((e) => e.dataset.target)"
        )
        chosen = [targets[i * len(targets) // (count + 2)] for i in range(count + 2)]
        find = "document.querySelector('[data-target=\"{}\"]')"
        act = find + ".dispatchEvent(new MouseEvent('click', {{bubbles: true}}))"
        times = [page.evaluate(TIMED, act.format(target)) for target in chosen]
        page.context.close()
    return times[2:]


def edits(browser: Any, count: int) -> list[float]:
    """Give the milliseconds from edits of an opened weight to the redrawn page."""
    with served(deep) as server:
        page = visit(browser, server)
        page.evaluate(
            TIMED, "document.querySelector('[data-target=\"w[2][3,4]\"]')"
            ".dispatchEvent(new MouseEvent('click', {bubbles: true}))"
        )  # fmt: skip
        act = (
            "const box = document.querySelector('.editor input[type=number]');"
            "box.value = '{}'; box.dispatchEvent(new Event('change'))"
        )
        times = [page.evaluate(TIMED, act.format(0.1 + i / 50)) for i in range(count + 2)]
        page.context.close()
    return times[2:]


def loads(browser: Any, count: int) -> list[float]:
    """Give the milliseconds that loading takes, each time in a new context."""
    times = []
    with served(Session) as server:
        for _ in range(count + 1):
            page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
            start = time.perf_counter()
            page.goto(server.url)
            page.wait_for_selector(".network .unit")
            page.evaluate("new Promise((r) => requestAnimationFrame(() => setTimeout(r, 0)))")
            times.append((time.perf_counter() - start) * 1e3)
            page.context.close()
    return times[1:]


def stream(seconds: float) -> tuple[float, float]:
    """Give frames a second, and the share of the engine's speed that streaming loses."""
    import json

    from websockets.sync.client import connect

    def engine_alone() -> float:
        session = deep()
        trainer = Trainer(session.network, session._data, cr.GradientDescent(0.1), 32)
        trainer.run(None, 0.5)
        before, start = trainer.step, time.perf_counter()
        trainer.run(None, seconds)
        return (trainer.step - before) / (time.perf_counter() - start)

    with served(deep) as server:
        import httpx

        headers = {"x-chainrule-token": server.token}
        base = f"127.0.0.1:{server.port}"
        name = httpx.post(f"http://{base}/api/sessions", json={}, headers=headers).json()["session"]
        address = f"ws://{base}/api/sessions/{name}/train"
        with connect(address, additional_headers=headers, max_size=2**24) as ws:
            ws.send("{}")
            for _ in range(4):
                ws.recv()
            last = ws.recv()
            first = json.loads(last)
            start, frames = time.perf_counter(), 0
            while time.perf_counter() - start < seconds:
                frames, last = frames + 1, ws.recv()
            taken = time.perf_counter() - start
            steps = json.loads(last)["training"]["step"] - first["training"]["step"]
            ws.send("{}")
    return frames / taken, 1 - steps / taken / engine_alone()


def file_size(steps: int) -> float:
    """Give the megabytes of an offline file of 2-4-2."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    net = cr.Network([2, 4, 2], hidden="tanh", output="softmax", loss="cross_entropy", seed=0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lesson.html"
        net.explore(X, (X[:, 0] * X[:, 1] > 0).astype(int)).save(path, steps=steps)
        return path.stat().st_size / 1e6


def main() -> int:
    """Measure and print; exit 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, no offline file")
    quick = parser.parse_args().quick
    count = 10 if quick else 30
    warm_up()
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(path for name in names if (path := shutil.which(name)))
    missed = False

    def say(what: str, value: float, unit: str, bar: float, more: str = "") -> None:
        nonlocal missed
        low = unit == "frames/s"
        good = value >= bar if low else value <= bar
        missed = missed or not good
        print(f"{what:<34} {value:8.1f} {unit:<9} bar {bar:g}{'' if good else '  MISSED'} {more}")

    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        for what, times, bar in (
            ("click on a weight of 784-128-10", clicks(browser, count), 100),
            ("edit of a weight of 2-8-8-1", edits(browser, count), 50),
            ("load", loads(browser, max(count // 3, 5)), 1000),
        ):
            worst = f"(largest {max(times):.0f})"
            say(what, statistics.median(times), "ms", bar, worst)
        browser.close()
    streams = [stream(2) for _ in range(3)]
    rate, loss = (statistics.median(column) for column in zip(*streams, strict=True))
    say("stream of 2-8-8-1", rate, "frames/s", 20)
    say("  slower than the engine alone by", 100 * loss, "%", 10)
    if not quick:
        say("offline file, 2-4-2, 200 steps", file_size(200), "MB", 3)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
