"""Addresses: files here, or at an address of fsspec (s3://...), opened and written in one way."""

from __future__ import annotations

import glob
import os
import posixpath
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

from chainrule.storage.atomic import atomic_file

# A write to one of these is seen whole or not at all; elsewhere a file is renamed at the end.
_OBJECTS = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss"})
BESIDE = ".chainrule-part-"  # how the names of files begin that are not whole yet
_PATTERN = frozenset("*?[")
_FACTS = ("size", "ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "generation")


def is_pattern(path: str) -> bool:
    """Return whether a path stands for all files that fit it."""
    return not _PATTERN.isdisjoint(path) and not os.path.exists(path)


def is_remote(path: str) -> bool:
    """Return whether a path is an address of fsspec."""
    return "://" in path


def found(patterns: Sequence[str]) -> list[str]:
    """Return the files that paths and patterns name, in order, each once.

    Raises ValueError for a pattern that fits no file, and FileNotFoundError.
    """
    files: dict[str, None] = {}
    for pattern in patterns:
        if is_remote(pattern):
            system, path = system_of(pattern)
            paths = system.glob(path) if not _PATTERN.isdisjoint(path) else [path]
            named = [system.unstrip_protocol(p) for p in sorted(paths) if not _hidden(p)]
        elif is_pattern(pattern):
            named = sorted(p for p in glob.glob(pattern, recursive=True) if os.path.isfile(p))
        else:
            os.stat(pattern)  # which raises
            named = [pattern]
        if not named:
            raise ValueError(f"no file fits {pattern}")
        files |= dict.fromkeys(named)
    return list(files)


def listed(folder: str) -> list[str]:
    """Return the names of all files below a folder, with slashes; those of folders end in one."""
    if is_remote(folder):
        system, path = system_of(folder)
        system.invalidate_cache()
        try:
            found = system.find(path)
        except FileNotFoundError as error:  # of a bucket
            raise FileNotFoundError(2, str(error), folder) from None
        return sorted(name[len(path) :].lstrip("/") for name in found)
    return sorted(
        os.path.relpath(os.path.join(at, name), folder).replace(os.sep, "/") + mark
        for at, folders, files in os.walk(folder)
        for names, mark in ((folders, "/"), (files, ""))
        for name in names
    )


def state_of(file: str) -> list[Any]:
    """Return what changes when somebody writes to a file, as plain values."""
    if not is_remote(file):
        now = os.stat(file)
        return [now.st_size, now.st_mtime_ns]
    system, path = system_of(file)
    system.invalidate_cache()
    info = system.info(path)
    return [str(info[name]) for name in _FACTS if info.get(name) is not None]


def size_of(file: str) -> int | None:
    """Return the bytes of a file, None where there is none."""
    try:
        if not is_remote(file):
            return os.path.getsize(file)
        system, path = system_of(file)
        system.invalidate_cache()
        return int(system.info(path)["size"])
    except FileNotFoundError:
        return None


def read(file: str) -> bytes | None:
    """Return what a file holds, None where there is none."""
    try:
        if not is_remote(file):
            with open(file, "rb") as opened:
                return opened.read()
        system, path = system_of(file)
        return bytes(system.cat_file(path))
    except FileNotFoundError:
        return None


@contextmanager
def opened(file: str) -> Iterator[IO[bytes]]:
    """Open a file for reading."""
    if not is_remote(file):
        with open(file, "rb") as local:
            yield local
        return
    system, path = system_of(file)
    with system.open(path, "rb") as remote:
        yield remote


@contextmanager
def written(file: str) -> Iterator[IO[bytes]]:
    """Open a file for writing that takes the place of another when the block ends well."""
    if not is_remote(file):
        os.makedirs(os.path.dirname(os.path.abspath(file)), exist_ok=True)
        with atomic_file(file) as opened:
            yield opened
        return
    system, path = system_of(file)
    with tempfile.TemporaryDirectory(prefix="chainrule-") as folder:
        temporary = os.path.join(folder, "file")
        with open(temporary, "wb") as opened:
            yield opened
        if not _OBJECTS.isdisjoint(_protocols(system)):
            system.put_file(temporary, path)
            return
        system.makedirs(posixpath.dirname(path), exist_ok=True)
        beside = posixpath.join(posixpath.dirname(path), BESIDE + os.path.basename(folder))
        try:
            system.put_file(temporary, beside)
            system.mv(beside, path)
        except BaseException:
            if system.exists(beside):
                system.rm_file(beside)
            raise


def joined(folder: str, name: str) -> str:
    """Return the path of a file in a folder, here or at an address."""
    return f"{folder.rstrip('/')}/{name}" if is_remote(folder) else os.path.join(folder, name)


def below(files: Sequence[str]) -> list[str]:
    """Return the names of files below the folder that all of them are in, with slashes."""
    if all(map(is_remote, files)):
        parts = [file.partition("://")[2].split("/") for file in files]
    else:
        parts = [os.path.abspath(file).replace(os.sep, "/").split("/") for file in files]
    shortest = min(map(len, parts)) - 1
    common = 0
    while common < shortest and len({part[common] for part in parts}) == 1:
        common += 1
    return ["/".join(part[common:]) for part in parts]


def system_of(address: str) -> tuple[Any, str]:
    """Return the file system of an address, and the path in it."""
    try:
        import fsspec
    except ImportError as error:
        raise ImportError(f"{address} needs fsspec: pip install 'chainrule[s3]'") from error
    try:
        system, path = fsspec.core.url_to_fs(address)
    except ImportError as error:  # which names the package
        raise ImportError(f"{address}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{address}: {error}") from None
    return system, path


def _protocols(system: Any) -> set[str]:
    return {system.protocol} if isinstance(system.protocol, str) else set(system.protocol)


def _hidden(path: str) -> bool:
    return posixpath.basename(path).startswith(".")
