"""Tables trained from their files: memory, time, and how good the models are.

``python -m benchmarks.from_files [--rows N] [--format csv|parquet] [--keep FOLDER]``. First
scikit-learn's bundled tables, from CSV and Parquet; then one of mixed types with a known truth (2
million rows, unless told otherwise), whose model is compared with the truth: the probabilities that
its labels were drawn with. Each is trained by ``chainrule train`` in a process of its own. Exit
status 1: more than 1 GB of memory, or a log loss that is far from the truth's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import tables

_BATCH = 100_000
_MOST_MEMORY = 1_000_000_000  # bytes
_NEAR = 0.02  # nats of log loss above the truth's
_COLOURS = ("amber", "blue", "green", "red", "white")


def batches(rows: int, seed: int = 0) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Give columns of a batch of rows, and the probability of the label "yes" in each."""
    rng = np.random.default_rng(seed)
    of_shop = rng.normal(size=40)
    for start in range(0, rows, _BATCH):
        n = min(_BATCH, rows - start)
        age = rng.gamma(9.0, 5.0, n)
        income = np.exp(rng.normal(10.0, 0.6, n))
        clicks = rng.poisson(3.0, n)
        noise = rng.normal(size=n)
        colour = rng.integers(0, len(_COLOURS), n)
        shop = (40 * rng.beta(1.0, 2.0, n)).astype(int)
        user = rng.integers(0, 5000, n)
        day = rng.integers(0, 1461, n)
        no_age, no_colour = rng.random(n) < 0.05, rng.random(n) < 0.02
        z = (
            np.sin(age / 12) + 0.8 * (np.log(income) - 10) * (colour == 3) + 0.3 * (clicks - 3)
            + of_shop[shop] + np.cos(2 * np.pi * day / 365.25) - 1.0 * no_age - 0.5
        )  # fmt: skip
        p = 1 / (1 + np.exp(-z))
        label = np.where(rng.random(n) < p, "yes", "no")
        date = np.datetime64("2020-01-01") + day.astype("timedelta64[D]")
        yield (
            {
                "id": np.arange(start, start + n),
                "age": np.where(no_age, np.nan, np.round(age, 2)),
                "income": np.round(income, 2),
                "clicks": clicks,
                "noise": noise,
                "colour": np.where(no_colour, np.array(None), np.array(_COLOURS, object)[colour]),
                "shop": np.char.add("shop ", shop.astype(str)),
                "user": np.char.add("u", user.astype(str)),
                "note": [
                    f"order {k} of {d}"
                    for k, d in zip(rng.integers(0, 10**9, n), date, strict=True)
                ],
                "since": date,
                "label": label,
            },
            p,
        )


def write(path: Path, rows: int) -> dict[str, float]:
    """Write the table; give the log loss and accuracy of the truth."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow import csv

    writer: Any = None
    loss = right = 0.0
    for columns, p in batches(rows):
        table = pa.table({
            name: pa.array(values, from_pandas=name == "age") for name, values in columns.items()
        })  # fmt: skip
        if writer is None:
            kind = pq.ParquetWriter if path.suffix == ".parquet" else csv.CSVWriter
            writer = kind(str(path), table.schema)
        writer.write_table(table)
        of_label = np.where(columns["label"] == "yes", p, 1 - p)
        loss -= float(np.log(of_label).sum())
        right += float((of_label > 0.5).sum())
    writer.close()
    return {"log_loss": loss / rows, "accuracy": right / rows}


def train(path: Path, model: Path, *options: str) -> tuple[float, int, str]:
    """Train in a process of its own; give seconds, the most memory in bytes, and the output."""
    command = [sys.executable, "-m", "chainrule", "train", str(path), "--target", "label"]
    started = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--out", str(model), *options], stdout=subprocess.PIPE, encoding="utf-8"
    )
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)  # of this child alone
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"chainrule train exited with {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return time.perf_counter() - started, usage.ru_maxrss * unit, printed


def inspect(model: Path) -> dict[str, float]:
    """Give what a model measured on its test rows."""
    command = [sys.executable, "-m", "chainrule", "inspect", str(model), "--json"]
    inspected = subprocess.run(command, capture_output=True, text=True, check=True)
    measured: dict[str, float] = json.loads(inspected.stdout)["table"]["measures"]["model"]
    return measured


def bundled(folder: Path) -> tuple[list[list[str]], int]:
    """Train on scikit-learn's bundled tables; give rows of the report and the most memory."""
    from sklearn import datasets

    report, most = [], 0
    for name in ("iris", "wine", "breast_cancer", "digits", "diabetes"):
        frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
        frame = frame.rename(columns={"target": "label"})
        frame.to_csv(folder / f"{name}.csv", index=False)
        frame.to_parquet(folder / f"{name}.parquet", index=False)
        for form in ("csv", "parquet"):
            seconds, memory, _ = train(folder / f"{name}.{form}", folder / "model", "--no-plot")
            found = inspect(folder / "model")
            quality = " ".join(
                f"{key} {found[key]:.4f}" for key in ("accuracy", "r2") if key in found
            )
            report.append([name, form, f"{seconds:.1f}", f"{memory / 1e6:,.0f} MB", quality])
            most = max(most, memory)
    return report, most


def main() -> int:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.from_files")
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--format", choices=["csv", "parquet"], default="csv")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave table and model there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tables.progress("bundled tables")
        report, most = bundled(Path(folder))
        print(tables.markdown(["table", "file", "seconds", "peak memory", "test rows"], report))
        place = given.keep or Path(folder)
        path, model = place / f"large.{given.format}", place / "large.model"
        tables.progress(f"writing {given.rows:,} rows")
        truth = write(path, given.rows)
        tables.progress("training")
        seconds, memory, printed = train(path, model)
        print(f"\n{printed}")
        found, size = inspect(model), path.stat().st_size
    head = ["rows", "file", "seconds", "peak memory"]
    head += ["log loss", "of the truth", "accuracy", "of the truth"]
    row = [
        f"{given.rows:,}", f"{size / 1e6:,.0f} MB", f"{seconds:.0f}", f"{memory / 1e6:,.0f} MB",
        f"{found['log_loss']:.4f}", f"{truth['log_loss']:.4f}",
        f"{found['accuracy']:.4f}", f"{truth['accuracy']:.4f}",
    ]  # fmt: skip
    print(tables.markdown(head, [row]))
    far = found["log_loss"] - truth["log_loss"] > _NEAR
    return int(max(most, memory) >= _MOST_MEMORY or far)


if __name__ == "__main__":
    sys.exit(main())
