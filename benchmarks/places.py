"""Workers of Dask and Ray beside this process: many networks, and predictions of files.

    python -m benchmarks.places [--workers 2] [--rounds 5] [--engines dask,ray]

Each engine has a local cluster of so many processes with one thread each, which is started before
the clock. Beside it stands one process with one thread. They take turns; the speed-up is the median
of the ratios within each round, and the efficiency is that by the number of workers. Files are
Parquet of 25 float32 columns without compression, where decoding is not the limit.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

FILES, ROWS, COLUMNS = 32, 65_536, 25
NETWORKS = 2048

Run = Callable[[Any], int]  # of a place, or of None for this process; returns how much was done


def networks() -> Run:
    """Return a run that trains small networks."""
    import chainrule as cr

    rng = np.random.default_rng(0)
    X = rng.normal(size=(2048, 2)).astype("f4")
    y = np.sin(X[:, :1])
    given = [
        cr.Network([2, 8, 8, 1], hidden="tanh", seed=i, dtype="float32") for i in range(NETWORKS)
    ]

    def run(on: Any) -> int:
        cr.fit_many(given, X, y, seeds=0, epochs=10, metrics=[], verbose=0, on=on)
        return NETWORKS

    return run


def files(folder: str) -> Run:
    """Return a run that predicts files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from chainrule import cli, places
    from chainrule.tables import folder as kept
    from chainrule.tables import model as models
    from chainrule.tables.source import Reading

    rng = np.random.default_rng(0)
    names = [f"x{i}" for i in range(COLUMNS)]
    X = rng.normal(size=(ROWS, COLUMNS)).astype("f4")
    table = pa.table({name: X[:, i] for i, name in enumerate(names)})
    labelled = table.append_column("y", pa.array(X @ rng.normal(size=COLUMNS).astype("f4")))
    pq.write_table(labelled.slice(0, 5000), f"{folder}/train.parquet")
    os.mkdir(f"{folder}/data")
    for i in range(FILES):
        pq.write_table(table, f"{folder}/data/{i:02d}.parquet", compression="none",
                       use_dictionary=False)  # fmt: skip
    arguments = ["--target", "y", "--epochs", "2", "--hidden", "256,256", "--no-plot"]
    model_file = f"{folder}/model"
    assert cli.main(["train", f"{folder}/train.parquet", *arguments, "--out", model_file]) == 0
    model = models.load(model_file)
    assert model is not None
    inputs = sorted(str(path) for path in Path(folder, "data").iterdir())

    def run(on: Any) -> int:
        with tempfile.TemporaryDirectory(dir=folder) as out, places.opened(on) as place:
            how = kept.How(Reading())
            into = kept.Folder(out, b"", how)
            done = kept.predict(place, model, into, into.jobs(inputs, None), how)
            return sum(each.rows for _, each in done)

    return run


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.places", description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--engines", default="dask,ray")
    given = parser.parse_args()
    os.environ["CHAINRULE_NUM_THREADS"] = "1"
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        places: dict[str, Any] = {"one process": None}
        if "dask" in given.engines:
            from distributed import Client

            client = Client(n_workers=given.workers, threads_per_worker=1, dashboard_address=":0")
            places["Dask"] = stack.enter_context(client)
        if "ray" in given.engines:
            import ray

            places["Ray"] = ray.init(
                num_cpus=given.workers, include_dashboard=False, log_to_driver=False
            )
            stack.callback(ray.shutdown)
        for what, run in (("networks", networks()), ("rows of files", files(folder))):
            speeds: dict[str, list[float]] = {name: [] for name in places}
            for number in range(given.rounds + 1):  # the first warms up
                for name, on in places.items():
                    begun = time.perf_counter()
                    done = run(on)
                    if number:
                        speeds[name].append(done / (time.perf_counter() - begun))
            alone = speeds["one process"]
            for name, own in speeds.items():
                line = f"{what:14} {name:12} {statistics.median(own):12,.0f} a second"
                if name != "one process":
                    times = statistics.median(a / b for a, b in zip(own, alone, strict=True))
                    share = times / given.workers
                    line += f"; {times:.2f} times with {given.workers} workers: {share:.2f} N"
                print(line, flush=True)


if __name__ == "__main__":
    main()
