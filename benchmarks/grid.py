"""How long a grid search over MLPClassifier takes: side by side, and by scikit-learn's own means.

``python -m benchmarks.grid [--quick] [--json FILE]``. Each search runs in a process of its own,
which is started for it and ends with it; its time on the clock and its processor time, with that of
all processes it has started, are taken from outside. Exit status 1 says that the searches did not
come to the same scores.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

TASKS = {
    "digits, 48 candidates x 5 folds, (32,)": ("digits", (32,), 50),
    "iris, 48 candidates x 5 folds, (8,)": ("iris", (8,), 200),
}
WAYS = ("side by side", "n_jobs=2", "n_jobs=1")
SEARCH = """
import sys, json, hashlib, contextlib, warnings, os
os.environ["PYTHONWARNINGS"] = "ignore"
warnings.simplefilter("ignore")
import numpy as np
from sklearn import datasets
from sklearn.model_selection import GridSearchCV
from chainrule.sklearn import MLPClassifier, side_by_side
data, hidden, epochs, way = json.loads(sys.argv[1])
X, y = getattr(datasets, f"load_{data}")(return_X_y=True)
X = (X / X.max()).astype(np.float32)
grid = {
    "learning_rate_init": [1e-3, 3e-3, 1e-2, 3e-2], "alpha": [1e-5, 1e-4, 1e-3, 1e-2],
    "activation": ["relu", "tanh", "logistic"],
}
model = MLPClassifier(tuple(hidden), max_iter=epochs, random_state=0)
jobs = 2 if way == "n_jobs=2" else None
with side_by_side() if way == "side by side" else contextlib.nullcontext():
    search = GridSearchCV(model, grid, cv=5, n_jobs=jobs, refit=False).fit(X, y)
scores = [search.cv_results_[f"split{i}_test_score"].tolist() for i in range(5)]
print(hashlib.sha256(json.dumps(scores).encode()).hexdigest())
"""


@dataclass
class Row:
    """One search: seconds on the clock and of processors, and a digest of its scores."""

    task: str
    way: str
    seconds: float
    processor: float
    scores: str


def measure(quick: bool = False) -> list[Row]:
    """Run each search in each way."""
    rows = []
    for task, (data, hidden, epochs) in TASKS.items():
        for way in WAYS:
            rows.append(_search(task, [data, hidden, epochs // (5 if quick else 1), way]))
            row = rows[-1]
            print(f"{task:42} {way:14} {row.seconds:7.2f} s, processor {row.processor:7.2f} s")
    return rows


def _search(task: str, settings: list[Any]) -> Row:
    command = [sys.executable, "-c", SEARCH, json.dumps(settings)]
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Row(task, settings[-1], seconds, used, done.stdout.strip())


def main() -> int:
    """Measure, print, and compare the scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the epochs")
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    given = parser.parse_args()
    rows = measure(given.quick)
    if given.json:
        with open(given.json, "w", encoding="utf-8") as file:
            json.dump([asdict(row) for row in rows], file, indent=2)
    same = all(len({row.scores for row in rows if row.task == task}) == 1 for task in TASKS)
    print("the same scores" if same else "the scores DIFFER")
    return 0 if same else 1


if __name__ == "__main__":
    raise SystemExit(main())
