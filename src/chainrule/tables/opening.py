"""Opening a table: the kind of a file, recognised by its first bytes."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import weakref
from typing import IO

from chainrule.storage import addresses
from chainrule.storage.mapped import enough_room
from chainrule.tables.arrow_source import Arrow, ArrowStream, Parquet
from chainrule.tables.csv_source import TextSource
from chainrule.tables.json_source import JsonLines, is_json_lines
from chainrule.tables.source import Reading, Source, TableError

_SAVE = "Save the table as CSV or Parquet."
_FOREIGN = (
    (b"PK\x03\x04", "a zip archive", "If it is a spreadsheet, save it as CSV."),
    (b"\xd0\xcf\x11\xe0", "an old spreadsheet", "Save it as CSV."),
    (b"\xfd7zXZ", "compressed with xz", "Unpack it, or compress it with gzip or zstd."),
    (b"\x93NUMPY", "a NumPy array without names for its columns", _SAVE),
    (b"\x89HDF", "an HDF5 file", _SAVE),
    (b"SQLite f", "an SQLite database", _SAVE),
    (b"\x80", "a Python pickle, which could run code and is never read", _SAVE),
)

_COMPRESSED = {
    b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2", b"\x04\x22\x4d\x18": "lz4",
}  # fmt: skip
_LONGEST = 1 << 20  # bytes of the first line that may be JSON


def open_table(
    path: str | os.PathLike[str], reading: Reading | None = None, called: str | None = None
) -> Source:
    """Open a table; its format is recognised by its first bytes.

    A file that is compressed with gzip, zstd, bzip2 or lz4 is unpacked into a temporary file, which
    goes with the table. ``called`` is what messages call the file, in place of its path.

    Raises TableError for a file that is not a table, OSError if it cannot be read, and ImportError
    without PyArrow or scikit-learn.
    """
    need_packages()
    file, reading = os.fspath(path), reading or Reading()
    name = called or file
    if not stat.S_ISREG(mode := os.stat(file).st_mode) and not stat.S_ISDIR(mode):
        raise TableError(
            f"{name} is not a regular file; a table is read more than once. Write it to a file "
            "first."
        )
    with open(file, "rb") as opened:
        line = opened.readline(_LONGEST)
    start = line[:8] if len(line) > 7 else _first(file)
    for magic, codec in _COMPRESSED.items():
        if start.startswith(magic):
            return _unpacked(file, codec, reading, name)
    if not start:
        raise TableError(f"{name} is empty; expected a header and rows")
    if start.startswith(b"PAR1"):
        source: Source = Parquet(file, name)
    elif start.startswith(b"ARROW1"):
        source = Arrow(file, name)
    elif start.startswith(b"\xff\xff\xff\xff"):
        source = ArrowStream(file, name)
    else:
        for magic, what, advice in _FOREIGN:
            if start.startswith(magic):
                raise TableError(f"{name} is {what}; expected CSV, TSV, Parquet or Arrow. {advice}")
        if line.lstrip().startswith((b"[{", b"[\n", b"[\r")) or line.strip() in (b"[", b"{"):
            raise TableError(
                f"{name} is JSON, but not JSON Lines; expected an object in each line. Write it so "
                "(pandas: to_json(orient='records', lines=True))."
            )
        source = JsonLines(file, name) if is_json_lines(line) else TextSource(file, reading, name)
    _check_names(source)
    return source


def open_address(file: str, reading: Reading | None = None) -> Source:
    """Open a table; one at an address is fetched into a temporary file, which goes with it."""
    if not addresses.is_remote(file):
        return open_table(file, reading)
    system, path = addresses.system_of(file)
    with system.open(path, "rb") as stream:
        return open_stream(stream, reading, file)


def open_stream(stream: IO[bytes], reading: Reading | None, called: str) -> Source:
    """Open a table of a stream, which is kept in a temporary file: a table is read repeatedly.

    The file goes with the table, or when the process ends. Raises as `open_table`.
    """
    folder = tempfile.mkdtemp(prefix="chainrule-")
    file = os.path.join(folder, "table")
    try:
        with enough_room(), open(file, "wb") as kept:
            shutil.copyfileobj(stream, kept, 1 << 20)
        source = open_table(file, reading, called)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(source, shutil.rmtree, folder, ignore_errors=True)
    return source


def _unpacked(file: str, codec: str, reading: Reading, name: str) -> Source:
    import pyarrow as pa

    try:
        with pa.OSFile(file) as packed, pa.CompressedInputStream(packed, codec) as stream:
            return open_stream(stream, reading, name)
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        detail = " ".join(str(error).split())[:200]
        raise TableError(
            f"{name} is damaged or cut short ({detail}). Write or copy the file again."
        ) from None


def _first(file: str) -> bytes:
    with open(file, "rb") as opened:
        return opened.read(8)


def need_packages() -> None:
    """Raise ImportError, with what to do, if PyArrow is not installed."""
    from importlib.util import find_spec

    if find_spec("pyarrow") is None:
        raise ImportError("tables need PyArrow: pip install 'chainrule[tables]'")


def _check_names(source: Source) -> None:
    seen: dict[str, int] = {}
    for i, name in enumerate(source.names, start=1):
        if name in seen:
            raise TableError(
                f"{source.path}: columns {seen[name]} and {i} are both named {name!r}; every "
                "column needs its own name. Rename one."
            )
        seen[name] = i
