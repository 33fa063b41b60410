"""How long MLPClassifier takes to fit and to predict, ours beside scikit-learn's.

``python -m benchmarks.estimators [--quick] [--only NAME] [--json FILE]``. Both run in one process,
in turn, each after a pause in which the other's threads fall asleep. Exit status 1 says that they
did not come to the same result.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import sklearn.neural_network
from sklearn.datasets import load_digits, make_classification
from sklearn.exceptions import ConvergenceWarning

import chainrule.sklearn
from benchmarks import tables
from benchmarks.measure import PAUSE, Quiet

ALIKE = {"float32": 1e-3, "float64": 1e-6}  # relative, between losses or probabilities


@dataclass
class Row:
    """One task: seconds by library, one for each round, and how far apart the results are."""

    name: str
    dtype: str
    bar: float
    times: dict[str, list[float]] = field(default_factory=lambda: {"scikit-learn": [], "ours": []})
    apart: float = 0.0

    @property
    def ratio(self) -> float:
        """How many times as fast ours is: the median of the rounds' ratios."""
        return statistics.median(
            a / b for a, b in zip(self.times["scikit-learn"], self.times["ours"], strict=True)
        )

    @property
    def unequal(self) -> str | None:
        """How the results differ, or None."""
        allowed = ALIKE[self.dtype]
        return None if self.apart <= allowed else f"{self.apart:.1e} apart (allowed: {allowed:g})"

    def to_dict(self) -> dict[str, Any]:
        """Give everything as JSON can hold it."""
        return {**vars(self), "ratio": self.ratio, "met": self.ratio >= self.bar}


def measure(quick: bool = False, only: str | None = None) -> list[Row]:
    """Measure fits and predictions in both dtypes."""
    warnings.simplefilter("ignore", ConvergenceWarning)  # all take a number of epochs
    rows = []
    X, y = load_digits(return_X_y=True)
    X /= 16
    large = make_classification(20_000, 100, n_informative=30, n_classes=5, random_state=0)
    for dtype, least in (("float32", 10), ("float64", 6)):
        task = "fit digits, (64, 32), 100 epochs", X, y, (64, 32), 100, least
        big = "fit 20,000 x 100, (256, 256)", *large, (256, 256), 2 if quick else 5, 3
        for name, X_, y_, hidden, count, bar in (task, big):
            if only is None or only in name:
                rows.append(_fit(name, dtype, X_, y_, hidden, count, bar, 3 if quick else 7))
                _say(rows[-1])
        for n in (1, 100, 100_000):
            name = f"predict_proba of {n:,} digits, (64, 32)"
            if only is None or only in name:
                rows.append(_predict(name, dtype, X, y, n, 3 if quick else 9))
                _say(rows[-1])
    return rows


def _both(**options: Any) -> dict[str, Any]:
    modules = {"scikit-learn": sklearn.neural_network, "ours": chainrule.sklearn}
    return {name: module.MLPClassifier(**options) for name, module in modules.items()}


def _fit(
    name: str, dtype: str, X: Any, y: Any, hidden: Any, epochs: int, bar: float, rounds: int
) -> Row:
    row, X = Row(name, dtype, bar), X.astype(dtype)
    options = {"hidden_layer_sizes": hidden, "max_iter": epochs, "random_state": 0}
    both = _both(**options, n_iter_no_change=epochs)
    for turn in range(rounds):
        for key in sorted(both, reverse=bool(turn % 2)):
            row.times[key].append(_time(partial(both[key].fit, X, y)))
    # In float32 theirs is no measure of ours: small differences grow from step to step in both.
    exact = _both(**options, n_iter_no_change=epochs)["scikit-learn"]
    truth = np.array(exact.fit(X.astype(np.float64), y).loss_curve_)
    row.apart = float(np.max(np.abs(np.array(both["ours"].loss_curve_) - truth) / truth))
    return row


def _predict(name: str, dtype: str, X: Any, y: Any, n: int, rounds: int) -> Row:
    row, X = Row(name, dtype, 3), X.astype(dtype)
    both = {
        k: e.fit(X, y)
        for k, e in _both(hidden_layer_sizes=(64, 32), max_iter=5, random_state=0).items()
    }
    given = np.ascontiguousarray(np.resize(X, (n, X.shape[1])))
    calls = {1: 500, 100: 300}.get(n, 5)

    def several(estimator: Any) -> None:
        for _ in range(calls):
            estimator.predict_proba(given)

    for turn in range(rounds):
        for key in sorted(both, reverse=bool(turn % 2)):
            row.times[key].append(_time(partial(several, both[key])) / calls)
    a, b = (e.predict_proba(given) for e in both.values())
    row.apart = float(np.abs(a - b).max())
    return row


def _time(task: Callable[[], object]) -> float:
    time.sleep(PAUSE)
    begun = time.perf_counter()
    task()
    return time.perf_counter() - begun


def _say(row: Row) -> None:
    tables.progress(f"{row.name}, {row.dtype}: {row.ratio:.2f}x {row.unequal or ''}")


def report(rows: list[Row]) -> str:
    """Give the table as Markdown."""
    head = ["task", "dtype", "scikit-learn", "chainrule", "ratio", "at least", "verdict"]
    body = [
        [row.name, row.dtype, tables.median(row.times["scikit-learn"]),
         tables.median(row.times["ours"]), f"{row.ratio:.2f}", f"{row.bar:g}",
         tables.verdict(row.ratio >= row.bar, row.unequal)]
        for row in rows
    ]  # fmt: skip
    fair = (
        "Adam, batch of 200, the same initial weights and shuffles; losses of every epoch agree "
        "with scikit-learn's in float64, and probabilities with its own, to 1e-6 in float64 and "
        "1e-3 in float32."
    )
    return "\n\n".join(
        ["### MLPClassifier beside scikit-learn's", tables.markdown(head, body), fair]
    )


def main() -> int:
    """Measure and print; exit 1 where results disagree."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    tables.add_options(parser)
    given = parser.parse_args()
    rows = measure(given.quick, given.only)
    print(report(rows))
    if given.json:
        tables.write_json(given.json, Quiet(), estimators=[row.to_dict() for row in rows])
    return int(any(row.unequal for row in rows))


if __name__ == "__main__":
    sys.exit(main())
