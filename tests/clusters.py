"""Real clusters on this machine, each started when a test first asks for it."""

from __future__ import annotations

from typing import Any

import pytest

WORKERS = 4
ENGINES = [
    pytest.param("dask", marks=pytest.mark.needs("dask")),
    pytest.param("ray", marks=pytest.mark.needs("ray")),
]


def start_ray(workers: int = 2) -> Any:
    """A cluster of Ray whose workers wait for no other process: theirs is niceness 15."""
    import ray

    return ray.init(
        num_cpus=workers, include_dashboard=False, log_to_driver=False,
        _system_config={"worker_niceness": 0},
    )  # fmt: skip


def start_dask(workers: int = WORKERS) -> Any:
    """A client of so many processes of Dask, of one thread each; `stop` ends both."""
    from distributed import Client, LocalCluster

    cluster = LocalCluster(
        n_workers=workers, threads_per_worker=1, dashboard_address=":0", silence_logs=50
    )
    return Client(cluster, set_as_default=False)


class Clusters:
    """One cluster of each engine, of WORKERS processes."""

    def __init__(self) -> None:
        self._started: dict[str, Any] = {}

    def __getitem__(self, engine: str) -> Any:
        """What a user has: a client of Dask, or the context of Ray."""
        if engine not in self._started:
            start = {"dask": start_dask, "ray": start_ray}[engine]
            self._started[engine] = start(WORKERS)
        return self._started[engine]

    def stop(self) -> None:
        """End what has been started."""
        if "dask" in self._started:
            client = self._started.pop("dask")
            client.close()
            client.cluster.close()
        if "ray" in self._started:
            import ray

            del self._started["ray"]
            ray.shutdown()
