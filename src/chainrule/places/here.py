"""This process as a place: tasks run one after another, with all its threads."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any

from chainrule.places.place import Outcome, Place, Task


class Here(Place):
    """This process."""

    name = "this process"

    def count(self) -> int:
        """Return 1."""
        return 1

    def pickled(self, thing: object) -> bytes:
        """Return nothing: nothing is sent."""
        return b""

    def run(
        self,
        task: Task,
        shared: object,
        items: Iterable[Any],
        stop: Callable[[], bool] = lambda: False,
    ) -> Generator[Outcome, None, None]:
        """Run a task for each item, one after another; see `Place.run`."""
        for index, item in enumerate(items):
            if stop():
                return
            try:
                result = task(shared, item, None)
            except Exception as error:
                yield Outcome(index, error=f"{type(error).__name__}: {error}")
            else:
                yield Outcome(index, result)
