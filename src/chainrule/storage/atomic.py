"""Atomic writes: a kill, a crash or an error at any moment leaves the old file or the new one."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO


def write_atomically(
    path: str | os.PathLike[str], content: bytes, prefix: str = ".chainrule-"
) -> None:
    """Write a file so that a kill, a crash or an error at any moment leaves the old or the new one.

    See `atomic_file`.
    """
    with atomic_file(path, prefix) as file:
        file.write(content)


@contextmanager
def atomic_file(path: str | os.PathLike[str], prefix: str = ".chainrule-") -> Iterator[IO[bytes]]:
    """Open a file for writing that replaces ``path`` when the block ends without an error.

    It is a temporary file in the same folder, whose name begins with ``prefix``; at the end it goes
    down to the disk, then over the old file in one step. Raises ValueError if ``path`` exists and
    is not a regular file, else OSError.
    """
    target = os.path.realpath(path)  # a link stays a link: its target is replaced
    folder = os.path.dirname(target)
    temporary = os.path.join(folder, f"{prefix}{secrets.token_hex(8)}.tmp")
    try:
        mode = _mode_of_old(target)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with open(descriptor, "wb") as file:
            if mode is not None:
                os.chmod(temporary, mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        ours = isinstance(error, OSError) and error.filename in (None, temporary, target)
        if isinstance(error, OSError) and error.errno is not None and ours:
            # the user knows the file that was to be written, not the temporary one
            raise type(error)(error.errno, os.strerror(error.errno), os.fspath(path)) from None
        raise
    _sync_folder(folder)


def _mode_of_old(target: str) -> int | None:
    """Return the permissions of the file that will be replaced, or None if there is none."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)
    if not stat.S_ISREG(mode):
        raise ValueError(f"{target} is not a regular file; it can't be replaced")
    effective = os.access in os.supports_effective_ids
    if not os.access(target, os.W_OK, effective_ids=effective):  # a rename would not ask
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), target)
    return stat.S_IMODE(mode)


def _sync_folder(folder: str) -> None:
    """Bring the new name down to the disk, where the system can."""
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):  # the file stands; some file systems have no such call
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
