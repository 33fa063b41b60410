"""Training steps a second in the live page, beside the code of TensorFlow Playground, in Chromium.

Run with ``python -m benchmarks.live_training``, after ``make wasm``. Needs what `benchmarks.live`
needs, and ``npm ci`` for TypeScript. Exits 1 where the median of the ratios is below its bar.

The page trains at full speed, as a person sees it: with its frames, pictures and curve.
Playground's ``nn.ts`` (downloaded, or the FILE of ``--peer``; not a part of chainrule) runs its
loop of forward, backward and update in an empty page of the same browser, with nothing drawn. It
handles one output in its backward pass; that of the other nine is the same work, with zeros.
Both take turns.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright

import chainrule as cr
from benchmarks.explorer import deep
from benchmarks.live import opened
from chainrule.explorer import share
from chainrule.explorer.hosts import live, pack
from chainrule.explorer.session import Session

_PEER = (
    "https://raw.githubusercontent.com/tensorflow/playground/"
    "02469bd3751764b20486015d4202b792af5362a6/src/nn.ts"
)
_DIGEST = "eca97b4c0ca3787aa7d516fb8a560107f70f4809d036af1fb2db49b4bb27c9db"
_TSC = Path(__file__).parents[1] / "node_modules" / ".bin" / "tsc"
_BARS = {"2-8-8-1": 5, "64-64-32-10": 20}

_RUN_PEER = """async ([sizes, samples, seconds]) => {
  const nn = await import(window.peer);
  const ids = Array.from({ length: sizes[0] }, (_, i) => `x${i}`);
  const net = nn.buildNetwork(sizes, nn.Activations.TANH, nn.Activations.SIGMOID, null, ids);
  const random = () => 2 * Math.random() - 1;
  const X = Array.from({ length: samples }, () => ids.map(random));
  const y = X.map(() => (Math.random() < 0.5 ? 0 : 1));
  let steps = 0;
  const begun = performance.now();
  while (performance.now() < begun + 1000 * seconds) {
    X.forEach((x, i) => {
      nn.forwardProp(net, x);
      nn.backProp(net, y[i], nn.Errors.SQUARE);
      if ((i + 1) % 32 === 0) { nn.updateWeights(net, 0.03, 0); steps += 1; }
    });
  }
  return (1000 * steps) / (performance.now() - begun);
}"""
_RUN_PAGE = """async (seconds) => {
  const press = (words) => [...document.querySelectorAll("button")]
    .find((b) => b.textContent === words).click();
  const step = () => Number(document.querySelector(".at").textContent.replace(/[^0-9]/g, ""));
  const wait = (ms) => new Promise((r) => setTimeout(r, ms));
  const pace = document.querySelector("[aria-label='Speed of training']");
  pace.value = "";
  press("▶ Train");
  await wait(500);
  const [begun, before] = [performance.now(), step()];
  await wait(1000 * seconds);
  const rate = (1000 * (step() - before)) / (performance.now() - begun);
  press("⏸ Pause");
  while (![...document.querySelectorAll("button")].some((b) => b.textContent === "▶ Train"))
    await wait(20);
  return rate;
}"""


def peer(path: str | None, folder: Path) -> str:
    """Return Playground's code as a JavaScript module."""
    if path is not None:
        source = Path(path).read_bytes()
    else:
        with urllib.request.urlopen(_PEER, timeout=30) as reply:
            source = reply.read()
    if hashlib.sha256(source).hexdigest() != _DIGEST:
        raise SystemExit(f"{path or _PEER} is not the file that this benchmark was written for")
    (folder / "nn.ts").write_bytes(source)
    flags = ["--target", "es2020", "--module", "es2020"]
    subprocess.run([_TSC, *flags, folder / "nn.ts"], check=False, stdout=subprocess.DEVNULL)
    return (folder / "nn.js").read_text(encoding="utf-8")


def wide() -> Session:
    """64-64-32-10 on as many random samples as the digits have for training."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(1440, 64)), rng.integers(10, size=1440)
    net = cr.Network([64, 64, 32, 10], hidden="tanh", output="softmax", loss="cross_entropy",
                     seed=0)  # fmt: skip
    return Session(net, X, y)


def main() -> int:
    """Measure and print; exit 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--dtype", default="float64", choices=["float32", "float64"])
    parser.add_argument("--peer", metavar="FILE", help="nn.ts of TensorFlow Playground")
    given = parser.parse_args()
    if not pack.has_core():
        raise SystemExit("there is no core.wasm: run make wasm")
    turns, seconds = (3, 1.5) if given.quick else (9, 3.0)
    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next(found for name in names if (found := shutil.which(name)))
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    missed = False
    with tempfile.TemporaryDirectory() as name, sync_playwright() as p:
        folder = Path(name)
        module = "data:text/javascript," + urllib.parse.quote(peer(given.peer, folder))
        browser = p.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        other = browser.new_page()
        other.evaluate(f"window.peer = {json.dumps(module)}")
        for what, make in (("2-8-8-1", deep), ("64-64-32-10", wide)):
            session, path = _in(given.dtype, make()), folder / "page.html"
            session.handle({"kind": "configure", "batch_size": 32, "learning_rate": 0.03})
            path.write_text(live.page(session), encoding="utf-8")
            page, _ = opened(browser, path)
            ours, theirs = list[float](), list[float]()
            for _ in range(turns):
                ours.append(_steps(page, _RUN_PAGE, seconds))
                asked = [list(session.network.sizes), len(session.data.X), seconds / 2]
                theirs.append(_steps(other, _RUN_PEER, asked))
            page.context.close()
            ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
            missed = missed or ratio < _BARS[what]
            print(
                f"{what:<12} page {statistics.median(ours):9,.0f} steps/s   nn.ts "
                f"{statistics.median(theirs):8,.0f} steps/s   ratio {ratio:5.1f}   "
                f"bar {_BARS[what]}{'' if ratio >= _BARS[what] else '  MISSED'}",
                flush=True,
            )
        browser.close()
    return int(missed)


def _in(dtype: str, session: Session) -> Session:
    """Return a session with the same network, in that dtype."""
    network = cr.Network(**{**share.structure(session.network), "dtype": dtype})
    d = session.data
    validation = (d.X_val, d.y_val) if len(d.X_val) else None
    return Session(network, d.X, d.y, validation_data=validation)


def _steps(page: Any, script: str, given: Any) -> float:
    return float(page.evaluate(script, given))


if __name__ == "__main__":
    sys.exit(main())
