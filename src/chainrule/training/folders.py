"""Folders of runs: where a keeper writes checkpoints, here or at an address of fsspec."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Protocol

from chainrule import _forks as forks
from chainrule.storage import addresses
from chainrule.storage.atomic import write_atomically
from chainrule.training.checkpoints import epoch_of

_TEMPORARY = ".chainrule-checkpoint-"  # how the names of files begin that are not whole yet


class Folder(Protocol):
    """A folder of a run; ``name`` is what messages call it."""

    name: str

    def held(self) -> AbstractContextManager[None]:
        """Make the folder if it is not there, and keep other processes from writing a run into it.

        Raises ValueError where one does; OSError where the folder can't be made or written.
        """
        ...

    def names(self) -> list[str]:
        """Return the names of its files."""
        ...

    def file(self, name: str) -> AbstractContextManager[str]:
        """Open a file by its path on this machine; errors of the block name the file."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write a file, so that at any moment there is the old one or the new one."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        ...

    def clear(self) -> None:
        """Remove what a kill has left of files that were not whole."""
        ...


def folder_of(path: str | os.PathLike[str]) -> Folder:
    """Return the folder at a path or an address.

    Raises ImportError without the package of an address, ValueError for an unknown kind of one.
    """
    name = os.fspath(path)
    if not addresses.is_remote(name):
        return _Here(name)
    addresses.system_of(name)
    return _There(name)


def epochs(folder: Folder) -> list[tuple[int, str]]:
    """Return the epochs and names of the checkpoints in a folder, in order."""
    found = [(epoch_of(name), name) for name in folder.names()]
    return sorted((epoch, name) for epoch, name in found if epoch is not None)


class _Here:
    """A folder of this machine."""

    def __init__(self, name: str) -> None:
        self.name = name

    @contextmanager
    def held(self) -> Iterator[None]:
        os.makedirs(self.name, exist_ok=True)
        if not os.access(self.name, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            raise PermissionError(13, "Permission denied", self.name)
        try:
            import fcntl
        except ImportError:  # Windows
            yield
            return
        held = _Descriptor(self.name)
        try:
            try:
                fcntl.flock(held.number, fcntl.LOCK_EX | fcntl.LOCK_NB)  # a kill lets go of it too
            except BlockingIOError:
                raise ValueError(
                    f"checkpoint folder {self.name!r} is in use: another fit writes into it"
                ) from None
            except OSError:
                pass  # a file system without locks
            yield
        finally:
            held.close()

    def names(self) -> list[str]:
        return [entry.name for entry in os.scandir(self.name) if entry.is_file()]

    @contextmanager
    def file(self, name: str) -> Iterator[str]:
        yield os.path.join(self.name, name)

    def write(self, name: str, content: bytes) -> None:
        write_atomically(os.path.join(self.name, name), content, _TEMPORARY)

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(self.name, name))

    def clear(self) -> None:
        for name in self.names():
            if name.startswith(_TEMPORARY) and name.endswith(".tmp"):
                self.remove(name)


class _There:
    """A folder at an address. There are no locks: whoever runs two trainings names two folders."""

    def __init__(self, name: str) -> None:
        self.name = name.rstrip("/")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Write a file and remove it: what can't be written shall not be found out in an hour."""
        probe = ".chainrule-probe"
        try:
            self.write(probe, b"")
            self.remove(probe)
        except Exception as error:  # of whatever package knows the address
            raise OSError(
                f"checkpoint folder {self.name!r} can't be written ({error}). Make its bucket or "
                "folder, and check the credentials, or name another one"
            ) from error
        yield

    def names(self) -> list[str]:
        system, path = addresses.system_of(self.name)
        system.invalidate_cache()
        try:
            found = system.ls(path, detail=True)
        except FileNotFoundError:  # an object store has no empty folders
            return []
        return [each["name"].rpartition("/")[2] for each in found if each["type"] == "file"]

    @contextmanager
    def file(self, name: str) -> Iterator[str]:
        address = addresses.joined(self.name, name)
        content = addresses.read(address)
        if content is None:
            raise FileNotFoundError(2, "No such file or directory", address)
        with tempfile.TemporaryDirectory(prefix="chainrule-") as folder:
            path = os.path.join(folder, name)
            with open(path, "wb") as file:
                file.write(content)
            try:
                yield path
            except ValueError as error:
                raise ValueError(str(error).replace(path, address)) from None

    def write(self, name: str, content: bytes) -> None:
        with addresses.written(addresses.joined(self.name, name)) as file:
            file.write(content)

    def remove(self, name: str) -> None:
        system, path = addresses.system_of(addresses.joined(self.name, name))
        with suppress(FileNotFoundError):
            system.rm_file(path)

    def clear(self) -> None:
        for name in self.names():
            if name.startswith(addresses.BESIDE):
                self.remove(name)


class _Descriptor:
    """An open folder; a forked child closes its own, with which it would keep the lock as well."""

    def __init__(self, folder: str) -> None:
        self.number = os.open(folder, os.O_RDONLY)
        forks.register(self)

    def close(self) -> None:
        """Close it, if it is open."""
        number, self.number = self.number, -1
        if number >= 0:
            os.close(number)

    _forked = close
