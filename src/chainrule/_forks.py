"""Forks: a child process finds no lock held by a thread of its parent, since it has no such thread.

What holds a lock, or may be half-way through its work in another thread, the child makes again.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Protocol

__all__ = ["Forked", "Lock", "cached_property", "register"]


class Forked(Protocol):
    """What has something to make again."""

    def _forked(self) -> None: ...


_registered: weakref.WeakSet[Forked] = weakref.WeakSet()


def register(thing: Forked) -> None:
    """Have ``thing._forked()`` called in every child that is forked while the thing exists."""
    _registered.add(thing)


def _in_child() -> None:
    for thing in list(_registered):
        thing._forked()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_in_child)


class Lock:
    """A `threading.Lock` for ``with``, open in a forked child unless the child itself holds it."""

    def __init__(self) -> None:
        self._owner = 0
        self._lock = threading.Lock()
        register(self)

    def __enter__(self) -> None:
        self._lock.acquire()
        self._owner = threading.get_ident()

    def __exit__(self, *error: object) -> None:
        self._owner = 0
        self._lock.release()

    def _forked(self) -> None:
        if self._owner != threading.get_ident():
            self._lock = threading.Lock()


if TYPE_CHECKING or sys.version_info >= (3, 12):
    from functools import cached_property
else:

    class cached_property(functools.cached_property):  # noqa: N801 (as the one it stands for)
        """`functools.cached_property`, which before Python 3.12 has one lock for all objects."""

        def __init__(self, function):
            super().__init__(function)
            register(self)

        def _forked(self):
            self.lock = threading.RLock()
