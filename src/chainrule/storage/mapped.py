"""Mapped: rows of numbers on disk, read back as memory allows."""

from __future__ import annotations

import mmap
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]
_WORTH = 1 << 26  # bytes of a map from which on its pages are released
_PAUSE = 0.02  # seconds; what is read in that time is small beside the memory


class Rows:
    """Rows of numbers, (n, units), as a memory map of a file without a name.

    The file is gone when the process ends, however it ends.
    """

    def __init__(self, units: int, dtype: DTypeLike = np.float32) -> None:
        self.units, self.n, self._dtype = units, 0, np.dtype(dtype)
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - until it is mapped

    def append(self, X: Array) -> None:
        """Add rows; raise OSError if the disk is full."""
        with enough_room():
            self._file.write(np.ascontiguousarray(X, self._dtype).data)
        self.n += len(X)

    def finish(self, mode: Literal["r", "r+"] = "r") -> Array:
        """Return the rows that were added; no more can be added. "r+": they can be changed."""
        with self:  # the map keeps the file open
            with enough_room():
                self._file.flush()
            if not self.n:
                return np.empty((0, self.units), dtype=self._dtype)
            return np.memmap(self._file, dtype=self._dtype, mode=mode, shape=(self.n, self.units))

    def __enter__(self) -> Rows:
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(OSError):  # already reported, or no longer of interest
            self._file.close()


@contextmanager
def enough_room() -> Iterator[None]:
    """Raise an OSError of the block again, with the folder of temporary files and what to do."""
    try:
        yield
    except OSError as error:
        reason = f"{error.strerror}; set TMPDIR to a folder with more room for temporary files"
        raise OSError(error.errno, reason, tempfile.gettempdir()) from None


@contextmanager
def released(maps: Iterable[NDArray[Any]]) -> Iterator[None]:
    """Release pages of large maps to the system repeatedly while the block reads them.

    They stay in the system's cache as long as there is room. Without this, a pass over a map would
    count all of it as memory of this process.
    """
    found = (_map_of(X) for X in maps if X.nbytes >= _WORTH)
    large = [pages for pages in found if pages is not None]
    advice = getattr(mmap, "MADV_DONTNEED", None)
    if advice is None or not large:
        yield
        return
    done = threading.Event()

    def release() -> None:
        while not done.wait(_PAUSE):
            for pages in large:
                pages.madvise(advice)

    thread = threading.Thread(target=release, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def release(array: Any) -> None:
    """Release the pages of an array that reads from a map; they are read again where needed."""
    pages, advice = _map_of(array), getattr(mmap, "MADV_DONTNEED", None)
    if pages is not None and advice is not None:
        pages.madvise(advice)


def _map_of(array: Any) -> mmap.mmap | None:
    """Return the memory map that an array reads from, or None."""
    while isinstance(array, np.ndarray):
        array = array.base
    return array if isinstance(array, mmap.mmap) else None
