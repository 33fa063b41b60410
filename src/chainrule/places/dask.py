"""Workers of Dask."""

from __future__ import annotations

import logging
import multiprocessing
import tempfile
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from time import sleep
from typing import Any

import dask
from dask import config
from distributed import Client, KilledWorker, LocalCluster
from distributed.protocol import pickle

from chainrule._version import __version__
from chainrule.places.place import (
    Cluster,
    DataLostError,
    Task,
    WorkerDiedError,
    call,
    share,
)

_TIMEOUT = 10  # seconds to reach a scheduler
_PAUSE = 0.02  # seconds between two looks at what has ended


class DaskPlace(Cluster):
    """The workers that a client reaches."""

    name = "Dask"

    def __init__(self, client: Client) -> None:
        self._client = client

    def count(self) -> int:
        """Return the threads of all workers."""
        return sum(self._client.nthreads().values())

    def pickled(self, thing: object) -> bytes:
        """Return what would be sent to a worker."""
        return pickle.dumps(thing)

    def _put(self, shared: object) -> Any:
        # As the result of a task, which Dask takes again from the scheduler where the workers that
        # hold it die; what is scattered would be lost with them.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TiB"}):
            return self._client.submit(_same, shared, pure=False)

    def _submit(self, task: Task, held: Any, item: Any) -> Any:
        return self._client.submit(call, task, held, item, __version__, pure=False)

    def _ready(self, going: list[Any]) -> list[Any]:
        ready = [future for future in going if future.status != "pending"]
        if not ready:
            sleep(_PAUSE)
        return ready

    def _take(self, ready: Any) -> tuple[Any, str | None]:
        if self._client.status != "running":
            raise ConnectionError("the connection to the Dask scheduler is lost")
        try:
            return ready.result()
        except KilledWorker as error:
            raise WorkerDiedError(error.allowed_failures + 1) from error
        except CancelledError as error:  # or it was lost, with the data that it depends on
            raise DataLostError from error
        except Exception as error:
            raise self._foreign(error) from error

    def _cancel(self, going: list[Any]) -> None:
        if going and self._client.status == "running":
            self._client.cancel(going, force=True)


def _same(shared: object) -> object:
    """Return what is passed."""
    return shared


def given(client: Client) -> DaskPlace:
    """Return the place of a user's client, which stays open."""
    if client.asynchronous:
        raise TypeError(
            "the Client is asynchronous; expected one that blocks: Client(address) outside of async"
        )
    if client.status != "running":
        raise ConnectionError(f"the Client is {client.status}; expected one that is connected")
    return DaskPlace(client)


@contextmanager
def connected(address: str | int) -> Iterator[DaskPlace]:
    """Connect to a scheduler, or start so many processes on this machine."""
    if isinstance(address, int):
        with _local(address) as client:
            yield DaskPlace(client)
        return
    try:
        client = Client(f"tcp://{address}", timeout=_TIMEOUT, set_as_default=False)
    except OSError as error:
        raise ConnectionError(
            f"there is no Dask scheduler at {address} ({error}). Start one with `dask scheduler`"
        ) from error
    with client:
        yield DaskPlace(client)


@contextmanager
def _local(workers: int) -> Iterator[Client]:
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RuntimeError(
            "a worker of Dask imports the script that started it, and so would start workers, too. "
            "Put the call under `if __name__ == '__main__':`"
        )
    with (
        tempfile.TemporaryDirectory(prefix="chainrule-", ignore_cleanup_errors=True) as folder,
        config.set({"temporary_directory": folder}),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",
            local_directory=folder,
            silence_logs=logging.CRITICAL,
            env={"CHAINRULE_NUM_THREADS": share(workers)},
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client
