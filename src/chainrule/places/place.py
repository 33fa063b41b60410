"""Place: somewhere tasks run; its engine places them, restarts them and holds the data."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Generator, Hashable, Iterable
from dataclasses import dataclass
from time import monotonic
from typing import Any, ClassVar

from chainrule._version import __version__

# What a worker calls: (what all tasks share, what this one is about, threads it may use or None
# for what its environment says) -> its result. It changes none of them: an engine may run a task
# again, and in a cluster of threads they are the caller's own objects.
Task = Callable[[Any, Any, "int | None"], Any]

PATIENCE = 120.0  # seconds without any worker, after which nobody waits any longer
_LOOK = 5.0  # seconds between two looks at how many workers there are
_ATTEMPTS = 3  # how often the data are sent again after the workers that held them have died


@dataclass(frozen=True)
class Outcome:
    """What came of a task: its result, or in a few words why there is none."""

    index: int
    result: Any = None
    error: str | None = None


class NoWorkersError(ConnectionError):
    """The cluster has no workers."""


class DataLostError(Exception):
    """The workers that held the data have died."""


class WorkerDiedError(Exception):
    """The worker of a task died, as often as the engine starts it again."""

    def __init__(self, times: int, why: str = "") -> None:
        super().__init__(f"its worker died {times} times{why and f' ({why})'}")


class Place(ABC):
    """Somewhere tasks run. `opened` makes one."""

    name: ClassVar[str]

    @abstractmethod
    def count(self) -> int:
        """Return how many tasks run at a time."""

    @abstractmethod
    def pickled(self, thing: object) -> bytes:
        """Return what would be sent to a worker; raises whatever pickling raises."""

    @abstractmethod
    def run(
        self,
        task: Task,
        shared: object,
        items: Iterable[Any],
        stop: Callable[[], bool] = lambda: False,
    ) -> Generator[Outcome, None, None]:
        """Run a task for each item, and yield what comes of them, in the order in which they end.

        ``shared`` is sent once. Items are taken and sent as workers become free, so that neither
        this process nor the engine holds all of them.

        Args:
            task: What to call on a worker; a function of an installed module.
            shared: Its first argument.
            items: The second argument of each.
            stop: Asked several times a second; where it answers yes, what runs is cancelled.

        Raises:
            NoWorkersError: There is no worker, or has been none for two minutes.
            ConnectionError: The cluster is gone.
            RuntimeError: The workers lack chainrule or have another version of it.
        """


class Cluster(Place):
    """Workers of an engine."""

    def run(
        self,
        task: Task,
        shared: object,
        items: Iterable[Any],
        stop: Callable[[], bool] = lambda: False,
    ) -> Generator[Outcome, None, None]:
        """Run a task for each item; see `Place.run`."""
        self._check_workers(self.count())
        held = self._put(shared)
        waiting = enumerate(items)
        going: dict[Hashable, tuple[int, Any]] = {}
        lost = Counter[int]()
        slots, looked, seen = self.count(), monotonic(), monotonic()
        try:
            while True:
                while len(going) < 2 * slots + 1 and (coming := next(waiting, None)) is not None:
                    going[self._submit(task, held, coming[1])] = coming
                if not going or stop():
                    return
                for ready in self._ready(list(going)):
                    index, item = going.pop(ready)
                    try:
                        result, error = self._take(ready)
                    except DataLostError:
                        lost[index] += 1
                        if lost[index] > _ATTEMPTS:
                            yield Outcome(index, error="the workers that held its data died")
                            continue
                        held = self._put(shared)
                        going[self._submit(task, held, item)] = index, item
                    except WorkerDiedError as died:
                        yield Outcome(index, error=str(died))
                    else:
                        yield Outcome(index, result, error)
                    seen = monotonic()
                if monotonic() - looked > _LOOK:
                    slots, looked = self.count(), monotonic()
                    seen = looked if slots else seen
                    if monotonic() - seen > PATIENCE:
                        self._check_workers(slots)
        finally:
            self._cancel(list(going))

    def _check_workers(self, count: int) -> None:
        if not count:
            raise NoWorkersError(f"the {self.name} cluster has no workers. Start some, and repeat")

    def _foreign(self, error: BaseException) -> RuntimeError:
        """Return what to say of an error outside of a task: a worker that cannot run any."""
        return RuntimeError(
            f"a worker of the {self.name} cluster could not run a task: "
            f"{type(error).__name__}: {error}. Workers need chainrule {__version__}, and the "
            "modules of custom activations, losses and callbacks"
        )

    @abstractmethod
    def _put(self, shared: object) -> Any:
        """Send the data that all tasks share."""

    @abstractmethod
    def _submit(self, task: Task, held: Any, item: Any) -> Hashable:
        """Start a task, and return what it is known by."""

    @abstractmethod
    def _ready(self, going: list[Any]) -> list[Any]:
        """Wait for a moment, and return the tasks that have ended."""

    @abstractmethod
    def _take(self, ready: Any) -> tuple[Any, str | None]:
        """Return what `call` returned, or raise DataLostError, WorkerDiedError or `_foreign`."""

    @abstractmethod
    def _cancel(self, going: list[Any]) -> None:
        """Drop tasks whose results nobody wants."""


def call(task: Task, shared: object, item: object, version: str) -> tuple[Any, str | None]:
    """Run a task on a worker; return its result and None, or None and why there is none."""
    if version != __version__:
        raise RuntimeError(f"the worker has chainrule {__version__}, the caller {version}")
    # An engine gives a task one processor, unless whoever started the worker says otherwise.
    threads = None if os.environ.get("CHAINRULE_NUM_THREADS") else 1
    try:
        return task(shared, item, threads), None
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"


def processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def share(workers: int) -> str:
    """Return how many threads each of some workers on this machine has, as an environment says it.

    An engine gives each task one processor; where there are fewer workers than processors, the
    rest would stay idle.
    """
    return os.environ.get("CHAINRULE_NUM_THREADS") or str(max(1, processors() // workers))
