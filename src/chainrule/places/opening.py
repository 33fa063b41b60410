"""Opening a place: from an address, or from what the user already has."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from chainrule.equations.checks import whole
from chainrule.places.here import Here
from chainrule.places.place import Place, processors

_KNOWN = (
    "'dask://local', 'dask://local:2', 'dask://HOST:PORT', 'ray://local', 'ray://local:2', "
    "'ray://auto', 'ray://HOST:PORT', a dask.distributed.Client, or what ray.init() returned"
)


@contextmanager
def opened(on: Any, name: str = "on") -> Iterator[Place]:
    """Open the place that an argument names, and close it again if it was started here.

    Args:
        on: An address, a client of Dask, or what ``ray.init()`` returned; None for this process.
        name: The name of the argument, for messages.

    Raises:
        ConnectionError: There is no such cluster, or it has no workers.
        ImportError: The engine is not installed.
        TypeError: It is not something of this kind.
        ValueError: It is not such an address.
    """
    if on is None:
        yield Here()
        return
    if isinstance(on, str):
        engine, rest = _parsed(on, name)
        if engine == "dask":
            dask = _dask(f"{name}={on!r}")
            with dask.connected(rest) as place:
                yield place
        else:
            ray = _ray(f"{name}={on!r}")
            with ray.connected(rest) as place:
                yield place
        return
    engine = type(on).__module__.partition(".")[0]
    if engine == "distributed" and hasattr(on, "submit") and hasattr(on, "scatter"):
        yield _dask(f"{name}=Client").given(on)
    elif engine == "ray" or on is sys.modules.get("ray"):
        yield _ray(f"{name}=ray").given()
    else:
        raise TypeError(f"{name} is a {type(on).__name__}; expected {_KNOWN}")


def _parsed(address: str, name: str) -> tuple[str, str | int]:
    """Return the engine of an address, and its host and port, or a number of local workers."""
    engine, slashes, rest = address.partition("://")
    if engine not in ("dask", "ray") or not slashes or not rest:
        raise ValueError(f"{name} is {address!r}; expected {_KNOWN}")
    if rest == "local":
        return engine, processors()
    if rest.startswith("local:"):
        count = rest.removeprefix("local:")
        if not count.isdecimal():
            raise ValueError(
                f"{name} is {address!r}; expected a number of workers: {engine}://local:2"
            )
        return engine, whole(int(count), f"the number of workers in {name}")
    if (engine, rest) == ("ray", "auto") or re.fullmatch(r"[^/\s]+:\d{1,5}", rest):
        return engine, rest
    raise ValueError(f"{name} is {address!r}; expected {_KNOWN}")


def _dask(what: str) -> Any:
    try:
        from chainrule.places import dask
    except ImportError as error:
        raise _missing(what, "Dask", "dask", error) from error
    return dask


def _ray(what: str) -> Any:
    try:
        from chainrule.places import ray
    except ImportError as error:
        raise _missing(what, "Ray", "ray", error) from error
    return ray


def _missing(what: str, engine: str, extra: str, error: ImportError) -> ImportError:
    return ImportError(
        f"{what} needs {engine}, which is not installed: pip install 'chainrule[{extra}]' ({error})"
    )
