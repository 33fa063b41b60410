"""Workers of Dask and Ray beside this process: many networks, and predictions of files.

    python -m benchmarks.places [--workers 2] [--rounds 5] [--engines dask,ray]

Each engine has a local cluster of so many processes with one thread each, which is started before
the clock. Beside it stand one process with one thread, and as many processes as workers that no
engine leads, each with its own share of the work: what this machine has to give. They take turns;
the speed-up is the median of the ratios within each round, and the efficiency is that by the number
of workers. The processor time of the one, by that of all processes of the other, is what is left of
the engine's costs on a busy machine, too. Files are Parquet of 25 float32 columns without
compression, where decoding is not the limit.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

FILES, ROWS, COLUMNS = 32, 65_536, 25
NETWORKS = 1024

# Of a place, or of None for this process, and which part of so many; returns how much was done.
Run = Callable[[Any, int, int], int]


def networks(_: str) -> Run:
    """Return a run that trains small networks."""
    import chainrule as cr

    rng = np.random.default_rng(0)
    X = rng.normal(size=(2048, 2)).astype("f4")
    y = np.sin(X[:, :1])
    given = [
        cr.Network([2, 8, 8, 1], hidden="tanh", seed=i, dtype="float32") for i in range(NETWORKS)
    ]

    def run(on: Any, part: int = 0, parts: int = 1) -> int:
        mine = given[part::parts]
        cr.fit_many(mine, X, y, seeds=0, epochs=50, metrics=[], verbose=0, on=on)
        return len(mine)

    return run


def write_files(folder: str) -> None:
    """Write a model, and files to predict."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from chainrule import cli

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
    how = ["--epochs", "2", "--hidden", "256,256", "--recipe", "plain", "--no-plot"]
    arguments = ["train", f"{folder}/train.parquet", "--target", "y", *how, "--out"]
    assert cli.main([*arguments, f"{folder}/model"]) == 0


def files(folder: str) -> Run:
    """Return a run that predicts the files."""
    from chainrule import places
    from chainrule.tables import folder as kept
    from chainrule.tables import model as models
    from chainrule.tables.source import Reading

    model = models.load(f"{folder}/model")
    assert model is not None
    inputs = sorted(str(path) for path in Path(folder, "data").iterdir())

    def run(on: Any, part: int = 0, parts: int = 1) -> int:
        mine = inputs[part::parts]
        with tempfile.TemporaryDirectory(dir=folder) as out, places.opened(on) as place:
            how = kept.How(Reading())
            into = kept.Folder(out, b"", how)
            done = kept.predict(place, model, into, into.jobs(mine, None), how)
            return sum(each.rows for _, each in done)

    return run


@cache
def _made(what: str, folder: str) -> Run:
    return {"networks": networks, "rows of files": files}[what](folder)


def _alone(what: str, folder: str, part: int, parts: int) -> int:
    return _made(what, folder)(None, part, parts)


def processor_time() -> float:
    """Return the processor seconds of this process and of all that it has started."""
    import psutil

    own = psutil.Process()
    times = [process.cpu_times() for process in (own, *own.children(recursive=True))]
    return sum(each.user + each.system for each in times)


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
        pool = ProcessPoolExecutor(given.workers, get_context("spawn"))
        places["no engine"] = stack.enter_context(pool)
        write_files(folder)

        def shared(what: str) -> int:
            parts = range(given.workers)
            going = [pool.submit(_alone, what, folder, i, given.workers) for i in parts]
            return sum(each.result() for each in going)

        for what in ("networks", "rows of files"):
            run = _made(what, folder)
            speeds: dict[str, list[float]] = {name: [] for name in places}
            spent: dict[str, list[float]] = {name: [] for name in places}
            for number in range(given.rounds + 1):  # the first warms up
                for name, on in places.items():
                    before, begun = processor_time(), time.perf_counter()
                    done = shared(what) if on is pool else run(on, 0, 1)
                    if number:
                        spent[name].append(processor_time() - before)
                        speeds[name].append(done / (time.perf_counter() - begun))
            alone = speeds["one process"]
            for name, own in speeds.items():
                line = f"{what:14} {name:12} {statistics.median(own):12,.0f} a second"
                if name != "one process":
                    times = statistics.median(a / b for a, b in zip(own, alone, strict=True))
                    share = times / given.workers
                    line += f"; {times:.2f} times with {given.workers} workers: {share:.2f} N"
                    least = zip(spent["one process"], spent[name], strict=True)
                    cost = statistics.median(a / b for a, b in least)
                    line += f", {cost:.2f} by processor time"
                print(line, flush=True)


if __name__ == "__main__":
    main()
