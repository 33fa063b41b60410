"""How many categories a column may have: R² with 50, and with the number that the rows decide.

    python -m benchmarks.categories

Tables are made, so that the effect of each category is known; the R² is that of the test rows.
"""

from __future__ import annotations

import csv
import statistics
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.tables import markdown
from chainrule.tables import training
from chainrule.tables.opening import open_table
from chainrule.tables.training import Settings

TABLES = {  # name: categories, rows of each (None: as Zipf's law has it), deviation of their effect
    "300 categories of ten rows": (300, 10, 1.0),
    "1,000 of five rows": (1000, 5, 1.0),
    "2,000 as in Zipf's law, 5,000 rows": (2000, None, 1.0),
    "300 of ten rows, without an effect": (300, 10, 0.0),
}


def write(path: Path, categories: int, each: int | None, effect: float) -> None:
    """Write a table: y is the effect of a category, 0.3 x, and noise of deviation 0.4."""
    rng = np.random.default_rng(0)
    if each is None:
        of = np.minimum(rng.zipf(1.3, 5000), categories) - 1
    else:
        of = rng.permutation(np.repeat(np.arange(categories), each))
    x = rng.normal(size=len(of))
    y = effect * rng.normal(size=categories)[of] + 0.3 * x + rng.normal(0, 0.4, len(of))
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["seller", "x", "y"])
        table.writerows(zip([f"s{i}" for i in of], x, y, strict=True))


def r2(path: Path, most: int | None, seed: int) -> float:
    """Train on a table and return the R² on its test rows."""
    ready = training.prepare(open_table(path), Settings("y", max_categories=most, seed=seed))
    network = training.make_network(ready)
    training.fit(network, ready)
    found = training.assess(network, ready)[0]["r2"]
    assert found is not None
    return found


def main() -> None:
    """Print the median R² over three seeds."""
    body = []
    with tempfile.TemporaryDirectory() as folder:
        for name, made in TABLES.items():
            path = Path(folder) / "table.csv"
            write(path, *made)
            found = [statistics.median(r2(path, most, s) for s in range(3)) for most in (50, None)]
            body.append([name, *(f"{value:.3f}" for value in found)])
    print(markdown(["table", "50 categories", "by the rows"], body))


if __name__ == "__main__":
    main()
