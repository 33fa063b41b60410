"""The container: safetensors files, read with care for those that strangers made.

No object of the header has a key twice, of which readers might take one or the other.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from numpy.typing import NDArray

Array = NDArray[Any]
_TOKEN = re.compile(rb'[{}]|(?P<text>"(?:[^"\\]++|\\.)*+")(?P<colon>\s*:)?')
LONGEST_HEADER = 1 << 23  # bytes; of a file's own, so that reading it takes no memory to speak of
_FOREIGN = (
    (b"\x89PNG", "it is a PNG image"),
    (b"PK\x03\x04", "it is a zip archive, as PyTorch's and NumPy's files are"),
    (b"\x80", "it is a Python pickle, which could run code and is never read"),
    (b"\x89HDF", "it is an HDF5 file"),
    (b"<", "it is an HTML or XML page"),
)
_MOST_OBJECTS = 1 << 16  # in a header; so many tensors take about 50 MB to read


def serialize(tensors: Mapping[str, Array], metadata: dict[str, str]) -> bytes:
    """Return the bytes of a safetensors file; ValueError where `opened` would refuse them."""
    from safetensors.numpy import save

    written: bytes = save(dict(tensors), metadata)
    length = int.from_bytes(written[:8], "little")
    if length > LONGEST_HEADER or _too_many_objects(written[8 : 8 + length]):
        raise ValueError(f"a model file can't hold {len(tensors):,} arrays")
    return written


@contextmanager
def opened(
    path: str | os.PathLike[str], expected: str = "a chainrule model file"
) -> Iterator[OpenFile]:
    """Open a safetensors file; what is wrong with it, or found to be, is a ValueError naming it."""
    name = os.fspath(path)
    _check_readable(name)
    header, detail = _header(name)
    if detail:
        raise ValueError(f"{name} is not {expected}: {_why(name, detail)}")

    from safetensors import SafetensorError, safe_open

    try:
        file: OpenFile = safe_open(name, framework="numpy")
    except SafetensorError as error:
        raise ValueError(f"{name} is not {expected}: {_why(name, str(error))}") from None
    with file:
        try:
            _check_keys(header)
            yield file
        except (ValueError, TypeError, OverflowError, SafetensorError) as error:
            raise ValueError(f"{name}: {harmless(str(error))}") from None


def harmless(reason: str) -> str:
    """Make a message fit for a screen: it may quote a file, which may say anything at length."""
    reason = reason if len(reason) <= 400 else f"{reason[:400]}..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in reason)


class OpenFile(Protocol):
    """What is used of an open safetensors file, whose own methods have no types."""

    def __enter__(self) -> Any: ...
    def __exit__(self, kind: Any, error: Any, trace: Any) -> None: ...
    def metadata(self) -> dict[str, str] | None:
        """Return the texts of the header."""
        ...

    def keys(self) -> Sequence[str]:
        """Return the names of the tensors."""
        ...

    def get_slice(self, name: str) -> Any:
        """Return the shape and dtype of a tensor, unread."""
        ...

    def get_tensor(self, name: str) -> Any:
        """Return a tensor."""
        ...


def _check_readable(path: str) -> None:
    """Raise OSError in Python's own words, and refuse what would never end (a pipe, a device)."""
    if not stat.S_ISREG(mode := os.stat(path).st_mode) and not stat.S_ISDIR(mode):
        raise ValueError(f"{path} is not a regular file")
    with open(path, "rb"):
        pass


def _header(path: str) -> tuple[bytes, str | None]:
    """Return a header, and why it is too large to parse, if it is."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > LONGEST_HEADER:
            return b"", f"its header would be {length:,} bytes long"
        header = file.read(length)
    return header, _too_many_objects(header)


def _too_many_objects(header: bytes) -> str | None:
    """Return what is wrong with a header that has too many objects; a tensor is one."""
    objects = itertools.islice(re.finditer(rb'\{\s*"', header), _MOST_OBJECTS + 1)
    if sum(1 for _ in objects) <= _MOST_OBJECTS:
        return None
    return f"its header has more than {_MOST_OBJECTS:,} objects"


def _check_keys(header: bytes) -> None:
    """Raise ValueError where a header that was read has a key twice; no value is built for that."""
    objects: list[set[str]] = []
    for token in _TOKEN.finditer(header):
        if token[0] == b"{":
            objects.append(set())
        elif token[0] == b"}":
            objects.pop()
        elif token["colon"]:
            key = json.loads(token["text"])
            if key in objects[-1]:
                raise ValueError(f"its header has the key {key!r} twice in one object")
            objects[-1].add(key)


def _why(path: str, detail: str) -> str:
    with open(path, "rb") as file:
        start = file.read(9)
    if not start:
        return "it is empty"
    if start[8:] != b"{":  # a safetensors file has its header's length in 8 bytes, then the header
        for magic, what in _FOREIGN:
            if start.startswith(magic):
                return what
    detail = detail.removeprefix("Error while deserializing header: ")
    return f"it is damaged, cut short, or of another kind ({harmless(detail)})"


def as_json(value: object) -> str:
    """Write a value as JSON, as short as it can be."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def from_json(text: str, what: str) -> Any:
    """Read JSON; ValueError says that ``what`` is not JSON, or has a key twice in one object."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise _TwiceError(f"{what} has the key {key!r} twice in one object")
            found[key] = value
        return found

    try:
        return json.loads(text, object_pairs_hook=once)
    except _TwiceError:
        raise
    except (ValueError, RecursionError):  # a number of too many digits is a ValueError, too
        raise ValueError(f"{what} is not JSON") from None


class _TwiceError(ValueError):
    pass
