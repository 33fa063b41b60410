"""Archives: several files in one, a zip archive that is not compressed, written atomically."""

from __future__ import annotations

import io
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from chainrule.storage.atomic import write_atomically

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the least that a zip file can say: equal files, equal bytes
_BEGINS = b"PK\x03\x04"


def name_of(index: int) -> str:
    """Return the name of a model file in an archive, counted from 0."""
    return f"{index:05d}.safetensors"


def write(path: str | os.PathLike[str], entries: Mapping[str, bytes]) -> None:
    """Write an archive; raise OSError if it cannot be written."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in entries.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    write_atomically(path, buffer.getvalue())


def is_archive(path: str | os.PathLike[str]) -> bool:
    """Return whether a file begins as a zip archive does; raise OSError if it cannot be read."""
    with open(path, "rb") as file:
        return file.read(len(_BEGINS)) == _BEGINS


class Archive:
    """An open archive, whose entries are read one at a time."""

    def __init__(self, archive: zipfile.ZipFile, folder: Path) -> None:
        self._archive, self._part = archive, folder / "entry"
        self.names = archive.namelist()

    def read(self, name: str) -> bytes:
        """Return an entry; raise ValueError if it is packed, and might be of any size."""
        if self._archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{name} is compressed; expected an entry as chainrule writes it")
        return self._archive.read(name)

    @contextmanager
    def as_file(self, name: str) -> Iterator[Path]:
        """Return an entry as a file; a ValueError that names that file names the entry instead."""
        self._part.write_bytes(self.read(name))
        try:
            yield self._part
        except ValueError as error:
            raise ValueError(str(error).replace(str(self._part), name)) from None


@contextmanager
def opened(path: str | os.PathLike[str], what: str) -> Iterator[Archive]:
    """Open an archive; what is wrong with it is a ValueError that says that it is not ``what``."""
    name = os.fspath(path)
    try:
        with zipfile.ZipFile(name) as archive, tempfile.TemporaryDirectory() as folder:
            try:
                yield Archive(archive, Path(folder))
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(f"{name} is not {what} that chainrule wrote: {error}") from None
