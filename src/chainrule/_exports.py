"""Public names: a class says where users find it, not in which room it stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T", bound=type)


def exported(package: str) -> Callable[[T], T]:
    """Return a decorator that gives a class the module that tracebacks and pickles show.

    It stands outside of ``@dataclass``, which looks names up in the module of the source.
    """

    def export(cls: T) -> T:
        cls.__module__ = package
        return cls

    return export
