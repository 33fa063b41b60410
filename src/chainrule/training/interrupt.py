"""Ctrl-C: the first ends a run after its step, the second at once."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # `signal` looks handlers up in an enumeration
import signal
import threading
from collections.abc import Callable
from time import perf_counter
from types import FrameType
from typing import Any

_SIGINT, _IGNORED = int(signal.SIGINT), int(signal.SIG_IGN)
_PATIENCE = 0.1  # seconds from Ctrl-C after which the epoch's validation is left


class Interrupt:
    """The first Ctrl-C asks the run to end after its step, the second raises KeyboardInterrupt.

    Signals reach the main thread only, so in others nothing is done. A process that ignores the
    signal goes on ignoring it.
    """

    def __init__(self, tell: Callable[[], None]) -> None:
        self.asked = False
        self._tell = tell
        self._when = 0.0
        self._previous: Any = None

    @property
    def impatient(self) -> bool:
        """Whether someone who typed Ctrl-C has waited for a while."""
        return self.asked and perf_counter() - self._when > _PATIENCE

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            previous = _signal.getsignal(_SIGINT)
            if previous is not None and previous != _IGNORED:
                self._previous = previous
                _signal.signal(_SIGINT, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        if self._previous is not None:
            _signal.signal(_SIGINT, self._previous)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked, self._when = True, perf_counter()
        self._tell()
