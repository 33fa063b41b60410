"""Opening a table: the kind of a file, recognised by its first bytes."""

from __future__ import annotations

import os
import stat

from chainrule.tables.arrow_source import Arrow, ArrowStream, Parquet
from chainrule.tables.csv_source import TextSource
from chainrule.tables.source import Reading, Source, TableError

_SAVE = "Save the table as CSV or Parquet."
_FOREIGN = (
    (b"PK\x03\x04", "a zip archive", "If it is a spreadsheet, save it as CSV."),
    (b"\xd0\xcf\x11\xe0", "an old spreadsheet", "Save it as CSV."),
    (b"\x1f\x8b", "compressed with gzip", "Unpack it."),
    (b"\x93NUMPY", "a NumPy array without names for its columns", _SAVE),
    (b"\x89HDF", "an HDF5 file", _SAVE),
    (b"SQLite f", "an SQLite database", _SAVE),
    (b"\x80", "a Python pickle, which could run code and is never read", _SAVE),
)


def open_table(
    path: str | os.PathLike[str], reading: Reading | None = None, called: str | None = None
) -> Source:
    """Open a table: Parquet and Arrow files are recognised by their first bytes; all else is text.

    ``called`` is what messages call the file, in place of its path.

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
        start = opened.read(8)
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
        source = TextSource(file, reading, name)
    _check_names(source)
    return source


def need_packages() -> None:
    """Raise ImportError, with what to do, if PyArrow or scikit-learn is not installed."""
    from importlib.util import find_spec

    missing = [
        name for name, module in (("PyArrow", "pyarrow"), ("scikit-learn", "sklearn"))
        if find_spec(module) is None
    ]  # fmt: skip
    if missing:
        raise ImportError(f"tables need {' and '.join(missing)}: pip install 'chainrule[tables]'")


def _check_names(source: Source) -> None:
    seen: dict[str, int] = {}
    for i, name in enumerate(source.names, start=1):
        if name in seen:
            raise TableError(
                f"{source.path}: columns {seen[name]} and {i} are both named {name!r}; every "
                "column needs its own name. Rename one."
            )
        seen[name] = i
