"""Workers of Ray."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray import cloudpickle, exceptions

from chainrule._version import __version__
from chainrule.places.place import Cluster, DataLostError, Task, WorkerDiedError, call, share

_PAUSE = 0.2  # seconds to wait for a task, between two questions whether to stop
_ANSWERS = 10.0  # seconds within which a cluster answers
_RETRIES = 3  # of a task whose worker died; as many as Dask's
_DIED = (
    exceptions.WorkerCrashedError,
    exceptions.OutOfMemoryError,
    exceptions.NodeDiedError,
    exceptions.LocalRayletDiedError,
)
_LOST = (
    exceptions.ObjectLostError,
    exceptions.OwnerDiedError,
)


class RayPlace(Cluster):
    """The workers of the cluster that this process is connected to."""

    name = "Ray"

    def __init__(self) -> None:
        self._call = ray.remote(num_cpus=1, max_retries=_RETRIES)(call)

    def count(self) -> int:
        """Return the processors of all nodes."""
        _check_connected()
        return int(ray.cluster_resources().get("CPU", 0))

    def pickled(self, thing: object) -> bytes:
        """Return what would be sent to a worker."""
        return cloudpickle.dumps(thing)

    def _put(self, shared: object) -> Any:
        _check_connected()
        return ray.put(shared)

    def _submit(self, task: Task, held: Any, item: Any) -> Any:
        _check_connected()
        return self._call.remote(task, held, item, __version__)

    def _ready(self, going: list[Any]) -> list[Any]:
        _check_connected()
        return ray.wait(going, num_returns=1, timeout=_PAUSE)[0]

    def _take(self, ready: Any) -> tuple[Any, str | None]:
        _check_connected()
        try:
            return ray.get(ready)
        except _DIED as error:
            why = "out of memory" if isinstance(error, exceptions.OutOfMemoryError) else ""
            raise WorkerDiedError(_RETRIES + 1, why) from error
        except _LOST as error:
            raise DataLostError from error
        except exceptions.RayTaskError as error:
            raise self._foreign(error.cause) from error
        except exceptions.RayError as error:
            raise self._foreign(error) from error

    def _cancel(self, going: list[Any]) -> None:
        for task in going if ray.is_initialized() else ():
            ray.cancel(task, force=True)


def given() -> RayPlace:
    """Return the place of the connection that the user has made, which stays."""
    _check_connected()
    return RayPlace()


def _check_connected() -> None:
    """Refuse where the connection is closed: Ray would start a cluster of its own, unasked."""
    if not ray.is_initialized():
        raise ConnectionError("Ray is not connected. Call ray.init() first")


@contextmanager
def connected(address: str | int) -> Iterator[RayPlace]:
    """Connect to a cluster, or start so many workers on this machine.

    A process has one connection to Ray: where there is one, it is taken, and stays.
    """
    if ray.is_initialized():
        yield RayPlace()
        return
    if isinstance(address, int):
        with _local(address) as place:
            yield place
        return
    if address == "auto":
        _check_answers(os.environ.get("RAY_ADDRESS", ""))
    try:
        ray.init("auto" if address == "auto" else f"ray://{address}", log_to_driver=False)
    except ConnectionAbortedError as error:
        raise ConnectionError(f"the Ray cluster at {address} gave up: {error}") from error
    except (ConnectionError, OSError) as error:
        raise ConnectionError(
            f"there is no Ray cluster at {address} ({error}). Start one with `ray start --head`"
        ) from error
    try:
        yield RayPlace()
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Refuse an address of the environment where nobody listens: Ray tries it for minutes."""
    host, _, port = address.rpartition(":")
    if "/" in host or not port.isdigit():
        return  # what only Ray understands
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWERS).close()
    except OSError as error:
        raise ConnectionError(
            f"there is no Ray cluster at {address}, which RAY_ADDRESS names ({error}). Start one "
            "with `ray start --head`"
        ) from error


@contextmanager
def _local(workers: int) -> Iterator[RayPlace]:
    # Ray has sockets in its folder, whose paths may have 107 characters; TMPDIR may be long.
    folder = tempfile.mkdtemp(prefix="chainrule-", dir="/tmp" if os.path.isdir("/tmp") else None)
    try:
        try:
            with _environment(CHAINRULE_NUM_THREADS=share(workers), RAY_USAGE_STATS_ENABLED="0"):
                ray.init(
                    num_cpus=workers,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level="error",
                    _temp_dir=folder,
                )
        except Exception as error:  # which is what Ray raises where its processes are too slow
            raise ConnectionError(f"Ray did not start on this machine: {error}") from error
        yield RayPlace()
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set variables that the processes of Ray inherit, and put back what was there."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
