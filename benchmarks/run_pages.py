"""How quick the pages of a large run are: 100,000 steps, 40 parameters, a million rows.

    python -m benchmarks.run_pages

The run is written as `chainrule.watch` writes it, norms in every 10th step. Each page is asked for
three times over HTTP, and the least wall time counts; "again, 20 steps later" is what a page that
follows the run costs, once every so many seconds.
"""

from __future__ import annotations

import re
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
from safetensors.numpy import save_file

import chainrule as cr
from chainrule.diagnose import folder as folders
from chainrule.diagnose.rows import VISITS

STEPS, EVERY, ROWS, BATCH, LAYERS = 100_000, 10, 1_000_000, 512, 20


class Written:
    """A run on file that no model has made."""

    def __init__(self, folder: Path) -> None:
        self.rng = np.random.default_rng(0)
        names = [f"layers.{i}.{kind}" for i in range(LAYERS) for kind in ("weight", "bias")]
        self.n = len(names)
        parameters = [{"name": name, "shape": [64, 64], "group": 0, "place": i}
                      for i, name in enumerate(names)]  # fmt: skip
        self.path = folders.begin(folder, {
            "kind": "torch", "model": "Large", "optimizer": "Adam", "rule": "Adam",
            "every": EVERY, "dense": False, "parameters": parameters,
        })  # fmt: skip
        self.lines = folders.Lines(self.path / folders.STEPS)
        self.samples = folders.Rotated(self.path / folders.SAMPLES)
        self.done = 0

    def step(self) -> None:
        """Write a step."""
        rng, step = self.rng, self.done
        loss = float(np.exp(-step / 40_000) * rng.lognormal(0, 0.2))
        line = {"step": step, "loss": loss, "rates": [1e-3]}
        if step % EVERY == 0:
            norms = rng.lognormal(0, 1, (3, self.n))
            line |= {
                "recorded": True, "samples": BATCH, "weights": norms[0].tolist(),
                "updates": (norms[1] * 1e-3).tolist(), "gradients": norms[2].tolist(),
                "norm": float(np.linalg.norm(norms[2])), "noise": [3.0, float(rng.uniform(1, 2))],
            }  # fmt: skip
            self.samples.add({
                "step": step, "rows": rng.integers(0, ROWS, BATCH).tolist(),
                "losses": [float(f"{v:.9g}") for v in rng.exponential(1, BATCH)],
                "norms": [float(f"{v:.9g}") for v in rng.exponential(1, BATCH)],
            })  # fmt: skip
        self.lines.add(line)
        self.done += 1

    def rows(self) -> None:
        """Write the losses of the rows."""
        last = self.rng.exponential(1, (ROWS, VISITS)).astype(np.float32)
        counts = np.full(ROWS, STEPS * BATCH // ROWS, np.int32)
        arrays = {
            "sums": last.sum(1).astype(float) * counts / VISITS,
            "counts": counts,
            "last": last,
        }
        folders.rename_over(self.path / folders.ROWS, lambda name: save_file(arrays, name))


def main() -> None:
    """Print the time of each page."""
    with tempfile.TemporaryDirectory() as folder:
        run = Written(Path(folder) / "run")
        for _ in range(STEPS):
            run.step()
        run.rows()
        size = sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file())
        print(f"{STEPS:,} steps, {run.n} parameters, {ROWS:,} rows: {size / 1e6:.0f} MB")
        explorer = cr.explore_run(run.path)
        base = explorer.start().partition("?")[0]
        with httpx.Client(base_url=base, follow_redirects=True, timeout=300) as client:

            def ask(path: str) -> tuple[float, str]:
                begun = time.perf_counter()
                reply = client.get(path)
                assert reply.status_code == 200, reply.text
                return time.perf_counter() - begun, reply.text

            token = explorer.start().partition("?")[2]
            seconds, page = ask(f"/?{token}")
            print(f"{'the run, at first':30} {1000 * seconds:6.0f} ms, {len(page) / 1e3:.0f} kB")
            times = []
            for _ in range(3):
                for _ in range(20):
                    run.step()
                times.append(ask("/")[0])
            wait = re.search(r'data-wait="(\d+)"', ask("/")[1])
            print(f"{'again, 20 steps later':30} {1000 * min(times):6.0f} ms, looked at every "
                  f"{int(wait[1]) / 1000 if wait else 0:.1f} s")  # fmt: skip
            step = STEPS - EVERY
            for name, path in {
                "one step": f"/step?step={step}",
                "its samples by loss, page 5": f"/step?step={step}&by=loss&first=200",
                "all steps as a table": "/steps?first=20000",
                "one parameter": "/weight?name=layers.3.weight",
                "one row": "/row?row=4321",
            }.items():
                best = min(ask(path)[0] for _ in range(3))
                print(f"{name:30} {1000 * best:6.0f} ms")
        explorer.stop()


if __name__ == "__main__":
    main()
